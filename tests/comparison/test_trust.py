"""Trust checks: for each, rows that pass and rows that fail.

Tuning of the baseline, interior settings, gains on validation, length of training, simple
classifiers, other test images, numbers of seeds, numbers of trials, kinds of machine.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_data import NAN, SEEDS, planned

from pipeline.comparison.trust import COLUMNS, Check, seeds_required, trust
from pipeline.config.plan import TUNING, Plan, PlannedLooks, Setting

Row = dict[str, Any]

MACHINE = {"cpu_capability": "AVX2", "threads": 1, "device": "cpu"}
ARMS = ("a", "b", "c")
TRIALS = 5  # of a search that is not widened


@pytest.fixture
def plan() -> Plan:
    """Return a plan with three runs of a baseline and of the arms `a`, `b` and `c`."""
    return planned("confirmation", {"one": dict.fromkeys(ARMS, "deterministic")})


def search(arm: str, **changed: Any) -> Row:
    """Return the row of a search that found a setting inside its space."""
    usual = {
        "study": "one",
        "arm": arm,
        "trials": TRIALS,
        "first_trials": TRIALS,
        "seeds": 2,
        "ordered": True,
        "edge": False,
        "exhausted": False,
        "at_bound": False,
        "place": f"{arm}.rate=0.5",
        "widened": 0,
        "gain": 0.01,
        "gain_low": NAN,
        "gain_high": NAN,
        "chosen": True,
    }
    return usual | changed


def contrast(arm: str, **changed: Any) -> Row:
    """Return the row of an arm that helps, on other test images too."""
    usual = {
        "study": "one",
        "arm": arm,
        "metric": "test_accuracy",
        "n": 12,
        "difference": 0.02,
        "low_images": 0.009,
        "high_images": 0.031,
        "verdict": "helps",
        "verdict_other_images": "helps",
        "repeats": False,
    }
    return usual | changed


def history(*accuracies: float, epochs: int = 9) -> list[Row]:
    """Return a curve with these validation accuracies at equal distances; training ends at 1."""
    step = epochs // len(accuracies)
    rows = []
    for number, accuracy in enumerate(accuracies, 1):
        epoch = step * number
        rows.append({"epoch": epoch, "split": "train", "accuracy": 1.0})
        rows.append({"epoch": epoch, "split": "validation", "accuracy": accuracy})
    return rows


def validation_scores(plan: Plan, **accuracies: list[float]) -> pd.DataFrame:
    """Return the validation accuracies of arms by seed, beside zeros that are something else."""
    others = [
        ("noise", 12, "validation", "accuracy"),
        ("deterministic", 1, "test", "accuracy"),
        ("deterministic", 1, "validation", "nll"),
    ]
    fingerprints = {(run.arm, run.seed): run.fingerprint for run in plan.runs}
    rows: list[tuple[Any, ...]] = []
    for arm, values in accuracies.items():
        for seed, value in zip(SEEDS, values, strict=True):
            run = fingerprints[arm, seed]
            rows += [(run, *other, 0.0) for other in others]
            rows.append((run, "deterministic", 1, "validation", "accuracy", value))
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def checked(
    plan: Plan,
    check: Check,
    *,
    searches: Iterable[Row] = (),
    histories: dict[str, list[Row]] | None = None,
    scores: pd.DataFrame | None = None,
    references: Iterable[tuple[str, int, float]] = (),
    contrasts: Iterable[Row] | None = None,
    repeats_of_parts: Iterable[bool] = (),
    records: dict[str, Row] | None = None,
) -> pd.DataFrame:
    """Return the rows of one check by arm, from the sources that are given."""
    if contrasts is None:
        contrasts = [contrast(arm) for arm in ARMS]
    reference_columns = ["classifier", "seed", "validation_accuracy"]
    tables = {
        "contrasts": pd.DataFrame(contrasts),
        "parts": pd.DataFrame({"repeats": list(repeats_of_parts)}),
        "scores": validation_scores(plan) if scores is None else scores,
        "references": pd.DataFrame(references, columns=reference_columns),
    }
    rows = trust(plan, records or {}, histories or {}, tables, list(searches))
    assert tuple(rows.columns) == COLUMNS
    assert set(rows[["value", "low", "high", "limit"]].dtypes) == {np.dtype(float)}
    return rows[rows["check"] == check].set_index("arm")


# Tuning


@pytest.mark.parametrize(
    ("changed", "passed"),
    [
        pytest.param({}, True, id="inside"),
        pytest.param({"edge": True}, False, id="at-the-edge"),
        pytest.param({"edge": True, "at_bound": True}, True, id="at-a-bound-of-its-field"),
        pytest.param({"chosen": False}, False, id="nothing-chosen"),
        pytest.param({"trials": 1}, False, id="one-trial"),
    ],
)
def test_the_baseline_is_tuned_inside_its_space(plan: Plan, changed: Row, passed: bool) -> None:
    baseline = search("baseline", **changed)
    other = search("a", edge=passed)  # opposite, so that its row is not taken
    row = checked(plan, Check.TUNED, searches=[baseline, other]).loc["baseline"]
    assert row["passed"] == passed
    assert row["value"] == baseline["trials"]
    assert row["subject"] == baseline["place"]
    assert row["at_bound"] == baseline["at_bound"]


def test_a_protocol_without_tuning_fails(plan: Plan) -> None:
    row = checked(plan, Check.TUNED, searches=[search("a")]).loc["baseline"]
    assert not row["passed"]
    assert row["value"] == 0
    assert row["subject"] == ""


def test_spaces_are_interior_or_end_at_a_bound_of_a_field(plan: Plan) -> None:
    searches = [
        search("baseline", edge=True),
        search("a", edge=True, widened=2),
        search("b", edge=True, at_bound=True),
        search("c"),
        search("list", ordered=False, edge=True),
        search("lost", chosen=False, edge=True),
    ]
    rows = checked(plan, Check.INTERIOR, searches=searches)
    assert rows["passed"].to_dict() == {"a": False, "b": True, "c": True}
    assert rows["at_bound"].to_dict() == {"a": False, "b": True, "c": False}
    assert rows.loc["a", "value"] == 2


def test_a_chosen_setting_beats_its_reference_on_validation(plan: Plan) -> None:
    gain = {"gain": 0.001, "gain_low": -0.01, "gain_high": 0.012}
    searches = [
        search("baseline", gain=-0.1),
        search("a", **gain),
        search("b", gain=0.0, gain_low=None, gain_high=None),
        search("c", gain=None),
        search("lost", gain=-0.1, chosen=False),
    ]
    rows = checked(plan, Check.GAIN, searches=searches)
    assert rows["passed"].to_dict() == {"a": True, "b": False}
    assert rows.loc["a", ["value", "low", "high"]].to_list() == list(gain.values())
    assert rows.loc["a", "limit"] == 0


# Length of training


def test_training_is_long_enough_where_validation_accuracy_no_longer_rises(plan: Plan) -> None:
    """A curve of three points has one at two thirds of training; the last value differs by seed."""
    last = {"baseline": [0.9, 0.901, 0.902], "a": [0.8, 0.806, 0.812], "b": [0.7, 0.8, 0.99]}
    at_two_thirds = 0.8
    histories = {}
    for place, seed in enumerate(SEEDS):
        histories[f"baseline{seed}"] = history(0.5, at_two_thirds, last["baseline"][place])
        histories[f"onea{seed}"] = history(0.1, at_two_thirds, last["a"][place])
        histories[f"oneb{seed}"] = history(0.5, at_two_thirds, last["b"][place])
        histories[f"onec{seed}"] = history(0.9)  # a single point shows no change

    rows = checked(plan, Check.BUDGET, histories=histories)
    rises = {arm: np.mean(values) - at_two_thirds for arm, values in last.items()} | {"c": NAN}
    assert rows["value"].to_dict() == pytest.approx(rises, nan_ok=True)
    assert set(rows["limit"]) == {plan.margin}
    passed = {arm: rise <= plan.margin for arm, rise in rises.items()}
    assert passed == {"baseline": False, "a": True, "b": False, "c": False}
    assert rows["passed"].to_dict() == passed
    assert rows.loc["a", "high"] > plan.margin  # the mean decides, not its interval
    assert rows.loc["b", "low"] < 0 < rows.loc["b", "high"]


def test_two_thirds_of_a_stopped_run_are_of_its_own_epochs(plan: Plan) -> None:
    """Of 8 epochs with a point every second, two thirds are between epochs 4 and 6."""
    histories = {f"baseline{SEEDS[0]}": history(0.5, 0.6, 0.8, 0.9, epochs=8)}
    row = checked(plan, Check.BUDGET, histories=histories).loc["baseline"]
    share = (8 * 2 / 3 - 4) / 2
    at_two_thirds = 0.6 + share * (0.8 - 0.6)
    assert row["value"] == pytest.approx(0.9 - at_two_thirds)
    assert not row["passed"]


def test_a_shared_baseline_is_checked_once() -> None:
    plan = planned("confirmation", {"one": {"a": "deterministic"}, "two": {"b": "deterministic"}})
    histories = {run.fingerprint: history(0.5, 0.5, 0.5) for run in plan.runs}
    contrasts = [contrast("a"), contrast("b", study="two")]
    rows = checked(plan, Check.BUDGET, histories=histories, contrasts=contrasts)
    assert list(rows.index) == ["baseline", "a", "b"]


def with_setting(plan: Plan, arm: str, setting: Setting, tuned: Row | None = None) -> Plan:
    """Return a plan in which one arm has this setting."""
    runs = [
        run.model_copy(update={"setting": setting}) if run.arm == arm else run for run in plan.runs
    ]
    return plan.model_copy(update={"runs": tuple(runs), "tuned": tuned or {}})


def trained_for(epochs: int, **changed: Any) -> Setting:
    """Return the setting of an arm with other epochs than those of the plan, which are 2."""
    return {"protocol": {"training.epochs": epochs, **changed}}


def gain_of_longer(difference: float, n: int = 3) -> list[Row]:
    """Return the contrasts of arm `b`, with this difference in validation accuracy."""
    bounds = {"low": difference - 0.01, "high": difference + 0.01}
    validation = contrast("b", metric="validation_accuracy", difference=difference, n=n, **bounds)
    return [contrast("b"), validation, contrast("b", metric="validation_nll", difference=9.0)]


@pytest.mark.parametrize("gain", [-0.02, 0.01, 0.011])
def test_what_longer_training_gains_decides_for_the_arm_that_is_its_reference(
    plan: Plan, gain: float
) -> None:
    longer = with_setting(plan, "b", trained_for(4))
    (row,) = (
        checked(longer, Check.LONGER, contrasts=gain_of_longer(gain))
        .reset_index()
        .to_dict("records")
    )
    named = {"study": "one", "arm": "baseline", "subject": "b", "passed": gain <= plan.margin}
    numbers = {"value": gain, "low": gain - 0.01, "high": gain + 0.01, "limit": plan.margin}
    assert row | named == row
    assert {key: row[key] for key in numbers} == pytest.approx(numbers)


@pytest.mark.parametrize(("gain", "is_relative"), [(0.005, True), (0.05, False)])
def test_where_longer_training_gains_nothing_only_a_larger_rise_counts(
    plan: Plan, gain: float, is_relative: bool
) -> None:
    """Rises are paired by seed; the reference and its longer variant are not checked again."""
    rises = {"baseline": [0.03, 0.04, 0.05], "a": [0.03, 0.05, 0.055], "c": [0.06, 0.06, 0.06]}
    histories = {}
    for place, seed in enumerate(SEEDS):
        for arm, values in rises.items():
            name = f"{'' if arm == 'baseline' else 'one'}{arm}{seed}"
            histories[name] = history(0.5, 0.8, 0.8 + values[place])
        histories[f"oneb{seed}"] = history(0.5, 0.6, 0.9)
    del histories[f"baseline{SEEDS[0]}"]
    longer = with_setting(plan, "b", trained_for(4))

    rows = checked(longer, Check.BUDGET, histories=histories, contrasts=gain_of_longer(gain))
    alone = {"a": np.mean(rises["a"]), "c": np.mean(rises["c"])}
    paired = {"a": (0.01 + 0.005) / 2, "c": (0.02 + 0.01) / 2}
    assert rows["value"].to_dict() == pytest.approx(paired if is_relative else alone)
    assert set(rows["subject"]) == {"baseline" if is_relative else ""}
    assert rows["passed"].to_dict() == {"a": is_relative, "c": False}


@pytest.mark.parametrize(
    ("setting", "tuned", "is_longer"),
    [
        (trained_for(4), {}, True),
        (trained_for(9), {}, True),
        (trained_for(4, **{"training.learning_rate": 0.1}), {"training.learning_rate": 0.2}, True),
        (trained_for(3), {}, False),
        (trained_for(4, **{"training.learning_rate": 0.1}), {}, False),
        (trained_for(4) | {"dropout": {"rate": 0.5}}, {}, False),
        ({}, {}, False),
    ],
)
def test_a_longer_training_changes_at_least_twice_the_epochs_and_nothing_else(
    plan: Plan, setting: Setting, tuned: Row, is_longer: bool
) -> None:
    changed = with_setting(plan, "b", setting, tuned)
    rows = checked(changed, Check.LONGER, contrasts=gain_of_longer(0.0))
    assert list(rows["subject"]) == (["b"] if is_longer else [])
    assert checked(changed, Check.LONGER, contrasts=gain_of_longer(NAN, n=0)).empty


# Simple classifiers


def test_a_baseline_is_compared_with_each_classifier_by_seed(plan: Plan) -> None:
    baseline = [0.8, 0.9, 0.7]
    low = [0.6, 0.72, 0.5]
    high = [0.83, None, 0.71]  # not run at the second seed
    scores = validation_scores(plan, baseline=baseline, a=[1.0, 1.0, 1.0])
    references = [("low", seed, accuracy) for seed, accuracy in zip(SEEDS, low, strict=True)]
    references += [("near", seed, 0.7) for seed in SEEDS]
    references += [("high", SEEDS[0], high[0]), ("high", SEEDS[2], high[2])]

    rows = checked(plan, Check.REFERENCES, scores=scores, references=references)
    rows = rows.set_index("subject")
    mean_differences = {
        "low": np.mean(np.subtract(baseline, low)),
        "near": np.mean(np.subtract(baseline, 0.7)),
        "high": ((baseline[0] - high[0]) + (baseline[2] - high[2])) / 2,
    }
    assert rows["value"].to_dict() == pytest.approx(mean_differences)
    assert rows["passed"].to_dict() == {"low": True, "near": False, "high": False}
    assert rows.loc["near", "low"] < 0 < rows.loc["near", "high"]


def test_a_baseline_without_a_run_is_above_nothing(plan: Plan) -> None:
    rows = checked(plan, Check.REFERENCES, references=[("low", SEEDS[0], 0.1)])
    assert list(rows["passed"]) == [False]


# Other test images


def test_a_verdict_holds_on_other_test_images_where_it_is_the_same(plan: Plan) -> None:
    changes = contrast("b", verdict_other_images="inconclusive")
    neither = contrast("c", verdict="inconclusive", verdict_other_images="inconclusive")
    rows = checked(plan, Check.IMAGES, contrasts=[contrast("a"), changes, neither])
    assert rows["passed"].to_dict() == {"a": True, "b": False}
    numbers = [changes[name] for name in ("difference", "low_images", "high_images")]
    assert rows.loc["b", ["value", "low", "high"]].to_list() == numbers


# Seeds


@pytest.mark.parametrize(("arms", "seeds"), [(1, 6), (3, 7), (13, 10), (20, 10), (26, 11)])
def test_the_exact_test_can_be_significant_with_enough_seeds(arms: int, seeds: int) -> None:
    def least_p(seeds: int) -> float:
        """Return the least p of sign flips after Holm's correction."""
        return arms * 2 / 2**seeds

    assert seeds_required(arms) == seeds
    assert least_p(seeds) <= 0.05 < least_p(seeds - 1)


