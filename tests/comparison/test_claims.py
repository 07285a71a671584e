"""Claims: values of contrasts, outcomes by every rule, corrections, and claims that are refused.

Each outcome has a planted case. Values are from formulas, p and corrections from scipy and
statsmodels. Measured are runs paired by seed, noise passes, ensembles, searches, norms, times to
target and zeros; claims that the plan cannot test are named with their reason.
"""

import re
from collections import defaultdict
from dataclasses import replace
from itertools import combinations_with_replacement, product
from math import exp, inf, isnan, log, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from pipeline.comparison.claim_samples import change_over_levels, rank_correlation
from pipeline.comparison.claims import COLUMNS, claims
from pipeline.comparison.intervals import interval
from pipeline.comparison.matching import Outcomes, outcomes
from pipeline.comparison.run_measures import times_on_one_scale
from pipeline.comparison.samples import Sources
from pipeline.comparison.search_methods import HALVES
from pipeline.config.claims import Claim, claims_digest, largest_change
from pipeline.config.plan import Plan, PlannedArm, PlannedLooks, PlannedRun, PlannedStudy
from pipeline.config.validation import checked
from pipeline.runtime.errors import Refusal

SEEDS = range(1000, 1006)
ACCURACIES = {"baseline": 0.80, "better": 0.85, "worse": 0.75, "same": 0.80, "best": 0.90}
NOISE = np.array([0.001, -0.001, 0.002, -0.002, 0.0005, -0.0005])  # by seed, of mean 0
NO_NOISE = np.zeros(len(SEEDS))
GAIN = ACCURACIES["better"] - ACCURACIES["baseline"]
MACHINE = {"device": "cpu"}
MARGIN = 0.01
UPDATES = 60  # of every training

RUN_SCORE = ["fingerprint", "view", "members", "split", "metric", "value"]


def arm_of(fingerprint):
    """Return the arm of a run, whose fingerprint is its arm and seed."""
    return fingerprint[:-4]


def place_of(fingerprint):
    """Return the place of the seed of a run, from 0."""
    return int(fingerprint[-4:]) - SEEDS[0]


def claim(contrast, expect="lower", **fields):
    """Return a claim about the error of a contrast, if nothing else is given."""
    usual = {"id": "one", "source": "A paper", "by": "paper", "says": "It is so."}
    return Claim(**usual | {"contrast": contrast, "expect": expect} | fields)


def numbered(*contrasts):
    """Return one claim for each contrast, with ids of their own."""
    return [claim(contrast, id=f"claim_{number}") for number, contrast in enumerate(contrasts)]


def plan(*claims_of_one, claims_of_ensemble=(), **fields):
    """Return two studies of the same arms; `worse` of the second has the runs of `same`.

    With claims about it there is an ensemble of two members, `many`.
    """
    arms = tuple(PlannedArm(name=name) for name in ACCURACIES)
    runs = []
    for study in ("one", "two"):
        for arm in ACCURACIES:
            trained = "same" if (study, arm) == ("two", "worse") else arm
            for seed in SEEDS:
                name = f"{trained}{seed}"
                runs.append(PlannedRun(study=study, arm=arm, seed=seed, fingerprint=name))
    studies = [
        PlannedStudy(name="one", question="?", arms=arms, claims=claims_of_one),
        PlannedStudy(name="two", question="?", arms=arms),
    ]
    if claims_of_ensemble:
        ensemble = {"name": "many", "question": "?", "kind": "ensemble", "size": 2}
        studies.append(PlannedStudy(**ensemble, arms=arms[:1], claims=claims_of_ensemble))
    usual = {
        "protocol": "tiny",
        "phase": "confirmation",
        "settings": {"data": {"label_noise": 0.1}, "model": {"batch_norm": True}},
        "margin": MARGIN,
        "data_digest": "d",
    }
    return Plan(**usual | fields, studies=tuple(studies), runs=tuple(runs))


def empty(*columns):
    """Return a table without rows."""
    return pd.DataFrame(columns=list(columns))


def sources(planned, accuracies=ACCURACIES, noise=NOISE, states=None, **tables):
    """Return what is measured: accuracies on test and training images, gaps and costs.

    Every arm but the baseline has the noise in an order of its own, `better` in that of the seeds.
    """
    names = planned.fingerprints()
    order = [arm for arm in ACCURACIES if arm != "baseline"]
    scores = []
    for name in names:
        accuracy = accuracies[arm_of(name)]
        if arm_of(name) != "baseline":
            accuracy += np.roll(noise, order.index(arm_of(name)))[place_of(name)]
        scores.append((name, "deterministic", 1, "test", "accuracy", accuracy))
        scores.append((name, "deterministic", 1, "train_validation", "gap", 1 - accuracy))
        scores.append((name, "deterministic", 1, "train", "accuracy", accuracy / 2))
    ended = dict.fromkeys(names, "done") | (states or {})
    machines = dict.fromkeys(names, MACHINE)
    cost = {"training_flops": 100, "updates": UPDATES}
    usual = {
        "records": {name: {"cost": cost} for name in names},
        "histories": {},
        "passes": empty("fingerprint", "passes", "metric", "value"),
        "ensembles": empty("study", "group", "method", "metric", "value"),
        "sizes": empty("study", "group", "method", "members", "metric", "value"),
        "target_times": empty("fingerprint", "updates", "flops"),
        "search_methods": empty("study", "arm", "method"),
        "search_scales": empty("study", "arm"),
        "search_shifts": empty("study", "arm", "hyperparameter"),
        "search_importance": empty("study", "arm", "hyperparameter"),
        "rate_seeds": empty("study", "arm", "seed", "factor", "is_open"),
    }
    measured = outcomes(pd.DataFrame(scores, columns=RUN_SCORE), ended, machines)
    return Sources(outcomes=measured, **usual | tables)


def rows_of(planned, measured):
    """Return the rows of all claims of a plan."""
    return claims(planned, measured).to_dict("records")


def judged(*claims_of_one, **measured):
    """Return the rows of claims about study `one`; keywords are those of `sources`."""
    planned = plan(*claims_of_one)
    return rows_of(planned, sources(planned, **measured))


def outcomes_of(rows):
    return [row["outcome"] for row in rows]


# Values of runs paired by seed


