"""Which modules and weights of a user's network act, for networks as people write them."""

import sys
import types

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from pipeline import models, regularizers
from pipeline.models._routing import routes, routing_table
from pipeline.models._sites import convolutions, hidden_layers, linear_layers, units, weights
from pipeline.prediction import members
from pipeline.prediction.network import assemble
from pipeline.prediction.tensors import TrainedRun, predictions
from pipeline.regularizers._audit import NoEffect
from pipeline.regularizers._refresh import refresh_statistics
from pipeline.runtime.errors import Refusal
from pipeline.training.job import _packed
from pipeline.training.trainer import train

SHAPE = (1, 8, 8)


class Convolutional(nn.Module):
    """Two convolutions and two linear layers; subclasses change parts of it."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.hidden, self.last = nn.Linear(24, 16), nn.Linear(16, 10)

    def features(self, images):
        maps = functional.max_pool2d(functional.relu(self.first(images)), 2)
        return functional.max_pool2d(functional.relu(self.second(maps)), 2)

    def flat(self, maps):
        return maps.flatten(1)

    def forward(self, images):
        return self.last(functional.relu(self.hidden(self.flat(self.features(images)))))


class ViewFlat(Convolutional):
    def flat(self, maps):
        return maps.view(maps.size(0), -1)


class ViewPatches(Convolutional):
    def flat(self, maps):
        return maps.view(len(maps), 3, 8).flatten(1)


class ViewInside(Convolutional):
    def features(self, images):
        return super().features(images).view(len(images), 24, 1, 1)


class ViewPooled(Convolutional):
    """Takes images of any size and needs contiguous maps after pooling by a module."""

    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(2)

    def features(self, images):
        maps = self.pool(functional.relu(self.first(images)))
        maps = self.pool(functional.relu(self.second(maps)))
        return functional.adaptive_avg_pool2d(maps, 2)

    def flat(self, maps):
        return maps.view(len(maps), -1)


class Unused(Convolutional):
    """Has an auxiliary head that only inference would call."""

    def __init__(self):
        super().__init__()
        self.auxiliary = nn.Linear(24, 10)
        self.norm = nn.BatchNorm2d(6)
        self.norm.running_mean.fill_(0.3)


class BorrowedWeight(Convolutional):
    def flat(self, maps):
        return functional.relu(functional.linear(maps.flatten(1), self.mixing.weight))

    def __init__(self):
        super().__init__()
        self.mixing = nn.Linear(24, 24)


class BorrowedLater(Convolutional):
    """Calls a layer for small batches, as the probe has them, and borrows its weight for others."""

    def forward(self, images):
        flat = self.flat(self.features(images))
        few = len(images) <= 2
        hidden = self.hidden(flat) if few else functional.linear(flat, self.hidden.weight)
        return self.last(functional.relu(hidden))


class PooledLater(Convolutional):
    """Borrows the settings of a pooling layer but for small batches."""

    def __init__(self):
        super().__init__()
        self.pool = nn.MaxPool2d(2)

    def features(self, images):
        few = len(images) <= 2
        maps = functional.relu(self.first(images))
        maps = self.pool(maps) if few else functional.max_pool2d(maps, self.pool.kernel_size)
        return functional.max_pool2d(functional.relu(self.second(maps)), 2)

    def flat(self, maps):
        return functional.adaptive_avg_pool2d(maps, 2).flatten(1)


class ConvolvedLater(Convolutional):
    """Borrows the weight of a convolution but for small batches."""

    def features(self, images):
        few = len(images) <= 2
        maps = (
            self.first(images) if few else functional.conv2d(images, self.first.weight, padding=1)
        )
        maps = functional.max_pool2d(functional.relu(maps), 2)
        return functional.max_pool2d(functional.relu(self.second(maps)), 2)


class BorrowedInTraining(Convolutional):
    """Calls a layer in evaluation mode alone."""

    def forward(self, images):
        flat = self.flat(self.features(images))
        borrowed = functional.linear(flat, self.hidden.weight, self.hidden.bias)
        hidden = borrowed if self.training else self.hidden(flat)
        return self.last(functional.relu(hidden))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.position = nn.Parameter(torch.zeros(1, 17, 8))
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.scale = nn.Parameter(torch.ones(1, 1, 8))
        self.head = nn.Linear(8, 10)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1) + self.position
        return self.head((self.scale * self.encoder(tokens))[:, 0])


class NestedAttention(Attention):
    """Has torch's defaults for an encoder, which pack padded tokens."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)


