"""The plan of one phase: which runs stand behind which arm of which study.

Separate from `studies.py` because later stages read it back (`plan.json` beside the runs) and must not
need the regularizers, hence torch, to do so. They iterate this plan, never a directory listing.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.config.errors import Refusal
from pipeline.config.files import read_sealed
from pipeline.config.fingerprint import RunConfig, fingerprint, identity
from pipeline.config.schema import Ensemble, Published, Settings, Variance, checked
from pipeline.config.streams import Streams
from pipeline.config.studies import BASELINE, Arm, Experiment, Strength, Study

FIRST_CONFIRMATION_SEED = 1000  # exploration counts from 0 and ends before
MEMBER_STEP = 1_000_000  # between the seeds of the models of a group: no other run draws from these
DRAWS = 1000  # where the numbers of a study of variance begin, beyond those of the models of any group
ALWAYS = ("split", "init", "order")  # streams that every arm draws from; the baseline has no other
Phase = Literal["exploration", "confirmation"]
Choice = Mapping[str, Mapping[str, str | None]]  # study -> arm -> label of the chosen strength, None where none can be


class PlannedArm(Settings):
    """One arm as later stages need it: its name, what it changes and which members are averaged at test."""

    name: str
    factor: str
    against: str = BASELINE  # the arm it is compared with
    rule: str
    train_size: int | None = None  # training images


class PlannedStudy(Settings):
    """A question with its arms, the baseline first."""

    name: str
    question: str
    arms: tuple[PlannedArm, ...]
    published: tuple[Published, ...] = ()  # what papers report of these arms


class PlannedRun(Settings):
    """One row: this arm, at this strength, under this seed, is that run. Runs may stand in many rows."""

    study: str
    arm: str
    strength: str
    seed: int
    fingerprint: str

    def label(self) -> str:
        """What a person calls it: arm, strength, seed."""
        return " ".join(filter(None, [self.arm, self.strength, f"seed {self.seed}"]))


class PlannedEnsemble(Settings):
    """A question about ensembles: `groups` are the seeds whose split a group shares; only its baseline has `size` models."""

    name: str
    question: str
    groups: tuple[int, ...]
    size: int
    arms: tuple[PlannedArm, ...]
    published: tuple[Published, ...] = ()


class PlannedMember(PlannedRun):
    """One model of a group. Member 0 is trained under the group's seed alone, as every confirmation run is."""

    member: int

    def label(self) -> str:
        """Which model of its group it is, too."""
        return f"{super().label()} member {self.member}"


class PlannedVariance(Settings):
    """A question about where the spread of a score comes from: `groups` are the seeds around which streams are moved."""

    name: str
    question: str
    groups: tuple[int, ...]
    arms: tuple[PlannedArm, ...]


class PlannedDraw(PlannedRun):
    """A run whose streams are all fed by `seed` but one, `stream`. Draw 0 is fed by the seed alone, whatever the stream."""

    stream: str
    draw: int

    def label(self) -> str:
        """Which draw of which stream it is, too."""
        return f"{super().label()} {self.stream} {self.draw}"


class Plan(Settings):
    """All of one phase. `settings` holds the resolved protocol (data, model, training)."""

    protocol: str
    phase: Phase
    settings: dict[str, Any]
    margin: float
    optimal_error: float = 0.0
    data_digest: str
    studies: tuple[PlannedStudy, ...]
    runs: tuple[PlannedRun, ...]
    ensembles: tuple[PlannedEnsemble, ...] = ()
    members: tuple[PlannedMember, ...] = ()
    variances: tuple[PlannedVariance, ...] = ()
    draws: tuple[PlannedDraw, ...] = ()

    def every(self) -> tuple[PlannedRun, ...]:
        """Every row of the plan: compared runs, models of groups, draws of single streams."""
        return (*self.runs, *self.members, *self.draws)

    def asked(self) -> tuple[PlannedStudy | PlannedEnsemble | PlannedVariance, ...]:
        """Every study, those that compare first."""
        return (*self.studies, *self.ensembles, *self.variances)

    def fingerprints(self) -> tuple[str, ...]:
        """Every run once, in the order of the plan."""
        return tuple(dict.fromkeys(run.fingerprint for run in self.every()))

    def rules(self) -> dict[str, str]:
        """The test rule of every run."""
        by_arm = {(study, arm.name): arm.rule for study, arm in self.arms()}
        return {run.fingerprint: by_arm[run.study, run.arm] for run in reversed(self.every())}

    def arms(self) -> Iterator[tuple[str, PlannedArm]]:
        """Every arm with the name of its study, those that are compared first."""
        yield from ((study.name, arm) for study in self.asked() for arm in study.arms)

    def questions(self) -> dict[str, str]:
        """The question of every study."""
        return {study.name: study.question for study in self.asked()}

    def groups(self) -> tuple[int, ...]:
        """The seeds whose models are averaged, of every study of ensembles."""
        return tuple(sorted({seed for ensemble in self.ensembles for seed in ensemble.groups}))

    def grouped(self) -> tuple[str, ...]:
        """Every compared run that shares its split with a group, once."""
        seeds = self.groups()
        return tuple(dict.fromkeys(run.fingerprint for run in self.runs if run.seed in seeds))


