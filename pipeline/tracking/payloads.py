"""What W&B is told about each run and about the report, as plain values.

Separate from `mirror.py`, which sends them: what is said can be read, tested and digested without W&B.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.config.plan import Plan, PlannedRun
from pipeline.records.history import points

Values = Mapping[str, Any]
TAG_LENGTH = 64  # W&B refuses longer ones
PRIMARY = "test_accuracy"
HEADLINE = (
    *(
        "study",
        "arm",
        "factor",
        "strength",
        "rule",
        "n",
        "baseline_mean",
        "arm_mean",
        "difference",
        "low",
        "high",
    ),
    *("p", "p_holm", "verdict", "detectable", "planned", "done", "failed", "diverged", "missing"),
)
EFFECT = ("difference", "low", "high", "verdict")


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
    data: Mapping[str, str] = field(
        default_factory=dict
    )  # what it was made from: `dataset` and `digest`

    def digest(self) -> str:
        """The sha256 of everything said here, so that the same is not said twice."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Recorded:
    """What is known of one finished run. `identity` is its run.json, `scores` its rows of scores.csv."""

    record: Values
    history: Sequence[Values] = ()
    identity: Values = field(default_factory=dict)
    scores: Sequence[Values] = ()
    timing: Values = field(default_factory=dict)


def run_payloads(plan: Plan, recorded: Mapping[str, Recorded]) -> Iterator[Payload]:
    """One payload for every recorded run of the plan, in its order: a run of several studies comes once."""
    rows: dict[str, list[PlannedRun]] = {}
    for row in plan.every():
        rows.setdefault(row.fingerprint, []).append(row)
    rules = plan.rules()
    for fingerprint, standing in rows.items():
        if fingerprint in recorded:
            yield _run(plan, standing, rules[fingerprint], recorded[fingerprint])


def report_payload(
    plans: Sequence[Plan], contrasts: Sequence[Values], images: Mapping[str, Image], texts: Values
) -> Payload:
    """The report as one run. Its id is that of the planned runs: another experiment is another report."""
    last = plans[-1]
    questions = last.questions()
    studies = list(questions)
    headline = [row for row in contrasts if row["metric"] == PRIMARY]
    config = {
        "protocol": last.protocol,
        "phase": "report",
        "studies": ", ".join(studies),
        "margin": last.margin,
    }
    return Payload(
        id=report_id(plans),
        group=last.protocol,
        job_type="report",
        name=f"{last.protocol} report",
        notes="\n".join(questions.values()),
        tags=_tags(["report", *studies]),
        config={**config, "data_digest": last.data_digest, **_flat(last.settings, ".")},
        summary={
            "/".join([row["study"], row["arm"], key]): row.get(key)
            for row in headline
            for key in EFFECT
        },
        tables={
            "headline": _table(headline, HEADLINE),
            "contrasts": _table(contrasts, contrasts[0]),
        }
        if contrasts
        else {},
        images=images,
        texts=texts,
        data={"dataset": str(last.settings["data"]["dataset"]), "digest": last.data_digest},
    )


def report_id(plans: Sequence[Plan]) -> str:
    """The name of the report of these plans in W&B."""
    planned = json.dumps(
        [[plan.protocol, plan.margin, sorted(plan.fingerprints())] for plan in plans]
    )
    return f"report-{hashlib.sha256(planned.encode()).hexdigest()[:20]}"


def _run(plan: Plan, standing: Sequence[PlannedRun], rule: str, run: Recorded) -> Payload:
    first = standing[0]
    regularizers = [item["name"] for item in run.identity.get("regularizers", ())]
    words = [row.arm for row in standing] + regularizers + [row.study for row in standing]
    return Payload(
        id=first.fingerprint,
        group=first.study,
        job_type=plan.phase,
        name=first.label(),
        notes=plan.questions()[first.study],
        tags=_tags(words),
        config=_config(plan, standing, rule, run),
        summary=_summary(run, rule),
        history=tuple(points(run.history)),
        failed=run.record["state"] == "failed",
    )


def _config(plan: Plan, standing: Sequence[PlannedRun], rule: str, run: Recorded) -> Values:
    """Flat, because W&B filters and groups by one level: `dropout.rate`, `training.epochs`."""
    first = standing[0]
    factors = {(study, arm.name): arm.factor for study, arm in plan.arms()}
    regularizers = {
        item["name"]: {key: item[key] for key in item if key != "name"}
        for item in run.identity.get("regularizers", ())
    }
    nested = {
        key: run.identity[key]
        for key in ("data", "model", "training", "streams", "versions")
        if key in run.identity
    }
    return {
        **{key: getattr(first, key) for key in ("fingerprint", "study", "arm", "strength", "seed")},
        "protocol": plan.protocol,
        "phase": plan.phase,
        "studies": ", ".join(dict.fromkeys(row.study for row in standing)),
        "factor": factors[first.study, first.arm],
        "test_rule": rule,
        "regularizers": " + ".join(regularizers) or "none",
        "data_digest": plan.data_digest,
        **_flat({**plan.settings, **nested, "machine": run.record.get("machine", {})}, "."),
        **_flat(regularizers, "."),
    }


def _summary(run: Recorded, rule: str) -> Values:
    cost = {**run.record.get("cost", {}), "seconds": run.timing.get("seconds")}
    said = {"state": run.record["state"], "reason": run.record.get("reason") or None, "cost": cost}
    values = _flat({**said, "audit": run.record.get("audit", {})}, "/") | dict(
        _final(run.scores, rule)
    )
    return {key: value for key, value in values.items() if value is not None}


def _final(scores: Iterable[Values], rule: str) -> Iterator[tuple[str, Any]]:
    """Scores under the arm's test rule as `final/test_accuracy`; other rules are named: `final/noise_12/test_accuracy`."""
    for row in scores:
        gap = row["split"] == "train_validation"
        other = "" if gap or row["rule"] == rule else f"{row['rule']}/"
        yield (
            f"final/{other}{row['metric'] if gap else row['split'] + '_' + row['metric']}",
            row["value"],
        )


def _flat(values: Values, separator: str, above: str = "") -> dict[str, Any]:
    """Nested mappings as one level; lists stay values."""
    level: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{above}{key}"
        level |= (
            _flat(value, separator, name + separator)
            if isinstance(value, Mapping)
            else {name: value}
        )
    return level


def _table(rows: Sequence[Values], columns: Iterable[str]) -> Table:
    names = tuple(columns)
    return Table(names, tuple(tuple(row.get(name) for name in names) for row in rows))


def _tags(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word[:TAG_LENGTH] for word in words))
