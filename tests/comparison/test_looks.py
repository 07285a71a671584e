"""Looks at growing numbers of seeds: corrected p and intervals, and which arms stop.

The corrections of single arms and of all arms at once, the chance of a decision, the reasons to
stop, the table of looks with what validation scores decided, expected numbers of runs, and every
other table whose p depends on looks. Simulations show what stopping early does with and without
weights; the committed ones are those of the docs.
"""

import json
import math
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.collapses import collapses
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.diagnosis import diagnosis
from pipeline.comparison.family import family
from pipeline.comparison.interactions import estimate
from pipeline.comparison.intervals import sign_flip_p
from pipeline.comparison.levels import PRIMARY
from pipeline.comparison.look_forecast import expected_runs, explored_spread
from pipeline.comparison.look_table import look_table
from pipeline.comparison.look_tests import decision_chance, look_tests, outlook, weighted_p
from pipeline.comparison.looks import decide
from pipeline.comparison.matching import WHERE, Outcomes, outcomes
from pipeline.comparison.paired import paired_statistics
from pipeline.comparison.significance import holm
from pipeline.comparison.targets import RUNS, time_to_target
from pipeline.comparison.weights import (
    look_equivalence,
    look_statistics,
    mean_over_seeds,
    smallest_p,
)
from pipeline.config.plan import BASELINE, Plan, PlannedArm, PlannedLooks, PlannedRun, PlannedStudy
from pipeline.planning.choice import Score

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "looks.json"

LEVEL = 0.05
MARGIN = 0.01
FIRST, LAST = 4, 8  # seeds at the two looks
WEIGHTS = FIRST_WEIGHT, LAST_WEIGHT = 0.25, 0.75
LOOKS = PlannedLooks(seeds=(FIRST, LAST), weights=WEIGHTS)
ACCURACIES = np.linspace(0.80, 0.87, LAST)  # of the baseline, by seed
DIFFERENCES = np.array([0.02, 0.05, 0.01, 0.04, -0.01, 0.03, 0.02, 0.00])
SMALL_DIFFERENCES = DIFFERENCES[::-1] / 50
ALTERNATING = np.array([-1, 1, -1, 1, -1, 1, -1, 1.0])

SCORED = ("deterministic", 1)  # view and members
VALIDATION = (*SCORED, *WHERE["validation_accuracy"])
SCORE_COLUMNS = ["fingerprint", "view", "members", "split", "metric", "value"]


def means(*differences_by_look):
    """Return the mean difference at every look."""
    return [mean_over_seeds(np.asarray(differences)) for differences in differences_by_look]


def t_test(differences):
    """Return scipy's t test of a mean of 0, whose interval takes a confidence."""
    return stats.ttest_1samp(differences, 0)


def equivalence_test(differences):
    """Return scipy's p of two one-sided tests within the margin."""
    above = stats.ttest_1samp(differences, -MARGIN, alternative="greater")
    below = stats.ttest_1samp(differences, MARGIN, alternative="less")
    return max(above.pvalue, below.pvalue)


def p_of_arm(differences, looks_had):
    """Return p of a difference and of equivalence, by the functions for all arms at once."""
    tests = look_tests(differences[None], LOOKS.seeds, MARGIN)
    p, p_equivalence = weighted_p(tests, WEIGHTS, np.array([looks_had]), MARGIN)
    return p.item(), p_equivalence.item()


# Corrections by weights


@pytest.mark.parametrize(
    ("p", "weights", "expected"),
    [
        pytest.param([0.02, 0.03], [0.25, 0.75], 0.03 / 0.75, id="second-look"),
        pytest.param([0.005, 0.03], [0.25, 0.75], 0.005 / 0.25, id="first-look"),
        pytest.param([0.9, 0.9], [0.5, 0.5], 1, id="at-most-1"),
        pytest.param([math.nan, 0.3], [0.5, 0.5], 0.3 / 0.5, id="undefined-first-look"),
        pytest.param([math.nan], [1.0], math.nan, id="undefined"),
    ],
)
def test_the_smallest_weighted_p_counts(p, weights, expected):
    assert smallest_p(p, weights) == pytest.approx(expected, nan_ok=True)


def test_p_and_interval_after_one_look_are_those_of_scipy_at_its_level():
    first = t_test(DIFFERENCES[:FIRST])
    after_one = look_statistics(means(DIFFERENCES[:FIRST]), [FIRST_WEIGHT])
    assert after_one["p"] == pytest.approx(first.pvalue / FIRST_WEIGHT)
    bounds = first.confidence_interval(1 - LEVEL * FIRST_WEIGHT)
    assert (after_one["low"], after_one["high"]) == pytest.approx(bounds)


def test_after_two_looks_p_is_the_smaller_one_and_the_interval_that_of_the_second():
    first, last = t_test(DIFFERENCES[:FIRST]), t_test(DIFFERENCES)
    after_two = look_statistics(means(DIFFERENCES[:FIRST], DIFFERENCES), WEIGHTS)
    p = min(first.pvalue / FIRST_WEIGHT, last.pvalue / LAST_WEIGHT, 1)
    assert after_two["p"] == pytest.approx(p)
    bounds = last.confidence_interval(1 - LEVEL * LAST_WEIGHT)
    assert (after_two["low"], after_two["high"]) == pytest.approx(bounds)
    assert after_two["excludes_zero"] == (bounds.low > 0)


