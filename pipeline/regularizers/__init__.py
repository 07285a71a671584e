"""Find and build the regularizers, one file each.

A file's name is the regularizer's name in YAML, and there is no list to edit. Files whose name
begins with an underscore are shared.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from pipeline.config.crawling import Folder
from pipeline.config.test_rules import DETERMINISTIC, TestRule
from pipeline.models._probe import probe_of
from pipeline.regularizers._noise import noise_layers
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal

_FOLDER: Folder[Regularizer] = Folder(__name__, __path__, Regularizer)  # type: ignore[type-abstract]
names, settings, parse = _FOLDER.names, _FOLDER.settings, _FOLDER.parse


def build(given: Sequence[Mapping[str, Any]]) -> tuple[Regularizer, ...]:
    """Return regularizers from plain values (`name` and settings), without those that are neutral.

    Leaving the neutral ones out makes them equal to the baseline bit for bit.

    Args:
        given: For each regularizer its `name` and its settings.

    Raises:
        ModuleNotFoundError: There is no regularizer of a name.
        ValidationError: A setting is invalid.
    """
    return tuple(item for item in map(parse, given) if not item.is_neutral())


def equip(network: nn.Module, regularizers: Sequence[Regularizer]) -> None:
    """Place the noise of every regularizer in the network, in order; weights stay unchanged.

    Args:
        network: The network, which is changed in place.
        regularizers: The regularizers, in order.

    Raises:
        Refusal: A regularizer cannot act on the network, or two of them clash.
    """
    _require_no_clash(regularizers)
    for regularizer in regularizers:
        regularizer.modify_model(network)
    _require_one_draw(network)


def test_rule(regularizers: Sequence[Regularizer]) -> TestRule:
    """Return the test rule of the first regularizer that declares one with noise.

    Args:
        regularizers: The regularizers, in order.

    Returns:
        The rule; deterministic if no regularizer declares another one.
    """
    declared = (item.test_rule for item in regularizers)
    return next((rule for rule in declared if rule != DETERMINISTIC), DETERMINISTIC)


def _require_one_draw(network: nn.Module) -> None:
    """Check that no forward runs again in the backward pass: noise layers would draw anew.

    Raises:
        Refusal: One does, in a network with noise layers.
    """
    probe, layers = probe_of(network), noise_layers(network)
    if probe is not None and probe.again and layers:
        raise Refusal(
            f"{layers[0].regularizer}: the forward of {min(probe.again)} runs again in the "
            "backward pass, with other noise; expected a network without activation checkpointing"
        )


def _require_no_clash(given: Sequence[Regularizer]) -> None:
    present = {item.name for item in given}
    pairs = [
        f"{item.name} with {other}: {reason}; expected one of the two in an arm"
        for item in given
        for other, reason in item.clashes.items()
        if other in present
    ]
    if pairs:
        raise Refusal(*pairs)
