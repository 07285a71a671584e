"""Images in folders named by their class: `<path>/<class>/<image>`, or the same below `train`, `val` and `test`.

Separate from `layout.py` (which files), `decoding.py` (one file) and `chunks.py` (all of them, resumed).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, Kind, Parts
from pipeline.data.chunks import decoded
from pipeline.data.decoding import Form
from pipeline.data.paths import meant, printable
from pipeline.data.remarks import remark
from pipeline.data.sources._layout import files, layout, require_enough
from pipeline.runtime.errors import Refusal

SHOWN = 5  # of the files that cannot be read


class Source(Settings):
    """Where the folder is, and what becomes of its images."""

    path: str = Field(min_length=1)
    size: int = Field(32, ge=4, le=512)  # pixels, both sides
    colour: Literal["rgb", "grey"] = "rgb"
    unreadable: Literal["refuse", "skip"] = "refuse"
    flips_keep_labels: bool = False

    def form(self) -> Form:
        """What every image is made into."""
        return Form(self.size, "RGB" if self.colour == "rgb" else "L")


def describe(source: Source) -> Kind:
    """As the settings say; the classes are the names of the folders. Raises Refusal."""
    return Kind(
        source.form().shape, len(layout(meant(source.path)).classes), source.flips_keep_labels
    )


def read(source: Source) -> Parts:
    """Every image, by class and name; the parts the folder sets apart stay apart. Raises Refusal."""
    found = layout(meant(source.path))
    return Parts(
        **{
            part: _part(folder, found.classes, found.fewest(part), source)
            for part, folder in found.parts.items()
        }
    )


def _part(folder: Path, classes: Sequence[str], fewest: int, source: Source) -> Arrays:
    paths, labels = files(folder, classes, fewest)
    images, unreadable = decoded(folder, paths, source.form())
    if unreadable:
        _tell(
            folder, [str(path.relative_to(folder)) for path in paths], unreadable, source.unreadable
        )
        readable = np.setdiff1d(np.arange(len(paths)), list(unreadable))
        images, labels = images[readable], labels[readable]
        require_enough(folder, classes, labels, fewest)
    return Arrays(images, labels, len(classes))


def _tell(folder: Path, names: Sequence[str], unreadable: Mapping[int, str], rule: str) -> None:
    """One line of how many files cannot be read, and why the first of them. Raises Refusal where the rule is to refuse."""
    first = "; ".join(
        f"{names[index]} ({why})" for index, why in sorted(unreadable.items())[:SHOWN]
    )
    line = f"{len(unreadable)} of {len(names)} files cannot be read: {first}{'; ...' * (len(unreadable) > SHOWN)}"
    if rule == "refuse":
        raise Refusal(
            printable(f"{folder}: {line}; allowed are still images, or source.unreadable: skip")
        )
    remark(folder, f"{line}; left out")
