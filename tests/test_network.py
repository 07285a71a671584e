"""A default run needs no network: Weights & Biases offline, DVC without telemetry, data that comes with scikit-learn."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import RUN, write_checkout

WATCH = """
import os, sys

def watch(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.gethostbyname":
        wanted = str(arguments[0])
        fine = wanted in ("None", "localhost", "127.0.0.1", "::1", "")
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        wanted = str(address)
        fine = not isinstance(address, tuple) or address[0].startswith("127.") or address[0] in ("::1", "localhost")
    else:
        return
    if not fine:
        with open(os.environ["SEEN"], "a") as file:
            file.write(f"{sys.argv}: {event} {wanted}\\n")
        raise SystemExit(f"no network: {event} {wanted}")

sys.addaudithook(watch)
"""
ALONE = ("unshare", "--user", "--map-root-user", "--net")
FAULTS = {
    "connect": "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)",
    "name": "import socket; socket.getaddrinfo('example.org', 80)",
    "http": "import urllib.request; urllib.request.urlopen('http://192.0.2.1', timeout=1)",
    "datagram": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
}


@pytest.fixture
def watched(environment, tmp_path):
    """Return an environment in which a connection to elsewhere ends every Python process.

    It also writes the connection down.
    """
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    (tmp_path / "seen").touch()
    kept = {key: value for key, value in environment.items() if key != "WANDB_MODE"}
    return kept | {"PYTHONPATH": str(tmp_path / "watch"), "SEEN": str(tmp_path / "seen")}


def namespace() -> tuple[str, ...]:
    """Return the start of a command without any network, where the system allows that."""
    tried = (
        subprocess.run([*ALONE, "true"], capture_output=True, check=False)
        if sys.platform.startswith("linux")
        else None
    )
    return ALONE if tried is not None and not tried.returncode else ()


def test_a_default_run_uses_no_network(watched, tmp_path):
    write_checkout(tmp_path / "project", wandb="offline")
    done = subprocess.run(
        [*namespace(), *RUN],
        cwd=tmp_path / "project",
        env=watched,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "W&B: mirrored 47 runs offline" in done.stdout
    assert Path(watched["SEEN"]).read_text() == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_connection_would_be_seen(watched, fault):
    done = subprocess.run(
        [sys.executable, "-c", FAULTS[fault]],
        env=watched,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no network: socket." in done.stderr
    assert "socket." in Path(watched["SEEN"]).read_text()
