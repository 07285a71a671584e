"""What a study's section adds to the tables: other test rules, and strengths at the end of their list."""

from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.reporting import frames, sections


def planned(fingerprints):
    runs = tuple(
        PlannedRun(study="s", arm="a", strength="", seed=seed, fingerprint=name)
        for seed, name in enumerate(fingerprints)
    )
    return Plan(
        protocol="p",
        phase="confirmation",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(),
        runs=runs,
    )


def test_every_rule_is_averaged_over_the_runs_of_its_arm():
    rows = [
        (name, rule, split, "accuracy", value + (rule == "noise_12") / 10)
        for name, value in (("x", 0.7), ("y", 0.8))
        for rule in ("deterministic", "noise_12")
        for split in ("train", "validation", "test")
    ]
    scores = pd.DataFrame(rows, columns=["fingerprint", "rule", "split", "metric", "value"])
    table = frames.rule_frame(planned(["x", "y"]), scores).set_index(["rule", "split"])
    assert set(table.index) == {
        (rule, split) for rule in ("deterministic", "noise_12") for split in ("validation", "test")
    }
    assert table.loc[("deterministic", "test"), "mean"] == pytest.approx(0.75)
    assert table.loc[("noise_12", "test"), "mean"] == pytest.approx(0.85)
    assert table.loc[("noise_12", "test"), "n"] == 2


@pytest.mark.parametrize(
    ("chosen", "said"),
    [([True, False, False], True), ([False, False, True], True), ([False, True, False], False)],
)
def test_a_choice_at_the_end_of_its_list_is_said(chosen, said):
    tried = pd.DataFrame({"arm": ["baseline", *["dropout"] * 3], "chosen": [False, *chosen]})
    assert bool(list(sections._edges(tried))) is said


def test_a_rule_scored_on_some_of_the_runs_alone_is_not_shown_beside_the_others():
    rows = [
        (name, "deterministic", "test", metric, 0.7)
        for name in ("x", "y")
        for metric in ("accuracy", "nll")
    ]
    rows += [
        (name, "noise_12", "test", metric, 0.8)
        for name in ("x", "y")
        for metric in ("accuracy", "nll")
    ]
    rows += [("x", "crops_5", "test", metric, 0.9) for metric in ("accuracy", "nll")]
    study = PlannedStudy(
        name="s", question="?", arms=(PlannedArm(name="a", factor="a", rule="deterministic"),)
    )
    plan = planned(["x", "y"])
    scores = pd.DataFrame(rows, columns=["fingerprint", "rule", "split", "metric", "value"])
    evidence = SimpleNamespace(
        rules=frames.rule_frame(plan, scores),
        primary=lambda: pd.DataFrame({"high": [0.1], "low": [0.0]}),
    )
    shown = sections._other_rules(evidence, study)
    assert "| a | noise_12 | 80.0" in shown
    assert "crops" not in shown
