"""Stage 7: compare every arm with its reference and compute every statistic of the report.

It needs scores and records alone, so a question asked differently costs no prediction.
"""

import sys
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.comparison.arms import arm_means, audit_means, rule_means, run_outcomes
from pipeline.comparison.calibration import pooled_bins
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.correlations import gap_correlations
from pipeline.comparison.curves import curve_means
from pipeline.comparison.diagnosis import diagnosis
from pipeline.comparison.equal_cost import equal_cost
from pipeline.comparison.gains import member_gains, pass_gains
from pipeline.comparison.interactions import changes, interactions
from pipeline.comparison.matching import outcomes
from pipeline.comparison.published import published
from pipeline.comparison.resolution import resolution
from pipeline.comparison.variance import standard_errors, streams
from pipeline.config.plan import BASELINE, Plan, read_plan
from pipeline.config.run import RunConfig, read_config
from pipeline.data.prepared import read_summary
from pipeline.execution.stage import stage
from pipeline.records.store import read_file, read_history, read_record
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
    tables = _contrasts(plan, runs, records, scored) | _means(plan, runs, records, scored)
    tables["resolution"] = _resolution(folder)
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table)


def _contrasts(
    plan: Plan, runs: Path, records: dict[str, Any], scored: dict[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """The tables in which arms are compared."""
    states = {name: record.get("state", "missing") for name, record in records.items()}
    machines = {name: record.get("machine") for name, record in records.items()}
    costs = {name: record.get("cost", {}) for name, record in records.items()}
    known = outcomes(scored["scores"], states, machines)
    compared = contrasts(plan, known, costs, scored["images"])
    return {
        "contrasts": compared,
        "interactions": interactions(plan, known, _parts(plan, runs)),
        "published": published(plan, known, costs, scored["passes"], scored["ensembles"]),
        "variance": streams(plan, scored["scores"], scored["images"]["image"].nunique()),
        "standard_errors": standard_errors(compared),
    }


def _means(
    plan: Plan, runs: Path, records: dict[str, Any], scored: dict[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """The tables of means over runs and groups, and what follows from them."""
    done = {
        run.fingerprint
        for run in plan.runs_of("comparison")
        if records[run.fingerprint].get("state") == "done"
    }
    histories = {name: read_history(runs / name) for name in sorted(done)}
    by_run = run_outcomes(plan, scored["scores"])
    return {
        "outcomes": by_run,
        "arms": arm_means(by_run, plan, records),
        "rules": rule_means(plan, scored["scores"]),
        "audits": audit_means(plan, records),
        "curves": curve_means(plan, histories),
        "diagnosis": diagnosis(plan, by_run),
        "correlations": gap_correlations(by_run),
        "pass_gains": pass_gains(plan, scored["passes"], scored["scores"]),
        "member_gains": member_gains(scored["sizes"]),
        "equal_cost": equal_cost(scored["ensembles"], scored["reliability"]),
        "calibration": pooled_bins(scored["reliability"]),
    }


def _resolution(folder: Path) -> pd.DataFrame:
    """What the validation set resolves in the exploration phase."""
    images = read_sealed(folder / "test_use.json")["validation_examples"]
    data = read_summary(folder / "data")
    seeds = {run.seed for run in read_plan(folder / "exploration").runs}
    # a validation set that the dataset gives is the same for all seeds; others are drawn by each
    overlap = 1 if data["validation"] else images / data["development"]
    return resolution(images, len(seeds), overlap)


def _parts(plan: Plan, runs: Path) -> dict[tuple[str, str], frozenset[str]]:
    """What each arm changes against its study's baseline, by its first stored run."""
    configs: dict[tuple[str, str], RunConfig] = {}
    for run in plan.runs_of("comparison"):
        folder = runs / run.fingerprint
        if (run.study, run.arm) not in configs and read_file(folder, "run.json"):
            configs[run.study, run.arm] = read_config(folder / "run.json")
    known = {study for study, arm in configs if arm == BASELINE}
    return {
        key: changes(config, configs[key[0], BASELINE])
        for key, config in configs.items()
        if key[0] in known
    }


if __name__ == "__main__":
    sys.exit(stage(main))