def test_the_difference_of_errors_is_paired_by_seed():
    (row,) = judged(claim({"arm": "better"}))
    expected = interval(-GAIN - NOISE)
    assert (row["claim"], row["study"], row["by"], row["n"]) == ("one", "one", "paper", len(SEEDS))
    assert (row["before"], row["after"]) == pytest.approx((0.20, 0.15))
    assert row["change"] == pytest.approx(-0.05 / 0.20)
    assert row["difference"] == pytest.approx(expected.mean)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["p"] == pytest.approx(expected.p)
    assert (row["outcome"], row["reason"]) == ("supported", "")


def test_published_figures_are_as_printed_with_their_change():
    (row,) = judged(claim({"arm": "better"}, figures=(1.6, 1.35), setting="MNIST"))
    assert (row["published_before"], row["published_after"]) == (1.6, 1.35)
    assert row["published_setting"] == "MNIST"
    assert row["published_change"] == pytest.approx(1.35 / 1.6 - 1)


def test_the_reference_is_what_the_claim_names():
    (row,) = judged(claim({"arm": "better", "against": "worse"}))
    assert row["difference"] == pytest.approx(ACCURACIES["worse"] - ACCURACIES["better"])


def test_the_reference_can_be_an_arm_of_another_study():
    (row,) = judged(claim({"arm": "better", "against": "worse", "against_study": "two"}))
    runs_of_worse_in_two = "same"
    expected = ACCURACIES[runs_of_worse_in_two] - ACCURACIES["better"]
    assert row["difference"] == pytest.approx(expected)


def test_without_a_name_the_reference_is_what_the_arm_is_compared_with():
    planned = plan(claim({"arm": "better"}))
    one, two = planned.studies
    arms = []
    for arm in one.arms:
        against = "worse" if arm.name == "better" else arm.against
        arms.append(arm.model_copy(update={"against": against}))
    one = one.model_copy(update={"arms": tuple(arms)})
    moved = planned.model_copy(update={"studies": (one, two)})
    (row,) = rows_of(moved, sources(moved))
    assert row["difference"] == pytest.approx(ACCURACIES["worse"] - ACCURACIES["better"])


# Outcomes by rule


@pytest.mark.parametrize(
    ("expect", "better", "worse", "same"),
    [
        ("lower", "supported", "contradicted", "contradicted"),
        ("higher", "contradicted", "supported", "contradicted"),
        ("not_lower", "contradicted", "supported", "supported"),
        ("not_higher", "supported", "contradicted", "supported"),
    ],
)
def test_a_directional_claim_is_decided_by_its_side_or_by_the_margin(expect, better, worse, same):
    made = [claim({"arm": arm}, expect, id=f"about_{arm}") for arm in ("better", "worse", "same")]
    assert outcomes_of(judged(*made)) == [better, worse, same]
    (noisy,) = judged(claim({"arm": "same"}, expect), noise=20 * NOISE)
    assert noisy["outcome"] == "inconclusive"


@pytest.mark.parametrize(
    ("arm", "scale", "outcome"),
    [
        pytest.param("same", 1, "supported", id="within-the-margin"),
        pytest.param("better", 1, "contradicted", id="differs"),
        pytest.param("same", 20, "inconclusive", id="noisy"),
    ],
)
def test_an_equivalence_is_within_the_margin_or_differs(arm, scale, outcome):
    made = claim({"arm": arm}, "equal", rule="equivalence")
    (row,) = judged(made, noise=scale * NOISE)
    assert row["outcome"] == outcome


@pytest.mark.parametrize(
    ("levels", "scale", "outcome"),
    [
        pytest.param(("worse", "same", "better"), 1, "supported", id="falls"),
        pytest.param(("better", "same", "worse"), 1, "contradicted", id="rises"),
        pytest.param(("worse", "better", "same"), 60, "inconclusive", id="noisy"),
    ],
)
def test_a_slope_is_decided_by_the_change_over_the_levels(levels, scale, outcome):
    (row,) = judged(claim({"levels": levels}, rule="slope"), noise=scale * NOISE)
    assert row["outcome"] == outcome


def test_the_change_over_the_levels_is_that_of_least_squares():
    levels = 4
    values = np.random.default_rng(0).normal(size=(levels, 5))
    slopes, _intercepts = np.polyfit(range(levels), values, 1)
    assert change_over_levels(values) == pytest.approx((levels - 1) * slopes)


@pytest.mark.parametrize(
    ("first", "second", "scale", "outcome"),
    [
        pytest.param("best", "better", 1, "supported", id="gains-more"),
        pytest.param("better", "best", 1, "contradicted", id="gains-less"),
        pytest.param("best", "better", 60, "inconclusive", id="noisy"),
    ],
)
def test_an_interaction_is_the_difference_of_two_contrasts(first, second, scale, outcome):
    than = {"arm": second, "against": "same"}
    made = claim({"arm": first}, rule="interaction", than=than)
    (row,) = judged(made, noise=scale * NOISE)
    of_first = ACCURACIES["baseline"] - ACCURACIES[first]
    of_second = ACCURACIES["same"] - ACCURACIES[second]
    assert row["n"] == len(SEEDS)
    assert row["difference"] == pytest.approx(of_first - of_second, abs=1e-3)
    assert row["outcome"] == outcome


def test_a_rank_correlation_with_ties_is_that_of_scipy():
    tied = np.array([[0.1, 0.2, 0.2, 0.4], [4.0, 3.0, 3.0, 1.0]])
    assert rank_correlation(*tied) == pytest.approx(stats.spearmanr(*tied).statistic)


def test_a_correlation_is_decided_by_gap_and_accuracy_over_the_arms_of_a_seed():
    gap = {"rule": "correlation", "measure": "gap"}
    planned = plan(claim(None, "lower", id="opposed", **gap), claim(None, "higher", **gap))
    measured = sources(planned)
    scores = measured.outcomes.scores
    for fingerprint, *place in list(scores):
        if arm_of(fingerprint) == "same" and "gap" in place and place_of(fingerprint) % 2:
            scores[fingerprint, *place] += 0.3  # gaps are no longer exactly 1 - accuracy
    opposed, together = rows_of(planned, measured)
    assert (opposed["outcome"], together["outcome"]) == ("supported", "contradicted")
    assert -1 < opposed["difference"] < -0.5


def test_an_exact_claim_that_holds_at_every_seed_is_supported():
    (row,) = judged(claim({"arm": "better"}, rule="exact"))
    assert row["outcome"] == "supported"


def test_one_seed_contradicts_an_exact_claim_without_any_test():
    noise = NOISE.copy()
    noise[3] = -1.2 * GAIN
    (row,) = judged(claim({"arm": "better"}, rule="exact"), noise=noise)
    assert row["outcome"] == "contradicted"
    assert isnan(row["p_holm"])


