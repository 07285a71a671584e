"""W&B absent, silent or broken: a line says why nothing was sent; the time lost is bounded."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
from loopback import Server, absent, answering, silent
from waiting import PATIENCE

from pipeline.tracking import mirror

SCRIPT = """
import json, sys, time
from pipeline.tracking import mirror as module
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.payloads import Payload
module.PATIENCE = float(sys.argv[2])
words = {"id": "abc123", "group": "dropout", "job_type": "confirmation", "name": "one"}
payload = Payload(**words, notes="", tags=(), config={}, summary={})
mirror, began = Mirror("online", "gapwise", None, sys.argv[1]), time.monotonic()
sent = mirror.send(payload)
mirror.close()
print(json.dumps({"sent": sent, "trouble": mirror.trouble, "seconds": time.monotonic() - began}))
"""
CANARY = "canary" * 7  # a key has at least forty characters


def mirrored(address, folder, key=CANARY, patience=3):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    folders = {f"WANDB_{name}_DIR": str(folder / "home") for name in ("DATA", "CACHE", "CONFIG")}
    given = {
        **kept,
        **folders,
        "HOME": str(folder / "home"),
        "WANDB_BASE_URL": address,
        "NETRC": str(folder / "netrc"),
    }
    given |= {"WANDB_API_KEY": key} if key else {}
    command = [sys.executable, "-c", SCRIPT, str(folder), str(patience)]
    ended = subprocess.run(
        command, env=given, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return ended, json.loads(ended.stdout.splitlines()[-1])


@contextlib.contextmanager
def unknown():
    """Return a name that no server of names resolves."""
    yield Server("http://no-such-host.invalid")


SERVERS = {
    "absent": absent,
    "silent": silent,
    "unknown": unknown,
    "error": lambda: answering(500),
    "nothing": lambda: answering(200, {"data": None}),
    "refusing": lambda: answering(401),
}
ASKED = ("error", "nothing", "refusing")  # these hear something


def test_a_run_takes_half_a_minute_at_most():
    """The two deadlines that hold whatever W&B does, and W&B's own patience within the first."""
    assert mirror.PATIENCE < mirror.SEND_SECONDS
    assert mirror.SEND_SECONDS + mirror.CLOSE_SECONDS <= 30


@pytest.mark.parametrize("name", SERVERS)
def test_whatever_the_server_does_there_is_one_line_and_an_end(name, tmp_path):
    with SERVERS[name]() as heard:
        ended, output = mirrored(heard.address, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert not output["sent"]
    assert output["trouble"]
    assert "WANDB_API_KEY" not in output["trouble"]
    assert "\n" not in output["trouble"]
    assert output["seconds"] <= 30
    assert bool(heard.requests) == (name in ASKED)
    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not [
        text for text in [ended.stdout.encode(), ended.stderr.encode(), *left] if b"canary" in text
    ]


def test_without_a_key_it_does_not_ask(tmp_path):
    with absent() as heard:
        ended, output = mirrored(heard.address, tmp_path, key="")
    assert ended.returncode == 0
    assert not output["sent"]
    assert output["trouble"]
    assert output["seconds"] <= 30
