"""A multilayer perceptron, the network of the dropout and DropConnect papers.

Without hidden layers it is multinomial logistic regression.
"""

import itertools
import math
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import nn

from pipeline.models._activation import ACTIVATIONS, Activation
from pipeline.models._initialization import Network


class Model(Network):
    """Settings of the network.

    Attributes:
        hidden: Units of each hidden layer; none for logistic regression.
        batch_norm: Whether hidden layers have batch norm, before their activation.
        activation: The activation of hidden layers.
    """

    takes_rows: ClassVar = True

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (1024, 1024)
    batch_norm: bool = False
    activation: Activation = "relu"

    def effect(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the values; without hidden layers there is nothing to activate."""
        of_hidden = {} if self.hidden else {"batch_norm": False, "activation": "relu"}
        return super().effect(shape) | of_hidden


def build(settings: Model, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Return the network (N, *shape) -> logits (N, classes), shape (channels, height, width)."""
    sizes = [math.prod(shape), *settings.hidden]
    hidden: list[nn.Module] = []
    for one, other in itertools.pairwise(sizes):
        norm = [nn.BatchNorm1d(other)] if settings.batch_norm else []
        linear = nn.Linear(one, other, bias=not settings.batch_norm)
        hidden += [linear, *norm, ACTIVATIONS[settings.activation]()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], classes))
