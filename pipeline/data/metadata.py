"""Read images with corrupted metadata: turn them upright, leave out parts that Pillow refuses."""

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import ExifTags, Image

TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF orientation -> operation that turns the image upright
PNG = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = (b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT")  # ancillary chunks that are kept
PNG_OVERHEAD = 12  # bytes of a chunk beside its data
JPEG = b"\xff\xd8"
JPEG_KEPT = (b"JFIF", b"Adobe", b"Exif")  # application segments that are kept
JPEG_SHORTEST = 16  # bytes of a complete segment among these
JPEG_DROPPED = (*range(0xE0, 0xF0), 0xFE)  # markers of application segments and comments
START_OF_SCAN = 0xDA


def load_upright(image: Image.Image) -> Image.Image:
    """Load the pixels and return the image, turned by its EXIF orientation.

    `ImageOps.exif_transpose` writes the other tags again, and fails where it cannot.
    """
    if image.format == "TIFF":  # loading turns it, and fails if a tag is corrupted
        turned = _orientation(image)
        image.getexif = Image.Exif  # type: ignore[method-assign]
        image.load()
    else:
        image.load()
        turned = _orientation(image)
    return image.transpose(TRANSPOSED[turned]) if turned in TRANSPOSED else image


def _orientation(image: Image.Image) -> Any:
    """Return the value of the tag, None where it is missing or unreadable."""
    with contextlib.suppress(Exception):  # corrupted tags raise nearly any type
        image.getexif()
    with contextlib.suppress(Exception):  # the tags before the corrupted one are known
        value = image.getexif().get(ExifTags.Base.Orientation)
        return value[0] if isinstance(value, bytes | tuple) else value
    return None


def without_metadata(content: bytes) -> bytes:
    """Return a PNG or JPEG file with only the parts that its pixels and its orientation need."""
    if content.startswith(PNG):
        return PNG + b"".join(_png_chunks(content))
    if content.startswith(JPEG):
        return JPEG + b"".join(_jpeg_segments(content))
    return content


def _png_chunks(content: bytes) -> Iterator[bytes]:
    position = len(PNG)
    while position < len(content):
        length = int.from_bytes(content[position : position + 4])
        chunk = content[position : position + length + PNG_OVERHEAD]
        kind = chunk[4:8]
        if kind == b"eXIf":
            yield chunk[:-4] + zlib.crc32(chunk[4:-4]).to_bytes(4)
        elif kind[:1].isupper() or kind in PNG_KEPT:
            yield chunk
        position += length + PNG_OVERHEAD


def _jpeg_segments(content: bytes) -> Iterator[bytes]:
    position = len(JPEG)
    while position + 4 <= len(content) and content[position + 1] != START_OF_SCAN:
        length = 2 + int.from_bytes(content[position + 2 : position + 4])
        segment = content[position : position + length]
        kept = segment[4:].startswith(JPEG_KEPT) and len(segment) >= JPEG_SHORTEST
        if segment[1] not in JPEG_DROPPED or kept:
            yield segment
        position += length
    yield content[position:]
