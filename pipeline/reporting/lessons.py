"""What a study of ensembles teaches, in sentences made from its rows: gains, cost, size, confidence, selection.

Separate from the table so that each sentence can be tested with signs turned round; no word is fixed that a
number could contradict.
"""

from collections.abc import Sequence
from math import isnan

import pandas as pd

from pipeline.comparison.intervals import Interval, interval
from pipeline.reporting.gains import (
    METRICS,
    SCALED,
    both,
    certain,
    change,
    disagreeing,
    most,
    shown,
    side,
)
from pipeline.reporting.methods import Row, averages, mixed, overconfidence, steps, unmixed
from pipeline.reporting.tables import counted, decimal, listed, points, points_interval, ratio

GREEDY = ("nll_gain_selecting", "nll_gain_held_out")  # the metrics that only selection has
FATES = {  # of a gain in NLL, by the sign of its interval after temperature scaling
    1: "of {} remain",
    0: "of {} vanish (the interval of the scaled difference holds 0)",
    -1: "of {} turn into losses: what these gained is calibration, which one temperature gives as well",
}


def gained(rows: Sequence[Row], digits: int) -> str:
    """What averaging buys in accuracy and in NLL, told apart, and where the two disagree; last, what mixes arms."""
    gains = [row.gain for row in unmixed(rows)]
    if not gains:
        return ""
    said = f"**What averaging buys**, each against what it is compared with: {most(gains, digits)} {certain(gains, digits)}"
    return f"{said} {disagreeing(gains, digits)}{_mixed(rows, digits)}"


def scaled(rows: Sequence[Row], digits: int) -> str:
    """Which gains in NLL remain after temperature scaling, which vanish, and which turn into losses.

    NLL before it is not comparable: Ashukha, Lyzhov, Molchanov and Vetrov, ICLR 2020.
    """
    gains = [
        row.gain
        for row in unmixed(rows)
        if row.gain.sign("nll", digits) > 0 and not isnan(row.gain.by[SCALED].low)
    ]
    said = []
    for sign, words in FATES.items():
        names = [f"**{gain.name}**" for gain in gains if gain.sign(SCALED, digits) == sign]
        said += [words.format(listed(names))] if names else []
    start = "**After temperature scaling**, of the gains in NLL whose interval leaves out 0"
    return f"{start}: those {'; those '.join(said)}." if said else ""


def cheapest(rows: Sequence[Row], digits: int) -> str:
    """The first row, in the order of cost, whose interval shows a gain: in accuracy, and in NLL."""
    said = []
    for metric, name in METRICS.items():
        row = next((row for row in averages(rows) if row.gain.sign(metric, digits) > 0), None)
        passes = counted_mean(row.means["forward_passes"], "forward pass", "es") if row else ""
        cost = f"{ratio(row.cost)} of one baseline training and {passes}" if row else ""
        known = (
            f"**{row.name}** ({cost}; {change(metric, row.gain.by[metric], digits)})"
            if row
            else "none"
        )
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
    return (
        "\n".join(["**How many members**: all of a method's against one.", *said]) if said else ""
    )


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
    selecting, held_out = (
        table[table["metric"] == metric].set_index("group")["value"].astype(float)
        for metric in GREEDY
    )
    found = [
        interval(values.dropna().to_numpy())
        for values in (selecting, held_out, selecting - held_out)
    ]
    if isnan(found[2].mean):
        return ""
    seen, unseen, more = (change("nll", value, 1) for value in found)
    return (
        "**Greedy selection** picks by the NLL of one half of validation; its cost is that of all models it picks from. "
        f"Its gain over the plain mean of all of them (above 0 is better) is {seen} on that half and {unseen} on the other: "
        f"{_optimistic(found[2])}, {more}."
    )


def counted_mean(value: float, noun: str, ending: str = "s") -> str:
    """A mean number of things: 4 passes, 6.2 passes."""
    return (
        counted(int(value), noun, ending)
        if value == int(value)
        else f"{decimal(value, 1)} {noun}{ending}"
    )


def _mixed(rows: Sequence[Row], digits: int) -> str:
    """The differences of the methods that draw on other arms than the one model that they are compared with."""
    said = [both(row.gain, digits) for row in mixed(rows)]
    return (
        f" What other arms do as well, not averaging alone, is in the difference of {listed(said)}."
        if said
        else ""
    )


def _optimistic(difference: Interval) -> str:
    if side("nll", difference, 1) > 0:
        return "the half that selected flatters it"
    above = shown("nll", difference.mean, 1).startswith("+")
    return (
        "no clear sign that the selecting half flatters it"
        if above
        else "no sign that selection flatters it"
    )
