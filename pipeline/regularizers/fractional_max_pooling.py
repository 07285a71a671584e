"""Fractional max pooling (Graham, Fractional Max-Pooling, arXiv 1412.6071, 2014): pools by a ratio between 1 and 2.

Acts on the max-pooling layers that shrink their input: in their place, maxima over regions of at most two pixels by
two, drawn anew for every example and shared by its channels (`regions.py`); fixed regions where there is no noise.
`regions: fixed` is the control that has the resolution without the randomness.
Test rule: 12 noise passes (deterministic with `regions: fixed`, which has no noise).
"""

import copy
import math
from typing import Annotated, Any, ClassVar, Self, final

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pipeline.config.test_rules import DETERMINISTIC, NOISE, NOISE_PASSES
from pipeline.models._sites import Site, linear_layers, pooling_layers
from pipeline.regularizers._regions import (
    Axis,
    Regions,
    edges,
    fixed_edges,
    fractional_max_pool,
    nearest,
    pseudorandom_steps,
    random_steps,
    size,
)
from pipeline.regularizers.base import (
    Evidence,
    Measures,
    NoiseLayer,
    Regularizer,
    mode,
    require_effect,
)
from pipeline.runtime.errors import Refusal

NAME = "fractional_max_pooling"
LOOKED_AT = 10  # sampled batches of which the audit sees the regions
COMMONEST = (
    2 / 3
)  # bound on the chance of any one sequence: pseudorandom regions of ratio 3/2 reach it


class NoChoice(Refusal):
    """Sizes that leave no randomness, why, and which others do."""

    def __init__(self, reason: str, others: str):
        super().__init__(reason + others)
        self.reason = reason
        self.others = others


def _usual_ratio(given: dict[str, Any]) -> float | None:
    return None if given.get("output_sizes") is not None else 1.41


@final
class FractionalMaxPooling(Regularizer):
    """`ratio`: size before over size after, of every layer; or `output_sizes`: pixels a side after each layer, in order."""

    name: ClassVar[str] = "fractional_max_pooling"

    test_rule: ClassVar[str] = NOISE

    output_sizes: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    ratio: float | None = Field(default_factory=_usual_ratio, gt=1, lt=2)
    regions: Regions = "random"
    overlapping: bool = True

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.ratio is None) == (self.output_sizes is None):
            raise ValueError("either a ratio or output_sizes")
        return self

    @property
    def rule(self) -> str:
        """Fixed regions have no noise to average over."""
        return DETERMINISTIC if self.regions == "fixed" else NOISE

    def modify_model(self, network: nn.Module) -> None:
        """Lets every max-pooling layer that shrinks its input pool by this. Raises Refusal where there is none."""
        found = _sites(network)
        if self.output_sizes is not None and len(self.output_sizes) != len(found):
            raise Refusal(
                f"{NAME}: {len(self.output_sizes)} output_sizes; allowed is one for each of {len(found)} max-pooling layers"
            )
        kind = FixedRegions if self.regions == "fixed" else DrawnRegions
        for number, (site, module) in enumerate(found):
            layer = kind(Sizing(self, site, number))
            module.add_module(NAME, layer)
            module.__dict__["forward"] = layer  # of this instance alone; names and types stay
        for _, linear in linear_layers(network):
            linear.register_forward_pre_hook(_takes)

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """What these settings come to on a plain network, left as it is, for images of `shape`.

        Settings of equal effect train the same network. Raises Refusal where the sizes leave too little randomness, or
        the network cannot take them.
        """
        try:
            return self._effect(network, shape)
        except NoChoice as refusal:
            raise Refusal(
                refusal.reason + (self.alternatives(network, shape) or refusal.others)
            ) from None

    def alternatives(self, network: nn.Module, shape: tuple[int, ...]) -> str:
        """The nearest ratios that give this network other sizes, to end a refusal's line; nothing for output_sizes."""
        if self.ratio is None:
            return ""
        own = self._effect_or_none(network, shape)

        def will_do(ratio: float) -> bool:
            return self.model_copy(update={"ratio": ratio})._effect_or_none(network, shape) not in (
                None,
                own,
            )

        return _proposed(nearest(self.ratio, will_do))

    def audit(self, evidence: Evidence) -> Measures:
        """Sites, sizes after each of them, and how many sequences of regions occurred in the first batches."""
        layers = _layers(evidence.network)
        pooled = [axes for layer in layers for axes in layer.sizing.axes.values()]
        idle = sum(not layer.sizing.axes for layer in layers)
        require_effect(
            bool(layers) and not idle, 0, f"{NAME}: {idle} of {len(layers)} layers have not pooled"
        )
        measures: Measures = {"sites": len(layers)}
        for number, (rows, columns) in enumerate(pooled, 1):
            measures |= {f"height_{number}": rows.outgoing, f"width_{number}": columns.outgoing}
        drawn = [layer for layer in layers if isinstance(layer, DrawnRegions)]
        return measures | {
            f"sequences_{number}": layer.distinct() for number, layer in enumerate(drawn, 1)
        }

    def _effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        trial = copy.deepcopy(network)
        self.modify_model(trial)
        with mode(trial, training=False, sampling=False), torch.no_grad():
            try:
                trial(torch.zeros(1, *shape))
            except RuntimeError as error:
                raise Refusal(
                    f"{NAME}: the network cannot take the new sizes: {str(error).splitlines()[0]}"
                ) from None
        axes = [
            axis for layer in _layers(trial) for pair in layer.sizing.axes.values() for axis in pair
        ]
        ways = math.prod(axis.sequences(self.regions) for axis in axes)
        if self.regions != "fixed" and ways < NOISE_PASSES:
            few = f"{ways} ways to draw {self.regions} regions, fewer than the {NOISE_PASSES} noise passes"
            raise NoChoice(f"{NAME}: {', '.join(map(str, axes))} pixels leave {few}", "")
        own = self.model_dump(mode="json", exclude={"ratio", "output_sizes"})
        return {**own, "sizes": [[axis.incoming, axis.outgoing] for axis in axes]}

    def _effect_or_none(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any] | None:
        try:
            return self._effect(network, shape)
        except Refusal:
            return None


