"""Report failed runs, one line for each reason."""

from collections.abc import Mapping

from pipeline.config.labels import format_run
from pipeline.config.plan import Plan
from pipeline.execution.jobs import Outcome


def format_failures(failed: Mapping[str, Outcome], total: int, labels: Mapping[str, str]) -> str:
    """Return the number of failed runs, and a line for each reason.

    Args:
        failed: The outcomes of the failed runs, by fingerprint.
        total: The number of all runs.
        labels: The labels of all runs, by fingerprint.
    """
    reasons = {fingerprint: outcome["reason"] for fingerprint, outcome in failed.items()}
    lines = [f"{runs}: {reason}" for reason, runs in group_by_reason(reasons, labels).items()]
    return "\n".join([f"{len(reasons)} of {total} runs failed:", *lines])


def group_by_reason(reasons: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """Return, for each reason, the label of its first run and the number of further runs.

    Args:
        reasons: The reason of each failed run, by fingerprint.
        labels: The labels of all runs, by fingerprint.

    Returns:
        Reason -> text, such as "dropout rate=0.5 seed 1 and 3 more".
    """
    runs: dict[str, list[str]] = {}
    for fingerprint in sorted(reasons, key=lambda fingerprint: labels[fingerprint]):
        runs.setdefault(reasons[fingerprint], []).append(labels[fingerprint])
    return {
        reason: names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        for reason, names in runs.items()
    }


def run_labels(plan: Plan) -> dict[str, str]:
    """Return the label of every run, by fingerprint: the first of its rows in the plan.

    Args:
        plan: The plan of a phase.
    """
    starts = {
        start.fingerprint: f"{start.name}, seed {start.seed}" for start in reversed(plan.starts)
    }
    return starts | {run.fingerprint: format_run(run) for run in reversed(plan.runs)}
