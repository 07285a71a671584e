"""Compare arms with their references by class, and find the test images that change sides."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from pipeline.config.plan import BASELINE, Plan

KEYS = ("study", "arm")
CLASSES = (*KEYS, "label", "images", "before", "after", "difference")
FLIPS = (*KEYS, "image", "label", "before", "after", "difference")
MOST = 8  # images of an arm that are listed on either side
LEAST = 0.25  # change of the share of seeds from which an image is listed


def class_accuracies(plan: Plan, shares: pd.DataFrame) -> pd.DataFrame:
    """Return the test accuracy of every arm and of its reference, by class.

    Args:
        plan: The confirmation plan.
        shares: What `image_shares` returns.

    Returns:
        A table with the columns `CLASSES`: the number of images of the class, mean shares over
        them, and accuracy minus reference. It has no intervals.
    """
    rows: list[dict[str, Any]] = []
    for key, of_arm in _compared(plan, shares):
        for label, group in of_arm.groupby("label", sort=True):
            means = group[["before", "correct"]].mean()
            rows.append(
                {
                    **dict(zip(KEYS, key, strict=True)),
                    "label": label,
                    "images": len(group),
                    "before": means["before"],
                    "after": means["correct"],
                    "difference": means["correct"] - means["before"],
                }
            )
    return pd.DataFrame(rows, columns=list(CLASSES))


def flips(plan: Plan, shares: pd.DataFrame) -> pd.DataFrame:
    """Return the test images that an arm classifies correctly in more, or fewer, of its seeds.

    Args:
        plan: The confirmation plan.
        shares: As for `class_accuracies`.

    Returns:
        A table with the columns `FLIPS`: for every arm up to 8 images with the largest gain, then
        up to 8 with the largest loss, of the share of seeds; smaller changes than a quarter of
        the seeds are left out. The first of equal ones count.
    """
    rows: list[dict[str, Any]] = []
    for key, of_arm in _compared(plan, shares):
        change = of_arm["correct"] - of_arm["before"]
        gained = change[change >= LEAST].sort_values(ascending=False, kind="stable")
        lost = change[change <= -LEAST].sort_values(kind="stable")
        for place in [*gained.index[:MOST], *lost.index[:MOST]]:
            row = of_arm.loc[place]
            rows.append(
                {
                    **dict(zip(KEYS, key, strict=True)),
                    "image": int(row["image"]),
                    "label": int(row["label"]),
                    "before": row["before"],
                    "after": row["correct"],
                    "difference": change[place],
                }
            )
    return pd.DataFrame(rows, columns=list(FLIPS))


def _compared(plan: Plan, shares: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """Yield (study, arm) and its table of images, for arms whose runs and references are scored.

    The column `correct` is the share of runs of the arm that classify an image correctly, `before`
    the share of runs of its reference.
    """
    by_arm = {
        (str(study), str(arm)): rows.reset_index(drop=True)
        for (study, arm), rows in shares.groupby(["study", "arm"], sort=False)
    }
    for study in plan.studies_of("comparison"):
        for arm in study.arms:
            mine = by_arm.get((study.name, arm.name))
            other = by_arm.get((study.name, arm.against))
            if arm.name != BASELINE and mine is not None and other is not None:
                reference = other.set_index("image")["correct"]
                yield (study.name, arm.name), mine.assign(before=mine["image"].map(reference))