def test_a_cost_is_an_identity_and_a_share_of_the_first_side():
    made = claim({"arm": "better"}, measure="training_cost", rule="identity", id="cost")
    planned = plan(made, claim({"arm": "better"}))
    flops = {"better": 78}
    records = {}
    for name in planned.fingerprints():
        records[name] = {"cost": {"training_flops": flops.get(arm_of(name), 100)}}
    cost, error = rows_of(planned, sources(planned, records=records))
    assert cost["outcome"] == "identity"
    assert (cost["before"], cost["after"]) == (1, pytest.approx(0.78))
    assert cost["low"] == cost["high"] == pytest.approx(0.78 - 1)
    assert error["p_holm"] == pytest.approx(error["p"])  # an identity takes no part


def test_a_value_without_spread_decides_nothing():
    (row,) = judged(claim({"arm": "same"}, "equal", rule="equivalence"), noise=NO_NOISE)
    assert (row["difference"], row["low"], row["high"]) == (0, 0, 0)
    assert row["outcome"] == "inconclusive"
    assert row["reason"] == "one seed, or the same value at every seed"


@pytest.mark.parametrize(
    ("margin", "reason"),
    [
        pytest.param(0.8 * GAIN, "", id="above"),
        pytest.param(1.2 * GAIN, "below the margin", id="below"),
    ],
)
def test_a_supported_difference_can_be_below_the_margin(margin, reason):
    (row,) = judged(claim({"arm": "better"}, margin=margin))
    assert (row["outcome"], row["reason"]) == ("supported", reason)


# Corrections


def test_corrections_are_those_of_statsmodels():
    arms, noise = ("better", "worse", "same"), 30 * NOISE
    planned = plan(*numbered(*({"arm": arm} for arm in arms)))
    table = claims(planned, sources(planned, noise=noise))
    differences = [ACCURACIES["baseline"] - ACCURACIES[arm] - noise for arm in arms]
    p = [stats.ttest_1samp(values, 0).pvalue for values in differences]
    assert table["p"].tolist() == pytest.approx(p)
    assert table["p_holm"].tolist() == pytest.approx(multipletests(p, method="holm")[1])
    within = [ttost_paired(values, NO_NOISE, -MARGIN, MARGIN)[0] for values in differences]
    expected = multipletests(within, method="holm")[1]
    assert table["p_equivalence"].tolist() == pytest.approx(expected)


def test_the_bound_of_a_claim_of_no_loss_is_one_sided():
    noise = 4 * NOISE
    (row,) = judged(claim({"arm": "same"}, "not_higher"), noise=noise)
    p = stats.ttest_1samp(-noise, MARGIN, alternative="less").pvalue
    assert row["p_equivalence"] == pytest.approx(p)


def test_the_same_contrast_counts_once_in_corrections():
    first = claim({"arm": "better"}, id="first")
    again = claim({"arm": "better"}, id="again")
    opposite = claim({"arm": "better"}, "higher", id="opposite")
    rows = judged(first, again, opposite)
    assert {row["p_holm"] for row in rows} == {rows[0]["p"]}
    assert [row["repeats"] for row in rows] == [False, True, False]


def test_intervals_and_p_are_corrected_for_looks():
    made, weight = claim({"arm": "better"}), 0.5
    planned = plan(made, looks=PlannedLooks(seeds=(3, 6), weights=(weight, weight)))
    (row,) = rows_of(planned, sources(planned))
    (without_looks,) = judged(made)
    assert row["p"] == pytest.approx(without_looks["p"] / weight)
    freedom, error = len(SEEDS) - 1, stats.sem(NOISE)
    bounds = stats.t.interval(1 - 0.05 * weight, freedom, -GAIN - NOISE.mean(), error)
    assert (row["low"], row["high"]) == pytest.approx(bounds)


def test_reports_hardly_decide_any_claim_where_nothing_differs():
    """Of ten claims about arms without effect: in at most 5 % of reports; 15 % uncorrected."""
    generator = np.random.default_rng(1)
    arms = [f"arm_{number}" for number in range(10)]
    made = tuple(claim({"arm": arm}, id=arm, margin=1e-6) for arm in arms)
    planned_arms = tuple(PlannedArm(name=arm) for arm in ("baseline", *arms))
    study = PlannedStudy(name="one", question="?", arms=planned_arms, claims=made)
    runs = [
        PlannedRun(study="one", arm=arm, seed=seed, fingerprint=f"{arm}-{seed}")
        for arm in ("baseline", *arms)
        for seed in SEEDS
    ]
    planned = plan().model_copy(update={"studies": (study,), "runs": tuple(runs)})
    names = planned.fingerprints()
    scored = [(name, "deterministic", 1, "test", "accuracy") for name in names]
    states, machines = dict.fromkeys(names, "done"), dict.fromkeys(names, "cpu")
    without_runs = sources(plan())

    reports, wrong, wrong_without_correction = 120, 0, 0
    for _ in range(reports):
        drawn = generator.normal(0.8, 0.01, len(names))
        measured = Outcomes(states, machines, dict(zip(scored, drawn, strict=True)))
        table = claims(planned, replace(without_runs, outcomes=measured))
        wrong += (table["outcome"] != "inconclusive").any()
        wrong_without_correction += (table["p"] < 0.05).any()
    three_errors = 3 * np.sqrt(0.05 * 0.95 / reports)
    assert wrong / reports <= 0.05 + three_errors
    assert wrong_without_correction / reports > 0.15


# Claims that cannot be tested, and lost runs


def test_a_plan_without_claims_has_an_empty_table():
    table = claims(plan(), sources(plan()))
    assert table.empty
    assert tuple(table) == COLUMNS


@pytest.mark.parametrize(
    ("contrast", "needs", "reason"),
    [
        pytest.param(
            {"arm": "better", "against": "dropout", "against_study": "three"},
            {},
            "needs the study three",
            id="study",
        ),
        pytest.param(
            {"arm": "better"},
            {"data.label_noise": 0.3},
            "needs data.label_noise >= 0.3",
            id="number-is-a-minimum",
        ),
        pytest.param(
            {"arm": "better"},
            {"model.batch_norm": False},
            "needs model.batch_norm false",
            id="other-value",
        ),
    ],
)
def test_a_claim_about_what_the_plan_has_not_is_not_testable_and_not_corrected(
    contrast, needs, reason
):
    met = claim({"arm": "better"}, id="met", needs={"data.label_noise": 0.1})
    absent, tested = judged(claim(contrast, needs=needs), met)
    assert (absent["outcome"], absent["reason"]) == ("not testable", reason)
    assert (tested["outcome"], tested["reason"]) == ("supported", "")
    assert tested["p_holm"] == pytest.approx(tested["p"])


