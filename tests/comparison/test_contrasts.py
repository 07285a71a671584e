"""What is paired with what: seeds, test rules, states, machines; and the columns of the table."""

import itertools
from math import nan

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from pipeline.comparison import contrasts as module
from pipeline.comparison.contrasts import COLUMNS, METRICS
from pipeline.comparison.intervals import detectable, seeds_needed, total_error
from pipeline.comparison.levels import COSTS, SCORES
from pipeline.comparison.matching import WHERE, outcomes
from pipeline.comparison.verdicts import LOST_RUNS
from pipeline.config.plan import Factor, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.test_rules import DETERMINISTIC, NOISE, TestRule
from pipeline.evaluation.metrics import GAPS
from pipeline.runtime.errors import Refusal

SEEDS = range(1000, 1006)
RULES = {"baseline": DETERMINISTIC, "drop": DETERMINISTIC, "pool": NOISE}
FACTORS = {
    "baseline": Factor(),
    "drop": Factor(regularizers=("dropout",)),
    "pool": Factor(regularizers=("fractional_max_pooling",), protocol={"training.epochs": 3}),
}
SETTINGS = {
    "baseline": {},
    "drop": {"dropout": {"rate": 0.5}},
    "pool": {"fractional_max_pooling": {"ratio": 1.5}, "protocol": {"training.epochs": 3}},
}
IMAGES = 40


@pytest.fixture
def plan():
    arms = tuple(
        PlannedArm(name=name, factor=FACTORS[name], rule=rule) for name, rule in RULES.items()
    )
    runs = [
        PlannedRun(
            study="one", arm=arm, setting=SETTINGS[arm], seed=seed, fingerprint=f"{arm}{seed}"
        )
        for arm in RULES
        for seed in SEEDS
    ]
    return Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(PlannedStudy(name="one", question="?", arms=arms),),
        runs=tuple(runs),
    )


