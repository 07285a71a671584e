"""Plans the runs of a phase from a protocol and its studies, each with its seed and its fingerprint.

Separate from `plan.py`, which is what later stages read back.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipeline.config.plan import (
    BASELINE,
    Phase,
    Plan,
    PlannedArm,
    PlannedDraw,
    PlannedEnsemble,
    PlannedMember,
    PlannedRun,
    PlannedStudy,
    PlannedVariance,
)
from pipeline.config.run import RunConfig
from pipeline.config.schema import Ensemble, Variance
from pipeline.config.streams import Streams
from pipeline.planning.arms import Arm, Strength
from pipeline.planning.fingerprint import fingerprint, identity
from pipeline.planning.studies import Experiment, Study
from pipeline.runtime.errors import Refusal

FIRST_CONFIRMATION_SEED = 1000  # exploration counts from 0 and ends before
MEMBER_STEP = 1_000_000  # between the seeds of the models of a group: no other run draws from these
DRAWS = (
    1000  # where the numbers of a study of variance begin, beyond those of the models of any group
)
ALWAYS = ("split", "init", "order")  # streams that every arm draws from; the baseline has no other
Choice = Mapping[
    str, Mapping[str, str | None]
]  # study -> arm -> label of the chosen strength, None where none can be
Selection = Callable[[Study, Arm], Iterable[Strength]]
Identities = dict[str, dict[str, Any]]  # fingerprint -> identity


def exploration(experiment: Experiment, data_digest: str) -> tuple[Plan, Identities]:
    """Every strength of every arm that has more than one, and the baseline, on the exploration seeds."""
    seeds = range(experiment.protocol.seeds.exploration)
    return _plan(experiment, data_digest, "exploration", seeds, _explored)


def confirmation(
    experiment: Experiment, data_digest: str, choice: Choice
) -> tuple[Plan, Identities]:
    """The chosen strength of every arm, and the baseline, on seeds that no choice has seen."""

    def chosen(study: Study, arm: Arm) -> Iterable[Strength]:
        if len(arm.strengths) == 1:
            return arm.strengths
        label = choice.get(study.name, {}).get(arm.name, "")
        found = [strength for strength in arm.strengths if strength.label == label]
        if not found and label is not None:
            raise Refusal(
                f"choice.json: study {study.name}, arm {arm.name}: {label!r} is no strength of it; run: make run"
            )
        return found

    count = experiment.protocol.seeds.confirmation
    seeds = range(FIRST_CONFIRMATION_SEED, FIRST_CONFIRMATION_SEED + count)
    plan, identities = _plan(experiment, data_digest, "confirmation", seeds, chosen)
    members = [_members(study, seeds, data_digest) for study in experiment.ensembles]
    draws = [_draws(study, seeds, data_digest) for study in experiment.variances]
    added = {
        "ensembles": tuple(_averaged(study, seeds) for study in experiment.ensembles),
        "members": tuple(member for found, _ in members for member in found),
        "variances": tuple(_split(study, seeds) for study in experiment.variances),
        "draws": tuple(draw for found, _ in draws for draw in found),
    }
    for _, these in (*members, *draws):
        identities |= these
    return plan.model_copy(update=added), identities


def _explored(study: Study, arm: Arm) -> Iterable[Strength]:
    needed = any(len(other.strengths) > 1 for other in study.arms)
    return arm.strengths if len(arm.strengths) > 1 or (arm.name == BASELINE and needed) else ()


def _plan(
    experiment: Experiment,
    data_digest: str,
    phase: Phase,
    seeds: Iterable[int],
    strengths: Selection,
) -> tuple[Plan, Identities]:
    identities: Identities = {}
    runs = []
    for study in experiment.studies:
        for arm in study.arms:
            for strength in strengths(study, arm):
                for seed in seeds:
                    name = _identified(strength, Streams.of(seed), data_digest, identities)
                    runs.append(
                        PlannedRun(
                            study=study.name,
                            arm=arm.name,
                            strength=strength.label,
                            seed=seed,
                            fingerprint=name,
                        )
                    )
    plan = Plan(
        protocol=experiment.protocol.name,
        phase=phase,
        settings=experiment.protocol.settings(),
        margin=experiment.protocol.margin,
        optimal_error=experiment.protocol.optimal_error,
        data_digest=data_digest,
        studies=tuple(_described(study) for study in experiment.studies),
        runs=tuple(runs),
    )
    return plan, identities


def _members(
    study: Study, seeds: Sequence[int], data_digest: str
) -> tuple[list[PlannedMember], Identities]:
    """Every model of every group with its identity: several for the baseline, one for each other arm."""
    members: list[PlannedMember] = []
    identities: Identities = {}
    ensemble = _ensemble(study)
    for arm in study.arms:
        strength = arm.strengths[0]
        fixed = {"study": study.name, "arm": arm.name, "strength": strength.label}
        for seed in seeds[: ensemble.groups]:
            for member in range(ensemble.size if arm.name == BASELINE else 1):
                name = _identified(strength, member_streams(seed, member), data_digest, identities)
                members.append(PlannedMember(**fixed, seed=seed, member=member, fingerprint=name))
    return members, identities


def member_streams(seed: int, member: int) -> Streams:
    """The streams of a model of the group `seed`: the group's split, and all other draws of its own from member 1 on."""
    own = seed + MEMBER_STEP * member
    return Streams(split=seed, init=own, order=own, augmentation=own, noise=own)


