"""Compute the effects of regularizers on a network.

Settings of equal effect train the same network.
"""

import copy
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline import models, regularizers
from pipeline.data.description import describe
from pipeline.models.imported import require_fit
from pipeline.regularizers._regularizer import Regularizer

ARTIFACTS = Path("artifacts")


def effects(chosen: Sequence[Regularizer], settings: Mapping[str, Any]) -> list[Any]:
    """Return the name and the effect of every regularizer that is not neutral.

    Args:
        chosen: The regularizers of one setting, in order.
        settings: `name`, `source`, `data` and `model` of the protocol, as plain values.

    Returns:
        Pairs [name, effect] of plain values; equal pairs stand for the same trained network.

    Raises:
        Refusal: A regularizer cannot act on the network, or the network is too deep for the images.
    """
    values = [{"name": item.name, **item.model_dump(mode="json")} for item in chosen]
    texts = map(json.dumps, (settings["source"], settings["model"], values))
    return _effects(settings["name"], settings["data"]["dataset"], *texts)


@functools.lru_cache(maxsize=1024)  # studies share arms
def _effects(name: str, dataset: str, source: str, model: str, chosen: str) -> list[list[Any]]:
    acting = regularizers.build(json.loads(chosen))

    def equipped(values: Mapping[str, Any]) -> nn.Module:
        network = copy.deepcopy(_plain(name, dataset, source, json.dumps(values))[0])
        regularizers.equip(network, acting)
        return network

    network, shape = _plain(name, dataset, source, model)
    values = json.loads(model)
    trial = equipped(values)
    named_effects = [[item.name, item.effect(network, shape)] for item in acting]
    require_fit(trial, values, shape, equipped)  # pooling by less takes deeper networks
    return named_effects


@functools.lru_cache(maxsize=32)
def _plain(name: str, dataset: str, source: str, model: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Return the network of a protocol without regularizers, and the shape of its images."""
    torch.set_num_threads(1)  # single images are slower on several
    kind = describe(dataset, json.loads(source), ARTIFACTS / name / "data")
    with torch.random.fork_rng(devices=[]):
        return models.build(json.loads(model), kind.shape, kind.classes), kind.shape
