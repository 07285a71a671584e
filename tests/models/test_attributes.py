"""What a user's network keeps in plain attributes: no layers, nothing that later passes need."""

import functools
import sys
import types
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline import models
from pipeline.models._attributes import contents, unregistered
from pipeline.runtime.errors import Refusal

LATE = 40  # steps after which a rate rises
COUNTS = [0]


class Hidden(nn.Module):
    """A small network; subclasses change its hidden units."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 8), nn.Linear(8, 10)

    def forward(self, images):
        return self.last(self.hidden(torch.relu(self.first(images.flatten(1)))))

    def hidden(self, units):
        return units


class Block:
    """A layer in a class that is no module."""

    def __init__(self):
        self.layers = {"inner": [nn.Linear(8, 8)]}


def enclosing(layer):
    return lambda units: layer(units)


class Slotted:
    __slots__ = ("layer",)

    def __init__(self):
        self.layer = nn.Linear(8, 8)


def objects():
    held = np.empty(1, object)
    held[0] = nn.Linear(8, 8)
    return held


HOLDING = {
    "array": objects,
    "slots": Slotted,
    "computed": lambda: nn.Parameter(torch.ones(8)) * 0.1,
    "list": lambda: [nn.ReLU(), nn.Linear(8, 8)],
    "tuple": lambda: (nn.BatchNorm1d(8),),
    "dict": lambda: {"one": nn.Linear(8, 8)},
    "nested": lambda: {"one": [(1, {nn.Dropout()})]},
    "object": Block,
    "function": lambda: enclosing(nn.Linear(8, 8)),
    "partial": lambda: functools.partial(torch.add, nn.Parameter(torch.ones(8))),
    "method": lambda: nn.Linear(8, 8).forward,
    "parameters": lambda: [nn.Parameter(torch.ones(8))],
    "leaf": lambda: torch.ones(8, requires_grad=True),
    "frozen": lambda: [nn.Linear(8, 8).requires_grad_(False)],
}


class Rate(Hidden):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def rate(self):
        return 0.5 if self.steps > LATE else 0.0

    def count(self):
        self.steps += self.training

    def hidden(self, units):
        self.count()
        return functional.dropout(units, self.rate(), self.training)


class TensorRate(Rate):
    def __init__(self):
        super().__init__()
        self.steps = torch.tensor(0)

    def count(self):
        self.steps = self.steps + 1


class ArrayRate(TensorRate):
    def __init__(self):
        super().__init__()
        self.steps = np.zeros(1)


class NestedRate(Rate):
    def __init__(self):
        super().__init__()
        self.state = types.SimpleNamespace(history=[])

    def count(self):
        self.state.history.append(1)

    def rate(self):
        return 0.5 if len(self.state.history) > LATE else 0.0


class ClassRate(Rate):
    total: ClassVar = 0

    def count(self):
        ClassRate.total += 1

    def rate(self):
        return 0.5 if self.total > 10 * LATE else 0.0


class GlobalRate(Rate):
    def count(self):
        COUNTS[0] += 1

    def rate(self):
        return 0.5 if COUNTS[0] > 10 * LATE else 0.0


class TrainCallRate(Rate):
    """Counts the calls of train, as of epochs."""

    def count(self):
        pass

    def train(self, mode=True):
        self.steps = getattr(self, "steps", 0) + mode
        return super().train(mode)


class BufferRate(Rate):
    def __init__(self):
        super().__init__()
        del self.steps
        self.register_buffer("steps", torch.tensor(0), persistent=False)


class HookRate(Rate):
    """Counts in a function that is a hook."""

    def __init__(self):
        super().__init__()
        steps = [0]

        def scale(module, given, output):
            steps[0] += 1
            return output * (0.5 if steps[0] > 10 * LATE else 1)

        self.last.register_forward_hook(scale)

    def count(self):
        pass


class Extra(Rate):
    def get_extra_state(self):
        return {"steps": self.steps}

    def set_extra_state(self, state):
        self.steps = state["steps"]


class DrawnOnce(Hidden):
    """Draws positions in its first pass and keeps them."""

    def __init__(self):
        super().__init__()
        self.positions = None

    def hidden(self, units):
        if self.positions is None:
            self.positions = torch.randn(units.shape[1])
        return units + self.positions


class Probabilities(Hidden):
    def forward(self, images):
        return super().forward(images).softmax(1)


class InPlace(Hidden):
    def forward(self, images):
        return super().forward(images.mul_(2))


class FailingLater(Rate):
    def hidden(self, units):
        self.steps += 1
        assert self.steps < 5, "too many"
        return units


class Switching(Hidden):
    """Sets what holds for the whole process."""

    def __init__(self):
        super().__init__()
        torch.set_num_threads(2)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)


class Numbered(Hidden):
    """Each network and each hook has a number of its own."""

    made: ClassVar = 0

    def __init__(self):
        super().__init__()
        Numbered.made += 1
        self.number = Numbered.made
        self.handle = self.first.register_forward_hook(lambda *_: None)


class LargestSeen(Rate):
    """Acts once a value was seen that is larger than all at the build."""

    def hidden(self, units):
        self.steps = max(self.steps, units.max().item())
        return units * (self.steps < 1000)


class Cached(Hidden):
    """Keeps maps of its last pass, the size of its images and positions of that size."""

    def __init__(self):
        super().__init__()
        self.last, self.last_maps = nn.Linear(8, 10), None
        self.size, self.norm, self.positions = None, 0.0, {}

    def hidden(self, units):
        size = units.shape[1]
        if size not in self.positions:
            self.positions[size] = torch.linspace(0, 1, size)
        self.last_maps, self.size, self.norm = units, size, units.norm().item()
        return units + self.positions[size]


class Scaled(Hidden):
    """Sets its scale by the first batch, as activation normalization does."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))
        self.begin()

    def begin(self):
        self.register_buffer("is_set", torch.tensor(False))

    def hidden(self, units):
        if not self.is_set:
            self.scale.data.copy_(1 / (units.std(0) + 1))
            self.is_set = self.is_set | True
        return units * self.scale


