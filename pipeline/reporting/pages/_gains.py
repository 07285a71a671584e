"""Write the gains of one way to predict over another, accuracy and NLL apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

import pandas as pd

from pipeline.records.tables import rows_of
from pipeline.reporting.markdown import Formatter, Row, format_few
from pipeline.reporting.units import METRICS

NAMES = {metric: METRICS[metric].title for metric in ("accuracy", "nll")}
SCALED = "nll_scaled"  # after a temperature fitted on validation
GOOD = {"accuracy": 1, "nll": -1, SCALED: -1}  # the sign of a gain
TITLES = {"accuracy": "Accuracy", "nll": "NLL"}
MOST = {"accuracy": "Accuracy rises", "nll": "NLL falls"}


@dataclass(frozen=True)
class Gain:
    """One way to predict and its paired differences to another: by metric a row of its table."""

    name: str
    rows: Mapping[str, Row]
    format: Formatter

    def value(self, metric: str, column: str = "mean") -> float:
        """Return a number of the table; NaN if the metric is not known."""
        return float(self.rows[metric][column]) if metric in self.rows else float("nan")

    def change(self, metric: str, unit: str | None = None) -> str:
        """Return a difference with its unit and interval."""
        names = ("difference", "low", "high")
        row = dict(zip(names, self._difference(metric), strict=True))
        return self.format.change(row, metric, unit)

    def both(self) -> str:
        """Return the name with its differences in accuracy and in NLL."""
        changes = [f"{name} {self.change(metric)}" for metric, name in NAMES.items()]
        return f"**{self.name}** ({', '.join(changes)})"

    def sign(self, metric: str) -> int:
        """Return 1 for a gain and -1 for a loss whose printed interval excludes 0, otherwise 0."""
        _, *bounds = self._difference(metric)
        low, high = (self.format.sign(metric, value) for value in bounds)
        return GOOD[metric] * low if low == high else 0

    def direction(self, metric: str) -> int:
        """Return 1 if the printed difference is a gain, -1 if it is a loss, 0 if it reads as 0."""
        return GOOD[metric] * self.format.sign(metric, self.value(metric, "difference"))

    def _difference(self, metric: str) -> list[float]:
        names = ("difference", "difference_low", "difference_high")
        return [self.value(metric, name) for name in names]


def gain_of(name: str, rows: pd.DataFrame, formatter: Formatter) -> Gain:
    """Return the gain in a table with a row per metric."""
    by_metric = {row["metric"]: row for row in rows_of(rows)}
    return Gain(name, by_metric, formatter)


def format_gains(gains: Sequence[Gain]) -> list[str]:
    """Return the largest gains, intervals that exclude 0, and conflicts of accuracy and NLL."""
    sentences = certain_gains(gains), largest_gains(gains), disagreements(gains)
    return [sentence for sentence in sentences if sentence]


def largest_gains(gains: Sequence[Gain]) -> str:
    """Return the largest gain in accuracy, and the largest in NLL."""
    parts = []
    for metric, words in MOST.items():
        measured = [gain for gain in gains if not isnan(gain.value(metric, "difference"))]
        if measured:
            best = max(measured, key=lambda gain: GOOD[metric] * gain.value(metric, "difference"))
            parts.append(_largest(words, best, metric))
    return " ".join(f"{part}." for part in parts)


def certain_gains(gains: Sequence[Gain]) -> str:
    """Return for which the printed interval excludes 0, in accuracy and in NLL."""
    return " ".join(_certain(gains, metric) for metric in NAMES)


def disagreements(gains: Sequence[Gain]) -> str:
    """Return the gains in one metric with a loss in the other, by the printed digits."""
    named = [
        gain.both() for gain in gains if gain.direction("accuracy") * gain.direction("nll") < 0
    ]
    return (
        f"By the means, one metric improves while the other gets worse for {format_few(named)}."
        if named
        else ""
    )


def _largest(words: str, best: Gain, metric: str) -> str:
    """Return the best of all, as a gain only if its mean is printed as one."""
    named = f"**{best.name}** ({best.change(metric)})"
    if best.direction(metric) > 0:
        return f"{words} most for {named}"
    return f"No gain in {NAMES[metric]} (best: {named})"


def _certain(gains: Sequence[Gain], metric: str) -> str:
    parts = []
    for sign, words in ((1, "improves"), (-1, "gets worse")):
        names = [f"**{gain.name}**" for gain in gains if gain.sign(metric) == sign]
        if names:
            parts.append(f"{words} for {format_few(names)}")
    if not parts:
        return f"No {NAMES[metric]} difference has an interval that excludes 0."
    return f"{TITLES[metric]} {'; it '.join(parts)} (with an interval that excludes 0)."
