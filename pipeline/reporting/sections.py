"""The page of one study: what was tried, what was confirmed, how it learned, what it cost, what acted, what was lost.

Separate from the front page, which looks across studies.
"""

from collections.abc import Callable, Iterator

import pandas as pd

from pipeline.config.plan import BASELINE, PlannedEnsemble, PlannedStudy, PlannedVariance
from pipeline.reporting.averaging import pass_figure
from pipeline.reporting.confirmed import confirmed
from pipeline.reporting.frames import STATES, Evidence, tally
from pipeline.reporting.gains import PRECISION
from pipeline.reporting.growth import growth_section
from pipeline.reporting.interplay import interaction_table
from pipeline.reporting.overview import MEAN_INTERVAL, RUNS, cost_table, tallied
from pipeline.reporting.tables import (
    CONFIDENCE,
    INTERVAL,
    VOID,
    counted,
    decimal,
    decimal_interval,
    decimals,
    measure,
    percent,
    percent_interval,
    table,
    text,
)

Spelling = Callable[[float, int], str]
IntervalSpelling = Callable[[float, float, int], str]
LONGEST = 160  # letters of a failure's reason
SHARED = "The baseline's runs are shared by all studies."


def study_section(evidence: Evidence, study: PlannedStudy) -> str:
    """Everything about one study, from its question to its runs."""
    runs = evidence.runs[evidence.runs["study"] == study.name]
    together, passes = interaction_table(evidence, study.name), pass_figure(evidence, study.name)
    parts = [
        f"# Study: {study.name}",
        f"{text(study.question)} {changes(study)} Protocol: {evidence.confirmation.protocol}, as told in "
        "[how it was measured](method.md).",
        _strengths(evidence, study),
        f"## Confirmed\n\n{confirmed(evidence, study)}",
        growth_section(evidence, study),
        f"## What two do together\n\n{together}" if together else "",
        _other_rules(evidence, study),
        f"## Noise passes averaged\n\n{passes}" if passes else "",
        f"## How it learned\n\n![Learning curves of {study.name}: train and validation accuracy and loss of each arm and of "
        f"the baseline, with bands](../figures/curves_{study.name}.png)\n\n*{_curve_caption(runs)}*",
        f"## Cost\n\n{cost_table(evidence, study.name)}",
        f"## What acted\n\n{audit_table(evidence, study)}",
        f"## Runs\n\n{run_table(runs, SHARED)}",
        losses(runs),
        lost(runs),
    ]
    return "\n\n".join(part for part in parts if part)


def strength_table(tried: pd.DataFrame, digits: int) -> str:
    """Every tried strength of a study, the chosen one marked."""
    name = "validation_accuracy"
    rows = [
        {
            "arm": row["arm"],
            "strength": text(row["strength"]) or VOID,
            "validation accuracy (%)": percent(row[name], digits),
            INTERVAL: percent_interval(
                max(row[f"{name}_low"], 0.0), min(row[f"{name}_high"], 1.0), digits
            )
            or VOID,
            "validation NLL": decimal(row["validation_nll"], PRECISION),
            "n": str(row["n"]),
            "chosen": "**chosen**" if row["chosen"] else "",
            RUNS: tallied({"planned": sum(row[state] for state in STATES), **row}),
        }
        for row in tried.to_dict("records")
    ]
    caption = f"n: exploration seeds. Rule: the test rule of each arm, on validation images. Interval: {MEAN_INTERVAL}."
    return table(pd.DataFrame(rows), caption)


def audit_table(evidence: Evidence, study: PlannedStudy) -> str:
    """What the regularizers of each arm did, measured while they trained."""
    rows = [
        {
            "arm": row["arm"],
            "regularizer": text(row["regularizer"]),
            "measure": text(row["measure"].replace("_", " ")),
            "mean": measure(row["mean"]),
            "n": str(row["n"]),
        }
        for row in evidence.audit[evidence.audit["study"] == study.name].to_dict("records")
    ]
    if not rows:
        return "No run of this study has an audit."
    caption = "n: done confirmation runs, of which this is the mean; no interval. Rule: none, measured in training."
    return table(pd.DataFrame(rows), caption)


def changes(study: PlannedStudy | PlannedEnsemble | PlannedVariance) -> str:
    """What the arms of a study change against the baseline."""
    arms = (arm for arm in study.arms if arm.name != BASELINE)
    named = (
        arm.name if arm.factor == arm.name else f"{text(arm.factor)} (arm {arm.name})"
        for arm in arms
    )
    return f"Changed against the baseline: {'; '.join(named)}."


