"""How every table looks at a terminal: narrow enough for 80 columns, plain where nobody watches.

Separate because several commands print one.
"""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def table(*columns: str, title: str = "") -> Table:
    """An empty table whose long words are folded."""
    tight: dict[str, Any] = {"box": SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
    made = Table(*columns, title=title or None, **tight)
    for column in made.columns:
        column.overflow = "fold"
    return made


def show(made: Table) -> None:
    """Prints it; rich leaves colours out where NO_COLOR is set or the output is no terminal."""
    Console().print(made)


def say(sentence: str) -> None:
    """Prints prose, broken between words where the terminal is narrower."""
    Console().print(sentence, highlight=False, markup=False)
