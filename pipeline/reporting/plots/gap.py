"""Draw the gap against test accuracy: runs and means of every arm."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.config.plan import BASELINE
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.plots._names import write_names
from pipeline.reporting.style import (
    GREY,
    WIDTH,
    Look,
    arm_looks,
    legend_columns,
    look_handles,
    style,
    wrap_title,
)

QUARTILES = 4  # times the distance of the quartiles that an axis goes beyond them
AXES = ("gap", "test_accuracy")
NAMED = 14  # arms of a single panel
EACH = 9  # arms of one of several panels
HEIGHT, LOW_HEIGHT = 4.0, 2.9  # inches of a single panel, and of one of several
HIGHEST = 12.0  # inches of all panels together
FRAME = 0.6  # inches of a figure beside its panels and its legend
PALE = "#c8c8c8"
OTHER: dict[str, Any] = {"s": 45, "color": PALE, "linewidth": 0, "zorder": 1.5}
RUN: dict[str, Any] = {"alpha": 0.35, "linewidth": 0}
MEAN: dict[str, Any] = {"linewidth": 1.2, "edgecolor": "black"}
RUN_SIZE, MEAN_SIZE = 20, 90  # of markers, in points of type squared


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the scatter plot."""
    means = data.arms.pivot(index=["study", "arm"], columns="metric", values="mean").reset_index()
    shown = {BASELINE, *data.distinct["label"]}
    frames = [data.labelled(frame) for frame in (data.outcomes, means)]
    runs, means = (_named(data, frame[frame["label"].isin(shown)]) for frame in frames)
    yield "gap", scatter(runs, means, arm_looks(data))


