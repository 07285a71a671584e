"""Early stopping: the best point's weights, patience counted in points, armed and fired."""

import pytest
import torch
from declarations import replaced
from interrupted import assert_same_end

from pipeline.regularizers import early_stopping
from pipeline.regularizers._audit import NoEffect
from pipeline.regularizers.early_stopping import EarlyStopping, Stopper, improved
from pipeline.training.trainer import train

VARIANTS = [{"monitor": "accuracy"}]
FAULTS = [replaced(Stopper, "on_train_epoch_end", lambda self, trainer, task: None)]


class Trainer:
    """What a stopper sees of Lightning's trainer."""

    def __init__(self):
        self.current_epoch, self.should_stop = -1, False


class Module:
    """A network whose only weight is the number of the epoch, and the scores of a planned curve."""

    def __init__(self):
        self.network = torch.nn.Linear(1, 1)
        self.scores, self.scored_epoch = {}, 0


def stopped(losses, patience, monitor="loss"):
    """Return the epoch at which a curve stops training, or None, and the weight kept."""
    stopper, trainer, module = Stopper(patience, monitor), Trainer(), Module()
    for epoch, loss in enumerate(losses, start=1):
        trainer.current_epoch = epoch - 1
        torch.nn.init.constant_(module.network.weight, epoch)
        if loss is not None:
            module.scores, module.scored_epoch = (
                {"validation": {"loss": loss, "accuracy": loss}},
                epoch,
            )
        stopper.on_train_epoch_end(trainer, module)
        if trainer.should_stop:
            break
    stopper.on_train_end(trainer, module)
    return (epoch if trainer.should_stop else None), float(module.network.weight.detach())


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        ([5, 4, 3, 2, 1], 1, (None, 5)),
        ([5, 4, 6, 1], 1, (3, 2)),
        ([5, 4, 6, 1], 2, (None, 4)),
        ([5, 6, 6, 6, 1], 2, (3, 1)),
        ([5, None, None, None, 6, None, 7], 2, (7, 1)),
        ([5, 5, 5], 2, (3, 1)),
    ],
)
def test_by_hand(losses, patience, expected):
    assert stopped(losses, patience) == expected


def test_accuracy_is_better_when_higher():
    assert stopped([0.5, 0.6, 0.55, 0.7], 1, "accuracy") == (3, 2)
    assert improved(0.6, 0.5, "accuracy")
    assert not improved(0.6, 0.5, "loss")


def test_a_real_run_keeps_the_best_point_and_counts_its_updates(configure, pool):
    item = {"name": "early_stopping", "patience": 1, "monitor": "accuracy"}
    config = configure(
        item, epochs=20, curve_points=20, learning_rate=0.2, schedule={"name": "constant"}
    )
    trained = train(config, pool)
    points = [row["accuracy"] for row in trained.history if row["split"] == "validation"]
    audit = trained.audit["early_stopping"]
    assert audit["armed"] == 1
    assert audit["fired"] == 1
    assert points[int(audit["best_epoch"]) - 1] == max(points)
    assert len(points) < 20
    assert trained.cost["updates"] == 3 * len(points)
    accuracy = float(
        (trained.validation_logits[0].argmax(1) == trained.validation_labels).float().mean()
    )
    assert accuracy == pytest.approx(max(points))


def test_it_may_rightly_never_fire(configure, pool):
    trained = train(configure({"name": "early_stopping", "patience": 50}), pool)
    assert trained.audit["early_stopping"]["fired"] == 0
    assert trained.audit["early_stopping"]["armed"] == 1


def test_resumed_it_stops_at_the_same_point(configure, pool, tmp_path):
    item = {"name": "early_stopping", "patience": 2, "monitor": "accuracy"}
    config = configure(
        item, epochs=20, curve_points=20, learning_rate=0.2, schedule={"name": "constant"}
    )
    assert_same_end(config, pool, tmp_path, 2)


def test_no_neutral_settings():
    assert EarlyStopping.neutral() is None
    assert early_stopping.EarlyStopping(patience=3).callbacks()[0].patience == 3


def test_a_stopper_that_never_looks_is_caught(configure, pool, monkeypatch):
    monkeypatch.setattr(Stopper, "on_train_epoch_end", lambda self, trainer, module: None)
    with pytest.raises(
        NoEffect, match="early_stopping: no point of the learning curve was looked at"
    ):
        train(configure({"name": "early_stopping"}), pool)


def test_weights_that_are_not_restored_are_caught(configure, pool, monkeypatch):
    monkeypatch.setattr(Stopper, "on_train_end", lambda self, trainer, module: None)
    item = {"name": "early_stopping", "patience": 1, "monitor": "accuracy"}
    with pytest.raises(
        NoEffect, match="early_stopping: the weights at the end are not those of epoch"
    ):
        train(
            configure(
                item, epochs=20, curve_points=20, learning_rate=0.2, schedule={"name": "constant"}
            ),
            pool,
        )
