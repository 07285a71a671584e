"""A user's own network: `model: {import: mypackage.models:Net, arguments: {...}}`, any `nn.Module`.

Nothing is known of it, so it is made by name and tried on images.
"""

import contextlib
import copy
import inspect
import itertools
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict, Field, field_validator
from torch import nn
from torch.nn import functional
from torch.nn.parameter import is_lazy

from pipeline.config.validation import suggestion
from pipeline.models._attributes import (
    attribute_of,
    contents,
    is_read_back,
    trained_parameters,
    unregistered,
)
from pipeline.models._initialization import Network
from pipeline.models._probe import Probe, probe
from pipeline.models._randomness import global_states, restored_globals, seed_globals
from pipeline.models._surroundings import imported, other_surroundings
from pipeline.models._switches import restored_switches, switches
from pipeline.runtime.errors import Refusal

FAILURES = (Exception, SystemExit)  # whatever code of the user raises
DISTRIBUTED = (nn.DataParallel, nn.parallel.DistributedDataParallel)
States = dict[str, Any]  # of the global generators, by name

BATCH = 4  # images of a second training pass, to find a built-in number of images
STEPS = 3  # in training mode, after which state that is not stored shows; odd: it may alternate
STEADY = 1e-3  # relative change: weights that a forward standardizes differ by its epsilon
COMPARED = 8  # steps with that state: a layer that is skipped with chance 1/2 then shows


