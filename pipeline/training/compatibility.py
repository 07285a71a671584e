"""Refuse an optimizer that cannot train a network with its regularizers."""

from collections.abc import Iterator, Sequence

from torch import nn

from pipeline.optimizers._optimizer import Optimizer
from pipeline.regularizers._noise import noise_layers
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal

NORMS = nn.modules.batchnorm._BatchNorm
RANDOM = (nn.modules.dropout._DropoutNd, nn.RReLU, nn.FractionalMaxPool2d)


def require_trainable(
    optimizer: Optimizer, network: nn.Module, regularizers: Sequence[Regularizer]
) -> None:
    """Check that an optimizer can train a network.

    Args:
        optimizer: The optimizer.
        network: The network with the noise of its regularizers.
        regularizers: Those of the run that are not neutral.

    Raises:
        Refusal: It cannot; a line for each reason.
    """
    reasons = _clashes(optimizer, regularizers)
    if optimizer.full_batch:
        reasons |= dict(_draws(network, regularizers))
    lines = [
        f"{what} with {optimizer.name}: {reason}; expected another optimizer"
        for what, reason in reasons.items()
    ]
    if lines:
        raise Refusal(*lines)


def _clashes(optimizer: Optimizer, regularizers: Sequence[Regularizer]) -> dict[str, str]:
    """Return the regularizers that an optimizer cannot train with, each with the reason."""
    clashes = {}
    for item in regularizers:
        if item.needs_step_length and optimizer.step_length(1.0) is None:
            clashes[item.name] = "it needs one step length for all weights"
        if item.name in optimizer.clashes:
            clashes[item.name] = optimizer.clashes[item.name]
    return clashes


def _draws(network: nn.Module, regularizers: Sequence[Regularizer]) -> Iterator[tuple[str, str]]:
    """Yield what makes the loss of a batch differ between two evaluations, and why."""
    varies = "a line search compares losses of the same function, and this changes it"
    for layer in noise_layers(network):
        yield layer.regularizer, varies
    for item in regularizers:
        if item.augments:
            yield item.name, varies
    for kind in dict.fromkeys(type(module) for module in network.modules() if _is_random(module)):
        yield f"{kind.__name__} of the network", varies
    if any(isinstance(module, NORMS) for module in network.modules()):
        yield "batch norm", "every evaluation of a line search would move its statistics"


def _is_random(module: nn.Module) -> bool:
    """Return whether a layer of torch draws random numbers in training."""
    is_off = isinstance(module, nn.modules.dropout._DropoutNd) and module.p == 0
    return isinstance(module, RANDOM) and not is_off
