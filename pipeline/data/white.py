"""Compare the levels of images with the level that stands for white."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDING = 8 * float(np.finfo(np.float32).eps)  # no higher difference from 1 is an error of it
USED = 0.5  # share of the range below which it is noted


def without_rounding(levels: NDArray[Any]) -> NDArray[Any]:
    """Return the levels, clipped to 0 to 1 if rounding alone puts them outside."""
    lowest, highest = levels.min(), levels.max()
    within = lowest >= 0 and highest <= 1
    tolerance = max(ROUNDING, float(np.finfo(levels.dtype).eps))
    if within or not (lowest >= -tolerance and highest <= 1 + tolerance):  # NaN is in neither
        return levels
    return levels.clip(0, 1)


def range_note(highest: float, white: float) -> str | None:
    """Return a line if the images do not use their range, or exceed it.

    Args:
        highest: The highest level of all images.
        white: The level that becomes 1.
    """
    if highest > white * (1 + ROUNDING):
        return (
            f"levels up to {highest:g}, above {white:g}, become 1; expected source.white >= these"
        )
    if highest >= USED * white:
        return None
    if highest <= 0:
        return "every image is black"
    likely = 2 ** int(highest).bit_length() - 1 if highest > 1 else highest
    return (
        f"levels up to {highest:g} of {white:g} are used: images are dark, with few levels; "
        f"set source.white to the level of white, such as {likely:g}"
    )
