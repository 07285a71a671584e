"""Errors over seeds and test images together, and the shares of runs that are right."""

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.intervals import total_error
from pipeline.comparison.other_images import SHARES, crossed_error, hits_of, image_shares
from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy

IMAGES, SEEDS = 20, range(3)
PAIRS = [(f"baseline{seed}", f"drop{seed}") for seed in SEEDS]


@pytest.fixture
def table():
    generator = np.random.default_rng(0)
    runs = {run: generator.integers(0, 2, IMAGES) for pair in PAIRS for run in pair}
    return pd.DataFrame({"image": range(IMAGES), "label": np.arange(IMAGES) % 3, **runs})


def test_the_error_is_that_of_crossed_variances(table):
    changes = np.array([table[arm] - table[reference] for reference, arm in PAIRS])
    expected = total_error(0.03, changes.mean(axis=0), np.abs(changes).mean(), 3)
    assert crossed_error(0.03, PAIRS, hits_of(table)) == pytest.approx(expected)
    assert crossed_error(0.03, PAIRS, hits_of(table)) > 0.03


def test_the_error_of_an_unknown_run_is_unknown(table):
    assert np.isnan(crossed_error(0.03, PAIRS, hits_of(table.drop(columns="drop1"))))
    assert np.isnan(crossed_error(np.nan, [], hits_of(table)))


def test_shares_are_of_the_runs_of_an_arm_that_are_scored(table):
    names = ("baseline", "drop", "lost")
    runs = [
        PlannedRun(study="one", arm=arm, seed=seed, fingerprint=f"{arm}{seed}")
        for arm in names
        for seed in SEEDS
    ]
    arms = tuple(PlannedArm(name=name) for name in names)
    study = PlannedStudy(name="one", question="?", arms=arms)
    plan = Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(study,),
        runs=tuple(runs),
    )
    shares = image_shares(plan, table.drop(columns="drop1"))
    assert tuple(shares.columns) == SHARES
    assert set(shares["arm"]) == {"baseline", "drop"}
    drop = shares[shares["arm"] == "drop"]
    assert drop["label"].tolist() == table["label"].tolist()
    assert drop["correct"].tolist() == table[["drop0", "drop2"]].mean(axis=1).tolist()
    assert image_shares(plan, table[["image", "label"]]).empty
