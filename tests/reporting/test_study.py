"""The page of a study: other test rules, and strengths at the end of their list."""

from types import SimpleNamespace

import pandas as pd
from plans import plan_of_one_arm

from pipeline.comparison.arms import rule_means
from pipeline.config.plan import PlannedArm, PlannedStudy
from pipeline.reporting.markdown import Formatter
from pipeline.reporting.pages.study import audit_table, rules_section


def test_a_rule_scored_on_some_of_the_runs_alone_is_not_shown_beside_the_others():
    rows = [
        (name, "deterministic", 1, "test", metric, 0.7)
        for name in ("x", "y")
        for metric in ("accuracy", "nll")
    ]
    rows += [
        (name, "noise", 12, "test", metric, 0.8)
        for name in ("x", "y")
        for metric in ("accuracy", "nll")
    ]
    rows += [
        (name, "crops", 10, "test", metric, 0.8)
        for name in ("x", "y")
        for metric in ("accuracy", "nll")
    ]
    rows += [("x", "crops", 5, "test", metric, 0.9) for metric in ("accuracy", "nll")]
    study = PlannedStudy(name="s", question="?", arms=(PlannedArm(name="a"),))
    plan = plan_of_one_arm(["x", "y"])
    scores = pd.DataFrame(
        rows, columns=["fingerprint", "view", "members", "split", "metric", "value"]
    )
    data = SimpleNamespace(rules=rule_means(plan, scores), format=Formatter())
    shown = rules_section(data, study)
    assert "| a | crops_10 | 80.0" in shown
    assert "crops_5" not in shown
    assert "noise" not in shown  # it has a page of its own


def test_failed_audits_are_told_by_arm_and_reason():
    equal = "audit: the final weights are those of baseline at the same seed"
    reasons = [("a", equal), ("a", equal), ("b", "NoEffect: b: no mask"), ("b", "took too long")]
    runs = pd.DataFrame(reasons, columns=["arm", "reason"]).assign(study="s")
    audits = pd.DataFrame(columns=["study", "arm", "regularizer", "measure", "n", "mean"])
    study = PlannedStudy(name="s", question="?", arms=())
    shown = audit_table(SimpleNamespace(runs=runs, audits=audits), study)
    assert [line for line in shown.splitlines() if line.startswith("- ")] == [
        f"- **a**: 2 runs failed: {equal}",
        "- **b**: 1 run failed: NoEffect: b: no mask",
    ]