def test_equivalence_is_corrected_likewise():
    differences = DIFFERENCES / 10
    looks = means(differences[:FIRST], differences)
    corrected = look_equivalence(looks, WEIGHTS, MARGIN)
    first = equivalence_test(differences[:FIRST]) / FIRST_WEIGHT
    last = equivalence_test(differences) / LAST_WEIGHT
    assert corrected["p_equivalence"] == pytest.approx(min(first, last))
    bounds = t_test(differences).confidence_interval(1 - 2 * LEVEL * LAST_WEIGHT)
    assert (corrected["low_90"], corrected["high_90"]) == pytest.approx(bounds)


def test_one_look_of_weight_one_is_a_fixed_number_of_seeds():
    fixed = paired_statistics(ACCURACIES, ACCURACIES + DIFFERENCES)
    looked = look_statistics(means(ACCURACIES + DIFFERENCES - ACCURACIES), [1.0])
    assert {name: fixed[name] for name in looked} == pytest.approx(looked)


def test_a_look_of_the_other_sign_does_not_count():
    """The first look is clear, and the last mean is negative."""
    differences = np.array([0.050, 0.051, 0.049, 0.050, -0.2, -0.1, -0.2, -0.1])
    p_of_last = t_test(differences).pvalue / LAST_WEIGHT
    after_two = look_statistics(means(differences[:FIRST], differences), WEIGHTS)
    assert after_two["p"] == pytest.approx(p_of_last)
    p_after_one, _ = p_of_arm(differences, looks_had=1)
    p_after_two, _ = p_of_arm(differences, looks_had=2)
    assert p_after_one < 0.001
    assert p_after_two == pytest.approx(p_of_last)


def test_equivalence_at_a_look_before_a_mean_beyond_the_margin_does_not_count():
    differences = np.array([0.0001, -0.0001, 0.0002, 0.0, 0.05, 0.051, 0.049, 0.05])
    after_two = look_equivalence(means(differences[:FIRST], differences), WEIGHTS, MARGIN)
    assert after_two["p_equivalence"] == 1
    _, p_after_one = p_of_arm(differences, looks_had=1)
    _, p_after_two = p_of_arm(differences, looks_had=2)
    assert p_after_one < 0.001
    assert p_after_two == 1


def test_equivalence_at_a_look_before_a_noisy_mean_within_the_margin_counts():
    differences = np.array([0.0001, -0.0001, 0.0002, 0.0, 0.02, -0.02, 0.03, -0.01])
    p_of_first = equivalence_test(differences[:FIRST]) / FIRST_WEIGHT
    after_two = look_equivalence(means(differences[:FIRST], differences), WEIGHTS, MARGIN)
    assert after_two["p_equivalence"] == pytest.approx(p_of_first)
    _, p_after_two = p_of_arm(differences, looks_had=2)
    assert p_after_two == pytest.approx(p_of_first)


def test_all_arms_at_once_have_the_statistics_of_each():
    differences = np.random.default_rng(0).normal(0.002, 0.01, (6, LAST))
    differences[1, 3] = np.nan  # no pair at this seed
    looks_had = np.array([1, 2, 2, 1, 2, 2])
    tests = look_tests(differences, LOOKS.seeds, MARGIN)
    p, p_equivalence = weighted_p(tests, WEIGHTS, looks_had, MARGIN)
    for arm, looks in enumerate(looks_had):
        prefixes = [differences[arm, :seeds] for seeds in LOOKS.seeds[:looks]]
        of_looks = means(*(values[np.isfinite(values)] for values in prefixes))
        single = look_statistics(of_looks, WEIGHTS[:looks])
        assert p[arm] == pytest.approx(single["p"])
        single = look_equivalence(of_looks, WEIGHTS[:looks], MARGIN)
        assert p_equivalence[arm] == pytest.approx(single["p_equivalence"])


# Chances and reasons to stop


@pytest.mark.parametrize(
    ("mean", "margin"),
    [
        pytest.param(0.004, 0.001, id="perhaps-a-difference"),
        pytest.param(0.006, 0.001, id="probably-a-difference"),
        pytest.param(0.001, 0.01, id="equivalence"),
        pytest.param(0.004, 0.006, id="either"),
    ],
)
def test_the_chance_of_a_decision_at_the_last_look_is_that_of_a_simulation(mean, margin):
    n, last, sd = 6, 24, 0.01
    level, equivalence_level = LEVEL / 3 / 5, LEVEL / 3
    error = sd / math.sqrt(last)

    added = np.random.default_rng(1).normal(mean, sd, (100_000, last - n)).sum(axis=1)
    last_means = np.abs(n * mean + added) / last
    shortest_difference = stats.t.ppf(1 - level / 2, last - 1) * error
    longest_equivalence = margin - stats.t.ppf(1 - equivalence_level, last - 1) * error
    is_decided = (last_means >= shortest_difference) | (last_means < longest_equivalence)

    spread_of_last_mean = sd * math.sqrt(last - n) / last
    arguments = [np.array([value]) for value in (mean, spread_of_last_mean, float(last), sd)]
    chance = decision_chance(*arguments, equivalence_level, level, margin)
    assert chance == pytest.approx(np.mean(is_decided), abs=0.005)


