"""Learning rates that work, loss and norms against updates: their table and their figures."""

from math import inf, nan
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.norms import NORMS
from pipeline.config.plan import PlannedStudy
from pipeline.reporting import style
from pipeline.reporting.markdown import Formatter
from pipeline.reporting.pages._training import loss_section, norm_section, rate_section
from pipeline.reporting.plots import rates, training
from pipeline.reporting.plots._edges import ARROW

STUDY = PlannedStudy(name="s", question="?", arms=())
PALETTE = style.colors(["baseline", "a"])
RANGES = pd.DataFrame(
    [
        ("s", "baseline", 5, 2, "curve", 0.05, 0.92, 0.0125, 0.13, 10.4, True, False, 8.0, inf),
        (
            "s",
            "a",
            8,
            2,
            "several values searched",
            0.1,
            nan,
            nan,
            nan,
            nan,
            False,
            False,
            nan,
            nan,
        ),
    ],
    columns=[
        *("study", "arm", "trials", "seeds", "basis", "chosen", "best", "low", "high", "factor"),
        *("low_open", "high_open", "least", "most"),
    ],
)
TRIALS = pd.DataFrame(
    [
        ("baseline", 0.0125, 0.91, 0.912, 0, False),
        ("baseline", 0.05, 0.92, 0.92, 0, True),
        ("baseline", 0.2, 0.2, nan, 0, False),
        ("a", 0.1, 0.9, nan, 0, True),
        ("a", 1.0, nan, nan, 2, False),
    ],
    columns=["arm", "learning_rate", "validation_accuracy", "fitted", "diverged", "chosen"],
)


def report(**tables):
    empty = pd.DataFrame(columns=["study"])
    names = ("rate_ranges", "curves", "norms")
    return SimpleNamespace(format=Formatter(), **{name: tables.get(name, empty) for name in names})


def test_the_table_tells_open_ends_and_arms_without_a_range():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in rate_section(report(rate_ranges=RANGES), STUDY).splitlines()
        if line.startswith(("| baseline", "| a "))
    ]
    assert rows == [
        ["baseline", "5", "0.05", "92.0", "<= 0.0125 to 0.13", "at least 10.4", "8 to open"],
        ["a", "8", "0.1", "–", "–", "–", "–"],
    ]


def test_studies_whose_arms_search_no_rate_have_none_of_it():
    data = report(curves=pd.DataFrame({"study": ["s"]}))
    assert [section(data, STUDY) for section in (rate_section, loss_section, norm_section)] == [
        ""
    ] * 3


@pytest.mark.parametrize(("arm", "place"), [("baseline", 0), ("a", 1)])
def test_the_chosen_rate_is_starred_on_a_logarithmic_axis(arm, place):
    ax = rates.rates(TRIALS, RANGES, PALETTE).axes[place]
    assert ax.get_title(loc="left") == arm
    assert ax.get_xscale() == "log"
    (star,) = [line for line in ax.lines if line.get_marker() == "*"]
    chosen = TRIALS[(TRIALS["arm"] == arm) & TRIALS["chosen"]].iloc[0]
    assert star.get_xydata().tolist() == [
        [chosen["learning_rate"], 100 * chosen["validation_accuracy"]]
    ]


def marks(ax):
    return {line.get_marker(): line.get_xydata().tolist() for line in ax.lines}


def test_collapsed_and_diverged_trials_stand_at_the_lower_edge():
    baseline, other = rates.rates(TRIALS, RANGES, PALETTE).axes
    assert marks(baseline)["v"] == [[0.2, ARROW]]
    assert [text.get_text() for text in baseline.texts] == ["20.0"]
    assert marks(other)["x"] == [[1, ARROW]]
    assert marks(baseline)["o"] == [[0.0125, 91], [0.05, 92]]
    words = [text.get_text() for legend in baseline.figure.legends for text in legend.get_texts()]
    assert {"lower than shown", "a run diverged", "response curve"} <= set(words)


def test_a_panel_shows_the_trials_of_its_arm_and_every_chosen_one():
    chosen = TRIALS.assign(chosen=[False, False, True, True, False])
    limits = [
        ax.get_ylim()
        for trials in (TRIALS, chosen)
        for ax in rates.rates(trials, RANGES, PALETTE).axes[:1]
    ]
    (low, high), (lower, higher) = limits
    assert 80 < low < 91 < 92 < high < 93
    assert lower < 20 < 92 < higher


def test_the_range_that_works_is_shaded():
    spans = [ax.patches for ax in rates.rates(TRIALS, RANGES, PALETTE).axes]
    ((band,), none) = spans
    assert len(none) == 0
    box = band.get_extents().transformed(band.axes.transData.inverted())
    assert (box.x0, box.x1) == pytest.approx((0.0125, 0.13))


def test_losses_and_norms_draw_their_tables():
    looks = {"a": {"color": "red", "marker": "o"}}
    rows = [("a", updates, measure) for updates in (30, 60) for measure in NORMS]
    norms = pd.DataFrame(rows, columns=["arm", "updates", "measure"])
    norms = norms.assign(mean=0.5, low=0.4, high=0.6)
    axes = training.measures(norms, looks).axes
    assert [ax.get_ylabel() for ax in axes] == [training.NAMES[name] for name in NORMS]
    assert axes[-1].get_xlabel() == "updates"
    curves = pd.DataFrame({"arm": "a", "updates": [30, 60], "split": "validation"})
    curves = curves.assign(loss=[2.0, 1.0], loss_low=[1.5, 0.9], loss_high=[2.5, 1.1])
    (ax,) = training.losses(curves, looks).axes
    assert ax.get_yscale() == "log"
    assert np.allclose(ax.lines[0].get_xydata(), [[30, 2], [60, 1]])
    edges = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert {0.9, 1.5, 1.1, 2.5} <= set(edges.round(6))
