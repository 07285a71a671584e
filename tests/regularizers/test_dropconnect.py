"""DropConnect against enumeration of every mask (oracles O2.1 to O2.6)."""

import copy
import itertools
import math
import tracemalloc

import numpy as np
import pytest
import torch
from declarations import weakened
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from pipeline.config.validation import checked
from pipeline.regularizers import _weight_masks as module
from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers._noise import noise_layers, seed_noise, switch
from pipeline.regularizers.dropconnect import (
    DropConnect,
    dropconnect,
    expected_relu,
    gaussian_moments,
    thinned,
)
from pipeline.runtime.errors import Refusal

VARIANTS = [{"where": "convolution"}, {"inference": "gaussian"}]
ALSO_NEUTRAL = [{"rate": 0.0, "where": "convolution"}, {"rate": 0.0, "inference": "gaussian"}]
FAULTS = weakened("dropped")


def shares_a_draw(settings):
    """Return whether these settings have one mask a batch, as for convolutions."""
    return settings.get("where") == "convolution"


def has_own_form(settings):
    """Return whether the expected output of a ReLU is used, not that of the mean weights."""
    return settings.get("inference") == "gaussian"


RATE = 0.3
DOUBLE = torch.float64


def every_mask(number):
    """Return all masks of `number` weights (2^number, 1, number) and their chances."""
    masks = torch.tensor(list(itertools.product([1.0, 0.0], repeat=number)), dtype=DOUBLE)[:, None]
    kept = masks.sum((1, 2))
    return masks, (1 - RATE) ** kept * RATE ** (number - kept)


def every_output(inputs, weight, bias):
    """Return one unit's output under every mask of its weights and bias, with chances.

    Inputs are (in,).
    """
    masks, chances = every_mask(inputs.numel() + 1)
    rows = inputs.expand(len(masks), -1)
    return dropconnect(rows, weight, bias, [masks[:100], masks[100:]], 1 - RATE)[:, 0], chances


def unit(fan_in, seed):
    torch.manual_seed(seed)
    return (
        torch.rand(fan_in, dtype=DOUBLE),
        torch.randn(1, fan_in, dtype=DOUBLE) / fan_in**0.5,
        torch.randn(1, dtype=DOUBLE) * 0.1,
    )


def head():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))


def equipped(network, **settings):
    DropConnect(**settings).modify_model(network)
    switch(network, training=True, sampling=True)
    seed_noise(noise_layers(network), 0, 0)
    return network


def audited(network, **settings):
    return DropConnect(**settings).audit(AuditInputs(network, [], 0.0, BatchChanges()))


@pytest.mark.parametrize("seed", range(3))
def test_mean_and_variance_over_every_mask(seed):
    """O2.1: those of the closed form, the bias's variance included."""
    inputs, weight, bias = unit(8, seed)
    outputs, chances = every_output(inputs, weight, bias)
    mean, variance = gaussian_moments(inputs[None], weight, bias, RATE)
    assert torch.allclose((chances * outputs).sum(), mean, atol=1e-14)
    assert torch.allclose(mean, functional.linear(inputs[None], weight, bias))
    assert torch.allclose((chances * outputs**2).sum() - mean**2, variance, atol=1e-14)
    without = gaussian_moments(inputs[None], weight, None, RATE)[1]
    assert float((variance - without - bias**2 * RATE / (1 - RATE)).abs()) < 1e-14


def test_moments_beat_the_mean_and_the_more_so_the_more_inputs():
    """O2.2: expected ReLU against enumeration; O2.3: never below the ReLU of the mean."""
    errors = {}
    for fan_in in (4, 11):
        pairs = []
        for seed in range(30):
            inputs, weight, bias = unit(fan_in, seed)
            outputs, chances = every_output(inputs, weight, bias)
            exact = float((chances * outputs.relu()).sum())
            mean, variance = gaussian_moments(inputs[None], weight, bias, RATE)
            assert exact >= float(mean.relu()) - 1e-12
            assert float(expected_relu(mean, variance)) >= float(mean.relu())
            pairs.append(
                (abs(exact - float(expected_relu(mean, variance))), abs(exact - float(mean.relu())))
            )
        errors[fan_in] = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
    assert errors[4][0] < errors[4][1] / 2
    assert errors[11][0] < errors[11][1] / 4
    assert errors[11][0] < errors[4][0]


