"""Order the tensors of a network by layers, from the images to the logits.

A layer begins at each module that multiplies by a weight, in the order in which the forward calls
them. It includes all modules up to the next layer, such as a batch norm or a scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.models._probe import LAYERS
from pipeline.models._sites import calls, runs
from pipeline.models._standardized import Standardized
from pipeline.runtime.errors import Refusal


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: The qualified name of the module that begins it.
        tensors: The names of its parameters and buffers in the state of the network.
        modules: The qualified names of the modules that own these.
    """

    name: str
    tensors: tuple[str, ...]
    modules: tuple[str, ...]


def layers(network: Standardized) -> list[Layer]:
    """Return the layers of a network, the head last.

    Tensors of modules whose forward does not run, and the mean and deviation of the images, are
    part of the first layer.
    """
    order = _modules_in_order(network)
    begun: list[str] = []
    owners: dict[str, int] = {}  # module -> the layer that it belongs to
    for name in order:
        if isinstance(network.get_submodule(name), LAYERS):
            begun.append(name)
        owners[name] = max(len(begun) - 1, 0)
    tensors: list[list[str]] = [[] for _ in begun]
    modules: list[dict[str, None]] = [{} for _ in begun]
    for tensor in network.state_dict():
        owner = tensor.rpartition(".")[0]
        index = _layer_of(owner, owners)
        tensors[index].append(tensor)
        modules[index][owner] = None
    return [
        Layer(name, tuple(names), tuple(within))
        for name, names, within in zip(begun, tensors, modules, strict=True)
    ]


def require_head(network: Standardized, every: Sequence[Layer], classes: int) -> None:
    """Check that a network ends in a layer that returns its logits.

    Args:
        network: The network.
        every: Its layers.
        classes: The number of logits.

    Raises:
        Refusal: It does not, so that there is no head to train or to replace.
    """
    head = network.get_submodule(every[-1].name) if every else network
    outputs = getattr(head, "out_features", getattr(head, "out_channels", None))
    if outputs != classes:
        name = every[-1].name.removeprefix("network.") if every else "none"
        raise Refusal(
            f"start: the last layer of the network, {name}, does not return its {classes} logits; "
            "expected a network that ends in a linear layer or a convolution"
        )


def trained_layers(every: Sequence[Layer], train: str, k: int | None) -> Sequence[Layer]:
    """Return the layers whose weights are trained.

    Args:
        every: The layers of a network.
        train: all, head or last_k.
        k: The number of layers for last_k.

    Raises:
        Refusal: The network has fewer than `k` layers.
    """
    count = {"all": len(every), "head": 1, "last_k": k or 1}[train]
    if count > len(every):
        raise Refusal(f"start.k: invalid value {k}; expected an integer <= {len(every)} (layers)")
    return every[-count:]


def _modules_in_order(network: Standardized) -> list[str]:
    """Return the names of the modules that own tensors and run, in the order of the forward.

    A module that owns some and has others inside is where the first of these is called.
    """
    called = calls(network)
    owning = [
        name
        for name, module in network.named_modules()
        if name and (module._parameters or module._buffers) and runs(network, name)
    ]

    def place(name: str) -> int:
        inside = [number for call, number in called.items() if f"{call}.".startswith(f"{name}.")]
        if inside:
            return min(inside)
        parts = name.split(".")
        wholes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
        return next((called[whole] for whole in wholes if whole in called), len(called))

    return sorted(owning, key=place)


def _layer_of(owner: str, layers_of: dict[str, int]) -> int:
    """Return the layer of a module, or of the closest module around it with one; otherwise 0."""
    while owner:
        if owner in layers_of:
            return layers_of[owner]
        owner = owner.rpartition(".")[0]
    return 0
