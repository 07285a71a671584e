"""Stage 2: trains every exploration run that is not yet recorded."""

import sys
from pathlib import Path

from pipeline.config.planning import exploration
from pipeline.config.protocols import read_parameters
from pipeline.config.studies import read_experiment
from pipeline.data.prepared import read_summary
from pipeline.execution.catalogue import catalogue
from pipeline.execution.devices import perform
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import stage
from pipeline.records.store import open_store
from pipeline.tracking.live import loggers


def main(protocol: str) -> None:
    """Writes artifacts/<protocol>/exploration."""
    folder = Path("artifacts") / protocol
    plan, identities = exploration(read_experiment(protocol, catalogue()), read_summary(folder / "data")["digest"])
    settings = read_parameters()
    live = loggers(settings.tracking, plan, identities)
    complete(plan, identities, perform, open_store(), folder, settings.execution, live)


if __name__ == "__main__":
    sys.exit(stage(main))
