"""Define the conclusions from a contrast and from a claim, and the rule of a verdict."""

from dataclasses import dataclass
from enum import StrEnum

from pipeline.comparison.levels import LEVEL


class Verdict(StrEnum):
    """The conclusion on the primary metric of an arm against its reference."""

    HELPS = "helps"
    HURTS = "hurts"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Judged:
    """A verdict, and what limits it.

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


def judged_with_losses(concluded: tuple[Verdict, bool], lost: int, reference_lost: int) -> Judged:
    """Return the verdict of an arm that lost runs, or whose reference did, however few they are.

    No arm of which more runs collapsed or diverged than of its reference helps or is equivalent,
    and none of which fewer did hurts: such a verdict is withheld.

    Args:
        concluded: What `conclude` returns about the runs that are not lost.
        lost: The runs of the arm that collapsed or diverged, at seeds where both are known.
        reference_lost: Those of its reference at the same seeds.
    """
    verdict, below = concluded
    if verdict is Verdict.HURTS:
        contradicted = lost < reference_lost
    else:
        contradicted = verdict is not Verdict.INCONCLUSIVE and lost > reference_lost
    if contradicted:
        return Judged(Verdict.INCONCLUSIVE, False, True)
    return Judged(verdict, below, False)
