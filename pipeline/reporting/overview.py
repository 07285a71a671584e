"""The tables over all studies: the contrasts with their verdicts, the parts of the gap, the counted cost.

Separate from the page around them, so that a table can be re-derived, and shown, alone.
"""

import pandas as pd

from pipeline.config.plan import BASELINE
from pipeline.config.test_rules import members
from pipeline.reporting.frames import GAPS, STATES, Evidence, banded
from pipeline.reporting.tables import (
    CONFIDENCE,
    INTERVAL,
    VOID,
    count,
    counted,
    decimals,
    listed,
    p_value,
    percent,
    percent_interval,
    points,
    points_interval,
    ratio,
    table,
    text,
)

CONTRAST_INTERVAL = (
    f"{CONFIDENCE} Student-t interval of the mean difference, arm minus baseline, paired by seed"
)
PAIRS = "pairs of seeds, both runs done on the same kind of machine"
MEAN_INTERVAL = f"{CONFIDENCE} Student-t interval of the mean"
RUNS = "runs: planned/done/failed/diverged/missing"
GAP_PARTS = dict(
    zip(GAPS, ("true gap", "noise", "augmentation", "as training sees it"), strict=True)
)
GAP_WORDS = (
    "True gap: train minus validation accuracy of the same weights, deterministic, on clean inputs. Noise and augmentation: "
    "what they take from the accuracy on the training images, so a training log shows the sum of the three."
)


def headline_table(evidence: Evidence) -> str:
    """One row per arm, the best difference first."""
    primary = evidence.primary()
    digits = decimals(primary)
    rows = [
        {
            "arm": row["arm"] + evidence.against(row["study"], row["arm"]),
            **({"study": row["study"]} if evidence.ambiguous() else {}),
            "verdict": row["verdict"],
            "difference (points)": points(row["difference"], digits),
            INTERVAL: points_interval(row["low"], row["high"], digits) or VOID,
            "test accuracy (%)": percent(row["arm_mean"], digits),
            "baseline (%)": percent(row["baseline_mean"], digits),
            **_gap_cells(evidence, row["study"], row["arm"], digits),
            "n": str(row["n"]),
            "p (Holm)": p_value(row["p_holm"]),
            "strength": text(row["strength"]) or VOID,
            RUNS: tallied(row),
        }
        for row in primary.to_dict("records")
    ]
    caption = (
        f"n: {PAIRS}. Rule: {rules(evidence)}; the gap always deterministic. Interval: {CONTRAST_INTERVAL}. "
        f"p: two-sided paired t test, Holm over {family(primary)}; "
        "the intervals are not corrected, so one without 0 may stand beside an inconclusive verdict. "
        "Equivalent: two one-sided tests at 5 %, not corrected, as where the 90 % interval lies within the margin. "
        "Arms are not compared with each other. All is conditional on this test set and this pool of images."
    )
    return table(pd.DataFrame(rows), caption)


def _gap_cells(evidence: Evidence, study: str, arm: str, digits: int) -> dict[str, str]:
    """The mean gap of an arm, and its paired difference to the baseline's."""
    rows = evidence.contrasts
    found = rows[
        (rows["metric"] == "gap") & (rows["study"] == study) & (rows["arm"] == arm)
    ].to_dict("records")
    change = [
        f"{points(row['difference'], digits)} {points_interval(row['low'], row['high'], digits)}".strip()
        for row in found
    ]
    return {
        "gap (points)": percent(gap_of(evidence, study, arm), digits),
        "gap, difference": (change or [VOID])[0],
    }


def gap_table(evidence: Evidence) -> str:
    """The parts of the gap of every arm."""
    digits = decimals(evidence.primary())
    rows = [
        {"arm": evidence.label(study, arm.name), "n": str(len(runs))}
        | {title: _mean_points(runs, part, digits) for part, title in GAP_PARTS.items()}
        for study, arm in evidence.arms()
        for runs in [evidence.confirmed(study, arm.name)]
    ]
    caption = (
        "Points of accuracy; 0 is exact. n: done confirmation runs. Rule: deterministic; noise and augmentation each averaged "
        f"over passes. Interval: {MEAN_INTERVAL}."
    )
    return f"{GAP_WORDS}\n\n{table(pd.DataFrame(rows), caption)}"


