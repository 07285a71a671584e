"""Describe the images of a protocol, also when their source is no longer there."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.data import sources
from pipeline.data.arrays import DatasetInfo
from pipeline.data.pools import class_numbers
from pipeline.data.prepared import read_summary
from pipeline.runtime.errors import Refusal

LOCK = Path("dvc.lock")


def describe(
    dataset: str,
    source: Mapping[str, Any],
    prepared: Path,
    classes: Sequence[int | str] | None = None,
) -> DatasetInfo:
    """Return the dataset's properties: from its source, otherwise as prepared with these settings.

    Args:
        dataset: The name of the dataset.
        source: The complete settings of its source.
        prepared: The folder of the prepared arrays.
        classes: The classes that are kept; None for all.

    Raises:
        Refusal: A class does not exist; or the source cannot be read, and what is prepared was
            read with other settings.
    """
    try:
        info = sources.describe(dataset, source)
    except Refusal as refusal:
        summary = prepared_with(dataset, source, prepared)
        if not summary:
            raise Refusal(*refusal.lines[:-1], refusal.lines[-1] + _way_back(prepared)) from None
        shape = tuple(summary["shape"])
        info = DatasetInfo(shape, summary["of_dataset"], summary["flips_keep_labels"])
    if classes is None:
        return info
    numbers = [item for item in classes if isinstance(item, int)]  # names are read by `prepare`
    class_numbers(numbers, (), info.classes, "data.classes")
    return replace(info, classes=len(classes))


def _way_back(prepared: Path) -> str:
    """Return how to restore prepared arrays that are gone and recorded, "" for none."""
    is_recorded = LOCK.is_file() and f"path: {prepared.as_posix()}\n" in LOCK.read_text()
    if prepared.exists() or not is_recorded:
        return ""
    return f"; or restore what was prepared: dvc checkout {prepared}"


def prepared_with(dataset: str, source: Mapping[str, Any], prepared: Path) -> dict[str, Any]:
    """Return the summary of the prepared data; empty unless it was read with these settings."""
    try:
        summary = read_summary(prepared)
    except Refusal:
        return {}
    settings = dataset, sources.format_settings(source)
    return summary if (summary["dataset"], summary.get("source")) == settings else {}