def test_expected_relu_is_the_limit_of_sampling():
    """O2.4: at rate 1 / sqrt(Z); and its limits without variance."""
    torch.manual_seed(0)
    mean, variance = torch.tensor(0.3, dtype=DOUBLE), torch.tensor(0.8, dtype=DOUBLE)
    for number in (10_000, 1_000_000):
        sampled = (mean + variance.sqrt() * torch.randn(number, dtype=DOUBLE)).relu()
        assert (
            abs(float(sampled.mean() - expected_relu(mean, variance)))
            < 4 * float(sampled.std()) / number**0.5
        )
    exact = expected_relu(torch.tensor([-2.0, 0.0, 3.0]), torch.zeros(3))
    assert torch.allclose(exact, torch.tensor([0.0, 0.0, 3.0]), atol=1e-12)


def test_gradients_with_given_masks():
    torch.manual_seed(0)
    masks = (torch.rand(5, 3, 5) > RATE).to(DOUBLE)
    inputs, weight, bias = (
        torch.randn(*shape, dtype=DOUBLE, requires_grad=True) for shape in ((5, 4), (3, 4), (3,))
    )
    given = [masks[:2], masks[2:]]
    assert torch.autograd.gradcheck(
        lambda *values: dropconnect(*values, given, 0.7), (inputs, weight, bias)
    )
    plain = [masks[:, :, :4]]
    assert torch.autograd.gradcheck(
        lambda v, w: dropconnect(v, w, None, plain, 0.7), (inputs, weight)
    )
    assert torch.autograd.gradcheck(lambda w: thinned([w], [masks[0, :, :4] / 0.7]), (weight,))
    assert torch.autograd.gradcheck(
        lambda *v: expected_relu(*gaussian_moments(*v, RATE)), (inputs, weight, bias)
    )


def test_masks_drawn_again_in_the_backward_pass_are_the_same(monkeypatch):
    """Remembered or drawn again, in one chunk or many: the same outputs and gradients."""

    def gradients():
        network = equipped(head(), rate=0.4)
        outputs = network(torch.ones(30, 3, 4))
        outputs.square().sum().backward()
        return [outputs, *(parameter.grad for parameter in network.parameters())]

    one = gradients()
    monkeypatch.setattr(module, "REMEMBERED", 0)
    assert all(torch.equal(a, b) for a, b in zip(one, gradients(), strict=True))
    monkeypatch.setattr(module, "CHUNK", 4 * 16 * 13)  # a multiple of four keeps the words in step
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one, gradients(), strict=True))


def test_memory_is_bounded():
    """O2.6: masks of 256 x 512 x 513 weights would be 269 MB.

    Numpy's words are traced; torch's are of the same size.
    """
    layer = equipped(nn.Sequential(nn.Linear(512, 512)), rate=0.5)[0]
    tracemalloc.start()
    layer(torch.ones(256, 512)).sum().backward()
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()
    masks = module.Masks(0, 256, (512, 513), 1000, torch.float32)
    assert masks.remembered is None
    assert max(mask.numel() for mask in masks) <= max(module.CHUNK, 512 * 513)
    assert sum(len(mask) for mask in masks) == 256


def test_every_example_has_masks_of_its_own_and_dropping_is_binomial():
    """O2.5, and the mean over many masks is the plain layer."""
    plain, network = head(), equipped(head(), rate=RATE)
    first = network[1](torch.ones(4000, 12)).detach()
    assert len({tuple(row.tolist()) for row in first}) == 4000
    expected = plain[1](torch.ones(1, 12))[0]
    deviation = gaussian_moments(torch.ones(1, 12), plain[1].weight, plain[1].bias, RATE)[1].sqrt()[
        0
    ]
    assert ((first.mean(0) - expected).abs() < 4.5 * deviation / 4000**0.5).all()
    assert torch.allclose(first.std(0), deviation, rtol=0.1)
    drawn = 4000 * 16 * 13
    assert abs(audited_rate(network) - RATE) < 4.5 * math.sqrt(RATE * (1 - RATE) / drawn)


