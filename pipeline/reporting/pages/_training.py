"""Write how training went where arms search their learning rate: rates, loss and norms."""

import math

from pipeline.comparison.levels import WITHIN
from pipeline.config.plan import PlannedStudy
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of

RATE_DIGITS = 3  # significant
BASES = {"curve": "curve", "mean": "mean"}


def rate_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the range of rates that works and the figure; empty where no arm searches its rate."""
    rows = of(data.rate_ranges, study.name).to_dict("records")
    if not rows:
        return ""
    cells = [
        {
            "arm": row["arm"],
            "trials": f"{row['trials']:.0f}",
            "chosen rate": format_rate(row["chosen"]),
            "best (%)": data.format.percent(row["best"]),
            "range that works": format_range(row),
            "factor": format_factor(row),
            "in single seeds": format_seeds(row),
            "from": BASES.get(row["basis"], row["basis"]),
        }
        for row in rows
    ]
    caption = (
        f"Validation accuracy on {rows[0]['seeds']} exploration seeds; Rule: the test rule of each "
        "arm. Trials: settings tried, those of widening included. Range: around the best rate, "
        f"as far as the accuracy stays within {md.format_margin(WITHIN)} of it; between two "
        "trials, interpolated on the logarithm of the rate; a rate at which a run diverged is "
        "outside. Factor: its upper end over its lower. At least: trials end before the range "
        "does. In single seeds: the smallest and the largest factor that one seed gives. Arms "
        "may have tried other rates. The ranges describe these seeds; they have no interval and no "
        "verdict."
    )
    table = md.format_table(cells, caption, words=("arm", "from"))
    image = (
        f"![Learning rates of {study.name}: validation accuracy of every trial against learning "
        f"rate, the chosen one starred](../figures/rates_{study.name}.png)"
    )
    return md.join_parts(table, image)


def loss_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the figure of the loss against updates; empty where no arm searches its rate."""
    if of(data.rate_ranges, study.name).empty or of(data.curves, study.name).empty:
        return ""
    image = (
        f"![Loss of {study.name} against updates: training and validation, all arms, with bands]"
        f"(../figures/loss_{study.name}.png)"
    )
    caption = (
        "Confirmation runs at the chosen settings. Rule: deterministic, clean inputs. Line: "
        f"geometric mean. Band: {md.CONFIDENCE} interval of the mean logarithm over seeds."
    )
    return f"{image}\n\n*{caption}*"


def norm_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the figure of norms against updates; empty where none were measured."""
    if of(data.norms, study.name).empty:
        return ""
    image = (
        f"![Norms of {study.name} against updates: squared norm of the weights, norm of the "
        f"gradient, norm of an update over that of the weights, all arms, with bands]"
        f"(../figures/norms_{study.name}.png)"
    )
    caption = (
        "Confirmation runs at the chosen settings, after the last update of an epoch: all weights "
        "that norm penalties act on, together; the gradient of the last batch. An update is about "
        "0.001 of the weights where the learning rate fits (CS231n). Line: geometric mean. "
        f"Band: {md.CONFIDENCE} interval of the mean logarithm over seeds."
    )
    return f"{image}\n\n*{caption}*"


def format_rate(value: float) -> str:
    """Return a learning rate with three significant digits."""
    return md.VOID if value != value else f"{value:.{RATE_DIGITS}g}"


def format_range(row: md.Row) -> str:
    """Return both ends of a range; an end at which only the trials end is marked."""
    if row["factor"] != row["factor"]:
        return md.VOID
    low = ("<= " if row["low_open"] else "") + format_rate(row["low"])
    high = (">= " if row["high_open"] else "") + format_rate(row["high"])
    return f"{low} to {high}"


def format_factor(row: md.Row) -> str:
    """Return the width of a range, as in 12 or at least 12."""
    if row["factor"] != row["factor"]:
        return md.VOID
    start = "at least " if row["low_open"] or row["high_open"] else ""
    return f"{start}{row['factor']:.3g}"


def format_seeds(row: md.Row) -> str:
    """Return the least and the most factor of single seeds; an open one has no number."""
    if row["least"] != row["least"]:
        return md.VOID
    least, most = (
        "open" if math.isinf(row[key]) else f"{row[key]:.3g}" for key in ("least", "most")
    )
    return least if least == most else f"{least} to {most}"
