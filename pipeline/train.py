"""Stage 2: trains every exploration run that is not yet recorded."""

import sys
from pathlib import Path

from pipeline.config.plan import exploration
from pipeline.config.protocols import read_parameters
from pipeline.config.studies import read_experiment
from pipeline.data.prepared import read_summary
from pipeline.execution.catalogue import catalogue
from pipeline.execution.devices import perform
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import stage
from pipeline.records.store import open_store


def main(protocol: str) -> None:
    """Writes artifacts/<protocol>/exploration."""
    folder = Path("artifacts") / protocol
    plan, identities = exploration(read_experiment(protocol, catalogue()), read_summary(folder / "data")["digest"])
    complete(plan, identities, perform, open_store(), folder, read_parameters().execution)


if __name__ == "__main__":
    sys.exit(stage(main))
