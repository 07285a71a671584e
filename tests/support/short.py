"""The shortest training that shows whether settings work: two steps."""

from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.planning.arms import Trial
from pipeline.planning.starts import run_config
from pipeline.training.trainer import Trained, train


def train_two_steps(trial: Trial, pool: Arrays) -> Trained:
    """Train two batches, or one twice; of half of the pool at most."""
    config = run_config(trial, Streams.of(0))
    half = len(pool.labels) // 2
    batch = min(config.training["batch_size"], half)
    epochs = 2 if batch <= half < 2 * batch else 1
    size = batch if epochs == 2 else min(2 * batch, half)
    every = dict.fromkeys(("validation_size", "classes", "per_class"))
    data = config.data | every | {"train_size": size}
    training = config.training | {"epochs": epochs, "batch_size": batch, "curve_points": 1}
    return train(config.model_copy(update={"data": data, "training": training}), pool)