def test_an_arm_stops_where_test_scores_would_decide_as_well():
    """Validation and test scores of the same seeds have one truth and independent noise."""
    generator = np.random.default_rng(2)
    mean, margin = 0.02, 0.001
    differences = generator.normal(0, 0.01, LAST)
    differences += mean - differences.mean()
    sd = differences.std(ddof=1)
    test_means = generator.normal(mean, sd * math.sqrt(2 / LAST), 100_000)
    shortest = stats.t.ppf(1 - LEVEL * LAST_WEIGHT / 2, LAST - 1) * sd / math.sqrt(LAST)

    tests = look_tests(differences[None], LOOKS.seeds, margin)
    arms = family([(BASELINE, 0)])
    likely = outlook(tests, LOOKS, np.array([2]), arms, margin).likely
    assert likely == pytest.approx(np.mean(np.abs(test_means) >= shortest), abs=0.005)


REASONS = {  # differences by seed: the reason to stop at the first look and at the last one
    "a-difference": (0.05 + 0.001 * ALTERNATING, "difference", "difference"),
    "equivalence": (0.0001 * ALTERNATING, "equivalent", "equivalent"),
    "nothing-to-find-among-eight": (0.08 * ALTERNATING, "futile", "last"),
    "a-test-might-miss-it": (0.02 + 0.014 * ALTERNATING, None, "last"),
    "no-two-pairs": (np.where(np.arange(LAST) < 1, 0.05, np.nan), "futile", "last"),
}


def reasons_to_stop(looks_had, arms):
    """Return why the arms of `REASONS` stop after a number of looks, given what they compare."""
    differences = np.array([values for values, *_ in REASONS.values()])
    tests = look_tests(differences, LOOKS.seeds, MARGIN)
    had = np.full(len(differences), looks_had)
    return outlook(tests, LOOKS, had, family(arms), MARGIN).reasons


@pytest.mark.parametrize("looks_had", [1, 2])
def test_arms_stop_for_their_reason(looks_had):
    arms = [(BASELINE, number) for number in range(len(REASONS))]
    expected = [reasons[looks_had - 1] for _, *reasons in REASONS.values()]
    assert reasons_to_stop(looks_had, arms) == expected


def test_arms_with_the_runs_of_their_reference_are_equivalent():
    same_runs = [("a", "a")] * len(REASONS)
    assert set(reasons_to_stop(1, same_runs)) == {"equivalent"}


# A plan with looks

SEEDS_OF_ARMS = {"good": LAST, "alike": FIRST}


def place_of(run):
    """Return the place of the seed of a run, from 0."""
    return run.seed - 1000


def planned_runs(seeds_of_arms, first=FIRST):
    """Return runs with a fingerprint of arm and place; those after the first look are round 2."""
    return [
        PlannedRun(
            study="one",
            arm=arm,
            seed=1000 + place,
            fingerprint=f"{arm}{place}",
            round=1 if place < first else 2,
        )
        for arm, seeds in seeds_of_arms.items()
        for place in range(seeds)
    ]


def study_of(arms):
    return PlannedStudy(name="one", question="?", arms=tuple(PlannedArm(name=arm) for arm in arms))


def plan(seeds_of_arms=SEEDS_OF_ARMS):
    """Return a plan in which `good` has had both looks and `alike` one."""
    arms = {BASELINE: LAST, **seeds_of_arms}
    stops = (
        {"study": "one", "arm": "good", "look": 2, "reason": "difference"},
        {"study": "one", "arm": "alike", "look": 1, "reason": "futile"},
    )
    looks = {"seeds": LOOKS.seeds, "weights": LOOKS.weights, "stops": stops}
    return Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=MARGIN,
        data_digest="d",
        studies=(study_of(arms),),
        runs=tuple(planned_runs(arms)),
        looks=PlannedLooks.model_validate(looks),
    )


def without_looks(planned):
    return planned.model_copy(update={"looks": None})


def scored(planned, noise=0.0):
    """Return outcomes in which every metric is the accuracy; test scores have noise."""
    accuracies = {
        BASELINE: ACCURACIES,
        "good": ACCURACIES + DIFFERENCES,
        "alike": ACCURACIES + SMALL_DIFFERENCES,
    }
    by_run = {run.fingerprint: accuracies[run.arm][place_of(run)] for run in planned.runs}
    return outcomes_of(by_run, noise)


