"""Stage 2: explore, round by round, and train every run that is not yet recorded."""

import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config.parameters import read_parameters
from pipeline.config.plan import Plan
from pipeline.data.prepared import read_development_labels, read_summary
from pipeline.evaluation.validation import validation_scores
from pipeline.execution.rounds import Planned, complete_rounds
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import stage
from pipeline.planning.choice import Score
from pipeline.planning.effects import weights_note
from pipeline.planning.rounds import explore
from pipeline.planning.sizes import require_arm_sizes
from pipeline.planning.studies import Experiment, read_experiment
from pipeline.records.store import open_store
from pipeline.tracking.live import loggers

TRAINING = "pipeline.execution.devices:train_on_devices"


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/exploration, round by round."""
    folder = Path("artifacts") / protocol

    @functools.cache
    def experiment(tuned: str) -> Experiment:
        return read_experiment(protocol, tuned=json.loads(tuned))

    def read(tuned: Mapping[str, Any]) -> Experiment:
        return experiment(json.dumps(tuned))

    require_arm_sizes(read({}), read_development_labels(folder / "data"))
    if note := weights_note(read({}).protocol.network_settings()):
        print(f"note: {note}")
    summary = read_summary(folder / "data")
    digest, pool_digests = summary["digest"], summary.get("pretraining", {})
    settings, store = read_parameters(), open_store()

    def plan_of(scores: Mapping[str, Score]) -> Planned:
        explored = explore(read, digest, scores, pool_digests=pool_digests)
        return explored.plan, explored.identities

    def train(plan: Plan, identities: Mapping[str, Any]) -> None:
        live = loggers(settings.tracking, plan, identities)
        complete(plan, identities, TRAINING, store, folder, settings.execution, live)

    complete_rounds(plan_of, lambda plan: validation_scores(store, plan), train)


if __name__ == "__main__":
    sys.exit(stage(main))
