"""Networks that follow the clock, the process or the machine, when they are imported or run."""

import datetime
import importlib
import os
import sys
import time

import pytest
import torch

from pipeline import models
from pipeline.models._surroundings import imported, other_surroundings
from pipeline.models._switches import switches
from pipeline.runtime import behaviour
from pipeline.runtime.errors import Refusal

NETWORKS = """
import datetime
import os
import secrets
import socket
import threading
import time
import uuid
from datetime import date
from os import environ, getpid
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

LOADED = int(time.time())
WIDE = os.getenv("GAPWISE_TEST_WIDE") is not None
ENTROPY = secrets.randbelow(2**60)
ORDER = torch.randperm(64)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, images):
        return self.last(torch.relu(self.first(images.flatten(1)[:, ORDER])))


class Timed(Net):
    '''Notes times, on which nothing depends.'''

    def forward(self, images):
        began = time.time()
        logits = super().forward(images)
        self.seconds = time.time() - began
        return logits


class Begun(Net):
    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.first.weight.copy_(torch.rand(16, 64, generator=generator) - 0.5)


def loaded():
    return Begun(LOADED)


def entropy():
    return Begun(ENTROPY)


def second():
    return Begun(int(time.time()))


def process():
    return Begun(getpid())


def parent():
    return Begun(os.getppid())


def machine():
    return Begun(sum(socket.gethostname().encode()))


def day():
    return Begun(date.today().toordinal())


def running():
    return Begun(int(time.monotonic()))


def written():
    return Begun(int(time.strftime("%Y%m%d")))


def year():
    return Begun(time.gmtime().tm_yday)


def node():
    return Begun(sum(os.uname().nodename.encode()))


def address():
    return Begun(uuid.getnode() % 2**40)


def hour():
    return Begun(datetime.datetime.now(datetime.UTC).hour)


def changed_file():
    return Begun(int(Path(__file__).stat().st_mtime))


def file_time():
    return Begun(int(os.path.getmtime(__file__)))


def processors():
    return Begun(os.cpu_count())


def thread():
    return Begun(threading.get_native_id())


def width():
    return Begun(int(os.environ["GAPWISE_TEST_WIDTH"]))


def seed():
    return Begun(int(os.environ.get("GAPWISE_TEST_WIDTH", 0)))


def wide():
    return Begun(int(WIDE))


class Named(Net):
    '''Has another layer if a variable is set.'''

    def __init__(self):
        super().__init__()
        if "GAPWISE_TEST_WIDE" in environ:
            self.other = nn.Linear(1, 1)


class Cached(Net):
    '''Reads variables and dates, of which nothing follows.'''

    def __init__(self):
        super().__init__()
        self.folder = os.environ["GAPWISE_TEST_WIDE"], os.environ.get("HOME")
        self.threads = int(os.getenv("GAPWISE_TEST_WIDTH", 1)), os.cpu_count()
        self.variables = os.environ.copy(), os.environ | {"A": "1"}, {"A": "1"} | os.environ
        self.dates = [path.stat().st_mtime for path in Path(__file__).parent.glob("*.py")]


class Late(Net):
    '''Does something else once a minute has gone.'''

    def forward(self, images):
        return super().forward(images) * (1 if time.time() - LOADED < 60 else 2)


class Decaying(Net):
    '''Shrinks its weights in every pass.'''

    def forward(self, images):
        with torch.no_grad():
            self.last.weight.mul_(0.99)
        return super().forward(images)


class Adapting(Net):
    '''Follows the mean of the images of a test too.'''

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, images):
        self.mean = 0.9 * self.mean + 0.1 * images.mean()
        return super().forward(images - self.mean)


class Slow(Net):
    '''Counts tests in a buffer, on which its scale depends.'''

    def __init__(self):
        super().__init__()
        self.register_buffer("tests", torch.ones(1))

    def forward(self, images):
        self.tests += not self.training
        return super().forward(images) / self.tests.log1p()


class Renormed(Net):
    '''Bounds the norms of its weights, as EEGNet does.'''

    def forward(self, images):
        self.first.weight.data = torch.renorm(self.first.weight.data, 2, 0, 0.3)
        return super().forward(images)


class Centred(Net):
    '''Standardizes its weights in place.'''

    def forward(self, images):
        weight = self.first.weight.data
        weight.sub_(weight.mean(1, keepdim=True)).div_(weight.std(1, keepdim=True) + 1e-5)
        return super().forward(images)


class Clamped(Net):
    '''Clamps its weights in training.'''

    def forward(self, images):
        if self.training:
            self.last.weight.data.clamp_(-0.05, 0.05)
        return super().forward(images)


class Ungraded(Net):
    def forward(self, images):
        with torch.no_grad():
            return super().forward(images)


class Sparse(Net):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(2, 10, sparse=True)

    def forward(self, images):
        return super().forward(images) + self.table((images.flatten(1)[:, 0] > 0).long())


class ByHook(Net):
    '''Changes the gradient of a weight.'''

    def __init__(self):
        super().__init__()
        self.steps = 0
        self.first.weight.register_hook(self.changed)


class Annealed(ByHook):
    def changed(self, gradient):
        self.steps += 1
        return gradient / self.steps


class Unseeded(ByHook):
    def changed(self, gradient):
        return gradient * (1 + secrets.randbelow(1000) / 1000)


class Seeded(ByHook):
    def changed(self, gradient):
        return gradient * (torch.rand(16, 64) < 0.5)


class Threads(Net):
    def forward(self, images):
        torch.set_num_threads(3)
        return super().forward(images)


class Types(Net):
    def forward(self, images):
        logits = super().forward(images)
        torch.set_default_dtype(torch.float64)
        return logits


class Kernels(Net):
    def forward(self, images):
        torch.backends.mkldnn.enabled = False
        return super().forward(images)


class Fused(Net):
    def __init__(self):
        super().__init__()
        torch.backends.mha.set_fastpath_enabled(True)
        torch.backends.mkldnn.enabled = False
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write the networks to a file of the current folder."""
    (tmp_path / "near_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    behaviour._file_of.cache_clear()
    behaviour._source.cache_clear()
    yield tmp_path
    sys.modules.pop("near_networks", None)
    behaviour._file_of.cache_clear()


def built(name):
    torch.manual_seed(0)
    model = {"name": "imported", "import": f"near_networks:{name}"}
    return models.build(model, (1, 8, 8), 10)


FUNCTIONS = (
    *("loaded", "entropy", "second", "process", "parent", "machine", "day", "hour"),
    *("running", "written", "year", "node", "address"),
    *("changed_file", "file_time", "processors", "thread"),
)


@pytest.mark.parametrize("name", [*FUNCTIONS, "Late"])
def test_what_is_no_part_of_a_run_s_name_may_not_change_a_network(folder, name):
    what = "the logits" if name == "Late" else "first.weight"
    with pytest.raises(Refusal, match=rf"{name} gives other values of {what} at equal"):
        built(name)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("width", "GAPWISE_TEST_WIDTH"),
        ("seed", "GAPWISE_TEST_WIDTH"),
        ("wide", "GAPWISE_TEST_WIDE"),
        ("Named", "GAPWISE_TEST_WIDE"),
    ],
)
def test_variables_of_the_environment_may_not_change_a_network(folder, monkeypatch, name, variable):
    monkeypatch.setenv("GAPWISE_TEST_WIDTH", "16")
    monkeypatch.setenv("GAPWISE_TEST_WIDE", "yes")
    before = os.environ
    with pytest.raises(Refusal, match=rf"{name} follows the environment variable {variable}, "):
        built(name)
    assert os.environ is before


