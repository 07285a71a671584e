"""Print tables: narrow enough for 80 columns, plain where the output is a file."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def table(*columns: str, title: str = "") -> Table:
    """Return an empty table that folds long words."""
    empty = Table(
        *columns, title=title or None, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for column in empty.columns:
        column.overflow = "fold"
    return empty


def show(content: Table) -> None:
    """Print a table, without colors where NO_COLOR is set or the output is not a terminal."""
    Console().print(content)


def say(sentence: str) -> None:
    """Print a sentence, broken between words where the terminal is narrower."""
    Console().print(sentence, highlight=False, markup=False)
