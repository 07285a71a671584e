"""Augmentation against moves whose result is known, and every draw against its strength."""

import math

import pytest
import torch
from batches import audit_inputs, generator
from declarations import unchanged_batches
from pydantic import ValidationError

from pipeline.regularizers._audit import NoEffect
from pipeline.regularizers.augmentation import Augmentation, cutout, flip, move, pca_jitter, recolor
from pipeline.runtime.errors import Refusal
from pipeline.training.trainer import train

STRONG = {"shift": 1.0, "flip": 0.5, "crop": 0.1, "rotate": 10.0, "brightness": 0.1, "cutout": 2}
EVERY = {
    "shift": 1.0,
    "flip": 0.5,
    "crop": 0.5,
    "rotate": 30.0,
    "scale": 0.3,
    "shear": 20.0,
    "brightness": 0.4,
    "contrast": 0.4,
    "pca_jitter": 0.5,
    "cutout": 3,
}
VARIANTS = [*({name: value} for name, value in EVERY.items()), EVERY]
FAULTS = [unchanged_batches(Augmentation)]


TARGETS = torch.eye(3)
NONE = torch.zeros(3)


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.rand(3, 2, 8, 8)


def coordinates(count, size):
    """Return images (count, 2, size, size) whose pixels hold their own column and row."""
    steps = torch.arange(size, dtype=torch.float64)
    return torch.stack([steps.expand(size, size), steps[:, None].expand(size, size)]).expand(
        count, 2, size, size
    )


def changed(regularizer, images, seed=1):
    return regularizer.modify_batch(images, torch.zeros(len(images), 1), generator(seed))[0]


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


def test_flipping_twice_is_identity_and_once_mirrors_the_chosen(images):
    mirrored = torch.tensor([True, False, True])
    once = flip(images, mirrored)
    assert torch.equal(once[0], images[0].flip(2))
    assert torch.equal(once[1], images[1])
    assert not torch.equal(once, images)
    assert torch.equal(flip(once, mirrored), images)


def test_the_mean_over_both_mirror_images_is_the_same_for_an_image_and_its_mirror(images):
    def averaged(given):
        return (given.flatten(1).cumsum(1) + flip(given, NONE == 0).flatten(1).cumsum(1)) / 2

    assert torch.equal(averaged(images), averaged(flip(images, NONE == 0)))


def test_a_crop_fills_the_image_with_its_window():
    """Half the side, at three places: the window's own coordinates, spread out."""
    out = move(
        coordinates(3, 9),
        torch.zeros(3, 2),
        0.0,
        sides=0.5,
        places=torch.tensor([[-1.0, -1], [0, 0], [1, 1]]),
    )
    for number, start in enumerate((0.0, 2.0, 4.0)):
        expected = start + torch.arange(9, dtype=torch.float64) / 2
        assert torch.allclose(out[number, 0], expected.expand(9, 9), atol=1e-10)
        assert torch.allclose(out[number, 1], expected[:, None].expand(9, 9), atol=1e-10)


def test_scale_and_shear_move_pixels_where_they_should():
    centre, size = 10.0, 21
    out = move(
        coordinates(2, size),
        torch.zeros(2, 2),
        0.0,
        factors=torch.tensor([2.0, 1.0]),
        slants=torch.tensor([0.0, 45.0]),
    )
    x, y = coordinates(1, size)[0]
    assert torch.allclose(out[0, 0], centre + (x - centre) / 2, atol=1e-10)
    assert torch.allclose(out[0, 1], centre + (y - centre) / 2, atol=1e-10)
    inside = (x - (y - centre) >= 0) & (x - (y - centre) <= size - 1)
    assert torch.allclose(out[1, 0][inside], (x - (y - centre))[inside], atol=1e-10)
    assert torch.allclose(out[1, 1][inside], y[inside], atol=1e-10)


