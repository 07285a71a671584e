"""Labels: every form that a setting, a factor, a test rule or a run may have."""

import pytest

from pipeline.config.labels import (
    format_factor,
    format_rule,
    format_run,
    format_setting,
    format_value,
    format_values,
    setting_parts,
)
from pipeline.config.plan import Factor, PlannedRun
from pipeline.config.test_rules import DETERMINISTIC, NOISE, TestRule

RATE = {"dropout": {"rate": 0.25}}
SHIFT = {"augmentation": {"shift": 1, "rotate": 10}}
PLAIN = {"protocol": {"model.batch_norm": False}}
HEAD = {"protocol": {"start.from": "similar", "start.train": "head", "training.learning_rate": 0.1}}
LAST = {"protocol": {"start.train": "last_k", "start.k": 2, "start.rates.decay": 0.7}}
LONGER = {"protocol": {"training.epochs": 30, "training.schedule": "cyclic_cosine"}}


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (0.25, "0.25"),
        (1, "1"),
        (1.0, "1"),
        (True, "true"),
        (None, "null"),
        ("random", "random"),
        ("", ""),
        ([5, 3], "[5, 3]"),
        ({"head": 0.5}, '{"head": 0.5}'),
        ({"name": "adam"}, "adam"),
        ({"name": "sgd", "momentum": 0.5, "nesterov": True}, "sgd(momentum=0.5, nesterov=true)"),
    ],
)
def test_a_text_stands_as_it_is_and_any_other_value_as_json(value, label):
    assert format_value(value) == label


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ({}, ""),
        ({"rate": 0.1}, "rate=0.1"),
        ({"rate": 0.1, "where": "input"}, "rate=0.1, where=input"),
    ],
)
def test_values_stand_with_their_names(values, label):
    assert format_values(values) == label


@pytest.mark.parametrize(
    ("setting", "label"),
    [
        ({}, ""),
        (RATE, "rate=0.25"),
        (SHIFT, "shift=1, rotate=10"),
        ({"dropout": {}}, ""),
        (RATE | SHIFT, "dropout(rate=0.25), augmentation(shift=1, rotate=10)"),
        (SHIFT | RATE, "augmentation(shift=1, rotate=10), dropout(rate=0.25)"),
        (RATE | {"mixup": {}}, "dropout(rate=0.25), mixup()"),
        (PLAIN, "model.batch_norm=false"),
        (LONGER, "training.epochs=30, training.schedule=cyclic_cosine"),
        (RATE | PLAIN, "rate=0.25, model.batch_norm=false"),
        (PLAIN | RATE, "rate=0.25, model.batch_norm=false"),
        ({"dropout": {}} | PLAIN, "model.batch_norm=false"),
        (RATE | {"protocol": {}}, "rate=0.25"),
        (HEAD, "from similar, head, training.learning_rate=0.1"),
        (RATE | LAST, "rate=0.25, last 2 layers, rates.decay=0.7"),
        ({"protocol": {"start.from": None, "start.k": 3}}, "from scratch, k=3"),
        (
            RATE | SHIFT | PLAIN,
            "dropout(rate=0.25), augmentation(shift=1, rotate=10), model.batch_norm=false",
        ),
    ],
)
def test_regularizers_are_named_where_there_are_several_and_protocol_values_come_last(
    setting, label
):
    assert format_setting(setting) == label


def test_the_parts_of_a_setting_are_one_for_each_regularizer_and_one_for_the_protocol():
    assert setting_parts({}) == []
    assert setting_parts(RATE | LONGER) == ["rate=0.25", format_setting(LONGER)]
    assert setting_parts(RATE | SHIFT | PLAIN) == [
        *("dropout(rate=0.25)", "augmentation(shift=1, rotate=10)", "model.batch_norm=false")
    ]


@pytest.mark.parametrize(
    ("regularizers", "protocol", "against", "label"),
    [
        ((), {}, "baseline", "nothing"),
        (("dropout",), {}, "baseline", "dropout"),
        (("dropout", "mixup"), {}, "baseline", "dropout + mixup"),
        ((), {"model.batch_norm": False}, "baseline", "model.batch_norm=false"),
        (
            ("dropout",),
            {"data.train_size": 100, "training.schedule": "constant"},
            "baseline",
            "dropout + data.train_size=100 + training.schedule=constant",
        ),
        (("mixup",), {}, "dropout", "mixup, against dropout"),
        (("mixup",), {"training.epochs": 3}, "drop", "mixup + training.epochs=3, against drop"),
        ((), {}, "both", "less, against both"),
    ],
)
def test_a_factor_joins_what_it_changes_and_names_any_other_reference(
    regularizers, protocol, against, label
):
    assert format_factor(Factor(regularizers=regularizers, protocol=protocol), against) == label


def test_a_factor_is_against_the_baseline_unless_told_otherwise():
    assert format_factor(Factor()) == "nothing"


@pytest.mark.parametrize(
    ("rule", "label"),
    [
        (DETERMINISTIC, "deterministic"),
        (NOISE, "noise_12"),
        (TestRule(view="noise", members=1), "noise"),
        (TestRule(view="moments"), "moments"),
        (TestRule(view="draws", members=8), "draws_8"),
    ],
)
def test_a_rule_counts_its_members_where_there_are_several(rule, label):
    assert format_rule(rule) == label


@pytest.mark.parametrize(
    ("more", "label"),
    [
        ({}, "drop seed 1000"),
        ({"setting": RATE}, "drop rate=0.25 seed 1000"),
        ({"setting": RATE | PLAIN}, "drop rate=0.25, model.batch_norm=false seed 1000"),
        ({"member": 0}, "drop seed 1000 member 0"),
        ({"setting": RATE, "member": 2}, "drop rate=0.25 seed 1000 member 2"),
        ({"stream": "init", "draw": 0}, "drop seed 1000 init 0"),
        ({"setting": RATE, "stream": "noise", "draw": 3}, "drop rate=0.25 seed 1000 noise 3"),
    ],
)
def test_a_run_is_its_arm_setting_and_seed_and_its_place_in_a_group(more, label):
    run = PlannedRun(study="one", arm="drop", seed=1000, fingerprint="f", **more)
    assert format_run(run) == label
