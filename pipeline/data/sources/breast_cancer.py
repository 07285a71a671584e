"""Breast cancer, of scikit-learn: 569 tumours, each with 30 measures of its cells, in two classes.

Source: W. H. Wolberg, W. N. Street and O. L. Mangasarian, Breast Cancer Wisconsin (Diagnostic),
UCI, 1995.
"""

import numpy as np

from pipeline.config.settings import Settings
from pipeline.data.arrays import Arrays, DatasetInfo, Splits


class Source(Settings):
    """No settings: the table is part of scikit-learn."""


def describe(source: Source) -> DatasetInfo:
    """Return shape and classes."""
    return DatasetInfo((30, 1, 1), 2, flips_keep_labels=False)


def read(source: Source) -> Splits:
    """Return all 569 rows, measures in the units of the source."""
    from sklearn.datasets import load_breast_cancer  # slow to import

    bunch = load_breast_cancer()
    rows = bunch.data.astype(np.float32)[:, :, None, None]
    return Splits(
        Arrays(rows, bunch.target.astype(np.int64), 2),
        class_names=tuple(map(str, bunch.target_names)),
        feature_names=tuple(map(str, bunch.feature_names)),
    )
