"""Results from elsewhere: judged as a report judges its own, and bad tables refused in one line.

Statistics against scipy, forms of a table that mean the same, units, directions and margins,
references, seeds without a partner, collapsed runs, ties, duplicates, and the scores of a report,
which have to get the verdicts of the report.
"""

import doctest
import re

import numpy as np
import pandas as pd
import pytest
from report_data import COST, planned
from scipy import stats

from pipeline.comparison import judge, judging
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.judging import COLUMNS
from pipeline.comparison.levels import SCORES
from pipeline.comparison.matching import WHERE, outcomes
from pipeline.comparison.resolution import chance_difference
from pipeline.comparison.score_tables import MOST_LINES
from pipeline.comparison.score_units import Direction, Unit
from pipeline.comparison.seeds import seed_scores
from pipeline.runtime.errors import Refusal

GENERATOR = np.random.default_rng(7)
SEEDS = list(range(8))
BASELINE = 0.9 + 0.01 * GENERATOR.standard_normal(8)
BETTER = BASELINE + 0.02 + 0.003 * GENERATOR.standard_normal(8)  # by two margins
ALIKE = BASELINE + 0.001 * np.array([1, -2, 1, 2, -1, 0, -1, 1])  # within a fifth of the margin


def long_table(**scores_of_arms):
    """Return a row per arm and seed."""
    rows = [
        {"arm": arm, "seed": seed, "score": score}
        for arm, scores in scores_of_arms.items()
        for seed, score in enumerate(scores)
    ]
    return pd.DataFrame(rows)


LONG = long_table(baseline=BASELINE, better=BETTER, alike=ALIKE)
WIDE = pd.DataFrame({"seed": SEEDS, "baseline": BASELINE, "better": BETTER, "alike": ALIKE})


def rows_of(judged):
    """Return the table of a judgement by arm."""
    return judged.table.set_index("arm")


def without(table, *runs):
    """Return a table without these runs, each an arm and a seed."""
    is_left_out = [run in runs for run in zip(table["arm"], table["seed"], strict=True)]
    return table[~np.array(is_left_out)]


# The statistics


def test_the_columns_are_the_promised_ones():
    assert tuple(judge(LONG).table.columns) == COLUMNS


def test_the_statistics_are_those_of_scipy():
    better = rows_of(judge(LONG)).loc["better"]
    test = stats.ttest_rel(BETTER, BASELINE)
    assert better["difference"] == pytest.approx((BETTER - BASELINE).mean())
    assert (better["low"], better["high"]) == pytest.approx(tuple(test.confidence_interval()))
    assert better["p"] == pytest.approx(test.pvalue)


def test_p_values_are_corrected_for_the_number_of_arms():
    better = rows_of(judge(LONG)).loc["better"]
    arms = 2
    assert better["p_holm"] == pytest.approx(arms * better["p"])


def test_an_arm_that_is_better_helps_and_one_within_the_margin_is_equivalent():
    verdicts = rows_of(judge(LONG))["verdict"].to_dict()
    assert verdicts == {"better": "helps", "alike": "equivalent"}


def test_scores_between_0_and_1_are_accuracies_with_a_margin_of_one_point():
    judged = judge(LONG)
    assert (judged.unit, judged.direction, judged.margin) == (Unit.FRACTION, "higher", 0.01)


def test_the_seeds_required_are_those_of_the_sign_flip_test_of_all_arms():
    arms = 2
    smallest_p = {seeds: 2 / 2**seeds for seeds in range(1, 20)}  # all signs agree, on either side
    enough = [seeds for seeds, p in smallest_p.items() if arms * p <= 0.05]
    assert judge(LONG).seeds_required == enough[0]


# Forms of a table that mean the same


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(WIDE, id="a-column-per-arm"),
        pytest.param(WIDE.drop(columns="seed"), id="a-column-per-arm-without-seeds"),
        pytest.param(LONG.astype({"seed": float}).map(str), id="texts"),
        pytest.param(LONG.rename(columns=str.upper), id="names-in-capitals"),
    ],
)
def test_the_form_of_a_table_does_not_matter(same):
    pd.testing.assert_frame_equal(judge(same).table, judge(LONG).table)


