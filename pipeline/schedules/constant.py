"""A constant learning rate."""

from typing import ClassVar, final

from pipeline.schedules._schedule import ClosedForm, Course


@final
class Constant(ClosedForm):
    """A schedule without settings."""

    name: ClassVar = "constant"

    def multiplier(self, update: int, course: Course) -> float:
        """Return 1."""
        return 1.0
