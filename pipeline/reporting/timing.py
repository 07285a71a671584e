"""Format the wall clock as Markdown; it is never the same twice and no part of the report."""

import pandas as pd

from pipeline.comparison.timing import MEASURED
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.markdown import VOID, format_number, format_ratio, format_table


def timing_page(data: ReportData, timing: pd.DataFrame) -> str:
    """Return the page `timing.md`; `timing` is the table of that name."""
    rows = [
        {
            "arm": data.label(row["study"], row["arm"]),
            "median seconds of training": format_number(row["median_seconds"], 2),
            "x baseline": format_ratio(row["ratio"]),
            "n": str(row["n"]),
        }
        for row in rows_of(timing)
    ]
    caption = (
        f"Wall clock, {MEASURED}. Runs share the machine with other runs and programs, so compare "
        "arms by their counted operations (cost) rather than by these times. n: confirmation runs "
        f"whose time is known. It is unknown ({VOID}) for runs that were resumed or downloaded."
    )
    return (
        f"# Timing: {data.confirmation.protocol}\n\n{format_table(rows, caption, words=('arm',))}\n"
    )