@pytest.fixture
def scores(plan):
    """Return random scores under both rules, those of the noise rule far from the others."""
    generator = np.random.default_rng(9)
    wanted = [(DETERMINISTIC, *where) for where in WHERE.values()]
    wanted += [(NOISE, *where) for where in SCORES.values()]
    rows = [
        (
            *(run.fingerprint, rule.view, rule.members, split, metric),
            generator.uniform(0.5, 0.6) + 0.2 * (rule == NOISE),
        )
        for run in plan.runs
        for rule, split, metric in wanted
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def states(plan):
    return dict.fromkeys(plan.fingerprints(), "done")


@pytest.fixture
def machines(plan):
    return {
        name: {"cpu_capability": "AVX512", "threads": 1, "device": "cpu"}
        for name in plan.fingerprints()
    }


FORWARD = {"baseline": 100, "drop": 100, "pool": 150}


def counted(plan):
    """Return costs: drop trains for a fifth more, pool for half more, forward passes included."""
    factors = {"baseline": 1, "drop": 1.2, "pool": 1.5}
    return {
        run.fingerprint: {
            "training_flops": factors[run.arm] * (1000 + run.seed),
            "forward_flops": FORWARD[run.arm],
            "updates": 7,
        }
        for run in plan.runs
    }


def drawn(plan, seed=3):
    """Return which test images each run classifies correctly."""
    generator = np.random.default_rng(seed)
    return {run: generator.integers(0, 2, IMAGES) for run in plan.fingerprints()}


def alike(plan):
    """Return the hits of runs that all classify the same images correctly."""
    return {run: np.arange(IMAGES) % 2 for run in plan.fingerprints()}


def changed(hits, arm, seeds=SEEDS):
    """Return the change of every image at every seed (seeds, images)."""
    return np.array([hits[f"{arm}{seed}"] - hits[f"baseline{seed}"] for seed in seeds])


def contrasts(scores, plan, states, machines, costs=None, hits=None):
    costs = counted(plan) if costs is None else costs
    hits = drawn(plan) if hits is None else hits
    return module.contrasts(plan, outcomes(scores, states, machines), costs, hits)


def of(scores, arm, rule, split, metric, seeds=SEEDS):
    """Return the scores of an arm in the order of its seeds."""
    rows = scores[
        (scores["view"] == rule.view)
        & (scores["members"] == rule.members)
        & (scores["split"] == split)
        & (scores["metric"] == metric)
    ]
    return rows.set_index("fingerprint")["value"].loc[[f"{arm}{seed}" for seed in seeds]].to_numpy()


def put(scores, arm, values, split="test", metric="accuracy"):
    """Return `scores` with an arm's values replaced, under both rules."""
    at = (
        scores["fingerprint"].str.startswith(arm)
        & (scores["split"] == split)
        & (scores["metric"] == metric)
    )
    scores.loc[at, "value"] = [values[int(name[-1])] for name in scores.loc[at, "fingerprint"]]
    return scores


def row(table, arm, metric="test_accuracy"):
    return table[(table["arm"] == arm) & (table["metric"] == metric)].iloc[0]


def test_columns_and_order(scores, plan, states, machines):
    table = contrasts(scores, plan, states, machines)
    assert tuple(table.columns) == COLUMNS
    assert list(zip(table["arm"], table["metric"], strict=True)) == [
        (arm, metric) for arm in ("drop", "pool") for metric in (*SCORES, *GAPS, *COSTS)
    ]
    for name, group in table.groupby("arm"):
        assert group["factor"].tolist() == [FACTORS[name].model_dump(mode="json")] * len(group)
        assert group["setting"].tolist() == [SETTINGS[name]] * len(group)
    shuffled = contrasts(scores.sample(frac=1, random_state=0), plan, states, machines)
    pd.testing.assert_frame_equal(shuffled, table)


@pytest.mark.parametrize("metric", WHERE)
def test_every_contrast_is_a_paired_t_test_under_the_arms_own_rules(
    metric, scores, plan, states, machines
):
    contrast = row(contrasts(scores, plan, states, machines), "pool", metric)
    split, name = WHERE[metric]
    rule = DETERMINISTIC if metric in GAPS else NOISE
    baseline, arm = (
        of(scores, "baseline", DETERMINISTIC, split, name),
        of(scores, "pool", rule, split, name),
    )
    expected = stats.ttest_rel(arm, baseline)
    assert (contrast["view"], contrast["members"], contrast["n"]) == (rule.view, rule.members, 6)
    assert (contrast.baseline_mean, contrast.arm_mean) == pytest.approx(
        (baseline.mean(), arm.mean())
    )
    assert (contrast.difference, contrast.p) == pytest.approx(
        (arm.mean() - baseline.mean(), expected.pvalue)
    )
    assert (contrast.low, contrast.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    flips = stats.permutation_test(
        (arm - baseline,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert contrast.p_sign_flip == pytest.approx(flips.pvalue)
    assert contrast.correlation == pytest.approx(np.corrcoef(baseline, arm)[0, 1])


def test_pairs_are_made_by_seed_not_by_place(scores, plan, states, machines):
    table = contrasts(scores, plan, states, machines)
    reversed_plan = plan.model_copy(
        update={"runs": plan.runs[:6] + plan.runs[11:5:-1] + plan.runs[12:]}
    )
    again = contrasts(scores, reversed_plan, states, machines)
    assert row(again, "drop").p == pytest.approx(row(table, "drop").p)
    assert row(again, "drop").correlation == pytest.approx(row(table, "drop").correlation)


def test_only_the_primary_metric_carries_a_verdict(scores, plan, states, machines):
    table = contrasts(scores, plan, states, machines)
    other = table[table["metric"] != "test_accuracy"]
    judged = ["p_equivalence", "detectable", "detectable_low", "seeds_needed", "seed_error"]
    judged += ["image_error", "total_error", "low_images"]
    assert other[judged].isna().all(axis=None)
    assert set(other["verdict"]) == set(other["verdict_other_images"]) == {""}
    assert not other["below_margin"].any()
    families = table["metric"].isin(["test_accuracy", "gap"])
    corrected = table[families][["p_holm", "low_all", "high_all"]]
    assert corrected.notna().all(axis=None)
    assert table[~families][["p_holm", "low_all", "high_all"]].isna().all(axis=None)
    assert table[table["metric"] == "test_accuracy"][judged].notna().all(axis=None)
    assert table[table["metric"].isin([*WHERE])]["p_sign_flip"].notna().all()
    assert set(table["metric"]) == set(METRICS)


def test_an_interval_that_excludes_zero_is_marked_on_every_metric(scores, plan, states, machines):
    fixed = [0.501, 0.502, 0.503, 0.504, 0.505, 0.506]
    for arm, shift in (("baseline", 0.0), ("drop", 0.1)):
        jitter = np.array([0.001, -0.001, 0.002, -0.002, 0.001, -0.001])
        scores = put(scores, arm, np.array(fixed) + shift * (1 + jitter), "train_validation", "gap")
    table = contrasts(scores, plan, states, machines)
    assert row(table, "drop", "gap").excludes_zero
    varied = table[table["low"].notna()]
    assert list(varied["excludes_zero"]) == list(varied["p"] < 0.05)
    assert set(varied["excludes_zero"]) == {True, False}
    assert not table.loc[table["low"].isna(), "excludes_zero"].any()


def test_detectable_and_seeds_needed_are_at_the_hardest_step_of_holm(
    scores, plan, states, machines
):
    contrast = row(contrasts(scores, plan, states, machines), "drop")
    baseline, arm = (
        of(scores, name, DETERMINISTIC, "test", "accuracy") for name in ("baseline", "drop")
    )
    sd = (arm - baseline).std(ddof=1)
    assert contrast.detectable == pytest.approx(detectable(sd, 6, 0.05 / 2))
    assert contrast.seeds_needed == seeds_needed(contrast.difference, sd, 0.05 / 2)
    # the quantiles 10 and 90 % of chi-square with 5 degrees of freedom are 1.6103 and 9.2364
    least, most = (sd * (5 / quantile) ** 0.5 for quantile in (9.2364, 1.6103))
    assert contrast.seeds_needed_low == seeds_needed(contrast.difference, least, 0.05 / 2)
    assert contrast.seeds_needed_high == seeds_needed(contrast.difference, most, 0.05 / 2)
    assert contrast.seed_error == pytest.approx(stats.sem(arm - baseline))


def test_the_image_error_is_what_images_add(scores, plan, states, machines):
    hits = drawn(plan)
    table = contrasts(scores, plan, states, machines, hits=hits)
    for arm in ("drop", "pool"):
        contrast = row(table, arm)
        assert contrast.total_error**2 == pytest.approx(
            contrast.seed_error**2 + contrast.image_error**2
        )
        assert contrast.total_error >= stats.sem(changed(hits, arm).mean(axis=0)) - 1e-12
        half = stats.t.ppf(0.975, contrast.n - 1) * contrast.total_error
        bounds = contrast.difference - half, contrast.difference + half
        assert (contrast.low_images, contrast.high_images) == pytest.approx(bounds)
    without = {run: values for run, values in hits.items() if run != "drop1003"}
    table = contrasts(scores, plan, states, machines, hits=without)
    assert np.isnan(row(table, "drop").image_error)
    assert np.isfinite(row(table, "pool").image_error)


def test_image_error_is_the_spread_over_test_sets_drawn_again(scores, plan, states, machines):
    """Against the differences of 4,000 other test sets of 40 images out of the same population."""
    generator = np.random.default_rng(8)
    population = generator.random((2, 4000, IMAGES)) < [[[0.5]], [[0.35]]]
    means = np.diff(population.mean(axis=2), axis=0)
    errors = []
    for number in range(6):
        hits = drawn(plan)
        for name, right in zip(("baseline", "drop"), population[:, number], strict=True):
            hits |= {f"{name}{seed}": right.astype(np.int8) for seed in SEEDS}
        errors.append(row(contrasts(scores, plan, states, machines, hits=hits), "drop").image_error)
    assert np.mean(errors) == pytest.approx(means.std(), rel=0.1)


def test_the_total_error_is_of_the_seeds_that_count_and_images_together(
    scores, plan, states, machines
):
    """The run of a seed that is left out may classify images as it likes."""
    hits = drawn(plan)
    states["drop1002"] = "failed"
    contrast = row(contrasts(scores, plan, states, machines, hits=hits), "drop")
    changes = changed(hits, "drop", [seed for seed in SEEDS if seed != 1002])
    differs = np.square(changes).mean()
    expected = total_error(contrast.seed_error, changes.mean(axis=0), differs, 5)
    assert contrast.total_error == pytest.approx(expected)


def test_a_verdict_may_not_hold_on_other_test_images(scores, plan, states, machines):
    """Seeds agree on a gain of 2 points, which is within the error of 40 images."""
    jitter = np.array([0.001, -0.001, 0.002, -0.002, 0.001, -0.001])
    scores = put(put(scores, "baseline", np.full(6, 0.5)), "drop", 0.52 + jitter)
    few = row(contrasts(scores, plan, states, machines), "drop")
    assert (few.verdict, few.verdict_other_images) == ("helps", "inconclusive")
    many = row(contrasts(scores, plan, states, machines, hits=alike(plan)), "drop")
    assert many.total_error == pytest.approx(many.seed_error)
    assert (many.verdict, many.verdict_other_images) == ("helps", "helps")


def test_an_equivalence_may_not_hold_on_other_test_images(scores, plan, states, machines):
    jitter = np.array([0.001, -0.001, 0.002, -0.002, 0.001, -0.001])
    scores = put(put(scores, "baseline", np.full(6, 0.5)), "drop", 0.5 + jitter)
    few = row(contrasts(scores, plan, states, machines), "drop")
    assert (few.verdict, few.verdict_other_images) == ("equivalent", "inconclusive")
    many = row(contrasts(scores, plan, states, machines, hits=alike(plan)), "drop")
    assert many.verdict_other_images == "equivalent"


def test_costs_are_in_those_of_the_pairs_own_baseline(scores, plan, states, machines):
    table = contrasts(scores, plan, states, machines)
    assert set(table.loc[table["metric"].isin(COSTS), "baseline_mean"]) == {1.0}
    assert row(table, "drop", "training_cost").arm_mean == pytest.approx(1.2)
    assert row(table, "drop", "test_cost").arm_mean == 1.0
    assert row(table, "pool", "training_cost").arm_mean == pytest.approx(1.5)
    contrast = row(table, "pool", "test_cost")
    assert (contrast["view"], contrast["members"]) == ("noise", 12)
    assert (contrast.arm_mean, contrast.difference, contrast.n) == (12 * 1.5, 17.0, 6)
    assert np.isnan([contrast.low, contrast.p, contrast.correlation]).all()
    assert contrast.p_sign_flip == 2 / 2**6
    assert np.isnan(row(table, "drop", "test_cost").p_sign_flip)


def test_a_cost_that_varies_has_an_interval(scores, plan, states, machines):
    costs = counted(plan)
    for seed, share in zip(
        SEEDS, (0.5, 0.6, 0.7, 0.8, 0.9, 1.0), strict=True
    ):  # as if it stopped early
        costs[f"drop{seed}"] = {
            **costs[f"drop{seed}"],
            "training_flops": share * costs[f"baseline{seed}"]["training_flops"],
        }
    contrast = row(contrasts(scores, plan, states, machines, costs), "drop", "training_cost")
    expected = stats.ttest_1samp(np.array([0.5, 0.6, 0.7, 0.8, 0.9, 1.0]) - 1, 0)
    assert (contrast.arm_mean, contrast.p) == pytest.approx((0.75, expected.pvalue))


def test_a_done_run_without_costs_raises_and_others_need_none(scores, plan, states, machines):
    costs = counted(plan)
    states["drop1001"], costs["drop1001"] = "failed", {}
    assert row(contrasts(scores, plan, states, machines, costs), "drop", "test_cost").n == 5
    del costs["pool1004"]["forward_flops"]
    with pytest.raises(Refusal, match="pool1004: forward_flops: missing"):
        contrasts(scores, plan, states, machines, costs)


def test_a_network_without_products_has_no_cost_to_compare(scores, plan, states, machines):
    costs = {run: {"training_flops": 0, "forward_flops": 0} for run in counted(plan)}
    contrast = row(contrasts(scores, plan, states, machines, costs), "drop", "training_cost")
    assert (contrast.n, contrast.unpaired) == (0, 6)


def test_every_planned_seed_is_counted_once(scores, plan, states, machines):
    states["drop1000"] = "diverged"
    states["baseline1001"] = "failed"
    machines["drop1002"] = {**machines["drop1002"], "threads": 2}
    at = (
        (scores["fingerprint"] == "drop1003")
        & (scores["metric"] == "accuracy")
        & (scores["split"] == "test")
    )
    scores.loc[at, "value"] = nan
    thin = plan.model_copy(
        update={"runs": tuple(run for run in plan.runs if run.fingerprint != "baseline1004")}
    )
    table = contrasts(scores, thin, states, machines)
    parts = ["n", "unpaired", "other_machine", "lost_pairs"]
    assert (table[parts].sum(axis=1) == table["planned"]).all()
    contrast = row(table, "drop")
    assert tuple(contrast[parts]) == (1, 3, 1, 1)
    assert tuple(row(table, "drop", "test_nll")[parts]) == (2, 2, 1, 1)
    assert tuple(contrast[list(LOST_RUNS)]) == (1, 5, 1, 0, 4, 0, 4)


def test_the_commonest_kind_of_machine_stays(scores, plan, states, machines):
    for run in (f"{arm}{seed}" for arm in RULES for seed in (1000, 1001)):
        machines[run] = {**machines[run], "cpu_capability": "AVX2"}
    contrast = row(contrasts(scores, plan, states, machines), "drop")
    assert (contrast.n, contrast.unpaired, contrast.other_machine) == (4, 0, 2)
    baseline, arm = (
        of(scores, name, DETERMINISTIC, "test", "accuracy", [*SEEDS][2:])
        for name in ("baseline", "drop")
    )
    assert contrast.p == pytest.approx(stats.ttest_rel(arm, baseline).pvalue)


def test_the_family_is_the_primary_rows_of_the_report(scores, plan, states, machines):
    table = contrasts(scores, plan, states, machines)
    drop, pool = row(table, "drop"), row(table, "pool")
    assert pool.p < drop.p
    assert pool.p_holm == pytest.approx(2 * pool.p)
    assert drop.p_holm == pytest.approx(max(drop.p, 2 * pool.p))


@pytest.mark.parametrize(
    ("shift", "spread", "expected"),
    [
        (0.05, 0.004, ("helps", False)),
        (-0.05, 0.004, ("hurts", False)),
        (0.004, 0.0005, ("helps", True)),
        (-0.004, 0.0005, ("hurts", True)),
        (0.0, 0.004, ("equivalent", False)),
        (0.0, 0.05, ("inconclusive", False)),
    ],
)
def test_verdicts_of_planted_effects(shift, spread, expected, scores, plan, states, machines):
    baseline = np.array([0.80, 0.85, 0.82, 0.88, 0.81, 0.86])
    arm = baseline + shift + spread * np.array([1, -1, 1, -1, 1, -1])
    scores = put(put(scores, "baseline", baseline), "drop", arm)
    contrast = row(contrasts(scores, plan, states, machines), "drop")
    assert (contrast.verdict, contrast.below_margin) == expected
    assert (contrast.below_margin or contrast.verdict == "equivalent") == (
        ttost_paired(arm, baseline, -0.01, 0.01)[0] < 0.05
    )


def test_equivalence_and_gaps_are_families_of_their_own(scores, plan, states, machines):
    baseline = np.array([0.80, 0.85, 0.82, 0.88, 0.81, 0.86])
    signs = np.array([1, -1, 1, -1, 1, -1])
    arms = {"drop": baseline + 0.0095 * signs, "pool": baseline + 0.009 * signs}
    scores = put(scores, "baseline", baseline)
    for name, values in arms.items():
        scores = put(scores, name, values)
    table = contrasts(scores, plan, states, machines)
    within = [ttost_paired(values, baseline, -0.01, 0.01)[0] for values in arms.values()]
    primary = table[table["metric"] == "test_accuracy"]
    expected = multipletests(within, method="holm")[1]
    assert primary["p_equivalence"].to_numpy() == pytest.approx(expected)
    assert max(within) < 0.05 < max(expected)
    assert primary["verdict"].tolist() == ["inconclusive", "inconclusive"]
    gaps = table[table["metric"] == "gap"]
    assert gaps["p_holm"].to_numpy() == pytest.approx(multipletests(gaps["p"], method="holm")[1])
    for family in (primary, gaps):
        for contrast in family.itertuples():
            half = (
                (contrast.high - contrast.low) / 2 / stats.t.ppf(0.975, 5) * stats.t.ppf(0.9875, 5)
            )
            bounds = contrast.difference - half, contrast.difference + half
            assert (contrast.low_all, contrast.high_all) == pytest.approx(bounds)


def test_the_margin_is_the_plans(scores, plan, states, machines):
    baseline = np.array([0.80, 0.85, 0.82, 0.88, 0.81, 0.86])
    scores = put(
        put(scores, "baseline", baseline), "drop", baseline + 0.02 * np.array([1, -1, 1, -1, 1, -1])
    )
    assert row(contrasts(scores, plan, states, machines), "drop").verdict == "inconclusive"
    wide = plan.model_copy(update={"margin": 0.1})
    assert row(contrasts(scores, wide, states, machines), "drop").verdict == "equivalent"


@pytest.mark.parametrize("state", ["diverged", "failed", "missing"])
def test_an_unfinished_run_takes_its_pair_with_it_and_is_counted(
    state, scores, plan, states, machines
):
    scores = scores[scores["fingerprint"] != "drop1002"]
    states["drop1002"] = state
    table = contrasts(scores, plan, states, machines)
    contrast, kept = row(table, "drop"), [seed for seed in SEEDS if seed != 1002]
    baseline, arm = (
        of(scores, name, DETERMINISTIC, "test", "accuracy", kept) for name in ("baseline", "drop")
    )
    assert (contrast.n, contrast.planned, contrast.done, contrast[state]) == (5, 6, 5, 1)
    assert contrast.p == pytest.approx(stats.ttest_rel(arm, baseline).pvalue)
    assert contrast.baseline_mean == pytest.approx(baseline.mean())
    assert row(table, "pool").n == 6


def test_a_lost_baseline_run_shortens_every_arm(scores, plan, states, machines):
    states["baseline1003"] = "diverged"
    table = contrasts(scores, plan, states, machines)
    assert set(table["n"]) == {5}
    assert set(table["done"]) == {6}


def test_runs_of_different_machines_are_not_paired(scores, plan, states, machines):
    machines["drop1001"] = {**machines["drop1001"], "cpu_capability": "AVX2"}
    table = contrasts(scores, plan, states, machines)
    assert (row(table, "drop").n, row(table, "drop").done, row(table, "pool").n) == (5, 6, 6)
    machines["baseline1001"] = dict(machines["drop1001"])
    table = contrasts(scores, plan, states, machines)
    assert (row(table, "drop").n, row(table, "pool").n) == (5, 5)


def test_a_pair_across_machines_is_never_made(scores, plan, states, machines):
    """Every baseline on one kind of machine, every run of the arm on another: no pair at all."""
    for name in machines:
        if name.startswith("drop"):
            machines[name] = {**machines[name], "cpu_capability": "AVX2"}
    assert row(contrasts(scores, plan, states, machines), "drop").n == 0


def test_a_score_that_is_no_number_drops_its_pair(scores, plan, states, machines):
    at = (scores["fingerprint"] == "drop1000") & (scores["metric"] == "nll")
    scores.loc[at, "value"] = nan
    table = contrasts(scores, plan, states, machines)
    assert (row(table, "drop", "test_nll").n, row(table, "drop").n) == (5, 6)
    assert np.isfinite(row(table, "drop", "test_nll").p)


def test_a_done_run_without_scores_raises(scores, plan, states, machines):
    with pytest.raises(Refusal) as refused:
        contrasts(scores[scores["fingerprint"] != "pool1004"], plan, states, machines)
    assert refused.value.lines == (
        "scores: pool1004: accuracy (test, noise_12): missing; "
        "expected one for every run that is done",
    )


def test_a_rule_is_its_view_and_its_number_of_members(scores, plan, states, machines):
    few = scores.assign(members=scores["members"].replace(12, 11))
    with pytest.raises(Refusal, match="noise_12"):
        contrasts(few, plan, states, machines)
    more = pd.concat([scores, few.assign(value=0.0)]).drop_duplicates(
        ["fingerprint", "view", "members", "split", "metric"]
    )
    assert len(more) > len(scores)
    again = contrasts(more, plan, states, machines)
    pd.testing.assert_frame_equal(again, contrasts(scores, plan, states, machines))
    arms = tuple(
        arm.model_copy(update={"rule": TestRule(view="noise", members=11)})
        if arm.name == "pool"
        else arm
        for arm in plan.studies[0].arms
    )
    study = plan.studies[0].model_copy(update={"arms": arms})
    fewer = contrasts(more, plan.model_copy(update={"studies": (study,)}), states, machines)
    contrast = row(fewer, "pool")
    assert (contrast["view"], contrast["members"], contrast["arm_mean"]) == ("noise", 11, 0.0)


def test_no_spread_gives_neither_interval_nor_p_and_stays_in_the_family(
    scores, plan, states, machines
):
    baseline = np.array([0.80, 0.85, 0.82, 0.88, 0.81, 0.86])
    table = contrasts(
        put(put(scores, "baseline", baseline), "drop", baseline + 0.03), plan, states, machines
    )
    contrast, other = row(table, "drop"), row(table, "pool")
    assert (contrast.verdict, contrast.n) == ("inconclusive", 6)
    assert contrast.difference == pytest.approx(0.03)
    assert np.isnan(
        [
            contrast.low,
            contrast.high,
            contrast.p,
            contrast.p_holm,
            contrast.detectable,
            contrast.seeds_needed,
        ]
    ).all()
    assert (
        contrast.p_sign_flip == 2 / 2**6
    )  # all up: that is something, though Student's t knows no spread
    assert other.p_holm == pytest.approx(min(1, 2 * other.p))


def test_a_gap_part_that_is_zero_everywhere_has_no_correlation(scores, plan, states, machines):
    zeros = np.zeros(6)
    scores = put(
        put(scores, "baseline", zeros, *WHERE["gap_noise"]), "drop", zeros, *WHERE["gap_noise"]
    )
    contrast = row(contrasts(scores, plan, states, machines), "drop", "gap_noise")
    assert (contrast.difference, contrast.baseline_mean) == (0, 0)
    assert np.isnan([contrast.low, contrast.p, contrast.correlation]).all()


@pytest.mark.parametrize("left", [0, 1])
def test_fewer_than_two_pairs_decide_nothing(left, scores, plan, states, machines):
    for seed in [*SEEDS][left:]:
        states[f"drop{seed}"] = "diverged"
    contrast = row(contrasts(scores, plan, states, machines), "drop")
    assert (contrast.n, contrast.diverged, contrast.verdict) == (left, 6 - left, "inconclusive")
    assert np.isnan(
        [
            contrast.low,
            contrast.high,
            contrast.p,
            contrast.p_holm,
            contrast.detectable,
            contrast.correlation,
        ]
    ).all()
    assert np.isnan([contrast.p_sign_flip, contrast.seeds_needed, contrast.seed_error]).all()
    assert np.isfinite(contrast.difference) == bool(left)


def test_an_arm_without_planned_runs_has_its_row(scores, plan, states, machines):
    thin = plan.model_copy(update={"runs": plan.runs[:12]})
    contrast = row(contrasts(scores, thin, states, machines), "pool")
    assert (contrast.planned, contrast.n, contrast.setting, contrast.verdict) == (
        0,
        0,
        {},
        "inconclusive",
    )


def test_the_same_comparison_in_two_studies_counts_once(plan, scores, states, machines):
    """Without it the family is as before; an arm with the runs of its reference is equivalent."""
    alone = contrasts(scores, plan, states, machines)
    runs = {
        arm: [
            run.model_copy(update={"study": "two", "arm": arm})
            for run in plan.runs
            if run.arm == of
        ]
        for arm, of in (("baseline", "baseline"), ("again", "drop"), ("own", "baseline"))
    }
    arms = tuple(PlannedArm(name=name) for name in runs)
    two = PlannedStudy(name="two", question="?", arms=arms)
    more = plan.model_copy(
        update={
            "studies": (*plan.studies, two),
            "runs": (*plan.runs, *itertools.chain(*runs.values())),
        }
    )
    table = contrasts(scores, more, states, machines, counted(plan), drawn(plan))
    primary = table[table["metric"] == "test_accuracy"].set_index("arm")
    assert primary["repeats"].to_dict() == {
        **{"drop": False, "pool": False, "again": True, "own": True}
    }
    before = row(alone, "drop")
    p_values = [before.p, row(alone, "pool").p]
    adjusted = multipletests(p_values, method="holm")[1]
    assert primary["p_holm"].to_dict() == pytest.approx(
        {"drop": adjusted[0], "pool": adjusted[1], "again": adjusted[0], "own": nan}, nan_ok=True
    )
    assert primary.loc["again", "verdict"] == primary.loc["drop", "verdict"]
    assert primary.loc["own", ["verdict", "verdict_other_images"]].to_list() == ["equivalent"] * 2
    assert primary.loc["own", "difference"] == 0
    assert row(alone, "drop").detectable == primary.loc["drop", "detectable"]
