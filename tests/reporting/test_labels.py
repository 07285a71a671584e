"""Labels of settings, factors and test rules: cells, titles and ticks."""

import math

import pytest

from pipeline.config.plan import Dimension, Factor, PlannedArm
from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.reporting.labels import (
    PLACED,
    arm_title,
    distinguishing_settings,
    factor_label,
    named_setting,
    rule_label,
    series_labels,
    setting_axis,
    setting_cell,
    setting_ticks,
    verdict_label,
    without_size,
)


@pytest.mark.parametrize(
    ("setting", "cell"),
    [
        ({}, "–"),
        ({"dropout": {"rate": 0.5}}, "rate=0.5"),
        ({"dropout": {"where": "a|b"}}, "where=a\\|b"),
        (
            {"dropout": {"rate": 0.5}, "mixup": {"alpha": 1}, "protocol": {"model.depth": 2}},
            "dropout(rate=0.5), mixup(alpha=1), model.depth=2",
        ),
    ],
)
def test_a_setting_is_one_cell(setting: dict[str, dict[str, object]], cell: str) -> None:
    assert setting_cell(setting) == cell


def test_a_verdict_says_whether_it_is_below_the_margin() -> None:
    assert verdict_label({"verdict": "helps", "below_margin": False}) == "helps"
    assert verdict_label({"verdict": "helps", "below_margin": True}) == "helps, below the margin"


def test_a_title_has_its_setting_where_there_is_one() -> None:
    assert arm_title("dropout", {"dropout": {"rate": 0.5}}) == "dropout (rate=0.5)"
    assert arm_title("baseline", {}) == "baseline"


@pytest.mark.parametrize(
    ("arm", "setting", "text"),
    [
        ("dropout", {"dropout": {"rate": 0.5}}, "rate=0.5"),
        ("drop", {"dropout": {"rate": 0.5}}, "dropout, rate=0.5"),
        ("drop", {"dropout": {}}, "dropout"),
        ("drop", {"dropout": {"rate": 0.5}, "protocol": {"training.epochs": 9}}, "dropout, "),
        ("drop", {"dropout": {"rate": 0.5}, "mixup": {"alpha": 1}}, "dropout(rate=0.5), "),
        ("longer", {"protocol": {"training.epochs": 9}}, "training.epochs=9"),
    ],
)
def test_an_arm_of_another_name_has_that_of_its_regularizer(
    arm: str, setting: dict[str, dict[str, object]], text: str
) -> None:
    assert named_setting(arm, setting).startswith(text)
    assert (named_setting(arm, setting) == text) is not text.endswith(", ")


def test_arms_that_differ_by_their_values_alone_are_distinguished_by_them() -> None:
    low, high = {"dropout": {"rate": 0.25}}, {"dropout": {"rate": 0.4}}
    other = {"augmentation": {"shift": 1, "rotate": 10}}
    flips = {"augmentation": {"flip": 0.5}}
    settings = [low, other, high, flips, {}, {}]
    assert distinguishing_settings(settings) == ["rate=0.25", "", "rate=0.4", "", "", ""]


def test_a_factor_has_the_name_of_its_arm_where_that_says_something_else() -> None:
    alone = Factor(regularizers=("dropout",))
    assert factor_label(PlannedArm(name="dropout", factor=alone)) == "dropout"
    assert factor_label(PlannedArm(name="drop", factor=alone)) == "dropout (arm drop)"
    piped = PlannedArm(name="x", factor=Factor(protocol={"model.name": "a|b"}), against="y")
    assert factor_label(piped) == "model.name=a\\|b, against y (arm x)"


def test_a_rule_has_its_cost() -> None:
    assert rule_label(DETERMINISTIC) == "deterministic (1 forward pass)"
    assert rule_label(NOISE) == f"noise_{NOISE.members} ({NOISE.members} forward passes)"


def test_a_series_leaves_out_the_size_and_the_epochs_that_go_with_it() -> None:
    size = {"data.train_size": 100, "training.epochs": 50}
    named = {
        "baseline": Factor(protocol=size),
        "dropout": Factor(regularizers=("dropout",), protocol=size),
        "model.batch_norm=false": Factor(protocol=size | {"model.batch_norm": False}),
    }
    labels = [without_size(factor, {"protocol": size}) for factor in named.values()]
    assert series_labels(labels) == list(named)
    assert [setting for _, setting in labels] == [{}, {}, {}]


def test_a_series_keeps_the_values_of_its_setting() -> None:
    factor = Factor(regularizers=("dropout",))
    protocol = {"data.train_size": 100, "model.batch_norm": False}
    settings = [{"dropout": {"rate": rate}, "protocol": protocol} for rate in (0.1, 0.5)]
    series = [without_size(factor, setting) for setting in settings]
    kept = {"dropout": {"rate": 0.1}, "protocol": {"model.batch_norm": False}}
    assert series[0] == (factor, kept)
    assert series_labels([*series, (Factor(), {})]) == [
        "dropout (rate=0.1, model.batch_norm=false)",
        "dropout (rate=0.5, model.batch_norm=false)",
        "baseline",
    ]


def test_ticks_show_what_varies_and_the_axis_what_is_shared() -> None:
    settings = [{"dropout": {"rate": rate, "where": "input"}} for rate in (0.1, 0.5)]
    assert setting_ticks(settings) == (["0.1", "0.5"], "setting: rate=…, where=input")


def test_one_key_of_two_regularizers_is_two_ticks() -> None:
    settings = [{"a": {"rate": one}, "b": {"rate": 0.5}} for one in (0.1, 0.2)]
    assert setting_ticks(settings) == (["0.1", "0.2"], "setting: a(rate=…), b(rate=0.5)")


@pytest.mark.parametrize(
    ("values", "is_log"),
    [
        ([0.1, 0.5], False),
        ([30.0, 500.0], False),  # ratio 16.7
        ([30.0, 601.0], True),
        ([0.01, 0.3], True),
        ([0.0, 100.0], False),
    ],
)
def test_a_list_of_numbers_of_different_size_has_a_log_axis(
    values: list[float], is_log: bool
) -> None:
    settings = [{"dropout": {"rate": value}} for value in values]
    axis = setting_axis(settings, [Dimension(part="dropout", key="rate")])
    expected = [math.log(value) for value in values] if is_log else values
    assert axis.places == pytest.approx(expected)


@pytest.mark.parametrize(
    "settings",
    [
        [{"dropout": {"rate": 0.1}}, {"dropout": {"keep": 0.1}}],
        [{"dropout": {"where": letter * 30}} for letter in "xy"],
    ],
)
def test_settings_that_share_no_keys_or_are_long_are_numbered(
    settings: list[dict[str, dict[str, object]]],
) -> None:
    assert setting_ticks(settings) == (["1", "2"], PLACED)
