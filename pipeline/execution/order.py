"""Order runs, longest first, so that no worker is left alone with a long one at the end.

Graham, Bounds on Multiprocessing Timing Anomalies, SIAM J. Appl. Math. 17, 1969: longest first ends
at most a third later than the best order.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.records.store import Store

KIND = ("model", "training", "regularizers")  # the sections that decide how long an image takes


def longest_first(
    jobs: Sequence[dict[str, Any]], rates: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return jobs by the seconds they will take, longest first.

    Args:
        jobs: The jobs, with the identities of their runs.
        rates: Seconds per image, by kind of run.
    """
    usual = statistics.median(rates.values()) if rates else 1.0

    def seconds(job: dict[str, Any]) -> float:
        return rates.get(_kind(job["identity"]), usual) * images(job["identity"])

    return sorted(jobs, key=seconds, reverse=True)


def timed(store: Store, fingerprints: Iterable[str]) -> dict[str, float]:
    """Return the seconds per image of the last finished run of each kind.

    Args:
        store: The run store.
        fingerprints: Names of runs; of each kind, the last finished one is used.

    Returns:
        Kind of run -> seconds per training image.
    """
    rates = {}
    for name in fingerprints:
        seconds = store.timing(name).get("seconds")
        identity = store.identity(name) if seconds else {}
        if seconds and identity:
            rates[_kind(identity)] = seconds / images(identity)
    return rates


def _kind(identity: Mapping[str, Any]) -> str:
    return json.dumps([identity[key] for key in KIND], sort_keys=True)


def images(settings: Mapping[str, Any]) -> int:
    """Return the number of training images that a run processes, over all epochs.

    Args:
        settings: Settings of a run, with the sections `data` and `training`.
    """
    return int(settings["data"]["train_size"]) * int(settings["training"]["epochs"])
