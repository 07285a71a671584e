"""Draw the share of runs that have reached the target, against updates, for every study."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.config.plan import BASELINE
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.plots._names import write_ends
from pipeline.reporting.plots.curves import set_logarithmic_updates
from pipeline.reporting.style import DASHES, WIDTH, arm_colors, style

LATE = 3  # times the updates of the last run that reaches the target: a linear axis squeezes all
FIRST = 0.5  # of the updates of the first run that reaches it: where a logarithmic axis begins
HEIGHT, LINE = 2.6, 0.18  # inches, of a panel for few arms and for the name of each
BEYOND = 1.02  # times the last update: where the horizontal axis ends


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study with an arm whose runs have curves."""
    palette = arm_colors(data)
    for study in data.confirmation.studies_of("comparison"):
        rows = of(data.target_times, study.name)
        if len(study.arms) > 1 and len(rows):
            last = of(data.curves, study.name)["updates"].max()
            yield f"targets_{study.name}", share_reached(rows, float(last), palette)


def share_reached(frame: pd.DataFrame, last: float, palette: Mapping[str, str]) -> Figure:
    """Return a figure with a line of steps per arm, named at its end.

    `frame` has arm and updates, infinite for a run that never reaches the target; `last` is the
    last update.
    """
    ends = {}
    end = BEYOND * last
    reached_times = frame.loc[np.isfinite(frame["updates"].astype(float)), "updates"]
    is_early = len(reached_times) > 0 and LATE * reached_times.max() < last
    start = FIRST * float(reached_times.min()) if is_early else 0.0
    with style():
        height = max(HEIGHT, LINE * len(set(frame["arm"]))) + 0.7
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        ax = figure.subplots()
        for arm, rows in frame.groupby("arm", sort=False):
            times = np.sort(rows["updates"].to_numpy(float))
            reached = times[np.isfinite(times)]
            places = [start, *reached, end]
            counts = [*range(len(reached) + 1), len(reached)]
            shares = [100 * count / len(times) for count in counts]
            line = DASHES if arm == BASELINE else "-"
            ax.step(places, shares, where="post", color=palette[str(arm)], linestyle=line)
            ends[str(arm)] = shares[-1]
        ax.set_xlabel("updates")
        ax.set_ylabel("runs that reached the target (%)")
        if is_early:
            set_logarithmic_updates(ax)
        ax.set_xlim(start, end)
        ax.set_ylim(-3, 103)
        write_ends(figure, ax, ends, palette)
    return figure
