"""Check whether a comparison is fair and its verdicts are reliable.

A failed check changes no verdict, but limits its meaning.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import count
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.curves import Histories
from pipeline.comparison.explored import SEARCHES
from pipeline.comparison.intervals import Array, interval
from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.comparison.matching import compared
from pipeline.comparison.training_length import first_references, last_changes, longer_arms
from pipeline.comparison.verdicts import Verdict
from pipeline.comparison.weights import last_weight
from pipeline.config.plan import BASELINE, TUNING, Plan

NUMBERS = ("value", "low", "high", "limit")
COLUMNS = ("check", "study", "arm", "subject", "passed", "at_bound", *NUMBERS)

VALIDATION = "validation_accuracy"  # the metric of the checks of the length of training
Rows = Iterator[dict[str, Any]]
Records = Mapping[str, Mapping[str, Any]]  # fingerprint -> record


class Check(StrEnum):
    """One question about a whole report; the members are in the order of the table.

    Attributes:
        TUNED: Was the baseline tuned, by two trials or more, and is its best value inside the
            space? Value: its trials.
        INTERIOR: Is the chosen value inside its space, or at a bound of its field? Per arm with an
            ordered space; value: how often the space was widened.
        GAIN: Does the chosen setting beat its reference on validation? Per arm; value: the gain.
        LONGER: Does longer training gain nothing? Per arm that another arm trains for at least
            twice as many epochs, without any other change; subject: that other arm; value: its
            gain in validation accuracy. It fails where the mean is above the margin.
        BUDGET: Has validation accuracy stopped rising? Per arm that is in no row of `LONGER`;
            value: the change over the last third of training. It fails where the mean is above the
            margin. A learning rate that falls to zero always raises the accuracy somewhat: if the
            reference of an arm passes `LONGER`, the value is the change minus that of the
            reference, paired by seed, and the subject is the reference.
        REFERENCES: Is the baseline above simple classifiers? Per classifier; value: the mean
            difference in validation accuracy, paired by seed. It fails where the mean is not above
            0 or the interval includes 0.
        IMAGES: Does the verdict hold on other test examples? Per arm with a verdict other than
            inconclusive; value: the difference, its interval over seeds and images together.
        SEEDS: Can the exact sign-flip test be significant after Holm's correction? Per arm; value:
            its seeds.
        TRIALS: Had an arm as many trials as what it is compared with? Per arm that is searched;
            subject: its reference; value: its trials, without those that widening added; limit:
            those of the reference, of a baseline those of its tuning. Fewer pass where no further
            setting trains another network. A baseline that is not tuned is a matter of `TUNED`.
        MACHINE: Are all runs from one kind of machine? Per kind; value: its runs.
    """

    TUNED = "baseline_tuned"
    INTERIOR = "spaces_interior"
    GAIN = "settings_beat_reference"
    LONGER = "longer_training_gains_nothing"
    BUDGET = "budget_sufficient"
    REFERENCES = "baseline_above_references"
    IMAGES = "verdicts_on_other_images"
    SEEDS = "seeds_sufficient"
    TRIALS = "equal_trials"
    MACHINE = "same_machine"


def trust(
    plan: Plan,
    records: Records,
    histories: Histories,
    tables: Mapping[str, pd.DataFrame],
    searches: Sequence[Mapping[str, Any]],
) -> pd.DataFrame:
    """Return one row per check and arm, classifier or machine that it is about.

    A check passes where all of its rows do. One without rows does not apply.

    Args:
        plan: The confirmation plan.
        records: The records of its runs by fingerprint, empty for a missing run.
        histories: The learning curves of the runs that are compared and done.
        tables: The tables `contrasts`, `parts`, `scores` and `references`.
        searches: One row per searched arm and one for the tuned baseline, as `explored` defines.

    Returns:
        A table with `COLUMNS`; accuracies are fractions, undefined numbers NaN.
    """
    searched = pd.DataFrame(searches, columns=list(SEARCHES))
    of_baseline = searched["arm"] == BASELINE
    arms = searched[~of_baseline].to_dict("records")
    contrasts, parts = tables["contrasts"], tables["parts"]
    distinct = contrasts[(contrasts["metric"] == PRIMARY) & ~contrasts["repeats"]]
    primary = distinct.to_dict("records")
    longer = list(_longer(plan, contrasts[contrasts["metric"] == VALIDATION].to_dict("records")))
    rows = [
        *_tuned(plan, searched[of_baseline].to_dict("records")),
        *_interior(arms),
        *_gains(arms),
        *longer,
        *_budgets(plan, histories, longer),
        *_above_references(plan, tables["scores"], tables["references"]),
        *_other_images(primary),
        *_seeds(plan, primary, len(primary) + len(parts[~parts["repeats"].astype(bool)])),
        *_trials(plan, searched.to_dict("records")),
        *_machines(records),
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.astype({"passed": bool, **dict.fromkeys(NUMBERS, float)})


def seeds_required(arms: float) -> int:
    """Return the smallest number of seeds at which the exact sign-flip test can be significant.

    Its smallest p is 2 / 2^n; Holm's correction multiplies it by the number of arms.

    Args:
        arms: The number of arms, under looks over the weight of the look.
    """
    return next(n for n in count(2) if arms * 2 / 2**n <= LEVEL)


def _row(check: Check, passed: bool, of: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a row of a check; `of` has the study and the arm that it is about."""
    numbers = dict.fromkeys(NUMBERS, nan)
    named = {"study": of["study"], "arm": of["arm"], "subject": "", "at_bound": False}
    return {"check": str(check), **named, "passed": bool(passed), **numbers, **more}


