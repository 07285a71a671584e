"""Read YAML files: version 1.2, as DVC reads it, without what settings never need.

`1e-3` and `no` mean the same here and in `dvc.yaml`.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from pipeline.runtime.errors import Refusal

LARGEST = 64 * 1024  # bytes
DEEPEST = (
    100  # nested lists and mappings; the C parser of ruamel.yaml overflows its stack at 60,000
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a file, made of str, int, float, bool, None, list and dict only.

    Args:
        path: The YAML file.

    Raises:
        Refusal: The file is missing, oversized or malformed, or holds an alias (these can grow
            without bound), a duplicate key or a value of another type.
    """
    return parse_yaml(_text(path), path)


def yaml_names(folder: Path) -> list[str]:
    """Return the names of the YAML files in a folder, sorted, without their suffix.

    Args:
        folder: A folder, which may not exist.
    """
    return sorted(file.stem for file in folder.glob("*.yaml"))


def parse_yaml(text: str, path: Path) -> dict[str, Any]:
    """Return the mapping in a text, under the rules of `read_yaml`.

    Args:
        text: The content of a YAML file.
        path: The file, for errors.

    Raises:
        Refusal: As for `read_yaml`.
    """
    try:
        if text.lstrip().startswith("%"):
            raise Refusal(f"{path}: a directive such as %YAML; expected plain YAML 1.2")
        _require_plain(text, path)
        document = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise Refusal(f"{path}: {_problem(_syntax_error(text) or error)}") from None
    except (ValueError, KeyError, OverflowError) as error:  # not what its form or tag says
        raise Refusal(f"{path}: not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise Refusal(f"{path}: {_kind(document)}; expected a mapping of keys to values")
    strays = list(_strays(document, ""))
    if strays:
        raise Refusal(*(f"{path}: {where}: {what}" for where, what in strays))
    return document


def _require_plain(text: str, path: Path) -> None:
    """Raise Refusal if a text has an alias or nests deeply.

    Raises:
        YAMLError: The text is malformed.
    """
    depth = 0
    for event in YAML(typ="safe").parse(text):
        if isinstance(event, AliasEvent):
            place = f"{path}: line {event.start_mark.line + 1}"
            raise Refusal(f"{place}: an alias (*{event.anchor}); expected the value itself")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise Refusal(f"{path}: nested too deeply; expected at most {DEEPEST} levels")


def _syntax_error(text: str) -> YAMLError | None:
    """Return the error of the Python parser, whose texts and lines are better than those of C."""
    try:
        for _ in YAML(typ="safe", pure=True).parse(text):
            pass
    except YAMLError as error:
        return error
    return None


def _problem(error: YAMLError) -> str:
    """Return what is wrong and in which line, without the parser's advice."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    words = " ".join(str(problem or error).split())
    if "duplicate key" in words:
        words = words.partition(" with value")[0].replace("found ", "")
    if "'\\t'" in words:
        words = "a tab; indent with spaces"
    return f"not valid YAML{f', line {mark.line + 1}' if mark else ''}: {words}"


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise Refusal(f"{path}: {path.stat().st_size} bytes; expected <= {LARGEST}")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refusal(f"{path}: missing; expected a YAML file") from None
    except IsADirectoryError:
        raise Refusal(f"{path}: is a folder; expected a YAML file") from None
    except UnicodeDecodeError:
        raise Refusal(f"{path}: is not UTF-8 text; expected a YAML file") from None


def _strays(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{where}{key}", "invalid key; expected text"
            yield from _strays(item, f"{where}{key}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strays(item, f"{where}{index}.")
    elif isinstance(value, float) and not math.isfinite(value):
        yield where.rstrip("."), f"invalid value {value}; expected a finite number"
    elif not isinstance(value, str | int | float | bool | type(None)):
        yield (
            where.rstrip("."),
            f"invalid value {value}; expected text, a number, true, false or null",
        )


def _kind(value: Any) -> str:
    return "empty" if value is None else f"holds a {type(value).__name__}"
