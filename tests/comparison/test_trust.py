"""Trust checks: each with a planted failure and a planted pass."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_data import NAN, SEEDS, planned

from pipeline.comparison.trust import COLUMNS, Check, seeds_required, trust
from pipeline.config.plan import TUNING, Plan, PlannedLooks

MACHINE = {"cpu_capability": "AVX2", "threads": 1, "device": "cpu"}
ARMS = ("a", "b", "c")


@pytest.fixture
def plan() -> Plan:
    return planned("confirmation", {"one": dict.fromkeys(ARMS, "deterministic")})


def search(arm: str, **changed: Any) -> dict[str, Any]:
    usual = {
        **{"study": "one", "arm": arm, "trials": 5, "first_trials": 5, "seeds": 2},
        **{"ordered": True, "edge": False, "exhausted": False},
        **{"at_bound": False, "place": f"{arm}.rate=0.5", "widened": 0, "gain": 0.01},
        **{"gain_low": NAN, "gain_high": NAN, "chosen": True},
    }
    return usual | changed


def curve(*accuracies: float, epochs: int = 9) -> list[dict[str, Any]]:
    step = epochs // len(accuracies)
    return [
        {"epoch": step * number, "split": split, "accuracy": accuracy if split != "train" else 1.0}
        for number, accuracy in enumerate(accuracies, 1)
        for split in ("train", "validation")
    ]


def contrast(arm: str, **changed: Any) -> dict[str, Any]:
    usual = {
        **{"study": "one", "arm": arm, "metric": "test_accuracy", "n": 12, "difference": 0.02},
        **{"low_images": 0.009, "high_images": 0.031},
        **{"verdict": "helps", "verdict_other_images": "helps"},
        "repeats": False,
    }
    return usual | changed


def scored(plan: Plan, **accuracies: list[float]) -> pd.DataFrame:
    """Return the scores of arms on validation by seed, and others that must not be taken."""
    runs = {(run.arm, run.seed): run.fingerprint for run in plan.runs}
    rows = [
        (runs[arm, seed], view, members, split, metric, value if wanted else 0.0)
        for arm, values in accuracies.items()
        for seed, value in zip(SEEDS, values, strict=True)
        for view, members, split, metric, wanted in (
            ("noise", 12, "validation", "accuracy", False),
            ("deterministic", 1, "test", "accuracy", False),
            ("deterministic", 1, "validation", "nll", False),
            ("deterministic", 1, "validation", "accuracy", True),
        )
    ]
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def checked(plan: Plan, check: Check, **given: Any) -> pd.DataFrame:
    """Return the rows of one check, by arm."""
    tables = {
        "contrasts": pd.DataFrame(given.get("contrasts", [contrast(arm) for arm in ARMS])),
        "parts": pd.DataFrame(given.get("parts", ()), columns=["repeats"]),
        "scores": given.get("scores", scored(plan)),
        "references": pd.DataFrame(
            given.get("references", []), columns=["classifier", "seed", "validation_accuracy"]
        ),
    }
    found = trust(
        plan,
        given.get("records", {}),
        given.get("histories", {}),
        tables,
        given.get("searches", []),
    )
    assert tuple(found.columns) == COLUMNS
    assert set(found[["value", "low", "high", "limit"]].dtypes) == {np.dtype(float)}
    return found[found["check"] == check].set_index("arm")


@pytest.mark.parametrize(
    ("changed", "passed"),
    [
        ({}, True),
        ({"edge": True}, False),
        ({"edge": True, "at_bound": True}, True),
        ({"chosen": False}, False),
        ({"trials": 1}, False),
    ],
)
def test_the_baseline_is_tuned_inside_its_space(
    plan: Plan, changed: dict[str, Any], passed: bool
) -> None:
    searches = [search("baseline", **changed), search("a", edge=not passed)]
    row = checked(plan, Check.TUNED, searches=searches).loc["baseline"]
    trials = changed.get("trials", 5)
    assert (row["passed"], row["value"], row["subject"]) == (passed, trials, "baseline.rate=0.5")
    assert row["at_bound"] == changed.get("at_bound", False)


def test_a_protocol_without_tuning_fails(plan: Plan) -> None:
    row = checked(plan, Check.TUNED, searches=[search("a")]).loc["baseline"]
    assert (row["passed"], row["value"], row["subject"]) == (False, 0, "")


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
    searches = [
        search("baseline", gain=-0.1),
        search("a", gain=0.001, gain_low=-0.01, gain_high=0.012),
        search("b", gain=0.0, gain_low=None, gain_high=None),
        search("c", gain=None),
        search("lost", gain=-0.1, chosen=False),
    ]
    rows = checked(plan, Check.GAIN, searches=searches)
    assert rows["passed"].to_dict() == {"a": True, "b": False}
    assert rows.loc["a", ["value", "low", "high", "limit"]].to_list() == [0.001, -0.01, 0.012, 0.0]


def test_a_budget_is_sufficient_where_validation_accuracy_no_longer_rises(plan: Plan) -> None:
    """From two thirds of training, between points of the curve, to its end."""
    histories = {}
    for place, seed in enumerate(SEEDS):
        histories[f"baseline{seed}"] = curve(0.5, 0.8, 0.9 + place / 1000)
        histories[f"onea{seed}"] = curve(0.1, 0.8, 0.805 + place / 1000)
        histories[f"oneb{seed}"] = curve(0.5, 0.8, (0.7, 0.8, 0.99)[place])
        histories[f"onec{seed}"] = curve(0.9)
    rows = checked(plan, Check.BUDGET, histories=histories)
    passed = {"baseline": False, "a": True, "b": False, "c": False}
    assert rows["passed"].to_dict() == passed
    assert rows["value"].to_dict() == pytest.approx(
        {"baseline": 0.101, "a": 0.006, "b": 0.03, "c": NAN}, nan_ok=True
    )
    assert rows.loc["b", "low"] < 0 < rows.loc["b", "high"]
    assert set(rows["limit"]) == {plan.margin}


def test_the_last_third_begins_between_points_and_at_the_end_of_a_stopped_run(plan: Plan) -> None:
    histories = {f"baseline{SEEDS[0]}": curve(0.5, 0.6, 0.8, 0.9, epochs=8)}
    row = checked(plan, Check.BUDGET, histories=histories).loc["baseline"]
    assert row["value"] == pytest.approx(0.9 - (0.6 + 0.2 * (16 / 3 - 4) / 2))
    assert not row["passed"]


def test_a_baseline_is_compared_with_each_classifier_by_seed(plan: Plan) -> None:
    scores = scored(plan, baseline=[0.8, 0.9, 0.7], a=[1.0, 1.0, 1.0])
    references = [("low", seed, level) for seed, level in zip(SEEDS, (0.6, 0.72, 0.5), strict=True)]
    references += [("near", seed, 0.7) for seed in SEEDS]
    references += [("high", SEEDS[0], 0.83), ("high", SEEDS[2], 0.71)]
    rows = checked(plan, Check.REFERENCES, scores=scores, references=references)
    rows = rows.set_index("subject")
    assert rows["passed"].to_dict() == {"low": True, "near": False, "high": False}
    assert rows["value"].to_dict() == pytest.approx({"low": 0.58 / 3, "near": 0.1, "high": -0.02})
    assert rows.loc["near", "low"] < 0 < rows.loc["near", "high"]


def test_a_baseline_without_a_run_is_above_nothing(plan: Plan) -> None:
    rows = checked(plan, Check.REFERENCES, references=[("low", SEEDS[0], 0.1)])
    assert list(rows["passed"]) == [False]


def test_a_verdict_holds_on_other_test_images_where_it_is_the_same(plan: Plan) -> None:
    contrasts = [
        contrast("a"),
        contrast("b", verdict_other_images="inconclusive"),
        contrast("c", verdict="inconclusive", verdict_other_images="inconclusive"),
    ]
    rows = checked(plan, Check.IMAGES, contrasts=contrasts)
    assert rows["passed"].to_dict() == {"a": True, "b": False}
    assert rows.loc["b", ["value", "low", "high"]].to_list() == [0.02, 0.009, 0.031]


@pytest.mark.parametrize(("arms", "seeds"), [(1, 6), (3, 7), (13, 10), (20, 10), (26, 11)])
def test_the_exact_test_can_be_significant_with_enough_seeds(arms: int, seeds: int) -> None:
    assert seeds_required(arms) == seeds
    assert arms * 2 / 2**seeds <= 0.05 < arms * 2 / 2 ** (seeds - 1)


def test_every_arm_needs_enough_seeds(plan: Plan) -> None:
    contrasts = [contrast("a", n=7), contrast("b", n=6), contrast("c")]
    contrasts.append(contrast("twin", repeats=True))
    rows = checked(plan, Check.SEEDS, contrasts=contrasts)
    assert rows["passed"].to_dict() == {"a": True, "b": False, "c": True}
    assert set(rows["limit"]) == {7}
    more = checked(plan, Check.SEEDS, contrasts=contrasts, parts=[(False,), (True,), (False,)])
    assert set(more["limit"]) == {seeds_required(5)} == {8}
    looks = PlannedLooks(seeds=(2, 3), weights=(0.5, 0.5))
    looked = plan.model_copy(update={"looks": looks})
    half = checked(looked, Check.SEEDS, contrasts=contrasts)
    assert set(half["limit"]) == {seeds_required(6)} == {8}


def test_an_arm_has_as_many_trials_as_its_reference_but_for_widening() -> None:
    """Arm c is compared with b; d has one setting, as it states."""
    arms = dict.fromkeys((*ARMS, "d"), "deterministic")
    plan = planned("confirmation", {"one": arms})
    (study,) = plan.studies
    described = [
        arm.model_copy(update={"against": "b"}) if arm.name == "c" else arm for arm in study.arms
    ]
    plan = plan.model_copy(update={"studies": (study.model_copy(update={"arms": described}),)})
    tuned = search("baseline", study=TUNING, first_trials=5)
    searches = [tuned, search("a", first_trials=8), search("b", trials=7, widened=2)]
    searches.append(search("c", first_trials=3, trials=5, widened=2))
    rows = checked(plan, Check.TRIALS, searches=searches)
    assert rows["passed"].to_dict() == {"a": False, "b": True, "c": False}
    assert rows["value"].to_dict() == {"a": 8, "b": 5, "c": 3}
    assert rows["limit"].to_dict() == {"a": 5, "b": 5, "c": 5}
    assert rows["subject"].to_dict() == {"a": "baseline", "b": "baseline", "c": "b"}
    # all settings that differ are enough, but no excuse for more than the reference has
    full = [one | {"exhausted": True} for one in searches]
    rows = checked(plan, Check.TRIALS, searches=full)
    assert rows["passed"].to_dict() == {"a": False, "b": True, "c": True}
    # a reference with one setting has one trial; a baseline that is not tuned fails another check
    rows = checked(plan, Check.TRIALS, searches=[searches[1], searches[3]])
    assert rows[["passed", "limit"]].to_numpy().tolist() == [[False, 1]]


def test_runs_of_another_machine_are_counted(plan: Plan) -> None:
    records = {run.fingerprint: {"machine": MACHINE} for run in plan.runs}
    rows = checked(plan, Check.MACHINE, records=records)
    assert rows[["passed", "value"]].to_numpy().tolist() == [[True, 12]]
    assert rows["subject"].iloc[0] == "cpu_capability=AVX2, threads=1, device=cpu"
    records["baseline1000"] = {"machine": MACHINE | {"threads": 2}}
    records["baseline1001"] = {}
    rows = checked(plan, Check.MACHINE, records=records)
    assert rows[["passed", "value"]].to_numpy().tolist() == [[True, 10], [False, 1]]


def test_a_shared_baseline_is_checked_once() -> None:
    plan = planned("confirmation", {"one": {"a": "deterministic"}, "two": {"b": "deterministic"}})
    histories = {run.fingerprint: curve(0.5, 0.5, 0.5) for run in plan.runs}
    contrasts = [contrast("a"), contrast("b", study="two")]
    rows = checked(plan, Check.BUDGET, histories=histories, contrasts=contrasts)
    assert list(rows.index) == ["baseline", "a", "b"]