def _named(data: ReportData, frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows with only the name of their arm as label, and the arm that it is against."""
    references = {(study, arm.name): arm.against for study, arm in data.planned_arms}
    keys = list(zip(frame["study"], frame["arm"], strict=True))
    labels = [data.named(*key) for key in keys]
    return frame.assign(label=labels, against=[references.get(key, BASELINE) for key in keys])


def scatter(runs: pd.DataFrame, means: pd.DataFrame, looks: Mapping[str, Look]) -> Figure:
    """Return a figure with runs small and means large, named beside them.

    Many arms have a panel for every few studies, with the means of the other arms in grey. So have
    few arms for every reference, if the accuracies of their groups are far apart.

    Args:
        runs: Columns study, label, arm, against, gap and test_accuracy, the latter as fractions.
        means: Columns label, gap and test_accuracy.
        looks: The color and marker of every arm.
    """
    arms = dict(zip(runs["label"], runs["arm"], strict=True))
    panels = _panels(dict(zip(runs["label"], runs["study"], strict=True)))
    spots = runs.assign(**{name: 100 * runs[name] for name in AXES})
    centers = 100 * means.set_index("label").reindex(columns=list(AXES)).astype(float)
    if len(panels) == 1:
        panels = _distant_groups(_groups(runs), centers["test_accuracy"].to_dict())
    handles = _handles([looks[arm] for arm in arms.values()], len(panels) > 1) if arms else []
    with style():
        columns = legend_columns([str(handle.get_label()) for handle in handles], handle=0.5)
        rows = math.ceil(len(handles) / columns)
        height = HEIGHT if len(panels) == 1 else min(LOW_HEIGHT, HIGHEST / len(panels))
        size = WIDTH, height * len(panels) + 0.28 * rows + FRAME
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for ax, (title, labels) in zip(axes, panels.items(), strict=True):
            draw_panel(ax, spots, centers, {label: looks[arms[label]] for label in labels})
            ax.set_title(wrap_title(title))
            ax.set_ylabel("test accuracy (%)")
        scales = "; panels have scales of their own" if len(panels) > 1 else ""
        axes[-1].set_xlabel(f"gap: train minus validation accuracy (points){scales}")
        if handles:
            space = {"handletextpad": 0.2, "columnspacing": 1.2}
            figure.legend(handles=handles, loc="outside lower center", ncols=columns, **space)
        for ax, labels in zip(axes, panels.values(), strict=True):
            places = {label: tuple(centers.loc[label]) for label in labels}
            marks = _marks(spots[spots["label"].isin(labels)], centers.drop(index=labels))
            write_names(figure, ax, places, runs=marks)
    return figure


def draw_panel(
    ax: Axes, spots: pd.DataFrame, centers: pd.DataFrame, looks: Mapping[str, Look]
) -> None:
    """Draw some arms, and the means of all other arms in grey; say how many runs are outside.

    Args:
        ax: The panel.
        spots: The runs of all arms, in percent, with their label.
        centers: The means of all arms, in percent, by label.
        looks: The color and marker of the arms to draw, by label.
    """
    others = centers.drop(index=list(looks))
    ax.scatter(others["gap"], others["test_accuracy"], **OTHER)
    mine = spots[spots["label"].isin(looks)]
    for label, look in looks.items():
        marks: dict[str, Any] = {"color": look.color, "marker": look.marker}
        runs = mine[mine["label"] == label]
        ax.scatter(runs["gap"], runs["test_accuracy"], s=RUN_SIZE, **RUN, **marks)
        x, y = centers.loc[label]
        ax.scatter(x, y, s=MEAN_SIZE, zorder=3, **MEAN, **marks)
    outside = zoom(ax, mine)
    if outside:
        words = f"{outside} of {len(mine)} runs lie outside"
        ax.set_title(words, fontweight="normal", loc="right")


def _panels(studies: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the labels in every panel, by its title: all together if they are few.

    Otherwise a panel has whole studies as long as these have `EACH` arms together, or a part of a
    study with more.

    Args:
        studies: The study of every label, in the order of the report.
    """
    if len(studies) <= NAMED:
        return {"": list(studies)}
    parts: list[tuple[str, list[str]]] = []
    for study, group in itertools.groupby(studies, key=lambda label: studies[label]):
        labels = list(group)
        chunks = [labels[start : start + EACH] for start in range(0, len(labels), EACH)]
        names = [study] + [f"{study}, continued"] * (len(chunks) - 1)
        parts += zip(names, chunks, strict=True)
    panels: dict[str, list[str]] = {}
    title, together = parts[0]
    for name, labels in parts[1:]:
        if len(together) + len(labels) <= EACH:
            title, together = f"{title}, {name}", [*together, *labels]
            continue
        panels[title] = together
        title, together = name, labels
    return {**panels, title: together}


def _groups(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Return the labels of every reference: its own, and those of the arms compared with it."""
    groups: dict[str, list[str]] = {}
    references = set(runs["against"])
    for row in rows_of(runs.drop_duplicates("label")):
        is_reference = row["arm"] in references
        name = row["arm"] if is_reference else row["against"]
        groups.setdefault(name, []).append(row["label"])
    return groups


def _distant_groups(
    groups: Mapping[str, Sequence[str]], heights: Mapping[str, float]
) -> dict[str, list[str]]:
    """Return the labels of each panel by its title.

    References whose groups are near to each other share a panel. A single panel has no title.

    Args:
        groups: The labels of every reference.
        heights: The mean accuracy of every label.
    """
    drawn = {
        name: [heights[label] for label in labels if not math.isnan(heights[label])]
        for name, labels in groups.items()
    }
    order = sorted(groups, key=lambda name: max(drawn[name], default=math.inf), reverse=True)
    clusters: list[list[str]] = []
    for name in order:
        if clusters and not _are_distant([drawn[other] for other in clusters[-1]], drawn[name]):
            clusters[-1].append(name)
        else:
            clusters.append([name])
    if len(clusters) < 2:
        return {"": list(itertools.chain(*groups.values()))}
    panels = {}
    for cluster in clusters:
        labels = itertools.chain(*(groups[name] for name in cluster))
        panels[f"{', '.join(cluster)} and what is compared with it"] = list(labels)
    return panels


def _are_distant(higher: Sequence[Sequence[float]], lower: Sequence[float]) -> bool:
    """Return whether groups are farther from a lower one than each of them is wide."""
    groups = [group for group in [*higher, lower] if group]
    width = max(max(group) - min(group) for group in groups)
    between = min(min(group) for group in groups[:-1]) - max(groups[-1])
    return between > width


def _marks(spots: pd.DataFrame, others: pd.DataFrame) -> list[tuple[float, float]]:
    """Return the places of runs and of the means of other arms, which names keep clear of."""
    frames = [frame[list(AXES)].dropna() for frame in (spots, others)]
    return [(x, y) for frame in frames for x, y in frame.to_numpy(float)]


def _handles(looks: Sequence[Look], has_panels: bool) -> list[Line2D]:
    """Return the entries of a legend: what colors mean, unless each is an arm's, and sizes."""
    handles = look_handles(looks)
    if len(handles) == len(looks):
        handles = []  # the names are beside the means
    dot: dict[str, Any] = {"marker": "o", "linestyle": ""}
    edge = {"markeredgecolor": MEAN["edgecolor"], "markeredgewidth": MEAN["linewidth"]}
    handles += [
        Line2D([], [], markersize=RUN_SIZE**0.5, label="small: a run", color=GREY, **dot),
        Line2D([], [], markersize=MEAN_SIZE**0.5, label="large: mean", color=GREY, **dot, **edge),
    ]
    if has_panels:
        size = OTHER["s"] ** 0.5
        handles.append(
            Line2D([], [], markersize=size, label="mean of another arm", color=PALE, **dot)
        )
    return handles


def zoom(ax: Axes, spots: pd.DataFrame) -> int:
    """Limit the axes to where most runs lie; return how many runs are outside.

    Otherwise one collapsed arm would squeeze all others.
    """
    outside = pd.Series(data=False, index=spots.index)
    for name, side in zip(AXES, "xy", strict=True):
        values = spots[name].dropna()
        if values.empty:
            continue
        low, high = values.quantile([0.25, 0.75])
        reach = QUARTILES * (high - low)
        least, most = max(values.min(), low - reach), min(values.max(), high + reach)
        outside |= (spots[name] < least) | (spots[name] > most)
        room = 0.05 * (most - least) or 1.0
        ax.set(**{f"{side}lim": (least - room, most + room)})
    return int(outside.sum())
