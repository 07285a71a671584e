"""Write a card for every regularizer from its docstrings and settings.

`python -m pipeline.terminal.cards > docs/regularizers.md`; a test compares the page with the code.
"""

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from pipeline import regularizers
from pipeline.config.validation import description
from pipeline.config.yaml_files import read_yaml
from pipeline.regularizers._regularizer import Regularizer

EXPERIMENTS = Path("experiments")
ENTRY = re.compile(r"^(\w+):", re.MULTILINE)  # the first line of an attribute
HEAD = """# Regularizers

A card for each, made from the docstrings of `pipeline/regularizers/` by
`python -m pipeline.terminal.cards`. A study names a regularizer and its settings, and a list is the
strengths to explore: `- {name: dropout, rate: [0.1, 0.25, 0.5]}`.
"""


def cards() -> str:
    """Return the whole page, Markdown."""
    return "\n".join([HEAD, *(card(name, kind) for name, kind in regularizers.settings().items())])


def card(name: str, kind: type[Regularizer]) -> str:
    """Return what a regularizer is and where it acts, its settings, and its study."""
    about = inspect.getdoc(sys.modules[kind.__module__]) or ""
    meanings = _as_markdown(inspect.getdoc(kind) or "")
    parts = [f"## {name}", about, _settings(kind), meanings, *_notes(name, kind)]
    return "\n\n".join(parts) + "\n"


def _as_markdown(docstring: str) -> str:
    """Return a docstring with its `Attributes:` section as a list."""
    text, _, attributes = docstring.partition("Attributes:\n")
    return text + ENTRY.sub(r"- `\1`:", textwrap.dedent(attributes))


def _settings(kind: type[Regularizer]) -> str:
    """Return a table with a row for each setting: its default and what is allowed."""
    rows = []
    for name, info in kind.model_fields.items():
        default = json.dumps(info.get_default(call_default_factory=True, validated_data={}))
        allowed = description(info.annotation, info.metadata)
        rows.append(f"| `{name}` | `{default}` | {allowed} |")
    if not rows:
        return "No settings."
    return "\n".join(["| setting | default | allowed |", "| --- | --- | --- |", *rows])


def _notes(name: str, kind: type[Regularizer]) -> Iterator[str]:
    for other, why in kind.clashes.items():
        yield f"Not together with `{other}`: {why}."
    study = EXPERIMENTS / f"{name}.yaml"
    if study.exists():
        yield f"Its study, [{study}](../{study}): {read_yaml(study)['question']}"


if __name__ == "__main__":
    print(cards(), end="")