def _draws(
    study: Study, seeds: Sequence[int], data_digest: str
) -> tuple[list[PlannedDraw], Identities]:
    """For every arm, group and stream the run of the group's seed, and runs in which that stream alone has another."""
    draws: list[PlannedDraw] = []
    identities: Identities = {}
    variance = _variance(study)
    for arm in study.arms:
        strength = arm.strengths[0]
        fixed = {"study": study.name, "arm": arm.name, "strength": strength.label}
        streams = ALWAYS if arm.name == BASELINE else tuple(Streams.model_fields)
        for seed, stream, draw in itertools.product(
            seeds[: variance.groups], streams, range(variance.draws + 1)
        ):
            name = _identified(strength, drawn_streams(seed, stream, draw), data_digest, identities)
            draws.append(
                PlannedDraw(**fixed, seed=seed, stream=stream, draw=draw, fingerprint=name)
            )
    return draws, identities


def drawn_streams(seed: int, stream: str, draw: int) -> Streams:
    """The streams of a usual run under `seed`, but that `stream` has a seed of its own from draw 1 on."""
    own = seed + MEMBER_STEP * (DRAWS + draw) if draw else seed
    return Streams.of(seed).model_copy(update={stream: own})


def _split(study: Study, seeds: Sequence[int]) -> PlannedVariance:
    groups = tuple(seeds[: _variance(study).groups])
    return PlannedVariance(
        name=study.name, question=study.question, groups=groups, arms=_described(study).arms
    )


def _variance(study: Study) -> Variance:
    if study.variance is None:
        raise ValueError(f"study {study.name} does not ask about variance")
    return study.variance


def _averaged(study: Study, seeds: Sequence[int]) -> PlannedEnsemble:
    described, ensemble = _described(study), _ensemble(study)
    groups = tuple(seeds[: ensemble.groups])
    return PlannedEnsemble(**dict(described), groups=groups, size=ensemble.size)


def _ensemble(study: Study) -> Ensemble:
    if study.ensemble is None:
        raise ValueError(f"study {study.name} asks about no ensemble")
    return study.ensemble


def _identified(
    strength: Strength, streams: Streams, data_digest: str, identities: Identities
) -> str:
    """The fingerprint of a run, whose identity is added to `identities`."""
    this = identity(_config(strength, streams), data_digest)
    name = fingerprint(this)
    identities[name] = this
    return name


def _config(strength: Strength, streams: Streams) -> RunConfig:
    regularizers = tuple(
        {"name": item.name, **item.model_dump(mode="json")} for item in strength.regularizers
    )
    return RunConfig(**strength.protocol.settings(), regularizers=regularizers, streams=streams)


def _described(study: Study) -> PlannedStudy:
    arms = tuple(
        PlannedArm(
            name=arm.name,
            factor=arm.factor,
            against=arm.against,
            rule=arm.rule,
            train_size=arm.strengths[0].protocol.data.train_size,
        )
        for arm in study.arms
    )
    return PlannedStudy(
        name=study.name, question=study.question, arms=arms, published=study.published
    )
