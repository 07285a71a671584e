"""What one way to predict gains over another: paired differences in accuracy and NLL, and the words for them.

Separate because noise passes and ensembles are told in the same words, accuracy and NLL always apart: they
often disagree. A difference is the way minus what it is compared with, so a gain is above 0 in accuracy and
below 0 in NLL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

import pandas as pd

from pipeline.comparison.intervals import Interval, interval
from pipeline.reporting.tables import listed, points, points_interval, signed, signed_interval

PRECISION = 3  # decimals of nats
METRICS = {"accuracy": "accuracy", "nll": "NLL"}
SCALED = "nll_scaled"  # after a temperature fitted on validation
UNITS = {"accuracy": "points", "nll": "nats", SCALED: "nats"}
GOOD = {"accuracy": 1, "nll": -1, SCALED: -1}  # the sign of a gain
MOST = {"accuracy": "accuracy rises", "nll": "NLL falls"}


@dataclass(frozen=True)
class Gain:
    """The differences of `name`, each with its interval, by metric."""

    name: str
    by: dict[str, Interval]

    def sign(self, metric: str, digits: int) -> int:
        """1 for a gain and -1 for a loss whose interval as printed lies wholly on that side of 0, otherwise 0."""
        return GOOD[metric] * side(metric, self.by[metric], digits)


def difference(values: pd.Series, against: pd.Series) -> Interval:
    """The mean difference of two series with a common index of pairs, over the pairs that have both."""
    return interval((values - against).dropna().to_numpy(dtype=float))


def change(metric: str, found: Interval, digits: int) -> str:
    """A difference with its unit and its interval: +1.3 points [+0.4, +2.2]."""
    return f"{shown(metric, found.mean, digits)} {UNITS[metric]} {bounds(metric, found, digits)}".strip()


def shown(metric: str, value: float, digits: int) -> str:
    """A difference without its unit: points of accuracy, nats of NLL."""
    return points(value, digits) if metric == "accuracy" else signed(value, PRECISION)


def side(metric: str, found: Interval, digits: int) -> int:
    """1 where both printed bounds are above 0, -1 where both are below, 0 where one reads as 0 or is missing."""
    low, high = (_printed(metric, value, digits) for value in (found.low, found.high))
    return low if low == high else 0


def bounds(metric: str, found: Interval, digits: int) -> str:
    """The interval of a difference; empty where there is none."""
    both = (found.low, found.high)
    return (
        points_interval(*both, digits)
        if metric == "accuracy"
        else signed_interval(*both, PRECISION)
    )


def most(gains: Sequence[Gain], digits: int) -> str:
    """Which gains most in accuracy, and which in NLL."""
    said = []
    for metric, words in MOST.items():
        known = [gain for gain in gains if not isnan(gain.by[metric].mean)]
        if known:
            best = max(known, key=lambda gain: GOOD[metric] * gain.by[metric].mean)
            said.append(_best(words, best, metric, digits))
    return f"{'; '.join(said)}." if said else ""


def certain(gains: Sequence[Gain], digits: int) -> str:
    """For which the printed interval leaves out 0, and on which side, in accuracy and in NLL."""
    return " ".join(_certain(gains, metric, digits) for metric in METRICS)


def disagreeing(gains: Sequence[Gain], digits: int) -> str:
    """Those that gain in one metric and lose in the other, as far as the printed digits show."""
    named = [
        both(gain, digits)
        for gain in gains
        if _direction(gain, "accuracy", digits) * _direction(gain, "nll", digits) < 0
    ]
    if not named:
        return "Accuracy and NLL disagree in sign for none."
    return f"Accuracy and NLL disagree in sign for {listed(named)}."


def both(gain: Gain, digits: int) -> str:
    """A name with its differences in accuracy and in NLL."""
    said = ", ".join(
        f"{name} {change(metric, gain.by[metric], digits)}" for metric, name in METRICS.items()
    )
    return f"**{gain.name}** ({said})"


def stated(gain: Gain, metric: str, digits: int) -> str:
    """A name with its difference."""
    return f"**{gain.name}** ({change(metric, gain.by[metric], digits)})"


def _best(words: str, best: Gain, metric: str, digits: int) -> str:
    """The best of all, called a gain only where its mean is printed as one, and a loss only where its interval is."""
    named = stated(best, metric, digits)
    if _direction(best, metric, digits) > 0:
        return f"{words} most for {named}"
    return f"{words} for none; {named} {'loses least' if best.sign(metric, digits) < 0 else 'comes nearest'}"


def _certain(gains: Sequence[Gain], metric: str, digits: int) -> str:
    parts = []
    for sign, words in ((1, "a gain"), (-1, "a loss")):
        names = [f"**{gain.name}**" for gain in gains if gain.sign(metric, digits) == sign]
        if names:
            parts.append(f"{words} for {listed(names)}")
    if not parts:
        return f"No interval of {METRICS[metric]} leaves out 0."
    return f"The interval of {METRICS[metric]} leaves out 0: {'; '.join(parts)}."


def _direction(gain: Gain, metric: str, digits: int) -> int:
    """1 where the printed difference is a gain, -1 where it is a loss, 0 where it reads as 0."""
    return GOOD[metric] * _printed(metric, gain.by[metric].mean, digits)


def _printed(metric: str, value: float, digits: int) -> int:
    """The sign of a difference as printed: 0 for what reads as 0, and for a dash."""
    return {"+": 1, "-": -1}.get(shown(metric, value, digits)[0], 0)