def test_the_order_of_rows_does_not_matter():
    shuffled = rows_of(judge(LONG.sample(frac=1, random_state=1)))
    ordered = rows_of(judge(LONG)).loc[shuffled.index]
    pd.testing.assert_frame_equal(shuffled, ordered)


def test_columns_may_have_other_names():
    named = LONG.rename(columns={"arm": "group", "score": "test/acc"})
    judged = judge(named, arm="group", score="test/acc")
    pd.testing.assert_frame_equal(judged.table, judge(LONG).table)


def test_a_wide_table_is_one_whatever_its_columns_are_called():
    judged = judge(WIDE.rename(columns={"alike": "arm"}), wide=True, score="accuracy")
    assert judged.score == "accuracy"
    assert set(judged.table["arm"]) == {"better", "arm"}


def test_the_table_of_seeds_is_judged_the_same_again():
    losses = LONG.assign(score=-LONG["score"], cost=2.0)
    judged = judge(losses, margin=0.01, direction="lower")
    again = judge(judged.seeds, margin=0.01)
    pd.testing.assert_frame_equal(again.table, judged.table)
    assert again.direction is Direction.LOWER


def test_costs_are_multiples_of_the_references():
    assert set(judge(LONG.assign(cost=2.0)).table["cost"]) == {1.0}
    costs = LONG["arm"].map({"baseline": 2.0, "better": 6.0, "alike": 1.0})
    assert rows_of(judge(LONG.assign(cost=costs)))["cost"].to_dict() == {"better": 3, "alike": 0.5}


# Directions, units, numbers of test examples


def test_a_lower_score_can_be_the_better_one():
    rows = rows_of(judge(LONG, direction="lower", unit="fraction"))
    assert rows["verdict"].to_dict() == {"better": "hurts", "alike": "equivalent"}
    assert rows.loc["better", "difference"] == pytest.approx((BETTER - BASELINE).mean())


def test_a_table_can_say_its_direction():
    judged = judge(LONG.assign(direction="lower"), margin=0.01)
    assert (judged.unit, judged.direction) == (Unit.NUMBER, Direction.LOWER)
    assert rows_of(judged).loc["better", "verdict"] == "hurts"


@pytest.mark.parametrize("name", ["val_loss", "test/error", "RMSE", "NLL"])
def test_a_loss_needs_a_direction(name):
    table = LONG.rename(columns={"score": name})
    with pytest.raises(Refusal, match=f"^scores: {name}: reads like a loss; expected --lower"):
        judge(table, score=name)
    assert judge(table, score=name, direction="higher").direction is Direction.HIGHER


def test_percentages_are_judged_as_fractions_are():
    fractions = judge(LONG)
    percentages = judge(LONG.assign(score=100 * LONG["score"]), unit="percent")
    assert percentages.margin == 100 * fractions.margin
    for name in ("p", "p_holm", "p_equivalence"):
        np.testing.assert_allclose(percentages.table[name], fractions.table[name])
    assert percentages.table["verdict"].tolist() == fractions.table["verdict"].tolist()


def test_a_test_example_is_worth_its_share_of_the_score():
    judged = judge(LONG.assign(n_test=50))
    assert (judged.n_test, judged.example) == (50, 1 / 50)
    assert judged.chance == pytest.approx(chance_difference(0.1, 50))


def test_the_worth_of_a_test_example_is_in_the_units_of_the_scores():
    percentages = LONG.assign(score=100 * LONG["score"], n_test=50)
    judged = judge(percentages, unit="percent")
    assert judged.example == 100 / 50
    assert judged.chance == pytest.approx(100 * chance_difference(0.1, 50))


def test_without_a_number_of_test_examples_their_worth_is_unknown():
    judged = judge(LONG)
    assert np.isnan([judged.example, judged.chance]).all()


# References and pairs


def test_every_arm_may_have_a_reference_of_its_own():
    references = {"better": "baseline", "alike": "better"}
    rows = rows_of(judge(LONG.assign(reference=LONG["arm"].map(references))))
    assert rows["reference"].to_dict() == references
    assert rows.loc["alike", "difference"] == pytest.approx((ALIKE - BETTER).mean())


