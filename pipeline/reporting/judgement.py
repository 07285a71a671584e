"""Write the report on results that were trained elsewhere: a page and a LaTeX table."""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from pipeline.comparison.judging import Judgement
from pipeline.comparison.levels import POWER
from pipeline.comparison.score_units import Direction, Unit
from pipeline.comparison.verdicts import Verdict
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.collapse_sentences import (
    collapse_sentences,
    lost_note,
    rare_note,
    rate_table,
    undone_note,
)
from pipeline.reporting.evidence import decimals
from pipeline.reporting.labels import verdict_cell
from pipeline.reporting.latex import difference_cells, escape_latex, math_mode, table_environment
from pipeline.reporting.units import Metric
from pipeline.reporting.verdict_sentences import NO_HELP, verdict_sentences

MOST_DECIMALS = 8
LISTED = 8  # warnings of one kind
UNKNOWN = {
    "Paired seeds": (
        "whether runs with the same seed had the same split, initial weights and order of "
        "examples. If not, the verdicts are still valid, but have less power."
    ),
    "Independent seeds": (
        "whether seeds are independent. Folds of one cross-validation share training examples, "
        "which makes p too small."
    ),
    "Test set": (
        "whether a setting, an epoch or an arm was chosen by these test scores. If so, differences "
        "are too large, and no statistic here can correct that."
    ),
    "Trials": (
        "how many settings were tried for each arm. An arm with more trials than its reference can "
        "be better for this reason alone."
    ),
    "Missing runs": "whether runs that failed or looked bad were left out of the table.",
}
NO_IMAGES = (
    "**Test examples**: whether a verdict holds for other test examples, because intervals are "
    "over seeds only. A table of the examples that each run predicts correctly (`--images`) would "
    "show it."
)
ROWS_ARE_SEEDS = (
    "No column has seeds, so each row is taken for one seed, the same for all arms (`--seed` names "
    "a column)."
)
OVER_IMAGES = "interval for other test examples"
CORRELATED = (
    "Over seeds, the scores of arm and reference have a correlation of {}. Shared splits or "
    "initial weights usually make it positive. If it is near 0, pairing gains nothing."
)
FILES = (
    "`contrasts.csv`: all numbers of every arm. `seeds.csv`: the scores that were read, in a form "
    "that `gapwise judge` can read. `table.tex`: the table for LaTeX. `figures/`: the figure as "
    "PNG and SVG."
)


def metric_of(judged: Judgement) -> Metric:
    """Return the metric of the scores, with as many decimals as their intervals deserve."""
    lower = judged.direction is Direction.LOWER
    if judged.unit is Unit.FRACTION:
        return Metric(judged.score, "%", "points", fraction=True, lower_is_better=lower)
    half = ((judged.table["high"] - judged.table["low"]) / 2).median()
    shown = 1 - math.floor(math.log10(half)) if half > 0 else 3
    digits = min(max(shown, 0), MOST_DECIMALS)
    unit, of_differences = ("%", "points") if judged.unit is Unit.PERCENT else ("", "")
    return Metric(judged.score, unit, of_differences, decimals=digits, lower_is_better=lower)


def formatter_of(judged: Judgement) -> md.Formatter:
    """Return the format of scores; fractions are formatted as in a report."""
    return md.Formatter(decimals(judged.table))


def judged_rows(judged: Judgement) -> pd.DataFrame:
    """Return the counted arms with `label`, grouped by reference, the best one first."""
    table = judged.table[~judged.table["repeats"]]
    references = list(dict.fromkeys(table["reference"]))
    rows = table.sort_values(
        "difference",
        ascending=judged.direction is Direction.LOWER,
        kind="stable",
        na_position="last",
    )
    order = rows["reference"].map(references.index).sort_values(kind="stable").index
    rows = rows.loc[order].reset_index(drop=True)
    several = len(references) > 1
    labels = [
        md.escape(f"{arm} (against {reference})" if several else arm)
        for arm, reference in zip(rows["arm"], rows["reference"], strict=True)
    ]
    return rows.assign(label=labels)


