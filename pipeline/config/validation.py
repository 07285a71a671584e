"""Checks plain values against a model of settings; one line per error."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from pipeline.runtime.errors import Refusal

Model = TypeVar("Model", bound=BaseModel)

WORDS = {
    "tuple_type": "a list, as in [one, other]",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "string_pattern_mismatch": "a name of small letters, digits and _",
}


def checked(model: type[Model], value: Any, source: Path | str, where: str = "") -> Model:
    """`value` as a `model`, or a Refusal with one line per error: file, key, value, what is allowed."""
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise Refusal(*dict.fromkeys(_lines(model, error, source, where))) from None


def _lines(
    model: type[BaseModel], error: ValidationError, source: Path | str, where: str
) -> Iterator[str]:
    for item in error.errors(include_url=False):
        if (
            item["type"] == "default_factory_not_called"
        ):  # the error of the field that it looks at is enough
            continue
        places = [
            str(part) for part in item["loc"] if "[" not in str(part)
        ]  # without the branches of a union
        path = ".".join([where] * bool(where) + places)
        if item["type"] == "extra_forbidden":
            keys = ", ".join(_owner(model, item["loc"]).model_fields)
            yield f"{source}: {path}: unknown key; allowed are: {keys or 'none'}"
        elif item["type"] == "missing":
            yield f"{source}: {path}: missing"
        else:
            rule = WORDS.get(item["type"]) or item["msg"].removeprefix(
                "Input should be "
            ).removeprefix("Value error, ")
            yield f"{source}: {path}: {json.dumps(item['input'])} is refused; allowed is {_range(model, item['loc']) or rule}"


def _owner(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that holds the key at the end of `place`."""
    for part in place[:-1]:
        written = (
            model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        )
        for inner in (written, *get_args(written)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return model


def _range(model: type[BaseModel], place: tuple[int | str, ...]) -> str:
    """Every bound of a number's field at once, so that one reading of the error is enough."""
    field = _owner(model, place).model_fields.get(str(place[-1])) if place else None
    signs = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    bounds = [
        f"{sign} {getattr(rule, name):g}"
        for rule in (field.metadata if field else ())
        for name, sign in signs.items()
        if hasattr(rule, name)
    ]
    kind = "a whole number" if field and field.annotation is int else "a number"
    return f"{kind}, {' and '.join(bounds)}" if bounds else ""
