"""Judge claims of lectures and papers by the contrasts of a report, paired by seed.

A study declares its claims before any results exist. Differences and equivalence are two families,
each with Holm's correction over all claims that a report tests; the same contrast counts once.
Verdicts on arms do not depend on them.
"""

from dataclasses import replace
from math import exp, expm1, isnan, nan, sqrt
from typing import Any

import numpy as np
import pandas as pd
import scipy  # imports its parts on first use

from pipeline.comparison.claim_samples import SampleReader, reference_of
from pipeline.comparison.family import family
from pipeline.comparison.intervals import (
    Array,
    detectable_range,
    half_width,
    mean,
    signed_rank,
    signed_rank_seeds,
)
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.samples import NO_PAIR, Estimate, Sample, Sources
from pipeline.comparison.verdicts import Outcome
from pipeline.config.claims import FRACTIONS, LOGARITHMIC, TIMES, Claim, Contrast, Measure
from pipeline.config.plan import Plan, PlannedStudy

COLUMNS = (
    *("claim", "study", "by", "source", "says", "rule", "measure", "expect", "alternative"),
    *("contrast", "than", "n", "before", "after", "change", "difference", "low", "high", "p"),
    *("p_holm", "p_equivalence", "threshold", "margin"),
    *("detectable", "detectable_low", "detectable_high", "outcome", "reason"),
    *("published_setting", "published_before", "published_after", "published_change", "repeats"),
)

ARMS = ("directional", "equivalence")  # rules that compare two arms
BELOW = "below the margin"  # for a difference that is significant and shown to be small


def claims(plan: Plan, sources: Sources) -> pd.DataFrame:
    """Return a row for every claim of the plan, in its order.

    `before` and `after` are means of both sides, geometric ones of `LOGARITHMIC` measures, whose
    `difference`, `low` and `high` are natural logarithms of ratios; `change` is the share of the
    first side. Of times to target they are medians, infinite where most runs never reach it, and
    value, interval and p are from signed ranks. Costs are multiples of the first side's. The value
    of a contrast is in the unit of its measure: fractions for accuracy, error and gap, nats for
    losses; of an interaction `before` and `after` are the values of its two contrasts.

    `p` is two-sided, of a value equal to the threshold, and `p_holm` corrects it over all claims.
    `p_equivalence` is of a value within the margin of the threshold (two one-sided t tests), or not
    beyond it on the side that the claim excludes (one of them), corrected in the same way.
    `outcome`:

    - supported: the value is significantly on the expected side; for equal, not_lower and
      not_higher, within the margin;
    - contradicted: it is significantly on the other side; for lower and higher also if it is shown
      to lie within the margin; for equal, if it differs and is not shown to lie within;
    - inconclusive: neither; `detectable` is the value that these seeds find with 80 % power at the
      hardest step of Holm's procedure, with its range. It is NaN where signed ranks cannot be
      significant at that step; `reason` then gives the number of seeds that they need. An outcome
      about accuracy is also inconclusive where the numbers of lost runs contradict it. `reason`
      states this, and where a difference is below the margin;
    - not testable: `reason` says why, for example that neither side ever reaches the target;
    - identity: it follows from the settings.

    A claim of rule exact is supported if every seed agrees, and contradicted by one that does not;
    it takes no part in corrections. Published figures are as printed, with their relative change.
    `repeats` is whether an earlier claim has the same contrast, measure and expectation.

    Args:
        plan: The confirmation plan.
        sources: What is measured.

    Returns:
        A table with `COLUMNS`; undefined numbers are NaN.

    Raises:
        Refusal: A run that is done has no score.
    """
    listed = [(study, claim) for study in plan.studies for claim in study.claims]
    reader = SampleReader(plan, sources)
    samples = [reader.sample(claim, study) for study, claim in listed]
    tested = [
        number
        for number, (_, claim) in enumerate(listed)
        if samples[number].is_planned and claim.rule not in ("exact", "identity")
    ]
    margins = [_margin(claim, plan.margin) for _, claim in listed]
    alone = [
        _tests(claim, sample, margin)
        for (_, claim), sample, margin in zip(listed, samples, margins, strict=True)
    ]
    corrected = family([("", samples[number].key) for number in tested])
    bounded = family(
        [
            ("", (samples[number].key, margins[number], _side(listed[number][1])))
            for number in tested
        ]
    )
    adjusted = [(nan, nan)] * len(listed)
    if tested:
        p_values, p_equivalence = np.array([alone[number] for number in tested]).T
        pairs = zip(corrected.holm(p_values), bounded.holm(p_equivalence), strict=True)
        for number, pair in zip(tested, pairs, strict=True):
            adjusted[number] = (float(pair[0]), float(pair[1]))
    rows, judged_before = [], set()
    for number, (study, claim) in enumerate(listed):
        sample, margin = samples[number], margins[number]
        identity = (sample.key or claim.id, claim.rule, claim.expect, claim.threshold, margin)
        row = _row(claim, study, sample, alone[number][0], adjusted[number], corrected.level)
        rows.append(row | {"margin": margin, "repeats": identity in judged_before})
        judged_before.add(identity)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def conclude(claim: Claim, difference: float, p: float, p_equivalence: float) -> Outcome:
    """Return the outcome of a claim from its value, less the threshold, and corrected p-values.

    Undefined p-values (NaN) decide nothing.

    Args:
        claim: The claim.
        difference: The value of its contrast minus the threshold, in the unit of the measure.
        p: Of no difference from the threshold, corrected.
        p_equivalence: Of a value within the margin, corrected.
    """
    above, below = (p < LEVEL and difference * sign > 0 for sign in (1, -1))
    within = p_equivalence < LEVEL
    supported, contradicted = {
        "higher": (above, below or within),
        "lower": (below, above or within),
        "equal": (within, above or below),
        "not_lower": (above or within, below),
        "not_higher": (below or within, above),
    }[claim.expect]
    if supported:
        return Outcome.SUPPORTED
    return Outcome.CONTRADICTED if contradicted else Outcome.INCONCLUSIVE


