"""Write the page of the gap: its parts by arm, and whether the smallest was the best model."""

from collections.abc import Iterator

import pandas as pd

from pipeline.reporting.evidence import ReportData
from pipeline.reporting.markdown import VOID, Row, format_number, format_table, join_parts, unbroken
from pipeline.reporting.pages._page import COMPLETED, MEAN_INTERVAL, Page

ORDER = 20
FITTED = 0.99  # train accuracy from which the gap is essentially the validation error
SCATTER = (
    "Scatter plot of gap against test accuracy: a small mark for every confirmation run, a large "
    "one for the mean of every arm"
)
PARTS = {
    "gap": "true gap",
    "gap_noise": "noise",
    "gap_augmentation": "augmentation",
    "gap_observed": "sum (the gap in a training log)",
}
SIGNED = ("gap_noise", "gap_augmentation")
WORDS = (
    "True gap: train minus validation accuracy of the same weights, without noise or augmentation. "
    "Noise: train accuracy with the noise of training, minus train accuracy without it. "
    "Augmentation: train accuracy on augmented examples, minus train accuracy on the examples "
    "themselves. A training log shows the sum of all three as the gap."
)


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    body = join_parts(
        "# The gap",
        smallest_gap(data),
        f"![{SCATTER}](../figures/gap.png)",
        f"## Parts of the gap\n\n{gap_table(data)}",
    )
    yield Page("gap", "The gap", body)


def gap_table(data: ReportData) -> str:
    """Return the parts of the gap of every arm."""
    rows = []
    for study, arm in data.planned_arms:
        bands = {title: data.outcome(study, arm.name, part) for part, title in PARTS.items()}
        n = data.outcome(study, arm.name, "test_accuracy")["n"]
        cells = {title: _cell(data, part, bands[title]) for part, title in PARTS.items()}
        rows.append({"arm": data.label(study, arm.name), "n": str(n), **cells})
    caption = (
        "Points of accuracy. 0 without decimals: in every run, noise or augmentation leaves train "
        f"accuracy as it is. {COMPLETED} Differences on other pages leave out all lost "
        "runs. Rule: one pass without noise for the true gap; noise and augmentation are averages "
        "over several passes. "
        f"Interval: {MEAN_INTERVAL}."
    )
    return f"{WORDS}\n\n{format_table(rows, caption, words=('arm',))}"


def smallest_gap(data: ReportData) -> str:
    """Return whether the smallest gap was the best model; empty if nothing can be compared."""
    together, within = data.correlations["spearman"]
    if pd.isna(together):
        return ""
    arms = {data.label(study, arm.name): (study, arm.name) for study, arm in data.planned_arms}
    means = {
        label: (data.outcome(*key, "gap")["mean"], data.outcome(*key, "test_accuracy")["mean"])
        for label, key in arms.items()
        if data.outcome(*key, "gap")["n"]
    }
    least = min(means, key=lambda label: means[label][0])
    best = max(means, key=lambda label: means[label][1])
    of_least, of_best = (
        f"**{label}** has a gap of {data.format.percent(means[label][0])} points and "
        f"{data.format.percent(means[label][1])} % test accuracy"
        for label in (least, best)
    )
    fitted = [data.outcome(*arms[label], "train_accuracy")["mean"] > FITTED for label in means]
    words = (
        f"Over the {data.correlations['n'].iloc[0]} confirmation runs of all arms, the rank "
        f"correlation of gap and test accuracy is {format_number(together, 2)}. Within arms (the "
        f"mean of each arm subtracted), it is {format_number(within, 2)}."
    )
    if all(fitted):
        words += (
            " Every arm fits its training examples almost perfectly, so its gap is nearly equal to "
            "its validation error."
        )
    if least == best:
        return (
            f"{words} The arm with the smallest gap also has the highest test accuracy: {of_best} "
            "(means over seeds, not tested)."
        )
    return (
        f"{words} The arm with the smallest gap does not have the highest test accuracy: "
        f"{of_least}, while {of_best} (means over seeds, not tested)."
    )


def _cell(data: ReportData, part: str, band: Row) -> str:
    """Return a part of the gap in points; differences between two train accuracies have a sign."""
    if not band["n"]:
        return VOID
    if band["mean"] == 0 and not band["low"] < 0:
        return "0"
    if part in SIGNED:
        return unbroken(data.format.change({**band, "difference": band["mean"]}, unit=""))
    return unbroken(data.format.percent_band(band))
