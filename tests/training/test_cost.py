"""The cost of a run against closed forms, with every regularizer; nothing of ours is uncounted."""

import contextlib

import pytest
import torch
from declarations import MODEL, cases, item
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pipeline import models
from pipeline.models._standardized import Inputs, Standardized
from pipeline.runtime.errors import Refusal
from pipeline.training import cost
from pipeline.training.cost import counted

N, UPDATES, WIDTH = 10, 3, 8
LINEAR = {"name": "dropconnect", "rate": 0.5}
KERNELS = {"name": "dropconnect", "rate": 0.5, "where": "convolution"}
GAUSSIAN = {"name": "dropconnect", "rate": 0.5, "inference": "gaussian"}


class AttentionBlock(nn.Module):
    """A transformer's block as users write it: a branch of attention, and one of two layers."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.hidden = nn.Linear(WIDTH, 2 * WIDTH)
        self.back = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        normed = self.norm(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return x + self.back(functional.gelu(self.hidden(x)))


class FunctionalBlock(nn.Module):
    """A branch of products that no submodule computes, and of one that is not counted."""

    def __init__(self, spectral=False):
        super().__init__()
        self.inner = nn.Linear(WIDTH, WIDTH)
        self.weight = nn.Parameter(torch.ones(WIDTH, WIDTH))
        self.spectral = spectral

    def forward(self, x):
        inner = torch.matmul(self.inner(x), self.weight)
        return x + (torch.fft.fft(inner, dim=-1).real if self.spectral else inner)


class Again(nn.Linear):
    """A layer that is computed again in the backward pass."""

    def forward(self, x):
        if not torch.is_grad_enabled():
            return super().forward(x)
        return checkpoint(super().forward, x, use_reentrant=True)


class Tokens(nn.Module):
    """The 16 patches of an image, blocks, and a head."""

    def __init__(self, *blocks):
        super().__init__()
        self.patches = nn.Conv2d(1, WIDTH, 2, stride=2)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x):
        return self.head(self.blocks(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


STEM, HEAD = 2 * 16 * WIDTH * 4, 2 * WIDTH * 10  # of one image
ATTENTION = 2 * (16 * WIDTH * 4 * WIDTH + 2 * 16 * 16 * WIDTH)
MLP = 2 * (2 * 16 * WIDTH * 2 * WIDTH)


@pytest.fixture
def count(configure, pool, monkeypatch):
    """Return a function that counts a run of some network, by default that of `configure`."""

    def run(*regularizers, network=None, probe=False):
        if network is not None:
            probed = models._probe.probe(network, torch.zeros(2, 1, 8, 8)) if probe else None
            monkeypatch.setattr(
                models, "build", lambda *_: Standardized(network, Inputs((1, 8, 8)), probed)
            )
        cost._flops.cache_clear()
        cost_of_run = counted(configure(*regularizers), pool, N, UPDATES, UPDATES)
        assert cost_of_run["updates"] == UPDATES
        return cost_of_run

    yield run
    cost._flops.cache_clear()


@pytest.mark.parametrize(("regularizer", "settings"), [("", {}), *cases()])
def test_every_operation_of_ours_is_counted(regularizer, settings, configure, pool):
    chosen = [item(regularizer, settings)] if regularizer else []
    given = [{"name": name, **models.settings()[name]().model_dump()} for name in ("cnn", "mlp")]
    configs = [configure(*chosen).model_copy(update={"model": model}) for model in (MODEL, *given)]
    costs = []
    for config in configs:
        with contextlib.suppress(Refusal):  # the regularizer cannot act on that network
            costs.append(counted(config, pool, N, UPDATES, UPDATES))
    assert costs
    for counts in costs:
        assert counts["uncounted"] == []
        assert counts["training_flops"] > UPDATES * N * counts["forward_flops"] > 0


def test_a_user_s_operation_is_named(count):
    counts = count(network=Tokens(FunctionalBlock(spectral=True)))
    assert counts["uncounted"] == ["aten._fft_c2c", "aten._fft_r2c"]
    assert counts["forward_flops"] == STEM + 2 * (2 * 16 * WIDTH * WIDTH) + HEAD


@pytest.mark.parametrize("regularizer", [None, LINEAR])
def test_dropconnect_costs_a_product_for_every_mask(regularizer, count):
    """Biases are masked too: one more input of each layer. The first needs no gradient of it."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    counts = count(*([regularizer] if regularizer else []), network=network)
    more = 1 if regularizer else 0
    first, second = 2 * (64 + more) * 12, 2 * (12 + more) * 10
    assert counts["training_flops"] == UPDATES * N * (2 * first + 3 * second)
    assert counts["forward_flops"] == 2 * (64 * 12 + 12 * 10)


