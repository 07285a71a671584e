"""Outcomes and means of arms."""

import pandas as pd
import pytest
from plans import plan_of_one_arm
from report_data import COST
from report_data import planned as planned_studies

from pipeline.comparison.arms import arm_means, audit_means, rule_means, run_outcomes
from pipeline.config.plan import PlannedArm, PlannedRun, PlannedStudy

SCORES = ["fingerprint", "view", "members", "split", "metric", "value"]
PLAIN, NOISY = ("deterministic", 1), ("noise", 12)


def test_every_rule_is_averaged_over_the_runs_of_its_arm():
    rows = [
        (name, *rule, split, "accuracy", value + (rule == NOISY) / 10)
        for name, value in (("x", 0.7), ("y", 0.8))
        for rule in (PLAIN, NOISY)
        for split in ("train", "validation", "test")
    ]
    scores = pd.DataFrame(rows, columns=SCORES)
    table = rule_means(plan_of_one_arm(["x", "y"]), scores).set_index(["view", "members", "split"])
    assert set(table.index) == {
        (*rule, split) for rule in (PLAIN, NOISY) for split in ("validation", "test")
    }
    assert table.loc[(*PLAIN, "test"), "mean"] == pytest.approx(0.75)
    assert table.loc[(*NOISY, "test"), "mean"] == pytest.approx(0.85)
    assert table.loc[(*NOISY, "test"), "n"] == 2


STUDIES = {"one": {"noisy": "noise_12"}, "two": {"plain": "deterministic"}}


def outcome_scores(names):
    """Return accuracies under two rules, and parts of the gap, of runs whose place is in them."""
    rows = []
    for place, name in enumerate(names):
        rows += [(name, *PLAIN, "test", "accuracy", 0.5 + place / 100)]
        rows += [(name, *NOISY, "test", "accuracy", 0.9 + place / 100)]
        rows += [(name, *PLAIN, "train", "accuracy", 0.99)]
        rows += [(name, *PLAIN, "train_validation", "gap", 0.1)]
    return pd.DataFrame(rows, columns=SCORES)


def test_outcomes_are_scored_under_the_rule_of_their_arm():
    plan = planned_studies("confirmation", STUDIES)
    names = list(plan.fingerprints())
    table = run_outcomes(plan, outcome_scores(names)).set_index(["study", "arm", "seed"])
    assert table.loc[("one", "noisy", 1000), "test_accuracy"] == pytest.approx(0.93)
    assert table.loc[("two", "baseline", 1000), "test_accuracy"] == pytest.approx(0.5)
    assert table["gap_noise"].isna().all()
    fewer = run_outcomes(plan, outcome_scores(names[:-1]))
    assert len(fewer) == len(table) - 1


def test_means_of_costs_are_those_of_done_runs():
    plan = planned_studies("confirmation", STUDIES)
    names = plan.fingerprints()
    outcomes = run_outcomes(plan, outcome_scores(names))
    records = {name: {"state": "done", "cost": COST} for name in names}
    records["onenoisy1000"] = {"state": "done", "cost": COST | {"updates": 90}}
    records["onenoisy1001"] = {"state": "failed"}
    del records["twoplain1000"]
    means = arm_means(outcomes, plan, records).set_index(["study", "arm", "metric"])
    assert means.loc[("one", "noisy", "updates"), ["n", "mean"]].tolist() == [2, 135]
    assert means.loc[("two", "plain", "updates"), "n"] == 2
    assert means.loc[("one", "noisy", "test_accuracy"), "n"] == 3


def test_audits_are_means_over_done_runs():
    plan = planned_studies("confirmation", STUDIES)
    records = {
        f"onenoisy{seed}": {"state": state, "audit": {"dropout": {"rate": seed - 999}}}
        for seed, state in ((1000, "done"), (1001, "done"), (1002, "diverged"))
    }
    (row,) = audit_means(plan, records).to_dict("records")
    assert (row["arm"], row["measure"], row["n"], row["mean"]) == ("noisy", "rate", 2, 1.5)


def test_train_accuracy_is_deterministic():
    plan = planned_studies("confirmation", STUDIES)
    names = list(plan.fingerprints())
    scores = outcome_scores(names)
    # what a fit saw under noise: a higher score that comes last
    noisy = pd.DataFrame([(name, *NOISY, "train", "accuracy", 1.0) for name in names])
    noisy.columns = SCORES
    table = run_outcomes(plan, pd.concat([scores, noisy], ignore_index=True))
    assert set(table["train_accuracy"]) == {0.99}


def test_models_of_groups_are_in_no_mean():
    plan = planned_studies("confirmation", STUDIES)
    snap = PlannedArm(name="snap")
    groups = PlannedStudy(name="groups", question="?", kind="ensemble", arms=(snap,))
    member = PlannedRun(study="groups", arm="snap", seed=1000, fingerprint="member", member=1)
    both = plan.model_copy(
        update={"studies": (*plan.studies, groups), "runs": (*plan.runs, member)}
    )
    names = [*plan.fingerprints(), "member"]
    scores = outcome_scores(names)
    audit = {"dropout": {"rate": 0.5}}
    records = {name: {"state": "done", "cost": COST, "audit": audit} for name in names}
    outcomes = run_outcomes(both, scores)
    tables = (
        outcomes,
        arm_means(outcomes, both, records),
        rule_means(both, scores),
        audit_means(both, records),
    )
    for table in tables:
        assert set(table["study"]) == {"one", "two"}
