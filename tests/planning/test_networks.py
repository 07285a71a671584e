"""What more images, other draws and weights of others show of a user's network."""

import copy
import sys
import types

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline import models
from pipeline.planning import networks
from pipeline.planning.networks import (
    evaluation_notes,
    require_drawn_weights,
    require_logits,
    require_same_layers,
    require_steady,
    require_stored_draws,
    require_usable,
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


class DrawnForTraining(PlainDraw):
    def middle(self, hidden):
        return hidden * self.signs if self.training else hidden


class DrawnIndex(Plain):
    """Reads a row that the tables of other networks of its kind do not have."""

    def __init__(self):
        super().__init__()
        self.row = int(torch.randint(1000, ()))
        self.register_buffer("rows", torch.tensor(self.row))

    def middle(self, hidden):
        return hidden * torch.ones(1 + self.rows)[self.row]


class Centered(Plain):
    """Subtracts a running mean, which by mistake also evaluation moves, however slowly."""

    def __init__(self, rate=1e-6):
        super().__init__()
        self.rate = rate
        self.register_buffer("mean", torch.zeros(8))

    def middle(self, hidden):
        self.mean.lerp_(hidden.detach().mean(0), self.rate)
        return hidden - self.mean


class CenteredInTraining(Centered):
    def middle(self, hidden):
        return super().middle(hidden) if self.training else hidden - self.mean


class Noted(Centered):
    """Notes statistics that nothing depends on."""

    def middle(self, hidden):
        super().middle(hidden)
        return hidden


class SetOnce(Plain):
    """Takes its scale from the first batch."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.zeros(()))

    def middle(self, hidden):
        if not self.scale:
            self.scale.copy_(hidden.std())
        return hidden / self.scale


class Clamped(Plain):
    def middle(self, hidden):
        with torch.no_grad():
            self.last.weight.clamp_(-0.1, 0.1)
        return hidden


class Sigmoid(Plain):
    def forward(self, images):
        return super().forward(images).sigmoid()


class SmoothedShares(Plain):
    def forward(self, images):
        return 0.9 * super().forward(images).softmax(1) + 0.01


class LogShares(Plain):
    def forward(self, images):
        return super().forward(images).log_softmax(1)


class Activated(Plain):
    """Ends with a ReLU, as SqueezeNet does before its mean."""

    def forward(self, images):
        return super().forward(images).relu()


class SmallHead(Plain):
    """Begins with logits from 0 to 1."""

    def __init__(self):
        super().__init__()
        nn.init.normal_(self.last.weight, std=1e-3)
        nn.init.constant_(self.last.bias, 0.5)


class ZeroHead(Plain):
    """Begins with the same logits for all images."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.last.weight)


class Blind(Plain):
    def middle(self, hidden):
        return torch.ones_like(hidden)


class Constant(Plain):
    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(CLASSES))

    def forward(self, images):
        return self.logits.expand(len(images), CLASSES)


class NotForLargeWeights(Plain):
    def middle(self, hidden):
        assert hidden.norm() < 50, "too large"
        return hidden


class OfBatch(ZeroHead):
    """Subtracts the mean of the batch."""

    def middle(self, hidden):
        return hidden - hidden.mean(0)


class NormOfBatch(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1, track_running_stats=False)

    def forward(self, images):
        return super().forward(self.norm(images))


class Helped(Plain):
    """Adds the logits of a second head in training."""

    def __init__(self):
        super().__init__()
        self.helper = nn.Linear(8, 8)

    def middle(self, hidden):
        return hidden + self.helper(hidden) if self.training else hidden


