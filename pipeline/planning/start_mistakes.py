"""Check a start: values that have no effect, and layers with random weights that stay frozen."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.start import Start
from pipeline.config.validation import Inner, Source, checked, invalid, place_of
from pipeline.planning.protocols import Protocol
from pipeline.runtime.errors import Refusal

OF_FIRST_PHASE = ("head_share", "rates.head")
BELOW_HEAD = ("rates.trunk", "rates.decay")


def checked_start(values: Any, source: Source, where: str = "start") -> Start:
    """Return the start that a mapping describes.

    Args:
        values: The plain values.
        source: Their file, for errors.
        where: Their key in that file, for errors.

    Raises:
        Refusal: A value is invalid, the number of layers is not that of last_k, or layers that keep
            random weights are never trained.
    """
    if isinstance(values, Mapping):
        _require_number(values, place_of(source, f"{where}.k"))
    start = checked(Start, values, source, where)
    _require_training(start, place_of(source, f"{where}.reinitialize"))
    return start


def require_effect(start: Start, values: Mapping[str, Any], source: Source) -> None:
    """Check that every value has an effect; a value equal to its default is always accepted.

    Args:
        start: The start, with these values.
        values: The values as written; keys of `rates` dotted, or in a mapping.
        source: Where they come from, for errors.

    Raises:
        Refusal: A value has no effect.
    """
    usual = dict(_flat(Start().model_dump(mode="json")))
    lines = []
    for key, value in _flat(values):
        reason = _without_effect(start, key)
        if reason and value != usual[key]:
            default = usual[key] if isinstance(usual[key], str) else f"{usual[key]:g}"
            lines.append(invalid(place_of(source, key), value, f"{default} {reason}"))
    if lines:
        raise Refusal(*lines)


def require_effects(document: Mapping[str, Any], protocol: Protocol, source: Source) -> None:
    """Check that values of the starts of a protocol and of its pretrainings have an effect.

    Args:
        document: The values of the protocol as written.
        protocol: The resolved protocol.
        source: The file of the values, for errors.

    Raises:
        Refusal: A value has no effect.
    """
    start = Start.model_validate(protocol.start)
    require_effect(start, document.get("start") or {}, Inner(source, "start"))
    for name, values in protocol.pretraining.items():
        start_values = document["pretraining"][name].get("start") or {}
        start = Start.model_validate(values["start"])
        require_effect(start, start_values, Inner(source, f"pretraining.{name}.start"))


def _without_effect(start: Start, key: str) -> str:
    """Return why a key has no effect; "" if it has one."""
    if key in OF_FIRST_PHASE and start.train != "head_then_all":
        return "without train: head_then_all, which alone has a first phase"
    if key == "norm" and start.train == "all":
        return "with train: all, which freezes no layer"
    if key in BELOW_HEAD and _trained(start) == 1:
        return f"with {_mode(start)}, which trains no layer below the head"
    return ""


def _require_number(values: Mapping[str, Any], where: str) -> None:
    """Check that the number of layers is given if and only if last_k is trained."""
    train, k = values.get("train", "all"), values.get("k")
    if train == "last_k" and k is None:
        raise Refusal(f"{where}: missing; expected an integer >= 1 with train: last_k")
    if train != "last_k" and k is not None:
        raise Refusal(invalid(where, k, f"null with train: {train}; k is that of last_k"))


def _require_training(start: Start, where: str) -> None:
    """Check that no layer below the head keeps its random weights to the end."""
    trained = _trained(start)
    if trained is not None and start.reinitialize >= trained:
        most = f"an integer <= {trained - 1}" if trained > 1 else "0"
        expected = f"{most} with {_mode(start)}: a random layer would be frozen, never trained"
        raise Refusal(invalid(where, start.reinitialize, expected))


def _trained(start: Start) -> int | None:
    """Return the number of layers that are trained in the end, including the head; None for all."""
    if start.train == "last_k":
        return start.k
    is_probe = start.train == "head" or (start.train == "head_then_all" and start.head_share == 1)
    return 1 if is_probe else None


def _mode(start: Start) -> str:
    """Return the values that decide how many layers are trained."""
    if start.train == "last_k":
        return f"k: {start.k}"
    return "train: head" if start.train == "head" else "head_share: 1"


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield dotted keys with their values."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{inner}", each) for inner, each in _flat(value))
        else:
            yield key, value
