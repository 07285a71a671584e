"""Stage 3: choose each arm's setting from the exploration runs, on their validation splits alone.

The choice is written down before any confirmation run exists.
"""

import sys
from pathlib import Path

import pandas as pd

from pipeline.comparison.selection import choice, searches, tried
from pipeline.config.labels import format_setting
from pipeline.config.plan import BASELINE, PROTOCOL, TUNING, Plan, read_plan
from pipeline.evaluation.validation import validation_score
from pipeline.execution.stage import stage
from pipeline.records.tables import plain_rows
from pipeline.runtime.files import write_sealed

ARTIFACTS = Path("artifacts")
COLUMNS = (
    *("study", "arm", "setting", "budget", "seed", "state"),
    *("validation_accuracy", "validation_nll"),
)


def main(protocol: str) -> None:
    """Write `artifacts/<protocol>/choice.json`.

    It has the choice, the tuned values of the protocol, the table of all settings tried and that of
    searches.
    """
    folder = ARTIFACTS / protocol
    plan = read_plan(folder / "exploration")
    runs = _runs(plan, folder / "exploration")
    table = tried(plan, runs)
    chosen = choice(table)
    tuned = chosen.get(TUNING, {}).get(BASELINE) or {}
    content = {
        "choice": {study.name: chosen.get(study.name, {}) for study in plan.studies},
        "tuned": tuned.get(PROTOCOL, {}),
        "tried": plain_rows(table),
        "searches": plain_rows(searches(plan, table, runs)),
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
    scores = {name: validation_score(folder / name) for name in plan.fingerprints()}
    rows = []
    for run in plan.runs:
        score = scores[run.fingerprint]
        place = run.study, run.arm, run.setting, run.budget, run.seed
        rows.append((*place, score.state, score.accuracy, score.nll))
    return pd.DataFrame(rows, columns=list(COLUMNS))


if __name__ == "__main__":
    sys.exit(stage(main))