def test_any_arm_can_be_the_reference_of_all():
    rows = rows_of(judge(LONG, against="better"))
    assert rows["reference"].to_dict() == {"baseline": "better", "alike": "better"}
    assert rows.loc["alike", "difference"] == pytest.approx((ALIKE - BETTER).mean())


def test_seeds_without_a_partner_are_counted():
    """The reference lacks seed 7, the arm `better` lacks two others."""
    table = without(LONG, ("baseline", 7), ("better", 0), ("better", 1))
    counts = rows_of(judge(table))[["n", "unpaired", "left"]]
    assert counts.loc["better"].tolist() == [5, 1, 2]
    assert counts.loc["alike"].tolist() == [7, 1, 0]


@pytest.fixture
def unscored():
    """Return the table without the score of one run of `better`, which is in line 11 of a file."""
    return LONG.assign(score=LONG["score"].mask(LONG.index == 9))


def test_a_run_without_a_score_raises(unscored):
    with pytest.raises(Refusal, match="line 11: score: no finite score; .* --keep-going"):
        judge(unscored)


def test_runs_without_a_score_are_left_out_on_demand(unscored):
    rows = rows_of(judge(unscored, keep_going=True))
    assert rows.loc["better", ["n", "unpaired", "left"]].tolist() == [7, 0, 1]


# Collapsed runs, ties, duplicates

COLLAPSED = np.where(np.array(SEEDS) == 3, 0.1, BETTER)


def test_a_run_that_is_far_worse_than_others_of_its_arm_is_found():
    rows = judge(long_table(baseline=BASELINE, better=COLLAPSED, alike=ALIKE)).collapses
    assert rows[["arm", "seed", "score"]].to_numpy().tolist() == [["better", "3", 0.1]]
    assert rows["robust_z"].item() > 20


def test_where_lower_is_better_a_run_collapses_upwards():
    table = long_table(baseline=1 - BASELINE, better=1 - COLLAPSED)
    rows = judge(table, direction="lower", margin=0.01).collapses
    assert rows[["arm", "seed"]].to_numpy().tolist() == [["better", "3"]]


def test_the_best_run_is_not_taken_for_a_collapsed_one():
    table = long_table(baseline=BASELINE, better=1 - COLLAPSED)
    rows = judge(table, direction="higher", margin=0.01).collapses
    assert rows.empty


def test_ordinary_runs_do_not_collapse():
    """Of runs of the normal distribution, with any margin."""
    for baseline, arm in np.random.default_rng(1).standard_normal((10, 2, 6)):
        table = long_table(baseline=baseline, one=arm)
        assert judge(table, margin=1e-9, unit="number").collapses.empty


def test_arms_that_help_as_much_as_another_are_tied():
    jitter = 0.002 * np.array([1, -1, 2, -2, 1, -1, 0, 0])
    arms = {"better": BETTER, "as_good": BETTER + jitter, "best": BETTER + 0.03 - jitter}
    judged = judge(long_table(baseline=BASELINE, **arms))
    assert set(judged.table["verdict"]) == {"helps"}
    assert judged.ties == {"better": ("as_good",), "as_good": ("better",)}


def test_arms_with_the_same_scores_are_named():
    judged = judge(long_table(baseline=BASELINE, one=BETTER, other=BETTER))
    assert judged.duplicate_arms == (("one", "other"),)
    assert not judged.table["repeats"].any()


def test_arms_with_other_scores_are_no_duplicates():
    assert judge(LONG).duplicate_arms == ()


# The scores of a report

STUDIES = {
    "one": {"dropout": "deterministic", "same": "deterministic", "mixup": "deterministic"},
    "two": {"dropout": "deterministic", "failed": "deterministic"},
}
FAILED = "twofailed1001"
SHARED_RUNS = {  # study and arm -> whose runs they are
    ("one", "same"): "onedropout",
    ("two", "dropout"): "baseline",
}


