"""Divide the development examples of datasets between a protocol and its pretrainings.

No pretraining uses an example of the protocol's pool or test set: the test set is held out first,
and of classes that both have, the examples of pretraining are set apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.validation import Source, invalid, place_of
from pipeline.data.arrays import Arrays
from pipeline.data.pools import Classes, class_numbers, drop_examples, select_classes, set_apart
from pipeline.planning.protocols import Protocol
from pipeline.runtime.errors import Refusal


def split_settings(protocol: Protocol) -> dict[str, Any]:
    """Return the settings, besides the source, that determine the parts of the data.

    The summary of the prepared data has the same keys.

    Args:
        protocol: The protocol.
    """
    data = protocol.data.model_dump(mode="json")
    apart = {}
    for name, settings in protocol.pretraining.items():
        apart[name] = {key: settings[key] for key in ("data", "source", "share")}
    return {"test_fraction": data["test_fraction"], "selected": data["classes"], "apart": apart}


def part_of_protocol(
    protocol: Protocol, pool: Arrays, names: Sequence[str], source: Source
) -> Arrays:
    """Return the development examples of a protocol.

    Args:
        protocol: The protocol.
        pool: All development examples of its dataset.
        names: The names of the classes of the dataset; empty if they have none.
        source: Where its values come from, for errors.

    Raises:
        Refusal: A class does not exist, or nothing is set apart for a pretraining that needs it.
    """
    classes = _numbers(protocol.data.classes, names, pool.classes, place_of(source, "data.classes"))
    return select_classes(drop_examples(pool, _left_out(protocol, pool, names, source)), classes)


def _left_out(
    protocol: Protocol, pool: Arrays, names: Sequence[str], source: Source
) -> NDArray[np.bool_]:
    """Return a mask (N,) of the examples of the protocol's classes for pretrainings."""
    classes = _numbers(protocol.data.classes, names, pool.classes, place_of(source, "data.classes"))
    shares = {0.0}
    for name in protocol.pretraining:
        if _common(protocol, name, names, pool.classes, source):
            shares.add(_share(protocol, name, source))
    most = max(shares)
    return set_apart(pool, classes, most) if most else np.zeros(len(pool.labels), bool)


def test_of_protocol(
    protocol: Protocol, test: Arrays, names: Sequence[str], source: Source
) -> Arrays:
    """Return the test examples of the classes of a protocol.

    Args:
        protocol: The protocol.
        test: All test examples of its dataset.
        names: The names of the classes of the dataset; empty if they have none.
        source: Where its values come from, for errors.

    Raises:
        Refusal: A class does not exist.
    """
    where = place_of(source, "data.classes")
    return select_classes(test, _numbers(protocol.data.classes, names, test.classes, where))


def part_of_pretraining(
    protocol: Protocol, name: str, pool: Arrays, names: Sequence[str], source: Source
) -> Arrays:
    """Return the development examples of a pretraining.

    Args:
        protocol: The protocol.
        name: The name of the pretraining.
        pool: All development examples of its dataset.
        names: The names of the classes of that dataset; empty if they have none.
        source: Where its values come from, for errors.

    Raises:
        Refusal: As for `part_of_protocol`; or a share is set apart of no class.
    """
    where = place_of(source, f"pretraining.{name}")
    settings = protocol.pretraining[name]
    numbers = _numbers(settings["data"]["classes"], names, pool.classes, f"{where}.data.classes")
    common = _common(protocol, name, names, pool.classes, source)
    if settings["share"] is not None and not common:
        expected = "null: it has no class of the protocol to share"
        raise Refusal(invalid(f"{where}.share", settings["share"], expected))
    if not _is_same_data(protocol, name):
        return select_classes(pool, numbers)
    mask = np.isin(pool.labels, sorted(common), invert=True)
    if common:
        mask |= set_apart(pool, common, _share(protocol, name, source))
    if pool.groups is not None:
        classes = _numbers(
            protocol.data.classes, names, pool.classes, place_of(source, "data.classes")
        )
        theirs = np.isin(pool.labels, classes) & ~_left_out(protocol, pool, names, source)
        mask &= ~np.isin(pool.groups, pool.groups[theirs])
    return select_classes(drop_examples(pool, ~mask), numbers)


def _is_same_data(protocol: Protocol, name: str) -> bool:
    """Return whether a pretraining has the dataset of the protocol."""
    settings = protocol.pretraining[name]
    data = protocol.data.dataset, protocol.source
    return bool((settings["data"]["dataset"], settings["source"]) == data)


def _common(
    protocol: Protocol, name: str, names: Sequence[str], count: int, source: Source
) -> set[int]:
    """Return the classes of both a pretraining and the protocol; empty if their datasets differ."""
    settings = protocol.pretraining[name]
    if not _is_same_data(protocol, name):
        return set()
    where = place_of(source, f"pretraining.{name}.data.classes")
    theirs = _numbers(settings["data"]["classes"], names, count, where)
    return set(theirs) & set(
        _numbers(protocol.data.classes, names, count, place_of(source, "data.classes"))
    )


def _share(protocol: Protocol, name: str, source: Source) -> float:
    share = protocol.pretraining[name]["share"]
    if share is None:
        expected = "a number > 0 and < 1: the share of the examples of common classes set apart"
        raise Refusal(invalid(place_of(source, f"pretraining.{name}.share"), share, expected))
    return float(share)


def _numbers(classes: Classes | None, names: Sequence[str], count: int, where: str) -> list[int]:
    return list(range(count)) if classes is None else class_numbers(classes, names, count, where)
