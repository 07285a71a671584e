"""Mirrors every run and the report to Weights & Biases: offline unless told otherwise, each thing once.

A stage of its own because it changes no result: whatever W&B does, the stage ends well and says in one
line what is left to do. `python -m pipeline.track PROTOCOL` catches up at any time.
"""

import hashlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.parameters import Tracking, read_parameters
from pipeline.config.plan import read_plan
from pipeline.execution.stage import guarded, stage
from pipeline.records.store import Store, open_store, read_file, read_history, read_record
from pipeline.records.tables import read_table
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import to_json, write_text
from pipeline.tracking.mirror import MODES, Mirror, folder_of, mode_of
from pipeline.tracking.payloads import Image, Payload, Recorded, report_payload, run_payloads

ARTIFACTS, REPORTS = Path("artifacts"), Path("reports")
PHASES = ("exploration", "confirmation")
DVC_STAGE = "DVC_STAGE"  # in the environment of a stage that DVC runs
PATIENCE = 30.0  # seconds

Sent = dict[str, str]  # id -> digest of what was sent


def main(protocol: str) -> None:
    """Writes `artifacts/<protocol>/tracked.json`, then mirrors what W&B does not have yet. Raises Refusal."""
    tracking, store = read_parameters().tracking, open_store()
    payloads = list(_payloads(ARTIFACTS / protocol, REPORTS / protocol, store))
    write_text(
        ARTIFACTS / protocol / "tracked.json",
        to_json({"ids": sorted(payload.id for payload in payloads)}),
    )
    mode = mode_of(tracking)
    if mode == "disabled":
        print("W&B: disabled, nothing mirrored")
    elif mode in ("offline", "online"):
        _mirror(
            payloads, tracking.model_copy(update={"wandb": mode}), store.root / "tracked", protocol
        )
    else:
        _complain(_refused(mode), protocol)


def foretell(protocols: Sequence[str]) -> None:
    """Says what would be sent for these protocols, or for all in `params.yaml`; writes and sends nothing. Raises Refusal."""
    tracking, store = read_parameters().tracking, open_store()
    mode = mode_of(tracking)
    if mode not in MODES:
        raise Refusal(_refused(mode))
    if mode == "disabled":
        print("W&B: disabled, nothing would be mirrored")
        return
    place = (
        f"{tracking.entity or 'your default entity'}/{tracking.project}"
        if mode == "online"
        else str(folder_of() / "wandb")
    )
    memory = store.root / "tracked" / _memory_name(tracking.model_copy(update={"wandb": mode}))
    for protocol in protocols or read_parameters().protocols:
        payloads = list(_payloads(ARTIFACTS / protocol, REPORTS / protocol, store))
        new = _new(
            payloads, _read_sent(memory), folder_of() / "wandb" if mode == "offline" else None
        )
        for (group, kind), count in sorted(
            Counter((item.group, item.job_type) for item in new).items()
        ):
            print(f"{group}: {count} {kind}")
        print(
            f"{protocol}: {len(new)} of {len(payloads)} runs would be mirrored {mode}, to {place}; nothing was sent"
        )


def _refused(mode: str) -> str:
    return f"WANDB_MODE: {mode!r} is refused; allowed are {', '.join(MODES)}"


def _mirror(payloads: Sequence[Payload], tracking: Tracking, memory: Path, protocol: str) -> None:
    """Sends what is new and prints the one line that says how it went."""
    folder = folder_of()
    there, offline = folder / "wandb", tracking.wandb == "offline"
    path = memory / _memory_name(tracking)
    new = _new(payloads, _read_sent(path), there if offline else None)
    count, trouble = _send(new, tracking, folder, path)
    if trouble:
        _complain(
            f"{trouble}; mirrored {count} of {len(new)} runs; the results are complete", protocol
        )
        return
    send = f"; send: wandb sync {there}/offline-run-*" if offline else ""
    print(
        f"W&B: mirrored {count} runs {tracking.wandb}, {len(payloads) - count} were; look: wandb leet {there}{send}"
    )


