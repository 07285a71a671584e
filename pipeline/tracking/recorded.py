"""Read what is known of the runs of a plan, to send it to W&B."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.plan import Plan
from pipeline.records.runs import read_file, read_history, read_record
from pipeline.records.store import Store

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Recorded:
    """What is known of one finished run.

    Attributes:
        identity: Its run.json.
        scores: Its rows of scores.csv.
    """

    record: Values
    history: Sequence[Values] = ()
    identity: Values = field(default_factory=dict)
    scores: Sequence[Values] = ()
    timing: Values = field(default_factory=dict)


def recorded_runs(
    plan: Plan, folder: Path, scores: Iterable[Values], store: Store
) -> dict[str, Recorded]:
    """Return the planned runs in a phase's folder, by fingerprint, and those they start from.

    Args:
        plan: The plan of the phase.
        folder: Its folder.
        scores: All rows of scores.csv.
        store: The run store, which has the times.

    Raises:
        Refusal: A run is corrupted.
    """
    by_run: dict[str, list[Values]] = {}
    for row in scores:
        by_run.setdefault(row["fingerprint"], []).append(row)
    records = {name: read_record(folder / name) for name in plan.trained()}
    return {
        name: Recorded(
            record=record,
            history=read_history(folder / name),
            identity=json.loads(read_file(folder / name, "run.json") or b"{}"),
            scores=by_run.get(name, ()),
            timing=store.timing(name),
        )
        for name, record in records.items()
        if record is not None
    }
