"""Stochastic depth against enumeration, and against computing and masking (O3.1 to O3.5)."""

import copy
import itertools
import math

import pytest
import torch
from declarations import changed_layers
from foreign import ForeignBlock
from pydantic import ValidationError
from scipy import stats
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline import models
from pipeline.models.resnet import Block
from pipeline.optimizers.sgd import start_momenta
from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers._noise import noise_layers, seed_noise, switch
from pipeline.regularizers.stochastic_depth import StochasticDepth, stochastic_depth
from pipeline.runtime.errors import Refusal
from pipeline.training import checkpoints
from pipeline.training.task import Task
from pipeline.training.trainer import train

STRONG = {"survival": 0.3}
VARIANTS = [{"mode": "example"}, {"decay": "uniform"}]
ALSO_NEUTRAL = [{"survival": 1.0, "decay": "uniform"}, {"survival": 1.0, "mode": "example"}]


def skips_at(share):
    """Return a fault: branches are skipped at a share of their chance."""
    return changed_layers(
        lambda layer: setattr(layer, "survival", 1 - (1 - layer.survival) * share)
    )


FAULTS = [skips_at(0), skips_at(0.1)]


def shares_a_draw(settings):
    """Return whether a block is skipped for the whole batch, as in the paper."""
    return settings.get("mode") != "example"


def has_own_form(settings):
    """Return True: branches are scaled by their chance of survival."""
    return True


MODES = ["batch", "example"]
IMAGES = torch.rand(20, 1, 8, 8)


def user_network():
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10)]
    stem = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)]
    return nn.Sequential(*stem, ForeignBlock(4, 4), ForeignBlock(4, 6), ForeignBlock(6, 6), *head)


def imported_network():
    return models.build({"name": "resnet", "widths": (4, 6), "blocks": 2}, (1, 8, 8), 10)


@pytest.fixture(params=[imported_network, user_network])
def network(request):
    torch.manual_seed(0)
    return request.param().to(memory_format=torch.channels_last)


def deepened(network, seed=0, **settings):
    """Return a copy of the network with stochastic depth, sampling."""
    changed = copy.deepcopy(network)
    StochasticDepth(**settings).modify_model(changed)
    switch(changed, training=True, sampling=True)
    seed_noise(noise_layers(changed), seed)
    return changed


def fixed(network, draws):
    """Return the network with layers that draw what is given: one or a list of bools per layer."""
    for layer, kept in zip(noise_layers(network), draws, strict=True):
        layer.sample = lambda inputs, *pieces, layer=layer, kept=kept: stochastic_depth(
            inputs, pieces, layer.branch, kept if isinstance(kept, list) else [kept]
        )
    return network


def test_chances_fall_linearly_to_the_last_or_are_uniform():
    assert StochasticDepth(survival=0.5).chances(4) == [0.875, 0.75, 0.625, 0.5]
    assert sum(StochasticDepth(survival=0.5).chances(54)) == pytest.approx(
        40.25
    )  # "about 40" in the paper
    assert sum(StochasticDepth(survival=0.2).chances(54)) == pytest.approx(32.0)
    assert StochasticDepth(survival=0.7, decay="uniform").chances(3) == [0.7] * 3
    layers = noise_layers(deepened(imported_network(), survival=0.5))
    assert [layer.survival for layer in layers] == [0.875, 0.75, 0.625, 0.5]