class CrossAttention(nn.Module):
    """Asks the rows of an image by learned queries."""

    def __init__(self):
        super().__init__()
        self.rows, self.queries = nn.Linear(8, 8), nn.Parameter(torch.randn(1, 2, 8))
        self.decoder = nn.TransformerDecoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        queries = self.queries.expand(len(images), -1, -1)
        return self.head(self.decoder(queries, self.rows(images[:, 0])).flatten(1))


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Linear(64, 16), nn.RMSNorm(16)
        self.scale, self.head = nn.Parameter(torch.ones(1, 16)), nn.Linear(16, 10)

    def forward(self, images):
        return self.head(self.scale * functional.relu(self.norm(self.stem(images.flatten(1)))))


class Tied(Convolutional):
    def __init__(self):
        super().__init__()
        self.again = nn.Linear(16, 16)
        self.more = nn.Linear(16, 16)
        self.more.weight = self.again.weight

    def forward(self, images):
        hidden = functional.relu(self.hidden(self.flat(self.features(images))))
        return self.last(functional.relu(self.more(functional.relu(self.again(hidden)))))


class TiedKernels(Convolutional):
    """Runs one kernel and one bias twice, by two modules."""

    def __init__(self):
        super().__init__()
        self.again, self.more = (nn.Conv2d(6, 6, 3, padding=1) for _ in range(2))
        self.more.weight, self.more.bias = self.again.weight, self.again.bias

    def features(self, images):
        return self.more(functional.relu(self.again(super().features(images))))


class WeightNormed(Convolutional):
    def __init__(self):
        super().__init__()
        parametrizations.weight_norm(self.second)


class SpectrallyNormed(Convolutional):
    def __init__(self):
        super().__init__()
        parametrizations.spectral_norm(self.second)


class OldWeightNormed(Convolutional):
    def __init__(self):
        super().__init__()
        with pytest.warns(FutureWarning):
            torch.nn.utils.weight_norm(self.second)


class Pruned(Convolutional):
    def __init__(self):
        super().__init__()
        prune.l1_unstructured(self.second, "weight", 0.5)


class FrozenStem(Convolutional):
    def __init__(self):
        super().__init__()
        self.first.requires_grad_(False)
        self.second.requires_grad_(False)


class AllFrozen(Convolutional):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)


class FrozenNorm(Convolutional):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(6)
        self.norm.running_mean.fill_(0.3)
        self.norm.running_var.fill_(2.0)

    def features(self, images):
        return self.norm(super().features(images))

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self


class SwitchedNorm(FrozenNorm):
    """Switches its norm in every pass, whatever mode it is in before."""

    def train(self, mode=True):
        return nn.Module.train(self, mode)

    def features(self, images):
        self.norm.training = False
        return super().features(images)


class FunctionalNorm(SwitchedNorm):
    """Uses the statistics of its norm alone."""

    def features(self, images):
        maps = Convolutional.features(self, images)
        return functional.batch_norm(maps, self.norm.running_mean, self.norm.running_var)


class SharedNorms(Convolutional):
    """Two norms with the same scale and the same statistics."""

    def __init__(self):
        super().__init__()
        self.again, self.more = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        for name in ("weight", "running_mean", "running_var"):
            setattr(self.more, name, getattr(self.again, name))

    def features(self, images):
        return self.more(self.again(super().features(images)))


class ResizedPositions(nn.Module):
    """Interpolates its positions to the size of its maps, as networks that take several do."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.position = nn.Parameter(torch.zeros(1, 8, 7, 7))
        self.head = nn.Linear(8, 10)

    def forward(self, images):
        maps = self.patches(images)
        size = maps.shape[-2:]
        maps = maps + functional.interpolate(self.position, size, mode="bilinear")
        return self.head(functional.gelu(maps).mean((2, 3)))


class Scaled(nn.Module):
    """A linear layer of its own with an equalized learning rate, as in StyleGAN."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.scale = inputs**-0.5

    def forward(self, inputs):
        return functional.linear(inputs, self.weight * self.scale)


class Equalized(Convolutional):
    def __init__(self):
        super().__init__()
        self.hidden = Scaled(24, 16)


