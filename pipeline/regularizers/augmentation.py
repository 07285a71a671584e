"""Augmentation: each training image is moved, recolored or partly hidden at random in every epoch.

Affine moves (Simard et al., Best Practices for Convolutional Neural Networks Applied to Visual
Document Analysis, ICDAR 2003); mirroring, random crops and PCA color jitter (Krizhevsky et al.,
ImageNet Classification with Deep Convolutional Neural Networks, NIPS 2012); cutout (DeVries and
Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, arXiv 1708.04552,
2017). Labels stay the same, so mirroring digits is a negative control. Acts on batches, before
standardization. It draws the same numbers whichever strengths are on, so that one strength does not
change the draws of another.
Test rule: deterministic (clean images).
"""

from typing import Any, ClassVar, final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from pipeline.data.arrays import is_row
from pipeline.regularizers._audit import AuditInputs, Measures, require_effect, unlikely
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal

Amount = Tensor | float  # one per image (N,), or one for all

COLUMNS = {  # uniform numbers per image; color jitter takes one per channel
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
COLORS = ("brightness", "contrast", "pca_jitter")
ROUNDING = 1e-5  # a mean change below this is the arithmetic of single precision
# the shares of images assumed to look different when they are changed: not blank, not symmetric,
# and for a cutout not black already
TELLING = 0.9
SEEN = 0.1


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Return mirrored images.

    Args:
        images: (N, channels, height, width).
        mirrored: Whether an image is mirrored left to right, (N,), bool.
    """
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
    """Return images cropped, slanted, turned and scaled about their center, and shifted.

    One bilinear resampling, black beyond the border.

    Simard et al., ICDAR 2003.

    Args:
        images: (N, channels, height, width).
        shifts: Right and down in pixels, (N, 2).
        angles: In degrees, counter-clockwise, (N,).
        factors: Of magnification, (N,).
        slants: In degrees, lower rows to the right, (N,).
        sides: The crop's side over the image's, in (0, 1]; the crop is magnified to fill the image.
        places: The place of the crop between left or top (-1) and right or bottom (1), (N, 2).
    """
    angle, factor, slant, side = (
        torch.as_tensor(amount, dtype=images.dtype, device=images.device).expand(len(images))
        for amount in (angles, factors, slants, sides)
    )
    half_width, half_height = (max(size - 1, 1) / 2 for size in (images.shape[3], images.shape[2]))
    turn, tangent, zoom = torch.deg2rad(angle), torch.deg2rad(slant).tan(), side / factor
    cosine, sine = turn.cos() * zoom, turn.sin() * zoom
    # the inverse of rotation times horizontal shear, times zoom; y points down
    xx, xy = cosine - sine * tangent, -sine - cosine * tangent
    yx, yy = sine, cosine
    right, down = shifts.to(images.dtype).unbind(1)
    place = torch.as_tensor(places, dtype=images.dtype, device=images.device).expand(len(images), 2)
    across = place[:, 0] * (1 - side) - (xx * right + xy * down) / half_width
    along = place[:, 1] * (1 - side) - (yx * right + yy * down) / half_height
    ratio = half_height / half_width
    rows = (xx, xy * ratio, across, yx / ratio, yy, along)
    theta = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=True)
    return functional.grid_sample(images, grid, align_corners=True)


def recolor(images: Tensor, brightness: Amount, contrast: Amount, noise: Amount = 0.0) -> Tensor:
    """Return images in [0, 1] with contrast, brightness and color changed, clipped to [0, 1].

    Args:
        images: (N, channels, height, width).
        brightness: Factor of all of the image (N,); 1 leaves it unchanged.
        contrast: Factor of the distance from the image's mean (N,); 1 leaves it unchanged.
        noise: That of `pca_jitter`.
    """
    mean = images.mean((1, 2, 3), keepdim=True)
    factors = [torch.as_tensor(amount).reshape(-1, 1, 1, 1) for amount in (contrast, brightness)]
    return pca_jitter((mean + (images - mean) * factors[0]) * factors[1], noise).clamp(0, 1)


def pca_jitter(images: Tensor, noise: Amount) -> Tensor:
    """Return images plus the principal components of color, times their VARIANCE, times `noise`.

    Sum p_i alpha_i lambda_i of the paper (Krizhevsky et al., NIPS 2012, section 4.1) is the
    covariance times a normal vector: alpha are that vector's coordinates along the components,
    normal themselves. The covariance is that of the pixels of this batch, since the hook does not
    see all training images.

    Args:
        images: (N, channels, height, width) in [0, 1].
        noise: Normal with AlexNet's deviation 0.1 or another (N, channels), or a number for none.
    """
    if not isinstance(noise, Tensor):
        return images
    pixels = images.transpose(0, 1).flatten(1)
    covariance = torch.cov(pixels, correction=0).reshape(len(pixels), len(pixels))
    return images + (noise.to(covariance.dtype) @ covariance)[:, :, None, None]


def cutout(images: Tensor, centres: Tensor, side: int) -> Tensor:
    """Return images (N, channels, height, width) with a black square each, clipped at the border.

    DeVries and Taylor, arXiv 1708.04552, 2017.

    Args:
        images: (N, channels, height, width).
        centres: Row and column of the square's middle pixel, the lower right of the four for an
            even side, (N, 2).
        side: The side of the square, in pixels.
    """
    inside = []
    for axis, size in enumerate(images.shape[-2:]):
        steps = torch.arange(size, device=images.device) - (centres[:, axis, None] - side // 2)
        inside.append((steps >= 0) & (steps < side))
    return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0)


@final
class Augmentation(Regularizer):
    """Every strength is off at 0, and drawn uniformly for each image.

    Attributes:
        shift: Up to this many pixels each way.
        flip: The chance of being mirrored left to right.
        crop: Up to this share of the area is cut away, the rest (from anywhere, of the image's own
            proportions) magnified to the full size.
        rotate: Up to this many degrees each way.
        scale: Magnified or reduced by up to 1 + scale (uniform on a log scale).
        shear: Slanted by up to this many degrees each way.
        brightness: Multiplied by 1 - strength to 1 + strength.
        contrast: Multiplied by 1 - strength to 1 + strength.
        pca_jitter: Standard deviation of the coordinates along the principal components of color
            (AlexNet: 0.1).
        cutout: Side in pixels of a black square with a random center.
    """

    name: ClassVar = "augmentation"
    family: ClassVar = "examples"
    off: ClassVar = dict.fromkeys([*COLUMNS, "pca_jitter"], 0)
    activity: ClassVar = "changed"

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

    @property
    def flips(self) -> bool:
        """Return whether any image is ever mirrored."""
        return self.flip > 0

    def effect(self, network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the settings.

        Raises:
            Refusal: The examples are rows of a table, which have no pixels to move.
        """
        if is_row(shape):
            raise Refusal(
                f"{self.name}: does not apply to rows of a table, which have no pixels; "
                "expected input_noise or mixup"
            )
        return super().effect(network, shape)

    def modify_batch(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Change every image of the batch by its own draws; targets stay the same."""
        draws = _draw(inputs, generator)
        if self.flip:
            inputs = flip(inputs, draws["flip"][:, 0] < self.flip)
        if self._any(MOVES):
            inputs = self._moved(inputs, draws)
        if self._any(COLORS):
            inputs = self._recolored(inputs, draws)
        if self.cutout:
            size = torch.tensor(inputs.shape[-2:], device=inputs.device)
            inputs = cutout(inputs, (draws["cutout"] * size).long(), self.cutout)
        return inputs, targets

    def audit(self, inputs: AuditInputs) -> Measures:
        """Return the share of images changed and the mean absolute change of a pixel in [0, 1].

        Raises:
            NoEffect: No image was changed, or far fewer than the settings give.
        """
        changes = inputs.changes
        floor = ROUNDING * changes.examples if self._any(MOVES + COLORS) else 0.0
        require_effect(
            changes.changed > 0 and changes.distance > floor,
            self._idle() ** changes.examples,
            f"{self.name}: none of {changes.examples} images was changed by {self}",
        )
        least = TELLING * (1 - self._idle())
        few = changes.changed < least * changes.examples
        require_effect(
            not (few and unlikely(changes.changed, changes.examples, least)),
            0,
            f"{self.name}: {changes.changed} of {changes.examples} images were changed by {self}; "
            f"expected a share of at least {least:.3g}",
        )
        return changes.measures()

    def _moved(self, images: Tensor, draws: dict[str, Tensor]) -> Tensor:
        return move(
            images,
            _both_ways(draws["shift"]) * self.shift,
            _both_ways(draws["rotate"][:, 0]) * self.rotate,
            (1 + self.scale) ** _both_ways(draws["scale"][:, 0]),
            _both_ways(draws["shear"][:, 0]) * self.shear,
            (1 - self.crop * draws["crop"][:, 0]).sqrt(),
            _both_ways(draws["crop"][:, 1:]),
        )

    def _recolored(self, images: Tensor, draws: dict[str, Tensor]) -> Tensor:
        noise: Amount = 0.0
        if self.pca_jitter:
            noise = torch.special.ndtri(draws["pca_jitter"].clamp_min(1e-7)) * self.pca_jitter
        brightness = 1 + _both_ways(draws["brightness"]) * self.brightness
        contrast = 1 + _both_ways(draws["contrast"]) * self.contrast
        return recolor(images, brightness, contrast, noise)

    def _any(self, names: tuple[str, ...]) -> bool:
        return any(getattr(self, name) for name in names)

    def _idle(self) -> float:
        """Return a bound on the chance that an image validly stays the same."""
        if self._any(MOVES + COLORS):
            return 0.0
        return (1 - self.flip) * (1 - SEEN if self.cutout else 1)


def _draw(images: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return uniform numbers in [0, 1) for every strength, on or off: name -> (N, columns)."""
    columns = {**COLUMNS, "pca_jitter": images.shape[1]}
    drawn = torch.rand(len(images), sum(columns.values()), generator=generator).to(images.device)
    return dict(zip(columns, drawn.split(list(columns.values()), dim=1), strict=True))


def _both_ways(draws: Tensor) -> Tensor:
    """Return draws in [0, 1) moved to [-1, 1)."""
    return draws * 2 - 1