def _tuned(plan: Plan, searches: Sequence[Mapping[str, Any]]) -> Rows:
    if not searches:
        of_baseline = {"study": plan.studies[0].name, "arm": BASELINE}
        yield _row(Check.TUNED, False, of_baseline, value=0)
    for row in searches:
        passed = row["trials"] > 1 and row["chosen"] and _is_interior(row)
        yield _row(Check.TUNED, passed, row, **_place(row), value=row["trials"])


def _interior(searches: Iterable[Mapping[str, Any]]) -> Rows:
    for row in searches:
        if row["ordered"] and row["chosen"]:
            yield _row(Check.INTERIOR, _is_interior(row), row, **_place(row), value=row["widened"])


def _place(search: Mapping[str, Any]) -> dict[str, Any]:
    at_bound = bool(search["edge"] and search["at_bound"])
    return {"subject": search["place"], "at_bound": at_bound}


def _is_interior(search: Mapping[str, Any]) -> bool:
    return not search["edge"] or bool(search["at_bound"])


def _gains(searches: Iterable[Mapping[str, Any]]) -> Rows:
    for row in searches:
        if row["chosen"] and not pd.isna(row["gain"]):
            numbers = {"value": row["gain"], "low": row["gain_low"], "high": row["gain_high"]}
            yield _row(Check.GAIN, row["gain"] > 0, row, **numbers, limit=0.0)


def _longer(plan: Plan, contrasts: Iterable[Mapping[str, Any]]) -> Rows:
    """Yield what longer training gains, from the contrasts of validation accuracy."""
    references = longer_arms(plan)
    for row in contrasts:
        reference = references.get((row["study"], row["arm"]))
        if reference is None or not row["n"]:
            continue
        of_reference = dict(zip(("study", "arm"), reference, strict=True))
        numbers = {"value": row["difference"], "low": row["low"], "high": row["high"]}
        passed = row["difference"] <= plan.margin
        named = {"subject": row["arm"], **numbers, "limit": plan.margin}
        yield _row(Check.LONGER, passed, of_reference, **named)


