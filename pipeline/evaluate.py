"""Stage 6: score every confirmation run, and every way to average the models of a group.

The only stage that opens the test labels. Before it does so, it notes the plan in the ledger.
"""

import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.comparison.levels import PRIMARY
from pipeline.config.plan import Plan, read_plan
from pipeline.data.prepared import read_test_labels, require_digest, validation_size
from pipeline.evaluation.groups import ensemble_rows
from pipeline.evaluation.methods import scores_by_passes
from pipeline.evaluation.scores import correct_images, run_scores
from pipeline.execution.stage import ALONE, stage
from pipeline.records.ledger import (
    LEDGER,
    Planned,
    append_opening,
    continue_ledger,
    opened_plan,
    run_identities,
)
from pipeline.records.predictions import Predictions, View, read_predictions, require_predictions
from pipeline.records.runs import done_records
from pipeline.records.tables import write_table
from pipeline.runtime.behaviour import folder_digest
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_sealed

ARTIFACTS, REPORTS = Path("artifacts"), Path("reports")
CODE = ("evaluation", "comparison")  # folders of the code that scores and judges
GROUPED = ("study", "group", "method")
COLUMNS = {
    "scores": ("fingerprint", "view", "members", "split", "metric", "value"),
    "passes": ("fingerprint", "passes", "metric", "value"),
    "ensembles": (*GROUPED, "model", "against", "metric", "value"),
    "sizes": (*GROUPED, "members", "metric", "value"),
    "reliability": (*GROUPED, "low", "high", "count", "confidence", "accuracy"),
}


def main(protocol: str) -> None:
    """Append to the ledger, then write `test_use.json`, the tables of `COLUMNS`, and `images`.

    The last has a row per test image with its number and label, and a column for each run that is
    compared: 1 where it classifies the image correctly under its test rule, else 0.

    Raises:
        Refusal: Predictions are missing, they or the ledger are corrupted, or the prepared data
            have changed.
    """
    folder = ARTIFACTS / protocol
    plan = read_plan(folder / "confirmation")
    if plan.phase != "confirmation":
        raise Refusal(
            f'{folder / "confirmation" / "plan.json"}: phase: invalid value "{plan.phase}"; '
            "expected confirmation, the only phase that uses the test set"
        )
    records = done_records(folder / "confirmation", plan.fingerprints())
    digests = require_predictions(folder / "predictions", list(records))
    require_digest(folder / "data", plan.data_digest)
    ledger = REPORTS / protocol / LEDGER
    if alone := os.environ.get(ALONE):
        continue_ledger(ledger, REPORTS / f"{protocol}+{alone}" / LEDGER)
    append_opening(ledger, _opened(plan, folder / "confirmation"))
    labels = read_test_labels(folder / "data")

    def read(run: str) -> Predictions:
        return read_predictions(folder / "predictions", run, digests[run])

    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    rules = plan.rules()
    compared = {run.fingerprint for run in plan.runs_of("comparison")}
    images: dict[str, Any] = {"image": range(len(labels)), "label": labels}
    for run in records:
        predictions = read(run)
        if run in compared:
            images[run] = correct_images(predictions, rules[run], labels)
        rows["scores"] += [(run, *score) for score in run_scores(predictions, labels)]
        noisy = predictions.logits.get(View("test", "noise"))
        if noisy is not None:
            rows["passes"] += [(run, *row) for row in scores_by_passes(noisy, labels)]
    for name, row in ensemble_rows(plan, read, records, labels):
        rows[name].append(row)
    use = {
        "phase": plan.phase,
        "runs": len(records),
        "fingerprints": sorted(records),
        "test_examples": len(labels),
        "validation_examples": validation_size(folder / "data", plan.settings["data"]),
    }
    write_sealed(folder / "test_use.json", use)
    for name, columns in COLUMNS.items():
        write_table(folder / f"{name}.csv", pd.DataFrame(rows[name], columns=list(columns)))
    write_table(folder / "images.csv", pd.DataFrame(images))


def _opened(plan: Plan, runs: Path) -> Planned:
    """Return what the ledger says of a plan whose runs are in this folder."""
    code = {name: folder_digest(name) for name in CODE}
    return opened_plan(plan, run_identities(runs, plan.trained()), PRIMARY, code)


if __name__ == "__main__":
    sys.exit(stage(main))
