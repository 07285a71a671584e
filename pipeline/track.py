"""Stage 9: mirror every run and the report to Weights & Biases, each once; offline by default.

The stage changes no result: whatever W&B does, it exits with 0 and prints what is left to do.
`python -m pipeline.track PROTOCOL` catches up at any time.
"""

import hashlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config.plan import read_plan
from pipeline.execution.stage import stage
from pipeline.records.rows import read_rows
from pipeline.records.store import Store, open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import to_json, write_text
from pipeline.tracking.payloads import Image, Payload, report_payload, run_payloads
from pipeline.tracking.recorded import recorded_runs
from pipeline.tracking.sync import find_target, print_dry_run, report_problem, sync

ARTIFACTS, REPORTS = Path("artifacts"), Path("reports")
PHASES = ("exploration", "confirmation")


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/tracked.json, then mirror what W&B does not have yet."""
    store = open_store()
    payloads = list(_payloads(protocol, store))
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
    """Print what would be sent; write and send nothing.

    Raises:
        Refusal: A stage is missing, or a run is corrupted.
    """
    store = open_store()
    target = find_target(store.root / "tracked")
    if target is None:
        print("W&B: disabled, nothing would be mirrored")
        return
    payloads = list(_payloads(protocol, store))
    print_dry_run(payloads, target, protocol)


def _payloads(protocol: str, store: Store) -> Iterator[Payload]:
    """Yield every recorded run of the report, then the report."""
    artifacts, reports = ARTIFACTS / protocol, REPORTS / protocol
    plans = [read_plan(artifacts / phase) for phase in PHASES]
    scores = _rows(artifacts / "scores.csv")
    for plan in plans:
        runs = recorded_runs(plan, artifacts / plan.phase, scores, store)
        yield from run_payloads(plan, runs)
    figures = sorted((reports / "figures").glob("*.png"))
    images = {f"figures/{path.stem}": _image(path) for path in figures}
    files = (reports / "report.md", artifacts / "contrasts.csv")
    texts = {path.name: path.read_text(encoding="utf-8") for path in files if path.is_file()}
    yield report_payload(plans, _rows(artifacts / "contrasts.csv"), images, texts)


def _image(path: Path) -> Image:
    return Image(path.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table, None where a number is undefined; none where it is missing."""
    rows = read_rows(path) if path.is_file() else ()
    return [{name: _defined(value) for name, value in row.items()} for row in rows]


def _defined(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    sys.exit(stage(main))
