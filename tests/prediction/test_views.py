"""Crops and flips: places, order, sizes, and when a flip is refused."""

import pytest
import torch
from torch import nn

from pipeline.prediction.members import deterministic
from pipeline.prediction.views import crops, flips, ten_crop
from pipeline.runtime.errors import Refusal


@pytest.fixture
def image():
    """Return one image whose pixels say where they are: ten times the row plus the column."""
    return (10.0 * torch.arange(8)[:, None] + torch.arange(8))[None, None].repeat(2, 1, 1, 1)


def test_five_crops_show_the_corners_and_the_centre_at_full_size(image):
    views = crops(image)
    assert views.shape == (5, *image.shape)
    corners = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]  # a crop of 6 of 8 pixels
    for view, (top, left) in zip(views, corners, strict=True):
        inner = image[..., top : top + 6, left : left + 6]
        assert torch.equal(view[..., 0, 0], inner[..., 0, 0])
        assert torch.equal(view[..., -1, -1], inner[..., -1, -1])
    assert len(views.flatten(1).unique(dim=0)) == 5
    for side, cut in ((28, 4), (32, 4), (16, 2), (3, 2)):
        ramp = torch.arange(float(side)).expand(1, 1, side, side)
        assert float(crops(ramp)[4][0, 0, 0, 0]) == cut / 2
        assert float(crops(ramp.mT)[4][0, 0, 0, 0]) == cut / 2


def test_ten_crop_is_the_five_and_their_mirror_images(image):
    views = ten_crop(image, keep_labels=True)
    assert views.shape == (10, *image.shape)
    assert torch.equal(views[:5], crops(image))
    assert torch.equal(views[5:], crops(image).flip(-1))


def test_averaging_over_flips_answers_an_image_and_its_mirror_image_alike(image):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def mean(images):
        return torch.stack(
            [deterministic(network, view)[0].softmax(1) for view in flips(images, True)]
        ).mean(0)

    assert torch.allclose(mean(image), mean(image.flip(-1)), atol=1e-7)
    assert torch.equal(flips(flips(image, True)[1], True)[1], image)


def test_views_that_change_labels_raise(image):
    for view in (flips, ten_crop):
        with pytest.raises(Refusal, match='views: invalid value "flips" .*; expected crops'):
            view(image, keep_labels=False)
    with pytest.raises(Refusal, match="crops of images of 2x2"):
        crops(torch.zeros(1, 1, 2, 2))