def test_fused_is_crop_then_shear_then_turn_then_scale_then_shift():
    """Every destination pixel, traced back by hand one step at a time."""
    angle, slant, factor, side = math.radians(25), math.radians(15), 0.9, 0.8
    shift, place, centre = (1.5, -0.5), (0.5, -1.0), 10.0
    whole = move(
        coordinates(1, 21),
        torch.tensor([shift], dtype=torch.float64),
        25.0,
        factor,
        15.0,
        side,
        torch.tensor([place]),
    )
    seen = 0
    for row in range(21):
        for column in range(21):
            x, y = (column - centre - shift[0]) / factor, (row - centre - shift[1]) / factor
            x, y = (
                math.cos(angle) * x - math.sin(angle) * y,
                math.sin(angle) * x + math.cos(angle) * y,
            )
            x -= math.tan(slant) * y
            x, y = (
                centre + place[axis] * (1 - side) * centre + value * side
                for axis, value in enumerate((x, y))
            )
            if 0 <= x <= 20 and 0 <= y <= 20:
                seen += 1
                assert float(whole[0, 0, row, column]) == pytest.approx(x, abs=1e-5)
                assert float(whole[0, 1, row, column]) == pytest.approx(y, abs=1e-5)
    assert seen > 300


def test_crops_lie_within_the_image_and_keep_at_least_their_share():
    """A white image has no black border; the smallest window keeps 1 - crop of the area."""
    regularizer = Augmentation(crop=0.75)
    white = changed(regularizer, torch.ones(500, 1, 8, 8))
    assert torch.allclose(white, torch.ones(500, 1, 8, 8), atol=1e-4)
    out = changed(regularizer, coordinates(500, 9).float())
    extent = (out.amax((2, 3)) - out.amin((2, 3))) / 8
    assert torch.allclose(extent[:, 0], extent[:, 1], atol=1e-4)
    share = extent[:, 0] ** 2
    assert share.min() == pytest.approx(0.25, abs=0.02)
    assert share.max() == pytest.approx(1, abs=0.02)
    assert abs(float(share.mean()) - 0.625) < 4 * 0.75 / 12**0.5 / 500**0.5
    assert out.amin((2, 3)).min() < 0.1
    assert out.amax((2, 3)).max() > 7.9


def test_recoloring_by_factors_of_one_is_identity(images):
    assert torch.allclose(recolor(images, 1.0, 1.0), images, atol=1e-6)


def test_brightness_contrast_and_clipping():
    images = torch.tensor([[[[0.2, 0.4], [0.6, 0.8]]]])
    assert torch.allclose(recolor(images, torch.tensor([1.5]), 1.0), (images * 1.5).clamp(max=1))
    assert torch.allclose(
        recolor(images, 1.0, torch.tensor([0.5])), torch.tensor([[[[0.35, 0.45], [0.55, 0.65]]]])
    )
    assert recolor(images, 1.0, torch.tensor([0.0])).unique().tolist() == pytest.approx([0.5])
    extreme = recolor(images, 2.0, 2.0)
    assert (extreme.min(), extreme.max()) == (0, 1)


def test_color_jitter_is_the_papers_formula(images):
    """Sum of p_i alpha_i lambda_i, lambda being VARIANCES, the same for all pixels of an image."""
    torch.manual_seed(2)
    images, noise = (
        torch.rand(5, 3, 6, 6, dtype=torch.float64),
        torch.randn(5, 3, dtype=torch.float64) * 0.1,
    )
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3)
    centred = pixels - pixels.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(pixels))
    coordinates_along = noise @ vectors
    expected = (coordinates_along * values) @ vectors.T
    added = pca_jitter(images, noise) - images
    assert torch.allclose(added, expected[:, :, None, None].expand_as(added), atol=1e-14)
    assert torch.equal(pca_jitter(images, 0.0), images)


