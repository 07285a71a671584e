"""Crop and mirror images at test, without any draw.

Krizhevsky, Sutskever and Hinton (NIPS 2012) average ten such views: the four corners, the center,
and the mirror image of each. A view depends on images alone, and no network.
"""

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.runtime.errors import Refusal

SHARE = 8  # one part in 8 of the side of an image is cut off, as 32 of 256 in the paper


def flips(images: Tensor, keep_labels: bool) -> Tensor:
    """Return images (N, channels, height, width) and their mirror images: (2, N, ...).

    Raises:
        Refusal: A flip changes labels in this dataset.
    """
    if not keep_labels:
        raise Refusal(
            'views: invalid value "flips" for a dataset with flips_keep_labels: false; '
            "expected crops or augmented draws"
        )
    return torch.stack([images, images.flip(-1)])


def crops(images: Tensor) -> Tensor:
    """Return the four corners and the center of images, resized to full size.

    The sides of a crop are about 7/8 of those of the image. An even number of pixels is cut off, so
    that the center has whole pixels.

    Args:
        images: (N, channels, height, width).

    Returns:
        (5, N, channels, height, width): upper left, upper right, lower left, lower right, center.

    Raises:
        Refusal: The images are below 3x3 pixels.
    """
    height, width = images.shape[-2:]
    down, right = (max(2, 2 * round(side / SHARE / 2)) for side in (height, width))
    inner = height - down, width - right
    if min(inner) < 1:
        raise Refusal(f"views: crops of images of {height}x{width} pixels; expected >= 3x3")
    corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
    cut = [images[..., top : top + inner[0], left : left + inner[1]] for top, left in corners]
    resized = [
        functional.interpolate(part, size=(height, width), mode="bilinear", align_corners=False)
        for part in cut
    ]
    return torch.stack([part.contiguous(memory_format=torch.channels_last) for part in resized])


def ten_crop(images: Tensor, keep_labels: bool) -> Tensor:
    """Return the five crops, then the mirror image of each: (10, N, channels, height, width).

    Raises:
        Refusal: A flip changes labels, or the images are below 3x3 pixels.
    """
    return flips(crops(images).flatten(0, 1), keep_labels).view(10, *images.shape)
