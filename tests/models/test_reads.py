"""Whether code may read an attribute back: only then it can change a later output."""

import sys

import pytest

from pipeline import models
from pipeline.models._reads import may_be_read
from pipeline.runtime.errors import Refusal

NETWORK = """
import logging
import time
import torch
from torch import nn

logger = logging.getLogger(__name__)

class Net(nn.Module):
    total = 0

    def __init__(self):
        super().__init__()
        self.kept, self.other = 0, 0
        self.last = nn.Linear(64, 10)

    def forward(self, images):
        units = images.flatten(1)
        {line}
        return self.last(units)
{more}
"""
WRITTEN = [
    "self.kept += 1",
    "self.kept = self.kept + len(images)",
    "self.kept = 0.9 * self.kept + 0.1 * units.mean().item()",
    "self.kept = max(self.kept, float(units.max()))",
    "self.kept = time.perf_counter()",
    "start = time.time(); self.kept = time.time() - start",
    "self.kept = [] if self.other else [1]",
    "Net.kept = Net.kept + 1",
    "self.kept += 1; print(self.kept)",
    "self.kept += 1; logger.info('pass %d', self.kept)",
    "self.kept += self.training; print('x') if False else None",
]
READ = [
    "self.kept += 1; units = units * (self.kept < 1000)",
    "self.kept += 1; count = self.kept",
    "self.kept = self.other = self.kept + 1",
    "self.other = self.kept = self.kept + 1",
    "self.kept += 1; units = units * getattr(self, 'kept')",
    "self.kept += 1; units = units * self.__dict__['kept']",
    "self.kept += 1; units = units * vars(self)['kept']",
    "name = 'ke' + 'pt'; self.kept += 1; units = units * getattr(self, name)",
    "self.kept += 1; units = torch.dropout(units, self.kept / 1e9, True)",
    "self.kept = self.last.extra(self.kept)",
    "self.kept = self.other + units.mul_(self.kept)",
]
METHODS = {
    "summary": ("    def summary(self):\n        return self.kept", False),
    "shown": ("    def extra_repr(self):\n        return str(self.kept)", False),
    "script": ("if __name__ == '__main__':\n    print(Net().kept * 2)", False),
    "called": (
        "    def rate(self):\n        return self.kept\n    def use(self):\n        self.rate()",
        True,
    ),
    "of torch": ("    def train(self, mode=True):\n        return self.kept", True),
    "special": ("    def __call__(self, images):\n        return self.kept", True),
    "elsewhere": ("def scale(net):\n    return net.kept\nused = scale", True),
}


@pytest.mark.parametrize("line", WRITTEN)
def test_what_is_only_written_is_not_read(line):
    assert not may_be_read("kept", [NETWORK.format(line=line, more="")])


@pytest.mark.parametrize("line", READ)
def test_what_may_act_on_something_else_is_read(line):
    assert may_be_read("kept", [NETWORK.format(line=line, more="")])


@pytest.mark.parametrize(("more", "read"), METHODS.values(), ids=METHODS)
def test_functions_that_nothing_calls_do_not_count(more, read):
    assert may_be_read("kept", [NETWORK.format(line="self.kept += 1", more=more)]) is read


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("self.kept.append(float(units.mean()))", False),
        ("self.kept['loss'] = units.mean().item()", False),
        ("self.kept['count'] += 1", False),
        ("self.kept.history.append(1)", False),
        ("if self.kept > 3:\n            print(self.kept)", False),
        ("if self.kept > 3:\n            units = units * 2", True),
        ("if self.kept.pop():\n            print('x')", True),
        ("self.kept.append(len(self.kept))", True),
        ("units = units + self.kept.pop()", True),
        ("[units.mul_(2) for _ in self.kept]", True),
    ],
)
def test_containers_and_conditions(line, read):
    assert may_be_read("kept", [NETWORK.format(line=line, more="")]) is read


@pytest.mark.parametrize("where", ["own", "other"])
@pytest.mark.parametrize("is_read", [False, True])
def test_networks_that_count_are_built_if_no_file_reads_the_count(
    tmp_path, monkeypatch, where, is_read
):
    name = f"counting_{where}_{is_read}"
    reading = "def scale(net):\n    return 1 + (net.kept > 1000)\n" if is_read else ""
    line = "self.kept += 1" + (f"; units = units * {name}_more.scale(self)" if is_read else "")
    text = NETWORK.format(line=line, more="")
    (tmp_path / f"{name}_more.py").write_text(reading)
    (tmp_path / f"{name}.py").write_text(f"import {name}_more\n{text}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    if where == "own":
        (tmp_path / f"{name}.py").write_text(f"{reading}{text.replace(f'{name}_more.', '')}")
    model = {"name": "imported", "import": f"{name}:Net"}
    if is_read:
        with pytest.raises(Refusal, match="Net changes kept in every pass"):
            models.build(model, (1, 8, 8), 10)
    else:
        assert models.build(model, (1, 8, 8), 10).network.kept == 0
    sys.modules.pop(name, None)