@pytest.fixture
def seeds_of_arms() -> list[Row]:
    """Return contrasts of three arms with 7, 6 and 12 seeds, and one that repeats another."""
    twin = contrast("twin", repeats=True)
    return [contrast("a", n=7), contrast("b", n=6), contrast("c", n=12), twin]


def test_every_arm_needs_enough_seeds(plan: Plan, seeds_of_arms: list[Row]) -> None:
    rows = checked(plan, Check.SEEDS, contrasts=seeds_of_arms)
    assert set(rows["limit"]) == {seeds_required(3)} == {7}
    assert rows["passed"].to_dict() == {"a": True, "b": False, "c": True}


def test_parts_of_arms_need_more_seeds(plan: Plan, seeds_of_arms: list[Row]) -> None:
    repeats = [False, True, False]
    rows = checked(plan, Check.SEEDS, contrasts=seeds_of_arms, repeats_of_parts=repeats)
    assert set(rows["limit"]) == {seeds_required(3 + 2)} == {8}


def test_looks_need_as_many_seeds_as_arms_over_their_weight(
    plan: Plan, seeds_of_arms: list[Row]
) -> None:
    looks = PlannedLooks(seeds=(2, 3), weights=(0.5, 0.5))
    with_looks = plan.model_copy(update={"looks": looks})
    rows = checked(with_looks, Check.SEEDS, contrasts=seeds_of_arms)
    assert set(rows["limit"]) == {seeds_required(3 / 0.5)} == {8}


