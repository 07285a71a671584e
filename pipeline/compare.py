"""Stage 7: compare every arm with its reference and compute every statistic of the report.

It needs scores and records alone, so another comparison costs no prediction.
"""

import sys
from pathlib import Path

from pipeline.comparison.curves import Histories
from pipeline.comparison.interactions import arm_changes
from pipeline.comparison.references import references
from pipeline.comparison.resolution import resolution
from pipeline.comparison.search_tables import search_tables
from pipeline.comparison.seeds import with_targets
from pipeline.comparison.tables import (
    claim_tables,
    contrast_tables,
    mean_tables,
    rate_tables,
    transfer_tables,
)
from pipeline.comparison.trust import trust
from pipeline.comparison.variance import pools
from pipeline.config.plan import BASELINE, Kind, read_plan
from pipeline.config.run import Data, RunConfig
from pipeline.data.prepared import read_development, read_summary
from pipeline.evaluation.validation import validation_score
from pipeline.execution.stage import stage
from pipeline.planning.choice import Score
from pipeline.records.runs import read_history, read_record
from pipeline.records.stored_settings import read_settings
from pipeline.records.tables import read_table, write_table
from pipeline.runtime.files import read_sealed

ARTIFACTS = Path("artifacts")
SCORED = ("scores", "images", "passes", "ensembles", "sizes", "reliability")


def main(protocol: str) -> None:
    """Write the tables of a protocol.

    Raises:
        Refusal: A run that is done has no score.
    """
    folder = ARTIFACTS / protocol
    runs = folder / "confirmation"
    plan = read_plan(runs)
    records = {name: read_record(runs / name) or {} for name in plan.trained()}
    scored = {name: read_table(folder / f"{name}.csv") for name in SCORED}

    def settings(name: str) -> RunConfig | None:
        return read_settings(runs / name)

    def score(name: str) -> Score:
        return validation_score(folder / "exploration" / name)

    def curves_of(kind: Kind, *states: str) -> Histories:
        names = sorted({run.fingerprint for run in plan.runs_of(kind)})
        ended = [name for name in names if records[name].get("state") in states]
        return {name: read_history(runs / name) for name in ended}

    histories = curves_of("comparison", "done")
    images = read_sealed(folder / "test_use.json")["validation_examples"]
    summary = read_summary(folder / "data")
    exploration = read_plan(folder / "exploration")
    explored = set(exploration.first_seeds())
    chosen = read_sealed(folder / "choice.json")
    # a validation set that the dataset gives is the same for all seeds; others are drawn by each
    overlap = 1 if summary["validation"] else images / summary["development"]
    tables = {
        **contrast_tables(plan, records, arm_changes(plan, settings), scored),
        **mean_tables(plan, records, histories, scored),
        **rate_tables(exploration, chosen["tried"], score, plan, histories),
        "resolution": resolution(images, len(explored), overlap),
        "references": references(
            read_development(folder / "data"),
            Data(**plan.settings["data"]),
            sorted({run.seed for run in plan.runs_of("comparison") if run.arm == BASELINE}),
        ),
    }
    size = summary["development"]
    tables["pools"] = pools(plan, scored["scores"], tables["contrasts"], size)
    tables |= transfer_tables(plan, records, settings, scored, tables)
    tables |= search_tables(plan, curves_of("search", "done", "diverged"), scored["scores"])
    tables |= claim_tables(plan, records, histories, scored, tables)
    tables["seeds"] = with_targets(tables["seeds"], tables["target_times"])
    checked = {**scored, **tables}
    tables["trust"] = trust(plan, records, histories, checked, chosen["searches"])
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table)


if __name__ == "__main__":
    sys.exit(stage(main))