class OtherHead(Helped):
    """Mistakes which head is for training."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(8, 8, bias=False)

    def middle(self, hidden):
        return super().middle(hidden) if self.training else self.other(hidden)


class NoGradients(Helped):
    """Writes where gradients are off, as in evaluation."""

    def middle(self, hidden):
        if not self.training:
            self.helper.weight.fill_(1.0)
        return self.helper(hidden)


class HalfPrecision(Plain):
    def forward(self, images):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(images).float()


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
        require_same_layers(made(kind)[0], SHAPE)


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
    require_same_layers(network, SHAPE)


@pytest.mark.parametrize("kind", [UnusedLayer, AlwaysDrops])
def test_layers_that_all_images_or_none_choose_are_accepted(made, kind):
    network, _ = made(kind)
    before = torch.random.get_rng_state()
    require_same_layers(network, SHAPE)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_for_few_images_is_one_line(made):
    with pytest.raises(Refusal, match="fails in a training pass of 16 images: AssertionError"):
        require_same_layers(made(FailsOnMany)[0], SHAPE)


@pytest.mark.parametrize("kind", [Standardized, Signs])
@pytest.mark.parametrize("how", ["he", "small"])
def test_an_initialization_that_the_forward_undoes_is_an_error(made, kind, how):
    network, _ = made(kind)
    with pytest.raises(Refusal, match=r"^model.initialization: the weight of first is changed"):
        require_drawn_weights(network, how)
    require_drawn_weights(network, "own")


@pytest.mark.parametrize("kind", [Plain, Cosine])
def test_an_initialization_of_weights_that_layers_use_is_accepted_without_a_change(made, kind):
    network, _ = made(kind)
    before = copy.deepcopy(network.state_dict())
    require_drawn_weights(network, "small")
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("kind", [PlainDraw, UnstoredDraw, DrawnWidth, DrawnForTraining])
def test_draws_that_the_weights_of_another_lack_are_an_error(made, kind):
    network, model = made(kind)
    with pytest.raises(Refusal, match=r"^model.import: numbers that the network draws"):
        require_stored_draws(network, model, SHAPE, CLASSES)


@pytest.mark.parametrize("kind", [Plain, StoredDraw, AlwaysDrops, DenseExperts])
def test_draws_that_are_stored_in_the_state_are_accepted(made, kind):
    network, model = made(kind)
    before = torch.random.get_rng_state()
    require_stored_draws(network, model, SHAPE, CLASSES)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_forward_that_fails_with_the_weights_of_another_is_named_as_that(made):
    network, model = made(DrawnIndex)
    line = "^model.import: fails with the weights of another network of its kind: IndexError"
    with pytest.raises(Refusal, match=line):
        require_stored_draws(network, model, SHAPE, CLASSES)


def test_of_many_tensors_of_other_shapes_some_are_named(made):
    network, model = made(DrawnWidth)
    with pytest.raises(Refusal, match=r"do not fit \(RuntimeError: .*size mismatch") as refused:
        require_stored_draws(network, model, SHAPE, CLASSES)
    assert len(refused.value.lines) == 1


def test_statistics_that_evaluation_moves_are_an_error(made):
    with pytest.raises(
        Refusal, match=r"evaluation mode change its state \(mean\), and later logits"
    ):
        require_steady(made(Centered)[0], SHAPE)


@pytest.mark.parametrize(
    "kind", [Plain, CenteredInTraining, Noted, SetOnce, Clamped, AlwaysDrops, NormOfBatch]
)
def test_networks_with_steady_logits_are_accepted_and_unchanged(made, kind):
    network, _ = made(kind)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    require_steady(network, SHAPE)
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("kind", [Sigmoid, SmoothedShares])
def test_values_from_0_to_1_are_an_error(made, kind):
    with pytest.raises(Refusal, match="^model.import: returns values from 0 to 1 alone"):
        require_logits(made(kind)[0], SHAPE)


@pytest.mark.parametrize("kind", [Blind, Constant])
def test_logits_that_ignore_the_images_are_an_error(made, kind):
    with pytest.raises(Refusal, match="^model.import: returns equal logits for all images"):
        require_logits(made(kind)[0], SHAPE)


@pytest.mark.parametrize(
    "kind",
    [LogShares, Activated, SmallHead, ZeroHead, NotForLargeWeights, HalfPrecision, AlwaysDrops],
)
def test_other_logits_are_accepted(made, kind):
    network, _ = made(kind)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    require_logits(network, SHAPE)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        (OfBatch, networks.IN_BATCHES),
        (NormOfBatch, networks.IN_BATCHES),
        (AlwaysDrops, networks.DRAWS),
    ],
)
def test_predictions_that_are_not_those_of_an_image_alone_are_noted(made, kind, note):
    assert evaluation_notes(made(kind)[0], SHAPE) == [note]


@pytest.mark.parametrize(
    ("kind", "notes"),
    [
        (Helped, [f"helper: {networks.IN_TRAINING_ALONE}"]),
        (
            OtherHead,
            [f"helper: {networks.IN_TRAINING_ALONE}", f"other.weight: {networks.UNTRAINED}"],
        ),
    ],
)
def test_layers_that_act_in_one_mode_are_noted(made, kind, notes):
    assert evaluation_notes(made(kind)[0], SHAPE) == notes


@pytest.mark.parametrize(
    "kind", [Plain, CenteredInTraining, HalfPrecision, NotForLargeWeights, NoGradients]
)
def test_other_predictions_are_not(made, kind):
    assert evaluation_notes(made(kind)[0], SHAPE) == []


@pytest.mark.parametrize("kind", [ForBright, Centered, Sigmoid])
def test_one_function_checks_all_of_it(made, kind):
    with pytest.raises(Refusal, match=r"^model\.import: "):
        require_usable(made(kind)[0], "own", SHAPE)


def test_networks_of_this_package_are_not_run():
    model = {"name": "mlp", "hidden": (4,)}
    network = models.build(model, SHAPE, CLASSES)
    network.register_forward_pre_hook(lambda *_: pytest.fail("was run"))
    require_usable(network, "he", SHAPE)
    require_stored_draws(network, model, SHAPE, CLASSES)
    assert evaluation_notes(network, SHAPE) == []


class Debiased(Plain):
    """Multiplies units by a matrix whose name has the word bias in it."""

    def __init__(self):
        super().__init__()
        self.unbiased = nn.Parameter(torch.randn(CLASSES, CLASSES))

    def forward(self, images):
        return super().forward(images) @ self.unbiased


class AddedBias(Plain):
    """Adds a bias of two dimensions, as of relative positions."""

    def __init__(self):
        super().__init__()
        self.position_bias = nn.Parameter(torch.randn(1, CLASSES))

    def forward(self, images):
        return super().forward(images) + self.position_bias


class OneHot(Plain):
    """Returns whole numbers in evaluation mode."""

    def forward(self, images):
        logits = super().forward(images)
        return logits if self.training else nn.functional.one_hot(logits.argmax(1), CLASSES)


def test_a_matrix_that_is_named_as_a_bias_is_an_error(made):
    with pytest.raises(Refusal, match="^model.import: unbiased multiplies units"):
        networks.require_plain_names(made(Debiased)[0])
    networks.require_plain_names(made(AddedBias)[0])
    networks.require_plain_names(made(Plain)[0])


class DoubleProbabilities(Plain):
    def forward(self, images):
        return super().forward(images).double().sigmoid()


class Complex(Plain):
    def forward(self, images):
        return super().forward(images) * 1j


class Weightless(Plain):
    """Has no state, by mistake."""

    def state_dict(self, *args, **kwargs):
        raise KeyError("first")


class FlatLinear(nn.Linear):
    """Keeps its weight as a vector, which no initialization of matrices draws."""

    def __init__(self, inputs, units):
        super().__init__(inputs, units)
        self.weight = nn.Parameter(self.weight.detach().flatten())

    def forward(self, inputs):
        weight = self.weight.view(self.out_features, self.in_features)
        return functional.linear(inputs, weight, self.bias)


class Flat(Plain):
    def __init__(self):
        super().__init__()
        self.first = FlatLinear(16, 8)


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (OneHot, "model.import: returns values of torch.int64; expected logits of torch.float32"),
        (DoubleProbabilities, "model.import: returns values of torch.float64; expected logits of"),
        (Complex, "model.import: returns values of torch.complex64; expected logits of torch.floa"),
        (Weightless, "model.import: cannot be checked: KeyError: 'first'; expected state_dict, "),
        (Flat, "model.initialization: glorot: fails: ValueError: Fan in and fan out can not be "),
    ],
)
def test_an_unexpected_error_of_a_building_has_the_expectation_of_its_kind(made, network, line):
    _, model = made(Plain)
    sys.modules["borrowed"].Net = network
    initialization = "glorot" if network is Flat else "own"
    with pytest.raises(Refusal) as refusal:
        networks.build_network({**model, "initialization": initialization}, SHAPE, CLASSES)
    assert str(refusal.value).startswith(line)
    assert len(refusal.value.lines) == 1
