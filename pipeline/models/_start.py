"""Begin a network with the weights of another run, and freeze the layers that are not trained.

It avoids two errors of other implementations: batch-norm statistics that drift in frozen layers,
since their module is in training mode, and layers that a resumed run freezes again or not at all.
The frozen layers are decided once, when the network is built.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pipeline.config.start import RunStart
from pipeline.models._layers import Layer, layers, require_head, trained_layers
from pipeline.models._standardized import Standardized
from pipeline.runtime.errors import Refusal

NORMS = nn.modules.batchnorm._BatchNorm
State = Mapping[str, Tensor]


def begin(network: Standardized, start: RunStart, classes: int, parent: State | None) -> None:
    """Load the weights of a parent into a plain network, and freeze the layers not trained.

    Args:
        network: The network with random initial weights, before noise is placed in it.
        start: What is loaded, trained and drawn anew.
        classes: The number of logits.
        parent: The state of the network of the parent; None to keep the weights that there are.

    Raises:
        Refusal: There is no head, fewer layers than are named, the parent is another network, or a
            frozen parameter is tied to one that is trained.
    """
    every = layers(network)
    require_head(network, every, classes)
    if start.reinitialize >= len(every):
        expected = f"an integer <= {len(every) - 1} (layers below the head)"
        raise Refusal(
            f"start.reinitialize: invalid value {start.reinitialize}; expected {expected}"
        )
    if parent is not None:
        _load(network, _inherited(every, start), parent)
    _freeze(network, every, start)


def rates(network: Standardized, start: RunStart) -> dict[nn.Parameter, float]:
    """Return the multiple of the learning rate of each parameter, 1 for parameters of the head."""
    multiples: dict[nn.Parameter, float] = {}
    named = dict(network.named_parameters(remove_duplicate=False))
    for depth, layer in enumerate(reversed(layers(network))):
        multiple = start.trunk * start.decay**depth if depth else 1.0
        for name in layer.tensors:
            if name in named:
                multiples.setdefault(named[name], multiple)
    return multiples


def frozen_tensors(network: Standardized) -> dict[str, Tensor]:
    """Return copies of the parameters and buffers of a network that training must not change."""
    state = network.state_dict()
    return {name: state[name].detach().clone() for name in network.frozen}


def _inherited(every: list[Layer], start: RunStart) -> list[Layer]:
    """Return the layers that begin with the weights of the parent."""
    if start.head == "kept":
        return every
    return every[: len(every) - 1 - start.reinitialize]


@torch.no_grad()
def _load(network: Standardized, inherited: list[Layer], parent: State) -> None:
    state = network.state_dict()
    for name in (name for layer in inherited for name in layer.tensors):
        given = parent.get(name)
        if given is None or given.shape != state[name].shape:
            shape = "missing" if given is None else f"of shape {tuple(given.shape)}"
            raise Refusal(
                f"start.from: {name.removeprefix('network.')} is {shape} in the pretraining; "
                f"expected shape {tuple(state[name].shape)}: the same network, and images alike"
            )
        state[name].copy_(given)


def _freeze(network: Standardized, every: list[Layer], start: RunStart) -> None:
    """Stop gradients and running statistics of the layers that are not trained."""
    trained = trained_layers(every, start.train, start.k)
    frozen = every[: len(every) - len(trained)]
    parameters = dict(network.named_parameters(remove_duplicate=False))
    moving = {
        parameters[name]: name for layer in trained for name in layer.tensors if name in parameters
    }
    names = [name for layer in frozen for name in layer.tensors]
    for name in names:
        if name in parameters and parameters[name] in moving:
            tied = moving[parameters[name]].removeprefix("network.")
            raise Refusal(
                f"start.train: {name.removeprefix('network.')} is frozen, and tied with {tied}, "
                "which is trained; expected train: all"
            )
        if name in parameters:
            parameters[name].requires_grad_(False)
    owners = [name for layer in frozen for name in layer.modules]
    adapted = {name for name in owners if _adapts(network.get_submodule(name), start)}
    network.resting = tuple(name for name in owners if name not in adapted)
    network.frozen = tuple(
        name for name in names if name in parameters or name.rpartition(".")[0] not in adapted
    )
    network.train(network.training)


def _adapts(module: nn.Module, start: RunStart) -> bool:
    return start.norm == "adapted" and isinstance(module, NORMS)
