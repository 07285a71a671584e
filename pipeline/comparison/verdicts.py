"""Define the conclusions from a contrast and from a claim, and the rule of a verdict."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.levels import LEVEL

LOST_RUNS = (  # columns of tables of contrasts: the fields of `Losses`
    *("lost", "ended", "lost_alone"),
    *("reference_lost", "reference_ended", "reference_lost_alone", "both_ended"),
)
Truths = NDArray[np.bool_]


class Verdict(StrEnum):
    """The conclusion on the primary metric of an arm against its reference."""

    HELPS = "helps"
    HURTS = "hurts"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Losses:
    """How many runs of an arm and of its reference collapsed or diverged, at the seeds of the arm.

    Attributes:
        lost: The lost runs of the arm.
        ended: Its runs that are done or diverged.
        lost_alone: The seeds at which its run is lost, while that of its reference is done and not
            lost.
        reference_lost: The lost runs of its reference.
        reference_ended: The runs of its reference that are done or diverged.
        reference_lost_alone: The seeds at which the run of its reference is lost, while its own is
            done and not lost.
        both_ended: The seeds at which both runs are done or diverged.
    """

    lost: int
    ended: int
    lost_alone: int
    reference_lost: int
    reference_ended: int
    reference_lost_alone: int
    both_ended: int

    @classmethod
    def count(cls, lost: Truths, ended: Truths) -> "Losses":
        """Count the runs of a reference and of an arm.

        Args:
            lost: Which runs collapsed or diverged (2, n), the reference first, by seed of the arm.
            ended: Which are done or diverged (2, n).
        """
        both = ended.all(axis=0)
        alone = lost & ~lost[::-1] & both
        (reference_lost, arm_lost), (reference_ended, arm_ended), (reference_alone, arm_alone) = (
            rows.sum(axis=1).tolist() for rows in (lost, ended, alone)
        )
        return cls(
            lost=arm_lost,
            ended=arm_ended,
            lost_alone=arm_alone,
            reference_lost=reference_lost,
            reference_ended=reference_ended,
            reference_lost_alone=reference_alone,
            both_ended=int(both.sum()),
        )

    @property
    def has_more(self) -> bool:
        """Return whether the arm lost more runs: of all, or at the seeds where both ended."""
        return self.lost > self.reference_lost or self.lost_alone > self.reference_lost_alone

    @property
    def has_fewer(self) -> bool:
        """Return whether the arm lost fewer runs: of all, or at the seeds where both ended."""
        return self.lost < self.reference_lost or self.lost_alone < self.reference_lost_alone


@dataclass(frozen=True)
class Judged:
    """A verdict and its limits.

    Attributes:
        verdict: The verdict.
        below_margin: Whether it is significant, and shown to be smaller than the margin.
        withheld: Whether it is inconclusive only because lost runs contradict it.
    """

    verdict: Verdict
    below_margin: bool
    withheld: bool


class Outcome(StrEnum):
    """The outcome of a claim of a lecture or a paper."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    INCONCLUSIVE = "inconclusive"
    NOT_TESTABLE = "not testable"
    IDENTITY = "identity"


def conclude(difference: float, p_holm: float, p_equivalence: float) -> tuple[Verdict, bool]:
    """Return the verdict on a score that is better when higher, and whether it is below the margin.

    A significant difference takes precedence over equivalence; it is below the margin where it is
    also shown to lie within. Undefined p-values (NaN) decide nothing.

    Args:
        difference: The mean difference, arm minus reference.
        p_holm: Its p, adjusted over all contrasts.
        p_equivalence: The p of equivalence within the margin, adjusted likewise.
    """
    within = p_equivalence < LEVEL
    if p_holm < LEVEL:
        return (Verdict.HELPS if difference > 0 else Verdict.HURTS), within
    return (Verdict.EQUIVALENT if within else Verdict.INCONCLUSIVE), False


def judged_with_losses(concluded: tuple[Verdict, bool], losses: Losses) -> Judged:
    """Return the verdict, withheld if the numbers of lost runs contradict it.

    An arm of which more runs collapsed or diverged than of its reference cannot help or be
    equivalent. An arm of which fewer did cannot hurt. One run more or fewer is enough. Runs are
    counted both over all seeds of the arm and over the seeds at which both runs ended. The first
    count includes losses at seeds where the partner failed. The second does not depend on unequal
    numbers of failed runs.

    Args:
        concluded: What `conclude` returns about the runs that are not lost.
        losses: The runs that both lost.
    """
    verdict, below = concluded
    if verdict is Verdict.HURTS:
        contradicted = losses.has_fewer
    else:
        contradicted = verdict is not Verdict.INCONCLUSIVE and losses.has_more
    if contradicted:
        return Judged(Verdict.INCONCLUSIVE, False, True)
    return Judged(verdict, below, False)