def test_color_jitter_has_the_papers_covariance():
    """0.01 P L^2 P' at AlexNet's deviation 0.1."""
    torch.manual_seed(3)
    images = (torch.randn(4000, 3, 1, 2) @ torch.eye(2)) * torch.tensor([0.3, 0.1, 0.05])[
        :, None, None
    ]
    images[:, 1] += images[:, 0]
    added = (pca_jitter(images, torch.randn(4000, 3) * 0.1) - images)[:, :, 0, 0]
    values, vectors = torch.linalg.eigh(torch.cov(images.transpose(0, 1).flatten(1), correction=0))
    expected = 0.01 * vectors @ values.square().diag() @ vectors.T
    assert torch.allclose(torch.cov(added.T), expected, atol=0.1 * float(expected.max()))


@pytest.mark.parametrize("channels", [1, 3])
def test_color_jitter_in_a_batch_moves_whole_images(channels):
    images = torch.rand(40, channels, 5, 5) * 0.2 + 0.4
    added = changed(Augmentation(pca_jitter=0.5), images) - images
    assert added.std((2, 3)).max() < 1e-6
    assert added.mean((2, 3)).std() > 1e-4


@pytest.mark.parametrize("side", [1, 2, 3, 4])
def test_the_area_cut_out_at_every_centre(side):
    """side^2 inside, less at the border, never nothing and never more; all channels alike."""
    centres = torch.cartesian_prod(torch.arange(6), torch.arange(7))
    out = cutout(torch.ones(len(centres), 2, 6, 7), centres, side)
    areas = (out == 0).sum((2, 3))
    assert torch.equal(areas[:, 0], areas[:, 1])
    assert areas.max() == side**2
    assert areas.min() > 0
    reach = side - 1 - side // 2
    inside = (
        (centres >= side // 2).all(1) & (centres[:, 0] + reach < 6) & (centres[:, 1] + reach < 7)
    )
    assert torch.equal(areas[:, 0] == side**2, inside)
    for (row, column), image in zip(centres, out, strict=True):
        assert image[0, row, column] == 0


def test_cutout_leaves_the_rest_and_reaches_everywhere():
    images = torch.rand(600, 1, 6, 6) + 0.1
    out = changed(Augmentation(cutout=3), images)
    hidden = out == 0
    assert torch.equal(out[~hidden], images[~hidden])
    assert (hidden.sum(0) > 0).all()
    assert len({tuple(values.flatten().tolist()) for values in hidden}) == 36


def test_every_image_gets_a_move_of_its_own_within_the_strength():
    dot = torch.zeros(400, 1, 9, 9)
    dot[:, :, 4, 4] = 1
    moved = changed(Augmentation(shift=2), dot)
    mass = moved.sum((1, 2, 3))
    assert torch.allclose(mass, torch.ones(400), atol=1e-4)
    right = (moved.sum((1, 2)) * torch.arange(9)).sum(1) - 4
    assert right.abs().max() <= 2.001
    assert right.min() < -1.9
    assert right.max() > 1.9
    assert abs(float(right.mean())) < 4 * (2 / 3**0.5) / 400**0.5
    assert len(right.unique()) > 300


def test_turns_scales_and_slants_stay_within_their_strengths():
    """Read off the middle of coordinate images: the gradient of each is the inverse of the move."""
    for name, strength in (("rotate", 30.0), ("scale", 0.5), ("shear", 20.0)):
        out = changed(Augmentation(**{name: strength}), coordinates(400, 21).float())
        across, down = out[:, :, 10, 11] - out[:, :, 10, 10], out[:, :, 11, 10] - out[:, :, 10, 10]
        seen = {
            "rotate": torch.rad2deg(torch.atan2(across[:, 1], across[:, 0])),
            "scale": -across[:, 0].log() / math.log(1.5),
            "shear": torch.rad2deg(torch.atan(-down[:, 0])),
        }[name]
        bound = 1.0 if name == "scale" else strength
        assert seen.abs().max() <= bound * 1.001, name
        assert seen.min() < -0.95 * bound, name
        assert seen.max() > 0.95 * bound, name
        assert abs(float(seen.mean())) < 4 * bound / 3**0.5 / 400**0.5, name


def test_flips_come_at_their_chance(images):
    many = images[:1].expand(2000, -1, -1, -1)
    for chance in (0.3, 1.0):
        mirrored = (changed(Augmentation(flip=chance), many) != many).flatten(1).any(1)
        assert (
            abs(float(mirrored.float().mean()) - chance)
            <= 4 * (chance * (1 - chance) / 2000) ** 0.5
        )


@pytest.mark.parametrize("name", EVERY)
def test_each_strength_alone_changes_images_and_zero_does_not(images, name):
    assert not torch.allclose(
        changed(Augmentation(**{name: EVERY[name]}), images), images, atol=1e-3
    )
    assert changed(Augmentation(**{name: 0}), images) is images
    assert Augmentation(**{name: 0}) == Augmentation.neutral()


@pytest.mark.parametrize("name", EVERY)
def test_a_strength_moves_no_draw_of_another(images, name):
    """The generator ends where it does without it, and the moves are equal, as a cutout shows."""
    one, other = generator(), generator()
    Augmentation().modify_batch(images, TARGETS, one)
    Augmentation(**{name: EVERY[name]}).modify_batch(images, TARGETS, other)
    assert torch.equal(one.get_state(), other.get_state())
    bright = images + 0.1
    alone = changed(Augmentation(cutout=2), bright) == 0
    both = changed(
        Augmentation(**{"cutout": 2, name: max(EVERY[name] * 0.01, 2 * (name == "cutout"))}), bright
    )
    assert (both[alone] == 0).all()


def test_draws_of_an_image_do_not_depend_on_how_many_follow(images):
    regularizer = Augmentation(shift=1, rotate=20, crop=0.5, cutout=2)
    assert torch.allclose(
        changed(regularizer, images)[:2], changed(regularizer, images[:2]), atol=1e-6
    )


def test_all_together_stay_in_range_and_targets_stay(images):
    out, targets = Augmentation(**EVERY).modify_batch(images, TARGETS, generator())
    assert targets is TARGETS
    assert out.shape == images.shape
    assert out.min() >= 0
    assert out.max() <= 1


def test_targets_stay_and_the_generator_decides(images):
    regularizer, draws = Augmentation(shift=1, rotate=10), generator(2)
    one, targets = regularizer.modify_batch(images, TARGETS, draws)
    assert targets is TARGETS
    assert torch.equal(one, regularizer.modify_batch(images, TARGETS, generator(2))[0])
    assert not torch.equal(one, regularizer.modify_batch(images, TARGETS, draws)[0])


def test_every_epoch_draws_differently(configure, pool, monkeypatch):
    seen, change = [], Augmentation.modify_batch
    constant = torch.rand(10, 1, 8, 8)

    def watched(self, inputs, targets, generator):
        state = generator.get_state()
        seen.append(change(self, constant, targets, generator)[0])
        return change(self, inputs, targets, generator.set_state(state))

    monkeypatch.setattr(Augmentation, "modify_batch", watched)
    train(configure({"name": "augmentation", "shift": 1.0}), pool)
    assert len(seen) == 6
    assert all(
        not torch.allclose(one, other) for one, other in zip(seen[:3], seen[3:], strict=True)
    )


def test_gradient_flows_through_a_move():
    images = torch.rand(1, 1, 4, 4, requires_grad=True)
    move(images, torch.tensor([[1.0, 0.0]]), torch.zeros(1)).sum().backward()
    assert torch.allclose(images.grad[0, 0, :, :-1], torch.ones(4, 3), atol=1e-5)


def test_gradients_in_double_precision():
    images = (torch.rand(2, 3, 4, 4, dtype=torch.float64) * 0.4 + 0.3).requires_grad_()
    noise, shifts = (
        torch.randn(2, 3, dtype=torch.float64) * 0.1,
        torch.rand(2, 2, dtype=torch.float64),
    )
    for change in (
        lambda given: move(
            given,
            shifts,
            torch.tensor([10.0, -20.0]),
            1.1,
            5.0,
            0.8,
            torch.tensor([[0.3, 0.1], [0.0, 1.0]]),
        ),
        lambda given: flip(given, torch.tensor([True, False])),
        lambda given: recolor(given, torch.tensor([1.1, 0.9]), torch.tensor([0.8, 1.1])),
        lambda given: pca_jitter(given, noise),
        lambda given: cutout(given, torch.tensor([[0, 1], [2, 3]]), 2),
    ):
        assert torch.autograd.gradcheck(change, images)


def test_an_augmentation_that_returns_its_input_is_caught():
    regularizer = Augmentation(shift=1)
    with pytest.raises(NoEffect, match="none of 50 images was changed"):
        regularizer.audit(audit_inputs(examples=50))
    measures = regularizer.audit(audit_inputs(examples=50, changed=40, distance=5.0))
    assert measures == {"changed": 0.8, "pixel_change": 0.1}


@pytest.mark.parametrize("name", EVERY)
def test_a_strength_that_is_never_applied_is_caught(configure, pool, monkeypatch, name):
    """Every draw lands where nothing moves; resampling changes the last bits and is no effect."""
    columns = {"flip": 1.0, "crop": 0.0, "cutout": 2.0}
    drawn = "pipeline.regularizers.augmentation._draw"
    original = __import__("pipeline.regularizers.augmentation", fromlist=["x"])._draw

    def stuck(images, generator):
        return {
            key: torch.full_like(value, columns.get(key, 0.5))
            for key, value in original(images, generator).items()
        }

    monkeypatch.setattr(drawn, stuck)
    with pytest.raises(NoEffect, match="none of 150 images was changed"):
        train(configure({"name": "augmentation", name: EVERY[name]}, epochs=5), pool)


@pytest.mark.parametrize(
    ("broken", "settings"),
    [
        ("move", {"shift": 1.0, "rotate": 10.0, "flip": 0.5}),
        ("recolor", {"brightness": 0.4, "flip": 0.5}),
        ("flip", {"flip": 0.9, "cutout": 1}),
        ("cutout", {"cutout": 3, "flip": 0.01}),
    ],
)
def test_a_part_that_returns_its_input_is_caught_beside_one_that_works(
    configure, pool, monkeypatch, broken, settings
):
    config = configure({"name": "augmentation", **settings}, epochs=20)
    assert train(config, pool).audit["augmentation"]
    monkeypatch.setattr(
        f"pipeline.regularizers.augmentation.{broken}", lambda images, *rest: images
    )
    with pytest.raises(
        NoEffect,
        match=r"augmentation: .* of 600 images were changed by .*; expected a share of at least",
    ):
        train(config, pool)


def test_a_rare_flip_may_rightly_never_come():
    assert Augmentation(flip=0.01).audit(audit_inputs(examples=100)) == {
        "changed": 0,
        "pixel_change": 0,
    }
    with pytest.raises(NoEffect):
        Augmentation(flip=0.5).audit(audit_inputs(examples=100))


BAD = [
    *(
        {"shift": -1},
        {"flip": 1.1},
        {"crop": 1},
        {"rotate": 181},
        {"scale": -0.1},
        {"shear": 90},
        {"brightness": 2},
    ),
    *(
        {"contrast": -1},
        {"pca_jitter": -1},
        {"cutout": 1.5},
        {"cutout": -1},
        {"zoom": 1},
        {"shift": float("nan")},
    ),
]


@pytest.mark.parametrize("bad", BAD)
def test_bad_settings(bad):
    with pytest.raises(ValidationError):
        Augmentation(**bad)


def test_rows_of_a_table_cannot_be_moved():
    network = torch.nn.Flatten()
    assert Augmentation(shift=1).effect(network, (3, 8, 8))["shift"] == 1
    with pytest.raises(Refusal, match="does not apply to rows"):
        Augmentation(shift=1).effect(network, (64, 1, 1))
