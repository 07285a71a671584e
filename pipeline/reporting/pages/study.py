"""Write the page of one study: settings tried, contrasts, curves, cost, audits and runs."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from pipeline.comparison.explored import FEWEST
from pipeline.config.labels import format_rule
from pipeline.config.plan import PlannedStudy
from pipeline.config.test_rules import NOISE, TestRule
from pipeline.records.runs import STATES
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import named_setting, setting_cell, verdict_cell
from pipeline.reporting.pages._confirmed import confirmed
from pipeline.reporting.pages._data_size import data_size_section
from pipeline.reporting.pages._findings import findings
from pipeline.reporting.pages._interactions import interaction_table
from pipeline.reporting.pages._page import (
    MEAN_INTERVAL,
    RUNS,
    Page,
    changes,
    format_states,
    runs_section,
    study_page,
)
from pipeline.reporting.pages._targets import target_section
from pipeline.reporting.pages._training import loss_section, norm_section, rate_section
from pipeline.reporting.pages._transfer import transfer_link
from pipeline.reporting.pages.averaging import pass_figure

ORDER = 60
NAME = "validation_accuracy"
ARMS = "What each arm changes is on the [front page](../report.md#arms)."
TRIED = "[strengths.csv](../plots/strengths.csv)"
ENDS = {  # whether no value is allowed beyond, or has an effect: words
    False: "a better value may lie beyond it",
    True: "no value beyond it is allowed or has an effect",
}
ALL = "[All searches of this report, with a figure](settings.md)."
MORE_SEEDS = (
    " Values at the end of a widened range have more seeds than others. Scores are adjusted for "
    "the differences between seeds."
)
MOST_LINES = 6  # arms that have a line of their own under the question
SMOOTHED = (
    " Smoothed: the value of a smooth curve fitted to the accuracies of a range. Chosen: the "
    "setting with the highest smoothed value; without a curve, the setting with the highest mean."
)
LISTED = 20  # settings of a study; of more, the table has the chosen ones
MEASURES = {  # of audits, in words; a measure without words here keeps its name
    "blocks": "residual blocks that may be skipped",
    "changed": "share of training examples changed",
    "expected_skipped": "expected share of residual branches skipped",
    "fired": "how often it acted",
    "passed_over": "modules that it cannot act on",
    "pixel_change": "mean change of an input value in changed examples (pixels are from 0 to 1)",
    "realised_rate": "share of units or weights dropped",
    "share_of_loss": "share of the penalty in the total loss (with penalty), at the end",
    "sites": "layers that it acts on",
    "skipped": "share of residual branches skipped",
    "tensors": "weight tensors that it acts on",
}
NUMBERED = {  # of audits, with a number behind them
    "height": "height after pooling",
    "width": "width after pooling",
    "sequences": "different sequences of pooling regions drawn by pooling",
}
AUDIT = ("audit: ", "NoEffect: ")  # how the reasons of failed audits begin


def pages(data: ReportData) -> Iterator[Page]:
    """Yield a page for every study that compares."""
    for study in data.confirmation.studies_of("comparison"):
        yield study_page(study.name, study_body(data, study))


def study_body(data: ReportData, study: PlannedStudy) -> str:
    """Return everything about one study, from its question to its runs."""
    runs = of(data.runs, study.name)
    title = f"# Study: {study.name}"
    if len(study.arms) == 1:
        return md.join_parts(
            title,
            f"{md.escape(study.question)} Nothing: the chosen values are those of the protocol.",
            strengths_section(data, study.name),
            runs_section(runs),
        )
    settings = changes(study) if of(data.rate_ranges, study.name).empty else ARMS
    return md.join_parts(
        title,
        f"{md.escape(study.question)} {settings} The protocol, {data.confirmation.protocol}, is "
        f"described under [method](method.md#protocol).{transfer_link(data, study.name)}",
        md.section("Findings", _findings(data, study)),
        strengths_section(data, study.name),
        md.section("Learning rates", rate_section(data, study)),
        md.section("Confirmation", confirmed(data, study)),
        data_size_section(study),
        md.section("Interactions", interaction_table(data, study.name)),
        rules_section(data, study),
        md.section("Noise passes averaged", pass_figure(data, study.name)),
        md.section("Learning curves", _curves(data, study)),
        loss_section(data, study),
        md.section("Time to target", target_section(data, study)),
        md.section("Norms of weights, gradients and updates", norm_section(data, study)),
        md.section("Audit", audit_table(data, study)),
        runs_section(runs),
    )


def _findings(data: ReportData, study: PlannedStudy) -> str:
    """Return the answers of a study: those to its training questions, else a line for each arm."""
    answered = [str(one) for one in findings(data, study)]
    return md.format_bullets(answered) if answered else _arm_lines(data, study)


def _arm_lines(data: ReportData, study: PlannedStudy) -> str:
    """Return verdict, difference and change of gap of every arm; empty for many arms."""
    rows = rows_of(of(data.primary, study.name))
    if len(rows) > MOST_LINES:
        return ""
    lines = []
    for row in rows:
        arm = f"**{row['arm']}**{data.reference(study.name, row['arm'])}"
        label = named_setting(row["arm"], row["setting"])
        setting = f" ({label})" if label else ""
        gap = data.gap_contrasts.get((study.name, row["arm"]))
        change = f", gap {data.format.change(gap)}" if gap else ""
        lines.append(
            f"{arm}{setting}: {verdict_cell(row)}. Test accuracy {data.format.change(row)}{change}."
        )
    note = f"Differences are from the reference; their {md.INTERVAL}s are not corrected."
    return f"{md.format_bullets(lines)}\n\n{note}"


def strengths_section(data: ReportData, study: str) -> str:
    """Return the settings tried, with a note if the best may be outside them."""
    tried = of(data.tried, study)
    if tried.empty:
        return "Every arm has one setting, so nothing was chosen."
    edges = _edges(rows_of(of(data.searches, study)))
    if not of(data.rate_ranges, study).empty and len(tried) > LISTED:
        return md.join_parts(f"{len(tried)} settings were tried: {TRIED}. {ALL}", *edges)
    return md.join_parts(f"## Settings tried\n\n{strength_table(data, tried)}", *edges, ALL)


def _edges(searches: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the arms that have chosen a value at an end of the tried values, and its meaning."""
    lines = []
    for at_bound, words in ENDS.items():
        names = [
            f"{row['arm']} ({md.escape(row['place'])})"
            for row in searches
            if row["edge"] and bool(row["at_bound"]) == at_bound
        ]
        if names:
            lines.append(
                f"The chosen value is at an end of the range, and {words}: {md.format_list(names)}."
            )
    return lines


