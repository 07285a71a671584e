"""The report on results from elsewhere: its page, LaTeX table, figure and warnings.

Units (percent and points for fractions, none for other numbers), decimals, the order and the labels
of arms, every warning about what limits the verdicts, and verdicts that lost runs or other test
examples would change. The verdicts themselves are tested in `tests/comparison/test_judging.py`.
"""

import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sentences import bold, numbers

from pipeline.comparison import judge
from pipeline.reporting.judgement import (
    ROWS_ARE_SEEDS,
    UNKNOWN,
    judged_rows,
    judgement_latex,
    judgement_page,
    metric_of,
    warnings,
)
from pipeline.reporting.judgement_figure import LONGEST, judgement_forest
from pipeline.reporting.style import png, svg

GAIN = 0.03
BASELINE = np.array([0.91, 0.92, 0.90, 0.91, 0.92, 0.905, 0.915, 0.91])
NOISE = 0.002 * np.array([1, -1, 2, -2, 1, 0, -1, 0])
ACCURACIES = {"baseline": BASELINE, "better": BASELINE + GAIN + NOISE, "alike": BASELINE + NOISE}
LOSSES = {arm: 12_000 * (2 - accuracies) for arm, accuracies in ACCURACIES.items()}
SEEDS = range(1, len(BASELINE) + 1)  # the numbers that `judge` gives to rows without a seed


@pytest.fixture(scope="module")
def judged_accuracies():
    return judge(ACCURACIES)


@pytest.fixture(scope="module")
def judged_losses():
    return judge(LOSSES, direction="lower", margin=50.0, wide=True, score="loss_$x$")


