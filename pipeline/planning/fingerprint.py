"""The identity of a run and the fingerprint that names it.

The fingerprint decides what is trained again. It covers the resolved settings, the streams, the
data, the behaviour of the code that a run uses (`runtime/behaviour.py`) and library versions.
"""

import functools
import hashlib
import importlib.metadata
import json
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.runtime import behaviour

TRAINER = "pipeline.training.trainer"  # the module whose imports are the code of every run
LIBRARIES = ("torch", "numpy", "pytorch-lightning", "scikit-learn")
LENGTH = 20  # hexadecimal digits; 80 bits


def identity(config: RunConfig, data_digest: str) -> dict[str, Any]:
    """Return the plain values whose hash is the fingerprint; they are stored as `run.json`.

    Raises:
        Refusal: the module of the user's own network is not found.
    """
    return {
        **config.model_dump(mode="json"),
        "data_digest": data_digest,
        "code": _code(config),
        "versions": versions(),
    }


def fingerprint(identity: dict[str, Any]) -> str:
    """Return the name of a run: equal for equal identities, on every machine."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


@functools.cache
def versions() -> dict[str, str]:
    """Return the version of each library that computes a run, without a suffix such as +cpu."""
    return {name: importlib.metadata.version(name).partition("+")[0] for name in LIBRARIES}


def _code(config: RunConfig) -> dict[str, str]:
    """Return the digest of the code of each part of a run."""
    parts = {"training": behaviour.code_digest(TRAINER)}
    parts["model"] = behaviour.code_digest(f"pipeline.models.{config.model['name']}")
    for item in config.regularizers:
        parts[item["name"]] = behaviour.code_digest(f"pipeline.regularizers.{item['name']}")
    if "import" in config.model:
        parts["import"] = behaviour.code_digest(config.model["import"].partition(":")[0])
    return parts