def outcomes_of(accuracies, noise=0.0):
    """Return outcomes of runs with these accuracies by fingerprint, as `scored` does."""
    rows = [
        (name, *SCORED, *where, accuracy)
        for name, accuracy in accuracies.items()
        for where in WHERE.values()
    ]
    table = pd.DataFrame(rows, columns=SCORE_COLUMNS)
    is_test = table["split"] == "test"
    table.loc[is_test, "value"] += np.random.default_rng(0).normal(0, noise, is_test.sum())
    names = list(accuracies)
    return outcomes(table, dict.fromkeys(names, "done"), {name: {"cpu": "x"} for name in names})


def done(accuracies):
    """Return the scores of runs with these validation accuracies."""
    return {name: Score("done", accuracy) for name, accuracy in accuracies.items()}


def validation_accuracies(measured):
    """Return the validation accuracies in outcomes, by fingerprint."""
    accuracies = {}
    for (name, _view, _members, *where), value in measured.scores.items():
        if tuple(where) == WHERE["validation_accuracy"]:
            accuracies[name] = value
    return accuracies


# Contrasts of arms with looks


def contrast_rows(planned, measured, metrics=(PRIMARY,), hits=None):
    """Return the contrasts in test accuracy by arm."""
    table = contrasts(planned, measured, {}, hits or {}, metrics)
    return table[table["metric"] == PRIMARY].set_index("arm")


def test_contrasts_have_the_looks_of_each_arm():
    planned = plan()
    rows = contrast_rows(planned, scored(planned))
    after_two = look_statistics(means(DIFFERENCES[:FIRST], DIFFERENCES), WEIGHTS)
    after_one = look_statistics(means(SMALL_DIFFERENCES[:FIRST]), WEIGHTS[:1])
    assert rows["n"].to_dict() == {"good": LAST, "alike": FIRST}
    for arm, expected in (("good", after_two), ("alike", after_one)):
        assert rows.loc[arm, list(expected)].to_dict() == pytest.approx(expected)
    arms = 2
    assert rows.loc["good", "p_holm"] == pytest.approx(min(arms * after_two["p"], 1))


def test_contrasts_in_other_metrics_have_the_looks_too():
    planned = plan()
    table = contrasts(planned, scored(planned), {}, {}, ("validation_accuracy",))
    after_two = look_statistics(means(DIFFERENCES[:FIRST], DIFFERENCES), WEIGHTS)
    assert table.set_index("arm").loc["good", "low"] == pytest.approx(after_two["low"])


def test_contrasts_of_a_plan_without_looks_are_not_corrected():
    planned = plan()
    rows = contrast_rows(without_looks(planned), scored(planned))
    assert rows.loc["good", "p"] == pytest.approx(t_test(DIFFERENCES).pvalue)


class TestVerdictsOverImages:
    """An effect that is clear at the first look and drowned by the noise of later seeds."""

    images = 50
    effects = np.array([0.050, 0.051, 0.049, 0.050, -0.01, 0.15, -0.08, 0.12])

    def good_row(self, hits):
        """Return the contrast of `good`, given which images its runs have right."""
        planned = plan()
        accuracies = {
            BASELINE: ACCURACIES,
            "good": ACCURACIES + self.effects,
            "alike": ACCURACIES + SMALL_DIFFERENCES,
        }
        measured = with_test_accuracies(planned, accuracies)
        return contrast_rows(planned, measured, hits=hits).loc["good"]

    def equal_hits(self):
        """Return hits that are equal in all runs: images add no error."""
        every_second = np.arange(self.images) % 2
        return dict.fromkeys(plan().fingerprints(), every_second)

    def random_hits(self):
        generator = np.random.default_rng(0)
        return {name: generator.integers(0, 2, self.images) for name in plan().fingerprints()}

    def test_a_clear_first_look_gives_the_verdict(self):
        first, last = t_test(self.effects[:FIRST]), t_test(self.effects)
        arms = 2
        assert arms * first.pvalue / FIRST_WEIGHT < LEVEL < arms * last.pvalue / LAST_WEIGHT
        row = self.good_row(self.equal_hits())
        assert (row["verdict"], row["verdict_other_images"]) == ("helps", "helps")
        bounds = last.confidence_interval(1 - LEVEL * LAST_WEIGHT)
        assert (row["low_images"], row["high_images"]) == pytest.approx(bounds)

    def test_images_that_differ_at_all_seeds_change_it(self):
        row = self.good_row(self.random_hits())
        assert (row["verdict"], row["verdict_other_images"]) == ("helps", "inconclusive")

    def test_images_that_differ_at_later_seeds_do_not_change_a_first_look(self):
        equal, random = self.equal_hits(), self.random_hits()
        hits = {name: equal[name] if int(name[-1]) < FIRST else random[name] for name in equal}
        assert self.good_row(hits)["verdict_other_images"] == "helps"


def with_test_accuracies(planned, accuracies):
    """Return outcomes with these test accuracies of each arm by seed, and no other score."""
    scores = {}
    for run in planned.runs:
        scores[run.fingerprint, *SCORED, *WHERE[PRIMARY]] = accuracies[run.arm][place_of(run)]
    names = planned.fingerprints()
    return Outcomes(dict.fromkeys(names, "done"), dict.fromkeys(names, "x"), scores)


