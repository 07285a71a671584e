"""A default run needs no network; that a connection would be noticed is tried with planted ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from watched import watching

FAULTS = {
    "connect": "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)",
    "name": "import socket; socket.getaddrinfo('example.org', 80)",
    "http": "import urllib.request; urllib.request.urlopen('http://192.0.2.1', timeout=1)",
    "datagram": "import socket; sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
    "sender.sendto(b'x', ('192.0.2.1', 53))",
}


def test_a_default_run_uses_no_network(first_run):
    ended = json.loads((first_run / "run.json").read_text())
    assert ended["code"] == 0, ended["output"] + ended["errors"]
    assert "W&B: mirrored 50 runs offline" in ended["output"]
    assert ended["seen"] == ""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_connection_would_be_seen(tmp_path, fault):
    watched = watching(tmp_path)
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
