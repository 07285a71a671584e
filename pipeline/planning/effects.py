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

from pipeline import models, optimizers, regularizers
from pipeline.config.start import Start
from pipeline.config.validation import invalid
from pipeline.data.description import describe
from pipeline.data.weights import weights_digest
from pipeline.models._layers import Layer, layers, trained_layers
from pipeline.models._randomness import global_states, restored_globals
from pipeline.models._standardized import Standardized
from pipeline.models._start import NORMS, begin
from pipeline.models._weights import match_weights
from pipeline.models.imported import require_fit
from pipeline.planning.networks import (
    build_network,
    evaluation_notes,
    require_passes,
    require_stored_draws,
    require_usable,
)
from pipeline.planning.pretraining import pretrained_by
from pipeline.planning.protocols import IMPORTED, Protocol
from pipeline.planning.starts import phases
from pipeline.regularizers._noise import mode
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal
from pipeline.training.compatibility import require_trainable

ARTIFACTS = Path("artifacts")
MOST_WEIGHTS = 250_000_000  # a gigabyte, of which planning makes a few copies
MOST_BLOCKS = 1000


def effects(chosen: Sequence[Regularizer], settings: Mapping[str, Any]) -> list[Any]:
    """Return the name and the effect of every regularizer that is not neutral.

    Args:
        chosen: The regularizers of one setting, in order.
        settings: `name`, `source`, `data`, `model` and `training` of the protocol, as plain values.

    Returns:
        Pairs [name, effect] of plain values; equal pairs stand for the same trained network.

    Raises:
        Refusal: A regularizer cannot act on the network, the optimizer cannot train it, or it is
            too deep for the images; or the file of pretrained weights does not fit.
    """
    values = [{"name": item.name, **item.model_dump(mode="json")} for item in chosen]
    texts = map(json.dumps, (settings["source"], settings["model"], values, settings["start"]))
    optimizer = settings["training"]["optimizer"]["name"]
    return _effects(settings["name"], _dataset(settings), *texts, optimizer)


@functools.lru_cache(maxsize=1024)  # studies share arms
def _effects(
    name: str, dataset: str, source: str, model: str, chosen: str, start: str, optimizer: str
) -> list[list[Any]]:
    acting = regularizers.build(json.loads(chosen))
    settings = Start.model_validate_json(start)

    def equipped_network(values: Mapping[str, Any]) -> nn.Module:
        plain, _, classes = _plain_network(name, dataset, source, json.dumps(values))
        network = copy.deepcopy(plain)
        if not settings.is_fresh:
            begin(network, settings.run_start(), classes, None)
        regularizers.equip(network, acting)
        return network

    network, shape, classes = _plain_network(name, dataset, source, model)
    values = json.loads(model)
    trial = equipped_network(values)
    if values.get("weights") or not settings.is_fresh:
        _require_stored_draws(name, dataset, source, model)
    if path := values.get("weights"):
        _weights_note(name, dataset, source, model, path, weights_digest(path))
    named_effects = [[item.name, item.effect(network, shape)] for item in acting]
    require_fit(trial, values, shape, equipped_network)  # pooling by less takes deeper networks
    require_trainable(optimizers.settings()[optimizer](), trial, acting)
    if optimizers.settings()[optimizer].full_batch:
        _require_no_draws(trial, shape, optimizer)
    if acting:
        require_passes(trial, shape, classes)
    return named_effects


def require_start(protocol: Protocol) -> None:
    """Check that runs can begin with the weights of the pretraining that they start from.

    Args:
        protocol: A protocol whose `start` may name a pretraining.

    Raises:
        Refusal: The networks differ in shape, no layer below the head keeps these weights, a
            training of two phases has no epoch for the second, or a frozen layer is in no file.
    """
    start = Start.model_validate(protocol.start)
    trains_all = start.train == "all"
    if start.train == "head_then_all":  # it begins with a probe
        first, last = phases(protocol, start)
        if first == last and start.head_share < 1:
            count = protocol.training.epochs
            expected = f"a share that leaves one of {count} epochs to the second phase, or 1"
            raise Refusal(invalid("start.head_share", start.head_share, expected))
        start = start.model_copy(update={"train": "head"})
        trains_all = first != last
    if start.source is None:
        if not trains_all:
            _require_loaded(protocol, start)
        return
    pretrained, _ = pretrained_by(protocol, start.source)
    settings, parent = protocol.network_settings(), pretrained.network_settings()
    sides = _dataset(settings), _dataset(parent)
    texts = map(json.dumps, (settings["source"], parent["source"], settings["model"]))
    _require_start(protocol.name, start.model_dump_json(by_alias=True), *sides, *texts)


