"""Stage 4: train the chosen arms and the baseline on fresh seeds, which no choice has used."""

import sys
from pathlib import Path

from pipeline.config.parameters import read_parameters
from pipeline.data.prepared import read_summary
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import stage
from pipeline.planning.phases import confirmation
from pipeline.planning.studies import read_experiment
from pipeline.records.store import open_store
from pipeline.runtime.files import read_sealed
from pipeline.tracking.live import loggers

TRAINING = "pipeline.execution.devices:perform"


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/confirmation."""
    folder = Path("artifacts") / protocol
    chosen = read_sealed(folder / "choice.json")
    experiment = read_experiment(protocol, tuned=chosen["tuned"])
    digest = read_summary(folder / "data")["digest"]
    plan, identities = confirmation(experiment, digest, chosen["choice"])
    settings = read_parameters()
    live = loggers(settings.tracking, plan, identities)
    complete(plan, identities, TRAINING, open_store(), folder, settings.execution, live)


if __name__ == "__main__":
    sys.exit(stage(main))
