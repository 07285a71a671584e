"""The interface of a regularizer: what its class declares and what the folder rejects."""

from typing import ClassVar

import pytest
from torch import nn

from pipeline import regularizers
from pipeline.regularizers import dropout
from pipeline.regularizers._regularizer import Regularizer
from pipeline.regularizers.dropout import Dropout
from pipeline.runtime.errors import Refusal


class Plain(Regularizer):
    """Neutral in every hook."""

    name: ClassVar = "plain"
    needs: ClassVar = "convolution"
    off: ClassVar = {"rate": 0}

    rate: float = 1
    side: int = 1

    def sites(self, network):
        return [module for module in network.modules() if isinstance(module, nn.Conv2d)]

    def audit(self, inputs):
        return {}


def test_values_that_are_off_are_neutral_whatever_the_others():
    assert Plain.neutral() == Plain(rate=0)
    assert Plain(rate=0, side=3).is_neutral()
    assert not Plain(rate=1).is_neutral()


def test_a_network_without_a_site_is_an_error_that_names_what_is_needed():
    with pytest.raises(Refusal, match="^plain: the network has no convolution$"):
        regularizers.equip(nn.Linear(2, 2), [Plain()])
    regularizers.equip(nn.Conv2d(1, 1, 3), [Plain()])


def test_a_class_without_an_audit_cannot_be_made():
    forgotten = type("Forgotten", (Regularizer,), {"__module__": __name__})
    with pytest.raises(TypeError, match="abstract method '?audit"):
        forgotten()


def test_a_class_that_is_not_named_as_its_file_is_an_error(monkeypatch):
    monkeypatch.setattr(Dropout, "name", "drop")
    with pytest.raises(
        Refusal, match=r"dropout.py: Dropout.name: invalid value .*; expected 'dropout'"
    ):
        regularizers.settings()


def test_a_file_has_one_regularizer(monkeypatch):
    second = type("Second", (Regularizer,), {"__module__": dropout.__name__})
    monkeypatch.setattr(dropout, "Second", second, raising=False)
    with pytest.raises(Refusal, match=r"dropout.py: 2 subclasses of Regularizer; expected one"):
        regularizers.settings()


def test_shared_files_are_no_regularizers():
    assert not [name for name in regularizers.names() if name.startswith("_")]
    assert "dropout" in regularizers.names()
