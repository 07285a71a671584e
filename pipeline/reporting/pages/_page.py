"""Define what pages share: their form, their captions, and how they list runs."""

from dataclasses import dataclass

import pandas as pd

from pipeline.config.plan import BASELINE, PlannedStudy
from pipeline.records.runs import STATES
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, count_states
from pipeline.reporting.labels import arm_title, canonical, factor_label, rule_label, setting_cell

CONTRAST_INTERVAL = (
    f"{md.CONFIDENCE} Student-t interval of the mean difference, arm minus baseline, paired by seed"
)
PAIRS = (
    "seeds at which both arm and baseline have a completed run that is not lost, on the same kind "
    "of machine"
)
COMPLETED = "n: completed confirmation runs. Runs that collapsed count; runs that diverged do not."
MEAN_INTERVAL = f"{md.CONFIDENCE} Student-t interval of the mean"
RUNS = "runs: planned/done/failed/diverged/missing"
STUDY = "study_"  # how the names of pages of studies begin
LONGEST = 160  # letters of a failure's reason


@dataclass(frozen=True)
class Page:
    """One page behind the front page: `name` is its file, `title` its link."""

    name: str
    title: str
    body: str


def study_page(name: str, body: str) -> Page:
    """Return the page of a study; its name cannot be that of another page."""
    return Page(f"{STUDY}{name}", name, body)


def changes(study: PlannedStudy) -> str:
    """Return the changes of the arms of a study against the baseline."""
    named = [factor_label(arm) for arm in study.arms if arm.name != BASELINE]
    if not named:
        return "No arm is compared with the baseline."
    return f"Changes to the baseline: {'; '.join(named)}."


def rules(data: ReportData) -> str:
    """Return the test rules with their arms."""
    arms: dict[str, dict[str, None]] = {}
    for _, arm in data.planned_arms:
        arms.setdefault(rule_label(arm.rule), {})[arm.name] = None
    most = max(arms, key=lambda label: len(arms[label]))
    others = [f"{label} for {', '.join(names)}" for label, names in arms.items() if label != most]
    return "; ".join([*others, f"{most} for every {'other ' if others else ''}arm"])


def family(data: ReportData) -> str:
    """Return the number of contrasts in the correction."""
    return f"{md.format_count(data.contrast_count, 'contrast')} of test accuracy"


def format_states(counts: md.Row) -> str:
    """Return planned, done, failed, diverged and missing runs as one cell."""
    return "/".join(str(counts[state]) for state in ("planned", *STATES))


def incomplete_runs(runs: pd.DataFrame) -> str:
    """Return the numbers of failed, diverged and missing runs; empty if all are done."""
    counts = count_states(runs)
    incomplete = counts["planned"] - counts["done"]
    if not incomplete:
        return ""
    kinds = ", ".join(f"{counts[state]} {state}" for state in STATES[1:] if counts[state])
    runs_planned = md.format_count(counts["planned"], "run")
    start = f"**{incomplete} of {runs_planned} not done: {kinds}.**"
    return f"{start} Means leave them out, and contrasts leave out their pairs."


def _incomplete_list(runs: pd.DataFrame) -> str:
    lines = []
    for row in rows_of(runs[runs["state"] != "done"]):
        name = md.escape(arm_title(row["arm"], row["setting"]))
        model = "" if pd.isna(row["member"]) else f", model {row['member']:g}"
        reason = md.escape(row["reason"][:LONGEST])
        state = f"{row['state']}: {reason}" if reason else row["state"]
        lines.append(f"- {row['phase']}, {name}, seed {row['seed']}{model}: {state}")
    return "\n".join(lines)


def runs_section(runs: pd.DataFrame, title: str = "Runs that are not done") -> str:
    """Return the states of the arms and settings with incomplete runs; empty if all are done."""
    counted = incomplete_runs(runs)
    if not counted:
        return ""
    return md.join_parts(f"## {title}", counted, _run_table(runs), _incomplete_list(runs))


def _run_table(runs: pd.DataFrame) -> str:
    rows = []
    settings = runs["setting"].map(canonical)
    for (phase, arm, _), group in runs.groupby(["phase", "arm", settings], sort=False):
        if (group["state"] != "done").any():
            cells = {"phase": phase, "arm": arm, "setting": setting_cell(group["setting"].iloc[0])}
            rows.append(cells | {RUNS: format_states(count_states(group))})
    caption = "Arms and settings whose runs are all done are left out."
    return md.format_table(rows, caption, words=("phase", "arm", "setting"))
