"""Score reference classifiers on the splits of the confirmation seeds.

A network that does not beat them was trained badly, even if a regularizer improves it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.comparison.levels import MAJORITY
from pipeline.config.run import Data
from pipeline.config.streams import Streams, derive
from pipeline.data.arrays import Arrays, is_row
from pipeline.data.splits import train_and_validation

Features = NDArray[np.float64]
NEAREST = "1-nearest neighbour"
REGRESSION = "logistic regression"
COLUMNS = ("classifier", "seed", "validation_accuracy")
LARGE = 1_000_000  # training examples x features
MOST_WORK = 30_000_000  # training examples x features x seeds, where one seed is large
SMALLEST = 1e-6  # deviation of a constant channel
TINY = float(np.finfo(np.float32).tiny)  # smallest deviation of a feature that varies, in any unit
MOST_VALUES = 50_000_000  # training examples x features of one seed
MOST_SCORED = 10_000  # validation examples
FEW = (2, 5)  # seeds of large training sets
TIED = 10  # nearest examples that may be equally near
ROUNDING = 1e-9  # of the squared distance per feature: below it, examples are equally near
MOST_ITERATIONS = 10_000  # iterations of logistic regression; CIFAR-10 takes 15


def references(pool: Arrays, data: Data, seeds: Sequence[int]) -> pd.DataFrame:
    """Return the validation accuracy of every reference classifier at every seed.

    They are the majority class, 1-nearest neighbour (Euclidean) and multinomial logistic regression
    with the defaults of scikit-learn except for a faster solver. Examples are standardized per
    channel (rows of a table: per feature) by the training examples, as for the network. Training
    labels are the network's, noise included. Of large splits a random part is used. The test set is
    not read.

    Nearest neighbour: Cover and Hart, Nearest Neighbor Pattern Classification, IEEE Trans. Inf.
    Theory 13, 1967.

    Args:
        pool: The development pool.
        data: The data settings of the protocol.
        seeds: The seeds of the baseline's runs; of large training sets the first two to five count.

    Returns:
        A table with `COLUMNS`; accuracies are fractions.
    """
    from threadpoolctl import threadpool_limits

    rows = []
    with threadpool_limits(1):  # the same numbers for any number of cores
        for seed in _used(seeds, data.train_size * int(np.prod(pool.shape))):
            streams = Streams.of(seed)
            train, validation = (
                _part(arrays, most, streams.split)
                for arrays, most in zip(
                    train_and_validation(pool, data, streams.split),
                    (MOST_VALUES // int(np.prod(pool.shape)), MOST_SCORED),
                    strict=True,
                )
            )
            rows += [(name, seed, score) for name, score in _scores(train, validation).items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def simple_error(sample: Arrays) -> float:
    """Return the error of the best reference classifier on a third of some examples.

    Classes with one example are left out.

    Args:
        sample: Examples with labels.

    Returns:
        The error, a fraction; 0 where fewer than two classes have two examples.
    """
    occurring = np.bincount(sample.labels, minlength=sample.classes)
    kept = sample.take(np.flatnonzero(occurring[sample.labels] > 1))
    present = int((occurring > 1).sum())
    if present < 2:
        return 0.0
    size = min(max(present, 2 * len(kept.labels) // 3), len(kept.labels) - present)
    data = Data(dataset="sample", train_size=size)
    return 1 - float(references(kept, data, [0])["validation_accuracy"].max())


def _part(arrays: Arrays, most: int, seed: int) -> Arrays:
    """Return a random part of many examples, or all of few, as fractions or bytes in memory."""
    if len(arrays.labels) <= most:
        return arrays
    generator = np.random.default_rng(derive(seed, "references"))
    return arrays.take(np.sort(generator.permutation(len(arrays.labels))[:most]))


def _used(seeds: Sequence[int], work: int) -> Sequence[int]:
    """Return the seeds that are scored, given the work for one seed."""
    if work <= LARGE:
        return seeds
    fewest, most = FEW
    return seeds[: min(max(MOST_WORK // work, fewest), most)]


def _scores(train: Arrays, validation: Arrays) -> dict[str, float]:
    """Return the validation accuracy of every classifier by its name."""
    levels = train.images[:]
    mean = levels.mean((0, 2, 3), np.float64, keepdims=True)
    deviation = levels.std((0, 2, 3), np.float64, keepdims=True)
    smallest = TINY if is_row(train.shape) else SMALLEST
    images, held_out = (
        ((part.images[:] - mean) / np.maximum(deviation, smallest)).reshape(len(part.images), -1)
        for part in (train, validation)
    )
    from sklearn.dummy import DummyClassifier  # slow to import
    from sklearn.linear_model import LogisticRegression

    majority = DummyClassifier(strategy="most_frequent").fit(images, train.labels)
    predictions = {
        MAJORITY: majority.predict(held_out),
        NEAREST: train.labels[nearest_examples(images, held_out)],
    }
    if len(np.unique(train.labels)) > 1:
        regression = LogisticRegression(solver="newton-cg", max_iter=MOST_ITERATIONS)
        predictions[REGRESSION] = regression.fit(images, train.labels).predict(held_out)
    return {
        name: float((labels == validation.labels).mean()) for name, labels in predictions.items()
    }


def nearest_examples(train: Features, held_out: Features) -> NDArray[np.intp]:
    """Return the index of the training example that is nearest to each of some examples.

    Of examples at the same distance it is the first. Their computed distances differ by rounding,
    which is not the same on every processor.

    Args:
        train: The training examples (n, features), standardized.
        held_out: The other examples (m, features).

    Returns:
        The indices (m,), in [0, n).
    """
    from sklearn.neighbors import NearestNeighbors  # slow to import

    neighbors = NearestNeighbors(n_neighbors=min(TIED, len(train))).fit(train)
    distances, indices = neighbors.kneighbors(held_out)
    squares = distances**2
    tied = squares <= squares[:, :1] + ROUNDING * train.shape[1]
    nearest: NDArray[np.intp] = np.where(tied, indices, len(train)).min(1)
    return nearest
