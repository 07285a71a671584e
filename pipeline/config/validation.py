"""Check plain values against a model of settings, and give every error line its form.

A line is `FILE: KEY: invalid value VALUE; expected WHAT`, or names a missing key, an unknown key or
an unknown name, with a suggestion where one is close.
"""

import difflib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from pipeline.runtime.errors import Refusal

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[int | str, ...]
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
LENGTHS = {"min_length": ">=", "max_length": "<="}
CONTAINERS = {"Dictionary": "a mapping", "Tuple": "a list", "List": "a list"}
ITEMS: dict[Any, int] = {tuple: 0, list: 0, dict: 1}  # which argument is that of the items
MAPPING = "a mapping of keys to values"
NAME = "a name of lowercase letters, digits and _"
PATTERNS = {r"^[a-z0-9_]+$": NAME, r"\S": "text that is not blank"}
DECAY = "weight decay is a regularizer: {name: weight_decay, strength: 0.001} in an arm"
RATE = "set training.learning_rate instead"
BETAS = "the first of betas is beta1, the second beta2"
ELSEWHERE = {  # keys of other libraries, and what they are here
    **dict.fromkeys(("weight_decay", "wd", "l2", "l2_penalty", "weightdecay"), DECAY),
    **dict.fromkeys(("lr", "learning_rate", "learningrate", "eta", "eta0"), RATE),
    "betas": BETAS,
}
KEY = re.compile(r"[a-z_]+(\.\w+)*")  # a dotted key
LONGEST = 80  # characters of a value in a line
MOST_NAMES = 20  # names that a line lists; of more, the closest
CLOSEST = 3


class Origin(ABC):
    """Where values come from, if values of different keys come from different files."""

    @abstractmethod
    def place(self, key: str) -> str:
        """Return the beginning of the error line for a value: its file and its key.

        Args:
            key: The dotted key of the value; "" for all values.
        """


@final
@dataclass(frozen=True)
class Inner(Origin):
    """The values of a mapping inside another.

    Attributes:
        outer: Where the outer mapping comes from.
        where: The dotted key of the inner mapping.
    """

    outer: Origin | Path | str
    where: str

    def place(self, key: str) -> str:
        """Return the file and the complete key."""
        return place_of(self.outer, f"{self.where}.{key}" if key else self.where)


Source = Origin | Path | str  # a path or a text: the file of all values


def place_of(source: Source, key: str) -> str:
    """Return the beginning of the error line for a value: its file and its key."""
    if isinstance(source, Origin):
        return source.place(key)
    return f"{source}: {key}" if key else str(source)


def checked(model: type[Model], value: Any, source: Source, where: str = "") -> Model:
    """Return `value` as a `model`.

    Args:
        model: The class of settings.
        value: The plain values.
        source: The file of the value, for errors, or the origin of its keys.
        where: The key above the value in that file, for errors.

    Raises:
        Refusal: A value is invalid; a line per error: file, key, value and what is expected.
    """
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise Refusal(*dict.fromkeys(_lines(model, error, source, where))) from None


@contextmanager
def errors_in(source: Source) -> Iterator[None]:
    """Begin every line of a Refusal with the file of the key that the line begins with."""
    try:
        yield
    except Refusal as refusal:
        raise Refusal(*(_with_file(line, source) for line in refusal.lines)) from None


@contextmanager
def options_of(command: str) -> Iterator[None]:
    """Begin every line of a Refusal that begins with an option with the command."""
    try:
        yield
    except Refusal as refusal:
        lines = (f"{command}: {line}" if line[:2] == "--" else line for line in refusal.lines)
        raise Refusal(*lines) from None


@final
class Mistakes(ValueError):
    """Mistakes that a validator of a model finds, each with its key.

    Args:
        mistakes: The dotted key inside the model ("" for the model itself), and what is wrong.
    """

    def __init__(self, *mistakes: tuple[str, str]) -> None:
        super().__init__("; ".join(f"{key}: {text}" for key, text in mistakes))
        self.mistakes = mistakes


@final
class Refusals:
    """The error lines of several checks, which are raised together."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Keep the lines of a Refusal, and go on."""
        try:
            yield
        except Refusal as refusal:
            self.lines += refusal.lines

    def require_none(self) -> None:
        """Raise one Refusal with all lines, each once.

        Raises:
            Refusal: There are lines.
        """
        if self.lines:
            raise Refusal(*dict.fromkeys(self.lines))


