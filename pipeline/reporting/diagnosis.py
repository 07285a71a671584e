"""The diagnosis of a protocol: is the problem bias or variance, and which arms of this report address it.

The recipe of bias and variance (Ng, Machine Learning Yearning, 2018): compare the training error with the best possible
one, and the validation error with the training error. Separate from the headline, which ranks arms whatever the problem is.
"""

from collections.abc import Iterator
from typing import Any, Literal

import pandas as pd

from pipeline.comparison.intervals import NEGLIGIBLE, Interval, interval
from pipeline.reporting.frames import Evidence
from pipeline.reporting.tables import (
    decimal,
    decimals,
    listed,
    percent,
    percent_interval,
    points,
    points_interval,
)

Problem = Literal["variance", "bias", "both", "neither"]
FEW = 4  # arms that are named one by one
FITTED = 0.99  # train accuracy from which little of the gap is left to it
TWICE = 2  # one part outweighs the other where it is so many times as large
ADVICE = {
    "variance": "The gap outweighs it: the problem is **variance**, the network overfits. That is what regularizers "
    "and more data are for.",
    "bias": "That outweighs the gap: the problem is **bias**, the network does not fit its own training images. A larger "
    "network or longer training comes first; add a regularizer only once it overfits.",
    "both": "Neither outweighs the other: the problem is **both** bias and variance. A larger network or longer training for "
    "the first, and regularizers for the second, as far as they do not make the first worse.",
    "neither": "Both are within the margin: there is little left for a regularizer to mend.",
}


def problem(bias: float, gap: float, margin: float) -> Problem:
    """Which part of the validation error is the problem: avoidable bias, the gap, both, or neither beyond the margin.

    All are fractions. A part is the problem alone where it is at least twice the other.
    """
    if max(bias, gap) <= margin:
        return "neither"
    if gap >= TWICE * bias:
        return "variance"
    return "bias" if bias >= TWICE * gap else "both"


def diagnosis(evidence: Evidence) -> str:
    """The section: training error against the stated optimal one, the gap, the problem, and what addresses it."""
    baseline, best = evidence.baseline(), evidence.confirmation.optimal_error
    error, gap = (
        interval(values.to_numpy(float))
        for values in (1 - baseline["train_accuracy"], baseline["gap"])
    )
    digits = decimals(evidence.primary())
    if not error.n:
        return "No baseline run is done, so there is nothing to diagnose."
    found = problem(error.mean - best, gap.mean, evidence.confirmation.margin)
    start = (
        f"The baseline is wrong on {_spelled(error, digits)} % of its own training images. Taking "
        f"{percent(best, digits)} % as the best possible error (`optimal_error`), {percent(error.mean - best, digits)} points "
        f"are avoidable bias. On validation {_spelled(gap, digits)} points come on top: the gap. {ADVICE[found]}"
    )
    lines = [line for line in (_helping(evidence, digits), _closing(evidence, digits)) if line]
    if found in ("bias", "both"):
        lines.append(_fitting(evidence, digits))
    return "\n".join([start, "", *(f"- {line}" for line in lines)])


def _helping(evidence: Evidence, digits: int) -> str:
    primary = evidence.primary()
    rows = primary[primary["verdict"].str.startswith("helps")]
    if rows.empty:
        return "No arm of this report has been shown to raise test accuracy."
    names = [_named(evidence, row, digits) for row in rows.head(FEW).to_dict("records")]
    more = f"; and {len(rows) - FEW} more in the table above" if len(rows) > FEW else ""
    return f"Shown to raise test accuracy, the largest difference first: {listed(names)}{more}."


def _closing(evidence: Evidence, digits: int) -> str:
    """Arms that close the gap without having been shown to help: the warning of the lecture."""
    helping = {
        (row["study"], row["arm"])
        for row in evidence.primary().to_dict("records")
        if row["verdict"].startswith("helps")
    }
    gaps = evidence.contrasts[evidence.contrasts["metric"] == "gap"]
    rows = [
        row
        for row in gaps[gaps["high"] < 0].to_dict("records")
        if (row["study"], row["arm"]) not in helping
    ]
    if not rows:
        return ""
    names = [
        _named(evidence, row, digits)
        for row in sorted(rows, key=lambda row: float(row["difference"]))
    ]
    return f"With a smaller gap, but not shown to raise test accuracy: {listed(names)}. A small gap is not the aim."


