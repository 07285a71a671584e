"""Gains by number of passes and members: what is averaged, and what is paired with what."""

import pandas as pd
import pytest

from pipeline.comparison import gains
from pipeline.config.plan import Plan, PlannedRun, PlannedStudy


def run(fingerprint: str, arm: str = "a", seed: int = 0, study: str = "s") -> PlannedRun:
    return PlannedRun(study=study, arm=arm, seed=seed, fingerprint=fingerprint)


def plan(runs: list[PlannedRun]) -> Plan:
    studies = (
        PlannedStudy(name="s", question="?", arms=()),
        PlannedStudy(name="groups", question="?", kind="ensemble", arms=()),
    )
    fixed = {
        "protocol": "p",
        "phase": "confirmation",
        "settings": {},
        "margin": 0.01,
        "data_digest": "d",
    }
    return Plan(**fixed, studies=studies, runs=tuple(runs))


def test_the_frame_starts_at_deterministic_and_holds_compared_runs_alone() -> None:
    scores = pd.DataFrame(
        [
            (name, view, members, split, metric, value)
            for name in ("x", "y", "quiet", "member")
            for view, members, value in (("deterministic", 1, 0.7), ("noise", 2, 0.9))
            for split in ("validation", "test")
            for metric in ("accuracy", "nll", "brier")
        ],
        columns=["fingerprint", "view", "members", "split", "metric", "value"],
    )
    passes = pd.DataFrame(
        [
            (name, count, metric, count / 10)
            for name in ("x", "member")
            for count in (1, 2)
            for metric in ("accuracy", "nll")
        ],
        columns=["fingerprint", "passes", "metric", "value"],
    )
    runs = [run("x"), run("y", seed=1), run("quiet", "b"), run("member", study="groups")]
    frame = gains.pass_gains(plan(runs), passes, scores)
    assert list(frame.columns) == [*gains.PASSES, *gains.BAND, *gains.GAIN]
    values = {(row.arm, row.passes, row.metric): row.mean for row in frame.itertuples()}
    expected = {
        ("a", count, metric): value
        for count, value in ((0, 0.7), (1, 0.1), (2, 0.2))
        for metric in ("accuracy", "nll")
    }
    assert values == expected
    differences = {(row.passes, row.metric): row.difference for row in frame.itertuples()}
    assert differences == pytest.approx(
        {  # from the deterministic score
            (count, metric): value - 0.7 for (_, count, metric), value in expected.items()
        }
    )
    assert gains.pass_gains(plan([run("x")]), passes.iloc[:0], scores).empty


def test_differences_are_over_pairs_that_have_both() -> None:
    values = pd.Series({0: 0.9, 1: 0.8, 2: 0.7})
    against = pd.Series({0: 0.8, 1: 0.6, 3: 0.1})
    made = gains.gain(values - against)
    assert made["pairs"] == 2
    assert made["difference"] == pytest.approx(0.15)
    # t of 1 degree of freedom, sd / sqrt(2)
    width = made["difference_high"] - made["difference_low"]
    assert width == pytest.approx(2 * 12.706204736432095 * 0.05)


def test_members_are_paired_with_one_member_of_the_same_group() -> None:
    values = {(0, 1): 0.5, (0, 2): 0.7, (1, 1): 0.6, (1, 2): 0.9, (2, 2): 0.1}
    rows = [("s", group, "greedy", size, "nll", value) for (group, size), value in values.items()]
    sizes = pd.DataFrame(rows, columns=["study", "group", "method", "members", "metric", "value"])
    table = gains.member_gains(sizes).set_index("members")
    assert table["n"].to_dict() == {1: 2, 2: 3}
    assert table["pairs"].to_dict() == {1: 2, 2: 2}
    assert table.loc[2, "difference"] == pytest.approx(0.25)
    assert table.loc[1, "difference"] == 0
    assert table.loc[1, ["difference_low", "difference_high"]].isna().all()
