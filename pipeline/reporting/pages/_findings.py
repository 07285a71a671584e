"""Answer the questions of a study of training choices, from its tables.

Each finding is a question with its answer: yes or no or not shown, and the numbers it follows from.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.comparison.levels import LEVEL, NARROWER, RATE, UNDECIDED, WIDER, WITHIN
from pipeline.comparison.verdicts import Verdict
from pipeline.config.plan import BASELINE, PlannedArm, PlannedStudy
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import canonical, verdict_cell
from pipeline.reporting.pages._training import format_factor, format_range, format_seeds

OPTIMIZER = "training.optimizer"
MOMENTUM = "training.optimizer.momentum"
NESTEROV = "training.optimizer.nesterov"
SCHEDULE = "training.schedule"
ONE_SEED = "Undecided, because each rate has a single exploration seed"
NOT_SHOWN = "Not shown"
GOOD = (Verdict.HELPS, Verdict.EQUIVALENT)


@dataclass(frozen=True)
class Finding:
    """A question and the answer of a study, each a sentence or more."""

    question: str
    answer: str

    def __str__(self) -> str:
        """Return both on one line."""
        return f"{self.question} {self.answer}"


def findings(data: ReportData, study: PlannedStudy) -> list[Finding]:
    """Return every question that the arms of a study answer, with the answer."""
    return [
        *_untuned_optimizers(data, study),
        *_momentum(data, study),
        *_decay_of_rate(data, study),
        *_batch_norm(data, study),
        *_soonest(data, study),
    ]


def _untuned_optimizers(data: ReportData, study: PlannedStudy) -> Iterator[Finding]:
    """Compare an optimizer at a fixed learning rate with the same one at its searched rate."""
    tuned = set(of(data.rate_ranges, study.name)["arm"])
    for arm in study.arms:
        if OPTIMIZER not in arm.factor.protocol or arm.name in tuned:
            continue
        for other in study.arms:
            if other.name in tuned and _optimizer(arm) == _optimizer(other):
                fixed, searched = (_judged(data, study, one) for one in (arm, other))
                if not (fixed and searched):
                    continue
                name = _name(arm.factor.protocol[OPTIMIZER])
                yield Finding(
                    f"Is {name} without tuning a good default, compared with the tuned baseline?",
                    f"{_default(fixed)}: **{arm.name}** {_result(data, fixed)}. "
                    f"Tuned with {data.trials(study.name, other.name)} trials, **{other.name}** "
                    f"{_result(data, searched)}.",
                )


def _optimizer(arm: PlannedArm) -> str:
    """Return the optimizer and the other changes of an arm, except for the learning rate."""
    values = {key: value for key, value in arm.factor.protocol.items() if key != RATE}
    return canonical([values, list(arm.factor.regularizers)]) if OPTIMIZER in values else ""


def _default(row: md.Row) -> str:
    if row["verdict"] in GOOD:
        return "Yes"
    return "No" if row["verdict"] == Verdict.HURTS else NOT_SHOWN


def _momentum(data: ReportData, study: PlannedStudy) -> Iterator[Finding]:
    """Compare the time to target of arms without momentum with the baseline's, which has it."""
    optimizer = data.confirmation.settings.get("training", {}).get("optimizer", {})
    arms = [arm for arm in study.arms if _is_without_momentum(arm) and arm.against == BASELINE]
    if not optimizer.get("momentum") or not arms:
        return
    rows = _targets(data, study)
    for arm in arms:
        if arm.name not in rows:
            continue
        row = rows[arm.name]
        answer = NOT_SHOWN
        if row["p_holm"] < LEVEL:
            answer = "Yes" if row["sooner"] < 0.5 else "No, later"
        yield Finding(
            "Does training with momentum reach the target accuracy sooner?",
            f"{answer}: the median time is {_updates(rows[BASELINE])} with momentum "
            f"{optimizer['momentum']:g} (baseline) and {_updates(row)} without "
            f"(**{arm.name}**); {_rank(row)}.",
        )


def _is_without_momentum(arm: PlannedArm) -> bool:
    """Return whether an arm has no momentum, and otherwise changes only the learning rate."""
    changed = arm.factor.protocol
    if not _changes_only(arm, OPTIMIZER, MOMENTUM, NESTEROV):
        return False
    whole = changed.get(OPTIMIZER)
    if isinstance(whole, Mapping) and whole.get("name") == "sgd":
        return whole.get("momentum") == 0
    return changed.get(MOMENTUM) == 0


def _changes_only(arm: PlannedArm, *keys: str) -> bool:
    """Return whether an arm changes nothing but these values of the protocol and the rate."""
    return set(arm.factor.protocol) <= {RATE, *keys} and not arm.factor.regularizers


