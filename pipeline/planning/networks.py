"""Check properties of a user's network that show only with more images or with other weights."""

import contextlib
import copy
import pkgutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from pipeline import models
from pipeline.models._attributes import trained_parameters
from pipeline.models._probe import WEIGHTED, Probe, _callable, probe, probe_of
from pipeline.models._randomness import global_states, restored_globals, seed_globals
from pipeline.models._routing import changes_its_weight, routes
from pipeline.models._sites import kind_of, plain
from pipeline.models._standardized import Standardized
from pipeline.regularizers._noise import mode
from pipeline.runtime.errors import Refusal

IMAGES = 16  # images of a batch
SCALES = (0.5, 1.0, 2.0, 4.0)  # scales of the batches: a layer may be for bright images
FEW_IMAGES = 4  # images of a batch to evaluate
DEVIATIONS = (0.0, 0.1, 1.0, 3.0)  # deviations of noise added to weights: a head may begin at 0
TOLERANCE = 1e-2  # relative, of logits in a batch: half precision rounds to less than that
MOST_LETTERS = 300  # of an error of a user's code: torch lists every tensor that does not fit
NOT_STORED = (
    "model.import: numbers that the network draws when it is made are not in its state, so that "
    "the weights of another do not fit"
)
PERSISTENT = "expected them in persistent buffers"
DRAWS = "the network draws in evaluation mode too, so that each prediction is that of one draw"
BIAS = "bias"  # the reason of a route
MOST_NAMES = 3  # names in a note
OWN = "own"  # the initialization that keeps the weights of the network
IN_TRAINING_ALONE = (
    "not called in evaluation mode; noise there acts in training, and not in passes with noise"
)
UNTRAINED = "acts on logits in evaluation mode, and gets no gradient in training"
IN_BATCHES = (
    "in evaluation mode the logits of an image depend on the other images of its batch, and "
    "predictions are made for 500 images at once"
)


