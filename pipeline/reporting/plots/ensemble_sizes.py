"""Draw test scores against the number of members, for every method of an ensemble study."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.figure import Figure

from pipeline.comparison.equal_cost import SINGLE
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.plots._scores import score_curves
from pipeline.reporting.style import method_colors


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study of ensembles with several sizes."""
    for study in data.confirmation.studies_of("ensemble"):
        sizes = of(data.member_gains, study.name)
        methods = of(data.equal_cost, study.name)
        if len(sizes) and len(methods):
            single = methods[methods["role"] == SINGLE].set_index("metric")
            frame = size_frame(sizes, single["mean"])
            palette = method_colors(single["method"].iloc[0], sizes["method"])
            words = ("members averaged", single["method"].iloc[0])
            yield f"ensemble_sizes_{study.name}", score_curves(frame, palette, *words)


def size_frame(sizes: pd.DataFrame, single: pd.Series) -> pd.DataFrame:
    """Return label, number, metric, mean, low and high; number 0 of every label is one model.

    `single` has the means of that model by metric.
    """
    frame = sizes.rename(columns={"method": "label", "members": "number"})
    frame = frame[["label", "number", "metric", "mean", "low", "high"]]
    starts = frame.loc[frame["number"] == 1, ["label", "metric"]]
    starts = starts.assign(number=0, mean=starts["metric"].map(single))
    return pd.concat([starts, frame], ignore_index=True)
