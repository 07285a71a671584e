"""Images in folders named by their class: `<path>/<class>/<image>`.

The class folders may also lie below `train`, `val` and `test`, which are then kept as they are.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, DatasetInfo, Splits
from pipeline.data.chunks import decode_folder
from pipeline.data.decoding import ImageFormat
from pipeline.data.paths import data_path, printable
from pipeline.data.sources._layout import find_layout, list_images, require_images
from pipeline.runtime.errors import Refusal

logger = logging.getLogger(__name__)

NAMED = 5  # unreadable files named in one line


class Source(Settings):
    """The folder, and the format of its decoded images."""

    path: str = Field(min_length=1)
    size: int = Field(32, ge=4, le=512)  # pixels of each side
    color: Literal["rgb", "grayscale"] = "rgb"
    unreadable: Literal["refuse", "skip"] = "refuse"
    flips_keep_labels: bool = False

    def image_format(self) -> ImageFormat:
        """Return the format into which every image is decoded."""
        return ImageFormat(self.size, "RGB" if self.color == "rgb" else "L")


def describe(source: Source) -> DatasetInfo:
    """Return the shape that the settings give, and one class per folder."""
    classes = find_layout(data_path(source.path)).classes
    return DatasetInfo(source.image_format().shape, len(classes), source.flips_keep_labels)


def read(source: Source) -> Splits:
    """Return every image, by class and name, in the splits of the folder."""
    layout = find_layout(data_path(source.path))
    splits = {}
    for split, folder in layout.folders.items():
        splits[split] = _arrays(folder, layout.classes, layout.minimum(split), source)
    return Splits(**splits)


def _arrays(folder: Path, classes: Sequence[str], minimum: int, source: Source) -> Arrays:
    paths, labels = list_images(folder, classes, minimum)
    images, unreadable = decode_folder(folder, paths, source.image_format())
    if unreadable:
        reasons = [
            f"{paths[index].relative_to(folder)} ({reason})"
            for index, reason in sorted(unreadable.items())[:NAMED]
        ]
        more = "; ..." if len(unreadable) > NAMED else ""
        count = f"{len(unreadable)} of {len(paths)} files unreadable"
        line = printable(f"{count}: {'; '.join(reasons)}{more}")
        if source.unreadable == "refuse":
            name = printable(str(folder))
            raise Refusal(f"{name}: {line}; expected still images, or source.unreadable: skip")
        logger.warning("%s: %s; left out", folder, line)
        readable = np.setdiff1d(np.arange(len(paths)), list(unreadable))
        images, labels = images[readable], labels[readable]
        require_images(folder, classes, labels, minimum)
    return Arrays(images, labels, len(classes))
