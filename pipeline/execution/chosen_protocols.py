"""Reproduce protocols that `params.yaml` does not name, and restore the file afterwards.

DVC takes the stages only from the list of protocols in that file. The file names the chosen
protocols while DVC runs. Its former content is kept beside the lock of the run: after a kill, the
next run restores it.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ruamel.yaml import YAML

from pipeline.config.parameters import PARAMETERS, read_parameters
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, write_bytes, write_sealed
from pipeline.runtime.locks import RUN_LOCK, exclusive_lock

SNAPSHOT = RUN_LOCK.with_name("params.json")


@contextmanager
def named_in_parameters(protocols: Sequence[str]) -> Iterator[None]:
    """Name only these protocols in `params.yaml` within the context.

    Args:
        protocols: Names of protocols.
    """
    if list(read_parameters().protocols) == list(protocols):
        yield
        return
    before = PARAMETERS.read_bytes()
    during = _naming(before, protocols)
    write_sealed(SNAPSHOT, {"before": before.decode(), "during": during.decode()})
    write_bytes(PARAMETERS, during)
    try:
        yield
    finally:
        _restore()


def restore_parameters() -> None:
    """Restore `params.yaml` after a run was killed, unless it was edited since.

    Raises:
        Refusal: A run is in progress.
    """
    if SNAPSHOT.exists():
        with exclusive_lock():
            _restore()


def _restore() -> None:
    try:
        snapshot = read_sealed(SNAPSHOT)
    except Refusal:  # corrupted by a power failure
        snapshot = {}
    if snapshot and PARAMETERS.read_bytes() == snapshot["during"].encode():
        write_bytes(PARAMETERS, snapshot["before"].encode())
    SNAPSHOT.unlink(missing_ok=True)


def _naming(content: bytes, protocols: Sequence[str]) -> bytes:
    """Return `params.yaml` with another list of protocols, its comments kept."""
    yaml = YAML()
    document = yaml.load(content.decode())
    document["protocols"] = list(protocols)
    buffer = io.BytesIO()
    yaml.dump(document, buffer)
    return buffer.getvalue()
