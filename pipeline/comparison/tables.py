"""Compute the tables of a confirmation phase: every statistic of the report, by name."""

from collections.abc import Callable, Iterable, Mapping
from math import nan
from typing import Any

import pandas as pd

from pipeline.comparison.arms import Records, arm_means, audit_means, rule_means, run_outcomes
from pipeline.comparison.calibration import pooled_bins
from pipeline.comparison.claims import claims
from pipeline.comparison.collapses import collapses, with_collapses
from pipeline.comparison.contrasts import METRICS, contrasts
from pipeline.comparison.correlations import gap_correlations
from pipeline.comparison.costs import costs
from pipeline.comparison.curves import Histories, curve_means
from pipeline.comparison.diagnosis import diagnosis
from pipeline.comparison.efficiency import efficiency
from pipeline.comparison.equal_cost import equal_cost
from pipeline.comparison.flips import class_accuracies, flips
from pipeline.comparison.gains import member_gains, pass_gains
from pipeline.comparison.interactions import (
    Parts,
    against_better_parts,
    interactions,
    part_contrasts,
)
from pipeline.comparison.look_table import look_table
from pipeline.comparison.matching import Outcomes, outcomes
from pipeline.comparison.norms import norm_means
from pipeline.comparison.other_images import hits_of, image_shares
from pipeline.comparison.overtuning import overtuning
from pipeline.comparison.rates import batch_norm_ranges, rate_ranges, rates_tried, seed_ranges
from pipeline.comparison.recipe import pairs, recipe
from pipeline.comparison.samples import Sources
from pipeline.comparison.seeds import seed_scores
from pipeline.comparison.targets import time_to_target, times
from pipeline.comparison.transfer import (
    Read,
    cells_of,
    crossovers,
    gains,
    leads,
    starts_of,
    transfer,
)
from pipeline.comparison.variance import standard_errors, streams
from pipeline.config.plan import Plan
from pipeline.planning.choice import Score

Tables = Mapping[str, pd.DataFrame]  # name of the CSV file -> table


def contrast_tables(plan: Plan, records: Records, parts: Parts, scored: Tables) -> Tables:
    """Return the tables in which arms are compared.

    Args:
        plan: The confirmation plan.
        records: The records of its runs by fingerprint, empty for a missing run.
        parts: The changes of each arm, as `arm_changes` returns them.
        scored: The tables of `evaluate`.

    Raises:
        Refusal: A run that is done has no score or no cost.
    """
    counted = {name: record.get("cost", {}) for name, record in records.items()}
    matched = _matched(plan, records, scored)
    besides = against_better_parts(plan, matched, parts)
    hits = hits_of(scored["images"])
    judged = contrasts(plan, matched, counted, hits, besides=besides)
    rows = len(judged) - len(besides) * len(METRICS)
    compared, with_parts = judged.iloc[:rows], judged.iloc[rows:]
    between = pairs(plan, matched, compared)
    shares = image_shares(plan, scored["images"])
    return {
        "contrasts": compared,
        "parts": part_contrasts(with_parts, besides),
        "collapses": collapses(plan, matched),
        "pairs": between,
        "recipe": recipe(plan, compared, between),
        "looks": look_table(plan, matched),
        "seeds": seed_scores(plan, matched),
        "interactions": interactions(plan, matched, parts),
        "variance": streams(plan, scored["scores"], len(scored["images"])),
        "standard_errors": standard_errors(compared),
        "classes": class_accuracies(plan, shares),
        "flips": flips(plan, shares),
        "overtuning": overtuning(plan, matched),
    }


