"""Inverse time decay, also 1/t decay: the learning rate falls with the number of epochs.

Robbins and Monro, A Stochastic Approximation Method, Annals of Mathematical Statistics 22, 1951.
"""

from typing import ClassVar, final

from pydantic import Field

from pipeline.schedules._schedule import ClosedForm, Course


@final
class InverseTime(ClosedForm):
    """Settings of inverse time decay.

    Attributes:
        rate: How fast it falls, per epoch: after 1 / rate epochs it is half.
    """

    name: ClassVar = "inverse_time"

    rate: float = Field(1.0, ge=0)

    def multiplier(self, update: int, course: Course) -> float:
        """Return 1 / (1 + rate * epoch); epochs count from 0."""
        return 1 / (1 + self.rate * (update // course.per_epoch))