def audited_rate(network):
    layer = noise_layers(network)[0]
    return 1 - int(layer.counts["kept"]) / int(layer.counts["drawn"])


def test_words_give_the_exact_chance():
    for dropped in (0, 1, 256, 16_384, 30_000, 32_768, 65_280, 65_535):
        words = module.words_of(np.random.SFC64(1))
        mask = module.draw_mask(words, (1 << 20,), dropped, torch.float32)
        chance = dropped / 65_536
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        assert abs(float(mask.mean()) - (1 - chance)) <= 4.5 * math.sqrt(
            chance * (1 - chance) / (1 << 20)
        )
    assert equipped(head(), rate=0.3)[1].forward.keep == 1 - round(0.3 * 65_536) / 65_536
    assert equipped(head(), rate=1e-9)[1].forward.dropped == 1
    assert equipped(head(), rate=0.999999)[1].forward.keep > 0
    assert equipped(head(), rate=0)[1].forward.keep == 1


@pytest.mark.parametrize("dropped", [0, 1, 255, 256, 257, 16_384, 32_768, 65_280, 65_535])
def test_of_all_words_exactly_the_due_share_is_dropped(dropped):
    bits = 8 if dropped % 256 == 0 else 16
    every = torch.arange(-(1 << (bits - 1)), 1 << (bits - 1)).to(
        torch.int8 if bits == 8 else torch.int16
    )
    words = every.view(torch.int64)
    kept = module.draw_mask(lambda number: words, (len(every),), dropped, torch.float32)
    assert int((kept == 0).sum()) == dropped >> (16 - bits)


def test_type_names_weights_and_deterministic_form_are_the_plain_network_s():
    plain, network = head(), equipped(head(), rate=0.5)
    assert type(network[1]) is nn.Linear
    assert list(network.state_dict()) == list(plain.state_dict())
    switch(network, training=True, sampling=False)
    inputs = torch.rand(3, 12)
    assert torch.equal(network(inputs), plain(inputs))
    without = equipped(head(), rate=0)
    assert torch.allclose(without(inputs), plain(inputs), atol=1e-6)
    assert network[1](torch.rand(2, 5, 12)).shape == (2, 5, 16)


def test_a_copy_computes_with_its_own_weights():
    network = equipped(head(), rate=0.5)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert not copied(torch.ones(2, 12)).any()
    switch(copied, training=False, sampling=False)
    assert not copied(torch.ones(2, 12)).any()
    assert network(torch.ones(2, 12)).any()
    assert len(noise_layers(copied)) == 2


def test_gaussian_inference_acts_where_a_relu_follows():
    network = equipped(head(), rate=0.5, inference="gaussian")
    switch(network, training=False, sampling=False)
    inputs, plain = torch.rand(3, 12), head()
    hidden = expected_relu(*gaussian_moments(inputs, plain[1].weight, plain[1].bias, 0.5))
    assert torch.allclose(network(inputs), plain[3](hidden))
    assert (network(inputs) - plain(inputs)).abs().max() > 1e-3
    switch(network, training=False, sampling=True)
    hidden = torch.stack([network[2](network[1](inputs)) for _ in range(2000)]).mean(0)
    expected = expected_relu(*gaussian_moments(inputs, plain[1].weight, plain[1].bias, 0.5))
    assert (hidden - expected).abs().max() < 0.05
    with pytest.raises(Refusal, match="no linear layer that a ReLU follows"):
        DropConnect(inference="gaussian").modify_model(nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_has_one_mask_for_the_batch(bias):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, bias=bias), nn.Conv2d(3, 3, 1))
    network.to(memory_format=torch.channels_last)
    plain = copy.deepcopy(network)
    equipped(network, rate=0.5, where="convolution")
    ones = torch.ones(4, 2, 6, 6)
    outputs = network(ones)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs, network(ones))
    assert torch.allclose(
        torch.stack([network(ones) for _ in range(4000)]).mean(0), plain(ones), atol=0.05
    )
    outputs.sum().backward()
    dropped = network[0].weight.grad == 0
    assert 0.2 < float(dropped.float().mean()) < 0.8
    measures = audited(network, rate=0.5, where="convolution")
    assert abs(measures["realised_rate"] - 0.5) < 0.02
    assert measures["sites"] == 1


