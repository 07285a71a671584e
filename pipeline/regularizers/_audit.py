"""Define the audit of a regularizer: what it may read when training has ended, and its tests.

Counts are compared with the rates that the settings give by Hoeffding's bound, so that a
regularizer that never acted, or acted at another rate, fails its run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

NEGLIGIBLE = 1e-6  # a chance below this does not excuse a regularizer that did nothing

Groups = list[dict[str, Any]]  # the optimizer's parameter groups: weights, then everything else
Measures = dict[str, float]


class NoEffect(Exception):
    """A regularizer should have acted and did not, so that its run would equal the baseline."""


@dataclass
class BatchChanges:
    """How much one regularizer's `modify_batch` changed the batches of a run.

    Attributes:
        batches: The number of batches.
        examples: The number of examples in them.
        changed: The number of examples of which a pixel or the target changed.
        distance: The sum over examples of the mean absolute change of a pixel.
    """

    batches: int = 0
    examples: int = 0
    changed: int = 0  # examples with any pixel or target changed
    distance: float = 0.0  # sum over examples of the mean absolute change of a pixel

    def measures(self) -> Measures:
        """Return the share of examples changed and the mean change of a pixel in [0, 1]."""
        return {
            "changed": self.changed / self.examples,
            "pixel_change": self.distance / self.examples,
        }


@dataclass(frozen=True)
class AuditInputs:
    """What an audit may read when training has ended.

    Attributes:
        network: The network with its noise layers, as training left it.
        groups: The optimizer's parameter groups.
        training_loss: The last training loss of the learning curve.
        changes: How the regularizer's `modify_batch` changed the batches.
        callbacks: The regularizer's own, as `callbacks()` made them for this run.
    """

    network: nn.Module
    groups: Groups
    training_loss: float
    changes: BatchChanges
    callbacks: Sequence[Any] = ()


def require_effect(happened: bool, chance: float, message: str) -> None:
    """Check that a regularizer acted, where the chance of not acting is negligible.

    Args:
        happened: Whether it acted.
        chance: The chance, 0 to 1, that it validly did not.
        message: The text of the error.

    Raises:
        NoEffect: It did not act.
    """
    if not happened and chance < NEGLIGIBLE:
        raise NoEffect(message)


def require_rate(name: str, units: str, dropped: int, drawn: int, rate: float) -> None:
    """Check that the share dropped is one that independent draws give.

    Args:
        name: The name of the regularizer, for the message.
        units: What it drops and where, for the message.
        dropped: The number of units dropped.
        drawn: The number of units drawn.
        rate: The chance that a unit is dropped, in [0, 1).

    Raises:
        NoEffect: The share is too far from the rate.
    """
    if unlikely(dropped, drawn, rate):
        share = dropped / max(drawn, 1)
        raise NoEffect(
            f"{name}: {dropped} of {drawn} {units} were dropped, a share of {share:.4g}; "
            f"expected {rate:.4g}"
        )


def unlikely(happened: int, draws: int, chance: float) -> bool:
    """Return whether a share this far from its mean has a negligible chance in independent draws.

    A share s is reached or passed with a chance of at most exp(-draws * divergence of s from the
    mean), for unequal chances too: Hoeffding, Probability Inequalities for Sums of Bounded Random
    Variables, JASA 58, 1963, theorem 1.

    Args:
        happened: The number of draws in which the event happened.
        draws: The number of draws.
        chance: The mean chance of the event, 0 to 1.
    """
    share = happened / max(draws, 1)
    return draws * _divergence(share, chance) > math.log(2 / NEGLIGIBLE)


def _divergence(share: float, chance: float) -> float:
    """Return the Kullback-Leibler divergence of two coins, infinite for an impossible share."""
    pairs = [(one, other) for one, other in ((share, chance), (1 - share, 1 - chance)) if one > 0]
    return sum(one * math.log(one / other) if other > 0 else math.inf for one, other in pairs)
