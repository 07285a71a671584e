"""Plan the runs of a phase from a protocol and its studies, each with its seed and fingerprint."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.plan import (
    BASELINE,
    Phase,
    Plan,
    PlannedArm,
    PlannedRun,
    PlannedStudy,
    Setting,
)
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.config.validation import invalid
from pipeline.planning.arms import Arm, Trial
from pipeline.planning.fingerprint import fingerprint, identity
from pipeline.planning.studies import Experiment, Study
from pipeline.runtime.errors import Refusal

FIRST_CONFIRMATION_SEED = 1000  # exploration counts from 0 and ends before
MEMBER_STEP = 1_000_000  # between the seeds of the models of a group: no other run draws from these
DRAWS = 1000  # where the draws of a study of variance begin, beyond the models of any group
ALWAYS = ("split", "init", "order")  # streams that every arm draws from; the baseline has no other

Choice = Mapping[str, Mapping[str, Setting | None]]  # study -> arm -> chosen setting, None if none
Selection = Callable[[Study, Arm], Iterable[Trial]]
Identities = dict[str, dict[str, Any]]  # fingerprint -> identity


def exploration(experiment: Experiment, data_digest: str) -> tuple[Plan, Identities]:
    """Plan every setting of every arm that has several, and the baseline, on exploration seeds.

    Args:
        experiment: The protocol and its studies; only studies that compare arms are explored.
        data_digest: The digest of the prepared data.

    Returns:
        The plan, and the identity of each of its runs by fingerprint.
    """

    def explored(study: Study, arm: Arm) -> Iterable[Trial]:
        needed = any(len(other.trials) > 1 for other in study.arms)
        searched = len(arm.trials) > 1 or (arm.name == BASELINE and needed)
        return arm.trials if searched else ()

    seeds = range(experiment.protocol.seeds.exploration)
    return _plan(experiment, data_digest, "exploration", ("comparison",), seeds, explored)


def confirmation(
    experiment: Experiment, data_digest: str, choice: Choice
) -> tuple[Plan, Identities]:
    """Plan the chosen setting of every arm, and the baseline, on seeds that no choice has used.

    Args:
        experiment: The protocol and its studies.
        data_digest: The digest of the prepared data.
        choice: The chosen setting of every arm that has several; an arm with None gets no runs.

    Returns:
        The plan, and the identity of each of its runs by fingerprint.

    Raises:
        Refusal: `choice` names a setting that an arm does not have.
    """

    def chosen(study: Study, arm: Arm) -> Iterable[Trial]:
        if len(arm.trials) == 1:
            return arm.trials
        setting = choice.get(study.name, {}).get(arm.name, {})
        matching = [trial for trial in arm.trials if trial.setting == setting]
        if not matching and setting is not None:
            where = f"choice.json: {study.name}.{arm.name}"
            raise Refusal(invalid(where, setting, "a setting of this arm; run: make run"))
        return matching

    count = experiment.protocol.seeds.confirmation
    seeds = range(FIRST_CONFIRMATION_SEED, FIRST_CONFIRMATION_SEED + count)
    kinds = ("comparison", "ensemble", "variance")
    return _plan(experiment, data_digest, "confirmation", kinds, seeds, chosen)


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
    """Return the streams of a run in which one stream may have another seed.

    Args:
        seed: The seed of all other streams.
        stream: The name of that stream.
        draw: The number of its draw; 0 is drawn under `seed`, too.
    """
    drawn_seed = seed + MEMBER_STEP * (DRAWS + draw) if draw else seed
    return Streams.of(seed).model_copy(update={stream: drawn_seed})


def _plan(
    experiment: Experiment,
    data_digest: str,
    phase: Phase,
    kinds: Sequence[str],
    seeds: Sequence[int],
    select: Selection,
) -> tuple[Plan, Identities]:
    identities: Identities = {}
    runs: list[PlannedRun] = []
    studies = [study for study in experiment.studies if study.kind in kinds]
    for study in studies:
        for arm in study.arms:
            for trial in select(study, arm):
                for row, streams in _rows(study, arm, seeds):
                    described = identity(_config(trial, streams), data_digest)
                    name = fingerprint(described)
                    identities[name] = described
                    runs.append(
                        PlannedRun(
                            study=study.name,
                            arm=arm.name,
                            setting=trial.setting,
                            fingerprint=name,
                            **row,
                        )
                    )
    protocol = experiment.protocol
    plan = Plan(
        protocol=protocol.name,
        phase=phase,
        settings=protocol.settings(),
        margin=protocol.margin,
        optimal_error=protocol.optimal_error,
        data_digest=data_digest,
        studies=tuple(_described(study, seeds) for study in studies),
        runs=tuple(runs),
    )
    return plan, identities


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
        for seed in seeds:
            yield {"seed": seed}, Streams.of(seed)


def _config(trial: Trial, streams: Streams) -> RunConfig:
    regularizers = tuple(
        {"name": item.name, **item.model_dump(mode="json")} for item in trial.regularizers
    )
    return RunConfig(**trial.protocol.settings(), regularizers=regularizers, streams=streams)


def _described(study: Study, seeds: Sequence[int]) -> PlannedStudy:
    arms = tuple(
        PlannedArm(
            name=arm.name,
            factor=arm.factor,
            against=arm.against,
            rule=arm.rule,
            train_size=arm.trials[0].protocol.data.train_size,
        )
        for arm in study.arms
    )
    grouped = study.ensemble or study.variance
    return PlannedStudy(
        name=study.name,
        question=study.question,
        kind=study.kind,
        arms=arms,
        groups=tuple(seeds[: grouped.groups]) if grouped else (),
        size=study.ensemble.size if study.ensemble else 0,
        published=study.published,
    )
