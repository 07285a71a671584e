"""Stage 3: choose each arm's setting from the exploration runs, on their validation splits alone.

The choice is written down before any confirmation run exists.
"""

import sys
from math import nan
from pathlib import Path

import pandas as pd
from safetensors.numpy import load_file

from pipeline.comparison.selection import choice, tried
from pipeline.config.labels import format_setting
from pipeline.config.plan import Plan, read_plan
from pipeline.evaluation.averaging import arithmetic_mean
from pipeline.evaluation.metrics import accuracy, nll
from pipeline.execution.stage import stage
from pipeline.records.runs import checked_record
from pipeline.records.tables import plain_rows
from pipeline.runtime.files import write_sealed

ARTIFACTS = Path("artifacts")
SCORES = ("state", "validation_accuracy", "validation_nll")


def main(protocol: str) -> None:
    """Write `artifacts/<protocol>/choice.json`: the choice, and the table of all settings tried."""
    folder = ARTIFACTS / protocol
    plan = read_plan(folder / "exploration")
    table = tried(_runs(plan, folder / "exploration"))
    chosen = choice(table)
    content = {
        "choice": {study.name: chosen.get(study.name, {}) for study in plan.studies},
        "tried": plain_rows(table),
    }
    write_sealed(folder / "choice.json", content)
    for study in chosen.values():
        for arm, setting in study.items():
            if setting is None:
                print(f"{arm}: nothing chosen, every setting has lost a run")
            else:
                print(f"{arm}: {format_setting(setting)} chosen")


def _runs(plan: Plan, folder: Path) -> pd.DataFrame:
    """Return one row per planned run: its state and validation scores, NaN if it is not done."""
    scores = {run: _score(folder / run) for run in plan.fingerprints()}
    rows = [(run.study, run.arm, run.setting, *scores[run.fingerprint]) for run in plan.runs]
    return pd.DataFrame(rows, columns=["study", "arm", "setting", *SCORES])


def _score(folder: Path) -> tuple[str, float, float]:
    """Return state, validation accuracy and validation NLL of one run, under its test rule."""
    record = checked_record(folder)
    if record is None or record["state"] != "done":
        return record["state"] if record else "missing", nan, nan
    stored = load_file(folder / "validation.safetensors")
    probabilities = arithmetic_mean(stored["logits"])
    return "done", accuracy(probabilities, stored["labels"]), nll(probabilities, stored["labels"])


if __name__ == "__main__":
    sys.exit(stage(main))
