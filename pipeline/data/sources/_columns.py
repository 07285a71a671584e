"""Turn the columns of a table into features: numbers as they are, categories one-hot.

Nothing is fitted here except for the list of categories, which has the categories of all rows. A
category that occurs in no training row of a run is left out of that run (`data/missing.py`), so
that it acts as an unknown category.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from pipeline.data.paths import printable
from pipeline.data.sources._table_file import named
from pipeline.runtime.errors import Refusal

if TYPE_CHECKING:
    import pandas as pd

FREE_TEXT = 0.5  # share of different values in a column of text above which these are no categories
FEWEST_TEXTS = 20  # different values below which they always are
MOSTLY_NUMBERS = 0.5  # share of numbers in a column above which other values look like mistakes
MOST_FEATURES = 10_000
COPIES = 4  # copies of all features in memory, while they are put together and split


@dataclass(frozen=True)
class Columns:
    """Features of all rows.

    Attributes:
        rows: (N, features, 1, 1), NaN where a value is missing.
        names: Of the features: of the column, with `=` and the category if it is one of several.
        missing: The number of missing values of each column that has any.
        merged: Columns of different numbers that are one number in single precision.
    """

    rows: NDArray[np.float32]
    names: tuple[str, ...]
    missing: dict[str, int]
    merged: tuple[str, ...]


def is_text(column: "pd.Series[Any]") -> bool:
    """Return whether a column has values that are not numbers."""
    return column.dtype.kind not in "biuf"


def texts(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column of text in one Unicode form, without spaces around it; NaN where missing."""
    composed = column.map(
        lambda value: unicodedata.normalize("NFC", str(value)).strip(), na_action="ignore"
    )
    return composed.where(composed != "")


def is_free_text(column: "pd.Series[Any]") -> bool:
    """Return whether a column of text has too many different values for categories."""
    different, present = int(column.nunique()), int(column.notna().sum())
    return different > FEWEST_TEXTS and different > FREE_TEXT * present


