"""Mean curves of arms: what is averaged, and where the bands end."""

import numpy as np
import pandas as pd
import pytest
from report_data import planned
from scipy import stats

from pipeline.comparison.curves import SMALLEST_LOSS, curve_means
from pipeline.config.plan import PlannedArm, PlannedRun, PlannedStudy

PLAN = planned("confirmation", {"one": {"dropout": "deterministic"}})
NAMES = [f"onedropout{seed}" for seed in (1000, 1001, 1002)]


def histories(losses, accuracies):
    """Return one point of the curve of every run of the arm."""
    point = {"epoch": 2, "updates": 6, "split": "train"}
    return {
        name: [{**point, "loss": loss, "accuracy": accuracy}]
        for name, loss, accuracy in zip(NAMES, losses, accuracies, strict=True)
    }


def test_the_mean_loss_is_geometric_and_its_band_that_of_the_logarithm():
    (row,) = curve_means(PLAN, histories([0.001, 0.1, 1.0], [0.5, 0.6, 0.7])).to_dict("records")
    assert (row["study"], row["arm"], row["split"]) == ("one", "dropout", "train")
    assert (row["epoch"], row["updates"], row["n"]) == (2, 6, 3)
    logs = np.log([0.001, 0.1, 1.0])
    low, high = np.exp(stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs)))
    band = [row[name] for name in ("loss_low", "loss", "loss_high")]
    assert band == pytest.approx([low, 0.0001 ** (1 / 3), high])
    assert row["accuracy"] == pytest.approx(0.6)


def test_a_loss_of_zero_counts_as_the_smallest():
    (row,) = curve_means(PLAN, histories([0.0, 1.0, 1.0], [0.5, 0.6, 0.7])).to_dict("records")
    assert row["loss"] == pytest.approx(SMALLEST_LOSS ** (1 / 3))


def test_the_band_of_an_accuracy_ends_at_0_and_1():
    (row,) = curve_means(PLAN, histories([1.0] * 3, [0.0, 1.0, 0.5])).to_dict("records")
    assert (row["accuracy_low"], row["accuracy_high"]) == (0, 1)


def test_curves_are_those_of_compared_runs_by_split_and_epoch():
    groups = PlannedStudy(
        name="groups", question="?", kind="ensemble", arms=(PlannedArm(name="a"),)
    )
    member = PlannedRun(study="groups", arm="a", seed=0, fingerprint="member", member=1)
    plan = PLAN.model_copy(
        update={"studies": (*PLAN.studies, groups), "runs": (*PLAN.runs, member)}
    )
    points = [
        {"epoch": epoch, "updates": epoch, "split": split, "loss": 1.0, "accuracy": epoch / 10}
        for epoch in (1, 2)
        for split in ("train", "validation")
    ]
    table = curve_means(plan, {NAMES[0]: points, "member": points})
    assert list(zip(table["study"], table["split"], table["accuracy"], strict=True)) == [
        *(("one", "train", 0.1), ("one", "validation", 0.1)),
        *(("one", "train", 0.2), ("one", "validation", 0.2)),
    ]
    assert table[["accuracy_low", "loss_high"]].isna().all(axis=None)


def test_without_histories_there_is_no_curve():
    table = curve_means(PLAN, {})
    assert isinstance(table, pd.DataFrame)
    assert table.empty
    assert {"accuracy_low", "loss_high"} <= set(table.columns)
