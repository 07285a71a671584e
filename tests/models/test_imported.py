"""A user's network: made by name, shown to fit, named by its code, and regularized as any other."""

import sys
import warnings

import pytest
import torch
from code_caches import forget_code

from pipeline import models
from pipeline.models._initialization import initialize
from pipeline.models._residuals import residual_blocks
from pipeline.planning.fingerprint import identity
from pipeline.planning.studies import read_experiment
from pipeline.runtime import behaviour
from pipeline.runtime.errors import Refusal
from pipeline.runtime.notices import ignore_notices

NET = """
import torch
from torch import nn
from own_networks.parts import width

class Net(nn.Module):
    def __init__(self, classes, channels=1):
        super().__init__()
        convolution = nn.Conv2d(channels, width(), 3)
        self.body = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * width(), classes)

    def forward(self, images):
        return self.head(self.body(images))

class Features(Net):
    def forward(self, images):
        return self.body(images)

class Auxiliary(Net):
    def forward(self, images):
        logits = super().forward(images)
        return (logits, logits) if self.training else logits

class Failing(Net):
    def forward(self, images):
        if self.training:
            raise ValueError("not in training")
        return super().forward(images)

class Infinite(Net):
    def forward(self, images):
        return super().forward(images) / 0

class InfiniteInTraining(Net):
    def forward(self, images):
        return super().forward(images) * (float("nan") if self.training else 1)

class OfTwo(Net):
    def forward(self, images):
        number = 2 if self.training else len(images)
        return super().forward(images).view(number, -1)


class Remembering(Net):
    def __init__(self, classes):
        super().__init__(classes)
        self.register_buffer("last", torch.zeros(2, classes))

    def forward(self, images):
        logits = super().forward(images)
        return logits + self.last if self.training else logits


class OfTheFirst(Net):
    number = None

    def forward(self, images):
        self.number = self.number or len(images)
        return super().forward(images).view(self.number, -1)


class Hooked(Net):
    def __init__(self, classes):
        super().__init__(classes)
        for module in self.modules():
            module.register_full_backward_hook(lambda *_: None)


class Leaving(Net):
    def __init__(self, classes):
        raise SystemExit(3)

class LeavingLater(Net):
    def forward(self, images):
        raise SystemExit

class Uncopied(Net):
    def __deepcopy__(self, memo):
        raise TypeError("one of a kind")

class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        body = nn.LazyConv2d(3, 3), nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten()
        self.layers = nn.Sequential(*body, nn.LazyLinear(10))
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, images):
        self.calls += 1
        return self.layers(images)

class Scaled(Net):
    def forward(self, images):
        return super().forward((images - images.mean()) / images.std())

class Complex(Net):
    def __init__(self, classes, channels=1):
        super().__init__(classes, channels)
        self.spectrum = nn.Parameter(torch.ones(classes, dtype=torch.complex64))

    def forward(self, images):
        return (super().forward(images) * self.spectrum).real

class OfTheBatch(nn.Sequential):
    def __init__(self, classes):
        norm = nn.BatchNorm1d(64, track_running_stats=False)
        super().__init__(nn.Flatten(), norm, nn.Linear(64, classes))

def number(**given):
    return 5
"""


@pytest.fixture
def package(project, monkeypatch):
    """Return the folder of a package in the tiny project."""
    folder = project / "own_networks"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "parts.py").write_text("def width():\n    return 4\n")
    (folder / "networks.py").write_text(NET)
    (folder / "leaving.py").write_text("import sys\n\nsys.exit('no torch here')\n")
    monkeypatch.syspath_prepend(str(project))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_networks"]:
        del sys.modules[name]
    forget_code()


def built(target="own_networks.networks:Net", **arguments):
    return models.build(
        {"name": "imported", "import": target, "arguments": arguments}, (1, 8, 8), 10
    )


def test_hooks_on_the_way_back_warn_nobody(package):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ignore_notices()
        network = built("own_networks.networks:Hooked", classes=10)
        residual_blocks(network)
        network(torch.zeros(2, 1, 8, 8)).sum().backward()
    assert caught == []


