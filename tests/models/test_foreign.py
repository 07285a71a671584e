"""Networks of other projects: compiled, distributed, checkpointed, with layers that are not theirs.

Each trains as it was written, or is one line before training.
"""

import os
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pipeline import models, regularizers
from pipeline.models._probe import probe_of
from pipeline.prediction import members
from pipeline.prediction.network import assemble
from pipeline.runtime.errors import Refusal
from pipeline.training.flops import FlopCounter, unfused

SHAPE = (1, 8, 8)
GLOBAL = nn.Linear(16, 10)


def compiling(graph, inputs):
    """Fail in place of a backend of `torch.compile`."""
    raise AssertionError("compiled")


class Net(nn.Module):
    """A small network; subclasses change its body."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 10)

    def body(self, images):
        return functional.relu(self.first(images.flatten(1)))

    def forward(self, images):
        return self.last(self.body(images))


class CompiledMethod(Net):
    @torch.compile(backend=compiling)
    def body(self, images):
        return functional.relu(self.first(images.flatten(1)))


class CompiledLayer(Net):
    def __init__(self):
        super().__init__()
        self.first.compile(backend=compiling)


@torch.compile(backend=compiling)
def gelu(units):
    return units * 0.5 * (1 + torch.erf(units / 1.41421))


class CompiledFunction(Net):
    def body(self, images):
        return gelu(self.first(images.flatten(1)))


class CompiledForward(Net):
    """A copy would run the compiled forward of the network that it is a copy of."""

    def __init__(self):
        super().__init__()
        self.forward = torch.compile(self.forward, backend=compiling)


class FunctionOfSelf(Net):
    def __init__(self):
        super().__init__()
        self.body = lambda images: self.first(images.flatten(1))


class GlobalLayer(Net):
    def forward(self, images):
        return GLOBAL(self.body(images))


class OwnLoss(Net):
    """Adds a penalty on its units, whose gradient training would discard."""

    def body(self, images):
        units = super().body(images)
        if torch.is_grad_enabled():
            units.abs().mean().backward(retain_graph=True)
        return units


class LeavesOfAPass(Net):
    """Follows a gradient of its own with respect to what it makes in its forward."""

    def body(self, images):
        units = super().body(images)
        with torch.enable_grad():
            code = torch.zeros(len(images), 16, requires_grad=True)
            energy = (code - units).square().sum()
            return code - torch.autograd.grad(energy, code, create_graph=True)[0] / 4


class Checkpointed(Net):
    reentrant = False

    def body(self, images):
        if not torch.is_grad_enabled():
            return super().body(images)
        images = images.clone().requires_grad_()
        return checkpoint(super().body, images, use_reentrant=self.reentrant)


class Reentrant(Checkpointed):
    reentrant = True


class Inferring(Net):
    def body(self, images):
        with torch.inference_mode():
            units = super().body(images)
        return units.clone()


class Marked(Net):
    def body(self, images):
        with torch.profiler.record_function("body"):
            return super().body(images)


class Parallel(Net):
    def __init__(self):
        super().__init__()
        self.first = nn.DataParallel(self.first)


class SameMemory(Net):
    """Ties two weights by their memory, as `data` has it."""

    def __init__(self):
        super().__init__()
        self.middle, self.again = nn.Conv2d(4, 4, 2), nn.Conv2d(4, 4, 2)
        self.again.weight = nn.Parameter(self.middle.weight.data)

    def body(self, images):
        maps = super().body(images).view(-1, 4, 2, 2)
        maps = functional.pad(maps, (0, 1, 0, 1))
        maps = functional.pad(self.middle(maps), (0, 1, 0, 1))
        return self.again(maps).flatten(1)


class OneBuffer(Net):
    """Has its parameters in parts of one memory, which do not overlap."""

    def __init__(self):
        super().__init__()
        memory = torch.randn(32)
        self.last.bias = nn.Parameter(memory[:10])
        self.first.bias = nn.Parameter(memory[10:26])


class SettingSwitches(Net):
    """Sets what holds for the whole process, as scripts do at their start."""

    def __init__(self):
        super().__init__()
        os.chdir("/")
        np.seterr(all="raise")
        warnings.simplefilter("error")
        torch.set_flush_denormal(True)
        torch.set_float32_matmul_precision("medium")
        torch.use_deterministic_algorithms(True)
        torch.set_default_device("meta")


@pytest.fixture(autouse=True)
def module(monkeypatch):
    """Make the networks importable under a name."""
    foreign_networks = types.ModuleType("foreign_networks")
    foreign_networks.__dict__.update(globals())
    monkeypatch.setitem(sys.modules, "foreign_networks", foreign_networks)


def model(name):
    return {"name": "imported", "import": f"foreign_networks:{name}"}


def built(network):
    torch.manual_seed(0)
    return models.build(model(network.__name__), SHAPE, 10)


def with_dropout(configure, network):
    config = configure({"name": "dropout", "rate": 0.5}).model_copy(
        update={"model": model(network.__name__)}
    )
    return assemble(config, regularizers.build(config.regularizers), SHAPE, 10)


@pytest.mark.parametrize("network", [CompiledMethod, CompiledLayer, CompiledFunction])
def test_compiled_functions_run_eagerly_and_noise_reaches_their_layers(configure, network):
    noisy = with_dropout(configure, network)
    passes = members.noise(noisy, torch.rand(4, *SHAPE), 3, seed=0)
    assert len({tuple(row.flatten().tolist()) for row in passes}) == 3
    if network is not CompiledFunction:
        images = torch.rand(4, *SHAPE)
        assert torch.equal(built(network)(images), built(Net)(images))


@pytest.mark.parametrize("network", [CompiledForward, FunctionOfSelf, GlobalLayer])
def test_weights_that_a_copy_does_not_hold_are_an_error(network):
    with pytest.raises(Refusal, match="uses weights that a copy of it does not hold"):
        built(network)


def test_parameters_in_the_same_memory_are_an_error():
    with pytest.raises(
        Refusal, match=r"same memory, middle.weight and again.weight, which become separate"
    ):
        built(SameMemory)
    assert built(OneBuffer).training


def test_a_loss_of_its_own_is_an_error():
    with pytest.raises(Refusal, match="OwnLoss calls backward in its forward"):
        built(OwnLoss)


def test_leaves_that_a_pass_makes_are_no_weights():
    assert built(LeavesOfAPass)(torch.rand(2, *SHAPE)).shape == (2, 10)


@pytest.mark.parametrize("network", [Checkpointed, Reentrant])
def test_noise_that_would_be_drawn_again_in_the_backward_pass_is_an_error(configure, network):
    assert "first" in probe_of(built(network)).again
    assert not probe_of(built(Net)).again
    with pytest.raises(Refusal, match=r"^dropout: the forward of first runs again in the backward"):
        with_dropout(configure, network)


def test_noise_passes_of_a_network_with_a_part_in_inference_mode(configure):
    noisy = with_dropout(configure, Inferring)
    passes = members.noise(noisy, torch.rand(4, *SHAPE), 3, seed=0)
    assert len({tuple(row.flatten().tolist()) for row in passes}) == 3


def test_marks_of_the_profiler_are_no_operations_without_a_count():
    with unfused(), FlopCounter() as counter:
        built(Marked)(torch.rand(1, *SHAPE))
    assert counter.uncounted == set()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nn.DataParallel(Net()), "is a DataParallel; expected the network inside it"),
        (Parallel, "first is a DataParallel"),
    ],
    ids=["whole", "part"],
)
def test_networks_that_distribute_themselves_are_an_error(monkeypatch, make, words):
    monkeypatch.setattr(sys.modules["foreign_networks"], "make", make, raising=False)
    with pytest.raises(Refusal, match=f"foreign_networks:make {words}"):
        models.build(model("make"), SHAPE, 10)


def test_a_network_in_a_process_group_is_an_error(monkeypatch, tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        make = lambda: nn.parallel.DistributedDataParallel(Net())  # noqa: E731
        monkeypatch.setattr(sys.modules["foreign_networks"], "make", make, raising=False)
        with pytest.raises(Refusal, match="make is a DistributedDataParallel"):
            models.build(model("make"), SHAPE, 10)
    finally:
        torch.distributed.destroy_process_group()


def test_switches_of_the_process_are_as_before():
    folder, errors, filters = os.getcwd(), np.geterr(), list(warnings.filters)
    monitored = (
        torch.get_float32_matmul_precision,
        torch.get_deterministic_debug_mode,
        torch.get_default_device,
    )
    before = [read() for read in monitored]
    tiny = torch.tensor(1e-40)
    assert built(SettingSwitches)(torch.rand(2, *SHAPE)).shape == (2, 10)
    assert [read() for read in monitored] == before
    assert (os.getcwd(), np.geterr(), list(warnings.filters)) == (folder, errors, filters)
    assert tiny * 0.5 > 0
