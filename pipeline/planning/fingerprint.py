"""Compute the identity of a run and the fingerprint that names it.

The fingerprint decides what is trained again. It covers the resolved settings, the streams, the
data, the behaviour of the code that a run uses (`runtime/behaviour.py`) and library versions.
"""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config.run import RunConfig
from pipeline.data.weights import weights_digest
from pipeline.runtime import behaviour

TRAINER = "pipeline.training.trainer"  # the module whose imports are the code of every run
COMPUTES_NOTHING = {"pydantic", "safetensors"}  # they check values and read files, which are hashed
LENGTH = 20  # hexadecimal digits; 80 bits


def identity(config: RunConfig, data_digest: str, start: str | None = None) -> dict[str, Any]:
    """Return the plain values whose hash is the fingerprint; they are stored as `run.json`.

    Args:
        config: The resolved settings of the run.
        data_digest: The digest of the prepared data.
        start: The fingerprint of the run that it starts from; None for one that starts from none.

    Raises:
        Refusal: The module of the user's own network, or the file of its weights, is not found.
    """
    modules = _modules(config)
    path = config.model.get("weights")
    return {
        **config.model_dump(mode="json"),
        **({"weights": weights_digest(path)} if path else {}),
        "data_digest": data_digest,
        **({"starts_from": start} if start else {}),
        "code": {part: behaviour.code_digest(module) for part, module in modules.items()},
        "versions": versions(*modules.values()),
    }


def fingerprint(identity: dict[str, Any]) -> str:
    """Return the name of a run: equal for equal identities, on every machine.

    Args:
        identity: What `identity` returns.

    Returns:
        The first `LENGTH` hexadecimal digits of the sha256 of the identity, as JSON with sorted
        keys.
    """
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


@functools.cache
def versions(*modules: str) -> dict[str, str]:
    """Return the version of each library that the code of a run imports.

    Args:
        modules: Where the code begins; by default what every run uses.

    Returns:
        Distribution name -> version, without a suffix such as +cpu.

    Raises:
        Refusal: A module is not found.
    """
    names = set().union(*(behaviour.libraries(module) for module in modules or (TRAINER,)))
    distributions = sorted(
        {name for top in names - COMPUTES_NOTHING for name in _distributions(top)}
    )
    return {name: importlib.metadata.version(name).partition("+")[0] for name in distributions}


def _distributions(package: str) -> Sequence[str]:
    """Return the names of the distributions that install a top-level package, if any."""
    try:
        return [importlib.metadata.distribution(package).name]
    except importlib.metadata.PackageNotFoundError:
        return _by_package().get(package, [])


@functools.cache
def _by_package() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def _modules(config: RunConfig) -> dict[str, str]:
    """Return the module where the code of each part of a run begins."""
    parts = {
        "training": TRAINER,
        "model": f"pipeline.models.{config.model['name']}",
        "optimizer": f"pipeline.optimizers.{config.training['optimizer']['name']}",
        "schedule": f"pipeline.schedules.{config.training['schedule']['name']}",
    }
    for item in config.regularizers:
        parts[item["name"]] = f"pipeline.regularizers.{item['name']}"
    if "import" in config.model:
        parts["import"] = config.model["import"].partition(":")[0]
    return parts
