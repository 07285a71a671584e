"""Fractional max pooling against PyTorch's kernel, enumeration and a plain loop (O4.1 to O4.7)."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from pipeline import regularizers
from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.models._standardized import Inputs, Standardized
from pipeline.prediction.members import deterministic, noise
from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers._noise import mode, noise_layers, seed_noise, switch
from pipeline.regularizers._regions import (
    Axis,
    edges,
    fixed_edges,
    fractional_max_pool,
    pseudorandom_steps,
    random_steps,
    size,
)
from pipeline.regularizers.fractional_max_pooling import (
    DrawnRegions,
    FixedRegions,
    FractionalMaxPooling,
)
from pipeline.runtime.errors import Refusal

VARIANTS = [
    {"regions": "pseudorandom"},
    {"regions": "fixed"},
    {"overlapping": False},
    {"output_sizes": (6,)},
]


def never_pools(monkeypatch):
    """Plant a fault: every pooling layer keeps the output it had."""
    place = FractionalMaxPooling.modify_model

    def forgotten(self, network):
        place(self, network)
        for module in network.modules():
            module.__dict__.pop("forward", None)

    monkeypatch.setattr(FractionalMaxPooling, "modify_model", forgotten)


FAULTS = [never_pools]


def has_own_form(settings):
    """Return True: fixed regions are not those of plain pooling."""
    return True


AXES = [
    Axis(incoming, outgoing, overlapping)
    for overlapping in (False, True)
    for incoming in range(3, 40)
    for outgoing in range(1, incoming)
    if Axis(incoming, outgoing, overlapping).choice
]


def network(pools=1, head=True):
    torch.manual_seed(3)
    layers = [nn.Conv2d(1, 4, 3, padding=1)]
    for _ in range(pools):
        layers += [nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1)]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(2) if head else nn.Identity(), nn.Flatten(), nn.Linear(16, 3)
    )


def sampled(plain, inputs, **settings):
    """Return the network's output while its regions are drawn, and the network."""
    equipped_network = copy.deepcopy(plain)
    regularizer = FractionalMaxPooling(**settings)
    regularizer.modify_model(equipped_network)
    seed_noise(noise_layers(equipped_network), 0, 0)
    with mode(equipped_network, training=False, sampling=True):
        return equipped_network(inputs), equipped_network, regularizer


def brute(inputs, rows, columns):
    """Return the maxima, one region at a time."""
    examples, channels = inputs.shape[:2]
    height, width = rows.shape[1] // 2, columns.shape[1] // 2
    out = torch.empty(examples, channels, height, width, dtype=inputs.dtype)
    for n, c, i, j in itertools.product(
        range(examples), range(channels), range(height), range(width)
    ):
        (top, bottom), (left, right) = rows[n, 2 * i : 2 * i + 2], columns[n, 2 * j : 2 * j + 2]
        out[n, c, i, j] = inputs[n, c, top : bottom + 1, left : right + 1].max()
    return out


def drawn(axis, number, kind="random", dtype=torch.float32):
    if kind == "pseudorandom":
        return pseudorandom_steps(axis, torch.rand(number, 1, dtype=dtype))
    return random_steps(axis, torch.rand(number, axis.steps))


# O4.1, O4.2: the regions


@pytest.mark.parametrize("kind", ["random", "pseudorandom"])
def test_steps_are_one_or_two_and_end_where_they_should(kind):
    """O4.1: on every size up to 40, also where the printed formula's first step can be 3."""
    torch.manual_seed(0)
    for axis in AXES:
        steps = drawn(axis, 50, kind)
        assert steps.shape == (50, axis.steps)
        assert set(steps.unique().tolist()) <= {1, 2}
        assert (steps.sum(1) == axis.span).all()
        assert ((steps == 2).sum(1) == axis.span - axis.steps).all()


def test_counts_of_disjoint_steps():
    """O4.1: as many twos as pixels are lost."""
    axis = Axis(25, 18, False)
    assert ((drawn(axis, 20) == 2).sum(1) == 25 - 18).all()


