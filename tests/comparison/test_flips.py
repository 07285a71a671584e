"""Accuracy by class, and the test images that an arm gains or loses."""

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.flips import CLASSES, FLIPS, LEAST, MOST, class_accuracies, flips
from pipeline.comparison.other_images import SHARES
from pipeline.config.plan import Plan, PlannedArm, PlannedStudy

IMAGES = 60
LABELS = np.arange(IMAGES) % 3


def plan():
    """Return a plan in which `second` is compared with `first`, and `lost` was never scored."""
    arms = (
        PlannedArm(name="baseline"),
        PlannedArm(name="first"),
        PlannedArm(name="second", against="first"),
        PlannedArm(name="lost"),
    )
    return Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(PlannedStudy(name="one", question="?", arms=arms),),
        runs=(),
    )


def shares():
    """Return the share of seeds, of eight, that are right on each image, by arm."""
    generator = np.random.default_rng(0)
    return {name: generator.integers(0, 9, IMAGES) / 8 for name in ("baseline", "first", "second")}


def images():
    """Return what `image_shares` returns, its rows out of order."""
    rows = [
        ("one", name, image, LABELS[image], value)
        for name, values in shares().items()
        for image, value in enumerate(values)
    ]
    table = pd.DataFrame(rows, columns=list(SHARES))
    return table.sample(frac=1, random_state=1)


def test_classes_have_the_mean_of_their_images_against_the_reference_of_the_arm():
    table = class_accuracies(plan(), images())
    assert list(table.columns) == list(CLASSES)
    assert list(table["arm"]) == ["first"] * 3 + ["second"] * 3
    for row in table.to_dict("records"):
        other = {"first": "baseline", "second": "first"}[row["arm"]]
        mine, reference = (shares()[name][row["label"] == LABELS] for name in (row["arm"], other))
        assert row["images"] == len(mine)
        assert [row["after"], row["before"], row["difference"]] == pytest.approx(
            [mine.mean(), reference.mean(), mine.mean() - reference.mean()]
        )


def test_flips_are_the_largest_changes_on_either_side():
    table = flips(plan(), images())
    assert list(table.columns) == list(FLIPS)
    assert set(table["arm"]) == {"first", "second"}
    for arm, other in (("first", "baseline"), ("second", "first")):
        change = shares()[arm] - shares()[other]
        mine = table[table["arm"] == arm]
        assert list(mine["difference"]) == pytest.approx(list(change[mine["image"]]))
        assert list(mine["label"]) == list(LABELS[mine["image"]])
        gained, lost = mine[mine["difference"] > 0], mine[mine["difference"] < 0]
        ordered = np.sort(change)
        assert list(gained["difference"]) == pytest.approx(ordered[::-1][:MOST])
        assert list(lost["difference"]) == pytest.approx(ordered[:MOST])


def test_small_changes_are_no_flips():
    table = images()
    table["correct"] = np.where(table["arm"] == "first", 0.5 + LEAST / 2, 0.5)
    assert flips(plan(), table).empty
    table["correct"] = np.where(table["arm"] == "first", 0.5 + LEAST, 0.5)
    assert len(flips(plan(), table)) == 2 * MOST  # first gains it, second loses it again