# The table of looks

DECISION = ["validation_p_holm", "validation_p_equivalence", "likely", "chance"]


def test_the_table_has_every_look_that_an_arm_has_had():
    planned = plan()
    table = look_table(planned, scored(planned))
    rows = table[["arm", "look", "seeds", "weight", "n", "stopped"]]
    assert rows.to_numpy().tolist() == [
        ["good", 1, FIRST, FIRST_WEIGHT, FIRST, ""],
        ["good", 2, LAST, LAST_WEIGHT, LAST, "difference"],
        ["alike", 1, FIRST, FIRST_WEIGHT, FIRST, "futile"],
    ]
    assert table["level"].tolist() == (1 - LEVEL * table["weight"]).tolist()


def test_the_table_has_the_p_of_each_look():
    planned = plan()
    good = look_table(planned, scored(planned)).set_index(["arm", "look"]).loc["good"]
    for look, seeds, weight in zip((1, 2), LOOKS.seeds, WEIGHTS, strict=True):
        p = t_test(DIFFERENCES[:seeds]).pvalue
        assert good.loc[look, "p"] == pytest.approx(p)
        assert good.loc[look, "p_weighted"] == pytest.approx(min(p / weight, 1))


def test_the_table_of_a_plan_without_looks_is_empty():
    planned = plan()
    assert look_table(without_looks(planned), scored(planned)).empty


def test_no_test_score_decides():
    planned = plan()
    clear = look_table(planned, scored(planned))
    noisy = look_table(planned, scored(planned, noise=0.05))
    assert (clear["difference"] != noisy["difference"]).all()
    columns = ["validation_difference", *DECISION]
    pd.testing.assert_frame_equal(clear[columns], noisy[columns])


def test_lost_runs_make_no_pair_for_a_decision():
    planned = plan()
    scores = done(validation_accuracies(scored(planned)))
    lost = ("alike0", "alike1", "alike2")
    missing = {name: score for name, score in scores.items() if name not in lost}
    diverged = scores | dict.fromkeys(lost, Score("diverged"))
    assert decide(planned, scores)["one", "alike"] == "equivalent"
    assert decide(planned, missing)["one", "alike"] == "futile"
    assert decide(planned, diverged)["one", "alike"] == "futile"


class TestSeveralKindsOfMachine:
    """A gain of one machine over the other is no difference between arms."""

    on_other_machine = ("good1", "good5")

    def scores(self):
        """Return scores in which the runs of one arm on another machine are better by 0.1."""
        jitter = 0.0002 * np.array([1, -1, 2, -2, 1, -1, 2, -2])
        scores = {}
        for run in plan().runs:
            place, is_other = place_of(run), run.fingerprint in self.on_other_machine
            accuracy = ACCURACIES[place]
            if run.arm != BASELINE:
                accuracy += jitter[place]
            if is_other:
                accuracy += 0.1
            scores[run.fingerprint] = Score("done", accuracy, machine="b" if is_other else "a")
        return scores

    def test_runs_of_different_machines_make_no_pair_for_a_decision(self):
        scores = self.scores()
        assert decide(plan(), scores)["one", "good"] == "equivalent"
        on_one = {name: replace(score, machine="a") for name, score in scores.items()}
        assert decide(plan(), on_one)["one", "good"] != "equivalent"

    def test_the_table_counts_the_pairs_of_the_decision(self):
        scores = self.scores()
        machines = {name: score.machine for name, score in scores.items()}
        values = {
            (name, *SCORED, *where): score.accuracy
            for name, score in scores.items()
            for where in WHERE.values()
        }
        measured = Outcomes(dict.fromkeys(scores, "done"), machines, values)
        table = look_table(plan(), measured).set_index(["arm", "look"])
        pairs = {("good", 1): FIRST - 1, ("good", 2): LAST - 2, ("alike", 1): FIRST}
        assert table["validation_n"].to_dict() == pairs
        assert table["n"].to_dict() == pairs


