"""What every regularizer is made of: the hooks, the noise layer with its one switch, the audit.

Separate so that training and prediction know hooks and noise layers, and no regularizer by name.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from pipeline.config.settings import Settings
from pipeline.config.streams import derive
from pipeline.config.test_rules import DETERMINISTIC
from pipeline.models._standardized import Standardized

NEGLIGIBLE = 1e-6  # a chance below this does not excuse a regularizer that did nothing

Groups = list[dict[str, Any]]  # parameter groups: weights first, then biases and normalization
Measures = dict[str, float]


class NoEffect(Exception):
    """A regularizer was asked to act and did not: the run fails rather than pass for a baseline."""


@dataclass
class Changes:
    """How much one regularizer's `modify_batch` changed the batches of a run."""

    examples: int = 0
    changed: int = 0  # examples with any pixel or target changed
    distance: float = 0.0  # sum over examples of the mean absolute change of a pixel


@dataclass(frozen=True)
class Evidence:
    """What an audit may look at when training has ended."""

    network: nn.Module
    groups: Groups
    training_loss: float
    changes: Changes
    callbacks: Sequence[Any] = ()  # the regularizer's own, as `callbacks()` made them for this run


class Regularizer(Settings):
    """A regularizer's settings and hooks. Every hook is neutral by default; they run in the order listed.

    A class attribute `test_rule` declares which members are averaged at test, before any data is seen; `clashes` the
    regularizers beside which this one would have no meaning, and why.
    """

    name: ClassVar[str]  # that of its file, and in YAML
    test_rule: ClassVar[str] = DETERMINISTIC
    clashes: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def neutral(cls) -> Self | None:
        """The settings without any effect; None where there are none."""
        return None

    def is_neutral(self) -> bool:
        """Whether these settings have no effect, however they are spelled."""
        return self == type(self).neutral()

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """What these settings come to on a plain network, left as it is, for images of `shape`: plain values.

        Settings of equal effect train the same network. Raises Refusal where they cannot act on it.
        """
        return self.model_dump(mode="json")

    def other_forms(self) -> dict[str, Self]:
        """These settings with another deterministic form, by its name: shown beside the test rule, for the same weights."""
        return {}

    def modify_model(self, network: nn.Module) -> None:
        """Places noise layers in the network. Leaves its weights as they are."""

    def modify_optimizer(self, groups: Groups) -> Groups:
        """The optimizer's parameter groups, weights first and all else second."""
        return groups

    def modify_batch(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (N, channels, height, width) in [0, 1] and targets (N, classes), drawn anew from the global generator."""
        return inputs, targets

    def penalty(self, network: nn.Module) -> Tensor | None:
        """A scalar to add to the loss, None where there is none."""
        return None

    def callbacks(self) -> list[Any]:
        """What acts along one run: objects with those of Lightning's callback hooks that they need, and no others.

        `state_dict` and `load_state_dict` among them carry it through a checkpoint. One with a method `kept()` has weights
        of its own to store: name -> state.
        """
        return []

    def audit(self, evidence: Evidence) -> Measures:
        """What happened in training. Raises NoEffect where an effect was due and none is seen."""
        return {}

    @property
    def rule(self) -> str:
        """The test rule of these settings: that of the class, unless some of them leave no noise to average over."""
        return self.test_rule

    @property
    def flips(self) -> bool:
        """Whether this regularizer shows mirror images, which in some datasets have another label."""
        return False

    @property
    def augments(self) -> bool:
        """Whether this regularizer changes batches."""
        return type(self).modify_batch is not Regularizer.modify_batch


class NoiseLayer(nn.Module, ABC):
    """A layer that either samples its noise or takes its deterministic form, whatever `train()` says.

    It owns its generator, so that turning it on moves no other stream. Draws are made by the processor and moved to where
    the inputs are: one seed is one noise on every device. A layer in training mode that is not sampling is deterministic
    too: batch norm and noise never move together.
    """

    share = 1.0  # of the operations inside it, how many training computes on average

    def __init__(self, regularizer: str, site: str):
        super().__init__()
        self.regularizer = regularizer
        self.site = site
        self.sampling = False
        self.generator = torch.Generator()
        self.counts: dict[str, Tensor | int] = {}  # what the audit reads; kept in checkpoints

    def count(self, **amounts: Tensor | int) -> None:
        """Adds to the counts of this layer."""
        for name, amount in amounts.items():
            self.counts[name] = self.counts.get(name, 0) + amount

    @abstractmethod
    def sample(self, inputs: Tensor) -> Tensor:
        """One noisy view of the inputs."""

    def deterministic(self, inputs: Tensor) -> Tensor:
        """The form used without noise: the inputs themselves unless a layer says otherwise."""
        return inputs

    def forward(self, inputs: Tensor) -> Tensor:
        """Sampled or deterministic, by the switch alone."""
        return self.sample(inputs) if self.sampling else self.deterministic(inputs)


def place_before(module: nn.Module, layer: NoiseLayer) -> None:
    """Lets `layer` transform the input of `module`. Names and types in the network stay as they are."""
    name = attach(module, layer)

    def transform(owner: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (owner.get_submodule(name)(arguments[0]), *arguments[1:])

    module.register_forward_pre_hook(transform)


def place_after(module: nn.Module, layer: NoiseLayer) -> None:
    """Lets `layer` transform the output of `module`. Names and types in the network stay as they are."""
    name = attach(module, layer)

    def transform(owner: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        transformed: Tensor = owner.get_submodule(name)(output)
        return transformed

    module.register_forward_hook(transform)


def place_instead(module: nn.Module, layer: NoiseLayer) -> None:
    """Lets `layer` compute the output of `module`, whose names and type stay; a copy of it gets a copy of the layer."""
    attach(module, layer)
    module.__dict__["forward"] = (
        layer  # an attribute of this instance; as a submodule it would not be found in time
    )


def place_at_input(network: nn.Module, layer: NoiseLayer) -> None:
    """Lets `layer` transform what the network reads, after standardization."""
    first = network.network if isinstance(network, Standardized) else network
    while type(first).forward is nn.Sequential.forward and len(first):  # type: ignore[arg-type]  # a sequence would run a child
        first = next(first.children())
    place_before(first, layer)


def attach(module: nn.Module, layer: NoiseLayer) -> str:
    """Makes `layer` a child of `module`, under a name that nothing has."""
    name = f"{layer.regularizer}_noise"
    while hasattr(module, name):
        name += "_"
    module.add_module(name, layer)
    return name


def noise_layers(network: nn.Module) -> list[NoiseLayer]:
    """Every noise layer of a network, in order."""
    return [module for module in network.modules() if isinstance(module, NoiseLayer)]


def seed_noise(layers: Iterable[NoiseLayer], seed: int, *names: str | int) -> None:
    """Seeds noise layers from the noise stream, their regularizer, their site and `names` (an epoch, a pass)."""
    for layer in layers:
        layer.generator.manual_seed(derive(seed, "noise", layer.regularizer, layer.site, *names))


def seed_batch(regularizer: Regularizer, seed: int, *names: str | int) -> None:
    """Seeds the global generator for one `modify_batch`, so that no regularizer moves the draws of another.

    `seed` is that of the augmentation stream; `names` an epoch and a batch, or a view.
    """
    # the CPU generator alone: torch.manual_seed queues a call for every absent device, and keeps it
    torch.default_generator.manual_seed(derive(seed, "augmentation", regularizer.name, *names))


@contextmanager
def mode(network: nn.Module, training: bool, sampling: bool) -> Iterator[None]:
    """Sets training mode (batch norm) and the noise switch apart from each other, and puts both back."""
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
    """Training mode for batch norm, sampling for noise layers."""
    _train(network, training)
    for layer in noise_layers(network):
        layer.sampling = sampling


def _train(network: nn.Module, training: bool) -> None:
    if network.training != training:  # walking all modules costs as much as a small layer
        network.train(training)


def unlikely(happened: int, draws: int, chance: float) -> bool:
    """Whether a share of independent draws so far from their mean `chance` would come with negligible chance itself.

    The share s is reached or passed with a chance of at most exp(-draws * divergence of s from the mean): Hoeffding,
    Probability Inequalities for Sums of Bounded Random Variables, JASA 58, 1963, theorem 1; for unequal chances too.
    """
    share = happened / max(draws, 1)
    return draws * _divergence(share, chance) > math.log(2 / NEGLIGIBLE)


def _divergence(share: float, chance: float) -> float:
    """Of Kullback and Leibler, of two coins; infinite where what happened could not."""
    pairs = [(one, other) for one, other in ((share, chance), (1 - share, 1 - chance)) if one > 0]
    return sum(one * math.log(one / other) if other > 0 else math.inf for one, other in pairs)


def require_rate(name: str, what: str, dropped: int, drawn: int, rate: float) -> None:
    """Raises NoEffect where the share dropped is not one that `rate` gives, each drawn on its own.

    `name` of the regularizer, and `what` it drops where, are for the message.
    """
    if unlikely(dropped, drawn, rate):
        share = dropped / max(drawn, 1)
        raise NoEffect(
            f"{name}: {dropped} of {drawn} {what} were dropped, a share of {share:.4g}; due is {rate:.4g}"
        )


def require_effect(happened: bool, chance: float, what: str) -> None:
    """Raises NoEffect where nothing happened although the chance of that is negligible."""
    if not happened and chance < NEGLIGIBLE:
        raise NoEffect(what)