def judgement_page(judged: Judgement, name: str) -> str:
    """Return the report as Markdown.

    Args:
        judged: The verdicts.
        name: What the title calls the results.
    """
    rows = judged_rows(judged)
    warned = list(warnings(judged, rows))
    notes = md.format_bullets(warned) if warned else "None."
    parts = [
        f"# Judged: {md.escape(name)}",
        _headline(judged, rows),
        _table(judged, rows),
        "![Forest plot: difference of every arm to its reference, with interval and verdict, over "
        "the margin](figures/forest.png)",
        md.section("Collapsed and diverged runs", rate_table(_rates(judged))),
        md.section("Warnings", notes),
        md.section("What this table cannot show", _unknown(judged, rows)),
        md.section("Files", FILES),
    ]
    return md.join_parts(*parts) + "\n"


def judgement_latex(judged: Judgement, name: str) -> str:
    """Return a `table` environment with a row per arm, the best difference first."""
    metric, formatter = metric_of(judged), formatter_of(judged)
    rows = judged_rows(judged)
    costs = rows["cost"].notna().any()
    head = ["arm", "verdict", "difference", md.INTERVAL, "arm mean", "reference", "$n$", "$p$"]
    cells = []
    for row in rows_of(rows):
        line = [
            escape_latex(row["arm"]),
            *difference_cells(row, formatter, metric),
            math_mode(formatter.score(metric, row["arm_mean"])),
            math_mode(formatter.score(metric, row["baseline_mean"])),
            str(row["n"]),
            math_mode(md.format_p(row["p_holm"])),
        ]
        cells.append([*line, md.format_ratio(row["cost"])] if costs else line)
    caption = escape_latex(
        f"{metric.label} of every arm on {name}, {judged.direction} is better: difference to its "
        f"reference{_unit_words(metric)}, paired over n seeds, with its {md.INTERVAL}; p of the "
        "paired t test after Holm's correction, from which the verdicts follow; margin of "
        f"equivalence {md.format_margin(judged.margin, metric)}."
    )
    label = re.sub(r"[^\w-]+", "-", name)
    aligned = "ll" + "r" * (len(head) - 2 + int(costs))
    return table_environment(caption, label, aligned, [*head, *["cost"] * int(costs)], cells)


def warnings(judged: Judgement, rows: pd.DataFrame) -> Iterator[str]:
    """Yield the limits of the verdicts that the table shows.

    Args:
        judged: The verdicts.
        rows: The arms, as `judged_rows` returns them.
    """
    metric, formatter = metric_of(judged), formatter_of(judged)
    if judged.rows_are_seeds:
        yield ROWS_ARE_SEEDS
    few = rows[rows["n"] < judged.seeds_required]
    if len(few):
        names = [f"**{row['label']}** ({row['n']})" for row in rows_of(few)]
        arms = md.format_count(len(rows), "arm")
        yield (
            f"Fewer seeds than the exact sign-flip test needs for a significant result among "
            f"{arms} ({judged.seeds_required}): {md.format_few(names)}. Their verdicts depend on "
            "the t test only, which assumes approximately normal differences."
        )
    for row in rows_of(judged.collapses.head(LISTED)):
        yield (
            f"**{md.escape(row['arm'])}**, seed {md.escape(row['seed'])}: "
            f"{formatter.score(metric, row['score'])} is far from the arm's median of "
            f"{formatter.score(metric, row['median'])} ({row['robust_z']:.0f} robust standard "
            "deviations). It counts as collapsed: rates include it, differences do not."
        )
    if len(judged.collapses) > LISTED:
        yield f"{len(judged.collapses) - LISTED} more runs count as collapsed for the same reason."
    yield from _changed_over_images(rows)
    yield from _unmatched(rows)
    for names in _alike({*judged.seeds["arm"], *judged.seeds["reference"]}):
        listed = md.format_list([f"**{md.escape(name)}**" for name in names])
        yield f"{listed} differ only in case. If they are one arm, give it one name."
    for duplicates in judged.duplicate_arms:
        alike = md.format_list([f"**{md.escape(arm)}**" for arm in duplicates])
        yield (
            f"{alike} have the same scores at every seed. If they are the same runs, keep one, "
            "because the correction counts each of them."
        )
    for row in rows_of(judged.table[judged.table["repeats"]]):
        yield f"**{md.escape(row['arm'])}** has the same runs as another arm and is left out."
    yield from _resolution(judged, metric)


