"""Group models that share a split, and tabulate every way to predict with them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from pipeline.config.labels import VIEWS
from pipeline.config.plan import BASELINE, Plan, PlannedRun, PlannedStudy
from pipeline.evaluation.calibration import reliability
from pipeline.evaluation.methods import (
    GEOMETRIC,
    Group,
    Labelled,
    Method,
    Model,
    ensemble_methods,
    greedy_selection,
    method_scores,
    scores_by_size,
)
from pipeline.evaluation.metrics import Labels
from pipeline.records.predictions import Predictions

Row = tuple[Any, ...]


def read_group(
    plan: Plan,
    study: PlannedStudy,
    seed: int,
    read: Callable[[str], Predictions],
    done: Collection[str],
) -> Group | None:
    """Return the models of one group; None if one of the baseline's is not done.

    Compared runs of the same seed share the split and belong to it, each model once. An arm trained
    on another number of images does not: an average with it would use more data.

    Args:
        plan: The confirmation plan.
        study: The study of ensembles.
        seed: The seed of the group.
        read: A function that returns the predictions of a run by its fingerprint.
        done: The fingerprints of the runs that are done.
    """
    members = {
        (run.arm, run.member): run.fingerprint
        for run in plan.runs
        if (run.study, run.seed) == (study.name, seed)
    }
    baseline = [members[BASELINE, number] for number in range(study.size)]
    if any(run not in done for run in baseline):
        return None

    def model(run: str) -> Model:
        return Model(run, read(run))

    models = [model(run) for run in baseline]
    images = len(models[0].predictions.labels["train"])
    compared = {arm: model(run) for arm, run in _compared(plan, seed, done).items()}
    return Group(
        compared={
            arm: one
            for arm, one in compared.items()
            if len(one.predictions.labels["train"]) == images
        },
        baseline=models,
        others={
            arm: model(run) for (arm, _), run in members.items() if arm != BASELINE and run in done
        },
    )


def ensemble_rows(
    plan: Plan, read: Callable[[str], Predictions], records: Mapping[str, Any], test_labels: Labels
) -> Iterator[tuple[str, Row]]:
    """Yield the rows of `ensembles`, `sizes` and `reliability`, each with the name of its table.

    Args:
        plan: The confirmation plan.
        read: A function that returns the predictions of a run by its fingerprint.
        records: The records of the runs that are done.
        test_labels: (examples,).
    """
    costs = {run: record["cost"] for run, record in records.items()}
    for study in plan.studies_of("ensemble"):
        for seed in study.groups:
            group = read_group(plan, study, seed, read, records)
            if group:
                labels = group.baseline[0].predictions.labels["validation"], test_labels
                for name, rows in group_tables(group, labels, costs).items():
                    yield from ((name, (study.name, seed, *row)) for row in rows)


def group_tables(
    group: Group, labels: Labelled, costs: Mapping[str, Mapping[str, float]]
) -> dict[str, list[Row]]:
    """Return the rows of `ensembles`, `sizes` and `reliability`, without study and group.

    Args:
        group: The models of the group.
        labels: The labels of validation and of test, (examples,) each.
        costs: `training_flops` and `forward_flops` by run, in floating-point operations.
    """
    tables: dict[str, list[Row]] = {"ensembles": [], "sizes": [], "reliability": []}
    greedy, gains = greedy_selection(group, labels[0])
    training, forward = (
        {run: cost[name] for run, cost in costs.items()}
        for name in ("training_flops", "forward_flops")
    )
    for method in (*ensemble_methods(group), greedy):
        flops = sum(training[run] for run in method.runs)
        values = {**method_scores(method, labels, forward), "training_flops": flops}
        if method is greedy:
            values |= gains
        about = (method.name, method.model, method.against)
        tables["ensembles"] += [(*about, *item) for item in sorted(values.items())]
        tables["sizes"] += [(method.name, *row) for row in _sizes(method, labels[1])]
        bins = reliability(method.average(method.test), labels[1])
        columns = (bins.low, bins.high, bins.count, bins.confidence, bins.accuracy)
        tables["reliability"] += [(method.name, *row) for row in zip(*columns, strict=True)]
    return tables


def _compared(plan: Plan, seed: int, done: Collection[str]) -> dict[str, str]:
    """Return the compared runs of a seed by arm, each run once, under its first name."""
    runs = [run for run in plan.runs_of("comparison") if run.fingerprint in done]
    named = {run.fingerprint: _arm_name(run, runs) for run in reversed(runs) if run.seed == seed}
    return {arm: run for run, arm in reversed(named.items())}


def _arm_name(run: PlannedRun, runs: Collection[PlannedRun]) -> str:
    """Return the arm of a run, with its study if other runs of the seed have the same name."""
    same = {other.fingerprint for other in runs if (other.arm, other.seed) == (run.arm, run.seed)}
    return run.arm if len(same) == 1 else f"{run.arm} of {run.study}"


def _sizes(method: Method, labels: Any) -> Iterator[tuple[int, str, float]]:
    unordered = method.model != BASELINE or method.name in (VIEWS["crops"], GEOMETRIC)
    return iter(()) if unordered or len(method.test) < 2 else scores_by_size(method, labels)
