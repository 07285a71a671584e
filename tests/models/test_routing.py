"""To which group each parameter of a network goes, and why."""

import sys
import types

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from pipeline import models, regularizers
from pipeline.models._probe import probe
from pipeline.models._residuals import residual_blocks
from pipeline.models._routing import routes, routing_table
from pipeline.models._sites import hidden_layers, linear_layers, weights
from pipeline.runtime.errors import Refusal
from pipeline.training.trainer import train

SHAPE = (1, 8, 8)


class Patches(nn.Module):
    """Turns images into 16 patches of 4 pixels, widened to 8 features."""

    def __init__(self):
        super().__init__()
        self.patches, self.head = nn.Linear(4, 8), nn.Linear(8, 10)

    def tokens(self, images):
        return self.patches(functional.unfold(images, 2, stride=2).transpose(1, 2))


class AttentionPooling(Patches):
    """Pools by attention of a learned query, through torch's attention."""

    def __init__(self):
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, images):
        tokens = self.tokens(images)
        query = self.query.expand(len(tokens), -1, -1)
        return self.head(self.attention(query, tokens, tokens)[0][:, 0])


class ProjectedToken(Patches):
    """Projects a learned token by a linear layer, and adds learned positions."""

    def __init__(self):
        super().__init__()
        self.token, self.project = nn.Parameter(torch.randn(1, 8)), nn.Linear(8, 8)
        self.position = nn.Parameter(torch.randn(16, 8))

    def forward(self, images):
        return self.head((self.tokens(images) + self.position).mean(1) + self.project(self.token))


class Latents(Patches):
    """Has matrices of its own: one multiplies, one scales, one gates by a sum."""

    def __init__(self):
        super().__init__()
        self.mixing = nn.Parameter(torch.randn(8, 8) / 3)
        self.scale, self.shift = nn.Parameter(torch.ones(16, 8)), nn.Parameter(torch.ones(1, 16, 8))

    def forward(self, images):
        mixed = torch.einsum("nti,oi->nto", self.tokens(images) * self.scale, self.mixing)
        return self.head(functional.relu(mixed + self.shift).mean(1))


class Equalized(nn.Linear):
    """Scales its weight in its forward."""

    def forward(self, inputs):
        return functional.linear(inputs, self.weight * 0.5, self.bias)


class Standardizing(nn.Conv2d):
    """Standardizes its weight in its forward."""

    def forward(self, inputs):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(inputs, weight, self.bias)


class ScaledLinear(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), Equalized(64, 16), nn.ReLU(), nn.Linear(16, 10))