def test_it_is_built_with_its_arguments(package):
    assert built(classes=10)(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


@pytest.mark.parametrize(
    ("target", "arguments", "words"),
    [
        (
            "own_networks.networks:Net",
            {"classes": 9},
            r"returns \(2, 9\) for images \(2, 1, 8, 8\); expected logits of shape \(2, 10\)",
        ),
        (
            "own_networks.networks:Net",
            {"classes": 10, "channels": 3},
            "fails on images .*: RuntimeError: ",
        ),
        ("own_networks.networks:Features", {"classes": 10}, r"returns \(2, 16\)"),
        (
            "own_networks.networks:Complex",
            {"classes": 10},
            "has complex weights, spectrum; expected real ones, as of torch.view_as_complex",
        ),
        (
            "own_networks.networks:OfTheBatch",
            {"classes": 10},
            r"fails on images \(1, 1, 8, 8\): ValueError: Expected more than 1 value per channel",
        ),
        ("own_networks.networks:number", {}, "is a int; expected what makes an nn.Module"),
        (
            "own_networks.networks:Nett",
            {},
            "is an unknown name; expected one of: .*Net, .*; did you mean 'Net'",
        ),
        ("own_networks:Net", {}, "is an unknown name; expected one of: none"),
        ("own_networks.nowhere:Net", {}, "cannot be made: ModuleNotFoundError: "),
        ("own_networks.leaving:Net", {}, "cannot be made: SystemExit: no torch here"),
        ("own_networks.networks:Leaving", {"classes": 10}, "cannot be made: SystemExit: 3"),
        (
            "own_networks.networks:LeavingLater",
            {"classes": 10},
            r"fails on images \(2, 1, 8, 8\): SystemExit",
        ),
        (
            "own_networks.networks:Uncopied",
            {"classes": 10},
            "cannot be copied: TypeError: one of a kind",
        ),
        (
            "own_networks.networks:OfTwo",
            {"classes": 10},
            r"returns \(2, 20\) for images \(4, 1, 8, 8\) in training mode; expected logits of ",
        ),
        (
            "own_networks.networks:Remembering",
            {"classes": 10},
            r"fails on images \(4, .*in training mode: .*; expected a network for any number of ",
        ),
        (
            "own_networks.networks:OfTheFirst",
            {"classes": 10},
            r"returns \(2, 5\) for images \(1, 1, 8, 8\); expected logits of shape \(1, 10\)",
        ),
        (
            "own_networks.networks:Auxiliary",
            {"classes": 10},
            r"returns tuple for images \(2, 1, 8, 8\) in training mode; expected",
        ),
        (
            "own_networks.networks:Failing",
            {"classes": 10},
            r"fails on images .* in training mode: ValueError: not in training",
        ),
        (
            "own_networks.networks:Infinite",
            {"classes": 10},
            r"returns values that are not finite for images \(2, 1, 8, 8\); expected",
        ),
        (
            "own_networks.networks:InfiniteInTraining",
            {"classes": 10},
            "returns values that are not finite .* in training mode; expected",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(package, target, arguments, words):
    with pytest.raises(Refusal, match=f"^model.import: {target} {words}") as refused:
        built(target, **arguments)
    assert len(refused.value.lines) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"classes": 10, "chanels": 1},
            "got an unexpected keyword argument 'chanels'; expected arguments: classes, channels",
        ),
        ({}, "missing a required argument: 'classes'; expected arguments: classes, channels"),
    ],
)
def test_arguments_that_it_does_not_take_are_named(package, arguments, words):
    with pytest.raises(Refusal, match=f"^model.arguments: .*{words}") as caught:
        built(**arguments)
    assert len(caught.value.lines) == 1


