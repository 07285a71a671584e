"""Format the numbers of claims, of one report and of several."""

from math import exp, isinf, isnan
from typing import Any

import pandas as pd

from pipeline.comparison.verdicts import Outcome
from pipeline.config.claims import COSTS, LOGARITHMIC
from pipeline.reporting import markdown as md
from pipeline.reporting.markdown import Formatter

BY = {"lecture_a": "lecture A", "lecture_b": "lecture B", "both": "both lectures", "paper": "paper"}
MEASURES = {
    "accuracy": "test accuracy (%)",
    "error": "test error (%)",
    "nll": "test NLL",
    "brier": "test Brier score",
    "calibration_error": "calibration error",
    "validation_accuracy": "validation accuracy (%)",
    "validation_nll": "validation NLL",
    "train_accuracy": "train accuracy (%)",
    "train_nll": "train NLL",
    "gap": "gap (points)",
    "training_cost": "training FLOPs",
    "test_cost": "test FLOPs",
    "updates_to_target": "updates to target",
    "flops_to_target": "FLOPs to target",
    "squared_weight_norm": "squared norm of weights",
    "zeros": "weights that are 0 (%)",
    "disagreement": "disagreement (%)",
    "rate_range": "range of learning rates",
    "rate_shift": "best learning rate",
    "importance": "importance (%)",
}
PERCENT = (
    *("accuracy", "error", "validation_accuracy", "train_accuracy", "gap", "zeros"),
    *("disagreement", "importance"),
)
TESTED = (Outcome.SUPPORTED, Outcome.CONTRADICTED, Outcome.INCONCLUSIVE)
MOST = 60  # lines of the figure
DIGITS = 3  # decimals of nats, and of correlations


def in_pairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows in their order, each followed by the claim that says the opposite."""
    by_id = {row["claim"]: row for row in rows}
    ordered: dict[str, dict[str, Any]] = {}
    for row in rows:
        ordered.setdefault(row["claim"], row)
        if row["alternative"] in by_id:
            ordered.setdefault(row["alternative"], by_id[row["alternative"]])
    return list(ordered.values())


def drawn_claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return the claims of a figure: those in points that have an interval, opposites together.

    What repeats an earlier one, what is compared with a threshold, and importance, whose points are
    larger ones, are left out; of more than
    `MOST`, those that are inconclusive are too.

    Args:
        table: The table `claims`.
    """
    ordered = pd.DataFrame(in_pairs(table.to_dict("records")), columns=list(table))
    in_points = ordered["measure"].isin(PERCENT) & (ordered["measure"] != "importance")
    shown = ordered["outcome"].isin(TESTED) & in_points
    plain = (ordered["rule"] != "correlation") & (ordered["threshold"] == 0)
    once = ~ordered["repeats"].astype(bool)
    drawn = ordered[shown & plain & once & ordered["low"].notna()]
    decided = drawn["outcome"] != Outcome.INCONCLUSIVE
    return drawn if len(drawn) <= MOST else drawn[decided]


def effect_cell(row: md.Row, form: Formatter, interval: bool = True) -> str:
    """Return the value of a contrast with its interval, in the unit of its measure.

    Args:
        row: A row of the table `claims`.
        form: The format of fractions.
        interval: Whether the interval is shown too.
    """
    value, low, high = (row[name] for name in ("difference", "low", "high"))
    if isnan(value):
        return md.VOID

    def spell(number: float) -> str:
        if row["measure"] in LOGARITHMIC:
            return md.format_ratio(exp(number))
        if row["measure"] in PERCENT and row["rule"] != "correlation":
            return form.points(number)
        return md.format_signed(number, DIGITS)

    sign = "x " if row["measure"] in LOGARITHMIC else ""
    bounds = md.format_interval(low, high, spell) if interval else ""
    return f"{sign}{spell(value)} {bounds}".strip()


def sides_cell(row: md.Row, form: Formatter) -> str:
    """Return the means of both sides, `before → after`; the medians of times to target."""
    before, after = row["before"], row["after"]
    if isnan(before) or isnan(after):
        return md.VOID
    if row["rule"] == "interaction":
        return " → ".join(
            effect_cell({**row, "difference": value}, form, interval=False)
            for value in (before, after)
        )

    def spell(number: float) -> str:
        if row["measure"] in PERCENT:
            return form.percent(number)
        if row["measure"] in COSTS:
            return md.format_ratio(number)
        if row["measure"] in LOGARITHMIC:
            return md.NEVER if isinf(number) else md.format_measure(number)
        return md.format_number(number, DIGITS)

    return f"{spell(before)} → {spell(after)}"
