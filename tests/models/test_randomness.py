"""Networks that draw random numbers themselves: the same bits whatever ran before."""

import random
import sys
import types
from typing import ClassVar

import numpy as np
import pytest
import torch
from interrupted import killed_after
from torch import nn
from torch.nn import functional

from pipeline import regularizers
from pipeline.config.run import RunConfig
from pipeline.models._additions import passed_over
from pipeline.models._randomness import global_states
from pipeline.models._residuals import residual_blocks
from pipeline.prediction import members
from pipeline.prediction.network import assemble
from pipeline.runtime.errors import Refusal
from pipeline.training.task import Task
from pipeline.training.trainer import train


class Drawing(nn.Module):
    """A small network whose hidden units `draw` changes."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, images):
        return self.last(self.draw(torch.relu(self.first(images.flatten(1)))))

    def draw(self, hidden):
        return hidden


class ModuleDropout(Drawing):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def draw(self, hidden):
        return self.dropout(hidden)


class FunctionalDropout(Drawing):
    def draw(self, hidden):
        return functional.dropout(hidden, 0.5, self.training)


class RandomSlope(Drawing):
    def __init__(self):
        super().__init__()
        self.activation = nn.RReLU()

    def draw(self, hidden):
        return self.activation(hidden - 1)


class DropPath(Drawing):
    def draw(self, hidden):
        return 2 * hidden if self.training and random.random() < 0.5 else hidden


class SkippedLayers(Drawing):
    """Skips layers at random, so that a weight may get its first gradient after others."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(6))

    def draw(self, hidden):
        for layer in self.layers:
            if not self.training or random.random() < 0.3:
                hidden = hidden + torch.relu(layer(hidden))
        return hidden


class NumpyMask(Drawing):
    def draw(self, hidden):
        mask = np.random.rand(hidden.shape[1]) < 0.5
        return hidden * torch.from_numpy(mask).float() if self.training else hidden


class AlwaysOn(Drawing):
    def draw(self, hidden):
        return functional.dropout(hidden, 0.5, training=True)


class DrawnAtInit(Drawing):
    def __init__(self):
        super().__init__()
        scales = [random.random(), np.random.rand(), float(torch.rand(()))]
        self.register_buffer("scale", torch.tensor(scales).sum())

    def draw(self, hidden):
        return hidden * self.scale


class Unseeded(Drawing):
    def draw(self, hidden):
        mask = np.random.default_rng().random(hidden.shape[1]) < 0.5
        return hidden * torch.from_numpy(mask).float()


class UnseededAtInit(Drawing):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(np.random.default_rng().random()))


class TorchGenerator(Drawing):
    """Its draws go on where the last pass ended, whatever seeds the run."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def draw(self, hidden):
        kept = torch.rand(hidden.shape, generator=self.generator) < 0.5
        return hidden * kept if self.training else hidden


class PythonGenerator(Drawing):
    def __init__(self):
        super().__init__()
        self.generator = random.Random(0)

    def draw(self, hidden):
        return hidden * self.generator.random() if self.training else hidden


class NumpyGenerator(Drawing):
    def __init__(self):
        super().__init__()
        self.generator = np.random.default_rng(0)

    def draw(self, hidden):
        kept = self.generator.random(hidden.shape[1]) < 0.5
        return hidden * torch.from_numpy(kept) if self.training else hidden


class Scheduled(Drawing):
    """Counts its steps in an attribute, as scheduled drop rates do."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def draw(self, hidden):
        self.steps += self.training
        return functional.dropout(hidden, min(0.5, self.steps / 1000), self.training)


class Unfrozen(Drawing):
    """Trains its first layer from the fourth step on."""

    def __init__(self):
        super().__init__()
        self.first.requires_grad_(False)
        self.steps = 0

    def draw(self, hidden):
        self.steps += self.training
        self.first.requires_grad_(self.steps >= 4)
        return hidden


class Alternating(Drawing):
    def __init__(self):
        super().__init__()
        self.is_odd = False

    def draw(self, hidden):
        self.is_odd ^= self.training
        return -hidden if self.is_odd else hidden


class Unstored(Drawing):
    """Centers by running statistics that are not in its state."""

    def __init__(self, persistent=False):
        super().__init__()
        self.register_buffer("mean", torch.zeros(32), persistent=persistent)

    def draw(self, hidden):
        if self.training:
            self.mean.lerp_(hidden.detach().mean(0), 0.1)
        return hidden - self.mean


class Stored(Unstored):
    def __init__(self):
        super().__init__(persistent=True)


class Reassigned(Unstored):
    """Puts a new tensor in the place of its statistics."""

    def __init__(self):
        super().__init__(persistent=True)

    def draw(self, hidden):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * hidden.detach().mean(0)
        return hidden - self.mean


class Counted(Drawing):
    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def draw(self, hidden):
        self.steps += self.training
        return hidden / (1 + self.steps)


