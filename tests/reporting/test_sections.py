"""What a study's section adds to the tables: other test rules, and strengths at the end of their list."""

import pandas as pd
import pytest

from pipeline.config.plan import Plan, PlannedRun
from pipeline.reporting import frames, sections


def planned(fingerprints):
    runs = tuple(
        PlannedRun(study="s", arm="a", strength="", seed=seed, fingerprint=name) for seed, name in enumerate(fingerprints)
    )
    return Plan(protocol="p", phase="confirmation", settings={}, margin=0.01, data_digest="d", studies=(), runs=runs)


def test_every_rule_is_averaged_over_the_runs_of_its_arm():
    rows = [
        (name, rule, split, "accuracy", value + (rule == "noise_12") / 10)
        for name, value in (("x", 0.7), ("y", 0.8))
        for rule in ("deterministic", "noise_12")
        for split in ("train", "validation", "test")
    ]
    scores = pd.DataFrame(rows, columns=["fingerprint", "rule", "split", "metric", "value"])
    table = frames.rule_frame(planned(["x", "y"]), scores).set_index(["rule", "split"])
    assert set(table.index) == {(rule, split) for rule in ("deterministic", "noise_12") for split in ("validation", "test")}
    assert table.loc[("deterministic", "test"), "mean"] == pytest.approx(0.75)
    assert table.loc[("noise_12", "test"), "mean"] == pytest.approx(0.85)
    assert table.loc[("noise_12", "test"), "n"] == 2


@pytest.mark.parametrize(
    ("chosen", "said"), [([True, False, False], True), ([False, False, True], True), ([False, True, False], False)]
)
def test_a_choice_at_the_end_of_its_list_is_said(chosen, said):
    tried = pd.DataFrame({"arm": ["baseline", *["dropout"] * 3], "chosen": [False, *chosen]})
    assert bool(list(sections._edges(tried))) is said
