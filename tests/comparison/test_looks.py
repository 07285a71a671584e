"""Looks at growing numbers of seeds: corrected p and intervals, and which arms stop."""

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
from pipeline.comparison.looks import (
    decide,
    decision_chance,
    expected_runs,
    explored_spread,
    look_table,
    look_tests,
    outlook,
    weighted_p,
)
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
LOOKS = PlannedLooks(seeds=(4, 8), weights=(0.25, 0.75))
MARGIN = 0.01
DIFFERENCES = np.array([0.02, 0.05, 0.01, 0.04, -0.01, 0.03, 0.02, 0.00])


def means(*looks):
    """Return the mean difference at every look."""
    return [mean_over_seeds(np.asarray(values)) for values in looks]


def test_the_smallest_weighted_p_counts():
    assert smallest_p([0.02, 0.03], [0.25, 0.75]) == pytest.approx(0.04)
    assert smallest_p([0.005, 0.03], [0.25, 0.75]) == pytest.approx(0.02)
    assert smallest_p([0.9, 0.9], [0.5, 0.5]) == 1
    assert smallest_p([math.nan, 0.3], [0.5, 0.5]) == pytest.approx(0.6)
    assert math.isnan(smallest_p([math.nan], [1.0]))


def test_p_and_interval_after_two_looks_are_those_of_scipy():
    differences = DIFFERENCES[:4], DIFFERENCES
    of_looks = means(*differences)
    found = look_statistics(of_looks, LOOKS.weights)
    first, last = (stats.ttest_1samp(values, 0) for values in differences)
    assert found["p"] == pytest.approx(min(first.pvalue / 0.25, last.pvalue / 0.75, 1))
    assert (found["low"], found["high"]) == pytest.approx(last.confidence_interval(1 - 0.05 * 0.75))
    assert found["excludes_zero"] == (found["low"] > 0)
    after_one = look_statistics(of_looks[:1], LOOKS.weights[:1])
    assert after_one["p"] == pytest.approx(first.pvalue / 0.25)
    assert (after_one["low"], after_one["high"]) == pytest.approx(
        first.confidence_interval(1 - 0.05 * 0.25)
    )


def test_equivalence_is_corrected_likewise():
    values = DIFFERENCES / 10
    found = look_equivalence(means(values[:4], values), LOOKS.weights, MARGIN)
    one_sided = [
        max(
            stats.ttest_1samp(some, -MARGIN, alternative="greater").pvalue,
            stats.ttest_1samp(some, MARGIN, alternative="less").pvalue,
        )
        for some in (values[:4], values)
    ]
    expected = min(one_sided[0] / 0.25, one_sided[1] / 0.75)
    assert found["p_equivalence"] == pytest.approx(expected)
    interval = stats.ttest_1samp(values, 0).confidence_interval(1 - 0.1 * 0.75)
    assert (found["low_90"], found["high_90"]) == pytest.approx(interval)


def test_one_look_of_weight_one_is_a_fixed_number_of_seeds():
    reference = np.linspace(0.8, 0.9, len(DIFFERENCES))
    fixed = paired_statistics(reference, reference + DIFFERENCES)
    looked = look_statistics(means(reference + DIFFERENCES - reference), [1.0])
    assert {name: fixed[name] for name in looked} == pytest.approx(looked)


def test_a_look_of_the_other_sign_does_not_count():
    values = np.array([0.050, 0.051, 0.049, 0.050, -0.2, -0.1, -0.2, -0.1])
    found = look_statistics(means(values[:4], values), LOOKS.weights)
    assert found["p"] == pytest.approx(stats.ttest_1samp(values, 0).pvalue / 0.75)
    tests = look_tests(values[None], LOOKS.seeds, MARGIN)
    assert weighted_p(tests, LOOKS.weights, np.array([2]), MARGIN)[0] == pytest.approx([found["p"]])
    assert weighted_p(tests, LOOKS.weights, np.array([1]), MARGIN)[0] < 0.001