@final
class Sizing:
    """Which axes one layer pools, by the settings and the size of what comes in."""

    def __init__(self, settings: FractionalMaxPooling, site: str, number: int):
        self.settings = settings
        self.site = site
        self.number = number
        self.axes: dict[tuple[int, int], tuple[Axis, Axis]] = {}  # by height and width

    def of(self, inputs: Tensor) -> tuple[Axis, Axis]:
        """Rows and columns for inputs (N, C, H, W). Raises NoChoice."""
        height, width = inputs.shape[-2:]
        if (height, width) not in self.axes:
            self.axes[height, width] = self._axis(height), self._axis(width)
        return self.axes[height, width]

    def _axis(self, incoming: int) -> Axis:
        settings = self.settings

        def pooled(outgoing: int) -> Axis:
            return Axis(incoming, outgoing, settings.overlapping)

        if settings.output_sizes is not None:
            axis = pooled(settings.output_sizes[self.number])
            others = f"; allowed are: {', '.join(str(other) for other in range(1, incoming) if pooled(other).choice) or 'none'}"
        else:
            ratio = settings.ratio or 1.0
            axis = pooled(size(incoming, ratio))
            others = _proposed(nearest(ratio, lambda other: pooled(size(incoming, other)).choice))
        if axis.choice:
            return axis
        kind = "overlapping" if settings.overlapping else "disjoint"
        raise NoChoice(
            f"{NAME} at {self.site}: {axis} pixels leave no choice of {kind} regions of one or two",
            others,
        )


@final
class FixedRegions(nn.Module):
    """Pools over the same regions whatever the example: no noise layer."""

    def __init__(self, sizing: Sizing):
        super().__init__()
        self.sizing = sizing

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w)."""
        return _fixed(inputs, self.sizing)


@final
class DrawnRegions(NoiseLayer):
    """Pools over regions drawn anew for every example, the same for its channels."""

    def __init__(self, sizing: Sizing):
        super().__init__(NAME, sizing.site)
        self.sizing = sizing

    def sample(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w)."""
        rows, columns = self.sizing.of(inputs)
        number = len(inputs)
        if rows == columns:  # one draw of twice as many costs half
            down, across = edges(rows, self.draw(rows, 2 * number)).split(number)
        else:
            down, across = (edges(axis, self.draw(axis, number)) for axis in (rows, columns))
        self._look(down, across)
        return fractional_max_pool(inputs, down, across)

    def deterministic(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w) over fixed regions."""
        return _fixed(inputs, self.sizing)

    def draw(self, axis: Axis, number: int) -> Tensor:
        """Steps (number, axis.steps)."""
        if self.sizing.settings.regions == "pseudorandom":
            return pseudorandom_steps(axis, torch.rand(number, 1, generator=self.generator))
        return random_steps(axis, torch.rand(number, axis.steps, generator=self.generator))

    def distinct(self) -> int:
        """Sequences of regions seen in the first batches. Raises NoEffect where they were all one, or one a batch."""
        batches, examples, varied = (
            int(self.counts.get(name, 0)) for name in ("batches", "examples", "varied")
        )
        seen = sum(name.startswith("[") for name in self.counts)
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
        if int(self.counts.get("batches", 0)) >= LOOKED_AT:
            return
        rows, columns = (
            {str(starts) for starts in drawn[:, ::2].tolist()} for drawn in (down, across)
        )
        self.count(batches=1, examples=len(down), varied=int(len(rows) > 1))
        self.counts |= dict.fromkeys(rows | columns, 1)  # each sequence by where its regions start


def _fixed(inputs: Tensor, sizing: Sizing) -> Tensor:
    rows, columns = (fixed_edges(axis).expand(len(inputs), -1) for axis in sizing.of(inputs))
    return fractional_max_pool(inputs, rows, columns)


def _sites(network: nn.Module) -> list[Site]:
    found = [
        (site, module)
        for site, module in pooling_layers(network)
        if module.stride not in (1, (1, 1))
    ]
    if not found:
        raise Refusal(
            f"{NAME}: no max-pooling layer (nn.MaxPool2d with a stride above 1) was found in the network"
        )
    indexed = [site for site, module in found if module.return_indices]
    if indexed:
        raise Refusal(
            f"{NAME}: {indexed[0]} returns the indices of its maxima; allowed are max-pooling layers that do not"
        )
    return found


def _layers(network: nn.Module) -> list[FixedRegions | DrawnRegions]:
    return [
        module for module in network.modules() if isinstance(module, FixedRegions | DrawnRegions)
    ]


def _takes(linear: nn.Module, arguments: tuple[Tensor, ...]) -> None:
    """Refuses inputs that a linear layer was not made for, as behind pooling to another size they can be."""
    given, taken = arguments[0].shape[-1], linear.in_features
    if given != taken:
        needed = "needed is a head for any size, such as nn.AdaptiveAvgPool2d before nn.Flatten"
        raise Refusal(
            f"{NAME}: the new sizes give a linear layer {given} features, which takes {taken}; {needed}"
        )


def _proposed(ratios: list[float]) -> str:
    return f"; the nearest ratios that will do: {' and '.join(map(str, ratios)) or 'none'}"