def plan_of(shared_runs):
    """Return a plan of `STUDIES`, in which some arms have the runs of others."""
    plan = planned("confirmation", STUDIES)
    runs = []
    for run in plan.runs:
        owner = shared_runs.get((run.study, run.arm))
        update = {"fingerprint": f"{owner}{run.seed}"} if owner else {}
        runs.append(run.model_copy(update=update))
    return plan.model_copy(update={"runs": tuple(runs)})


def outcomes_of(plan):
    """Return outcomes of all runs, with random scores; one has failed."""
    names = plan.fingerprints()
    done = [name for name in names if name != FAILED]
    generator = np.random.default_rng(2)
    rows = [
        (name, "deterministic", 1, split, metric, 0.9 + 0.02 * generator.standard_normal())
        for name in done
        for split, metric in WHERE.values()
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    states = dict.fromkeys(names, "done") | {FAILED: "failed"}
    machines = {name: {"device": "cpu"} for name in names}
    return outcomes(pd.DataFrame(rows, columns=columns), states, machines)


@pytest.mark.parametrize(
    "shared_runs",
    [
        pytest.param({}, id="each-arm-has-runs-of-its-own"),
        pytest.param(SHARED_RUNS, id="arms-with-the-runs-of-another"),
    ],
)
def test_the_scores_of_a_report_give_its_verdicts(shared_runs):
    plan = plan_of(shared_runs)
    outcomes = outcomes_of(plan)
    expected = contrasts(
        plan, outcomes, dict.fromkeys(plan.fingerprints(), COST), {}, tuple(SCORES)
    )
    expected = expected[expected["metric"] == "test_accuracy"].reset_index(drop=True)
    judged = judge(seed_scores(plan, outcomes), margin=plan.margin).table
    assert judged["repeats"].sum() == len(shared_runs)
    assert judged["n"].tolist() == expected["n"].tolist()
    assert "dropout of two" in set(judged["arm"])
    # names of arms are longer here, pairs are counted otherwise, and there are no images
    differing = {"arm", "unpaired", "verdict_other_images"}
    shared = [name for name in COLUMNS if name in expected and name not in differing]
    assert {"verdict", "p_holm", "low_90", "seeds_needed", "below_margin"} <= set(shared)
    pd.testing.assert_frame_equal(
        judged[shared], expected[shared], check_dtype=False, rtol=1e-12, atol=0
    )


# Bad input

NO_ROWS = {"arm": [], "seed": [], "score": []}
ONE_SEED = {"arm": ["baseline", "a"], "seed": [1, 1], "score": [0.4, 0.5]}
TWO_SEEDS = {"arm": ["baseline", "a"] * 2, "seed": [1, 1, 2, 2], "score": [0.4, 0.5, 0.3, 0.6]}
OTHER_NAMES = {"group": ["b", "a"] * 2, "run": [1, 1, 2, 2], "acc": [0.4, 0.5, 0.3, 0.6]}
BY_SEED = {"seed": [1, 2], "baseline": [0.4, 0.5], "a": [0.3, 0.6]}
CHART = {"Step": [1, 2], "a-0 - test/acc": [0.1, 0.2], "a-0 - test/acc__MIN": [0.1, 0.2]}


def two_seeds(**columns):
    """Return a good table with other columns."""
    return TWO_SEEDS | columns


def refused_in_one_line(table, line, **arguments):
    """Check that the table is refused, in one line that begins so and says what is expected.

    The line begins with an option, or with the file before `line`.
    """
    with pytest.raises(Refusal) as raised:
        judge(table, **arguments, source="x.csv")
    (message,) = raised.value.lines
    assert message.startswith(line if line.startswith("--") else f"x.csv: {line}")
    assert "; expected " in message


BAD_TABLES = {  # a table, and how its line begins
    "no-rows": (NO_ROWS, "no rows; expected a row per arm and seed"),
    "one-seed": (ONE_SEED, "no arm shares two seeds with its reference; expected at least two"),
    "seeds-alone": ({"seed": [1, 2]}, "no column of an arm; expected a column per arm and a row"),
    "other-names": (OTHER_NAMES, "no arm is named baseline; expected --against one of group, run"),
    "chart-of-wandb": (CHART, "'a-0 - test/acc__MIN' is of a chart of W&B; expected the table"),
    "name-of-a-file": ("scores.csv", "invalid value 'scores.csv'; expected a data frame"),
    "unequal-lengths": (BY_SEED | {"b": [0.5]}, "All arrays must be of the same length"),
}

BAD_COLUMNS = {  # a column of two seeds of two arms, and how its line begins
    "not-finite": ("score", [0.4, "inf", 0.3, 0.6], "line 3: score: no finite score"),
    "word": ("score", [0.4, "x", 0.3, 0.6], "line 3: score: invalid value 'x'; expected a number"),
    "100-digits": ("score", [1, 2e99, 3e100, 4], "line 4: score: invalid value '3e+100'"),
    "no-unit": ("score", [4, 5, 3, 6], "scores from 3 to 6 are not taken for fractions"),
    "second-run": ("seed", [1, 1, 2, 1], "line 5: score: a second score of arm 'a' at seed 1"),
    "hidden-character": (
        "arm",
        ["baseline", "x\x00", "baseline", "x"],
        "line 3: arm: invalid name 'x\\x00'; expected printable characters",
    ),
    "empty-seed": ("seed", [1, 1, "", 1], "line 4: seed: empty; expected a name or a number"),
    "no-baseline": ("arm", ["b", "a"] * 2, "no arm is named baseline; expected --against one of"),
    "direction": ("direction", list("abab"), "direction: a, b; expected one value in all rows"),
    "test-examples": ("n_test", [0] * 4, "n_test: invalid value '0'; expected an integer >= 1"),
    "cost": ("cost", [1, 2, 0, 2], "line 4: cost: invalid value 0; expected a number > 0"),
    "no-reference": ("reference", ["", "c"] * 2, "line 3: reference: no arm 'c'; expected one"),
    "circle": ("reference", ["a", "baseline"] * 2, "reference: 'baseline' and 'a' are compared"),
    "second": ("reference", ["", "baseline", "", "a"], "line 5: reference: 'a' for arm 'a'"),
}

BAD_ARGUMENTS = {  # arguments for a good table, and how their line begins
    "score": ({"score": "acc"}, "--score: unknown name 'acc'; expected one of: arm, score, seed"),
    "arm": ({"arm": "group"}, "--arm: unknown name 'group'; expected one of: arm, score, seed"),
    "against": ({"against": "b"}, "--against: unknown name 'b'; expected one of: a, baseline"),
    "empty-arm": ({"arm": ""}, "--arm: invalid value ''; expected the name of a column"),
    "empty-seed": ({"seed": ""}, "--seed: invalid value ''; expected the name of a column"),
    "empty-score": ({"score": ""}, "--score: invalid value ''; expected the name of a column"),
    "empty-against": ({"against": ""}, "--against: invalid value ''; expected the name of an arm"),
    "empty-unit": ({"unit": ""}, "unit: invalid value ''; expected one of fraction, percent"),
    "unit": ({"unit": "points"}, "unit: invalid value 'points'; expected one of fraction, percent"),
    "direction": ({"direction": "up"}, "direction: invalid value 'up'; expected higher or lower"),
    "lower": ({"direction": "lower"}, "scores from 0.3 to 0.6 are not taken for fractions"),
}

BAD_MARGINS = {  # the unit of a good table, a margin, and how its line begins
    "all-fractions": ("fraction", 1.0, "invalid value 1; expected a number > 0 and < 1"),
    "all-percents": ("percent", 200.0, "invalid value 200; expected a number > 0 and < 100"),
    "negative": ("number", -1.0, "invalid value -1; expected a number > 0"),
    "missing": ("number", None, "missing; expected the largest difference that does not matter"),
}


@pytest.mark.parametrize(("table", "line"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_raises_one_line(table, line):
    refused_in_one_line(table, line)


@pytest.mark.parametrize(("name", "values", "line"), BAD_COLUMNS.values(), ids=BAD_COLUMNS)
def test_a_bad_column_raises_one_line(name, values, line):
    refused_in_one_line(two_seeds(**{name: values}), line)


@pytest.mark.parametrize(
    ("name", "values", "places"),
    [
        ("score", [0.4, "x", "y", 0.6], [3, 4]),
        ("seed", ["", 1, 2, ""], [2, 5]),
        ("seed", [1, 1, 1, 1], [4, 5]),
        ("cost", [0, 1, 1, -1], [2, 5]),
        ("diverged", ["no", "true", "maybe", ""], [2, 4]),
    ],
)
def test_each_of_several_bad_cells_has_a_line(name, values, places):
    with pytest.raises(Refusal) as raised:
        judge(two_seeds(**{name: values}), source="x.csv")
    lines = raised.value.lines
    assert [re.match(r"x\.csv: line (\d+): ", line)[1] for line in lines] == list(map(str, places))
    assert all("; expected " in line for line in lines)


@pytest.mark.parametrize("more", [0, 1, 7])
def test_of_many_bad_cells_the_first_have_lines_and_the_others_are_counted(more):
    count = MOST_LINES + more
    table = {"arm": ["baseline"] * count, "seed": range(count), "score": ["x"] * count}
    with pytest.raises(Refusal) as raised:
        judge(table, source="x.csv")
    *lines, last = raised.value.lines
    assert len(lines) == MOST_LINES - (not more)
    assert last == f"x.csv: {more} more such errors" if more else last.startswith("x.csv: line ")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"score": "Scores"}, "score"),
        ({"arm": "arms"}, "arm"),
        ({"against": "base_line"}, "baseline"),
    ],
)
def test_a_name_that_nearly_exists_is_suggested(arguments, name):
    with pytest.raises(Refusal, match=f"; did you mean '{name}'\\?$"):
        judge(TWO_SEEDS, **arguments)


