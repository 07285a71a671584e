"""Masks of single weights, one for every example: how they are drawn, and the product with them.

Chances are integer parts of 65536, so a mask costs 16 random bits per weight, or 8 if these
suffice. Masks come in chunks and are drawn again in the backward pass: memory stays bounded.
"""

import math
from collections.abc import Iterable, Iterator
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
    """Masks of `rows` examples for weights of `shape`, in chunks; the same ones in every iteration.

    Few are remembered; many are drawn again from their seed.
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
        source, self.kept = np.random.SFC64(self.seed), 0
        size = max(1, CHUNK // math.prod(self.shape))
        for start in range(0, self.rows, size):
            shape = (min(size, self.rows - start), *self.shape)
            mask = draw_mask(source, shape, self.dropped, self.dtype)
            self.kept += int(mask.sum())
            yield mask


class MaskedProduct(torch.autograd.Function):
    """inputs (N, in), weight (out, in), masks in chunks (rows, out, in) -> (N, out)."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, masks: Iterable[Tensor]) -> Tensor:
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
        inputs, weight = ctx.saved_tensors
        of_inputs, of_weight = [], torch.zeros_like(weight)
        for mask, rows, back in _chunks(ctx.masks, inputs, gradient):
            if ctx.needs_input_grad[0]:
                of_inputs.append(torch.bmm(back[:, None], mask * weight)[:, 0])
            of_weight += (mask * rows[:, None]).mul_(back[:, :, None]).sum(0)
        return torch.cat(of_inputs) if of_inputs else None, of_weight, None


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
    source: np.random.SFC64, shape: tuple[int, ...], dropped: int, dtype: torch.dtype
) -> Tensor:
    """Return 1 with chance 1 - dropped / 65536, else 0.

    Many words come faster from numpy, few from torch.
    """
    words = np.asarray(source.random_raw(word_count(math.prod(shape), dropped)))
    return mask_of(torch.from_numpy(words.view(np.int64)), shape, dropped, dtype)


def word_count(number: int, dropped: int) -> int:
    """Return the number of 64-bit words for `number` weights."""
    return -(-number * _bits(dropped) // 64)


def mask_of(words: Tensor, shape: tuple[int, ...], dropped: int, dtype: torch.dtype) -> Tensor:
    """Return 1 where a part of the 64-bit random words is not among the lowest, else 0.

    Floats, since products of mixed types are slow.
    """
    bits = _bits(dropped)
    numbers = words.view(torch.int16 if bits == 16 else torch.int8)[: math.prod(shape)].view(shape)
    lowest = (dropped - PARTS // 2) >> (16 - bits)
    return torch.ge(numbers, lowest, out=torch.empty(shape, dtype=dtype))


def _bits(dropped: int) -> int:
    """Return the random bits that a chance of dropped / 65536 needs: 8 for 1/4 or 1/2."""
    return 16 if dropped % 256 else 8