@pytest.mark.parametrize("mode", MODES)
def test_blocks_survive_at_their_chances(mode):
    """O3.1: the mean number of active blocks, and the rate of each."""
    draws, layers = 4000, noise_layers(deepened(imported_network(), survival=0.4, mode=mode))
    for layer in layers:
        layer.branch = lambda values: values
        for _ in range(draws if mode == "batch" else 1):
            layer(*[torch.zeros(1 if mode == "batch" else draws, 2)] * 2)
    kept = [int(layer.counts["kept"]) for layer in layers]
    assert [layer.counts["drawn"] for layer in layers] == [draws] * 4
    chances = [layer.survival for layer in layers]
    variance = sum(chance * (1 - chance) for chance in chances)
    assert abs(sum(kept) / draws - sum(chances)) < 4 * math.sqrt(variance / draws)
    square = sum(
        (count - draws * chance) ** 2 / (draws * chance * (1 - chance))
        for count, chance in zip(kept, chances, strict=True)
    )
    assert stats.chi2.sf(square, len(chances)) > 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_sums_are_unscaled_in_training_and_scaled_at_test(mode):
    """O3.2: of a linear chain, the mean over every outcome is the deterministic member."""

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3, bias=False)

        def forward(self, x):
            return x + self.layer(x)

    torch.manual_seed(1)
    changed = deepened(
        nn.Sequential(*(Linear() for _ in range(4))), survival=0.3, mode=mode
    ).double()
    inputs = torch.randn(2, 3, dtype=torch.float64)
    chances, mean = (
        [layer.survival for layer in noise_layers(changed)],
        torch.zeros(2, 3, dtype=torch.float64),
    )
    for outcome in itertools.product([True, False], repeat=4):
        weight = math.prod(
            chance if kept else 1 - chance for chance, kept in zip(chances, outcome, strict=True)
        )
        mean += weight * fixed(copy.deepcopy(changed), outcome)(inputs)
    switch(changed, training=False, sampling=False)
    assert torch.allclose(changed(inputs), mean, atol=1e-14)
    switch(changed, training=False, sampling=True)
    assert not torch.allclose(fixed(changed, [True] * 4)(inputs), mean)


@pytest.mark.parametrize("mode", MODES)
def test_a_dropped_branch_is_not_computed(network, mode):
    """O3.3: no layer of it is called, its weights get no gradient, its batch norm does not move."""
    count = len(noise_layers(deepened(network)))
    for alone in range(count):
        changed = deepened(network, mode=mode)
        layers = noise_layers(changed)
        draws = [[number == alone] * (20 if mode == "example" else 1) for number in range(count)]
        parts = [changed.get_submodule(layer.site.rpartition(".")[0]) for layer in layers]
        before, called = copy.deepcopy(changed.state_dict()), set()
        for name, module in changed.named_modules():
            module.register_forward_hook(lambda *_, name=name, called=called: called.add(name))
        fixed(changed, draws)(IMAGES).square().sum().backward()
        for number, (layer, block) in enumerate(zip(layers, parts, strict=True)):
            site = layer.site.rpartition(".")[0]
            for name, module in block.named_modules():
                if any(True for _ in module.parameters(recurse=False)) and not name.startswith(
                    ("shortcut", "downsample")
                ):
                    assert (f"{site}.{name}" in called) is (number == alone)
                    assert all(
                        (weight.grad is not None) is (number == alone)
                        for weight in module.parameters()
                    )
                    if isinstance(module, nn.BatchNorm2d):
                        moved = not torch.equal(
                            module.running_mean, before[f"{site}.{name}.running_mean"]
                        )
                        assert moved is (number == alone)
                        assert int(module.num_batches_tracked) == (number == alone)


def test_operations_fall_with_the_branches():
    """O3.4: 1 - sum(p c) / sum(c) is saved, and masking after computing would save nothing."""
    plain = imported_network()
    costs = []
    for outcome in ([True] * 4, *([number != gone for number in range(4)] for gone in range(4))):
        with FlopCounterMode(display=False) as counter:
            fixed(deepened(plain), outcome)(IMAGES).sum().backward()
        costs.append(counter.get_total_flops())
    saved = [costs[0] - cost for cost in costs[1:]]
    assert all(cost > 0 for cost in saved)
    half = [[example % 2 == 0 for example in range(20)]] * 4
    with FlopCounterMode(display=False) as counter:
        fixed(deepened(plain, mode="example"), half)(IMAGES).sum().backward()
    assert counter.get_total_flops() == costs[0] - sum(saved) / 2