def test_rounding_never_loses_the_last_pixel():
    """25 -> 18 with u = 0.72: the offset is exactly 1; rounding can miss it on the last tick."""
    for axis in AXES:
        offsets = torch.cat([torch.arange(0, 1, 0.01), torch.arange(axis.span) / axis.span])[
            :, None
        ]
        for given in (
            offsets,
            offsets.double(),
            offsets.nextafter(torch.ones(1)),
            offsets.nextafter(-torch.ones(1)).clamp_min(0),
        ):
            given = given[given[:, 0] < 1]
            steps = pseudorandom_steps(axis, given)
            assert steps.min() >= 1
            assert steps.max() <= 2
            assert (steps.sum(1) == axis.span).all()


def test_the_formula_as_printed_takes_three_pixels_and_ours_does_not():
    """ceil(a (i + u)) from a first pixel 1: at 26/15 a quarter of all u begin with a step of 3."""
    ratio, offsets = 26 / 15, (torch.arange(1000) + 0.5) / 1000
    first = torch.ceil(ratio * (1 + offsets)) - 1
    assert abs(float((first > 2).float().mean()) - 0.269) < 0.01
    assert pseudorandom_steps(Axis(26, 15, False), offsets[:, None]).max() == 2


@pytest.mark.parametrize("axis", [Axis(8, 5, False), Axis(5, 3, False), Axis(26, 15, False)])
@pytest.mark.parametrize("kind", ["random", "pseudorandom"])
def test_disjoint_regions_partition_the_input(axis, kind):
    """O4.2: each pixel once."""
    for first, last in drawn_pairs(axis, kind):
        assert [
            pixel for one, other in zip(first, last, strict=True) for pixel in range(one, other + 1)
        ] == list(range(axis.incoming))


@pytest.mark.parametrize("axis", [Axis(8, 5, True), Axis(5, 3, True), Axis(26, 15, True)])
@pytest.mark.parametrize("kind", ["random", "pseudorandom"])
def test_overlapping_regions_cover_the_input_with_two_pixels_each(axis, kind):
    """O4.2: every pixel at least once."""
    for first, last in drawn_pairs(axis, kind):
        assert all(other == one + 1 for one, other in zip(first, last, strict=True))
        assert {*first, *last} == set(range(axis.incoming))
        assert len(first) == axis.outgoing


def drawn_pairs(axis, kind):
    torch.manual_seed(1)
    for row in edges(axis, drawn(axis, 30, kind)).tolist():
        yield row[::2], row[1::2]


def test_random_orders_are_all_equally_likely():
    """All 10 sequences of 8 -> 5: chi-square, 9 degrees of freedom, below 27.9 (chance 0.001)."""
    torch.manual_seed(0)
    axis = Axis(8, 5, False)
    counts = torch.unique(drawn(axis, 10_000), dim=0, return_counts=True)[1]
    assert len(counts) == axis.sequences("random") == 10
    assert float(((counts - 1000.0) ** 2 / 1000).sum()) < 27.9


@pytest.mark.parametrize(
    ("incoming", "outgoing", "overlapping", "number"),
    [
        (36, 25, False, 25),
        (28, 20, False, 5),
        (32, 22, False, 11),
        (36, 25, True, 12),
        (28, 20, True, 19),
        (32, 22, True, 7),
    ],
)
def test_number_of_pseudorandom_sequences(incoming, outgoing, overlapping, number):
    """The reduced denominator of span / steps, against every offset on a fine grid."""
    axis = Axis(incoming, outgoing, overlapping)
    assert axis.sequences("pseudorandom") == number
    offsets = (torch.arange(5000, dtype=torch.float64)[:, None] + 0.5) / 5000
    assert len(pseudorandom_steps(axis, offsets).unique(dim=0)) == number


def test_no_sequence_is_commoner_than_the_audit_assumes():
    offsets = (torch.arange(3000, dtype=torch.float64)[:, None] + 0.5) / 3000
    for axis in AXES:
        if axis.incoming < 12:
            counts = pseudorandom_steps(axis, offsets).unique(dim=0, return_counts=True)[1]
            assert counts.max() <= 2001
            assert axis.sequences("random") >= 2