def test_showing_that_it_fits_leaves_it_as_it_was_made(package):
    torch.manual_seed(1)
    network = built("own_networks.networks:Counting").network
    state = torch.get_rng_state()
    torch.manual_seed(1)
    plain = type(network)()
    plain.eval()(torch.zeros(1, 1, 8, 8))  # makes the lazy layers
    plain.calls.zero_()
    assert torch.equal(state, torch.get_rng_state())
    assert network.training
    assert network.calls == 0
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert all(
        torch.equal(value, plain.state_dict()[name]) for name, value in network.state_dict().items()
    )


def test_it_may_divide_by_the_spread_of_its_images(package):
    assert built("own_networks.networks:Scaled", classes=10)


def use(project, model):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    lines = [line for line in protocol.read_text().splitlines() if not line.startswith("model:")]
    protocol.write_text("\n".join([*lines, f"model: {model}"]))


def test_a_protocol_plans_with_it_and_its_code_is_part_of_a_runs_name(package, project, configure):
    use(project, "{import: 'own_networks.networks:Net', arguments: {classes: 10}}")
    experiment = read_experiment("tiny")
    model = experiment.protocol.model
    assert (model["name"], model["import"]) == ("imported", "own_networks.networks:Net")
    config = configure().model_copy(update={"model": model})
    before = identity(config, "d")["code"]
    read = behaviour.modules("own_networks.networks")
    assert {"own_networks.networks", "own_networks.parts"} <= set(read)
    (package / "parts.py").write_text("def width():\n    return 5\n")
    forget_code()
    after = identity(config, "d")["code"]
    assert [name for name in before if before[name] != after[name]] == ["import"]
    assert "import" not in identity(configure(), "d")["code"]


def test_a_module_that_is_not_there_raises_when_it_is_planned(package, project, configure):
    config = configure().model_copy(
        update={"model": {"name": "imported", "import": "own_networks.nowhere:Net"}}
    )
    with pytest.raises(
        Refusal, match="model.import: unknown name 'own_networks.nowhere'; expected"
    ):
        identity(config, "d")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("{name: cnn, import: 'own_networks.networks:Net'}", "model.import: unknown key"),
        (
            "{import: own_networks.networks}",
            'model.import: invalid value "own_networks.networks"; expected module:name, ',
        ),
        ("{arguments: {classes: 10}}", "model.name: missing; expected one of: cnn"),
        (
            "{import: 'own_networks.networks:Net', batch_norm: false}",
            "model.batch_norm: a setting of cnn, mlp, resnet; expected an argument of your own "
            "network instead: model.arguments.batch_norm",
        ),
    ],
)
def test_invalid_settings_of_an_imported_network_raise(package, project, model, words):
    use(project, model)
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("he", (2 / 64) ** 0.5),
        ("xavier", 1 / 64**0.5),
        ("glorot", (2 / (64 + 1024)) ** 0.5),
        ("small", 0.01),
        ("large", 1.0),
    ],
)
def test_weights_begin_as_asked(how, expected):
    """Standard deviations after the papers' formulas, of 64 x 1024 weights."""
    network = models.build(
        {"name": "mlp", "hidden": (1024,), "initialization": how}, (1, 8, 8), 10
    ).network
    first = network[1]
    assert first.weight.std().item() == pytest.approx(expected, rel=0.02)
    assert abs(first.weight.mean().item()) < 0.02 * expected
    assert not first.bias.any()


@pytest.mark.parametrize(
    "network", [torch.nn.Bilinear(3, 3, 2), torch.nn.Linear(3, 2).requires_grad_(False)]
)
def test_weights_that_are_not_drawn_are_an_error(network):
    with pytest.raises(Refusal, match=r"^model.initialization: he draws .*; expected own$"):
        initialize(network, "he")
    initialize(network, "own")


def test_a_network_left_alone_begins_as_it_is_made():
    torch.manual_seed(1)
    network = models.build({"name": "mlp", "hidden": (5,)}, (1, 8, 8), 10).network
    torch.manual_seed(1)
    assert torch.equal(network[1].weight, torch.nn.Linear(64, 5).weight)