@pytest.mark.parametrize("mode", MODES)
def test_certain_survival_is_the_plain_network_bit_for_bit(network, mode):
    """O3.5: over training steps, without the short-cut that leaves neutral regularizers out."""
    results = []
    for one in (copy.deepcopy(network), deepened(network, survival=1, mode=mode)):
        optimizer = torch.optim.SGD(
            one.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True
        )
        one.train()
        for _ in range(3):
            optimizer.zero_grad()
            one(IMAGES).square().mean().backward()
            optimizer.step()
        switch(one, training=False, sampling=False)
        results.append([*one.state_dict().values(), one(IMAGES)])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_kept_examples_go_through_and_the_others_around(network, layout):
    """Per example, outputs and gradients are those of computing each example by itself."""
    changed = deepened(network, mode="example").double().to(memory_format=layout)
    switch(changed, training=False, sampling=True)  # batch norm frozen, so that examples do not mix
    images = IMAGES.double().requires_grad_()
    draws = (
        torch.rand(len(noise_layers(changed)), 20, generator=torch.Generator().manual_seed(0)) < 0.6
    ).tolist()
    together = fixed(copy.deepcopy(changed), draws)
    weights = torch.rand(20, 10, dtype=torch.float64)
    result = together(images)
    (result * weights).sum().backward()
    gradient, images.grad = images.grad, None
    alone = copy.deepcopy(changed)
    rows = [fixed(alone, [draw[row] for draw in draws])(images[row : row + 1]) for row in range(20)]
    (torch.cat(rows) * weights).sum().backward()
    assert torch.allclose(result, torch.cat(rows), atol=1e-12)
    assert torch.allclose(gradient, images.grad, atol=1e-12)
    for one, other in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("steps", [0, 3])
