"""Find the values that claims are about: of runs paired by seed, of noise passes, of ensembles."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf, log, nan
from typing import Any

import numpy as np
import pandas as pd
import scipy  # imports its parts on first use

from pipeline.comparison.curves import Histories
from pipeline.comparison.intervals import Array, mean, signed_rank, standard_error, varies
from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.comparison.matching import Arm, Outcomes, Side, compared, finite
from pipeline.comparison.search_methods import BASIS, HALVES, STORED
from pipeline.comparison.verdicts import Losses
from pipeline.comparison.weights import last_weight
from pipeline.config.claims import COSTS, Claim, Contrast
from pipeline.config.plan import BASELINE, Plan, PlannedStudy
from pipeline.config.test_rules import DETERMINISTIC

SCORED = {  # measure -> a score of `Outcomes.values`
    "accuracy": PRIMARY,
    "error": PRIMARY,
    **{name: f"test_{name}" for name in ("nll", "brier", "calibration_error")},
    **{name: name for name in ("validation_accuracy", "validation_nll", "gap")},
}
TRAINED = {"train_accuracy": "accuracy", "train_nll": "nll"}
TARGETS = {"updates_to_target": "updates", "flops_to_target": "flops"}
FEWEST = 5  # arms of a rank correlation
NO_PAIR = "no pair of runs is done"
NEVER = "neither side ever reaches the target"

Key = tuple[str, str]  # study, arm
Records = Mapping[str, Mapping[str, Any]]  # fingerprint -> record
Unit = str | int  # a run, or a group of an ensemble


@dataclass(frozen=True)
class Sources:
    """What is measured of runs and groups.

    Attributes:
        outcomes: States, machines and scores of the runs.
        records: Their records by fingerprint.
        histories: Their learning curves by fingerprint.
        passes: The table of that name.
        ensembles: The table of that name.
        sizes: The table of that name.
        target_times: The table of that name.
        search_methods: The table of that name.
        search_scales: The table of that name.
        search_shifts: The table of that name.
        search_importance: The table of that name.
        rate_seeds: The table of that name.
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
        error: Its standard error; NaN where it is unknown or 0.
        n: The number of values that the error is from: one more than its degrees of freedom.
    """

    value: float
    error: float
    n: int


@dataclass(frozen=True)
class Sample:
    """What a claim is judged by.

    Attributes:
        differences: The value of the contrast at every seed or group (n,).
        before: That of the first side (n,), empty where there are not two sides; times to target as
            they are, infinite for runs that never reach it.
        after: That of the second.
        key: Equal for claims about the same values.
        weight: The share of the level of 5 % that the looks had leave; 1 without looks.
        lost: The runs that an arm and its reference lost, where two arms are compared.
        units: The runs or groups that the values are of; () where they are of seeds.
        reason: Why nothing can be tested, "" where something can.
        is_planned: Whether it was to be tested, so that it counts in corrections.
        given: The value with its error, where it is no mean of differences.
        is_ranked: Whether signed ranks judge it, as they do times to target, of which some are
            infinite; its value is then the estimate that belongs to them.
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


