"""Stage 3: chooses each arm's strength from the exploration runs, on their validation splits alone.

A stage of its own so that the choice is written down before any confirmation run exists: nothing here
reads test examples, or could.
"""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.numpy import load_file

from pipeline.comparison.selection import choice, tried
from pipeline.config.plan import Plan, read_plan
from pipeline.evaluation.averaging import arithmetic_mean
from pipeline.evaluation.metrics import accuracy, nll
from pipeline.execution.stage import stage
from pipeline.records.store import checked_record
from pipeline.runtime.files import write_sealed

ARTIFACTS = Path("artifacts")


def main(protocol: str) -> None:
    """Writes `artifacts/<protocol>/choice.json`: the choice, and the whole table of tried strengths."""
    folder = ARTIFACTS / protocol
    plan = read_plan(folder / "exploration")
    table = tried(_runs(plan, folder / "exploration"))
    chosen = choice(table)
    content = {
        "choice": {study.name: chosen.get(study.name, {}) for study in plan.studies},
        "tried": _rows(table),
    }
    write_sealed(folder / "choice.json", content)
    for study in chosen.values():
        for arm, strength in study.items():
            print(
                f"{arm}: {strength} chosen"
                if strength
                else f"{arm}: nothing chosen, every strength has lost a run"
            )


def _runs(plan: Plan, folder: Path) -> pd.DataFrame:
    """One row per planned run with its state and its validation scores, NaN where it is not done."""
    scores = {fingerprint: _score(folder / fingerprint) for fingerprint in plan.fingerprints()}
    rows = [(run.study, run.arm, run.strength, *scores[run.fingerprint]) for run in plan.runs]
    return pd.DataFrame(
        rows, columns=["study", "arm", "strength", "state", "validation_accuracy", "validation_nll"]
    )


def _score(folder: Path) -> tuple[str, float, float]:
    """State, validation accuracy and validation NLL of one run, under the test rule its logits were made with."""
    record = checked_record(folder)
    if record is None or record["state"] != "done":
        return record["state"] if record else "missing", float("nan"), float("nan")
    stored = load_file(folder / "validation.safetensors")
    probabilities = arithmetic_mean(stored["logits"])
    return "done", accuracy(probabilities, stored["labels"]), nll(probabilities, stored["labels"])


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Plain values for JSON, where an undefined number is null."""
    rows: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows


if __name__ == "__main__":
    sys.exit(stage(main))
