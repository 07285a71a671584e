"""Two things at once: is what they do together the sum of what each does alone?

Separate from `contrasts.py`, which asks of one arm against one other: an interaction takes four runs of a seed,
with both, with the one, with the other and with neither. Its sign says whether they add to each other or get in
each other's way; it carries no verdict.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pandas as pd

from pipeline.comparison.intervals import LEVEL, detectable, interval, mean, sign_flip_p
from pipeline.comparison.matching import Arm, Outcomes, compared, outcomes
from pipeline.config.plan import BASELINE, Plan
from pipeline.config.run import RunConfig

METRICS = ("test_accuracy", "test_nll", "gap")
COLUMNS = (
    *(
        "study",
        "arm",
        "first",
        "second",
        "metric",
        "n",
        "effect",
        "sum",
        "difference",
        "low",
        "high",
    ),
    *("p", "p_sign_flip", "detectable"),
)

Parts = Mapping[
    tuple[str, str], frozenset[str]
]  # (study, arm) -> what it changes against the baseline


def changed(config: RunConfig, baseline: RunConfig) -> frozenset[str]:
    """What a run changes against the baseline's: each regularizer with its resolved settings, each protocol value.

    Equal strengths are equal strings: `{"name": "dropout", "rate": 0.25}`, `model.batch_norm=false`.
    """
    added = {_text(item) for item in config.regularizers} - {
        _text(item) for item in baseline.regularizers
    }
    return frozenset(added | (_values(config) - _values(baseline)))


def interactions(
    scores: pd.DataFrame,
    plan: Plan,
    states: Mapping[str, str],
    machines: Mapping[str, Any],
    parts: Parts,
) -> pd.DataFrame:
    """One row per (study, arm, its two parts, metric); the columns are `COLUMNS`. `parts` is what `changed` says of each arm.

    `scores`, `states` and `machines` as in `contrasts`. An arm has parts where what it changes is what two other arms
    change, neither more nor less, at the same strengths; all three are compared with the baseline. Each metric is
    scored under each arm's own test rule. A seed counts where all four runs are done, on equal machines: `effect` is
    the mean of arm - baseline there, `sum` that of both parts' effects, `difference` is effect - sum, with its interval
    and p; `detectable` is the interaction that these seeds would have found with 80 % power at level 0.05.

    Undefined numbers are NaN. Raises Refusal where a done run has no score.
    """
    known = outcomes(scores, states, machines)
    rows = [row for square in _squares(plan, parts) for row in _rows(square, known)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


Square = tuple[Arm, Arm, Arm, Arm]  # both, the first, the second, neither


def _squares(plan: Plan, parts: Parts) -> Iterator[Square]:
    for _, group in groupby(compared(plan), key=lambda arm: arm.key[0]):
        arms = {
            parts[arm.key]: arm
            for arm in group
            if arm.described.against == BASELINE and parts.get(arm.key)
        }
        order = {changes: place for place, changes in enumerate(arms)}
        for both, arm in arms.items():
            for first in arms:
                second = both - first
                if first < both and order[first] < order.get(second, -1):
                    yield arm, arms[first], arms[second], arm.pair()[0]


def _rows(square: Square, known: Outcomes) -> Iterator[dict[str, Any]]:
    sides, _ = known.side_by_side(square)
    arm, first, second = (one.described.name for one in square[:3])
    for metric in METRICS:
        both, one, other, neither = known.values(sides, square, metric)
        between = interval(both - one - other + neither)
        yield {
            "study": square[0].study.name,
            "arm": arm,
            "first": first,
            "second": second,
            "metric": metric,
            "n": between.n,
            "effect": mean(both - neither),
            "sum": mean(one - neither) + mean(other - neither),
            "difference": between.mean,
            "low": between.low,
            "high": between.high,
            "p": between.p,
            "p_sign_flip": sign_flip_p(both - one - other + neither),
            "detectable": detectable(between.sd, between.n, LEVEL),
        }


def _values(config: RunConfig) -> set[str]:
    sections: Sequence[tuple[str, Mapping[str, Any]]] = (
        ("data", config.data),
        ("model", config.model),
        ("training", config.training),
    )
    return {
        f"{section}.{key}={_text(value)}"
        for section, values in sections
        for key, value in values.items()
    }


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
