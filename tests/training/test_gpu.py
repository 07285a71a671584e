"""Every regularizer and optimizer on a GPU: trains, twice the same, and predicts as the CPU."""

import pytest
import torch
from declarations import NAMES, item
from interrupted import assert_same_end

from pipeline import optimizers
from pipeline.config.run import Hardware
from pipeline.prediction.tensors import TrainedRun, predictions
from pipeline.regularizers import build
from pipeline.training.trainer import train

GPU = Hardware(accelerator="gpu")

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture
def one(configure):
    """Return the settings of a small run with one regularizer, strong settings."""
    return lambda name, **training: configure(item(name), **training)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("name", NAMES)
def test_every_regularizer_trains_and_passes_its_audit(one, pool, name, precision):
    trained = train(one(name, precision=precision), pool, None, GPU)
    assert (trained.diverged, trained.device) == ("", torch.cuda.get_device_name())
    assert {tensor.device.type for tensor in trained.weights.values()} == {"cpu"}
    assert set(trained.audit) == {name}


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_the_same_run_again(one, pool, name):
    first, second = (train(one(name), pool, None, GPU) for _ in range(2))
    assert first.history == second.history
    assert all(torch.equal(first.weights[key], second.weights[key]) for key in first.weights)


@pytest.mark.parametrize("name", NAMES)
def test_resumed_it_ends_at_the_same_bits(one, pool, tmp_path, name):
    """What a checkpoint gives back lies on the processor, what goes on lies on the GPU."""
    assert_same_end(
        one(name, epochs=6, curve_points=3, snapshots=2), pool, tmp_path, 4, hardware=GPU
    )


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_resumes_at_the_same_bits(configure, pool, tmp_path, name):
    full = {"batch_size": 30} if optimizers.settings()[name].full_batch else {}
    given = {"optimizer": {"name": name}, "learning_rate": 0.005, **full}
    model = {"name": "cnn", "widths": (4,), "hidden": 8, "batch_norm": False}
    config = configure(epochs=6, curve_points=3, **given).model_copy(update={"model": model})
    assert_same_end(config, pool, tmp_path, 4, hardware=GPU)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_those_of_the_processor(one, pool, name):
    """Same weights, noise and views: the processor makes the draws wherever a network computes."""
    config = one(name)
    trained = train(config, pool)
    parts = {"train": slice(0, 30), "validation": slice(30, 80), "test": slice(80, 130)}
    images = {split: torch.from_numpy(pool.images[part]) for split, part in parts.items()}
    here, there = (
        predictions(
            TrainedRun(config, build(config.regularizers), trained.weights, trained.kept, device),
            images,
            10,
            True,
            False,
        )
        for device in ("cpu", "cuda")
    )
    assert here.keys() == there.keys()
    for kind, logits in here.items():
        assert there[kind].device.type == "cpu"
        assert torch.allclose(logits, there[kind], atol=1e-3), kind
