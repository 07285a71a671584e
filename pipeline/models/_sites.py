"""Find the layers of a network on which a regularizer may act, by type, and its weights."""

from torch import fx, nn

Site = tuple[str, nn.Module]  # qualified name, module
LAYERS = (nn.Linear, nn.Conv2d)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def linear_layers(network: nn.Module) -> list[Site]:
    """Return the linear layers, in order."""
    return _in_order(network, nn.Linear)


def hidden_layers(network: nn.Module) -> list[Site]:
    """Return the linear layers with hidden inputs: all but a first layer of the network."""
    return [site for site in _in_order(network, *LAYERS)[1:] if isinstance(site[1], nn.Linear)]


def convolutions(network: nn.Module) -> list[Site]:
    """Return the convolutions that see more than one pixel, in order: no 1x1 projections."""
    return [
        (name, module)
        for name, module in _in_order(network, nn.Conv2d)
        if module.kernel_size != (1, 1)
    ]


def pooling_layers(network: nn.Module) -> list[Site]:
    """Return the max-pooling layers, in order."""
    return _in_order(network, nn.MaxPool2d)


def weights(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights that a norm penalty acts on: no biases, none of normalization layers."""
    return [
        parameter
        for module in network.modules()
        if not isinstance(module, NORMS)
        for name, parameter in module.named_parameters(recurse=False)
        if "bias" not in name
    ]


def _in_order(network: nn.Module, *kinds: type[nn.Module]) -> list[Site]:
    """Return the modules of these kinds in the order in which the forward calls them.

    A part of one of torch's modules is called where that is. Modules that are never called come
    last, as registered; so do all if the forward cannot be traced.
    """
    calls = _calls(network)

    def place(site: Site) -> int:
        parts = site[0].split(".")
        wholes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((calls[name] for name in wholes if name in calls), len(calls))

    return sorted(
        ((name, module) for name, module in network.named_modules() if isinstance(module, kinds)),
        key=place,
    )


def _calls(network: nn.Module) -> dict[str, int]:
    """Return name -> place of the modules that a forward calls; {} if it cannot be traced."""
    try:
        graph = fx.Tracer().trace(network)
    except Exception:  # whatever a user's forward raises on meeting a symbol
        return {}
    names = dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "call_module")
    return {name: place for place, name in enumerate(names)}
