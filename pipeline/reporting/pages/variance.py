"""Write the page of variance: the spread from each stream of randomness and the test examples."""

from collections.abc import Iterator

import pandas as pd

from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.pages._page import Page, changes, runs_section, study_page

ORDER = 80
FIGURE = (
    "Standard deviation of test accuracy when one stream is redrawn, by arm and stream, with "
    "intervals"
)
ADVICE = {
    "seeds": "Seeds contribute more: more seeds would narrow the intervals, more test examples "
    "hardly would.",
    "images": "Test examples contribute more: the results are precise for this test set, but "
    "not for other test examples, and more seeds would hardly change that.",
    "both": "Both parts matter: a narrower interval over test examples needs more seeds and more "
    "test examples.",
}
FINE = md.Formatter(2)  # for standard deviations and errors


def pages(data: ReportData) -> Iterator[Page]:
    """Yield a page for every study of variance."""
    for study in data.confirmation.studies_of("variance"):
        components = of(data.variance, study.name)
        groups = md.format_count(len(study.groups), "group")
        body = md.join_parts(
            f"# Study: {study.name}",
            f"{md.escape(study.question)} {changes(study)} In each of {groups}, one stream of "
            "random numbers is redrawn at a time, while the others keep the seed of the group. The "
            "baseline uses neither noise nor augmentation.",
            largest_streams(data, study.name),
            component_table(data, components),
            f"![{FIGURE}](../figures/variance_{study.name}.png)" if len(components) else "",
            standard_error_sentence(data),
            runs_section(of(data.runs, study.name)),
        )
        yield study_page(study.name, body)


def standard_error_sentence(data: ReportData) -> str:
    """Return whether more seeds or test examples would help; empty if neither error is known."""
    row = data.standard_errors.iloc[0]
    if not row["n"]:
        return ""
    seeds, both = FINE.percent(row["seed_error"]), FINE.percent(row["total_error"])
    examples = f"seeds and the choice of the {data.test_use['test_examples']} test examples"
    errors = f"{seeds} points over seeds alone, and {both} points over {examples} together"
    if seeds == both:
        errors = f"{seeds} points over seeds alone, and hardly more over {examples} together"
    return (
        f"The standard error of a difference is {errors} (medians over "
        f"{md.format_count(int(row['n']), 'arm')} and their references). {ADVICE[row['advice']]}"
    )


def pool_words(data: ReportData) -> str:
    """Return the factor by which intervals for other pools are wider; empty if this is unknown."""
    measured = rows_of(data.pools.dropna(subset="factor"))
    if not measured:
        return _widest(data.pools["most"].max())
    factors = [f"{row['factor']:.2f} ({row['arm']})" for row in measured]
    return (
        ". An interval for other pools would be wider by a factor of "
        f"{md.format_list(factors)}. The study of variance estimates this factor from redrawn "
        "splits"
    )


def _widest(most: float) -> str:
    """Return the largest factor by which they are wider, without a study of variance."""
    if pd.isna(most):
        return ""
    return (
        f". An interval that also holds for other pools would be up to {most:.2f} times as wide: "
        f"{most:.2f} times if all variation between seeds came from the choice of training "
        "examples, and as wide as this one if none did. A study with `kind: variance` estimates "
        "the factor"
    )


def largest_streams(data: ReportData, study: str) -> str:
    """Return the two streams that spread the scores of every arm most."""
    lines = []
    for arm, rows in of(data.variance, study).groupby("arm", sort=False):
        moved = rows[rows["variance"].gt(0) & rows["n_groups"].gt(0)]
        streams = [
            f"**{row['stream']}** (a standard deviation of {FINE.percent(row['sd'])} points "
            f"{FINE.percent_interval(row['low'], row['high'])})"
            for row in rows_of(moved.sort_values("variance", ascending=False).head(2))
        ]
        if streams:
            order = ", then ".join(streams)
            lines.append(
                f"Largest sources of variance between seeds of **{arm}**, as estimated: {order}."
            )
    return md.format_bullets(lines)


def component_table(data: ReportData, rows: pd.DataFrame) -> str:
    """Return the standard deviation of test accuracy by arm and stream."""
    if rows.empty:
        return "**No run of this study is done, so there are no variance components.**"
    formatter = md.Formatter(max(data.format.decimals, FINE.decimals))
    cells = [
        {
            "arm": row["arm"],
            "stream": row["stream"],
            "sd (points)": formatter.percent(row["sd"]),
            md.INTERVAL: md.unbroken(formatter.percent_interval(row["low"], row["high"]))
            or md.VOID,
            "groups": str(row["n_groups"]),
            "n": str(row["n"]),
        }
        for row in rows_of(rows)
    ]
    caption = (
        "Standard deviation of test accuracy within groups, pooled. n: completed runs. Rule: the "
        "test rule of each arm. The variance of a stream includes its interactions with the "
        "others, so these variances need not add up to the variance between seeds. "
        f"Interval: {md.CONFIDENCE}, from the chi-square distribution of the pooled variance, "
        "which assumes normal scores. The row of the test set has the binomial standard deviation "
        "of the accuracy of one run over other test sets of this size; it has no interval."
    )
    return md.format_table(cells, caption, words=("arm", "stream"))
