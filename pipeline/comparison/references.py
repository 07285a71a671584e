"""Score reference classifiers on the splits of the confirmation seeds.

A network that does not beat them was trained badly, whatever a regularizer adds to it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.run import Data
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.data.splits import train_and_validation

COLUMNS = ("classifier", "seed", "validation_accuracy")
LARGE = 1_000_000  # training images x features
MOST_SEEDS = 5  # where training sets are large
MOST_ITERATIONS = 10_000  # of logistic regression; CIFAR-10 needs a few hundred


def references(pool: Arrays, data: Data, seeds: Sequence[int]) -> pd.DataFrame:
    """Return the validation accuracy of every reference classifier at every seed.

    They are the majority class, 1-nearest neighbour (Euclidean) and multinomial logistic regression
    with the defaults of scikit-learn. Pixels are standardized by the training images, whose labels
    are those the network sees, noise included. The test set is not read.

    Args:
        pool: The development pool.
        data: The data settings of the protocol.
        seeds: The seeds of the baseline's runs; of large training sets the first five count.

    Returns:
        A table with `COLUMNS`; accuracies are fractions.
    """
    large = data.train_size * int(np.prod(pool.shape)) > LARGE
    rows = []
    for seed in seeds[: MOST_SEEDS if large else None]:
        train, validation = train_and_validation(pool, data, Streams.of(seed).split)
        rows += [(name, seed, score) for name, score in _scores(train, validation).items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scores(train: Arrays, validation: Arrays) -> dict[str, float]:
    """Return the validation accuracy of every classifier by its name."""
    from sklearn.preprocessing import StandardScaler  # slow to import

    scaler = StandardScaler()
    images = scaler.fit_transform(_features(train))
    held_out = scaler.transform(_features(validation))
    scores = {}
    for name, classifier in _classifiers(len(np.unique(train.labels))).items():
        classifier.fit(images, train.labels)
        scores[name] = float(classifier.score(held_out, validation.labels))
    return scores


def _classifiers(classes: int) -> dict[str, Any]:
    """Return the classifiers by name; noisy labels of one class leave only the majority."""
    from sklearn.dummy import DummyClassifier  # slow to import
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    simple = {
        "majority class": DummyClassifier(strategy="most_frequent"),
        "1-nearest neighbour": KNeighborsClassifier(n_neighbors=1),
    }
    if classes == 1:
        return simple
    return simple | {"logistic regression": LogisticRegression(max_iter=MOST_ITERATIONS)}


def _features(arrays: Arrays) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the pixels of every image as a row."""
    return arrays.images.reshape(len(arrays.images), -1).astype(np.float64)