def _fitting(evidence: Evidence, digits: int) -> str:
    """Arms that fit the training images better than the baseline, paired by seed."""
    found = [(label, change) for label, change in _train_changes(evidence) if change.low > 0]
    if not found:
        return "No arm of this report fits the training images better than the baseline."
    ordered = sorted(found, key=lambda item: -item[1].mean)
    names = [
        f"**{label}** ({points(change.mean, digits)} points of train accuracy "
        f"{points_interval(change.low, change.high, digits)})"
        for label, change in ordered
    ]
    return f"With less training error than the baseline (intervals not corrected): {listed(names)}."


def _train_changes(evidence: Evidence) -> Iterator[tuple[str, Interval]]:
    """Every arm's train accuracy minus the baseline's."""
    baseline = evidence.baseline().set_index("seed")["train_accuracy"]
    for study, arm in evidence.arms()[1:]:
        own = evidence.confirmed(study, arm.name).set_index("seed")["train_accuracy"]
        yield evidence.label(study, arm.name), interval((own - baseline).dropna().to_numpy(float))


def _named(evidence: Evidence, row: dict[str, Any], digits: int) -> str:
    bounds = points_interval(row["low"], row["high"], digits)
    return f"**{evidence.label(row['study'], row['arm'])}** ({points(row['difference'], digits)} points {bounds})"


def _spelled(found: Interval, digits: int) -> str:
    return (
        f"{percent(found.mean, digits)} {percent_interval(found.low, found.high, digits)}".strip()
    )


def smallest_gap(evidence: Evidence) -> str:
    """Was the smallest gap the best model? The correlation over all runs, and the two arms in question."""
    runs = pd.concat(
        [
            evidence.confirmed(study, arm.name).assign(label=evidence.label(study, arm.name))
            for study, arm in evidence.arms()
        ]
    )
    means = runs.groupby("label", sort=False)[["gap", "test_accuracy"]].mean().dropna()
    if len(means) < 2 or runs["gap"].nunique() < 2 or runs["test_accuracy"].nunique() < 2:
        return ""
    once = runs.drop_duplicates("fingerprint")
    together, within = _correlations(once)
    digits = decimals(evidence.primary())
    least, best = str(means["gap"].idxmin()), str(means["test_accuracy"].idxmax())
    of_least, of_best = (
        f"a gap of {percent(means.loc[name, 'gap'], digits)} points and {percent(means.loc[name, 'test_accuracy'], digits)} %"
        for name in (least, best)
    )
    words = (
        f"Over {len(once)} confirmation runs, the ranks of gap and test accuracy correlate with {decimal(together, 2)}, "
        f"and within arms with {decimal(within, 2)}. {_fitted(runs)}"
    ).strip()
    if least == best:
        return (
            f"{words} The smallest gap was the best model: **{best}** has {of_best} test accuracy."
        )
    return (
        f"{words} The smallest gap was not the best model: **{least}** has {of_least} test accuracy, **{best}** {of_best}. "
        "(Means over seeds.)"
    )


def _correlations(runs: pd.DataFrame) -> tuple[float, float]:
    """Spearman's of gap and test accuracy over all runs and within arms: no single arm that collapsed decides it."""
    own = runs[["gap", "test_accuracy"]]
    centred = own - own.groupby(runs["label"]).transform("mean")
    varies = centred.abs().max() > NEGLIGIBLE
    within = (
        centred["gap"].corr(centred["test_accuracy"], method="spearman")
        if varies.all()
        else float("nan")
    )
    return float(own["gap"].corr(own["test_accuracy"], method="spearman")), float(within)


def _fitted(runs: pd.DataFrame) -> str:
    """Where every arm fits its training images, the gap is the validation error by another name."""
    if not (runs.groupby("label")["train_accuracy"].mean() > FITTED).all():
        return ""
    return "Every arm fits its training images almost perfectly, so its gap is little else than its validation error."
