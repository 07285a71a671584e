"""One image file as bytes of one size: the shorter side to the size, the middle of the longer one, as torchvision's
Resize and CenterCrop do it.

Separate because what kept images depend on is this file and Pillow. Threads suffice: Pillow decodes without the
interpreter's lock.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.data.sources._layout import is_inside

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
GAP = 3  # a JPEG file is decoded at no less than so many times the size: 15 times faster for a photograph, off by 1 in 255

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Form:
    """What every image is made into: so many pixels on both sides, in Pillow's mode L or RGB."""

    size: int
    mode: str

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        return len(self.mode), self.size, self.size


@contextmanager
def bounded() -> Iterator[None]:
    """Pillow's limit on pixels is an error meanwhile; what else it warns of is not worth a line for each image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def pixels(path: Path, folder: Path, form: Form) -> Pixels | str:
    """The image (channels, height, width), upright as its camera noted, or why it cannot be read."""
    try:
        return _pixels(path, folder, form)
    except UnidentifiedImageError:
        return "not an image of a known kind"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels"
    except Exception as error:  # a damaged file can raise nearly anything in a decoder
        return str(error) or type(error).__name__


def _pixels(path: Path, folder: Path, form: Form) -> Pixels:
    if path.is_symlink() and not is_inside(path, folder):
        raise ValueError("a link out of the folder")
    if not path.is_file():
        raise ValueError("not a file")
    if not path.stat().st_size:
        raise ValueError("empty")
    with Image.open(path, formats=FORMATS) as image:
        if (
            getattr(image, "is_animated", False) and image.format != "MPO"
        ):  # a photograph with its preview
            raise ValueError("more than one frame")
        image.draft(None, (GAP * form.size, GAP * form.size))
        ImageOps.exif_transpose(image, in_place=True)
        upright = _in_bytes(image).convert(form.mode)
    fitted = ImageOps.fit(upright, (form.size, form.size), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(form.size, form.size, -1).transpose(2, 0, 1)


def _in_bytes(image: Image.Image) -> Image.Image:
    """The image at eight bits a channel; Pillow would clip deeper ones."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of Pillow's mode {image.mode}, whose white nobody knows")
    return image
