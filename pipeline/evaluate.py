"""Stage 6: scores every confirmation run, and every way to average the models of a group.

The only stage that opens the test labels, and it records that it did.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.plan import Plan, read_plan
from pipeline.data.prepared import read_summary, read_test_labels, require_digest
from pipeline.evaluation.groups import group_tables, read_group
from pipeline.evaluation.methods import passes
from pipeline.evaluation.scores import correct_images, run_scores
from pipeline.execution.stage import stage
from pipeline.records.predictions import Predictions, View, read_predictions, require_predictions
from pipeline.records.store import done_records
from pipeline.records.tables import write_table
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_sealed

ARTIFACTS = Path("artifacts")
GROUPED = ("study", "group", "method")
COLUMNS = {
    "scores": ("fingerprint", "view", "members", "split", "metric", "value"),
    "passes": ("fingerprint", "passes", "metric", "value"),
    "images": ("study", "arm", "image", "correct"),
    "ensembles": (*GROUPED, "model", "against", "metric", "value"),
    "sizes": (*GROUPED, "members", "metric", "value"),
    "reliability": (*GROUPED, "low", "high", "count", "confidence", "accuracy"),
}


def main(protocol: str) -> None:
    """Write `test_use.json`, then the tables of `COLUMNS`. Raises Refusal."""
    folder = ARTIFACTS / protocol
    plan = read_plan(folder / "confirmation")
    if plan.phase != "confirmation":
        raise Refusal(
            f"{folder / 'confirmation'}: holds the {plan.phase} phase; "
            "allowed on the test set is confirmation alone"
        )
    records = done_records(folder / "confirmation", plan.fingerprints())
    digests = require_predictions(folder / "predictions", list(records))
    require_digest(folder / "data", plan.data_digest)
    labels = read_test_labels(folder / "data")

    def read(run: str) -> Predictions:
        return read_predictions(folder / "predictions", run, digests[run])

    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    rules, correct = plan.rules(), {}
    for run in records:
        predictions = read(run)
        correct[run] = correct_images(predictions, rules[run], labels)
        rows["scores"] += [(run, *score) for score in run_scores(predictions, labels)]
        noisy = predictions.logits.get(View("test", "noise"))
        if noisy is not None:
            rows["passes"] += [(run, *row) for row in passes(noisy, labels)]
    rows["images"] = list(_images(plan, correct))
    costs = {run: record["cost"]["training_flops"] for run, record in records.items()}
    for study in plan.studies_of("ensemble"):
        for seed in study.groups:
            group = read_group(plan, study, seed, read, records)
            if group:
                validation = group.baseline[0].predictions.labels["validation"]
                tables = group_tables(group, (validation, labels), costs)
                for name, found in tables.items():
                    rows[name] += [(study.name, seed, *row) for row in found]
    use = {
        "phase": plan.phase,
        "runs": len(records),
        "fingerprints": sorted(records),
        "test_examples": len(labels),
        "validation_examples": _validation_size(folder, plan),
    }
    write_sealed(folder / "test_use.json", use)
    for name, columns in COLUMNS.items():
        write_table(folder / f"{name}.csv", pd.DataFrame(rows[name], columns=list(columns)))


def _validation_size(folder: Path, plan: Plan) -> int:
    """Return the number of validation images: the dataset's own, else what training leaves."""
    summary, settings = read_summary(folder / "data"), plan.settings["data"]
    left = summary["development"] - settings["train_size"]
    return int(summary["validation"] or settings.get("validation_size") or left)


def _images(plan: Plan, correct: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield (study, arm, image, share of the arm's done runs that are right) of compared arms."""
    runs: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for run in plan.runs_of("comparison"):
        if run.fingerprint in correct:
            runs[run.study, run.arm].append(correct[run.fingerprint])
    for arm, found in runs.items():
        for image, share in enumerate(np.mean(found, axis=0)):
            yield (*arm, image, float(share))


if __name__ == "__main__":
    sys.exit(stage(main))