def test_convolutions_own_their_weights_again_once_the_network_has_run():
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3, 2))
    equipped(network, rate=0.5, where="convolution")
    weight = network[0]._parameters["weight"]
    network(torch.ones(1, 1, 3, 3))
    assert network[0].weight is weight
    with pytest.raises(RuntimeError):
        network(torch.ones(1, 1, 9, 9))
    assert network[0].weight is weight
    copied = copy.deepcopy(network)
    with torch.no_grad():
        copied[0].weight.zero_(), copied[0].bias.zero_(), copied[2].bias.zero_()
    assert not copied(torch.ones(1, 1, 3, 3)).any()
    assert network(torch.ones(1, 1, 3, 3)).any()


def test_thinned_weights_keep_the_layout_that_makes_networks_fast():
    """Torch's product has other strides where an axis has length 1, which undoes channels_last."""
    weight = torch.rand(8, 1, 3, 3).to(memory_format=torch.channels_last)
    (product,) = thinned([weight], [torch.ones_like(weight)])
    assert product.stride() == weight.stride() != (weight * weight).stride()
    assert torch.equal(product, weight)


def test_the_dropped_weights_get_no_gradient():
    layer = equipped(nn.Sequential(nn.Linear(6, 5)), rate=0.5)
    layer(torch.ones(1, 6)).sum().backward()
    gradient = torch.cat([layer[0].weight.grad, layer[0].bias.grad[:, None]], 1)
    assert set(gradient.unique().tolist()) == {0.0, 2.0}


def test_the_audit_catches_a_rate_never_applied():
    network = equipped(head(), rate=0.5)
    with pytest.raises(NoEffect, match="no mask was drawn"):
        audited(network, rate=0.5)
    network(torch.ones(50, 12))
    measures = audited(network, rate=0.5)
    assert measures["sites"] == 2
    assert abs(measures["realised_rate"] - 0.5) < 0.02
    broken = equipped(head(), rate=0.5)
    noise_layers(broken)[1].dropped = 0  # the planted bug
    broken(torch.ones(50, 12))
    with pytest.raises(
        NoEffect, match="0 of 3400 weights at 3 were dropped, a share of 0; expected 0.5"
    ):
        audited(broken, rate=0.5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"survival": 0.8}, "survival"),
        ({"rate": 0.2, "drop_path": 0.1}, "drop_path"),
        ({"where": "everywhere"}, "expected one of: linear, convolution"),
        ({"rate": 1}, "expected a number >= 0 and < 1"),
        ({"where": "convolution", "inference": "gaussian"}, "gaussian is for where: linear"),
    ],
)
def test_bad_settings_are_one_line(given, words):
    with pytest.raises(Refusal) as refusal:
        checked(DropConnect, given, "a.yaml", "arms.a.0")
    (line,) = refusal.value.lines
    assert words in line
    assert line.startswith("a.yaml: arms.a.0")
    with pytest.raises(ValidationError):
        DropConnect(**given)


def test_a_network_without_sites_raises():
    with pytest.raises(Refusal, match="no linear layer"):
        DropConnect().modify_model(nn.Sequential(nn.Conv2d(1, 1, 3)))
    with pytest.raises(Refusal, match="convolution that sees more than one pixel"):
        DropConnect(where="convolution").modify_model(nn.Sequential(nn.Conv2d(1, 1, 1)))


@pytest.mark.parametrize(
    ("network", "settings", "forms"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), {}, ["moments"]),
        (nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2)), {}, []),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)), {}, []),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)), {}, []),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), {"inference": "gaussian"}, []),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), {"where": "convolution"}, []),
    ],
)
def test_the_gaussian_form_is_offered_where_a_relu_follows_a_site(network, settings, forms):
    """Also on the network that training has equipped, which prediction passes."""
    item = DropConnect(**settings)
    assert list(item.other_forms(network)) == forms
    item.modify_model(network)
    assert list(item.other_forms(network)) == forms
