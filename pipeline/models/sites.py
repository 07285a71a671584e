"""Finds, by type, the places of a network where a regularizer may act.

Separate from both models and regularizers, so that neither knows the other and any network of standard
modules will do.
"""

from torch import nn

Site = tuple[str, nn.Module]  # qualified name, module
LAYERS = (nn.Linear, nn.Conv2d)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def linear_layers(network: nn.Module) -> list[Site]:
    """The linear layers, in order: what stands before them are their inputs."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]


def input_layer(network: nn.Module) -> Site | None:
    """The linear layer that reads the network's input: the first layer with weights, where that is linear."""
    for name, module in network.named_modules():
        if isinstance(module, LAYERS):
            return (name, module) if isinstance(module, nn.Linear) else None
    return None


def hidden_layers(network: nn.Module) -> list[Site]:
    """The linear layers whose inputs are hidden units."""
    first = input_layer(network)
    return [site for site in linear_layers(network) if first is None or site[0] != first[0]]


def convolutions(network: nn.Module) -> list[Site]:
    """The convolutions that see more than one pixel, in order: 1x1 shortcuts and projections are left out."""
    found = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    return [(name, module) for name, module in found if module.kernel_size != (1, 1)]


def pooling_layers(network: nn.Module) -> list[Site]:
    """The max-pooling layers, in order."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.MaxPool2d)]


def weights(network: nn.Module) -> list[nn.Parameter]:
    """The weight tensors that a norm penalty acts on: not biases, not those of normalization layers."""
    return [
        parameter
        for module in network.modules()
        if not isinstance(module, NORMS)
        for name, parameter in module.named_parameters(recurse=False)
        if "bias" not in name
    ]
