"""Inspect a table: the roles of its columns, and the columns that are not features."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.config.validation import invalid, suggestion
from pipeline.data import sources
from pipeline.data.checks import require_examples
from pipeline.data.inspection.inspection import DataOptions, Inspection, inspection_of
from pipeline.data.paths import path_in_settings, printable
from pipeline.data.sources._columns import is_free_text, is_text, numbers_in, texts
from pipeline.data.sources._table_file import (
    SEPARATORS,
    column_names,
    first_rows,
    likely_separator,
    named,
    read_columns,
)
from pipeline.data.sources.table import SPLITS
from pipeline.runtime.errors import Refusal

if TYPE_CHECKING:
    import pandas as pd

DATASET = "table"
SPLIT_NAMES = ("split", "set", "subset", "partition", "part", "fold")  # in lowercase
IDENTIFIER = re.compile(r"(^|[_ .-])(id|uuid)$|Id$|ID$")
NUMBERING = re.compile(r"(^|[_ .-])(key|index|row|nr|no|number)$")
OWNER = re.compile(r"(^|[_ .-])(patient|subject|participant|person|user|customer|group)([_ .-]|$)")
REPEATED = 1.5  # mean rows of a value, from which it names a group
FEWEST_GROUPS = 10
DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
QUANTITY = re.compile(r"[€$£¥]?\s*[+-]?\d[\d.,'\s]*(\s*[%€$£¥°]|\s[^\W\d]{1,3})?")
MOSTLY = 0.5  # share of values
CODES = {sign * (10**digits - 1) for sign in (-1, 1) for digits in (2, 3, 4, 5)}  # as -999
LEADING_ZERO = re.compile(r"0\d+")
MOST_FOLDS = 20
TELLTALE = 5  # mean rows of a value, from which one class for each value is not by chance


@dataclass(frozen=True)
class Roles:
    """The roles of columns that are not features, the reasons by key of the source, warnings."""

    split: str | None
    group: str | None
    ignored: tuple[str, ...]
    reasons: dict[str, str]
    warnings: tuple[str, ...]


def inspect_table(path: Path, options: DataOptions) -> Inspection:
    """Return the inspection of a CSV or Parquet file.

    Raises:
        Refusal: `options` name no column of labels, or the table cannot be used.
    """
    separator = likely_separator(path) if options.separator is None else options.separator
    if len(separator) != 1:
        expected = "one character; a tab is recognized without --separator"
        raise Refusal(invalid("--separator", separator, expected))
    names = column_names(path, separator)
    label = _label(path, names, options)
    decimal = _decimal(path, separator, names)
    frame = read_columns(path, separator, decimal, [name for name in names if name], [label])
    roles = _roles(frame, label, options)
    source: dict[str, Any] = {"path": path_in_settings(path), "label": label}
    if separator != SEPARATORS[0]:
        source["separator"] = separator
    if decimal != ".":
        source["decimal"] = decimal
    named_roles = {"split": roles.split, "group": roles.group}
    source |= {key: column for key, column in named_roles.items() if column is not None}
    if roles.ignored:
        source["ignore"] = list(roles.ignored)
    if options.categories:
        source["categories"] = list(options.categories)
    reasons = dict(roles.reasons)
    missing = _missing(frame, source)
    if missing:
        source["missing"] = "impute"
        absent = named([f"{name} ({count})" for name, count in missing.items()])
        reasons["missing"] = f"missing in {absent}: the mean of the training rows of each run"
    splits = sources.read(DATASET, source)
    require_examples(splits)
    of_rows = splits.pool.groups
    groups = None if of_rows is None else np.unique(of_rows, return_counts=True)[1]
    return inspection_of(
        splits,
        [printable(name) for name in splits.class_names],
        dataset=DATASET,
        source=source,
        reasons=reasons,
        is_image=False,
        facts=tuple(_facts(frame, roles, splits.feature_names, missing)),
        warnings=[
            *roles.warnings,
            *_telltale(frame, source),
            *_codes(frame, source),
            *_leading_zeros(path, separator, frame, source),
            *_folds(frame, source),
        ],
        groups=None if groups is None else len(groups),
        largest_group=0 if groups is None else int(groups.max()),
    )


def _label(path: Path, names: Sequence[str], options: DataOptions) -> str:
    """Return the column of labels.

    Raises:
        Refusal: None is named.
    """
    if options.label is None:
        raise Refusal(
            f"--label: missing; expected the column of the classes in {printable(str(path))}, "
            f"one of: {named(names)}"
        )
    if options.label not in names:
        raise Refusal(
            f"--label: unknown column {named([options.label])}; expected one of: {named(names)}"
            f"{printable(suggestion(options.label, names))}"
        )
    return options.label


def _decimal(path: Path, separator: str, names: Sequence[str]) -> Literal[".", ","]:
    """Return the decimal point: a comma if columns have numbers with one, and none with a point."""
    if separator == ",":
        return "."
    used = [name for name in names if name]
    frame = read_columns(path, separator, ".", used, used).head(1000)
    values = [str(value) for name in used for value in frame[name].dropna()]
    with_comma = any(DECIMAL_COMMA.fullmatch(value) for value in values)
    with_point = any(re.fullmatch(r"-?\d+\.\d+", value) for value in values)
    return "," if with_comma and not with_point else "."


def _roles(frame: "pd.DataFrame", label: str, options: DataOptions) -> Roles:
    """Return the columns that are not features: the user's, otherwise columns that look like it."""
    reasons = {}
    warnings = []
    split, group = options.split, options.group
    ignored = list(options.ignore)
    why_ignored = [f"{named(options.ignore)}: as asked for"] if options.ignore else []
    open_columns = [
        name
        for name in map(str, frame.columns)
        if name not in (label, split, group, *ignored, *options.categories)
    ]
    for name in open_columns:
        column = frame[name]
        if split is None and _is_split(name, column):
            split = name
            reasons["split"] = "its values name splits"
        elif group is None and _is_group(name, column) and column.isna().any():
            ignored.append(name)
            gaps = f"{named([name])}: names groups, and {int(column.isna().sum())} rows have none"
            why_ignored.append(gaps)
            warnings.append(
                f"column {gaps}: left out; fill it in, or rows of one group may be in two splits"
            )
        elif group is None and _is_group(name, column):
            group = name
            reasons["group"] = (
                f"{column.nunique()} values in {len(column)} rows: rows that share one stay in one "
                "split; --ignore for the column left out instead"
            )
        elif why := _useless(name, column):
            ignored.append(name)
            why_ignored.append(why)
            warnings += _quantities(name, column)
    for key, option in (("split", options.split), ("group", options.group)):
        if option is not None:
            reasons[key] = "as asked for"
    if why_ignored:
        reasons["ignore"] = "; ".join(why_ignored)
    return Roles(split, group, tuple(ignored), reasons, tuple(warnings))


