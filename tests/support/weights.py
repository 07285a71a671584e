"""Comparison of the weights of networks."""

from collections.abc import Mapping

import torch


def equal(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Return whether two state dictionaries have the same keys and the same bits."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
