"""Costs of arms: means of the arm, multiples of the baseline's, and operations at test."""

import numpy as np
import pandas as pd
import pytest
from report_data import planned

from pipeline.comparison.costs import COLUMNS, costs

STUDIES = {"one": {"noisy": "noise_12", "early": "deterministic"}, "two": {"plain": "noise_12"}}


def means(*rows):
    """Return the table `arms` from (study, arm, metric, n, mean)."""
    return pd.DataFrame(rows, columns=["study", "arm", "metric", "n", "mean"])


def counted(study, arm, n, training, updates, forward):
    """Return the rows of the three costs of an arm."""
    values = {"training_flops": training, "updates": updates, "forward_flops": forward}
    return [(study, arm, metric, n, value) for metric, value in values.items()]


BASELINES = [
    *counted("one", "baseline", 3, 200.0, 180.0, 5.0),
    *counted("two", "baseline", 3, 400.0, 90.0, 5.0),
]


@pytest.fixture
def plan():
    return planned("confirmation", STUDIES)


def test_costs_are_multiples_of_the_baseline_s(plan):
    table = costs(
        plan,
        means(
            *BASELINES,
            *counted("one", "noisy", 3, 300.0, 180.0, 5.0),
            *counted("one", "early", 2, 100.0, 90.0, 7.0),
            *counted("two", "plain", 3, 300.0, 180.0, 5.0),
            ("one", "early", "test_accuracy", 1, 0.9),
        ),
        {},
    )
    assert tuple(table) == COLUMNS
    rows = table.set_index(["study", "arm"])
    assert rows.loc[("one", "baseline")].tolist() == [3, 200, 1, 180, 1, 1, 5, ""]
    assert rows.loc[("one", "noisy")].tolist() == [3, 300, 1.5, 180, 1, 12, 60, ""]
    assert rows.loc[("one", "early")].tolist() == [2, 100, 0.5, 90, 0.5, 1, 7, ""]
    # of the baseline of its own study
    assert rows.loc[("two", "plain")].tolist() == [3, 300, 0.75, 180, 2, 12, 60, ""]


def test_every_arm_of_the_plan_has_a_row_in_its_order(plan):
    table = costs(plan, means(*BASELINES), {})
    names = list(zip(table["study"], table["arm"], strict=True))
    assert names == [
        ("one", "baseline"),
        ("one", "noisy"),
        ("one", "early"),
        ("two", "baseline"),
        ("two", "plain"),
    ]
    lost = table[table["arm"] != "baseline"]
    assert list(lost["n"]) == [0, 0, 0]
    assert list(lost["passes"]) == [12, 1, 12]
    assert np.isnan(lost[["training_flops", "training_ratio", "updates_ratio", "test_flops"]]).all(
        axis=None
    )


def test_without_a_baseline_there_is_no_ratio(plan):
    table = costs(plan, means(*counted("one", "noisy", 3, 300.0, 180.0, 5.0)), {})
    row = table.set_index("arm").loc["noisy"]
    assert (row["training_flops"], row["updates"], row["test_flops"]) == (300, 180, 60)
    assert np.isnan([row["training_ratio"], row["updates_ratio"]]).all()


def test_models_of_groups_have_no_row(plan):
    studies = (plan.studies[0], plan.studies[1].model_copy(update={"kind": "ensemble"}))
    table = costs(plan.model_copy(update={"studies": studies}), means(*BASELINES), {})
    assert set(table["study"]) == {"one"}


def test_operations_left_out_are_those_of_any_run_of_the_arm(plan):
    names = [["aten._fft_r2c"], ["aten._fft_c2c", "aten._fft_r2c"], []]
    runs = [run for run in plan.runs if (run.study, run.arm) == ("one", "noisy")]
    records = {
        run.fingerprint: {"state": "done", "cost": {"uncounted": uncounted}}
        for run, uncounted in zip(runs, names, strict=True)
    }
    table = costs(plan, means(*BASELINES), records).set_index(["study", "arm"])
    assert table.loc[("one", "noisy"), "uncounted"] == "aten._fft_c2c, aten._fft_r2c"
    assert list(table["uncounted"]).count("") == len(table) - 1
