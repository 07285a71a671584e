"""Define what claims are judged by: values of a contrast, at seeds or of groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.curves import Histories
from pipeline.comparison.intervals import Array, mean, signed_rank, standard_error, varies
from pipeline.comparison.matching import Outcomes, finite
from pipeline.comparison.verdicts import Losses
from pipeline.config.claims import COSTS, Claim

NO_PAIR = "no pair of runs is done"

Records = Mapping[str, Mapping[str, Any]]  # fingerprint -> record
Unit = str | int  # a run, or a group of an ensemble


@dataclass(frozen=True)
class Sources:
    """What is measured of runs and groups.

    Attributes:
        outcomes: States, machines and scores of the runs.
        records: Their records by fingerprint.
        histories: Their learning curves by fingerprint.
        passes: Test scores of each run by number of noise passes averaged.
        ensembles: Test scores and costs of every method of averaging, by study and group.
        sizes: Test scores of every method by number of members, by study and group.
        target_times: Updates and operations of each run until the target accuracy.
        search_methods: Scores of each method of search and of random search at its cost, by arm.
        search_scales: Test scores of random search on both scales of the learning rate, by arm.
        search_shifts: How far the best learning rate moves with each other hyperparameter, by arm.
        search_importance: The importance of each hyperparameter, by arm.
        rate_seeds: The width of the range of learning rates that works, by arm and exploration
            seed.
    """

    outcomes: Outcomes
    records: Records
    histories: Histories
    passes: pd.DataFrame
    ensembles: pd.DataFrame
    sizes: pd.DataFrame
    target_times: pd.DataFrame
    search_methods: pd.DataFrame
    search_scales: pd.DataFrame
    search_shifts: pd.DataFrame
    search_importance: pd.DataFrame
    rate_seeds: pd.DataFrame


@dataclass(frozen=True)
class Estimate:
    """The value of a contrast.

    Attributes:
        value: The value.
        error: Its standard error; NaN if it is unknown or 0.
        n: The number of values that the error is from: one more than its degrees of freedom.
    """

    value: float
    error: float
    n: int


@dataclass(frozen=True)
class Sample:
    """The values by which a claim is judged.

    Attributes:
        differences: The value of the contrast at every seed or group (n,).
        before: The value of the first side (n,); empty if there are not two sides; times to
            target are infinite for runs that never reach it.
        after: The value of the second side.
        key: Equal for claims about the same values.
        weight: The share of the level of 5 % that the looks had leave; 1 without looks.
        lost: The runs that an arm and its reference lost, where two arms are compared.
        units: The runs or groups that the values are of; () where they are of seeds.
        reason: Why nothing can be tested; "" if something can.
        is_planned: Whether it was to be tested, so that it counts in corrections.
        given: The value with its error, where it is no mean of differences.
        is_ranked: Whether it is judged by signed ranks, such as times to target, which may be
            infinite. Its value is then the estimate that belongs to signed ranks.
    """

    differences: Array = field(default_factory=lambda: np.empty(0))
    before: Array = field(default_factory=lambda: np.empty(0))
    after: Array = field(default_factory=lambda: np.empty(0))
    key: Any = None
    weight: float = 1.0
    lost: Losses | None = None
    units: tuple[Unit, ...] = ()
    reason: str = ""
    is_planned: bool = True
    given: Estimate | None = None
    is_ranked: bool = False

    @property
    def estimate(self) -> Estimate:
        """Return the value with its error."""
        values = self.differences
        error = standard_error(values) if varies(values) else nan
        middle = signed_rank(values)[0] if self.is_ranked else mean(values)
        return self.given or Estimate(middle, error, len(values))


def key_of(claim: Claim, compared_runs: Any) -> Any:
    """Return a key that is equal for claims about the same values.

    Args:
        claim: The claim.
        compared_runs: What identifies the runs of both sides; it has to be hashable.
    """
    return (claim.measure, compared_runs, claim.rule in ("slope", "interaction"), claim.threshold)


def sample_of_units(
    rows: Mapping[Unit, Sequence[float]], claim: Claim, compared_runs: Any, absent: str
) -> Sample:
    """Return the sample of two values of every run or group; those without both are left out.

    Args:
        rows: Before and after, by run or group.
        claim: The claim.
        compared_runs: What identifies both sides.
        absent: The reason where no unit has both.
    """
    complete = {unit: row for unit, row in rows.items() if np.isfinite(row).all()}
    values = finite(list(complete.values()), 2)
    if claim.measure in COSTS:
        values = values / values[0]
    if claim.measure == "error":
        values = 1 - values
    key = key_of(claim, compared_runs)
    reason = "" if complete else absent
    before, after = values
    return Sample(after - before, before, after, key, units=tuple(complete), reason=reason)
