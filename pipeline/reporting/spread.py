"""Where the spread of a score comes from, and what would narrow the intervals: more seeds, or more test images.

Separate from the contrasts, whose intervals are of seeds alone and hold the test set fixed.
"""

import pandas as pd

from pipeline.comparison.variance import advice
from pipeline.config.plan import PlannedVariance
from pipeline.reporting.frames import Evidence
from pipeline.reporting.sections import changes, losses, lost, run_table
from pipeline.reporting.tables import (
    CONFIDENCE,
    INTERVAL,
    VOID,
    counted,
    decimals,
    percent,
    percent_interval,
    table,
    text,
)

SHARED = "Draw 0 of every group is the run of its seed, whatever the stream; a run may stand in many rows."
FIGURE = "Standard deviation of test accuracy when one stream is drawn anew, by arm and stream, with intervals"
WORDS = {
    "seeds": "More seeds would narrow these intervals, and the test images are no bottleneck.",
    "images": "More test images would say more than more seeds: what these say is sure of this test set alone.",
    "both": "More seeds would narrow these intervals; for a claim about other test images both errors weigh.",
}
FINEST = 2  # decimals of a standard deviation in points


def spread_sentence(evidence: Evidence) -> str:
    """More seeds or more test images? From the standard errors of the contrasts; empty where none is known."""
    known = evidence.primary()[["seed_error", "image_error"]].dropna()
    if known.empty:
        return ""
    seeds, images = known.median()
    return (
        f"A difference to the baseline has a standard error of {percent(seeds, FINEST)} points from the seeds and, were the "
        f"test images drawn anew, of {percent(images, FINEST)} points from these {evidence.test_use['test_examples']} images "
        f"(medians over {counted(len(known), 'contrast')}); the intervals of this report hold the first alone. "
        f"{WORDS[advice(float(seeds), float(images))]}"
    )


def variance_page(evidence: Evidence, study: PlannedVariance) -> str:
    """Everything about one study of variance, from its question to its runs."""
    runs = evidence.draws[evidence.draws["study"] == study.name]
    parts = [
        f"# Study: {study.name}",
        f"{text(study.question)} {changes(study)} In each of {counted(len(study.groups), 'group')} every stream but one keeps "
        "the group's seed, and that one is drawn anew. The baseline draws neither noise nor augmentation.",
        largest(evidence, study),
        component_table(evidence, study),
        f"![{FIGURE}](../figures/variance_{study.name}.png)" if len(_own(evidence, study)) else "",
        spread_sentence(evidence),
        f"## Runs\n\n{run_table(runs, SHARED)}",
        losses(runs),
        lost(runs),
    ]
    return "\n\n".join(part for part in parts if part)


def largest(evidence: Evidence, study: PlannedVariance) -> str:
    """Which streams spread the scores of every arm most, the first two of each."""
    lines = []
    for arm, rows in _own(evidence, study).groupby("arm", sort=False):
        moved = rows[rows["variance"].gt(0) & rows["n_groups"].gt(0)].sort_values(
            "variance", ascending=False
        )
        told = [
            f"**{row['stream']}** (a standard deviation of {percent(row['sd'], FINEST)} points "
            f"{percent_interval(row['low'], row['high'], FINEST)})"
            for row in moved.head(2).to_dict("records")
        ]
        if told:
            lines.append(
                f"- What spreads the scores of **{arm}** over seeds: first {', then '.join(told)}."
            )
    return "\n".join(lines)


def component_table(evidence: Evidence, study: PlannedVariance) -> str:
    """A row per arm and stream: the standard deviation of test accuracy when that stream alone is drawn anew."""
    own = _own(evidence, study)
    if own.empty:
        return "**No run of this study is done, so nothing was taken apart.**"
    digits = max(decimals(evidence.primary()), FINEST)
    rows = [
        {
            "arm": row["arm"],
            "stream": row["stream"],
            "sd (points)": percent(row["sd"], digits),
            INTERVAL: percent_interval(row["low"], row["high"], digits) or VOID,
            "groups": str(row["n_groups"]),
            "n": str(row["n"]),
        }
        for row in own.to_dict("records")
    ]
    caption = (
        "Standard deviation of test accuracy within groups, pooled. n: done runs. Rule: the test rule of each arm. What moves "
        "with a stream includes its interplay with the others, so the variances need not add up to that of whole runs. "
        f"Interval: {CONFIDENCE}, by chi-square of the pooled variance, which assumes normal scores. test set: the binomial "
        "spread that one run's accuracy would have over other test sets of this size; counted, so it has no interval."
    )
    return table(pd.DataFrame(rows), caption)


def _own(evidence: Evidence, study: PlannedVariance) -> pd.DataFrame:
    return evidence.variance[evidence.variance["study"] == study.name]
