"""Check whether a cluster answers at an address."""

import os
import socket
import tempfile
from pathlib import Path

from pipeline.config.parameters import PARAMETERS
from pipeline.config.validation import invalid
from pipeline.runtime.errors import Refusal

CONNECT_SECONDS = 5.0


def require_listener(address: str) -> None:
    """Check that something listens at the address of a cluster.

    `ray.init` tries for minutes where nothing does and then ends the process.

    Raises:
        Refusal: Nothing listens there.
    """
    place = address
    if address == "auto":
        place = os.environ.get("RAY_ADDRESS") or _last_address()
    host, _, port = place.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port or 0)), CONNECT_SECONDS).close()
    except OSError as error:
        reason = f"nothing answers at {place}: {error.strerror or error}" if place else "none here"
        expected = f"a running cluster that this machine belongs to ({reason}); run: ray start"
        raise Refusal(invalid(f"{PARAMETERS}: execution.address", address, expected)) from None


def _last_address() -> str:
    """Return the address at which `ray start` was last used on this machine."""
    folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    file = Path(folder, "ray", "ray_current_cluster")
    return file.read_text() if file.exists() else ""
