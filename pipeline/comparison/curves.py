"""Average the learning curves of every arm over its runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.bands import bands
from pipeline.config.plan import Plan

SMALLEST_LOSS = 1e-12
KEYS = ("study", "arm", "split", "epoch", "updates")
SIDES = ("low", "high")
Histories = Mapping[str, Sequence[Mapping[str, Any]]]  # fingerprint -> rows of (epoch, split)


def curve_means(plan: Plan, histories: Histories) -> pd.DataFrame:
    """Return the mean curve of every arm over the runs in `histories`, with its 95 % band.

    The mean of the loss is geometric, and its band is the band of the mean logarithm: losses spread
    over powers of ten.

    Args:
        plan: The confirmation plan.
        histories: The rows of the learning curve of each run, by fingerprint.

    Returns:
        A table with `KEYS`, n, the mean learning_rate and, for accuracy (fraction) and loss (nats),
        the mean under that name with its _low and _high.
    """
    rows = [
        {"study": run.study, "arm": run.arm, **row}
        for run in plan.runs_of("comparison")
        for row in histories.get(run.fingerprint, ())
    ]
    frame = pd.DataFrame(rows, columns=[*KEYS, "learning_rate", "accuracy", "loss"])
    frame["loss"] = np.log(frame["loss"].astype(float).clip(lower=SMALLEST_LOSS))
    accuracy, loss = (_named_bands(frame, name) for name in ("accuracy", "loss"))
    bounds = [f"accuracy_{side}" for side in SIDES]
    accuracy[bounds] = accuracy[bounds].clip(0, 1)
    columns = ["loss", *(f"loss_{side}" for side in SIDES)]
    loss[columns] = np.exp(loss[columns])
    rates = frame.groupby(list(KEYS), sort=False)["learning_rate"].mean().reset_index()
    return accuracy.merge(loss, on=[*KEYS, "n"]).merge(rates, on=list(KEYS))


def _named_bands(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    names = {"mean": name, **{side: f"{name}_{side}" for side in SIDES}}
    return bands(frame, KEYS, name).rename(columns=names)