# Trials


@pytest.fixture
def plan_of_a_chain() -> Plan:
    """Return a plan in which `c` is compared with `b`; `d` has one setting, as it states."""
    plan = planned("confirmation", {"one": dict.fromkeys((*ARMS, "d"), "deterministic")})
    (study,) = plan.studies
    arms = []
    for arm in study.arms:
        against = "b" if arm.name == "c" else arm.against
        arms.append(arm.model_copy(update={"against": against}))
    changed = study.model_copy(update={"arms": tuple(arms)})
    return plan.model_copy(update={"studies": (changed,)})


TUNED_BASELINE = search("baseline", study=TUNING)
MORE_TRIALS = search("a", first_trials=TRIALS + 3)
WIDENED = search("b", trials=TRIALS + 2, widened=2)
FEWER_TRIALS = search("c", first_trials=TRIALS - 2, trials=TRIALS, widened=2)
SEARCHES = (TUNED_BASELINE, MORE_TRIALS, WIDENED, FEWER_TRIALS)


def test_an_arm_has_as_many_trials_as_its_reference_but_for_widening(plan_of_a_chain: Plan) -> None:
    rows = checked(plan_of_a_chain, Check.TRIALS, searches=SEARCHES)
    assert rows["subject"].to_dict() == {"a": "baseline", "b": "baseline", "c": "b"}
    assert rows["value"].to_dict() == {"a": TRIALS + 3, "b": TRIALS, "c": TRIALS - 2}
    assert rows["limit"].to_dict() == dict.fromkeys(ARMS, TRIALS)
    assert rows["passed"].to_dict() == {"a": False, "b": True, "c": False}


