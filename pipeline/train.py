"""Stage 2: train every exploration run that is not yet recorded."""

import sys
from pathlib import Path

from pipeline.config.parameters import read_parameters
from pipeline.data.prepared import read_development, read_summary
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import stage
from pipeline.planning.phases import exploration
from pipeline.planning.sizes import require_arm_sizes
from pipeline.planning.studies import read_experiment
from pipeline.records.store import open_store
from pipeline.tracking.live import loggers

TRAINING = "pipeline.execution.devices:perform"


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/exploration."""
    folder = Path("artifacts") / protocol
    experiment = read_experiment(protocol)
    require_arm_sizes(experiment, read_development(folder / "data"))
    plan, identities = exploration(experiment, read_summary(folder / "data")["digest"])
    settings = read_parameters()
    live = loggers(settings.tracking, plan, identities)
    complete(plan, identities, TRAINING, open_store(), folder, settings.execution, live)


if __name__ == "__main__":
    sys.exit(stage(main))
