"""The shortest training that shows whether settings work: two steps."""

from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.planning.arms import Trial
from pipeline.planning.phases import run_config
from pipeline.training.trainer import Trained, train


def train_two_steps(trial: Trial, pool: Arrays) -> Trained:
    """Train two batches, or what half of the pool has."""
    config = run_config(trial, Streams.of(0))
    size = min(2 * config.training["batch_size"], len(pool.labels) // 2)
    data = config.data | {"train_size": size, "validation_size": None}
    training = config.training | {"epochs": 1, "curve_points": 1}
    return train(config.model_copy(update={"data": data, "training": training}), pool)
