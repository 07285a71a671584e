"""What two things do together against the sum of what each does: arms, seeds and numbers."""

from math import nan

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from transferred import planted

from pipeline.comparison import interactions as module
from pipeline.comparison.contrasts import METRICS as CONTRASTED
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.interactions import (
    COLUMNS,
    METRICS,
    against_better_parts,
    changes,
    part_contrasts,
)
from pipeline.comparison.intervals import detectable
from pipeline.comparison.matching import WHERE, compared, outcomes
from pipeline.comparison.significance import equivalence_p, holm
from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.runtime.errors import Refusal

SEEDS = range(1000, 1008)
RULES = {"baseline": DETERMINISTIC, "pool": NOISE, "shift": DETERMINISTIC, "both": NOISE}
PARTS = {
    "baseline": (),
    "pool": ("pooling",),
    "shift": ("augmentation",),
    "both": ("augmentation", "pooling"),
}


def planned(studies):
    """Return a plan of studies, each a mapping from arm to (rule, arm that it is compared with)."""
    described = tuple(
        PlannedStudy(
            name=study,
            question="?",
            arms=tuple(
                PlannedArm(name=arm, rule=rule, against=against)
                for arm, (rule, against) in arms.items()
            ),
        )
        for study, arms in studies.items()
    )
    runs = tuple(
        PlannedRun(study=study, arm=arm, seed=seed, fingerprint=f"{study}.{arm}.{seed}")
        for study, arms in studies.items()
        for arm in arms
        for seed in SEEDS
    )
    protocol = {
        "protocol": "tiny",
        "phase": "confirmation",
        "settings": {},
        "margin": 0.01,
        "data_digest": "d",
    }
    return Plan(**protocol, studies=described, runs=runs)


@pytest.fixture
def plan():
    return planned({"one": {arm: (rule, "baseline") for arm, rule in RULES.items()}})


@pytest.fixture
def parts():
    return {("one", arm): frozenset(each) for arm, each in PARTS.items()}


@pytest.fixture
def scores(plan):
    return drawn(plan)


def drawn(plan):
    generator = np.random.default_rng(4)
    rows = [
        (
            *(run, rule.view, rule.members, *WHERE[metric]),
            generator.normal(0.8, 0.05) + 0.1 * (rule == NOISE),
        )
        for run in plan.fingerprints()
        for metric in METRICS
        for rule in ((DETERMINISTIC,) if metric == "gap" else (DETERMINISTIC, NOISE))
    ]
    return pd.DataFrame(
        rows, columns=["fingerprint", "view", "members", "split", "metric", "value"]
    )


@pytest.fixture
def states(plan):
    return dict.fromkeys(plan.fingerprints(), "done")


@pytest.fixture
def machines(plan):
    return {run: {"cpu_capability": "AVX512", "threads": 1} for run in plan.fingerprints()}


def interactions(scores, plan, states, machines, parts):
    return module.interactions(plan, outcomes(scores, states, machines), parts)


def of(scores, arm, metric, seeds=SEEDS):
    rule = DETERMINISTIC if metric == "gap" else RULES[arm]
    split, name = WHERE[metric]
    members = (scores["view"] == rule.view) & (scores["members"] == rule.members)
    rows = scores[members & (scores["split"] == split) & (scores["metric"] == name)]
    return (
        rows.set_index("fingerprint")["value"]
        .loc[[f"one.{arm}.{seed}" for seed in seeds]]
        .to_numpy()
    )


