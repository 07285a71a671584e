"""A card for every regularizer, made of its own docstrings: `python -m pipeline.terminal.cards > docs/regularizers.md`.

Separate because nobody else reads docstrings. A test holds the page against the code, so it cannot drift.
"""

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from pipeline import regularizers
from pipeline.config.yaml_files import read_yaml
from pipeline.regularizers.base import Regularizer

EXPERIMENTS = Path("experiments")
SIGNS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
HEAD = """# Regularizers

A card for each, made from the docstrings of `pipeline/regularizers/` by `python -m pipeline.terminal.cards`. A study names a
regularizer and its settings, and a list is the strengths to explore: `- {name: dropout, rate: [0.1, 0.25, 0.5]}`.
"""


def cards() -> str:
    """The whole page, Markdown."""
    return "\n".join([HEAD, *(card(name, kind) for name, kind in regularizers.settings().items())])


def card(name: str, kind: type[Regularizer]) -> str:
    """What it is and where it acts, its settings, and the study that asks about it."""
    about = inspect.getdoc(sys.modules[kind.__module__]) or ""
    rows = [
        f"| `{field}` | {_default(info)} | {_allowed(info)} |"
        for field, info in kind.model_fields.items()
    ]
    table = (
        "\n".join(["| setting | default | allowed |", "| --- | --- | --- |", *rows])
        if rows
        else "No settings."
    )
    return (
        "\n\n".join([f"## {name}", about, table, inspect.getdoc(kind) or "", *_also(name, kind)])
        + "\n"
    )


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=True, validated_data={})
    return f"`{json.dumps(value)}`"


def _allowed(info: FieldInfo) -> str:
    """Its type in YAML's words, and its bounds."""
    written = (
        getattr(info.annotation, "__name__", "")
        if isinstance(info.annotation, type)
        else str(info.annotation)
    )
    words = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "a word"}
    if "Literal" in written:
        return ", ".join(f"`{choice}`" for choice in re.findall(r"'([^']*)'", written))
    kinds = [word for kind, word in words.items() if re.search(rf"\b{kind}\b", written)]
    bounds = [
        f"{sign} {getattr(rule, key):g}"
        for rule in info.metadata
        for key, sign in SIGNS.items()
        if hasattr(rule, key)
    ]
    many = " or a list of them" if "tuple" in written else ""
    return ", ".join([" or ".join(kinds) + many, *bounds])


def _also(name: str, kind: type[Regularizer]) -> Iterator[str]:
    for other, why in kind.clashes.items():
        yield f"Not beside `{other}`: {why}."
    study = EXPERIMENTS / f"{name}.yaml"
    if study.exists():
        yield f"Its study, [{study}](../{study}): {read_yaml(study)['question']}"


if __name__ == "__main__":
    print(cards(), end="")
