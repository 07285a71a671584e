"""Minutes of training behind every report: the seconds of its runs, shared by two workers.

Runs are timed when they are trained; other work on the machine makes them slower. Reads the plans
in artifacts/ and the run store, and updates the entries of these reports in
benchmarks/results/reports.json. README's column of minutes is from this file.
"""

import json
from pathlib import Path

from pipeline.config.plan import read_plan
from pipeline.records.store import Store, open_store

WORKERS = 2
PHASES = ("exploration", "confirmation")
ARTIFACTS = Path("artifacts")
RESULT = Path(__file__).parent / "results" / "reports.json"


def minutes(folder: Path, store: Store) -> dict[str, float | int]:
    """Return the runs of a report, how many of them have a time, and their minutes.

    Args:
        folder: The artifacts of the report.
        store: The run store.
    """
    names = {name for phase in PHASES for name in read_plan(folder / phase).trained()}
    seconds = [store.timing(name).get("seconds") for name in sorted(names)]
    timed = [value for value in seconds if value is not None]
    return {"runs": len(names), "timed": len(timed), "minutes": round(sum(timed) / 60 / WORKERS, 1)}


def main() -> None:
    """Measure the reports with artifacts here, and keep the entries of all others."""
    measured = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    reports = measured.get("reports", {})
    store = open_store()
    for plan in sorted(ARTIFACTS.glob("*/confirmation/plan.json")):
        folder = plan.parent.parent
        reports[folder.name] = minutes(folder, store)
        print(folder.name, json.dumps(reports[folder.name]))
    ordered = dict(sorted(reports.items()))
    RESULT.write_text(json.dumps({"workers": WORKERS, "reports": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