# O4.3 to O4.5: the maxima


@pytest.mark.parametrize("overlapping", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maxima_by_a_plain_loop(overlapping, layout):
    torch.manual_seed(2)
    inputs = torch.randn(3, 2, 8, 7).contiguous(memory_format=layout)
    rows, columns = (
        edges(axis, drawn(axis, 3)) for axis in (Axis(8, 5, overlapping), Axis(7, 5, overlapping))
    )
    assert torch.equal(fractional_max_pool(inputs, rows, columns), brute(inputs, rows, columns))


def test_the_largest_stays_nothing_is_invented_and_order_is_kept():
    """O4.3."""
    torch.manual_seed(2)
    inputs = torch.randn(20, 3, 8, 8)
    for overlapping in (False, True):
        axis = Axis(8, 5, overlapping)
        rows, columns = edges(axis, drawn(axis, 20)), edges(axis, drawn(axis, 20))
        out = fractional_max_pool(inputs, rows, columns)
        assert torch.equal(out.amax((2, 3)), inputs.amax((2, 3)))
        assert all(
            set(o.flatten().tolist()) <= set(i.flatten().tolist())
            for o, i in zip(out, inputs, strict=True)
        )
        assert (fractional_max_pool(inputs + torch.rand_like(inputs), rows, columns) >= out).all()
        assert (fractional_max_pool(torch.full_like(inputs, 0.3), rows, columns) == 0.3).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "shape", [(8, 8, 5, 5), (5, 5, 3, 3), (9, 14, 6, 9), (25, 25, 18, 18), (32, 32, 22, 22)]
)
@pytest.mark.parametrize("values", ["normal", "ties"])
def test_equal_to_pytorchs_kernel_output_and_gradient(shape, dtype, values):
    """O4.4: for the kernel's offsets (index 0 is the width), weighted outputs, and ties."""
    torch.manual_seed(4)
    height, width, out_height, out_width = shape
    inputs = torch.randn(6, 3, height, width, dtype=dtype)
    inputs = inputs.relu().round() if values == "ties" else inputs
    samples = torch.rand(6, 1, 2, dtype=dtype)
    one, other = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    theirs = functional.fractional_max_pool2d(
        one, 2, (out_height, out_width), _random_samples=samples.expand(6, 3, 2)
    )
    rows = Axis(height, out_height, True)
    columns = Axis(width, out_width, True)
    steps = (
        pseudorandom_steps(rows, samples[:, 0, 1:]),
        pseudorandom_steps(columns, samples[:, 0, :1]),
    )
    ours = fractional_max_pool(other, edges(rows, steps[0]), edges(columns, steps[1]))
    assert torch.equal(ours, theirs)
    weight = torch.randn_like(theirs)
    (ours * weight).sum().backward()
    (theirs * weight).sum().backward()
    assert torch.allclose(
        one.grad, other.grad, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-14
    )
    assert torch.equal(one.grad != 0, other.grad != 0)


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_ratio_of_two_is_plain_pooling(overlapping):
    """O4.5: and leaves nothing to draw."""
    axis = Axis(8, 4, overlapping)
    inputs = torch.randn(3, 2, 8, 8)
    bounds = edges(axis, pseudorandom_steps(axis, torch.rand(3, 1)))
    assert torch.equal(
        fractional_max_pool(inputs, bounds, bounds), functional.max_pool2d(inputs, 2)
    )
    assert not axis.choice