class TestLookThatResolveAskedFor:
    """Afterwards `alike` is at four more seeds the clearest of all; before, it was not."""

    later = range(FIRST, LAST)

    def plan_afterwards(self):
        """Return the plan with a second look of `alike`, which was asked for."""
        before = plan()
        runs = planned_runs(dict.fromkeys((BASELINE, "good", "alike"), LAST))
        stops = tuple(
            stop.model_copy(update={"look": 2, "reason": "asked"}) if stop.arm == "alike" else stop
            for stop in before.looks.stops
        )
        looks = before.looks.model_copy(update={"stops": stops})
        return before.model_copy(update={"runs": tuple(runs), "looks": looks})

    def outcomes_afterwards(self):
        """Return outcomes in which `alike` gains at the later seeds and `good` is noisy there."""
        measured = scored(self.plan_afterwards())
        added = {f"alike{place}": 0.05 + 0.0001 * place for place in self.later}
        added |= {f"good{place}": 0.03 * (-1) ** place for place in self.later}
        scores = {key: value + added.get(key[0], 0.0) for key, value in measured.scores.items()}
        return replace(measured, scores=scores)

    def tables(self):
        """Return the tables before and after it was asked for, by arm and look."""
        measured = self.outcomes_afterwards()
        plans = (plan(), self.plan_afterwards())
        return [look_table(planned, measured).set_index(["arm", "look"]) for planned in plans]

    def test_it_changes_no_decision_in_the_table(self):
        before, after = self.tables()
        assert list(after.index) == [("good", 1), ("good", 2), ("alike", 1), ("alike", 2)]
        pd.testing.assert_frame_equal(after.loc[before.index, DECISION], before[DECISION])

    def test_it_has_no_decision_of_its_own(self):
        _, after = self.tables()
        asked = after.loc["alike", 2]
        assert asked[DECISION].isna().all()
        assert (asked["stopped"], asked["n"], asked["validation_n"]) == ("asked", LAST, LAST)

    def test_counting_it_would_have_changed_another_decision(self):
        """So that the first test can fail: Holm's procedure would multiply by 1 and not by 2."""
        before, _ = self.tables()
        accuracies = validation_accuracies(self.outcomes_afterwards())
        differences = [
            [
                accuracies[f"{arm}{place}"] - accuracies[f"{BASELINE}{place}"]
                for place in range(LAST)
            ]
            for arm in ("good", "alike")
        ]
        tests = look_tests(np.array(differences), LOOKS.seeds, MARGIN)
        arms = family([(BASELINE, "good"), (BASELINE, "alike")])
        with_asked = outlook(tests, LOOKS, np.array([2, 2]), arms, MARGIN)
        assert with_asked.p_holm[0] < 0.9 * before.loc[("good", 2), "validation_p_holm"]


class TestCollapsedRun:
    """One look of six seeds at which `good` gains, by more than its noise."""

    seeds = 6
    looks = PlannedLooks(seeds=(6, 12), weights=(0.5, 0.5))

    def plan(self):
        seeds_of_arms = dict.fromkeys((BASELINE, "good"), self.seeds)
        runs = tuple(planned_runs(seeds_of_arms, first=self.seeds))
        studies = (study_of(seeds_of_arms),)
        changed = {"studies": studies, "runs": runs, "looks": self.looks}
        return plan().model_copy(update=changed)

    def accuracies(self):
        noise = np.random.default_rng(0)
        accuracies = {}
        for run in self.plan().runs:
            mean = 0.83 if run.arm == "good" else 0.80
            accuracies[run.fingerprint] = mean + noise.normal(0, 0.003)
        return accuracies

    def test_an_arm_with_a_clear_gain_stops(self):
        assert decide(self.plan(), done(self.accuracies())) == {("one", "good"): "difference"}

    @pytest.mark.parametrize("lost", [BASELINE, "good"])
    def test_a_collapsed_run_keeps_no_arm_from_stopping(self, lost):
        accuracies = self.accuracies() | {f"{lost}2": 0.2}
        assert decide(self.plan(), done(accuracies)) == {("one", "good"): "difference"}

    @pytest.mark.parametrize("lost", [BASELINE, "good"])
    def test_the_table_has_the_decision_without_the_collapsed_pair(self, lost):
        accuracies = self.accuracies() | {f"{lost}2": 0.2}
        table = look_table(self.plan(), outcomes_of(accuracies))
        row = table.iloc[0]
        assert row["n"] == self.seeds
        assert row["validation_n"] == self.seeds - 1
        assert row["validation_p_holm"] < 0.01
        assert row["likely"] > 0.9


# Expected numbers of runs


def test_clear_effects_take_the_runs_of_the_first_look():
    planned = plan(dict.fromkeys(SEEDS_OF_ARMS, LAST))
    clear = {("one", "good"): 1.0, ("one", "alike"): 1.0}
    assert expected_runs(planned, clear, spread=0.01) == 3 * FIRST


def test_an_unclear_effect_takes_some_runs_of_the_last_look():
    planned = plan(dict.fromkeys(SEEDS_OF_ARMS, LAST))
    one_unclear = {("one", "good"): 1.0, ("one", "alike"): 0.02}
    runs = expected_runs(planned, one_unclear, spread=0.02)
    without_good = 2 * LAST + FIRST  # it stops at the first look
    assert 3 * FIRST < runs < without_good
    assert expected_runs(planned, one_unclear, spread=0.02) == runs  # reproducible


def test_the_spread_of_exploration_is_pooled_over_settings():
    changes = [[0.01, 0.03], [0.02, 0.00, None], [0.0, 0.0], [0.5], []]
    squares = [0.01**2 + 0.01**2, 0.01**2 + 0.01**2]  # of settings with two different changes
    freedom = 1 + 1
    spread = explored_spread([{"changes": row} for row in changes])
    assert spread == pytest.approx(math.sqrt(sum(squares) / freedom))


def test_the_spread_of_single_changes_is_undefined():
    assert math.isnan(explored_spread([{"changes": [0.1]}]))


# Other tables


