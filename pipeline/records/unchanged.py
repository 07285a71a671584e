"""Find regularized runs with the same final weights as their reference: a failed audit.

Each run passes its own audit in training, where its reference is not known.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.plan import Factor, Plan, PlannedRun

WEIGHTS = "weights.safetensors"
BEST_EPOCH = "best_epoch"  # a measure of regularizers that keep the weights of an epoch

Records = Mapping[str, Mapping[str, Any] | None]  # fingerprint -> record, None if there is none
Place = tuple[Any, ...]  # study, arm, and what the runs of an arm and its reference share


def unchanged_runs(plan: Plan, records: Records) -> dict[str, str]:
    """Return the reason of every run whose regularizers left the weights of its reference.

    The reference is the run of the arm it is compared with, on the same streams. Equal weights are
    valid where the records show that the regularizers that differ did not act, by chance or by
    their rule (early stopping that never stopped), or that they kept the weights of the same epoch
    under two settings.

    Args:
        plan: The plan of a phase.
        records: The records of its runs.

    Returns:
        Fingerprint -> reason, one line.
    """
    arms = {(study, arm.name): arm for study, arm in plan.arms()}
    names: dict[Place, list[str]] = {}
    for run in plan.runs:
        names.setdefault(_place(run, run.arm), []).append(run.fingerprint)
    reasons = {}
    for run in plan.runs:
        arm = arms[run.study, run.arm]
        record = records.get(run.fingerprint) or {}
        for name in names.get(_place(run, arm.against), []):
            other = records.get(name) or {}
            if name != run.fingerprint and _is_unchanged(arm.factor, record, other):
                reasons[run.fingerprint] = (
                    f"audit: the final weights are those of {arm.against} at the same seed; "
                    f"expected others by {' and '.join(_differing(arm.factor, record, other))}"
                )
    return reasons


def _place(run: PlannedRun, arm: str) -> Place:
    return run.study, arm, run.seed, run.member, run.stream, run.draw


def _is_unchanged(factor: Factor, record: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two finished runs have equal weights, although a regularizer acted."""
    weights = [each.get("files", {}).get(WEIGHTS) for each in (record, other)]
    states = {record.get("state"), other.get("state")}
    if states != {"done"} or None in weights or weights[0] != weights[1]:
        return False
    idle = {*record.get("idle", ()), *other.get("idle", ())}
    return any(
        name not in idle and not _keep_one_epoch(name, record, other)
        for name in _differing(factor, record, other)
    )


def _keep_one_epoch(name: str, record: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether a regularizer of both runs kept the weights of the same epoch."""
    epochs = [each.get("audit", {}).get(name, {}).get(BEST_EPOCH) for each in (record, other)]
    return None not in epochs and epochs[0] == epochs[1]


def _differing(
    factor: Factor, record: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the regularizers that differ between two runs, or that only one of them has."""
    either = {*record.get("audit", ())} ^ {*other.get("audit", ())}
    yield from sorted({*factor.regularizers, *either})
