"""Inspect images in class folders: their number, sizes and colors, from headers and a sample."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.arrays import Arrays
from pipeline.data.chunks import THREADS
from pipeline.data.decoding import (
    BYTE,
    DEEP_MODES,
    FORMATS,
    Decoded,
    ImageFormat,
    decode,
    strict_pixel_limit,
)
from pipeline.data.inspection.inspection import DataOptions, Inspection, class_warnings, sample_of
from pipeline.data.paths import path_in_settings, printable
from pipeline.data.sources._layout import find_layout, list_images
from pipeline.data.white import USED, likely_depth
from pipeline.runtime.errors import Refusal

HEADERS = 20_000  # files whose headers are read
COLORED = 60  # images whose colors are compared
GRAY = 8  # levels of 255: largest difference of colors in a gray image after JPEG
LARGEST, SMALLEST = 32, 8  # pixels of a side
HALVES = 2  # smaller sizes to fall back on
WIDE = 1.5  # long axis in short axes, above which the crop at the center loses much
GRAY_MODES = ("1", "L", "LA", *DEEP_MODES)
UNKNOWN_RANGE = ("I", "F")  # Pillow's modes without a known level of white


@dataclass(frozen=True)
class Header:
    """The axes of an image in pixels, whichever way it is turned, and Pillow's mode."""

    short: int
    long: int
    mode: str


def inspect_folder(root: Path, options: DataOptions) -> Inspection:
    """Return the inspection of the class folders below `root`.

    Raises:
        Refusal: There are no class folders, or a class has too few images, or none can be read.
    """
    layout = find_layout(root)
    files, labels = {}, {}
    for split, folder in layout.folders.items():
        minimum = layout.minimum(split)
        files[split], labels[split] = list_images(folder, layout.classes, minimum)
    headers = _headers(files["pool"])
    if not headers:
        raise Refusal(
            f"{printable(str(root))}: none of {len(files['pool'])} files is an image; expected "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        )
    sides = np.array([(one.short, one.long) for one in headers])
    chosen = sample_of(labels["pool"])
    sampled = [files["pool"][index] for index in chosen]
    reasons: dict[str, str] = {}
    source: dict[str, object] = {"path": path_in_settings(root), **_user_settings(options)}
    source["color"], reasons["color"] = _color(options, headers, sampled)
    sizes, reasons["size"] = _sizes(options, sides)
    white, reasons["white"] = _white(options, headers, sampled)
    if white is not None:
        source["white"] = white
    mode = "RGB" if source["color"] == "rgb" else "L"
    image_format = ImageFormat(sizes[0], mode, white=white)
    sample = _sample(sampled, labels["pool"][chosen], image_format, len(layout.classes))
    occurring = np.bincount(labels["pool"], minlength=len(layout.classes)).tolist()
    counts = {printable(name): count for name, count in zip(layout.classes, occurring, strict=True)}
    return Inspection(
        dataset="image_folder",
        source=source,
        reasons=reasons,
        is_image=True,
        counts=counts,
        validation=len(labels.get("validation", ())),
        test=len(labels.get("test", ())),
        shape=image_format.shape,
        sizes=sizes,
        facts=(_axis("short", sides[:, 0]), _axis("long", sides[:, 1])),
        warnings=(*class_warnings(counts), *_crop_warning(sides)),
        sample=sample,
        flips_keep_labels=options.flips_keep_labels,
    )


def _user_settings(options: DataOptions) -> dict[str, object]:
    """Return the settings that only the user can choose."""
    settings: dict[str, object] = {}
    if options.unreadable:
        settings["unreadable"] = options.unreadable
    if options.flips_keep_labels:
        settings["flips_keep_labels"] = True
    return settings


