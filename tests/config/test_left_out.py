"""How many training examples are in no batch of an epoch."""

import pytest
import torch

from pipeline.config.left_out import left_out_note, left_out_notes
from pipeline.config.plan import Plan, PlannedRun
from pipeline.data.loader import Batches


@pytest.mark.parametrize(
    ("train_size", "batch_size", "left"),
    [
        (24, 20, 4),
        (75, 50, 25),
        (39, 20, 19),
        (110, 100, 10),
        (106, 100, 6),
        (105, 100, 0),
        (150, 50, 0),
        (9, 9, 0),
    ],
)
def test_many_images_left_out_are_noted_with_their_number(train_size, batch_size, left):
    """More than a twentieth; the loader drops as many."""
    note = left_out_note(train_size, batch_size)
    assert bool(note) is (left > 0)
    if left:
        assert note.startswith(
            f"training.batch_size {batch_size} leaves {left} of {train_size} training examples "
        )
        images, targets = torch.zeros(train_size, 1, 2, 2), torch.zeros(train_size, 10)
        batches = Batches(images, targets, batch_size, 0)
        assert sum(len(batch) for batch, _ in batches) == train_size - left


def plan_of(settings):
    runs = tuple(
        PlannedRun(study="s", arm="a", setting=setting, seed=number, fingerprint=str(number))
        for number, setting in enumerate(settings)
    )
    return Plan(
        protocol="p",
        phase="confirmation",
        settings={
            "data": {"train_size": 150, "classes": [3, 1, 4]},
            "training": {"batch_size": 50},
        },
        margin=0.01,
        data_digest="d",
        studies=(),
        runs=runs,
    )


def test_arms_with_sizes_of_their_own_are_noted_once():
    settings = [
        {},
        {"protocol": {"data.train_size": 75}},
        {"protocol": {"data.train_size": 75, "training.epochs": 3}},
        {"dropout": {"rate": 0.5}, "protocol": {"training.batch_size": 80}},
        {"protocol": {"data.per_class": 20, "training.batch_size": 40}},
        {"protocol": {"data.per_class": 30}},
    ]
    plan = plan_of(settings)
    runs = plan.runs
    notes = left_out_notes(plan.model_copy(update={"runs": runs[:2]}), plan)
    assert [note.partition(" training")[0] for note in notes] == [
        "training.batch_size 50 leaves 25 of 75",
        "training.batch_size 80 leaves 70 of 150",
        "training.batch_size 40 leaves 20 of 60",
        "training.batch_size 50 leaves 40 of 90",
    ]


def test_many_batch_sizes_of_one_train_size_have_one_note():
    sizes = [31, 40, 70, 76, 100, 150]  # leave out 26, 30, 10, 74, 50 and 0 of 150
    plan = plan_of([{"protocol": {"training.batch_size": size}} for size in sizes])
    assert left_out_notes(plan, plan) == [
        "5 values of training.batch_size, 31 to 100, leave up to 74 of 150 training examples "
        "(49 %) out of every epoch, different ones each time: an incomplete batch is dropped"
    ]
    few = plan_of([{"protocol": {"training.batch_size": size}} for size in sizes[:4]])
    assert len(left_out_notes(few)) == 4
