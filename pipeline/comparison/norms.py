"""Average the norms of weights, gradients and updates over the runs of every arm."""

from collections.abc import Collection

import numpy as np
import pandas as pd

from pipeline.comparison.bands import BAND, bands
from pipeline.comparison.curves import Histories
from pipeline.config.plan import Plan

NORMS = ("squared_weight_norm", "gradient_norm", "update_ratio")
KEYS = ("study", "arm", "layer", "measure", "epoch", "updates")
ALL = ""  # layers together
SMALLEST = 1e-12


def norm_means(plan: Plan, histories: Histories, studies: Collection[str]) -> pd.DataFrame:
    """Return the geometric means of norms over runs, with the 95 % interval of the mean logarithm.

    Args:
        plan: The confirmation plan.
        histories: The learning curves of the runs that are compared and done, by fingerprint.
        studies: The names of the studies to tabulate.

    Returns:
        A table with the columns `KEYS` and n, mean, low and high. `measure` is one of `NORMS`: of
        the weights that norm penalties act on, after the last update of an epoch. `layer` is the
        name of a weight, empty for all of them together.
    """
    rows = [
        {
            "study": run.study,
            "arm": run.arm,
            "layer": layer,
            "measure": measure,
            "epoch": row["epoch"],
            "updates": row["updates"],
            "value": values[measure],
        }
        for run in plan.runs_of("comparison")
        if run.study in studies
        for row in histories.get(run.fingerprint, ())
        for layer, values in {ALL: row, **row.get("layers", {})}.items()
        for measure in NORMS
        if values.get(measure) is not None
    ]
    frame = pd.DataFrame(rows, columns=[*KEYS, "value"])
    frame["value"] = np.log(frame["value"].astype(float).clip(lower=SMALLEST))
    table = bands(frame, KEYS, "value")
    statistics = list(BAND[1:])
    table[statistics] = np.exp(table[statistics].astype(float))
    return table