def strength_table(data: ReportData, tried: pd.DataFrame) -> str:
    """Return every tried setting of a study, the chosen one marked."""
    is_long = len(tried) > LISTED
    rows = []
    for row in rows_of(tried[tried["chosen"]] if is_long else tried):
        low, high = max(row[f"{NAME}_low"], 0.0), min(row[f"{NAME}_high"], 1.0)
        interval = md.unbroken(data.format.percent_interval(low, high)) or md.VOID
        counts = {"planned": sum(row[state] for state in STATES), **row}
        rows.append(
            {
                "arm": row["arm"],
                "setting": setting_cell(row["setting"]),
                "validation accuracy (%)": data.format.percent(row[NAME]),
                md.INTERVAL: interval if row["n"] >= FEWEST else md.VOID,
                "smoothed (%)": data.format.percent(row["fitted"]),
                "validation NLL": data.format.score("validation_nll", row["validation_nll"]),
                "n": str(row["n"]),
                "chosen": "**chosen**" if row["chosen"] and not is_long else "",
                RUNS: md.VOID if counts["planned"] == row["done"] else format_states(counts),
            }
        )
    cells, constants = md.without_constant(md.without_void(rows), ("n",))
    chosen = f"Only the chosen ones of {len(tried)} settings; all are in {TRIED}. "
    intervals = f" Interval: {MEAN_INTERVAL}." if md.INTERVAL in cells[0] else ""
    seeds = MORE_SEEDS if "n" in cells[0] else ""
    smoothed = SMOOTHED if "smoothed (%)" in cells[0] else " Chosen: the highest mean."
    caption = (
        f"{chosen if is_long else ''}{constants} n: exploration seeds.{seeds} Rule: the test rule "
        f"of each arm, on validation examples.{intervals}{smoothed}"
    )
    return md.format_table(cells, " ".join(caption.split()), words=("arm", "setting", "chosen"))


