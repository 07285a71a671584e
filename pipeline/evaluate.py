"""Stage 6: scores every confirmation run: each averaging rule, each split, each metric, and the parts of the gap.

The only stage that opens the test labels, and it records that it did; a stage of its own so that this
is plain from the graph of stages.
"""

import hashlib
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load

from pipeline.config.plan import BASELINE, Plan, PlannedEnsemble, PlannedRun, read_plan
from pipeline.config.test_rules import DETERMINISTIC, NOISE, NOISE_PASSES, members
from pipeline.data.prepared import read_summary, read_test_labels, require_digest
from pipeline.evaluation.averaging import arithmetic_mean
from pipeline.evaluation.calibration import reliability
from pipeline.evaluation.methods import (
    AVERAGED,
    GEOMETRIC,
    Group,
    Labelled,
    Method,
    Model,
    methods,
    passes,
    scored,
    selected,
    sizes,
)
from pipeline.evaluation.metrics import METRICS, gap_parts, hits, member_accuracy
from pipeline.execution.stage import stage
from pipeline.records.store import read_record
from pipeline.records.tables import write_table
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, write_sealed

ARTIFACTS = Path("artifacts")
COLUMNS = {
    "scores": ("fingerprint", "rule", "split", "metric", "value"),
    "passes": ("fingerprint", "passes", "metric", "value"),
    "images": ("study", "arm", "image", "correct"),
    "ensembles": ("study", "group", "method", "model", "against", "metric", "value"),
    "sizes": ("study", "group", "method", "members", "metric", "value"),
    "reliability": ("study", "group", "method", "low", "high", "count", "confidence", "accuracy"),
}
FOR_THE_GAP = (
    "labels",
    "examples",
    "augmented",
    "trained",
)  # no prediction, or one on the training split alone

Tensors = Mapping[
    str, Any
]  # "<split>/<member kind>" -> logits (members, N, classes); "labels/<split>" -> (N,)
Rows = dict[str, list[tuple[Any, ...]]]  # table -> rows
Row = tuple[str, str, str, float]  # rule, split, metric, value


def main(protocol: str) -> None:
    """Writes the tables of `COLUMNS`, and before them `test_use.json`, under `artifacts/<protocol>/`. Raises Refusal."""
    folder = ARTIFACTS / protocol
    plan = read_plan(folder / "confirmation")
    if plan.phase != "confirmation":
        raise Refusal(
            f"{folder / 'confirmation'}: holds the {plan.phase} phase; allowed on the test set is confirmation alone"
        )
    records = _records(plan, folder / "confirmation")
    digests = _digests(folder / "predictions", list(records))
    require_digest(folder / "data", plan.data_digest)
    test_labels = read_test_labels(folder / "data")

    def read(run: str) -> Tensors:
        return {**_tensors(folder / "predictions", run, digests), "labels/test": test_labels}

    rows: Rows = defaultdict(list)
    rules, right = plan.rules(), {}
    for run in records:
        tensors = read(run)
        right[run] = _right(tensors, rules[run])
        rows["scores"] += [(run, *row) for row in sorted([*_scores(tensors), *_gap(tensors)])]
        if "test/noise" in tensors:
            rows["passes"] += [(run, *row) for row in passes(tensors["test/noise"], test_labels)]
    rows["images"] = list(_images(plan, right))
    costs = {run: record["cost"]["training_flops"] for run, record in records.items()}
    for ensemble in plan.ensembles:
        for seed in ensemble.groups:
            group = _group(plan, ensemble, seed, read, records)
            if group:
                _average(group, (ensemble.name, seed), costs, rows)
    examples = {"test_examples": len(test_labels), "validation_examples": _validation(folder, plan)}
    use = {"phase": plan.phase, "runs": len(records), "fingerprints": sorted(records), **examples}
    write_sealed(folder / "test_use.json", use)
    for name, columns in COLUMNS.items():
        write_table(folder / f"{name}.csv", pd.DataFrame(rows[name], columns=list(columns)))


def _validation(folder: Path, plan: Plan) -> int:
    """How many images validate under the protocol: those that its dataset sets apart, else what training leaves."""
    summary = read_summary(folder / "data")
    settings = plan.settings["data"]
    return int(
        summary["validation"]
        or settings.get("validation_size")
        or summary["development"] - settings["train_size"]
    )


def _right(tensors: Tensors, rule: str) -> Any:
    """Which test images (N,) a run is right on, under its test rule: 1 or 0."""
    kind = DETERMINISTIC if rule == DETERMINISTIC else "noise"
    probabilities = arithmetic_mean(tensors[f"test/{kind}"][: members(rule)])
    return np.nan_to_num(hits(probabilities, tensors["labels/test"]))


