"""Resolve the pretrainings of a protocol: what is trained first, for other runs to start from."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from pipeline import regularizers
from pipeline.config.run import Data
from pipeline.config.start import Start
from pipeline.config.validation import Source, place_of, unknown_name
from pipeline.planning.protocols import Pretraining, Protocol
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal


def pretrained_by(protocol: Protocol, name: str) -> tuple[Protocol, tuple[Regularizer, ...]]:
    """Return the protocol that a pretraining is trained under, and its regularizers.

    The network is from `protocol`, so that an arm which changes it changes its pretraining too.

    Args:
        protocol: A resolved protocol.
        name: One of its pretrainings.
    """
    pretraining = Pretraining.model_validate_json(json.dumps(protocol.pretraining[name]))
    values = {
        "data": Data.model_validate_json(json.dumps(pretraining.data)),
        "source": pretraining.source,
        "training": protocol.training.model_validate_json(json.dumps(pretraining.training)),
        "start": pretraining.start,
        "tune": {},
    }
    return protocol.model_copy(update=values), regularizers.build(pretraining.regularizers)


def document_of_pretraining(
    document: Mapping[str, Any], pretraining: Pretraining
) -> dict[str, Any]:
    """Return the values of the protocol that a pretraining is trained under, to be checked.

    Args:
        document: The values of the protocol, with its pretrainings.
        pretraining: The settings of one of these, with complete data and source.
    """
    return {
        **document,
        "data": pretraining.data,
        "source": pretraining.source,
        "training": {**document["training"], **pretraining.training},
        "pretraining": {},
        "start": {},  # checked with the data of all pretrainings
        "tune": {},
    }


def require_valid_starts(starts: Mapping[str, Start], source: Source) -> None:
    """Check that every start names a pretraining, and that there is no cycle.

    Args:
        starts: The start of the protocol under "", and those of its pretrainings by name.
        source: Where they come from, for errors.

    Raises:
        Refusal: A name is unknown, or starts form a cycle.
    """
    names = [name for name in starts if name]
    lines = []
    reported: set[frozenset[str]] = set()  # cycles that have a line
    for name, start in starts.items():
        where = place_of(source, f"pretraining.{name}.start.from" if name else "start.from")
        if start.source is not None and start.source not in names:
            lines.append(_unknown_pretraining(where, start.source, names))
            continue
        cycle = _cycle(name, starts)
        if cycle and frozenset(cycle) not in reported:
            chain = " -> ".join([*cycle, cycle[0]])
            lines.append(f"{where}: a cycle of starts: {chain}; expected one that is fresh")
            reported.add(frozenset(cycle))
    if lines:
        raise Refusal(*lines)


def _unknown_pretraining(where: str, name: str, names: Collection[str]) -> str:
    if not names:
        return f"{where}: unknown name {name!r}; the protocol has no pretrainings"
    return unknown_name(where, name, names)


def _cycle(name: str, starts: Mapping[str, Start]) -> list[str]:
    """Return the names in the cycle that is reached from a name; empty if there is no cycle."""
    chain = [name]
    while (source := starts[chain[-1]].source) and source in starts:
        if source in chain:
            return chain[chain.index(source) :]
        chain.append(source)
    return []
