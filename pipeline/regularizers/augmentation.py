"""Augmentation: each training image is moved and turned at random, anew in every epoch.

Affine label-preserving transformations (Simard et al., Best Practices for Convolutional Neural Networks
Applied to Visual Document Analysis, ICDAR 2003). Acts on batches, before standardization, and draws from
the global generator, which belongs to it alone. Test rule: deterministic (clean images).
"""

from typing import Self

import torch
from kornia.geometry.transform import get_rotation_matrix2d, warp_affine
from pydantic import Field
from torch import Tensor

from pipeline.regularizers.base import Evidence, Measures, Regularizer, require_effect


def move(images: Tensor, shifts: Tensor, angles: Tensor) -> Tensor:
    """Images (N, channels, height, width) shifted by `shifts` (N, 2: right, down; pixels) and turned about their
    centre by `angles` (N,; degrees, counter-clockwise); bilinear, black beyond the border."""
    height, width = images.shape[-2:]
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2]).expand(len(images), 2)
    matrix = get_rotation_matrix2d(centre, angles, torch.ones(len(images), 2))
    matrix[:, :, 2] += shifts
    moved: Tensor = warp_affine(images, matrix, (height, width), align_corners=True)
    return moved


class Augmentation(Regularizer):
    """`shift`: up to so many pixels each way; `rotate`: up to so many degrees each way; uniform; 0 is off."""

    shift: float = Field(0, ge=0)
    rotate: float = Field(0, ge=0, le=180)

    @classmethod
    def neutral(cls) -> Self:
        """Images stay as they are."""
        return cls()

    def modify_batch(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Moves every image of the batch by draws of its own; targets stay."""
        draws = torch.rand(len(inputs), 3) * 2 - 1
        return move(inputs, draws[:, :2] * self.shift, draws[:, 2] * self.rotate), targets

    def audit(self, evidence: Evidence) -> Measures:
        """Share of images changed, and the mean absolute change of a pixel on the scale [0, 1]."""
        changes = evidence.changes
        require_effect(changes.changed > 0, 0, f"augmentation: none of {changes.examples} images was changed by {self}")
        return {"changed": changes.changed / changes.examples, "pixel_change": changes.distance / changes.examples}
