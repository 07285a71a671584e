"""Look at data that no protocol names yet: what they are, and which source reads them how."""

from pathlib import Path

from pipeline.data.inspection.array_files import inspect_arrays
from pipeline.data.inspection.image_folder import inspect_folder
from pipeline.data.inspection.inspection import DataOptions, Inspection
from pipeline.data.inspection.table import inspect_table
from pipeline.data.paths import printable
from pipeline.data.sources._table_file import PARQUET
from pipeline.runtime.errors import Refusal

ARRAYS = (".npz", ".npy")
PAIR = ("images.npy", "labels.npy")
TABLES = (".csv", ".tsv", ".txt", *PARQUET)


def inspect(path: Path, options: DataOptions) -> Inspection:
    """Return what is found at a path: a folder of images, arrays in NumPy files, or a table.

    Args:
        path: The absolute path.
        options: What the user says of the data.

    Raises:
        Refusal: There is nothing to train on.
    """
    if not path.exists():
        raise Refusal(
            f"{printable(str(path))}: missing; expected a folder of images, arrays or a table"
        )
    if path.is_dir() and all((path / name).is_file() for name in PAIR):
        return inspect_arrays(path / PAIR[0], path / PAIR[1], options)
    if path.is_dir():
        return inspect_folder(path, options)
    if path.suffix.lower() in ARRAYS:
        labels = Path(options.labels) if options.labels else path.with_name(PAIR[1])
        return inspect_arrays(path, labels if path.suffix.lower() == ".npy" else None, options)
    if path.suffix.lower() in TABLES:
        return inspect_table(path, options)
    raise Refusal(
        f"{printable(str(path))}: unknown kind of file; "
        "expected a folder with one for each class, or an .npz, .npy, .csv or .parquet file"
    )
