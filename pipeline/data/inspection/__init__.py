"""Inspect data that no protocol names yet: their properties, their source and its settings."""

from collections.abc import Collection
from dataclasses import fields
from pathlib import Path

from pipeline.data.inspection.array_files import inspect_arrays
from pipeline.data.inspection.image_folder import inspect_folder
from pipeline.data.inspection.inspection import DataOptions, Inspection
from pipeline.data.inspection.table import inspect_table
from pipeline.data.paths import printable
from pipeline.data.sources._table_file import PARQUET
from pipeline.runtime.errors import Refusal

PAIR = ("images.npy", "labels.npy")
TABLES = (".csv", ".tsv", ".txt", *PARQUET)
OF_FOLDERS = ("size", "color", "white", "unreadable", "flips_keep_labels")
OF_ARRAYS = ("white", "layout", "flips_keep_labels")
OF_TABLES = ("label", "split", "group", "ignore", "categories", "separator")
OPTIONS = {"flips_keep_labels": "--flips", "categories": "--category"}  # others are as the fields


def inspect(path: Path, options: DataOptions) -> Inspection:
    """Return the inspection of a folder of images, of arrays in NumPy files, or of a table.

    Args:
        path: The absolute path.
        options: What the user says of the data.

    Raises:
        Refusal: There is nothing to train on, or an option does not apply to it.
    """
    require_path(path)
    if path.is_dir() and all((path / name).is_file() for name in PAIR):
        _require_applicable(options, OF_ARRAYS, "a folder of arrays")
        return inspect_arrays(path / PAIR[0], path / PAIR[1], options)
    if path.is_dir():
        _require_applicable(options, OF_FOLDERS, "a folder of images")
        return inspect_folder(path, options)
    if path.suffix.lower() == ".npy":
        _require_applicable(options, (*OF_ARRAYS, "labels"), "an .npy file")
        labels = Path(options.labels) if options.labels else path.with_name(PAIR[1])
        return inspect_arrays(path, labels, options)
    if path.suffix.lower() == ".npz":
        _require_applicable(options, OF_ARRAYS, "an .npz file")
        return inspect_arrays(path, None, options)
    if path.suffix.lower() in TABLES:
        _require_applicable(options, OF_TABLES, "a table")
        return inspect_table(path, options)
    raise Refusal(
        f"{printable(str(path))}: unknown kind of file; "
        "expected a folder with one for each class, or an .npz, .npy, .csv or .parquet file"
    )


def require_path(path: Path) -> None:
    """Check that there is something at the path of the data.

    Args:
        path: The absolute path.

    Raises:
        Refusal: There is nothing.
    """
    if not path.exists():
        raise Refusal(
            f"{printable(str(path))}: missing; expected a folder of images, arrays or a table"
        )


def _require_applicable(options: DataOptions, names: Collection[str], kind: str) -> None:
    """Check that every option that is given applies to the kind of data.

    Raises:
        Refusal: A line for each that does not.
    """
    chosen = [
        option.name for option in fields(options) if getattr(options, option.name) != option.default
    ]
    errors = [
        f"{OPTIONS.get(name, f'--{name}')}: not applicable to {kind}; remove the option"
        for name in chosen
        if name not in names
    ]
    if errors:
        raise Refusal(*errors)