def start_effect(protocol: Protocol) -> dict[str, Any]:
    """Return plain values that are equal for starts which train the same network.

    The last k layers may be all that a network has, and frozen layers may have no batch norm.

    Args:
        protocol: A protocol whose start fits its network.

    Raises:
        Refusal: The network cannot be made for the data.
    """
    start = Start.model_validate(protocol.start)
    if start.is_fresh:
        return start.effect()
    settings = protocol.network_settings()
    texts = (json.dumps(settings[key]) for key in ("source", "model"))
    with_norm = _layers_with_norm(settings["name"], _dataset(settings), *texts)
    if start.train == "last_k" and start.k == len(with_norm):
        start = start.model_copy(update={"train": "all", "k": None})
    trained = start.k or 1
    if not any(with_norm[:-trained]):
        start = start.model_copy(update={"norm": "frozen"})
    return start.effect()


@functools.lru_cache(maxsize=32)
def _layers_with_norm(name: str, dataset: str, source: str, model: str) -> tuple[bool, ...]:
    """Return whether each layer of a network has a batch norm, in their order."""
    network, _, _ = _plain_network(name, dataset, source, model)
    return tuple(
        any(isinstance(network.get_submodule(module), NORMS) for module in layer.modules)
        for layer in layers(network)
    )


def _require_loaded(protocol: Protocol, start: Start) -> None:
    """Check that layers which are never trained have their weights from the file of the model.

    Raises:
        Refusal: The file lacks a weight of one, which would stay random.
    """
    settings = protocol.network_settings()
    path = settings["model"].get("weights")
    if not path:
        return
    texts = (json.dumps(settings[key]) for key in ("source", "model"))
    network = settings["name"], _dataset(settings)
    every, names = _random(*network, *texts, path, weights_digest(path))
    frozen = every[: len(every) - len(trained_layers(every, start.train, start.k))]
    random = [name for layer in frozen for name in layer.tensors if name in names]
    if random:
        name = random[0].removeprefix("network.")
        more = f" and {len(random) - 1} more" if len(random) > 1 else ""
        expected = f"all: {path} has no {name}{more}, which would be frozen, random and untrained"
        raise Refusal(invalid("start.train", start.train, expected))


@functools.lru_cache(maxsize=32)  # a large file is read once for all settings of a network
def _random(
    name: str, dataset: str, source: str, model: str, path: str, digest: str
) -> tuple[list[Layer], frozenset[str]]:
    """Return the layers of a network, and the names of parameters that its file lacks."""
    network, _, _ = _plain_network(name, dataset, source, model)
    match = match_weights(network.network, path)
    parameters = dict(network.network.named_parameters(remove_duplicate=False))
    loaded = {parameters[name] for name in match.loaded if name in parameters}
    lacking = (f"network.{name}" for name, value in parameters.items() if value not in loaded)
    return layers(network), frozenset(lacking)


@functools.lru_cache(maxsize=1024)
def _require_start(
    name: str, start: str, dataset: str, parent: str, source: str, parent_source: str, model: str
) -> None:
    if not is_described(name, json.loads(parent)["dataset"], json.loads(parent_source)):
        return
    settings = Start.model_validate_json(start)
    plain, _, classes = _plain_network(name, dataset, source, model)
    begun, _, _ = _plain_network(name, parent, parent_source, model)
    network = copy.deepcopy(plain)
    begin(network, settings.run_start(), classes, begun.state_dict())
    most = len(layers(network)) - 2
    if settings.reinitialize > most:
        expected = f"an integer <= {most}: below the head, a layer of the pretraining is kept"
        raise Refusal(invalid("start.reinitialize", settings.reinitialize, expected))


def is_described(name: str, dataset: str, source: Mapping[str, Any]) -> bool:
    """Return whether the shape of the images of a pretraining is known; data may be missing.

    Args:
        name: The name of the protocol.
        dataset: The dataset of the pretraining.
        source: The complete settings of its source.
    """
    try:
        describe(dataset, source, ARTIFACTS / name / "data")
    except Refusal:
        return False
    return True


