"""What settings files can name in this project: regularizers, models, datasets.

Separate because the layer that reads settings stands above all three and must not import them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from pipeline import data, models, regularizers
from pipeline.config.studies import Catalogue
from pipeline.regularizers.base import Regularizer


def catalogue() -> Catalogue:
    """Everything found by looking into the folders."""
    return Catalogue(regularizers.settings(), models.settings(), data.names(), regularizers.test_rule, effect)


def effect(chosen: Sequence[Regularizer], settings: Mapping[str, Any]) -> tuple[list[Any], Callable[[], str]]:
    """What regularizers come to under a protocol's settings, neutral ones apart, and how to end a refusal of their equals.

    Raises Refusal where one of them cannot act on the protocol's network.
    """
    chosen = [item for item in chosen if item != type(item).neutral()]
    if not any(type(item).effect is not Regularizer.effect for item in chosen):
        return [[_name(item), item.model_dump(mode="json")] for item in chosen], str
    shape, classes = data.images(settings["data"]["dataset"])
    with torch.random.fork_rng(devices=[]):
        network = models.build(settings["model"], shape, classes)
    effects = [[_name(item), item.effect(network, shape)] for item in chosen]
    return effects, lambda: "".join(item.alternatives(network, shape) for item in chosen)  # long to find, seldom asked


def _name(item: Regularizer) -> str:
    return type(item).__module__.rpartition(".")[2]
