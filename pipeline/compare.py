"""Stage 7: compares every arm with its study's baseline, and every combination with the sum of its parts.

Paired differences, intervals, corrected p-values, verdicts, and where the spread of scores comes from. A stage of its own
because it needs scores alone: a question asked otherwise costs no prediction.
"""

import sys
from pathlib import Path

from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.interactions import changed, interactions
from pipeline.comparison.published import published
from pipeline.comparison.variance import streams
from pipeline.config.plan import BASELINE, Plan, read_plan
from pipeline.config.run import RunConfig, read_config
from pipeline.execution.stage import stage
from pipeline.records.store import read_file, read_record
from pipeline.records.tables import read_table, write_table

ARTIFACTS = Path("artifacts")


def main(protocol: str) -> None:
    """Writes contrasts.csv, interactions.csv, variance.csv and published.csv. Raises Refusal where a done run lacks a score."""
    folder = ARTIFACTS / protocol
    runs = folder / "confirmation"
    plan = read_plan(runs)
    records = {name: read_record(runs / name) or {} for name in plan.fingerprints()}
    states = {name: record.get("state", "missing") for name, record in records.items()}
    machines = {name: record.get("machine") for name, record in records.items()}
    costs = {name: record.get("cost", {}) for name, record in records.items()}
    scores, images = read_table(folder / "scores.csv"), read_table(folder / "images.csv")
    compared = contrasts(scores, plan, states, machines, costs, images)
    combined = interactions(scores, plan, states, machines, _parts(plan, runs))
    write_table(folder / "contrasts.csv", compared)
    write_table(folder / "interactions.csv", combined)
    tables = (read_table(folder / f"{name}.csv") for name in ("passes", "ensembles"))
    write_table(folder / "published.csv", published(scores, plan, states, machines, costs, *tables))
    write_table(folder / "variance.csv", streams(plan, scores, images["image"].nunique()))


def _parts(plan: Plan, runs: Path) -> dict[tuple[str, str], frozenset[str]]:
    """What each arm changes against its study's baseline, by the first run of each that is stored."""
    configs: dict[tuple[str, str], RunConfig] = {}
    for run in plan.runs:
        folder = runs / run.fingerprint
        if (run.study, run.arm) not in configs and read_file(folder, "run.json"):
            configs[run.study, run.arm] = read_config(folder / "run.json")
    known = {study for study, arm in configs if arm == BASELINE}
    return {
        key: changed(config, configs[key[0], BASELINE])
        for key, config in configs.items()
        if key[0] in known
    }


if __name__ == "__main__":
    sys.exit(stage(main))