def test_dropconnect_of_many_rows_counts_every_chunk(count):
    """Tokens are rows of their own, and more than are masked at once."""
    network = Tokens(nn.Linear(WIDTH, 300), nn.ReLU(), nn.Linear(300, WIDTH))
    counts = count(LINEAR, network=network)
    inner = 16 * 2 * ((WIDTH + 1) * 300 + (300 + 1) * WIDTH)
    head = 2 * (WIDTH + 1) * 10
    assert counts["training_flops"] == UPDATES * N * (2 * STEM + 3 * (inner + head))


def test_gaussian_dropconnect_takes_two_products_at_test(count):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))
    assert count(GAUSSIAN, network=network)["forward_flops"] == 2 * (2 * 64 * 12 + 12 * 10)


def test_a_mask_shared_by_a_batch_multiplies_nothing_more(count):
    assert count(KERNELS) == count()


@pytest.mark.parametrize("mode", ["batch", "example"])
def test_branches_of_attention_are_counted_by_their_chance(mode, count):
    skip = {"name": "stochastic_depth", "survival": 0.5, "mode": mode}
    counts = count(skip, network=Tokens(AttentionBlock(), AttentionBlock()))
    # chances of survival: 7/8, 6/8, 5/8, 4/8
    branches = (7 / 8 + 5 / 8) * ATTENTION + (6 / 8 + 4 / 8) * MLP
    assert counts["training_flops"] == UPDATES * N * (2 * STEM + 3 * (branches + HEAD))
    assert counts["forward_flops"] == STEM + 2 * (MLP + ATTENTION) + HEAD
    assert counts["uncounted"] == []


def test_a_skipped_branch_of_functions_is_counted_by_its_chance(count):
    skip = {"name": "stochastic_depth", "survival": 0.25}
    counts = count(skip, network=Tokens(FunctionalBlock()))
    branch = 0.25 * 2 * (2 * 16 * WIDTH * WIDTH)
    assert counts["training_flops"] == UPDATES * N * (2 * STEM + 3 * (branch + HEAD))


def test_masks_in_a_skipped_branch_are_skipped_with_it(count):
    skip = {"name": "stochastic_depth", "survival": 0.5}
    network = Tokens(AttentionBlock())
    counts = count(skip, {**LINEAR, "rate": 0.25}, network=network)
    rows = 16 * 2 * ((WIDTH + 1) * 2 * WIDTH + (2 * WIDTH + 1) * WIDTH)
    branches = 3 / 4 * ATTENTION + 1 / 2 * rows
    head = 2 * (WIDTH + 1) * 10
    assert counts["training_flops"] == UPDATES * N * (2 * STEM + 3 * (branches + head))


def test_an_operation_in_a_skipped_branch_is_named(count):
    skip = {"name": "stochastic_depth", "survival": 0.01}
    counts = count(skip, network=Tokens(FunctionalBlock(spectral=True)))
    assert counts["uncounted"] == ["aten._fft_c2c", "aten._fft_r2c"]


def test_frozen_layers_have_no_backward_pass(count):
    network = Tokens()
    network.patches.requires_grad_(False)
    counts = count(network=network)
    assert counts["training_flops"] == UPDATES * N * (STEM + 2 * HEAD)


def test_fractional_pooling_is_counted_by_its_sizes(count):
    network = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10)),
    )
    pooling = {"name": "fractional_max_pooling", "output_sizes": [6]}
    for chosen, size in (([], 4), ([pooling], 6)):
        counts = count(*chosen, network=network)
        first, second, head = 2 * 64 * 9 * 4, 2 * size**2 * 9 * 4 * 6, 2 * 6 * 10
        assert counts["forward_flops"] == first + second + head
        assert counts["training_flops"] == UPDATES * N * (2 * first + 3 * (second + head))


class Skips(nn.Linear):
    """A layer that is left out by a draw of its own, as in other libraries' stochastic depth."""

    def forward(self, x):
        return x if self.training and torch.rand(()) < 0.5 else super().forward(x)


def test_what_a_user_s_network_skips_by_itself_is_named_and_no_draw_of_others(count):
    network = nn.Sequential(nn.Flatten(), *(Skips(64, 64) for _ in range(4)), nn.Linear(64, 10))
    torch.manual_seed(0)
    counts = count(network=network, probe=True)
    torch.manual_seed(1)
    assert count(network=network, probe=True) == counts
    assert counts["uncounted"] == [cost.VARYING]
    assert counts["forward_flops"] == 2 * (4 * 64 * 64 + 64 * 10)


def test_a_user_s_network_that_draws_and_skips_nothing_is_counted_whole(count):
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.RReLU(), nn.Linear(64, 10))
    assert count(network=network, probe=True)["uncounted"] == []


def test_a_branch_that_is_computed_again_in_backward_is_skipped_with_it(count):
    block = FunctionalBlock()
    block.inner = Again(WIDTH, WIDTH)
    skip = {"name": "stochastic_depth", "survival": 0.25}
    counts = count(skip, network=Tokens(block))
    product = 0.25 * 2 * (16 * WIDTH * WIDTH)
    assert counts["training_flops"] == UPDATES * N * (2 * STEM + (4 + 3) * product + 3 * HEAD)