def _headers(files: Sequence[Path]) -> list[Header]:
    """Return the headers of readable files; of many files at equal distances only."""
    step = max(1, len(files) // HEADERS)
    with ThreadPoolExecutor(THREADS) as pool, strict_pixel_limit():
        headers = pool.map(_header, files[::step])
        return [header for header in headers if header]


def _header(path: Path) -> Header | None:
    try:
        with Image.open(path, formats=FORMATS) as image:
            short, long = sorted(image.size)
            return Header(short, long, image.mode)
    except Exception:  # a corrupted file can raise nearly any type; `prepare` names it
        return None


def _color(
    options: DataOptions, headers: Sequence[Header], sampled: Sequence[Path]
) -> tuple[str, str]:
    if options.color:
        return options.color, "as asked for"
    if all(header.mode in GRAY_MODES for header in headers):
        return "grayscale", "no file has colors"
    compared = sampled[:: max(1, len(sampled) // COLORED)]
    if all(_is_gray(path) for path in compared):
        return "grayscale", f"red, green and blue are equal in all of {len(compared)} images"
    return "rgb", "images have colors"


def _is_gray(path: Path) -> bool:
    """Return whether an image has no color; true for one that cannot be read."""
    try:
        with strict_pixel_limit(), Image.open(path, formats=FORMATS) as image:
            image.draft(None, (LARGEST, LARGEST))
            levels = np.asarray(image.convert("RGB"), dtype=np.int16)
    except Exception:  # as for headers
        return True
    return bool(np.ptp(levels, axis=2).max() <= GRAY)


def _sizes(options: DataOptions, sides: NDArray[np.int64]) -> tuple[tuple[int, ...], str]:
    """Return the sides to resize to, best first, and why."""
    if options.size is not None:
        return (options.size,), "as asked for"
    median = int(np.median(sides[:, 0]))
    best = max(SMALLEST, min(LARGEST, median))
    smaller = [best >> halves for halves in range(1, HALVES + 1) if best >> halves >= SMALLEST]
    if median > LARGEST:
        why = f"the short axis has {median} pixels in the median; every doubling costs four times"
    elif median < SMALLEST:
        why = f"the short axis has {median} pixels in the median; networks need {SMALLEST}"
    else:
        why = "the median length of the shorter side"
    return (best, *smaller), why


def _white(
    options: DataOptions, headers: Sequence[Header], sampled: Sequence[Path]
) -> tuple[float | None, str]:
    """Return the level that becomes 1, None for the level of the files' type, and why."""
    if options.white is not None:
        return options.white, "as asked for"
    if not any(header.mode in DEEP_MODES for header in headers):
        return None, ""
    highest = _highest(sampled)
    full = 65535.0
    unknown = any(header.mode in UNKNOWN_RANGE for header in headers)
    if unknown and highest <= 1:
        return 1.0, "levels are fractions"
    if highest > 1 and (unknown or highest < USED * full):
        depth = likely_depth(highest, full + 1) if highest > BYTE else 8
        return float(2**depth - 1), f"levels up to {highest:g} are used: {depth} bits"
    return None, ""


def _highest(sampled: Sequence[Path]) -> float:
    """Return the highest level in images of more than 8 bits."""
    compared = sampled[:: max(1, len(sampled) // COLORED)]
    return max((_highest_level(path) for path in compared), default=0.0)


def _highest_level(path: Path) -> float:
    """Return the highest level of an image, 0 for one of 8 bits or one that cannot be read."""
    try:
        with strict_pixel_limit(), Image.open(path, formats=FORMATS) as image:
            return float(np.nanmax(np.asarray(image))) if image.mode in DEEP_MODES else 0.0
    except Exception:  # as for headers
        return 0.0


def _sample(
    files: Sequence[Path], labels: NDArray[np.int64], image_format: ImageFormat, classes: int
) -> Arrays:
    """Return the images of the files that can be read."""
    folder = files[0].parent.parent
    with ThreadPoolExecutor(THREADS) as pool, strict_pixel_limit():
        decoded = list(pool.map(lambda path: decode(path, folder, image_format), files))
    readable = [index for index, one in enumerate(decoded) if isinstance(one, Decoded)]
    if not readable:
        raise Refusal(f"{printable(str(files[0]))}: {decoded[0]}; expected images")
    pixels = [one.pixels for one in decoded if isinstance(one, Decoded)]
    return Arrays(np.stack(pixels), labels[readable], classes)


def _axis(name: str, sides: NDArray[np.int64]) -> str:
    low, high = int(sides.min()), int(sides.max())
    if low == high:
        return f"{name} axis: {low} pixels"
    return f"{name} axis: {low} to {high} pixels, {int(np.median(sides))} in the median"


def _crop_warning(sides: NDArray[np.int64]) -> list[str]:
    ratio = float(np.median(sides[:, 1] / sides[:, 0]))
    if ratio <= WIDE:
        return []
    return [
        f"the long axis is {ratio:.1f} times the short one in the median: the crop at the center "
        f"leaves out {100 * (1 - 1 / ratio):.0f} % of an image"
    ]
