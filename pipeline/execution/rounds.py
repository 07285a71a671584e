"""Complete a phase whose plan follows from the scores of its runs, round by round."""

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.config.plan import Plan
from pipeline.planning.choice import Score

Scores = Mapping[str, Score]  # by fingerprint
Planned = tuple[Plan, Mapping[str, Any]]  # a plan, and the identity of each of its runs


def complete_rounds(
    plan_of: Callable[[Scores], Planned],
    scores_of: Callable[[Plan], Scores],
    train: Callable[[Plan, Mapping[str, Any]], None],
) -> None:
    """Train the runs of every round until there is no further round.

    Rounds whose runs have all ended are planned without training anything.

    Args:
        plan_of: Returns all rounds that follow from the scores of the runs that have ended.
        scores_of: Returns the scores of the runs of a plan that have ended.
        train: Trains what a plan lacks.
    """
    previous: Scores = {}
    attempted: set[str] = set()  # failed runs are tried again; until then they have not ended
    trained: Plan | None = None
    planned = plan_of(previous)
    while planned[0] != trained:
        scores: Scores = {
            name: score
            for name, score in scores_of(planned[0]).items()
            if score.state != "failed" or name in attempted
        }
        latest = planned if scores == previous else plan_of(scores)
        if latest[0] == planned[0]:  # its runs are to be trained, or it is the last round
            train(*planned)
            trained = planned[0]
            attempted.update(trained.fingerprints())
            previous, scores = scores, scores_of(trained)
            latest = planned if scores == previous else plan_of(scores)
        planned, previous = latest, scores