def first_table(page):
    """Return the cells of the first table of a page by arm."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines]
    head, _rule, *body = rows
    return {cells[0]: dict(zip(head, cells, strict=True)) for cells in body}


def figure_texts(judged):
    """Return the texts on the figure: in the axes, at the axes, in the legends."""
    figure = judgement_forest(judged)
    ax = figure.axes[0]
    texts = [*ax.texts, *ax.get_yticklabels(), ax.xaxis.label]
    for legend in figure.legends:
        texts += legend.texts
    return [text.get_text() for text in texts]


def warning_lines(judged):
    """Return the warnings of the report, but for that of tables without a column of seeds."""
    lines = warnings(judged, judged_rows(judged))
    return [line for line in lines if line != ROWS_ARE_SEEDS]


def long_table(accuracies=ACCURACIES):
    """Return accuracies with a row per arm and seed."""
    wide = pd.DataFrame({"seed": SEEDS, **accuracies})
    return wide.melt("seed", var_name="arm", value_name="score")


# Units and decimals


def test_fractions_are_percent_in_the_table_of_the_page(judged_accuracies):
    row = first_table(judgement_page(judged_accuracies, "mine"))["better"]
    mean = 100 * ACCURACIES["better"].mean()
    differences = 100 * (GAIN + NOISE)
    error = stats.sem(differences)
    low, high = stats.t.interval(0.95, len(SEEDS) - 1, differences.mean(), error)
    assert row["verdict"] == "helps"
    assert row["n"] == str(len(SEEDS))
    assert row["arm mean (%)"] == f"{mean:.1f}"
    difference = row["difference [95 % interval]"].replace("\u00a0", " ")
    assert difference == f"{differences.mean():+.1f} [{low:+.1f}, {high:+.1f}]"


def test_the_headline_has_differences_in_points_and_intervals_for_all_arms(judged_accuracies):
    page = judgement_page(judged_accuracies, "mine")
    bounds = 100 * judged_accuracies.table[["low_all", "high_all"]].to_numpy()
    expected = {
        arm: [mean, f"{low:+.1f}", f"{high:+.1f}"]
        for arm, mean, (low, high) in zip(("better", "alike"), ("+3.0", "0.0"), bounds, strict=True)
    }
    sentences = re.findall(r"\*\*(\w+)\*\* \((.*? points .*?)\)", page)
    assert {arm: numbers(text) for arm, text in sentences} == expected


def test_the_figure_has_differences_in_points(judged_accuracies):
    texts = figure_texts(judged_accuracies)
    assert "difference in score (points), 95 % interval" in texts
    assert "margin (±1 point)" in texts


def test_the_page_has_the_title_and_what_no_table_can_show(judged_accuracies):
    page = judgement_page(judged_accuracies, "mine | yours")
    assert page.startswith(r"# Judged: mine \| yours")
    missing = [text for text in UNKNOWN if text not in page]
    assert missing == []


def test_other_numbers_have_no_points_and_no_percent(judged_losses):
    page = judgement_page(judged_losses, "mine")
    latex = judgement_latex(judged_losses, "mine")
    for text in (*figure_texts(judged_losses), latex, page):
        assert "point" not in text.lower()
        assert " % of" not in text


def test_a_loss_is_shown_without_decimals_and_as_better_where_lower(judged_losses):
    page = judgement_page(judged_losses, "mine")
    table = first_table(page)
    assert list(table) == ["better", "alike"]
    assert table["better"]["verdict"] == "helps"
    assert table["better"]["arm mean"] == f"{LOSSES['better'].mean():.0f}"
    assert "lower is better" in page


def test_the_figure_names_the_score_and_its_direction(judged_losses):
    texts = figure_texts(judged_losses)
    assert r"difference in loss_\$x\$, lower is better, 95 % interval" in texts
    assert "margin (±50)" in texts


@pytest.mark.parametrize(
    ("half_width", "decimals"),
    [
        pytest.param(101, 0, id="hundreds-have-none"),
        pytest.param(9.9, 1, id="below-10"),
        pytest.param(1.01, 1, id="above-1"),
        pytest.param(0.99, 2, id="below-1"),
        pytest.param(0.0101, 3, id="above-a-hundredth"),
        pytest.param(1e-9, 8, id="a-billionth-has-the-most"),
        pytest.param(0, 3, id="no-interval"),
    ],
)
def test_intervals_are_shown_to_two_digits(half_width, decimals):
    n = len(SEEDS)
    unscaled = stats.t.ppf(0.975, n - 1) * NOISE.std(ddof=1) / math.sqrt(n)  # of both arms
    scale = half_width / unscaled
    scaled = {arm: scale * accuracies for arm, accuracies in ACCURACIES.items()}
    judged = judge(scaled, unit="number", margin=1.0)
    assert metric_of(judged).decimals == decimals


# Arms in the figure


def test_the_marker_of_an_arm_that_helps_points_to_the_better_side(
    judged_accuracies, judged_losses
):
    def tip(judged):
        """Return where the first marker points: > 0 is right."""
        markers = judgement_forest(judged).axes[0].collections[0]
        return markers.get_paths()[0].vertices[0, 0]

    assert tip(judged_accuracies) > 0
    assert tip(judged_losses) == pytest.approx(-tip(judged_accuracies))


def test_arms_with_different_references_are_labelled_by_reference(judged_accuracies):
    seeds = judged_accuracies.seeds
    references = seeds["arm"].map({"better": "baseline", "alike": "other"})
    judged = judge(seeds.assign(reference=references))
    labels = judged_rows(judged)["label"].tolist()
    assert labels == ["better (against baseline)", "alike (against other)"]
    assert "against other" in figure_texts(judged)


def test_long_names_are_shortened_and_stay_distinct_in_the_figure():
    arms = {
        "network_with_a_dropout_of_0.1": BASELINE + 0.01 + NOISE,
        "network_with_a_dropout_of_0.2": BASELINE + 0.02 + NOISE,
    }
    score = "a_long_name/of_a_metric_on_validation"
    judged = judge({"baseline": BASELINE, **arms}, wide=True, score=score)
    shortened = [text for text in figure_texts(judged) if "…" in text]
    assert len(set(shortened)) == len(shortened) == len(arms) + 1
    labels = judgement_forest(judged).axes[0].get_yticklabels()
    assert {len(label.get_text()) for label in labels} == {LONGEST}


@pytest.mark.filterwarnings("error")
def test_letters_that_the_font_lacks_are_no_warning():
    figure = judgement_forest(judge(ACCURACIES | {"日本 🍎": BASELINE + 2 * NOISE}))
    assert "日本 🍎" in svg(figure).decode()
    assert png(figure)


# Warnings


def test_results_without_a_limit_have_no_warning(judged_accuracies):
    assert warning_lines(judged_accuracies) == []


@pytest.mark.parametrize(
    ("seeds", "count"), [({}, 1), ({"seed": SEEDS}, 0)], ids=["rows", "column"]
)
def test_rows_that_are_taken_for_seeds_are_a_warning(seeds, count):
    judged = judge(seeds | ACCURACIES)
    assert list(warnings(judged, judged_rows(judged))).count(ROWS_ARE_SEEDS) == count


def test_too_few_seeds_for_the_sign_flip_test_are_a_warning():
    four_seeds = {arm: accuracies[:4] for arm, accuracies in ACCURACIES.items()}
    arms = len(ACCURACIES) - 1
    least_seeds = math.ceil(math.log2(2 * arms / 0.05))  # 2 / 2^n is the least p
    (line,) = warning_lines(judge(four_seeds))
    assert f"({least_seeds})" in line
    assert "**better** (4)" in line


def test_a_collapsed_run_is_a_warning_with_its_score_and_the_median():
    better = ACCURACIES["better"].copy()
    better[SEEDS.index(3)] = 0.1
    (line,) = warning_lines(judge(ACCURACIES | {"better": better}))
    seed, score, median, *_ = numbers(line)
    assert (bold(line), seed, score) == (["better"], "3", "10.0")
    assert float(median) == pytest.approx(100 * np.median(better), abs=0.06)


def test_arms_with_equal_scores_are_a_warning():
    (line,) = warning_lines(judge(ACCURACIES | {"alike": ACCURACIES["better"]}))
    assert bold(line) == ["better", "alike"]
    assert "same scores" in line


def test_arms_that_differ_only_in_case_are_a_warning(judged_accuracies):
    arms = {"baseline": BASELINE, "Mix": ACCURACIES["better"], "mix": ACCURACIES["alike"]}
    (line,) = [line for line in warning_lines(judge(arms)) if "only in case" in line]
    assert bold(line) == ["Mix", "mix"]
    assert "only in case" not in judgement_page(judged_accuracies, "x")


def test_a_difference_without_spread_is_a_warning(golden):
    (line,) = warning_lines(judge(ACCURACIES | {"alike": BASELINE + 0.01}))
    golden(line)


def test_seeds_without_a_partner_are_a_warning():
    rows = long_table()
    is_missing = (rows["arm"] == "alike") & (rows["seed"] == 3)
    (line,) = warning_lines(judge(rows[~is_missing]))
    assert (bold(line), numbers(line)[0]) == (["alike"], "1")


def test_a_margin_below_what_the_test_set_resolves_is_a_warning():
    n_test = 50
    margin, example = 0.01, 1 / n_test
    assert margin < example
    by_chance = stats.norm.ppf(0.975) * math.sqrt(0.1 / n_test)  # a tenth of examples differ
    lines = warning_lines(judge(long_table().assign(n_test=n_test)))
    assert numbers(lines[0]) == ["1", "50"]  # points; test examples
    assert f"{100 * by_chance:.2f}" in numbers(lines[1])


def test_a_margin_that_the_test_set_resolves_is_no_warning():
    assert warning_lines(judge(long_table().assign(n_test=10_000))) == []


# Lost runs and other test examples


def scores_with_a_lost_reference(**columns):
    """Return rows of `better`, `worse` and a baseline whose first run has these columns."""
    worse = BASELINE - 0.02 + NOISE
    arms = {"baseline": BASELINE, "better": ACCURACIES["better"], "worse": worse}
    rows = long_table(arms).assign(diverged=False)
    is_lost = (rows["arm"] == "baseline") & (rows["seed"] == SEEDS[0])
    for name, value in columns.items():
        rows.loc[is_lost, name] = value
    return rows


DIVERGED = {"score": np.nan, "diverged": True}


@pytest.mark.parametrize(
    ("columns", "lost_score"),
    [
        pytest.param({"score": 0.31}, 0.31, id="collapsed"),
        pytest.param(DIVERGED, 0.0, id="diverged-has-the-worst-score"),
    ],
)
class TestAReferenceThatLostARun:
    """A rate of lost runs of difference / depth undoes a verdict; 1 of 8 runs bounds the rate."""

    def test_the_rate_that_undoes_a_verdict_is_the_difference_over_the_depth(
        self, columns, lost_score
    ):
        judged = judge(scores_with_a_lost_reference(**columns))
        undone = judged.rates.set_index("arm")["undone"]
        depth = np.median(BASELINE[1:]) - lost_score
        noise = NOISE[1:].mean()
        assert undone["better"] == pytest.approx((GAIN + noise) / depth)
        assert undone["worse"] == pytest.approx((0.02 - noise) / depth)

    def test_the_page_names_the_verdicts_that_lost_runs_may_undo(self, columns, lost_score):
        judged = judge(scores_with_a_lost_reference(**columns))
        rates = judged.rates.set_index("arm")
        assert rates.loc["worse", "undone"] < rates.loc["baseline", "high"]
        page = judgement_page(judged, "mine")
        (note,) = re.findall("lost runs counted too.*", page)
        assert set(bold(note)) == {"better"}
        verdicts = judged.table.set_index("arm")["verdict"]
        assert verdicts["worse"] == "inconclusive"  # withheld, so that no rate can undo it


def test_a_diverged_run_of_error_rates_counts_as_one_of_accuracies():
    rows = scores_with_a_lost_reference(**DIVERGED)
    errors = rows.assign(score=1 - rows["score"])
    of_accuracies = judge(rows).rates["undone"].tolist()
    of_errors = judge(errors, direction="lower", unit="fraction").rates["undone"].tolist()
    assert of_errors == pytest.approx(of_accuracies, nan_ok=True)


def test_a_diverged_run_of_other_numbers_has_no_depth():
    rows = scores_with_a_lost_reference(**DIVERGED)
    judged = judge(rows.assign(score=1 - rows["score"]), direction="lower", unit="number", margin=1)
    assert judged.rates["undone"].isna().all()
    assert "were not lost" not in judgement_page(judged, "mine")


def image_table(is_right):
    """Return the rows that `judge` reads, from tables (seeds, images) by arm."""
    tables = []
    for arm, correct in is_right.items():
        wide = pd.DataFrame(correct).rename_axis("seed").reset_index()
        tables.append(wide.melt("seed", var_name="image", value_name="correct").assign(arm=arm))
    return pd.concat(tables)


def test_a_verdict_that_other_test_examples_would_change_is_named_in_the_headline():
    """All seeds agree that `better` gains, but by 2 of 40 examples only."""
    seeds, images = 8, 40
    is_right = {arm: np.ones((seeds, images), bool) for arm in ACCURACIES}
    for arm in ("baseline", "alike"):
        is_right[arm][:, :2] = False
    for place, arm in enumerate(ACCURACIES):
        is_right[arm][place, 2 + place] = False  # one more example at one seed: some spread
    accuracies = {arm: correct.mean(axis=1) for arm, correct in is_right.items()}
    scores = {"seed": range(seeds), **accuracies}

    judged = judge(scores, images=image_table(is_right))
    (line,) = [line for line in warning_lines(judged) if "source of error" in line]
    changed = re.findall(r"\*\*(\w+)\*\* \((\w+)\)", line)
    assert changed == [("better", "inconclusive")]
    headline = judgement_page(judged, "mine").splitlines()[2]
    assert line in headline

    without_images = warning_lines(judge(scores))
    assert not any("source of error" in line for line in without_images)