def model_effect(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values that are equal for model settings which make the same network.

    Args:
        settings: As for `effects`.

    Raises:
        Refusal: The network cannot be made for the data.
    """
    texts = (json.dumps(settings[key]) for key in ("source", "model"))
    shape = _plain_network(settings["name"], _dataset(settings), *texts)[1]
    return models.effect(settings["model"], shape)


def network_notes(settings: Mapping[str, Any]) -> list[str]:
    """Return a line for each way in which predictions do not depend on one image only.

    Args:
        settings: As for `effects`.

    Raises:
        Refusal: The network cannot be made for the data.
    """
    texts = (json.dumps(settings[key]) for key in ("source", "model"))
    network, shape, _ = _plain_network(settings["name"], _dataset(settings), *texts)
    return evaluation_notes(network, shape)


def weights_note(settings: Mapping[str, Any]) -> str:
    """Return one line on the tensors used from a file of pretrained weights, "" without a file.

    Args:
        settings: As for `effects`.

    Raises:
        Refusal: The file does not fit.
    """
    path = settings["model"].get("weights")
    if not path:
        return ""
    texts = (json.dumps(settings[key]) for key in ("source", "model"))
    names = settings["name"], _dataset(settings)
    return _weights_note(*names, *texts, path, weights_digest(path))


@functools.lru_cache(maxsize=32)  # a large file is read once for all settings of a network
def _weights_note(name: str, dataset: str, source: str, model: str, path: str, digest: str) -> str:
    network = _plain_network(name, dataset, source, model)[0]
    return match_weights(network.network, path).note(path)


def _dataset(settings: Mapping[str, Any]) -> str:
    """Return the dataset and the classes that are selected from it."""
    data = settings["data"]
    return json.dumps({"dataset": data["dataset"], "classes": data["classes"]})


def _require_no_draws(network: nn.Module, shape: tuple[int, ...], optimizer: str) -> None:
    """Check that a training pass draws no random numbers, such as by F.dropout in a forward.

    Raises:
        Refusal: It draws from a global generator.
    """
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    with restored_globals(), torch.no_grad(), mode(network, training=True, sampling=False):
        before = global_states()
        network(images)
        draws = global_states() != before
    if draws:
        raise Refusal(
            f"{optimizer}: the network draws random numbers, but a line search needs the same loss "
            "function in every evaluation; expected another optimizer"
        )


@functools.lru_cache(maxsize=32)
def _plain_network(
    name: str, dataset: str, source: str, model: str
) -> tuple[Standardized, tuple[int, ...], int]:
    """Return the network of a protocol without regularizers, the shape of its images, classes."""
    torch.set_num_threads(1)  # single images are slower on several
    data_settings = json.loads(dataset)
    folder = ARTIFACTS / name / "data"
    kind = describe(data_settings["dataset"], json.loads(source), folder, data_settings["classes"])
    model_settings = json.loads(model)
    if model_settings["name"] != IMPORTED:
        _require_size(model_settings, kind.shape, kind.classes)
    with torch.random.fork_rng(devices=[]):
        network = build_network(model_settings, kind.shape, kind.classes)
    require_usable(network, model_settings["initialization"], kind.shape)
    return network, kind.shape, kind.classes


@functools.lru_cache(maxsize=32)
def _require_stored_draws(name: str, dataset: str, source: str, model: str) -> None:
    network, shape, classes = _plain_network(name, dataset, source, model)
    require_stored_draws(network, json.loads(model), shape, classes)


def _require_size(settings: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> None:
    """Check that a network is not too large for the memory, without allocating its weights.

    Raises:
        Refusal: It has more than `MOST_WEIGHTS` weights or `MOST_BLOCKS` blocks.
    """
    sizes = {
        key: max(value, default=0) if isinstance(value, list) else value
        for key, value in settings.items()
        if isinstance(value, int | list) and not isinstance(value, bool)
    }
    stages = len(settings.get("widths", ())) or 1
    if sizes.get("blocks", 0) * stages > MOST_BLOCKS:
        most = MOST_BLOCKS // stages
        raise Refusal(invalid("model.blocks", sizes["blocks"], f"an integer <= {most}"))
    try:
        with torch.device("meta"):
            network = models.build(dict(settings), shape, classes)
        weights = sum(parameter.numel() for parameter in network.parameters())
    except (RuntimeError, TypeError, OverflowError):  # torch cannot count so many bytes
        weights = MOST_WEIGHTS + 1
    if weights > MOST_WEIGHTS:
        largest = max(sizes, key=lambda key: int(sizes[key]))
        expected = f"a network of at most {MOST_WEIGHTS} weights"
        raise Refusal(invalid(f"model.{largest}", settings[largest], expected))
