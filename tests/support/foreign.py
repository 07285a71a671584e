"""Networks as users and torchvision write them.

A residual block, a network that draws itself, and one whose training differentiates twice.
"""

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class ForeignBlock(nn.Module):
    """Adds its shortcut in its own forward, and activates in place after the sum."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if channels != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        activated: Tensor = self.relu(out)
        return activated


class Drawing(nn.Module):
    """Draws in every way that users have, with sites for every regularizer.

    Module and functional dropout, drop path, `RReLU`, a mask, and numbers when it is made: from
    torch, numpy and Python.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.RReLU())
        self.block, self.pool = ForeignBlock(4, 4), nn.MaxPool2d(2)
        self.head = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 16), nn.ReLU()),
            *(nn.Dropout(0.1), nn.Linear(16, 10)),
        )
        drawn = [random.random(), np.random.rand(), float(torch.rand(()))]
        self.register_buffer("scales", torch.tensor([1 + sum(drawn)]))

    def forward(self, images: Tensor) -> Tensor:
        first = float(torch.rand(())) if self.training else 0.0
        maps = self.stem(images)
        if not self.training:
            return self.scales * self.head(self.pool(self.block(maps)))
        kept, mask = random.random() < 0.8, np.random.rand(4) < 0.9
        maps = maps * torch.from_numpy(mask).float().view(1, 4, 1, 1)
        maps = functional.dropout(self.block(maps) if kept else maps, 0.1)
        logits: Tensor = self.scales * self.head(self.pool(maps))
        self.note(first, [kept, *mask])
        return logits

    def note(self, first: float, drawn: list[bool]) -> None:
        """Keep nothing; tests see here what a pass draws: first from torch, then from others."""


class OfGradients(nn.Module):
    """Adds the gradient of its features, so that training differentiates their layer twice."""

    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Linear(64, 8), nn.Linear(64, 10)

    def forward(self, images):
        with torch.enable_grad():
            pixels = images.flatten(1).requires_grad_()
            total = self.features(pixels).square().sum()
            (gradient,) = torch.autograd.grad(total, pixels, create_graph=self.training)
        return self.head(gradient)
