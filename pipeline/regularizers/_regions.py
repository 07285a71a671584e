"""Compute regions of fractional pooling: their number, their places for given draws, their maxima.

Every draw is an argument. Regions are those of the paper's own code (Graham, SparseConvNet,
Regions.cpp): ticks start at 0, so no region exceeds two pixels. With the formula as printed in
arXiv 1412.6071 the first region can, for ratios above 1.5.
"""

import functools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.runtime.errors import Refusal

Regions = Literal["random", "pseudorandom", "fixed"]


@dataclass(frozen=True)
class Axis:
    """One axis of one layer.

    Attributes:
        incoming: The number of pixels before pooling.
        outgoing: The number of regions, whose starts are 1 or 2 pixels apart.
        overlapping: Whether neighboring regions share a pixel.
    """

    incoming: int
    outgoing: int
    overlapping: bool

    def __str__(self) -> str:
        """Return the sizes before and after, for error messages."""
        return f"{self.incoming} -> {self.outgoing}"

    @property
    def steps(self) -> int:
        """Return the number of steps: to the last start if regions overlap, else to the end."""
        return self.outgoing - self.overlapping

    @property
    def span(self) -> int:
        """Return the sum of the steps."""
        return self.incoming - 2 * self.overlapping

    @property
    def possible(self) -> range:
        """Return the outgoing sizes with steps of both lengths, which leave an order to draw."""
        return range(self.incoming // 2 + 1, self.incoming - self.overlapping)

    @property
    def choice(self) -> bool:
        """Return whether the outgoing size is a possible one."""
        return self.outgoing in self.possible

    def require_choice(self, where: str) -> None:
        """Check that the outgoing size is a possible one.

        Args:
            where: How the error begins.

        Raises:
            Refusal: It is not.
        """
        if self.choice:
            return
        kind, possible = "overlapping" if self.overlapping else "disjoint", self.possible
        sizes = f"{possible[0]} to {possible[-1]} pixels after it" if possible else "larger images"
        raise Refusal(
            f"{where}: {self} pixels leave no choice of {kind} regions of one or two; "
            f"expected {sizes}"
        )

    def sequences(self, regions: Regions) -> int:
        """Return how many different sequences of steps can occur, given that there is a choice.

        Args:
            regions: How the regions of the axis are drawn.
        """
        if regions == "fixed":
            return 1
        if regions == "pseudorandom":
            return Fraction(self.span, self.steps).denominator
        return math.comb(self.steps, self.span - self.steps)


def size(incoming: int, ratio: float) -> int:
    """Return the pixels after pooling, incoming / ratio rounded down, for the ratio as written.

    Args:
        incoming: Pixels before pooling.
        ratio: Size before over size after, above 1.
    """
    return math.floor(incoming / Fraction(str(ratio)))


def pseudorandom_steps(axis: Axis, offsets: Tensor) -> Tensor:
    """Return steps (N, axis.steps) in pseudorandom order.

    Ticks are int((i + u) a) - int(u a) with a = span / steps, in the offsets' precision as in
    PyTorch's kernel; the last tick is set, as rounding can miss it by 1. Graham, arXiv 1412.6071.

    Args:
        axis: The sizes of the axis.
        offsets: u (N, 1) in [0, 1).
    """
    ratio = torch.tensor(axis.span, dtype=offsets.dtype) / axis.steps
    ticks = ((torch.arange(axis.steps + 1) + offsets) * ratio).long() - (offsets * ratio).long()
    ticks[:, -1] = axis.span
    return ticks.diff(dim=1)


def random_steps(axis: Axis, keys: Tensor) -> Tensor:
    """Return steps (N, axis.steps), all 1s and 2s that fit, in random order.

    Args:
        axis: The sizes of the axis.
        keys: Uniform draws (N, axis.steps); the order sorts each row of them.
    """
    return _lengths(axis).take(keys.argsort(dim=1))


@functools.cache
def _lengths(axis: Axis) -> Tensor:
    return torch.tensor([2] * (axis.span - axis.steps) + [1] * (2 * axis.steps - axis.span))


def edges(axis: Axis, steps: Tensor) -> Tensor:
    """Return first and last pixel of every region (N, 2 * outgoing), equal if it has one pixel.

    Args:
        axis: The sizes of the axis.
        steps: (N, axis.steps), each 1 or 2.
    """
    ends = steps.cumsum(1)
    first = functional.pad(ends, (1, 0)) if axis.overlapping else ends - steps
    last = first + 1 if axis.overlapping else ends - 1
    return torch.stack((first, last), dim=2).flatten(1)


@functools.cache
def fixed_edges(axis: Axis) -> Tensor:
    """Return the edges (1, 2 * outgoing) of the pseudorandom regions with offset 1/2.

    Args:
        axis: The lengths of the axis before and after pooling.
    """
    return edges(axis, pseudorandom_steps(axis, torch.full((1, 1), 0.5)))


def corners(inputs: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the pixels at the corners of every region: each square of two by two is a region.

    The layout is channels_last: whole pixels move, which is fast for inputs in that layout.

    Args:
        inputs: (N, C, H, W).
        rows: The first and the last row of each region, as `edges` returns them, (N, 2h), int64.
        columns: The first and the last column of each region, likewise, (N, 2w), int64.

    Returns:
        (N, C, 2h, 2w).
    """
    examples, channels, height, width = inputs.shape
    starts = torch.arange(0, examples * height * width, height * width)[:, None]
    lines = torch.add(starts, rows, alpha=width)
    index = (lines[:, :, None] + columns[:, None, :]).flatten().to(inputs.device)
    pixels = inputs.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, index)
    return pixels.view(examples, rows.shape[1], columns.shape[1], channels).permute(0, 3, 1, 2)


def fractional_max_pool(inputs: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the maxima (N, C, h, w) of inputs over the regions with these edges.

    They have the layout of the inputs, as those of torch's pooling.

    Graham, arXiv 1412.6071, 2014.

    Args:
        inputs: (N, C, H, W).
        rows: Those of `edges`, (N, 2 * h).
        columns: Those of `edges`, (N, 2 * w).
    """
    maxima = functional.max_pool2d(corners(inputs, rows, columns), 2)
    in_channels_last = inputs.is_contiguous(memory_format=torch.channels_last)
    return maxima if in_channels_last else maxima.contiguous()
