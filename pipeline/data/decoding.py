"""Decode one image file to bytes of a fixed size, as torchvision's Resize and CenterCrop do.

Decoded images are kept under a digest of this file and of Pillow's version. Pillow decodes without
the interpreter's lock, so threads suffice.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.data.paths import is_inside

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
DRAFT_SCALE = 3  # JPEG is decoded at >= 3 times the size: 15 times faster, off by at most 1 in 255

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageFormat:
    """The format of every decoded image: pixels of each side, and Pillow's mode L or RGB."""

    size: int
    mode: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (channels, height, width)."""
        return len(self.mode), self.size, self.size


@contextmanager
def strict_pixel_limit() -> Iterator[None]:
    """Raise where an image exceeds Pillow's pixel limit; ignore its other warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(path: Path, folder: Path, image_format: ImageFormat) -> Pixels | str:
    """Return the image (channels, height, width), upright, or the reason why it is unreadable."""
    try:
        return _decode(path, folder, image_format)
    except UnidentifiedImageError:
        return "unknown image format"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels"
    except Exception as error:  # a damaged file can raise nearly any type in a decoder
        return str(error) or type(error).__name__


def _decode(path: Path, folder: Path, image_format: ImageFormat) -> Pixels:
    if path.is_symlink() and not is_inside(path, folder):
        raise ValueError("a link out of the folder")
    if not path.is_file():
        raise ValueError("not a file")
    if not path.stat().st_size:
        raise ValueError("empty")
    size = image_format.size
    with Image.open(path, formats=FORMATS) as image:
        animated = getattr(image, "is_animated", False)
        if animated and image.format != "MPO":  # MPO: a photograph and its preview
            raise ValueError("more than one frame")
        image.draft(None, (DRAFT_SCALE * size, DRAFT_SCALE * size))
        ImageOps.exif_transpose(image, in_place=True)
        upright = _as_bytes(image).convert(image_format.mode)
    fitted = ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(size, size, -1).transpose(2, 0, 1)


def _as_bytes(image: Image.Image) -> Image.Image:
    """Return the image with eight bits per channel; Pillow would clip deeper ones."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of Pillow's mode {image.mode}, whose range is unknown")
    return image
