"""Decode one image file to bytes of a fixed size, as torchvision's Resize and CenterCrop do.

Decoded images are kept under a digest of this file and of Pillow's version. Pillow decodes without
the interpreter's lock, so threads suffice.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps, TiffImagePlugin, UnidentifiedImageError

from pipeline.data.metadata import load_upright, without_metadata
from pipeline.data.paths import is_inside
from pipeline.data.white import ROUNDING, used_level

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF", "PPM")
DRAFT_SCALE = 3  # JPEG is decoded at >= 3 times the size: 15 times faster, off by at most 1 in 255
BYTE = 255
WORD = 65535
WORD_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
DEEP_MODES = (*WORD_MODES, "I", "F")
WHITE_IS_ZERO = 0  # value of the TIFF tag PhotometricInterpretation
RGB_ALONE = ("LAB", "HSV")  # modes that Pillow converts to no other
KEY_SCALES = {"L;2": 85, "L;4": 17}  # Pillow scales such levels, but not the transparent

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageFormat:
    """The format of every decoded image.

    Attributes:
        size: Pixels of each side.
        mode: Pillow's mode, L or RGB.
        background: A color as Pillow names it, or a gray level of 0 to 255, behind images with
            transparent pixels.
        white: The level that becomes 1; None: the highest of the file's type. A level above 255
            does not apply to images of 8 bits.
    """

    size: int
    mode: str
    background: str | int = "white"
    white: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return (channels, height, width)."""
        return len(self.mode), self.size, self.size

    @property
    def background_color(self) -> tuple[int, ...]:
        """Return red, green and blue of the background."""
        if isinstance(self.background, int):
            return (self.background,) * 3
        return ImageColor.getrgb(self.background)[:3]


@dataclass(frozen=True)
class Decoded:
    """One image.

    Attributes:
        pixels: (channels, height, width), upright.
        transparent: Whether it was laid on the background.
        highest: The highest level in the file, without marks; `white` for a transparent image.
        white: The level that became 1.
        deep_color: Whether it has colors of 16 bits, of which 8 are read.
    """

    pixels: Pixels
    transparent: bool
    highest: float
    white: float
    deep_color: bool


@contextmanager
def strict_pixel_limit() -> Iterator[None]:
    """Raise where an image exceeds Pillow's pixel limit; ignore its other warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(path: Path, folder: Path, image_format: ImageFormat) -> Decoded | str:
    """Return the image, or the reason why it cannot be read.

    Corrupted metadata are not such a reason.
    """
    try:
        _require_file(path, folder)
        try:
            return _decode(path, image_format)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise
        except Exception:  # a corrupted file can raise nearly any type in a decoder
            return _decode(io.BytesIO(without_metadata(path.read_bytes())), image_format)
    except UnidentifiedImageError:
        return "unknown image format"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS} pixels"
    except Exception as error:
        return str(error) or type(error).__name__


def _require_file(path: Path, folder: Path) -> None:
    if path.is_symlink() and not is_inside(path, folder):
        raise ValueError("a link out of the folder")
    if path.is_dir():
        raise ValueError("a folder; expected images directly in the folder of their class")
    if not path.is_file():
        raise ValueError("not a file")
    if not path.stat().st_size:
        raise ValueError("empty")


def _decode(file: Path | io.BytesIO, image_format: ImageFormat) -> Decoded:
    size = image_format.size
    with Image.open(file, formats=FORMATS) as image:
        animated = getattr(image, "is_animated", False)
        if animated and image.format != "MPO":  # MPO: a photograph and its preview
            raise ValueError("more than one frame")
        image.draft(None, (DRAFT_SCALE * size, DRAFT_SCALE * size))
        raw_mode = _raw_mode(image)
        upright = load_upright(image)
        white = _white(image, raw_mode, image_format.white)
        if upright.mode in DEEP_MODES:
            pixels, highest = _deep_as_bytes(upright, white, _is_inverted(image))
        else:
            pixels, highest = _as_bytes(upright, raw_mode, image_format.mode, white)
    transparent = pixels.mode == "RGBA" and bool(np.asarray(pixels)[..., 3].min() < BYTE)
    if transparent:
        background = Image.new("RGBA", pixels.size, (*image_format.background_color, BYTE))
        pixels, highest = Image.alpha_composite(background, pixels), white
    fitted = ImageOps.fit(
        pixels.convert(image_format.mode), (size, size), Image.Resampling.BILINEAR
    )
    channels = np.asarray(fitted).reshape(size, size, -1).transpose(2, 0, 1)
    deep_color = upright.mode not in DEEP_MODES and ";16" in raw_mode
    return Decoded(channels, transparent, highest, white, deep_color)


def _raw_mode(image: Image.Image) -> str:
    """Return Pillow's name for the layout of levels in the file, before the image is loaded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _white(image: Image.Image, raw_mode: str, setting: float | None) -> float:
    """Return the level of an image that becomes 1.

    Raises:
        ValueError: The setting is missing, or does not apply.
    """
    if image.mode in DEEP_MODES:
        return setting or _full_range(image, raw_mode)
    if ";16" not in raw_mode:
        return setting if setting is not None and setting <= BYTE else BYTE
    if setting is not None:
        raise ValueError("colors of 16 bits, of which 8 are read: expected 8, or no source.white")
    return WORD