def test_equivalence_at_a_look_before_one_beyond_the_margin_does_not_count():
    values = np.array([0.0001, -0.0001, 0.0002, 0.0, 0.05, 0.051, 0.049, 0.05])
    found = look_equivalence(means(values[:4], values), LOOKS.weights, MARGIN)
    assert found["p_equivalence"] == 1
    tests = look_tests(values[None], LOOKS.seeds, MARGIN)
    assert weighted_p(tests, LOOKS.weights, np.array([2]), MARGIN)[1] == 1
    assert weighted_p(tests, LOOKS.weights, np.array([1]), MARGIN)[1] < 0.001
    inside = np.array([0.0001, -0.0001, 0.0002, 0.0, 0.02, -0.02, 0.03, -0.01])
    found = look_equivalence(means(inside[:4], inside), LOOKS.weights, MARGIN)
    alone = look_equivalence(means(inside[:4]), LOOKS.weights[:1], MARGIN)
    assert found["p_equivalence"] == pytest.approx(alone["p_equivalence"])
    tests = look_tests(inside[None], LOOKS.seeds, MARGIN)
    both = weighted_p(tests, LOOKS.weights, np.array([2]), MARGIN)[1]
    assert both == pytest.approx([found["p_equivalence"]])


def test_all_arms_at_once_have_the_statistics_of_each():
    rng = np.random.default_rng(0)
    values = rng.normal(0.002, 0.01, (6, 8))
    values[1, 3] = np.nan
    had = np.array([1, 2, 2, 1, 2, 2])
    tests = look_tests(values, LOOKS.seeds, MARGIN)
    p_values, equivalence = weighted_p(tests, LOOKS.weights, had, MARGIN)
    for arm, looks in enumerate(had):
        some = [values[arm, :count] for count in LOOKS.seeds[:looks]]
        of_looks = means(*(each[np.isfinite(each)] for each in some))
        weights = LOOKS.weights[:looks]
        assert p_values[arm] == pytest.approx(look_statistics(of_looks, weights)["p"])
        judged = look_equivalence(of_looks, weights, MARGIN)
        assert equivalence[arm] == pytest.approx(judged["p_equivalence"])


def test_the_chance_of_a_decision_is_that_of_a_simulation():
    rng = np.random.default_rng(1)
    n, last, sd, level, one_sided = 6, 24, 0.01, 0.05 / 3 / 5, 0.05 / 3
    for mean, margin in ((0.004, 0.001), (0.006, 0.001), (0.001, 0.01), (0.004, 0.006)):
        added = rng.normal(mean, sd, (100_000, last - n)).sum(axis=1)
        means = (n * mean + added) / last
        error = sd / math.sqrt(last)
        far = stats.t.ppf(1 - level / 2, last - 1) * error
        near = margin - stats.t.ppf(1 - one_sided, last - 1) * error
        expected = np.mean((np.abs(means) >= far) | (np.abs(means) < near))
        spread = sd * math.sqrt(last - n) / last
        numbers = (np.array([value]) for value in (mean, spread, float(last), sd))
        found = decision_chance(*numbers, one_sided, level, margin)
        assert found == pytest.approx(expected, abs=0.005)


def test_an_arm_stops_where_test_scores_would_decide_as_well():
    """Seeds with validation and test scores of one truth, whose noise is independent."""
    rng = np.random.default_rng(2)
    values = rng.normal(0, 0.01, 8)
    values += 0.02 - values.mean()
    tests = look_tests(values[None], LOOKS.seeds, 0.001)
    arms = family([(BASELINE, 0)])
    found = outlook(tests, LOOKS, np.array([2]), arms, 0.001)
    sd = values.std(ddof=1)
    means = rng.normal(0.02, sd * math.sqrt(2 / 8), 100_000)
    critical = stats.t.ppf(1 - 0.05 * 0.75 / 2, 7) * sd / math.sqrt(8)
    assert found.likely == pytest.approx(np.mean(np.abs(means) >= critical), abs=0.005)


def test_which_arms_stop_and_why():
    steps = np.array([-1, 1, -1, 1, -1, 1, -1, 1.0])
    values = np.array(
        [
            0.05 + 0.001 * steps,  # a difference
            0.0 + 0.0001 * steps,  # equivalence
            0.0 + 0.08 * steps,  # nothing to find among eight
            0.02 + 0.014 * steps,  # not yet, and a test might miss it after
            np.where(np.arange(8) < 1, 0.05, np.nan),  # no pair of differences
        ]
    )
    tests = look_tests(values, LOOKS.seeds, MARGIN)
    arms = family([(BASELINE, number) for number in range(5)])
    first = outlook(tests, LOOKS, np.ones(5, dtype=int), arms, MARGIN)
    assert first.reasons == ["difference", "equivalent", "futile", None, "futile"]
    last = outlook(tests, LOOKS, np.full(5, 2), arms, MARGIN)
    assert last.reasons == ["difference", "equivalent", "last", "last", "last"]
    alike = outlook(tests, LOOKS, np.ones(5, dtype=int), family([("a", "a")] * 5), MARGIN)
    assert set(alike.reasons) == {"equivalent"}


