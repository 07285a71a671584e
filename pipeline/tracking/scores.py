"""Read the scores of the runs of a project of Weights & Biases."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.runtime.errors import Refusal
from pipeline.tracking.guards import WandbTimeout, deadline, short_error
from pipeline.tracking.mirror import has_key, silence

PATIENCE = 60.0  # seconds for all runs of a project
MOST_RUNS = 10_000
ATTRIBUTES = ("group", "name", "job_type")  # of a run, besides the keys of its configuration
FINISHED = "finished"


def read_wandb_scores(project: str, score: str, arm: str, seed: str) -> pd.DataFrame:
    """Return the score of every run, from the summary that W&B keeps of it.

    W&B's own settings choose the server and the account.

    Args:
        project: As in `entity/project`.
        score: The key of the summary.
        arm: A key of the configuration, with dots between levels, or `group`, `name` or `job_type`.
        seed: The same, of the seed.

    Returns:
        The columns arm, seed, the score and file, which names the run, as texts. A run that has not
        finished has no score.

    Raises:
        Refusal: The project is not there, W&B does not answer, or a run has no arm or no seed.
    """
    if not re.fullmatch(r"[^/\s]+/[^/\s]+", project):
        raise Refusal(f"--wandb: invalid value {project!r}; expected entity/project")
    silence()
    try:
        is_signed_in = has_key()
        with deadline(PATIENCE):
            runs = _runs(project) if is_signed_in else []
    except (Exception, WandbTimeout) as error:
        raise Refusal(f"--wandb {project}: {short_error(error)}") from None
    if not is_signed_in:  # W&B would ask for one
        raise Refusal("--wandb: no API key; run: wandb login")
    if not runs:
        raise Refusal(f"--wandb {project}: no runs; expected a run per arm and seed")
    rows = []
    metrics: set[str] = set()
    for run in runs:
        place = f"--wandb {project}: run {run.id}"
        metrics.update(run.summary_metrics)
        value = run.summary_metrics.get(score) if run.state == FINISHED else None
        values = {"arm": _value(run, arm, place, "arm"), "seed": _value(run, seed, place, "seed")}
        rows.append({**values, score: "" if value is None else str(value), "file": place})
    if score not in metrics:
        shown = sorted(name for name in metrics if not name.startswith("_"))
        named = f"one of: {', '.join(shown)}" if shown else "runs with a summary"
        raise Refusal(f"--wandb {project}: {score}: in the summary of no run; expected {named}")
    return pd.DataFrame(rows, columns=["arm", "seed", score, "file"])


def _runs(project: str) -> list[Any]:
    import wandb  # slow to import

    api = wandb.Api(timeout=int(PATIENCE))
    of_project = api.runs(project, order="+created_at", per_page=500, lazy=False)
    runs = []
    for run in of_project:
        runs.append(run)
        if len(runs) > MOST_RUNS:
            raise ValueError(f"more than {MOST_RUNS} runs")
    return runs


def _value(run: Any, key: str, place: str, role: str) -> str:
    """Return a value of the configuration of a run, or one of its attributes."""
    config: Mapping[str, Any] = run.config
    value = config[key] if key in config else _nested(config, key)
    if value is None and key in ATTRIBUTES:
        value = getattr(run, key, None)
    if value is None:
        raise Refusal(
            f"{place}: {role}: no key {key} in its configuration; expected --{role} KEY, "
            f"or one of {', '.join(ATTRIBUTES)}"
        )
    return str(value)


def _nested(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