@pytest.mark.parametrize("metric", METRICS)
def test_an_interaction_is_the_effect_of_both_less_the_sum_under_each_arms_own_rule(
    metric, scores, plan, states, machines, parts
):
    table = interactions(scores, plan, states, machines, parts)
    assert tuple(table.columns) == COLUMNS
    assert list(table["metric"]) == list(METRICS)
    row = table[table["metric"] == metric].iloc[0]
    pool, shift, both = (
        of(scores, arm, metric) - of(scores, "baseline", metric)
        for arm in ("pool", "shift", "both")
    )
    expected = stats.ttest_1samp(both - pool - shift, 0)
    assert row[["study", "arm", "first", "second", "n"]].tolist() == [
        "one",
        "both",
        "pool",
        "shift",
        8,
    ]
    assert (row["effect"], row["sum"]) == pytest.approx((both.mean(), pool.mean() + shift.mean()))
    assert (row["difference"], row["p"]) == pytest.approx(
        ((both - pool - shift).mean(), expected.pvalue)
    )
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert row["excludes_zero"] == (expected.pvalue < 0.05)
    middle = detectable((both - pool - shift).std(ddof=1), 8, 0.05)
    sizes = [row[name] for name in ("detectable", "detectable_low", "detectable_high")]
    # the quantiles 10 and 90 % of chi-square with 7 degrees of freedom are 2.833 and 12.017
    least, most = np.sqrt(7 / np.array([12.017, 2.833])) * middle
    assert sizes == pytest.approx([middle, least, most], rel=1e-4)
    flips = stats.permutation_test(
        (both - pool - shift,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert row["p_sign_flip"] == pytest.approx(flips.pvalue)


def test_only_whole_and_equal_parts_make_a_pair(scores, plan, states, machines, parts):
    assert len(interactions(scores, plan, states, machines, parts)) == 3
    for parts_of_both in (
        ("augmentation", "pooling of another strength"),
        ("augmentation",),
        ("augmentation", "pooling", "more"),
    ):
        other = {**parts, ("one", "both"): frozenset(parts_of_both)}
        assert interactions(scores, plan, states, machines, other).empty
    overlapping = {
        **parts,
        ("one", "pool"): frozenset({"pooling", "augmentation"}),
        ("one", "both"): frozenset({"pooling"}),
    }
    assert interactions(scores, plan, states, machines, overlapping)["arm"].unique().tolist() == [
        "pool"
    ]
    unknown = {key: value for key, value in parts.items() if key[1] != "shift"}
    assert interactions(scores, plan, states, machines, unknown).empty
    assert tuple(interactions(scores, plan, states, machines, unknown).columns) == COLUMNS


def test_an_arm_of_three_has_every_pair_of_parts_there_is():
    plan = planned(
        {
            "one": dict.fromkeys(
                ["baseline", "a", "b", "c", "ab", "abc"], (DETERMINISTIC, "baseline")
            )
        }
    )
    parts = {
        ("one", arm): frozenset(arm if arm != "baseline" else "")
        for arm in ("baseline", "a", "b", "c", "ab", "abc")
    }
    states, machines = (
        dict.fromkeys(plan.fingerprints(), "done"),
        dict.fromkeys(plan.fingerprints(), "x"),
    )
    table = interactions(drawn(plan), plan, states, machines, parts)
    pairs = table[["arm", "first", "second"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [["ab", "a", "b"], ["abc", "c", "ab"]]


def test_parts_are_looked_for_in_one_study_and_against_the_baseline_alone():
    arms = dict.fromkeys(("baseline", "pool", "both"), (DETERMINISTIC, "baseline"))
    plan = planned({"one": arms, "two": {"baseline": arms["baseline"], "shift": arms["pool"]}})
    parts = {("one", arm): frozenset(PARTS[arm]) for arm in arms} | {
        ("two", "shift"): frozenset(PARTS["shift"])
    }
    states, machines = (
        dict.fromkeys(plan.fingerprints(), "done"),
        dict.fromkeys(plan.fingerprints(), "x"),
    )
    assert interactions(drawn(plan), plan, states, machines, parts).empty
    plan = planned({"one": arms | {"shift": (DETERMINISTIC, "pool")}})
    parts = {("one", arm): frozenset(PARTS[arm]) for arm in PARTS}
    states, machines = (
        dict.fromkeys(plan.fingerprints(), "done"),
        dict.fromkeys(plan.fingerprints(), "x"),
    )
    assert interactions(drawn(plan), plan, states, machines, parts).empty


def test_a_seed_counts_where_all_four_are_done_on_one_kind_of_machine(
    scores, plan, states, machines, parts
):
    states["one.shift.1001"] = "diverged"
    states["one.baseline.1002"] = "missing"
    machines["one.both.1003"] = {"cpu_capability": "AVX2", "threads": 1}
    scores.loc[
        (scores["fingerprint"] == "one.pool.1004") & (scores["metric"] == "nll"), "value"
    ] = nan
    table = interactions(scores, plan, states, machines, parts).set_index("metric")
    assert table["n"].to_dict() == {"test_accuracy": 5, "test_nll": 4, "gap": 5}
    kept = [1000, 1004, 1005, 1006, 1007]
    values = [
        of(scores, arm, "test_accuracy", kept) for arm in ("both", "pool", "shift", "baseline")
    ]
    both, pool, shift, baseline = values
    assert table["difference"]["test_accuracy"] == pytest.approx(
        (both - pool - shift + baseline).mean()
    )
    assert table["sum"]["test_accuracy"] == pytest.approx((pool + shift - 2 * baseline).mean())


def test_one_seed_has_no_interval_and_a_lost_score_raises(scores, plan, states, machines, parts):
    for seed in [*SEEDS][1:]:
        states[f"one.both.{seed}"] = "failed"
    row = interactions(scores, plan, states, machines, parts).iloc[0]
    assert row["n"] == 1
    assert np.isfinite(row["difference"])
    assert row[["low", "high", "p", "p_sign_flip", "detectable"]].isna().all()
    with pytest.raises(Refusal, match=r"one\.shift\.1000"):
        interactions(
            scores[scores["fingerprint"] != "one.shift.1000"], plan, states, machines, parts
        )


def config(*regularizers, seed=0, **model):
    settings = {
        "data": {"dataset": "digits"},
        "model": {"batch_norm": True, **model},
        "training": {"epochs": 2},
    }
    return RunConfig(**settings, regularizers=regularizers, streams=Streams.of(seed))


def test_what_an_arm_changes_is_its_regularizers_and_protocol_values():
    dropout = {"name": "dropout", "rate": 0.5}
    assert changes(config(dropout, seed=3, batch_norm=False), config()) == {
        '{"name": "dropout", "rate": 0.5}',
        '["model.batch_norm", false]',
    }
    assert changes(config({"rate": 0.5, "name": "dropout"}), config()) == changes(
        config(dropout), config()
    )
    assert changes(config({**dropout, "rate": 0.25}), config()).isdisjoint(
        changes(config(dropout), config())
    )
    assert changes(config(), config(seed=1)) == frozenset()


# in simulation

PLANTED = 0.03


def reports(effect, count, seed):
    """Return tables of `count` studies at once, each with the interaction `effect` in accuracy."""
    plan = planned(
        {f"s{number}": dict.fromkeys(RULES, (DETERMINISTIC, "baseline")) for number in range(count)}
    )
    generator = np.random.default_rng(seed)
    shared, single = (
        generator.normal(0.9, 0.02, (count, 1, len(SEEDS))),
        generator.normal(0, 0.01, (count, 4, len(SEEDS))),
    )
    truth = np.array([0, 0.02, 0.03, 0.02 + 0.03 + effect])[:, None]  # baseline, pool, shift, both
    scores = pd.DataFrame(
        {"fingerprint": plan.fingerprints(), "value": (shared + single + truth).ravel()}
    )
    scores = pd.concat(
        [
            scores.assign(view="deterministic", members=1, split=split, metric=name)
            for split, name in map(WHERE.get, METRICS)
        ]
    )
    states, machines = (
        dict.fromkeys(plan.fingerprints(), "done"),
        dict.fromkeys(plan.fingerprints(), "x"),
    )
    parts = {(study.name, arm): frozenset(PARTS[arm]) for study in plan.studies for arm in RULES}
    table = interactions(scores, plan, states, machines, parts)
    return table[table["metric"] == "test_accuracy"]


def test_none_is_invented_on_additive_data_and_a_planted_one_is_found():
    additive = reports(0.0, 1000, 1)
    covered = (additive["low"] <= 0) & (additive["high"] >= 0)
    assert 0.93 <= covered.mean() <= 0.97
    planted = reports(PLANTED, 400, 2)
    assert planted["difference"].mean() == pytest.approx(PLANTED, abs=0.002)
    assert ((planted["p"] < 0.05) & (planted["difference"] > 0)).mean() > 0.85
    assert ((planted["low"] <= PLANTED) & (planted["high"] >= PLANTED)).mean() > 0.93


def test_two_effects_held_against_each_other_would_not_do():
    """The better part against both is no interaction: on additive data it finds one every time."""
    additive = reports(0.0, 200, 3)
    assert (additive["effect"] - 0.03 > 2.36 * 0.01 * np.sqrt(2 / len(SEEDS))).mean() > 0.7
    assert (additive["p"] < 0.05).mean() < 0.1


def test_what_a_run_starts_from_and_what_it_trains_are_changes():
    made = planted()
    changed = module.arm_changes(made.plan, made.read)
    similar, different = (changed["modes", arm] for arm in ("head_similar_10", "head_different_10"))
    assert similar - different == {"start.from: similar"}
    assert different - similar == {"start.from: different"}
    fine = changed["modes", "all_similar_10"]
    assert len(similar - fine) == len(fine - similar) == 1  # start.train
    assert changed["modes", "baseline"] == frozenset()


COSTS = {"training_flops": 2, "forward_flops": 1}
NO_HITS = {}


def with_accuracies(plan, means):
    """Return outcomes with a validation and a test accuracy for every arm, and noise of a seed."""
    generator = np.random.default_rng(6)
    split_of = {"validation": 0, "test": 1, "train_validation": 0}
    rows = [
        (run.fingerprint, rule.view, rule.members, split, metric, value)
        for run in plan.runs
        for rule in (DETERMINISTIC, NOISE)
        for split, metric in WHERE.values()
        for value in [means[run.arm][split_of[split]] + generator.normal(0, 0.002)]
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    names = plan.fingerprints()
    table = pd.DataFrame(rows, columns=columns)
    return outcomes(table, dict.fromkeys(names, "done"), dict.fromkeys(names, "m"))


def test_a_pair_is_compared_with_the_part_that_is_better_on_validation(plan, parts):
    """The test set says the opposite, and is not asked."""
    means = {"baseline": (0.8, 0.8), "pool": (0.86, 0.82), "shift": (0.84, 0.9), "both": (0.9, 0.9)}
    with_scores = with_accuracies(plan, means)
    besides = against_better_parts(plan, with_scores, parts)
    assert [arm.pair()[0].described.name for arm in besides] == ["pool"]
    costs = dict.fromkeys(plan.fingerprints(), COSTS)
    table = contrasts(plan, with_scores, costs, NO_HITS, besides=besides)
    alone = contrasts(plan, with_scores, costs, NO_HITS)
    last = table.iloc[-len(CONTRASTED) :]
    (row,) = part_contrasts(last, besides).to_dict("records")
    assert (row["arm"], row["better"], row["verdict"]) == ("both", "pool", "helps")
    assert row["difference"] == pytest.approx(0.08, abs=0.003)
    primary = table[table["metric"] == "test_accuracy"]
    ranks = primary["p"].rank(ascending=False)
    assert primary["p_holm"].iloc[3] >= primary["p"].iloc[3] * ranks.iloc[3]
    assert len(table) == len(alone) + len(CONTRASTED)
    arms = alone["metric"] == "test_accuracy"
    assert (primary["p_holm"].iloc[:3].to_numpy() >= alone.loc[arms, "p_holm"].to_numpy()).all()
    width = primary["high_all"] - primary["low_all"]
    assert (width.iloc[:3].to_numpy() > (alone["high_all"] - alone["low_all"])[arms]).all()


def test_the_contrast_with_a_better_part_says_whether_it_holds_on_other_images(plan, parts):
    """Against the part: the images on which the pair and the baseline differ do not count."""
    generator = np.random.default_rng(2)
    same = np.arange(40) % 2
    random = {run: generator.integers(0, 2, 40) for run in plan.fingerprints()}
    steady = {
        run.fingerprint: same if run.arm in ("both", "pool") else random[run.fingerprint]
        for run in plan.runs
    }
    results, arms, _ = compared_with_the_better_part(plan, parts, 0.93)
    besides = arms[-1:]
    costs = dict.fromkeys(plan.fingerprints(), COSTS)
    for hits, expected in ((steady, "helps"), (random, "inconclusive"), (NO_HITS, "inconclusive")):
        rows = contrasts(plan, results, costs, hits, ("test_accuracy",), besides)
        (part,) = part_contrasts(rows.iloc[-1:], besides).to_dict("records")
        assert (part["verdict"], part["verdict_other_images"]) == ("helps", expected)
        if hits is steady:
            bounds = part["low_images"], part["high_images"]
            assert bounds == pytest.approx((part["low"], part["high"]))
    selected = rows.iloc[-1]
    assert np.isnan(selected["total_error"])


def test_a_loss_that_a_selected_part_doubles_may_not_hold_on_other_images(plan, parts):
    results, arms, _ = compared_with_the_better_part(plan, parts, 0.89)
    besides = arms[-1:]
    costs = dict.fromkeys(plan.fingerprints(), COSTS)
    same = dict.fromkeys(plan.fingerprints(), np.arange(40) % 2)
    rows = contrasts(plan, results, costs, same, ("test_accuracy",), besides)
    assert (rows["verdict"] == rows["verdict_other_images"]).all()


def compared_with_the_better_part(plan, parts, accuracy):
    """Return outcomes, arms and contrasts of test accuracy; `pool` is better, at 0.9 on test."""
    means = {"baseline": (0.8, 0.8), "pool": (0.86, 0.9), "shift": (0.84, 0.8)}
    results = with_accuracies(plan, means | {"both": (0.9, accuracy)})
    besides = against_better_parts(plan, results, parts)
    costs = dict.fromkeys(plan.fingerprints(), COSTS)
    table = contrasts(plan, results, costs, NO_HITS, ("test_accuracy",), besides)
    return results, [*compared(plan), *besides], table


def test_a_loss_against_a_selected_part_counts_half(plan, parts):
    _, _, table = compared_with_the_better_part(plan, parts, 0.898)
    last = table.iloc[-1]
    assert last["difference"] < 0
    order = table["p"].where(table.index != last.name, 2 * last["p"]).rank(ascending=False)
    assert last["p_holm"] == pytest.approx(min(1, 2 * last["p"] * order.iloc[-1]))


def test_equivalence_to_a_selected_part_counts_half_for_a_gain(plan, parts):
    results, arms, table = compared_with_the_better_part(plan, parts, 0.909)
    p_values = []
    for arm in arms:
        sides, _ = results.sides(arm.pair())
        reference, measured = results.values(sides, arm.pair(), "test_accuracy")
        p_values.append(equivalence_p(measured - reference, plan.margin))
    assert table["difference"].iloc[-1] > 0
    assert p_values[-1] < 0.5
    p_values[-1] *= 2
    assert table["p_equivalence"].to_numpy() == pytest.approx(holm(np.array(p_values)))