def test_whether_runs_are_paired_is_true_or_false():
    table = two_seeds(reference_score=[0.1] * 4, paired=["maybe", True, True, True])
    refused_in_one_line(table, "line 2: paired: invalid value 'maybe'; expected True or False")


@pytest.mark.parametrize(("arguments", "line"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_a_bad_argument_raises_one_line(arguments, line):
    refused_in_one_line(TWO_SEEDS, line, **arguments)


@pytest.mark.parametrize(("unit", "margin", "line"), BAD_MARGINS.values(), ids=BAD_MARGINS)
def test_a_bad_margin_raises_one_line(unit, margin, line):
    refused_in_one_line(TWO_SEEDS, f"margin: {line}", unit=unit, margin=margin, direction="lower")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("arm", "no column arm; expected --arm one of group, seed, score"),
        ("seed", "no column seed; expected --seed one of arm, group, score"),
        ("score", "no column score; expected --score one of arm, seed, group; or use --wide"),
    ],
)
def test_a_table_without_a_usual_column_raises_one_line(name, line):
    table = {"group" if key == name else key: values for key, values in TWO_SEEDS.items()}
    refused_in_one_line(table, line)


def test_an_arm_without_any_other_raises_one_line():
    table = two_seeds(arm=["a"] * 4, seed=SEEDS[:4])
    refused_in_one_line(table, "one arm (a); expected at least two", against="a")


def test_a_score_of_a_wide_table_raises_one_line():
    line = "--score: unknown name 'zzz'; expected one of: a, baseline, seed; or use --wide"
    refused_in_one_line(BY_SEED, line, score="zzz")


def test_fractions_above_1_raise_one_line():
    table = two_seeds(score=[4, 5, 3, 6])
    refused_in_one_line(table, "scores from 3 to 6; expected 0 to 1", unit="fraction")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param("reference_score", [0.1] * 4, id="scores"),
        pytest.param("reference", ["", "baseline"] * 2, id="names"),
    ],
)
def test_a_second_way_to_name_the_reference_raises_one_line(name, values):
    table = two_seeds(**{name: values})
    refused_in_one_line(table, f"--against: not allowed with a column {name};", against="a")


# The docstring


def test_the_example_of_the_docstring_is_true():
    results = doctest.testmod(judging)
    assert (results.failed, results.attempted) == (0, 3)
