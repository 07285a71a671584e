"""Plan the runs of a protocol before they are trained, and estimate how long one takes."""

import functools
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.parameters import Parameters
from pipeline.config.plan import PROTOCOL, Added, Plan, last_plan
from pipeline.config.validation import checked
from pipeline.data.prepared import read_summary
from pipeline.execution.order import images
from pipeline.planning.looks import Decide, confirm
from pipeline.planning.overtuning import most_compared
from pipeline.planning.phases import Choice, confirmation
from pipeline.planning.protocols import Protocol, document_of, value_of
from pipeline.planning.rounds import Read, Scores, explore
from pipeline.planning.studies import Experiment, read_experiment
from pipeline.records.store import Store, open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed

ARTIFACTS = Path("artifacts")


@dataclass(frozen=True)
class Forecast:
    """The plans of both phases, as known now.

    Attributes:
        exploration: Its rounds so far; where the baseline is not tuned, arms at the protocol's
            values.
        confirmation: Its runs; while settings are not chosen, the most that a choice can lead to.
            It has the looks that follow from the scores so far.
        most_added: The runs that further rounds of exploration may add.
        most: The confirmation if every arm goes on to the last look.
    """

    exploration: Plan
    confirmation: Plan
    most_added: Added
    most: Plan


def forecast(protocol: str, scores: Callable[[Store, Plan], Scores], decide: Decide) -> Forecast:
    """Return the plans of both phases, from the data and the settings that are known now.

    Until then no run has its final name, and the choices with the most runs are assumed.

    Args:
        protocol: The name of the protocol.
        scores: Returns the validation scores of the runs of a plan that have ended.
        decide: Returns why arms stop at a look.
    """

    @functools.cache
    def experiment(tuned: str) -> Experiment:
        return read_experiment(protocol, tuned=json.loads(tuned))

    def read(tuned: Mapping[str, Any]) -> Experiment:
        return experiment(json.dumps(tuned))

    return forecast_of(protocol, read, scores, decide)


def forecast_of(
    protocol: str, read: Read, scores: Callable[[Store, Plan], Scores], decide: Decide
) -> Forecast:
    """Return the plans of a protocol that need not have a file.

    Args:
        protocol: The name of the protocol.
        read: Returns the experiment with tuned values of its protocol.
        scores: As for `forecast`.
        decide: As for `forecast`.
    """
    folder = ARTIFACTS / protocol
    store = open_store()
    digest, pool_digests = _data_digests(folder / "data")
    explored = explore(read, digest, {}, ahead=True, pool_digests=pool_digests)
    plan: Plan | None = None
    while plan != explored.plan:
        plan = explored.plan
        explored = explore(read, digest, scores(store, plan), ahead=True, pool_digests=pool_digests)
    experiment = read(explored.plan.tuned or _other_values(read({})))
    choice = _stored_choice(folder / "choice.json", explored.plan.tuned)
    if choice is None:
        choice = _largest_choice(experiment)
    try:
        confirmed, _ = confirmation(experiment, digest, choice, pool_digests)
    except Refusal:  # the choice was made for other settings
        choice = _largest_choice(experiment)
        confirmed, _ = confirmation(experiment, digest, choice, pool_digests)
    if not confirmed.looks:
        return Forecast(explored.plan, confirmed, explored.most_added, confirmed)
    arms = [(study, arm.name) for study, arm in confirmed.arms()]
    last_look = len(confirmed.looks.seeds)
    most, _ = confirmation(experiment, digest, choice, pool_digests, dict.fromkeys(arms, last_look))
    confirmed, _ = confirm(experiment, digest, choice, scores(store, most), decide, pool_digests)
    return Forecast(explored.plan, confirmed, explored.most_added, most)


def _data_digests(folder: Path) -> tuple[str, Mapping[str, str]]:
    """Return the digests of the prepared data and of pretrainings; empty if there are none."""
    try:
        summary = read_summary(folder)
    except Refusal:
        return "", {}
    return summary["digest"], summary.get("pretraining", {})


def _stored_choice(file: Path, tuned: Mapping[str, Any]) -> Choice | None:
    """Return the choice in a file; None if it is missing or made for other tuned values."""
    try:
        stored = read_sealed(file)
        choice: Choice = stored["choice"]
        return choice if stored["tuned"] == tuned else None
    except (Refusal, KeyError):  # none, or a choice by other code
        return None


def _largest_choice(experiment: Experiment) -> Choice:
    """Return the choice that leads to the most runs of confirmation."""
    return {
        study.name: {arm.name: most_compared(arm) for arm in study.arms}
        for study in experiment.studies
    }


def _other_values(experiment: Experiment) -> Mapping[str, Any]:
    """Return values that tuning may choose instead of the protocol's; empty if there are none."""
    if experiment.tuning is None:
        return {}
    for trial in experiment.tuning.trials:
        values = trial.setting[PROTOCOL]
        if any(value_of(experiment.protocol, key) != value for key, value in values.items()):
            return values
    return {}


def seconds_per_run(experiment: Experiment) -> float:
    """Return the seconds of a run: the median of timed runs, otherwise the protocol's estimate.

    Runs are timed on this machine. Confirmation runs are used, or exploration runs if no
    confirmation run was timed. Either is scaled by the number of images a run processes.

    Args:
        experiment: The protocol and its studies.
    """
    protocol, store = experiment.protocol, open_store()
    for phase in ("confirmation", "exploration"):
        last = last_plan(ARTIFACTS / protocol.name / phase)
        names = last.fingerprints() if last else ()
        timed = [seconds for name in names if (seconds := store.timing(name).get("seconds"))]
        if last and timed:
            usual = float(statistics.median(timed))
            return usual * images(protocol.settings()) / images(last.settings)
    document, source = document_of(protocol.name, Parameters(protocols=(protocol.name,)), Path())
    protocol_of_file = checked(Protocol, document, source)
    return (
        protocol.seconds_per_run * images(protocol.settings()) / images(protocol_of_file.settings())
    )
