"""Claims: each value by hand, each outcome by a planted one, corrections by statsmodels."""

from itertools import combinations_with_replacement
from math import exp, log

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from pipeline.comparison.claim_samples import (
    Sources,
    change_over_levels,
    rank_correlation,
    times_on_one_scale,
)
from pipeline.comparison.claims import COLUMNS, claims
from pipeline.comparison.intervals import interval
from pipeline.comparison.matching import outcomes
from pipeline.config.claims import Claim, claims_digest
from pipeline.config.plan import Plan, PlannedArm, PlannedLooks, PlannedRun, PlannedStudy

SEEDS = range(1000, 1006)
ARMS = {"baseline": 0.80, "better": 0.85, "worse": 0.75, "same": 0.80, "best": 0.90}
NOISE = np.array([0.001, -0.001, 0.002, -0.002, 0.0005, -0.0005])
MACHINE = {"device": "cpu"}
MARGIN = 0.01


def claim(contrast, expect="lower", **more):
    given = {"id": "one", "source": "A paper", "by": "paper", "says": "It is so."}
    return Claim(**given | {"contrast": contrast, "expect": expect} | more)


def numbered(*contrasts):
    """Return one claim for each contrast, with ids of their own."""
    return [claim(contrast, id=f"claim_{number}") for number, contrast in enumerate(contrasts)]


def plan(*made, ensemble=(), **more):
    """Return two studies of the same arms; `worse` of the second has the runs of `same`."""
    arms = tuple(PlannedArm(name=name) for name in ARMS)
    runs = [
        PlannedRun(study=study, arm=arm, seed=seed, fingerprint=f"{run}{seed}")
        for study, others in (("one", {}), ("two", {"worse": "same"}))
        for arm in ARMS
        for run in [others.get(arm, arm)]
        for seed in SEEDS
    ]
    described = [
        PlannedStudy(name="one", question="?", arms=arms, claims=made),
        PlannedStudy(name="two", question="?", arms=arms),
    ]
    if ensemble:
        named = {"name": "many", "question": "?", "kind": "ensemble", "size": 2}
        described.append(PlannedStudy(**named, arms=arms[:1], claims=ensemble))
    fixed = {
        "protocol": "tiny",
        "phase": "confirmation",
        "settings": {"data": {"label_noise": 0.1}, "model": {"batch_norm": True}},
        "margin": MARGIN,
        "data_digest": "d",
    }
    return Plan(**fixed | more, studies=tuple(described), runs=tuple(runs))


def empty(*columns):
    return pd.DataFrame(columns=list(columns))


def sources(planned, accuracies=ARMS, noise=NOISE, states=None, **more):
    """Return sources in which every arm but the baseline has the noise in an order of its own."""
    names = planned.fingerprints()
    rows = []
    for name in names:
        arm, seed = name[:-4], int(name[-4:])
        own = np.roll(noise, [*ARMS].index(arm) - 1)
        accuracy = accuracies[arm] + (arm != "baseline") * own[seed - SEEDS[0]]
        rows.append((name, "deterministic", 1, "test", "accuracy", accuracy))
        rows.append((name, "deterministic", 1, "train_validation", "gap", 1 - accuracy))
        rows.append((name, "deterministic", 1, "train", "accuracy", accuracy / 2))
    scores = pd.DataFrame(
        rows, columns=["fingerprint", "view", "members", "split", "metric", "value"]
    )
    ended = dict.fromkeys(names, "done") | (states or {})
    given = {
        "records": {name: {"cost": {"training_flops": 100, "updates": 60}} for name in names},
        "histories": {},
        "passes": empty("fingerprint", "passes", "metric", "value"),
        "ensembles": empty("study", "group", "method", "metric", "value"),
        "sizes": empty("study", "group", "method", "members", "metric", "value"),
        "target_times": empty("fingerprint", "updates", "flops"),
        "search_methods": empty("study", "arm", "method"),
    }
    return Sources(outcomes=outcomes(scores, ended, dict.fromkeys(names, MACHINE)), **given | more)


def judged(*made, **more):
    """Return the rows of claims about study `one`."""
    planned = plan(*made)
    return claims(planned, sources(planned, **more)).to_dict("records")