class PlainFlag(Scaled):
    def begin(self):
        self.is_set = False


class LazyScaled(Scaled):
    def __init__(self):
        super().__init__()
        self.first = nn.LazyLinear(8)


class MadeInForward(Hidden):
    def __init__(self):
        super().__init__()
        self.inner = None

    def hidden(self, units):
        if self.inner is None:
            self.inner = nn.Linear(units.shape[1], 8)
        return self.inner(units)


COUNTING = [
    *(Rate, TensorRate, ArrayRate, NestedRate, ClassRate, GlobalRate, TrainCallRate, BufferRate),
    *(LargestSeen, HookRate),
]


@pytest.fixture(autouse=True)
def module(monkeypatch):
    """Make the networks importable under a name."""
    keeping = types.ModuleType("keeping")
    keeping.__dict__.update(globals())
    monkeypatch.setitem(sys.modules, "keeping", keeping)


def built(network):
    model = {"name": "imported", "import": f"keeping:{network.__name__}"}
    return models.build(model, (1, 8, 8), 10).network


@pytest.mark.parametrize("make", HOLDING.values(), ids=HOLDING)
def test_layers_in_plain_attributes_are_found(make):
    network = nn.Sequential(Hidden())
    assert unregistered(network) is None
    network[0].blocks = make()
    assert unregistered(network) == "0.blocks"


def test_layers_that_are_registered_too_are_none(monkeypatch):
    network = nn.ModuleDict({"a": Hidden(), "b": nn.LSTM(3, 4), "c": Hidden()})
    network.blocks = [*network.values()]
    network.make = functools.partial(nn.Linear, 3)
    network.later = network["a"].forward
    assert unregistered(network) is None


def test_the_error_names_the_attribute_and_the_cure(monkeypatch):
    monkeypatch.setattr(Hidden, "blocks", [nn.Linear(8, 8)], raising=False)
    with pytest.raises(
        Refusal, match=r"keeping:Hidden holds layers .* in Hidden.blocks.* expected nn.ModuleList"
    ):
        built(Hidden)


@pytest.mark.parametrize("network", COUNTING)
def test_a_count_that_acts_late_is_an_error(network):
    name = {
        NestedRate: "state",
        ClassRate: "ClassRate.total",
        HookRate: "last._forward_hooks",
        GlobalRate: rf"{__name__}.COUNTS",
    }.get(network, "steps")
    with pytest.raises(Refusal, match=f"keeping:{network.__name__} changes {name} in every pass"):
        built(network)


@pytest.mark.parametrize("network", [Cached, InPlace, Numbered])
def test_what_follows_from_the_last_images_is_allowed(network):
    assert built(network).training


@pytest.mark.parametrize("network", [PlainFlag, DrawnOnce])
def test_what_the_first_pass_sets_and_the_state_lacks_is_an_error(network):
    with pytest.raises(Refusal, match=f"{network.__name__} gives other results after its state"):
        built(network)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Extra, "has a dict in its state, _extra_state; expected tensors in buffers"),
        (FailingLater, "fails on its later passes: AssertionError: too many"),
        (Probabilities, r"returns probabilities for images .*; expected logits"),
    ],
)
def test_other_states_and_outputs_are_errors(network, words):
    with pytest.raises(Refusal, match=f"keeping:{network.__name__} {words}"):
        built(network)


def test_switches_of_the_process_stay(monkeypatch):
    assert built(Switching).last.weight.dtype == torch.float32
    assert torch.get_num_threads() == 1
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("network", [Scaled, LazyScaled])
def test_the_check_sets_no_weights(network):
    made = built(network)
    assert not made.is_set
    assert torch.equal(made.scale, torch.ones(8))


def test_layers_made_in_the_first_pass_are_there():
    assert "inner.weight" in built(MadeInForward).state_dict()


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([1 + 2j]),
        torch.tensor(float("nan"), dtype=torch.bfloat16),
        torch.eye(3).to_sparse(),
        torch.tensor([True, False])[:0],
        np.float32(2),
        "warmup",
    ],
)
def test_equal_contents_are_equal(value):
    network = nn.Identity()
    network.value = value
    assert contents(network) == contents(network)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("compiled", [torch.jit.script, torch.compile], ids=["jit", "compile"])
def test_a_compiled_part_is_named(monkeypatch, compiled):
    def make():
        network = Hidden()
        network.last = compiled(network.last)
        return network

    monkeypatch.setattr(sys.modules["keeping"], "make", make, raising=False)
    model = {"name": "imported", "import": "keeping:make"}
    with pytest.raises(Refusal, match="keeping:make has a compiled part, last, .*torch.compile"):
        models.build(model, (1, 8, 8), 10)
