"""Plan confirmation in looks: which arms get further seeds depends on scores only.

Every arm has the seeds of the first look. An arm that has not stopped there gets the seeds of the
next look, and so do the arms with the same runs and its references. The decision to stop is made
elsewhere (`comparison.looks`), on validation scores. So the plan is a pure function of the records:
it is the same after any interruption and for any order in which runs end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.config.plan import Plan, Reason, Stop
from pipeline.planning.choice import Score
from pipeline.planning.phases import Choice, Identities, Key, confirmation
from pipeline.planning.studies import Experiment

# the plan so far and the validation scores of its runs that have ended -> why each compared arm
# stops at its last look; None: the arm continues
Decide = Callable[[Plan, Mapping[str, Score]], Mapping[Key, Reason | None]]


def confirm(
    experiment: Experiment,
    data_digest: str,
    choice: Choice,
    scores: Mapping[str, Score],
    decide: Decide,
    pool_digests: Mapping[str, str] | None = None,
) -> tuple[Plan, Identities]:
    """Plan every look whose runs follow from the scores.

    Looks that `params.yaml` requests come last, so that they change nothing else.

    Args:
        experiment: The protocol with its tuned values, and its studies.
        data_digest: The digest of the prepared data.
        choice: The chosen setting of every arm that has several; an arm with None gets no runs.
        scores: The validation scores of the runs that have ended, by fingerprint.
        decide: Returns why arms stop.
        pool_digests: The digests of the data of its pretrainings, by name.

    Returns:
        The plan, and the identity of each of its runs by fingerprint.

    Raises:
        Refusal: `choice` names a setting that an arm cannot have.
    """
    state = _Looks()

    def planned() -> tuple[Plan, Identities]:
        stops = list(state.stops.values())
        return confirmation(experiment, data_digest, choice, pool_digests, state.counts, stops)

    plan, identities = planned()
    if plan.looks is None:
        return plan, identities
    last_look = len(plan.looks.seeds)
    for look in range(1, last_look + 1):
        if any(run.fingerprint not in scores for run in plan.runs_of("comparison")):
            return plan, identities
        has_further = state.decide(plan, look, decide(plan, scores))
        plan, identities = planned()
        if not has_further:
            break
    if not experiment.requested_looks:
        return plan, identities
    for look in range(2, last_look + 1):
        state.request(plan, look, experiment.requested_looks)
    return planned()


@dataclass
class _Looks:
    """How many looks each arm has, and where arms have stopped."""

    counts: dict[Key, int] = field(default_factory=dict)
    stops: dict[Key, Stop] = field(default_factory=dict)

    def decide(self, plan: Plan, look: int, reasons: Mapping[Key, Reason | None]) -> bool:
        """Stop arms at a look or give them the next one; return whether any arm has a next look.

        Args:
            plan: The plan up to this look.
            look: The number of the look.
            reasons: Why arms stop, None for those that do not. Arms that have not reached
                this look are ignored.
        """
        present = {key: reasons[key] for key in reasons if self.counts.get(key, 1) == look}
        further = plan.with_needed(key for key, reason in present.items() if reason is None)
        for key, reason in present.items():
            if reason is not None and key not in further:
                self.stops[key] = _stop(key, look, reason)
        self.counts |= dict.fromkeys(further, look + 1)
        return bool(further)

    def request(self, plan: Plan, look: int, requested: Mapping[Key, int]) -> None:
        """Give a look to the requested arms, to their references, and to arms with equal runs."""
        arms = [key for key, last in requested.items() if last >= look]
        for key in plan.with_needed(arms):
            if self.counts.get(key, 1) >= look:
                continue
            self.counts[key] = look
            if key in self.stops:
                self.stops[key] = _stop(key, look, "asked")


def _stop(key: Key, look: int, reason: Reason) -> Stop:
    study, arm = key
    return Stop(study=study, arm=arm, look=look, reason=reason)