def test_an_arm_whose_runs_failed_is_not_testable_and_counts_in_corrections():
    planned = plan(*numbered({"arm": "better"}, {"arm": "worse"}))
    failed = {run.fingerprint: "failed" for run in planned.runs if run.arm == "better"}
    lost, tested = rows_of(planned, sources(planned, states=failed))
    assert (lost["outcome"], lost["reason"]) == ("not testable", "no pair of runs is done")
    assert tested["p_holm"] == pytest.approx(2 * tested["p"])


def test_a_failed_run_makes_no_pair():
    (row,) = judged(claim({"arm": "better"}), states={"better1000": "failed"})
    assert row["n"] == len(SEEDS) - 1


def test_lost_runs_of_the_arm_oppose_its_gain():
    (row,) = judged(claim({"arm": "better"}), states={"better1000": "diverged"})
    assert (row["n"], row["outcome"]) == (len(SEEDS) - 1, "inconclusive")
    assert row["reason"] == "because of unequal numbers of lost runs"


def test_lost_runs_of_the_reference_do_not_oppose_a_gain():
    (row,) = judged(claim({"arm": "better"}), states={"baseline1000": "diverged"})
    assert row["outcome"] == "supported"


@pytest.mark.parametrize(("lost", "outcome"), [("same", "inconclusive"), ("baseline", "supported")])
def test_no_arm_that_lost_more_runs_is_shown_to_be_close(lost, outcome):
    equal = claim({"arm": "same"}, "equal", rule="equivalence", id="equal")
    no_worse = claim({"arm": "same"}, "not_higher", id="no_worse")
    rows = judged(equal, no_worse, states={f"{lost}1000": "diverged"})
    assert outcomes_of(rows) == [outcome] * 2


# Noise passes


@pytest.fixture
def passes_of_better():
    """Return accuracies of `better` by number of passes; its noise grows with them.

    Another arm has other values, which are not to be taken.
    """
    accuracies = {1: 0.8, 3: 0.5, 12: 0.82}
    rows = []
    for seed, noise in zip(SEEDS, NOISE, strict=True):
        for passes, accuracy in accuracies.items():
            rows.append((f"better{seed}", passes, "accuracy", accuracy + noise * passes))
            rows.append((f"worse{seed}", passes, "accuracy", 0.0))
    return pd.DataFrame(rows, columns=["fingerprint", "passes", "metric", "value"])


@pytest.mark.parametrize(
    ("few", "before"),
    [
        pytest.param(1, 1 - 0.8, id="one-pass"),
        pytest.param(3, 1 - 0.5, id="three-passes"),
        pytest.param(0, 1 - ACCURACIES["better"], id="none-is-without-noise"),
    ],
)
def test_passes_are_those_of_the_same_runs(passes_of_better, few, before):
    (row,) = judged(claim({"arm": "better", "passes": (few, 12)}), passes=passes_of_better)
    assert row["before"] == pytest.approx(before)
    assert row["after"] == pytest.approx(1 - 0.82)


def test_passes_that_were_not_made_are_not_testable(passes_of_better):
    (row,) = judged(claim({"arm": "better", "passes": (1, 20)}), passes=passes_of_better)
    assert row["reason"] == "the runs have no such passes"


# Ensembles

GROUPS = (1000, 1001, 1002)
OF_METHODS = {"one model": (0.70, 0.72, 0.71), "crops": (0.75, 0.78, 0.77)}  # by group
OF_MEMBERS = {1: (0.70, 0.71, 0.72), 2: (0.722, 0.7335, 0.744), 4: (0.73, 0.74, 0.75)}


def judged_ensemble(**fields):
    """Return the row of a claim about the ensemble of three groups."""
    planned = plan(claims_of_ensemble=(claim(**fields),))
    ensembles, sizes = [], []
    for place, group in enumerate(GROUPS):
        for method, accuracies in OF_METHODS.items():
            ensembles.append(("many", group, method, "accuracy", accuracies[place]))
        for members, accuracies in OF_MEMBERS.items():
            row = ("many", group, "independent", members, "accuracy", accuracies[place])
            sizes.append(row)
    measured = sources(
        planned,
        ensembles=pd.DataFrame(ensembles, columns=["study", "group", "method", "metric", "value"]),
        sizes=pd.DataFrame(
            sizes, columns=["study", "group", "method", "members", "metric", "value"]
        ),
    )
    (row,) = rows_of(planned, measured)
    return row


def test_methods_are_paired_by_group():
    row = judged_ensemble(contrast={"methods": ("one model", "crops")})
    gains = np.subtract(OF_METHODS["crops"], OF_METHODS["one model"])
    assert row["n"] == len(GROUPS)
    assert row["difference"] == pytest.approx(-gains.mean())
    assert row["p"] == pytest.approx(stats.ttest_1samp(gains, 0).pvalue)


def test_members_are_paired_by_group():
    row = judged_ensemble(contrast={"members": (1, 4)})
    assert row["n"] == len(GROUPS)
    assert row["difference"] == pytest.approx(np.mean(OF_MEMBERS[1]) - np.mean(OF_MEMBERS[4]))


def test_an_interaction_of_members_is_paired_by_group():
    row = judged_ensemble(
        contrast={"members": (1, 2)}, than={"members": (2, 4)}, rule="interaction"
    )
    first = np.subtract(OF_MEMBERS[1], OF_MEMBERS[2])  # differences of errors
    second = np.subtract(OF_MEMBERS[2], OF_MEMBERS[4])
    assert row["n"] == len(GROUPS)
    assert row["difference"] == pytest.approx((first - second).mean())
    assert row["p"] == pytest.approx(stats.ttest_1samp(first - second, 0).pvalue)


def test_a_method_that_the_report_has_not_is_not_testable():
    row = judged_ensemble(contrast={"methods": ("one model", "draws")})
    assert row["n"] == 0
    assert row["reason"] == "the report has no method: draws"


