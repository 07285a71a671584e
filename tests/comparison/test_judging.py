"""Results from elsewhere: judged as a report judges its own, and refused in one line each."""

import numpy as np
import pandas as pd
import pytest
from report_data import COST, planned
from scipy import stats

from pipeline.comparison import judge
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.judging import COLUMNS, Direction, Unit
from pipeline.comparison.levels import SCORES
from pipeline.comparison.matching import WHERE, outcomes
from pipeline.comparison.resolution import chance_difference
from pipeline.comparison.seeds import seed_scores
from pipeline.runtime.errors import Refusal

GENERATOR = np.random.default_rng(7)
SEEDS = list(range(8))
BASELINE = 0.9 + 0.01 * GENERATOR.standard_normal(8)
BETTER = BASELINE + 0.02 + 0.003 * GENERATOR.standard_normal(8)
ALIKE = BASELINE + 0.001 * np.array([1, -2, 1, 2, -1, 0, -1, 1])


def long(**arms):
    """Return a row per arm and seed."""
    rows = [
        {"arm": arm, "seed": seed, "score": score}
        for arm, scores in arms.items()
        for seed, score in enumerate(scores)
    ]
    return pd.DataFrame(rows)


TABLE = long(baseline=BASELINE, better=BETTER, alike=ALIKE)
WIDE = pd.DataFrame({"seed": SEEDS, "baseline": BASELINE, "better": BETTER, "alike": ALIKE})


def test_the_statistics_are_those_of_scipy():
    judged = judge(TABLE)
    assert tuple(judged.table.columns) == COLUMNS
    better, alike = judged.table.to_dict("records")
    test = stats.ttest_rel(BETTER, BASELINE)
    assert better["difference"] == pytest.approx((BETTER - BASELINE).mean())
    assert (better["low"], better["high"]) == pytest.approx(tuple(test.confidence_interval()))
    assert better["p"] == pytest.approx(test.pvalue)
    assert better["p_holm"] == pytest.approx(2 * test.pvalue)
    assert (better["verdict"], alike["verdict"]) == ("helps", "equivalent")
    assert (judged.unit, judged.direction, judged.margin) == (Unit.FRACTION, "higher", 0.01)
    assert judged.seeds_required == 7


def test_a_wide_table_and_texts_give_the_same():
    expected = judge(TABLE).table
    texts = TABLE.astype({"seed": float}).map(str)
    for same in (WIDE, WIDE.drop(columns="seed"), texts, TABLE.rename(columns=str.upper)):
        pd.testing.assert_frame_equal(judge(same).table, expected)
    shuffled = TABLE.sample(frac=1, random_state=1)
    found = judge(shuffled).table.set_index("arm")
    assert found.loc["better", "p"] == pytest.approx(expected.set_index("arm").loc["better", "p"])
    named = TABLE.rename(columns={"arm": "group", "score": "test/acc"})
    pd.testing.assert_frame_equal(judge(named, arm="group", score="test/acc").table, expected)
    forced = judge(WIDE.rename(columns={"alike": "arm"}), wide=True, score="accuracy")
    assert (forced.score, set(forced.table["arm"])) == ("accuracy", {"better", "arm"})


def test_what_is_written_is_judged_the_same():
    judged = judge(TABLE.assign(score=-TABLE["score"], cost=2.0), margin=0.01, direction="lower")
    again = judge(judged.seeds, margin=0.01)
    pd.testing.assert_frame_equal(again.table, judged.table)
    assert again.direction is Direction.LOWER
    assert set(judged.table["cost"]) == {1.0}


def test_a_lower_score_can_be_the_better_one():
    judged = judge(TABLE, direction="lower", unit="fraction").table.set_index("arm")
    assert judged["verdict"].to_dict() == {"better": "hurts", "alike": "equivalent"}
    assert judged.loc["better", "difference"] > 0
    given = judge(TABLE.assign(direction="lower"), margin=0.01)
    assert (given.unit, given.direction) == (Unit.NUMBER, Direction.LOWER)


