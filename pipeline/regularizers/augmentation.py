"""Augmentation: each training image is moved, recoloured or partly hidden at random, anew in every epoch.

Affine moves (Simard et al., Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis,
ICDAR 2003); mirroring, random crops and PCA colour jitter (Krizhevsky et al., ImageNet Classification with Deep
Convolutional Neural Networks, NIPS 2012); cutout (DeVries and Taylor, Improved Regularization of Convolutional Neural
Networks with Cutout, arXiv 1708.04552, 2017). Labels stay as they are, so mirroring digits is a negative control.
Acts on batches, before standardization, and draws from the global generator, which belongs to it alone: the same
numbers whatever is switched on, so that one strength moves the draws of no other. Test rule: deterministic (clean images).
"""

from typing import ClassVar, Self

import torch
from kornia.geometry.transform import warp_affine
from pydantic import Field
from torch import Tensor

from pipeline.regularizers.base import Evidence, Measures, Regularizer, require_effect, unlikely

Amount = Tensor | float  # one per image (N,), or one for all

COLUMNS = {
    "shift": 2,
    "flip": 1,
    "crop": 3,
    "rotate": 1,
    "scale": 1,
    "shear": 1,
    "brightness": 1,
    "contrast": 1,
    "cutout": 2,
}
MOVES = ("shift", "crop", "rotate", "scale", "shear")
COLOURS = ("brightness", "contrast", "pca_jitter")
ROUNDING = 1e-5  # a mean change below this is no effect but the arithmetic of single precision
TELLING = 0.9  # at least so large a share of images is taken to look different where it is changed: not blank, no mirror image
SEEN = (
    0.1  # at least so large a share of cutouts is taken to hide something that is not black already
)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Images (N, channels, height, width), left and right exchanged where `mirrored` (N,; bool) is true."""
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def move(
    images: Tensor,
    shifts: Tensor,
    angles: Amount,
    factors: Amount = 1.0,
    slants: Amount = 0.0,
    sides: Amount = 1.0,
    places: Amount = 0.0,
) -> Tensor:
    """Images (N, channels, height, width) cropped, slanted, turned and scaled about their centre, and shifted: one resampling.

    `shifts` (N, 2) right and down in pixels; `angles` in degrees, counter-clockwise; `factors` of magnification; `slants`
    in degrees, lower rows to the right; `sides` in (0, 1], the crop's side over the image's, magnified to fill it; `places`
    (N, 2) in [-1, 1], where the crop lies between left or top and right or bottom. Bilinear, black beyond the border.
    """
    height, width = images.shape[-2:]
    centre = images.new_tensor([(width - 1) / 2, (height - 1) / 2])
    linear = _linear(len(images), images, angles, slants) * _column(factors / sides, images)
    source = centre + places * (1 - _column(sides, images)[..., 0]) * centre
    offset = centre + shifts - (linear @ source.expand(len(images), 2)[..., None])[..., 0]
    matrix = torch.cat([linear, offset[..., None]], dim=2)
    moved: Tensor = warp_affine(images, matrix, (height, width), align_corners=True)
    return moved


def _linear(count: int, like: Tensor, angles: Amount, slants: Amount) -> Tensor:
    """Rotation times horizontal shear, (count, 2, 2); y points down."""
    turn, slant = (torch.deg2rad(_column(amount, like)[..., 0, 0]) for amount in (angles, slants))
    cosine, sine, tangent = turn.cos(), turn.sin(), slant.tan()
    rows = torch.broadcast_tensors(cosine, cosine * tangent + sine, -sine, cosine - sine * tangent)
    return torch.stack(rows, dim=1).reshape(-1, 2, 2).expand(count, 2, 2)


def _column(amount: Amount, like: Tensor) -> Tensor:
    """An amount as (N or 1, 1, 1)."""
    return torch.as_tensor(amount, dtype=like.dtype).reshape(-1, 1, 1)


def recolour(images: Tensor, brightness: Amount, contrast: Amount, noise: Amount = 0.0) -> Tensor:
    """Images (N, channels, height, width) in [0, 1] with contrast, brightness and colour changed, clipped to [0, 1].

    `contrast` (N,) multiplies the distance from the image's mean, `brightness` (N,) all of it; both 1 leave it alone.
    `noise` (N, channels): see `pca_jitter`.
    """
    mean = images.mean((1, 2, 3), keepdim=True)
    factors = [torch.as_tensor(amount).reshape(-1, 1, 1, 1) for amount in (contrast, brightness)]
    return pca_jitter((mean + (images - mean) * factors[0]) * factors[1], noise).clamp(0, 1)


def pca_jitter(images: Tensor, noise: Amount) -> Tensor:
    """Adds to every pixel of an image the principal components of colour, times their VARIANCE, times normal numbers.

    `noise` (N, channels) is normal with AlexNet's deviation 0.1 or another, on images in [0, 1]. Sum p_i alpha_i lambda_i
    of the paper is the covariance times a normal vector: alpha are that vector's coordinates along the components, normal
    themselves. The covariance is that of the pixels of this batch, since the hook does not see all training images.
    """
    if not isinstance(noise, Tensor):
        return images
    pixels = images.transpose(0, 1).flatten(1)
    covariance = torch.cov(pixels, correction=0).reshape(len(pixels), len(pixels))
    return images + (noise.to(covariance.dtype) @ covariance)[:, :, None, None]


def cutout(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Images (N, channels, height, width) with a black square of `side` pixels each, clipped at the border.

    `centres` (N, 2): row and column of the pixel in its middle (the lower right of the four for an even side).
    """
    inside = []
    for axis, size in enumerate(images.shape[-2:]):
        steps = torch.arange(size, device=images.device) - (centres[:, axis, None] - side // 2)
        inside.append((steps >= 0) & (steps < side))
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0)