def test_errors_are_paired_by_seed():
    printed = {"figures": (1.6, 1.35), "setting": "MNIST"}
    (row,) = judged(claim({"arm": "better"}, **printed))
    assert (row["published_before"], row["published_setting"]) == (1.6, "MNIST")
    assert row["published_change"] == pytest.approx(-0.15625)
    expected = interval(-0.05 - NOISE)
    assert (row["claim"], row["study"], row["by"], row["n"]) == ("one", "one", "paper", 6)
    assert (row["before"], row["after"]) == pytest.approx((0.2, 0.15))
    assert (row["difference"], row["change"]) == pytest.approx((expected.mean, -0.25))
    assert (row["low"], row["high"], row["p"]) == pytest.approx(
        (expected.low, expected.high, expected.p)
    )
    assert (row["outcome"], row["reason"]) == ("supported", "")


@pytest.mark.parametrize(
    ("expect", "better", "worse", "same"),
    [
        ("lower", "supported", "contradicted", "contradicted"),
        ("higher", "contradicted", "supported", "contradicted"),
        ("not_lower", "contradicted", "supported", "supported"),
        ("not_higher", "supported", "contradicted", "supported"),
    ],
)
def test_a_directional_claim_comes_out_by_its_side_or_by_the_margin(expect, better, worse, same):
    made = [claim({"arm": arm}, expect, id=f"about_{arm}") for arm in ("better", "worse", "same")]
    assert [row["outcome"] for row in judged(*made)] == [better, worse, same]
    wide = judged(claim({"arm": "same"}, expect), noise=20 * NOISE)
    assert [row["outcome"] for row in wide] == ["inconclusive"]


@pytest.mark.parametrize(
    ("arm", "scale", "outcome"),
    [("same", 1, "supported"), ("better", 1, "contradicted"), ("same", 20, "inconclusive")],
)
def test_an_equivalence_is_within_the_margin_or_differs(arm, scale, outcome):
    made = claim({"arm": arm}, "equal", rule="equivalence")
    assert [row["outcome"] for row in judged(made, noise=scale * NOISE)] == [outcome]


@pytest.mark.parametrize(
    ("levels", "scale", "outcome"),
    [
        (("worse", "same", "better"), 1, "supported"),
        (("better", "same", "worse"), 1, "contradicted"),
        (("worse", "better", "same"), 60, "inconclusive"),
    ],
)
def test_a_slope_is_the_change_over_the_levels(levels, scale, outcome):
    (row,) = judged(claim({"levels": levels}, rule="slope"), noise=scale * NOISE)
    assert row["outcome"] == outcome


def test_a_slope_is_that_of_least_squares():
    values = np.random.default_rng(0).normal(size=(4, 5))
    slopes = np.polyfit(range(4), values, 1)[0]
    assert change_over_levels(values) == pytest.approx(3 * slopes)


@pytest.mark.parametrize(
    ("first", "second", "scale", "outcome"),
    [
        ("best", "better", 1, "supported"),
        ("better", "best", 1, "contradicted"),
        ("best", "better", 60, "inconclusive"),
    ],
)
def test_an_interaction_is_the_difference_of_two_contrasts(first, second, scale, outcome):
    other = {"arm": second, "against": "same"}
    made = claim({"arm": first}, rule="interaction", than=other)
    (row,) = judged(made, accuracies=ARMS | {"same": 0.8}, noise=scale * NOISE)
    expected = (ARMS[first] - 0.8) - (ARMS[second] - 0.8)
    assert (row["n"], row["difference"]) == (6, pytest.approx(-expected, abs=1e-3))
    assert row["outcome"] == outcome


def test_a_correlation_is_by_rank_over_the_arms_of_a_seed():
    made = [
        claim(None, "lower", rule="correlation", measure="gap", id="opposed"),
        claim(None, "higher", rule="correlation", measure="gap", id="together"),
    ]
    tied = np.array([[0.1, 0.2, 0.2, 0.4], [4.0, 3.0, 3.0, 1.0]])
    assert rank_correlation(*tied) == pytest.approx(stats.spearmanr(*tied).statistic)
    planned = plan(*made)
    read = sources(planned)
    for number, (key, value) in enumerate(read.outcomes.scores.items()):
        if key[4] == "gap" and key[0].startswith("same"):
            read.outcomes.scores[key] = value + 0.3 * (number % 2)
    rows = claims(planned, read).to_dict("records")
    assert [row["outcome"] for row in rows] == ["supported", "contradicted"]
    assert -1 <= rows[0]["difference"] < -0.5