def test_percentages_are_judged_as_fractions_are():
    fractions = judge(TABLE).table
    percent = judge(TABLE.assign(score=100 * TABLE["score"]), unit="percent")
    assert percent.margin == 1.0
    assert percent.table["verdict"].tolist() == fractions["verdict"].tolist()
    assert percent.table["p_equivalence"].to_numpy() == pytest.approx(
        fractions["p_equivalence"].to_numpy()
    )


def test_every_arm_may_have_a_reference_of_its_own():
    references = {"better": "baseline", "alike": "better"}
    table = TABLE.assign(reference=TABLE["arm"].map(references))
    judged = judge(table).table.set_index("arm")
    assert judged["reference"].to_dict() == references
    assert judged.loc["alike", "difference"] == pytest.approx((ALIKE - BETTER).mean())
    against = judge(TABLE, against="better").table.set_index("arm")
    assert set(against.index) == {"baseline", "alike"}


def test_seeds_without_a_partner_are_counted():
    table = TABLE[~((TABLE["arm"] == "better") & (TABLE["seed"] < 2))]
    table = table[~((table["arm"] == "baseline") & (table["seed"] == 7))]
    rows = judge(table).table.set_index("arm")
    assert rows.loc["better", ["n", "unpaired", "left"]].tolist() == [5, 1, 2]
    assert rows.loc["alike", ["n", "unpaired", "left"]].tolist() == [7, 1, 0]


def test_runs_without_a_score_are_left_out_only_on_demand():
    table = TABLE.assign(score=TABLE["score"].mask(TABLE.index == 9))
    with pytest.raises(Refusal, match="line 11: score: no finite score; .* --keep-going"):
        judge(table)
    rows = judge(table, keep_going=True).table.set_index("arm")
    assert rows.loc["better", ["n", "unpaired", "left"]].tolist() == [7, 0, 1]


def test_a_collapsed_run_is_found_and_ordinary_ones_are_not():
    collapsed = BETTER.copy()
    collapsed[3] = 0.1
    found = judge(long(baseline=BASELINE, better=collapsed, alike=ALIKE)).collapses
    assert found[["arm", "seed", "score"]].to_numpy().tolist() == [["better", "3", 0.1]]
    assert found["robust_z"].item() > 20
    upwards = judge(long(baseline=BASELINE, better=1 - collapsed), direction="lower", margin=0.01)
    assert upwards.collapses["seed"].tolist() == ["3"]
    false_alarms = sum(
        len(judge(long(baseline=scores[0], one=scores[1]), margin=1e-9, unit="number").collapses)
        for scores in GENERATOR.standard_normal((100, 2, 6))
    )
    assert false_alarms <= 10  # of 1200 runs


def test_arms_that_help_as_much_as_another_are_tied():
    jitter = 0.002 * np.array([1, -1, 2, -2, 1, -1, 0, 0])
    arms = {"better": BETTER, "as_good": BETTER + jitter, "best": BETTER + 0.03 - jitter}
    judged = judge(long(baseline=BASELINE, **arms))
    assert set(judged.table["verdict"]) == {"helps"}
    assert judged.ties == {"better": ("as_good",), "as_good": ("better",)}


def test_arms_with_the_same_scores_are_named():
    assert judge(TABLE).twins == ()
    twins = judge(long(baseline=BASELINE, one=BETTER, other=BETTER))
    assert twins.twins == (("one", "other"),)
    assert not twins.table["repeats"].any()


def test_test_examples_set_what_a_margin_can_mean():
    judged = judge(TABLE.assign(n_test=50))
    assert (judged.n_test, judged.example) == (50, 0.02)
    assert judged.chance == pytest.approx(chance_difference(0.1, 50))
    assert np.isnan(judge(TABLE).example)


STUDIES = {
    "one": {"dropout": "deterministic", "same": "deterministic", "mixup": "deterministic"},
    "two": {"dropout": "deterministic", "failed": "deterministic"},
}