ARMS = {"good": 8, "alike": 4}


def plan(arms=ARMS):
    """Return a plan in which `good` has had both looks and `alike` one."""
    counts = {BASELINE: 8, **arms}
    runs = [
        PlannedRun(
            study="one",
            arm=arm,
            seed=1000 + seed,
            fingerprint=f"{arm}{seed}",
            round=1 if seed < LOOKS.seeds[0] else 2,
        )
        for arm, count in counts.items()
        for seed in range(count)
    ]
    stops = [
        {"study": "one", "arm": "good", "look": 2, "reason": "difference"},
        {"study": "one", "arm": "alike", "look": 1, "reason": "futile"},
    ]
    looks = {"seeds": LOOKS.seeds, "weights": LOOKS.weights, "stops": tuple(stops)}
    arms = tuple(PlannedArm(name=arm) for arm in counts)
    return Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=MARGIN,
        data_digest="d",
        studies=(PlannedStudy(name="one", question="?", arms=arms),),
        runs=tuple(runs),
        looks=PlannedLooks.model_validate(looks),
    )


def scored(runs, noise=0.0):
    """Return the outcomes of a plan: every metric is the accuracy; test scores have noise."""
    base = np.linspace(0.8, 0.87, 8)
    own = {BASELINE: base, "good": base + DIFFERENCES, "alike": base + DIFFERENCES[::-1] / 50}
    rows = [
        (run.fingerprint, "deterministic", 1, *where, own[run.arm][run.seed - 1000])
        for run in runs.runs
        for where in WHERE.values()
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    table = pd.DataFrame(rows, columns=columns)
    tested = table["split"] == "test"
    table.loc[tested, "value"] += np.random.default_rng(0).normal(0, noise, tested.sum())
    names = runs.fingerprints()
    return outcomes(table, dict.fromkeys(names, "done"), {name: {"cpu": "x"} for name in names})


def test_contrasts_have_the_looks_of_each_arm():
    planned = plan()
    table = contrasts(planned, scored(planned), {}, {}, (PRIMARY, "validation_accuracy"))
    rows = table[table["metric"] == PRIMARY].set_index("arm")
    good, alike = rows.loc["good"], rows.loc["alike"]
    assert (good["n"], alike["n"]) == (8, 4)
    both = look_statistics(means(DIFFERENCES[:4], DIFFERENCES), LOOKS.weights)
    once = look_statistics(means(DIFFERENCES[:3:-1] / 50), LOOKS.weights[:1])
    for row, expected in ((good, both), (alike, once)):
        assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert good["p_holm"] == pytest.approx(min(2 * both["p"], 1))
    other = table[(table["metric"] == "validation_accuracy") & (table["arm"] == "good")].iloc[0]
    assert other["low"] == pytest.approx(both["low"])
    fixed = planned.model_copy(update={"looks": None})
    plain = contrasts(fixed, scored(planned), {}, {}, (PRIMARY,)).set_index("arm")
    expected = stats.ttest_1samp(DIFFERENCES, 0)
    assert plain.loc["good", "p"] == pytest.approx(expected.pvalue)


def test_the_verdict_over_images_has_the_smallest_p_of_the_looks_too():
    """An effect that is clear at the first look and drowned by the noise of later seeds."""
    planned = plan()
    hits = {run: np.arange(50) % 2 for run in planned.fingerprints()}
    effects = np.array([0.050, 0.051, 0.049, 0.050, -0.01, 0.15, -0.08, 0.12])
    base = np.linspace(0.8, 0.87, 8)
    own = {BASELINE: base, "good": base + effects, "alike": base + DIFFERENCES[::-1] / 50}
    known = with_test_accuracies(planned, own)
    row = contrasts(planned, known, {}, hits, (PRIMARY,)).set_index("arm").loc["good"]
    tests = [stats.ttest_1samp(some, 0) for some in (effects[:4], effects)]
    assert 2 * tests[1].pvalue / 0.75 > 0.05 > 2 * tests[0].pvalue / 0.25
    assert (row["verdict"], row["verdict_other_images"]) == ("helps", "helps")
    bounds = tests[1].confidence_interval(1 - 0.05 * 0.75)
    assert (row["low_images"], row["high_images"]) == pytest.approx(bounds)
    generator = np.random.default_rng(0)
    noisy = {run: generator.integers(0, 2, 50) for run in hits}
    row = contrasts(planned, known, {}, noisy, (PRIMARY,)).set_index("arm").loc["good"]
    assert (row["verdict"], row["verdict_other_images"]) == ("helps", "inconclusive")
    first = {run: hits[run] if run[-1] in "0123" else noisy[run] for run in hits}
    row = contrasts(planned, known, {}, first, (PRIMARY,)).set_index("arm").loc["good"]
    assert row["verdict_other_images"] == "helps"  # the images of later seeds change no first look


def with_test_accuracies(planned, own):
    """Return outcomes with these test accuracies of each arm, by seed."""
    scores = {
        (run.fingerprint, "deterministic", 1, *WHERE[PRIMARY]): own[run.arm][run.seed - 1000]
        for run in planned.runs
    }
    names = planned.fingerprints()
    return Outcomes(dict.fromkeys(names, "done"), dict.fromkeys(names, "x"), scores)


def test_the_table_has_every_look_that_an_arm_has_had():
    planned = plan()
    table = look_table(planned, scored(planned))
    assert table[["arm", "look", "seeds", "weight", "n", "stopped"]].to_numpy().tolist() == [
        ["good", 1, 4, 0.25, 4, ""],
        ["good", 2, 8, 0.75, 8, "difference"],
        ["alike", 1, 4, 0.25, 4, "futile"],
    ]
    first = stats.ttest_1samp(DIFFERENCES[:4], 0).pvalue
    assert table.loc[0, "p"] == pytest.approx(first)
    assert table.loc[0, "p_weighted"] == pytest.approx(min(first / 0.25, 1))
    assert table["level"].tolist() == [1 - 0.05 * 0.25, 1 - 0.05 * 0.75, 1 - 0.05 * 0.25]
    assert look_table(planned.model_copy(update={"looks": None}), scored(planned)).empty


def test_no_test_score_decides_and_a_lost_run_makes_no_pair():
    planned = plan()
    before, after = scored(planned), scored(planned, noise=0.05)
    columns = ["validation_difference", "validation_p_holm", "likely", "chance"]
    tables = [look_table(planned, one) for one in (before, after)]
    assert (tables[0]["difference"] != tables[1]["difference"]).all()
    pd.testing.assert_frame_equal(*(table[columns] for table in tables))
    found = {
        name: value
        for (name, _, _, *where), value in before.scores.items()
        if tuple(where) == WHERE["validation_accuracy"]
    }
    found = done(found)
    assert decide(planned, found)["one", "alike"] == "equivalent"
    three = ("alike0", "alike1", "alike2")
    lost = {name: found[name] for name in found if name not in three}
    assert decide(planned, lost)["one", "alike"] == "futile"
    diverged = found | dict.fromkeys(three, Score("diverged"))
    assert decide(planned, diverged)["one", "alike"] == "futile"


def test_runs_of_several_kinds_of_machine_make_no_pair_for_a_decision():
    """A gain of one machine over the other is no difference between arms."""
    planned = plan()
    base = np.linspace(0.8, 0.87, 8)
    jitter = 0.0002 * np.array([1, -1, 2, -2, 1, -1, 2, -2])
    scores = {}
    for run in planned.runs:
        seed = run.seed - 1000
        other = run.arm == "good" and seed in (1, 5)
        value = base[seed] + 0.1 * other + jitter[seed] * (run.arm != BASELINE)
        scores[run.fingerprint] = Score("done", value, machine="b" if other else "a")
    assert decide(planned, scores)["one", "good"] == "equivalent"
    alike = {name: replace(score, machine="a") for name, score in scores.items()}
    assert decide(planned, alike)["one", "good"] != "equivalent"
    kinds = {name: score.machine for name, score in scores.items()}
    values = {
        (name, "deterministic", 1, *where): score.accuracy
        for name, score in scores.items()
        for where in WHERE.values()
    }
    known = Outcomes(dict.fromkeys(scores, "done"), kinds, values)
    table = look_table(planned, known).set_index(["arm", "look"])
    assert table["validation_n"].to_dict() == {("good", 1): 3, ("good", 2): 6, ("alike", 1): 4}
    assert table["validation_n"].tolist() == table["n"].tolist()


def test_a_look_that_resolve_asked_for_changes_no_decision_in_the_table():
    """Afterwards `alike` is at four more seeds the clearest of all; before, it was not."""
    before = plan()
    more = tuple(
        PlannedRun(study="one", arm="alike", seed=1000 + seed, fingerprint=f"alike{seed}", round=2)
        for seed in range(4, 8)
    )
    stops = tuple(
        stop.model_copy(update={"look": 2, "reason": "asked"}) if stop.arm == "alike" else stop
        for stop in before.looks.stops
    )
    looks = before.looks.model_copy(update={"stops": stops})
    after = before.model_copy(update={"runs": (*before.runs, *more), "looks": looks})
    known = scored(after)
    moved = {f"alike{seed}": 0.05 + 0.0001 * seed for seed in range(4, 8)}
    moved |= {f"good{seed}": 0.03 * (-1) ** seed for seed in range(4, 8)}
    scores = {key: value + moved.get(key[0], 0.0) for key, value in known.scores.items()}
    known = replace(known, scores=scores)
    decision = ["validation_p_holm", "validation_p_equivalence", "likely", "chance"]
    tables = [look_table(one, known).set_index(["arm", "look"]) for one in (before, after)]
    assert list(tables[1].index) == [("good", 1), ("good", 2), ("alike", 1), ("alike", 2)]
    pd.testing.assert_frame_equal(tables[1].loc[tables[0].index, decision], tables[0][decision])
    asked = tables[1].loc["alike", 2]
    assert asked[decision].isna().all()
    assert (asked["stopped"], asked["n"], asked["validation_n"]) == ("asked", 8, 8)
    rows = [_by_place(known, arm) for arm in ("good", "alike")]
    tests = look_tests(np.array(rows), LOOKS.seeds, MARGIN)
    with_asked = outlook(tests, LOOKS, np.array([2, 2]), family([("b", "g"), ("b", "a")]), MARGIN)
    assert with_asked.p_holm[0] < 0.9 * tables[0].loc[("good", 2), "validation_p_holm"]


def _by_place(known, arm):
    """Return the differences in validation accuracy of an arm, by seed."""
    key = ("deterministic", 1, *WHERE["validation_accuracy"])
    return [known.scores[f"{arm}{n}", *key] - known.scores[f"baseline{n}", *key] for n in range(8)]


def done(accuracies):
    """Return the scores of runs with these validation accuracies."""
    return {name: Score("done", value) for name, value in accuracies.items()}


@pytest.mark.parametrize("lost", [BASELINE, "good"])
def test_a_collapsed_run_stops_no_arm_and_the_table_has_what_decided(lost):
    counts = {BASELINE: 6, "good": 6}
    runs = [
        PlannedRun(study="one", arm=arm, seed=1000 + seed, fingerprint=f"{arm}{seed}", round=1)
        for arm, count in counts.items()
        for seed in range(count)
    ]
    looks = PlannedLooks(seeds=(6, 12), weights=(0.5, 0.5))
    arms = tuple(PlannedArm(name=arm) for arm in counts)
    studies = (PlannedStudy(name="one", question="?", arms=arms),)
    planned = plan().model_copy(update={"studies": studies, "runs": tuple(runs), "looks": looks})
    rng = np.random.default_rng(0)
    scores = {
        run.fingerprint: 0.8 + 0.03 * (run.arm == "good") + rng.normal(0, 0.003) for run in runs
    }
    assert decide(planned, done(scores)) == {("one", "good"): "difference"}
    scores[f"{lost}2"] = 0.2
    assert decide(planned, done(scores)) == {("one", "good"): "difference"}
    rows = [
        (name, "deterministic", 1, *where, value)
        for name, value in scores.items()
        for where in WHERE.values()
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    names = list(scores)
    found = outcomes(
        pd.DataFrame(rows, columns=columns),
        dict.fromkeys(names, "done"),
        {name: {} for name in names},
    )
    row = look_table(planned, found).iloc[0]
    assert (row["n"], row["validation_n"]) == (6, 5)
    assert row["validation_p_holm"] < 0.01
    assert row["likely"] > 0.9


def test_expected_runs_follow_from_gains_and_spread():
    planned = plan(dict.fromkeys(ARMS, 8))
    clear = dict.fromkeys([("one", "good"), ("one", "alike")], 1.0)
    assert expected_runs(planned, clear, 0.01) == 3 * 4
    unclear = {**clear, ("one", "alike"): 0.02}
    assert 3 * 4 < expected_runs(planned, unclear, 0.02) < 3 * 8 - 4
    assert expected_runs(planned, unclear, 0.02) == expected_runs(planned, unclear, 0.02)


def test_the_spread_of_exploration_is_pooled_over_settings():
    rows = [[0.01, 0.03], [0.02, 0.00, None], [0.0, 0.0], [0.5], []]
    spread = explored_spread([{"changes": changes} for changes in rows])
    assert spread == pytest.approx(math.sqrt((0.0002 + 0.0002) / 2))
    assert math.isnan(explored_spread([{"changes": [0.1]}]))


def test_rates_of_lost_runs_are_corrected_by_the_weight_of_the_last_look():
    planned = plan()
    lost = {"good0", "good1", "good2", "good3", "good7", "alike0", "alike1", "alike2"}
    names = planned.fingerprints()
    states = {name: "diverged" if name in lost else "done" for name in names}
    known = replace(scored(planned), states=states)
    table = collapses(planned, known).set_index("arm")
    good, alike = 2 * 0.5**5 / 0.75, 2 * 0.5**3 / 0.25
    assert table.loc["good", "p"] == pytest.approx(good)
    assert table.loc["alike", "p"] == min(alike, 1)
    assert table.loc["good", "p_holm"] == pytest.approx(2 * good)
    plain = collapses(planned.model_copy(update={"looks": None}), known).set_index("arm")
    assert plain.loc["good", "p"] == pytest.approx(2 * 0.5**5)
    for arm, count, runs, weight in (("good", 5, 8, 0.75), ("alike", 3, 4, 0.25)):
        exact = stats.binomtest(count, runs).proportion_ci(1 - 0.05 * weight, method="exact")
        assert (table.loc[arm, "low"], table.loc[arm, "high"]) == pytest.approx(exact)
        unseen = table.loc[arm, "unseen"]
        assert (1 - unseen) ** runs == pytest.approx(0.05 * weight)
    exact = stats.binomtest(0, 8).proportion_ci(1 - 0.05 * 0.75, method="exact")
    assert table.loc[BASELINE, "high"] == pytest.approx(exact.high)


def test_other_single_tests_are_corrected_likewise():
    first = stats.ttest_1samp(DIFFERENCES, 0)
    found = estimate(DIFFERENCES, 0.25)
    assert found["p"] == pytest.approx(min(first.pvalue / 0.25, 1))
    assert (found["low"], found["high"]) == pytest.approx(first.confidence_interval(1 - 0.0125))
    assert found["p_sign_flip"] == pytest.approx(min(sign_flip_p(DIFFERENCES) / 0.25, 1))
    assert found["detectable"] > estimate(DIFFERENCES, 1.0)["detectable"]
    planned = plan()
    table = contrasts(planned, scored(planned), {}, {}, (PRIMARY,)).set_index("arm")
    flips = sign_flip_p(DIFFERENCES)
    assert table.loc["good", "p_sign_flip"] == pytest.approx(min(flips / 0.75, 1))
    rows = [
        {
            **{"study": "one", "arm": run.arm, "seed": run.seed, "gap": 0.1},
            "train_accuracy": 0.9 + (DIFFERENCES[run.seed - 1000] if run.arm != BASELINE else 0),
        }
        for run in planned.runs
    ]
    changes = diagnosis(planned, pd.DataFrame(rows)).set_index("arm")
    p_values = [
        stats.ttest_1samp(DIFFERENCES[:count], 0).pvalue / weight
        for count, weight in zip(LOOKS.seeds, LOOKS.weights, strict=True)
    ]
    expected = holm(np.minimum(p_values, 1.0))
    shown = [changes.loc[arm, "p_holm"] for arm in ("alike", "good")]
    assert shown == pytest.approx(expected)


def test_a_rank_test_has_the_seeds_and_the_weight_of_its_arm():
    planned = plan()
    flops = {BASELINE: np.arange(8) + 0.5, "good": np.arange(8.0) - 5, "alike": np.arange(4.0) - 1}
    rows = [
        ("one", run.arm, run.seed, run.fingerprint, 0.9, 1.0, flops[run.arm][run.seed - 1000])
        for run in planned.runs
    ]
    table = time_to_target(planned, pd.DataFrame(rows, columns=list(RUNS))).set_index("arm")
    for arm, weight in (("good", 0.75), ("alike", 0.25)):
        same = stats.mannwhitneyu(flops[arm], flops[BASELINE][: len(flops[arm])])
        assert table.loc[arm, "p"] == pytest.approx(min(same.pvalue / weight, 1))


DRAWS = 20_000
GROWING = (6, 12, 24)


def peeked(weights):
    """Return the share of null contrasts with p < 0.05 if one stops at the first such look."""
    values = np.random.default_rng(3).normal(size=(DRAWS, GROWING[-1]))
    tests = look_tests(values, GROWING, 1.0)
    found = np.zeros(DRAWS, dtype=bool)
    for look in range(1, len(GROWING) + 1):
        found |= weighted_p(tests, weights, np.full(DRAWS, look), 1.0)[0] < 0.05
    return found.mean()


def test_stopping_at_the_first_small_p_errs_without_weights_and_not_with_them():
    bound = 0.05 + 3 * math.sqrt(0.05 * 0.95 / DRAWS)
    assert peeked((1 / 3, 1 / 3, 1 / 3)) <= bound
    assert peeked((0.2, 0.3, 0.5)) <= bound
    assert peeked((1.0, 1.0, 1.0)) == pytest.approx(0.121, abs=0.007)


def covered(weights):
    """Return the share of intervals over the truth if one stops at the first without it."""
    values = np.random.default_rng(4).normal(size=(DRAWS, GROWING[-1]))
    tests = look_tests(values, GROWING, 1.0)
    missed = np.zeros(DRAWS, dtype=bool)
    for look, weight in enumerate(weights):
        critical = stats.t.ppf(1 - 0.05 * weight / 2, GROWING[look] - 1)
        half = critical * tests.sd[look] / math.sqrt(GROWING[look])
        missed |= np.abs(tests.mean[look]) > half
    return 1 - missed.mean()


def test_intervals_cover_whenever_one_stops():
    assert covered((1 / 3, 1 / 3, 1 / 3)) >= 0.95
    assert covered((1.0, 1.0, 1.0)) < 0.9


def test_the_committed_simulation_holds_what_it_claims():
    results = json.loads(RESULTS.read_text())
    held = results["held"]
    assert held["family_wise"] <= results["bar"] < held["peeking"]
    assert held["coverage"] >= 1 - results["bar"]


def test_the_table_of_the_docs_is_that_of_the_measured_results():
    results = json.loads(RESULTS.read_text())
    null, effects, at_margin = results["null"]["normal"], results["effects"], results["at_margin"]
    counts = {
        "reports with a false helps or hurts": (null, "family_wise", 1),
        "intervals that cover": (null, "coverage", 1),
        "arms without an effect shown to be equivalent": (null, "equivalent", 1),
        "arms at the margin called equivalent": (at_margin, "false_equivalence", 1),
        "an effect of 0.5 found": (effects["0.5"], "power", 0),
        **{
            f"{float(size):g}": (effects[size], "power", 0) for size in ("0.8", "1.0", "1.5", "2.0")
        },
        "runs, without an effect": (null, "runs", None),
        "runs, one effect of 1": (effects["1.0"], "runs", None),
    }
    expected = {
        label: [_shown(values[f"{name}_{way}"], digits) for way in ("looks", "resolved", "fixed")]
        for label, (values, name, digits) in counts.items()
    }
    text = (ROOT / "docs" / "statistics.md").read_text()
    table = text.partition("| | looks | resolved | 12 seeds |\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[1:]]
    assert {label: cells for label, *cells in rows} == expected
    assert f"false verdict in {_shown(null['family_wise_peeking'], 1)} of reports" in text


def _shown(value, digits):
    """Return a share in percent, or a number of runs, rounded half up."""
    shown = Decimal(str(value)) * (1 if digits is None else 100)
    rounded = shown.quantize(Decimal(10) ** -(digits or 0), ROUND_HALF_UP)
    return f"{rounded}" if digits is None else f"{rounded} %"