def _send(
    payloads: Sequence[Payload], tracking: Tracking, folder: Path, memory: Path
) -> tuple[int, str]:
    """How many were sent, and what went wrong, empty where nothing did. Every one sent is remembered at once.

    A run of the pipeline waits so long for a server and no longer; the command goes on to the end.
    """
    mirror = Mirror(
        "online" if tracking.wandb == "online" else "offline",
        tracking.project,
        tracking.entity,
        str(folder),
    )
    count, began, in_pipeline = (
        0,
        time.monotonic(),
        tracking.wandb == "online" and DVC_STAGE in os.environ,
    )
    try:
        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        for payload in payloads:
            if in_pipeline and time.monotonic() - began > PATIENCE:
                return count, f"slow, {PATIENCE:g} s were enough"
            if mirror.send(payload):
                count += 1
                _remember(memory, payload)
    except OSError as error:
        return count, str(error)
    finally:
        mirror.close()
    refused = [f"{name} was refused ({reason})" for name, reason in mirror.refused.items()]
    return count, mirror.trouble or "; ".join(
        refused[:1] + [f"so were {len(refused) - 1} others"] * (len(refused) > 1)
    )


def _new(payloads: Sequence[Payload], sent: Sent, offline: Path | None) -> list[Payload]:
    """What was not sent yet, or not like this; and what is no longer in the folder of offline runs."""
    paths = offline.glob("offline-run-*/run-*.wandb") if offline else ()
    there = {path.stem.removeprefix("run-") for path in paths}
    return [
        item
        for item in payloads
        if sent.get(item.id) != item.digest() or (offline and item.id not in there)
    ]


def _memory_name(tracking: Tracking) -> str:
    name = f"{tracking.wandb}-{tracking.project}-{tracking.entity or 'default'}"
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.json"


def _read_sent(path: Path) -> Sent:
    """Empty where nothing was sent, or where the file is damaged: sending twice does no harm."""
    try:
        sent = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return sent if isinstance(sent, dict) else {}


def _remember(path: Path, payload: Payload) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, to_json({**_read_sent(path), payload.id: payload.digest()}))


def _payloads(artifacts: Path, reports: Path, store: Store) -> Iterator[Payload]:
    """Every recorded run of the report, then the report itself."""
    plans = [read_plan(artifacts / phase) for phase in PHASES]
    scores = _scores(artifacts / "scores.csv")
    for plan in plans:
        folders = {name: artifacts / plan.phase / name for name in plan.fingerprints()}
        found = {
            name: _recorded(folder, scores.get(name, []), store) for name, folder in folders.items()
        }
        yield from run_payloads(plan, {name: run for name, run in found.items() if run})
    yield report_payload(
        plans, _rows(artifacts / "contrasts.csv"), _images(reports), _texts(artifacts, reports)
    )


def _recorded(folder: Path, scores: Sequence[dict[str, Any]], store: Store) -> Recorded | None:
    record = read_record(folder)
    if record is None:
        return None
    identity = json.loads(read_file(folder, "run.json") or b"{}")
    return Recorded(record, read_history(folder), identity, scores, store.timing(folder.name))


def _scores(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Fingerprint -> its rows."""
    scores: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(path):
        scores.setdefault(row["fingerprint"], []).append(row)
    return scores


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table as plain values, None where a cell is empty; no rows where there is no table."""
    if not path.is_file():
        return []
    table = read_table(path)
    rows: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows


def _images(reports: Path) -> dict[str, Image]:
    paths = sorted((reports / "figures").glob("*.png"))
    return {
        f"figures/{path.stem}": Image(
            path.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in paths
    }


def _texts(artifacts: Path, reports: Path) -> dict[str, str]:
    paths = (reports / "report.md", artifacts / "contrasts.csv")
    return {path.name: path.read_text(encoding="utf-8") for path in paths if path.is_file()}


def _complain(trouble: str, protocol: str) -> None:
    login = "wandb login, and " if "API key" in trouble else ""
    print(f"W&B: {trouble}; run: {login}gapwise track {protocol}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(
        guarded(lambda: foretell(sys.argv[2:])) if "--dry-run" in sys.argv[1:2] else stage(main)
    )