def test_fewer_trials_pass_and_more_do_not_where_no_other_setting_is_left(
    plan_of_a_chain: Plan,
) -> None:
    exhausted = [row | {"exhausted": True} for row in SEARCHES]
    rows = checked(plan_of_a_chain, Check.TRIALS, searches=exhausted)
    assert rows["passed"].to_dict() == {"a": False, "b": True, "c": True}


def test_a_reference_that_is_not_searched_has_one_trial(plan_of_a_chain: Plan) -> None:
    """A baseline that is not tuned fails another check: `a` has no row."""
    rows = checked(plan_of_a_chain, Check.TRIALS, searches=[MORE_TRIALS, FEWER_TRIALS])
    assert list(rows.index) == ["c"]
    assert not rows.loc["c", "passed"]
    assert rows.loc["c", "limit"] == 1


# Machines


def test_runs_of_one_kind_of_machine_pass(plan: Plan) -> None:
    records = {run.fingerprint: {"machine": MACHINE} for run in plan.runs}
    row = checked(plan, Check.MACHINE, records=records).iloc[0]
    assert row["passed"]
    assert row["value"] == len(plan.runs)
    assert row["subject"] == "cpu_capability=AVX2, threads=1, device=cpu"


def test_runs_of_another_machine_are_counted_and_fail(plan: Plan) -> None:
    records: dict[str, Row] = {run.fingerprint: {"machine": MACHINE} for run in plan.runs}
    records["baseline1000"] = {"machine": MACHINE | {"threads": 2}}
    records["baseline1001"] = {}  # of no known machine
    most, other = checked(plan, Check.MACHINE, records=records).to_dict("records")
    assert most["passed"]
    assert most["value"] == len(plan.runs) - 2
    assert not other["passed"]
    assert other["value"] == 1
