"""Inspect images and labels in NumPy files."""

from pathlib import Path

import numpy as np

from pipeline.data import sources
from pipeline.data.checks import require_examples
from pipeline.data.inspection.inspection import DataOptions, Inspection, inspection_of
from pipeline.data.numpy_files import ArrayFile, list_arrays
from pipeline.data.paths import path_in_settings, printable
from pipeline.data.white import USED, likely_depth
from pipeline.runtime.errors import Refusal

DATASET = "array_files"
FULL = {"uint8": 255.0, "uint16": 65535.0}
MOST_LEVELS = 1_000_000_000  # values whose highest is looked for


def inspect_arrays(images: Path, labels: Path | None, options: DataOptions) -> Inspection:
    """Return the inspection of an .npz file, or of an .npy file of images and one of labels.

    Raises:
        Refusal: The arrays are not images with a label each.
    """
    reasons: dict[str, str] = {}
    source: dict[str, object] = {}
    if labels is None:
        source["path"] = path_in_settings(images)
    else:
        source |= _pair(images, labels)
    if options.layout:
        source["layout"] = options.layout
    if options.flips_keep_labels:
        source["flips_keep_labels"] = True
    file = list_arrays(images).get("images" if labels is None else "")
    white, reasons["white"] = _white(file, options) if file else (None, "")
    if white is not None:
        source["white"] = white
    splits = sources.read(DATASET, source)
    require_examples(splits)
    short, long = sorted(splits.pool.shape[1:])
    return inspection_of(
        splits,
        [printable(name) for name in splits.class_names or map(str, range(splits.pool.classes))],
        dataset=DATASET,
        source=source,
        reasons=reasons,
        is_image=True,
        facts=(f"short axis: {short} pixels", f"long axis: {long} pixels"),
        flips_keep_labels=options.flips_keep_labels,
    )


def _pair(images: Path, labels: Path) -> dict[str, str]:
    if not labels.is_file():
        raise Refusal(f"{labels}: missing; expected the labels of {images.name}, or --labels FILE")
    return {"images": path_in_settings(images), "labels": path_in_settings(labels)}


def _white(file: ArrayFile, options: DataOptions) -> tuple[float | None, str]:
    """Return the level that becomes 1, None for the level of the type, and why."""
    if options.white is not None:
        return options.white, "as asked for"
    name, kind = file.dtype.name, file.dtype.kind
    if kind not in "iuf" or np.prod(file.shape) > MOST_LEVELS:
        return None, ""
    highest = float(file.read().max(initial=0))
    if not np.isfinite(highest) or highest <= 1 + 1e-6:
        return (1.0, "levels are 0 and 1") if kind in "iu" and highest > 0 else (None, "")
    full = FULL.get(name)
    if name == "uint8" or (full and highest >= USED * full):
        return None, ""
    depth = 8 if highest <= FULL["uint8"] else likely_depth(highest, FULL["uint16"] + 1)
    return float(2**depth - 1), f"levels up to {highest:g}: {depth} bits"