def rules_section(data: ReportData, study: PlannedStudy) -> str:
    """Return scores under every test rule of the arms that have several; empty without any.

    Averages of noise passes have their own page. A rule that was scored on only some of the runs is
    left out.
    """
    scores = of(data.rules, study.name)
    scores = scores[(scores["split"] == "test") & (scores["view"] != NOISE.view)]
    scores = scores[scores["n"] == scores.groupby("arm")["n"].transform("max")]
    scores = scores.assign(rule=list(zip(scores["view"], scores["members"], strict=True)))
    scores = scores[scores.groupby("arm")["rule"].transform("nunique") > 1]
    declared = {arm.name: arm.rule for arm in study.arms}
    by_rule: dict[tuple[str, TestRule], dict[str, md.Row]] = {}
    for row in rows_of(scores):
        rule = TestRule(view=row["view"], members=row["members"])
        by_rule.setdefault((row["arm"], rule), {})[row["metric"]] = row
    rows = []
    for (arm, rule), bands in by_rule.items():
        name = format_rule(rule)
        rows.append(
            {
                "arm": arm,
                "rule": f"{name} (declared)" if declared[arm] == rule else name,
                "test accuracy (%)": _band(data, bands, "accuracy"),
                "test NLL (nats)": _band(data, bands, "nll"),
                "n": str(max(band["n"] for band in bands.values())),
            }
        )
    if not rows:
        return ""
    caption = (
        "Contrasts and verdict use the declared rule. n: completed confirmation runs. Rule: as "
        "named; predicted probabilities are averaged. "
        f"Interval: {MEAN_INTERVAL}."
    )
    table = md.format_table(rows, caption, words=("arm", "rule"))
    return f"## Other test rules\n\n{table}"


def audit_table(data: ReportData, study: PlannedStudy) -> str:
    """Return the measures of the regularizers of each arm during training."""
    measured: dict[tuple[str, str, str], list[str]] = {}
    for row in rows_of(of(data.audits, study.name)):
        words = _measure_words(row["measure"])
        key = row["arm"], md.escape(row["regularizer"]), str(row["n"])
        measured.setdefault(key, []).append(f"{words}: {md.format_measure(row['mean'])}")
    rows = [
        {"arm": arm, "regularizer": name, "measured": "; ".join(parts), "n": n}
        for (arm, name, n), parts in measured.items()
    ]
    table = "No run of this study has an audit."
    if rows:
        shown, same = md.without_constant(rows, ("n",))
        caption = (
            "What each regularizer did, measured in training to check that it acted. Means over "
            f"completed confirmation runs (n). {same}".strip()
        )
        table = md.format_table(shown, caption, words=("arm", "regularizer", "measured"))
    return md.join_parts(table, _failed_audits(of(data.runs, study.name)))


def _measure_words(measure: str) -> str:
    """Return the name of a measure of an audit in words."""
    kind, _, number = measure.rpartition("_")
    if kind in NUMBERED and number.isdigit():
        return f"{NUMBERED[kind]} {number}"
    return MEASURES.get(measure, md.escape(measure.replace("_", " ")))


def _failed_audits(runs: pd.DataFrame) -> str:
    """Return a line for each arm and reason for which an audit failed its runs; empty if none."""
    failed = runs[runs["reason"].str.startswith(AUDIT)]
    lines = [
        f"**{arm}**: {md.format_count(len(group), 'run')} failed: {md.escape(reason)}"
        for (arm, reason), group in failed.groupby(["arm", "reason"], sort=False)
    ]
    return md.format_bullets(lines)


def _band(data: ReportData, bands: Mapping[str, md.Row], metric: str) -> str:
    if metric not in bands:
        return md.VOID
    mean, low, high = (bands[metric][name] for name in ("mean", "low", "high"))
    spell = partial(data.format.score, metric)
    return md.unbroken(f"{spell(mean)} {md.format_interval(low, high, spell)}".strip())


def _curves(data: ReportData, study: PlannedStudy) -> str:
    runs = of(data.runs, study.name)
    done = runs[(runs["phase"] == "confirmation") & (runs["state"] == "done")]
    numbers = done.groupby("arm", sort=False).size().to_dict()
    by_arm = ", ".join(f"{arm} {number}" for arm, number in numbers.items()) or "none"
    counts = (
        f"{next(iter(numbers.values()))} of each arm" if len({*numbers.values()}) == 1 else by_arm
    )
    caption = (
        f"n: completed confirmation runs ({counts}). Rule: deterministic, clean inputs. "
        f"Band: {MEAN_INTERVAL}; for the loss, of the mean of its logarithm. The axis of accuracy "
        "may be cut off below."
    )
    image = (
        f"![Learning curves of {study.name}: train and validation accuracy and loss of each arm "
        f"and of the baseline, with bands](../figures/curves_{study.name}.png)"
    )
    return f"{image}\n\n*{caption}*"
