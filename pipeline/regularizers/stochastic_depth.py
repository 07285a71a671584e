"""Stochastic depth: whole residual branches are skipped at random while training.

Huang et al., Deep Networks with Stochastic Depth, ECCV 2016.

A skipped branch is not computed, has no gradient, and leaves its batch norm unmoved. As in the
paper nothing is rescaled in training, and at test every branch is multiplied by its chance of
survival. Other libraries call it drop path or drop connect.
Test rule: deterministic (the paper's).
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, final

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.models._additions import passed_over, untraced
from pipeline.models._residuals import Gate, ResidualBlock, residual_blocks
from pipeline.models._sites import plain
from pipeline.regularizers._audit import AuditInputs, Measures, require_effect, require_rate
from pipeline.regularizers._noise import NoiseLayer, layers_of
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal


def stochastic_depth(
    shortcut: Tensor, inputs: Sequence[Tensor], branch: Callable[..., Tensor], kept: Sequence[bool]
) -> Tensor:
    """Return shortcut + branch(*inputs) where `kept` is true, else the shortcut.

    The branch is computed for the examples kept, and not at all if there are none; batch norm in it
    sees these alone.

    Huang et al., ECCV 2016.

    Args:
        shortcut: (N, ...).
        inputs: What the branch reads, each (N, ...).
        branch: The function that is left out.
        kept: One for all examples, or one for each.
    """
    if all(kept):
        return shortcut + branch(*inputs)
    if not any(kept):
        return shortcut.clone()  # the next module may work in place
    survivors = [row for row, survives in enumerate(kept) if survives]
    rows = torch.tensor(survivors, device=shortcut.device)
    chosen = [_outward(_inward(values).index_select(0, rows), values) for values in inputs]
    part = _of_rows(branch, chosen).expand(len(rows), *shortcut.shape[1:])
    inner = part.movedim(1, -1) if _channels_last(shortcut) else part
    return _outward(_inward(shortcut).index_add(0, rows, inner), shortcut)


@final
class StochasticDepth(Regularizer):
    """Settings of stochastic depth.

    Attributes:
        survival: The chance of survival of the last branch.
        decay: linear (falls to `survival` from 1 at the input) or uniform (the same for all).
        mode: batch (one draw for all examples of a batch) or example (one for each).
    """

    name: ClassVar = "stochastic_depth"
    family: ClassVar = "noise"
    also_called: ClassVar = ("drop_path", "drop_connect", "layer_drop")
    needs: ClassVar = (
        "residual branch: no module's forward adds two paths from its input, one with more "
        "convolutions or linear layers than the other"
    )
    off: ClassVar = {"survival": 1}
    activity: ClassVar = "skipped"

    survival: float = Field(0.5, gt=0, le=1)
    decay: Literal["linear", "uniform"] = "linear"
    mode: Literal["batch", "example"] = "batch"  # one draw for a batch, or one for each example

    def sites(self, network: nn.Module) -> list[ResidualBlock]:
        """Return the residual blocks of the network."""
        return residual_blocks(network)

    def require_sites(self, network: nn.Module) -> Sequence[ResidualBlock]:
        """Return `sites`, of which there must be at least one.

        Raises:
            Refusal: There is none, or what may be one cannot be traced.
        """
        reasons = untraced(network) if not self.sites(network) else {}
        if reasons:
            first = max(reasons, key=lambda name: name.count("."))  # an inner one
            raise Refusal(
                f"{self.name}: the network has no residual branch that can be found; "
                f"not traced: {len(reasons)} of its modules, as {plain(first) or 'the network'}: "
                f"{reasons[first]}"
            )
        return super().require_sites(network)

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return every branch's chance: with a single branch, both kinds of decay are one.

        Raises:
            Refusal: There is no residual branch, or what may be one cannot be traced.
        """
        return {"chances": self.chances(_branches(self.require_sites(network))), "mode": self.mode}

    def chances(self, branches: int) -> list[float]:
        """Return each branch's chance of survival, in order.

        Args:
            branches: The number of residual branches of the network.

        Returns:
            (branches,) Chances in [0, 1], from the input to the output.
        """
        numbers = range(1, branches + 1)
        steps = [number / branches if self.decay == "linear" else 1.0 for number in numbers]
        return [1 - step * (1 - self.survival) for step in steps]

    def modify_model(self, network: nn.Module) -> None:
        """Compute the addition of every block by a noise layer.

        Raises:
            Refusal: There is no residual branch, or what may be one cannot be traced.
        """
        blocks = self.require_sites(network)
        chances = iter(self.chances(_branches(blocks)))
        for block in blocks:
            names = [f"stochastic_depth_{number}" for number in range(block.branches)]
            layers = {
                name: BranchLayer(f"{block.name}.{name}", next(chances), self.mode == "example")
                for name in names
            }
            block.insert(layers)

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return blocks and the share of branch computations skipped: realised, and expected.

        `passed_over`: modules that cannot be traced, and sums of which neither side is the branch.

        Raises:
            NoEffect: No branch was reached, or the share of branches skipped is not the expected
                one.
        """
        layers = layers_of(inputs.network, BranchLayer)
        drawn = [int(layer.counts.get("drawn", 0)) for layer in layers]
        skipped = sum(drawn) - sum(int(layer.counts.get("kept", 0)) for layer in layers)
        require_effect(
            sum(drawn) > 0, 0, f"{self.name}: none of {len(layers)} branches was ever reached"
        )
        chances = zip(self.chances(len(layers)), drawn, strict=True)
        expected = sum((1 - chance) * number for chance, number in chances) / sum(drawn)
        what = f"computations of {len(layers)} branches"
        require_rate(self.name, what, skipped, sum(drawn), expected)
        return {
            "blocks": len(layers),
            "skipped": skipped / sum(drawn),
            "expected_skipped": expected,
            "passed_over": passed_over(inputs.network),
        }


@final
class BranchLayer(NoiseLayer, Gate):
    """The addition of shortcut and branch, which computes the branch or skips it."""

    def __init__(self, site: str, survival: float, each: bool):
        super().__init__("stochastic_depth", site)
        self.survival = survival
        self.each = each  # a draw for each example

    def sample(self, inputs: Tensor, *pieces: Tensor) -> Tensor:
        """Return the unscaled sum of the shortcut `inputs` and the branch of `pieces`, if kept."""
        draws = torch.rand(len(inputs) if self.each else 1, generator=self.generator).tolist()
        kept = [draw < self.survival for draw in draws]
        self.count(drawn=len(kept), kept=sum(kept))
        return stochastic_depth(inputs, pieces, self.branch, kept)

    def deterministic(self, inputs: Tensor, *pieces: Tensor) -> Tensor:
        """Return the sum with the branch multiplied by its chance of survival."""
        return torch.add(inputs, self.branch(*pieces), alpha=self.survival)


def _branches(blocks: Sequence[ResidualBlock]) -> int:
    return sum(block.branches for block in blocks)


def _of_rows(branch: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Tensor:
    """Return the branch of some examples; one is doubled: batch norm rejects a single value."""
    if len(inputs[0]) > 1:
        return branch(*inputs)
    return branch(*(torch.cat([values, values]) for values in inputs))[:1]


def _inward(values: Tensor) -> Tensor:
    """Return the values as they are in memory, where rows are copied several times as fast."""
    return values.movedim(1, -1) if _channels_last(values) else values


def _outward(inner: Tensor, values: Tensor) -> Tensor:
    """Undo `_inward`, given values in the original order of axes."""
    return inner.movedim(-1, 1) if _channels_last(values) else inner


def _channels_last(values: Tensor) -> bool:
    return values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last)