class Noted(Drawing):
    """Keeps what it saw last, with its graph."""

    def __init__(self):
        super().__init__()
        self.size, self.last_maps, self.by_name = 0, None, {}

    def draw(self, hidden):
        self.size, self.last_maps = len(hidden), hidden
        self.by_name["hidden"] = hidden.detach().norm().item()
        return hidden


class SeededAtInit(Drawing):
    """Begins every run with the same weights."""

    def __init__(self):
        torch.manual_seed(42)
        super().__init__()


class SeededInForward(Drawing):
    def draw(self, hidden):
        np.random.seed(0)
        kept = np.random.rand(hidden.shape[1]) < 0.5
        return hidden * torch.from_numpy(kept) if self.training else hidden


UNSTORED = [
    *(TorchGenerator, PythonGenerator, NumpyGenerator),
    *(Scheduled, Unfrozen, Alternating, Unstored),
]
NETWORKS = [
    *(ModuleDropout, FunctionalDropout, RandomSlope, DropPath, NumpyMask, AlwaysOn, DrawnAtInit),
    SkippedLayers,
]


@pytest.fixture(autouse=True)
def module(monkeypatch):
    """Make the networks importable under a name."""
    drawing = types.ModuleType("drawing")
    networks = [*Drawing.__subclasses__(), Stored, Reassigned]
    drawing.__dict__.update({network.__name__: network for network in networks})
    monkeypatch.setitem(sys.modules, "drawing", drawing)


def config_of(configure, network, *items, **training) -> RunConfig:
    model = {"name": "imported", "import": f"drawing:{network.__name__}"}
    return configure(*items, **training).model_copy(update={"model": model})


def disturb(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


def same(first, second) -> bool:
    return all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())


@pytest.mark.parametrize("network", NETWORKS)
def test_what_was_drawn_before_changes_nothing_and_is_left_as_it_was(configure, pool, network):
    config = config_of(configure, network)
    disturb(1)
    states = global_states()
    first = train(config, pool)
    assert global_states() == states
    disturb(2)
    second = train(config, pool)
    assert same(first, second)
    assert torch.equal(first.validation_logits, second.validation_logits)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_resumed_run_ends_at_the_same_bits(configure, pool, network, tmp_path):
    config = config_of(configure, network, epochs=3)
    killed_after(2, config, pool, tmp_path)
    disturb(3)
    assert same(train(config, pool), train(config, pool, tmp_path))


@pytest.mark.parametrize("network", NETWORKS)
def test_seeds_draw_differently(configure, pool, network):
    """Of the stream of noise, or that of initial weights for draws in `__init__`."""
    stream = "init" if network is DrawnAtInit else "noise"
    one, other = (
        train(config_of(configure, network, streams={stream: seed}), pool) for seed in (0, 1)
    )
    assert not same(one, other)


def test_arms_of_a_seed_draw_the_same(configure, pool, monkeypatch):
    """With and without another source of noise."""
    masks, step = [], Task.training_step

    def draw(self, hidden):
        masks.append(torch.rand(hidden.shape[1]))
        return hidden * (masks[-1] < 0.5)

    def training_step(self, *batch):
        with monkeypatch.context() as patch:
            patch.setattr(FunctionalDropout, "draw", draw)
            return step(self, *batch)

    monkeypatch.setattr(Task, "training_step", training_step)
    for items in ((), ({"name": "dropout", "rate": 0.5},)):
        train(config_of(configure, FunctionalDropout, *items), pool)
    assert len(masks) == 12  # two epochs of three batches for each arm
    assert all(torch.equal(*pair) for pair in zip(masks[:6], masks[6:], strict=True))
    assert len({tuple(mask.tolist()) for mask in masks}) == 6


def test_passes_of_a_network_that_always_draws_differ_and_repeat(configure, pool):
    config = config_of(configure, AlwaysOn, {"name": "dropout", "rate": 0.5})
    network = assemble(config, regularizers.build(config.regularizers), pool.shape, pool.classes)
    images = torch.from_numpy(pool.images[:20])
    assert torch.equal(*(members.deterministic(network, images) for _ in range(2)))
    first, second = (members.noise(network, images, 4, seed=0) for _ in range(2))
    assert torch.equal(first, second)
    single = torch.cat(
        [members.noise(network, images, number, seed=0)[-1:] for number in (1, 2, 3)]
    )
    assert torch.equal(single, first[:3])
    assert len({tuple(row.flatten().tolist()) for row in first}) == 4


@pytest.mark.parametrize(("network", "what"), [(Unseeded, "the logits"), (UnseededAtInit, "scale")])
def test_randomness_that_cannot_be_seeded_is_an_error(configure, pool, network, what):
    with pytest.raises(Refusal, match=rf"drawing:{network.__name__} gives other values of {what}"):
        train(config_of(configure, network), pool)


@pytest.mark.parametrize("network", UNSTORED)
def test_state_that_a_run_would_lose_is_an_error(configure, pool, network):
    """It would differ in a resumed run and in predictions."""
    with pytest.raises(
        Refusal, match=rf"drawing:{network.__name__} gives other results after its "
    ):
        train(config_of(configure, network), pool)