class Model(Network):
    """Settings: a module and the name in it that makes the network, and its arguments."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True)

    takes_rows: ClassVar = True

    target: str = Field(alias="import")
    arguments: dict[str, Any] = Field(default_factory=dict)

    @field_validator("target")
    @classmethod
    def _target_is_a_name_in_a_module(cls, target: str) -> str:
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", target):
            raise ValueError("module:name, as in mypackage.models:Net")
        return target


def build(settings: Model, shape: tuple[int, ...], classes: int) -> nn.Module:
    """Return the network, once it has returned logits (N, classes) for images of `shape`.

    Raises:
        Refusal: It cannot be imported or made, or returns something else.
    """
    with restored_switches():
        return _built(settings, shape, classes)


def _built(settings: Model, shape: tuple[int, ...], classes: int) -> nn.Module:
    with restored_globals():
        _, _, first = _begun(settings, shape, classes)
    network, made, later = _begun(settings, shape, classes)
    if drawn := [name for pair in zip(later, first, strict=True) for name in _unequal(*pair)]:
        raise _refusal(
            settings,
            f"draws from the global generator of {drawn[0]} for the first network of a process "
            "only; expected no random numbers that networks share, such as a cache in the class",
        )
    try:
        with restored_globals():
            _require_repeatable(settings, shape, made)
    except Refusal:
        raise
    except FAILURES as error:
        raise _refusal(settings, f"fails on its later passes: {_line(error)}") from None
    return network


def _begun(
    settings: Model, shape: tuple[int, ...], classes: int
) -> tuple[nn.Module, States, list[States]]:
    """Return a network that returns logits, and the generators' states once it was made.

    Also their states after its first pass, and after one in training mode; these draws are undone.

    Raises:
        Refusal: It cannot be imported or made, or returns something else.
    """
    network = _made(settings)
    made, before = global_states(), switches()
    training = network.training
    _require_registered(settings, network)
    began = _make_layers(settings, network, _images(shape))
    _require_unswitched(settings, before)
    # each pass is of a copy: the first may set weights, such as data-dependent scales
    with restored_globals():
        copied = _copied(settings, network)
        _require_logits(settings, copied, shape, classes, training=False)
        _require_logits(settings, copied, shape, classes, training=False, number=1)
        _require_real(settings, network)
        _require_logits(settings, _copied(settings, network), shape, classes, training=True)
        passed = global_states()
        _require_logits(
            settings, _copied(settings, network), shape, classes, training=True, number=BATCH
        )
    _require_unswitched(settings, before)
    return network.train(training), made, [began, passed]


def probed(network: nn.Module, shape: tuple[int, ...]) -> Probe:
    """Return the results of a training pass on images of `shape`.

    Raises:
        Refusal: The pass fails, as that of a network in which nothing is trained.
    """
    try:
        return probe(network, _images(shape))
    except FAILURES as error:
        raise Refusal(f"model.import: fails in a training pass: {_line(error)}") from None


def require_fit(
    network: nn.Module,
    given: Mapping[str, Any],
    shape: tuple[int, ...],
    make: Callable[[dict[str, Any]], nn.Module],
) -> None:
    """Check that a network is not too deep for images of `shape`; leave the network unchanged.

    `make` makes it of `given`, its name and settings, and others to find the allowed depth.

    Raises:
        Refusal: The network is too deep.
    """
    widths = given.get("widths", ())
    if not widths or _takes(network, shape):
        return
    fitting = [
        number
        for number in range(1, len(widths))
        if _takes(make({**given, "widths": widths[:number]}), shape)
    ]
    expected = f"<= {fitting[-1]}" if fitting else "another network"
    pixels = "x".join(map(str, shape[1:]))
    raise Refusal(
        f"model.widths: {len(widths)} stages; expected {expected} for images of {pixels} pixels"
    )


def _takes(network: nn.Module, shape: tuple[int, ...]) -> bool:
    training = network.training
    try:
        with torch.no_grad():
            network.eval()(_images(shape))
    except RuntimeError:
        return False
    finally:
        network.train(training)
    return True


def _images(shape: tuple[int, ...]) -> torch.Tensor:
    """Return two images with some spread, by which a network may divide."""
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))


def _module(settings: Model) -> str:
    return settings.target.partition(":")[0]


def _made(settings: Model) -> nn.Module:
    _, _, attribute = settings.target.partition(":")
    try:
        module = imported(_module(settings))
        if not hasattr(module, attribute):
            existing = ", ".join(_networks(module)) or "none in that module yet"
            raise _refusal(
                settings,
                f"is an unknown name; expected one of: {existing}"
                f"{suggestion(attribute, _networks(module))}",
            )
        make: Callable[..., nn.Module] = getattr(module, attribute)
        _require_arguments(settings, make)
        with restored_switches():
            network = make(**settings.arguments)
    except Refusal:
        raise
    except FAILURES as error:
        raise _refusal(settings, f"cannot be made: {_line(error)}") from None
    if "torch._dynamo" in sys.modules:  # imported by code that compiles
        # compiled code skips noise layers, and what a process has compiled before changes bits
        torch.compiler.set_stance("force_eager")
    if not isinstance(network, nn.Module):
        raise _refusal(settings, f"is a {type(network).__name__}; expected what makes an nn.Module")
    return network


def _networks(module: ModuleType) -> list[str]:
    """Return the names of the networks that a module defines."""
    return sorted(
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, nn.Module)
        and value.__module__ == module.__name__
    )


def _require_arguments(settings: Model, make: Callable[..., nn.Module]) -> None:
    """Check that the network takes the arguments and needs no more.

    Raises:
        Refusal: An argument is unknown or missing.
    """
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # nothing is known of it
        return
    try:
        signature.bind(**settings.arguments)
    except TypeError as error:
        names = ", ".join(signature.parameters) or "none"
        raise Refusal(
            f"model.arguments: {settings.target}: {error}; expected arguments: {names}"
        ) from None


def _require_registered(settings: Model, network: nn.Module) -> None:
    """Check that all layers and weights are registered, and that Python runs their forwards.

    Raises:
        Refusal: A plain attribute holds one, or a module is compiled or distributed.
    """
    for name, module in network.named_modules():
        if isinstance(module, DISTRIBUTED):
            part = f"{name} is" if name else "is"
            raise _refusal(
                settings,
                f"{part} a {type(module).__name__}; expected the network inside it, which "
                "execution.devices and execution.strategy distribute",
            )
        if isinstance(module, torch.jit.ScriptModule) or hasattr(module, "_orig_mod"):
            part = f"has a compiled part, {name}" if name else "is a compiled network"
            raise _refusal(
                settings,
                f"{part}, whose layers no noise can reach; expected modules that were not "
                "compiled by torch.jit or torch.compile",
            )
    if attribute := unregistered(network):
        raise _refusal(
            settings,
            f"holds layers or weights in {attribute}, which are not registered and never train; "
            "expected nn.ModuleList, nn.ModuleDict or nn.ParameterList",
        )


def _make_layers(settings: Model, network: nn.Module, images: torch.Tensor) -> States:
    """Make the parts that a network makes in its first pass; return the generators' states then.

    These parts are lazy layers, and weights that old forms of normalization and pruning compute.
    They cannot be copied before that pass. Other weights and buffers stay as they are.

    Raises:
        Refusal: The pass fails.
    """
    copied = None
    with contextlib.suppress(*FAILURES):
        copied = copy.deepcopy(network)
    if copied is not None:
        with restored_globals():
            _first_pass(settings, copied, images)
            states = global_states()
        if _parts(copied) == _parts(network):
            return states
    training = network.training
    state = network.state_dict()
    before = {name: value.clone() for name, value in state.items() if not is_lazy(value)}
    _first_pass(settings, network, images)
    for name, value in network.state_dict().items():
        if name in before and before[name].shape == value.shape:
            value.copy_(before[name])
    network.train(training)
    return global_states()


def _first_pass(settings: Model, network: nn.Module, images: torch.Tensor) -> None:
    try:
        with torch.no_grad():
            network.eval()(images.clone())  # a forward may change them
    except FAILURES as error:
        where = f"images {tuple(images.shape)}"
        raise _refusal(settings, f"fails on {where}: {_line(error)}") from None


def _parts(network: nn.Module) -> dict[str, type]:
    """Return name -> type of modules, parameters and buffers; lazy ones have types of their own."""
    parts = (network.named_modules(), network.named_parameters(), network.named_buffers())
    return {name: type(part) for named in parts for name, part in named}


def _copied(settings: Model, network: nn.Module) -> nn.Module:
    """Return a copy, whose buffers and counters may change."""
    try:
        return copy.deepcopy(network)
    except FAILURES as error:
        raise _refusal(settings, f"cannot be copied: {_line(error)}") from None


def _require_logits(
    settings: Model,
    network: nn.Module,
    shape: tuple[int, ...],
    classes: int,
    training: bool,
    number: int = 2,
) -> None:
    """Check that the network returns finite logits in this mode, in which it is left.

    Raises:
        Refusal: It returns something else for that number of images.
    """
    where = f"images {(number, *shape)}" + " in training mode" * training
    expected = (number, classes)
    images = _images(shape).repeat(BATCH // 2, 1, 1, 1)[:number]
    any_size = "; expected a network for any number of images" if number != 2 else ""
    try:
        with torch.set_grad_enabled(training):
            logits = network.train(training)(images)
    except FAILURES as error:
        raise _refusal(settings, f"fails on {where}: {_line(error)}{any_size}") from None
    if not isinstance(logits, torch.Tensor) or logits.shape != expected:
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise _refusal(
            settings, f"returns {given} for {where}; expected logits of shape {expected}"
        )
    if training:
        _require_registered_weights(settings, network, logits)
    if not logits.isfinite().all():
        raise _refusal(
            settings, f"returns values that are not finite for {where}; expected finite logits"
        )
    if (logits >= 0).all() and torch.allclose(logits.sum(1), torch.ones(()), atol=1e-4):
        raise _refusal(
            settings, f"returns probabilities for {where}; expected logits, as before softmax"
        )


def _require_unswitched(settings: Model, before: Mapping[str, Any]) -> None:
    """Check that the settings of the process are as before the passes of a network.

    Raises:
        Refusal: A pass has changed it.
    """
    if changed := [name for name, value in switches().items() if value != before[name]]:
        raise _refusal(
            settings,
            f"changes {changed[0]} in its forward; expected no change of what holds for the whole "
            "process, or one in __init__, which is restored",
        )


def _require_registered_weights(settings: Model, network: nn.Module, logits: torch.Tensor) -> None:
    """Check that a copy uses its own weights, and leaves their gradients to training.

    `logits` are from its first training pass.

    Raises:
        Refusal: It uses others, or has gradients.
    """
    registered = {id(parameter) for parameter in network.parameters()}
    if any(id(parameter) not in registered for parameter in trained_parameters(logits)):
        raise _refusal(
            settings,
            "uses weights that a copy of it does not hold, as those of a layer in a global or of a "
            "function that keeps the first network; expected registered layers, called in methods",
        )
    if not logits.requires_grad:
        raise _refusal(
            settings, "trains no parameter; expected at least one of which the logits follow"
        )
    if any(parameter.grad is not None for parameter in network.parameters()):
        raise _refusal(
            settings,
            "calls backward in its forward, and training discards such gradients; "
            "expected cross-entropy as the only loss",
        )


def _require_real(settings: Model, network: nn.Module) -> None:
    """Check that states are tensors, and parameters real, each in memory of its own.

    Raises:
        Refusal: One is not.
    """
    for name, value in network.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise _refusal(
                settings,
                f"has a {type(value).__name__} in its state, {name}; expected tensors in buffers",
            )
    for name, parameter in network.named_parameters():
        if parameter.is_complex():
            raise _refusal(
                settings,
                f"has complex weights, {name}; expected real ones, as of torch.view_as_complex",
            )
    stored = defaultdict[int, list[tuple[str, nn.Parameter]]](list)
    for name, parameter in network.named_parameters():
        stored[parameter.untyped_storage().data_ptr()].append((name, parameter))
    pairs = (itertools.combinations(group, 2) for group in stored.values())
    for (one, first), (other, second) in itertools.chain.from_iterable(pairs):
        if _overlap(first, second):
            raise _refusal(
                settings,
                f"has two parameters in the same memory, {one} and {other}, which become "
                "separate on another device; expected one parameter under both names",
            )


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Return whether two tensors of one storage share memory."""
    first, second = sorted((one, other), key=torch.Tensor.storage_offset)
    steps = zip(first.shape, first.stride(), strict=True)
    end = first.storage_offset() + 1 + sum((size - 1) * stride for size, stride in steps)
    return min(one.numel(), other.numel()) > 0 and second.storage_offset() < end


