"""Read the validation scores that decide what is explored next and what is chosen."""

import json
from pathlib import Path

from pipeline.config.plan import Plan
from pipeline.evaluation.averaging import arithmetic_mean
from pipeline.evaluation.metrics import accuracy, nll
from pipeline.planning.choice import Score
from pipeline.records.runs import checked_record, read_validation
from pipeline.records.store import Store


def validation_scores(store: Store, plan: Plan) -> dict[str, Score]:
    """Return the score of every run of a plan that has ended, by fingerprint.

    A run with the weights of its reference has failed.

    Args:
        store: The run store.
        plan: The plan of a phase.

    Raises:
        Refusal: The record or a file of a run is missing or corrupted.
    """
    unchanged = store.unchanged(plan)
    ended = [name for name in plan.fingerprints() if store.state(name) != "missing"]
    return {
        name: Score("failed") if name in unchanged else validation_score(store.folder(name))
        for name in ended
    }


def validation_score(folder: Path) -> Score:
    """Return the validation score of a run under its test rule.

    Args:
        folder: The folder of the run.

    Returns:
        Its state; accuracy (fraction) and NLL (nats), NaN for a run that is not done; and, for a
        run that is done, its machine as JSON.

    Raises:
        Refusal: The record or a file of the run is missing or corrupted.
    """
    record = checked_record(folder)
    if record is None or record["state"] != "done":
        return Score(record["state"] if record else "missing")
    logits, labels = read_validation(folder)
    probabilities = arithmetic_mean(logits)
    return Score(
        "done",
        accuracy(probabilities, labels),
        nll(probabilities, labels),
        json.dumps(record.get("machine"), sort_keys=True),
    )
