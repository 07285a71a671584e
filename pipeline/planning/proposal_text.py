"""Write a proposed protocol as YAML, with the reason above each value."""

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from pipeline.planning.proposal import Proposal, ProposedValue

WIDTH = 98
PLAIN = re.compile(r"[a-z][\w.]*")  # text that needs no quotes, unless it is one of these
WORDS = ("true", "false", "null", "yes", "no", "on", "off")


def protocol_text(proposal: Proposal, heading: str) -> str:
    """Return the content of the file.

    Args:
        proposal: The values.
        heading: What the first lines say of the data.
    """
    lines = list(_comment(heading, ""))
    section = ""
    for proposed in proposal.values:
        above, _, key = proposed.key.partition(".")
        if key and above != section:
            lines.append(f"{above}:")
        section = above
        lines += _lines(proposed, key or above, "  " if key else "")
    return "\n".join(lines) + "\n"


def _lines(proposed: ProposedValue, key: str, indent: str) -> Iterator[str]:
    if proposed.reason:
        yield from _comment(proposed.reason, indent)
    yield f"{indent}{key}: {flow(proposed.value)}"


def _comment(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(
        text, WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False
    )


def flow(value: Any) -> str:
    """Return a value in YAML's flow style, which `read_yaml` reads back.

    Args:
        value: A value of YAML: a number, text, list or mapping.
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    if PLAIN.fullmatch(value) and value not in WORDS:
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\U{ord(character):08x}"