def _require_repeatable(settings: Model, shape: tuple[int, ...], made: States) -> None:
    """Check that weights and logits depend on seeds and `state_dict()` only.

    `made` holds the states of the global generators after the network was made from another seed.

    Raises:
        Refusal: They do not.
    """
    images = _images(shape)
    others = 3 * images.flip(-1)
    (used, made_again), (other, _) = (_trial(settings, images) for _ in range(2))
    fresh = _require_equal_starts(settings, used, images)
    state = copy.deepcopy(used.state_dict())
    # passes from other seeds first: what a first pass draws and keeps then differs
    passed = [_states_after(used, images, seed) for seed in (2, 1)]
    changed = [*_changed(used, state, images, others), *_changed(other, state, others, images)]
    changed = [name for name in dict.fromkeys(changed) if is_read_back(used, name)]
    if seeded := [*_shared(made, made_again), *_shared(*passed)]:
        raise _refusal(
            settings,
            f"seeds a global generator itself, that of {seeded[0]}; expected none that it seeds, "
            "since every run has seeds of its own",
        )
    cause = f", which lacks {changed[0]}" if changed else ""
    if not _is_stored(settings, used, fresh, images, others):
        raise _refusal(
            settings,
            f"gives other results after its state is restored{cause}; expected generators, "
            "counters and statistics in persistent buffers, or draws from the global generators",
        )
    if changed:
        raise _refusal(
            settings,
            f"changes {changed[0]} in every pass, and its state_dict does not contain it; "
            "expected a persistent buffer, as of register_buffer",
        )
    if not _is_steady(used, images):
        raise _refusal(
            settings,
            "gives other logits after further passes in evaluation mode; expected weights and "
            "buffers that such passes do not change, or change once",
        )


