"""Stage 2: explore, round by round, and train every run that is not yet recorded."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config.parameters import read_parameters
from pipeline.config.validation import errors_in
from pipeline.data.checks import require_sizes
from pipeline.data.prepared import read_development, read_summary
from pipeline.evaluation.validation import validation_scores
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import stage
from pipeline.planning.protocols import EXPERIMENTS
from pipeline.planning.rounds import explore
from pipeline.planning.studies import Experiment, read_experiment
from pipeline.records.store import open_store
from pipeline.tracking.live import loggers

TRAINING = "pipeline.execution.devices:perform"


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/exploration, round by round."""
    folder = Path("artifacts") / protocol
    _require_splits(read_experiment(protocol), folder / "data")
    digest = read_summary(folder / "data")["digest"]
    settings, store = read_parameters(), open_store()

    def read(tuned: Mapping[str, Any]) -> Experiment:
        return read_experiment(protocol, tuned=tuned)

    trained = None
    planned = explore(read, digest, {})
    while planned.plan != trained:
        scores = validation_scores(store, planned.plan)
        latest = explore(read, digest, scores)
        if latest.plan == planned.plan:  # its runs are to be trained, or it is the last round
            live = loggers(settings.tracking, planned.plan, planned.identities)
            complete(
                planned.plan, planned.identities, TRAINING, store, folder, settings.execution, live
            )
            trained = planned.plan
            latest = explore(read, digest, validation_scores(store, trained))
        planned = latest


def _require_splits(experiment: Experiment, folder: Path) -> None:
    """Check that the prepared data suffice for the splits of every arm.

    Raises:
        Refusal: They do not; the error names the first arm.
    """
    development = read_development(folder)
    checked = {experiment.protocol.data}
    for study in experiment.studies:
        for arm in study.arms:
            with errors_in(f"{EXPERIMENTS / study.name}.yaml: arms.{arm.name}"):
                for trial in arm.trials:
                    if trial.protocol.data not in checked:
                        require_sizes(development, trial.protocol.data)
                        checked.add(trial.protocol.data)


if __name__ == "__main__":
    sys.exit(stage(main))
