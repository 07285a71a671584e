"""Define the interface of a learning-rate schedule, and the warm-up in front of any."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, SequentialLR

from pipeline.config.settings import Settings


@dataclass(frozen=True)
class Course:
    """The length of a training.

    Attributes:
        updates: The number of updates.
        per_epoch: Those of one epoch.
        snapshots: The number of times that weights are kept, evenly spaced.
    """

    updates: int
    per_epoch: int
    snapshots: int = 0


class Schedule(Settings, ABC):
    """Settings of a schedule; one concrete class per file of this folder.

    Attributes:
        name: The name in YAML, which is the name of the file.
        also_called: Its names elsewhere, for the error message for an unknown name.
        needs_snapshots: Whether `snapshots` is the number of its cycles.
    """

    name: ClassVar[str]
    also_called: ClassVar[tuple[str, ...]] = ()
    needs_snapshots: ClassVar[bool] = False

    @abstractmethod
    def scheduler(self, optimizer: Optimizer, course: Course) -> LRScheduler:
        """Return what changes the optimizer's learning rate after every update."""


class ClosedForm(Schedule):
    """A schedule that multiplies the learning rate by a function of the update."""

    @abstractmethod
    def multiplier(self, update: int, course: Course) -> float:
        """Return what the learning rate is multiplied by, in [0, 1].

        Args:
            update: The number of the update, from 0 to `course.updates` - 1.
            course: The length of the training, without warm-up.
        """

    def scheduler(self, optimizer: Optimizer, course: Course) -> LRScheduler:
        """Return torch's LambdaLR of the multiplier; after the last update it stays the same."""
        last = course.updates - 1
        return LambdaLR(optimizer, lambda update: self.multiplier(min(update, last), course))


def warm_up_updates(share: float, updates: int) -> int:
    """Return the number of updates of a warm-up that is this share of all."""
    return int(share * updates)


def with_warm_up(
    schedule: Schedule, optimizer: Optimizer, course: Course, share: float
) -> LRScheduler:
    """Return the scheduler of a schedule that begins after a warm-up.

    In a warm-up of W updates the rate of update u, from 0, is (u + 1) / (W + 1) of the rate with
    which the schedule begins.

    Args:
        schedule: The schedule.
        optimizer: The optimizer.
        course: The length of the training.
        share: The share of the updates that the warm-up takes, in [0, 1).
    """
    length = warm_up_updates(share, course.updates)
    if not length:
        return schedule.scheduler(optimizer, course)
    # before the ramp: one_cycle sets the rate with which it begins
    after = schedule.scheduler(optimizer, replace(course, updates=course.updates - length))
    ramp = LambdaLR(optimizer, lambda update: (update + 1) / (length + 1))
    return SequentialLR(optimizer, [ramp, after], milestones=[length])