@pytest.mark.parametrize("overlapping", [False, True])
def test_gradient(overlapping):
    torch.manual_seed(5)
    axis = Axis(6, 4, overlapping)
    inputs = torch.randn(2, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    rows, columns = edges(axis, drawn(axis, 2)), edges(axis, drawn(axis, 2))
    assert torch.autograd.gradcheck(
        lambda values: fractional_max_pool(values, rows, columns), inputs
    )


# O4.6, O4.7: the layers


@pytest.mark.parametrize("regions", ["random", "pseudorandom"])
@pytest.mark.parametrize("overlapping", [False, True])
def test_regions_are_of_an_example_shared_by_its_channels_and_other_for_rows_and_columns(
    regions, overlapping
):
    """O4.6: read off an input whose value is its row, and its column."""
    plane = torch.arange(8.0).view(1, 1, 8, 1).expand(64, 1, 8, 8)
    inputs = torch.cat([plane, plane, plane.transpose(2, 3)], dim=1)
    pool = nn.Sequential(nn.MaxPool2d(2))
    out, _, _ = sampled(pool, inputs, regions=regions, overlapping=overlapping)
    assert out.shape == (64, 3, 5, 5)
    assert torch.equal(out[:, 0], out[:, 1])
    down, across = out[:, 0, :, 0], out[:, 2, 0, :]
    assert len(down.unique(dim=0)) > 1
    assert len(across.unique(dim=0)) > 1
    assert not torch.equal(down, across)


def test_another_seed_draws_other_regions():
    """O4.6: and the same seed the same."""
    inputs = torch.randn(10, 1, 8, 8)
    plain = network()
    one = noise(equipped(plain), inputs, 2, seed=0)
    assert torch.equal(one, noise(equipped(plain), inputs, 2, seed=0))
    assert not torch.equal(one, noise(equipped(plain), inputs, 2, seed=1))
    assert not torch.equal(one[0], one[1])


def equipped(plain, **settings):
    copied = copy.deepcopy(plain)
    FractionalMaxPooling(**settings).modify_model(copied)
    return copied


def test_variance_falls_with_the_number_of_passes_and_so_does_the_loss():
    """O4.7: var ~ 1 / K, within what 300 groups allow; log loss of the mean by Jensen."""
    inputs, labels = torch.randn(8, 1, 8, 8), torch.arange(8) % 3
    plain = network()
    plain[-1].weight.data *= 20
    logits = noise(equipped(plain), inputs, 480, seed=0)
    chances = logits.softmax(-1)
    for passes in (2, 4):
        means = chances.unflatten(0, (-1, passes)).mean(1)
        assert float(means.var(0).sum() / chances.var(0).sum()) == pytest.approx(
            1 / passes, rel=0.2
        )
    losses = [
        float(
            functional.nll_loss(
                chances.unflatten(0, (-1, passes)).mean(1).log().transpose(1, 2),
                labels.expand(480 // passes, 8),
            )
        )
        for passes in (1, 2, 4, 12)
    ]
    assert losses == sorted(losses, reverse=True)


def test_without_noise_regions_are_fixed_and_the_control_has_the_same_ones():
    inputs = torch.randn(10, 1, 8, 8)
    plain = network(2)
    for overlapping in (False, True):
        random = equipped(plain, overlapping=overlapping)
        control = equipped(plain, overlapping=overlapping, regions="fixed")
        assert noise_layers(control) == []
        assert len(noise_layers(random)) == 2
        one = deterministic(random, inputs)
        assert torch.equal(one, deterministic(random, inputs))
        assert torch.equal(one, deterministic(control, inputs))
        assert torch.allclose(one[0, 3], deterministic(random, inputs[3:4])[0, 0], atol=1e-6)
        assert not torch.allclose(one, deterministic(plain, inputs))


def test_fixed_regions_are_pseudorandom_ones():
    for axis in AXES:
        steps = pseudorandom_steps(axis, torch.tensor([[0.5]]))
        assert torch.equal(fixed_edges(axis), edges(axis, steps))


def test_the_test_rule_is_that_of_the_settings():
    given = [
        {"name": "fractional_max_pooling", "regions": regions}
        for regions in ("random", "pseudorandom", "fixed")
    ]
    assert [regularizers.test_rule(regularizers.build([item])) for item in given] == [
        NOISE,
        NOISE,
        DETERMINISTIC,
    ]
    assert (
        regularizers.test_rule(regularizers.build([{"name": "dropout", "rate": 0.5}]))
        == DETERMINISTIC
    )
    both = [{"name": "dropout", "rate": 0.5}, {"name": "fractional_max_pooling"}]
    assert regularizers.test_rule(regularizers.build(both)) == NOISE


# places and networks


def test_it_acts_on_pooling_layers_that_shrink_and_changes_no_name_type_or_weight():
    plain = nn.Sequential(
        *(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.MaxPool2d(3, stride=1, padding=1),
            nn.MaxPool2d(3, stride=2, padding=1),
        ),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)),
    )
    pooled = equipped(plain)
    assert [layer.site for layer in noise_layers(pooled)] == ["2"]
    assert [type(module) for module in pooled] == [type(module) for module in plain]
    assert pooled.state_dict().keys() == plain.state_dict().keys()
    assert pooled(torch.randn(2, 1, 8, 8)).shape == (2, 3)