def _alike(names: Iterable[str]) -> list[list[str]]:
    """Return the names that differ only in case, together."""
    folded: dict[str, list[str]] = {}
    for name in sorted(names):
        folded.setdefault(name.casefold(), []).append(name)
    return [alike for alike in folded.values() if len(alike) > 1]


def _headline(judged: Judgement, rows: pd.DataFrame) -> str:
    metric, formatter = metric_of(judged), formatter_of(judged)
    labels = dict(zip(rows["arm"], rows["label"], strict=True))
    ties = {labels[arm]: [labels[one] for one in tied] for arm, tied in judged.ties.items()}
    findings = verdict_sentences(rows, judged.margin, formatter, metric, "reference", ties)
    if not (rows["verdict"] == Verdict.HELPS).any():
        findings.insert(0, NO_HELP)
    findings += [*_changed_over_images(rows), *collapse_sentences(_rates(judged))]
    least, most = int(rows["n"].min()), int(rows["n"].max())
    seeds = f"up to {most} seeds" if least < most else md.format_count(most, "seed")
    title = md.escape(metric.title)
    unit = f"{metric.difference_unit.capitalize()} of {title}" if metric.difference_unit else title
    contrasts = md.format_count(len(rows), "contrast")
    note = (
        f"({seeds.capitalize()}. {unit}; {judged.direction} is better. The {md.INTERVAL}s hold for "
        f"all {contrasts} at once.)"
    )
    return f"{' '.join(findings)} {note}"


def _rates(judged: Judgement) -> pd.DataFrame:
    """Return the rates of lost runs of every arm, with `label`."""
    return judged.rates.assign(label=judged.rates["arm"].map(md.escape))


