"""What machines read of a report: the few numbers of `dvc metrics`, the long tables of `dvc plots`, and timing.

Separate from the page, which is for people; timing because wall clock is never the same twice.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.reporting.frames import TRIED, Evidence, tally
from pipeline.reporting.overview import gap_of
from pipeline.reporting.tables import VOID, decimal, ratio, table

PLACES = 6
CONTRAST_COLUMNS = ["study", "arm", "strength", "metric", "rule", "n", "difference", "low", "high"]
MEASURED = "measured here"


def metrics(evidence: Evidence) -> dict[str, Any]:
    """The baseline, every arm and the number of runs, rounded; None where a number is unknown."""
    baseline = evidence.baseline()
    arms = {
        f"{row['study']}/{row['arm']}": {
            "test_accuracy": _rounded(row["arm_mean"]),
            "difference": _rounded(row["difference"]),
            "p_holm": _rounded(row["p_holm"]),
            "gap": _rounded(gap_of(evidence, row["study"], row["arm"])),
        }
        for row in evidence.primary().to_dict("records")
    }
    return {
        "baseline": {name: _rounded(baseline[name].mean()) for name in ("test_accuracy", "gap")},
        "arms": arms,
        "runs": tally(evidence.planned()),
    }


def plots(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """The long tables behind the figures, by file name."""
    return {
        "contrasts.csv": evidence.primary()[CONTRAST_COLUMNS],
        "curves.csv": evidence.curves,
        "strengths.csv": evidence.tried[list(TRIED)],
    }


def timing_frame(evidence: Evidence, seconds: Mapping[str, float]) -> pd.DataFrame:
    """The median seconds of fit of every arm's confirmation runs, and their ratio to the baseline's.

    `seconds` holds the runs whose clock is known (fingerprint -> seconds); an arm without one has NaN.
    """
    runs = evidence.runs[evidence.runs["phase"] == "confirmation"]
    clocks = runs.assign(seconds=runs["fingerprint"].map(dict(seconds)).astype(float))
    keys = pd.MultiIndex.from_tuples([(study, arm.name) for study, arm in evidence.arms()], names=["study", "arm"])
    medians = clocks.groupby(["study", "arm"])["seconds"].agg(n="count", median_seconds="median").reindex(keys)
    medians["ratio"] = medians["median_seconds"] / medians["median_seconds"].iloc[0]
    return medians.assign(source=MEASURED).reset_index()


def timing_page(evidence: Evidence, timing: pd.DataFrame) -> str:
    """The timing as Markdown."""
    rows = [
        {
            "arm": evidence.label(row["study"], row["arm"]),
            "median seconds of fit": decimal(row["median_seconds"], 2),
            "of the baseline's": ratio(row["ratio"]),
            "n": str(row["n"]),
        }
        for row in timing.to_dict("records")
    ]
    caption = (
        f"Wall clock, {MEASURED}: not the same twice, and no part of the report. n: confirmation runs whose clock is known; "
        f"{VOID} where there is none, as after a resume or a download. Rule: none. No interval."
    )
    return f"# Timing: {evidence.confirmation.protocol}\n\n{table(pd.DataFrame(rows), caption)}\n"


def _rounded(value: float) -> float | None:
    return None if pd.isna(value) else round(float(value), PLACES)
