"""What machines read of a report: the few numbers of `dvc metrics`, the long tables of `dvc plots`, and timing.

Separate from the page, which is for people; timing because wall clock is never the same twice.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.config.plan import BASELINE
from pipeline.reporting.frames import TRIED, Evidence, tally
from pipeline.reporting.tables import VOID, decimal, ratio, table

CONTRAST_COLUMNS = ["study", "arm", "strength", "rule", "n", "difference", "low", "high"]
MEASURED = "measured here"
PLACES = 2  # of a percent


def metrics(evidence: Evidence) -> dict[str, Any]:
    """The baseline in percent, every arm's difference in points of test accuracy, the runs; None where a number is unknown.

    Every name here is a column of `dvc exp show`: few, and short.
    """
    baseline, runs = evidence.baseline(), tally(evidence.planned())
    return {
        "baseline": {
            "accuracy": _percent(baseline["test_accuracy"].mean()),
            "gap": _percent(baseline["gap"].mean()),
        },
        "points": {
            row["arm"]: _percent(row["difference"])
            for row in _named(evidence, evidence.primary()).to_dict("records")
        },
        "runs": {name: runs[name] for name in ("planned", "done")},
    }


def plots(evidence: Evidence) -> dict[str, pd.DataFrame]:
    """The long tables that `.dvc/plots` draws, by file name."""
    return {
        "contrasts.csv": _named(evidence, evidence.primary())[CONTRAST_COLUMNS],
        "curves.csv": _named(evidence, evidence.curves),
        "strengths.csv": evidence.tried[list(TRIED)],
    }


def timing_frame(evidence: Evidence, seconds: Mapping[str, float]) -> pd.DataFrame:
    """The median seconds of fit of every arm's confirmation runs, and their ratio to the baseline's.

    `seconds` holds the runs whose clock is known (fingerprint -> seconds); an arm without one has NaN.
    """
    runs = evidence.runs[evidence.runs["phase"] == "confirmation"]
    clocks = runs.assign(seconds=runs["fingerprint"].map(dict(seconds)).astype(float))
    keys = pd.MultiIndex.from_tuples(
        [(study, arm.name) for study, arm in evidence.arms()], names=["study", "arm"]
    )
    medians = (
        clocks.groupby(["study", "arm"])["seconds"]
        .agg(n="count", median_seconds="median")
        .reindex(keys)
    )
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


def _named(evidence: Evidence, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame that are about kept arms, under the names of `_names`."""
    names = _names(evidence)
    found = [
        names.get((study, arm)) for study, arm in zip(frame["study"], frame["arm"], strict=True)
    ]
    return frame.assign(arm=found).dropna(subset=["arm"])


def _names(evidence: Evidence) -> dict[tuple[str, str], str]:
    """Every arm once, where studies share its runs; the name says the study where different runs share one."""
    kept = [arms[0] for arms in evidence.twins()]
    often = Counter(arm for _, arm in kept)
    names = {(study, arm): arm if often[arm] == 1 else f"{arm} of {study}" for study, arm in kept}
    compared = {key: name + evidence.against(*key) for key, name in names.items()}
    return {(evidence.confirmation.studies[0].name, BASELINE): BASELINE, **compared}


def _percent(value: float) -> float | None:
    return None if pd.isna(value) else round(100 * float(value), PLACES)
