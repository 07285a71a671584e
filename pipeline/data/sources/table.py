"""A table in a CSV or Parquet file: a column of labels, and columns of features.

Features are numbers and categories. Splits and groups of the dataset are columns, too.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.config.settings import Settings
from pipeline.config.validation import invalid, suggestion
from pipeline.data.arrays import Arrays, DatasetInfo, Splits
from pipeline.data.paths import data_path, printable
from pipeline.data.sources._columns import (
    Columns,
    encode_columns,
    in_order,
    is_number,
    is_text,
    similar_names,
    texts,
)
from pipeline.data.sources._table_file import column_names, named, read_columns
from pipeline.runtime.errors import Refusal

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

SPLITS = {
    **dict.fromkeys(("train", "training", "development"), "pool"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "holdout"), "test"),
}
MOST_CLASSES = 0.5  # classes in rows, above which the labels look like a quantity
FEW_CLASSES = 20  # which they never do
CONSTANT = 10_000  # times its spread that a column may be away from 0 in single precision

Indices = NDArray[np.int64]


class Source(Settings):
    """The file, and what its columns are.

    Attributes:
        path: A `.csv` or `.parquet` file, relative to the project.
        label: The column of the classes.
        ignore: Columns that are left out, such as names and free text.
        categories: Columns of numbers that stand for categories, such as postal codes.
        missing: What happens to missing values: refuse stops `prepare`; impute replaces them by the
            mean of the training rows of a run (of a category: by its share of these rows).
        split: A column that holds train, validation or test for every row; null: splits are drawn.
        group: A column, such as the patient, whose rows with equal values are all in one split;
            null: rows are split one by one.
        separator: The character between two values of a CSV file.
        decimal: The decimal point of a CSV file.
    """

    path: str = Field(min_length=1)
    label: str = Field(min_length=1)
    ignore: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    missing: Literal["refuse", "impute"] = "refuse"
    split: str | None = None
    group: str | None = None
    separator: str = Field(",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."

    def roles(self) -> dict[str, str]:
        """Return key -> column of the columns that are not features."""
        roles = {"label": self.label, "split": self.split, "group": self.group}
        return {key: column for key, column in roles.items() if column is not None}


@dataclass(frozen=True)
class Table:
    """All rows of a file.

    Attributes:
        columns: The features.
        classes: The names of the classes.
        labels: (N,) The class of each row.
        groups: (N,) The group of each row; None without.
        parts: The rows of every split that the file names; only `pool` if it names none.
        unnamed: Whether a column without a name was left out.
    """

    columns: Columns
    classes: tuple[str, ...]
    labels: Indices
    groups: Indices | None
    parts: dict[str, Indices]
    unnamed: bool


def describe(source: Source) -> DatasetInfo:
    """Return the number of features and of classes, for which all rows are read."""
    table = read_table(source)
    shape = (len(table.columns.names), 1, 1)
    return DatasetInfo(shape, len(table.classes), flips_keep_labels=False)


def read(source: Source) -> Splits:
    """Return all rows, in the splits that a column names."""
    table, path = read_table(source), data_path(source.path)
    if table.unnamed:
        logger.warning("%s: the first column has no name; left out", path)
    if table.columns.missing:
        counts = named([f"{name} ({count})" for name, count in table.columns.missing.items()])
        logger.warning("%s: missing values imputed by means of training rows: %s", path, counts)
    for line in [*similar_names(table.classes), *_weak_columns(table)]:
        logger.warning("%s: %s", path, line)
    rows = Arrays(table.columns.rows, table.labels, len(table.classes), groups=table.groups)
    parts = {name: rows.take(indices) for name, indices in table.parts.items()}
    return Splits.of(parts, table.classes, table.columns.names)


def labels(source: Source) -> Splits:
    """Return the label and the group of every row, in the splits that a column names."""
    table = read_table(source)
    rows = Arrays.unread(table.labels, len(table.classes), groups=table.groups)
    parts = {name: rows.take(indices) for name, indices in table.parts.items()}
    return Splits.of(parts, table.classes)


def read_table(source: Source) -> Table:
    """Return the table of the file.

    Raises:
        Refusal: The file cannot be read, a column is not there, or its values cannot be used.
    """
    path = data_path(source.path)
    changed = path.stat().st_mtime_ns if path.is_file() else 0
    return _read_table(path, changed, source)


@functools.lru_cache(maxsize=2)
def _read_table(path: Path, changed: int, source: Source) -> Table:
    names = column_names(path, source.separator)
    _require_columns(path, names, source)
    roles = source.roles()
    used = [name for name in names if name and name not in source.ignore]
    frame = read_columns(
        path, source.separator, source.decimal, used, {*roles.values(), *source.categories}
    )
    if not len(frame):
        raise Refusal(f"{printable(str(path))}: no rows; expected >= 1 below the first line")
    values = {key: texts(frame[column]) for key, column in roles.items()}
    errors = [line for key in roles for line in _gaps(path, key, roles[key], values[key])]
    if errors:
        raise Refusal(*errors)
    classes = _class_names(path, source.label, values["label"])
    _require_names(path, frame, source.label, classes, names)
    numbers = {name: number for number, name in enumerate(classes)}
    groups = np.unique(values["group"], return_inverse=True)[1] if source.group else None
    parts = _parts(path, source, values)
    features = [name for name in used if name not in roles.values()]
    columns = encode_columns(path, frame[features], source.categories)
    _require_complete(path, source, columns, len(frame))
    return Table(
        columns=columns,
        classes=classes,
        labels=values["label"].map(numbers).to_numpy(np.int64),
        groups=None if groups is None else groups.astype(np.int64),
        parts=parts,
        unnamed="" in names,
    )


def _require_columns(path: Path, names: Sequence[str], source: Source) -> None:
    """Check that every column that the settings name is there, in one role.

    Raises:
        Refusal: A line for each that is not.
    """
    roles = source.roles()
    asked = [(key, column) for key, column in roles.items()]
    asked += [("ignore", column) for column in source.ignore]
    asked += [("categories", column) for column in source.categories]
    errors = [
        f"{printable(str(path))}: source.{key}: unknown column {named([column])}; "
        f"expected one of: {named(names)}{printable(suggestion(column, names))}"
        for key, column in asked
        if column not in names
    ]
    for number, (key, column) in enumerate(asked):
        before = [other for other, name in asked[:number] if name == column]
        if before:
            errors.append(
                f"{printable(str(path))}: source.{key}: column {named([column])} is "
                f"source.{before[0]}, too; expected another column"
            )
    if errors:
        raise Refusal(*errors)


def _gaps(path: Path, key: str, name: str, column: "pd.Series[Any]") -> list[str]:
    """Return a line if a column that every row needs has missing values."""
    rows = np.flatnonzero(column.isna()) + 1
    if not len(rows):
        return []
    where = f"{len(rows)} of {len(column)} rows have no value, the first is row {rows[0]}"
    return [
        f"{printable(str(path))}: column {named([name])}: {where}; "
        f"expected a {key} in every row, or these rows left out"
    ]


def _class_names(path: Path, name: str, labels: "pd.Series[Any]") -> tuple[str, ...]:
    """Return the names of the classes.

    Raises:
        Refusal: There is one class, or so many that the labels are a quantity.
    """
    classes = list(map(str, labels.unique()))
    where = f"{printable(str(path))}: column {named([name])}"
    if len(classes) < 2:
        raise Refusal(f"{where}: one class ({named(classes)}); expected >= 2")
    if len(classes) > FEW_CLASSES and len(classes) > MOST_CLASSES * len(labels):
        raise Refusal(
            f"{where}: {len(classes)} different labels in {len(labels)} rows; "
            "expected classes, of which each has many rows"
        )
    return in_order(classes)


def _require_names(
    path: Path, frame: "pd.DataFrame", label: str, classes: Sequence[str], names: Sequence[str]
) -> None:
    """Check that the first line does not look like a row: names that are values of their columns.

    Columns that are numbered from 0 may be called like a class.

    Raises:
        Refusal: It looks like one.
    """
    if label not in classes or tuple(names) == tuple(map(str, range(len(names)))):
        return
    if all(_is_value(name, frame[name]) for name in map(str, frame.columns)):
        raise Refusal(
            f"{printable(str(path))}: the first line looks like a row, with {named([label])} for "
            "the name of the column of labels; expected names of columns"
        )


def _is_value(name: str, column: "pd.Series[Any]") -> bool:
    """Return whether the name of a column may be one of its values."""
    if is_text(column):
        return name in set(texts(column))
    return is_number(name)


def _parts(path: Path, source: Source, values: "dict[str, pd.Series[Any]]") -> dict[str, Indices]:
    """Return the rows of every split that a column names.

    Raises:
        Refusal: A name stands for no split, none is for training, or two share a group.
    """
    if source.split is None:
        return {"pool": np.arange(len(values["label"]))}
    where = f"{printable(str(path))}: column {named([source.split])}"
    column = values["split"].str.lower()
    unknown = sorted(set(column) - set(SPLITS))
    if unknown:
        raise Refusal(invalid(where, unknown[0], "one of: train, validation, test"))
    splits = column.map(SPLITS).to_numpy()
    parts = {name: np.flatnonzero(splits == name) for name in dict.fromkeys(SPLITS.values())}
    parts = {name: rows for name, rows in parts.items() if len(rows)}
    if "pool" not in parts:
        raise Refusal(f"{where}: no row is for training; expected train, validation or test")
    if source.group is not None:
        pairs = (
            values["group"]
            .groupby(values["group"])
            .apply(lambda group: len(set(splits[group.index])))
        )
        shared = [str(group) for group in pairs.index[pairs > 1]]
        if shared:
            raise Refusal(
                f"{where}: {len(shared)} values of column {named([source.group])} are in two "
                f"splits ({named(shared[:3])}); expected each in one"
            )
    return parts


def _require_complete(path: Path, source: Source, columns: Columns, rows: int) -> None:
    """Check that values are missing only where they may be.

    Raises:
        Refusal: Some are missing, or all of a column.
    """
    absent = [name for name, count in columns.missing.items() if count == rows]
    if absent:
        raise Refusal(
            f"{printable(str(path))}: column {named(absent)}: no values; "
            f"expected source.ignore: [{named(absent)}]"
        )
    if columns.missing and source.missing == "refuse":
        counts = named([f"{name} ({count})" for name, count in columns.missing.items()])
        raise Refusal(
            f"{printable(str(path))}: {sum(columns.missing.values())} missing values, in {counts}; "
            "expected source.missing: impute, or columns in source.ignore"
        )


def _weak_columns(table: Table) -> list[str]:
    """Return a line for features that do not vary, and one for those too far from 0 to resolve."""
    rows = table.columns.rows[:, :, 0, 0]
    lowest, highest = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
    lines = []
    merged = np.isin(table.columns.names, table.columns.merged)
    one_value = (lowest == highest) & ~merged
    constant = [table.columns.names[place] for place in np.flatnonzero(one_value)]
    if constant:
        lines.append(f"one value in all rows of {named(constant)}: it tells no class")
    spread = np.nanstd(rows, axis=0, dtype=np.float64)
    far = (np.abs(highest.astype(np.float64)) > CONSTANT * spread) & ~one_value
    if far.any():
        names = [table.columns.names[place] for place in np.flatnonzero(far)]
        lines.append(
            f"values of {named(names)} differ by less than a part in {CONSTANT}: single precision "
            "resolves them coarsely; subtract a constant"
        )
    return lines
