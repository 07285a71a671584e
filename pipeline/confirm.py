"""Stage 4: train the chosen arms and the baseline on fresh seeds, which no choice has used."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.comparison.looks import decide
from pipeline.config.parameters import read_parameters
from pipeline.config.plan import Plan
from pipeline.data.prepared import read_summary
from pipeline.evaluation.validation import validation_scores
from pipeline.execution.rounds import Planned, complete_rounds
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import stage
from pipeline.planning.choice import Score
from pipeline.planning.looks import confirm
from pipeline.planning.studies import read_experiment
from pipeline.records.store import open_store
from pipeline.runtime.files import read_sealed
from pipeline.tracking.live import loggers

TRAINING = "pipeline.execution.devices:train_on_devices"


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/confirmation, look by look where the protocol declares looks."""
    folder = Path("artifacts") / protocol
    chosen = read_sealed(folder / "choice.json")
    experiment = read_experiment(protocol, tuned=chosen["tuned"])
    data = read_summary(folder / "data")
    digest, pool_digests = data["digest"], data.get("pretraining", {})
    settings, store = read_parameters(), open_store()

    def plan_of(scores: Mapping[str, Score]) -> Planned:
        return confirm(experiment, digest, chosen["choice"], scores, decide, pool_digests)

    def scores_of(plan: Plan) -> Mapping[str, Score]:
        return validation_scores(store, plan) if plan.looks else {}  # nothing follows from them

    def train(plan: Plan, identities: Mapping[str, Any]) -> None:
        live = loggers(settings.tracking, plan, identities)
        complete(plan, identities, TRAINING, store, folder, settings.execution, live)

    complete_rounds(plan_of, scores_of, train)


if __name__ == "__main__":
    sys.exit(stage(main))
