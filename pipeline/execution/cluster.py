"""Connect to a Ray cluster."""

import contextlib
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config.parameters import PARAMETERS
from pipeline.config.validation import invalid
from pipeline.execution.nodes import EXECUTOR
from pipeline.runtime.errors import Refusal
from pipeline.runtime.signals import TERMINATED
from pipeline.runtime.surroundings import HASHES

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "3",  # one second apart
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # nodes' reports on dead workers: outcomes have the reasons
    "RAY_task_oom_retries": "1",  # without end by default
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray prints a warning otherwise
}
CONNECT_SECONDS = 5.0
ACCESS = "expected the token of its head in ~/.ray/auth_token (RAY_AUTH_TOKEN_PATH: another file)"


@contextlib.contextmanager
def connection(address: str) -> Iterator[Any]:
    """Connect to the cluster within the context; its end stops all tasks of the connection.

    Args:
        address: host:port of its head, or auto for the cluster that this machine belongs to.

    Yields:
        The module `ray`, connected.

    Raises:
        Refusal: Ray is not installed, nothing answers, or the cluster rejects this machine.
    """
    os.environ.update(ENVIRONMENT)
    try:
        import ray
    except ImportError:
        raise Refusal(f"{EXECUTOR}: Ray is not installed; run: pip install '.[ray]'") from None
    _require_listener(address)
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        _connect(ray, address)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray has installed its own
        yield ray
    except SystemExit:
        raise SystemExit(TERMINATED) from None  # Ray's handler uses another exit code
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    try:
        with _silent():
            ray.init(
                address,
                log_to_driver=False,
                logging_level="ERROR",
                namespace="gapwise",
                runtime_env={"env_vars": HASHES},
            )
    except ray.exceptions.AuthenticationError:
        raise Refusal(f"{EXECUTOR}: no token for the cluster here; {ACCESS}") from None
    except ConnectionError:
        raise Refusal(
            f"{EXECUTOR}: {address} is not a Ray cluster, or it rejects the token; {ACCESS}"
        ) from None
    except (RuntimeError, ValueError) as error:  # other versions, no node on this machine
        raise Refusal(f"{EXECUTOR}: the cluster at {address}: {error}") from None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Drop the output of Ray's own threads on the standard error."""
    original = os.dup(2)
    null_device = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null_device, 2)
    os.close(null_device)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)


def _require_listener(address: str) -> None:
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
