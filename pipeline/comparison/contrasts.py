"""Every arm against its study's baseline, paired by seed: the table that the report is made of.

Separate from `intervals.py` and `significance.py`, which know neither arms nor runs: here is what is
paired with what, under which rule.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.intervals import Array, correlation, detectable, equivalence_p, interval, mean
from pipeline.comparison.significance import holm, verdict
from pipeline.config.errors import Refusal
from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.rules import DETERMINISTIC
from pipeline.config.studies import BASELINE

PRIMARY = "test_accuracy"
GAP_SPLIT = "train_validation"
SCORES = {  # name -> (split, metric), scored under each arm's own test rule
    "test_accuracy": ("test", "accuracy"),
    "validation_accuracy": ("validation", "accuracy"),
    "test_nll": ("test", "nll"),
    "validation_nll": ("validation", "nll"),
    "test_brier": ("test", "brier"),
    "test_calibration_error": ("test", "calibration_error"),
}
GAPS = {name: (GAP_SPLIT, name) for name in ("gap", "gap_noise", "gap_augmentation")}
COLUMNS = (
    *("study", "arm", "factor", "strength", "metric", "rule", "n", "baseline_mean", "arm_mean", "difference", "low", "high"),
    *("p", "p_holm", "verdict", "detectable", "correlation", "planned", "done", "failed", "diverged", "missing"),
)

Runs = Mapping[int, PlannedRun]  # by seed
Scores = Mapping[tuple[str, str, str, str], float]  # (fingerprint, rule, split, metric)


@dataclass(frozen=True)
class Contrast:
    """One arm and its baseline: their runs by seed and their test rules."""

    study: PlannedStudy
    arm: PlannedArm
    runs: Runs
    baseline: Runs

    def rules(self, metric: str) -> tuple[str, str]:
        """The rules under which baseline and arm are scored."""
        own = {arm.name: arm.rule for arm in self.study.arms}
        return (DETERMINISTIC, DETERMINISTIC) if metric in GAPS else (own[self.arm.against], self.arm.rule)


def contrasts(scores: pd.DataFrame, plan: Plan, states: Mapping[str, str], machines: Mapping[str, Any]) -> pd.DataFrame:
    """One row per (study, arm, metric), in the order of the plan; the columns are `COLUMNS`.

    `scores` has columns fingerprint, rule, split, metric, value. `states` and `machines` map every planned
    run to its state and to what it was trained on. A pair counts where both runs are done, on equal
    machines, with numbers for scores. Differences are arm - baseline; p_holm and verdict stand on the primary
    metric alone, undefined numbers are NaN. Raises Refusal where a done run was not scored.
    """
    keys = zip(scores["fingerprint"], scores["rule"], scores["split"], scores["metric"], strict=True)
    values = dict(zip(keys, scores["value"].astype(float), strict=True))
    rows = [row for contrast in _contrasts(plan) for row in _rows(contrast, plan.margin, values, states, machines)]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "p_equivalence"])
    primary = table["metric"] == PRIMARY
    table.loc[primary, "p_holm"] = holm(table.loc[primary, "p"].to_numpy(float))
    judged = zip(table["difference"], table["p_holm"], table["p_equivalence"], primary, strict=True)
    table["verdict"] = [verdict(*numbers) if is_primary else "" for *numbers, is_primary in judged]
    return table[list(COLUMNS)]


def _contrasts(plan: Plan) -> Iterator[Contrast]:
    runs: dict[tuple[str, str], dict[int, PlannedRun]] = {}
    for run in plan.runs:
        runs.setdefault((run.study, run.arm), {})[run.seed] = run
    for study in plan.studies:
        for arm in study.arms:
            if arm.name != BASELINE:
                yield Contrast(study, arm, runs.get((study.name, arm.name), {}), runs.get((study.name, arm.against), {}))


def _rows(
    contrast: Contrast, margin: float, scores: Scores, states: Mapping[str, str], machines: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    pairs = _pairs(contrast, states, machines)
    counts = Counter(states[run.fingerprint] for run in contrast.runs.values())
    first = next(iter(contrast.runs.values()), None)
    fixed = {
        "study": contrast.study.name,
        "arm": contrast.arm.name,
        "factor": contrast.arm.factor,
        "strength": first.strength if first else "",
        "planned": len(contrast.runs),
        **{state: counts[state] for state in ("done", "failed", "diverged", "missing")},
    }
    for metric in (*SCORES, *GAPS):
        rules = contrast.rules(metric)
        baseline, arm = _values(pairs, metric, rules, scores)
        judged = _judged(arm - baseline, margin) if metric == PRIMARY else {}
        yield {**fixed, "metric": metric, "rule": rules[1], **_numbers(baseline, arm), **judged}


def _pairs(contrast: Contrast, states: Mapping[str, str], machines: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Fingerprints of (baseline, arm) for every seed at which both are done, all on the commonest kind of machine."""
    seeds = [seed for seed in contrast.runs if seed in contrast.baseline]
    pairs = [(contrast.baseline[seed].fingerprint, contrast.runs[seed].fingerprint) for seed in seeds]
    done = [pair for pair in pairs if all(states[run] == "done" for run in pair)]
    kinds = {pair: json.dumps([machines[run] for run in pair], sort_keys=True) for pair in done}
    alike = Counter(kind for pair, kind in kinds.items() if machines[pair[0]] == machines[pair[1]])
    return [pair for pair in done if alike and kinds[pair] == alike.most_common(1)[0][0]]


def _values(pairs: list[tuple[str, str]], metric: str, rules: tuple[str, str], scores: Scores) -> tuple[Array, Array]:
    """Scores of baseline and arm (n,), (n,); a pair with a score that is not a number is left out."""
    split, name = {**SCORES, **GAPS}[metric]
    try:
        found = [[scores[run, rule, split, name] for run, rule in zip(pair, rules, strict=True)] for pair in pairs]
    except KeyError as missing:
        run, rule, *_ = missing.args[0]
        raise Refusal(f"scores: no {name} ({split}, {rule}) for run {run}; needed is one for every run that is done") from None
    both = np.array(found, dtype=float).reshape(-1, 2)
    baseline, arm = both[np.isfinite(both).all(axis=1)].T
    return baseline, arm


def _numbers(baseline: Array, arm: Array) -> dict[str, float]:
    between = interval(arm - baseline)
    return {
        "n": between.n,
        "baseline_mean": mean(baseline),
        "arm_mean": mean(arm),
        "difference": between.mean,
        "low": between.low,
        "high": between.high,
        "p": between.p,
        "correlation": correlation(baseline, arm),
    }


def _judged(differences: Array, margin: float) -> dict[str, float]:
    """What only the primary metric carries."""
    between = interval(differences)
    return {"detectable": detectable(between.sd, between.n), "p_equivalence": equivalence_p(differences, margin)}
