"""Apply Holm's correction over all contrasts of a report, and return their verdicts.

Contrasts of the same runs are counted once.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from pipeline.comparison.intervals import Array
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.significance import holm
from pipeline.comparison.verdicts import Verdict, conclude


@dataclass(frozen=True)
class Family:
    """The contrasts of a report, in their order.

    Attributes:
        firsts: For every contrast the number of the first one that compares the same runs.
        same_runs: Whether an arm has the runs of its reference: it counts in no correction.
    """

    firsts: tuple[int, ...]
    same_runs: tuple[bool, ...]

    @property
    def representatives(self) -> list[int]:
        """Return the numbers of the contrasts that the correction counts: one for the same runs."""
        return sorted({first for first in self.firsts if not self.same_runs[first]})

    @property
    def level(self) -> float:
        """Return the level of the hardest step of Holm's procedure."""
        return LEVEL / max(len(self.representatives), 1)

    @property
    def repeats(self) -> list[bool]:
        """Return for every contrast whether it is not counted.

        It is not if it repeats an earlier one, or if the arm has the runs of its reference.
        """
        places = enumerate(zip(self.firsts, self.same_runs, strict=True))
        return [first != number or same_runs for number, (first, same_runs) in places]

    def holm(self, p_values: Array) -> Array:
        """Return Holm's adjusted p-values (contrasts,); NaN for an arm that is its reference.

        Args:
            p_values: The p-values of all contrasts (contrasts,).
        """
        representatives = self.representatives
        adjusted = (
            dict(zip(representatives, holm(p_values[representatives]), strict=True))
            if representatives
            else {}
        )
        return np.array([adjusted.get(first, nan) for first in self.firsts])

    def verdicts(
        self, differences: Array, p_holm: Array, p_equivalence: Array
    ) -> list[tuple[Verdict, bool]]:
        """Return the verdict of every contrast, and whether it is below the margin.

        An arm that is its reference is equivalent. Differences and equivalence are two families,
        each with Holm's correction.

        Args:
            differences: (contrasts,) Of a score that is better when higher, arm minus reference.
            p_holm: (contrasts,) Adjusted p-values, as `holm` returns them.
            p_equivalence: (contrasts,) The p-values of equivalence within the margin, adjusted
                likewise.
        """
        numbers = zip(differences, p_holm, p_equivalence, strict=True)
        concluded = [conclude(*values) for values in numbers]
        return [
            (Verdict.EQUIVALENT, False) if same_runs else verdict
            for same_runs, verdict in zip(self.same_runs, concluded, strict=True)
        ]


def family(pairs: Sequence[tuple[Hashable, Hashable]]) -> Family:
    """Return the family of contrasts.

    Args:
        pairs: What identifies the runs of the reference and those of the arm, for every contrast.
    """
    numbers: dict[Hashable, int] = {}
    firsts = tuple(numbers.setdefault(pair, number) for number, pair in enumerate(pairs))
    return Family(firsts, tuple(reference == arm for reference, arm in pairs))