def _require_equal_starts(settings: Model, used: nn.Module, images: torch.Tensor) -> nn.Module:
    """Check that a network made elsewhere starts with equal weights and logits, and return it.

    Elsewhere: at another time, in another folder and with other environment variables.

    Raises:
        Refusal: It starts with others.
    """
    with other_surroundings(_module(settings)) as variables:
        fresh, _ = _trial(settings, images)
        again = _started(settings, fresh, images)
    states = _started(settings, used, images)
    if differing := [name for name in states if not torch.equal(states[name], again[name])]:
        raise _refusal(
            settings,
            f"gives other values of {differing[0]} at equal seeds; expected randomness from the "
            "global generators of torch, numpy and Python alone, and nothing from the clock, the "
            "process or the machine",
        )
    _require_unread(settings, images, states, variables)
    return fresh


def _require_unread(
    settings: Model,
    images: torch.Tensor,
    states: Mapping[str, torch.Tensor],
    variables: Collection[str],
) -> None:
    """Check that a network does not depend on environment variables.

    `states` are the result of `_started`, `variables` the names of the variables that its files
    read.

    Raises:
        Refusal: It follows one.
    """
    for name in sorted(variables):
        differs = False
        # without a default it fails
        with contextlib.suppress(*FAILURES), other_surroundings(_module(settings), changed=name):
            network, _ = _trial(settings, images)
            differs = not _alike(states, _started(settings, network, images))
        if differs:
            raise _refusal(
                settings,
                f"follows the environment variable {name}, which is no part of a run's name; "
                "expected model.arguments",
            )