def test_one_layer_called_twice_and_sides_that_differ():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.MaxPool2d(2, 2)

        def forward(self, inputs):
            return self.pool(self.pool(inputs))

    out, pooled, regularizer = sampled(Shared(), torch.randn(40, 2, 12, 20))
    assert out.shape == (40, 2, 5, 9)
    measures = regularizer.audit(AuditInputs(pooled, [], 0.0, BatchChanges()))
    assert [measures[name] for name in ("sites", "height_1", "width_1", "height_2", "width_2")] == [
        1,
        8,
        14,
        5,
        9,
    ]


def test_a_copy_of_a_network_has_layers_of_its_own():
    pooled = equipped(network())
    twin = copy.deepcopy(pooled)
    switch(twin, training=False, sampling=True)
    inputs = torch.randn(4, 1, 8, 8)
    assert not torch.equal(twin(inputs), twin(inputs))
    assert noise_layers(pooled)[0].counts == {}
    assert noise_layers(twin)[0].counts["batches"] == 2
    pickle.dumps(pooled.state_dict())


def test_a_network_without_a_place_for_it_raises():
    with pytest.raises(
        Refusal,
        match=r"the network has no max-pooling layer \(nn.MaxPool2d with a stride above 1\)",
    ):
        FractionalMaxPooling().modify_model(nn.Sequential(nn.Linear(4, 2)))
    with pytest.raises(Refusal, match="0 returns the indices of its maxima"):
        FractionalMaxPooling().modify_model(nn.Sequential(nn.MaxPool2d(2, return_indices=True)))
    with pytest.raises(
        Refusal, match="output_sizes: 1 sizes; expected 2, one for each max-pooling layer"
    ):
        FractionalMaxPooling(output_sizes=(5,)).modify_model(network(2))


def test_a_head_that_does_not_fit_the_new_size_raises_one_line():
    plain = network(head=False)
    plain[-1] = nn.Linear(64, 3)
    assert plain(torch.zeros(1, 1, 8, 8)).shape == (1, 3)
    for act in (
        lambda: equipped(plain)(torch.zeros(1, 1, 8, 8)),
        lambda: FractionalMaxPooling().effect(plain, (1, 8, 8)),
    ):
        with pytest.raises(
            Refusal,
            match="a linear layer 100 features, which takes 64; expected a head for any size",
        ) as caught:
            act()
        assert len(caught.value.lines) == 1
    with pytest.raises(Refusal, match="the network cannot take the new sizes"):
        FractionalMaxPooling().effect(
            nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.BatchNorm1d(16)), (1, 8, 8)
        )


# settings


def test_sizes_are_exact_for_the_decimal_ratio():
    assert [size(8, ratio) for ratio in (1.41, 1.5, 1.6)] == [5, 5, 5]
    assert [size(5, ratio) for ratio in (1.41, 1.5, 1.6)] == [3, 3, 3]
    assert [size(pixels, math.sqrt(2)) for pixels in (36, 25, 17)] == [25, 17, 12]
    assert size(33, 1.1) == 30
    assert 33 / 1.1 < 30  # what plain division would round down from