def build_network(model: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> Standardized:
    """Build a network, and turn any exception of the user's code into a Refusal.

    Args:
        model: Its name and settings.
        shape: (channels, height, width) of the images.
        classes: The number of logits.

    Raises:
        Refusal: It cannot be built.
    """
    try:
        return models.build(dict(model), shape, classes)
    except Refusal:
        raise
    except Exception as error:  # whatever code of the user raises
        if "import" not in model:
            raise
        raise Refusal(_building_error(model, shape, classes, error)) from None


def _building_error(
    model: Mapping[str, Any], shape: tuple[int, ...], classes: int, error: Exception
) -> str:
    """Return the line for an error that no check of a user's network expects."""
    for dtype in _logit_types(model, shape):
        if dtype != torch.float32:
            return f"model.import: returns values of {dtype}; expected logits of torch.float32"
    initialization = model.get("initialization", OWN)
    if initialization != OWN and _can_be_built({**model, "initialization": OWN}, shape, classes):
        return f"model.initialization: {initialization}: fails: {_line(error)}; expected {OWN}"
    return (
        f"model.import: cannot be checked: {_line(error)}; expected state_dict, train and other "
        "methods that do what those of nn.Module do"
    )


def _logit_types(model: Mapping[str, Any], shape: tuple[int, ...]) -> list[torch.dtype]:
    """Return the types of the outputs of a user's network in both modes; empty if it fails."""
    images = _images(2, shape, 0)
    with contextlib.suppress(Exception), restored_globals(), torch.no_grad():
        network = pkgutil.resolve_name(model["import"])(**model.get("arguments", {}))
        return [network.train(training)(images.clone()).dtype for training in (False, True)]
    return []


def _can_be_built(model: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> bool:
    with contextlib.suppress(Exception):
        models.build(dict(model), shape, classes)
        return True
    return False


def require_usable(network: Standardized, initialization: str, shape: tuple[int, ...]) -> None:
    """Make all checks of a network that need only this network.

    Args:
        network: The plain network.
        initialization: The name of the initialization that has drawn its weights.
        shape: (channels, height, width) of the images.

    Raises:
        Refusal: See the other functions of this file.
    """
    require_same_layers(network, shape)
    require_plain_names(network)
    require_drawn_weights(network, initialization)
    require_steady(network, shape)
    require_logits(network, shape)


def require_same_layers(network: Standardized, shape: tuple[int, ...]) -> None:
    """Check that other images use the same layers and parameters as the images of the probe.

    A network may choose layers by its images, such as a sparse mixture of experts. Noise and
    penalties would then act only on the layers that the two images of the probe choose. A network
    of which the probe has called all layers and trained all parameters is not run again.

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
        further = _probe_further(inner, scale * torch.randn(IMAGES, *shape, generator=generator))
        if more := {*(further.called - probed.called), *(further.gradients - probed.gradients)}:
            raise Refusal(
                f"model.import: {min(more)} runs for some images only, and regularizers act on "
                "what two images show; expected a forward that calls the same layers for all "
                "images, as one that weights all experts"
            )


def require_plain_names(network: Standardized) -> None:
    """Check that no matrix is named like a bias, because biases are not penalized.

    Args:
        network: The plain network.

    Raises:
        Refusal: One is.
    """
    probed = probe_of(network)
    if probed is None:
        return
    for route in routes(network):
        if route.reason == BIAS and route.parameter.dim() > 1 and route.name in probed.factors:
            raise Refusal(
                f"model.import: {route.name} multiplies units, but its name says that it is a "
                "bias, which penalties leave out; expected a name without bias"
            )


def _probe_further(network: nn.Module, images: torch.Tensor) -> Probe:
    try:
        return probe(network, images)
    except Exception as error:  # whatever code of the user raises
        raise Refusal(
            f"model.import: fails in a training pass of {IMAGES} images: {_line(error)}"
        ) from None


def require_drawn_weights(network: Standardized, initialization: str) -> None:
    """Check that the layers use the weights that an initialization draws.

    Args:
        network: The plain network.
        initialization: The name of the initialization; `own` draws none.

    Raises:
        Refusal: A layer changes its weight before the product, as one that standardizes it.
    """
    probed = probe_of(network)
    if initialization == OWN or probed is None:
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
    """Check that all random numbers that a network draws when it is built are in its state.

    Otherwise a network that loads the weights of another one would return other logits.

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
    images = _images(2, shape, 0)
    logits = []
    with restored_globals():
        for seed in (1, 2):
            seed_globals(seed, "init")
            other = models.build(dict(model), shape, classes)
            try:
                other.load_state_dict(network.state_dict())
            except Exception as error:
                raise Refusal(f"{NOT_STORED} ({_line(error)}); {PERSISTENT}") from None
            try:
                logits.append([_pass(other.train(training), images) for training in (False, True)])
            except Exception as error:  # whatever code of the user raises
                raise Refusal(
                    f"model.import: fails with the weights of another network of its kind: "
                    f"{_line(error)}; expected a forward that follows from its state"
                ) from None
    if not all(map(torch.equal, *logits)):
        raise Refusal(f"{NOT_STORED}; {PERSISTENT}")


def require_steady(network: Standardized, shape: tuple[int, ...]) -> None:
    """Check that logits do not depend on the images of earlier passes in evaluation mode.

    Otherwise logits would depend on the order of predictions, and training on validation images.

    Args:
        network: The plain network.
        shape: (channels, height, width) of the images.

    Raises:
        Refusal: Logits differ, by however little, after other images.
    """
    if probe_of(network) is None:
        return
    last = _images(2, shape, 0)
    states, logits = [], []
    for earlier in (3 * last.flip(-1), 3 * last.square()):  # of other means
        copied = copy.deepcopy(network.network).train()
        _pass(copied, last)  # a first pass may set scales
        _pass(copied.eval(), earlier)
        states.append({name: value.clone() for name, value in copied.state_dict().items()})
        logits.append([_pass(copied.train(training), last) for training in (False, True)])
    if all(map(torch.equal, *logits)):
        return
    first, second = states
    moved = [name for name, value in first.items() if not torch.equal(value, second[name])]
    part = f" ({moved[0]})" if moved else ""
    raise Refusal(
        f"model.import: passes in evaluation mode change its state{part}, and later logits "
        "depend on it; expected statistics that change in training mode only"
    )


def require_logits(network: Standardized, shape: tuple[int, ...]) -> None:
    """Check that a network returns logits that depend on its images, for any weights.

    Args:
        network: The plain network.
        shape: (channels, height, width) of the images.

    Raises:
        Refusal: It returns equal values for all images, or values from 0 to 1 alone.
    """
    if probe_of(network) is None:
        return
    images = _images(FEW_IMAGES, shape, 0) * torch.tensor(SCALES).view(-1, 1, 1, 1)
    logits = [one for (one,) in _of_copies(network, [images]) if one.isfinite().all()]
    if logits and all(torch.equal(one, one[:1].expand_as(one)) for one in logits):
        raise Refusal(
            "model.import: returns equal logits for all images, whatever its weights are; "
            "expected logits that follow from the images"
        )
    if logits and all(((one >= 0) & (one <= 1)).all() for one in logits):
        raise Refusal(
            "model.import: returns values from 0 to 1 alone, whatever its weights are; expected "
            "logits, as before sigmoid or softmax"
        )


def require_passes(network: nn.Module, shape: tuple[int, ...], classes: int) -> None:
    """Check that an equipped network returns logits for images of `shape` in both modes.

    It has to return a gradient in training, too: one in whose forward gradients are computed may
    differentiate noise layers twice.

    Args:
        network: The network with its regularizers.
        shape: (channels, height, width) of the images.
        classes: The number of logits.

    Raises:
        Refusal: It does not, as with a layer of a fixed size after pooling by another factor.
    """
    images = _images(2, shape, 0)
    for training in (True, False):
        where = f"{'training' if training else 'evaluation'} mode"
        try:
            with restored_globals(), mode(network, training, sampling=training):
                returned = tuple(_logits(network, images, training).shape)
        except Exception as error:  # whatever code of the user raises
            raise Refusal(f"the network fails in {where}: {_line(error)}") from None
        if returned != (2, classes):
            raise Refusal(
                f"the network returns {returned} for two images in {where}; "
                f"expected logits of shape {(2, classes)}"
            )


def evaluation_notes(network: Standardized, shape: tuple[int, ...]) -> list[str]:
    """Return a line for each unusual behaviour of a network in evaluation mode.

    Logits may depend on other images or on random draws, layers may not run, or weights may not be
    trained.

    Args:
        network: The plain network.
        shape: (channels, height, width) of the images.
    """
    probed = probe_of(network)
    if probed is None:
        return []
    images = _images(FEW_IMAGES, shape, 0)
    copied = copy.deepcopy(network.network).eval()
    called, draws = _evaluated(copied, images)
    notes = [DRAWS] if draws else _notes_on_batches(network, images)
    sites = [name for name, module in copied.named_modules() if kind_of(module)]
    if idle := [name for name in sites if name in probed.called and name not in called]:
        notes.append(f"{_first_names(idle)}: {IN_TRAINING_ALONE}")
    if untrained := sorted(_acting(network.network, images) - probed.gradients):
        notes.append(f"{_first_names(untrained)}: {UNTRAINED}")
    return notes


def _evaluated(network: nn.Module, images: torch.Tensor) -> tuple[set[str], bool]:
    """Return the names of the modules that a pass calls, and whether it draws random numbers."""
    called: set[str] = set()
    for name, module in network.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    with restored_globals(), torch.no_grad():
        before = global_states()
        network(images.clone())
        draws = global_states() != before
    return called, draws


def _notes_on_batches(network: Standardized, images: torch.Tensor) -> list[str]:
    for together, *alone in _of_copies(network, [images, *images.split(1)]):
        if (together - torch.cat(alone)).norm() > TOLERANCE * together.norm():
            return [IN_BATCHES]
    return []


def _acting(network: nn.Module, images: torch.Tensor) -> set[str]:
    """Return the names of the trained parameters on which logits in evaluation mode depend."""
    copied = copy.deepcopy(network).eval()
    acting = set[nn.Parameter]()
    # a forward may take no gradients in evaluation mode
    with contextlib.suppress(Exception), restored_globals(), torch.enable_grad():
        acting.update(trained_parameters(copied(images.clone())))
    return {name for name, weight in copied.named_parameters() if weight in acting}


def _first_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _images(number: int, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(number, *shape, generator=torch.Generator().manual_seed(seed))


def _logits(network: nn.Module, images: torch.Tensor, training: bool) -> torch.Tensor:
    """Return the logits of a pass, of a user's network in training after a backward pass."""
    goes_back = training and probe_of(network) is not None
    with torch.set_grad_enabled(goes_back):
        logits: torch.Tensor = network(images)
        if goes_back:
            logits.sum().backward()
            network.zero_grad()
    return logits


def _pass(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the logits of a pass with fixed random numbers, in the mode of the network."""
    with restored_globals(), torch.no_grad():
        seed_globals(0, "noise")
        logits: torch.Tensor = network(images.clone())  # a forward may change them
    return logits


def _of_copies(network: Standardized, batches: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Return the logits of copies in evaluation mode, with random numbers added to the weights."""
    logits = []
    for deviation in DEVIATIONS:
        copied = copy.deepcopy(network.network).eval()
        with contextlib.suppress(Exception):  # code of the user, which may not take any weights
            _add_noise(copied, deviation)
            logits.append([_pass(copied, batch) for batch in batches])
    return logits


@torch.no_grad()
def _add_noise(network: nn.Module, deviation: float) -> None:
    """Add random numbers of a standard deviation to all weights that are trained."""
    generator = torch.Generator().manual_seed(0)
    for weight in (one for one in network.parameters() if one.requires_grad):
        weight.add_(deviation * torch.randn(weight.shape, generator=generator).to(weight))


def _line(error: Exception) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", MOST_LETTERS, placeholder=" ...")
