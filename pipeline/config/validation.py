"""Check plain values against a model of settings, with one line per error."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from pipeline.runtime.errors import Refusal

Model = TypeVar("Model", bound=BaseModel)
SIGNS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
WORDS = {
    "tuple_type": "a list, as in [one, other]",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "string_pattern_mismatch": "a name of small letters, digits and _",
}


def checked(model: type[Model], value: Any, source: Path | str, where: str = "") -> Model:
    """Return `value` as a `model`.

    Args:
        model: The class of settings.
        value: The plain values.
        source: The file of the value, for errors.
        where: The key above the value in that file, for errors.

    Raises:
        Refusal: A value is invalid; the error has one line for each: file, key, value and rule.
    """
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise Refusal(*dict.fromkeys(_lines(model, error, source, where))) from None


def _lines(
    model: type[BaseModel], error: ValidationError, source: Path | str, where: str
) -> Iterator[str]:
    for item in error.errors(include_url=False):
        if item["type"] == "default_factory_not_called":  # follows from the error of another field
            continue
        branchless = [str(part) for part in item["loc"] if "[" not in str(part)]  # of a union
        key = ".".join([where, *branchless] if where else branchless)
        if item["type"] == "extra_forbidden":
            keys = ", ".join(_owner(model, item["loc"]).model_fields)
            yield f"{source}: {key}: unknown key; allowed are: {keys or 'none'}"
        elif item["type"] == "missing":
            yield f"{source}: {key}: missing"
        else:
            allowed = _bounds(model, item["loc"]) or WORDS.get(item["type"]) or _rule(item["msg"])
            yield f"{source}: {key}: {json.dumps(item['input'])} is refused; allowed is {allowed}"


def _rule(message: str) -> str:
    """Return the values that a message of pydantic allows."""
    return message.removeprefix("Input should be ").removeprefix("Value error, ")


def _owner(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the model that holds the key at the end of `place`."""
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        for inner in (annotation, *get_args(annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return model


def _bounds(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """Return the type and all bounds of a number's field, empty where it has no bounds."""
    field = _owner(model, place).model_fields.get(str(place[-1])) if place else None
    if field is None:
        return ""
    bounds = [
        f"{sign} {getattr(rule, name):g}"
        for rule in field.metadata
        for name, sign in SIGNS.items()
        if hasattr(rule, name)
    ]
    kind = "a whole number" if field.annotation is int else "a number"
    return f"{kind}, {' and '.join(bounds)}" if bounds else ""