LOST_RUNS = ("good0", "good1", "good2", "good3", "good7", "alike0", "alike1", "alike2")
RATES = {  # of each arm: lost runs, runs, weight of its last look
    BASELINE: (0, LAST, LAST_WEIGHT),
    "good": (5, LAST, LAST_WEIGHT),
    "alike": (3, FIRST, FIRST_WEIGHT),
}


class TestRatesOfLostRuns:
    def table(self, planned):
        states = dict.fromkeys(planned.fingerprints(), "done")
        states |= dict.fromkeys(LOST_RUNS, "diverged")
        return collapses(planned, replace(scored(planned), states=states)).set_index("arm")

    def test_p_is_corrected_by_the_weight_of_the_last_look(self):
        table = self.table(plan())
        p_of_good, p_of_alike = 2 * 0.5**5 / LAST_WEIGHT, 2 * 0.5**3 / FIRST_WEIGHT
        assert table.loc["good", "p"] == pytest.approx(p_of_good)
        assert table.loc["alike", "p"] == min(p_of_alike, 1)
        assert table.loc["good", "p_holm"] == pytest.approx(2 * p_of_good)

    def test_without_looks_p_is_not_corrected(self):
        table = self.table(without_looks(plan()))
        assert table.loc["good", "p"] == pytest.approx(2 * 0.5**5)

    @pytest.mark.parametrize("arm", ["good", "alike"])
    def test_the_interval_of_a_rate_is_exact_at_the_level_of_the_last_look(self, arm):
        lost, runs, weight = RATES[arm]
        exact = stats.binomtest(lost, runs).proportion_ci(1 - LEVEL * weight, method="exact")
        row = self.table(plan()).loc[arm]
        assert (row["low"], row["high"]) == pytest.approx(exact)
        assert (1 - row["unseen"]) ** runs == pytest.approx(LEVEL * weight)

    def test_a_baseline_has_the_weight_of_the_last_look(self):
        lost, runs, weight = RATES[BASELINE]
        exact = stats.binomtest(lost, runs).proportion_ci(1 - LEVEL * weight, method="exact")
        assert self.table(plan()).loc[BASELINE, "high"] == pytest.approx(exact.high)


def test_single_estimates_are_corrected_by_a_weight():
    weight = 0.25
    test = t_test(DIFFERENCES)
    corrected = estimate(DIFFERENCES, weight)
    assert corrected["p"] == pytest.approx(min(test.pvalue / weight, 1))
    bounds = test.confidence_interval(1 - LEVEL * weight)
    assert (corrected["low"], corrected["high"]) == pytest.approx(bounds)
    assert corrected["p_sign_flip"] == pytest.approx(min(sign_flip_p(DIFFERENCES) / weight, 1))
    assert corrected["detectable"] > estimate(DIFFERENCES, 1.0)["detectable"]


def test_sign_flips_are_corrected_by_the_weight_of_the_last_look():
    planned = plan()
    row = contrast_rows(planned, scored(planned)).loc["good"]
    p = sign_flip_p(DIFFERENCES) / LAST_WEIGHT
    assert row["p_sign_flip"] == pytest.approx(min(p, 1))


def test_the_diagnosis_is_corrected_by_the_weight_of_the_last_look():
    planned = plan()
    rows = []
    for run in planned.runs:
        change = 0.0 if run.arm == BASELINE else DIFFERENCES[place_of(run)]
        row = {"study": "one", "arm": run.arm, "seed": run.seed, "gap": 0.1}
        rows.append(row | {"train_accuracy": 0.9 + change})
    table = diagnosis(planned, pd.DataFrame(rows)).set_index("arm")
    p_of_alike = t_test(DIFFERENCES[:FIRST]).pvalue / FIRST_WEIGHT
    p_of_good = t_test(DIFFERENCES).pvalue / LAST_WEIGHT
    expected = holm(np.minimum([p_of_alike, p_of_good], 1.0))
    assert table.loc[["alike", "good"], "p_holm"].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(("arm", "weight"), [("good", LAST_WEIGHT), ("alike", FIRST_WEIGHT)])
def test_a_rank_test_has_the_seeds_and_the_weight_of_its_arm(arm, weight):
    planned = plan()
    flops = {
        BASELINE: np.arange(LAST) + 0.5,
        "good": np.arange(LAST) - 5.0,
        "alike": np.arange(FIRST) - 1.0,
    }
    target, updates = 0.9, 1.0
    rows = [
        ("one", run.arm, run.seed, run.fingerprint, target, updates, flops[run.arm][place_of(run)])
        for run in planned.runs
    ]
    table = time_to_target(planned, pd.DataFrame(rows, columns=list(RUNS))).set_index("arm")
    baseline = flops[BASELINE][: len(flops[arm])]  # the same seeds
    p = stats.mannwhitneyu(flops[arm], baseline).pvalue / weight
    assert table.loc[arm, "p"] == pytest.approx(min(p, 1))


# Stopping early, simulated

