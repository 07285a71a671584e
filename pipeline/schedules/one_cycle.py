"""One cycle: the learning rate rises along half a wave, and falls along another to almost zero.

Smith and Topin, Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
Rates, 2018. The momentum stays as it is.
"""

from typing import ClassVar, final

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from pipeline.schedules._schedule import Course, Schedule

ROUNDING = 1e-9  # relative


@final
class OneCycle(Schedule):
    """Settings of the one-cycle schedule.

    Attributes:
        pct_start: The share of training in which the rate rises to the full learning rate.
        div_factor: The full learning rate over the first one.
        final_div_factor: The first learning rate over the last one.
    """

    name: ClassVar = "one_cycle"
    also_called: ClassVar = ("onecyclelr", "super_convergence")

    pct_start: float = Field(0.3, ge=0, lt=1)
    div_factor: float = Field(25.0, ge=1)
    final_div_factor: float = Field(1e4, ge=1)

    def scheduler(self, optimizer: Optimizer, course: Course) -> LRScheduler:
        """Return torch's OneCycleLR."""
        rises_at_once = self.pct_start * course.updates == 1  # where torch divides by zero
        return OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=course.updates,
            pct_start=self.pct_start * (1 - ROUNDING) if rises_at_once else self.pct_start,
            anneal_strategy="cos",
            cycle_momentum=False,
            div_factor=self.div_factor,
            final_div_factor=self.final_div_factor,
            three_phase=False,
        )
