"""Plan the runs of a phase from a protocol and its studies, each with its seed and fingerprint."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.claims import claims_digest
from pipeline.config.families import family_of
from pipeline.config.plan import (
    BASELINE,
    Dimension,
    Phase,
    Plan,
    PlannedArm,
    PlannedLooks,
    PlannedRun,
    PlannedStudy,
    Setting,
    Stop,
)
from pipeline.config.schema import Looks
from pipeline.config.streams import Streams
from pipeline.config.validation import invalid
from pipeline.planning.arms import Arm, Trial, searched_values
from pipeline.planning.effects import weights_note
from pipeline.planning.overtuning import overtuning_study
from pipeline.planning.starts import Digests, IdentifiedRun, distinct, identify_run
from pipeline.planning.studies import Experiment, Study, untuned_study
from pipeline.runtime.errors import Refusal

FIRST_CONFIRMATION_SEED = 1000  # exploration counts from 0 and ends before
MEMBER_STEP = 1_000_000  # between the seeds of the models of a group: no other run draws from these
DRAWS = 1000  # where the draws of a study of variance begin, beyond the models of any group
ALWAYS = ("split", "init", "order")  # streams that every arm draws from; the baseline has no other

# study -> arm -> chosen setting, None where every setting has lost a run
Choice = Mapping[str, Mapping[str, Setting | None]]
Identities = dict[str, dict[str, Any]]  # fingerprint -> identity
Key = tuple[str, str]  # study, arm


def confirmation(
    experiment: Experiment,
    data_digest: str,
    choice: Choice,
    pool_digests: Mapping[str, str] | None = None,
    look_counts: Mapping[Key, int] | None = None,
    stops: Sequence[Stop] = (),
) -> tuple[Plan, Identities]:
    """Plan the chosen setting of every arm, and the baseline, on seeds that no choice has used.

    Where tuning has changed the baseline, a study compares it with the values of its protocol.

    Args:
        experiment: The protocol with its tuned values, and its studies.
        data_digest: The digest of the prepared data.
        choice: The chosen setting of every arm that has several; an arm with None gets no runs.
        pool_digests: The digests of the data of its pretrainings, by name.
        look_counts: How many looks each compared arm has; one that is not named has the first.
        stops: Where arms have stopped.

    Returns:
        The plan, and the identity of each of its runs by fingerprint.

    Raises:
        Refusal: `choice` names a setting that an arm cannot have.
    """
    looks = experiment.protocol.seeds.looks
    has_looks = isinstance(experiment.protocol.seeds.confirmation, Looks)
    digests = Digests(data_digest, pool_digests or {})
    seeds = range(FIRST_CONFIRMATION_SEED, FIRST_CONFIRMATION_SEED + looks.looks[-1])

    def runs_of_look(studies: Sequence[Study], look: int) -> list[tuple[PlannedRun, IdentifiedRun]]:
        """Return the runs that a look adds to the arms that have it."""
        row = {"round": look} if has_looks else {}
        look_seeds = seeds[looks.seeds_of(look)]
        runs: list[tuple[PlannedRun, IdentifiedRun]] = []
        for study, arm in _arms_with_look(studies, look, look_counts or {}):
            for trial in _chosen(study, arm, choice):
                runs += planned_runs(study, arm, trial, look_seeds, digests, **row)
        return runs

    planned = runs_of_look(experiment.studies, 1)  # also checks the choice
    derived = untuned_study(experiment), overtuning_study(experiment, choice)
    further = [study for study in derived if study]
    planned += runs_of_look(further, 1)
    studies = (*experiment.studies, *further)
    comparisons = [study for study in studies if study.kind == "comparison"]
    for look in range(2, len(looks.looks) + 1):
        planned += runs_of_look(comparisons, look)
    planned_looks = PlannedLooks(seeds=looks.looks, weights=looks.shares, stops=tuple(stops))
    return plan_of(
        experiment,
        "confirmation",
        data_digest,
        tuple(describe_study(study, seeds, _designs(study)) for study in studies),
        planned,
        planned_looks if has_looks else None,
    )


def _arms_with_look(
    studies: Sequence[Study], look: int, look_counts: Mapping[Key, int]
) -> Iterator[tuple[Study, Arm]]:
    """Yield the arms that have a look; an arm not in `look_counts` has only the first."""
    for study in studies:
        for arm in study.arms:
            if look <= look_counts.get((study.name, arm.name), 1):
                yield study, arm


def _chosen(study: Study, arm: Arm, choice: Choice) -> list[Trial]:
    """Return the chosen setting of an arm; empty if every setting has lost a run.

    An arm on which searches are replayed has all its settings.
    """
    if not arm.is_searched or study.search:
        return [*arm.trials]
    setting = choice.get(study.name, {}).get(arm.name, {})
    if setting is None:
        return []
    where = f"choice.json: {study.name}.{arm.name}"
    try:
        return [arm.trial_of(setting)]
    except (KeyError, Refusal):
        remedy = f"run: gapwise run --protocol {arm.definition.protocol.name}"
        raise Refusal(invalid(where, setting, f"a setting of this arm; {remedy}")) from None


def member_streams(seed: int, member: int) -> Streams:
    """Return the streams of a model of a group.

    The models of a group share the split; every other stream differs from model to model.

    Args:
        seed: The seed of the group.
        member: The number of the model; 0 has the group's seed in every stream.
    """
    model_seed = seed + MEMBER_STEP * member
    return Streams(
        split=seed, init=model_seed, order=model_seed, augmentation=model_seed, noise=model_seed
    )


def drawn_streams(seed: int, stream: str, draw: int) -> Streams:
    """Return the streams of a run, with a separate seed for at most one of them.

    Args:
        seed: The seed of all other streams.
        stream: The name of that stream.
        draw: The number of its draw; 0 is drawn under `seed`, too.
    """
    drawn_seed = seed + MEMBER_STEP * (DRAWS + draw) if draw else seed
    return Streams.of(seed).model_copy(update={stream: drawn_seed})


def planned_runs(
    study: Study, arm: Arm, trial: Trial, seeds: Sequence[int], digests: Digests, **more: Any
) -> Iterator[tuple[PlannedRun, IdentifiedRun]]:
    """Yield every run of a setting, with its identity and the runs it starts from.

    Args:
        study: The study.
        arm: Its arm.
        trial: The setting.
        seeds: The seeds of the phase.
        digests: Those of the prepared data.
        more: Further values of each row of the plan.
    """
    for row, streams in _rows(study, arm, seeds):
        described = identify_run(trial, streams, digests)
        run = PlannedRun(
            study=study.name,
            arm=arm.name,
            setting=trial.setting,
            fingerprint=described.fingerprint,
            start=described.starts[0][0].fingerprint if described.starts else None,
            **row,
            **more,
        )
        yield run, described


def plan_of(
    experiment: Experiment,
    phase: Phase,
    data_digest: str,
    studies: tuple[PlannedStudy, ...],
    planned: Sequence[tuple[PlannedRun, IdentifiedRun]],
    looks: PlannedLooks | None = None,
) -> tuple[Plan, Identities]:
    """Return the plan of a phase, and the identity of each of its runs by fingerprint.

    Args:
        experiment: The protocol with its studies.
        phase: exploration or confirmation.
        data_digest: The digest of the prepared data.
        studies: The studies as the plan describes them.
        planned: Each run with its identity.
        looks: The looks of confirmation; None without any.

    Raises:
        Refusal: The file of pretrained weights does not fit the network.
    """
    protocol = experiment.protocol
    starts = distinct(described for _, described in planned)
    plan = Plan(
        protocol=protocol.name,
        phase=phase,
        settings=protocol.settings(),
        tuned=dict(experiment.tuned),
        overridden=experiment.overridden,
        margin=protocol.margin,
        optimal_error=protocol.optimal_error,
        data_digest=data_digest,
        studies=studies,
        runs=tuple(run for run, _ in planned),
        starts=tuple(start for start, _ in starts.values()),
        looks=looks,
        claims=claims_digest(claim for study in experiment.studies for claim in study.claims),
        loaded=weights_note(protocol.network_settings()),
    )
    identities = {start: described for start, (_, described) in starts.items()}
    return plan, identities | {run.fingerprint: one.identity for run, one in planned}


def _rows(study: Study, arm: Arm, seeds: Sequence[int]) -> Iterator[tuple[dict[str, Any], Streams]]:
    """Yield seed, member and draw of each run of one setting, with the run's streams."""
    if study.ensemble:
        models = range(study.ensemble.size if arm.name == BASELINE else 1)
        for seed, member in itertools.product(seeds[: study.ensemble.groups], models):
            yield {"seed": seed, "member": member}, member_streams(seed, member)
    elif study.variance:
        streams = ALWAYS if arm.name == BASELINE else tuple(Streams.model_fields)
        draws = range(study.variance.draws + 1)
        groups = seeds[: study.variance.groups]
        for seed, stream, draw in itertools.product(groups, streams, draws):
            row = {"seed": seed, "stream": stream, "draw": draw}
            yield row, drawn_streams(seed, stream, draw)
    else:
        for seed in seeds[: study.search.seeds] if study.search else seeds:
            yield {"seed": seed}, Streams.of(seed)