def bound_p(estimate: Estimate, margin: float, expect: str) -> float:
    """Return the p-value of the test that a value is within the margin, as a claim bounds it.

    Two one-sided t tests (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987); one of them for
    not_lower (above -margin) and not_higher (below margin). NaN without a margin or an error.

    Args:
        estimate: The value minus the threshold, with its error.
        margin: The margin, in the unit of the measure; NaN for none.
        expect: What the claim expects: lower, higher, equal, not_lower or not_higher.
    """
    if not (margin > 0 and estimate.error > 0):
        return nan
    beyond = {"not_lower": -estimate.value, "not_higher": estimate.value}
    t = (beyond.get(expect, abs(estimate.value)) - margin) / estimate.error
    return float(scipy.special.stdtr(estimate.n - 1, t))


def _margin(claim: Claim, default: float) -> float:
    """Return the margin of a claim; NaN if it has none."""
    if claim.margin is not None:
        return claim.margin
    is_fraction = claim.measure in FRACTIONS and claim.rule != "correlation"
    return default if is_fraction and not claim.threshold else nan


def _side(claim: Claim) -> str:
    """Return the tests that decide whether a value is within the margin."""
    return claim.expect if claim.expect in ("not_lower", "not_higher") else ""


def _tests(claim: Claim, sample: Sample, margin: float) -> tuple[float, float]:
    """Return p of a difference and of a bounded value, corrected for looks only."""
    estimate = sample.estimate
    above = replace(estimate, value=estimate.value - claim.threshold)
    if not above.error > 0:
        return nan, nan
    if sample.is_ranked:
        p = signed_rank(sample.differences - claim.threshold)[3]
    else:
        p = 2 * float(scipy.special.stdtr(above.n - 1, -abs(above.value) / above.error))
    bounded = bound_p(above, margin, claim.expect)
    return min(p / sample.weight, 1.0), min(bounded / sample.weight, 1.0)


def _row(
    claim: Claim,
    study: PlannedStudy,
    sample: Sample,
    p: float,
    adjusted: tuple[float, float],
    level: float,
) -> dict[str, Any]:
    estimate = sample.estimate
    low, high = _bounds(sample)
    before, after = mean(sample.before), mean(sample.after)
    change = relative_change(before, after)
    printed = claim.figures or (nan, nan)
    spread = estimate.error * sqrt(estimate.n)
    if claim.measure in LOGARITHMIC:
        change = expm1(estimate.value)
        if claim.measure in TIMES and claim.rule != "interaction":
            before, after = _median(sample.before), _median(sample.after)
        elif claim.rule != "interaction":
            before, after = _exp(before), _exp(after)
    outcome, reason = _judged(claim, sample, adjusted)
    strictest = level * sample.weight
    if outcome is Outcome.INCONCLUSIVE and not reason:
        reason = _shortage(claim, sample, strictest)
        spread = nan if reason else spread
    return {
        "claim": claim.id,
        "study": study.name,
        "by": claim.by,
        "source": claim.source,
        "says": claim.says,
        "rule": claim.rule,
        "measure": claim.measure,
        "expect": claim.expect,
        "alternative": claim.alternative or "",
        "contrast": contrast_name(claim.contrast, study, claim.measure),
        "than": contrast_name(claim.than, study, claim.measure) if claim.than else "",
        "n": estimate.n,
        "before": before,
        "after": after,
        "change": change,
        "difference": estimate.value,
        "low": low,
        "high": high,
        "p": p,
        "p_holm": adjusted[0],
        "p_equivalence": adjusted[1],
        "threshold": claim.threshold,
        **detectable_range(spread, estimate.n, strictest, sample.is_ranked),
        "published_setting": claim.setting or "",
        "published_before": printed[0],
        "published_after": printed[1],
        "published_change": relative_change(*printed),
        "outcome": str(outcome),
        "reason": reason,
    }