def test_one_seed_contradicts_an_exact_claim():
    made = claim({"arm": "better"}, rule="exact")
    assert judged(made)[0]["outcome"] == "supported"
    noise = NOISE.copy()
    noise[3] = -0.06
    (row,) = judged(made, noise=noise)
    assert (row["outcome"], np.isnan(row["p_holm"])) == ("contradicted", True)


def test_a_cost_is_an_identity_and_a_share_of_the_first_side():
    made = claim({"arm": "better"}, measure="training_cost", rule="identity", id="cost")
    planned = plan(made, claim({"arm": "better"}))
    records = {
        name: {"cost": {"training_flops": 78 if name.startswith("better") else 100}}
        for name in planned.fingerprints()
    }
    cost, error = claims(planned, sources(planned, records=records)).to_dict("records")
    assert (cost["before"], cost["after"], cost["outcome"]) == (1, pytest.approx(0.78), "identity")
    assert cost["low"] == cost["high"] == pytest.approx(-0.22)
    assert error["p_holm"] == pytest.approx(error["p"])  # an identity takes no part


def test_corrections_are_those_of_statsmodels():
    planned = plan(*numbered({"arm": "better"}, {"arm": "worse"}, {"arm": "same"}))
    noise = 30 * NOISE
    rows = claims(planned, sources(planned, noise=noise))
    differences = [-(ARMS[arm] - 0.8) - noise for arm in ("better", "worse", "same")]
    p_values = [stats.ttest_1samp(values, 0).pvalue for values in differences]
    assert rows["p"].tolist() == pytest.approx(p_values)
    assert rows["p_holm"].tolist() == pytest.approx(multipletests(p_values, method="holm")[1])
    equal = [ttost_paired(values, 0 * values, -MARGIN, MARGIN)[0] for values in differences]
    expected = multipletests(equal, method="holm")[1]
    assert rows["p_equivalence"].tolist() == pytest.approx(expected)


def test_the_bound_of_a_claim_of_no_loss_is_one_sided():
    (row,) = judged(claim({"arm": "same"}, "not_higher"), noise=4 * NOISE)
    errors = -4 * NOISE
    p = stats.ttest_1samp(errors, MARGIN, alternative="less").pvalue
    assert row["p_equivalence"] == pytest.approx(p)


def test_the_same_contrast_counts_once_in_corrections():
    made = [claim({"arm": "better"}, id="first"), claim({"arm": "better"}, id="again")]
    other = claim({"arm": "better"}, "higher", id="opposite")
    rows = judged(*made, other)
    assert {row["p_holm"] for row in rows} == {rows[0]["p"]}
    assert [row["repeats"] for row in rows] == [False, True, False]


def test_claims_hardly_err_where_nothing_differs():
    """Reports with any decided claim of ten, about arms without effect: at most 5 %."""
    generator = np.random.default_rng(1)
    arms = {f"arm_{number}": 0.8 for number in range(10)}
    made = tuple(claim({"arm": arm}, id=arm, margin=1e-6) for arm in arms)
    study = PlannedStudy(
        name="one",
        question="?",
        arms=tuple(PlannedArm(name=name) for name in ("baseline", *arms)),
        claims=made,
    )
    runs = tuple(
        PlannedRun(study="one", arm=arm, seed=seed, fingerprint=f"{arm}-{seed}")
        for arm in ("baseline", *arms)
        for seed in SEEDS
    )
    planned = plan().model_copy(update={"studies": (study,), "runs": runs})
    names = planned.fingerprints()
    keys = [(name, "deterministic", 1, "test", "accuracy") for name in names]
    states, kinds = dict.fromkeys(names, "done"), dict.fromkeys(names, "cpu")
    nothing = sources(plan())
    false = uncorrected = 0
    reports = 120
    for _ in range(reports):
        scores = dict(zip(keys, generator.normal(0.8, 0.01, len(keys)), strict=True))
        found = type(nothing.outcomes)(states, kinds, scores)
        rows = claims(planned, Sources(**vars(nothing) | {"outcomes": found}))
        false += (rows["outcome"] != "inconclusive").any()
        uncorrected += (rows["p"] < 0.05).any()
    assert false / reports <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / reports)
    assert uncorrected / reports > 0.15


def test_an_arm_of_another_study_can_be_what_it_is_against():
    other = {"arm": "better", "against": "worse", "against_study": "two"}
    assert judged(claim(other))[0]["difference"] == pytest.approx(-0.05)
    (row,) = judged(claim({"arm": "better", "against": "worse"}))
    assert row["difference"] == pytest.approx(-0.1)


