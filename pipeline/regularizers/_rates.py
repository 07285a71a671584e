"""Look up the learning rate of a parameter: layers of a pretrained network may have their own."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer


def groups_of(optimizer: Optimizer) -> Mapping[nn.Parameter, dict[str, Any]]:
    """Return the group of each parameter of an optimizer; its `lr` follows the schedule.

    Args:
        optimizer: The optimizer.

    Returns:
        The parameter group of torch for each parameter.
    """
    return {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
