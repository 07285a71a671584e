"""Show the settings of a class as a Markdown table, for the pages of `docs/` that code writes."""

import inspect
import json
import re
import textwrap
from collections.abc import Collection, Sequence

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pipeline.config.settings import Settings
from pipeline.config.validation import description

ATTRIBUTE = re.compile(r"^(\w+): (.*(?:\n[ ]+.*)*)", re.MULTILINE)  # of a docstring, with its text


def settings_table(kind: type[Settings]) -> str:
    """Return a table with a row for each key: its default and what is allowed; "" without keys.

    Args:
        kind: A class of settings.
    """
    rows = [
        (f"`{key}`", _default(info), description(info.annotation, info.metadata))
        for key, info in _keys(kind).items()
    ]
    return markdown_table(("setting", "default", "allowed"), rows) if rows else ""


def reference_table(kind: type[Settings], left_out: Collection[str] = ()) -> str:
    """Return the table of `settings_table`, with the meaning of each key from docstrings.

    Args:
        kind: The class.
        left_out: Keys that the table does not have.
    """
    texts = _attributes(kind)
    rows = [
        (
            f"`{key}`",
            _default(info),
            description(info.annotation, info.metadata),
            texts.get(name, ""),
        )
        for name, (key, info) in zip(kind.model_fields, _keys(kind).items(), strict=True)
        if key not in left_out
    ]
    return markdown_table(("key", "default", "allowed", "meaning"), rows)


def _keys(kind: type[Settings]) -> dict[str, FieldInfo]:
    return {info.alias or name: info for name, info in kind.model_fields.items()}


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts in Markdown.

    Args:
        columns: The names of the columns.
        rows: The cells of each row.
    """
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _default(info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is PydanticUndefined:
        return "required"
    plain = default.model_dump() if isinstance(default, Settings) else default
    return f"`{json.dumps(plain)}`"


def _attributes(kind: type[Settings]) -> dict[str, str]:
    """Return the descriptions of attributes in the docstrings of a class and its bases."""
    texts: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if issubclass(each, Settings):
            _, _, attributes = (inspect.getdoc(each) or "").partition("Attributes:\n")
            for name, text in ATTRIBUTE.findall(textwrap.dedent(attributes)):
                texts[name] = " ".join(text.split())
    return texts