@pytest.mark.parametrize(
    "given",
    [
        *(
            {"ratio": 1},
            {"ratio": 2},
            {"ratio": None},
            {"ratio": 1.5, "output_sizes": [5]},
            {"output_sizes": [0]},
        ),
        *({"regions": "none"}, {"overlapping": 1}, {"rate": 0.5}),
    ],
)
def test_bad_settings_raise(given):
    with pytest.raises(ValidationError):
        FractionalMaxPooling.model_validate(given)


def test_settings_survive_being_written_down():
    for settings in (
        FractionalMaxPooling(),
        FractionalMaxPooling(output_sizes=(5, 3)),
        FractionalMaxPooling(ratio=1.3),
    ):
        assert FractionalMaxPooling.model_validate_json(settings.model_dump_json()) == settings
        assert FractionalMaxPooling.model_validate(settings.model_dump()) == settings
    assert FractionalMaxPooling(output_sizes=(5, 3)).ratio is None
    assert FractionalMaxPooling.neutral() is None


def test_output_sizes_do_what_the_ratio_that_gives_them_does():
    inputs, plain = torch.randn(5, 1, 8, 8), network(2)
    one, other = (equipped(plain, **given) for given in ({"ratio": 1.5}, {"output_sizes": (5, 3)}))
    assert torch.equal(noise(one, inputs, 2, seed=0), noise(other, inputs, 2, seed=0))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"ratio": 1.9}, "at 1: 8 -> 4 pixels leave no choice of overlapping .*expected 5 to 6 "),
        ({"ratio": 1.2}, "at 3: 6 -> 5 pixels leave no choice of overlapping .*expected 4 to 4 "),
        ({"ratio": 1.1}, "at 1: 8 -> 7 pixels leave no choice of overlapping .*expected 5 to 6 "),
        ({"output_sizes": (4, 2)}, "at 1: 8 -> 4 pixels leave no choice .*expected 5 to 6 "),
        ({"output_sizes": (6, 2)}, "at 3: 6 -> 2 pixels leave no choice .*expected 4 to 4 "),
        (
            {"ratio": 1.9, "overlapping": False},
            "at 1: 8 -> 4 pixels leave no choice of disjoint regions .*expected 5 to 7 ",
        ),
        ({"ratio": 1.9, "regions": "fixed"}, "at 1: 8 -> 4 pixels leave no choice"),
    ],
)
def test_sizes_that_leave_no_randomness_are_an_error_that_names_those_that_do(settings, line):
    plain = network(2)
    with pytest.raises(Refusal, match=line) as caught:
        FractionalMaxPooling(**settings).effect(plain, (1, 8, 8))
    assert len(caught.value.lines) == 1
    with pytest.raises(Refusal, match=line):
        sampled(plain, torch.zeros(2, 1, 8, 8), **settings)
    FractionalMaxPooling(ratio=1.6).effect(plain, (1, 8, 8))
    FractionalMaxPooling(ratio=1.21).effect(plain, (1, 8, 8))


def test_the_possible_sizes_are_those_with_steps_of_both_lengths():
    for incoming, outgoing, overlapping in itertools.product(range(1, 30), range(1, 30), (0, 1)):
        axis = Axis(incoming, outgoing, bool(overlapping))
        assert axis.choice is (axis.steps < axis.span < 2 * axis.steps)
    with pytest.raises(Refusal, match="2 -> 1 pixels leave no choice .*expected larger images"):
        FractionalMaxPooling(ratio=1.9).effect(network(head=False), (1, 2, 2))


def test_fewer_ways_to_pool_than_noise_passes_are_an_error():
    """14 -> 9 pseudorandom and overlapping: 2 sequences, hence 4 ways with one pooling layer."""
    given = {"ratio": 1.5, "regions": "pseudorandom"}
    with pytest.raises(
        Refusal,
        match="14 -> 9, 14 -> 9 pixels leave 4 ways to draw pseudorandom .*; expected >= 12",
    ):
        FractionalMaxPooling(**given).effect(network(), (1, 14, 14))
    FractionalMaxPooling(**given, overlapping=False).effect(network(), (1, 14, 14))
    FractionalMaxPooling(ratio=1.5, regions="fixed").effect(network(), (1, 14, 14))


