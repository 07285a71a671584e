"""Show progress of a grid of runs or a folder of images: a bar; without a terminal, plain lines."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

STEPS = 5  # plain lines per grid


class ProgressCounter:
    """Count finished jobs by state and show the counts."""

    def __init__(self, title: str, total: int, bar: Progress | None):
        self.title = title
        self.total = total
        self.bar = bar
        self.task = bar.add_task(title, total=total, states="") if bar else None
        self.states: Counter[str] = Counter()
        self.began = time.monotonic()

    def add(self, state: str, count: int = 1) -> None:
        """Count `count` more jobs that have ended in `state`."""
        self.states[state] += count
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, advance=count, states=self._troubles())
            self.bar.refresh()
        elif self._due(count):
            print(self._line(), flush=True)

    def _due(self, count: int) -> bool:
        ended, steps = self.states.total(), min(STEPS, self.total)
        return ended * steps // self.total > (ended - count) * steps // self.total

    def _troubles(self) -> str:
        return ", ".join(
            f"{count} {state}" for state, count in sorted(self.states.items()) if state != "done"
        )

    def _line(self) -> str:
        ended = self.states.total()
        left = (time.monotonic() - self.began) / ended * (self.total - ended)
        troubles = f", {self._troubles()}" if self._troubles() else ""
        return f"{self.title}: {ended}/{self.total} ended{troubles}, about {left:.0f} s left"


@contextmanager
def progress(title: str, total: int) -> Iterator[ProgressCounter]:
    """Yield a counter of `total` jobs, drawn as a bar on a terminal; nothing is drawn of no job.

    The bar has no thread, so that workers may be forked meanwhile.
    """
    if not total or not sys.stderr.isatty():
        yield ProgressCounter(title, total, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[states]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False) as bar:
        yield ProgressCounter(title, total, bar)
