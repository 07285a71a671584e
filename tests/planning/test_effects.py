"""Strengths that come to the same network are refused when a study is read."""

import re
import sys
import types

import pytest
import torch
from foreign import OfGradients
from torch import nn
from torch.nn import functional

from pipeline import models, regularizers
from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.models import _weights as weights
from pipeline.planning.effects import effects, network_notes, weights_note
from pipeline.planning.networks import IN_BATCHES
from pipeline.planning.resolution import read_named
from pipeline.planning.studies import read_experiment
from pipeline.runtime.errors import Refusal

STUDY = "question: Does it?\narms:\n  pooling:\n    - {{name: fractional_max_pooling, {}}}\n"


def read(project, settings):
    (project / "experiments" / "pooling.yaml").write_text(STUDY.format(settings))
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [pooling]\n")
    return read_experiment("tiny").studies[0].arms[1]


def test_ratios_of_equal_sizes(project):
    with pytest.raises(Refusal) as caught:
        read(project, "ratio: [1.3, 1.41, 1.5]")
    assert caught.value.lines == (
        "experiments/pooling.yaml: arms.pooling (ratio=1.5): "
        "the same network as arms.pooling (ratio=1.41); expected distinct settings",
    )
    assert read(project, "ratio: [1.3, 1.5]").rule == NOISE


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ({"name": "mlp", "hidden": [8, 10**9]}, "model.hidden"),
        ({"name": "mlp", "hidden": [10**21]}, "model.hidden"),
        ({"name": "cnn", "widths": [16, 10**6]}, "model.widths"),
        ({"name": "resnet", "widths": [4], "blocks": 10**7}, "model.blocks"),
        ({"name": "resnet", "widths": [4], "grid": 10**5}, "model.grid"),
    ],
)
def test_a_network_larger_than_memory_raises_before_it_is_made(project, model, key):
    settings = read_experiment("tiny").protocol.network_settings()
    complete = read_named(model, models.settings(), "f", "model").model_dump(mode="json")
    given = {"name": model["name"], **complete}
    before = torch.random.get_rng_state()
    with pytest.raises(Refusal) as refused:
        effects((), {**settings, "model": given})
    assert len(refused.value.lines) == 1
    assert refused.value.lines[0].startswith(f"{key}: invalid value ")
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_file_of_weights_is_read_once_for_a_network(project, monkeypatch):
    """And again when it has changed."""
    read_of = []
    original = weights.read_weights
    monkeypatch.setattr(
        weights, "read_weights", lambda path: read_of.append(path) or original(path)
    )
    settings = read_experiment("tiny").protocol.network_settings()
    network = models.build(settings["model"], (1, 8, 8), 10).network
    for start, expected in ((0.0, 1), (0.5, 2)):
        with torch.no_grad():
            next(network.parameters()).fill_(start)
        torch.save(network.state_dict(), project / "w.pt")
        given = {**settings, "model": {**settings["model"], "weights": "w.pt"}}
        for rate in (0.1, 0.2 + start, 0.3 + start):
            effects(regularizers.build([{"name": "dropout", "rate": rate}]), given)
        assert weights_note(given).startswith("model.weights: w.pt: ")
        assert len(read_of) == expected


def test_sizes_without_randomness(project):
    with pytest.raises(
        Refusal, match=r"arms.pooling \(ratio=1.9\): .* 8 -> 4 pixels .*; expected 5 to 6 pixels"
    ):
        read(project, "ratio: [1.3, 1.9]")
    with pytest.raises(Refusal, match="expected 1, one for each max-pooling layer"):
        read(project, "output_sizes: [[5, 3]]")
    assert len(read(project, "output_sizes: [[5], [6]]").trials) == 2


def test_one_test_rule_in_an_arm(project):
    with pytest.raises(
        Refusal,
        match="arms.pooling: settings with the test rules deterministic and noise_12; expected one",
    ):
        read(project, "regions: [random, fixed]")
    assert read(project, "regions: fixed").rule == DETERMINISTIC


def test_what_a_source_says_of_its_images_is_so(pool):
    from pipeline.data import sources as data

    kind = data.describe("digits", {})
    assert (kind.shape, kind.classes) == (pool.shape, pool.classes)


class FixedHead(nn.Module):
    """Flattens its maps for a head of a fixed size, which four times as many fit too."""

    def __init__(self):
        super().__init__()
        convolutions = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        first, second = (nn.Sequential(layer, nn.MaxPool2d(2)) for layer in convolutions)
        self.features = nn.Sequential(first, second)
        self.weight = nn.Parameter(torch.randn(10, 16) / 4)

    def forward(self, images):
        return functional.linear(self.features(images).reshape(-1, 16), self.weight)


