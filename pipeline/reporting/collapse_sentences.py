"""Describe the arms that lost runs, which collapsed or diverged, and the rates of losses."""

from collections.abc import Collection
from math import nan

import pandas as pd

from pipeline.comparison.collapses import FAR, FEWEST, SHARING
from pipeline.comparison.verdicts import Verdict
from pipeline.config.plan import BASELINE
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md

NAMED = 3  # arms with lost runs that a sentence names; more are counted
RULE = (
    "A run has collapsed if its test accuracy is below the median of its arm by more than the "
    f"margin, and by more than {FAR:g} robust standard deviations (1.4826 times the median "
    "absolute deviation of its arm, or of all arms if that is larger). The arm must have at least "
    f"{FEWEST} runs. With {SHARING} or more arms, the rule is also applied after the effect of "
    "each seed (the median over all arms) is subtracted from the accuracies"
)
CAPTION = (
    f"{RULE}. Rate: share of runs that collapsed or diverged, with its exact 95 % interval "
    "(Clopper and Pearson). p: exact McNemar test against the reference, over the seeds at which "
    "exactly one of the two runs is lost, with Holm's correction over the contrasts."
)


def lost_arms(rates: pd.DataFrame) -> pd.DataFrame:
    """Return the arms that lost runs, the highest rate first."""
    lost = rates[rates["collapsed"] + rates["diverged"] > 0]
    return lost.sort_values("rate", ascending=False, kind="stable")


def collapse_sentences(rates: pd.DataFrame, named_before: Collection[str] = ()) -> list[str]:
    """Return sentences on the arms that lost runs, also compared with their references.

    Args:
        rates: A row per arm: label, `RATE`, p_holm and often.
        named_before: The labels of the arms whose lost runs another sentence already counts.
    """
    lost = lost_arms(rates)
    if lost.empty:
        return []
    rows = rows_of(lost)
    named = [f"**{row['label']}** {_share(row)}" for row in rows[:NAMED]]
    more = [f"{len(rows) - NAMED} more"] if len(rows) > NAMED else []
    shown = [
        f"**{row['label']}** loses runs {row['often']} often than its reference "
        f"(p {md.format_p(row['p_holm'])})"
        for row in rows_of(rates[rates["often"] != ""])
    ]
    differs = (
        md.format_list(shown) if shown else "The rates of lost runs do not differ significantly"
    )
    counted = f"Lost runs (collapsed or diverged): {md.format_list([*named, *more])}. "
    if {row["label"] for row in rows} <= {*named_before}:
        counted = ""
    return [f"{counted}{differs}. Differences in accuracy leave out lost runs."]


def rate_table(rates: pd.DataFrame, note: str = "") -> str:
    """Return the rates of lost runs of every arm; empty if none was.

    Args:
        rates: As `collapse_sentences` takes them.
        note: What the caption says besides.
    """
    if lost_arms(rates).empty:
        return ""
    rows = [
        {
            "arm": row["label"],
            "runs": f"{row['runs']:g}",
            "collapsed": f"{row['collapsed']:g}",
            "diverged": f"{row['diverged']:g}",
            "rate (%)": _percent(row["rate"]),
            md.INTERVAL: md.format_interval(row["low"], row["high"], _percent) or md.VOID,
            "p (Holm)": md.format_p(row["p_holm"]),
        }
        for row in rows_of(rates)
    ]
    return md.format_table(rows, f"{CAPTION}{note}", words=("arm",))


def lost_note(rates: pd.DataFrame) -> str:
    """Return the definition of a lost or collapsed run, with a space at the end.

    Args:
        rates: As `collapse_sentences` takes them.
    """
    lost = "" if lost_arms(rates).empty else "A run is lost if it collapsed or diverged. "
    return f"{lost}A run collapses if its accuracy is far below that of the other runs of its arm. "


def rare_note(rates: pd.DataFrame) -> str:
    """Return the rate of collapses that runs cannot exclude, for the arm with the fewest runs.

    Args:
        rates: As `collapse_sentences` takes them.
    """
    trained = rates[rates["runs"] > 0]
    row = (rates if trained.empty else trained).sort_values("runs", kind="stable").iloc[0]
    return (
        f"An arm without a collapse in {md.format_count(int(row['runs']), 'run')} may still have a "
        f"collapse rate of up to {_percent(row['unseen'])} % (one-sided {md.CONFIDENCE} bound; the "
        "intervals in tables are two-sided)."
    )


def undone_note(rates: pd.DataFrame, contrasts: pd.DataFrame) -> str:
    """Return the verdicts that the rates of lost runs may undo, for means over all runs.

    A verdict is named where the exact interval of the arm that is better has the rate, beyond that
    of the other arm, at which its mean would be no better. "" without any.

    Args:
        rates: As `collapse_sentences` takes them, with `undone`.
        contrasts: Columns label and verdict.
    """
    if lost_arms(rates).empty:
        return ""
    verdicts = dict(zip(contrasts["label"], contrasts["verdict"], strict=True))
    highest = dict(zip(zip(rates["study"], rates["arm"], strict=True), rates["high"], strict=True))
    of_baseline = rates.loc[rates["arm"] == BASELINE, "high"].max()
    named = []
    for row in rows_of(rates):
        verdict = verdicts.get(row["label"], "")
        other = highest.get((row["study"], row["reference"]), of_baseline)
        better = {Verdict.HELPS: row["high"], Verdict.HURTS: other}
        if row["undone"] < better.get(verdict, nan):
            named.append(f"**{row['label']}** ({verdict}; {_percent(row['undone'])})")
    if not named:
        return ""
    return (
        " If lost runs counted too, with their own accuracy, a verdict would change if the better "
        "arm lost runs more often than the other one, by the percentage points in brackets: "
        f"{md.format_few(named)}. There are too few runs to exclude this."
    )


def _share(row: md.Row) -> str:
    lost = row["collapsed"] + row["diverged"]
    bounds = md.format_interval(row["low"], row["high"], _percent)
    return f"{lost:g} of {row['runs']:g} runs ({_percent(row['rate'])} % {bounds})"


def _percent(rate: float) -> str:
    return md.format_number(100 * rate, 0)
