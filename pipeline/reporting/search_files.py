"""Name the tables of searches that a report has beside its page Search."""

import pandas as pd

from pipeline.reporting.evidence import ReportData


def search_files(data: ReportData) -> dict[str, pd.DataFrame]:
    """Return the tables with rows by file name; none without a study of searches.

    The tables of every point and of surfaces, which are long, are only in the artifacts.
    """
    tables = {
        "search_curves.csv": data.search_curves,
        "search_methods.csv": data.search_methods,
        "search_importance.csv": data.search_importance,
        "search_responses.csv": data.search_responses,
        "search_ends.csv": data.search_ends,
        "search_shifts.csv": data.search_shifts,
        "search_scales.csv": data.search_scales,
        "tuning_budget.csv": data.tuning_budget,
    }
    return {name: table for name, table in tables.items() if len(table)}