def relative_change(before: float, after: float) -> float:
    """Return (after - before) / before.

    Args:
        before: The value of the first side.
        after: The value of the second side, in the same unit.

    Returns:
        The change as a share of `before`; NaN where `before` is not above 0.
    """
    return after / before - 1 if before > 0 else nan


def contrast_name(contrast: Contrast | None, study: PlannedStudy, measure: Measure) -> str:
    """Return a contrast in words, the reference last.

    Args:
        contrast: The contrast; None for a correlation over all arms.
        study: The study of the claim.
        measure: What is measured of both sides.
    """
    if contrast is None:
        return "all arms"
    if contrast.levels:
        return " → ".join(contrast.levels)
    if contrast.methods:
        return f"{contrast.methods[1]} against {contrast.methods[0]}"
    if contrast.chosen:
        return f"best of {contrast.chosen} models by validation: lead on validation against on test"
    if contrast.members:
        few, many = contrast.members
        return f"{contrast.method}: {many} members against {few}"
    if contrast.passes:
        few, many = contrast.passes
        return f"{contrast.arm}: {many} noise passes against {few or 'none'}"
    if contrast.search:
        return f"{contrast.arm}: {contrast.search} search against random"
    if contrast.scale:
        return f"{contrast.arm}: {contrast.scale} scale against logarithmic"
    if contrast.hyperparameter and measure == "importance":
        return f"{contrast.arm}: {contrast.hyperparameter} against its strongest rival"
    if contrast.hyperparameter:
        return f"{contrast.arm}: high against low {contrast.hyperparameter}"
    other, reference = reference_of(contrast, study)
    where = f" of {other}" if other not in (study.name, reference) else ""
    return f"{contrast.arm} against {reference}{where}"


def _bounds(sample: Sample) -> tuple[float, float]:
    """Return the 95 % interval of the value, widened for looks; without width if it is constant."""
    estimate = sample.estimate
    if estimate.n and not estimate.error > 0:
        return estimate.value, estimate.value
    if sample.is_ranked:
        return signed_rank(sample.differences, LEVEL * sample.weight)[1:3]
    half = float(half_width(estimate.error, estimate.n, LEVEL * sample.weight))
    return estimate.value - half, estimate.value + half


def _median(times: Array) -> float:
    """Return the median time to target; infinite if most runs never reach the target."""
    return float(np.median(times)) if len(times) else nan


def _exp(value: float) -> float:
    return nan if isnan(value) else exp(value)


def _judged(claim: Claim, sample: Sample, adjusted: tuple[float, float]) -> tuple[Outcome, str]:
    value = sample.estimate.value
    if sample.reason or not len(sample.differences):
        return Outcome.NOT_TESTABLE, sample.reason or NO_PAIR
    if claim.rule == "identity":
        return Outcome.IDENTITY, "it follows from the settings"
    if claim.rule == "exact":
        return (Outcome.SUPPORTED if _holds_at_all(claim, sample) else Outcome.CONTRADICTED), ""
    outcome = conclude(claim, value - claim.threshold, *adjusted)
    if not sample.estimate.error > 0:
        return outcome, "one seed, or the same value at every seed"
    is_decided = outcome is not Outcome.INCONCLUSIVE
    if is_decided and _is_opposed(claim, sample, value, is_close=not adjusted[0] < LEVEL):
        return Outcome.INCONCLUSIVE, "because of unequal numbers of lost runs"
    within = adjusted[1] < LEVEL and claim.expect in ("lower", "higher")
    return outcome, BELOW if within and outcome is Outcome.SUPPORTED else ""


def _shortage(claim: Claim, sample: Sample, level: float) -> str:
    """Return a note if signed ranks cannot be significant with so few seeds, otherwise ""."""
    if not sample.is_ranked:
        return ""
    deciding = int(np.count_nonzero(sample.differences - claim.threshold))
    needed = signed_rank_seeds(level)
    if deciding >= needed:
        return ""
    return (
        f"too few seeds: the two sides differ at {deciding} of {len(sample.differences)}, and "
        f"Wilcoxon's signed-rank test needs {needed} after Holm's correction"
    )


def _holds_at_all(claim: Claim, sample: Sample) -> bool:
    values = sample.differences - claim.threshold
    held = {"higher": values > 0, "lower": values < 0, "equal": values == 0}[claim.expect]
    return bool(held.all())


def _is_opposed(claim: Claim, sample: Sample, value: float, is_close: bool) -> bool:
    """Return whether the numbers of lost runs contradict the outcome of a claim about two arms.

    An arm that lost more runs than its reference is not better than it or equivalent. An arm that
    lost fewer is not worse.
    """
    if sample.lost is None or claim.measure not in ("accuracy", "error") or claim.rule not in ARMS:
        return False
    better = value if claim.measure == "accuracy" else -value
    return sample.lost.has_more if is_close or better > 0 else sample.lost.has_fewer