def mean_tables(plan: Plan, records: Records, histories: Histories, scored: Tables) -> Tables:
    """Return the tables of means over runs and groups, and the tables derived from them.

    Args:
        plan: The confirmation plan.
        records: The records of its runs by fingerprint, empty for a missing run.
        histories: The learning curves of the runs that are compared and done.
        scored: The tables of `evaluate`.
    """
    by_run = run_outcomes(plan, scored["scores"])
    means = arm_means(by_run, plan, records)
    of_runs = times(plan, histories, records)
    counted = costs(plan, means, records)
    by_rule = rule_means(plan, scored["scores"])
    grouped = equal_cost(scored["ensembles"], scored["reliability"])
    return {
        "outcomes": by_run,
        "arms": means,
        "costs": counted,
        "rules": by_rule,
        "audits": audit_means(plan, records),
        "curves": curve_means(plan, histories),
        "target_times": of_runs,
        "targets": time_to_target(plan, of_runs),
        "diagnosis": diagnosis(plan, by_run),
        "correlations": gap_correlations(by_run),
        "pass_gains": pass_gains(plan, scored["passes"], scored["scores"]),
        "member_gains": member_gains(scored["sizes"]),
        "equal_cost": grouped,
        "efficiency": efficiency(plan, counted, by_rule, grouped),
        "calibration": pooled_bins(scored["reliability"]),
    }


def rate_tables(
    explored: Plan,
    tried: Iterable[Mapping[str, Any]],
    score: Callable[[str], Score],
    plan: Plan,
    histories: Histories,
) -> Tables:
    """Return the tables about learning rates, of the studies whose arms search their own.

    Args:
        explored: The exploration plan.
        tried: The settings tried, as the choice has them.
        score: A function that returns the validation score of an exploration run by its
            fingerprint.
        plan: The confirmation plan.
        histories: The learning curves of the runs that are compared and done.
    """
    trials = rates_tried(explored, tried)
    singles = seed_ranges(explored, score)
    ranges = rate_ranges(explored, trials, singles)
    return {
        "rate_trials": trials,
        "rate_seeds": singles,
        "rate_ranges": ranges,
        "batch_norm_ranges": batch_norm_ranges(explored, ranges),
        "norms": norm_means(plan, histories, set(trials["study"])),
    }


def transfer_tables(
    plan: Plan, records: Records, read: Read, scored: Tables, tables: Tables
) -> Tables:
    """Return the tables on starts from trained weights; empty if no arm has such a start.

    Args:
        plan: The confirmation plan.
        records: The records of its runs by fingerprint, those that others start from too.
        read: A function that returns the settings of a run; None if it is not stored.
        scored: The tables of `evaluate`.
        tables: `contrasts` and `arms`.

    Raises:
        Refusal: A run that is done has no score.
    """
    starts = starts_of(plan, read)
    matched = _matched(plan, records, scored)
    costs = {
        name: record.get("cost", {}).get("training_flops", nan) for name, record in records.items()
    }
    cells = cells_of(starts)
    return {
        "transfer": transfer(plan, starts, tables["contrasts"], tables["arms"], matched, costs),
        "crossovers": crossovers(cells, matched),
        "transfer_gains": gains(cells, matched, plan.looks),
        "transfer_leads": leads(cells, matched, plan.looks),
    }


def claim_tables(
    plan: Plan, records: Records, histories: Histories, scored: Tables, tables: Tables
) -> Tables:
    """Return the table of claims.

    Args:
        plan: The confirmation plan.
        records: The records of its runs by fingerprint, empty for a missing run.
        histories: The learning curves of the runs that are compared and done.
        scored: The tables of `evaluate`.
        tables: `target_times`, `rate_seeds` and those of searches.

    Raises:
        Refusal: A run that is done has no score.
    """
    sources = Sources(
        outcomes=_matched(plan, records, scored),
        records=records,
        histories=histories,
        passes=scored["passes"],
        ensembles=scored["ensembles"],
        sizes=scored["sizes"],
        target_times=tables["target_times"],
        search_methods=tables["search_methods"],
        search_scales=tables["search_scales"],
        search_shifts=tables["search_shifts"],
        search_importance=tables["search_importance"],
        rate_seeds=tables["rate_seeds"],
    )
    return {"claims": claims(plan, sources)}


def _matched(plan: Plan, records: Records, scored: Tables) -> Outcomes:
    """Return the state, the machine and the scores of every run, and which collapsed."""
    states = {name: record.get("state", "missing") for name, record in records.items()}
    machines: dict[str, Any] = {name: record.get("machine") for name, record in records.items()}
    return with_collapses(plan, outcomes(scored["scores"], states, machines))
