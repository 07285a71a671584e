"""Stage 7: compare every arm with its reference and compute every statistic of the report.

It needs scores and records alone, so a question asked differently costs no prediction.
"""

import sys
from pathlib import Path

from pipeline.comparison.interactions import arm_changes
from pipeline.comparison.resolution import validation_resolution
from pipeline.comparison.tables import contrast_tables, mean_tables
from pipeline.config.plan import read_plan
from pipeline.data.prepared import read_summary
from pipeline.execution.stage import stage
from pipeline.records.store import read_history, read_record, read_settings
from pipeline.records.tables import read_table, write_table
from pipeline.runtime.files import read_sealed

ARTIFACTS = Path("artifacts")
SCORED = ("scores", "images", "passes", "ensembles", "sizes", "reliability")


def main(protocol: str) -> None:
    """Write the tables of a protocol. Raise Refusal if a done run lacks a score."""
    folder = ARTIFACTS / protocol
    runs = folder / "confirmation"
    plan = read_plan(runs)
    records = {name: read_record(runs / name) or {} for name in plan.fingerprints()}
    scored = {name: read_table(folder / f"{name}.csv") for name in SCORED}
    parts = arm_changes(plan, lambda name: read_settings(runs / name))
    compared = sorted({run.fingerprint for run in plan.runs_of("comparison")})
    histories = {
        name: read_history(runs / name) for name in compared if records[name].get("state") == "done"
    }
    images = read_sealed(folder / "test_use.json")["validation_examples"]
    exploration, summary = read_plan(folder / "exploration"), read_summary(folder / "data")
    tables = {
        **contrast_tables(plan, records, parts, scored),
        **mean_tables(plan, records, histories, scored),
        "resolution": validation_resolution(images, exploration, summary),
    }
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table)


if __name__ == "__main__":
    sys.exit(stage(main))