def test_gradient(mode, steps):
    """In float64 with fixed noise, at initialization and after some training."""
    torch.manual_seed(2)
    changed = deepened(
        nn.Sequential(Block(2, 3, True, "relu"), nn.Tanh(), Block(3, 3, False, "relu")), mode=mode
    ).double()
    inputs = torch.randn(4, 2, 3, 3, dtype=torch.float64).contiguous(
        memory_format=torch.channels_last
    )
    optimizer = torch.optim.SGD(changed.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        changed(inputs).square().mean().backward()
        optimizer.step()
    for draws in ([[True, False, True, True], [False, False, True, False]], [True, False]):
        sampled = fixed(copy.deepcopy(changed), draws)
        switch(sampled, training=False, sampling=True)
        values = inputs.clone().requires_grad_()
        assert torch.autograd.gradcheck(sampled, values)


def test_draws_are_for_the_batch_or_for_each_example(network):
    for mode, different in (("batch", 1), ("example", 12)):
        changed = deepened(network, mode=mode, survival=0.3)
        switch(changed, training=False, sampling=True)
        rows = changed(IMAGES[:1].expand(20, -1, -1, -1)).round(decimals=4)
        outcomes = len({tuple(row.tolist()) for row in rows})
        assert outcomes == 1 if different == 1 else outcomes > 4


def test_one_example_left_at_a_single_pixel_can_be_normalized():
    torch.manual_seed(3)
    changed = deepened(nn.Sequential(Block(2, 2, True, "relu")), mode="example")
    result = fixed(changed, [[False, True, False]])(torch.rand(3, 2, 1, 1))
    result.sum().backward()
    assert torch.isfinite(result).all()
    assert changed[0].branch[2].weight.grad is not None


def test_momenta_at_zero_change_no_step_and_let_the_fused_one_skip_blocks():
    plain, results = imported_network(), []
    for start in (True, False):
        one = copy.deepcopy(plain)
        optimizer = torch.optim.SGD(
            one.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True
        )
        if start:
            start_momenta(optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            one(IMAGES).square().mean().backward()
            optimizer.step()
        results.append(list(one.state_dict().values()))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    changed = deepened(plain)
    optimizer = torch.optim.SGD(
        changed.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=True
    )
    start_momenta(optimizer)
    for last in (False, True):
        optimizer.zero_grad()
        fixed(changed, [True, True, True, last])(IMAGES).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("mode", MODES)
def test_training_skips_the_share_it_should(mode, configure, pool):
    trained = train(
        configure(
            {"name": "stochastic_depth", "survival": 0.3, "decay": "uniform", "mode": mode},
            epochs=8,
        ),
        pool,
    )
    measures, draws = trained.audit["stochastic_depth"], 2 * 24 * (1 if mode == "batch" else 10)
    assert measures["blocks"] == 2
    assert measures["expected_skipped"] == pytest.approx(0.7)
    assert abs(measures["skipped"] - 0.7) < 4 * math.sqrt(0.21 / draws)


@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_run_ends_at_the_same_bits(stop, configure, pool, tmp_path, monkeypatch):
    """Also where the last block was not computed before the checkpoint and has no momentum."""
    monkeypatch.setattr(checkpoints.Checkpoints.__init__, "__defaults__", (0.0,))
    config = configure({"name": "stochastic_depth", "survival": 0.2}, epochs=4)
    whole, start = train(config, pool), Task.on_train_epoch_start

    def interrupted(self):
        start(self)
        if self.current_epoch == stop:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(Task, "on_train_epoch_start", interrupted)
        train(config, pool, tmp_path)
    resumed = train(config, pool, tmp_path)
    assert resumed.seconds is None
    assert all(torch.equal(resumed.weights[name], weight) for name, weight in whole.weights.items())
    assert resumed.audit == whole.audit


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_a_network_without_residual_branches_raises(name):
    with pytest.raises(Refusal, match="no residual branch") as refused:
        StochasticDepth().modify_model(models.build({"name": name}, (1, 8, 8), 10))
    assert len(refused.value.lines) == 1


@pytest.mark.parametrize(
    "settings",
    [{"survival": 0}, {"survival": 1.1}, {"survival": -0.5}, {"decay": "cosine"}, {"mode": "row"}],
)
def test_bad_settings_raise(settings):
    with pytest.raises(ValidationError):
        StochasticDepth(**settings)


def test_the_audit_catches_branches_that_are_never_skipped_or_never_asked():
    regularizer = StochasticDepth(survival=0.5)
    changed = deepened(imported_network())
    with pytest.raises(NoEffect, match="none of 4 branches was ever reached"):
        regularizer.audit(AuditInputs(changed, [], 0.0, BatchChanges()))
    for layer in noise_layers(changed):
        layer.survival = 1.0  # the planted bug
    for _ in range(20):
        changed(IMAGES)
    with pytest.raises(
        NoEffect,
        match="0 of 80 computations of 4 branches were dropped, a share of 0; expected 0.3125",
    ):
        regularizer.audit(AuditInputs(changed, [], 0.0, BatchChanges()))
    excused = deepened(imported_network())
    for layer in noise_layers(excused):
        layer.survival = 1.0
    excused(IMAGES)
    assert regularizer.audit(AuditInputs(excused, [], 0.0, BatchChanges()))["skipped"] == 0


def test_equal_settings_under_two_spellings():
    single = models.build({"name": "resnet", "widths": (4,), "blocks": 1}, (1, 8, 8), 10)
    for network, same in ((single, True), (imported_network(), False)):
        one, other = (
            StochasticDepth(decay=decay).effect(network, (1, 8, 8))
            for decay in ("linear", "uniform")
        )
        assert (one == other) is same
    assert StochasticDepth().effect(single, (1, 8, 8)) == {"chances": [0.5], "mode": "batch"}
    assert not noise_layers(single)


class Even(ForeignBlock):
    """Two paths of one convolution each."""

    def forward(self, x):
        return self.conv1(x) + self.conv2(x)


class Deciding(ForeignBlock):
    """A block that cannot be traced."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


def test_blocks_passed_over_are_counted():
    regularizer = StochasticDepth(survival=0.5)
    for blocks, expected in (([], 0), ([Even(4, 4)], 1), ([Deciding(4, 4), Even(4, 4)], 2)):
        changed = deepened(
            nn.Sequential(nn.Conv2d(1, 4, 3), ForeignBlock(4, 4), *blocks), mode="example"
        )
        changed(IMAGES)
        measures = regularizer.audit(AuditInputs(changed, [], 0.0, BatchChanges()))
        assert measures["blocks"] == 1
        assert measures["passed_over"] == expected
