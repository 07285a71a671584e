"""Draw masks of single weights, one for every example, and multiply with them.

Masks come in chunks and are drawn again in the backward pass, so memory stays bounded. Chances are
integer parts of 65536, which takes few random bits.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

PARTS = 1 << 16
CHUNK = 1 << 17  # weights masked at once: two such tensors stay in the processor's cache
REMEMBERED = 1 << 20  # weights whose masks are kept for the backward pass, 4 MiB; more are redrawn


@dataclass
class Masks:
    """Masks of single weights, in chunks of rows; the same ones in every iteration.

    Few are kept in memory; many are drawn again from their seed.

    Attributes:
        seed: The seed of all masks.
        rows: The number of examples.
        shape: The shape of the weights.
        dropped: The chance of being dropped, in parts of 65536.
        dtype: The type of the masks, which are 1 and 0.
        kept: The number of weights kept, once all masks have been drawn.
    """

    seed: int
    rows: int
    shape: tuple[int, int]
    dropped: int  # parts of the chance
    dtype: torch.dtype
    kept: int = 0  # weights, once all masks have been drawn

    def __post_init__(self) -> None:
        small = self.rows * math.prod(self.shape) <= REMEMBERED
        self.remembered = list(self._draw()) if small else None

    def __iter__(self) -> Iterator[Tensor]:
        return self._draw() if self.remembered is None else iter(self.remembered)

    def _draw(self) -> Iterator[Tensor]:
        draw, self.kept = words_of(np.random.SFC64(self.seed)), 0
        size = max(1, CHUNK // math.prod(self.shape))
        for start in range(0, self.rows, size):
            shape = (min(size, self.rows - start), *self.shape)
            mask = draw_mask(draw, shape, self.dropped, self.dtype)
            self.kept += int(mask.sum())
            yield mask


class MaskedProduct(torch.autograd.Function):
    """The product of inputs (N, in) and a weight (out, in), masked: (N, out).

    Masks come in chunks (rows, out, in).
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, masks: Iterable[Tensor]) -> Tensor:
        """Return the product, drawing the masks."""
        ctx.save_for_backward(inputs, weight)
        ctx.masks = masks
        products = [
            torch.bmm(rows[:, None], (mask * weight).transpose(1, 2))[:, 0]
            for mask, rows in _chunks(masks, inputs)
        ]
        return torch.cat(products)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        """Return the gradients of inputs and weight, drawing the same masks again."""
        inputs, weight = ctx.saved_tensors
        of_inputs, of_weight = [], torch.zeros_like(weight)
        for mask, rows, back in _chunks(ctx.masks, inputs, gradient):
            if ctx.needs_input_grad[0]:
                of_inputs.append(torch.bmm(back[:, None], mask * weight)[:, 0])
            of_weight += torch.ops.gapwise.masked_weight_gradient(mask, rows, back)
        return torch.cat(of_inputs) if of_inputs else None, of_weight, None


def masked_weight_gradient(mask: Tensor, inputs: Tensor, gradient: Tensor) -> Tensor:
    """Return the sum over examples of mask * (gradient inputs^T): (out, in).

    Computed element by element, which is faster than torch's products of matrices; an operation of
    its own, so that `training/flops.py` can count it as the product it is.

    Args:
        mask: (N, out, in).
        inputs: (N, in).
        gradient: That of the outputs, (N, out).
    """
    return (mask * inputs[:, None]).mul_(gradient[:, :, None]).sum(0)


_OPERATIONS = torch.library.Library("gapwise", "DEF")
_OPERATIONS.define("masked_weight_gradient(Tensor mask, Tensor inputs, Tensor gradient) -> Tensor")
_OPERATIONS.impl("masked_weight_gradient", masked_weight_gradient, "CompositeExplicitAutograd")


def _chunks(masks: Iterable[Tensor], *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield each mask with its rows of every tensor."""
    start = 0
    for mask in masks:
        yield mask.to(tensors[0].device), *(tensor[start : start + len(mask)] for tensor in tensors)
        start += len(mask)


def parts(rate: float) -> int:
    """Return a rate in integer parts, by rounding neither none nor all of them."""
    return min(max(round(rate * PARTS), 1), PARTS - 1) if rate else 0


def draw_mask(
    draw: Callable[[int], Tensor], shape: tuple[int, ...], dropped: int, dtype: torch.dtype
) -> Tensor:
    """Return 1 with chance 1 - dropped / 65536, else 0; floats, since mixed products are slow.

    A weight costs 16 bits, or 8 if these suffice, as for 1/4 or 1/2; the lowest numbers are
    dropped.

    Args:
        draw: A function from a number to as many random 64-bit words.
        shape: The shape of the mask.
        dropped: The chance of being dropped, in parts of 65536.
        dtype: The type of the mask.
    """
    number, bits = math.prod(shape), 16 if dropped % 256 else 8
    words = draw(-(-number * bits // 64))
    numbers = words.view(torch.int16 if bits == 16 else torch.int8)[:number].view(shape)
    lowest = (dropped - PARTS // 2) >> (16 - bits)
    return torch.ge(numbers, lowest, out=torch.empty(shape, dtype=dtype))


def words_of(source: np.random.SFC64) -> Callable[[int], Tensor]:
    """Return a function that draws words by numpy: many come faster from it, few from torch.

    Args:
        source: The generator.
    """
    return lambda number: torch.from_numpy(np.asarray(source.random_raw(number)).view(np.int64))
