"""What regularizers do along a training, called by Lightning and carried through checkpoints."""

import pytest
import pytorch_lightning as lightning
import torch
from torch import nn

from pipeline.regularizers._callback import TrainingCallback
from pipeline.training.callbacks import Forwarded


class Network(lightning.LightningModule):
    """The smallest that trains."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Counter(TrainingCallback):
    """Has some of the hooks."""

    def __init__(self):
        self.started = self.batches = self.epochs = 0
        self.ended = False

    def on_train_start(self, trainer, task):
        self.started += 1

    def on_train_batch_end(self, trainer, task):
        assert isinstance(task, Network)
        assert trainer.global_step > 0
        self.batches += 1

    def on_train_epoch_end(self, trainer, task):
        self.epochs += 1

    def on_train_end(self, trainer, task):
        self.ended = True

    def state_dict(self):
        return {"batches": self.batches, "epochs": self.epochs}

    def load_state_dict(self, state_dict):
        self.batches, self.epochs = state_dict["batches"], state_dict["epochs"]


class Other(Counter):
    """Another class, so another state."""


def fit(epochs, *callbacks, resumed=None):
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Forwarded(each) for each in callbacks],
    )
    trainer.fit(
        Network(),
        torch.utils.data.DataLoader(torch.ones(4, 1), batch_size=2),
        ckpt_path=resumed,
        weights_only=True,
    )
    return trainer


def test_the_hooks_that_an_object_has_are_called():
    counter = Counter()
    fit(3, counter)
    assert (counter.started, counter.epochs, counter.batches) == (1, 3, 6)
    assert counter.ended


def test_every_hook_of_the_base_class_is_passed_on():
    hooks = {name for name, value in vars(TrainingCallback).items() if callable(value)}
    hooks = {name for name in hooks if not name.startswith("_")}
    assert hooks - {"kept_weights"} <= set(vars(Forwarded))


@pytest.mark.parametrize("name", ["on_train_batch_ends", "on_epoch_end", "kept", "save_state"])
def test_a_misspelt_hook_is_an_error_when_its_class_is_created(name):
    with pytest.raises(
        TypeError, match=f"Stopper.{name}: unknown hook; expected one of kept_weights, "
    ):
        type("Stopper", (TrainingCallback,), {name: lambda self, trainer, task: None})
    type("Stopper", (TrainingCallback,), {f"_{name}": lambda self: None})


def test_a_misspelt_hook_of_a_mixin_is_an_error():
    mixin = type("Mixin", (), {"on_epoch_end": lambda self, trainer, task: None})
    with pytest.raises(TypeError, match="Stopper.on_epoch_end: unknown hook"):
        type("Stopper", (mixin, TrainingCallback), {})


def test_a_hook_with_other_arguments_is_an_error():
    with pytest.raises(
        TypeError, match=r"on_train_start\(self, trainer\): expected on_train_start"
    ):
        type("Stopper", (TrainingCallback,), {"on_train_start": lambda self, trainer: None})


def test_states_go_through_a_checkpoint_by_class(tmp_path):
    first, second = Counter(), Other()
    trainer = fit(2, first, second)
    second.batches = 100
    trainer.save_checkpoint(tmp_path / "kept.ckpt")
    first, second = Counter(), Other()
    fit(3, first, second, resumed=tmp_path / "kept.ckpt")
    assert (first.batches, first.epochs) == (6, 3)
    assert (second.batches, second.epochs) == (102, 3)


def test_two_callbacks_of_one_class_with_a_state_raise():
    """Their states would overwrite each other."""
    with pytest.raises(RuntimeError, match="state_key"):
        fit(1, Counter(), Counter())
