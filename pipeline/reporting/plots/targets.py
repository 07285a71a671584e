"""Draw the share of runs that have reached the target, against updates, for every study."""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.style import DASHES, WIDTH, arm_colors, legend_columns, style


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study with an arm whose runs have curves."""
    palette = arm_colors(data)
    for study in data.confirmation.studies_of("comparison"):
        rows = of(data.target_times, study.name)
        if len(study.arms) > 1 and len(rows):
            last = of(data.curves, study.name)["updates"].max()
            yield f"targets_{study.name}", share_reached(rows, float(last), palette)


def share_reached(frame: pd.DataFrame, last: float, palette: Mapping[str, str]) -> Figure:
    """Return a figure with a line of steps per arm.

    `frame` has arm and updates, infinite for a run that never reaches the target; `last` is the end
    of the horizontal axis.
    """
    arms = list(dict.fromkeys(frame["arm"]))
    columns = legend_columns(arms)
    rows_of_legend = math.ceil(len(arms) / columns)
    with style():
        height = 3.3 + 0.28 * rows_of_legend
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        ax = figure.subplots()
        for arm, rows in frame.groupby("arm", sort=False):
            times = np.sort(rows["updates"].to_numpy(float))
            reached = times[np.isfinite(times)]
            places = [0.0, *reached, last]
            counts = [*range(len(reached) + 1), len(reached)]
            shares = [100 * count / len(times) for count in counts]
            line = DASHES if arm == BASELINE else "-"
            ax.step(
                places, shares, where="post", color=palette[str(arm)], linestyle=line, label=arm
            )
        ax.set_xlabel("updates")
        ax.set_ylabel("runs at the target (%)")
        ax.set_xlim(0, last)
        ax.set_ylim(-3, 103)
        handles, labels = ax.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure
