"""Time and memory of compare and report by the number of runs, on synthetic scores.

Bar: 10,000 runs under 60 seconds and 1 GB for both together, on one processor, and linear in the
number of runs. Ten studies of ten arms, half of them with noise passes; the number of seeds grows.
Writes scale.json and scale.png in benchmarks/results.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline import evaluate
from pipeline.config.plan import Factor, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.test_rules import DETERMINISTIC, NOISE, TestRule
from pipeline.evaluation.metrics import METRICS
from pipeline.records.runs import write_record
from pipeline.records.tables import write_table
from pipeline.reporting.style import WIDTH, png, style
from pipeline.runtime.files import write_sealed

STUDIES, ARMS, IMAGES, EPOCHS, PASSES = 10, 10, 1000, 10, 20
SEEDS = (10, 25, 50, 100)  # with a hundred arms: 1,000 to 10,000 runs, and the baseline's
SECONDS, MEGABYTES = 60, 1000
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "scale.json"
STAGE = """
import os, runpy, sys
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
sys.argv[1:] = ["big"]
runpy.run_module("pipeline.{verb}", run_name="__main__")
"""
GAPS = ("gap", "gap_noise", "gap_augmentation", "gap_observed")
SPLITS = ("train", "validation", "test")


def planned(seeds: int) -> Plan:
    """Return a confirmation plan with that number of seeds."""
    studies = tuple(
        PlannedStudy(name=f"study_{study}", question="Does it help?", arms=tuple(_arms(study)))
        for study in range(STUDIES)
    )
    runs = tuple(
        PlannedRun(
            study=study.name, arm=arm.name, seed=1000 + seed, fingerprint=f"{arm.name}-{seed}"
        )
        for study in studies
        for arm in study.arms
        for seed in range(seeds)
    )
    settings = {
        "data": {"dataset": "synthetic", "train_size": 1000},
        "model": {"name": "none"},
        "training": {"epochs": EPOCHS},
    }
    return Plan(
        protocol="big",
        phase="confirmation",
        settings=settings,
        margin=0.01,
        data_digest="",
        studies=studies,
        runs=runs,
    )


def write(folder: Path, seeds: int) -> int:
    """Write everything that compare and report read; return the number of runs."""
    plan, generator = planned(seeds), np.random.default_rng(seeds)
    for phase in ("exploration", "confirmation"):
        (folder / phase).mkdir(parents=True)
        kept = (
            plan
            if phase == "confirmation"
            else plan.model_copy(update={"phase": phase, "runs": (), "studies": ()})
        )
        write_sealed(folder / phase / "plan.json", kept.model_dump(mode="json"))
    runs = plan.fingerprints()
    skill = {name: generator.normal(0.9, 0.01) for name in runs}
    for name in runs:
        _record(folder / "confirmation" / name, skill[name])
    rules = plan.rules()
    tables = {
        "scores": [row for name in runs for row in _scores(name, rules[name], skill[name])],
        "passes": [
            row for name in runs if rules[name] == NOISE for row in _passes(name, skill[name])
        ],
        "images": list(_images(plan, generator)),
    }
    for name, columns in evaluate.COLUMNS.items():
        write_table(
            folder / f"{name}.csv", pd.DataFrame(tables.get(name, []), columns=list(columns))
        )
    write_sealed(folder / "choice.json", {"choice": {}, "tuned": {}, "tried": [], "searches": []})
    use = {
        "phase": "confirmation",
        "runs": len(runs),
        "fingerprints": [],
        "test_examples": IMAGES,
        "validation_examples": IMAGES,
    }
    write_sealed(folder / "test_use.json", use)
    (folder / "data").mkdir()
    data = {"development": 10 * IMAGES, "validation": 0, "notes": []}
    write_sealed(folder / "data" / "data.json", data)
    return len(runs)


def _arms(study: int) -> Iterator[PlannedArm]:
    yield PlannedArm(name="baseline")
    for arm in range(ARMS):
        rule = NOISE if arm % 2 else DETERMINISTIC
        yield PlannedArm(
            name=f"arm_{study}_{arm}", factor=Factor(regularizers=("something",)), rule=rule
        )


def _record(folder: Path, skill: float) -> None:
    folder.mkdir()
    cost = {"training_flops": 10**9, "updates": 200, "forward_flops": 10**6}
    record = {
        "state": "done",
        "reason": "",
        "cost": cost,
        "machine": {},
        "files": {},
        "audit": {"noise": {"rate": skill}},
    }
    write_record(folder, record)
    rows = [
        {
            "epoch": epoch,
            "updates": 20 * epoch,
            "split": split,
            "loss": 1 / epoch,
            "accuracy": skill - 1 / (9 + epoch),
        }
        for epoch in range(1, EPOCHS + 1)
        for split in SPLITS[:2]
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _scores(
    name: str, rule: TestRule, skill: float
) -> Iterator[tuple[str, str, int, str, str, float]]:
    for view_rule in dict.fromkeys((DETERMINISTIC, rule)):
        yield from (
            (name, view_rule.view, view_rule.members, split, metric, skill)
            for split in SPLITS
            for metric in METRICS
        )
    yield from ((name, "deterministic", 1, "train_validation", gap, 1 - skill) for gap in GAPS)


def _passes(name: str, skill: float) -> Iterator[tuple[str, int, str, float]]:
    yield from (
        (name, number, metric, skill)
        for number in range(1, PASSES + 1)
        for metric in ("accuracy", "nll")
    )


def _images(plan: Plan, generator: np.random.Generator) -> Iterator[tuple[str, str, int, float]]:
    for study, arm in plan.arms():
        yield from (
            (study, arm.name, image, share) for image, share in enumerate(generator.random(IMAGES))
        )


def measured(verb: str, folder: Path) -> tuple[float, float]:
    """Return wall seconds and peak megabytes of one stage, on one processor."""
    environment = {"PYTHONPATH": str(ROOT), "GAPWISE_STORE": str(folder / "store")}
    code = STAGE.format(verb=verb)
    began = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=os.environ | environment)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{verb} failed with status {status}")
    return time.perf_counter() - began, usage.ru_maxrss / 1000


def draw(rows: Sequence[Mapping[str, float]]) -> None:
    """Draw seconds over the number of runs."""
    with style():
        figure = Figure(figsize=(WIDTH, 4), layout="constrained")
        axes = figure.subplots()
        for name, marker in (("seconds", "o"), ("compare_seconds", "s")):
            label = "compare and report" if name == "seconds" else "compare alone"
            axes.plot(
                [row["runs"] for row in rows],
                [row[name] for row in rows],
                marker=marker,
                label=label,
            )
        axes.axhline(SECONDS, color="#888888", linestyle="--", label="bar")
        axes.set(xlabel="runs", ylabel="seconds on one processor", xlim=(0, None), ylim=(0, None))
        figure.legend(loc="outside lower center", ncols=3)
    RESULT.with_suffix(".png").write_bytes(png(figure))


def main() -> None:
    """Measure every size; write seconds and megabytes."""
    rows = []
    for seeds in SEEDS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            runs = write(folder / "artifacts" / "big", seeds)
            measurements = {verb: measured(verb, folder) for verb in ("compare", "report")}
        row = {
            "runs": runs,
            **{f"{verb}_seconds": round(seconds, 1) for verb, (seconds, _) in measurements.items()},
        }
        row |= {"seconds": round(sum(seconds for seconds, _ in measurements.values()), 1)}
        rows.append(
            row | {"megabytes": round(max(megabytes for _, megabytes in measurements.values()))}
        )
        print(json.dumps(rows[-1]), flush=True)
    draw(rows)
    RESULT.write_text(
        json.dumps({"bars": {"seconds": SECONDS, "megabytes": MEGABYTES}, "sizes": rows}, indent=1)
        + "\n"
    )


if __name__ == "__main__":
    main()