def _full_range(image: Image.Image, raw_mode: str) -> float:
    if raw_mode == "I;12":
        return 4095
    if image.mode in WORD_MODES or (image.mode, image.format) == ("I", "PPM"):  # Pillow scales PPM
        return WORD
    raise ValueError(
        f"pixels of Pillow's mode {image.mode}, whose range is unknown: set source.white"
    )


def _is_inverted(image: Image.Image) -> bool:
    """Return whether the level 0 is white, which Pillow ignores in TIFF of more than 8 bits."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO


def _deep_as_bytes(
    image: Image.Image, white: float, is_inverted: bool
) -> tuple[Image.Image, float]:
    """Return an image of more than 8 bits in 8 (RGBA where a level is transparent), its highest."""
    levels = np.asarray(image)
    lowest, highest = float(levels.min()), float(levels.max())
    if not (lowest >= -white * ROUNDING and np.isfinite(highest)):  # NaN fails too
        raise ValueError(f"levels from {lowest:g} to {highest:g}; expected >= 0")
    highest = used_level(levels, white)
    if white == WORD and levels.dtype.kind in "iu":
        scaled = np.minimum(levels >> 8, BYTE)
    else:
        scaled = np.rint((levels / white).clip(0, 1) * BYTE)
    if is_inverted:
        scaled = BYTE - scaled
    pixels = Image.fromarray(scaled.astype(np.uint8))
    if (key := image.info.get("transparency")) is not None:
        pixels = pixels.convert("RGBA")
        pixels.putalpha(Image.fromarray(np.where(levels == key, 0, BYTE).astype(np.uint8)))
    return pixels, highest


def _as_bytes(
    image: Image.Image, raw_mode: str, mode: str, white: float
) -> tuple[Image.Image, float]:
    """Return an image, in `mode` or with its transparency in RGBA, and its highest level."""
    deep = ";16" in raw_mode
    key = image.info.get("transparency")
    if deep and key is not None:
        image.info["transparency"] = tuple(level >> 8 for level in key)
    elif raw_mode in KEY_SCALES and key is not None:
        image.info["transparency"] = key * KEY_SCALES[raw_mode]
    if image.mode in RGB_ALONE:
        image = image.convert("RGB")
    has_alpha = image.has_transparency_data
    pixels = image.convert("RGBA" if has_alpha else mode)
    colors = pixels.convert("RGB") if has_alpha else pixels
    counts = np.reshape(colors.histogram(), (-1, BYTE + 1)).sum(0)
    present = np.flatnonzero(counts)
    highest = int(used_level(present, white if white < BYTE else BYTE, counts[present]))
    if white < BYTE:
        levels = np.rint((np.arange(BYTE + 1) / white).clip(0, 1) * BYTE).astype(int).tolist()
        alpha = list(range(BYTE + 1)) if has_alpha else []
        pixels = pixels.point(levels * len(colors.getbands()) + alpha)
    return pixels, (highest << 8) + BYTE if deep else highest
