"""Find the values that claims are about: of runs paired by seed, of noise passes, of ensembles."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import scipy  # imports its parts on first use

from pipeline.comparison import ensemble_samples, search_samples
from pipeline.comparison.intervals import Array, varies
from pipeline.comparison.matching import Arm, compared, finite
from pipeline.comparison.run_measures import TARGETS, RunMeasures
from pipeline.comparison.samples import NO_PAIR, Sample, Sources, key_of
from pipeline.comparison.weights import last_weight
from pipeline.config.claims import Claim, Contrast
from pipeline.config.plan import BASELINE, Plan, PlannedStudy

FEWEST = 5  # arms of a rank correlation
NEVER = "neither side ever reaches the target"

Key = tuple[str, str]  # study, arm


def rank_correlation(first: Array, second: Array) -> float:
    """Return Spearman's rank correlation (American Journal of Psychology 15, 1904).

    Args:
        first: (n,).
        second: (n,).

    Returns:
        A number in [-1, 1]; NaN if either array is constant.
    """
    if not (varies(first) and varies(second)):
        return nan
    ranks = [scipy.stats.rankdata(values) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def change_over_levels(values: Array) -> Array:
    """Return the change from the first to the last level, by a line fitted to their order.

    Args:
        values: (levels, n), one row per level.

    Returns:
        (n,), in the unit of the values: the slope of least squares times (levels - 1).
    """
    places = np.arange(len(values)) - (len(values) - 1) / 2
    slopes: Array = places @ values / (places @ places)
    return slopes * (len(values) - 1)


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
        self.measures = RunMeasures(sources)

    def sample(self, claim: Claim, study: PlannedStudy) -> Sample:
        """Return the sample by which a claim of a study is judged.

        Args:
            claim: The claim.
            study: Its study in the plan.

        Raises:
            Refusal: A run that is done has no score.
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
        """Return the first condition of a claim that the protocol does not meet; "" for none."""
        for key, needed in claim.needs.items():
            section, _, name = key.partition(".")
            value = self.plan.settings.get(section, {}).get(name)
            is_number = isinstance(needed, int | float) and not isinstance(needed, bool)
            enough = value is not None and value >= needed if is_number else value == needed
            if not enough:
                return f"{key} {'>= ' if is_number else ''}{str(needed).lower()}"
        return ""

    def _contrast(self, claim: Claim, contrast: Contrast, study: PlannedStudy) -> Sample:
        sources = self.sources
        if contrast.search:
            methods = sources.search_methods
            return search_samples.sample_of_method(claim, contrast, study.name, methods)
        if contrast.scale:
            scales = sources.search_scales
            return search_samples.sample_of_scale(claim, contrast, study.name, scales)
        if contrast.hyperparameter and claim.measure == "importance":
            importance = sources.search_importance
            return search_samples.sample_of_importance(claim, contrast, study.name, importance)
        if contrast.hyperparameter:
            shifts = sources.search_shifts
            return search_samples.sample_of_shift(claim, contrast, study.name, shifts)
        if contrast.chosen:
            return ensemble_samples.sample_of_best(
                claim, contrast, study.name, self.plan, self.measures
            )
        if contrast.is_averaged and contrast.methods:
            ensembles = sources.ensembles
            return ensemble_samples.sample_of_ensembles(claim, contrast, study.name, ensembles)
        if contrast.is_averaged:
            return ensemble_samples.sample_of_sizes(claim, contrast, study.name, sources.sizes)
        return self._of_arms(claim, contrast, study)

    def _of_arms(self, claim: Claim, contrast: Contrast, study: PlannedStudy) -> Sample:
        """Return the sample of a contrast of arms, of levels, or of the passes of an arm."""
        arms = self._named_arms(contrast, study)
        if isinstance(arms, str):
            return Sample(reason=arms, is_planned=False)
        weight = self._weight(arms)
        if contrast.passes:
            return ensemble_samples.sample_of_passes(claim, contrast, arms[0], self.sources, weight)
        if claim.measure == "rate_range":
            return self._rate_ranges(claim, contrast, study)
        values = self.measures.values(claim.measure, arms)
        key = key_of(claim, tuple(arm.identity for arm in arms))
        sides = values
        if claim.measure in TARGETS:
            sides = self.measures.arrivals(claim.measure, arms)
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
        """Return the reason why there is no value; "" if there is one."""
        if values.shape[1]:
            return ""
        sides, _ = self.sources.outcomes.sides(arms)
        return f"the runs have no {claim.measure}" if sides else NO_PAIR

    def _named_arms(self, contrast: Contrast, study: PlannedStudy) -> tuple[Arm, ...] | str:
        """Return the arms of a contrast, the reference first, or a text on what the plan lacks."""
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
        key = key_of(claim, (study.name, reference, contrast.arm))
        reason = "" if seeds else "the report has no range of learning rates of both"
        settled = np.where(is_unknown, 0.0, differences)
        return Sample(settled, before, after, key, reason=reason)

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
            measured = self.measures.values(claim.measure, arms)
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
        states, collapsed = self.sources.outcomes.states, self.sources.outcomes.collapsed
        for arm in arms:
            for seed, run in arm.runs.items():
                name = run.fingerprint
                if states.get(name) == "done" and name not in collapsed:
                    gap, accuracy = (
                        self.measures.side(measure, (name,), [arm])[0]
                        for measure in ("gap", "accuracy")
                    )
                    by_seed.setdefault(seed, []).append([gap, accuracy])
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
