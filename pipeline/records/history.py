"""Turn the history of a run into one point per epoch, as it is streamed or read."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

COMMON = ("updates", "learning_rate", "squared_weight_norm", "gradient_norm", "update_ratio")


def points(history: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield one point for each epoch: its rows merged, with the gap.

    Args:
        history: Rows with epoch, split, loss (nats), accuracy (fraction) and values of `COMMON`.

    Yields:
        `epoch`, `<split>/loss`, `<split>/accuracy`, the values of `COMMON`, and `gap`, the training
        accuracy minus the validation accuracy. Values that are None are left out.
    """
    epochs: dict[int, dict[str, Any]] = {}
    for row in history:
        point = epochs.setdefault(row["epoch"], {"epoch": row["epoch"]})
        point |= {f"{row['split']}/{key}": row[key] for key in ("loss", "accuracy")}
        point |= {key: row[key] for key in COMMON if key in row}
    for _, point in sorted(epochs.items()):
        train, validation = point.get("train/accuracy"), point.get("validation/accuracy")
        gap = {} if train is None or validation is None else {"gap": train - validation}
        yield {key: value for key, value in {**point, **gap}.items() if value is not None}
