"""The report on results from elsewhere: units in words, warnings, a table that LaTeX reads."""

import re

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison import judge
from pipeline.reporting.judgement import (
    UNKNOWN,
    judged_rows,
    judgement_latex,
    judgement_page,
    metric_of,
    warnings,
)
from pipeline.reporting.judgement_figure import judgement_forest
from pipeline.reporting.style import png, svg

BASELINE = np.array([0.91, 0.92, 0.90, 0.91, 0.92, 0.905, 0.915, 0.91])
NOISE = 0.002 * np.array([1, -1, 2, -2, 1, 0, -1, 0])
WIDE = {"baseline": BASELINE, "better": BASELINE + 0.03 + NOISE, "alike": BASELINE + NOISE}
LOSSES = {name: 12_000 * (2 - scores) for name, scores in WIDE.items()}


def table(page):
    """Return the cells of the first table of a page by arm."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    head, _, *body = ([cell.strip() for cell in line[1:-1].split(" | ")] for line in lines)
    return {cells[0]: dict(zip(head, cells, strict=True)) for cells in body}


def texts(judged):
    figure = judgement_forest(judged)
    ax = figure.axes[0]
    words = [text.get_text() for text in (*ax.texts, *ax.get_yticklabels(), ax.xaxis.label)]
    return [*words, *(text.get_text() for legend in figure.legends for text in legend.texts)]


def test_fractions_are_shown_in_percent_and_points():
    judged = judge(WIDE)
    page = judgement_page(judged, "mine | yours")
    assert page.startswith(r"# Judged: mine \| yours")
    row = table(page)["better"]
    assert (row["verdict"], row["n"], row["arm mean (%)"]) == ("helps", "8", "94.1")
    assert row["difference [95 % interval]"].replace("\u00a0", " ") == "+3.0 [+2.8, +3.2]"
    bounds = 100 * judged.table[["low_all", "high_all"]].to_numpy()
    better, alike = (f"[{low:+.1f}, {high:+.1f}]" for low, high in bounds)
    assert f"**better** (+3.0 points {better}) helps." in page
    assert f"**alike** (0.0 points {alike}) is equivalent to its reference within" in page
    assert all(what in page for what in UNKNOWN)
    assert "difference in score (points), 95 % interval" in texts(judged)
    assert "margin (±1 point)" in texts(judged)


def test_other_numbers_have_no_points():
    judged = judge(LOSSES, direction="lower", margin=50.0, wide=True, score="loss_$x$")
    page = judgement_page(judged, "mine")
    words = [*texts(judged), judgement_latex(judged, "mine"), page.replace("Points", "points")]
    assert not [word for word in words if "point" in word or " % of" in word]
    row = table(page)["better"]
    assert (row["verdict"], row["arm mean"]) == ("helps", "12705")
    assert list(table(page)) == ["better", "alike"]
    assert "lower is better" in page
    assert r"difference in loss_\$x\$, lower is better, 95 % interval" in texts(judged)
    assert "margin (±50)" in texts(judged)


@pytest.mark.parametrize(("scale", "decimals"), [(1, 4), (100, 2), (1e4, 0), (1e-6, 8), (0, 3)])
def test_decimals_follow_the_intervals(scale, decimals):
    judged = judge(
        {name: scale * scores for name, scores in WIDE.items()}, unit="number", margin=1.0
    )
    assert metric_of(judged).decimals == decimals


def test_an_arm_that_helps_points_to_where_the_score_goes():
    """Its marker is the one that hurts has where a higher score is better."""
    markers = {}
    for direction, scores in (("higher", WIDE), ("lower", LOSSES)):
        judged = judge(scores, direction=direction, margin=50.0 if direction == "lower" else None)
        spot = judgement_forest(judged).axes[0].collections[0]
        markers[direction] = spot.get_paths()[0].vertices[0, 0]  # its tip
    assert markers["lower"] == pytest.approx(-markers["higher"])
    assert markers["higher"] > 0


def test_arms_with_several_references_are_grouped():
    judged = judge(WIDE).seeds.assign(reference=lambda rows: rows["arm"].map({"alike": "other"}))
    judged = judge(judged.fillna({"reference": "baseline"}))
    assert judged_rows(judged)["label"].tolist() == [
        "better (against baseline)",
        "alike (against other)",
    ]
    assert "against other" in texts(judged)


def warned(judged):
    return list(warnings(judged, judged_rows(judged)))


def test_what_limits_the_verdicts_is_told():
    assert warned(judge(WIDE)) == []
    few = warned(judge({name: scores[:4] for name, scores in WIDE.items()}))
    assert ["(7)" in line and "**better** (4)" in line for line in few] == [True]
    collapsed = WIDE | {"better": np.where(np.arange(8) == 2, 0.1, WIDE["better"])}
    (line,) = warned(judge(collapsed))
    assert line.startswith("**better**, seed 3: 10.0 is far from the arm's median of 94.")
    (line,) = warned(judge(WIDE | {"alike": WIDE["better"]}))
    assert line.startswith("**better** and **alike** have the same scores at every seed.")
    (line,) = warned(judge(WIDE | {"alike": BASELINE + 0.01}))
    assert line == "**alike** has the same difference at every seed: no interval, no p."


def lost_by_reference(seed, **columns):
    """Return scores whose reference lost the run of a seed, so that `hurts` may be undone."""
    scores = {"baseline": BASELINE, "better": BASELINE + 0.03 + NOISE, "worse": BASELINE - 0.02}
    frame = pd.DataFrame({"seed": range(1, 9), **scores}).assign(worse=scores["worse"] + NOISE)
    rows = frame.melt("seed", var_name="arm", value_name="score").assign(diverged=False)
    lost = (rows["arm"] == "baseline") & (rows["seed"] == seed)
    for name, value in columns.items():
        rows.loc[lost, name] = value
    return rows


@pytest.mark.parametrize(
    ("columns", "depth"), [({"score": 0.31}, 0.6), ({"score": np.nan, "diverged": True}, 0.91)]
)
def test_verdicts_that_rates_of_lost_runs_may_undo_are_named(columns, depth):
    judged = judge(lost_by_reference(1, **columns))
    rates = judged.rates.set_index("arm")
    assert rates.loc["better", "undone"] == pytest.approx((0.03 + NOISE[1:].mean()) / depth)
    assert rates.loc["worse", "undone"] == pytest.approx((0.02 - NOISE[1:].mean()) / depth)
    assert rates.loc["worse", "undone"] < rates.loc["baseline", "high"]
    page = judgement_page(judged, "mine")
    note = page[page.index("Verdicts are about runs that were not lost") :].splitlines()[0]
    assert set(re.findall(r"\*\*(\w+)\*\*", note)) == {"better"}
    assert judged.table.set_index("arm").loc["worse", "verdict"] == "inconclusive"  # withheld


def test_diverged_runs_of_error_rates_and_of_other_numbers():
    rows = lost_by_reference(1, score=np.nan, diverged=True)
    errors = rows.assign(score=1 - rows["score"])
    undone = judge(rows).rates["undone"]
    judged = judge(errors, direction="lower", unit="fraction")
    assert judged.rates["undone"].tolist() == pytest.approx(undone.tolist(), nan_ok=True)
    other = judge(errors, direction="lower", unit="number", margin=0.01)
    assert other.rates["undone"].isna().all()
    assert "were not lost" not in judgement_page(other, "mine")


def test_seeds_left_out_and_coarse_test_sets_are_told():
    long = judge(WIDE).seeds[["arm", "seed", "score"]]
    baseline = pd.DataFrame({"arm": "baseline", "seed": range(1, 9), "score": BASELINE})
    rows = pd.concat([baseline, long[~((long["arm"] == "alike") & (long["seed"] == "3"))]])
    (line,) = warned(judge(rows))
    assert line.startswith("**alike**: 1 seed of its reference without a partner left out.")
    coarse = warned(judge(pd.concat([baseline, long]).assign(n_test=50)))
    assert coarse[0] == "The margin of 1 point is less than one of 50 test examples."
    assert "by up to 8.77 points in 95 of 100 draws" in coarse[1]
    fine = warned(judge(pd.concat([baseline, long]).assign(n_test=10_000)))
    assert fine == []


def test_a_verdict_that_may_not_hold_on_other_examples_is_named_where_it_stands():
    """All seeds agree on a gain of `better` at 2 of 40 examples."""
    right = np.ones((3, 8, 40), bool)
    right[[0, 2], :, :2] = False
    right[0, 0, 2] = right[1, 1, 3] = right[2, 2, 4] = False
    wide = {"seed": range(8)} | dict(zip(WIDE, right.mean(axis=2), strict=True))
    arms, seeds, examples = np.indices(right.shape).reshape(3, -1)
    images = {"arm": np.array(list(WIDE))[arms], "seed": seeds, "image": examples}
    judged = judge(wide, images={**images, "correct": right.ravel()})
    lines = [line for line in warned(judged) if "drawn anew" in line]
    assert [re.findall(r"\*\*(\w+)\*\* \((\w+)\)", line) for line in lines] == [
        [("better", "inconclusive")]
    ]
    assert lines[0] in judgement_page(judged, "mine").splitlines()[2]
    assert not [line for line in warned(judge(wide)) if "drawn anew" in line]


def test_long_names_stay_distinct_in_the_figure():
    wide = {"baseline": BASELINE} | {
        f"network_with_a_dropout_of_0.{number}": BASELINE + 0.01 * number + NOISE
        for number in (1, 2)
    }
    judged = judge(wide, wide=True, score="a_long_name/of_a_metric_on_validation")
    names = [text for text in texts(judged) if "…" in text]
    assert len(set(names)) == len(names) == 3
    shown = [text.get_text() for text in judgement_forest(judged).axes[0].get_yticklabels()]
    assert {len(name) for name in shown} == {22}


def test_arms_that_differ_only_in_case_are_named():
    arms = {"baseline": BASELINE, "Mix": BASELINE + 0.03 + NOISE, "mix": BASELINE + NOISE}
    judged = judge(arms)
    (line,) = [line for line in warnings(judged, judged_rows(judged)) if "only in case" in line]
    assert line.startswith("**Mix** and **mix** differ")
    assert "only in case" not in judgement_page(judge(WIDE), "x")


@pytest.mark.filterwarnings("error")
def test_letters_that_the_font_lacks_are_no_warning():
    figure = judgement_forest(judge(WIDE | {"日本 🍎": BASELINE + 2 * NOISE}))
    assert "日本 🍎" in svg(figure).decode()
    assert png(figure)
