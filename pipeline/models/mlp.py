"""A multilayer perceptron: the network of the dropout and DropConnect papers, 1024 ReLU units twice by default.

Separate from the regularizers, which find its layers by type (`sites.py`).
"""

import itertools
import math
from typing import Annotated

from pydantic import Field
from torch import nn

from pipeline.models._initialization import Network


class Model(Network):
    """Settings: units of each hidden layer."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field((1024, 1024), min_length=1)


def build(settings: Model, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """The network for images of `shape` (channels, height, width): (N, *shape) -> logits (N, classes)."""
    sizes = [math.prod(shape), *settings.hidden]
    hidden = [
        layer
        for one, other in itertools.pairwise(sizes)
        for layer in (nn.Linear(one, other), nn.ReLU())
    ]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], classes))