def _with_file(line: str, source: Source) -> str:
    """Return a line that begins with a key, with the file of this key before it."""
    key, colon, rest = line.partition(": ")
    if not colon or not KEY.fullmatch(key):
        return f"{place_of(source, '')}: {line}"
    return f"{place_of(source, key)}: {rest}"


def invalid(where: str, value: Any, expected: str) -> str:
    """Return the error line for an invalid value.

    Args:
        where: The file and the key, as "file: key".
        value: The value; a long one is shortened.
        expected: A text on what is expected.
    """
    shown = json.dumps(value)
    if len(shown) > LONGEST and isinstance(value, Mapping):
        name = value.get("id") or value.get("name")
        return f"{where}: invalid values{f' of {name!r}' if name else ''}; expected {expected}"
    if len(shown) > LONGEST:
        shown = f"{shown[: LONGEST - 3]}..."
    return f"{where}: invalid value {shown}; expected {expected}"


def expectation(value: Any, expected: str, condition: str = "") -> str:
    """Return the end of the error line for an invalid value.

    Args:
        value: The value.
        expected: A text on what is expected.
        condition: What makes it invalid, as in "with rule slope".
    """
    shown = json.dumps(value)
    return f"invalid value {shown}{f' {condition}' if condition else ''}; expected {expected}"


def unknown_name(
    where: str, name: str, names: Collection[str], synonyms: Mapping[str, str] | None = None
) -> str:
    """Return the error line for a name that does not exist, with the closest that does.

    Of more than `MOST_NAMES` names, only the three closest are listed.

    Args:
        where: The file and the key, as "file: key".
        name: The unknown name.
        names: The names that exist.
        synonyms: Names in other libraries, in lowercase -> names in `names`.
    """
    line = f"{where}: unknown name {name!r}; expected "
    if len(names) > MOST_NAMES:
        near = difflib.get_close_matches(name, sorted(names), n=CLOSEST, cutoff=0)
        return f"{line}one of {len(names)} names, the closest: {', '.join(near)}"
    line += one_of(sorted({*names}))
    return line + suggestion((synonyms or {}).get(name.lower(), name), names)


def unknown_key(where: str, names: Collection[str]) -> str:
    """Return the error line for a key that does not exist, with the closest that does.

    Args:
        where: The file and the key.
        names: The keys that exist.
    """
    key = re.split("[. ]", where)[-1]
    place = ELSEWHERE.get(key.lower())
    hint = f"; {place}" if place else suggestion(key, names)
    return f"{where}: unknown key; expected {one_of(names)}{hint}"


def constraints(model: type[BaseModel], key: str) -> list[Any]:
    """Return the constraints of a field, such as its bounds.

    Args:
        model: A class of settings.
        key: The name of one of its fields.
    """
    return _annotation(model, (key,))[1]


def choices(model: type[BaseModel], key: str) -> tuple[Any, ...]:
    """Return the values of a field that has a list of them; () for any other.

    Args:
        model: A class of settings.
        key: The name of one of its fields.
    """
    kind = _annotation(model, (key,))[0]
    if kind is bool:
        return False, True
    return tuple(choice for branch in _branches(kind) for choice in _choices(branch))


def one_of(names: Collection[str]) -> str:
    """Return the names that are expected, in words.

    Args:
        names: The allowed names, in the order to print.
    """
    return f"one of: {', '.join(names)}" if names else "none"


def suggestion(name: str, names: Collection[str]) -> str:
    """Return the end of an error line that suggests the closest name; "" if none is close.

    Args:
        name: The unknown name.
        names: The names that exist.
    """
    lowercase = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), lowercase, n=1)
    return f"; did you mean {lowercase[near[0]]!r}?" if near else ""


def description(kind: Any, rules: list[Any]) -> str:
    """Return in words what an annotation accepts under its constraints.

    Args:
        kind: The annotation, such as int or Literal.
        rules: The constraints of the field, such as bounds.
    """
    if get_origin(kind) is Annotated:
        inner, *metadata = get_args(kind)
        return description(inner, [rule for each in metadata for rule in _constraints(each)])
    if len(branches := _branches(kind)) > 1:
        return " or ".join(description(branch, rules) for branch in branches)
    if choices := _choices(kind):
        return one_of(choices) if len(choices) > 1 else choices[0]
    if kind in (int, float):
        bounds = " and ".join(_bounds(rules))
        return f"{'an integer' if kind is int else 'a number'} {bounds}".strip()
    if get_origin(kind) in (tuple, list):
        return f"a list (each {description(_item(kind), [])})"
    if kind is str:
        return _text(rules)
    return {bool: "true or false", type(None): "null"}.get(kind, MAPPING)