class Augmentation(Regularizer):
    """Every strength is off at 0, and drawn uniformly for each image.

    `shift`: up to so many pixels each way. `flip`: the chance of being mirrored left to right. `crop`: up to so large a
    share of the area is cut away, the rest (from anywhere, of the image's own proportions) magnified to the full size.
    `rotate`: up to so many degrees each way. `scale`: magnified or reduced by up to 1 + scale (uniform on a log scale).
    `shear`: slanted by up to so many degrees each way. `brightness`, `contrast`: multiplied by 1 - strength to 1 +
    strength. `pca_jitter`: standard deviation of the coordinates along the principal components of colour (AlexNet: 0.1).
    `cutout`: side in pixels of a black square, its middle anywhere.
    """

    name: ClassVar[str] = "augmentation"

    shift: float = Field(0, ge=0)
    flip: float = Field(0, ge=0, le=1)
    crop: float = Field(0, ge=0, lt=1)
    rotate: float = Field(0, ge=0, le=180)
    scale: float = Field(0, ge=0)
    shear: float = Field(0, ge=0, lt=90)
    brightness: float = Field(0, ge=0, le=1)
    contrast: float = Field(0, ge=0, le=1)
    pca_jitter: float = Field(0, ge=0)
    cutout: int = Field(0, ge=0)

    @classmethod
    def neutral(cls) -> Self:
        """Images stay as they are."""
        return cls()

    @property
    def flips(self) -> bool:
        """Whether any image is ever mirrored."""
        return self.flip > 0

    def modify_batch(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Changes every image of the batch by draws of its own; targets stay."""
        draws = _draw(len(inputs), inputs.shape[1], inputs.device)
        if self.flip:
            inputs = flip(inputs, draws["flip"][:, 0] < self.flip)
        if self._any(MOVES):
            inputs = self._moved(inputs, draws)
        if self._any(COLOURS):
            inputs = self._recoloured(inputs, draws)
        if self.cutout:
            centres = (
                draws["cutout"] * torch.tensor(inputs.shape[-2:], device=inputs.device)
            ).long()
            inputs = cutout(inputs, centres, self.cutout)
        return inputs, targets

    def audit(self, evidence: Evidence) -> Measures:
        """Share of images changed, and the mean absolute change of a pixel on the scale [0, 1]."""
        changes = evidence.changes
        floor = ROUNDING * changes.examples if self._any(MOVES + COLOURS) else 0.0
        happened = changes.changed > 0 and changes.distance > floor
        chance = self._idle() ** changes.examples
        require_effect(
            happened,
            chance,
            f"augmentation: none of {changes.examples} images was changed by {self}",
        )
        due = TELLING * (1 - self._idle())
        few = changes.changed < due * changes.examples and unlikely(
            changes.changed, changes.examples, due
        )
        rare = (
            f"augmentation: {changes.changed} of {changes.examples} images were changed by {self}"
        )
        require_effect(not few, 0, f"{rare}; due is a share of at least {due:.3g}")
        return {
            "changed": changes.changed / changes.examples,
            "pixel_change": changes.distance / changes.examples,
        }

    def _moved(self, images: Tensor, draws: dict[str, Tensor]) -> Tensor:
        sides = (1 - self.crop * draws["crop"][:, 0]).sqrt()
        return move(
            images,
            _both_ways(draws["shift"]) * self.shift,
            _both_ways(draws["rotate"]) * self.rotate,
            (1 + self.scale) ** _both_ways(draws["scale"][:, 0]),
            _both_ways(draws["shear"]) * self.shear,
            sides,
            _both_ways(draws["crop"][:, 1:]),
        )

    def _recoloured(self, images: Tensor, draws: dict[str, Tensor]) -> Tensor:
        noise = (
            torch.special.ndtri(draws["pca_jitter"].clamp_min(1e-7)) * self.pca_jitter
            if self.pca_jitter
            else 0.0
        )
        brightness, contrast = (
            1 + _both_ways(draws[name]) * getattr(self, name) for name in COLOURS[:2]
        )
        return recolour(images, brightness, contrast, noise)

    def _any(self, names: tuple[str, ...]) -> bool:
        return any(getattr(self, name) for name in names)

    def _idle(self) -> float:
        """A bound on the chance that an image rightly stays as it is."""
        if self._any(MOVES + COLOURS):
            return 0.0
        return (1 - self.flip) * (1 - SEEN if self.cutout else 1)


def _draw(count: int, channels: int, device: torch.device) -> dict[str, Tensor]:
    """Uniform numbers in [0, 1) for everything there is, on or off: name -> (count, columns)."""
    columns = {**COLUMNS, "pca_jitter": channels}
    parts = torch.rand(count, sum(columns.values())).to(device).split(list(columns.values()), dim=1)
    return dict(zip(columns, parts, strict=True))


def _both_ways(draws: Tensor) -> Tensor:
    return draws * 2 - 1
