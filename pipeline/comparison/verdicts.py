"""What is concluded from a contrast, and from one that a paper also reports: words and rule."""

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


def judge(difference: float, p_holm: float, p_equivalence: float) -> tuple[Verdict, bool]:
    """Return the verdict on a score that is better when higher, and whether it is below the margin.

    A significant difference takes precedence over equivalence; it is below the margin where it is
    also shown to lie within. Undefined p-values (NaN) decide nothing.
    """
    within = p_equivalence < LEVEL
    if p_holm < LEVEL:
        return (Verdict.HELPS if difference > 0 else Verdict.HURTS), within
    return (Verdict.EQUIVALENT if within else Verdict.INCONCLUSIVE), False