def test_without_words_it_is_against_what_the_arm_is_compared_with():
    planned = plan(claim({"arm": "better"}))
    first, second = planned.studies
    arms = tuple(
        arm.model_copy(update={"against": "worse"}) if arm.name == "better" else arm
        for arm in first.arms
    )
    changed = first.model_copy(update={"arms": arms})
    moved = planned.model_copy(update={"studies": (changed, second)})
    (row,) = claims(moved, sources(moved)).to_dict("records")
    assert row["difference"] == pytest.approx(-0.1)


def test_what_the_plan_has_not_is_named_and_counts_in_no_correction():
    away = {"arm": "better", "against": "dropout", "against_study": "three"}
    noisy = claim({"arm": "better"}, id="noisy", needs={"data.label_noise": 0.3})
    plain = claim({"arm": "better"}, id="plain", needs={"model.batch_norm": False})
    met = claim({"arm": "better"}, id="met", needs={"data.label_noise": 0.1})
    rows = judged(claim(away), noisy, plain, met)
    assert [row["reason"] for row in rows] == [
        "needs the study three",
        "needs data.label_noise >= 0.3",
        "needs model.batch_norm false",
        "",
    ]
    assert [row["outcome"] for row in rows] == [*["not testable"] * 3, "supported"]
    assert rows[3]["p_holm"] == pytest.approx(rows[3]["p"])
    assert list(claims(plan(), sources(plan()))) == list(COLUMNS)


def test_an_arm_without_any_run_was_not_measured_and_counts_in_corrections():
    planned = plan(*numbered({"arm": "better"}, {"arm": "worse"}))
    lost = {run.fingerprint: "failed" for run in planned.runs if run.arm == "better"}
    rows = claims(planned, sources(planned, states=lost)).to_dict("records")
    assert (rows[0]["outcome"], rows[0]["reason"]) == ("not testable", "no pair of runs is done")
    assert rows[1]["p_holm"] == pytest.approx(2 * rows[1]["p"])
    (row,) = judged(claim({"arm": "better"}), states={"better1000": "failed"})
    assert row["n"] == 5


def test_a_value_without_spread_decides_nothing():
    made = claim({"arm": "same"}, "equal", rule="equivalence")
    (row,) = judged(made, noise=0 * NOISE)
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)
    assert (row["outcome"], row["reason"]) == (
        *("inconclusive", "one seed, or the same value at every seed"),
    )


def test_lost_runs_oppose_a_gain():
    (row,) = judged(claim({"arm": "better"}), states={"better1000": "diverged"})
    assert (row["n"], row["outcome"]) == (5, "inconclusive")
    assert row["reason"] == "the numbers of lost runs say the opposite"
    (row,) = judged(claim({"arm": "better"}), states={"baseline1000": "diverged"})
    assert row["outcome"] == "supported"


@pytest.mark.parametrize(("lost", "outcome"), [("same", "inconclusive"), ("baseline", "supported")])
def test_no_arm_that_lost_more_runs_is_shown_to_be_close(lost, outcome):
    made = [
        claim({"arm": "same"}, "equal", rule="equivalence", id="equal"),
        claim({"arm": "same"}, "not_higher", id="no_worse"),
    ]
    rows = judged(*made, states={f"{lost}1000": "diverged"})
    assert [row["outcome"] for row in rows] == [outcome] * 2


def test_a_supported_difference_can_be_below_the_margin():
    rows = judged(*[claim({"arm": "better"}, id=f"by_{m}", margin=m / 100) for m in (4, 6)])
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        *(("supported", ""), ("supported", "below the margin"))
    ]


def test_passes_are_those_of_the_same_runs_and_none_is_without_noise():
    rows = [
        (f"{arm}{seed}", number, "accuracy", value + NOISE[seed - SEEDS[0]] * number)
        for arm, gain in (("better", 0.02), ("worse", -0.9))
        for seed in SEEDS
        for number, value in ((1, 0.8), (3, 0.5), (12, 0.8 + gain))
    ]
    passes = pd.DataFrame(rows, columns=["fingerprint", "passes", "metric", "value"])
    made = [
        claim({"arm": "better", "passes": few}, id=f"from_{few[0]}")
        for few in ((1, 12), (3, 12), (0, 12))
    ]
    found = judged(*made, passes=passes)
    assert [row["before"] for row in found] == pytest.approx([0.2, 0.5, 0.15])
    assert [row["after"] for row in found] == pytest.approx([0.18] * 3)
    (absent,) = judged(claim({"arm": "better", "passes": (1, 20)}), passes=passes)
    assert absent["reason"] == "the runs have no such passes"