def _designs(study: Study) -> dict[str, tuple[Dimension, ...]]:
    """Return the values that designs cover, by arm; empty if searches are not compared."""
    return {arm.name: searched_values(arm) for arm in study.arms} if study.search else {}


def describe_study(
    study: Study, seeds: Sequence[int], spaces: Mapping[str, tuple[Dimension, ...]] | None = None
) -> PlannedStudy:
    """Return a study in the form that a plan stores.

    Args:
        study: The study.
        seeds: The seeds of the phase.
        spaces: The values that arms search, by arm.
    """
    grouped = study.ensemble or study.variance
    return PlannedStudy(
        name=study.name,
        question=study.question,
        kind=study.kind,
        arms=tuple(_describe_arm(study, arm, spaces or {}) for arm in study.arms),
        groups=tuple(seeds[: grouped.groups]) if grouped else (),
        size=study.ensemble.size if study.ensemble else 0,
        claims=study.claims,
        search=study.search,
    )


def _describe_arm(
    study: Study, arm: Arm, spaces: Mapping[str, tuple[Dimension, ...]]
) -> PlannedArm:
    """Return an arm in the form that a plan stores."""
    first = arm.trials[0]
    families = [regularizer.family for regularizer in first.regularizers]
    return PlannedArm(
        name=arm.name,
        factor=arm.factor,
        against=arm.against,
        rule=arm.rule,
        family=family_of(families, arm.factor.protocol),
        train_size=first.protocol.data.train_size,
        space=spaces.get(arm.name, ()),
        design=arm.design if study.search else None,
        search=_rounds(arm) if spaces else None,
    )


def _rounds(arm: Arm) -> dict[str, Any] | None:
    """Return the search of an arm if its later trials depend on scores, otherwise None."""
    search = arm.definition.search
    return search.acting() if search and search.is_adaptive else None