@pytest.mark.parametrize("measure", ["accuracy", "error", "nll"])
def test_the_best_by_validation_leads_there_and_on_test(measure):
    """By hand: leads of 0.03 and 0.02 on validation, 0.01 and -0.02 on test; ties share."""
    on_validation = {1000: (0.80, 0.86, 0.83), 1001: (0.82, 0.82, 0.76)}
    on_test = {1000: (0.80, 0.82, 0.81), 1001: (0.77, 0.79, 0.84)}
    sign = -1 if measure == "nll" else 1  # of scores, of which lower losses are better
    made = claim({"chosen": "independent"}, "higher", measure=measure)
    planned = plan(claims_of_ensemble=(made,))
    measured = sources(planned)
    runs = []
    metric = "nll" if measure == "nll" else "accuracy"
    for group in on_validation:
        for number in range(3):
            name = f"{group}-{number}"
            fields = {"member": number, "fingerprint": name}
            runs.append(PlannedRun(study="many", arm="baseline", seed=group, **fields))
            for split, scores in (("validation", on_validation), ("test", on_test)):
                place = (name, "deterministic", 1, split, metric)
                measured.outcomes.scores[place] = sign * scores[group][number]
    planned = planned.model_copy(update={"runs": (*planned.runs, *runs)})
    (row,) = rows_of(planned, measured)
    sign = -1 if measure in ("error", "nll") else 1
    assert (row["n"], row["after"]) == (2, pytest.approx(sign * np.mean([0.03, 0.02])))
    assert row["before"] == pytest.approx(sign * np.mean([0.01, -0.02]))
    assert row["difference"] == pytest.approx(sign * np.mean([0.02, 0.04]))


# Searches


def judged_search(method, rows):
    """Return the row of a claim that a search of `better` has more errors than random search."""
    table = pd.DataFrame(rows).assign(study="one", arm="better")
    made = claim({"arm": "better", "search": method}, "higher")
    (row,) = judged(made, search_methods=table)
    return row


def search_row(method, error=0.004):
    """Return the row of a search that is 0.02 less accurate than random search."""
    half = stats.t.ppf(0.975, HALVES - 1) * error
    return {
        "method": method,
        "random_test": 0.90,
        "test": 0.88,
        "difference": -0.02,
        "low": -0.02 - half,
        "high": -0.02 + half,
    }


def test_a_search_is_judged_by_the_interval_of_its_table():
    """Its error is that over halves of a design."""
    row, error = search_row("sobol"), 0.004
    judged_row = judged_search("sobol", [search_row("grid"), row])
    assert (judged_row["before"], judged_row["after"]) == pytest.approx((0.10, 0.12))
    assert judged_row["difference"] == pytest.approx(0.02)
    bounds = (-row["high"], -row["low"])  # of errors
    assert (judged_row["low"], judged_row["high"]) == pytest.approx(bounds)
    assert judged_row["p"] == pytest.approx(2 * stats.t.sf(0.02 / error, HALVES - 1))
    assert judged_row["outcome"] == "supported"


@pytest.mark.parametrize("method", ["grid", "tpe", "coarse_to_fine"])
def test_a_search_among_stored_points_alone_judges_no_claim(method):
    row = judged_search(method, [search_row(method)])
    assert row["outcome"] == "not testable"
    assert row["reason"] == f"{method} is replayed on stored points only"


def test_a_search_that_the_report_has_not_is_not_testable():
    row = judged_search("tpe", [search_row("sobol")])
    assert row["reason"] == "the report has no search by tpe"


def test_a_search_that_finds_nothing_too_often_is_not_testable():
    without_numbers = dict.fromkeys(search_row("halving"), nan) | {"method": "halving"}
    row = judged_search("halving", [without_numbers])
    assert row["reason"] == "too many searches find nothing"


def of_study(**columns):
    """Return the table of one row of `better`."""
    return pd.DataFrame([{"study": "one", "arm": "better"} | columns])


BOUNDS = {"low": -0.04, "high": 0.0}


def test_another_scale_is_judged_by_the_interval_of_its_table():
    row = of_study(log_test=0.93, uniform_test=0.91, difference=-0.02, **BOUNDS)
    made = claim({"arm": "better", "scale": "uniform"}, "higher")
    (judged_row,) = judged(made, search_scales=row)
    assert (judged_row["before"], judged_row["after"]) == pytest.approx((0.07, 0.09))
    bounds = [judged_row[name] for name in ("difference", "low", "high")]
    assert bounds == pytest.approx([0.02, 0.0, 0.04])
    assert judged_row["p"] == pytest.approx(0.05)
    (absent,) = judged(made)
    assert absent["reason"] == "the report has no logarithmic scale of a learning rate"


@pytest.mark.parametrize(
    ("lead", "outcome"), [(0.3, "supported"), (-0.3, "contradicted"), (0.05, "inconclusive")]
)
def test_an_importance_is_judged_against_that_of_the_rival(lead, outcome):
    numbers = {"importance": 0.4, "lead": lead, "lead_low": lead - 0.1, "lead_high": lead + 0.1}
    rows = [of_study(hyperparameter="a.b", **numbers), of_study(hyperparameter="c", importance=0.1)]
    made = claim({"arm": "better", "hyperparameter": "a.b"}, "higher", measure="importance")
    (row,) = judged(made, search_importance=pd.concat(rows))
    assert (row["before"], row["after"]) == pytest.approx((0.4 - lead, 0.4))
    assert row["contrast"] == "better: a.b against its strongest rival"
    assert (row["low"], row["high"]) == pytest.approx((lead - 0.1, lead + 0.1))
    assert row["outcome"] == outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.5, 1.5, "supported"), (4.0, 40.0, "contradicted"), (0.2, 9.0, "inconclusive")],
)
def test_a_shift_of_the_best_rate_is_judged_by_its_factor(low, high, outcome):
    middle = np.sqrt(low * high)
    row = of_study(hyperparameter="c", moved="rate", scale="log", low=low, high=high)
    row = row.assign(below="0.1", above=str(0.1 * middle), shift=middle)
    equal = {"rule": "equivalence", "measure": "rate_shift", "margin": log(3)}
    made = claim({"arm": "better", "hyperparameter": "c"}, "equal", **equal)
    (judged_row,) = judged(made, search_shifts=row)
    assert (judged_row["before"], judged_row["after"]) == pytest.approx((0.1, 0.1 * middle))
    assert (exp(judged_row["low"]), exp(judged_row["high"])) == pytest.approx((low, high))
    assert judged_row["outcome"] == outcome
    (other,) = judged(made, search_shifts=row.assign(scale="uniform"))
    assert other["reason"] == "rate has no logarithmic scale"


# Ranges of learning rates


