"""Print the output of `gapwise plan`: the runs, seeds and minutes of a protocol."""

import contextlib
import statistics
from pathlib import Path

from pipeline.config.labels import format_setting
from pipeline.config.parameters import Parameters, read_parameters
from pipeline.config.plan import Plan, last_plan
from pipeline.data.prepared import read_summary
from pipeline.execution.order import images
from pipeline.execution.processes import cores
from pipeline.planning.phases import Choice, confirmation, exploration
from pipeline.planning.protocols import document_of
from pipeline.planning.studies import Experiment
from pipeline.records.store import open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed
from pipeline.terminal.tables import show, table

ARTIFACTS = Path("artifacts")


def show_plan(experiment: Experiment) -> None:
    """Print the runs of every arm, how many are still to train, and about how long that takes."""
    protocol = experiment.protocol
    plans, store = _plans(experiment), open_store()
    missing = {name for plan in plans for name in plan.fingerprints() if not store.finished(name)}
    title = f"{protocol.name}: runs planned"
    rows = table("study, arm", "settings", "explore", "confirm", "to train", title=title)
    for study in experiment.studies:
        rows.add_row(study.name)
        for arm in study.arms:
            planned = [_fingerprints(plan, study.name, arm.name) for plan in plans]
            left = {name for names in planned for name in names} & missing
            counts = [len(names) for names in planned]
            labels = "\n".join(format_setting(trial.setting) for trial in arm.trials)
            rows.add_row(f"  {arm.name}", labels, *map(str, (*counts, len(left))))
    show(rows)
    runs = [len(plan.fingerprints()) for plan in plans]
    workers = read_parameters().execution.workers or cores()
    minutes = len(missing) * _seconds(experiment) / workers / 60
    print(
        f"at most {sum(runs)} runs, each counted once: "
        f"{runs[0]} on {protocol.seeds.exploration} exploration seeds, "
        f"{runs[1]} on {protocol.seeds.confirmation} fresh ones"
    )
    print(
        f"{len(missing)} runs to train: "
        f"about {minutes:.1f} minutes of training alone, with {workers} workers"
    )


def _plans(experiment: Experiment) -> tuple[Plan, Plan]:
    """Return the plans of both phases, as far as data are prepared and settings are chosen.

    Until then no run has its final name; the first setting of an arm counts for all.
    """
    folder = ARTIFACTS / experiment.protocol.name
    first = {
        study.name: {arm.name: arm.trials[0].setting for arm in study.arms}
        for study in experiment.studies
    }
    digest = ""
    choice: Choice = first
    with contextlib.suppress(Refusal):
        digest = read_summary(folder / "data")["digest"]
        choice = read_sealed(folder / "choice.json")["choice"]
    try:
        confirmed, _ = confirmation(experiment, digest, choice)
    except Refusal:  # the choice is that of other settings
        confirmed, _ = confirmation(experiment, digest, first)
    return exploration(experiment, digest)[0], confirmed


def _fingerprints(plan: Plan, study: str, arm: str) -> list[str]:
    return [run.fingerprint for run in plan.runs if (run.study, run.arm) == (study, arm)]


def _seconds(experiment: Experiment) -> float:
    """Return the seconds of a run: the median of those timed here, else what the protocol expects.

    Either is scaled by the number of images a run processes.
    """
    protocol, store = experiment.protocol, open_store()
    last = last_plan(ARTIFACTS / protocol.name / "confirmation")
    seconds = [store.timing(name).get("seconds") for name in (last.fingerprints() if last else ())]
    timed = [each for each in seconds if each]
    if last and timed:
        usual, settings = float(statistics.median(timed)), last.settings
    else:
        usual = protocol.seconds_per_run
        settings, _ = document_of(protocol.name, Parameters(protocols=(protocol.name,)), Path())
    return usual * images(protocol.settings()) / images(settings)
