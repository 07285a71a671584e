"""Frames as figures: contrasts, learning curves, strengths, and the gap against test accuracy.

Separate from the pages so that a figure can be made, and looked at, alone. One column about 7 inches wide
with large type, so that it reads at full size and on a phone; every distinction that colour makes is also
made by a marker, a line or a word, so that it reads in grey. Bands come from the table, never from a
random bootstrap.
"""

import itertools
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from pipeline.config.plan import BASELINE
from pipeline.reporting.style import DARK, MARKERS, WIDTH, columns, style
from pipeline.reporting.tables import INTERVAL, amount, points, points_interval

STRIP = 0.34  # inches of height for one interval
TITLE = 50  # letters of a panel's title on a line
LINE = 62  # letters that fit on a line of that width
QUARTILES = 4  # times the distance of the quartiles a scatter goes beyond them
FARTHER = 2  # than most intervals an axis goes
DASHES = (0, (4, 1.5))
BAND = 0.22  # opacity
VERDICT_MARKERS = {  # marker, filled: the way it points is the way the arm moved, hollow is less than its word
    "helps": (">", True),
    "helps, below the margin": (">", False),
    "equivalent": ("s", True),
    "inconclusive": ("o", False),
    "hurts, below the margin": ("<", False),
    "hurts": ("<", True),
}
VALUE = re.compile(r"(?<==)(\[.*?\]|[^,()]+)")  # in a label such as "rate=0.1, sizes=[5, 3]"


def forest(
    contrasts: pd.DataFrame,
    labels: Sequence[str],
    margin: float,
    palette: Mapping[str, str],
    digits: int = 1,
) -> Figure:
    """Every contrast of the primary metric with its interval, the first row on top.

    `contrasts` has arm, difference, low, high (fractions) and verdict; `labels` names its rows.
    """
    numbers = zip(
        contrasts["difference"],
        contrasts["low"],
        contrasts["high"],
        contrasts["verdict"],
        strict=True,
    )
    stated = [
        _stated(label, *row, digits=digits) for label, row in zip(labels, numbers, strict=True)
    ]
    heights = [STRIP + 0.16 + 0.235 * len(lines) for lines in stated]
    with style():
        figure = Figure(figsize=(WIDTH, sum(heights) + 1.2), layout="constrained")
        axes = figure.subplots()
        bottoms, reach = list(itertools.accumulate(heights)), _reach(contrasts, margin)
        for row, lines, bottom in zip(contrasts.itertuples(), stated, bottoms, strict=True):
            place: dict[str, Any] = {
                "transform": axes.get_yaxis_transform(),
                "va": "bottom",
                "linespacing": 1.15,
            }
            axes.text(0.01, bottom - STRIP - 0.03, "\n".join(lines), **place)
            _background(axes, margin, bottom)
            _interval(axes, row, bottom - STRIP / 2, palette[row.arm], reach)
        axes.set(
            ylim=(bottoms[-1] + 0.06, 0),
            yticks=[],
            xlabel=f"difference in test accuracy (points), {INTERVAL}",
        )
        axes.grid(visible=False)
        ends = 100 * contrasts[["difference", "low", "high"]].stack()
        _widen(axes, ends, margin, reach)
        band = Patch(color="#e2e2e2", label=f"margin of equivalence (±{amount(margin)})")
        cut = (
            [Line2D([], [], color="none", label="←, →: goes on beyond the axis")]
            if (ends.abs() > reach).any()
            else []
        )
        handles = [band, *_verdict_handles(contrasts["verdict"]), *cut]
        figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns([str(handle.get_label()) for handle in handles]),
        )
    return figure