def test_ratios_of_equal_sizes_have_equal_effects():
    plain = Standardized(network(2), Inputs((1, 8, 8)))
    before = copy.deepcopy(plain.state_dict())

    def effect(**settings):
        return FractionalMaxPooling(**settings).effect(plain, (1, 8, 8))

    assert (
        effect(ratio=1.41) == effect(ratio=1.5) == effect(ratio=1.6) == effect(output_sizes=(5, 3))
    )
    assert effect(ratio=1.3) != effect(ratio=1.5)
    assert effect(ratio=1.5, regions="fixed") != effect(ratio=1.5)
    assert effect(ratio=1.5, overlapping=False) != effect(ratio=1.5)
    assert noise_layers(plain) == []
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())


# the audit


def evidence(pooled):
    return AuditInputs(pooled, [], 0.0, BatchChanges())


def test_the_audit_tells_sites_sizes_and_sequences():
    _, pooled, regularizer = sampled(network(2), torch.randn(300, 1, 8, 8), overlapping=False)
    assert regularizer.audit(evidence(pooled)) == {
        **{
            "sites": 2,
            "height_1": 5,
            "width_1": 5,
            "height_2": 3,
            "width_2": 3,
            "sequences_1": 10,
            "sequences_2": 3,
        }
    }
    _, pooled, regularizer = sampled(network(2), torch.randn(3, 1, 8, 8), regions="fixed")
    assert regularizer.audit(evidence(pooled)) == {
        "sites": 2,
        "height_1": 5,
        "width_1": 5,
        "height_2": 3,
        "width_2": 3,
    }


def test_the_audit_catches_draws_that_are_all_equal(monkeypatch):
    draw = DrawnRegions.draw
    monkeypatch.setattr(
        DrawnRegions, "draw", lambda self, axis, number: draw(self, axis, 1).expand(number, -1)
    )
    _, pooled, regularizer = sampled(network(), torch.randn(50, 1, 8, 8))
    with pytest.raises(NoEffect, match="all 50 examples of 1 batches at 1 had the same regions"):
        regularizer.audit(evidence(pooled))


def test_the_audit_catches_one_draw_for_a_whole_batch(monkeypatch):
    draw = DrawnRegions.draw
    monkeypatch.setattr(
        DrawnRegions, "draw", lambda self, axis, number: draw(self, axis, 1).expand(number, -1)
    )
    _, pooled, regularizer = sampled(network(), torch.randn(20, 1, 8, 8))
    with mode(pooled, training=True, sampling=True):
        for _ in range(9):
            pooled(torch.randn(20, 1, 8, 8))
    with pytest.raises(
        NoEffect, match="the examples of each of 10 batches at 1 shared their regions"
    ):
        regularizer.audit(evidence(pooled))


def test_the_audit_catches_layers_that_never_pool_or_never_draw():
    pooled = equipped(network())
    with pytest.raises(NoEffect, match="1 of 1 layers have not pooled"):
        FractionalMaxPooling().audit(evidence(pooled))
    with pytest.raises(NoEffect, match="0 of 0 layers have not pooled"):
        FractionalMaxPooling().audit(evidence(network()))
    pooled(torch.zeros(4, 1, 8, 8))
    with pytest.raises(NoEffect, match="no region was drawn at 1"):
        FractionalMaxPooling().audit(evidence(pooled))
    assert isinstance(pooled[1].forward, DrawnRegions)
    assert isinstance(equipped(network(), regions="fixed")[1].forward, FixedRegions)


def test_a_few_examples_prove_nothing():
    _, pooled, regularizer = sampled(network(), torch.randn(1, 1, 8, 8))
    assert regularizer.audit(evidence(pooled))["sequences_1"] <= 2


def test_the_audit_looks_at_the_first_batches_alone():
    pooled = equipped(network())
    with mode(pooled, training=True, sampling=True):
        for _ in range(15):
            pooled(torch.randn(4, 1, 8, 8))
    counts = noise_layers(pooled)[0].counts
    assert counts["batches"] == 10
    assert counts["examples"] == 40
