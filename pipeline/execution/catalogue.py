"""What settings files can name in this project: regularizers, models, datasets.

Separate because the layer that reads settings stands above all three and must not import them.
"""

import copy
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from pipeline import data, models, regularizers
from pipeline.config.protocols import Catalogue
from pipeline.models.imported import require_fit
from pipeline.regularizers.base import Regularizer


def catalogue() -> Catalogue:
    """Everything found by looking into the folders. Sets torch to one thread: single images are slower on several."""
    torch.set_num_threads(1)
    return Catalogue(regularizers.settings(), models.settings(), data.settings(), regularizers.test_rule, effect)


def effect(chosen: Sequence[Regularizer], settings: Mapping[str, Any]) -> tuple[list[Any], Callable[[], str]]:
    """What regularizers come to under a protocol's settings, neutral ones apart, and how to end a refusal of their equals.

    Raises Refusal where one of them cannot act on the protocol's network, or the network is too deep for the images.
    """
    chosen = [item for item in chosen if not item.is_neutral()]

    def equipped(model: Mapping[str, Any]) -> nn.Module:
        network = copy.deepcopy(_plain(settings["data"]["dataset"], json.dumps(settings["source"]), json.dumps(model))[0])
        regularizers.equip(network, chosen)
        return network

    network, shape = _plain(settings["data"]["dataset"], json.dumps(settings["source"]), json.dumps(settings["model"]))
    trial = equipped(settings["model"])
    effects = [[_name(item), item.effect(network, shape)] for item in chosen]
    require_fit(trial, settings["model"], shape, equipped)  # pooling by less takes deeper networks than plain ones
    return effects, lambda: "".join(item.alternatives(network, shape) for item in chosen)  # long to find, seldom asked


@functools.lru_cache(maxsize=32)
def _plain(dataset: str, source: str, model: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A network as the protocol has it, without regularizers, and the shape of its images."""
    kind = data.describe(dataset, json.loads(source))
    with torch.random.fork_rng(devices=[]):
        return models.build(json.loads(model), kind.shape, kind.classes), kind.shape


def _name(item: Regularizer) -> str:
    return type(item).__module__.rpartition(".")[2]
