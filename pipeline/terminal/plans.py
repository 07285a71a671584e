"""What a protocol would train, before it does: runs, seeds, minutes.

Separate from the plan itself, which stages follow: nothing here is stored.
"""

import statistics
from pathlib import Path

from pipeline.config.parameters import Parameters, read_parameters
from pipeline.config.plan import Plan, last_plan
from pipeline.execution.order import images
from pipeline.execution.processes import cores
from pipeline.planning.phases import confirmation, exploration
from pipeline.planning.protocols import document_of
from pipeline.planning.studies import Experiment
from pipeline.records.store import open_store
from pipeline.terminal.tables import show, table

ARTIFACTS = Path("artifacts")


def show_plan(experiment: Experiment) -> None:
    """The runs of every arm, how many there are in all, and about how long it takes to train them."""
    protocol = experiment.protocol
    first = {
        study.name: {arm.name: arm.strengths[0].label for arm in study.arms}
        for study in experiment.studies
    }
    plans = exploration(experiment, "")[0], confirmation(experiment, "", first)[0]
    shown = table(
        "study, arm", "strengths", "explore", "confirm", title=f"{protocol.name}: runs planned"
    )
    for study in experiment.all():
        shown.add_row(study.name)
        for arm in study.arms:
            counts = [str(_count(each, study.name, arm.name)) for each in plans]
            labels = "\n".join(strength.label for strength in arm.strengths)
            shown.add_row(f"  {arm.name}", labels, *counts)
    show(shown)
    runs = [len(each.fingerprints()) for each in plans]
    workers = read_parameters().execution.workers or cores()
    minutes = sum(runs) * _seconds(experiment) / workers / 60
    seeds = protocol.seeds
    print(
        f"at most {sum(runs)} runs, each counted once: {runs[0]} on {seeds.exploration} exploration seeds, {runs[1]} on "
        f"{seeds.confirmation} fresh ones; about {minutes:.1f} minutes of training alone, with {workers} workers"
    )


def _count(plan: Plan, study: str, arm: str) -> int:
    return sum(run.study == study and run.arm == arm for run in plan.every())


def _seconds(experiment: Experiment) -> float:
    """Seconds a run: the median of those timed here, else what the protocol expects, by how many images a run looks at."""
    protocol, store = experiment.protocol, open_store()
    last = last_plan(ARTIFACTS / protocol.name / "confirmation")
    timed = (
        [seconds for name in last.fingerprints() if (seconds := store.timing(name).get("seconds"))]
        if last
        else []
    )
    if last and timed:
        return float(statistics.median(timed)) * images(protocol.settings()) / images(last.settings)
    document, _ = document_of(protocol.name, Parameters(protocols=(protocol.name,)), Path())
    return protocol.seconds_per_run * images(protocol.settings()) / images(document)
