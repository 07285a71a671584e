"""Write how training went where arms search their learning rate: rates, loss and norms."""

import math

from pipeline.comparison.levels import WITHIN
from pipeline.comparison.norms import ALL
from pipeline.config.plan import PlannedStudy
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of

RATE_DIGITS = 3  # significant


def rate_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the range of rates that works and the figure; empty if no arm searches its rate."""
    rows = rows_of(of(data.rate_ranges, study.name))
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
            "factor of single seeds": format_seeds(row),
        }
        for row in rows
    ]
    caption = (
        f"Validation accuracy on {md.format_count(rows[0]['seeds'], 'exploration seed')}. Rule: "
        "the test rule of each arm. Range that works: the rates around the best one at which "
        "accuracy is within "
        f"{md.format_margin(WITHIN)} of the best and no run diverged, interpolated; {md.VOID}: "
        "other values were searched too. <=, >= and at least: the range may go on beyond the rates "
        "tried. Factor: upper end divided by lower end. Factor of single seeds: the smallest and "
        "the largest; open: the range may go on. No interval, no verdict."
    )
    table = md.format_table(cells, caption, words=("arm",))
    image = (
        f"![Learning rates of {study.name}: validation accuracy of every trial against learning "
        "rate, the chosen one starred, each panel on its own scale; an arrow is a trial below it, "
        f"with its accuracy](../figures/rates_{study.name}.png)"
    )
    return md.join_parts(table, image)


def loss_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the figure of the loss against updates; empty if no arm searches its rate."""
    if of(data.rate_ranges, study.name).empty or of(data.curves, study.name).empty:
        return ""
    image = (
        f"![Loss of {study.name} against updates: training and validation loss of all arms, with "
        f"bands]"
        f"(../figures/loss_{study.name}.png)"
    )
    return image


def norm_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the figure of norms against updates; empty if none were measured."""
    norms = of(data.norms, study.name)
    if norms.empty:
        return ""
    by_layer = (
        f"![Norms of {study.name} by layer and arm, halfway through training: norm of an update "
        f"divided by that of the weights, and norm of the gradient]"
        f"(../figures/layers_{study.name}.png)"
    )
    image = (
        f"![Norms of {study.name} against updates: squared norm of the weights, norm of the "
        f"gradient, norm of an update divided by that of the weights, all arms, with bands]"
        f"(../figures/norms_{study.name}.png)"
    )
    caption = (
        "Norms are measured after the last update of an epoch, over the weights that norm "
        "penalties act on. Norms by layer are measured halfway through training. With a suitable "
        "learning rate, the norm of an update is about 0.001 of the norm of the weights (CS231n). "
        f"Line: geometric mean. Band: {md.CONFIDENCE} interval of the mean logarithm over seeds."
    )
    has_layers = (norms["layer"] != ALL).any()
    return md.join_parts(image, by_layer if has_layers else "", f"*{caption}*")


def format_rate(value: float) -> str:
    """Return a learning rate with three significant digits."""
    return md.VOID if value != value else f"{value:.{RATE_DIGITS}g}"


def format_range(row: md.Row) -> str:
    """Return both ends of a range; an end that is only the last trial is marked."""
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
