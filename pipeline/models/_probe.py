"""Run a network once to see which of its modules and weights act, and which layout it takes."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.models._randomness import restored_globals

PRODUCTS = ("mm", "mv", "conv", "linear", "bilinear", "trilinear", "rnn", "lstm", "gru")


@dataclass(frozen=True)
class Probe:
    """What a training pass of a network showed.

    Attributes:
        memory_format: channels_last, or contiguous_format for a network that cannot take the
            former: calls of `view` on feature maps need contiguous ones.
        called: Names of the modules whose forward ran.
        factors: Names of the parameters that entered a matrix product or a convolution.
    """

    memory_format: torch.memory_format
    called: frozenset[str]
    factors: frozenset[str]


def probe(network: nn.Module, images: Tensor) -> Probe:
    """Return what a training pass on images (N, channels, height, width) shows.

    The network is left unchanged.

    Raises:
        RuntimeError: The network takes the images in no layout.
    """
    try:
        return _probed(network, images, torch.channels_last)
    except RuntimeError:
        return _probed(network, images, torch.contiguous_format)


def _probed(network: nn.Module, images: Tensor, memory_format: torch.memory_format) -> Probe:
    copied = copy.deepcopy(network).train()
    copied.to(memory_format=memory_format)  # type: ignore[call-overload]
    called: set[str] = set()
    for name, module in copied.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    products = _Products(dict(copied.named_parameters(remove_duplicate=False)))
    with restored_globals(), products:
        copied(images.contiguous(memory_format=memory_format)).sum().backward()
    return Probe(memory_format, frozenset(called), frozenset(products.factors))


class _Products(TorchDispatchMode):
    """Collects the names of the parameters that are factors of a product; views count too."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: dict[int, list[str]] = {}
        for name, parameter in parameters.items():
            self.names.setdefault(_storage(parameter), []).append(name)
        self.factors: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if any(word in func.overloadpacket.__name__ for word in PRODUCTS):
            for value in torch.utils._pytree.tree_leaves(args):
                if isinstance(value, Tensor):
                    self.factors.update(self.names.get(_storage(value), ()))
        return func(*args, **(kwargs or {}))


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