def test_variables_on_which_nothing_depends_are_read(folder, monkeypatch):
    monkeypatch.setenv("GAPWISE_TEST_WIDTH", "16")
    monkeypatch.setenv("GAPWISE_TEST_WIDE", "yes")
    assert built("Cached").training


@pytest.mark.parametrize("name", ["Net", "Timed", "Seeded"])
def test_other_networks_are_accepted_and_the_process_is_unchanged(folder, name):
    before = (time.time, os.getpid(), datetime.datetime, datetime.date, switches())
    assert built(name)(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert before == (time.time, os.getpid(), datetime.datetime, datetime.date, switches())


def test_files_are_imported_anew_and_put_back(folder):
    first = imported("near_networks")
    with other_surroundings("near_networks"):
        second = importlib.import_module("near_networks")
        assert second.LOADED - first.LOADED > 86400  # seconds
        assert torch.equal(first.ORDER, second.ORDER)
        assert datetime.date.today() != datetime.date.today()
    assert importlib.import_module("near_networks") is first


def test_files_that_cannot_be_imported_twice_stay(folder):
    once = "import sys\nassert not hasattr(sys, 'once')\nsys.once = 1\n"
    (folder / "near_networks.py").write_text(once + NETWORKS)
    try:
        assert built("Net").training
        first = sys.modules["near_networks"]
        with other_surroundings("near_networks"):
            assert sys.modules["near_networks"] is first
    finally:
        del sys.once


@pytest.mark.parametrize("name", ["Annealed", "Unseeded"])
def test_gradients_that_follow_from_no_state_are_an_error(folder, name):
    with pytest.raises(Refusal, match=f"{name} gives other results after its state is restored"):
        built(name)


@pytest.mark.parametrize("name", ["Decaying", "Adapting", "Slow"])
def test_what_changes_in_evaluation_is_an_error(folder, name):
    with pytest.raises(Refusal, match=f"{name} gives other logits after further passes in eval"):
        built(name)


@pytest.mark.parametrize("name", ["Renormed", "Centred", "Clamped"])
def test_a_forward_may_bound_its_own_weights(folder, name):
    assert built(name).training


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Ungraded", "trains no parameter; "),
        ("Sparse", "has a sparse gradient, that of table.weight; expected sparse=False"),
    ],
)
def test_networks_that_cannot_be_trained_are_an_error(folder, name, words):
    with pytest.raises(Refusal, match=f"^model.import: near_networks:{name} {words}"):
        built(name)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("Threads", "the number of threads"),
        ("Types", "the default type"),
        ("Kernels", "torch.backends.mkldnn.enabled"),
    ],
)
def test_a_forward_that_changes_the_process_is_an_error(folder, name, what):
    before = switches()
    with pytest.raises(Refusal, match=f"{name} changes {what} in its forward"):
        built(name)
    assert switches() == before


def test_what_a_network_switches_as_it_is_made_is_switched_back(folder):
    built("Net")
    before = switches()
    assert built("Fused").training
    assert switches() == before
    assert before["the fused path of attention"] is False
