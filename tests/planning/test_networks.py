"""What more images, other draws and weights of others show of a user's network."""

import sys
import types

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline import models
from pipeline.planning import networks
from pipeline.planning.networks import (
    require_drawn_weights,
    require_known_layers,
    require_stored_draws,
)
from pipeline.runtime.errors import Refusal

SHAPE = (1, 4, 4)
CLASSES = 3


class Plain(nn.Module):
    """Two layers, and what `middle` does between them."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(16, 8), nn.Linear(8, CLASSES)

    def middle(self, hidden):
        return hidden

    def forward(self, images):
        return self.last(self.middle(torch.relu(self.first(images.flatten(1)))))


class SparseExperts(Plain):
    """Sends each image to one of its experts, which none of two images may choose."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(8, 6)
        self.experts = nn.ModuleList(nn.Linear(8, 8) for _ in range(6))

    def middle(self, hidden):
        weight, chosen = self.gate(hidden).softmax(1).max(1)
        mixed = hidden.clone()
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows):
                mixed[rows] = hidden[rows] + weight[rows, None] * expert(hidden[rows])
        return mixed


class ForBright(Plain):
    def __init__(self):
        super().__init__()
        self.bright = nn.Linear(8, 8)

    def middle(self, hidden):
        return self.bright(hidden) if hidden.max() > 4 else hidden


class ForLargeBatches(Plain):
    def __init__(self):
        super().__init__()
        self.scales = nn.Parameter(torch.ones(8))

    def middle(self, hidden):
        return hidden * self.scales if len(hidden) > 8 else hidden


class DenseExperts(SparseExperts):
    def middle(self, hidden):
        weights = self.gate(hidden).softmax(1)
        return sum(
            weight[:, None] * expert(hidden)
            for weight, expert in zip(weights.unbind(1), self.experts, strict=True)
        )


class UnusedLayer(Plain):
    """Keeps the head of a pretraining, and a part for evaluation alone."""

    def __init__(self):
        super().__init__()
        self.other, self.attention = nn.Linear(8, 5), nn.MultiheadAttention(8, 1)

    def middle(self, hidden):
        if not self.training:
            return hidden + self.attention(hidden, hidden, hidden)[0]
        return hidden


class FailsOnMany(UnusedLayer):
    def middle(self, hidden):
        assert len(hidden) < 8, "eight images"
        return hidden


class Standardizing(nn.Linear):
    def forward(self, inputs):
        return functional.linear(inputs, self.weight / self.weight.std(), self.bias)


class Standardized(Plain):
    def __init__(self):
        super().__init__()
        self.first = Standardizing(16, 8)


class Signs(Plain):
    """Borrows the signs of a layer's weights."""

    def forward(self, images):
        return self.last(functional.linear(images.flatten(1), self.first.weight.sign()))


class Cosine(Plain):
    """Normalizes weights of its own, which no initialization draws."""

    def __init__(self):
        super().__init__()
        self.classes = nn.Parameter(torch.randn(8, 8))

    def middle(self, hidden):
        return functional.linear(hidden, functional.normalize(self.classes))


class PlainDraw(Plain):
    def __init__(self):
        super().__init__()
        self.signs = torch.randn(8).sign()

    def middle(self, hidden):
        return hidden * self.signs


class UnstoredDraw(PlainDraw):
    def __init__(self):
        super().__init__()
        signs = self.__dict__.pop("signs")
        self.register_buffer("signs", signs, persistent=False)


class DrawnWidth(Plain):
    def __init__(self):
        super().__init__()
        width = int(torch.randint(100, ())) + 1
        self.first, self.last = nn.Linear(16, width), nn.Linear(width, CLASSES)


class StoredDraw(PlainDraw):
    def __init__(self):
        super().__init__()
        self.register_buffer("signs", self.__dict__.pop("signs"))


class AlwaysDrops(Plain):
    def middle(self, hidden):
        return functional.dropout(hidden, 0.5, training=True)


@pytest.fixture
def made(monkeypatch):
    """Return a function that builds a network of a class, and returns its settings too."""

    def build(kind, **more):
        module = types.ModuleType("borrowed")
        module.Net = kind
        monkeypatch.setitem(sys.modules, "borrowed", module)
        model = {"name": "imported", "import": "borrowed:Net", **more}
        torch.manual_seed(3)
        return models.build(model, SHAPE, CLASSES), model

    return build


@pytest.mark.parametrize(
    ("kind", "part"),
    [(SparseExperts, r"experts\.\d"), (ForBright, "bright"), (ForLargeBatches, "scales")],
)
def test_layers_that_some_images_choose_are_an_error(made, kind, part):
    with pytest.raises(Refusal, match=rf"^model.import: {part}\S* runs for some images only"):
        require_known_layers(made(kind)[0], SHAPE)


class Attention(Plain):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 1)

    def middle(self, hidden):
        return hidden + self.attention(hidden, hidden, hidden)[0]


@pytest.mark.parametrize("kind", [Plain, Attention, DenseExperts])
def test_a_network_that_was_seen_whole_is_not_run_again(made, kind, monkeypatch):
    network, _ = made(kind)
    monkeypatch.setattr(networks, "probe", lambda *_: pytest.fail("was run"))
    require_known_layers(network, SHAPE)


@pytest.mark.parametrize("kind", [UnusedLayer, AlwaysDrops])
def test_layers_that_all_images_or_none_choose_are_taken(made, kind):
    network, _ = made(kind)
    before = torch.random.get_rng_state()
    require_known_layers(network, SHAPE)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_for_few_images_is_one_line(made):
    with pytest.raises(Refusal, match="fails in a training pass of 16 images: AssertionError"):
        require_known_layers(made(FailsOnMany)[0], SHAPE)


@pytest.mark.parametrize("kind", [Standardized, Signs])
@pytest.mark.parametrize("how", ["he", "small"])
def test_an_initialization_that_the_forward_undoes_is_an_error(made, kind, how):
    network, _ = made(kind)
    with pytest.raises(Refusal, match=r"^model.initialization: the weight of first is changed"):
        require_drawn_weights(network, how)
    require_drawn_weights(network, "own")


@pytest.mark.parametrize("kind", [Plain, Cosine])
def test_an_initialization_of_weights_that_layers_use_is_taken(made, kind):
    require_drawn_weights(made(kind)[0], "small")


@pytest.mark.parametrize("kind", [PlainDraw, UnstoredDraw, DrawnWidth])
def test_draws_that_the_weights_of_another_lack_are_an_error(made, kind):
    network, model = made(kind)
    with pytest.raises(Refusal, match=r"^model.import: numbers that the network draws"):
        require_stored_draws(network, model, SHAPE, CLASSES)


@pytest.mark.parametrize("kind", [Plain, StoredDraw, AlwaysDrops, DenseExperts])
def test_draws_in_the_state_are_taken(made, kind):
    network, model = made(kind)
    before = torch.random.get_rng_state()
    require_stored_draws(network, model, SHAPE, CLASSES)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_networks_of_this_package_are_not_run():
    model = {"name": "mlp", "hidden": (4,)}
    network = models.build(model, SHAPE, CLASSES)
    network.register_forward_pre_hook(lambda *_: pytest.fail("was run"))
    require_known_layers(network, SHAPE)
    require_drawn_weights(network, "he")
    require_stored_draws(network, model, SHAPE, CLASSES)
