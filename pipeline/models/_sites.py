"""Find the layers of a network on which a regularizer may act, by type, and its weights."""

import copy

from torch import nn

from pipeline.models._probe import probe_of
from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.models._routing import changes_its_weight, decayed, is_computed, routes
from pipeline.models._tracing import CheckedTracer
from pipeline.runtime.errors import Refusal

Site = tuple[str, nn.Module]  # qualified name, module
LAYERS = (nn.Linear, nn.Conv2d)
KINDS: dict[str, tuple[type[nn.Module], ...]] = {
    "linear": (nn.Linear,),
    "convolution": (nn.modules.conv._ConvNd,),
    "max pooling": (nn.modules.pooling._MaxPoolNd,),
    "attention": (nn.MultiheadAttention,),
    "recurrent": (nn.RNNBase, nn.RNNCellBase),
    "embedding": (nn.Embedding, nn.EmbeddingBag),
    "bilinear": (nn.Bilinear,),
}
NOT_COVERED = {
    nn.MultiheadAttention: "in-projection not covered",
    nn.RNNBase: "not covered",
    nn.RNNCellBase: "not covered",
    nn.Embedding: "not covered",
    nn.EmbeddingBag: "not covered",
    nn.Bilinear: "not covered",
}


def linear_layers(network: nn.Module) -> list[Site]:
    """Return the linear layers, in order."""
    return _in_order(network, nn.Linear)


def hidden_layers(network: nn.Module) -> list[Site]:
    """Return the linear layers with hidden inputs: all that do not read the images."""
    return [site for site in _in_order(network, nn.Linear) if not reads_images(network, *site)]


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
    """Return the weights that a norm penalty acts on: matrices and kernels that are trained.

    No biases, scales, positions or tokens, none of normalization layers, none that is frozen or
    gets no gradient. A tied weight is there once.
    """
    return list(dict.fromkeys(decayed(routes(network)).values()))


def units(network: nn.Module) -> list[nn.Parameter]:
    """Return the `weights` of linear layers and convolutions, units first."""
    layers = {plain(name) for name, module in network.named_modules() if isinstance(module, LAYERS)}
    named = decayed(routes(network))
    owned = (weight for name, weight in named.items() if name.removesuffix(".weight") in layers)
    return list(dict.fromkeys(owned))


def require_plain_weights(network: nn.Module, user: str) -> None:
    """Check that every linear layer and convolution multiplies by a weight of its own.

    Weight normalization, spectral normalization and pruning compute it from other parameters, and a
    layer may scale it in its forward: a change of the weight would be lost. `user` names the user
    of the weights, for the error message.

    Raises:
        Refusal: A layer does so.
    """
    for name, module in network.named_modules():
        if isinstance(module, LAYERS) and is_computed(module):
            raise Refusal(
                f"{user}: the weight of {plain(name)} is computed from other parameters; "
                "expected layers without weight normalization, spectral normalization or pruning"
            )
        if isinstance(module, LAYERS) and changes_its_weight(
            plain(name), module, probe_of(network)
        ):
            raise Refusal(
                f"{user}: {plain(name)} changes its weight in its forward; "
                "expected layers that multiply by their weight itself"
            )
    probe = probe_of(network)
    if probe is not None and probe.changed:
        raise Refusal(
            f"{user}: {min(probe.changed)} is changed before its product; "
            "expected layers that multiply by their weight itself"
        )


def kind_of(module: nn.Module) -> str:
    """Return the kind of a module that may be a site, empty for any other module."""
    return next((kind for kind, types in KINDS.items() if isinstance(module, types)), "")


def reads_images(network: nn.Module, name: str, module: nn.Module) -> bool:
    """Return whether a linear layer or convolution reads the images, beside hidden units or not.

    Of a network of this package, that is its first layer.

    Args:
        network: The plain network.
        name: The qualified name of the module.
        module: The module.
    """
    probe = probe_of(network)
    if probe is not None:
        return isinstance(module, LAYERS) and plain(name) in probe.reading
    return module is next((layer for _, layer in _in_order(network, *LAYERS)), None)


def why_not(network: nn.Module, name: str, module: nn.Module) -> list[str]:
    """Return why no noise, or not every kind of it, acts at a module; empty if nothing prevents it.

    Args:
        network: The plain network.
        name: The qualified name of the module.
        module: The module.
    """
    probe = probe_of(network)
    if not runs(network, name):
        used = probe is not None and f"{plain(name)}.weight" in probe.factors
        return ["its weight is used, not its forward" if used else "its forward does not run"]
    if isinstance(module, tuple(NOT_COVERED)):
        return [text for kind, text in NOT_COVERED.items() if isinstance(module, kind)]
    notes = []
    if is_computed(module):
        notes.append("computed weight")
    if changes_its_weight(plain(name), module, probe):
        notes.append("changes its weight")
    if module._parameters.get("weight") is not None and not module.weight.requires_grad:
        notes.append("frozen")
    if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
        notes.append("1x1")
    if isinstance(module, nn.modules.conv._ConvNd) and not isinstance(module, nn.Conv2d):
        notes.append("not nn.Conv2d")
    if isinstance(module, nn.modules.pooling._MaxPoolNd):
        if not isinstance(module, nn.MaxPool2d):
            notes.append("not nn.MaxPool2d")
        elif module.stride in (1, (1, 1)):
            notes.append("stride 1")
    return notes


def plain(name: str) -> str:
    """Return the name of a module in the user's own network, which `Standardized` holds."""
    return f"{name}.".removeprefix("network.").removesuffix(".")


def _in_order(network: nn.Module, *kinds: type[nn.Module]) -> list[Site]:
    """Return the modules of these kinds in the order in which the forward calls them.

    A part of one of torch's modules is called where that is. All are in the order of registration
    if the forward cannot be traced. Of a user's own network, modules whose forward does not run are
    left out.
    """
    called = calls(network)

    def place(site: Site) -> int:
        parts = site[0].split(".")
        wholes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((called[name] for name in wholes if name in called), len(called))

    sites = (site for site in network.named_modules() if isinstance(site[1], kinds))
    return sorted((site for site in sites if runs(network, site[0])), key=place)


def runs(network: nn.Module, name: str) -> bool:
    """Return whether the forward of a module ran in the probe of training; True without a probe."""
    probe = probe_of(network)
    return probe is None or plain(name) in probe.called


def calls(network: nn.Module) -> dict[str, int]:
    """Return name -> place of the modules that a forward calls; {} if it cannot be traced."""
    try:
        with restored_globals():
            seed_globals(0, "trace")  # the order is that of one draw
            graph = CheckedTracer().trace(copy.deepcopy(network))  # a forward may change it
    except Exception:  # whatever a user's forward raises on meeting a symbol
        return {}
    names = dict.fromkeys(str(node.target) for node in graph.nodes if node.op == "call_module")
    return {name: place for place, name in enumerate(names)}
