"""Where regularizers may act in a protocol's network."""

import re
import sys
from pathlib import Path

import pytest

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


def use(project, model):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(re.sub("model: .*", f"model: {model}", protocol.read_text()))


def test_every_kind_of_site_is_named(project, capsys):
    show_sites("tiny")
    shown = dict(re.findall(r"^ (\w.*?) {2,}(\d+)  ", capsys.readouterr().out, re.MULTILINE))
    assert shown == {
        "linear layers": "2",
        "of these with hidden inputs": "2",
        "convolutions above 1x1": "5",
        "max-pooling layers": "1",
        "residual blocks": "2",
    }


def test_the_command_shows_it(command):
    shown = command(sys.executable, "-m", "pipeline", "doctor", "--model")
    assert shown.returncode == 0, shown.stderr
    assert "tiny: resnet, " in shown.stdout


def test_the_script_finds_a_network_of_this_folder(project, command):
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
def test_a_network_too_deep_for_the_images_is_refused(project, model, line):
    use(project, model)
    with pytest.raises(Refusal) as refused:
        show_sites("tiny")
    (told,) = refused.value.lines
    assert told.startswith("experiments/protocols/tiny.yaml")
    assert told.endswith(f": {line}")


@pytest.mark.parametrize(
    "model", ["{name: cnn, widths: [4, 4, 4]}", "{name: resnet, widths: [4, 4, 4, 4], blocks: 1}"]
)
def test_the_deepest_network_that_fits_is_shown(project, capsys, model):
    use(project, model)
    show_sites("tiny")
    assert "parameters" in capsys.readouterr().out
