"""Plan a finished protocol again from its settings files, and compare with its stored plans.

Names of runs contain the versions of libraries, which may differ here. So runs are matched by
study, arm, setting and seed.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.labels import format_run
from pipeline.config.plan import Plan, PlannedRun, read_plan
from pipeline.data.prepared import read_summary, require_intact
from pipeline.planning.choice import Score
from pipeline.planning.fingerprint import fingerprint
from pipeline.planning.looks import Decide, confirm
from pipeline.planning.phases import Identities
from pipeline.planning.rounds import explore
from pipeline.planning.studies import Experiment, read_experiment
from pipeline.records.ledger import CODE, DONE, LIBRARIES, changes, opened_plan, run_identities
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, remedy_of

OF_PLACE = {"code", "versions", "starts_from"}  # values of an identity that have lines of their own

Scores = Callable[[Path], Score]


@dataclass(frozen=True)
class Replanned:
    """A phase as its settings files plan it.

    Attributes:
        plan: All its runs.
        identities: The identity of each run, by fingerprint.
    """

    plan: Plan
    identities: Identities


def replanning_differences(
    protocol: str, artifacts: Path, score: Scores, decide: Decide
) -> tuple[list[str], str]:
    """Compare the stored plans of a protocol with the plans from its settings files.

    Args:
        protocol: The name of the protocol; its files are in the current folder.
        artifacts: The folder of its artifacts.
        score: Returns the validation score of a stored run.
        decide: Returns why arms stop at a look.

    Returns:
        A line for each difference, and which libraries have other versions here ("" if none).
    """
    lines: list[str] = []
    libraries = ""
    try:
        require_intact(artifacts / "data")
        phases = replanned(protocol, artifacts, score, decide)
    except Refusal as refusal:
        return list(refusal.lines), ""
    for phase in phases:
        folder = artifacts / phase.plan.phase
        stored = read_plan(folder)
        identities = run_identities(folder, stored.trained())
        lines += _misnamed(folder, identities)
        planned = opened_plan(phase.plan, phase.identities, "", {})
        for change in changes(planned, opened_plan(stored, identities, "", {})):
            if change.kind == LIBRARIES:
                libraries = change.detail
            elif change.kind == CODE:
                lines.append(
                    f"{folder}: trained by other code than the present one ({change.detail}); "
                    f"{remedy_of(folder / 'plan.json')}"
                )
            elif change.kind != DONE:
                lines.append(
                    f"{folder / 'plan.json'}: not the plan of experiments/ and params.yaml: "
                    f"{change}; {remedy_of(folder / 'plan.json')}"
                )
        lines += _swapped(folder, stored, identities, phase)
    return lines, libraries


def replanned(
    protocol: str, artifacts: Path, score: Scores, decide: Decide
) -> tuple[Replanned, Replanned]:
    """Plan exploration by the scores of its runs, and confirmation by the choice and its looks.

    Args:
        protocol: The name of the protocol.
        artifacts: The folder of its artifacts.
        score: Returns the validation score of the run in a folder.
        decide: Returns why arms stop at a look, as `confirm` takes it.

    Raises:
        Refusal: A settings file is invalid, or an arm cannot have the setting of the choice.
    """

    @functools.cache
    def experiment(tuned: str) -> Experiment:
        return read_experiment(protocol, tuned=json.loads(tuned))

    def read(tuned: Mapping[str, Any]) -> Experiment:
        return experiment(json.dumps(tuned))

    summary = read_summary(artifacts / "data")
    digest, pool_digests = summary["digest"], summary.get("pretraining", {})
    chosen = read_sealed(artifacts / "choice.json")

    def exploration(scores: Mapping[str, Score]) -> Replanned:
        explored = explore(read, digest, scores, pool_digests=pool_digests)
        return Replanned(explored.plan, explored.identities)

    def confirmed(scores: Mapping[str, Score]) -> Replanned:
        tuned = read(chosen["tuned"])
        return Replanned(*confirm(tuned, digest, chosen["choice"], scores, decide, pool_digests))

    return (
        _all_rounds(exploration, artifacts / "exploration", score),
        _all_rounds(confirmed, artifacts / "confirmation", score),
    )


def _all_rounds(
    planned: Callable[[Mapping[str, Score]], Replanned], folder: Path, score: Scores
) -> Replanned:
    """Plan a phase round by round, by the scores of its stored runs.

    Args:
        planned: Returns the rounds that follow from the scores of runs, by fingerprint.
        folder: The folder of the phase.
        score: Returns the score of a stored run.
    """
    names = {_key(run): run.fingerprint for run in read_plan(folder).runs}
    previous: Plan | None = None
    phase = planned({})
    while previous != phase.plan:
        previous = phase.plan
        stored = {run.fingerprint: names.get(_key(run)) for run in previous.runs}
        scores = {name: score(folder / of_row) for name, of_row in stored.items() if of_row}
        phase = planned(scores)
    return phase


def _misnamed(folder: Path, identities: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for every run whose name is not the fingerprint of its identity."""
    for name, identity in identities.items():
        if fingerprint(dict(identity)) != name:
            yield (
                f"{folder / name / 'run.json'}: {name} is not its fingerprint; "
                f"remove {folder} and {remedy_of(folder / 'plan.json')}"
            )


def _swapped(
    folder: Path, stored: Plan, identities: Mapping[str, Mapping[str, Any]], phase: Replanned
) -> Iterator[str]:
    """Yield a line for every row of a plan whose run was trained from other settings or seeds."""
    expected = {_key(run): phase.identities[run.fingerprint] for run in phase.plan.runs}
    for run in stored.runs:
        identity = identities.get(run.fingerprint)
        planned = expected.get(_key(run))
        if identity is None or planned is None:
            continue
        if _settings(identity) != _settings(planned) or identity.get("starts_from") != run.start:
            yield (
                f"{folder / run.fingerprint}: trained from other settings, seeds, data or weights "
                f"than {format_run(run)} has; remove {folder} and {remedy_of(folder / 'plan.json')}"
            )
    starts = [
        identities[start.fingerprint] for start in stored.starts if start.fingerprint in identities
    ]
    planned_starts = [_settings(phase.identities[start.fingerprint]) for start in phase.plan.starts]
    if any(_settings(identity) not in planned_starts for identity in starts):
        yield (
            f"{folder}: a run that others start from was trained from other settings; "
            f"remove {folder} and {remedy_of(folder / 'plan.json')}"
        )


def _settings(identity: Mapping[str, Any]) -> dict[str, Any]:
    values = {key: value for key, value in identity.items() if key not in OF_PLACE}
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _key(run: PlannedRun) -> str:
    """Return a key of a run that does not depend on code and libraries."""
    return json.dumps(run.model_dump(mode="json", exclude={"fingerprint", "start"}))
