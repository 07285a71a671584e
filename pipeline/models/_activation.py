"""Choose the activation of a built-in network."""

from collections.abc import Callable, Mapping
from typing import Literal

from torch import nn

Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid", "gelu"]
ACTIVATIONS: Mapping[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,  # slope 0.01 below zero
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}