def _is_split(name: str, column: "pd.Series[Any]") -> bool:
    if name.lower() not in SPLIT_NAMES or not is_text(column):
        return False
    values = set(texts(column).dropna().str.lower())
    parts = {SPLITS.get(value) for value in values}
    return None not in parts and "pool" in parts and len(parts) > 1 and not column.isna().any()


def _is_group(name: str, column: "pd.Series[Any]") -> bool:
    """Return whether a column names groups of several rows; it may be empty in some rows."""
    column = column.dropna()
    if not (IDENTIFIER.search(name) or OWNER.search(name.lower())):
        return False
    different = column.nunique()
    is_whole = is_text(column) or bool((column.astype(float) % 1 == 0).all())
    return is_whole and different >= FEWEST_GROUPS and len(column) >= REPEATED * different


def _useless(name: str, column: "pd.Series[Any]") -> str:
    """Return why a column cannot help on new rows, "" if it can."""
    if is_text(column):
        column = texts(column)
        if is_free_text(column) and not numbers_in(column).mean() > MOSTLY:
            return f"{named([name])}: free text, {column.nunique()} values in {len(column)} rows"
        return ""
    is_name = IDENTIFIER.search(name) or NUMBERING.search(name.lower())
    is_number = column.nunique() == len(column) and is_name
    is_counter = len(column) > 2 and bool((column.diff().iloc[1:] == 1).all())
    if is_number or is_counter:
        return f"{named([name])}: another number in every row, so it names the row"
    return ""


def _quantities(name: str, column: "pd.Series[Any]") -> list[str]:
    """Return a line if a column that is left out as text has numbers with units or separators."""
    if not is_text(column):
        return []
    present = texts(column).dropna()
    numbers = present[present.map(lambda value: QUANTITY.fullmatch(value) is not None)]
    if len(numbers) <= MOSTLY * len(present):
        return []
    return [
        f"column {named([name])}: left out as text, since its values ({named([numbers.iloc[0]])}) "
        "have separators of thousands or units; write plain numbers"
    ]