@pytest.mark.parametrize("network", [Reassigned, Counted])
def test_tracing_leaves_the_state_as_it_was(configure, pool, network):
    config = config_of(configure, network, {"name": "dropout", "rate": 0.5})
    equipped = assemble(config, regularizers.build(config.regularizers), pool.shape, pool.classes)
    assert not residual_blocks(equipped)
    plain = assemble(config_of(configure, network), [], pool.shape, pool.classes)
    state, expected = equipped.state_dict(), plain.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())


@pytest.mark.parametrize("network", [Stored, Noted])
def test_state_that_is_stored_or_without_effect_is_accepted(configure, pool, network, tmp_path):
    config = config_of(configure, network, epochs=3)
    killed_after(2, config, pool, tmp_path)
    assert same(train(config, pool), train(config, pool, tmp_path))


@pytest.mark.parametrize("network", [SeededAtInit, SeededInForward])
def test_a_network_that_seeds_the_global_generators_is_an_error(configure, pool, network):
    with pytest.raises(Refusal, match=rf"drawing:{network.__name__} seeds a global generator"):
        train(config_of(configure, network), pool)


class CachedAtInit(Drawing):
    """Every network of a process has the numbers that the first of them drew."""

    CACHE: ClassVar = {}

    def __init__(self):
        super().__init__()
        if 32 not in self.CACHE:
            self.CACHE[32] = torch.randn(32)

    def draw(self, hidden):
        return hidden + self.CACHE[32]


class CachedInForward(Drawing):
    CACHE: ClassVar = {}

    def draw(self, hidden):
        if 32 not in self.CACHE:
            self.CACHE[32] = torch.as_tensor(np.random.randn(32), dtype=hidden.dtype)
        return hidden + self.CACHE[32]


class CachedInTraining(Drawing):
    CACHE: ClassVar = {}

    def draw(self, hidden):
        if self.training and 32 not in self.CACHE:
            self.CACHE[32] = random.random()
        return hidden * self.CACHE[32] if self.training else hidden


@pytest.mark.parametrize("network", [CachedAtInit, CachedInForward, CachedInTraining])
def test_numbers_that_are_drawn_once_for_a_process_are_an_error(configure, pool, network):
    network.CACHE.clear()
    with pytest.raises(
        Refusal, match=r"draws from the global generator of .* for the first network"
    ):
        train(config_of(configure, network), pool)


SEEDING_MODULE = """
import torch
from torch import nn

torch.manual_seed(42)
ORDER = torch.randperm(64)


class Shuffled(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, images):
        return super().forward(images.flatten(1)[:, ORDER].view(images.shape))
"""


@pytest.mark.parametrize("line", ["torch.manual_seed(42)", "pass"])
def test_the_first_import_of_a_module_changes_nothing(configure, pool, monkeypatch, tmp_path, line):
    """A worker that imports it trains the same as one that did so for another run."""
    text = SEEDING_MODULE.replace("torch.manual_seed(42)", line)
    (tmp_path / "seeding.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    model = {"name": "imported", "import": "seeding:Shuffled"}
    of_seed = [
        configure(seed=seed, epochs=1).model_copy(update={"model": model}) for seed in (0, 1)
    ]
    trained = []
    for configs in ((of_seed[0],), of_seed[::-1]):
        monkeypatch.delitem(sys.modules, "seeding", raising=False)
        trained.append([train(config, pool) for config in configs][-1])
    assert same(*trained)


class MaskedBlock(nn.Module):
    """Masks its branch by numpy, so that a trace of its forward would hold one mask for ever."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(32, 32)

    def forward(self, hidden):
        branch = torch.relu(self.layer(hidden))
        if self.training:
            branch = branch * torch.from_numpy(np.random.rand(32) < 0.5)
        return hidden + branch


class SkippedBlock(MaskedBlock):
    """Skips its branch at random, which a trace would do always or never."""

    def forward(self, hidden):
        if self.training and random.random() < 0.5:
            return hidden
        return hidden + torch.relu(self.layer(hidden))


class CountingBlock(MaskedBlock):
    """Scales its branch by a number of steps, which a trace would hold still."""

    def __init__(self):
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, hidden):
        self.steps += self.training
        return hidden + torch.relu(self.layer(hidden)) / (1 + self.steps)


class DropoutBlock(MaskedBlock):
    """Draws in the graph of its forward, anew in every pass."""

    def forward(self, hidden):
        return hidden + functional.dropout(torch.relu(self.layer(hidden)), 0.5, self.training)


@pytest.mark.parametrize(
    ("block", "number"),
    [(MaskedBlock, 0), (SkippedBlock, 0), (CountingBlock, 0), (DropoutBlock, 1)],
)
def test_stochastic_depth_passes_over_blocks_that_draw_or_count_as_they_are_traced(block, number):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), block(), nn.Linear(32, 10))
    for seed in range(4):
        disturb(seed)
        states = global_states()
        assert len(residual_blocks(network)) == number
        assert passed_over(network) == 1 - number
        assert global_states() == states
