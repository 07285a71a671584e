"""Finds, by type, the places of a network where a regularizer may act.

Separate from both models and regularizers, so that neither knows the other and any network of standard
modules will do.
"""

from torch import nn

Site = tuple[str, nn.Module]  # qualified name, module
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def linear_layers(network: nn.Module) -> list[Site]:
    """The linear layers, in order: what stands before them are their inputs."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]


def weights(network: nn.Module) -> list[nn.Parameter]:
    """The weight tensors that a norm penalty acts on: not biases, not those of normalization layers."""
    return [
        parameter
        for module in network.modules()
        if not isinstance(module, NORMS)
        for name, parameter in module.named_parameters(recurse=False)
        if "bias" not in name
    ]