def test_methods_and_members_are_paired_by_group():
    values = {"one model": (0.70, 0.72, 0.71), "crops": (0.75, 0.78, 0.77)}
    rows = [
        ("many", group, method, "accuracy", value)
        for method, each in values.items()
        for group, value in zip((1000, 1001, 1002), each, strict=True)
    ]
    ensembles = pd.DataFrame(rows, columns=["study", "group", "method", "metric", "value"])
    sizes = pd.DataFrame(
        [
            ("many", group, "independent", members, "accuracy", 0.7 + gain + group / 1e5)
            for group in (1000, 1001, 1002)
            for members, gain in ((1, 0.0), (2, 0.02 + group % 7 / 1e4), (4, 0.03))
        ],
        columns=["study", "group", "method", "members", "metric", "value"],
    )
    made = (
        claim({"methods": ("one model", "crops")}, id="methods"),
        claim({"members": (1, 4)}, id="members"),
        claim({"members": (1, 2)}, rule="interaction", than={"members": (2, 4)}, id="first"),
        claim({"methods": ("one model", "draws")}, id="absent"),
    )
    planned = plan(ensemble=made)
    found = claims(planned, sources(planned, ensembles=ensembles, sizes=sizes)).to_dict("records")
    assert [row["n"] for row in found] == [3, 3, 3, 0]
    assert found[0]["difference"] == pytest.approx(-(0.05 + 0.06 + 0.06) / 3)
    assert found[1]["difference"] == pytest.approx(-0.03)
    gains = [0.02 + group % 7 / 1e4 for group in (1000, 1001, 1002)]
    assert found[2]["difference"] == pytest.approx(np.mean([0.03 - 2 * gain for gain in gains]))
    assert found[3]["reason"] == "the report has no method: draws"


def test_a_search_is_judged_by_the_interval_of_its_table():
    """Its error is that over halves of a design: 19 degrees of freedom."""
    half = stats.t.ppf(0.975, 19) * 0.004
    numbers = {"random_test": 0.90, "test": 0.88, "difference": -0.02}
    row = numbers | {"low": -0.02 - half, "high": -0.02 + half}
    methods = [{"method": "sobol", **row}, {"method": "grid", **row}]
    methods.append({"method": "halving", **dict.fromkeys(row, np.nan)})
    table = pd.DataFrame(methods).assign(study="one", arm="better")
    names = ("sobol", "grid", "halving", "tpe")
    made = [claim({"arm": "better", "search": name}, "higher", id=name) for name in names]
    found, stored, few, absent = judged(*made, search_methods=table)
    assert (found["before"], found["after"]) == pytest.approx((0.10, 0.12))
    assert (found["difference"], found["outcome"]) == (pytest.approx(0.02), "supported")
    assert (found["low"], found["high"]) == pytest.approx((0.02 - half, 0.02 + half))
    assert found["p"] == pytest.approx(2 * stats.t.sf(5, 19))
    assert absent["reason"] == "the report has no search by tpe"
    assert stored["reason"] == "grid is replayed on stored points only"
    assert few["reason"] == "too many searches find nothing"


@pytest.mark.parametrize("method", ["tpe", "coarse_to_fine"])
def test_a_search_among_stored_points_alone_judges_no_claim(method):
    row = {"random_test": 0.9, "test": 0.8, "difference": -0.1, "low": -0.11, "high": -0.09}
    table = pd.DataFrame([{"study": "one", "arm": "better", "method": method, **row}])
    (found,) = judged(claim({"arm": "better", "search": method}, "higher"), search_methods=table)
    assert found["outcome"] == "not testable"
    assert found["reason"] == f"{method} is replayed on stored points only"