@pytest.mark.parametrize("twin", [False, True])
def test_the_scores_of_a_report_give_its_verdicts(twin):
    """With a failed run, an arm of the runs of another, an arm of those of its reference."""
    plan = planned("confirmation", STUDIES)
    named = {
        ("one", "same"): lambda run: f"onedropout{run.seed}",
        ("two", "dropout"): lambda run: f"baseline{run.seed}",
    }
    changed = [
        run.model_copy(update={"fingerprint": named[run.study, run.arm](run)})
        if twin and (run.study, run.arm) in named
        else run
        for run in plan.runs
    ]
    plan = plan.model_copy(update={"runs": tuple(changed)})
    names = plan.fingerprints()
    generator = np.random.default_rng(2)
    rows = [
        (name, "deterministic", 1, split, metric, 0.9 + 0.02 * generator.standard_normal())
        for name in names
        for split, metric in WHERE.values()
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    states = dict.fromkeys(names, "done") | {"twofailed1001": "failed"}
    scores = pd.DataFrame(rows, columns=columns)
    kept = scores[scores["fingerprint"] != "twofailed1001"]
    found = outcomes(kept, states, {name: {"device": "cpu"} for name in names})
    expected = contrasts(plan, found, dict.fromkeys(names, COST), {}, tuple(SCORES))
    expected = expected[expected["metric"] == "test_accuracy"].reset_index(drop=True)
    judged = judge(seed_scores(plan, found), margin=plan.margin).table
    assert judged["repeats"].sum() == 2 * twin
    assert judged["n"].tolist() == expected["n"].tolist()
    apart = {"arm", "unpaired", "verdict_other_images"}  # the last one needs images
    shared = [name for name in COLUMNS if name in expected and name not in apart]
    assert {"verdict", "p_holm", "low_90", "seeds_needed", "below_margin"} <= set(shared)
    pd.testing.assert_frame_equal(
        judged[shared], expected[shared], check_dtype=False, rtol=1e-12, atol=0
    )
    assert "dropout of two" in set(judged["arm"])


ONE = {"arm": ["baseline", "a"], "seed": [1, 1], "score": [0.4, 0.5]}
TWO = {"arm": ["baseline", "a"] * 2, "seed": [1, 1, 2, 2], "score": [0.4, 0.5, 0.3, 0.6]}


RUNS = {"group": ["b", "a"] * 2, "run": [1, 1, 2, 2], "acc": [0.4, 0.5, 0.3, 0.6]}
BY_SEED = {"seed": [1, 2], "baseline": [0.4, 0.5], "a": [0.3, 0.6]}
CHART = {"Step": [1, 2], "a-0 - test/acc": [0.1, 0.2], "a-0 - test/acc__MIN": [0.1, 0.2]}


@pytest.mark.parametrize(
    ("table", "arguments", "line"),
    [
        (ONE, {}, "no arm shares two seeds with its reference; expected at least two, and twelve"),
        ({"arm": [], "seed": [], "score": []}, {}, "no rows; expected a row per arm and seed"),
        (TWO | {"score": [1, 2e99, 3e100, 4]}, {}, "line 4: score: invalid value '3e+100'; exp"),
        (TWO | {"score": [0.4, "x", 0.3, 0.6]}, {}, "line 3: score: invalid value 'x'; expected a"),
        (TWO | {"score": [0.4, "inf", 0.3, 0.6]}, {}, "line 3: score: no finite score; expected"),
        (TWO | {"seed": [1, 1, 2, 1]}, {}, "line 5: score: a second score of arm 'a' at seed 1;"),
        (TWO | {"seed": [1, 1, "", 1]}, {}, "line 4: seed: empty; expected a name or a number"),
        (TWO | {"arm": ["a"] * 4, "seed": SEEDS[:4]}, {"against": "a"}, "one arm (a); expected at"),
        (TWO, {"score": "acc"}, "acc: no such column; expected one of arm, seed, score as --score"),
        (TWO, {"arm": "group"}, "group: no such column; expected one of arm, seed, score as --arm"),
        (TWO, {"against": "b"}, "--against b: no such arm; expected one of baseline, a"),
        (TWO | {"arm": ["b", "a"] * 2}, {}, "no arm is named baseline; expected --against one"),
        (RUNS, {}, "no arm is named baseline; expected --against one of group, run, acc; or, of a"),
        (CHART, {}, "'a-0 - test/acc__MIN' is of a chart of W&B; expected the table of runs with"),
        (TWO, {"margin": 1.0}, "margin: invalid value 1; expected a number > 0 and < 1, such as"),
        (
            TWO,
            {"margin": 200.0, "unit": "percent"},
            "margin: invalid value 200; expected a number > 0 and < 100, such as 1 for",
        ),
        (TWO, {"unit": ""}, "unit: invalid value ''; expected one of fraction,"),
        *(
            (TWO, {role: ""}, f"--{role}: invalid value ''; expected the name of")
            for role in ("arm", "seed", "score", "against")
        ),
        (
            BY_SEED,
            {"score": "zzz"},
            "zzz: no such column; expected one of seed, baseline, a as --score, or --wide",
        ),
        (TWO, {"margin": -1.0, "unit": "number"}, "margin: invalid value -1; expected a number"),
        (TWO, {"direction": "up"}, "direction: invalid value 'up'; expected higher or lower"),
        (TWO | {"direction": list("abab")}, {}, "direction: a, b; expected one value in all rows"),
        (TWO, {"unit": "points"}, "unit: invalid value 'points'; expected one of fraction,"),
        (TWO | {"n_test": [0] * 4}, {}, "n_test: invalid value '0'; expected an integer >= 1"),
        (TWO | {"score": [4, 5, 3, 6]}, {}, "scores from 3 to 6 are not taken for fractions;"),
        (TWO | {"score": [4, 5, 3, 6]}, {"unit": "fraction"}, "scores from 3 to 6; expected 0"),
        (TWO, {"direction": "lower"}, "scores from 0.3 to 0.6 are not taken for fractions;"),
        (TWO, {"direction": "lower", "unit": "number"}, "margin: missing; expected the largest"),
        (TWO | {"reference": ["", "c"] * 2}, {}, "line 3: reference: no arm 'c'; expected one of"),
        (
            TWO | {"reference": ["", "baseline", "", "a"]},
            {},
            "line 5: reference: 'a' for arm 'a'; expected 'baseline' as in earlier rows",
        ),
        (TWO | {"reference_score": [0.1] * 4, "paired": "maybe"}, {}, "line 2: paired: invalid"),
        (TWO | {"reference_score": [0.1] * 4}, {"against": "a"}, "--against a: the table has the"),
        (TWO | {"reference": ["", "baseline"] * 2}, {"against": "a"}, "--against a: the table"),
        (TWO | {"reference": ["a", "baseline"] * 2}, {}, "reference: 'baseline' and 'a' are comp"),
        (TWO | {"cost": [1, 2, 0, 2]}, {}, "line 4: cost: invalid value 0; expected a number > 0"),
        ({"seed": [1, 2]}, {}, "no column of an arm; expected a column per arm and a row per seed"),
        ("scores.csv", {}, "invalid value 'scores.csv'; expected a data frame, such as pandas"),
        (BY_SEED | {"b": [0.5]}, {}, "All arrays must be of the same length; expected columns of"),
    ],
)
def test_bad_input_is_refused_in_one_line(table, arguments, line):
    with pytest.raises(Refusal) as raised:
        judge(table, **arguments, source="x.csv")
    (found,) = raised.value.lines
    assert found.startswith(f"x.csv: {line}")


@pytest.mark.parametrize("name", ["val_loss", "test/error", "RMSE", "NLL"])
def test_a_loss_needs_a_direction(name):
    table = TABLE.rename(columns={"score": name})
    with pytest.raises(Refusal, match=f"^scores: {name}: reads like a loss; expected --lower"):
        judge(table, score=name)
    assert judge(table, score=name, direction="higher").direction is Direction.HIGHER


def test_the_example_of_the_docstring_is_true():
    import doctest

    from pipeline.comparison import judging

    assert doctest.testmod(judging).failed == 0
    assert doctest.testmod(judging).attempted == 3