def _labelled_rates(judged: Judgement, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rates of lost runs, with the labels of arms that have a verdict."""
    labels = dict(zip(rows["arm"], rows["label"], strict=True))
    named = [labels.get(arm, md.escape(arm)) for arm in judged.rates["arm"]]
    return judged.rates.assign(study="", label=named)


def _table(judged: Judgement, rows: pd.DataFrame) -> str:
    """Return the table of verdicts with its caption."""
    cells = [_cells(judged, row, rows) for row in rows_of(rows)]
    return md.format_table(cells, _caption(judged, rows), words=("arm", "verdict"))


def _cells(judged: Judgement, row: dict[str, Any], rows: pd.DataFrame) -> dict[str, str]:
    """Return the cells of an arm; cost and other images have a column where an arm has them."""
    metric, formatter = metric_of(judged), formatter_of(judged)
    unit = f" ({metric.unit})" if metric.unit else ""
    difference = formatter.change(row, metric, unit="")
    cells = {
        "arm": row["label"],
        "verdict": verdict_cell(row),
        f"difference [{md.INTERVAL}]": md.unbroken(difference),
    }
    if _has_images(judged):
        cells[OVER_IMAGES] = _over_images(row, formatter, metric)
    cells |= {
        f"arm mean{unit}": formatter.score(metric, row["arm_mean"]),
        f"reference mean{unit}": formatter.score(metric, row["baseline_mean"]),
        "n": str(row["n"]),
        "p (Holm)": md.format_p(row["p_holm"]),
        "p (sign flips)": md.format_p(row["p_sign_flip"]),
        "detectable": formatter.detectable(row, metric),
        "seeds needed": md.format_seeds_needed(row),
    }
    if _has_costs(rows):
        cells["cost"] = md.format_ratio(row["cost"])
    return cells


def _has_costs(rows: pd.DataFrame) -> bool:
    """Return whether the cost of any arm is known."""
    return bool(rows["cost"].notna().any())


def _caption(judged: Judgement, rows: pd.DataFrame) -> str:
    """Return the meaning of the columns of the table."""
    metric = metric_of(judged)
    images = (
        " Interval for other test examples: it also holds for other test examples (crossed "
        "variances) and is not corrected; if the verdict changes with it, the new verdict is added."
    )
    cost = " Cost: as a multiple of the reference's."
    rates = _rates(judged)
    return (
        f"Difference{_unit_words(metric)}: arm minus reference, {judged.direction} is better, "
        f"with the {md.CONFIDENCE} Student-t interval of the mean over seeds, not corrected."
        f"{images if _has_images(judged) else ''} n: "
        "seeds with both scores. p (Holm): two-sided paired t test, corrected over "
        f"{md.format_count(len(rows), 'arm')}; it decides the verdict. p (sign flips): exact, not "
        "corrected. "
        "Equivalent: two one-sided tests, with the same correction, show that the difference is "
        f"within {md.format_margin(judged.margin, metric)}. "
        "Detectable: the smallest true difference that these seeds detect with "
        f"{100 * POWER:g} % power after the correction. Seeds needed: their number to detect the "
        "observed difference. Ranges in brackets (10 to 90 %) are given because few seeds "
        f"estimate the spread only roughly.{cost if _has_costs(rows) else ''} "
        f"{lost_note(rates)}{rare_note(rates)}"
        f"{undone_note(_labelled_rates(judged, rows), rows)}"
    )


def _changed_over_images(rows: pd.DataFrame) -> Iterator[str]:
    """Yield the verdicts that change if the choice of test examples is a source of error."""
    names = [
        f"**{row['label']}** ({row['verdict_other_images']})"
        for row in rows_of(rows)
        if row["verdict_other_images"] not in ("", row["verdict"])
    ]
    if names:
        yield (
            "Verdicts that change when the choice of test examples is counted as a source of "
            f"error: {md.format_few(names)}."
        )


def _unmatched(rows: pd.DataFrame) -> Iterator[str]:
    """Yield the seeds that no comparison uses, and the arms without an interval."""
    for row in rows_of(rows):
        parts = [
            f"{md.format_count(row[column], 'seed')} of {whose}"
            for column, whose in (("unpaired", "the arm"), ("left", "its reference"))
            if row[column]
        ]
        if parts:
            yield (
                f"**{row['label']}**: {md.format_list(parts)} left out, because the other side has "
                "no run at this seed. If that run failed, the remaining scores are too good."
            )
        if row["n"] > 1 and pd.isna(row["low"]):
            yield f"**{row['label']}** has the same difference at every seed: no interval, no p."
        if row["n"] < 2:
            yield f"**{row['label']}** shares fewer than two seeds with its reference: no interval."


def _resolution(judged: Judgement, metric: Metric) -> Iterator[str]:
    """Yield the limits of the margin by the number of test examples; nothing if it is unknown."""
    if judged.n_test is None or math.isnan(judged.example):
        return
    examples = md.format_count(judged.n_test, "test example")
    margin = md.format_margin(judged.margin, metric)
    if judged.margin < judged.example:
        yield f"The margin of {margin} is smaller than the effect of one of {examples}."
    if judged.margin < judged.chance:
        formatter = md.Formatter(2)
        shown = formatter.score(metric, judged.chance)
        yield (
            f"If exactly one of two equally good networks is right on a tenth of these {examples}, "
            f"their scores differ by up to {shown} {metric.difference_unit} by chance (in 95 of "
            f"100 draws). This is more than the margin of {margin}."
        )


def _has_images(judged: Judgement) -> bool:
    """Return whether the test examples of every run are known."""
    return bool((judged.table["verdict_other_images"] != "").any())


def _over_images(row: md.Row, formatter: md.Formatter, metric: Metric) -> str:
    """Return the interval over seeds and test examples, and the verdict if it changes."""
    bounds = formatter.bounds(metric, row["low_images"], row["high_images"])
    if not bounds or row["verdict_other_images"] == row["verdict"]:
        return md.unbroken(bounds) or md.VOID
    return f"{md.unbroken(bounds)} {row['verdict_other_images']}"


def _unknown(judged: Judgement, rows: pd.DataFrame) -> str:
    """Return the facts that the table does not show."""
    correlations = rows["correlation"].dropna()
    lines = [f"**{what}**: {why}" for what, why in UNKNOWN.items()]
    return md.join_parts(
        "These verdicts are about the scores in the table. The table does not show:",
        md.format_bullets(lines if _has_images(judged) else [*lines, NO_IMAGES]),
        ""
        if correlations.empty
        else CORRELATED.format(_span(correlations.min(), correlations.max())),
    )


def _span(low: float, high: float) -> str:
    """Return a correlation, or the smallest and the largest of several."""
    ends = [md.format_number(end, 2) for end in (low, high)]
    return " to ".join(dict.fromkeys(ends))


def _unit_words(metric: Metric) -> str:
    return f" in {metric.difference_unit}" if metric.difference_unit else ""