def rank_correlation(first: Array, second: Array) -> float:
    """Return Spearman's correlation of two arrays (n,), -1 to 1; NaN where either is constant."""
    if not (varies(first) and varies(second)):
        return nan
    ranks = [scipy.stats.rankdata(values) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def lead_of_best(order: Array, scores: Array) -> float:
    """Return how far the best of some models is above their mean; ties share.

    Args:
        order: What the best is chosen by, better when higher (models,).
        scores: What it is scored by (models,); NaN anywhere makes the lead NaN.
    """
    if np.isnan([order, scores]).any():
        return nan
    return float(scores[order == order.max()].mean() - scores.mean())


def change_over_levels(values: Array) -> Array:
    """Return the change from the first level to the last, (n,), by least squares over their order.

    Args:
        values: (levels, n).
    """
    places = np.arange(len(values)) - (len(values) - 1) / 2
    slopes: Array = places @ values / (places @ places)
    return slopes * (len(values) - 1)


def times_on_one_scale(times: Sequence[float], ends: Sequence[float]) -> list[float]:
    """Return the times to target of the runs of a seed, all finite.

    A run that never arrives counts as arriving at the end of its training, or when the last of the
    others did if that is later: a ratio is never larger than it was. All are equal where none
    arrives.

    Args:
        times: Those to the target, infinite for a run that never reaches it.
        ends: Those of the whole training.
    """
    arrived = [value for value in times if value < inf]
    if not arrived:
        return [1.0] * len(times)
    latest = max(arrived)
    pairs = zip(times, ends, strict=True)
    return [value if value < inf else max(end, latest) for value, end in pairs]


class SampleReader:
    """Find the values that claims are about.

    Args:
        plan: The confirmation plan.
        sources: What is measured.
    """

    def __init__(self, plan: Plan, sources: Sources) -> None:
        self.plan, self.sources = plan, sources
        self.arms = {arm.key: arm for pair in compared(plan) for arm in pair.pair()}
        self.studies = {study.name: study for study in plan.studies}
        times = sources.target_times
        self.targets = {
            name: dict(zip(times["fingerprint"], times[name].astype(float), strict=True))
            for name in ("updates", "flops")
        }

    def sample(self, claim: Claim, study: PlannedStudy) -> Sample:
        """Return what a claim of a study is judged by.

        Args:
            claim: The claim.
            study: Its study in the plan.
        """
        return replace(self._sample(claim, study), is_ranked=claim.measure in TARGETS)

    def _sample(self, claim: Claim, study: PlannedStudy) -> Sample:
        if missing := self._unmet(claim):
            return Sample(reason=f"needs {missing}", is_planned=False)
        if claim.contrast is None:
            return self._correlation(claim)
        first = self._contrast(claim, claim.contrast, study)
        if claim.than is None or first.reason:
            return first
        second = self._contrast(claim, claim.than, study)
        if second.reason:
            return second
        return self._interaction(claim, study, first, second)

    def _unmet(self, claim: Claim) -> str:
        """Return the value of the protocol that a claim needs and that it has not."""
        for key, needed in claim.needs.items():
            section, _, name = key.partition(".")
            value = self.plan.settings.get(section, {}).get(name)
            is_number = isinstance(needed, int | float) and not isinstance(needed, bool)
            enough = value is not None and value >= needed if is_number else value == needed
            if not enough:
                return f"{key} {'>= ' if is_number else ''}{str(needed).lower()}"
        return ""

    def _contrast(self, claim: Claim, contrast: Contrast, study: PlannedStudy) -> Sample:
        if contrast.search:
            return self._searched(claim, contrast, study.name)
        if contrast.scale:
            return self._scaled(claim, contrast, study.name)
        if contrast.hyperparameter:
            return self._of_hyperparameter(claim, contrast, study.name)
        if contrast.chosen:
            return self._chosen(claim, contrast, study.name)
        if contrast.is_averaged:
            return self._averaged(claim, contrast, study.name)
        arms = self._named_arms(contrast, study)
        if isinstance(arms, str):
            return Sample(reason=arms, is_planned=False)
        if contrast.passes:
            return self._passed(claim, contrast, arms[0])
        if claim.measure == "rate_range":
            return self._rate_ranges(claim, contrast, study)
        values = self._values(claim, arms)
        key, weight = _key(claim, tuple(arm.identity for arm in arms)), self._weight(arms)
        sides = values
        if claim.measure in TARGETS:
            sides = self._arrivals(claim, arms)
            if sides.size and np.isinf(sides).all():
                return Sample(key=key, weight=weight, reason=NEVER)
        sample = Sample(
            values[-1] - values[0],
            sides[0],
            sides[-1],
            key,
            weight,
            reason=self._absent(claim, arms, values),
        )
        if contrast.levels:
            return replace(sample, differences=change_over_levels(values))
        reference, arm = arms
        return replace(sample, lost=self.sources.outcomes.losses(replace(arm, against=reference)))

    def _absent(self, claim: Claim, arms: Sequence[Arm], values: Array) -> str:
        """Return why there is no value, "" where there is one."""
        if values.shape[1]:
            return ""
        sides, _ = self.sources.outcomes.sides(arms)
        return f"the runs have no {claim.measure}" if sides else NO_PAIR

    def _named_arms(self, contrast: Contrast, study: PlannedStudy) -> tuple[Arm, ...] | str:
        """Return the arms of a contrast, the reference first, or what is missing in the plan."""
        keys = [(study.name, name) for name in contrast.levels or ()]
        if contrast.passes:
            keys = [(study.name, contrast.arm or "")]
        elif contrast.arm:
            keys = [reference_of(contrast, study), (study.name, contrast.arm)]
        for study_name, name in keys:
            if study_name not in self.studies:
                return f"needs the study {study_name}"
            if (study_name, name) not in self.arms:
                return f"needs the arm {name} of {study_name}"
        return tuple(self.arms[key] for key in keys)

    def _weight(self, arms: Sequence[Arm]) -> float:
        return last_weight(list(arms), self.plan.looks)

    def _values(self, claim: Claim, arms: Sequence[Arm]) -> Array:
        """Return the measure (arms, n) at the seeds at which all are done and have it."""
        sides, _ = self.sources.outcomes.sides(arms)
        return finite([self._measured(claim.measure, side, arms) for side in sides], len(arms))

    def _measured(self, measure: str, side: Side, arms: Sequence[Arm]) -> list[float]:
        """Return the measure of the runs of a seed, NaN where one has none."""
        if measure in SCORED:
            scores = self.sources.outcomes.values([side], arms, SCORED[measure])
            if not scores.shape[1]:
                return [nan] * len(arms)
            values = [float(score) for score in scores[:, 0]]
            return [1 - value for value in values] if measure == "error" else values
        if measure in COSTS:
            return self._costs(measure, side, arms)
        if measure in TARGETS:
            return self._times(TARGETS[measure], side)
        if measure == "zeros":
            return [0.0, self._zeros(side[-1])]
        read: Callable[[str], float] = self._norm
        if measure in TRAINED:
            read = partial(self._trained, TRAINED[measure])
        return [read(run) for run in side]

    def _costs(self, measure: str, side: Side, arms: Sequence[Arm]) -> list[float]:
        name = "training_flops" if measure == "training_cost" else "forward_flops"
        passes = [1 if measure == "training_cost" else arm.described.rule.members for arm in arms]
        counted = [
            number * self._record(run).get("cost", {}).get(name, nan)
            for number, run in zip(passes, side, strict=True)
        ]
        return [cost / counted[0] if counted[0] > 0 else nan for cost in counted]

    def _times(self, name: str, side: Side) -> list[float]:
        """Return the logarithms of the times to target of the runs of a seed."""
        counted = {"updates": "updates", "flops": "training_flops"}[name]
        ends = [self._record(run).get("cost", {}).get(counted, nan) for run in side]
        times = [self.targets[name].get(run, nan) for run in side]
        if np.isnan([*ends, *times]).any():
            return [nan] * len(side)
        return [float(np.log(value)) for value in times_on_one_scale(times, ends)]

    def _arrivals(self, claim: Claim, arms: Sequence[Arm]) -> Array:
        """Return the times to target (arms, n) of what `_values` compares; infinite for never."""
        sides, _ = self.sources.outcomes.sides(arms)
        times = self.targets[TARGETS[claim.measure]]
        rows = [
            [times[run] for run in side]
            for side in sides
            if not np.isnan(self._times(TARGETS[claim.measure], side)).any()
        ]
        return np.array(rows, dtype=float).reshape(-1, len(arms)).T

    def _zeros(self, run: str) -> float:
        """Return the share of weights that are exactly 0, as the audit of the run has it."""
        audits = self._record(run).get("audit", {}).values()
        return next((float(audit["zeros"]) for audit in audits if "zeros" in audit), nan)

    def _norm(self, run: str) -> float:
        """Return the logarithm of the squared norm of the weights after training."""
        rows = self.sources.histories.get(run, ())
        norms = [row["squared_weight_norm"] for row in rows if row.get("squared_weight_norm")]
        return float(np.log(norms[-1])) if norms else nan

    def _trained(self, metric: str, run: str) -> float:
        return self._plain(run, "train", metric)

    def _record(self, run: str) -> Mapping[str, Any]:
        return self.sources.records.get(run, {})

    def _passed(self, claim: Claim, contrast: Contrast, arm: Arm) -> Sample:
        """Return the sample of the same runs with few and with many noise passes averaged."""
        metric = "accuracy" if claim.measure == "error" else claim.measure
        runs = [run.fingerprint for run in arm.runs.values()]
        done = [run for run in runs if run not in self.sources.outcomes.collapsed]
        table = self.sources.passes
        chosen = table[(table["metric"] == metric) & table["fingerprint"].isin(done)]
        by_run = {
            (row["fingerprint"], int(row["passes"])): float(row["value"])
            for row in chosen.to_dict("records")
        }
        scores = self.sources.outcomes.scores
        plain = (DETERMINISTIC.view, DETERMINISTIC.members, "test", metric)
        by_run |= {(run, 0): scores.get((run, *plain), nan) for run in done}
        numbers = contrast.passes or ()
        rows: dict[Unit, list[float]] = {
            run: [by_run.get((run, number), nan) for number in numbers] for run in done
        }
        sample = _of_units(rows, claim, (arm.identity, numbers), "the runs have no such passes")
        return replace(sample, weight=self._weight([arm]))

    def _chosen(self, claim: Claim, contrast: Contrast, study: str) -> Sample:
        """Return the sample of the lead of the best model of each group, on test and validation."""
        groups: dict[Unit, list[str]] = {}
        for run in self.plan.runs:
            if (run.study, run.arm) == (study, BASELINE):
                groups.setdefault(run.seed, []).append(run.fingerprint)
        metric = "accuracy" if claim.measure == "error" else claim.measure
        sign = -1 if metric == "nll" else 1
        rows: dict[Unit, list[float]] = {}
        for group, runs in groups.items():
            on_validation, on_test = (
                np.array([self._plain(run, split, metric) for run in runs])
                for split in ("validation", "test")
            )
            rows[group] = [
                lead_of_best(sign * on_validation, scores) for scores in (on_test, on_validation)
            ]
        complete = {group: row for group, row in rows.items() if np.isfinite(row).all()}
        sides = finite(list(complete.values()), 2) * (-1 if claim.measure == "error" else 1)
        key = _key(claim, (study, "chosen", contrast.chosen))
        reason = "" if complete else NO_PAIR
        before, after = sides
        units = tuple(complete)
        return Sample(after - before, before, after, key, units=units, reason=reason)

    def _plain(self, run: str, split: str, metric: str) -> float:
        """Return a score of a run without noise; NaN where it has none."""
        key = (run, DETERMINISTIC.view, DETERMINISTIC.members, split, metric)
        return self.sources.outcomes.scores.get(key, nan)

    def _averaged(self, claim: Claim, contrast: Contrast, study: str) -> Sample:
        """Return the sample of two methods, or of two numbers of members, by group."""
        metric: str = "accuracy" if claim.measure == "error" else claim.measure
        if contrast.methods:
            table, column = self.sources.ensembles, "method"
            sides: list[Unit] = [*contrast.methods]
            named = {"training_cost": "training_flops", "test_cost": "test_flops"}
            metric = named.get(metric, metric)
        else:
            table, column = self.sources.sizes, "members"
            sides = [*(contrast.members or ())]
            table = table[table["method"] == contrast.method]
        chosen = table[(table["study"] == study) & (table["metric"] == metric)]
        chosen = chosen[chosen[column].isin(sides)]
        pairs = chosen.pivot(index="group", columns=column, values="value").reindex(columns=sides)
        rows = {
            group: list(row) for group, row in zip(pairs.index, pairs.to_numpy(float), strict=True)
        }
        missing = [str(side) for side in sides if side not in set(chosen[column])]
        absent = f"the report has no {column}: {', '.join(missing)}" if missing else NO_PAIR
        return _of_units(rows, claim, (study, contrast.method, *sides), absent)

    def _searched(self, claim: Claim, contrast: Contrast, study: str) -> Sample:
        """Return the sample of a method of search against random search at the same cost.

        A grid, or a method whose later rounds follow scores, is not the search that a claim is
        about if it is taken to stored points: few points are where it would go.
        """
        table = self.sources.search_methods
        rows = table[(table["study"] == study) & (table["arm"] == contrast.arm)]
        methods = rows[rows["method"] == contrast.search].to_dict("records")
        key = _key(claim, (study, contrast.arm, contrast.search))
        if not methods:
            return Sample(key=key, reason=f"the report has no search by {contrast.search}")
        if contrast.search and STORED in BASIS[contrast.search]:
            return Sample(key=key, reason=f"{contrast.search} is replayed on {STORED}")
        row = methods[0]
        if np.isnan(row["difference"]):
            return Sample(key=key, reason="too many searches find nothing")
        return _of_search(claim, key, row["random_test"], row["test"], row)

    def _scaled(self, claim: Claim, contrast: Contrast, study: str) -> Sample:
        """Return the sample of random search on another scale against the logarithmic one."""
        row = _row_of(self.sources.search_scales, study, contrast)
        key = _key(claim, (study, contrast.arm, contrast.scale))
        if row is None or np.isnan(row["difference"]):
            return Sample(key=key, reason="the report has no logarithmic scale of a learning rate")
        return _of_search(claim, key, row["log_test"], row["uniform_test"], row)

    def _of_hyperparameter(self, claim: Claim, contrast: Contrast, study: str) -> Sample:
        """Return the sample of an importance, or of the best learning rate by another value."""
        is_share = claim.measure == "importance"
        table = self.sources.search_importance if is_share else self.sources.search_shifts
        row = _row_of(table, study, contrast)
        key = _key(claim, (study, contrast.arm, contrast.hyperparameter))
        absent = f"the report has no {claim.measure} of {contrast.hyperparameter}"
        if row is None:
            return Sample(key=key, reason=absent)
        if is_share:
            share, lead = row["importance"], row["lead"]
            bounds = {"low": row["lead_low"], "high": row["lead_high"]}
            return _of_halves(key, np.array([share - lead]), np.array([share]), bounds, absent)
        if row["scale"] not in ("log", "log_integers"):
            return Sample(key=key, reason=f"{row['moved']} has no logarithmic scale")
        bounds = {name: log(row[name]) for name in ("low", "high")}
        before, after = (np.log([float(row[name])]) for name in ("below", "above"))
        return _of_halves(key, before, after, bounds, absent)

    def _rate_ranges(self, claim: Claim, contrast: Contrast, study: PlannedStudy) -> Sample:
        """Return the sample of the ranges of learning rates of two arms, by exploration seed.

        A range that may go on beyond the trials has at least the width that they show, so there is
        no difference to a range that is wider.
        """
        table = self.sources.rate_seeds
        _, reference = reference_of(contrast, study)
        rows = table[(table["study"] == study.name) & table["factor"].notna()]
        by_arm = [rows[rows["arm"] == name].set_index("seed") for name in (reference, contrast.arm)]
        seeds = [seed for seed in by_arm[0].index if seed in set(by_arm[1].index)]
        before, after = (np.log(one.loc[seeds, "factor"].to_numpy(float)) for one in by_arm)
        first_open, second_open = (one.loc[seeds, "is_open"].to_numpy(bool) for one in by_arm)
        differences = after - before
        is_unknown = np.where(differences < 0, second_open, first_open)
        key = _key(claim, (study.name, reference, contrast.arm))
        reason = "" if seeds else "the report has no range of learning rates of both"
        known = np.where(is_unknown, 0.0, differences)
        return Sample(known, before, after, key, reason=reason)

    def _interaction(
        self, claim: Claim, study: PlannedStudy, first: Sample, second: Sample
    ) -> Sample:
        """Return the sample of a difference of contrasts, at the seeds that both have."""
        weight = min(first.weight, second.weight)
        if first.units or second.units:
            common = [unit for unit in first.units if unit in second.units]
            places = [[sample.units.index(unit) for unit in common] for sample in (first, second)]
            values = np.array([first.differences[places[0]], second.differences[places[1]]])
        else:
            pairs = [self._named_arms(contrast, study) for contrast in claim.contrasts]
            arms = [arm for pair in pairs for arm in pair if isinstance(arm, Arm)]
            measured = self._values(claim, arms)
            values = np.array([measured[1] - measured[0], measured[3] - measured[2]])
        reason = "" if values.shape[1] else NO_PAIR
        key = (first.key, second.key)
        return Sample(values[0] - values[1], values[1], values[0], key, weight, reason=reason)

    def _correlation(self, claim: Claim) -> Sample:
        """Return the rank correlation of gap and test accuracy over the arms of every seed.

        Arms that train on as many images as the baseline count, each set of runs once.
        """
        sizes = {study.arms[0].train_size for study in self.plan.studies_of("comparison")}
        distinct: dict[Any, Arm] = {}
        for arm in self.arms.values():
            if arm.described.train_size in sizes and arm.runs:
                distinct.setdefault(arm.identity, arm)
        arms = list(distinct.values())
        by_seed: dict[int, list[list[float]]] = {}
        for arm in arms:
            for seed, run in arm.runs.items():
                states, collapsed = self.sources.outcomes.states, self.sources.outcomes.collapsed
                if states.get(run.fingerprint) == "done" and run.fingerprint not in collapsed:
                    side = (run.fingerprint,)
                    pair = [self._measured(name, side, [arm])[0] for name in ("gap", "accuracy")]
                    by_seed.setdefault(seed, []).append(pair)
        correlations = [
            rank_correlation(*finite(rows, 2))
            for rows in by_seed.values()
            if len(finite(rows, 2)[0]) >= FEWEST
        ]
        values = np.array([value for value in correlations if np.isfinite(value)])
        reason = "" if len(values) else f"fewer than {FEWEST} arms"
        return Sample(values, key=("correlation",), weight=self._weight(arms), reason=reason)


def reference_of(contrast: Contrast, study: PlannedStudy) -> Key:
    """Return the study and the arm that the arm of a contrast is compared with.

    Args:
        contrast: The contrast of a claim.
        study: The study of the claim.
    """
    reference = next((arm.against for arm in study.arms if arm.name == contrast.arm), BASELINE)
    return contrast.against_study or study.name, contrast.against or reference


def _row_of(table: pd.DataFrame, study: str, contrast: Contrast) -> Mapping[str, Any] | None:
    """Return the row of an arm of a study, and of a hyperparameter; None without one."""
    rows = table[(table["study"] == study) & (table["arm"] == contrast.arm)]
    if contrast.hyperparameter:
        rows = rows[rows["hyperparameter"] == contrast.hyperparameter]
    return next(iter(rows.to_dict("records")), None)


def _of_search(
    claim: Claim, key: Any, before: float, after: float, bounds: Mapping[str, Any]
) -> Sample:
    """Return the sample of the test scores of two searches, of which the bounds are given."""
    sides = np.array([[before], [after]])
    if claim.measure == "error":
        sides = 1 - sides
    return _of_halves(key, sides[0], sides[1], bounds, NO_PAIR)


def _of_halves(
    key: Any, before: Array, after: Array, bounds: Mapping[str, Any], absent: str
) -> Sample:
    """Return a sample of one value, whose error is that of an interval over halves of a design."""
    differences = after - before
    half = (bounds["high"] - bounds["low"]) / 2
    error = half / -float(scipy.special.stdtrit(HALVES - 1, LEVEL / 2))
    given = Estimate(float(differences[0]), error, HALVES)
    reason = "" if np.isfinite(differences).all() else absent
    return Sample(differences, before, after, key, given=given, reason=reason)


def _of_units(
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
    key = _key(claim, compared_runs)
    reason = "" if complete else absent
    before, after = values
    return Sample(after - before, before, after, key, units=tuple(complete), reason=reason)


def _key(claim: Claim, compared_runs: Any) -> Any:
    """Return what is equal for claims about the same values."""
    return (claim.measure, compared_runs, claim.rule in ("slope", "interaction"), claim.threshold)
