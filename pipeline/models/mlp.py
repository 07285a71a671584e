"""A multilayer perceptron, the network of the dropout and DropConnect papers."""

import itertools
import math
from typing import Annotated

from pydantic import Field
from torch import nn

from pipeline.models._activation import ACTIVATIONS, Activation
from pipeline.models._initialization import Network


class Model(Network):
    """Settings of the network.

    Attributes:
        hidden: Units of each hidden layer.
        activation: That of hidden layers.
    """

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = Field((1024, 1024), min_length=1)
    activation: Activation = "relu"


def build(settings: Model, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return the network (N, *shape) -> logits (N, classes), shape (channels, height, width)."""
    sizes = [math.prod(shape), *settings.hidden]
    hidden = [
        layer
        for one, other in itertools.pairwise(sizes)
        for layer in (nn.Linear(one, other), ACTIVATIONS[settings.activation]())
    ]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], classes))
