"""`doctor --gradients`: a row per parameter and per network, and what it refuses."""

import pytest

from pipeline.execution.stage import Incomplete
from pipeline.runtime.errors import Refusal
from pipeline.terminal.gradients import _error, _verdict, show_gradients
from pipeline.training.gradients import Compared

NET = """
import torch
from torch import nn


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        return 1.5 * gradient


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 5), nn.Linear(5, 10)

    def forward(self, images):
        hidden = torch.tanh(self.first(images.flatten(1)))
        return self.last({hidden})
"""


def use(project, monkeypatch, name, hidden):
    """Let the tiny protocol have an own network, and the study of dropout alone."""
    (project / f"{name}.py").write_text(NET.replace("{hidden}", hidden))
    monkeypatch.syspath_prepend(project)
    path = project / "experiments" / "protocols" / "tiny.yaml"
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("model:", "studies:"))]
    kept += [f"model: {{import: '{name}:Net'}}", "studies: [dropout]"]
    path.write_text("\n".join(kept) + "\n")


def test_right_networks_are_good(project, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    path = project / "experiments" / "protocols" / "tiny.yaml"
    path.write_text(path.read_text().replace("[dropout, others, ensembles, variance]", "[dropout]"))
    show_gradients("tiny")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    words = {"good", "fair", "look", "wrong", "unknown"}
    verdicts = {row[0]: row[-1] for row in rows if row and row[-1] in words}
    assert set(verdicts.values()) == {"good"}
    assert {"0.weight", "dropout"} <= set(verdicts)


def test_a_wrong_gradient_is_named_and_ends_the_command(project, capsys, monkeypatch):
    use(project, monkeypatch, "wrong_network", "Wrong.apply(hidden)")
    with pytest.raises(Incomplete, match="tiny: 2 of 2 networks have a wrong gradient"):
        show_gradients("tiny")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    verdicts = {row[0]: row[-1] for row in rows if row}
    assert verdicts["first.weight"] == "wrong"
    assert verdicts["last.weight"] == "good"


def test_a_network_that_needs_float32_is_one_line(project, monkeypatch):
    use(project, monkeypatch, "single_network", "hidden.float()")
    with pytest.raises(Refusal) as refused:
        show_gradients("tiny")
    (line,) = refused.value.lines
    assert line.startswith("baseline: the network does not run in float64: ")


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (0.0, "good"),
        (1e-7, "good"),
        (1.1e-7, "fair"),
        (1e-5, "fair"),
        (1.1e-5, "look"),
        (0.9e-3, "look"),
        (1.1e-3, "wrong"),
        (float("nan"), "unknown"),
    ],
)
def test_the_verdict_is_by_the_lecture_s_thresholds_of_the_worst(error, word):
    smaller = Compared("smaller", 0.0 if error == error else error, 1, 0)
    assert _verdict([smaller, Compared("worst", error, 1, 0)]) == word


def test_what_was_not_compared_says_why():
    assert _error(Compared("deep", float("nan"), 4, 0)) == "too small"
    assert _error(Compared("kinked", float("nan"), 0, 4)) == "4 kinks"
    assert _error(Compared("none", 0.0, 4, 0)) == "0"