def test_norms_and_times_are_compared_by_their_ratio():
    made = (
        claim({"arm": "better"}, measure="squared_weight_norm", id="norm"),
        claim({"arm": "better"}, measure="updates_to_target", id="time"),
        claim({"arm": "better"}, measure="train_accuracy", expect="higher", id="fit"),
    )
    planned = plan(*made)
    histories, times = {}, []
    for name in planned.fingerprints():
        arm, seed = name[:-4], int(name[-4:])
        norm = (100 if arm == "better" else 200) * exp(NOISE[seed - SEEDS[0]] * (arm == "better"))
        histories[name] = [
            {"split": "train", "squared_weight_norm": 1.0},
            {"split": "train", "squared_weight_norm": norm},
            {"split": "validation"},
        ]
        reached = 20 + seed % 3 if arm == "better" else np.inf if seed == 1000 else 40
        times.append((name, float(reached), float(reached)))
    table = pd.DataFrame(times, columns=["fingerprint", "updates", "flops"])
    read = sources(planned, histories=histories, target_times=table)
    norm, time, fit = claims(planned, read).to_dict("records")
    assert (norm["difference"], norm["outcome"]) == (pytest.approx(log(0.5)), "supported")
    assert (norm["before"], norm["change"]) == (pytest.approx(200), pytest.approx(-0.5))
    reached = [20 + seed % 3 for seed in SEEDS]
    ratios = [log(reached[0] / 60), *(log(value / 40) for value in reached[1:])]  # never: took 60
    means = [(one + other) / 2 for one, other in combinations_with_replacement(ratios, 2)]
    assert time["difference"] == pytest.approx(np.median(means))
    assert (time["low"], time["high"]) == pytest.approx((min(means), max(means)))
    assert time["p"] == pytest.approx(2 / 2**6)  # all six are sooner
    assert fit["difference"] == pytest.approx(0.025)


@pytest.mark.parametrize("missed", [2, 3, 4, 6])
def test_both_sides_of_a_time_are_medians_whatever_is_never_reached(missed):
    """As in the table of times to target; both of the same seeds miss it."""
    planned = plan(claim({"arm": "better"}, measure="updates_to_target"))
    rows = []
    for name in planned.fingerprints():
        number = int(name[-4:]) - SEEDS[0]
        reached = np.inf if number < missed else 30.0 + number
        rows.append((name, reached, reached))
    table = pd.DataFrame(rows, columns=["fingerprint", "updates", "flops"])
    (row,) = claims(planned, sources(planned, target_times=table)).to_dict("records")
    median = np.median([np.inf] * missed + [30.0 + number for number in range(missed, 6)])
    assert row["before"] == row["after"] == median
    assert row["difference"] == 0
    assert row["outcome"] == "inconclusive"


def test_sides_of_an_interaction_of_times_are_ratios_in_logarithms():
    given = {"measure": "updates_to_target", "rule": "interaction", "than": {"arm": "worse"}}
    planned = plan(claim({"arm": "better"}, **given))
    taken = {"better": 20.0, "worse": 80.0}
    rows = [(name, taken.get(name[:-4], 40.0), 1.0) for name in planned.fingerprints()]
    table = pd.DataFrame(rows, columns=["fingerprint", "updates", "flops"])
    (row,) = claims(planned, sources(planned, target_times=table)).to_dict("records")
    assert (row["before"], row["after"]) == pytest.approx((log(2), log(0.5)))
    assert row["difference"] == pytest.approx(log(0.25))


@pytest.mark.parametrize(
    ("times", "ends", "expected"),
    [
        ((10.0, 20.0), (60, 60), [10, 20]),
        ((10.0, np.inf), (60, 60), [10, 60]),
        ((50.0, np.inf), (60, 30), [50, 50]),
        ((np.inf, np.inf), (60, 30), [1, 1]),
    ],
)
def test_a_run_that_never_arrives_makes_no_ratio_larger(times, ends, expected):
    assert times_on_one_scale(times, ends) == expected


def test_zeros_are_those_of_the_arm_above_a_threshold():
    made = claim({"arm": "better"}, "higher", measure="zeros", threshold=0.1, rule="exact")
    planned = plan(made)
    records = {
        name: {"audit": {"l1_penalty": {"zeros": 0.3}}} if name.startswith("better") else {}
        for name in planned.fingerprints()
    }
    (row,) = claims(planned, sources(planned, records=records)).to_dict("records")
    assert (row["outcome"], row["difference"]) == ("supported", pytest.approx(0.3))
    (row,) = judged(made)
    assert row["reason"] == "the runs have no zeros"


