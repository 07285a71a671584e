"""Compare the levels of images with the level that stands for white."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.data.stored import Images, changed, extremes, pieces

ROUNDING = 8 * float(np.finfo(np.float32).eps)  # largest difference from 1 that is an error of it
USED = 0.5  # share of the range below which it is noted
MARKED = 0.02  # largest share of pixels that may be marks, or defects of a sensor
DEPTHS = (8, 10, 12, 14)  # bits of cameras and scanners
GAP = 0.25  # share of the range without a pixel between an image and its marks


def without_rounding(levels: Images) -> Images:
    """Return the levels, clipped to 0 to 1 if only rounding puts them outside."""
    lowest, highest = extremes(levels)
    within = lowest >= 0 and highest <= 1
    tolerance = max(ROUNDING, float(np.finfo(levels.dtype).eps))
    if within or not (lowest >= -tolerance and highest <= 1 + tolerance):  # NaN is in neither
        return levels
    return changed(levels, lambda piece: piece.clip(0, 1), levels.dtype)


def used_level(levels: Images, white: float, counts: NDArray[np.int64] | None = None) -> float:
    """Return the highest level, without few brighter pixels far above all others.

    Such pixels are burnt-in marks and defects of a sensor.

    Args:
        levels: Those of all pixels, or each level that occurs.
        white: The level that becomes 1.
        counts: The number of pixels of each level; None: one.
    """
    used = extremes(levels)[1]
    for limit in (white * (1 + ROUNDING), USED * white):
        share, rest, lowest = _divided(levels, limit, counts)
        if 0 < share <= MARKED and rest > 0 and lowest - rest >= GAP * white:
            used = rest
    return used


def level_counts(levels: Images) -> NDArray[np.int64] | None:
    """Return the pixel count of each level from 0, of at most 16 bits; None for other types."""
    if levels.dtype not in (np.uint8, np.uint16):
        return None
    counts = np.zeros(np.iinfo(levels.dtype).max + 1, np.int64)
    for piece in pieces(levels):
        counts += np.bincount(piece.ravel(), minlength=len(counts))
    return counts


def _divided(
    levels: Images, limit: float, counts: NDArray[np.int64] | None
) -> tuple[float, float, float]:
    """Return the share of pixels above a limit, the highest level below and the lowest above."""
    number, total, rest, lowest = 0, 0, 0.0, math.inf
    for piece in pieces(levels) if counts is None else [levels[:]]:
        bright = piece > limit
        number += int(bright.sum() if counts is None else counts[bright].sum())
        total += int(bright.size if counts is None else counts.sum())
        rest = max(rest, float(np.max(piece, where=~bright, initial=0)))
        lowest = min(lowest, float(piece[bright].min()) if bright.any() else math.inf)
    return number / total, rest, lowest


def range_note(highest: float, white: float, is_settable: bool = True) -> str | None:
    """Return a line if the images do not use their range, or exceed it.

    Args:
        highest: The highest level of all images.
        white: The level that becomes 1.
        is_settable: Whether `source.white` applies to the images.
    """
    if highest > white * (1 + ROUNDING):
        return (
            f"levels up to {highest:g}, above {white:g}, become 1; expected source.white >= these"
        )
    if highest >= USED * white:
        return None
    if highest <= 0:
        return "every image is black"
    used = f"levels up to {highest:g} of {white:g} are used: images are dark, with few levels"
    if not is_settable:
        return f"{used}; save them with 8 bits, scaled to the range of 0 to 255"
    return f"{used}; set source.white to the level of white, such as {_likely(highest, white)}"


def likely_depth(highest: float, white: float) -> int:
    """Return the bits of images whose highest level, above 1, is far below the level of white.

    They are those of a usual depth, unless the highest level of another depth is reached.
    """
    reached = math.ceil(highest).bit_length()
    usual = [bits for bits in DEPTHS if bits >= reached and 2**bits - 1 < white]
    return usual[0] if usual and highest < 2**reached - 1 else reached


def _likely(highest: float, white: float) -> str:
    """Return a level of white below the present one."""
    if highest <= 1:
        return f"{highest:g}"
    depth = likely_depth(highest, white)
    return f"{2**depth - 1} ({depth} bits)"
