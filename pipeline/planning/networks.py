"""Check a user's network for what its building cannot see: more images, and weights of others."""

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pipeline import models
from pipeline.models._probe import WEIGHTED, Probe, _callable, probe, probe_of
from pipeline.models._randomness import restored_globals, seed_globals
from pipeline.models._routing import changes_its_weight
from pipeline.models._sites import plain
from pipeline.models._standardized import Standardized
from pipeline.runtime.errors import Refusal

IMAGES = 16  # of a batch
SCALES = (0.5, 1.0, 2.0, 4.0)  # of the batches: a layer may be for bright images


def require_known_layers(network: Standardized, shape: tuple[int, ...]) -> None:
    """Check that further images run no layer and train no parameter that was not seen to do so.

    A network may choose layers by its images, as a sparse mixture of experts. Noise and penalties
    would act on those alone that two images choose. A network that was seen whole is not run.

    Args:
        network: The plain network.
        shape: (channels, height, width) of the images.

    Raises:
        Refusal: They do, or the network fails on them.
    """
    probed = probe_of(network)
    if probed is None:
        return
    inner = network.network
    parameters = {name for name, _ in inner.named_parameters(remove_duplicate=False)}
    if probed.called >= _callable(inner) and probed.gradients >= parameters:
        return
    generator = torch.Generator().manual_seed(1)
    for scale in SCALES:
        seen = _seen(inner, scale * torch.randn(IMAGES, *shape, generator=generator))
        if more := {*(seen.called - probed.called), *(seen.gradients - probed.gradients)}:
            raise Refusal(
                f"model.import: {min(more)} runs for some images only, and regularizers act on "
                "what two images show; expected a forward that calls the same layers for all "
                "images, as one that weights all experts"
            )


def _seen(network: nn.Module, images: torch.Tensor) -> Probe:
    try:
        return probe(network, images)
    except Exception as error:  # whatever code of the user raises
        line = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise Refusal(
            f"model.import: fails in a training pass of {IMAGES} images: {line}"
        ) from None


def require_drawn_weights(network: Standardized, initialization: str) -> None:
    """Check that layers multiply by the weights that an initialization has drawn.

    Raises:
        Refusal: A layer changes its weight before the product, as one that standardizes it.
    """
    probed = probe_of(network)
    if initialization == "own" or probed is None:
        return
    for name, module in network.named_modules():
        if isinstance(module, WEIGHTED) and (
            changes_its_weight(plain(name), module, probed)
            or f"{plain(name)}.weight" in probed.changed
        ):
            raise Refusal(
                f"model.initialization: the weight of {plain(name)} is changed before its product; "
                "expected own, or layers that multiply by their weight itself"
            )


def require_stored_draws(
    network: Standardized, model: Mapping[str, Any], shape: tuple[int, ...], classes: int
) -> None:
    """Check that all numbers that a network has drawn are in its state.

    Else a network with the weights of another computes something else than that one.

    Args:
        network: The network.
        model: Its name and settings.
        shape: (channels, height, width) of the images.
        classes: The number of logits.

    Raises:
        Refusal: Some are not.
    """
    if probe_of(network) is None:
        return
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    logits = []
    with restored_globals():
        for seed in (1, 2):
            seed_globals(seed, "init")
            other = models.build(dict(model), shape, classes)
            with contextlib.suppress(RuntimeError):  # of other shapes
                other.load_state_dict(network.state_dict())
                seed_globals(0, "noise")
                with torch.no_grad():
                    logits.append(other.eval()(images))
    if len(logits) < 2 or not torch.equal(*logits):
        raise Refusal(
            "model.import: numbers that the network draws when it is made are not in its state, so "
            "that the weights of another do not fit; expected them in persistent buffers"
        )