def losses(runs: pd.DataFrame) -> str:
    """How many of these runs failed, diverged or are missing; empty where all are done."""
    counts = tally(runs)
    lost = counts["planned"] - counts["done"]
    if not lost:
        return ""
    kinds = ", ".join(f"{counts[state]} {state}" for state in STATES[1:] if counts[state])
    start = f"**{counted(lost, 'run')} of {counts['planned']} not done: {kinds}.**"
    return f"{start} They are in no mean, and their pairs in no contrast."


def lost(runs: pd.DataFrame) -> str:
    """A line for every run that is not done, with its reason."""
    lines = []
    for row in runs[runs["state"] != "done"].to_dict("records"):
        name = f"{row['arm']} ({text(row['strength'])})" if row["strength"] else row["arm"]
        model = f", model {row['member']}" if "member" in row else ""
        reason = text(row["reason"][:LONGEST])
        lines.append(
            f"- {row['phase']}, {name}, seed {row['seed']}{model}: {row['state']}"
            + f": {reason}" * bool(reason)
        )
    return "\n".join(lines)


def run_table(runs: pd.DataFrame, shared: str) -> str:
    """What became of the runs of every strength; `shared` says which of them stand elsewhere too."""
    keys = ["phase", "arm", "strength"]
    rows = [
        dict(zip(keys, (phase, arm, text(strength) or VOID), strict=True))
        | {RUNS: tallied(tally(group))}
        for (phase, arm, strength), group in runs.groupby(keys, sort=False)
    ]
    return table(pd.DataFrame(rows), f"{shared} Counts of runs: no rule, no interval.")


def _strengths(evidence: Evidence, study: PlannedStudy) -> str:
    tried = evidence.tried[evidence.tried["study"] == study.name]
    if tried.empty:
        return "Every arm has one strength, so there was nothing to choose."
    image = (
        f"![Strengths of {study.name}: mean validation accuracy against strength, {CONFIDENCE} bands, the chosen one starred, "
        f"the baseline as a dashed line](../figures/strengths_{study.name}.png)"
    )
    parts = [
        f"## Strengths tried\n\n{strength_table(tried, decimals(evidence.primary()))}",
        *_edges(tried),
        image,
    ]
    return "\n\n".join(parts)


def _edges(tried: pd.DataFrame) -> Iterator[str]:
    """A line for every arm whose chosen strength is the first or the last of its list: the best may lie beyond."""
    for arm, rows in tried[tried["arm"] != BASELINE].groupby("arm", sort=False):
        chosen = list(rows["chosen"])
        if chosen[0] or chosen[-1]:
            yield f"The strength chosen for {arm} stands at an end of its list: a better one may lie beyond what was tried."


def _other_rules(evidence: Evidence, study: PlannedStudy) -> str:
    """Scores under every test rule of the arms that have more than one; a rule scored on some of the runs alone is no peer."""
    own = evidence.rules[
        (evidence.rules["study"] == study.name) & (evidence.rules["split"] == "test")
    ]
    own = own[own["n"] == own.groupby("arm")["n"].transform("max")]
    declared = {arm.name: arm.rule for arm in study.arms}
    rows = [
        {
            "arm": arm,
            "rule": f"{rule} (declared)" if declared[arm] == rule else rule,
            "test accuracy (%)": _spelled(
                group, "accuracy", percent, percent_interval, decimals(evidence.primary())
            ),
            "test NLL (nats)": _spelled(group, "nll", decimal, decimal_interval, PRECISION),
            "n": str(group["n"].iloc[0]),
        }
        for (arm, rule), group in own.groupby(["arm", "rule"], sort=False)
        if (own.loc[own["arm"] == arm, "rule"] != rule).any()
    ]
    if not rows:
        return ""
    caption = (
        "The declared rule carries contrasts and verdict; the others stand beside it without. n: done confirmation runs. "
        f"Rule: as named, an average of probabilities. Interval: {MEAN_INTERVAL}."
    )
    return f"## Every test rule\n\n{table(pd.DataFrame(rows), caption)}"


def _spelled(
    group: pd.DataFrame, metric: str, one: Spelling, both: IntervalSpelling, digits: int
) -> str:
    rows = group[group["metric"] == metric].itertuples()
    return (
        " ".join(
            f"{one(row.mean, digits)} {both(row.low, row.high, digits)}".strip() for row in rows
        )
        or VOID
    )


def _curve_caption(runs: pd.DataFrame) -> str:
    done = (
        runs[(runs["phase"] == "confirmation") & (runs["state"] == "done")]
        .groupby("arm", sort=False)
        .size()
    )
    counts = ", ".join(f"{arm} {number}" for arm, number in done.items())
    return (
        f"n: done confirmation runs ({counts or 'none'}). Rule: deterministic, clean inputs. Band: {MEAN_INTERVAL}; "
        "the mean of the loss is geometric."
    )