def _trial(settings: Model, images: torch.Tensor) -> tuple[nn.Module, States]:
    """Return a new network in training mode, and the generators' states once it was made."""
    seed_globals(0, "trial")
    network = _made(settings)
    states = global_states()
    _make_layers(settings, network, images)
    return network.train(), states


def _started(settings: Model, network: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the state and the logits of a training pass of a network, which is left unchanged."""
    copied = _copied(settings, network)
    with torch.no_grad():
        logits = _seeded(copied, images)
    return {**copied.state_dict(), "the logits": logits}


def _changed(
    network: nn.Module, state: dict[str, Any], images: torch.Tensor, others: torch.Tensor
) -> list[str]:
    """Return the plain attributes with other contents after another pass of equal images.

    Each pass begins with this state and with equal generators. There are other images between, or
    none, since contents may alternate.
    """
    passes: list[dict[Any, Any]] = []
    for batch in (images, others, images, images):
        seen: dict[Any, Any] = {}
        for mode in (False, True):
            network.load_state_dict(state)
            with torch.no_grad():
                _seeded(network.train(mode), batch)
            seen |= {(name, mode): content for name, content in contents(network).items()}
        passes.append(seen)
    first, _, later, last = passes
    keys = {**first, **last}
    return [
        attribute_of(key[0])
        for key in keys
        if not first.get(key) == later.get(key) == last.get(key)
    ]


def _states_after(network: nn.Module, images: torch.Tensor, seed: int) -> States:
    """Return the states of the global generators after a pass that began at a seed."""
    seed_globals(seed, "trial")
    with torch.no_grad():
        network(images.clone())
    return global_states()


def _unequal(one: States, other: States) -> list[str]:
    """Return the names of the generators that are in another state."""
    return [name for name, state in one.items() if other.get(name, state) != state]


def _shared(one: States, other: States) -> list[str]:
    """Return the names of the generators that are in the same state, begun at different seeds."""
    return [name for name, state in one.items() if state == other.get(name)]


def _is_stored(
    settings: Model, used: nn.Module, fresh: nn.Module, images: torch.Tensor, others: torch.Tensor
) -> bool:
    """Return whether a new network with the state of a used one does the same in both modes.

    That is: the same logits, and in training the same gradients.
    """
    for _ in range(STEPS):
        _trained(settings, used, images)
    fresh.load_state_dict(used.state_dict())
    trained = [
        [parameter.requires_grad for parameter in network.parameters()] for network in (used, fresh)
    ]
    with torch.no_grad():
        evaluated = [_seeded(network.eval(), others) for network in (used, fresh)]
    return (
        trained[0] == trained[1]
        and torch.equal(*evaluated)
        and all(
            _alike(*(_trained(settings, network.train(), others) for network in (used, fresh)))
            for _ in range(COMPARED)
        )
    )


def _is_steady(network: nn.Module, images: torch.Tensor) -> bool:
    """Return whether logits in evaluation mode stay as they are after a pass of other images."""
    network.eval()
    others = 3 * images.square()  # of another mean
    with torch.no_grad():
        first, _, last = (_seeded(network, batch) for batch in (images, others, images))
    return bool((last - first).norm() <= STEADY * first.norm())


def _trained(settings: Model, network: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the logits and gradients of a training pass; the gradients are removed again.

    Raises:
        Refusal: A gradient is sparse, which most optimizers do not take.
    """
    logits = _seeded(network, images)
    functional.cross_entropy(logits, torch.zeros(len(images), dtype=torch.long)).backward()
    tensors = {"the logits": logits.detach()}
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            tensors[name], parameter.grad = parameter.grad, None
            if tensors[name].is_sparse:
                raise _refusal(
                    settings, f"has a sparse gradient, that of {name}; expected sparse=False"
                )
    return tensors


def _alike(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )


def _seeded(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    seed_globals(0, "trial")
    logits: torch.Tensor = network(images.clone())
    return logits


def _refusal(settings: Model, what: str) -> Refusal:
    return Refusal(f"model.import: {settings.target} {what}")


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
