"""Residual branches found by graph, in blocks of every style, and gates in their place."""

import copy

import pytest
import torch
from foreign import ForeignBlock
from torch import nn
from torch.nn import functional

from pipeline import models
from pipeline.models._additions import untraced
from pipeline.models._residuals import Gate, residual_blocks
from pipeline.models.resnet import Block
from pipeline.regularizers.stochastic_depth import StochasticDepth
from pipeline.runtime.errors import Refusal

IMAGES = torch.rand(6, 4, 5, 5)


class Adding(Gate):
    """Adds `scale` times the branch, or leaves it."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, shortcut, *pieces):
        return shortcut + self.scale * self.branch(*pieces) if self.scale else shortcut.clone()


class Shared(nn.Module):
    """A pre-activation block whose branch and projection read the same normalized input."""

    def __init__(self, channels, width):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.projection = nn.Conv2d(channels, width, 1)
        self.gamma = nn.Parameter(torch.full((width, 1, 1), 0.5))

    def forward(self, x):
        out = functional.relu(self.bn1(x))
        shortcut = self.projection(out) * self.gamma
        out = self.conv2(functional.relu(self.conv1(out))) * self.gamma
        return torch.add(shortcut, out)


class Attending(nn.Module):
    """Two branches in one block, as in transformers, with functional dropout by mode."""

    def __init__(self, width):
        super().__init__()
        self.mix, self.one, self.two = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x, scale=1.0):
        x = x + functional.dropout(self.mix(x), 0.5, self.training) * scale
        return x.add(self.two(functional.relu(self.one(x))))


class Outer(nn.Module):
    """A long skip over whole blocks."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(ForeignBlock(4, 4), ForeignBlock(4, 4))

    def forward(self, x):
        return x + self.body(x)


class Equal(nn.Module):
    """Two paths of the same length: no shortcut among them; and one that depends on no input."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1)
        self.position = nn.Parameter(torch.rand(4, 1, 1))

    def forward(self, x):
        return self.one(x) + self.two(x) + self.position


class Untraceable(nn.Module):
    """Its path depends on what it sees."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return x + self.layer(x) if x.sum() > 0 else x


BLOCKS = {
    "own": (lambda: Block(4, 4, True, "relu"), IMAGES, 1),
    "own_projecting": (lambda: Block(4, 6, True, "relu"), IMAGES, 1),
    "basic": (lambda: ForeignBlock(4, 4), IMAGES, 1),
    "downsample": (lambda: ForeignBlock(4, 6), IMAGES, 1),
    "shared": (lambda: Shared(4, 6), IMAGES, 1),
    "attending": (lambda: Attending(5), torch.rand(6, 3, 5), 2),
}


@pytest.fixture(params=BLOCKS)
def case(request):
    """Return a network of one block, its inputs, and the number of branches in it."""
    torch.manual_seed(0)
    block, inputs, branches = BLOCKS[request.param]
    return nn.Sequential(block()), inputs, branches


def gated(network, *scales):
    """Return a copy of the network with gates of these scales in its blocks, in order."""
    copied, given = copy.deepcopy(network), iter(scales)
    for block in residual_blocks(copied):
        block.insert({f"gate_{number}": Adding(next(given)) for number in range(block.branches)})
    return copied


@pytest.mark.parametrize("training", [True, False])
def test_open_gates_change_nothing(case, training):
    network, inputs, branches = case
    changed = gated(network, *[1.0] * branches)
    outputs = []
    for one in (network, changed):
        torch.manual_seed(1)
        values = inputs.clone().requires_grad_()
        result = one.train(training)(values)
        result.square().sum().backward()
        outputs.append(
            (
                result,
                values.grad,
                *(parameter.grad for parameter in one.parameters()),
                *one.buffers(),
            )
        )
    assert all(torch.equal(one, other) for one, other in zip(*outputs, strict=True))
    assert {type(part) for part in changed.modules()} - {Adding} == {
        type(part) for part in network.modules()
    }


def test_names_and_weights_stay_and_a_copy_is_on_its_own(case):
    network, inputs, branches = case
    changed = gated(network, *[1.0] * branches).eval()
    assert list(changed.state_dict()) == list(network.state_dict())
    assert [name for name, _ in changed.named_parameters()] == [
        name for name, _ in network.named_parameters()
    ]
    before = changed(inputs)
    copied = copy.deepcopy(changed)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.add_(0.1)
    assert torch.equal(changed(inputs), before)
    assert not torch.equal(copied(inputs), before)
    assert torch.allclose(changed.double()(inputs.double()).float(), before, atol=1e-5)


def test_closed_gates_call_no_layer_of_the_branch(case):
    network, inputs, branches = case
    changed, called = gated(network, *[0.0] * branches), []
    for name, part in changed.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(lambda *_, name=name: called.append(name))
    result = changed(inputs)
    assert set(called) <= {"0.shortcut", "0.downsample.0", "0.projection"}
    assert result.shape == network(inputs).shape


def test_a_closed_gate_leaves_the_shortcut_and_what_follows_the_sum():
    network = nn.Sequential(ForeignBlock(4, 6)).eval()
    changed = gated(network, 0.0)
    assert torch.equal(changed(IMAGES), functional.relu(network[0].downsample(IMAGES)))


def test_what_both_paths_need_is_computed_once():
    network = nn.Sequential(Shared(4, 6))
    gates = gated(network, 1.0)
    calls = []
    gates[0].bn1.register_forward_hook(lambda *_: calls.append(1))
    gates(IMAGES)
    assert len(calls) == 1