def _images(plan: Plan, right: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """(study, arm, image, share of the arm's done runs that are right on it), for every compared arm."""
    runs: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for run in plan.runs:
        if run.fingerprint in right:
            runs[run.study, run.arm].append(right[run.fingerprint])
    for arm, hit in runs.items():
        yield from ((*arm, image, float(share)) for image, share in enumerate(np.mean(hit, axis=0)))


def _average(group: Group, key: tuple[str, int], costs: Mapping[str, float], rows: Rows) -> None:
    """Adds the rows of one group, a study and its seed in `key`."""
    known = group.baseline[0].tensors
    labels: Labelled = (known["labels/validation"].astype(int), known["labels/test"].astype(int))
    greedy, gains = selected(group, labels[0])
    for method in (*methods(group), greedy):
        values = {
            **scored(method, labels),
            "training_flops": sum(costs[run] for run in method.runs),
        }
        values |= gains if method is greedy else {}
        about = (method.name, method.model, method.against)
        rows["ensembles"] += [
            (*key, *about, metric, value) for metric, value in sorted(values.items())
        ]
        rows["sizes"] += [(*key, method.name, *row) for row in _sizes(method, labels[1])]
        rows["reliability"] += [(*key, method.name, *row) for row in _bins(method, labels[1])]


def _group(
    plan: Plan,
    ensemble: PlannedEnsemble,
    seed: int,
    read: Callable[[str], Tensors],
    done: Collection[str],
) -> Group | None:
    """The models of one group; None where one of the baseline's is not done.

    An arm that was trained on another number of images has no place in it: an average with it would see more data.
    """
    own = {
        (one.arm, one.member): one.fingerprint
        for one in plan.members
        if (one.study, one.seed) == (ensemble.name, seed)
    }
    named = {
        run.fingerprint: _label(plan, run)
        for run in reversed(plan.runs)
        if run.seed == seed and run.fingerprint in done
    }
    compared = {
        arm: run for run, arm in reversed(named.items())
    }  # each model once, by its first name
    baseline = [own[BASELINE, member] for member in range(ensemble.size)]
    others = {arm: run for (arm, _), run in own.items() if arm != BASELINE and run in done}
    if any(run not in done for run in baseline):
        return None

    def model(run: str) -> Model:
        tensors = read(run)
        return Model(run, tensors, bytes(tensors["examples/validation"]).hex())

    models = [model(run) for run in baseline]
    images = len(models[0].tensors["labels/train"])
    known = {arm: model(run) for arm, run in compared.items()}
    return Group(
        {arm: one for arm, one in known.items() if len(one.tensors["labels/train"]) == images},
        models,
        {arm: model(run) for arm, run in others.items()},
    )


def _label(plan: Plan, run: PlannedRun) -> str:
    """The arm of a run, with its study where two studies mean different things by it."""
    others = {
        other.fingerprint for other in plan.runs if (other.arm, other.seed) == (run.arm, run.seed)
    }
    return run.arm if len(others) == 1 else f"{run.arm} of {run.study}"


def _sizes(method: Method, labels: Any) -> Iterator[tuple[int, str, float]]:
    in_order = method.model == BASELINE and method.name not in (AVERAGED["crops"], GEOMETRIC)
    return sizes(method, labels) if in_order and len(method.test) > 1 else iter(())


def _bins(method: Method, labels: Any) -> Iterator[tuple[float, ...]]:
    found = reliability(method.average(method.test), labels)
    yield from zip(
        found.low, found.high, found.count, found.confidence, found.accuracy, strict=True
    )


def _records(plan: Plan, folder: Path) -> dict[str, dict[str, Any]]:
    """The records of finished runs, in the order of the plan."""
    records = {
        fingerprint: read_record(folder / fingerprint) for fingerprint in plan.fingerprints()
    }
    return {
        fingerprint: record
        for fingerprint, record in records.items()
        if record and record["state"] == "done"
    }


def _digests(folder: Path, done: list[str]) -> dict[str, str]:
    """Fingerprint -> sha256 of its predictions. Raises Refusal for a run that was not predicted."""
    path = folder / "predictions.json"
    files = read_sealed(path)["files"]
    if missing := [fingerprint for fingerprint in done if _name(fingerprint) not in files]:
        raise Refusal(
            *(
                f"{path}: names no {_name(run)}; needed is a file for every run that is done"
                for run in missing
            )
        )
    return {fingerprint: files[_name(fingerprint)] for fingerprint in done}


def _tensors(folder: Path, fingerprint: str, digests: Mapping[str, str]) -> Tensors:
    """The predictions of one run, once their bytes are the ones that were written. Raises Refusal."""
    path = folder / _name(fingerprint)
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != digests[fingerprint]:
        raise Refusal(
            f"{path}: missing or damaged; needed is the file whose sha256 predictions.json names"
        )
    return load(content)


def _name(fingerprint: str) -> str:
    return f"{fingerprint}.safetensors"


def _scores(tensors: Tensors) -> Iterator[Row]:
    """Every split under every rule: a kind of members and how many of them, noise passes as the test rule has them and all."""
    for key, logits in tensors.items():
        split, _, kind = key.partition("/")
        if split in FOR_THE_GAP or kind in FOR_THE_GAP:
            continue
        rules = {kind if len(logits) == 1 else f"{kind}_{len(logits)}": logits}
        if kind == "noise":
            rules[NOISE] = logits[:NOISE_PASSES]
        for rule, averaged in rules.items():
            probabilities = arithmetic_mean(averaged)
            for metric, score in METRICS.items():
                yield rule, split, metric, score(probabilities, tensors[f"labels/{split}"])


def _gap(tensors: Tensors) -> Iterator[Row]:
    train = {
        key.partition("/")[2]: logits for key, logits in tensors.items() if key.startswith("train/")
    }
    accuracies = {
        kind: member_accuracy(logits, tensors["labels/train"]) for kind, logits in train.items()
    }
    validation = member_accuracy(
        tensors[f"validation/{DETERMINISTIC}"], tensors["labels/validation"]
    )
    for metric, value in gap_parts(accuracies, validation).items():
        yield DETERMINISTIC, "train_validation", metric, value


if __name__ == "__main__":
    sys.exit(stage(main))
