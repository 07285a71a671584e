"""Inverse square root decay: the learning rate falls with the root of the number of epochs.

A factor in front of the root is part of the learning rate.
"""

import math
from typing import ClassVar, final

from pipeline.schedules._schedule import ClosedForm, Course


@final
class InverseSqrt(ClosedForm):
    """A schedule without settings."""

    name: ClassVar = "inverse_sqrt"

    def multiplier(self, update: int, course: Course) -> float:
        """Return 1 / sqrt(epoch); epochs count from 1."""
        return 1 / math.sqrt(1 + update // course.per_epoch)
