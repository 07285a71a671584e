"""Find the values of claims about averages and choices: passes, ensembles, the best model."""

from collections.abc import Sequence
from dataclasses import replace
from math import nan

import numpy as np
import pandas as pd

from pipeline.comparison.intervals import Array
from pipeline.comparison.matching import Arm, finite
from pipeline.comparison.run_measures import RunMeasures
from pipeline.comparison.samples import NO_PAIR, Sample, Sources, Unit, key_of, sample_of_units
from pipeline.config.claims import Claim, Contrast
from pipeline.config.plan import BASELINE, Plan
from pipeline.config.test_rules import DETERMINISTIC


def lead_of_best(order: Array, scores: Array) -> float:
    """Return the lead of the best of some models over their mean; ties share it.

    Args:
        order: What the best is chosen by, better when higher (models,).
        scores: What it is scored by (models,); NaN anywhere makes the lead NaN.
    """
    if np.isnan([order, scores]).any():
        return nan
    return float(scores[order == order.max()].mean() - scores.mean())


def sample_of_passes(
    claim: Claim, contrast: Contrast, arm: Arm, sources: Sources, weight: float
) -> Sample:
    """Return the sample of runs with few against many averaged noise passes.

    Args:
        claim: The claim.
        contrast: Its contrast, with two numbers of `passes`; 0 is the pass without noise.
        arm: The arm of the contrast.
        sources: What is measured.
        weight: The share of the level that the looks had leave.
    """
    metric = "accuracy" if claim.measure == "error" else claim.measure
    runs = [run.fingerprint for run in arm.runs.values()]
    done = [run for run in runs if run not in sources.outcomes.collapsed]
    table = sources.passes
    chosen = table[(table["metric"] == metric) & table["fingerprint"].isin(done)]
    scores = {
        (row["fingerprint"], int(row["passes"])): float(row["value"])
        for row in chosen.to_dict("records")
    }
    plain = (DETERMINISTIC.view, DETERMINISTIC.members, "test", metric)
    for run in done:
        scores[run, 0] = sources.outcomes.scores.get((run, *plain), nan)
    numbers = contrast.passes or ()
    rows: dict[Unit, list[float]] = {
        run: [scores.get((run, number), nan) for number in numbers] for run in done
    }
    sample = sample_of_units(rows, claim, (arm.identity, numbers), "the runs have no such passes")
    return replace(sample, weight=weight)


def sample_of_best(
    claim: Claim, contrast: Contrast, study: str, plan: Plan, measures: RunMeasures
) -> Sample:
    """Return the sample of the lead of the best model of each group, on test and validation.

    Args:
        claim: The claim.
        contrast: Its contrast, with `chosen`.
        study: The study of the claim, with several models of the baseline for each seed.
        plan: The confirmation plan.
        measures: Measures of its runs.
    """
    groups: dict[Unit, list[str]] = {}
    for run in plan.runs:
        if (run.study, run.arm) == (study, BASELINE):
            groups.setdefault(run.seed, []).append(run.fingerprint)
    metric = "accuracy" if claim.measure == "error" else claim.measure
    sign = -1 if metric == "nll" else 1
    rows: dict[Unit, list[float]] = {}
    for group, runs in groups.items():
        on_validation = np.array([measures.score(run, "validation", metric) for run in runs])
        on_test = np.array([measures.score(run, "test", metric) for run in runs])
        order = sign * on_validation
        rows[group] = [lead_of_best(order, on_test), lead_of_best(order, on_validation)]
    complete = {group: row for group, row in rows.items() if np.isfinite(row).all()}
    before, after = finite(list(complete.values()), 2) * (-1 if claim.measure == "error" else 1)
    key = key_of(claim, (study, "chosen", contrast.chosen))
    reason = "" if complete else NO_PAIR
    return Sample(after - before, before, after, key, units=tuple(complete), reason=reason)


def sample_of_ensembles(
    claim: Claim, contrast: Contrast, study: str, ensembles: pd.DataFrame
) -> Sample:
    """Return the sample of two methods of averaging, by group.

    Args:
        claim: The claim.
        contrast: Its contrast, with two `methods`.
        study: The study of the claim.
        ensembles: The table of that name.
    """
    metric: str = "accuracy" if claim.measure == "error" else claim.measure
    metric = {"training_cost": "training_flops", "test_cost": "test_flops"}.get(metric, metric)
    rows = ensembles[(ensembles["study"] == study) & (ensembles["metric"] == metric)]
    return _of_groups(claim, contrast, study, rows, "method", contrast.methods or ())


def sample_of_sizes(claim: Claim, contrast: Contrast, study: str, sizes: pd.DataFrame) -> Sample:
    """Return the sample of two numbers of members of a method, by group.

    Args:
        claim: The claim.
        contrast: Its contrast, with a `method` and two numbers of `members`.
        study: The study of the claim.
        sizes: The table of that name.
    """
    metric = "accuracy" if claim.measure == "error" else claim.measure
    of_method = sizes[sizes["method"] == contrast.method]
    rows = of_method[(of_method["study"] == study) & (of_method["metric"] == metric)]
    return _of_groups(claim, contrast, study, rows, "members", contrast.members or ())


def _of_groups(
    claim: Claim,
    contrast: Contrast,
    study: str,
    table: pd.DataFrame,
    column: str,
    sides: Sequence[Unit],
) -> Sample:
    """Return the sample of the rows of a table in which a column has one of two values."""
    chosen = table[table[column].isin(sides)]
    pairs = chosen.pivot(index="group", columns=column, values="value").reindex(columns=sides)
    rows = {group: list(row) for group, row in zip(pairs.index, pairs.to_numpy(float), strict=True)}
    missing = [str(side) for side in sides if side not in set(chosen[column])]
    absent = f"the report has no {column}: {', '.join(missing)}" if missing else NO_PAIR
    return sample_of_units(rows, claim, (study, contrast.method, *sides), absent)