class Checked(FixedHead):
    def forward(self, images):
        assert self.features(images).shape[2:] == (2, 2), "2 x 2 maps"
        return super().forward(images)


class CheckedInTraining(Checked):
    def forward(self, images):
        if self.training:
            return super().forward(images)
        return FixedHead.forward(self, images)[: len(images)]


def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def use_network(project, monkeypatch, network):
    """Make a network that of the protocol."""
    name = f"own_{network.__name__.lower()}"
    module = types.ModuleType(name)
    module.Net = network
    monkeypatch.setitem(sys.modules, name, module)
    (project / f"{name}.py").write_text("")
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    model = f"model: {{import: '{name}:Net'}}"
    protocol.write_text(re.sub("model: .*", model, protocol.read_text()))


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (
            FixedHead,
            r"the network returns \(8, 10\) for two images in training mode; "
            r"expected logits of shape \(2, 10\)",
        ),
        (Checked, "fractional_max_pooling: the network cannot take the new sizes: 2 x 2 maps"),
        (CheckedInTraining, "the network fails in training mode: AssertionError: 2 x 2 maps"),
    ],
)
def test_a_network_that_fails_once_equipped_is_one_line(project, monkeypatch, network, words):
    use_network(project, monkeypatch, network)
    with pytest.raises(Refusal, match=rf"arms.pooling \(ratio=1.3\): {words}") as caught:
        read(project, "ratio: 1.3")
    assert len(caught.value.lines) == 1


def test_noise_layers_that_would_be_differentiated_twice_are_one_line(project, monkeypatch):
    use_network(project, monkeypatch, OfGradients)
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [others]\n")
    settings = read_experiment("tiny").protocol.network_settings()
    assert effects(regularizers.build([{"name": "input_noise"}]), settings)
    with pytest.raises(Refusal, match="fails in training mode: RuntimeError: trying to diff"):
        effects(regularizers.build([{"name": "dropconnect"}]), settings)


def normed_by_batch():
    norm = nn.BatchNorm2d(1, track_running_stats=False)
    return nn.Sequential(norm, nn.Flatten(), nn.Linear(64, 10))


def test_logits_that_depend_on_the_batch_are_noted(project, monkeypatch):
    settings = read_experiment("tiny").protocol.network_settings()
    assert network_notes(settings) == []
    use_network(project, monkeypatch, normed_by_batch)
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [others]\n")
    settings = read_experiment("tiny").protocol.network_settings()
    assert network_notes(settings) == [IN_BATCHES]


def test_a_missing_site_is_said_once_for_an_arm(project, monkeypatch):
    use_network(project, monkeypatch, linear)
    with pytest.raises(Refusal) as caught:
        read(project, "ratio: [1.3, 1.41, 1.5]")
    (line,) = caught.value.lines
    assert line.startswith("experiments/pooling.yaml: arms.pooling (ratio=1.3): ")


DRAWING = """
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.layer, self.rate = nn.Linear(64, 10), rate

    def forward(self, images):
        kept = functional.dropout(images.flatten(1), self.rate, self.training and self.rate > 0)
        return self.layer(kept)
"""


def test_a_network_that_draws_in_its_own_forward_does_not_train_with_a_line_search(
    project, monkeypatch
):
    """No module says that it does."""
    (project / "drawing_network.py").write_text(DRAWING)
    monkeypatch.syspath_prepend(project)
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [pooling]\n")
    (project / "experiments" / "pooling.yaml").write_text(
        "question: Which?\narms:\n  late: [{protocol: {training.schedule: cosine}}]\n"
    )
    path = project / "experiments" / "protocols" / "tiny.yaml"
    kept = [line for line in path.read_text().splitlines() if not line.startswith("model:")]

    def planned(rate, optimizer):
        text = "\n".join(kept).replace("batch_size: 10", f"batch_size: 30, optimizer: {optimizer}")
        model = f"model: {{import: 'drawing_network:Net', arguments: {{rate: {rate}}}}}"
        path.write_text(f"{text}\n{model}\n")
        return read_experiment("tiny")

    state = torch.default_generator.get_state()
    with pytest.raises(Refusal) as refused:
        planned(0.5, "lbfgs")
    (line,) = refused.value.lines
    assert "lbfgs: the network draws random numbers, but a line search needs" in line
    assert torch.equal(torch.default_generator.get_state(), state)
    assert len(planned(0.0, "lbfgs").studies[0].arms) == 2
    assert len(planned(0.5, "adam").studies[0].arms) == 2
