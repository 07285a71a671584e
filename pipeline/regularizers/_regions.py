"""The regions of fractional pooling: how many there can be, where they lie for given draws, and their maxima.

Separate from the regularizer, which decides when to draw them: here is the arithmetic, with every draw an argument.
Regions are those of the paper's own code (Graham, SparseConvNet, Regions.cpp): ticks start at 0, so that none exceeds
two pixels, as the first can in the formula of arXiv 1412.6071 as printed, above a ratio of 1.5.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

RATIOS = tuple(
    number / 100 for number in range(101, 200)
)  # what a refusal takes its proposals from

Regions = Literal["random", "pseudorandom", "fixed"]


@dataclass(frozen=True)
class Axis:
    """One axis of one layer: `incoming` pixels become `outgoing` regions that start 1 or 2 pixels after each other."""

    incoming: int
    outgoing: int
    overlapping: bool

    def __str__(self) -> str:
        return f"{self.incoming} -> {self.outgoing}"

    @property
    def steps(self) -> int:
        """Number of steps: from first to last start where regions overlap, else to the end of the last region."""
        return self.outgoing - self.overlapping

    @property
    def span(self) -> int:
        """What the steps add up to."""
        return self.incoming - 2 * self.overlapping

    @property
    def choice(self) -> bool:
        """Whether steps of both lengths occur, so that there is an order to draw."""
        return self.steps < self.span < 2 * self.steps

    def sequences(self, regions: Regions) -> int:
        """How many different sequences of steps can occur, given that there is a choice."""
        if regions == "fixed":
            return 1
        if regions == "pseudorandom":
            return Fraction(self.span, self.steps).denominator
        return math.comb(self.steps, self.span - self.steps)


def size(incoming: int, ratio: float) -> int:
    """Pixels after pooling: incoming / ratio rounded down, with the ratio as the decimal number that was written."""
    return math.floor(incoming / Fraction(str(ratio)))


def sizes(incoming: int, ratio: float, layers: int) -> tuple[int, ...]:
    """Pixels after each of so many layers, every one pooling what the one before it gives."""
    after = [incoming]
    for _ in range(layers):
        after.append(size(after[-1], ratio))
    return tuple(after[1:])


def pseudorandom_steps(axis: Axis, offsets: Tensor) -> Tensor:
    """Steps (N, axis.steps) for `offsets` u (N, 1) in [0, 1): ticks int((i + u) a) - int(u a) with a = span / steps.

    In the offsets' precision, as PyTorch's kernel has it; the last tick is set, as rounding can miss it by 1.
    """
    ratio = torch.tensor(axis.span, dtype=offsets.dtype) / axis.steps
    ticks = ((torch.arange(axis.steps + 1) + offsets) * ratio).long() - (offsets * ratio).long()
    ticks[:, -1] = axis.span
    return ticks.diff(dim=1)


def random_steps(axis: Axis, keys: Tensor) -> Tensor:
    """Steps (N, axis.steps): all the 1s and 2s that fit, in the order that sorts `keys` (same shape, uniform) row by row."""
    return _lengths(axis).take(keys.argsort(dim=1))


@functools.cache
def _lengths(axis: Axis) -> Tensor:
    return torch.tensor([2] * (axis.span - axis.steps) + [1] * (2 * axis.steps - axis.span))


def edges(axis: Axis, steps: Tensor) -> Tensor:
    """First and last pixel of every region (N, 2 * outgoing), twice the same where it has one pixel."""
    ends = steps.cumsum(1)
    first = functional.pad(ends, (1, 0)) if axis.overlapping else ends - steps
    last = first + 1 if axis.overlapping else ends - 1
    return torch.stack((first, last), dim=2).flatten(1)


@functools.cache
def fixed_edges(axis: Axis) -> Tensor:
    """The edges (1, 2 * outgoing) of the pseudorandom regions with offset 1/2."""
    return edges(axis, pseudorandom_steps(axis, torch.full((1, 1), 0.5)))


def corners(inputs: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Inputs (N, C, H, W) at `rows` (N, 2 * h) and `columns` (N, 2 * w): (N, C, 2 * h, 2 * w), in channels_last layout.

    Each square of two by two is a region. Moves whole pixels, hence fast for inputs in that layout too.
    """
    examples, channels, height, width = inputs.shape
    starts = torch.arange(0, examples * height * width, height * width)[:, None]
    lines = torch.add(starts, rows, alpha=width)
    index = (lines[:, :, None] + columns[:, None, :]).flatten().to(inputs.device)
    pixels = inputs.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, index)
    return pixels.view(examples, rows.shape[1], columns.shape[1], channels).permute(0, 3, 1, 2)


def fractional_max_pool(inputs: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Maxima (N, C, h, w) of inputs (N, C, H, W) over the regions with edges `rows` (N, 2 * h) and `columns` (N, 2 * w)."""
    return functional.max_pool2d(corners(inputs, rows, columns), 2)


def nearest(ratio: float, allowed: Callable[[float], bool]) -> list[float]:
    """The allowed ratios next to `ratio`, below and above, in hundredths."""
    below = next((other for other in reversed(RATIOS) if other < ratio and allowed(other)), None)
    above = next((other for other in RATIOS if other > ratio and allowed(other)), None)
    return [other for other in (below, above) if other is not None]
