"""List the score of every compared run, next to its reference's at the same seed.

The paired statistics of a report are computed from these scores, which allow an analysis elsewhere.
"""

from math import nan
from typing import Any

import pandas as pd

from pipeline.comparison.levels import SCORES
from pipeline.comparison.matching import WHERE, Arm, Outcomes, compared
from pipeline.config.plan import Plan

METRICS = (*SCORES, "gap")
KEYS = ("protocol", "study", "arm", "reference", "setting", "seed")
LOST = ("diverged", "collapsed", "reference_diverged", "reference_collapsed")
RUNS = ("fingerprint", "reference_fingerprint", "paired", *LOST)
PAIRS = tuple(name for metric in METRICS for name in (metric, f"reference_{metric}"))
COLUMNS = (*KEYS, *RUNS, *PAIRS)
TARGETS = {"updates_to_target": "updates", "flops_to_target": "flops"}


def seed_scores(plan: Plan, outcomes: Outcomes) -> pd.DataFrame:
    """Return one row per arm and seed, in the order of the plan.

    Every metric has two columns: the score of the arm, and the score of its reference as
    `reference_<metric>`. Accuracies, calibration errors and the gap are fractions, NLL is in nats.
    Each arm is scored under its own test rule, the gap deterministically. A run that is not done
    has no scores. `paired` is whether the seed counts in the contrasts: both runs are done, neither
    is far below the other runs of its arm, and both are of the kind of machine on which the other
    pairs were trained. `LOST` gives which of the two runs was lost, and how.

    Args:
        plan: The confirmation plan.
        outcomes: States, machines and scores of its runs.

    Returns:
        A table with `COLUMNS`.
    """
    rows: list[dict[str, Any]] = []
    for arm in compared(plan):
        sides, _ = outcomes.sides(arm.pair())
        rows += [_row(plan, outcomes, arm, seed, sides) for seed in arm.runs]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def with_targets(seeds: pd.DataFrame, of_runs: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the time to target of the run and of its reference.

    Args:
        seeds: What `seed_scores` returns.
        of_runs: The table `target_times`.

    Returns:
        The rows with two columns for each of `TARGETS`; infinite for a run that never reaches the
        target, NaN for one without a curve.
    """
    times = of_runs.drop_duplicates("fingerprint").set_index("fingerprint")
    columns = {
        f"{side}{name}": seeds[f"{side}fingerprint"].map(times[column]).astype(float)
        for name, column in TARGETS.items()
        for side in ("", "reference_")
    }
    return seeds.assign(**columns)


def _row(
    plan: Plan, outcomes: Outcomes, arm: Arm, seed: int, sides: list[tuple[str, ...]]
) -> dict[str, Any]:
    reference, _ = arm.pair()
    run = arm.runs[seed]
    other = reference.runs[seed].fingerprint if seed in reference.runs else ""
    row: dict[str, Any] = {
        "protocol": plan.protocol,
        "study": arm.study.name,
        "arm": arm.described.name,
        "reference": reference.described.name,
        "setting": run.setting,
        "seed": seed,
        "fingerprint": run.fingerprint,
        "reference_fingerprint": other,
        "paired": (other, run.fingerprint) in sides,
    }
    for side, name in (("", run.fingerprint), ("reference_", other)):
        row[f"{side}diverged"] = outcomes.states.get(name) == "diverged"
        row[f"{side}collapsed"] = name in outcomes.collapsed
    for metric in METRICS:
        row[metric] = _score(outcomes, arm, run.fingerprint, metric)
        row[f"reference_{metric}"] = _score(outcomes, reference, other, metric)
    return row


def _score(outcomes: Outcomes, arm: Arm, fingerprint: str, metric: str) -> float:
    """Return the score of a run under the rule of its arm; NaN if it has none."""
    rule = arm.rule(metric)
    return outcomes.scores.get((fingerprint, rule.view, rule.members, *WHERE[metric]), nan)
