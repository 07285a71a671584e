"""Select the numbers and tables of a report that commands read and DVC shows.

`dvc metrics` shows `metrics.json` and `dvc plots` the tables; `gapwise diff` and the index of all
reports read both, and the facts of the protocol.
"""

from collections import Counter
from math import isfinite, nan
from typing import Any

import pandas as pd

from pipeline.comparison.explored import VALIDATION
from pipeline.comparison.verdicts import LOST_RUNS
from pipeline.config.labels import format_setting
from pipeline.config.plan import BASELINE
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import Key, ReportData, count_states

CONTRAST_COLUMNS = [
    *("study", "arm", "strength", "view", "members", "n", "difference", "low", "high"),
    *("verdict", "below_margin", "withheld", *LOST_RUNS),
    *("gap_change", "gap_change_low", "gap_change_high"),
]
STRENGTH_COLUMNS = ["study", "arm", "strength", "n", *VALIDATION, "chosen"]
PLACES = 4  # of a percent
DIGITS = 4  # of a time to target


def metrics(data: ReportData) -> dict[str, Any]:
    """Return baseline (percent), differences of arms (points), runs and failed trust checks.

    Of the baseline, and of all arms where they search their learning rate, it has the median time
    to target too. Values that are unknown or never reached are None.

    Every name is a column of `dvc exp show`: few, and short.
    """
    runs = count_states(data.runs)
    primary = _once(data, data.distinct).sort_values("arm")
    return {
        "baseline": {
            "accuracy": _percent(data.baseline("test_accuracy")["mean"]),
            "gap": _percent(data.baseline("gap")["mean"]),
            **_baseline_target(data),
        },
        "points": {row["arm"]: _percent(row["difference"]) for row in rows_of(primary)},
        "runs": {name: runs[name] for name in ("planned", "done")},
        "failed_checks": len(data.failed_checks),
        **_targets(data),
    }


def plots(data: ReportData) -> dict[str, pd.DataFrame]:
    """Return the tables that the templates in `.dvc/plots` draw, by file name."""
    contrasts = _labelled(_once(data, data.distinct)).merge(_gap_changes(data), how="left")
    return {
        "contrasts.csv": contrasts[CONTRAST_COLUMNS],
        "curves.csv": _once(data, data.curves),
        "strengths.csv": _labelled(data.tried)[STRENGTH_COLUMNS],
    }


def protocol_facts(data: ReportData) -> dict[str, Any]:
    """Return the network, the data and other facts with which the index names a protocol."""
    settings = data.confirmation.settings
    return {
        "protocol": data.confirmation.protocol,
        "dataset": settings["data"]["dataset"],
        "network": settings["model"].get("import", settings["model"]["name"]),
        "train_size": settings["data"]["train_size"],
        "margin": data.confirmation.margin,
        **_looks(data),
    }


def _looks(data: ReportData) -> dict[str, Any]:
    """Return the numbers of seeds and the weights of looks; empty without looks."""
    looks = data.confirmation.looks
    return {} if looks is None else {"looks": looks.model_dump(include={"seeds", "weights"})}


def _baseline_target(data: ReportData) -> dict[str, float | None]:
    rows = rows_of(data.targets[data.targets["arm"] == BASELINE])
    target = rows[0] if rows else {}
    return {f"{name}_to_target": _finite(target.get(name, nan)) for name in ("updates", "flops")}


def _targets(data: ReportData) -> dict[str, dict[str, float | None]]:
    """Return the median updates to target of every arm, if arms search their learning rate."""
    if data.rate_ranges.empty:
        return {}
    rows = _once(data, data.targets).sort_values("arm")
    rows = rows[rows["arm"] != BASELINE]
    return {"updates_to_target": {row["arm"]: _finite(row["updates"]) for row in rows_of(rows)}}


def _finite(value: float) -> float | None:
    """Return a number in its printed precision; None if it is unknown or infinite."""
    return float(f"{value:.{DIGITS}g}") if isfinite(value) else None


def _gap_changes(data: ReportData) -> pd.DataFrame:
    """Return the change of the gap of every arm with its interval, by study and name."""
    frame = _once(data, data.contrasts[data.contrasts["metric"] == "gap"])
    bounds = {"difference": "gap_change", "low": "gap_change_low", "high": "gap_change_high"}
    return frame[["study", "arm", *bounds]].rename(columns=bounds)


def _labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with its settings as text, `strength`."""
    return frame.assign(strength=frame["setting"].map(format_setting))


def _once(data: ReportData, frame: pd.DataFrame) -> pd.DataFrame:
    """Return every arm of a frame once, if studies share its runs, under a unique name."""
    names = _names(data)
    keys = zip(frame["study"], frame["arm"], strict=True)
    return frame.assign(arm=[names.get(key) for key in keys]).dropna(subset=["arm"])


def _names(data: ReportData) -> dict[Key, str]:
    """Return names of arms, with the study where studies use one name for different runs."""
    first = [keys[0] for keys in data.arms_by_runs]
    often = Counter(arm for _, arm in first)
    names = {(data.confirmation.studies[0].name, BASELINE): BASELINE}
    for study, arm in first:
        name = arm if often[arm] == 1 else f"{arm} of {study}"
        names[study, arm] = name + data.reference(study, arm)
    return names


def _percent(value: float) -> float | None:
    return None if pd.isna(value) else round(100 * float(value), PLACES)
