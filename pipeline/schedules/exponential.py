"""Exponential decay: the learning rate is multiplied by a factor after every epoch."""

from typing import ClassVar, final

from pydantic import Field

from pipeline.schedules._schedule import ClosedForm, Course


@final
class Exponential(ClosedForm):
    """Settings of exponential decay.

    Attributes:
        factor: What the learning rate is multiplied by after an epoch.
    """

    name: ClassVar = "exponential"

    factor: float = Field(0.95, gt=0, le=1)

    def multiplier(self, update: int, course: Course) -> float:
        """Return factor^epoch; epochs count from 0."""
        return float(self.factor ** (update // course.per_epoch))
