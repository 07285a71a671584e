"""Read a table from a CSV or Parquet file; a bad file gives one line with a remedy.

pandas is imported where it is used, since commands that read no table need not wait for it.
"""

import csv
import io
import itertools
import re
import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from pipeline.data.paths import printable
from pipeline.runtime.errors import Refusal

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 500 << 20  # bytes of a CSV file
EXPANSION = 5  # memory that it takes while it is read, in its sizes
MOST_VALUES = 200_000_000  # values of a Parquet file: rows x columns
PARQUET = (".parquet", ".pq")
MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "None", "?", "<NA>")
SEPARATORS = (",", ";", "\t", "|")
LONGEST_NAME = 1000  # characters
FIRST = 1000  # rows that are looked at as they are written
NAMED = 8  # columns named in one line


def named(names: Sequence[str]) -> str:
    """Return some of the names of columns or values, as they can be printed."""
    more = f" and {len(names) - NAMED} others" if len(names) > NAMED else ""
    return printable(", ".join(names[:NAMED])) + more


def column_names(path: Path, separator: str) -> tuple[str, ...]:
    """Return the names of the columns.

    Raises:
        Refusal: The file is missing, empty or too large, or names are missing or there twice.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "missing"
        raise Refusal(f"{printable(str(path))}: {what}; expected a CSV or Parquet file")
    names = _parquet_names(path) if _is_parquet(path) else _header(path, separator)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise Refusal(
            f"{printable(str(path))}: two columns have the name {named(twice)}; "
            "expected another name for each"
        )
    return names


def likely_separator(path: Path) -> str:
    """Return the separator that divides the first line into the most columns."""
    if _is_parquet(path) or not path.is_file():
        return SEPARATORS[0]
    text = _first_text(path)
    return max(SEPARATORS, key=lambda separator: len(_fields(text, separator)))


def read_columns(
    path: Path, separator: str, decimal: str, columns: Sequence[str], texts: Collection[str]
) -> "pd.DataFrame":
    """Return the columns: `texts` as text, None where empty; others as numbers if they all are.

    Raises:
        Refusal: The file is corrupted, or a row has more values than there are columns.
    """
    if _is_parquet(path):
        return _read_parquet(path, columns, texts)
    import pandas as pd

    names = _header(path, separator)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                decimal=decimal,
                encoding="utf-8-sig",
                header=0,
                names=list(names),
                index_col=False,
                dtype=dict.fromkeys(texts, "str"),
                na_values={name: [""] if name in texts else list(MISSING) for name in columns},
                keep_default_na=False,
                skipinitialspace=True,
                low_memory=False,
            )
    except UnicodeDecodeError as error:
        raise _not_unicode(path, error) from None
    except pd.errors.ParserWarning:  # the first row is longer than the names
        raise Refusal(
            f"{printable(str(path))}: rows have more values than the first line has names "
            f"({len(names)}); expected as many"
        ) from None
    except ValueError as error:  # also pandas' ParserError
        reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
        raise Refusal(
            f"{printable(str(path))}: {printable(reason)}; expected {len(names)} values in every "
            "row, as in the first line, and text with separators in double quotes"
        ) from None
    return frame[list(columns)]


def first_rows(path: Path, separator: str) -> list[list[str]]:
    """Return rows as they are written at the beginning of a CSV file; none of a Parquet file."""
    if _is_parquet(path):
        return []
    text = io.StringIO(_first_text(path), newline="")
    rows = csv.reader(text, delimiter=separator, skipinitialspace=True)
    try:
        return list(itertools.islice(rows, 1, FIRST))
    except csv.Error:  # as in `_fields`
        return []


def _header(path: Path, separator: str) -> tuple[str, ...]:
    size = path.stat().st_size
    limit = min(MOST_BYTES, psutil.virtual_memory().available // EXPANSION)
    if size > limit:
        raise Refusal(
            f"{printable(str(path))}: {size / 2**20:.4g} MB; expected <= {limit / 2**20:.4g} MB, "
            "or a Parquet file, or fewer rows or columns"
        )
    text = _first_text(path)
    names = tuple(_fields(text, separator))
    others = [each for each in SEPARATORS if len(_fields(text, each)) > 1]
    if len(names) < 2 and others:
        raise Refusal(
            f"{printable(str(path))}: one column with source.separator {separator!r}; "
            f"expected source.separator: {others[0]!r}"
        )
    longest = max(map(len, names))
    if longest > LONGEST_NAME:
        raise Refusal(
            f"{printable(str(path))}: a name of {longest:,} characters or more in the first line; "
            "expected names of columns, with both quotes where they are quoted"
        )
    if unnamed := [str(place + 1) for place, name in enumerate(names) if not name and place]:
        raise Refusal(
            f"{printable(str(path))}: column {named(unnamed)} has no name; "
            "expected a name for each column in the first line"
        )
    return names


def _first_text(path: Path) -> str:
    """Return the beginning of the file, which has the names."""
    with path.open("rb") as file:
        content = file.read(1 << 20)
    text = _decoded(path, content)
    if not text.partition("\n")[0].strip():
        raise Refusal(
            f"{printable(str(path))}: empty; expected names of columns in the first line, then rows"
        )
    return text


def _decoded(path: Path, content: bytes) -> str:
    """Return the text, of which the last character may be incomplete."""
    try:
        return io.IncrementalNewlineDecoder(None, translate=True).decode(
            content.decode("utf-8-sig")
        )
    except UnicodeDecodeError as error:
        if error.start >= len(content) - 4 and len(content) == 1 << 20:
            return _decoded(path, content[: error.start])
        raise _not_unicode(path, error) from None


def _not_unicode(path: Path, error: UnicodeDecodeError) -> Refusal:
    return Refusal(
        f"{printable(str(path))}: not UTF-8 (byte {error.start + 1}: {error.reason}); "
        "expected a file saved as UTF-8"
    )


def _fields(text: str, separator: str) -> list[str]:
    """Return the names in the first record; a line break inside quotes becomes a space."""
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        return [" ".join(re.split(r"\s*\n\s*", name.strip())) for name in next(lines)]
    except csv.Error:  # the field of a file without line breaks, or after an open quote
        return [text]


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in PARQUET


def _parquet(path: Path) -> Any:
    """Return the opened Parquet file.

    Raises:
        Refusal: pyarrow is not installed, or the file is corrupted.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise Refusal(
            f"{printable(str(path))}: Parquet needs the package pyarrow; "
            "run: pip install pyarrow, or save the table as CSV"
        ) from None
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise Refusal(
            f"{printable(str(path))}: corrupted, or not Parquet: {printable(reason)}; "
            "expected a Parquet file"
        ) from None


def _parquet_names(path: Path) -> tuple[str, ...]:
    file = _parquet(path)
    values = file.metadata.num_rows * file.metadata.num_columns
    if values > MOST_VALUES:
        raise Refusal(
            f"{printable(str(path))}: {values:,} values; expected <= {MOST_VALUES:,}, "
            "so fewer rows or columns"
        )
    return tuple(file.schema_arrow.names)


def _read_parquet(path: Path, columns: Sequence[str], texts: Collection[str]) -> "pd.DataFrame":
    import pandas as pd

    frame = _parquet(path).read(columns=list(columns)).to_pandas()[list(columns)]
    for name in columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(column.cat.categories.dtype)
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
            is_number = True
        else:
            is_number = False
            if not (pd.api.types.is_string_dtype(column) or column.dtype == object):
                raise Refusal(
                    f"{printable(str(path))}: column {named([name])}: type {column.dtype}; "
                    f"expected numbers or text, or source.ignore: [{named([name])}]"
                )
        if name in texts or not is_number:
            present = column.notna()
            written = column[present].map(_written)
            column = written.reindex(column.index).astype("str")
        frame[name] = column
    return frame


def _written(value: Any) -> str:
    """Return a value as CSV has it; a whole number without a point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
