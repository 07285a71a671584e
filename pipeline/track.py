"""Stage 9: mirror every run and the report to Weights & Biases, each once; offline by default.

The stage changes no result: whatever W&B does, it exits with 0 and prints what is left to do.
`python -m pipeline.track PROTOCOL` catches up at any time.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.plan import read_plan
from pipeline.execution.stage import stage
from pipeline.records.store import Store, open_store, read_file, read_history, read_record
from pipeline.records.tables import read_table
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import to_json, write_text
from pipeline.tracking.payloads import Image, Payload, Recorded, report_payload, run_payloads
from pipeline.tracking.sync import find_target, print_dry_run, report_problem, sync

ARTIFACTS, REPORTS = Path("artifacts"), Path("reports")
PHASES = ("exploration", "confirmation")


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/tracked.json, then mirror what W&B does not have yet."""
    store = open_store()
    payloads = list(_payloads(ARTIFACTS / protocol, REPORTS / protocol, store))
    ids = sorted(payload.id for payload in payloads)
    write_text(ARTIFACTS / protocol / "tracked.json", to_json({"ids": ids}))
    try:
        target = find_target(store.root / "tracked")
    except Refusal as refusal:
        report_problem(str(refusal), protocol)
        return
    if target is None:
        print("W&B: disabled, nothing mirrored")
    else:
        target.memory.parent.mkdir(parents=True, exist_ok=True)
        sync(payloads, target, protocol, hurried="DVC_STAGE" in os.environ)


def dry_run(protocol: str) -> None:
    """Print what would be sent; write and send nothing. Raise Refusal."""
    store = open_store()
    target = find_target(store.root / "tracked")
    if target is None:
        print("W&B: disabled, nothing would be mirrored")
        return
    payloads = list(_payloads(ARTIFACTS / protocol, REPORTS / protocol, store))
    print_dry_run(payloads, target, protocol)


def _payloads(artifacts: Path, reports: Path, store: Store) -> Iterator[Payload]:
    """Yield every recorded run of the report, then the report."""
    plans = [read_plan(artifacts / phase) for phase in PHASES]
    scores: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(artifacts / "scores.csv"):
        scores.setdefault(row["fingerprint"], []).append(row)
    for plan in plans:
        runs = {
            name: _recorded(artifacts / plan.phase / name, scores.get(name, []), store)
            for name in plan.fingerprints()
        }
        yield from run_payloads(plan, {name: run for name, run in runs.items() if run})
    figures = sorted((reports / "figures").glob("*.png"))
    images = {
        f"figures/{path.stem}": Image(
            path.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in figures
    }
    files = [
        path for path in (reports / "report.md", artifacts / "contrasts.csv") if path.is_file()
    ]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    yield report_payload(plans, _rows(artifacts / "contrasts.csv"), images, texts)


def _recorded(folder: Path, scores: Sequence[dict[str, Any]], store: Store) -> Recorded | None:
    record = read_record(folder)
    if record is None:
        return None
    identity = json.loads(read_file(folder, "run.json") or b"{}")
    return Recorded(record, read_history(folder), identity, scores, store.timing(folder.name))


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table, None for an empty cell; no rows where there is no table."""
    if not path.is_file():
        return []
    table = read_table(path)
    rows: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows


if __name__ == "__main__":
    sys.exit(stage(main))
