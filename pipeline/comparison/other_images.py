"""Generalize contrasts to other test images: errors over seeds and images together."""

from collections.abc import Mapping, Sequence
from math import nan, sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.intervals import Array, mean, standard_error, total_error, varies
from pipeline.comparison.weights import LookMean, look_equivalence, look_statistics
from pipeline.config.plan import Plan

COLUMNS = ("image", "label")  # columns of the table `images`, before a column for each run
SHARES = ("study", "arm", "image", "label", "correct")

Hits = NDArray[np.int8]  # (images,): 1 where a run classifies an image correctly, 0 elsewhere
Pair = tuple[Any, ...]  # the names of two runs, the reference first


def hits_of(images: pd.DataFrame) -> dict[str, Hits]:
    """Return the hits of every run by fingerprint.

    Args:
        images: The table `images` of `evaluate`: a row per test image, with `COLUMNS` and a column
            for each run that is compared, 1 where it classifies the image correctly, else 0.
    """
    return {run: images[run].to_numpy(np.int8) for run in images.columns.drop(list(COLUMNS))}


def statistics_over_images(
    looks: Sequence[tuple[Array, Sequence[Pair]]],
    weights: Sequence[float],
    hits: Mapping[Any, Hits],
    margin: float,
    whole: float = 1.0,
) -> dict[str, float]:
    """Return the interval and p of a contrast over seeds and test images, after its looks.

    They are the results of `look_statistics` and `look_equivalence`, with the error of each look
    over its seeds and the images together. They are NaN if the hits of a run are unknown.

    Args:
        looks: At each look the differences (n,), and the names of the runs of the reference and of
            the arm for each of them.
        weights: The weights of these looks.
        hits: The hits of every run by name.
        margin: The margin of equivalence, in the units of the differences.
        whole: The difference between a network that is always right and one that never is.

    Returns:
        `low_images`, `high_images`, `p_images`, `p_equivalence_images`; `total_error`, the standard
        error of the last look, and `image_error`, which is what images add to that over seeds.
    """
    means, total, of_seeds = [], nan, nan
    for differences, pairs in looks:
        of_seeds = standard_error(differences)
        total = whole * crossed_error(of_seeds / whole, pairs, hits)
        error = total if varies(differences) else nan
        means.append(LookMean(mean(differences), error, len(differences)))
    statistics = look_statistics(means, weights)
    within = look_equivalence(means, weights, margin)
    return {
        "low_images": statistics["low"],
        "high_images": statistics["high"],
        "p_images": statistics["p"],
        "p_equivalence_images": within["p_equivalence"],
        "total_error": total,
        "image_error": sqrt(max(total**2 - of_seeds**2, 0.0)),
    }


def crossed_error(seed_error: float, pairs: Sequence[Pair], hits: Mapping[Any, Hits]) -> float:
    """Return the standard error of a difference in accuracy over seeds and test images together.

    Args:
        seed_error: The standard error over seeds, a fraction.
        pairs: The names of the runs of the reference and of the arm, for every seed that counts.
        hits: The hits of every run by name.

    Returns:
        The error, a fraction, as `total_error`; NaN if the hits of a run are unknown.
    """
    if not pairs or not all(run in hits for pair in pairs for run in pair):
        return nan
    changes = [hits[arm] - hits[reference] for reference, arm in pairs]
    shares = np.mean(changes, axis=0)
    disagreement = float(np.mean([np.count_nonzero(change) / len(change) for change in changes]))
    return total_error(seed_error, shares, disagreement, len(pairs))


def image_shares(plan: Plan, images: pd.DataFrame) -> pd.DataFrame:
    """Return the share of an arm's runs that classify a test image correctly.

    Args:
        plan: The confirmation plan.
        images: As for `hits_of`.

    Returns:
        A table with the columns `SHARES`, a row per arm with a scored run and image.
    """
    hits = hits_of(images)
    scored: dict[tuple[str, str], list[Hits]] = {}
    for run in plan.runs_of("comparison"):
        if run.fingerprint in hits:
            scored.setdefault((run.study, run.arm), []).append(hits[run.fingerprint])
    tables = [
        images[list(COLUMNS)].assign(study=study, arm=arm, correct=_share(runs))
        for (study, arm), runs in scored.items()
    ]
    columns = list(SHARES)
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def _share(runs: Sequence[Hits]) -> Array:
    share: Array = np.mean(runs, axis=0)
    return share
