"""Write the page of the gap: its parts by arm, and whether the smallest was the best model."""

from collections.abc import Iterator

import pandas as pd

from pipeline.reporting.evidence import ReportData
from pipeline.reporting.markdown import VOID, Row, format_number, format_table, join_parts
from pipeline.reporting.pages._page import MEAN_INTERVAL, Page

ORDER = 20
FITTED = 0.99  # train accuracy from which the gap is essentially the validation error
SCATTER = (
    "Scatter: gap against test accuracy, small for every confirmation run and large for the mean "
    "of every arm"
)
PARTS = {
    "gap": "true gap",
    "gap_noise": "noise",
    "gap_augmentation": "augmentation",
    "gap_observed": "as logged in training",
}
WORDS = (
    "True gap: train minus validation accuracy of the same weights, deterministic, on clean "
    "inputs. Noise, augmentation: by how much each of them changes the accuracy on training "
    "examples while it is active, as in training. A training log shows the sum of all three as the "
    "gap."
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
        cells = {title: _band(data, band) for title, band in bands.items()}
        rows.append({"arm": data.label(study, arm.name), "n": str(n), **cells})
    caption = (
        "Points of accuracy; 0 without decimals is exact. n: completed confirmation runs. Rule: "
        "deterministic; the parts of noise and augmentation are averaged over passes. "
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
    gap_of_least, gap_of_best = (
        f"a gap of {data.format.percent(means[label][0])} points and "
        f"{data.format.percent(means[label][1])} %"
        for label in (least, best)
    )
    fitted = [data.outcome(*arms[label], "train_accuracy")["mean"] > FITTED for label in means]
    words = (
        f"Over the {data.correlations['n'].iloc[0]} confirmation runs, the rank "
        f"correlation of gap and test accuracy is {format_number(together, 2)}; "
        f"within arms it is {format_number(within, 2)}."
    )
    if all(fitted):
        words += (
            " Every arm fits its training examples almost perfectly, so its gap is essentially "
            "its validation error."
        )
    if least == best:
        return (
            f"{words} The arm with the smallest gap is the most accurate: **{best}** has "
            f"{gap_of_best} test accuracy (means over seeds, not tested)."
        )
    return (
        f"{words} The arm with the smallest gap is not the most accurate: **{least}** has "
        f"{gap_of_least} test accuracy, **{best}** {gap_of_best} (means over seeds, not "
        "tested)."
    )


def _band(data: ReportData, band: Row) -> str:
    if not band["n"]:
        return VOID
    exact = band["mean"] == 0 and not band["low"] < 0
    return "0" if exact else data.format.percent_band(band)
