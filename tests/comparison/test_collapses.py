"""Runs that are lost: found by a robust rule, counted exactly, and kept out of the differences."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison import judge
from pipeline.comparison.collapses import (
    FEWEST,
    collapsed,
    collapses,
    depth,
    highest_rate,
    mcnemar_p,
    rate_interval,
    robust_losses,
    with_collapses,
)
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.levels import PRIMARY
from pipeline.comparison.matching import WHERE, Outcomes
from pipeline.comparison.matching import compared as pairs
from pipeline.comparison.seeds import seed_scores
from pipeline.comparison.verdicts import LOST_RUNS, Losses, Verdict, judged_with_losses
from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy

SEEDS, MARGIN = range(12), 0.01
ARMS = ("baseline", "better", "alike", "worse")
GAINS = (0.0, 0.02, 0.0, -0.03)
COST = {"training_flops": 2, "forward_flops": 1}
NO_HITS = {}


@pytest.fixture
def plan():
    arms = tuple(PlannedArm(name=name) for name in ARMS)
    runs = tuple(
        PlannedRun(study="one", arm=arm, seed=seed, fingerprint=f"{arm}{seed}")
        for arm in ARMS
        for seed in SEEDS
    )
    return Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=MARGIN,
        data_digest="d",
        studies=(PlannedStudy(name="one", question="?", arms=arms),),
        runs=runs,
    )


def outcomes_of(plan, values=None, states=None):
    """Return the outcomes of normal scores, of which some are replaced."""
    generator = np.random.default_rng(5)
    names = plan.fingerprints()
    normal = generator.normal(0.9, 0.003, (len(ARMS), len(SEEDS))) + np.array(GAINS)[:, None]
    values = dict(zip(names, normal.ravel(), strict=True)) | (values or {})
    state = dict.fromkeys(names, "done") | (states or {})
    scores = {
        (name, "deterministic", 1, *where): value
        for name, value in values.items()
        for where in WHERE.values()
        if state[name] == "done"
    }
    return with_collapses(plan, Outcomes(state, dict.fromkeys(names, "one kind"), scores))


def with_accuracies(outcomes, images=200):
    """Return hits of which as many are right as the test accuracy of a run says."""
    generator = np.random.default_rng(2)
    return {
        run: generator.permutation(np.arange(images) < round(images * value)).astype(np.int8)
        for (run, _, _, *where), value in outcomes.scores.items()
        if tuple(where) == WHERE[PRIMARY]
    }


def compared(plan, outcomes, hits=NO_HITS):
    costs = dict.fromkeys(plan.fingerprints(), COST)
    table = contrasts(plan, outcomes, costs, hits, metrics=(PRIMARY,))
    return table.set_index("arm")


def test_the_exact_interval_is_that_of_scipy():
    for runs in (1, 6, 12, 24):
        for lost in range(runs + 1):
            exact = stats.binomtest(lost, runs).proportion_ci(method="exact")
            assert rate_interval(lost, runs) == pytest.approx((exact.low, exact.high))
    assert np.isnan(rate_interval(0, 0)).all()


def test_what_no_collapse_in_a_dozen_runs_leaves_possible():
    assert (1 - highest_rate(12)) ** 12 == pytest.approx(0.05)
    assert highest_rate(12) == pytest.approx(stats.beta.ppf(0.95, 1, 12))


def test_mcnemar_is_the_enumeration_of_all_discordant_seeds():
    for first, second in itertools.product(range(7), repeat=2):
        single = first + second
        outcomes = [sum(sides) for sides in itertools.product((0, 1), repeat=single)]
        as_far = [abs(2 * heads - single) >= abs(first - second) for heads in outcomes]
        assert mcnemar_p(first, second) == pytest.approx(np.mean(as_far))


def table_of(scores):
    """Return runs (arms, seeds) as rows; arms may have fewer seeds than others."""
    rows = [
        {"arm": arm, "seed": seed, "score": score}
        for arm, values in enumerate(scores)
        for seed, score in enumerate(values)
    ]
    return pd.DataFrame(rows)


def places(runs, margin):
    rows = runs[collapsed(runs, margin)]
    return list(zip(rows["arm"], rows["seed"], strict=True))


def test_the_distance_is_in_robust_standard_deviations():
    scores = [[0, 1, 2, 3, -30], [10, 10, 12, 14, 14], [0, 0, 0, -99][: FEWEST - 1]]
    runs = table_of(scores)
    medians, distances = robust_losses(runs)
    assert medians[:10].tolist() == [1] * 5 + [12] * 5
    pooled = np.median([1, 0, 1, 2, 31, 2, 2, 0, 2, 2])
    assert distances[4] == pytest.approx(31 / (stats.norm.ppf(0.75) ** -1 * pooled), rel=1e-4)
    assert distances[9] == pytest.approx(-2 / (1.4826 * pooled))
    assert np.isnan(distances[10:]).all()
    assert places(runs, margin=1.0) == [(0, 4)]
    assert places(runs, margin=31.0) == []


def test_scores_of_which_most_are_equal_have_a_spread():
    runs = table_of([[0.9] * 9 + [0.88, 0.9, 0.92], [0.9] * 11 + [0.3]])
    assert places(runs, MARGIN) == [(1, 11)]
    assert places(runs[runs["arm"] == 0], MARGIN) == []


def test_what_a_seed_does_to_all_arms_hides_no_collapse():
    """Seeds spread ten times as far as runs do; a loss in all arms at a seed is found too."""
    generator = np.random.default_rng(2)
    seeds = generator.normal(0, 1, 12)
    runs = table_of(seeds + generator.normal(0, 0.1, (10, 12)))
    assert places(runs, MARGIN) == []
    runs.loc[40, "score"] -= 2
    assert places(runs, MARGIN) == [(3, 4)]
    assert places(runs[runs["arm"] < 5], MARGIN) == []
    runs.loc[runs["seed"] == 7, "score"] = -20
    assert places(runs, MARGIN) == sorted([(3, 4), *((arm, 7) for arm in range(10))])


def test_clean_normal_runs_are_hardly_ever_flagged():
    """In well under 1 % of reports of 13 arms and a baseline, at 6, 12 and 24 seeds."""
    generator = np.random.default_rng(8)
    for seeds in (6, 12, 24):
        flagged = [
            collapsed(table_of(generator.normal(0, 1, (14, seeds))), 0.0).any() for _ in range(20)
        ]
        assert not any(flagged)


def test_a_lost_run_leaves_both_sides_of_the_typical_contrast(plan):
    clean = compared(plan, outcomes_of(plan))
    lost = outcomes_of(plan, {"better3": 0.2}, {"alike5": "diverged"})
    assert lost.collapsed == {"better3"}
    table = compared(plan, lost)
    assert table[["n", "lost_pairs", "unpaired"]].to_numpy().tolist() == [
        [11, 1, 0],
        [11, 1, 0],
        [12, 0, 0],
    ]
    assert table.loc["worse", "difference"] == clean.loc["worse", "difference"]
    scores = {run: value for (run, _, _, *where), value in lost.scores.items()}
    kept = [scores[f"better{s}"] - scores[f"baseline{s}"] for s in SEEDS if s != 3]
    assert table.loc["better", "difference"] == pytest.approx(np.mean(kept))
    reference = compared(plan, outcomes_of(plan, {"baseline3": 0.2}))
    assert reference["n"].tolist() == [11, 11, 11]


@pytest.mark.parametrize("way", ["diverged", "collapsed"])
def test_no_arm_that_lost_more_runs_than_its_reference_helps_or_is_equivalent(plan, way):
    assert compared(plan, outcomes_of(plan))["verdict"].tolist() == ["helps", "equivalent", "hurts"]

    def with_lost(*names):
        lost = dict.fromkeys(names, "diverged" if way == "diverged" else 0.2)
        arguments = {"states": lost} if way == "diverged" else {"values": lost}
        return compared(plan, outcomes_of(plan, **arguments))

    table = with_lost("better1", "better4", "better7", "alike1")
    assert table["verdict"].tolist() == ["inconclusive", "inconclusive", "hurts"]
    assert table["withheld"].tolist() == [True, True, False]
    assert table.loc["better", list(LOST_RUNS)].tolist() == [3, 12, 3, 0, 12, 0, 12]
    assert table.loc["better", "p_holm"] < 0.05
    table = with_lost("baseline1")
    assert table["verdict"].tolist() == ["helps", "equivalent", "inconclusive"]
    assert table["withheld"].tolist() == [False, False, True]
    table = with_lost("baseline1", "worse1", "better1")
    assert table["verdict"].tolist() == ["helps", "equivalent", "hurts"]


@pytest.mark.parametrize("state", ["failed", "missing"])
def test_runs_lost_where_the_reference_failed_count_too(plan, state):
    """Of 12 runs of the arm 3 diverge: those of the reference at these seeds have no result."""
    failed = {f"baseline{seed}": state for seed in (1, 4, 7)}
    lost = {f"better{seed}": "diverged" for seed in (1, 4, 7)}
    assert compared(plan, outcomes_of(plan, states=failed)).loc["better", "verdict"] == "helps"
    table = compared(plan, outcomes_of(plan, states=failed | lost))
    assert table.loc["better", ["verdict", "withheld"]].tolist() == ["inconclusive", True]
    assert table.loc["better", list(LOST_RUNS)].tolist() == [3, 12, 0, 0, 9, 0, 9]
    other_way = {name.replace("baseline", "worse"): end for name, end in failed.items()}
    other_way |= {name.replace("better", "baseline"): end for name, end in lost.items()}
    table = compared(plan, outcomes_of(plan, states=other_way))
    assert table.loc["worse", ["verdict", "withheld"]].tolist() == ["inconclusive", True]
    assert table.loc["better", "verdict"] == "helps"


def losses_of(arm, reference):
    """Return the losses of two texts: a letter per seed, "x" lost, "." done, "?" failed."""
    rows = np.array([list(reference), list(arm)])
    return Losses.count(rows == "x", rows != "?")


@pytest.mark.parametrize(
    ("arm", "reference", "more", "fewer"),
    [
        ("....", "....", False, False),
        ("x...", ".x..", False, False),
        ("xx..", ".x..", True, False),
        (".x..", "xx..", False, True),
        ("x...", "?...", True, False),  # of all runs alone
        ("?...", "x...", False, True),
        ("x...", ".x?.", False, False),
        ("x.?.", "..x.", True, False),  # at shared seeds alone
        ("..x.", "x.?.", False, True),
        ("x.??", "..xx", True, True),  # the two counts disagree
    ],
)
def test_losses_are_compared_of_all_seeds_and_of_shared_ones(arm, reference, more, fewer):
    losses = losses_of(arm, reference)
    assert (losses.has_more, losses.has_fewer) == (more, fewer)
    verdicts = {Verdict.HELPS: more, Verdict.EQUIVALENT: more, Verdict.HURTS: fewer}
    for verdict, contradicted in verdicts.items():
        assert judged_with_losses((verdict, False), losses).withheld is contradicted
    inconclusive = judged_with_losses((Verdict.INCONCLUSIVE, False), losses)
    assert (inconclusive.verdict, inconclusive.withheld) == (Verdict.INCONCLUSIVE, False)


def test_every_way_in_which_three_seeds_can_end_is_counted():
    for states in itertools.product(itertools.product("x.?", repeat=2), repeat=3):
        arm, reference = ("".join(side) for side in zip(*states, strict=True))
        both = [pair for pair in states if "?" not in pair]
        expected = Losses(
            arm.count("x"),
            3 - arm.count("?"),
            both.count(("x", ".")),
            reference.count("x"),
            3 - reference.count("?"),
            both.count((".", "x")),
            len(both),
        )
        assert losses_of(arm, reference) == expected


def test_what_limits_a_verdict_stays_where_losses_agree():
    assert judged_with_losses((Verdict.HELPS, True), losses_of("x.", ".x")).below_margin
    withheld = judged_with_losses((Verdict.HELPS, True), losses_of("xx.", ".x."))
    assert (withheld.verdict, withheld.below_margin) == (Verdict.INCONCLUSIVE, False)


def test_the_rates_are_a_family_of_exact_tests(plan):
    names = [f"better{seed}" for seed in range(9)] + ["alike0", "baseline0"]
    outcomes = outcomes_of(plan, states=dict.fromkeys(names, "diverged") | {"worse0": "failed"})
    table = collapses(plan, outcomes).set_index("arm")
    assert list(table.index) == list(ARMS)
    assert table["runs"].tolist() == [12, 12, 12, 11]
    assert table["diverged"].tolist() == [1, 9, 1, 0]
    assert table.loc["better", ["pairs", "only_arm", "only_reference"]].tolist() == [12, 8, 0]
    assert table.loc["better", "p"] == pytest.approx(2 / 2**8)
    assert table.loc["better", "p_holm"] == pytest.approx(3 * 2 / 2**8)
    assert table["often"].tolist() == ["", "more", "", ""]
    assert table.loc["worse", "pairs"] == 11
    assert np.isnan(table.loc["baseline", "p"])


def test_the_rate_that_undoes_a_verdict_makes_means_over_all_runs_equal(plan):
    lost = outcomes_of(plan, {"alike3": 0.4}, {"baseline1": "diverged"})
    table = collapses(plan, lost).set_index("arm")
    scores = {run: value for (run, _, _, *where), value in lost.scores.items()}
    typical = {
        arm: [scores[f"{arm}{s}"] for s in SEEDS if (arm, s) not in (("alike", 3), ("baseline", 1))]
        for arm in ARMS
    }
    depths = np.median(typical["alike"]) - 0.4, np.median(typical["baseline"])
    assert depth(list(pairs(plan)), lost) == pytest.approx(np.mean(depths))
    for arm in ("better", "worse"):
        kept = [scores[f"{arm}{s}"] - scores[f"baseline{s}"] for s in SEEDS if s != 1]
        assert table.loc[arm, "undone"] == pytest.approx(abs(np.mean(kept)) / np.mean(depths))
    assert np.isnan(table.loc["baseline", "undone"])
    assert collapses(plan, outcomes_of(plan))["undone"].isna().all()


def test_results_from_elsewhere_are_judged_by_the_same_code(plan):
    states = {"alike5": "diverged", "baseline8": "failed", "better8": "diverged"}
    outcomes = outcomes_of(plan, {"better3": 0.2, "baseline6": 0.1}, states)
    seeds = seed_scores(plan, outcomes)
    assert seeds["paired"].sum() == 36 - 3 - 3 - 1 - 1
    hits = with_accuracies(outcomes)
    rows = [
        {"arm": run.arm, "seed": run.seed, "image": image, "correct": right}
        for run in plan.runs
        if run.fingerprint in hits
        for image, right in enumerate(hits[run.fingerprint])
    ]
    judged = judge(seeds, images=pd.DataFrame(rows), margin=MARGIN, keep_going=True)
    expected = compared(plan, outcomes, hits)
    table_of_collapses = judged.table.set_index("arm")
    shared = [name for name in table_of_collapses if name in expected]
    assert {"withheld", *LOST_RUNS, "lost_pairs", "low_all", "verdict_other_images"} <= set(shared)
    pd.testing.assert_frame_equal(table_of_collapses[shared], expected[shared], check_dtype=False)
    rates = collapses(plan, outcomes).set_index("arm")
    columns = [name for name in judged.rates if name in rates]
    pd.testing.assert_frame_equal(
        judged.rates.set_index("arm")[columns], rates[columns], check_dtype=False
    )


def test_a_diverged_run_needs_no_score():
    scores = np.random.default_rng(3).normal(0.9, 0.01, (2, 6))
    rows = pd.DataFrame(
        [
            {"arm": arm, "seed": seed, "score": scores[number][seed], "diverged": False}
            for number, arm in enumerate(("baseline", "one"))
            for seed in range(6)
        ]
    )
    rows.loc[8, ["score", "diverged"]] = [np.nan, True]
    judged = judge(rows)
    assert judged.table[["n", "lost", "ended"]].to_numpy().tolist() == [[5, 1, 6]]
    assert judged.rates["diverged"].tolist() == [0, 1]
