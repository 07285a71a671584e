"""Carry contrasts over to other test images: errors over seeds and images together."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.intervals import Array, total_error
from pipeline.config.plan import Plan

COLUMNS = ("image", "label")  # of the table `images`, before a column for each run
SHARES = ("study", "arm", "image", "label", "correct")

Hits = NDArray[np.int8]  # (images,): 1 where a run classifies an image correctly, else 0


def hits_of(images: pd.DataFrame) -> dict[str, Hits]:
    """Return the hits of every run by fingerprint.

    Args:
        images: The table `images` of `evaluate`: a row per test image, with `COLUMNS` and a column
            for each run that is compared, 1 where it classifies the image correctly, else 0.
    """
    return {run: images[run].to_numpy(np.int8) for run in images.columns.drop(list(COLUMNS))}


def crossed_error(
    seed_error: float, pairs: Sequence[tuple[str, ...]], hits: Mapping[str, Hits]
) -> float:
    """Return the standard error of a difference in accuracy over seeds and test images together.

    Args:
        seed_error: The standard error over seeds, a fraction.
        pairs: The names of the runs of the reference and of the arm, for every seed that counts.
        hits: The hits of every run by name.

    Returns:
        The error, a fraction, as `total_error`; NaN where the hits of a run are unknown.
    """
    if not pairs or not all(run in hits for pair in pairs for run in pair):
        return float("nan")
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
