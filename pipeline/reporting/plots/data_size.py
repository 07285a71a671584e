"""Draw test accuracy and differences against the number of training examples."""

import itertools
from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

from pipeline.config.plan import Factor, PlannedStudy, Setting
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import canonical, series_labels, without_size
from pipeline.reporting.pages._data_size import has_sizes
from pipeline.reporting.style import BAND, DARK, DASHES, MARKERS, WIDTH, add_legend, colors, style

COLUMNS = ("series", "label", "size", "mean", "low", "high")
PLAIN: tuple[Factor, Setting] = (Factor(), {})  # the series of the baseline


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study that tries several training-set sizes."""
    for study in data.confirmation.studies_of("comparison"):
        if has_sizes(study):
            yield f"growth_{study.name}", data_size(*size_frames(data, study))


def size_frames(data: ReportData, study: PlannedStudy) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return accuracies and differences (fractions) by series and size, with columns `COLUMNS`.

    A series is named by the changes of its arms besides size, epochs and tuned values. Arms that
    change nothing else are the baseline's, which comes first. `series` names it, `label` is for the
    legend. Differences are to an arm of the same size.
    """
    arms = {arm.name: arm for arm in study.arms}
    primary = of(data.primary, study.name).set_index("arm")
    settings = primary["setting"].to_dict()
    tuned = data.confirmation.tuned
    series = {
        name: without_size(arm.factor, settings.get(name, {}), tuned) for name, arm in arms.items()
    }
    keys = {name: _key(*changed) for name, changed in series.items()}
    distinct = {key: series[name] for name, key in keys.items()}
    labels = dict(zip(distinct, series_labels(list(distinct.values())), strict=True))
    scores: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for name, arm in arms.items():
        point = {"series": keys[name], "label": labels[keys[name]], "size": arm.train_size}
        scores.append({**data.outcome(study.name, name, "test_accuracy"), **point})
        same_size = arms[arm.against].train_size == arm.train_size
        if series[name] != PLAIN and same_size and name in primary.index:
            row = primary.loc[name]
            bounds = {"mean": row["difference"], "low": row["low"], "high": row["high"]}
            differences.append(point | bounds)
    scored = [row for row in scores if row["n"]]
    return _in_order(scored), _in_order(differences)


def data_size(scores: pd.DataFrame, differences: pd.DataFrame) -> Figure:
    """Return a figure with a line per series: above the accuracies, below the differences.

    Both have the columns `COLUMNS`, in fractions.
    """
    labels = dict(zip(scores["series"], scores["label"], strict=True))
    palette, markers = colors(labels.values()), itertools.cycle(MARKERS)
    looks = {
        series: {"color": palette[label], "marker": next(markers)}
        for series, label in labels.items()
    }
    with style():
        figure = Figure(figsize=(WIDTH, 7.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        for series, look in looks.items():
            draw_scores(upper, scores[scores["series"] == series], **look)
            draw_differences(lower, differences[differences["series"] == series], **look)
        lower.axhline(0, color=DARK, linestyle=DASHES, linewidth=1.5)
        upper.set_ylabel("test accuracy (%)")
        lower.set(ylabel="difference (points)", xlabel="training examples", xscale="log")
        lower.xaxis.set_major_locator(FixedLocator(sorted(set(scores["size"]))))
        lower.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        lower.xaxis.set_minor_locator(NullLocator())
        figure.align_ylabels()
        add_legend(figure, {labels[series]: look for series, look in looks.items()})
    return figure


def draw_scores(ax: Axes, rows: pd.DataFrame, color: str, marker: str) -> None:
    """Draw the accuracies of one series with their band."""
    low, high = 100 * rows["low"], 100 * rows["high"]
    ax.fill_between(rows["size"], low, high, color=color, alpha=BAND, linewidth=0)
    ax.plot(rows["size"], 100 * rows["mean"], color=color, marker=marker)


def draw_differences(ax: Axes, rows: pd.DataFrame, color: str, marker: str) -> None:
    """Draw the differences of one series with their intervals as bars."""
    bars = [100 * (rows["mean"] - rows["low"]), 100 * (rows["high"] - rows["mean"])]
    mean = 100 * rows["mean"]
    ax.errorbar(rows["size"], mean, yerr=bars, capsize=4, color=color, marker=marker)


def _in_order(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows by series, the baseline's first, and by size."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    order = frame.assign(other=frame["series"] != _key(*PLAIN))
    order = order.sort_values(["other", "label", "series", "size"])
    return order[list(COLUMNS)].reset_index(drop=True)


def _key(factor: Factor, setting: Setting) -> str:
    return canonical([factor.model_dump(mode="json"), setting])
