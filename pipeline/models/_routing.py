"""Route the parameters of a network to groups by their kind: decayed or not.

The optimizer's groups, the parameters of norm penalties, the record of a run and `gapwise doctor
--model` all follow from these routes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from pipeline.models._probe import WEIGHTED, Probe, probe_of

DECAYED, NOT_DECAYED = "decayed", "not decayed"
FROZEN, NO_GRADIENT = "frozen", "no gradient"  # these are not trained
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Route:
    """A parameter with its group and the reason; a tied one has a route for each of its names."""

    name: str
    parameter: nn.Parameter
    group: str
    reason: str


def routes(network: nn.Module) -> list[Route]:
    """Return the routes of all parameters, in order of registration."""
    first: dict[nn.Parameter, str] = {}
    listed = []
    for owner, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{owner}.{name}".removeprefix(".").removeprefix("network.")
            group, reason = _group(full, parameter, module, probe_of(network))
            if first.setdefault(parameter, full) != full:
                reason = f"tied with {first[parameter]}"
            listed.append(Route(full, parameter, group, reason))
    return listed


def routing_table(listed: Iterable[Route]) -> list[dict[str, Any]]:
    """Return plain rows: group, reason and the names of the parameters that have both."""
    names: dict[tuple[str, str], list[str]] = {}
    for route in listed:
        names.setdefault((route.group, route.reason), []).append(route.name)
    return [
        {"group": group, "reason": reason, "names": members}
        for (group, reason), members in names.items()
    ]


def is_computed(module: nn.Module) -> bool:
    """Return whether a layer computes its weight from other parameters.

    The weight itself is not read: spectral normalization would update its buffers.
    """
    return isinstance(module, WEIGHTED) and "weight" not in module._parameters


def changes_its_weight(name: str, module: nn.Module, probe: Probe | None) -> bool:
    """Return whether a layer multiplies by another tensor than its weight, such as a scaled one.

    Args:
        name: The qualified name of the layer in the network that was probed.
        module: The layer.
        probe: What is known of the network.
    """
    if probe is None or not isinstance(module, WEIGHTED) or is_computed(module):
        return False
    return name in probe.called and f"{name}.weight" not in probe.factors


def _group(
    full: str, parameter: nn.Parameter, module: nn.Module, probe: Probe | None
) -> tuple[str, str]:
    owner, _, name = full.rpartition(".")
    if not parameter.requires_grad:
        return FROZEN, "requires no gradient"
    if probe is not None and full not in probe.gradients:
        return NO_GRADIENT, "none in a training pass"
    if isinstance(module, ParametrizationList) or (is_computed(module) and "weight" in name):
        return NOT_DECAYED, "part of a computed weight"
    if "bias" in name:
        return NOT_DECAYED, "bias"
    if isinstance(module, NORMS):
        return NOT_DECAYED, "normalization"
    if parameter.dim() < 2:
        return NOT_DECAYED, "vector: scale or norm"
    if name == "weight" and changes_its_weight(owner, module, probe):
        return NOT_DECAYED, "changed by its layer before the product"
    if probe is not None and full in probe.changed:
        return NOT_DECAYED, "changed before the product"
    if probe is not None and full not in probe.factors:
        return NOT_DECAYED, "no factor of a product: position, token or scale"
    if probe is not None and full in probe.queries:
        return NOT_DECAYED, "its products are the weights of a sum: query"
    return DECAYED, "matrix or kernel"


def decayed(listed: Sequence[Route]) -> dict[str, nn.Parameter]:
    """Return name -> parameter of the routes in the group of weights that are decayed."""
    return {route.name: route.parameter for route in listed if route.group == DECAYED}