def left_out(evidence: Evidence) -> str:
    """What the contrasts left out or count twice, and that one pair has no interval. Empty where there is nothing to say."""
    primary, lines = evidence.primary(), []
    for row in primary.to_dict("records"):
        name = f"**{evidence.label(row['study'], row['arm'])}**"
        if row["unpaired"]:
            lines.append(
                f"{name}: {counted(row['unpaired'], 'pair')} of seeds left out, one of the two runs not done or no number"
            )
        if row["other_machine"]:
            lines.append(
                f"{name}: {counted(row['other_machine'], 'pair')} left out, trained on another kind of machine than the rest: "
                "contrasts and interactions do not mix processors or numbers of threads, other means and figures hold all runs"
            )
    lines += [
        f"{listed([f'**{evidence.label(*arm)}**' for arm in arms])} are the same runs, asked about in two studies: "
        "the correction counts both"
        for arms in evidence.twins()
        if len(arms) > 1
    ]
    constant = primary[(primary["n"] > 1) & primary["low"].isna()]
    lines += [
        f"**{evidence.label(row['study'], row['arm'])}** differs by as much at every seed: without spread there is no interval"
        for row in constant.to_dict("records")
    ]
    if (primary["n"] == 1).any():
        lines.append(
            "One pair of seeds has no interval, no p and no verdict: raise seeds.confirmation in params.yaml"
        )
    return "\n".join(f"- {line}." for line in lines)


def cost_table(evidence: Evidence, study: str | None = None) -> str:
    """The counted cost of every arm, in training and at test; of one study alone where it is named."""
    done = evidence.runs[
        (evidence.runs["phase"] == "confirmation") & (evidence.runs["state"] == "done")
    ]
    means = done.groupby(["study", "arm"])[["training_flops", "updates", "forward_flops"]].agg(
        "mean"
    )
    keys = [(study, arm.name) for study, arm in evidence.arms()]
    means = means.reindex(pd.MultiIndex.from_tuples(keys))
    baseline = means.iloc[0]
    rows = []
    for (own, arm), (_, cost) in zip(evidence.arms(), means.iterrows(), strict=True):
        if study not in (None, own) and arm.name != BASELINE:
            continue
        passes = members(arm.rule)
        rows.append(
            {
                "arm": evidence.label(own, arm.name),
                "training FLOPs": count(cost["training_flops"]),
                "training, of the baseline's": ratio(
                    cost["training_flops"] / baseline["training_flops"]
                ),
                "updates": count(cost["updates"]),
                "forward passes at test": str(passes),
                "FLOPs per test image": count(passes * cost["forward_flops"]),
                "n": str(int(((done["study"] == own) & (done["arm"] == arm.name)).sum())),
            }
        )
    caption = (
        "Counted, not timed (your own runs write timing.md). n: done confirmation runs, of which this is the mean; "
        "no interval. Rule: the forward passes are those of each arm's test rule."
    )
    return table(pd.DataFrame(rows), caption)


def budgets(evidence: Evidence) -> str:
    """A line for every arm that took another number of updates than the baseline: part of what it is compared by."""
    done = evidence.runs[
        (evidence.runs["phase"] == "confirmation") & (evidence.runs["state"] == "done")
    ]
    means = done.groupby(["study", "arm"], sort=False)["updates"].mean()
    known = means.reindex([(study, arm.name) for study, arm in evidence.arms()])
    lines = []
    for (study, arm), updates in zip(evidence.arms(), known, strict=True):
        share = updates / known.iloc[0]
        if share < 1 or share > 1:
            name = f"**{evidence.label(study, arm.name)}**"
            lines.append(
                f"{name} took {count(updates)} updates on average, {ratio(share)} of the baseline's {count(known.iloc[0])}"
            )
    if not lines:
        return "Every arm took as many updates as the baseline."
    words = "Budgets differ, and so does how far the schedule of the learning rate had come: both are part of the effect."
    return "\n".join([words, "", *(f"- {line}." for line in lines)])


def rules(evidence: Evidence) -> str:
    """Which test rule holds for which arm."""
    named: dict[str, dict[str, None]] = {}
    for _, arm in evidence.arms():
        named.setdefault(arm.rule, {})[arm.name] = None
    words = {rule: f"{rule} ({counted(members(rule), 'forward pass', 'es')})" for rule in named}
    if len(named) == 1:
        return f"{next(iter(words.values()))} for every arm"
    return "; ".join(f"{words[rule]} for {', '.join(arms)}" for rule, arms in named.items())


def family(primary: pd.DataFrame) -> str:
    """How many contrasts the correction is over."""
    return f"{counted(len(primary), 'contrast')} of test accuracy"


def gap_of(evidence: Evidence, study: str, arm: str) -> float:
    """The mean gap of an arm as its contrast has it, a fraction; NaN where there is none."""
    rows = evidence.contrasts
    found = rows.loc[
        (rows["metric"] == "gap") & (rows["study"] == study) & (rows["arm"] == arm), "arm_mean"
    ]
    return float(found.iloc[0]) if len(found) else float("nan")


def tallied(row: dict[str, object] | dict[str, int]) -> str:
    """Planned, done, failed, diverged and missing runs in one cell."""
    return "/".join(str(row[state]) for state in ("planned", *STATES))


def _mean_points(runs: pd.DataFrame, part: str, digits: int) -> str:
    if runs.empty or runs[part].isna().all():
        return VOID
    if (runs[part] == 0).all():
        return "0"
    row = banded(runs, ["arm"], part).iloc[0]
    return f"{percent(row['mean'], digits)} {percent_interval(row['low'], row['high'], digits)}".strip()
