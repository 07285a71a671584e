"""Write the tables of keys in `docs/` from the classes that check them.

`python -m pipeline.terminal.reference` writes the tables of all pages again, each between two
comments that name it. A test compares the pages with the code.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline import models
from pipeline.config.claims import Claim, Contrast
from pipeline.config.identities import IDENTITIES
from pipeline.config.parameters import Execution, Tracking
from pipeline.config.run import Data, Training
from pipeline.config.schema import Ensemble, Looks, Replay, Seeds, Variance
from pipeline.config.settings import Settings
from pipeline.config.start import Rates, Start
from pipeline.data import sources
from pipeline.models._initialization import Network
from pipeline.planning.protocols import Pretraining, Protocol
from pipeline.planning.searches import Search
from pipeline.planning.studies import StudyFile
from pipeline.runtime.files import write_text
from pipeline.terminal.settings_table import markdown_table, reference_table

DOCS = Path("docs")
BLOCK = re.compile(r"<!-- keys of ([\w ]+) -->\n.*?<!-- end of keys -->", re.DOTALL)
CLASSES: dict[str, type[Settings]] = {
    "data": Data,
    "training": Training,
    "seeds": Seeds,
    "looks": Looks,
    "study": StudyFile,
    "ensemble": Ensemble,
    "variance": Variance,
    "replay": Replay,
    "claim": Claim,
    "contrast": Contrast,
    "search": Search,
    "execution": Execution,
    "tracking": Tracking,
    "model": Network,
    "pretraining": Pretraining,
    "start": Start,
    "rates": Rates,
}


def tables() -> dict[str, str]:
    """Return the table of every class by the name that pages use."""
    named = {name: reference_table(kind) for name, kind in CLASSES.items()}
    named["protocol"] = reference_table(Protocol, left_out=("name",))  # the name of its file
    for name, kind in sources.settings().items():
        named[f"source {name}"] = reference_table(kind)
    for name, kind in models.settings().items():
        named[f"model {name}"] = reference_table(kind, left_out=Network.model_fields)
    rows = [(identity, f"`{test}`") for identity, test in IDENTITIES.items()]
    named["identities"] = markdown_table(("identity", "test"), rows)
    return named


def with_tables(page: str) -> str:
    """Return a page with the tables between its comments written again.

    Args:
        page: The Markdown of a page.

    Raises:
        KeyError: A comment names no table.
    """
    written = tables()

    def block(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- keys of {name} -->\n\n{written[name]}\n\n<!-- end of keys -->"

    return BLOCK.sub(block, page)


def names_in(page: str) -> Iterator[str]:
    """Yield the names of the tables of a page.

    Args:
        page: The Markdown of a page.
    """
    yield from BLOCK.findall(page)


if __name__ == "__main__":
    for path in sorted(DOCS.glob("*.md")):
        write_text(path, with_tables(path.read_text("utf-8")))
