"""Fractional max pooling: pools by a ratio between 1 and 2.

Graham, Fractional Max-Pooling, arXiv 1412.6071, 2014.

Acts on the max-pooling layers that shrink their input. They become maxima over regions of at most
2 x 2 pixels, which are drawn for every example and shared by its channels (`_regions.py`). Without
noise, regions are fixed. `regions: fixed` is the control that has the resolution without the
randomness.
Test rule: 12 noise passes (deterministic with `regions: fixed`, which has no noise).
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self, final

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pipeline.config.test_rules import DETERMINISTIC, NOISE, TestRule
from pipeline.models._sites import Site, linear_layers, pooling_layers
from pipeline.regularizers._audit import AuditInputs, Measures, require_effect
from pipeline.regularizers._noise import NoiseLayer, first_named, mode, place_instead
from pipeline.regularizers._regions import (
    Axis,
    Regions,
    edges,
    fixed_edges,
    fractional_max_pool,
    pseudorandom_steps,
    random_steps,
    size,
)
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal

NAME = "fractional_max_pooling"
LOOKED_AT = 10  # sampled batches of which the audit sees the regions
# bound on the chance of any one sequence: pseudorandom regions of ratio 3/2 reach it
COMMONEST = 2 / 3


def _usual_ratio(given: dict[str, Any]) -> float | None:
    return None if given.get("output_sizes") is not None else 1.41


@final
class FractionalMaxPooling(Regularizer):
    """Settings of fractional max pooling.

    Attributes:
        output_sizes: Pixels a side after each layer, in order; an alternative to `ratio`.
        ratio: Size before over size after, of every layer.
        regions: How regions are placed: random, pseudorandom or fixed.
        overlapping: Whether neighboring regions share a pixel.
    """

    name: ClassVar = NAME
    family: ClassVar = "architecture"
    needs: ClassVar = "max-pooling layer (nn.MaxPool2d with a stride above 1)"

    output_sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    ratio: float | None = Field(default_factory=_usual_ratio, gt=1, lt=2)
    regions: Regions = "random"
    overlapping: bool = True

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.ratio is None) == (self.output_sizes is None):
            raise ValueError("either ratio or output_sizes")
        return self

    @property
    def test_rule(self) -> TestRule:
        """Return 12 noise passes, or the deterministic rule if regions are fixed."""
        return DETERMINISTIC if self.regions == "fixed" else NOISE

    def sites(self, network: nn.Module) -> list[Site]:
        """Return the max-pooling layers that shrink their input."""
        return [site for site in pooling_layers(network) if site[1].stride not in (1, (1, 1))]

    def modify_model(self, network: nn.Module) -> None:
        """Compute every max-pooling layer that shrinks its input by fractional pooling.

        Raises:
            Refusal: There is none, one returns indices, or `output_sizes` are not one for each.
        """
        sites = self.require_sites(network)
        indexed = [site for site, module in sites if module.return_indices]
        if indexed:
            raise Refusal(
                f"{NAME}: {indexed[0]} returns the indices of its maxima; "
                "expected max-pooling layers that do not"
            )
        if self.output_sizes is not None and len(self.output_sizes) != len(sites):
            raise Refusal(
                f"{NAME}: output_sizes: {len(self.output_sizes)} sizes; "
                f"expected {len(sites)}, one for each max-pooling layer"
            )
        kind = FixedRegions if self.regions == "fixed" else DrawnRegions
        for number, (site, module) in enumerate(sites):
            place_instead(module, kind(Sizing(self, site, number)), NAME)
        for _, linear in linear_layers(network):
            linear.register_forward_pre_hook(_require_features, with_kwargs=True)

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the settings with the sizes of every axis in place of ratio or output_sizes.

        Raises:
            Refusal: The sizes leave too little randomness, or the network cannot take them.
        """
        axes = self._axes(network, shape)
        ways = math.prod(axis.sequences(self.regions) for axis in axes)
        if self.regions != "fixed" and ways < NOISE.members:
            raise Refusal(
                f"{NAME}: {', '.join(map(str, axes))} pixels leave {ways} ways to draw "
                f"{self.regions} regions; expected >= {NOISE.members}, the number of noise passes"
            )
        settings = self.model_dump(mode="json", exclude={"ratio", "output_sizes"})
        return {**settings, "sizes": [[axis.incoming, axis.outgoing] for axis in axes]}

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return sites, sizes after each, and the sequences seen in the first batches.

        Raises:
            NoEffect: A layer did not pool, or its drawn regions did not vary.
        """
        layers = _layers(inputs.network)
        pooled = [axes for layer in layers for axes in layer.sizing.axes.values()]
        idle = [layer.sizing.site for layer in layers if not layer.sizing.axes]
        require_effect(
            bool(layers) and not idle,
            0,
            f"{NAME}: {len(idle)} of {len(layers)} layers have not pooled: {', '.join(idle)}",
        )
        measures: Measures = {"sites": len(layers)}
        for number, (rows, columns) in enumerate(pooled, 1):
            measures |= {f"height_{number}": rows.outgoing, f"width_{number}": columns.outgoing}
        drawn = [layer for layer in layers if isinstance(layer, DrawnRegions)]
        for number, layer in enumerate(drawn, 1):
            measures[f"sequences_{number}"] = layer.distinct()
        return measures

    def _axes(self, network: nn.Module, shape: tuple[int, ...]) -> list[Axis]:
        """Return both axes of every layer for images of `shape`, found by a pass of a copy."""
        trial = copy.deepcopy(network)
        self.modify_model(trial)
        with mode(trial, training=False, sampling=False), torch.no_grad():
            try:
                trial(torch.zeros(1, *shape))
            except Exception as error:  # whatever code of the user raises
                reason = " ".join(str(error).split()) or type(error).__name__
                raise Refusal(f"{NAME}: the network cannot take the new sizes: {reason}") from None
        pairs = [pair for layer in _layers(trial) for pair in layer.sizing.axes.values()]
        return [axis for pair in pairs for axis in pair]


@final
@dataclass
class Sizing:
    """The sizes of one layer, by the settings and the size of its input.

    Attributes:
        settings: The settings of the regularizer.
        site: The name of the layer.
        number: Its place among the layers that are pooled.
        axes: Rows and columns by input size, as far as they have been computed.
    """

    settings: FractionalMaxPooling
    site: str
    number: int
    axes: dict[tuple[int, int], tuple[Axis, Axis]] = field(default_factory=dict)  # by input size

    def of(self, inputs: Tensor) -> tuple[Axis, Axis]:
        """Return the axes of rows and columns.

        Args:
            inputs: (N, C, H, W).

        Raises:
            Refusal: The sizes leave no choice of regions.
        """
        height, width = inputs.shape[-2:]
        if (height, width) not in self.axes:
            self.axes[height, width] = self._axis(height), self._axis(width)
        return self.axes[height, width]

    def _axis(self, incoming: int) -> Axis:
        settings = self.settings
        if settings.output_sizes is not None:
            outgoing = settings.output_sizes[self.number]
        else:
            outgoing = size(incoming, settings.ratio or 1.0)
        axis = Axis(incoming, outgoing, settings.overlapping)
        axis.require_choice(f"{NAME} at {self.site}")
        return axis


@final
class FixedRegions(nn.Module):
    """A pooling layer with the same regions for every example: no noise layer."""

    def __init__(self, sizing: Sizing):
        super().__init__()
        self.sizing = sizing

    def forward(self, input: Tensor) -> Tensor:  # the name in nn.MaxPool2d
        """Return (N, C, h, w) for inputs (N, C, H, W)."""
        return _fixed(input, self.sizing)


@final
class DrawnRegions(NoiseLayer):
    """A pooling layer with regions drawn for every example, the same for its channels."""

    def __init__(self, sizing: Sizing):
        super().__init__(NAME, sizing.site)
        self.sizing = sizing

    def sample(self, inputs: Tensor) -> Tensor:
        """Return (N, C, h, w) for inputs (N, C, H, W)."""
        rows, columns = self.sizing.of(inputs)
        number = len(inputs)
        if rows == columns:  # one draw of twice as many costs half
            down, across = edges(rows, self.draw(rows, 2 * number)).split(number)
        else:
            down, across = (edges(axis, self.draw(axis, number)) for axis in (rows, columns))
        self._look(down, across)
        return fractional_max_pool(inputs, down, across)

    def deterministic(self, inputs: Tensor) -> Tensor:
        """Return (N, C, h, w) over fixed regions for inputs (N, C, H, W)."""
        return _fixed(inputs, self.sizing)

    def draw(self, axis: Axis, number: int) -> Tensor:
        """Return steps (number, axis.steps).

        Args:
            axis: The sizes of the axis.
            number: The number of sequences of steps.
        """
        if self.sizing.settings.regions == "pseudorandom":
            return pseudorandom_steps(axis, torch.rand(number, 1, generator=self.generator))
        return random_steps(axis, torch.rand(number, axis.steps, generator=self.generator))

    def distinct(self) -> int:
        """Return the number of sequences of regions seen in the first batches.

        Raises:
            NoEffect: They were all the same one, or one a batch.
        """
        batches, examples, varied = (
            int(self.counts.get(name, 0)) for name in ("batches", "examples", "varied")
        )
        seen = sum(isinstance(key, tuple) for key in self.counts)
        where = f"of {batches} batches at {self.site}"
        require_effect(batches > 0, 0, f"{NAME}: no region was drawn at {self.site}")
        require_effect(
            seen > 1,
            COMMONEST ** (examples - 1),
            f"{NAME}: all {examples} examples {where} had the same regions",
        )
        require_effect(
            varied > 0,
            COMMONEST ** (examples - batches),
            f"{NAME}: the examples of each {where} shared their regions",
        )
        return seen

    def _look(self, down: Tensor, across: Tensor) -> None:
        """Count the sequences of a batch, each by where its regions start."""
        if int(self.counts.get("batches", 0)) >= LOOKED_AT:
            return
        rows, columns = (set(map(tuple, drawn[:, ::2].tolist())) for drawn in (down, across))
        self.count(batches=1, examples=len(down), varied=int(len(rows) > 1))
        self.counts |= dict.fromkeys(rows | columns, 1)


def _fixed(inputs: Tensor, sizing: Sizing) -> Tensor:
    rows, columns = (fixed_edges(axis).expand(len(inputs), -1) for axis in sizing.of(inputs))
    return fractional_max_pool(inputs, rows, columns)


def _layers(network: nn.Module) -> list[FixedRegions | DrawnRegions]:
    kinds = FixedRegions | DrawnRegions
    return [module for module in network.modules() if isinstance(module, kinds)]


def _require_features(
    linear: nn.Module, arguments: tuple[Tensor, ...], named: Mapping[str, Tensor]
) -> None:
    """Check that a linear layer takes as many features as the new sizes give it.

    Raises:
        Refusal: The numbers differ.
    """
    inputs = arguments[0] if arguments else named[first_named(linear, named)]
    given, taken = inputs.shape[-1], linear.in_features
    if given != taken:
        raise Refusal(
            f"{NAME}: the new sizes give a linear layer {given} features, which takes {taken}; "
            "expected a head for any size, such as nn.AdaptiveAvgPool2d before nn.Flatten"
        )
