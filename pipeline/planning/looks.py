"""Plan confirmation in looks: which arms get further seeds follows from scores alone.

Every arm has the seeds of the first look. An arm that has not stopped there gets those of the next
one, and so do the arms with the same runs and those that it is compared with. What stops an arm is
decided elsewhere (`comparison.looks`), on validation scores, so that the plan is a pure function of
the records: it is the same after any interruption and in whatever order runs end.
"""

from collections.abc import Callable, Mapping

from pipeline.config.plan import Plan, Reason, Stop
from pipeline.planning.choice import Score
from pipeline.planning.phases import Choice, Identities, Key, confirmation
from pipeline.planning.studies import Experiment

# the plan so far and the validation scores of its runs that have ended -> why each compared arm
# stops at its last look, None for one that goes on
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

    Looks that `params.yaml` asks for come last, so that they change nothing else.

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
    look_counts: dict[Key, int] = {}
    stops: dict[Key, Stop] = {}

    def planned() -> tuple[Plan, Identities]:
        return confirmation(
            experiment, data_digest, choice, pool_digests, look_counts, list(stops.values())
        )

    plan, identities = planned()
    if plan.looks is None:
        return plan, identities
    last_look = len(plan.looks.seeds)
    for look in range(1, last_look + 1):
        if any(run.fingerprint not in scores for run in plan.runs_of("comparison")):
            return plan, identities
        all_reasons = decide(plan, scores)
        reasons = {key: all_reasons[key] for key in all_reasons if look_counts.get(key, 1) == look}
        further = plan.with_needed(key for key, reason in reasons.items() if reason is None)
        for key, reason in reasons.items():
            if reason is not None and key not in further:
                stops[key] = _stop(key, look, reason)
        look_counts |= dict.fromkeys(further, look + 1)
        plan, identities = planned()
        if not further:
            break
    if not experiment.requested_looks:
        return plan, identities
    for look in range(2, last_look + 1):
        requested = [key for key, last in experiment.requested_looks.items() if last >= look]
        for key in plan.with_needed(requested):
            if look_counts.get(key, 1) >= look:
                continue
            look_counts[key] = look
            if key in stops:
                stops[key] = _stop(key, look, "asked")
    return planned()


def _stop(key: Key, look: int, reason: Reason) -> Stop:
    study, arm = key
    return Stop(study=study, arm=arm, look=look, reason=reason)
