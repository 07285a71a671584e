"""Format the numbers of claims, of one report and of several."""

from math import exp, isinf, isnan
from typing import Any

import pandas as pd

from pipeline.comparison.levels import LEVEL
from pipeline.comparison.verdicts import Outcome
from pipeline.config.claims import COSTS, LOGARITHMIC
from pipeline.records.tables import rows_of
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
NATS = ("nll", "validation_nll", "train_nll")
CORRECTED = "Outcomes have Holm's correction over all claims that a report tests"
TESTED = (Outcome.SUPPORTED, Outcome.CONTRADICTED, Outcome.INCONCLUSIVE)
MOST = 60  # lines of the figure
DIGITS = 3  # decimals of nats, and of correlations


def in_pairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows in their order, each followed by the opposite claim."""
    by_id = {row["claim"]: row for row in rows}
    ordered: dict[str, dict[str, Any]] = {}
    for row in rows:
        ordered.setdefault(row["claim"], row)
        if row["alternative"] in by_id:
            ordered.setdefault(row["alternative"], by_id[row["alternative"]])
    return list(ordered.values())


def drawn_claims(table: pd.DataFrame) -> pd.DataFrame:
    """Return the claims of a figure: claims in points with an interval, opposites together.

    Claims that repeat an earlier one, claims with a threshold, correlations, and importance, whose
    points are larger, are left out. If more than `MOST` claims remain, inconclusive ones are left
    out too.

    Args:
        table: The table `claims`.
    """
    ordered = pd.DataFrame(in_pairs(rows_of(table)), columns=list(table))
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


def expected_words(row: md.Row, form: Formatter) -> str:
    """Return the difference that a claim expects of the second side from the first, as text."""
    if row["expect"] == "equal":
        return "equal" if row["rule"] in ("exact", "identity") else _near(row, form)
    words = str(row["expect"]).replace("_", " ")
    return f"{words} by more than {_amount(row, form)}" if row["threshold"] else words


def outcome_words(row: md.Row, form: Formatter) -> str:
    """Return the outcome of a claim, and its reason unless this is the sign of a difference.

    A difference that is shown to be within the margin contradicts a claim about its sign. It
    supports a claim that only excludes a larger difference.

    Args:
        row: A row of the table `claims`.
        form: The format of fractions.
    """
    why = row["reason"] or _deciding(row, form)
    return f"{row['outcome']}: {why}" if why else str(row["outcome"])


def _deciding(row: md.Row, form: Formatter) -> str:
    """Return the reason that decided a claim; "" for the sign of a difference or no reason."""
    above = row["difference"] - row["threshold"]
    sign = (above > 0) - (above < 0) if row["p_holm"] < LEVEL else 0  # 0: not shown
    match row["outcome"], row["rule"], row["expect"]:
        case Outcome.CONTRADICTED, "exact", _:
            return "not at every seed or group"
        case Outcome.SUPPORTED, "exact", _:
            return f"at each of {row['n']} seeds or groups; no test"
        case Outcome.CONTRADICTED, _, "equal":
            place = _amount(row, form) if row["threshold"] else "0"
            return f"shown to differ from {place}, and not shown to be within the margin"
        case Outcome.CONTRADICTED, _, "lower" | "higher" as expect:
            return "" if sign == (1 if expect == "lower" else -1) else _near(row, form)
        case Outcome.SUPPORTED, _, "not_lower" | "not_higher" as expect:
            is_beyond = sign == (1 if expect == "not_lower" else -1)
            return "" if is_beyond else f"{_at_most(row, form)} {expect.removeprefix('not_')}"
    return ""


def _near(row: md.Row, form: Formatter) -> str:
    """Return that a value is within the margin of the threshold."""
    if not row["threshold"]:
        return f"within the margin of {_margin(row)}"
    return f"within {_margin(row)} of {_amount(row, form)}"


def _at_most(row: md.Row, form: Formatter) -> str:
    """Return the largest difference that a claim about one side allows."""
    beyond = f"{_amount(row, form)} and " if row["threshold"] else ""
    return f"at most {beyond}{_margin(row)}"


def _amount(row: md.Row, form: Formatter) -> str:
    """Return the threshold of a claim in the unit of its measure."""
    return effect_cell({**row, "difference": row["threshold"]}, form, interval=False)


def _margin(row: md.Row) -> str:
    """Return the margin of a claim with the unit of its measure."""
    if row["measure"] in LOGARITHMIC:
        return f"x {md.format_ratio(exp(row['margin']))}"
    if row["measure"] in PERCENT and row["rule"] != "correlation":
        return md.format_margin(row["margin"])
    return f"{row['margin']:g}{' nats' if row['measure'] in NATS else ''}"


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