def _budgets(plan: Plan, histories: Histories, longer: Sequence[Mapping[str, Any]]) -> Rows:
    """Yield the change over the last third of training.

    Args:
        plan: The confirmation plan.
        histories: The learning curves by fingerprint.
        longer: The rows on longer training; their arms are left out.
    """
    changes, references = last_changes(plan, histories), first_references(plan)
    measured = {(row["study"], row["arm"]) for row in longer}
    failed = {(row["study"], row["arm"]) for row in longer if not row["passed"]}
    left_out = measured | longer_arms(plan).keys()
    for (study, arm), of_arm in changes.items():
        if (study, arm) in left_out:
            continue
        reference = references.get((study, arm))
        values, subject = list(of_arm.values()), ""
        if reference in measured - failed:
            usual = changes.get(reference, {})
            values = [change - usual[seed] for seed, change in of_arm.items() if seed in usual]
            subject = reference[1]
        numbers = _estimate(np.array(values, dtype=float))
        named = {"subject": subject, **numbers, "limit": plan.margin}
        passed = numbers["value"] <= plan.margin
        yield _row(Check.BUDGET, passed, {"study": study, "arm": arm}, **named)


def _above_references(plan: Plan, scores: pd.DataFrame, references: pd.DataFrame) -> Rows:
    study = plan.studies_of("comparison")[0].name
    runs = [run for run in plan.runs_of("comparison") if (run.study, run.arm) == (study, BASELINE)]
    seeds = {run.fingerprint: run.seed for run in runs}
    baseline = scores[
        scores["fingerprint"].isin(seeds)
        & (scores["view"] == "deterministic")
        & (scores["split"] == "validation")
        & (scores["metric"] == "accuracy")
    ]
    by_seed = baseline.assign(seed=baseline["fingerprint"].map(seeds))
    baseline = by_seed.set_index("seed")["value"]
    for classifier, rows in references.groupby("classifier", sort=False):
        reference = rows.set_index("seed")["validation_accuracy"]
        numbers = _estimate((baseline - reference).dropna().to_numpy(float))
        named = {"subject": classifier, **numbers, "limit": 0.0}
        passed = numbers["value"] > 0 and not numbers["low"] <= 0
        yield _row(Check.REFERENCES, passed, {"study": study, "arm": BASELINE}, **named)


def _other_images(primary: Iterable[Mapping[str, Any]]) -> Rows:
    for row in primary:
        if row["verdict"] != Verdict.INCONCLUSIVE:
            bounds = {"low": row["low_images"], "high": row["high_images"]}
            named = {"subject": row["verdict"], "value": row["difference"], **bounds}
            passed = row["verdict"] == row["verdict_other_images"]
            yield _row(Check.IMAGES, passed, row, **named)


def _seeds(plan: Plan, primary: Sequence[Mapping[str, Any]], contrasts: int) -> Rows:
    weights = {arm.key: last_weight([arm], plan.looks) for arm in compared(plan)}
    for row in primary:
        required = seeds_required(contrasts / weights.get((row["study"], row["arm"]), 1.0))
        yield _row(Check.SEEDS, row["n"] >= required, row, value=row["n"], limit=required)


def _trials(plan: Plan, searches: Sequence[Mapping[str, Any]]) -> Rows:
    trials = {(row["study"], row["arm"]): int(row["first_trials"]) for row in searches}
    exhausted = {(row["study"], row["arm"]) for row in searches if row["exhausted"]}
    of_baseline = trials.pop((TUNING, BASELINE), None)
    for study, arm in plan.arms():
        if (study, arm.name) not in trials:
            continue
        is_baseline = arm.against == BASELINE
        limit = of_baseline if is_baseline else trials.get((study, arm.against), 1)
        if limit is not None:
            numbers = {"value": trials[study, arm.name], "limit": limit}
            has_all = numbers["value"] < limit and (study, arm.name) in exhausted
            passed = numbers["value"] == limit or has_all
            row = {"study": study, "arm": arm.name}
            yield _row(Check.TRIALS, passed, row, subject=arm.against, **numbers)


def _machines(records: Records) -> Rows:
    kinds = Counter(
        json.dumps(record["machine"]) for record in records.values() if "machine" in record
    )
    for place, (kind, runs) in enumerate(kinds.most_common()):
        words = [f"{key}={value}" for key, value in json.loads(kind).items()]
        nothing = {"study": "", "arm": ""}
        yield _row(Check.MACHINE, place == 0, nothing, subject=", ".join(words), value=runs)


def _estimate(values: Array) -> dict[str, float]:
    estimate = interval(values)
    return {"value": estimate.mean, "low": estimate.low, "high": estimate.high}