def test_a_replaced_submodule_is_the_one_called():
    changed = gated(nn.Sequential(ForeignBlock(4, 4)), 1.0).eval()
    before = changed(IMAGES)
    changed[0].conv2 = nn.Conv2d(4, 4, 3, padding=1)
    assert not torch.equal(changed(IMAGES), before)


def test_keyword_inputs_and_defaults_go_through():
    network = nn.Sequential(Attending(5)).eval()
    changed, inputs = gated(network, 1.0, 1.0), torch.rand(2, 3, 5)
    assert torch.equal(changed[0](inputs, scale=3.0), network[0](inputs, scale=3.0))
    assert not torch.equal(changed[0](inputs, scale=3.0), changed[0](inputs))


def test_the_innermost_blocks_count():
    assert [block.name for block in residual_blocks(Outer())] == ["body.0", "body.1"]


@pytest.mark.parametrize("network", [Equal(), Untraceable(), nn.Sequential(nn.Linear(2, 2))])
def test_no_branch_no_block(network):
    assert residual_blocks(network) == []


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_plain_networks_have_none(name):
    assert residual_blocks(models.build({"name": name}, (1, 8, 8), 10)) == []


def test_the_digits_network_has_nine_in_order():
    network = models.build({"name": "resnet"}, (1, 8, 8), 10)
    names = [name for name, part in network.named_modules() if isinstance(part, Block)]
    blocks = residual_blocks(network)
    assert [block.name for block in blocks] == names
    assert len(names) == 9
    assert all(block.branches == 1 for block in blocks)


class Warming(nn.Module):
    """Adds its branch times a buffer that rises from 0."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.register_buffer("alpha", torch.zeros(()))

    def forward(self, x):
        return x + self.alpha * 1.0 * self.conv(x)


class Detached(nn.Module):
    """Adds a branch to features that get no gradient."""

    def __init__(self):
        super().__init__()
        self.backbone, self.adapter = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        with torch.no_grad():
            features = self.backbone(x)
        return features + self.adapter(torch.relu(self.adapter(features)))


class Counting(nn.Module):
    """Counts its passes in place, and adds its branch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x):
        self.passes.add_(1)
        return x + self.conv(x) * self.passes


def test_a_gate_follows_a_buffer_that_changes_later():
    module = Warming()
    plain = copy.deepcopy(module)
    (block,) = residual_blocks(module)
    block.insert({"gate": Adding()})
    for value in (0.0, 0.5, 1.0):
        for network in (module, plain):
            network.alpha.fill_(value)
        assert torch.equal(module(IMAGES), plain(IMAGES))


@pytest.mark.parametrize("kind", [Detached, Counting])
def test_what_a_graph_does_not_keep_is_no_block(kind):
    assert residual_blocks(kind()) == []


class LowRank(nn.Module):
    """A linear layer with an adapter of low rank beside it, written out as products."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(5, 5)
        self.down, self.up = nn.Parameter(torch.rand(2, 5)), nn.Parameter(torch.rand(5, 2))

    def forward(self, x):
        return self.base(x) + x @ self.down.T @ self.up.T


def test_products_count_as_layers():
    """The adapter is the branch, not the layer that it adapts."""
    module = LowRank()
    (block,) = residual_blocks(module)
    block.insert({"gate": Adding(scale=0.0)})
    assert torch.equal(module(IMAGES), module.base(IMAGES))


class Checking(nn.Module):
    """Checks sizes as `check` does, then adds its branch."""

    def __init__(self, check):
        super().__init__()
        self.check, self.layer = check, nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, maps):
        inner = torch.relu(maps)
        self.check(inner)
        return maps + self.layer(inner)


def asserts(maps):
    _, channels, height, width = maps.shape
    assert channels == 2 and height == width, f"sizes {height}x{width}"  # noqa: PT018


def asserts_of_several(maps):
    assert maps.dim() == 4, "expected maps"
    assert not maps.size(1) > 3
    assert 2 == maps.shape[1] < 5
    assert maps.shape[-1] % 2 == 0


def raises(maps):
    if maps.shape[1] != 2 or maps.shape[2] < 4:
        raise ValueError(f"shape {maps.shape}")


def asserts_by_torch(maps):
    torch._assert(maps.shape[1] == 2, "channels")


def pads(maps):
    if maps.shape[2] % 2:
        maps = functional.pad(maps, (0, 1))


@pytest.mark.parametrize("check", [asserts, asserts_of_several, raises, asserts_by_torch])
def test_a_forward_that_checks_sizes_is_a_block(check):
    torch.manual_seed(0)
    block = Checking(check)
    network, images = nn.Sequential(block), torch.randn(3, 2, 6, 6)
    expected = network(images)
    (residual,) = residual_blocks(network)
    residual.insert({"gate": Adding(0.5)})
    assert torch.allclose(network(images) - images, (expected - images) / 2, atol=1e-6)


def test_a_branch_that_is_changed_without_a_result_is_no_block():
    block = Checking(lambda maps: maps.mul_(2))
    assert not residual_blocks(nn.Sequential(block))


def test_other_branching_is_the_reason_why_there_is_no_block():
    network = nn.Sequential(Checking(pads))
    assert not residual_blocks(network)
    (reason,) = untraced(network).values()
    assert "control flow" in reason
    with pytest.raises(Refusal, match="not traced: 1 of its modules, as 0: .* control flow"):
        StochasticDepth().effect(network, (2, 6, 6))