def _lines(
    model: type[BaseModel], error: ValidationError, source: Source, where: str
) -> Iterator[str]:
    errors = error.errors(include_url=False)
    inside = {item["loc"][:end] for item in errors for end in range(len(item["loc"]))}
    for item in errors:
        place = item["loc"]
        if item["type"] == "default_factory_not_called" or (
            item["type"] == "too_short" and place in inside
        ):
            continue  # follows from the error of another field, or of an item
        is_unknown_key = item["type"] == "extra_forbidden"
        keys = _keys_in_file(model, place[:-1] if is_unknown_key else place)
        if is_unknown_key:
            keys.append(str(place[-1]))
        key = ".".join([where, *keys] if where else keys)
        full = place_of(source, key)
        if is_unknown_key:
            yield unknown_key(full, list(_fields(_annotation(model, place[:-1])[0])))
        elif isinstance(error_of_item := item.get("ctx", {}).get("error"), Mistakes):
            for inner, text in error_of_item.mistakes:
                yield f"{place_of(Inner(source, key) if key else source, inner)}: {text}"
        elif item["type"] == "missing":
            yield f"{full}: missing; expected {description(*_annotation(model, place))}"
        else:
            line = invalid(full, item["input"], _expected(model, item))
            yield line + _suggested_choice(model, item)


def _expected(model: type[BaseModel], item: Mapping[str, Any]) -> str:
    """Return what an error of pydantic expects instead of the value."""
    context = item.get("ctx", {})
    if item["type"] == "value_error":
        return str(item["msg"]).removeprefix("Value error, ")
    for name, sign in LENGTHS.items():
        if name in context:
            container = CONTAINERS.get(context.get("field_type", ""), "text")
            return f"{container} of length {sign} {context[name]}"
    if item["loc"] and item["loc"][-1] == "[key]":
        return NAME
    return description(*_annotation(model, item["loc"]))


def _suggested_choice(model: type[BaseModel], item: Mapping[str, Any]) -> str:
    if item["type"] != "literal_error" or not isinstance(item["input"], str):
        return ""
    kind, _ = _annotation(model, item["loc"])
    choices = [choice for part in _branches(kind) for choice in _choices(part)]
    return suggestion(item["input"], choices)


def _annotation(model: type[BaseModel], place: Place) -> tuple[Any, list[Any]]:
    """Return the annotation and the constraints of what is at `place`."""
    kind: Any = model
    rules: list[Any] = []
    for part in place:
        fields = _fields(kind)
        if part in fields:
            kind, rules = fields[str(part)].annotation, fields[str(part)].metadata
        elif not _is_label(part, kind):
            items = [_item(branch) for branch in _branches(kind) if _item(branch)]
            kind, rules = items[0] if items else Any, []
    return kind, rules


def _keys_in_file(model: type[BaseModel], place: Place) -> list[str]:
    """Return the parts of a place that a file has: all but the branches of unions."""
    return [
        str(part)
        for number, part in enumerate(place)
        if "[" not in str(part) and not _is_label(part, _annotation(model, place[:number])[0])
    ]


def _fields(kind: Any) -> dict[str, FieldInfo]:
    """Return the fields of a model by their keys in YAML."""
    for branch in _branches(kind):
        if isinstance(branch, type) and issubclass(branch, BaseModel):
            return {info.alias or name: info for name, info in branch.model_fields.items()}
    return {}


def _branches(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_label(part: int | str, kind: Any) -> bool:
    """Return whether a part of a place names a branch of a union, as in `tuple[float, ...]`."""
    branches = [branch for branch in _branches(kind) if branch is not type(None)]
    return isinstance(part, str) and len(branches) > 1 and part not in _fields(kind)


def _item(kind: Any) -> Any:
    """Return the annotation of the items of a list or of the values of a mapping."""
    if get_origin(kind) is Annotated:
        return _item(get_args(kind)[0])
    position = ITEMS.get(get_origin(kind))
    return None if position is None else get_args(kind)[position]


def _choices(kind: Any) -> tuple[str, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()


def _constraints(rule: Any) -> list[Any]:
    return rule.metadata if isinstance(rule, FieldInfo) else [rule]


def _bounds(rules: list[Any]) -> list[str]:
    return [
        f"{sign} {getattr(rule, name):g}"
        for rule in rules
        for name, sign in SIGNS.items()
        if hasattr(rule, name)
    ]


def _text(rules: list[Any]) -> str:
    patterns = [rule.pattern for rule in rules if getattr(rule, "pattern", None)]
    return PATTERNS.get(patterns[0], f"text that matches {patterns[0]}") if patterns else "text"
