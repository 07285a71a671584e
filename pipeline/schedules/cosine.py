"""Cosine decay: the learning rate falls to zero along half a wave.

Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017.
"""

import math
from typing import ClassVar, final

from pipeline.schedules._schedule import ClosedForm, Course


@final
class Cosine(ClosedForm):
    """A schedule without settings."""

    name: ClassVar = "cosine"

    def multiplier(self, update: int, course: Course) -> float:
        """Return (1 + cos(pi t / T)) / 2 at update t of T."""
        return (1 + math.cos(math.pi * update / course.updates)) / 2
