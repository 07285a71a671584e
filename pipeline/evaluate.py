"""Stage 6: scores every confirmation run: each averaging rule, each split, each metric, and the parts of the gap.

The only stage that opens the test labels, and it records that it did; a stage of its own so that this
is plain from the graph of stages.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.numpy import load

from pipeline.config.errors import Refusal
from pipeline.config.files import read_json, write_text
from pipeline.config.plan import Plan, read_plan
from pipeline.data.prepared import read_test_labels
from pipeline.evaluation.averaging import arithmetic_mean
from pipeline.evaluation.metrics import METRICS, gap_parts, member_accuracy
from pipeline.execution.stage import stage
from pipeline.records.store import read_record, to_json
from pipeline.records.tables import write_table

ARTIFACTS = Path("artifacts")
COLUMNS = ("fingerprint", "rule", "split", "metric", "value")
DETERMINISTIC, NOISE = "deterministic", "noise"
SCORED = (DETERMINISTIC, NOISE)  # the other kinds of members serve the gap alone

Tensors = Mapping[str, Any]  # "<split>/<member kind>" -> logits (members, N, classes); "labels/<split>" -> (N,)
Row = tuple[str, str, str, float]  # rule, split, metric, value


def main(protocol: str) -> None:
    """Writes `scores.csv`, and before it `test_use.json`, under `artifacts/<protocol>/`. Raises Refusal."""
    folder = ARTIFACTS / protocol
    plan = read_plan(folder / "confirmation")
    if plan.phase != "confirmation":
        raise Refusal(f"{folder / 'confirmation'}: holds the {plan.phase} phase; allowed on the test set is confirmation alone")
    done = _done(plan, folder / "confirmation")
    digests = _digests(folder / "predictions", done)
    test_labels = read_test_labels(folder / "data")
    rows = []
    for fingerprint in done:
        tensors = {**_tensors(folder / "predictions", fingerprint, digests), "labels/test": test_labels}
        rows += [(fingerprint, *row) for row in sorted([*_scores(tensors), *_gap(tensors)])]
    use = {"phase": plan.phase, "runs": len(done), "fingerprints": sorted(done), "test_examples": len(test_labels)}
    write_text(folder / "test_use.json", to_json(use))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_table(folder / "scores.csv", table)


def _done(plan: Plan, folder: Path) -> list[str]:
    """The fingerprints of finished runs, in the order of the plan."""
    records = {fingerprint: read_record(folder / fingerprint) for fingerprint in plan.fingerprints()}
    return [fingerprint for fingerprint, record in records.items() if record and record["state"] == "done"]


def _digests(folder: Path, done: list[str]) -> dict[str, str]:
    """Fingerprint -> sha256 of its predictions. Raises Refusal for a run that was not predicted."""
    path = folder / "predictions.json"
    files = read_json(path)["files"]
    if missing := [fingerprint for fingerprint in done if _name(fingerprint) not in files]:
        raise Refusal(*(f"{path}: names no {_name(run)}; needed is a file for every run that is done" for run in missing))
    return {fingerprint: files[_name(fingerprint)] for fingerprint in done}


def _tensors(folder: Path, fingerprint: str, digests: Mapping[str, str]) -> Tensors:
    """The predictions of one run, once their bytes are the ones that were written. Raises Refusal."""
    path = folder / _name(fingerprint)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != digests[fingerprint]:
        raise Refusal(f"{path}: missing or damaged; needed is the file whose sha256 predictions.json names")
    return load(content)


def _name(fingerprint: str) -> str:
    return f"{fingerprint}.safetensors"


def _scores(tensors: Tensors) -> Iterator[Row]:
    for key in tensors:
        split, _, kind = key.partition("/")
        if kind in SCORED:
            rule = kind if kind == DETERMINISTIC else f"{kind}_{len(tensors[key])}"
            probabilities = arithmetic_mean(tensors[key])
            for metric, score in METRICS.items():
                yield rule, split, metric, score(probabilities, tensors[f"labels/{split}"])


def _gap(tensors: Tensors) -> Iterator[Row]:
    train = {key.partition("/")[2]: logits for key, logits in tensors.items() if key.startswith("train/")}
    accuracies = {kind: member_accuracy(logits, tensors["labels/train"]) for kind, logits in train.items()}
    validation = member_accuracy(tensors[f"validation/{DETERMINISTIC}"], tensors["labels/validation"])
    for metric, value in gap_parts(accuracies, validation).items():
        yield DETERMINISTIC, "train_validation", metric, value


if __name__ == "__main__":
    sys.exit(stage(main))
