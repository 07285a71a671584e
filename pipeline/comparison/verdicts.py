"""Define the conclusions from a contrast and from a published effect, and the rule of a verdict."""

from enum import StrEnum

from pipeline.comparison.levels import LEVEL


class Verdict(StrEnum):
    """The conclusion on the primary metric of an arm against its reference."""

    HELPS = "helps"
    HURTS = "hurts"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


class Agreement(StrEnum):
    """The outcome of a published effect that was measured again."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"


def conclude(difference: float, p_holm: float, p_equivalence: float) -> tuple[Verdict, bool]:
    """Return the verdict on a score that is better when higher, and whether it is below the margin.

    A significant difference takes precedence over equivalence; it is below the margin where it is
    also shown to lie within. Undefined p-values (NaN) decide nothing.

    Args:
        difference: The mean difference, arm minus reference.
        p_holm: Its p, adjusted over all contrasts.
        p_equivalence: The p of equivalence within the margin.
    """
    within = p_equivalence < LEVEL
    if p_holm < LEVEL:
        return (Verdict.HELPS if difference > 0 else Verdict.HURTS), within
    return (Verdict.EQUIVALENT if within else Verdict.INCONCLUSIVE), False
