"""Images in folders named by their class: `<path>/<class>/<image>`.

The class folders may also lie below `train`, `val` and `test`, which are then kept as they are.
"""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor
from pydantic import Field, field_validator

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, DatasetInfo, Splits
from pipeline.data.chunks import DecodedImages, decode_folder
from pipeline.data.decoding import BYTE, FORMATS, ImageFormat
from pipeline.data.paths import data_path, printable
from pipeline.data.sources._layout import find_layout, joined_classes, list_images, require_images
from pipeline.data.stored import pieces, taken
from pipeline.data.white import range_note
from pipeline.runtime.errors import Refusal

logger = logging.getLogger(__name__)

NAMED = 5  # unreadable files named in one line


class Source(Settings):
    """The folder, and the format of its decoded images.

    Attributes:
        path: The folder, relative to the project.
        size: Pixels of each side, to which images are resized.
        color: The channels of an image: three or one.
        unreadable: What happens if a file cannot be read: refuse stops `prepare`; skip leaves the
            file out and counts it.
        flips_keep_labels: Whether a mirrored image keeps its label.
        background: The color behind transparent pixels: a color name of CSS, or a gray level.
        white: The level that is scaled to 1, for images that do not use the range of their type,
            such as 4095 for 12 bits in a 16-bit PNG; null: the highest level of the type. Levels
            above it become 1. A level above 255 does not apply to images of 8 bits.
    """

    path: str = Field(min_length=1)
    size: int = Field(32, ge=4, le=512)
    color: Literal["rgb", "grayscale"] = "rgb"
    unreadable: Literal["refuse", "skip"] = "refuse"
    background: str | int = "white"
    white: float | None = Field(None, gt=0)
    flips_keep_labels: bool = False

    @field_validator("background", mode="before")
    @classmethod
    def _is_a_color(cls, value: object) -> object:
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                ImageColor.getrgb(value)
                return value
        elif type(value) is int and 0 <= value <= 255:
            return value
        raise ValueError("a color such as white or #ffcc00, or an integer >= 0 and <= 255")

    def image_format(self) -> ImageFormat:
        """Return the format into which every image is decoded."""
        mode = "RGB" if self.color == "rgb" else "L"
        return ImageFormat(self.size, mode, self.background, self.white)


def describe(source: Source) -> DatasetInfo:
    """Return the shape that the settings give, and one class per folder."""
    classes = find_layout(data_path(source.path)).classes
    return DatasetInfo(source.image_format().shape, len(classes), source.flips_keep_labels)


def labels(source: Source) -> Splits:
    """Return the label of every file, also of files that cannot be read."""
    layout = find_layout(data_path(source.path))
    splits = {}
    for split, folder in layout.folders.items():
        of_files = list_images(folder, layout.classes, layout.minimum(split))[1]
        splits[split] = Arrays.unread(of_files, len(layout.classes))
    return Splits.of(splits, class_names=layout.classes)


def read(source: Source) -> Splits:
    """Return every image, by class and name, in the splits of the folder."""
    layout = find_layout(data_path(source.path))
    splits = {}
    for split, folder in layout.folders.items():
        for name in joined_classes(folder):
            logger.warning(
                "%s: class %s: several folders, whose names differ in their Unicode form; joined",
                folder,
                name,
            )
        splits[split] = _arrays(folder, layout.classes, layout.minimum(split), source)
    return Splits.of(splits, class_names=layout.classes)


def _arrays(folder: Path, classes: Sequence[str], minimum: int, source: Source) -> Arrays:
    paths, labels = list_images(folder, classes, minimum)
    images = decode_folder(folder, paths, source.image_format())
    unreadable = images.unreadable
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
            kinds = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
            raise Refusal(f"{name}: {line}; expected still {kinds}, or source.unreadable: skip")
        logger.warning("%s: %s; left out", folder, line)
    _note_transparency(folder, images, source)
    for white, deep_color in sorted(set(zip(images.white, images.deep_color, strict=True))):
        same = (images.white == white) & (images.deep_color == deep_color)
        if white and (note := _range_note(images.highest[same], float(white), not deep_color)):
            logger.warning("%s: %s", folder, note)
    if not unreadable:
        return Arrays(images.pixels, labels, len(classes))
    readable = np.setdiff1d(np.arange(len(paths)), list(unreadable))
    require_images(folder, classes, labels[readable], minimum)
    return Arrays(images.pixels, labels, len(classes)).take(readable)


def _range_note(highest: NDArray[np.float64], white: float, is_settable: bool) -> str | None:
    """Return a line if images do not use their range, given the highest level of each.

    Of more than 8 bits, a few images with another range are not enough.
    """
    if note := range_note(float(highest.max()), white, is_settable):
        return note
    if white > BYTE and (note := range_note(float(np.median(highest)), white, is_settable)):
        return f"half of the images: {note}"
    return None


def _note_transparency(folder: Path, images: DecodedImages, source: Source) -> None:
    if count := int(images.transparent.sum()):
        laid = taken(images.pixels, np.flatnonzero(images.transparent))
        lost = sum(
            int(np.all(np.ptp(piece, axis=(2, 3)) == 0, axis=1).sum()) for piece in pieces(laid)
        )
        logger.warning(
            "%s: %d of %d images have transparent pixels; laid on source.background: %s%s",
            folder,
            count,
            len(images.transparent),
            source.background,
            f"; {lost} of them show nothing on it: set another background" if lost else "",
        )
