"""What a study of ensembles teaches, in sentences made from its rows: gains, cost, size, confidence, selection.

Separate from the table so that each sentence can be tested with signs turned round; no word is fixed that a
number could contradict.
"""

from collections.abc import Sequence
from math import isnan

import pandas as pd

from pipeline.comparison.intervals import Interval, interval
from pipeline.reporting.gains import METRICS, certain, change, disagreeing, most, shown
from pipeline.reporting.methods import EVERY, Row, averages, overconfidence, steps
from pipeline.reporting.tables import counted, decimal, listed, points, points_interval, ratio

GREEDY = ("nll_gain_selecting", "nll_gain_held_out")  # the metrics that only selection has


def gained(rows: Sequence[Row], digits: int) -> str:
    """What averaging buys in accuracy and in NLL, told apart, and where the two disagree."""
    gains = [row.gain for row in averages(rows)]
    if not gains:
        return ""
    said = f"**What averaging buys**, each against what it is compared with: {most(gains, digits)} {certain(gains)}"
    return f"{said} {disagreeing(gains, digits)}{_mixed(rows)}"


def cheapest(rows: Sequence[Row], digits: int) -> str:
    """The first row, in the order of cost, whose interval shows a gain: in accuracy, and in NLL."""
    said = []
    for metric, name in METRICS.items():
        row = next((row for row in averages(rows) if row.gain.sign(metric) > 0), None)
        passes = counted_mean(row.means["forward_passes"], "forward pass", "es") if row else ""
        cost = f"{ratio(row.cost)} of one baseline training and {passes}" if row else ""
        known = f"**{row.name}** ({cost}; {change(metric, row.gain.by[metric], digits)})" if row else "none"
        said.append(f"in {name}, {known}")
    return f"**The cheapest whose interval shows a gain**: {'; '.join(said)}."


def grown(sizes: pd.DataFrame, digits: int) -> str:
    """What all members of a method gain over one, and how much of it the second brings."""
    said = []
    for method, size, whole, second in steps(sizes):
        changes = [
            f"{name} {change(metric, whole.by[metric], digits)}, the second alone {change(metric, second.by[metric], digits)}"
            for metric, name in METRICS.items()
        ]
        said.append(f"  - {method}, 1 to {counted(size, 'member')}: {'; '.join(changes)}.")
    return "\n".join(["**How many members**: all of a method's against one.", *said]) if said else ""


def trusted(reliability: pd.DataFrame, digits: int) -> str:
    """Mean confidence minus accuracy, whose sign says too sure or not sure enough."""
    said = [
        f"{name} {points(found.mean, digits)} {points_interval(found.low, found.high, digits)}".strip()
        for name, found in overconfidence(reliability).items()
    ]
    if not said:
        return ""
    return f"**Confidence** minus accuracy, in points (above 0 is too sure, below 0 not sure enough): {', '.join(said)}."


def optimism(table: pd.DataFrame) -> str:
    """What greedy selection gains on the half of validation that it saw, and on the half that it did not."""
    selecting, held_out = (table[table["metric"] == metric].set_index("group")["value"].astype(float) for metric in GREEDY)
    found = [interval(values.dropna().to_numpy()) for values in (selecting, held_out, selecting - held_out)]
    if isnan(found[2].mean):
        return ""
    seen, unseen, more = (change("nll", value, 1) for value in found)
    return (
        f"**Greedy selection** picks by the NLL of one half of validation. Its gain over the best single model (above 0 is "
        f"better) is {seen} on that half and {unseen} on the other: {_optimistic(found[2])}, {more}."
    )


def counted_mean(value: float, noun: str, ending: str = "s") -> str:
    """A mean number of things: 4 passes, 6.2 passes."""
    return counted(int(value), noun, ending) if value == int(value) else f"{decimal(value, 1)} {noun}{ending}"


def _mixed(rows: Sequence[Row]) -> str:
    """Which methods draw on other arms than the one model that they are compared with."""
    names = [f"**{row.name}**" for row in averages(rows) if row.model == EVERY]
    return f" The difference of {listed(names)} holds what other arms do, not averaging alone." if names else ""


def _optimistic(difference: Interval) -> str:
    if difference.low > 0:
        return "the half that selected flatters it"
    above = shown("nll", difference.mean, 1).startswith("+")
    return "the half that selected flatters it not for sure" if above else "no sign that selection flatters it"
