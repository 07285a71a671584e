"""The values of a proposed protocol follow from the data, the speed and the minutes."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.comparison.trust import seeds_required
from pipeline.config.run import Data, Training
from pipeline.config.yaml_files import parse_yaml
from pipeline.data.arrays import Arrays
from pipeline.data.inspection.inspection import Inspection
from pipeline.planning.proposal import (
    BATCHES,
    Network,
    ProtocolOptions,
    Speed,
    StudyRuns,
    expected_margin,
    networks,
    propose,
    splits_of,
)
from pipeline.planning.proposal_text import flow, protocol_text
from pipeline.runtime.errors import Refusal

STUDIES = {name: StudyRuns(5, 1, 1) for name in ("one", "two", "three", "four", "five")}
FAST, USUAL = Speed(0.3, 0.002, 1e-5), Speed(0.5, 0.02, 1e-4)
SLOW = Speed(2.0, 2.0, 1e-2)


def inspected(counts, shape=(1, 28, 28), sizes=(), **more):
    named = {str(label): count for label, count in enumerate(counts)}
    sample = Arrays(np.zeros((2, *shape), np.uint8), np.arange(2), len(counts))
    values = {
        "dataset": "array_files",
        "source": {"path": "a.npz"},
        "reasons": {},
        "is_image": True,
        "validation": 0,
        "test": 0,
        "facts": (),
    }
    return Inspection(counts=named, shape=shape, sizes=sizes, sample=sample, **values | more)


def proposed(data, speed=USUAL, choices=None, error=0.1, studies=STUDIES, workers=2):
    def speeds(network):
        return speed(network) if callable(speed) else speed

    choices = choices or ProtocolOptions()
    return propose(data, choices, speeds, studies, workers, error, seeds_required)


@pytest.mark.parametrize(
    ("counts", "fraction", "test"),
    [
        ([100_000] * 10, 0.01, 10_000),
        ([100] * 10, 0.2, 200),
        ([30, 30], 0.3, 18),
        ([5000] * 10, 0.2, 10_000),
        ([1500, 30], 0.2, 306),
    ],
)
def test_a_test_set_is_as_large_as_it_helps(counts, fraction, test):
    splits = splits_of(inspected(counts), ProtocolOptions())
    assert (splits.test_fraction, splits.test) == (fraction, test)
    assert splits.validation == test
    assert splits.train == sum(counts) - 2 * test


def test_every_class_has_a_place_in_every_split():
    splits = splits_of(inspected([4] * 20), ProtocolOptions())
    assert min(splits.train, splits.validation, splits.test) >= 20


def test_splits_of_their_own_are_kept():
    splits = splits_of(inspected([100] * 10, validation=50, test=300), ProtocolOptions())
    assert splits.test_fraction is None
    assert (splits.train, splits.validation, splits.test) == (1000, 50, 300)
    data = proposed(inspected([100] * 10, validation=50, test=300)).document()["data"]
    assert not {"test_fraction", "validation_size"} & set(data)


def test_too_few_examples_raise():
    with pytest.raises(Refusal, match="too few for training, validation and test"):
        splits_of(inspected([1, 1, 1]), ProtocolOptions())


@pytest.mark.parametrize(
    ("counts", "shape", "name", "widths"),
    [
        ([30, 30], (1, 8, 8), "cnn", [16, 32]),
        ([1000, 1000], (3, 32, 32), "resnet", [8, 16, 32]),
        ([10_000] * 10, (3, 32, 32), "resnet", [16, 32, 64]),
        ([10_000] * 10, (3, 8, 8), "resnet", [16, 32]),
        ([30, 30], (1, 4, 4), "cnn", [16]),
    ],
)
def test_the_network_grows_with_the_data(counts, shape, name, widths):
    data = inspected(counts, shape)
    first = networks(data, splits_of(data, ProtocolOptions()), ProtocolOptions())[0].model
    assert (first["name"], first["widths"]) == (name, widths)


def test_rows_of_a_table_have_a_perceptron():
    data = inspected([500, 500], (30, 1, 1), is_image=False)
    assert {
        network.model["name"]
        for network in networks(data, splits_of(data, ProtocolOptions()), ProtocolOptions())
    } == {"mlp"}


def test_smaller_images_are_the_last_resort():
    data = inspected([1000, 1000], (3, 32, 32), sizes=(32, 16, 8))
    tried = networks(data, splits_of(data, ProtocolOptions()), ProtocolOptions())
    assert [network.size for network in tried] == [32, 32, 16, 8]
    assert tried[-1].model == tried[1].model


@pytest.mark.parametrize(
    ("error", "test", "margin"),
    [
        (0.1, 10_000, 0.01),
        (0.02, 10_000, 0.002),
        (0.5, 10_000, 0.02),
        (0.0, 10_000, 0.002),
        (0.1, 120, 0.01),
        (0.1, 18, 0.05),
        (0.1, 5, 0.05),
        (0.02, 200, 0.005),
    ],
)
def test_the_margin_is_a_tenth_of_the_error_or_one_test_image(error, test, margin):
    assert expected_margin(error, test) == margin


def test_a_million_examples_are_not_all_trained_on():
    proposal = proposed(inspected([100_000] * 10, (3, 32, 32)))
    data = proposal.document()["data"]
    assert data["test_fraction"] == 0.01
    assert 1000 <= data["train_size"] < 100_000
    assert data["validation_size"] <= 10_000
    assert proposal.minutes <= 30


@pytest.mark.parametrize(("minutes", "batch"), [(18, 32), (200, 64), (10_000, 128)])
def test_the_batch_size_is_that_of_the_examples_trained_on(minutes, batch):
    """And the speed is that of such batches."""
    timed = []

    def speed(network):
        timed.append(network.batch_size)
        return Speed(0.5, 0.001 * network.batch_size, 1e-4)

    options = ProtocolOptions(minutes=minutes)
    document = proposed(inspected([100_000] * 10), speed, options).document()
    size = document["data"]["train_size"]
    assert next(wanted for below, wanted in BATCHES if size < below) == batch
    assert document["training"]["batch_size"] == timed[-1] == batch
    assert size % batch == 0


def test_sixty_examples_are_few():
    proposal = proposed(inspected([30, 30], (1, 16, 16)), FAST, ProtocolOptions(minutes=5))
    document = proposal.document()
    assert document["data"]["train_size"] == 20
    assert document["training"]["batch_size"] == 10
    assert document["training"]["epochs"] == 100
    assert document["margin"] == 0.05
    assert not any("updates" in line for line in proposal.warnings)
    assert any("below one of 18 test images" in line for line in proposal.warnings)


@pytest.mark.parametrize(("error", "warned"), [(0.0, True), (0.004, True), (0.01, False)])
def test_data_without_a_gap_are_a_warning(error, warned):
    warnings = proposed(inspected([300] * 10), error=error).warnings
    assert any("hardly a gap" in line for line in warnings) == warned


def test_few_updates_are_a_warning():
    proposal = proposed(
        inspected([30, 30], (1, 16, 16)), FAST, ProtocolOptions(minutes=5, epochs=20)
    )
    assert any("40 updates" in line and "--epochs 40" in line for line in proposal.warnings)


def test_more_minutes_give_more_studies_and_seeds():
    data = inspected([300] * 10)
    few, many = (proposed(data, choices=ProtocolOptions(minutes=minutes)) for minutes in (8, 120))
    assert len(few.document()["studies"]) < len(many.document()["studies"]) == 5
    assert few.document()["seeds"]["confirmation"] < many.document()["seeds"]["confirmation"]
    assert few.minutes <= 8


def test_a_cheaper_network_is_taken_where_the_best_is_too_slow():
    data = inspected([1000, 1000], (3, 32, 32), sizes=(32, 16, 8))

    def speed(network):
        return FAST if network.size == 16 else SLOW

    proposal = proposed(data, speed, ProtocolOptions(minutes=10))
    document = proposal.document()
    assert document["source"]["size"] == 16
    assert document["model"]["name"] == "cnn"
    (reason,) = (value.reason for value in proposal.values if value.key == "model.name")
    assert reason.endswith("of 3x16x16")


def test_too_few_minutes_name_the_fewest_and_these_suffice():
    data = inspected([300] * 10)
    with pytest.raises(Refusal, match="--minutes 1: too few") as refused:
        proposed(data, choices=ProtocolOptions(minutes=1))
    fewest = float(str(refused.value.lines[0]).rpartition(">= ")[2])
    assert proposed(data, choices=ProtocolOptions(minutes=fewest)).minutes <= fewest


@pytest.mark.parametrize("update", [0.5, 5.0, 50.0])
def test_slow_networks_on_many_examples_take_more_minutes(update):
    data, slow = inspected([100_000] * 2, (3, 32, 32)), Speed(1.0, update, update / 500)
    with pytest.raises(Refusal, match="--minutes 2: too few") as refused:
        proposed(data, slow, ProtocolOptions(minutes=2))
    fewest = float(str(refused.value.lines[0]).rpartition(">= ")[2])
    assert proposed(data, slow, ProtocolOptions(minutes=fewest)).minutes <= fewest


def test_only_the_networks_that_are_considered_are_timed():
    timed = []

    def speed(network):
        timed.append(network)
        return FAST

    proposed(inspected([300] * 10), speed)
    assert len(set(map(id, timed))) == 1


def test_what_the_user_has_chosen_is_kept():
    choices = ProtocolOptions(
        network="mlp",
        train_size=500,
        test_fraction=0.5,
        batch_size=25,
        epochs=7,
        learning_rate=0.2,
        exploration=4,
        confirmation=5,
        margin=0.03,
        studies=("two", "five"),
    )
    document = proposed(inspected([300] * 10), choices=choices).document()
    assert document["model"]["name"] == "mlp"
    assert document["data"]["train_size"] == 500
    assert document["data"]["test_fraction"] == 0.5
    assert document["training"] | {"curve_points": 0} == {
        "learning_rate": 0.2,
        "epochs": 7,
        "batch_size": 25,
        "curve_points": 0,
    }
    assert document["tune"] == {"training.learning_rate": {"log": [0.05, 0.8], "points": 5}}
    assert document["seeds"] == {"exploration": 4, "confirmation": 5}
    assert document["margin"] == 0.03
    assert document["studies"] == ["two", "five"]


def test_an_own_network_is_trained_with_adam():
    choices = ProtocolOptions(imported="nets:Net", arguments={"channels": 3})
    document = proposed(inspected([300] * 10), choices=choices).document()
    assert document["model"] == {"import": "nets:Net", "arguments": {"channels": 3}}
    assert document["training"]["optimizer"] == {"name": "adam"}


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(3, 3000), min_size=2, max_size=12),
    side=st.sampled_from([4, 8, 20, 32]),
    minutes=st.floats(2, 200),
    update=st.floats(1e-4, 0.1),
    test_examples=st.sampled_from([0, 40]),
    error=st.floats(0, 1),
)
def test_every_proposal_can_be_trained(counts, side, minutes, update, test_examples, error):
    data = inspected(counts, (3, side, side), test=test_examples)
    choices, speed = ProtocolOptions(minutes=minutes), Speed(0.5, update, update / 100)
    try:
        proposal = proposed(data, speed, choices, error)
    except Refusal as refusal:
        assume(any("too few" not in line for line in refusal.lines))
        raise
    document = proposal.document()
    sizes, training = Data(**document["data"]), Training(**document["training"])
    assert proposal.minutes <= minutes
    assert len(counts) <= sizes.train_size
    assert training.batch_size <= sizes.train_size
    pool = sum(counts)
    test = 0 if test_examples else pool - round(pool * (1 - sizes.test_fraction))
    left = pool - test - sizes.train_size
    assert left >= len(counts)
    assert (sizes.validation_size or left) <= left
    assert document["seeds"]["confirmation"] >= seeds_required(len(document["studies"]) + 1)
    assert parse_yaml(protocol_text(proposal, "heading"), "a.yaml") == document


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_read_back(text):
    assert parse_yaml(f"a: {flow(text)}\n", "a.yaml") == {"a": text}


def test_minutes_are_those_of_the_runs():
    """62 runs of 12 updates an epoch, by hand."""
    speed = Speed(start=1.0, update=0.1, score=0.0)
    choices = ProtocolOptions(minutes=60, train_size=240, epochs=10, studies=("one", "two"))
    choices = ProtocolOptions(
        **vars(choices) | {"exploration": 2, "confirmation": 8, "batch_size": 20}
    )
    proposal = proposed(inspected([300] * 10), speed, choices, workers=2)
    run = 1.0 + 0.2 + 1.3 * 10 * 12 * 0.1
    assert proposal.training_minutes == pytest.approx(62 * run / 2 / 60)
    assert proposal.minutes == pytest.approx((40 + 0.13 * 62 + (1.5 * 30 + 32) * run / 2) / 60)
    assert proposal.document()["seconds_per_run"] == pytest.approx(run, rel=0.01)


def test_a_network_of_equal_settings_is_one():
    assert Network({"name": "cnn"}, 8, 10) == Network({"name": "cnn"}, 8, 10)
    assert math.isclose(USUAL.update, 0.02)
