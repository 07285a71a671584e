"""Print tables: narrow enough for 80 columns, plain where the output is a file."""

import re

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

NARROW = 100  # columns of a terminal in which long words are broken
LONGEST = 24  # characters of a word there


def table(*columns: str, title: str = "") -> Table:
    """Return an empty table that folds long words.

    Args:
        *columns: The headers.
        title: The title; none if it is empty.
    """
    empty = Table(
        *columns, title=title or None, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for column in empty.columns:
        column.overflow = "fold"
    return empty


def breakable(text: str) -> str:
    """Return a text whose long words have line breaks after (, = or a dot between names.

    As `stochastic_depth(survival=0.8)` or `encoder.attention.projection`, which would be folded
    anywhere where the terminal is narrow.

    Args:
        text: A text for a cell.
    """
    if Console().width > NARROW:
        return text
    return re.sub(rf"\S{{{LONGEST + 1},}}", lambda match: _broken(match[0]), text)


def _broken(word: str) -> str:
    """Return a word with a line break after the last place that leaves a line short enough."""
    places = [match.end() for match in re.finditer(r"[(=]|\.(?=[^\W\d])", word[: LONGEST + 1])]
    places = [place for place in places if place <= LONGEST]
    if len(word) <= LONGEST or not places:
        return word
    return f"{word[: places[-1]]}\n{_broken(word[places[-1] :])}"


def show(content: Table) -> None:
    """Print a table, without colors where NO_COLOR is set or the output is not a terminal.

    Args:
        content: The table.
    """
    Console().print(content)


def say(sentence: str) -> None:
    """Print a sentence, broken between words where the terminal is narrower.

    Args:
        sentence: Plain text, without markup.
    """
    Console().print(sentence, highlight=False, markup=False)