class Binarized(Convolutional):
    """Multiplies by the signs of a weight, whose gradient passes straight through."""

    def forward(self, images):
        weight = self.hidden.weight
        binary = weight + (weight.sign() * weight.abs().mean() - weight).detach()
        hidden = functional.linear(self.flat(self.features(images)), binary)
        return self.last(functional.relu(hidden))


class MaskedKernel(Convolutional):
    """Multiplies a kernel by a mask, as autoregressive networks do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", (torch.rand(6, 4, 3, 3) < 0.7).float())

    def features(self, images):
        maps = functional.max_pool2d(functional.relu(self.first(images)), 2)
        kernel = self.second.weight * self.mask
        return functional.max_pool2d(functional.relu(functional.conv2d(maps, kernel, padding=1)), 2)


class Gains(Convolutional):
    """Multiplies the weight of a layer by a matrix of free gains."""

    def __init__(self):
        super().__init__()
        self.gains = nn.Parameter(torch.ones(16))

    def weight(self):
        return torch.diag(self.gains) @ self.hidden.weight

    def forward(self, images):
        hidden = functional.linear(self.flat(self.features(images)), self.weight())
        return self.last(functional.relu(hidden))


class Bank(Gains):
    """Sums up a bank of matrices with free shares."""

    def __init__(self):
        super().__init__()
        self.bank = nn.Parameter(torch.randn(3, 16, 24) / 5)
        self.shares = nn.Parameter(torch.ones(3))

    def weight(self):
        return torch.einsum("k,koi->oi", self.shares, self.bank) / 3


class Generated(Gains):
    """Makes the weights of a layer by another one, from a code of its own."""

    def __init__(self):
        super().__init__()
        self.code, self.make = nn.Parameter(torch.randn(5)), nn.Linear(5, 16 * 24)

    def weight(self):
        return self.make(self.code).view(16, 24)


class LowRank(Gains):
    """Multiplies by the product of two matrices."""

    def __init__(self):
        super().__init__()
        self.left = nn.Parameter(torch.randn(16, 2))
        self.right = nn.Parameter(torch.randn(2, 24))

    def weight(self):
        return 0.5 * (self.left @ self.right)


class ProjectedQueries(Convolutional):
    """Pools maps by learned queries, which a layer projects first."""

    def __init__(self):
        super().__init__()
        self.queries, self.project = nn.Parameter(torch.randn(4, 6)), nn.Linear(6, 6)

    def flat(self, maps):
        units = maps.flatten(2).transpose(1, 2)  # (N, places, channels)
        weights = (units @ self.project(self.queries).T).softmax(1)
        return (weights.transpose(1, 2) @ units).flatten(1)


@pytest.fixture(autouse=True)
def module(monkeypatch):
    """Make the networks importable under a name."""
    written = {name: value for name, value in globals().items() if isinstance(value, type)}
    monkeypatch.setitem(sys.modules, "written", types.ModuleType("written"))
    sys.modules["written"].__dict__.update(written)


def model(network):
    return {"name": "imported", "import": f"written:{network.__name__}"}


def built(network):
    torch.manual_seed(0)
    return models.build(model(network), SHAPE, 10)


def config_of(configure, network, *items, **training):
    return configure(*items, **training).model_copy(update={"model": model(network)})


def names(sites):
    return [name.removeprefix("network.") for name, _ in sites]


def weight_names(network):
    chosen = {id(weight) for weight in weights(network)}
    named = network.network.named_parameters()
    return [name for name, parameter in named if id(parameter) in chosen]


@pytest.mark.parametrize("network", [ViewFlat, ViewPatches, ViewInside])
def test_a_network_that_needs_contiguous_maps_gets_them(configure, pool, network):
    assert built(network).memory_format is torch.contiguous_format
    assert built(Convolutional).memory_format is torch.channels_last
    assert not train(config_of(configure, network), pool).diverged


def test_fractional_pooling_keeps_the_layout_of_its_maps(configure, pool):
    config = config_of(configure, ViewPooled, {"name": "fractional_max_pooling", "ratio": 1.41})
    assert not train(config, pool).diverged


def test_maps_are_contiguous_whatever_the_strides_of_images_of_one_channel():
    """Both layouts hold for them, and convolutions choose theirs by the strides."""
    network, images = built(ViewFlat), torch.rand(3, *SHAPE)
    strided = images.as_strided(images.shape, (64, 1, 8, 1))
    assert torch.equal(network(strided), network(images))


def test_modules_whose_forward_does_not_run_are_no_sites():
    assert names(linear_layers(built(Unused))) == ["hidden", "last"]
    assert names(linear_layers(built(BorrowedWeight))) == ["hidden", "last"]
    attention = names(linear_layers(built(Attention)))
    assert attention == ["encoder.layers.0.linear1", "encoder.layers.0.linear2", "head"]
    assert names(hidden_layers(built(Convolutional))) == ["hidden", "last"]
    assert names(convolutions(built(Convolutional))) == ["first", "second"]


def test_weights_are_the_tensors_that_are_multiplied_by_any_caller():
    assert weight_names(built(Norms)) == ["stem.weight", "head.weight"]
    assert "mixing.weight" in weight_names(built(BorrowedWeight))
    assert "auxiliary.weight" not in weight_names(built(Unused))
    assert weight_names(built(FrozenStem)) == ["hidden.weight", "last.weight"]
    assert len(units(built(FrozenStem))) == 2
    assert weight_names(built(Attention)) == [
        *("patches.weight", "encoder.layers.0.self_attn.in_proj_weight"),
        *("encoder.layers.0.self_attn.out_proj.weight", "encoder.layers.0.linear1.weight"),
        *("encoder.layers.0.linear2.weight", "head.weight"),
    ]


def test_positions_that_are_interpolated_are_no_weights():
    assert weight_names(built(ResizedPositions)) == ["patches.weight", "head.weight"]


@pytest.mark.parametrize("name", ["l1_penalty", "max_norm", "weight_decay"])
@pytest.mark.parametrize(
    ("network", "weight"),
    [
        (Equalized, "hidden.weight"),
        (Binarized, "hidden.weight"),
        (MaskedKernel, "second.weight"),
        (Gains, "hidden.weight"),
        (Bank, "bank"),
        (Generated, "make.weight"),
        (LowRank, "left"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_acts_on_weights_that_are_changed_before_their_product_is_an_error(
    network, weight, name
):
    net = built(network)
    with pytest.raises(Refusal, match=rf"^{name}: \S+ is changed before its product"):
        regularizers.equip(net, regularizers.build([{"name": name}]))
    (row,) = [row for row in routing_table(routes(net)) if weight in row["names"]]
    assert row["group"] == "not decayed"
    assert row["reason"].startswith("changed ")


def test_a_projection_of_learned_queries_is_penalized():
    groups = {
        name: row["group"]
        for row in routing_table(routes(built(ProjectedQueries)))
        for name in row["names"]
    }
    assert groups["project.weight"] == groups["hidden.weight"] != "not decayed"
    assert groups["queries"] == "not decayed"


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("network", [WeightNormed, SpectrallyNormed, Pruned])
@pytest.mark.parametrize(
    "item",
    [
        {"name": "max_norm"},
        {"name": "l1_penalty"},
        {"name": "weight_decay"},
        {"name": "dropconnect", "where": "convolution"},
    ],
    ids=lambda item: item["name"],
)
def test_what_acts_on_computed_weights_is_an_error(network, item):
    with pytest.raises(Refusal, match=f"^{item['name']}: .*the weight of second is computed"):
        regularizers.equip(built(network), regularizers.build([item]))


@pytest.mark.parametrize("network", [WeightNormed, SpectrallyNormed, Pruned])
def test_initialization_of_computed_weights_is_an_error(network):
    with pytest.raises(Refusal, match=r"^model.initialization: the weight of second is computed"):
        models.build({**model(network), "initialization": "he"}, SHAPE, 10)


@pytest.mark.parametrize(
    "item",
    [
        {"name": "l1_penalty", "strength": 0.1},
        {"name": "max_norm", "strength": 0.01},
        {"name": "weight_decay", "strength": 0.1},
        {"name": "weight_averaging", "decay": 0.9},
    ],
    ids=lambda item: item["name"],
)
def test_frozen_weights_stay_as_they_are(configure, pool, item):
    before = assemble(config_of(configure, FrozenStem), [], pool.shape, pool.classes).state_dict()
    after = train(config_of(configure, FrozenStem, item), pool).weights
    frozen = [name for name in before if ".first." in name or ".second." in name]
    assert len(frozen) == 4
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["network.last.weight"], after["network.last.weight"])


def test_a_network_without_anything_to_train_is_one_line():
    with pytest.raises(Refusal, match=r"^model.import: .*:AllFrozen trains no parameter; expected"):
        built(AllFrozen)


def test_initialization_leaves_frozen_weights():
    plain, drawn = (
        models.build({**model(FrozenStem), "initialization": how}, SHAPE, 10).state_dict()
        for how in ("own", "large")
    )
    spread = {name: value.std() for name, value in drawn.items() if name.endswith("weight")}
    assert spread["network.first.weight"] < 0.5 < spread["network.last.weight"]
    assert plain.keys() == drawn.keys()


@pytest.mark.parametrize("network", [FrozenNorm, SwitchedNorm, FunctionalNorm, Unused])
def test_norms_that_a_pass_does_not_update_keep_their_statistics(network):
    net = built(network)
    net.network.norm.running_mean.fill_(0.3)
    refresh_statistics(net, torch.rand(20, *SHAPE), 10, {})
    assert torch.equal(net.network.norm.running_mean, torch.full((6,), 0.3))


@pytest.mark.parametrize(
    ("network", "tied"),
    [
        (Tied, ["weight"]),
        (TiedKernels, ["weight", "bias"]),
        (SharedNorms, ["weight", "running_mean", "running_var"]),
    ],
)
def test_a_tie_is_trained_averaged_and_stored(configure, pool, network, tied):
    item = {"name": "weight_averaging", "decay": 0.5}
    trained = train(config_of(configure, network, item), pool)
    stored = safetensors.torch.load(_packed(trained.weights))
    for name in tied:
        first, second = (trained.weights[f"network.{owner}.{name}"] for owner in ("again", "more"))
        assert torch.equal(first, second)
        assert not torch.equal(first, trained.kept["raw"][0][f"network.again.{name}"])
        assert torch.equal(stored[f"network.more.{name}"], first)


@pytest.mark.parametrize(
    ("network", "sites"), [(Attention, 3), (NestedAttention, 3), (CrossAttention, 4)]
)
def test_noise_acts_inside_torchs_fused_layers(configure, pool, network, sites):
    item = {"name": "dropconnect", "rate": 0.5}
    config = config_of(configure, network, item)
    network = assemble(config, regularizers.build([item]), pool.shape, pool.classes)
    network.eval()
    passes = members.noise(network, torch.from_numpy(pool.images[:10]), 6, seed=0)
    assert len({tuple(row.flatten().tolist()) for row in passes}) == 6
    audit = train(config, pool).audit["dropconnect"]
    assert audit["sites"] == sites


@pytest.mark.parametrize(
    ("network", "item", "site"),
    [
        (BorrowedLater, {"name": "dropout", "rate": 0.5}, "hidden"),
        (BorrowedLater, {"name": "dropconnect", "rate": 0.5}, "hidden"),
        (ConvolvedLater, {"name": "spatial_dropout", "rate": 0.5}, "first"),
        (PooledLater, {"name": "fractional_max_pooling", "ratio": 1.41}, "pool"),
    ],
    ids=["dropout", "dropconnect", "spatial_dropout", "fractional_max_pooling"],
)
def test_a_site_that_never_drew_fails_its_run(configure, pool, network, item, site):
    with pytest.raises(NoEffect, match=f"^{item['name']}: nothing was drawn at {site}; "):
        train(config_of(configure, network, item, epochs=1), pool)


def test_a_module_that_runs_in_evaluation_alone_is_no_site(configure, pool):
    assert names(linear_layers(built(BorrowedInTraining))) == ["last"]
    item = {"name": "dropout", "rate": 0.5}
    config = config_of(configure, BorrowedInTraining, item, epochs=1)
    assert train(config, pool).audit["dropout"]["sites"] == 1


@pytest.mark.parametrize("network", [Convolutional, Attention, Norms])
def test_dropconnect_predicts_without_a_relu_module(configure, pool, network):
    config = config_of(configure, network, {"name": "dropconnect", "rate": 0.5}, epochs=1)
    weights = train(config, pool).weights
    run = TrainedRun(config, regularizers.build(config.regularizers), weights, {})
    images = torch.from_numpy(pool.images[:20])
    splits = dict.fromkeys(("train", "validation", "test"), images)
    logits = predictions(run, splits, pool.classes, viewed=False, flips_keep=False)
    assert {view.kind for view in logits} == {"deterministic", "noise", "trained"}