REPORTS = 20_000
GROWING = (6, 12, 24)  # seeds
EQUAL_WEIGHTS, GROWING_WEIGHTS, NO_WEIGHTS = (1 / 3, 1 / 3, 1 / 3), (0.2, 0.3, 0.5), (1.0, 1.0, 1.0)


def null_differences(seed):
    """Return differences of reports without an effect (reports, seeds)."""
    return np.random.default_rng(seed).normal(size=(REPORTS, GROWING[-1]))


def false_alarms(weights):
    """Return the share of null contrasts with p < 0.05 if one stops at the first such look."""
    tests = look_tests(null_differences(seed=3), GROWING, 1.0)
    is_found = np.zeros(REPORTS, dtype=bool)
    for look in range(1, len(GROWING) + 1):
        p, _ = weighted_p(tests, weights, np.full(REPORTS, look), 1.0)
        is_found |= p < LEVEL
    return is_found.mean()


@pytest.mark.parametrize("weights", [EQUAL_WEIGHTS, GROWING_WEIGHTS])
def test_stopping_at_the_first_small_p_errs_in_at_most_5_percent(weights):
    three_errors = 3 * math.sqrt(LEVEL * (1 - LEVEL) / REPORTS)
    assert false_alarms(weights) <= LEVEL + three_errors


def test_stopping_at_the_first_small_p_without_weights_errs_more_than_twice_as_often():
    differences = null_differences(seed=3)
    p = [stats.ttest_1samp(differences[:, :seeds], 0, axis=1).pvalue for seeds in GROWING]
    expected = (np.min(p, axis=0) < LEVEL).mean()
    assert expected > 2 * LEVEL
    assert false_alarms(NO_WEIGHTS) == pytest.approx(expected)


def coverage(weights):
    """Return the share of intervals over the truth if one stops at the first without it."""
    tests = look_tests(null_differences(seed=4), GROWING, 1.0)
    is_missed = np.zeros(REPORTS, dtype=bool)
    for look, (seeds, weight) in enumerate(zip(GROWING, weights, strict=True)):
        critical = stats.t.ppf(1 - LEVEL * weight / 2, seeds - 1)
        half = critical * tests.sd[look] / math.sqrt(seeds)
        is_missed |= np.abs(tests.mean[look]) > half
    return 1 - is_missed.mean()


def test_intervals_cover_whenever_one_stops_with_weights_alone():
    assert coverage(EQUAL_WEIGHTS) >= 0.95
    assert coverage(NO_WEIGHTS) < 0.9


# The committed simulation


@pytest.fixture(scope="module")
def results():
    return json.loads(RESULTS.read_text())


def test_the_committed_simulation_holds_its_level(results):
    held, bar = results["held"], results["bar"]
    assert held["family_wise"] <= bar < held["peeking"]
    assert held["coverage"] >= 1 - bar


def rounded(value, decimals):
    """Return a number as text, rounded half up."""
    return str(Decimal(str(value)).quantize(Decimal(10) ** -decimals, ROUND_HALF_UP))


def percent(share, decimals):
    return f"{rounded(Decimal(str(share)) * 100, decimals)} %"


def test_the_table_of_the_docs_is_that_of_the_committed_simulation(results):
    null, effects, at_margin = results["null"]["normal"], results["effects"], results["at_margin"]

    def cells(values, name, show):
        return [show(values[f"{name}_{way}"]) for way in ("looks", "resolved", "fixed")]

    def to_a_tenth(share):
        return percent(share, 1)

    def to_a_percent(share):
        return percent(share, 0)

    def to_a_run(runs):
        return rounded(runs, 0)

    expected = {
        "reports with a false helps or hurts": cells(null, "family_wise", to_a_tenth),
        "intervals that contain the true effect": cells(null, "coverage", to_a_tenth),
        "arms without an effect shown to be equivalent": cells(null, "equivalent", to_a_tenth),
        "arms at the margin called equivalent": cells(at_margin, "false_equivalence", to_a_tenth),
        "an effect of 0.5 SD found": cells(effects["0.5"], "power", to_a_percent),
        "an effect of 0.8 SD found": cells(effects["0.8"], "power", to_a_percent),
        "an effect of 1 SD found": cells(effects["1.0"], "power", to_a_percent),
        "an effect of 1.5 SD found": cells(effects["1.5"], "power", to_a_percent),
        "an effect of 2 SD found": cells(effects["2.0"], "power", to_a_percent),
        "runs, no arm with an effect": cells(null, "runs", to_a_run),
        "runs, one arm with an effect of 1 SD": cells(effects["1.0"], "runs", to_a_run),
    }
    text = (ROOT / "docs" / "statistics.md").read_text()
    _, _, after_head = text.partition("| | looks | resolved | 12 seeds |\n")
    table, _, _ = after_head.partition("\n\n")
    _rule, *lines = table.splitlines()
    shown = {}
    for line in lines:
        label, *row = [cell.strip() for cell in line.strip("|").split("|")]
        shown[label] = row
    assert shown == expected
    assert f"false verdict in {to_a_tenth(null['family_wise_peeking'])} of reports" in " ".join(
        text.split()
    )
