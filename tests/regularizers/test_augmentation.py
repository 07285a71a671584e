"""Augmentation against moves whose result is known."""

import pytest
import torch

from pipeline.regularizers.augmentation import Augmentation, move
from pipeline.regularizers.base import Changes, Evidence, NoEffect

TARGETS = torch.eye(3)
NONE = torch.zeros(3)


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.rand(3, 2, 8, 8)


def test_no_move_is_identity(images):
    assert torch.allclose(move(images, torch.zeros(3, 2), NONE), images, atol=1e-5)


def test_a_whole_pixel_shift_moves_right_and_down_and_leaves_black(images):
    moved = move(images, torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]), NONE)
    assert torch.allclose(moved[0, :, :, 1:], images[0, :, :, :-1], atol=1e-5)
    assert moved[0, :, :, 0].abs().max() < 1e-6
    assert torch.allclose(moved[1, :, 2:], images[1, :, :-2], atol=1e-5)
    assert torch.allclose(moved[2, :, :, :-1], images[2, :, :, 1:], atol=1e-5)


def test_a_quarter_turn_is_a_quarter_turn(images):
    moved = move(images, torch.zeros(3, 2), torch.tensor([90.0, 180.0, -90.0]))
    for number, turns in enumerate((1, 2, -1)):
        assert torch.allclose(moved[number], images[number].rot90(turns, (1, 2)), atol=1e-4)


def test_a_half_pixel_shift_is_the_mean_of_neighbours(images):
    moved = move(images, torch.tensor([[0.5, 0.0]]).expand(3, 2), NONE)
    assert torch.allclose(moved[..., 1:], (images[..., 1:] + images[..., :-1]) / 2, atol=1e-5)


def test_every_image_gets_a_move_of_its_own_within_the_strength():
    dot = torch.zeros(400, 1, 9, 9)
    dot[:, :, 4, 4] = 1
    torch.manual_seed(1)
    moved, _ = Augmentation(shift=2).modify_batch(dot, torch.zeros(400, 1))
    mass = moved.sum((1, 2, 3))
    assert torch.allclose(mass, torch.ones(400), atol=1e-4)
    right = (moved.sum((1, 2)) * torch.arange(9)).sum(1) - 4
    assert right.abs().max() <= 2.001
    assert right.min() < -1.9
    assert right.max() > 1.9
    assert abs(float(right.mean())) < 4 * (2 / 3**0.5) / 400**0.5
    assert len(right.unique()) > 300


def test_targets_stay_and_the_global_generator_decides(images):
    regularizer = Augmentation(shift=1, rotate=10)
    torch.manual_seed(2)
    one, targets = regularizer.modify_batch(images, TARGETS)
    assert targets is TARGETS
    torch.manual_seed(2)
    assert torch.equal(one, regularizer.modify_batch(images, TARGETS)[0])
    assert not torch.equal(one, regularizer.modify_batch(images, TARGETS)[0])


def test_gradient_flows_through_a_move():
    images = torch.rand(1, 1, 4, 4, requires_grad=True)
    move(images, torch.tensor([[1.0, 0.0]]), torch.zeros(1)).sum().backward()
    assert torch.allclose(images.grad[0, 0, :, :-1], torch.ones(4, 3), atol=1e-5)


def test_an_augmentation_that_returns_its_input_is_caught():
    regularizer = Augmentation(shift=1)
    with pytest.raises(NoEffect, match="none of 50 images was changed"):
        regularizer.audit(Evidence(torch.nn.Identity(), [], 0.0, Changes(examples=50)))
    measures = regularizer.audit(Evidence(torch.nn.Identity(), [], 0.0, Changes(examples=50, changed=40, distance=5.0)))
    assert measures == {"changed": 0.8, "pixel_change": 0.1}
