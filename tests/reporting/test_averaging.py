"""Noise passes: the frame behind the section, the differences it states, and sentences that follow their signs."""

import dataclasses

import pandas as pd
import pytest

from pipeline.comparison.intervals import Interval
from pipeline.config.plan import Plan, PlannedMember, PlannedRun
from pipeline.reporting import frames, gains

NAN = float("nan")


def run(fingerprint: str, arm: str = "a", seed: int = 0) -> PlannedRun:
    return PlannedRun(study="s", arm=arm, strength="", seed=seed, fingerprint=fingerprint)


def plan(runs: list[PlannedRun], members: list[PlannedMember] = []) -> Plan:  # noqa: B006
    fixed = {
        "protocol": "p",
        "phase": "confirmation",
        "settings": {},
        "margin": 0.01,
        "data_digest": "d",
        "studies": (),
    }
    return Plan(**fixed, runs=tuple(runs), members=tuple(members))


def found(
    accuracy: tuple[float, float, float], nll: tuple[float, float, float], name: str = "one"
) -> gains.Gain:
    """A gain from (low, mean, high) of both metrics."""
    by = {
        metric: Interval(mean, low, high, 0.0, 0.5, 3)
        for metric, (low, mean, high) in zip(("accuracy", "nll"), (accuracy, nll), strict=True)
    }
    return gains.Gain(name, by)


def test_the_frame_starts_at_deterministic_and_holds_compared_runs_alone() -> None:
    scores = pd.DataFrame(
        [
            (name, rule, split, metric, value)
            for name in ("x", "y", "quiet", "member")
            for rule, value in (("deterministic", 0.7), ("noise_2", 0.9))
            for split in ("validation", "test")
            for metric in ("accuracy", "nll", "brier")
        ],
        columns=["fingerprint", "rule", "split", "metric", "value"],
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
    member = PlannedMember(**run("member").model_dump(), member=1)
    frame = frames.pass_frame(
        plan([run("x"), run("y", seed=1), run("quiet", "b")], [member]), passes, scores
    )
    assert list(frame.columns) == list(frames.PASSES)
    values = {(row.arm, row.passes, row.metric): row.value for row in frame.itertuples()}
    expected = {
        ("a", count, metric): value
        for count, value in ((0, 0.7), (1, 0.1), (2, 0.2))
        for metric in ("accuracy", "nll")
    }
    assert values == expected
    assert frames.pass_frame(plan([run("x")]), passes.iloc[:0], scores).empty


def test_a_model_of_a_group_is_counted_beside_the_compared_runs() -> None:
    members = [
        PlannedMember(**run(name).model_dump(), member=number)
        for number, name in enumerate(("x", "lost"))
    ]
    made = plan([run("x")], members)
    frame = frames.member_frame(made, {"x": {"state": "done"}})
    assert list(zip(frame["member"], frame["state"], strict=True)) == [(0, "done"), (1, "missing")]
    both = pd.concat([frames.run_frame(made, {"x": {"state": "done"}}), frame])
    assert frames.tally(both) == {"planned": 2, "done": 1, "failed": 0, "diverged": 0, "missing": 1}


def test_differences_are_over_pairs_that_have_both() -> None:
    values = pd.Series({0: 0.9, 1: 0.8, 2: 0.7})
    against = pd.Series({0: 0.8, 1: 0.6, 3: 0.1})
    made = gains.difference(values, against)
    assert made.n == 2
    assert made.mean == pytest.approx(0.15)
    assert made.high - made.low == pytest.approx(
        2 * 12.706204736432095 * 0.05
    )  # t of 1 degree of freedom, sd / sqrt(2)


def test_the_best_is_named_by_metric_and_a_loss_is_no_gain() -> None:
    up = found((0.01, 0.02, 0.03), (0.1, 0.2, 0.3), "up")
    down = found((-0.03, -0.02, -0.01), (-0.3, -0.2, -0.1), "down")
    said = gains.most([up, down], 1)
    assert said == (
        "accuracy rises most for **up** (+2.0 points [+1.0, +3.0]); NLL falls most for **down** (-0.200 nats [-0.300, -0.100])."
    )
    assert gains.most([down], 1).startswith(
        "accuracy rises for none; **down** (-2.0 points [-3.0, -1.0]) loses least;"
    )
    assert "NLL falls for none; **up** (+0.200 nats" in gains.most([up], 1)
    assert gains.most([found((NAN,) * 3, (NAN,) * 3)], 1) == ""


def test_only_intervals_without_zero_are_called_certain_and_on_their_side() -> None:
    one, other = (
        found((0.01, 0.02, 0.03), (0.1, 0.2, 0.3), "one"),
        found((-0.01, 0.02, 0.03), (-0.3, -0.2, -0.1), "other"),
    )
    assert gains.certain([one, other], 1) == (
        "The interval of accuracy leaves out 0: a gain for **one**. "
        "The interval of NLL leaves out 0: a gain for **other**; a loss for **one**."
    )
    assert (
        gains.certain([found((-1, 0, 1), (NAN, 0.1, NAN))], 1)
        == "No interval of accuracy leaves out 0. No interval of NLL leaves out 0."
    )


def test_a_loss_is_one_only_where_its_printed_interval_shows_it() -> None:
    near = found(
        (-0.003, -0.0016, -0.0004), (0.0004, 0.0012, 0.002)
    )  # printed [-0.3, 0.0] and [0.000, +0.002]
    assert (
        gains.certain([near], 1)
        == "No interval of accuracy leaves out 0. No interval of NLL leaves out 0."
    )
    assert "accuracy leaves out 0: a loss for **one**" in gains.certain([near], 2)
    assert gains.most([near], 1) == (
        "accuracy rises for none; **one** (-0.2 points [-0.3, 0.0]) comes nearest; "
        "NLL falls for none; **one** (+0.001 nats [0.000, +0.002]) comes nearest."
    )
    zero = found((-0.001, 0.0001, 0.001), (-0.001, -0.0001, 0.001))
    assert gains.most([zero], 1).startswith(
        "accuracy rises for none; **one** (0.0 points [-0.1, +0.1]) comes nearest; NLL falls"
    )


def test_accuracy_and_nll_disagree_only_where_the_printed_signs_do() -> None:
    none = "Accuracy and NLL disagree in sign for none."
    assert gains.disagreeing([found((0, 0.01, 0.02), (-1, -0.1, 0))], 1) == none
    assert gains.disagreeing([found((0, 0.0001, 0.02), (-1, 0.1, 0))], 1) == none
    for sign in (1, -1):
        said = gains.disagreeing([found((-1, sign * 0.01, 1), (-1, sign * 0.1, 1))], 1)
        assert said.startswith(
            f"Accuracy and NLL disagree in sign for **one** (accuracy {sign * 1.0:+.1f} points"
        )


def test_a_gain_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        found((0, 0, 0), (0, 0, 0)).name = "other"
