"""Counted cost: floating-point operations of matrix products and convolutions.

Separate from wall clock, which differs from machine to machine and has no place in a report that must be
the same twice.
"""

import copy

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from pipeline.models.standardized import Standardized
from pipeline.regularizers.base import mode, switch


def step_flops(network: Standardized, shape: tuple[int, ...], batch_size: int) -> int:
    """Forward and backward of one training batch, counted on a copy: the network and its generators stay as they are."""
    network = copy.deepcopy(network)
    switch(network, training=True, sampling=True)
    with FlopCounterMode(display=False) as counter:
        logits = network(torch.zeros(batch_size, *shape))
        functional.cross_entropy(logits, torch.zeros(batch_size, dtype=torch.int64)).backward()
    return int(counter.get_total_flops())


@torch.no_grad()
def forward_flops(network: Standardized, shape: tuple[int, ...]) -> int:
    """One deterministic forward pass of one example."""
    with mode(network, training=False, sampling=False), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape))
    return int(counter.get_total_flops())