def curves(frame: pd.DataFrame, arms: Mapping[str, str], palette: Mapping[str, str]) -> Figure:
    """Train and validation accuracy and loss of one study: a row per arm (name to title), the baseline behind each.

    `frame` has arm, split, epoch and, for accuracy and loss, mean, low and high.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 2.75 * len(arms) + 0.9), layout="constrained")
        panels = figure.subplots(len(arms), 2, squeeze=False, sharex=True, sharey="col")
        for row, (arm, title) in zip(panels, arms.items(), strict=True):
            for axes, metric, scale in zip(row, ("accuracy", "loss"), (100.0, 1.0), strict=True):
                for name in (BASELINE, arm):
                    _curve(
                        axes,
                        frame[frame["arm"] == name],
                        metric,
                        scale,
                        palette[name],
                        name != BASELINE,
                    )
            row[0].set_ylabel("accuracy (%)")
            row[1].set_ylabel("loss (nats)")
            row[0].set_title("\n".join(textwrap.wrap(title, TITLE)))
        for axes in panels[-1]:
            axes.set_xlabel("epoch")
        _logarithmic(panels[0, 1], frame["loss"].astype(float))
        _curve_legend(figure, list(arms), palette)
    return figure


def strengths(tried: pd.DataFrame, palette: Mapping[str, str], digits: int = 1) -> Figure:
    """Mean validation accuracy against strength: a panel per arm, its chosen strength starred, the baseline's band behind.

    `tried` has arm, strength, validation_accuracy, validation_accuracy_low, validation_accuracy_high and chosen.
    """
    arms = [arm for arm in dict.fromkeys(tried["arm"]) if arm != BASELINE]
    with style():
        figure = Figure(figsize=(WIDTH, 3.1 * len(arms) + 0.6), layout="constrained")
        panels = figure.subplots(len(arms), 1, squeeze=False)[:, 0]
        for axes, arm in zip(panels, arms, strict=True):
            _reference(axes, tried[tried["arm"] == BASELINE])
            rows = tried[tried["arm"] == arm]
            _strength_curve(axes, rows, palette[arm])
            labels, key = _ticks(list(rows["strength"]))
            axes.set_xticks(range(len(labels)), labels)
            axes.set(
                xlabel=key,
                ylabel="validation accuracy (%)",
                xlim=(-0.4, len(labels) - 0.6),
                title=arm,
            )
            axes.margins(y=0.12)
        star = Line2D(
            [],
            [],
            color="white",
            marker="*",
            markeredgecolor="black",
            markerfacecolor="white",
            markersize=17,
        )
        baseline = Line2D([], [], color=DARK, linestyle="--")
        around = Patch(color=DARK, alpha=0.1)
        words = ["chosen", "baseline", f"its {INTERVAL}"]
        figure.legend([star, baseline, around], words, loc="outside lower center", ncols=3)
    return figure


def scatter(outcomes: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    """The gap against test accuracy: confirmation runs small, the mean of every arm large.

    `outcomes` has label, arm, gap and test_accuracy.
    """
    names = dict(zip(outcomes["label"], outcomes["arm"], strict=True))
    spots = outcomes.assign(
        gap=100 * outcomes["gap"], test_accuracy=100 * outcomes["test_accuracy"]
    )
    with style():
        beside = columns(names, handle=0.5)
        rows = -(-len(names) // beside)
        figure = Figure(figsize=(WIDTH, 4.6 + 0.28 * rows), layout="constrained")
        axes = figure.subplots()
        for (label, arm), marker in zip(names.items(), itertools.cycle(MARKERS), strict=False):
            runs = spots.loc[spots["label"] == label, ["gap", "test_accuracy"]]
            look: dict[str, Any] = {
                "x": "gap",
                "y": "test_accuracy",
                "ax": axes,
                "color": palette[arm],
                "marker": marker,
            }
            sns.scatterplot(runs, s=26, alpha=0.4, linewidth=0, legend=False, **look)
            mean = runs.mean().to_frame().T
            sns.scatterplot(
                mean,
                s=130,
                linewidth=1.2,
                edgecolor="black",
                zorder=3,
                label=label,
                legend=False,
                **look,
            )
        axes.set(xlabel="gap: train minus validation accuracy (points)", ylabel="test accuracy (%)")
        outside = _zoomed(axes, spots)
        if outside:
            axes.set_title(f"{outside} of {len(spots)} runs lie outside", fontweight="normal")
        if names:
            figure.legend(
                loc="outside lower center", ncols=beside, handletextpad=0.2, columnspacing=1.2
            )
    return figure


def _zoomed(axes: Axes, spots: pd.DataFrame) -> int:
    """Limits the axes to where most runs lie, lest a collapsed arm squeeze all others; how many runs are left outside."""
    outside = pd.Series(data=False, index=spots.index)
    for name, limit in (("gap", axes.set_xlim), ("test_accuracy", axes.set_ylim)):
        values = spots[name].dropna()
        if values.empty:
            continue
        low, high = values.quantile([0.25, 0.75])
        reach = QUARTILES * (high - low)
        least, most = max(values.min(), low - reach), min(values.max(), high + reach)
        outside |= (spots[name] < least) | (spots[name] > most)
        room = 0.05 * (most - least) or 1.0
        limit(least - room, most + room)
    return int(outside.sum())


def _stated(
    label: str, difference: float, low: float, high: float, verdict: str, *, digits: int
) -> list[str]:
    """One contrast in words, broken into lines."""
    known = (
        f"{points(difference, digits)} {points_interval(low, high, digits)}".strip()
        + f", {verdict}"
    )
    words = known if pd.notna(difference) else "no pair of runs"
    return (
        [f"{label}: {words}"]
        if len(f"{label}: {words}") <= LINE
        else [*textwrap.wrap(label, LINE), words]
    )


def _background(axes: Axes, margin: float, bottom: float) -> None:
    """The margin and the zero line behind one interval, and not behind the words above it."""
    strip = (bottom - STRIP, bottom)
    axes.fill_betweenx(strip, -100 * margin, 100 * margin, color="#e2e2e2", linewidth=0, zorder=0)
    axes.vlines(0, *strip, color=DARK, linewidth=1.2, zorder=1)


def _verdict_handles(verdicts: pd.Series) -> list[Line2D]:
    """What the marker of every verdict that occurs looks like."""
    found = [
        (verdict, *look) for verdict, look in VERDICT_MARKERS.items() if (verdicts == verdict).any()
    ]
    look: dict[str, Any] = {
        "linestyle": "",
        "markersize": 11,
        "color": "#666666",
        "markeredgewidth": 2,
    }
    return [
        Line2D(
            [],
            [],
            marker=marker,
            markerfacecolor="#666666" if filled else "white",
            label=verdict,
            **look,
        )
        for verdict, marker, filled in found
    ]


def _reach(contrasts: pd.DataFrame, margin: float) -> float:
    """How far from 0 the axis may go (points): twice as far as three quarters of the intervals, lest one squeeze all."""
    farthest = contrasts[["difference", "low", "high"]].abs().max(axis=1).dropna()
    return FARTHER * 100 * max(farthest.quantile(0.75) if len(farthest) else 0.0, margin)


def _interval(axes: Axes, row: Any, height: float, colour: str, reach: float) -> None:
    marker, filled = VERDICT_MARKERS[row.verdict]
    low, middle, high = 100 * row.low, 100 * row.difference, 100 * row.high
    if pd.notna(low):
        ends = np.clip([low, high], -reach, reach)
        axes.plot(
            ends, [height, height], color=colour, linewidth=3, solid_capstyle="butt", zorder=2
        )
        for end, beyond in zip(ends, (low < -reach, high > reach), strict=True):
            if beyond:
                arrow = {
                    "arrowstyle": "->",
                    "color": colour,
                    "linewidth": 2.5,
                    "mutation_scale": 22,
                }
                axes.annotate(
                    "", xy=(1.04 * end, height), xytext=(0.9 * end, height), arrowprops=arrow
                )
    if abs(middle) <= reach:
        face = colour if filled else "white"
        look = {
            "marker": marker,
            "s": 120,
            "facecolor": face,
            "edgecolor": colour,
            "linewidth": 2.2,
            "zorder": 3,
        }
        sns.scatterplot(x=[middle], y=[height], ax=axes, legend=False, **look)


def _widen(axes: Axes, ends: pd.Series, margin: float, reach: float) -> None:
    """Room for every interval, the margin and the zero line, as far as the axis may go."""
    shown = pd.concat([ends.clip(-reach, reach), pd.Series([-100 * margin, 100 * margin])])
    room = 0.06 * (shown.max() - shown.min())
    axes.set_xlim(shown.min() - room, shown.max() + room)


def _curve(
    axes: Axes, frame: pd.DataFrame, metric: str, scale: float, colour: str, marked: bool
) -> None:
    for split, line in (("train", DASHES), ("validation", "-")):
        rows = frame[frame["split"] == split].astype(
            {name: float for name in frame if name.startswith(metric)}
        )
        look: dict[str, Any] = {
            "color": colour,
            "linestyle": line,
            "marker": "o" if marked else "",
            "markersize": 5,
            "markeredgewidth": 0,
        }
        axes.plot(rows["epoch"], scale * rows[metric], **look)
        bounds = scale * rows[f"{metric}_low"], scale * rows[f"{metric}_high"]
        axes.fill_between(
            rows["epoch"].astype(float), *bounds, color=colour, alpha=BAND, linewidth=0
        )
    axes.set(xlabel="", ylabel="")


def _logarithmic(axes: Axes, values: pd.Series) -> None:
    """A logarithmic vertical axis with a few plain labels, where there is anything to show."""
    if values.notna().any():
        narrow = values.max() < 30 * values.min()
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(
            LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=7)
        )
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _curve_legend(figure: Figure, arms: list[str], palette: Mapping[str, str]) -> None:
    alone = len(arms) == 1
    lines = {
        BASELINE: Line2D([], [], color=DARK),
        arms[0] if alone else "the arm": Line2D(
            [], [], color=palette[arms[0]] if alone else "#888888", marker="o"
        ),
        "validation": Line2D([], [], color="#888888"),
        "train": Line2D([], [], color="#888888", linestyle=DASHES),
    }
    figure.legend(
        list(lines.values()), list(lines), loc="outside lower center", ncols=columns(lines)
    )


def _reference(axes: Axes, baseline: pd.DataFrame) -> None:
    """The baseline as a dashed line with its band over the whole panel."""
    for low, mean, high in _accuracies(baseline).itertuples(index=False):
        if pd.notna(mean):
            axes.axhline(mean, color=DARK, linestyle="--", zorder=1)
        if pd.notna(low):
            axes.axhspan(low, high, color=DARK, alpha=0.1, linewidth=0, zorder=0)


def _strength_curve(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    low, mean, high = (_accuracies(rows)[name].to_numpy() for name in ("low", "mean", "high"))
    places = list(range(len(rows)))
    axes.vlines(places, low, high, color=colour, linewidth=3)
    sns.lineplot(
        x=places,
        y=mean,
        ax=axes,
        errorbar=None,
        color=colour,
        marker="o",
        markersize=9,
        legend=False,
    )
    for place in (index for index, chosen in enumerate(rows["chosen"]) if chosen):
        axes.plot(
            place,
            mean[place],
            marker="*",
            markersize=21,
            color=colour,
            markeredgecolor="black",
            zorder=5,
        )


def _accuracies(rows: pd.DataFrame) -> pd.DataFrame:
    """Low, mean and high in percent, NaN where unknown."""
    name = "validation_accuracy"
    frame = rows[[f"{name}_low", name, f"{name}_high"]].set_axis(
        ["low", "mean", "high"], axis="columns"
    )
    return 100 * frame.astype(float).clip(0, 1)


def _ticks(labels: list[str]) -> tuple[list[str], str]:
    """The labels of an axis of strengths and its name: what all labels share is said once, in the name.

    Where the rest is too long to stand side by side, strengths are numbered in the order of their table.
    """
    parts = [VALUE.split(label) for label in labels]
    if len({tuple(part[::2]) for part in parts}) > 1:
        return _numbered(labels)
    varied = [
        index for index in range(1, len(parts[0]), 2) if len({part[index] for part in parts}) > 1
    ]
    shown = [", ".join(part[index] for index in varied) for part in parts]
    if sum(len(label) + 2 for label in shown) > TITLE:
        return _numbered(labels)
    name = "".join("…" if index in varied else word for index, word in enumerate(parts[0]))
    return shown, "\n".join(textwrap.wrap(f"strength: {name}", TITLE))


def _numbered(labels: list[str]) -> tuple[list[str], str]:
    return [
        str(number) for number in range(1, len(labels) + 1)
    ], "strength, numbered as in the table"