def numbers_in(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return whether each value that is there is a number."""
    import pandas as pd

    return pd.to_numeric(column.dropna(), errors="coerce").notna()


def is_number(text: str) -> bool:
    """Return whether a text is a number."""
    import pandas as pd

    return bool(numbers_in(pd.Series([text], dtype=str)).all())


def in_order(classes: Collection[str]) -> tuple[str, ...]:
    """Return names of classes in the order of their labels: numbers by size, others by alphabet."""
    import pandas as pd

    if numbers_in(pd.Series(list(classes), dtype=str)).all():
        return tuple(sorted(classes, key=lambda value: (float(value), value)))
    return tuple(sorted(classes))


def similar_names(classes: Collection[str]) -> list[str]:
    """Return a line if names of classes differ only in case, or stand for one number."""
    import pandas as pd

    names = pd.Series(sorted(classes), dtype=str)
    numbers = pd.to_numeric(names, errors="coerce")
    keys = numbers.astype(object).where(numbers.notna(), names.str.casefold())
    same = names[keys.duplicated(keep=False)]
    if same.empty:
        return []
    return [f"classes {named(same.tolist())} differ only in case or in how a number is written"]


def encode_columns(path: Path, frame: "pd.DataFrame", categories: Collection[str]) -> Columns:
    """Return the columns of a frame as features.

    Args:
        path: The file, for error messages.
        frame: Numbers, truth values and text.
        categories: Columns of numbers that stand for categories.

    Raises:
        Refusal: A column has free text or infinite values, or the features do not fit into memory.
    """
    columns, levels = _checked_columns(path, frame, categories)
    names = _feature_names(columns, levels)
    _require_memory(path, len(frame), len(names), levels)
    rows = np.empty((len(frame), len(names)), np.float32)
    place = 0
    for name, column in columns.items():
        width = len(levels[name]) if name in levels else 1
        rows[:, place : place + width] = _features(column, levels.get(name))
        place += width
    counts = {name: int(column.isna().sum()) for name, column in columns.items()}
    missing = {name: count for name, count in counts.items() if count}
    merged = [name for name in columns if name not in levels and _is_merged(columns[name])]
    return Columns(rows[:, :, None, None], tuple(names), missing, tuple(merged))


def _checked_columns(
    path: Path, frame: "pd.DataFrame", categories: Collection[str]
) -> tuple[dict[str, "pd.Series[Any]"], dict[str, list[str]]]:
    """Return the columns of a frame by name, and the levels of the columns of categories.

    Categories are text, all other columns are numbers. Levels are sorted.

    Raises:
        Refusal: A column has free text or infinite values, or there is no column.
    """
    columns = {}
    levels = {}
    errors = []
    for name in map(str, frame.columns):
        if is_text(frame[name]) or name in categories:
            columns[name] = texts(frame[name])
            levels[name] = sorted(map(str, columns[name].dropna().unique()))
            errors += _text_errors(path, name, columns[name])
        else:
            columns[name] = frame[name].astype(np.float64)
            errors += _number_errors(path, name, columns[name])
    if errors:
        raise Refusal(*errors)
    if not columns:
        raise Refusal(f"{printable(str(path))}: no column besides the label; expected >= 1 feature")
    return columns, levels


def _feature_names(columns: Iterable[str], levels: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the name of every feature: one for each level of categories, as in color=red."""
    names: list[str] = []
    for name in columns:
        names += [f"{name}={level}" for level in levels[name]] if name in levels else [name]
    return names


def _is_merged(column: "pd.Series[Any]") -> bool:
    """Return whether different numbers are one number in single precision."""
    return bool(column.nunique() > 1 and column.astype(np.float32).nunique() == 1)


def _features(column: "pd.Series[Any]", levels: Sequence[str] | None) -> NDArray[np.float32]:
    """Return (N, features) of one column: a number, or one for each category."""
    import pandas as pd

    if levels is None:
        numbers: NDArray[np.float32] = column.to_numpy(np.float32)
        return numbers[:, None]
    codes: NDArray[np.int64] = np.asarray(pd.Categorical(column, categories=levels).codes, np.int64)
    features: NDArray[np.float32] = np.equal.outer(codes, np.arange(len(levels))).astype(np.float32)
    features[codes < 0] = np.nan
    return features


def _text_errors(path: Path, name: str, column: "pd.Series[Any]") -> list[str]:
    where = f"{printable(str(path))}: column {named([name])}"
    if not is_free_text(column):
        return []
    is_number = numbers_in(column)
    others = column.dropna()[~is_number]
    if len(others) and is_number.mean() > MOSTLY_NUMBERS:
        return [
            f"{where}: {len(others)} of {len(is_number)} values are no numbers "
            f"({named([repr(value) for value in others.unique()[:3]])}); "
            f"expected numbers, or an empty cell where one is missing"
        ]
    return [
        f"{where}: {'free text' if len(others) else 'too many categories'}, {column.nunique()} "
        f"different values in {len(column)} rows; "
        f"expected categories or numbers, or source.ignore: [{named([name])}]"
    ]


def _number_errors(path: Path, name: str, column: "pd.Series[Any]") -> list[str]:
    values = column.to_numpy()
    infinite = int(np.isinf(values).sum())
    largest = float(np.finfo(np.float32).max)
    beyond = int((np.abs(values[np.isfinite(values)]) > largest).sum())
    if not infinite and not beyond:
        return []
    what = f"{infinite} infinite values" if infinite else f"{beyond} values beyond 3e38"
    return [
        f"{printable(str(path))}: column {named([name])}: {what}; "
        "expected numbers, or an empty cell where one is missing"
    ]


def _require_memory(path: Path, rows: int, features: int, levels: dict[str, list[str]]) -> None:
    """Check that the features are not too many.

    Raises:
        Refusal: They are.
    """
    size = rows * features * np.dtype(np.float32).itemsize * COPIES
    if features <= MOST_FEATURES and size <= psutil.virtual_memory().available:
        return
    widest = max(levels, key=lambda name: len(levels[name]), default=None)
    most = f", {len(levels[widest])} of them for column {named([widest])}" if widest else ""
    raise Refusal(
        f"{printable(str(path))}: {features} features of {rows} rows{most}; expected "
        f"<= {MOST_FEATURES}, in {size >> 20} MB of free memory, or columns in source.ignore"
    )
