"""Plan the runs of a protocol before they are trained, and estimate how long one takes."""

import contextlib
import statistics
from pathlib import Path

from pipeline.config.parameters import Parameters
from pipeline.config.plan import Plan, last_plan
from pipeline.data.prepared import read_summary
from pipeline.execution.order import images
from pipeline.planning.phases import Choice, confirmation, exploration
from pipeline.planning.protocols import document_of
from pipeline.planning.studies import Experiment
from pipeline.records.store import open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed

ARTIFACTS = Path("artifacts")


def expected_plans(experiment: Experiment) -> tuple[Plan, Plan]:
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


def seconds_per_run(experiment: Experiment) -> float:
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
