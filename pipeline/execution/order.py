"""Which run goes first: the longest, so that no worker is left alone with one at the end.

Graham, Bounds on Multiprocessing Timing Anomalies, SIAM J. Appl. Math. 17, 1969: longest first ends at most a third later
than any order could. Separate from the scheduler because it is about time alone and changes no result.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.records.store import Store

KIND = ("model", "training", "regularizers")  # what decides how long an image takes


def longest_first(
    jobs: Sequence[dict[str, Any]], known: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Jobs by the seconds they will take, those of equal length in the order given. `known`: seconds an image, by kind."""
    usual = statistics.median(known.values()) if known else 1.0
    seconds = {
        job["id"]: known.get(_kind(job["identity"]), usual) * images(job["identity"])
        for job in jobs
    }
    return sorted(jobs, key=lambda job: -seconds[job["id"]])


def timed(store: Store, fingerprints: Iterable[str]) -> dict[str, float]:
    """Seconds that an image took in training, by kind: the last of each among finished runs."""
    known = {}
    for name in fingerprints:
        seconds = store.timing(name).get("seconds")
        identity = store.identity(name) if seconds else {}
        if seconds and identity:
            known[_kind(identity)] = seconds / images(identity)
    return known


def _kind(identity: Mapping[str, Any]) -> str:
    return json.dumps([identity[key] for key in KIND], sort_keys=True)


def images(settings: Mapping[str, Any]) -> int:
    """How many training images a run looks at, an image in every epoch anew."""
    return int(settings["data"]["train_size"]) * int(settings["training"]["epochs"])