def test_intervals_and_p_are_corrected_for_looks():
    planned = plan(claim({"arm": "better"}), looks=PlannedLooks(seeds=(3, 6), weights=(0.5, 0.5)))
    (row,) = claims(planned, sources(planned)).to_dict("records")
    (single,) = judged(claim({"arm": "better"}))
    assert row["p"] == pytest.approx(2 * single["p"])
    low, high = stats.t.interval(0.975, 5, -0.05 - NOISE.mean(), stats.sem(NOISE))
    assert (row["low"], row["high"]) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("contrast", "more", "expected"),
    [
        ({"arm": "a"}, {"figures": (1, 2), "setting": "s"}, "that its figures show"),
        ({"arm": "a"}, {"figures": (1.6, 1.35)}, "setting beside figures"),
        ({"arm": "a"}, {"measure": "training_cost"}, "rule identity for a cost"),
        ({"arm": "a"}, {"rule": "identity"}, "rule identity for a cost"),
        ({"arm": "a"}, {"rule": "equivalence"}, "with rule equivalence an expectation of: equal"),
        ({"arm": "a"}, {"rule": "slope"}, "levels with rule slope alone"),
        ({"levels": ("a", "b", "c")}, {}, "levels with rule slope alone"),
        ({"arm": "a"}, {"rule": "interaction"}, "than with rule interaction alone"),
        ({"arm": "a"}, {"than": {"arm": "b"}}, "than with rule interaction alone"),
        (None, {}, "a contrast, and none with rule correlation"),
        (None, {"rule": "correlation"}, "measure gap with rule correlation"),
        ({"arm": "a"}, {"measure": "nll", "expect": "not_lower"}, "a margin, which nll needs"),
        ({"arm": "a", "passes": (1, 12)}, {"measure": "gap"}, "one of these measures of passes"),
        ({"arm": "a", "passes": (12, 12)}, {}, "ascending order"),
        ({"arm": "a", "passes": (1, 21)}, {}, "less than or equal to 20"),
        ({"arm": "a", "search": "grid"}, {"measure": "gap"}, "measure accuracy or error of a"),
        ({"arm": "a", "search": "grid", "against": "b"}, {}, "against with an arm alone"),
        ({"search": "grid"}, {}, "one of: arm, levels"),
        ({"arm": "a", "search": "grid", "passes": (1, 2)}, {}, "passes or a search, not both"),
        ({"arm": "a", "search": "random"}, {}, "another search than random"),
        ({"arm": "a", "members": (1, 4)}, {}, "one of: arm, levels, methods, members"),
        ({}, {}, "one of: arm, levels, methods, members"),
        ({"arm": "a"}, {"measure": "disagreement"}, "methods with measure disagreement"),
        ({"arm": "a", "against": "a"}, {}, "against another arm than arm"),
        ({"methods": ("soup", "soup")}, {}, "methods that are all different"),
        ({"levels": ("a", "b", "a")}, {"rule": "slope"}, "levels that are all different"),
        ({"arm": "a"}, {"rule": "interaction", "than": {"arm": "a"}}, "another contrast in than"),
        ({"arm": "a"}, {"threshold": 1.0}, "nearer to 0 than 1"),
        ({"arm": "a"}, {"margin": 1, "expect": "not_lower"}, "nearer to 0 than 1"),
        ({"arm": "a"}, {"measure": "gap", "threshold": -2}, "nearer to 0 than 2"),
        (None, {"rule": "correlation", "measure": "gap", "threshold": 1}, "nearer to 0 than 1"),
    ],
)
def test_a_claim_has_to_be_one_that_can_be_judged(contrast, more, expected):
    with pytest.raises(ValueError, match=expected):
        claim(contrast, **more)


def test_bounds_that_the_measure_can_reach_are_taken():
    other_study = {"arm": "a", "against": "a", "against_study": "b"}
    assert claim(other_study).contrast.against == "a"
    assert claim({"arm": "a"}, measure="gap", threshold=1.5).threshold == 1.5
    assert claim({"arm": "a"}, measure="nll", threshold=3).threshold == 3
    both = claim({"arm": "a"}, rule="interaction", than={"arm": "b"}, threshold=1.5)
    assert both.threshold == 1.5


def test_the_digest_of_claims_is_that_of_what_they_say():
    first, again = claim({"arm": "a"}), claim({"arm": "a"})
    other = claim({"arm": "a"}, says="It is not so.")
    assert claims_digest([first]) == claims_digest([again]) != claims_digest([other])
