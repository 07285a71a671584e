"""Stage 7: compares every arm with its study's baseline: paired differences, intervals, corrected p-values, verdicts.

A stage of its own because it needs scores alone: a question asked otherwise costs no prediction.
"""

import sys
from pathlib import Path

from pipeline.comparison.contrasts import contrasts
from pipeline.config.plan import read_plan
from pipeline.execution.stage import stage
from pipeline.records.store import read_record
from pipeline.records.tables import read_table, write_table

ARTIFACTS = Path("artifacts")


def main(protocol: str) -> None:
    """Writes `artifacts/<protocol>/contrasts.csv`. Raises Refusal where a done run was not scored."""
    folder = ARTIFACTS / protocol
    plan = read_plan(folder / "confirmation")
    records = {name: read_record(folder / "confirmation" / name) or {} for name in plan.fingerprints()}
    states = {name: record.get("state", "missing") for name, record in records.items()}
    machines = {name: record.get("machine") for name, record in records.items()}
    table = contrasts(read_table(folder / "scores.csv"), plan, states, machines)
    write_table(folder / "contrasts.csv", table)


if __name__ == "__main__":
    sys.exit(stage(main))
