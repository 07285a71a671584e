"""What the test file of a regularizer declares for the tests of every regularizer.

tests/regularizers/test_<name>.py has at module level

    FAULTS        planted faults, functions of pytest's `monkeypatch`; the audit has to notice each
    STRONG        settings that act visibly within a few steps, if the defaults do not
    VARIANTS      settings that take another path through the code than the defaults
    ALSO_NEUTRAL  other spellings of settings without effect
    PER_IMAGE     False if `modify_batch` draws once for a whole batch, or not at all
    shares_a_draw(settings)   whether a noise layer shares one draw in a batch by design
    has_own_form(settings)    whether the deterministic member differs from the plain network

`FAULTS` is required, everything else has a default.
"""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline import models, regularizers
from pipeline.models._standardized import Standardized
from pipeline.regularizers._noise import NoiseLayer, noise_layers

FOLDER = Path(__file__).parents[1] / "regularizers"
NAMES = regularizers.names()
MODEL = {
    "name": "resnet",
    "widths": (4, 8),
    "blocks": 1,
    "hidden": 8,
    "grid": 1,
    "batch_norm": True,
}
SHAPE, CLASSES = (1, 8, 8), 10  # of the digits

Settings = dict[str, Any]
Fault = Callable[[pytest.MonkeyPatch], None]
NOISY: dict[str, bool] = {}  # of the cases asked so far


class Undeclared(Exception):
    """A regularizer has no test file, or one without a planted fault."""


@functools.cache
def declared(name: str, folder: Path = FOLDER) -> ModuleType:
    """Return the test module of a regularizer. Raise Undeclared if it plants no fault."""
    path = folder / f"test_{name}.py"
    if not path.exists():
        raise Undeclared(f"{path.name}: missing; expected the tests of {name}, with FAULTS")
    spec = importlib.util.spec_from_file_location(f"declarations_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not getattr(module, "FAULTS", ()):
        raise Undeclared(f"{path.name}: FAULTS: missing; expected at least one planted fault")
    return module


def _declaration(name: str, key: str, default: Any) -> Any:
    return getattr(declared(name), key, default)


def strong(name: str) -> Settings:
    """Return settings of a regularizer that act visibly within a few steps."""
    return _declaration(name, "STRONG", {})


def item(name: str, settings: Settings | None = None) -> Settings:
    """Return a regularizer as a run's settings have it."""
    chosen = regularizers.settings()[name](**(settings or strong(name)))
    return {"name": name, **chosen.model_dump(mode="json")}


def cases(allowed: Callable[[str, Settings], bool] = lambda name, settings: True) -> list[Any]:
    """Return (name, settings) of every regularizer and each of its variants that is allowed."""
    pairs = [
        (name, settings)
        for name in NAMES
        for settings in [strong(name), *_declaration(name, "VARIANTS", [])]
    ]
    return [
        pytest.param(name, settings, id="-".join([name, *map(str, settings)]))
        for name, settings in pairs
        if allowed(name, settings)
    ]


def faults() -> list[Any]:
    """Return (name, settings, fault) of every case and each planted fault of its regularizer."""
    return [
        pytest.param(*case.values, fault, id=f"{case.id}-fault{number}")
        for case in cases()
        for number, fault in enumerate(declared(case.values[0]).FAULTS)
    ]


def neutral() -> list[Any]:
    """Return every spelling of settings without effect, as a run's settings have it."""
    parameters = []
    for name in NAMES:
        kind = regularizers.settings()[name]
        first = [kind.neutral()] if kind.neutral() is not None else []
        others = [kind(**given) for given in _declaration(name, "ALSO_NEUTRAL", [])]
        for number, settings in enumerate([*first, *others]):
            given = {"name": name, **settings.model_dump(mode="json")}
            parameters.append(pytest.param(given, id=f"{name}-{number}"))
    return parameters


def equipped(name: str, settings: Settings) -> Standardized:
    """Return a small residual network with the noise of a regularizer."""
    network = models.build(MODEL, SHAPE, CLASSES)
    regularizers.equip(network, [regularizers.settings()[name](**settings)])
    return network


def is_noisy(name: str, settings: Settings) -> bool:
    """Return whether a case has noise layers; several tests ask for each."""
    case = f"{name} {settings}"
    if case not in NOISY:
        NOISY[case] = bool(noise_layers(equipped(name, settings)))
    return NOISY[case]


def augments(name: str, settings: Settings) -> bool:
    """Return whether a case changes batches."""
    return regularizers.settings()[name](**settings).augments


def draws_per_image(name: str, settings: Settings) -> bool:
    """Return whether a case draws for each image of a batch."""
    return augments(name, settings) and _declaration(name, "PER_IMAGE", True)


def shares_a_draw(name: str, settings: Settings) -> bool:
    """Return whether a noise layer of a case shares one draw in a batch by design."""
    return _declaration(name, "shares_a_draw", lambda settings: False)(settings)


def has_own_form(name: str, settings: Settings) -> bool:
    """Return whether the deterministic member of a case differs from the plain network."""
    return _declaration(name, "has_own_form", lambda settings: False)(settings)


def changed_layers(change: Callable[[NoiseLayer], None]) -> Fault:
    """Return a fault: every noise layer is changed once it has been placed."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        equip = regularizers.equip

        def faulty(network: Any, chosen: Any) -> None:
            equip(network, chosen)
            for layer in noise_layers(network):
                change(layer)

        monkeypatch.setattr(regularizers, "equip", faulty)

    return plant


def weakened(attribute: str) -> list[Fault]:
    """Return two faults: an attribute of every noise layer at nothing, and at a tenth."""

    def scaled(layer: NoiseLayer, share: float) -> None:
        value = getattr(layer, attribute)
        setattr(layer, attribute, type(value)(value * share))

    return [changed_layers(functools.partial(scaled, share=share)) for share in (0, 0.1)]


def replaced(kind: type, method: str, other: Callable[..., Any]) -> Fault:
    """Return a fault: another function in place of a method."""
    return lambda monkeypatch: monkeypatch.setattr(kind, method, other)


def unchanged_batches(kind: type) -> Fault:
    """Return a fault: batches come back as they went in."""
    return replaced(
        kind, "modify_batch", lambda self, inputs, targets, generator: (inputs, targets)
    )