Selection = Callable[[Study, Arm], Iterable[Strength]]
Identities = dict[str, dict[str, Any]]  # fingerprint -> identity


def exploration(experiment: Experiment, data_digest: str) -> tuple[Plan, Identities]:
    """Every strength of every arm that has more than one, and the baseline, on the exploration seeds."""
    seeds = range(experiment.protocol.seeds.exploration)
    return _plan(experiment, data_digest, "exploration", seeds, _explored)


def confirmation(experiment: Experiment, data_digest: str, choice: Choice) -> tuple[Plan, Identities]:
    """The chosen strength of every arm, and the baseline, on seeds that no choice has seen."""

    def chosen(study: Study, arm: Arm) -> Iterable[Strength]:
        if len(arm.strengths) == 1:
            return arm.strengths
        label = choice.get(study.name, {}).get(arm.name, "")
        found = [strength for strength in arm.strengths if strength.label == label]
        if not found and label is not None:
            raise Refusal(f"choice.json: study {study.name}, arm {arm.name}: {label!r} is no strength of it; run: make run")
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


def read_plan(folder: Path) -> Plan:
    """The plan stored in a phase's folder. Raises Refusal."""
    return checked(Plan, read_sealed(folder / "plan.json"), folder / "plan.json")


def last_plan(folder: Path) -> Plan | None:
    """The plan in a phase's folder; None where there is none that can be read, and DVC makes another."""
    try:
        return read_plan(folder)
    except Refusal:
        return None


def _explored(study: Study, arm: Arm) -> Iterable[Strength]:
    needed = any(len(other.strengths) > 1 for other in study.arms)
    return arm.strengths if len(arm.strengths) > 1 or (arm.name == BASELINE and needed) else ()


def _plan(
    experiment: Experiment, data_digest: str, phase: Phase, seeds: Iterable[int], strengths: Selection
) -> tuple[Plan, Identities]:
    identities: Identities = {}
    runs = []
    for study in experiment.studies:
        for arm in study.arms:
            for strength in strengths(study, arm):
                for seed in seeds:
                    name = _identified(strength, Streams.of(seed), data_digest, identities)
                    runs.append(
                        PlannedRun(study=study.name, arm=arm.name, strength=strength.label, seed=seed, fingerprint=name)
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


def _members(study: Study, seeds: Sequence[int], data_digest: str) -> tuple[list[PlannedMember], Identities]:
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


def _draws(study: Study, seeds: Sequence[int], data_digest: str) -> tuple[list[PlannedDraw], Identities]:
    """For every arm, group and stream the run of the group's seed, and runs in which that stream alone has another."""
    draws: list[PlannedDraw] = []
    identities: Identities = {}
    variance = _variance(study)
    for arm in study.arms:
        strength = arm.strengths[0]
        fixed = {"study": study.name, "arm": arm.name, "strength": strength.label}
        streams = ALWAYS if arm.name == BASELINE else tuple(Streams.model_fields)
        for seed, stream, draw in itertools.product(seeds[: variance.groups], streams, range(variance.draws + 1)):
            name = _identified(strength, drawn_streams(seed, stream, draw), data_digest, identities)
            draws.append(PlannedDraw(**fixed, seed=seed, stream=stream, draw=draw, fingerprint=name))
    return draws, identities


def drawn_streams(seed: int, stream: str, draw: int) -> Streams:
    """The streams of a usual run under `seed`, but that `stream` has a seed of its own from draw 1 on."""
    own = seed + MEMBER_STEP * (DRAWS + draw) if draw else seed
    return Streams.of(seed).model_copy(update={stream: own})


def _split(study: Study, seeds: Sequence[int]) -> PlannedVariance:
    groups = tuple(seeds[: _variance(study).groups])
    return PlannedVariance(name=study.name, question=study.question, groups=groups, arms=_described(study).arms)


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


def _identified(strength: Strength, streams: Streams, data_digest: str, identities: Identities) -> str:
    """The fingerprint of a run, whose identity is added to `identities`."""
    this = identity(_config(strength, streams), data_digest)
    name = fingerprint(this)
    identities[name] = this
    return name


def _config(strength: Strength, streams: Streams) -> RunConfig:
    regularizers = tuple(
        {"name": type(item).__module__.rpartition(".")[2], **item.model_dump(mode="json")} for item in strength.regularizers
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
    return PlannedStudy(name=study.name, question=study.question, arms=arms, published=study.published)