class ScaledConvolution(nn.Sequential):
    def __init__(self):
        layers = Standardizing(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
        super().__init__(*layers)


class LayerDrop(nn.Module):
    """Skips its middle layer in half of all passes."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.head = nn.Linear(64, 16), nn.Linear(16, 16), nn.Linear(16, 10)

    def forward(self, images):
        hidden = functional.relu(self.first(images.flatten(1)))
        if not self.training or torch.rand(()) < 0.5:
            hidden = functional.relu(self.middle(hidden))
        return self.head(hidden)


class Detached(nn.Module):
    """Trains its head alone, although nothing is frozen."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, images):
        with torch.no_grad():
            hidden = functional.relu(self.body(images.flatten(1)))
        return self.head(hidden)


class Mixed(nn.Module):
    """Has a parameter of every kind."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.stem.requires_grad_(False)
        self.norm = nn.GroupNorm(2, 4)
        self.one, self.two = nn.Linear(64, 64), nn.Linear(64, 64)
        self.two.weight = self.one.weight
        self.normed = parametrizations.spectral_norm(nn.Linear(64, 16))
        self.root = nn.RMSNorm(16)
        self.unused, self.head = nn.Linear(16, 3), nn.Linear(16, 10)

    def forward(self, images):
        maps = self.norm(self.stem(images)).mean(1).flatten(1)
        hidden = functional.relu(self.two(functional.relu(self.one(maps))))
        return self.head(self.root(functional.relu(self.normed(hidden))))


@pytest.fixture(autouse=True)
def module(monkeypatch):
    """Make the networks importable under a name."""
    written = {name: value for name, value in globals().items() if isinstance(value, type)}
    monkeypatch.setitem(sys.modules, "routed", types.ModuleType("routed"))
    sys.modules["routed"].__dict__.update(written)


def model(network):
    return {"name": "imported", "import": f"routed:{network.__name__}"}


def built(network, seed=0):
    torch.manual_seed(seed)
    return models.build(model(network), SHAPE, 10)


def group_of(network):
    return {route.name: route.group for route in routes(network)}


@pytest.mark.parametrize(
    ("network", "not_decayed"),
    [
        (AttentionPooling, {"query"}),
        (ProjectedToken, {"token", "position"}),
        (Latents, {"scale", "shift"}),
    ],
)
def test_tokens_positions_and_scales_are_told_from_what_multiplies(network, not_decayed):
    groups = group_of(built(network))
    matrices = {name for name in groups if "bias" not in name}
    assert {name for name in matrices if groups[name] == "not decayed"} == not_decayed
    assert {name for name in matrices if groups[name] == "decayed"} == matrices - not_decayed


def test_every_parameter_has_a_group_and_a_reason():
    rows = {
        row["reason"]: (row["group"], row["names"]) for row in routing_table(routes(built(Mixed)))
    }
    assert rows == {
        "requires no gradient": ("frozen", ["stem.weight"]),
        "normalization": ("not decayed", ["norm.weight"]),
        "bias": ("not decayed", ["norm.bias", "one.bias", "two.bias", "normed.bias", "head.bias"]),
        "matrix or kernel": ("decayed", ["one.weight", "head.weight"]),
        "tied with one.weight": ("decayed", ["two.weight"]),
        "part of a computed weight": ("not decayed", ["normed.parametrizations.weight.original"]),
        "vector: scale or norm": ("not decayed", ["root.weight"]),
        "none in a training pass": ("no gradient", ["unused.weight", "unused.bias"]),
    }


@pytest.mark.parametrize("frozen", [True, False])
def test_a_group_norm_whose_inputs_need_no_gradient_gets_contiguous_ones(frozen):
    """In channels_last layout torch would end the process."""
    stem = nn.Conv2d(1, 4, 3).requires_grad_(not frozen)
    network = nn.Sequential(stem, nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, 10))
    layout = torch.contiguous_format if frozen else torch.channels_last
    assert probe(network, torch.randn(2, *SHAPE)).memory_format is layout


def test_routing_changes_no_buffer():
    """Reading a weight under spectral normalization in training mode would."""
    network = built(Mixed).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    routes(network)
    weights(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["cnn", "mlp", "resnet"])
def test_a_network_of_this_package_trains_all_its_parameters_and_calls_all_its_modules(name):
    """It is not probed: the routes have to be those that a probe would give."""
    network = models.build({"name": name, **models.settings()[name]().model_dump()}, SHAPE, 10)
    seen = probe(network.network, torch.randn(2, *SHAPE))
    names = [name for name, _ in network.network.named_parameters()]
    assert seen.gradients == set(names)
    assert seen.called == {name for name, _ in network.network.named_modules()}
    groups = group_of(network)
    network.probe = seen
    assert group_of(network) == groups
    assert set(groups) == set(names)


def test_what_never_gets_a_gradient_is_not_shrunk(configure, pool):
    config = configure({"name": "l1_penalty", "strength": 0.1}, epochs=1)
    trained = train(config.model_copy(update={"model": model(Detached)}), pool)
    seed = trained.routing
    assert {key: seed[0][key] for key in ("group", "reason")} == {
        "group": "no gradient",
        "reason": "none in a training pass",
    }
    assert not (trained.weights["network.body.weight"] == 0).any()
    assert (trained.weights["network.head.weight"] == 0).any()


@pytest.mark.parametrize("seed", range(8))
def test_a_layer_that_is_sometimes_skipped_is_a_site_at_every_seed(seed):
    network = built(LayerDrop, seed)
    names = [name.removeprefix("network.") for name, _ in linear_layers(network)]
    assert sorted(names) == ["first", "head", "middle"]
    assert set(group_of(network).values()) == {"decayed", "not decayed"}


@pytest.mark.parametrize(
    ("network", "item", "line"),
    [
        (ScaledLinear, {"name": "weight_decay"}, "weight_decay: 1 changes its weight in its "),
        (ScaledLinear, {"name": "l1_penalty"}, "l1_penalty: 1 changes its weight in its forward; "),
        (ScaledLinear, {"name": "max_norm"}, "max_norm: 1 changes its weight in its forward; "),
        (ScaledConvolution, {"name": "max_norm"}, "max_norm: 0 changes its weight in its forward"),
        (ScaledLinear, {"name": "dropconnect"}, "dropconnect: 1 has a forward of its own; expecte"),
        (
            ScaledConvolution,
            {"name": "dropconnect", "where": "convolution"},
            "dropconnect: where: convolution: 0 changes its weight in its forward; ",
        ),
    ],
)
def test_what_acts_on_weights_that_a_layer_changes_is_an_error(network, item, line):
    with pytest.raises(Refusal, match=f"^{line}") as refused:
        regularizers.equip(built(network), regularizers.build([item]))
    assert len(refused.value.lines) == 1


def test_a_layer_that_changes_its_weight_is_routed_as_such():
    rows = {row["reason"]: row["names"] for row in routing_table(routes(built(ScaledLinear)))}
    assert rows["changed by its layer before the product"] == ["1.weight"]
    assert rows["matrix or kernel"] == ["3.weight"]


def test_the_groups_of_the_optimizer_are_those_of_the_record(configure, pool, monkeypatch):
    groups = []
    item = {"name": "weight_decay", "strength": 0.01}
    kind = regularizers.settings()["weight_decay"]
    audit = kind.audit
    monkeypatch.setattr(
        kind, "audit", lambda self, inputs: groups.extend(inputs.groups) or audit(self, inputs)
    )
    trained = train(configure(item, epochs=1), pool)
    numbers = [len(group["params"]) for group in groups]
    kinds = ("decayed", "not decayed")
    assert numbers == [
        sum(len(row["names"]) for row in trained.routing if row["group"] == kind) for kind in kinds
    ]
    assert {row["group"] for row in trained.routing} == set(kinds)


class Stacked(nn.Module):
    """Adds its shortcuts in the forward of the network itself."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 10)
        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)])

    def forward(self, images):
        maps = self.stem(images)
        for block in self.blocks:
            maps = maps + functional.relu(block(maps))
        return self.head(maps.mean((2, 3)))


