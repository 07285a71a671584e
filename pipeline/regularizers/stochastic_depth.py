"""Stochastic depth (Huang et al., Deep Networks with Stochastic Depth, ECCV 2016): whole branches are left out.

Acts on the residual branches of a network, which are skipped at random while training: not computed, without gradient,
their batch norm unmoved. As in the paper nothing is rescaled in training, and at test every branch is multiplied by its
chance of survival. Test rule: deterministic (the paper's).
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models._residuals import Gate, ResidualBlock, passed_over, residual_blocks
from pipeline.regularizers.base import (
    Evidence,
    Measures,
    NoiseLayer,
    Regularizer,
    noise_layers,
    require_effect,
    require_rate,
)
from pipeline.runtime.errors import Refusal


def stochastic_depth(
    shortcut: Tensor, inputs: Sequence[Tensor], branch: Callable[..., Tensor], kept: Sequence[bool]
) -> Tensor:
    """shortcut + branch(*inputs) where `kept` (one for all examples, or one for each) is true, else the shortcut.

    The branch is computed for the examples kept, and not at all where there are none; batch norm in it sees these alone.
    """
    if all(kept):
        return shortcut + branch(*inputs)
    if not any(kept):
        return shortcut.clone()  # what follows may work in place
    rows = torch.tensor(
        [row for row, survives in enumerate(kept) if survives], device=shortcut.device
    )
    chosen = [_outward(_inward(values).index_select(0, rows), values) for values in inputs]
    part = _of_rows(branch, chosen).expand(len(rows), *shortcut.shape[1:])
    inner = part.movedim(1, -1) if _channels_last(shortcut) else part
    return _outward(_inward(shortcut).index_add(0, rows, inner), shortcut)


class StochasticDepth(Regularizer):
    """`survival` is that of the last branch: linear decay falls to it from 1 at the network's input."""

    name: ClassVar[str] = "stochastic_depth"

    also_called: ClassVar[tuple[str, ...]] = ("drop_path", "drop_connect", "layer_drop")

    survival: float = Field(0.5, gt=0, le=1)
    decay: Literal["linear", "uniform"] = "linear"
    mode: Literal["batch", "example"] = (
        "batch"  # one draw for all examples of a batch, or one for each
    )

    @classmethod
    def neutral(cls) -> Self:
        """Every branch survives."""
        return cls(survival=1)

    def is_neutral(self) -> bool:
        """Whatever the decay and the draws."""
        return self.survival == 1

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """Every branch's chance: with a single branch, both kinds of decay are one."""
        return {"chances": self.chances(_branches(_found(network))), "mode": self.mode}

    def chances(self, branches: int) -> list[float]:
        """Each branch's chance of survival, in order."""
        steps = [
            (number / branches if self.decay == "linear" else 1.0)
            for number in range(1, branches + 1)
        ]
        return [1 - step * (1 - self.survival) for step in steps]

    def modify_model(self, network: nn.Module) -> None:
        """Places a layer at every addition of a branch."""
        blocks = _found(network)
        chances = iter(self.chances(_branches(blocks)))
        for block in blocks:
            names = [f"stochastic_depth_{number}" for number in range(block.branches)]
            block.insert(
                {
                    name: BranchLayer(f"{block.name}.{name}", next(chances), self.mode == "example")
                    for name in names
                }
            )

    def callbacks(self) -> list[Any]:
        """Prepares the optimizer for weights without gradient."""
        return [_Momenta()]

    def audit(self, evidence: Evidence) -> Measures:
        """Blocks, and the share of branch computations skipped: realised, and expected by the chances of survival.

        `passed_over`: modules that cannot be traced, and sums of which neither side is the branch.
        """
        layers = [
            layer for layer in noise_layers(evidence.network) if isinstance(layer, BranchLayer)
        ]
        drawn = [int(layer.counts.get("drawn", 0)) for layer in layers]
        skipped = sum(drawn) - sum(int(layer.counts.get("kept", 0)) for layer in layers)
        require_effect(
            sum(drawn) > 0,
            0,
            f"stochastic_depth: none of {len(layers)} branches was ever asked for",
        )
        chances = zip(self.chances(len(layers)), drawn, strict=True)
        expected = sum((1 - chance) * number for chance, number in chances) / sum(drawn)
        require_rate(
            "stochastic_depth",
            f"computations of {len(layers)} branches",
            skipped,
            sum(drawn),
            expected,
        )
        measures: Measures = {
            "blocks": len(layers),
            "skipped": skipped / sum(drawn),
            "expected_skipped": expected,
        }
        return measures | {"passed_over": passed_over(evidence.network)}


class BranchLayer(NoiseLayer, Gate):
    """Stands where shortcut and branch are added, and calls the branch or leaves it."""

    def __init__(self, site: str, survival: float, each: bool):
        super().__init__("stochastic_depth", site)
        self.survival = self.share = survival
        self.each = each  # a draw for each example

    def sample(self, inputs: Tensor, *pieces: Tensor) -> Tensor:
        """Shortcut and the pieces that the branch reads -> sum, unscaled."""
        draws = torch.rand(len(inputs) if self.each else 1, generator=self.generator).tolist()
        kept = [draw < self.survival for draw in draws]
        self.count(drawn=len(kept), kept=sum(kept))
        return stochastic_depth(inputs, pieces, self.branch, kept)

    def deterministic(self, inputs: Tensor, *pieces: Tensor) -> Tensor:
        """The sum with the branch multiplied by its chance of survival."""
        return torch.add(inputs, self.branch(*pieces), alpha=self.survival)

    def forward(self, inputs: Tensor, *pieces: Tensor) -> Tensor:
        """Sampled or deterministic, by the switch alone."""
        return (
            self.sample(inputs, *pieces) if self.sampling else self.deterministic(inputs, *pieces)
        )


class _Momenta:
    """Starts every momentum at zero: torch's fused SGD fails where some weights have one and others, skipped so far, none."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        for optimizer in trainer.optimizers:
            start_momenta(optimizer)


def start_momenta(optimizer: torch.optim.Optimizer) -> None:
    """Zeros where an optimizer with momentum has none yet; its steps stay the same bit for bit."""
    for group in optimizer.param_groups:
        for parameter in group["params"] if group.get("momentum") else ():
            state = optimizer.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def _found(network: nn.Module) -> list[ResidualBlock]:
    """The blocks with a branch to skip. Raises Refusal where there is none."""
    blocks = residual_blocks(network)
    if not blocks:
        raise Refusal(
            "stochastic_depth: this network has no residual branch: no module's forward adds two paths from its input, "
            "one with more convolutions or linear layers than the other"
        )
    return blocks


def _branches(blocks: Sequence[ResidualBlock]) -> int:
    return sum(block.branches for block in blocks)


def _of_rows(branch: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Tensor:
    """The branch of some examples; one alone goes twice, for batch norm refuses a single value, not two equal ones."""
    if len(inputs[0]) > 1:
        return branch(*inputs)
    return branch(*(torch.cat([values, values]) for values in inputs))[:1]


def _inward(values: Tensor) -> Tensor:
    """The values as they lie in memory, example by example: rows are copied several times as fast as by indexing."""
    return values.movedim(1, -1) if _channels_last(values) else values


def _outward(inner: Tensor, values: Tensor) -> Tensor:
    """Back from the order in which `values` lie."""
    return inner.movedim(-1, 1) if _channels_last(values) else inner


def _channels_last(values: Tensor) -> bool:
    return values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
