"""Compute how small a difference in accuracy a validation set distinguishes from chance."""

from math import inf, nan, sqrt

import pandas as pd

COLUMNS = ("share", "images", "difference", "seeds", "overlap", "least", "most")
SHARES = (0.02, 0.1)  # shares of images on which exactly one of two networks is right
NORMAL = 1.96  # standard deviations to either side of 95 % of a normal distribution


def resolution(images: int, seeds: int, overlap: float) -> pd.DataFrame:
    """Return a row per share in `SHARES`, with the columns `COLUMNS`.

    `difference` (fraction) is the difference that two equally good networks do not exceed in 95 of
    100 draws of a validation set, if exactly one of them is right on the share. The mean over seeds
    divides it by `least` (the same images decide at every seed) to `most` (other images do), NaN
    for fewer than two seeds.

    Args:
        images: The number of validation images.
        seeds: The number of exploration seeds.
        overlap: The part (0 to 1) of their validation images that two of these seeds share.
    """
    bounds = (_divisor(seeds, overlap), _divisor(seeds, 0)) if seeds > 1 else (nan, nan)
    rows = [
        (share, images, chance_difference(share, images), seeds, overlap, *bounds)
        for share in SHARES
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def chance_difference(share: float, images: int) -> float:
    """Return the difference in accuracy (fraction) that chance exceeds in 5 of 100 draws.

    It is a normal approximation, and at most the share itself.

    Args:
        share: The part (0 to 1) of the images on which exactly one of two networks is right.
        images: The number of images.
    """
    return min(share, NORMAL * sqrt(share / images) if images else inf)


def _divisor(seeds: int, overlap: float) -> float:
    return sqrt(seeds / (1 + (seeds - 1) * overlap))
