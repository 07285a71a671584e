"""Step decay: the learning rate is multiplied by a factor at equal distances."""

import math
from typing import ClassVar, final

from pydantic import Field

from pipeline.schedules._schedule import ClosedForm, Course

ROUNDING = 1e-9  # of a step: 0.3 of training is three steps of 0.1 in spite of rounding


@final
class Step(ClosedForm):
    """Settings of step decay.

    Attributes:
        factor: What the learning rate is multiplied by at each step.
        every: The distance of two steps, as a share of training.
    """

    name: ClassVar = "step"
    also_called: ClassVar = ("multi_step", "staircase")

    factor: float = Field(0.5, gt=0, le=1)
    every: float = Field(0.25, gt=0, le=1)

    def multiplier(self, update: int, course: Course) -> float:
        """Return factor^(number of steps so far)."""
        steps = math.floor(update / (self.every * course.updates) + ROUNDING)
        return float(self.factor**steps)
