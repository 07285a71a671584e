"""Overtuning: the chosen setting against others of its arm, paired by seed, by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.matching import outcomes
from pipeline.comparison.overtuning import COLUMNS, overtuning
from pipeline.config.plan import OVERTUNING, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.records.tables import read_table, write_table

SEEDS = (1000, 1001, 1002, 1003)
VALUES = {"x": (0.9, 0.8, 0.7, 0.6), "x, default": (0.85, 0.81, 0.6, 0.5)}
RATES = {"x": 0.3, "x, default": 0.5}


def test_a_row_is_chosen_minus_other_and_leaves_out_seeds_without_both(tmp_path):
    arms = [PlannedArm(name="baseline"), PlannedArm(name="x")]
    arms.append(PlannedArm(name="x, default", against="x"))
    study = PlannedStudy(name=OVERTUNING, question="?", kind="overtuning", arms=tuple(arms))
    runs = [
        PlannedRun(
            study=OVERTUNING,
            arm=arm,
            setting={"dropout": {"rate": RATES[arm]}},
            seed=seed,
            fingerprint=f"{arm}{seed}",
        )
        for arm in VALUES
        for seed in SEEDS
    ]
    plan = Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(study,),
        runs=tuple(runs),
    )
    rows = [
        (f"{arm}{seed}", "deterministic", 1, "test", "accuracy", value)
        for arm, values in VALUES.items()
        for seed, value in zip(SEEDS, values, strict=True)
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    states = dict.fromkeys(plan.fingerprints(), "done") | {"x, default1003": "failed"}
    matched = outcomes(pd.DataFrame(rows, columns=columns), states, dict.fromkeys(states, "m"))
    table = overtuning(plan, matched)
    assert tuple(table.columns) == COLUMNS
    write_table(tmp_path / "overtuning.csv", table)
    (row,) = read_table(tmp_path / "overtuning.csv").to_dict("records")
    differences = np.array([0.05, -0.01, 0.1])
    low, high = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert (row["arm"], row["other"], row["n"]) == ("x", "x, default", 3)
    assert (row["setting"], row["other_setting"]) == (
        {"dropout": {"rate": 0.3}},
        {"dropout": {"rate": 0.5}},
    )
    assert [row[name] for name in ("difference", "low", "high")] == pytest.approx(
        [differences.mean(), low, high]
    )
    assert not row["excludes_zero"]
