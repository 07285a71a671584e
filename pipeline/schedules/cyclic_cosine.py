"""Cyclic cosine: as many half waves as there are snapshots, each from the full learning rate.

Huang, Li, Pleiss, Liu, Hopcroft and Weinberger, Snapshot Ensembles: Train 1, Get M for Free, ICLR
2017.
"""

import math
from typing import ClassVar, final

from pipeline.schedules._cycles import ends
from pipeline.schedules._schedule import ClosedForm, Course


@final
class CyclicCosine(ClosedForm):
    """A schedule without settings; `training.snapshots` is the number of its cycles."""

    name: ClassVar = "cyclic_cosine"
    needs_snapshots: ClassVar = True

    def multiplier(self, update: int, course: Course) -> float:
        """Return (cos(pi t / C) + 1) / 2 at step t of a cycle of C updates."""
        cycles = course.snapshots
        bounds = [0, *ends(course.updates, cycles)]
        cycle = next((number for number in range(1, cycles) if update < bounds[number]), cycles)
        start, end = bounds[cycle - 1], bounds[cycle]
        return (math.cos(math.pi * (update - start) / (end - start)) + 1) / 2