def _decay_of_rate(data: ReportData, study: PlannedStudy) -> Iterator[Finding]:
    """Compare a constant learning rate with the schedule of the baseline."""
    schedule = _name(data.confirmation.settings.get("training", {}).get("schedule"))
    answers = {
        Verdict.HURTS: "Yes",
        Verdict.HELPS: "No, it is worse",
        Verdict.EQUIVALENT: "No, it makes no difference above the margin",
        Verdict.INCONCLUSIVE: NOT_SHOWN,
    }
    for arm in study.arms:
        if schedule == "constant" or _name(arm.factor.protocol.get(SCHEDULE)) != "constant":
            continue
        row = _judged(data, study, arm)
        if row and arm.against == BASELINE and _changes_only(arm, SCHEDULE):
            yield Finding(
                "Does a schedule that lowers the learning rate improve the final accuracy?",
                f"{answers[row['verdict']]}: compared with {schedule} (baseline), **{arm.name}** "
                f"{_result(data, row)}.",
            )


def _batch_norm(data: ReportData, study: PlannedStudy) -> Iterator[Finding]:
    """Compare the ranges of rates of the network without batch norm and of the same with it."""
    pairs = rows_of(of(data.batch_norm_ranges, study.name))
    if not pairs:
        return
    ranges = {row["arm"]: row for row in rows_of(of(data.rate_ranges, study.name))}
    answers = {
        WIDER: "Yes",
        NARROWER: "No",
        UNDECIDED: "Undecided, because the trials do not cover a whole range or seeds differ",
    }
    for row in pairs:
        without, with_it = ranges[row["arm"]], ranges[row["with"]]
        seeds = with_it["seeds"]
        answer = answers[row["batch_norm"]] if seeds > 1 else ONE_SEED
        yield Finding(
            "Does batch norm widen the range of learning rates that work?",
            f"{answer}. A rate works if accuracy is within "
            f"{md.format_margin(WITHIN)} of the best. With batch norm (**{row['with']}**) the "
            f"range spans a factor of {format_factor(with_it)} ({format_range(with_it)}), without "
            f"(**{row['arm']}**) a factor of {format_factor(without)} ({format_range(without)}). "
            f"In single seeds, the factor is {format_seeds(with_it)} with batch norm and "
            f"{format_seeds(without)} without. This describes "
            f"{md.format_count(seeds, 'exploration seed')} and is not tested.",
        )


def _soonest(data: ReportData, study: PlannedStudy) -> Iterator[Finding]:
    """Name the arms that reach the target sooner or later than their reference."""
    if of(data.rate_ranges, study.name).empty:
        return
    rows = [row for row in _targets(data, study).values() if row["arm"] != BASELINE]
    if not rows:
        return
    shown = [row for row in rows if row["p_holm"] < LEVEL]
    groups = {
        "Sooner": [_arrival(row) for row in shown if row["sooner"] > 0.5],
        "Later": [_arrival(row) for row in shown if row["sooner"] < 0.5],
    }
    named = [f"{word}: {md.format_list(arms)}." for word, arms in groups.items() if arms]
    yield Finding(
        "Which arms reach the target accuracy sooner or later than their reference?",
        " ".join(named) or "None is shown to.",
    )


def _arrival(row: md.Row) -> str:
    return f"**{row['arm']}** (median: {_updates(row)}; {_rank(row)})"


def _targets(data: ReportData, study: PlannedStudy) -> dict[str, md.Row]:
    return {row["arm"]: row for row in rows_of(of(data.targets, study.name))}


def _updates(row: md.Row) -> str:
    value = row["updates"]
    return md.NEVER if value == float("inf") else f"{md.format_operations(value)} updates"


def _rank(row: md.Row) -> str:
    return f"p (Holm) {md.format_p(row['p_holm'])}"


def _judged(data: ReportData, study: PlannedStudy, arm: PlannedArm) -> md.Row | None:
    """Return the contrast of an arm that carries a verdict, None without pairs."""
    rows = of(data.primary, study.name)
    judged = rows_of(rows[(rows["arm"] == arm.name) & rows["difference"].notna()])
    return judged[0] if judged else None


def _result(data: ReportData, row: md.Row) -> str:
    """Return a verdict with its difference: hurts (-1.5 points [-2.4, -0.6])."""
    verdict = row["verdict"]
    words = verdict_cell(row) if verdict in (Verdict.HELPS, Verdict.HURTS) else f"is {verdict}"
    return f"{words} ({data.format.joint_change(row)})"


def _name(value: Any) -> str:
    """Return the name of an optimizer or a schedule, however it is written."""
    return str(value["name"]) if isinstance(value, Mapping) else str(value or "")
