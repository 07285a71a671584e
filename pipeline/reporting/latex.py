"""Write the verdicts of a report as a LaTeX table, which a paper includes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import Key, ReportData
from pipeline.reporting.labels import verdict_cell
from pipeline.reporting.units import PRIMARY_METRIC, Metric

PACKAGES = "% needs \\usepackage{booktabs}"
LOOKS = "Intervals and p are corrected for looks at growing numbers of seeds by a union bound. "
HEAD = (*("arm", "verdict", "difference", md.INTERVAL, "gap", "training", "test"), *("$n$", "$p$"))
ALIGNED = "llrrrrrrr"
BESIDE = ("gap", "training_cost", "test_cost")  # metrics in the row of an arm
SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "–": "--",
}


def latex_table(data: ReportData) -> str:
    """Return a `table` environment with a row per arm, the best difference first."""
    rows = rows_of(data.contrasts[data.contrasts["metric"].isin(BESIDE)])
    beside = {(row["study"], row["arm"], row["metric"]): row for row in rows}
    cells = [_cells(data, row, beside) for row in rows_of(data.distinct)]
    return table_environment(_caption(data), data.confirmation.protocol, ALIGNED, HEAD, cells)


def table_environment(
    caption: str, label: str, aligned: str, head: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Return a `table` environment of booktabs.

    Args:
        caption: The caption, in LaTeX.
        label: What follows `tab:` in the label.
        aligned: The alignment of every column, a letter each.
        head: The names of the columns; those without `$` are escaped.
        rows: The cells of every row, in LaTeX.
    """
    lines = [
        PACKAGES,
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{caption}}}",
        f"\\label{{tab:{label}}}",
        "\\footnotesize",
        "\\setlength{\\tabcolsep}{4pt}",
        f"\\begin{{tabular}}{{{aligned}}}",
        "\\toprule",
        _line([escape_latex(name) if "$" not in name else name for name in head]),
        "\\midrule",
        *map(_line, rows),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def difference_cells(row: md.Row, formatter: md.Formatter, metric: Metric) -> list[str]:
    """Return the cells of a verdict, its difference and its interval."""
    return [
        escape_latex(verdict_cell(row)),
        math_mode(formatter.difference(metric, row["difference"])),
        math_mode(formatter.bounds(metric, row["low"], row["high"])),
    ]


def math_mode(number: str) -> str:
    """Return a formatted number or interval in math mode, which sets its signs and spaces."""
    if not number or number == md.VOID:
        return escape_latex(number)
    return f"${number.replace(md.NO_BREAK, ' ')}$"


def escape_latex(text: str) -> str:
    """Return free text with the characters that LaTeX reads as commands escaped."""
    pattern = "|".join(re.escape(character) for character in SPECIAL)
    return re.sub(pattern, lambda match: SPECIAL[match[0]], text)


def _caption(data: ReportData) -> str:
    accuracy, gap = (data.baseline(name)["mean"] for name in ("test_accuracy", "gap"))
    return escape_latex(
        f"Test accuracy of every arm on {data.confirmation.protocol}: difference to its reference "
        f"in percentage points, paired over n seeds, with its {md.INTERVAL}; change of the gap "
        "between train and validation accuracy in points; costs of training and of a test example "
        "as multiples of those of the reference; "
        "p of the paired t test after Holm's correction, from which the verdicts follow. "
        f"{LOOKS if data.confirmation.looks else ''}The "
        f"baseline has {data.format.percent(accuracy)} % test accuracy and a gap of "
        f"{data.format.percent(gap)} points."
    )


def _cells(
    data: ReportData, row: md.Row, beside: Mapping[tuple[str, str, str], Mapping[str, Any]]
) -> list[str]:
    key: Key = (row["study"], row["arm"])
    gap, training, test = (beside.get((*key, metric)) for metric in BESIDE)
    return [
        escape_latex(row["label"]),
        *difference_cells(row, data.format, PRIMARY_METRIC),
        math_mode(data.format.points(gap["difference"])) if gap else "",
        md.format_ratio(training["arm_mean"]) if training else "",
        md.format_ratio(test["arm_mean"]) if test else "",
        str(row["n"]),
        math_mode(md.format_p(row["p_holm"])),
    ]


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"
