"""Stage 2: train every exploration run that is not yet recorded."""

import sys
from pathlib import Path

from pipeline.config.parameters import read_parameters
from pipeline.config.validation import errors_in
from pipeline.data.checks import require_sizes
from pipeline.data.prepared import read_development, read_summary
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import stage
from pipeline.planning.phases import exploration
from pipeline.planning.protocols import EXPERIMENTS
from pipeline.planning.studies import Experiment, read_experiment
from pipeline.records.store import open_store
from pipeline.tracking.live import loggers

TRAINING = "pipeline.execution.devices:perform"


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/exploration."""
    folder = Path("artifacts") / protocol
    experiment = read_experiment(protocol)
    _require_splits(experiment, folder / "data")
    plan, identities = exploration(experiment, read_summary(folder / "data")["digest"])
    settings = read_parameters()
    live = loggers(settings.tracking, plan, identities)
    complete(plan, identities, TRAINING, open_store(), folder, settings.execution, live)


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