def _telltale(frame: "pd.DataFrame", source: dict[str, Any]) -> list[str]:
    """Return a line if columns may be made from the label: each value has a single class."""
    labels = texts(frame[source["label"]])
    names = []
    for name in _features(frame, source):
        column = frame[name].dropna()
        different = column.nunique()
        if 1 < different <= len(column) / TELLTALE:
            classes = labels[column.index].groupby(column.to_numpy()).nunique()
            names += [name] if classes.max() == 1 else []
    if not names:
        return []
    return [
        f"column {named(names)}: each value occurs with one class alone; --ignore it if it is not "
        "known before the class is"
    ]


def _codes(frame: "pd.DataFrame", source: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each column with a number far from all others that may stand for missing."""
    for name in _numeric_features(frame, source):
        column = frame[name].dropna().astype(float)
        for code in sorted(CODES & set(column.unique())):
            others = column[column != code]
            distance, spread = (others - code).abs().min(), others.max() - others.min()
            if distance > spread:  # false without other values: both are NaN
                rows = int((column == code).sum())
                yield (
                    f"column {named([name])}: {code} in {rows} of {len(frame)} rows, far from all "
                    "other values; if it means that the value is missing, leave these cells empty"
                )


def _leading_zeros(
    path: Path, separator: str, frame: "pd.DataFrame", source: dict[str, Any]
) -> Iterator[str]:
    """Yield a line for each column with numbers that are written with a leading zero."""
    rows = first_rows(path, separator)
    places = {name: place for place, name in enumerate(column_names(path, separator))}
    for name in _numeric_features(frame, source):
        values = [row[places[name]].strip() for row in rows if len(row) > places[name]]
        written = next((value for value in values if LEADING_ZERO.fullmatch(value)), None)
        if written:
            option = "--ignore" if is_free_text(texts(frame[name])) else "--category"
            yield (
                f"column {named([name])}: values such as {written} are read as numbers, without "
                f"the leading zero; if they are codes: {option} {named([name])}"
            )


def _folds(frame: "pd.DataFrame", source: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each column of numbers that is called as splits are."""
    for name in _numeric_features(frame, source):
        column = frame[name].dropna()
        is_whole = bool((column.astype(float) % 1 == 0).all())
        if name.lower() in SPLIT_NAMES and is_whole and column.nunique() <= MOST_FOLDS:
            yield (
                f"column {named([name])}: its numbers are a feature and set no split; if they "
                f"are folds: --ignore {named([name])}"
            )


def _numeric_features(frame: "pd.DataFrame", source: dict[str, Any]) -> list[str]:
    """Return the features that are read as numbers and are amounts."""
    categories = source.get("categories", ())
    features = [name for name in _features(frame, source) if name not in categories]
    return [name for name in features if not is_text(frame[name])]


def _features(frame: "pd.DataFrame", source: dict[str, Any]) -> list[str]:
    others = {source["label"], source.get("split"), source.get("group"), *source.get("ignore", ())}
    return [name for name in map(str, frame.columns) if name not in others]


def _missing(frame: "pd.DataFrame", source: dict[str, Any]) -> dict[str, int]:
    """Return the number of missing values of every feature's column that has any."""
    counts = {}
    for name in _features(frame, source):
        column = texts(frame[name]) if is_text(frame[name]) else frame[name]
        counts[name] = int(column.isna().sum())
    return {name: count for name, count in counts.items() if count}


def _facts(
    frame: "pd.DataFrame", roles: Roles, features: Sequence[str], missing: dict[str, int]
) -> list[str]:
    columns = {feature.split("=")[0] for feature in features}
    more = ": one for each category" if len(features) > len(columns) else ""
    facts = [f"features: {len(features)}, of {len(columns)} columns{more}"]
    if missing:
        share = 100 * sum(missing.values()) / (len(frame) * len(columns))
        facts.append(f"missing values: {sum(missing.values()):,} ({share:.2g} %)")
    if roles.group is not None:
        facts.append(f"groups: {frame[roles.group].nunique():,} of column {named([roles.group])}")
    if roles.split is not None:
        facts.append(f"splits: column {named([roles.split])}")
    if roles.ignored:
        facts.append(f"left out: {named(roles.ignored)}")
    return facts
