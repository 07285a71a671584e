"""Where regularizers may act in a protocol's network."""

import re
import sys
from pathlib import Path

import pytest
import torch

from pipeline.runtime.errors import Refusal
from pipeline.terminal.sites import show_sites

NET = """
from torch import nn
from beside import width

class Net(nn.Sequential):
    def __init__(self):
        layers = nn.Conv2d(1, width(), 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width(), 10)
        super().__init__(*layers)
"""

PARTS = """
import torch
from torch import nn
from torch.nn.utils import parametrizations

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Linear(4, 8)
        self.embedding = nn.Embedding(16, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.normed = parametrizations.weight_norm(nn.Linear(8, 8))
        self.unused, self.head = nn.Linear(8, 3), nn.Linear(8, 10).requires_grad_(False)

    def forward(self, images):
        tokens = self.patches(images.reshape(len(images), 16, 4))
        tokens = tokens + self.embedding(torch.arange(16))
        tokens = self.attention(tokens, tokens, tokens)[0]
        return self.head(torch.relu(self.normed(tokens.mean(1))))
"""
DRAWN = """
import random
from torch import nn
from torch.nn import functional

class Noisy(nn.Linear):
    def forward(self, images):
        return functional.dropout(super().forward(images), 0.1, self.training)

class Path(nn.Module):
    def forward(self, images):
        return 2 * images if self.training and random.random() < 0.5 else images

class Net(nn.Sequential):
    def __init__(self):
        layers = nn.Flatten(), Noisy(64, 8), nn.BatchNorm1d(8), nn.RReLU(), Path(), nn.Dropout(0.0)
        super().__init__(*layers, nn.LayerNorm(8), nn.Linear(8, 10))
"""
DEEP = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(64, 8), nn.Linear(8, 10)
        layers = [nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(30)]
        self.blocks = nn.ModuleList(layers)

    def forward(self, images):
        hidden = self.stem(images.flatten(1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.head(hidden)
"""

SIGNS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.head = nn.BatchNorm2d(1, track_running_stats=False), nn.Linear(64, 10)
        self.signs = torch.randn(64).sign()

    def forward(self, images):
        return self.head(self.norm(images).flatten(1) * self.signs)
"""
OF_GRADIENTS = "from foreign import OfGradients as Net\n"


def use(project, model):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(re.sub("model: .*", f"model: {model}", protocol.read_text()))


def cells(text):
    """Return name -> the other cells of each row, where rows are one line."""
    lines = [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
    return {name: tuple(rest) for name, *rest in lines if rest}


def shown(capsys, monkeypatch, columns=300):
    monkeypatch.setenv("COLUMNS", str(columns))
    show_sites("tiny")
    return capsys.readouterr().out


def use_network(project, monkeypatch, network):
    """Make `network`, the text of a class Net, the network of the protocol."""
    (project / "shown_networks.py").write_text(network)
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.delitem(sys.modules, "shown_networks", raising=False)
    use(project, "{import: 'shown_networks:Net'}")


def test_every_site_has_a_row_with_what_acts_on_it(project, capsys, monkeypatch):
    rows = cells(shown(capsys, monkeypatch))
    noise = "dropconnect (convolution), spatial_dropout"
    assert rows["0"] == ("convolution", noise, "reads the images")
    assert rows["1,3 (2)"] == ("residual block", "stochastic_depth")
    assert rows["1,3.branch.2,5 (4)"] == ("convolution", noise)
    assert rows["2"] == ("max pooling", "fractional_max_pooling")
    assert rows["3.shortcut"] == ("convolution", "none", "1x1")
    assert rows["8,10 (2)"] == ("linear", "dropconnect, dropout")
    assert rows["1.branch.2,5.weight (2)"] == ("4x4x3x3", "decayed", "matrix or kernel")
    assert rows["4.weight"] == ("8", "not decayed", "normalization")


def test_the_reason_why_nothing_acts_is_printed(project, capsys, monkeypatch):
    use_network(project, monkeypatch, PARTS)
    text = shown(capsys, monkeypatch)
    rows = cells(text)
    assert rows["attention.out_proj"] == ("linear", "none", "its weight is used, not its forward")
    assert rows["attention"] == ("attention", "none", "in-projection not covered")
    assert rows["unused"] == ("linear", "none", "its forward does not run")
    assert rows["normed"] == ("linear", "dropconnect, dropout", "computed weight")
    assert rows["embedding"] == ("embedding", "none", "not covered")
    assert rows["head"] == ("linear", "dropconnect, dropout", "frozen")
    assert rows["unused.weight"] == ("3x8", "no gradient", "none in a training pass")
    assert rows["head.weight"] == ("10x8", "frozen", "requires no gradient")
    assert "cannot act: weight_decay: the weight of normed is computed from" in text
    assert "cannot act: dropconnect (convolution): the network has no linear layer" in text
    assert "on decayed weights (number of tensors): none" in text


def test_modules_that_draw_or_keep_statistics_have_a_row(project, capsys, monkeypatch):
    use_network(project, monkeypatch, DRAWN)
    rows = cells(shown(capsys, monkeypatch))
    seeded = "your own; seeded by the run"
    assert rows["1"] == ("linear", "none", f"reads the images, {seeded}")
    kept = "your own; its buffers are stored with the weights"
    assert rows["2"] == ("BatchNorm1d", "none", kept)
    assert rows["3"] == ("RReLU", "none", seeded)
    assert rows["4"] == ("Path", "none", seeded)
    assert not rows.keys() & {"0", "5", "6"}


def test_noise_that_the_network_cannot_take_does_not_act(project, capsys, monkeypatch):
    use_network(project, monkeypatch, OF_GRADIENTS)
    text = shown(capsys, monkeypatch)
    assert "cannot act: dropconnect: the network fails in training mode: RuntimeError" in text
    assert cells(text)["features"] == ("linear", "none", "reads the images")


def test_draws_that_pretrained_weights_lack_are_an_error(project, capsys, monkeypatch):
    use_network(project, monkeypatch, SIGNS)
    assert "depend on the other images of its batch" in shown(capsys, monkeypatch)
    torch.save(sys.modules["shown_networks"].Net().state_dict(), project / "signs.pt")
    use(project, "{import: 'shown_networks:Net', weights: signs.pt}")
    with pytest.raises(Refusal, match="numbers that the network draws when it is made are not in"):
        show_sites("tiny")


def test_many_equal_layers_are_one_row_in_80_columns(project, capsys, monkeypatch):
    use_network(project, monkeypatch, DEEP)
    text = shown(capsys, monkeypatch, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) < 45
    assert re.search(r"^ blocks\.0-29\.0,2 \(60\) ", text, re.MULTILINE)
    assert re.search(r"^ blocks\.0-29\.0,2\.weight \(60\)  8x8 ", text, re.MULTILINE)


def test_the_command_shows_it_and_the_script_finds_a_network_of_this_folder(project, command):
    (project / "experiments" / "own_network.py").write_text(NET)
    (project / "beside.py").write_text("def width():\n    return 4\n")
    use(project, "{import: 'experiments.own_network:Net'}")
    shown = command(str(Path(sys.executable).with_name("gapwise")), "doctor", "--model", at=project)
    assert shown.returncode == 0, shown.stderr
    assert "tiny: experiments.own_network:Net, 1,490 parameters" in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (
            "{name: cnn, widths: [4, 4, 4, 4, 4]}",
            "model.widths: 5 stages; expected <= 3 for images of 8x8 pixels",
        ),
        (
            "{name: resnet, widths: [4, 4, 4, 4, 4, 4], blocks: 1}",
            "model.widths: 6 stages; expected <= 4 for images of 8x8 pixels",
        ),
    ],
)
def test_a_network_too_deep_for_the_images_raises(project, model, line):
    use(project, model)
    with pytest.raises(Refusal) as refused:
        show_sites("tiny")
    (message,) = refused.value.lines
    assert message.startswith("experiments/protocols/tiny.yaml")
    assert message.endswith(f": {line}")


@pytest.mark.parametrize(
    "model", ["{name: cnn, widths: [4, 4, 4]}", "{name: resnet, widths: [4, 4, 4, 4], blocks: 1}"]
)
def test_the_deepest_network_that_fits_is_shown(project, capsys, model):
    use(project, model)
    show_sites("tiny")
    assert "parameters" in capsys.readouterr().out
