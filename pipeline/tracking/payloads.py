"""Build what is sent to W&B for each run and for the report, as plain values.

They can be read, tested and digested without W&B; `mirror.py` sends them.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.config.labels import format_factor, format_rule, format_run, format_setting
from pipeline.config.plan import FIRST_PHASE, Factor, Plan, PlannedRun, PlannedStart, Stop
from pipeline.config.test_rules import TestRule
from pipeline.records.history import points
from pipeline.records.reports import FRONT
from pipeline.tracking.recorded import Recorded, Values

TAG_LENGTH = 64  # W&B refuses longer ones
PRIMARY = "test_accuracy"
PRETRAINING = "pretraining"
HEADLINE = (
    *("study", "arm", "factor", "setting", "view", "members", "n", "baseline_mean", "arm_mean"),
    *("difference", "low", "high", "low_all", "high_all", "p", "p_holm"),
    *("verdict", "below_margin", "withheld", "verdict_other_images", "look", "stopped"),
    *("lost", "ended", "reference_lost", "reference_ended", "detectable"),
    *("planned", "done", "failed", "diverged", "missing"),
)
EFFECT = (
    *("difference", "low", "high", "low_all", "high_all", "verdict", "below_margin", "withheld"),
    *("verdict_other_images", "n", "lost", "ended", "reference_lost", "reference_ended"),
)
NESTED = ("data", "model", "training", "start", "streams", "versions")  # of the identity of a run


@dataclass(frozen=True)
class Table:
    """Named columns and their rows; None where a value is undefined."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Image:
    """A PNG file, and the sha256 of its content."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Payload:
    """All of one W&B run. Each row of `history` is logged at the step in its "epoch"."""

    id: str
    group: str
    job_type: str
    name: str
    notes: str
    tags: tuple[str, ...]
    config: Values
    summary: Values
    history: tuple[Values, ...] = ()
    failed: bool = False
    tables: Mapping[str, Table] = field(default_factory=dict)
    images: Mapping[str, Image] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)  # file name -> content
    data: Mapping[str, str] = field(default_factory=dict)  # its `dataset` and `digest`

    def digest(self) -> str:
        """Return the sha256 of the whole content, so that the same content is not sent twice."""
        text = json.dumps(vars(self), default=asdict, sort_keys=True)  # tables and images nested
        return hashlib.sha256(text.encode()).hexdigest()


def run_payloads(plan: Plan, recorded: Mapping[str, Recorded]) -> Iterator[Payload]:
    """Yield a payload for every recorded run of the plan, in its order.

    Runs that only serve others as their start come first. A run of several studies comes once.
    """
    rows: dict[str, list[PlannedRun]] = {}
    for row in plan.runs:
        rows.setdefault(row.fingerprint, []).append(row)
    for start in plan.starts:
        if start.fingerprint in recorded and start.fingerprint not in rows:
            yield _start(plan, start, recorded[start.fingerprint])
    rules = plan.rules()
    for fingerprint, standing in rows.items():
        if fingerprint in recorded:
            yield _run(plan, standing, rules[fingerprint], recorded[fingerprint])


def report_payload(
    plans: Sequence[Plan], contrasts: Sequence[Values], images: Mapping[str, Image], texts: Values
) -> Payload:
    """Return the report as one run.

    Its id is a digest of the planned runs: another experiment is another report. Its notes begin
    with the answer on the front page: corrected over arms and looks, with the runs that were lost.

    Args:
        plans: Those of the phases; that of confirmation comes last.
        contrasts: The rows of `contrasts.csv`.
        images: The figures by name.
        texts: The files of the report by name.
    """
    plan = plans[-1]
    studies = [study.name for study in plan.studies]
    questions = [study.question for study in plan.studies]
    against = {(study, arm.name): arm.against for study, arm in plan.arms()}
    rows = [_labelled(row, against[row["study"], row["arm"]]) for row in contrasts]
    stops = {(stop.study, stop.arm): stop for stop in plan.looks.stops} if plan.looks else {}
    headline = [_with_stop(row, stops) for row in rows if row["metric"] == PRIMARY]
    return Payload(
        id=report_id(plans),
        group=plan.protocol,
        job_type="report",
        name=f"{plan.protocol} report",
        notes="\n".join([*_answer(texts), *questions]),
        tags=_tags(["report", *studies]),
        config=_report_config(plan, studies),
        summary=_effects(headline) | _stops(stops.values()),
        tables=_report_tables(headline, rows),
        images=images,
        texts=texts,
        data={"dataset": str(plan.settings["data"]["dataset"]), "digest": plan.data_digest},
    )


def _report_config(plan: Plan, studies: Sequence[str]) -> Values:
    """Return the settings of a protocol as a flat mapping, with what else defines its report."""
    return {
        "protocol": plan.protocol,
        "phase": "report",
        "studies": ", ".join(studies),
        "margin": plan.margin,
        **({"looks": list(plan.looks.seeds)} if plan.looks else {}),
        "data_digest": plan.data_digest,
        **_flat(plan.settings, "."),
    }


def _effects(headline: Sequence[Values]) -> dict[str, Any]:
    """Return the values of the rows of the headline by study/arm/value."""
    summary = {}
    for row in headline:
        for key in EFFECT:
            summary[f"{row['study']}/{row['arm']}/{key}"] = row.get(key)
    return summary


def _stops(stops: Iterable[Stop]) -> dict[str, Any]:
    """Return where and why arms stopped, by study/arm/value."""
    summary: dict[str, Any] = {}
    for stop in stops:
        arm = f"{stop.study}/{stop.arm}"
        summary |= {f"{arm}/look": stop.look, f"{arm}/stopped": stop.reason}
    return summary


def _report_tables(headline: Sequence[Values], contrasts: Sequence[Values]) -> dict[str, Table]:
    """Return the tables of a report; none without contrasts."""
    if not contrasts:
        return {}
    return {"headline": _table(headline, HEADLINE), "contrasts": _table(contrasts, contrasts[0])}


def _answer(texts: Values) -> list[str]:
    """Return the answer on the front page, below its title, and an empty line; [] without one."""
    _, _, below_title = texts.get(FRONT, "").partition("\n\n")
    answer = below_title.partition("\n\n")[0].strip()
    return [answer, ""] if answer else []


def _with_stop(row: Values, stops: Mapping[tuple[str, str], Stop]) -> Values:
    """Return a contrast with the last look of its arm and why it stopped there, None without."""
    stop = stops.get((row["study"], row["arm"]))
    return {**row, "look": stop.look if stop else None, "stopped": stop.reason if stop else None}


def report_id(plans: Sequence[Plan]) -> str:
    """Return the name of the report of these plans in W&B."""
    planned = [[plan.protocol, plan.margin, sorted(plan.fingerprints())] for plan in plans]
    return f"report-{hashlib.sha256(json.dumps(planned).encode()).hexdigest()[:20]}"


def _labelled(row: Values, against: str) -> Values:
    """Return a row of contrasts with its mappings as labels, as cells of a table need them."""
    factor = Factor.model_validate_json(json.dumps(row["factor"]))
    labels = {"factor": format_factor(factor, against), "setting": format_setting(row["setting"])}
    return {**row, **labels}


def _run(plan: Plan, standing: Sequence[PlannedRun], rule: TestRule, run: Recorded) -> Payload:
    first = standing[0]
    words = [row.arm for row in standing] + list(_regularizers(run))
    words += [row.study for row in standing]
    return Payload(
        id=first.fingerprint,
        group=first.study,
        job_type=plan.phase,
        name=format_run(first),
        notes=next(study.question for study in plan.studies if study.name == first.study),
        tags=_tags(words),
        config=_config(plan, standing, rule, run),
        summary=_summary(run, rule),
        history=tuple(points(run.history)),
        failed=run.record["state"] == "failed",
    )


def _start(plan: Plan, start: PlannedStart, run: Recorded) -> Payload:
    """Return a run that no study compares, in a group of its own: others start from it."""
    group = FIRST_PHASE if start.name == FIRST_PHASE else PRETRAINING
    values = {
        **{key: getattr(start, key) for key in ("fingerprint", "seed")},
        "pretraining": start.data or None,
        "protocol": plan.protocol,
        "phase": plan.phase,
        "starts_from": start.start,
    }
    return Payload(
        id=start.fingerprint,
        group=group,
        job_type=group,
        name=f"{start.name} seed {start.seed}",
        notes=f"Runs of {plan.protocol} start from it.",
        tags=_tags([start.name, *_regularizers(run)]),
        config=values | _trained(run, {}),
        summary=_summary(run, TestRule()),
        history=tuple(points(run.history)),
        failed=run.record["state"] == "failed",
    )


def _config(plan: Plan, standing: Sequence[PlannedRun], rule: TestRule, run: Recorded) -> Values:
    """Return one level, by which W&B filters and groups: `dropout.rate`, `training.epochs`."""
    first = standing[0]
    factors = {(study, arm.name): arm.factor for study, arm in plan.arms()}
    return {
        **{key: getattr(first, key) for key in ("fingerprint", "study", "arm", "seed")},
        "protocol": plan.protocol,
        "phase": plan.phase,
        "studies": ", ".join(dict.fromkeys(row.study for row in standing)),
        "data_digest": plan.data_digest,
        "starts_from": first.start,
        **_flat({"setting": first.setting, "test_rule": rule.model_dump()}, "."),
        **_flat({"factor": factors[first.study, first.arm].model_dump(mode="json")}, "."),
        **_trained(run, plan.settings),
    }


def _trained(run: Recorded, settings: Values) -> dict[str, Any]:
    """Return what was trained, on which machine: values of the run, over those of its protocol."""
    nested = {key: run.identity[key] for key in NESTED if key in run.identity}
    regularizers = _regularizers(run)
    return {
        "regularizers": " + ".join(regularizers) or "none",
        **_flat({**settings, **nested, "machine": run.record.get("machine", {})}, "."),
        **_flat(regularizers, "."),
    }


def _regularizers(run: Recorded) -> dict[str, Values]:
    """Return the values of every regularizer of a run, by its name."""
    return {
        item["name"]: {key: item[key] for key in item if key != "name"}
        for item in run.identity.get("regularizers", ())
    }


def _summary(run: Recorded, rule: TestRule) -> Values:
    cost = {**run.record.get("cost", {}), "seconds": run.timing.get("seconds")}
    cost["uncounted"] = ", ".join(cost.get("uncounted", ())) or None
    outcome = {
        "state": run.record["state"],
        "reason": run.record.get("reason") or None,
        "cost": cost,
    }
    values = _flat({**outcome, "audit": run.record.get("audit", {})}, "/")
    values |= _final(run.scores, rule)
    return {key: value for key, value in values.items() if value is not None}


def _final(scores: Iterable[Values], rule: TestRule) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of scores under the test rule of the arm and under others.

    The rule of the arm is not named: `final/test_accuracy`.
    Another one is: `final/noise_12/test_accuracy`.
    """
    for row in scores:
        gap = row["split"] == "train_validation"
        scored = TestRule(view=row["view"], members=int(row["members"]))
        other = "" if gap or scored == rule else f"{format_rule(scored)}/"
        name = row["metric"] if gap else f"{row['split']}_{row['metric']}"
        yield f"final/{other}{name}", row["value"]


def _flat(values: Values, separator: str, above: str = "") -> dict[str, Any]:
    """Return nested mappings as one level; lists stay values."""
    level: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{above}{key}"
        nested = isinstance(value, Mapping)
        level |= _flat(value, separator, name + separator) if nested else {name: value}
    return level


def _table(rows: Sequence[Values], columns: Iterable[str]) -> Table:
    """Return these columns of rows; a cell that a row lacks is None."""
    names = tuple(columns)
    cells = [tuple(row.get(name) for name in names) for row in rows]
    return Table(names, tuple(cells))


def _tags(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word[:TAG_LENGTH] for word in words))
