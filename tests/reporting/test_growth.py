"""Lines over the size of the training set: which arm is a point of which line, and that other studies draw none."""

from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.config.plan import PlannedArm, PlannedStudy
from pipeline.reporting.diagrams import growth_curves
from pipeline.reporting.growth import growth_frames, growth_section, is_grown

FACTORS = {
    "baseline": ("nothing", 1000),
    "images_100": ("data.train_size=100 + training.epochs=500", 100),
    "drop_at_100": ("dropout, against images_100", 100),
    "drop_at_1000": ("dropout", 1000),
    "images_5000": ("data.train_size=5000 + training.epochs=10", 5000),
    "plain_at_5000": ("model.batch_norm=false + data.train_size=5000", 5000),
    "both_at_5000": ("dropout + augmentation, against images_5000", 5000),
}


def against(factor):
    return factor.partition(", against ")[2] or "baseline"


def study(factors=FACTORS):
    arms = [
        PlannedArm(
            name=name, factor=factor, against=against(factor), rule="deterministic", train_size=size
        )
        for name, (factor, size) in factors.items()
    ]
    return PlannedStudy(name="growth", question="?", arms=tuple(arms))


@pytest.fixture
def report():
    """Two seeds of every arm, and the contrast of every arm but the baseline."""
    outcomes = [
        ("growth", arm, 0.5 + place / 10 + shift)
        for place, arm in enumerate(FACTORS)
        for shift in (-0.01, 0.01)
    ]
    rows = [
        ("growth", arm, place / 100, place / 100 - 0.01, place / 100 + 0.01)
        for place, arm in enumerate(FACTORS)
        if place
    ]
    primary = pd.DataFrame(rows, columns=["study", "arm", "difference", "low", "high"])
    frame = pd.DataFrame(outcomes, columns=["study", "arm", "test_accuracy"])
    return SimpleNamespace(outcomes=frame, primary=lambda: primary)


def test_an_arm_is_a_point_of_the_line_of_what_it_adds(report):
    scores, differences = growth_frames(report, study())
    assert list(zip(scores["series"], scores["size"], scores["mean"].round(3), strict=True)) == [
        *(("baseline", 100, 0.6), ("baseline", 1000, 0.5), ("baseline", 5000, 0.9)),
        *(("dropout", 100, 0.7), ("dropout", 1000, 0.8), ("dropout + augmentation", 5000, 1.1)),
        ("model.batch_norm=false", 5000, 1.0),
    ]
    assert list(
        zip(differences["series"], differences["size"], differences["mean"], strict=True)
    ) == [
        *(("dropout", 100, 0.02), ("dropout", 1000, 0.03), ("dropout + augmentation", 5000, 0.06))
    ]


def test_the_figure_has_a_line_for_each_and_a_tick_for_every_size(report):
    upper, lower = growth_curves(*growth_frames(report, study())).axes
    assert [list(line.get_xdata()) for line in upper.lines] == [
        [100, 1000, 5000],
        [100, 1000],
        [5000],
        [5000],
    ]
    assert list(lower.get_xticks()) == [100, 1000, 5000]


def test_a_study_of_one_size_has_no_such_section(report):
    plain = study({name: (factor, 1000) for name, (factor, _) in FACTORS.items()})
    assert not is_grown(plain)
    assert growth_section(report, plain) == ""
    assert "figures/growth_growth.png" in growth_section(report, study())