class HeadFirst(nn.Module):
    """Registers its head before its stem, and cannot be traced."""

    def __init__(self):
        super().__init__()
        self.head, self.middle, self.stem = nn.Linear(16, 10), nn.Linear(16, 16), nn.Linear(64, 16)

    def forward(self, images):
        hidden = functional.relu(self.stem(images.flatten(1)))
        hidden = (
            hidden if float(hidden.detach().sum()) < 0 else functional.relu(self.middle(hidden))
        )
        return self.head(hidden)


class BorrowedStem(nn.Module):
    """Uses its first layer through its weight alone."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, images):
        return self.head(functional.relu(functional.linear(images.flatten(1), self.stem.weight)))


class Towers(nn.Module):
    """Reads the images by two layers, one after the other."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(64, 16), nn.Linear(64, 16), nn.Linear(32, 10)

    def forward(self, images):
        left = torch.relu(self.left(images.flatten(1)))
        right = torch.relu(self.right(images.flatten(1)))
        return self.head(torch.cat([left, right], 1))


def test_branches_added_by_the_network_itself_are_found():
    (block,) = residual_blocks(built(Stacked))
    assert (block.name, block.branches) == ("network", 3)


@pytest.mark.parametrize(
    ("network", "hidden"),
    [(HeadFirst, {"head", "middle"}), (BorrowedStem, {"head"}), (Towers, {"head"})],
)
def test_hidden_inputs_are_those_that_something_has_multiplied(network, hidden):
    names = {name.removeprefix("network.") for name, _ in hidden_layers(built(network))}
    assert names == hidden


