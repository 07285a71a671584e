"""Define noise layers: their switch, their generators, and their places in a network."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pipeline.config.streams import derive
from pipeline.models._sites import plain
from pipeline.models._standardized import Standardized
from pipeline.regularizers._audit import NoEffect


class NoiseLayer(nn.Module, ABC):
    """A layer that either samples noise or takes its deterministic form, whatever `train()` sets.

    It has its own generator, so that adding it moves no other stream. Draws are made on the CPU and
    moved to the device of the inputs: one seed is the same noise on every device.

    Attributes:
        regularizer: The name of the regularizer.
        site: The name of the module it acts on; both seed its noise.
        sampling: The switch. A layer in training mode that is not sampling is deterministic.
        counts: What the audit reads, by name or by what was drawn; kept in checkpoints.
    """

    def __init__(self, regularizer: str, site: str):
        super().__init__()
        self.regularizer = regularizer
        self.site = site
        self.sampling = False
        self.generator = torch.Generator()
        self.counts: dict[str | tuple[int, ...], Tensor | int] = {}

    def count(self, **amounts: Tensor | int) -> None:
        """Add to the counts of this layer.

        Args:
            amounts: What to add to each count, by name; scalars.
        """
        for name, amount in amounts.items():
            self.counts[name] = self.counts.get(name, 0) + amount

    @abstractmethod
    def sample(self, inputs: Tensor) -> Tensor:
        """Return one noisy view of the inputs.

        Args:
            inputs: (N, ...).

        Returns:
            (N, ...); of the same shape unless the layer replaces a module.
        """

    def deterministic(self, inputs: Tensor) -> Tensor:
        """Return the form used without noise, by default the inputs.

        Args:
            inputs: (N, ...).

        Returns:
            (N, ...); of the same shape unless the layer replaces a module.
        """
        return inputs

    def form(self) -> Callable[..., Tensor]:
        """Return `sample`, counted in `counts["passes"]`, or `deterministic`, by the switch."""
        if not self.sampling:
            return self.deterministic
        self.count(passes=1)
        return self.sample

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """Return the sampled or the deterministic form, by the switch alone.

        Inputs by name are those of a module that the layer replaces, in the order of its forward.
        """
        return self.form()(*inputs, *named.values())


Layer = TypeVar("Layer", bound=nn.Module)


def layers_of(network: nn.Module, kind: type[Layer]) -> list[Layer]:
    """Return the modules of one class, in order of registration.

    Args:
        network: A network.
        kind: The class; its subclasses count too.
    """
    return [module for module in network.modules() if isinstance(module, kind)]


def noise_layers(network: nn.Module) -> list[NoiseLayer]:
    """Return every noise layer of a network, in order of registration."""
    return layers_of(network, NoiseLayer)  # type: ignore[type-abstract]  # isinstance takes it


def require_draws(layers: Sequence[NoiseLayer]) -> None:
    """Check that every noise layer has sampled: a site may be found and never be used.

    Raises:
        NoEffect: One has not; the error names the site.
    """
    idle = [layer for layer in layers if not layer.counts.get("passes")]
    if idle:
        sites = ", ".join(plain(layer.site) for layer in idle)
        raise NoEffect(
            f"{idle[0].regularizer}: nothing was drawn at {sites}; "
            "expected modules whose forward runs in training"
        )


def place_before(module: nn.Module, layer: NoiseLayer) -> None:
    """Apply `layer` to the input of `module`; names and types in the network stay the same.

    Args:
        module: A module of a network.
        layer: The noise layer.
    """
    name = attach(module, layer)

    def apply(
        owner: nn.Module, given: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        noise = owner.get_submodule(name)
        if given:
            return (noise(given[0]), *given[1:]), named
        first = first_named(owner, named)
        return given, named | {first: noise(named[first])}

    module.register_forward_pre_hook(apply, with_kwargs=True)


def first_named(module: nn.Module, named: Mapping[str, Any]) -> str:
    """Return which of the arguments by name comes first in a module's forward: its input.

    Args:
        module: A module.
        named: The arguments of a call by name.
    """
    parameters = inspect.signature(module.forward).parameters
    return next((key for key in parameters if key in named), next(iter(named)))


def place_after(module: nn.Module, layer: NoiseLayer) -> None:
    """Apply `layer` to the output of `module`; names and types in the network stay the same.

    Args:
        module: A module of a network.
        layer: The noise layer.
    """
    name = attach(module, layer)
    module.register_forward_hook(lambda owner, _, output: owner.get_submodule(name)(output))


def place_instead(module: nn.Module, layer: nn.Module, name: str) -> None:
    """Compute the output of `module` by `layer`, its child `name`; a copy gets a copy of it.

    Args:
        module: A module of a network.
        layer: What computes its output.
        name: The name of `layer` among the children of `module`.
    """
    module.add_module(name, layer)
    # an attribute of this instance: a submodule of that name would be found after the method
    module.__dict__["forward"] = layer


def place_at_input(network: nn.Module, layer: NoiseLayer) -> None:
    """Apply `layer` to what the network reads, after standardization.

    Args:
        network: The network.
        layer: The noise layer.
    """
    first = network.network if isinstance(network, Standardized) else network
    # a child of a sequence would run as one more step of it
    while isinstance(first, nn.Sequential) and len(first) and _is_plain(first):
        first = first[0]
    place_before(first, layer)


def _is_plain(sequence: nn.Sequential) -> bool:
    return type(sequence).forward is nn.Sequential.forward


def attach(module: nn.Module, layer: NoiseLayer) -> str:
    """Make `layer` a child of `module` and return its name, one that was free.

    Args:
        module: A module of a network.
        layer: The noise layer.
    """
    name = f"{layer.regularizer}_noise"
    while hasattr(module, name):
        name += "_"
    module.add_module(name, layer)
    return name


def seed_noise(layers: Iterable[NoiseLayer], seed: int, *names: str | int) -> None:
    """Seed the generators of noise layers.

    Args:
        layers: The layers; the regularizer and the site of each are part of its seed.
        seed: The seed of the noise stream.
        names: Further parts of the seed, such as the epoch.
    """
    for layer in layers:
        layer.generator.manual_seed(derive(seed, "noise", layer.regularizer, layer.site, *names))


@contextmanager
def mode(network: nn.Module, training: bool, sampling: bool) -> Iterator[None]:
    """Set training mode (batch norm) and the noise switch independently, and restore both.

    Args:
        network: The network.
        training: Whether batch norm is in training mode.
        sampling: Whether noise layers sample.
    """
    layers = noise_layers(network)
    before = network.training, [layer.sampling for layer in layers]
    switch(network, training, sampling)
    try:
        yield
    finally:
        _train(network, before[0])
        for layer, sampled in zip(layers, before[1], strict=True):
            layer.sampling = sampled


def switch(network: nn.Module, training: bool, sampling: bool) -> None:
    """Set training mode for batch norm and sampling for noise layers.

    Args:
        network: The network.
        training: Whether batch norm is in training mode.
        sampling: Whether noise layers sample.
    """
    _train(network, training)
    for layer in noise_layers(network):
        layer.sampling = sampling


def _train(network: nn.Module, training: bool) -> None:
    if network.training != training:  # walking all modules costs as much as a small layer
        network.train(training)
