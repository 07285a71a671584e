"""Format the cells of the front page from the table of contrasts.

The check of a written front page expects the same texts.
"""

from collections.abc import Sequence
from math import isnan

from pipeline.reporting import markdown as md
from pipeline.reporting.labels import named_setting, verdict_cell

ARM = "arm"
SETTING = "setting"
DIFFERENCE = f"difference [{md.INTERVAL}]"


def contrast_cells(
    row: md.Row,
    gap: md.Row | None,
    costs: Sequence[float],
    formatter: md.Formatter,
    reference: str = "",
) -> dict[str, str]:
    """Return the cells of an arm that are made of its contrasts.

    Args:
        row: The contrast that carries the verdict.
        gap: That of the gap, None if unknown.
        costs: Those of training and of a test example, as multiples of the reference's.
        formatter: The format of differences.
        reference: What to add to the name of an arm that is not compared with the baseline.
    """
    training, test = map(md.format_ratio, costs)
    return {
        ARM: row["arm"] + reference,
        "verdict": verdict_cell(row),
        DIFFERENCE: md.unbroken(formatter.change(row, unit="")) + constant_words(row),
        "change of gap": md.unbroken(formatter.change(gap, unit="")) if gap else md.VOID,
        "training cost": training,
        "test cost": test,
        SETTING: named_setting(row["arm"], row["setting"]) or md.VOID,
    }


def constant_words(row: md.Row) -> str:
    """Return the addition to a difference that is the same at every seed; "" for any other.

    Such a difference has no interval. The addition explains why it has no p.
    """
    return " at every seed" if row["n"] > 1 and isnan(row["low"]) else ""


def seeds_words(least: int, most: int, futile: int | None) -> str:
    """Return the number of seeds of the contrasts.

    Args:
        least: The pairs of the arm with the fewest.
        most: Those of the arm with the most.
        futile: How many arms stopped because the last look would hardly decide; None without looks.
    """
    seeds = md.format_count(most, "fresh seed")
    if least == most:
        return seeds
    if futile is None:
        return f"up to {seeds}"
    given_up = f"; {md.format_count(futile, 'arm')} stopped undecided, as futile" if futile else ""
    return f"{least} to {seeds} (an arm stops when its verdict is predicted{given_up})"