class Halved(nn.Module):
    """Multiplies in half precision, and a weight that a reshape has copied."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(64, 16), nn.Linear(16, 10)
        self.mixing = nn.Parameter(torch.randn(4, 4, 16))

    def forward(self, images):
        with torch.autocast("cpu", torch.bfloat16):
            hidden = functional.relu(self.first(images.flatten(1)))
        mixing = self.mixing.transpose(0, 2).reshape(16, 16)
        return self.head(hidden.float() @ mixing)


class Dropping(nn.Module):
    """Draws in every pass, and has modules that are never called: holders, parts of attention."""

    passes = 0

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
        self.layers = nn.ModuleList([nn.Linear(4, 8), layer])
        self.head = nn.Linear(8, 10)

    def forward(self, images):
        type(self).passes += self.training
        tokens = images.reshape(len(images), 16, 4)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(tokens.mean(1))


def test_a_copy_of_a_weight_is_the_weight():
    groups = group_of(built(Halved))
    assert {name for name, group in groups.items() if group == "decayed"} == {
        *("first.weight", "head.weight", "mixing")
    }


def test_a_network_that_one_pass_has_seen_whole_is_not_run_again():
    network = Dropping()
    Dropping.passes = 0
    probe(network, torch.randn(2, *SHAPE))
    assert Dropping.passes == 1


class Experts(nn.Module):
    """Multiplies each image by the matrix of its expert."""

    def __init__(self, how):
        super().__init__()
        self.how, self.first = how, nn.Linear(64, 8)
        self.matrices, self.head = nn.Parameter(torch.randn(4, 8, 8)), nn.Linear(8, 10)
        self.table = nn.Parameter(torch.randn(4, 8))

    def forward(self, images):
        hidden = torch.relu(self.first(images.flatten(1)))
        chosen = hidden[:, :4].argmax(1)
        hidden = hidden + self.table[chosen]
        return self.head(self.how(hidden, self.matrices, chosen))


@pytest.mark.parametrize(
    "how",
    [
        lambda units, matrices, chosen: torch.bmm(units[:, None], matrices[chosen])[:, 0],
        lambda units, matrices, chosen: torch.einsum("ni,nij->nj", units, matrices[chosen]),
        lambda units, matrices, chosen: (
            units[:, None] @ matrices.index_select(0, chosen).transpose(1, 2).contiguous()
        )[:, 0],
        lambda units, matrices, chosen: (units @ torch.stack([*matrices.unbind()])).sum(0),
        lambda units, matrices, chosen: units @ torch.cat([*matrices[:2]], 1)[:, :8],
    ],
    ids=["bmm", "einsum", "index_select", "stack", "cat"],
)
def test_the_matrices_of_experts_are_factors(how):
    """The table, of which vectors are added, is none."""
    seen = probe(Experts(how), torch.randn(3, *SHAPE))
    assert seen.factors >= {"matrices", "first.weight", "head.weight"}
    assert "table" not in seen.factors


class LearnedQueries(nn.Module):
    """Pools patches by the products of learned queries with them; `how` takes query and patches."""

    def __init__(self, how, shape=(2, 8)):
        super().__init__()
        self.how, self.embed, self.head = how, nn.Linear(4, 8), nn.Linear(8, 10)
        self.query = nn.Parameter(torch.randn(shape) / 3)
        self.mixing = nn.Parameter(torch.randn(8, 8) / 3)

    def forward(self, images):
        units = self.embed(images.reshape(len(images), 16, 4)) @ self.mixing
        return self.head(self.how(self.query, torch.relu(units)).mean(1))


POOLINGS = {
    "matmul": lambda query, units: (query @ units.mT).softmax(-1) @ units,
    "reversed": lambda query, units: (units @ query.T).softmax(1).mT @ units,
    "scaled": lambda query, units: (query @ units.mT / 8**0.5 + 1).softmax(-1) @ units,
    "query scaled": lambda query, units: (units @ (query / 3).T).softmax(1).mT @ units,
    "einsum": lambda query, units: torch.einsum(
        "nqt,ntd->nqd", torch.einsum("qd,ntd->nqt", query, units).softmax(-1), units
    ),
    "weighted sum": lambda query, units: (
        (units @ query.T).softmax(1)[..., None] * units[:, :, None]
    ).sum(1),
    "sigmoid": lambda query, units: (query @ units.mT).sigmoid() @ units,
    "dropped": lambda query, units: functional.dropout((query @ units.mT).softmax(-1), 0.5) @ units,
    "expanded": lambda query, units: (
        torch.bmm(query.expand(len(units), -1, -1), units.mT).softmax(-1) @ units
    ),
    "fused": lambda query, units: functional.scaled_dot_product_attention(
        query.expand(len(units), 1, -1, -1), units[:, None], units[:, None]
    )[:, 0],
    "memory": lambda query, units: (units @ query.T).softmax(-1) @ query,
}


@pytest.mark.parametrize("how", POOLINGS.values(), ids=POOLINGS)
def test_learned_queries_are_told_from_matrices(how):
    seen = probe(LearnedQueries(how), torch.randn(3, *SHAPE))
    assert seen.factors - seen.queries >= {"mixing", "embed.weight", "head.weight"}
    assert "query" in seen.queries or "query" not in seen.factors
    assert "query" not in seen.changed


MATRICES = {
    "units": lambda matrix, units: units @ matrix,
    "gated": lambda matrix, units: (units @ matrix).sigmoid() * units,
    "softmax last": lambda matrix, units: (units @ matrix).log_softmax(-1),
    "projections": lambda matrix, units: ((units @ matrix) @ units.mT).softmax(-1) @ units,
    "before the scores": lambda matrix, units: (
        ((units @ matrix).tanh().mean(-1, keepdim=True)).softmax(1).mT @ units
    ),
}


@pytest.mark.parametrize("how", MATRICES.values(), ids=MATRICES)
def test_matrices_are_no_queries(how):
    seen = probe(LearnedQueries(how, (8, 8)), torch.randn(3, *SHAPE))
    assert "query" in seen.factors
    assert not seen.queries


class Reading(nn.Module):
    """Has two layers and a later one whose inputs `how` computes of images and hidden units."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.one, self.two = nn.Linear(64, 64), nn.Linear(64, 64)
        self.later, self.head = nn.LazyLinear(16), nn.Linear(16, 10)

    def forward(self, images):
        pixels = images.flatten(1)
        hidden = self.one(pixels) + self.two(input=pixels.clone() * 2)
        return self.head(torch.relu(self.later(self.how(pixels, torch.relu(hidden)))))


@pytest.mark.parametrize(
    ("how", "reading"),
    [
        (lambda pixels, hidden: hidden, False),
        (lambda pixels, hidden: hidden + pixels, False),
        (lambda pixels, hidden: hidden * (pixels > 0).float(), False),
        (lambda pixels, hidden: pixels.roll(1, 1), True),
        (lambda pixels, hidden: torch.relu(torch.cat([pixels, hidden], 1)), True),
        (lambda pixels, hidden: torch.fft.rfft(pixels).real, True),
        (lambda pixels, hidden: pixels @ torch.eye(64), True),
        (
            lambda pixels, hidden: functional.grid_sample(
                pixels.view(-1, 1, 8, 8), hidden.view(-1, 8, 4, 2), align_corners=False
            ).flatten(1),
            True,
        ),
    ],
    ids=["hidden", "sum", "mask", "rolled", "joined", "spectrum", "fixed filter", "warped"],
)
def test_all_layers_that_read_the_images_are_found(how, reading):
    network = Reading(how)
    network(torch.randn(3, *SHAPE))
    seen = probe(network, torch.randn(3, *SHAPE)).reading
    assert {"one", "two"} <= seen
    assert "head" not in seen
    assert ("later" in seen) is reading
