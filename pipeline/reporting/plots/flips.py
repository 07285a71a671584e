"""Draw the test images that an arm classifies better, or worse, than its reference."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.data.arrays import MAX_PIXEL
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.style import WIDTH, style

ARMS = 4  # with a row of their own
TITLE, LARGE, SMALL = 10, 9, 6.5  # points of type: of a row, of short names of classes, of others
SHORT, LONGEST = 7, 10  # letters of a name of a class, in large type and in small type
EACH = 6  # images on either side
ROW = 1.25  # inches of height


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the figure, if an arm with a verdict changes any image."""
    rows = {}
    for key in data.decided[:ARMS]:
        table = data.flips[(data.flips["study"] == key[0]) & (data.flips["arm"] == key[1])]
        if not table.empty:
            rows[data.label(*key)] = table
    if rows and data.pictures:
        yield "flips", flips(rows, data.pictures, data.data.get("class_names", ()))


def flips(
    rows: Mapping[str, pd.DataFrame], pictures: Mapping[int, Any], names: Sequence[str] = ()
) -> Figure:
    """Return a figure with a row per arm: gained images on the left, lost images on the right.

    Args:
        rows: The table `flips` of every arm, by its label.
        pictures: The images (channels, height, width) by number; see `draw_image`.
        names: Those of the classes, in the order of their numbers; empty if they have none.
    """
    with style():
        figure = Figure(figsize=(WIDTH, ROW * len(rows)), layout="constrained")
        parts = figure.subfigures(len(rows), 2, squeeze=False, wspace=0.03)
        for sides, (label, table) in zip(parts, rows.items(), strict=True):
            gained = table[table["difference"] > 0].head(EACH)
            lost = table[table["difference"] < 0].head(EACH)
            for part, words, side in zip(sides, ("better", "worse"), (gained, lost), strict=True):
                part.suptitle(f"{label}: {words}", x=0.01, ha="left", fontsize=TITLE)
                axes = part.subplots(1, EACH)
                for ax in axes:
                    ax.set_axis_off()
                for ax, row in zip(axes, rows_of(side), strict=False):
                    draw_image(ax, pictures[row["image"]], row, class_title(row["label"], names))
    return figure


def class_title(label: int, names: Sequence[str]) -> str:
    """Return the name of a class, cut where it is long; `class 3` if it is a number."""
    name = names[label] if names else str(label)
    if name.isdecimal():
        return f"class {name}"
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def draw_image(ax: Axes, image: Any, row: Mapping[str, Any], title: str) -> None:
    """Draw one image with its class and the shares of seeds that are right, before and after.

    Args:
        ax: The panel.
        image: The pixels (channels, height, width): bytes, or fractions of another type.
        row: Its row of the table `flips`.
        title: The name of its class.
    """
    pixels = np.moveaxis(np.asarray(image), 0, -1)
    white = MAX_PIXEL if pixels.dtype.kind in "iu" else 1
    shown = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    ax.imshow(shown, cmap="gray", vmin=0, vmax=white, interpolation="none")
    before, after = (f"{100 * row[name]:.0f}" for name in ("before", "after"))
    size = LARGE if len(title) <= SHORT else SMALL
    ax.set_title(f"{title}\n{before}→{after}", fontsize=size, fontweight="normal", loc="center")