def range_row(*factors, is_open=()):
    """Return the row of a claim that the range of `better` is narrower than the baseline's.

    Args:
        factors: The factors of both, the baseline first, by seed.
        is_open: Arm and seed of the ranges that may be wider.
    """
    rows = [
        ("one", arm, seed, factor, (arm, seed) in is_open)
        for seed, pair in enumerate(factors)
        for arm, factor in zip(("baseline", "better"), pair, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["study", "arm", "seed", "factor", "is_open"])
    (row,) = judged(claim({"arm": "better"}, measure="rate_range"), rate_seeds=table)
    return row


def test_ranges_of_rates_are_compared_by_their_ratio_at_exploration_seeds():
    row = range_row((10.0, 4.0), (12.0, 5.0), (11.0, 4.0), (nan, 4.0))
    expected = interval(np.log([4 / 10, 5 / 12, 4 / 11]))
    assert (row["n"], row["outcome"]) == (3, "supported")
    assert row["difference"] == pytest.approx(expected.mean)
    assert row["p"] == pytest.approx(expected.p)
    assert row["before"] == pytest.approx((10 * 12 * 11) ** (1 / 3))


def test_the_narrower_range_makes_no_difference_if_it_may_go_on():
    pairs = (10.0, 4.0), (12.0, 5.0), (11.0, 4.0)
    wide = range_row(*pairs, is_open=[("baseline", 0)])
    assert wide["difference"] == pytest.approx(range_row(*pairs)["difference"])
    narrow = range_row(*pairs, is_open=[("better", 0)])
    assert narrow["difference"] == pytest.approx(np.mean([0, log(5 / 12), log(4 / 11)]))
    assert range_row((nan, 4.0))["reason"] == "the report has no range of learning rates of both"


# Measures that are judged by their ratio, and other measures


def times_table(planned, updates):
    """Return times to target, given the updates by fingerprint."""
    names = planned.fingerprints()
    taken = [updates(name) for name in names]
    return pd.DataFrame({"fingerprint": names, "updates": taken, "flops": taken})


def test_norms_are_compared_by_their_ratio():
    planned = plan(claim({"arm": "better"}, measure="squared_weight_norm"))
    histories = {}
    for name in planned.fingerprints():
        norm = 200.0
        if arm_of(name) == "better":
            norm = 100 * exp(NOISE[place_of(name)])
        histories[name] = [
            {"split": "train", "squared_weight_norm": 1.0},
            {"split": "train", "squared_weight_norm": norm},  # the last one counts
            {"split": "validation"},
        ]
    (row,) = rows_of(planned, sources(planned, histories=histories))
    assert row["difference"] == pytest.approx(log(100 / 200))
    assert row["before"] == pytest.approx(200)
    assert row["change"] == pytest.approx(100 / 200 - 1)
    assert row["outcome"] == "supported"


TIMES = {
    "better": [21.0, 22.0, 20.0, 21.0, 22.0, 20.0],
    "baseline": [inf, 40.0, 40.0, 40.0, 40.0, 40.0],
}


def judged_times(**fields_of_plan):
    """Return the row of a claim that `better` reaches the target sooner."""
    planned = plan(claim({"arm": "better"}, measure="updates_to_target"), **fields_of_plan)
    others = [40.0] * len(SEEDS)
    table = times_table(planned, lambda name: TIMES.get(arm_of(name), others)[place_of(name)])
    (row,) = rows_of(planned, sources(planned, target_times=table))
    return row


def test_times_are_compared_by_signed_ranks_of_their_ratios():
    row = judged_times()
    baseline = [UPDATES, *TIMES["baseline"][1:]]  # never: as long as it was trained
    ratios = np.log(np.divide(TIMES["better"], baseline))
    means = [np.mean(pair) for pair in combinations_with_replacement(ratios, 2)]
    assert row["difference"] == pytest.approx(np.median(means))
    assert (row["low"], row["high"]) == pytest.approx((min(means), max(means)))
    assert row["p"] == pytest.approx(2 / 2 ** len(SEEDS))  # all are sooner


def test_the_interval_of_times_is_corrected_for_looks():
    """The least p of six seeds, 2 / 2^6, is above half of 5 %: there is no interval."""
    row = judged_times(looks=PlannedLooks(seeds=(3, 6), weights=(0.5, 0.5)))
    assert 0.05 / 2 < 2 / 2 ** len(SEEDS) < 0.05
    assert isnan(row["low"])
    assert isnan(row["high"])
    assert row["p"] == pytest.approx(2 / 2 ** len(SEEDS) / 0.5)


def test_accuracies_on_training_images_are_compared():
    (row,) = judged(claim({"arm": "better"}, "higher", measure="train_accuracy"))
    assert row["difference"] == pytest.approx(GAIN / 2)  # as `sources` makes them


@pytest.mark.parametrize("missed", [2, 3, 4])
def test_both_sides_of_a_time_are_medians_whatever_is_never_reached(missed):
    """As in the table of times to target; both miss it at the same seeds."""
    planned = plan(claim({"arm": "better"}, measure="updates_to_target"))
    times = [inf] * missed + [30.0 + place for place in range(missed, len(SEEDS))]
    table = times_table(planned, lambda name: times[place_of(name)])
    (row,) = rows_of(planned, sources(planned, target_times=table))
    assert row["before"] == row["after"] == np.median(times)
    assert row["difference"] == 0
    assert row["outcome"] == "inconclusive"


@pytest.mark.parametrize("than", [None, {"arm": "worse"}])
def test_a_target_that_neither_side_reaches_tests_nothing_and_counts_in_corrections(than):
    rule = {"rule": "interaction", "than": than} if than else {}
    made = claim({"arm": "same"}, measure="updates_to_target", id="never", **rule)
    planned = plan(made, claim({"arm": "better"}))
    updates = defaultdict(lambda: inf, {"worse": 20.0, "better": 20.0})
    table = times_table(planned, lambda name: updates[arm_of(name)])
    never, tested = rows_of(planned, sources(planned, target_times=table))
    assert never["outcome"] == "not testable"
    assert never["reason"] == "neither side ever reaches the target"
    assert tested["p_holm"] == pytest.approx(2 * tested["p"])


def test_a_target_that_one_run_reaches_is_tested():
    planned = plan(claim({"arm": "better"}, measure="updates_to_target"))
    table = times_table(planned, lambda name: 20.0 if name == "better1000" else inf)
    (row,) = rows_of(planned, sources(planned, target_times=table))
    assert row["outcome"] == "inconclusive"


def test_signed_ranks_with_too_few_seeds_have_no_detectable_ratio_but_the_number_needed():
    """Of six differences p is at least 2 / 2^6 = .031; Holm over two claims needs below .025."""
    made = claim({"arm": "better"}, measure="updates_to_target")
    others = [40.0] * len(SEEDS)

    def row_of(*claims_of_one, at_baseline=TIMES["baseline"]):
        planned = plan(*claims_of_one)
        times = TIMES | {"baseline": at_baseline}
        table = times_table(planned, lambda name: times.get(arm_of(name), others)[place_of(name)])
        return rows_of(planned, sources(planned, target_times=table))[0]

    assert row_of(made)["outcome"] == "supported"
    short = row_of(made, claim({"arm": "same"}, id="other"))
    assert short["outcome"] == "inconclusive"
    assert re.findall(r"\d+", short["reason"]) == ["6", "6", "7"]
    assert isnan(short["detectable"])
    mixed = [10.0, 40.0, 10.0, 40.0, 10.0, 40.0]
    enough = row_of(made, at_baseline=mixed)
    assert (enough["outcome"], enough["reason"]) == ("inconclusive", "")
    assert enough["detectable"] > 0
    ties = [*TIMES["better"][:2], 40.0, 40.0, 40.0, 40.0]
    assert re.findall(r"\d+", row_of(made, at_baseline=ties)["reason"]) == ["4", "6", "6"]


def test_sides_of_an_interaction_of_times_are_ratios_in_logarithms():
    fields = {"measure": "updates_to_target", "rule": "interaction", "than": {"arm": "worse"}}
    planned = plan(claim({"arm": "better"}, **fields))
    updates = defaultdict(lambda: 40.0, {"better": 20.0, "worse": 80.0})
    table = times_table(planned, lambda name: updates[arm_of(name)])
    (row,) = rows_of(planned, sources(planned, target_times=table))
    of_better, of_worse = log(20 / 40), log(80 / 40)
    assert (row["before"], row["after"]) == pytest.approx((of_worse, of_better))
    assert row["difference"] == pytest.approx(of_better - of_worse)


@pytest.mark.parametrize(
    ("times", "ends", "expected"),
    [
        pytest.param((10.0, 20.0), (60, 60), [10, 20], id="both-arrive"),
        pytest.param((10.0, inf), (60, 60), [10, 60], id="never-takes-the-whole-training"),
        pytest.param((50.0, inf), (60, 30), [50, 50], id="or-as-long-as-the-other"),
        pytest.param((inf, inf), (60, 30), [1, 1], id="none-arrives"),
    ],
)
def test_a_run_that_never_arrives_makes_no_ratio_larger(times, ends, expected):
    assert times_on_one_scale(times, ends) == expected


def zeros_claim():
    """Return a claim that more than a tenth of the weights of `better` are exactly 0."""
    return claim({"arm": "better"}, "higher", measure="zeros", threshold=0.1, rule="exact")


def test_zeros_are_those_of_the_arm_above_a_threshold():
    planned = plan(zeros_claim())
    records = {}
    for name in planned.fingerprints():
        audit = {"l1_penalty": {"zeros": 0.3}} if arm_of(name) == "better" else {}
        records[name] = {"audit": audit}
    (row,) = rows_of(planned, sources(planned, records=records))
    assert row["outcome"] == "supported"
    assert row["difference"] == pytest.approx(0.3)


def test_zeros_of_runs_that_have_none_are_not_testable():
    (row,) = judged(zeros_claim())
    assert row["reason"] == "the runs have no zeros"


# Claims that are refused

ARM = {"arm": "a"}
SEARCH = {"arm": "a", "search": "grid"}
CORRELATION = {"rule": "correlation"}
REFUSED = {  # case: contrast, other fields, the beginning of the error
    "figures against the expectation": (ARM, {"figures": (1, 2), "setting": "s"}, "figures: "),
    "figures without a setting": (ARM, {"figures": (1.6, 1.35)}, "setting: "),
    "cost that is tested": (ARM, {"measure": "training_cost"}, "rule: "),
    "identity of an error": (ARM, {"rule": "identity"}, "measure: "),
    "equivalence that expects less": (ARM, {"rule": "equivalence"}, "expect: "),
    "slope without levels": (ARM, {"rule": "slope"}, "contrast.levels: "),
    "levels without a slope": ({"levels": ("a", "b", "c")}, {}, "contrast.levels: "),
    "levels that repeat": ({"levels": ("a", "b", "a")}, {"rule": "slope"}, "contrast.levels: "),
    "than with levels": (
        ARM,
        {"rule": "interaction", "than": {"levels": ("a", "b", "c")}},
        "than.levels: ",
    ),
    "interaction without than": (ARM, {"rule": "interaction"}, "than: "),
    "than without an interaction": (ARM, {"than": {"arm": "b"}}, "than: "),
    "than that is the contrast": (ARM, {"rule": "interaction", "than": ARM}, "than: "),
    "no contrast": (None, {}, "contrast: "),
    "correlation of errors": (None, CORRELATION, "measure: "),
    "bound without a margin": (ARM, {"measure": "nll", "expect": "not_lower"}, "margin: "),
    "passes of a gap": (ARM | {"passes": (1, 12)}, {"measure": "gap"}, "measure: "),
    "passes that are equal": (ARM | {"passes": (12, 12)}, {}, "contrast.passes: "),
    "too many passes": (ARM | {"passes": (1, 21)}, {}, "contrast.passes.1: "),
    "search of a gap": (SEARCH, {"measure": "gap"}, "measure: "),
    "search against an arm": (SEARCH | {"against": "b"}, {}, "contrast.against: "),
    "search without an arm": ({"search": "grid"}, {}, "contrast: "),
    "search with passes": (SEARCH | {"passes": (1, 2)}, {}, "contrast: "),
    "search against itself": (ARM | {"search": "random"}, {}, "contrast.search: "),
    "arm with members": (ARM | {"members": (1, 4)}, {}, "contrast: "),
    "empty contrast": ({}, {}, "contrast: "),
    "disagreement of an arm": (ARM, {"measure": "disagreement"}, "contrast.methods: "),
    "arm against itself": (ARM | {"against": "a"}, {}, "contrast.against: "),
    "methods that repeat": ({"methods": ("soup", "soup")}, {}, "contrast.methods: "),
    "zeros below none": (ARM, {"measure": "zeros", "rule": "exact"}, "threshold: .* from 0 to 1 "),
    "zeros that are at least none": (
        ARM,
        {"measure": "zeros", "expect": "not_lower", "margin": 0.1},
        "threshold: .* from 0 to 1 ",
    ),
    "zeros of levels": (
        {"levels": ("a", "b", "c")},
        {"rule": "slope", "measure": "zeros", "threshold": 0.1},
        "measure: ",
    ),
    "threshold of an error of 1": (ARM, {"threshold": 1.0}, "threshold: .* from -1 to 1 "),
    "margin of an error of 1": (
        ARM,
        {"margin": 1, "expect": "not_lower"},
        "threshold: .* from -1 to 1 ",
    ),
    "margin up to the end": (
        ARM,
        {"margin": 0.6, "threshold": 0.4, "expect": "not_higher"},
        "threshold: .* from -1 to 1 ",
    ),
    "threshold of a gap of 2": (
        ARM,
        {"measure": "gap", "threshold": -2},
        "threshold: .* from -2 to 2 ",
    ),
    "threshold of a calibration error of 1": (
        ARM,
        {"measure": "calibration_error", "threshold": 1},
        "threshold: .* from -1 to 1 ",
    ),
    "threshold of a Brier score of 2": (
        ARM,
        {"measure": "brier", "threshold": 2},
        "threshold: .* from -2 to 2 ",
    ),
    "threshold of a disagreement of 1": (
        {"methods": ("a", "b")},
        {"measure": "disagreement", "threshold": -1},
        "threshold: .* from -1 to 1 ",
    ),
    "slope of an error of more than 1.2": (
        {"levels": ("a", "b", "c", "d")},
        {"rule": "slope", "threshold": 1.25},
        "threshold: .* from -1.2 to 1.2 ",
    ),
    "threshold of a correlation of 1": (
        None,
        CORRELATION | {"measure": "gap", "threshold": 1},
        "threshold: .* from -1 to 1 ",
    ),
    "importance of an arm": (ARM, {"measure": "importance"}, "contrast.hyperparameter: "),
    "error of a hyperparameter": (ARM | {"hyperparameter": "a.b"}, {}, "measure: "),
    "scale and search": (SEARCH | {"scale": "uniform"}, {}, "contrast: "),
    "gap of a scale": (ARM | {"scale": "uniform"}, {"measure": "gap"}, "measure: "),
    "importance beyond 1": (
        ARM | {"hyperparameter": "a.b"},
        {"measure": "importance", "threshold": 1},
        "threshold: .* from -1 to 1 ",
    ),
    "range of rates of levels": (
        {"levels": ("a", "b", "c")},
        {"rule": "slope", "measure": "rate_range"},
        "contrast.arm: ",
    ),
    "loss of more members": ({"members": (1, 4)}, {"measure": "nll"}, "measure: .*Jensen"),
    "loss of more passes": (ARM | {"passes": (1, 12)}, {"measure": "nll"}, "measure: .*Jensen"),
    "Brier score of independent models": (
        {"methods": ("one model", "independent")},
        {"measure": "brier"},
        "measure: .*Jensen",
    ),
    "alternative that is the claim": (ARM, {"alternative": "one"}, "alternative: "),
}


@pytest.mark.parametrize(("contrast", "fields", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_claim_that_cannot_be_judged_raises(contrast, fields, expected):
    with pytest.raises(ValidationError) as caught:
        claim(contrast, **fields)
    lines = list(lines_of(caught.value))
    assert any(re.match(expected, line) for line in lines), lines


def lines_of(error):
    """Yield the dotted key and the text of each mistake."""
    for item in error.errors():
        place = [str(part) for part in item["loc"]]
        cause = item.get("ctx", {}).get("error")
        for key, text in getattr(cause, "mistakes", [("", item["msg"])]):
            yield f"{'.'.join([*place, key] if key else place)}: {text}"


def test_all_mistakes_of_a_claim_are_named_at_once():
    path = Path("experiments/dropout.yaml")
    contrast = {"arm": "a", "levels": ["a", "b", "b"], "passes": [12, 1]}
    wrong = {"id": "one", "source": "s", "by": "paper", "says": "It is so.", "contrast": contrast}
    right = {**wrong, "contrast": ARM, "expect": "equal", "measure": "nll", "figures": [1, 2]}
    for value, keys in (
        (wrong | {"expect": "lower"}, ["", ".passes", ".levels"]),
        (right, ["expect", "margin", "setting"]),
    ):
        with pytest.raises(Refusal) as caught:
            checked(Claim, value, path, "claims.0")
        places = [line.split(": ")[1] for line in caught.value.lines]
        prefix = "claims.0.contrast" if value["contrast"] == contrast else "claims.0."
        assert places == [f"{prefix}{key}" for key in keys]


@pytest.mark.parametrize(
    ("contrast", "fields"),
    [
        pytest.param(ARM, {"measure": "gap", "threshold": 1.5}, id="gap"),
        pytest.param(ARM, {"measure": "nll", "threshold": 3}, id="loss"),
        pytest.param(ARM, {"measure": "brier", "threshold": 1.5}, id="brier"),
        pytest.param(
            ARM, {"rule": "interaction", "than": {"arm": "b"}, "threshold": 1.5}, id="interaction"
        ),
        pytest.param(
            {"levels": ("a", "b", "c", "d")}, {"rule": "slope", "threshold": 1.15}, id="slope"
        ),
        pytest.param(
            ARM, {"measure": "zeros", "rule": "exact", "expect": "higher"}, id="zeros-at-each-seed"
        ),
        pytest.param(ARM | {"passes": (0, 12)}, {"measure": "nll"}, id="loss-without-noise"),
        pytest.param(
            {"members": (1, 4), "method": "snapshots"}, {"measure": "nll"}, id="loss-of-snapshots"
        ),
    ],
)
def test_a_claim_that_can_come_out_either_way_is_accepted(contrast, fields):
    assert claim(contrast, **fields).threshold == fields.get("threshold", 0)


@pytest.mark.parametrize("levels", [3, 4, 5])
def test_the_largest_change_over_levels_is_that_of_all_columns_of_zeros_and_ones(levels):
    columns = np.array(list(product([0.0, 1.0], repeat=levels))).T
    assert largest_change(levels) == pytest.approx(change_over_levels(columns).max())


def test_an_arm_against_its_namesake_of_another_study_is_accepted():
    contrast = claim({"arm": "a", "against": "a", "against_study": "b"}).contrast
    assert contrast.against == "a"


def test_the_digest_of_claims_is_that_of_what_they_say():
    other = claim(ARM, says="It is not so.")
    assert claims_digest([claim(ARM)]) == claims_digest([claim(ARM)])
    assert claims_digest([claim(ARM)]) != claims_digest([other])
