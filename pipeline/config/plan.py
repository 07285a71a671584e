"""Define the plan of one phase: which run answers for which arm of which study.

Stages after training read it back from `plan.json` next to the runs and iterate it, never a
directory listing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pipeline.config.claims import Claim, claims_digest
from pipeline.config.families import Family
from pipeline.config.scales import Scale
from pipeline.config.schema import Design, Replay
from pipeline.config.settings import Settings
from pipeline.config.test_rules import TestRule
from pipeline.config.validation import checked
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed

BASELINE = "baseline"  # the empty arm of every study
PROTOCOL = "protocol"  # the key of a setting that holds changed protocol values
TUNING = "tuning"  # the study of the baseline's own nuisance values
FIRST_PHASE = "first phase"  # the name of a start: the first part of a training of two
OVERTUNING = "overtuning"  # the study of chosen settings against defaults
Phase = Literal["exploration", "confirmation"]
Kind = Literal["tuning", "overtuning", "comparison", "ensemble", "variance", "search"]
Setting = dict[str, dict[str, Any]]
Reason = Literal["difference", "equivalent", "futile", "last", "asked"]  # why an arm stopped


class Factor(Settings):
    """What an arm changes against the arm it is compared with.

    Attributes:
        regularizers: Names of the regularizers that it adds.
        protocol: Protocol values that it changes, by dotted key.
    """

    regularizers: tuple[str, ...] = ()
    protocol: dict[str, Any] = Field(default_factory=dict)


class Dimension(Settings):
    """A value that an arm searches.

    Attributes:
        part: The part of a setting that holds it: the name of a regularizer, or `protocol`.
        key: Its key there.
        scale: The scale of a range, null for a list.
        lowest: Whether nothing below the values tried can be tried: the field or the scale ends.
        highest: The same above.
        exhausted: Whether no further value trains another network: all that differ are tried.
        widened: How often the space was widened.
        low: The lower end of the range that a design fills, null for a grid or a list.
        high: Its upper end.
    """

    part: str
    key: str
    scale: Scale | None = None
    lowest: bool = False
    highest: bool = False
    exhausted: bool = False
    widened: int = 0
    low: float | None = None
    high: float | None = None


class PlannedArm(Settings):
    """One arm: what it changes, its reference and its test rule.

    Attributes:
        family: The family of what it changes.
        train_size: The number of its training images.
        space: The values that it searches, in an exploration plan, or that its design covers.
        design: How the settings of an arm of a study of searches are drawn, else None.
        search: How scores decide on later trials, in an exploration plan: the method with its
            values, and the version of Optuna for tpe; None for a grid or a design.
    """

    name: str
    factor: Factor = Factor()
    against: str = BASELINE
    rule: TestRule = TestRule()
    family: Family = "other"
    train_size: int | None = None
    space: tuple[Dimension, ...] = ()
    design: Design | None = None
    search: dict[str, Any] | None = None

    @model_serializer(mode="wrap")
    def _without_design(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out None: the stored form of a plan without designs and searches stays the same."""
        values: dict[str, Any] = handler(self)
        for key in ("design", "search"):
            if values.get(key) is None:
                values.pop(key, None)
        return values


class PlannedStudy(Settings):
    """One question with its arms, the baseline first.

    Attributes:
        kind: Whether the baseline is tuned, chosen settings are compared with others of their arm,
            arms are compared one by one, averaged as ensembles, their variance is decomposed by
            stream, or searches are replayed on all settings of each.
        groups: Seeds; the models of a group share the split of its seed (ensemble), or its runs
            have its seed in every stream but one (variance).
        size: Models of the baseline in each group of an ensemble.
        claims: What lectures and papers say of these arms.
        search: The searches that are replayed on the settings of each arm, else None.
    """

    name: str
    question: str
    kind: Kind = "comparison"
    arms: tuple[PlannedArm, ...]
    groups: tuple[int, ...] = ()
    size: int = 0
    claims: tuple[Claim, ...] = ()
    search: Replay | None = None

    @model_serializer(mode="wrap")
    def _without_search(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out missing searches: the stored form of a plan without any does not change."""
        values: dict[str, Any] = handler(self)
        if self.search is None:
            values.pop("search", None)
        return values


class PlannedStart(Settings):
    """A run that others start from: a pretraining, or the first phase of a training of two.

    Attributes:
        name: The name of the pretraining, or what else it is.
        data: The pretraining on whose examples it is trained; "" for those of the protocol.
        seed: The seed of its init stream.
        start: The fingerprint of the run that it starts from itself.
        images: How many training images it processes, over all epochs.
        more_data: Whether it is trained on further examples of the protocol's classes.
    """

    name: str
    data: str
    seed: int
    fingerprint: str
    start: str | None = None
    images: int
    more_data: bool = False


class PlannedRun(Settings):
    """One row of a plan: this arm with this setting and seed is that run. A run may have many.

    Attributes:
        setting: The values spelled out by the arm: regularizer -> its values, and under `protocol`
            the changed protocol values by dotted key.
        member: Number of the model in its group (ensemble); 0 is trained under the group's seed.
        stream: The stream that has another seed than `seed` (variance), unless `draw` is 0.
        draw: Number of the draw of that stream (variance).
        round: The round of exploration, or the look of confirmation, that planned it, from 1.
        start: The fingerprint of the run that it starts from.
        budget: The share of the whole schedule that it is trained for; one of less than 1 has a
            complete schedule over fewer epochs.
    """

    study: str
    arm: str
    setting: Setting = Field(default_factory=dict)
    seed: int
    fingerprint: str
    member: int | None = None
    stream: str | None = None
    draw: int | None = None
    round: int | None = None
    start: str | None = None
    budget: float = Field(1.0, gt=0, le=1)

    @model_serializer(mode="wrap")
    def _without_budget(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the budget of whole schedules: the stored form of such plans is unchanged."""
        values: dict[str, Any] = handler(self)
        if self.budget == 1:
            values.pop("budget", None)
        return values


class Stop(Settings):
    """Where an arm of a comparison stopped, decided on validation scores.

    Attributes:
        look: The number of the last look that it has had, from 1.
        reason: A difference or equivalence is predicted; the last look would decide nothing; it was
            the last look; or `gapwise resolve` has asked for it.
    """

    study: str
    arm: str
    look: int
    reason: Reason


class PlannedLooks(Settings):
    """The looks of a confirmation phase.

    Attributes:
        seeds: The number of seeds at each look.
        weights: The share of the level that each look has.
        stops: Where arms have stopped; an arm without one waits for scores.
    """

    seeds: tuple[int, ...]
    weights: tuple[float, ...]
    stops: tuple[Stop, ...] = ()


class Plan(Settings):
    """All runs of one phase.

    Attributes:
        settings: The resolved protocol (data, model, training), with `tuned` values.
        tuned: Protocol values chosen for the baseline, by dotted key.
        overridden: The dotted keys whose values `params.yaml` gives in place of the protocol.
        starts: The runs that `runs` start from, each after the one that it starts from itself.
        looks: The looks of confirmation; None if all arms have one number of seeds.
        claims: The digest of the claims of all studies, also of those without runs
            in this phase.
        loaded: One line on what runs take from the file of `model.weights`; "" without one.
    """

    protocol: str
    phase: Phase
    settings: dict[str, Any]
    tuned: dict[str, Any] = Field(default_factory=dict)
    overridden: tuple[str, ...] = ()
    margin: float
    optimal_error: float = 0.0
    data_digest: str
    studies: tuple[PlannedStudy, ...]
    runs: tuple[PlannedRun, ...]
    starts: tuple[PlannedStart, ...] = ()
    looks: PlannedLooks | None = None
    claims: str = claims_digest(())
    loaded: str = ""

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out missing looks and weights: the stored form of such a plan does not change."""
        values: dict[str, Any] = handler(self)
        for name in ("looks", "loaded"):
            if not getattr(self, name):
                values.pop(name, None)  # a caller may exclude it, too
        return values

    @property
    def waits(self) -> bool:
        """Return whether an arm has not stopped at a look yet: further runs may follow."""
        stops = self.looks.stops if self.looks else ()
        stopped = {(stop.study, stop.arm) for stop in stops}
        arms = {(run.study, run.arm) for run in self.runs_of("comparison") if run.arm != BASELINE}
        return self.looks is not None and not arms <= stopped

    def studies_of(self, kind: Kind) -> tuple[PlannedStudy, ...]:
        """Return the studies of one kind.

        Args:
            kind: The kind, such as comparison or ensemble.
        """
        return tuple(study for study in self.studies if study.kind == kind)

    def runs_of(self, kind: Kind) -> tuple[PlannedRun, ...]:
        """Return the rows of the studies of one kind.

        Args:
            kind: The kind, such as comparison or ensemble.
        """
        names = {study.name for study in self.studies_of(kind)}
        return tuple(run for run in self.runs if run.study in names)

    def fingerprints(self) -> tuple[str, ...]:
        """Return every run once, in the order of the plan."""
        return tuple(dict.fromkeys(run.fingerprint for run in self.runs))

    def trained(self) -> tuple[str, ...]:
        """Return every run that is trained once: those that others start from, then `runs`."""
        starts = (start.fingerprint for start in self.starts)
        return tuple(dict.fromkeys([*starts, *self.fingerprints()]))

    def waves(self) -> list[tuple[str, ...]]:
        """Return the runs in groups to train one after the other: starts come before their runs.

        All runs of `runs` are in the last group, except those that others start from.
        """
        waves: dict[str, int] = {}  # by run
        parents = [(start.fingerprint, start.start) for start in self.starts]
        parents += [(run.fingerprint, run.start) for run in self.runs]
        for name, parent in parents:
            waves.setdefault(name, waves[parent] + 1 if parent else 0)
        starts = {start.fingerprint for start in self.starts}
        last = 1 + max((waves[name] for name in starts), default=-1)
        waves |= {run.fingerprint: last for run in self.runs if run.fingerprint not in starts}
        in_waves: dict[int, list[str]] = {}
        for name, wave in waves.items():
            in_waves.setdefault(wave, []).append(name)
        return [tuple(in_waves[wave]) for wave in sorted(in_waves)]

    def with_more_data(self) -> set[str]:
        """Return the runs that start from weights trained on more examples of the same classes."""
        starts = {start.fingerprint: start for start in self.starts}
        names = set()
        for run in self.runs:
            start = starts.get(run.start or "")
            while start and not start.more_data:
                start = starts.get(start.start or "")
            if start:
                names.add(run.fingerprint)
        return names

    def first_seeds(self) -> list[int]:
        """Return the seeds of the first round: every setting has them, and a few have more."""
        first = min((run.round or 0 for run in self.runs), default=0)
        return sorted({run.seed for run in self.runs if (run.round or 0) == first})

    def rules(self) -> dict[str, TestRule]:
        """Return the test rule of every run."""
        by_arm = {(study, arm.name): arm.rule for study, arm in self.arms()}
        return {run.fingerprint: by_arm[run.study, run.arm] for run in reversed(self.runs)}

    def arms(self) -> Iterator[tuple[str, PlannedArm]]:
        """Yield every arm with the name of its study."""
        yield from ((study.name, arm) for study in self.studies for arm in study.arms)

    def with_needed(self, arms: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return these arms, arms with the same runs, and the references of all of them.

        Args:
            arms: Study and name of each; one without runs is left out.
        """
        first: dict[tuple[str, str], str] = {}
        for run in self.runs_of("comparison"):
            first.setdefault((run.study, run.arm), run.fingerprint)
        against = {(study, arm.name): (study, arm.against) for study, arm in self.arms()}
        needed: set[tuple[str, str]] = set()
        waiting = [key for key in arms if key in first]
        while waiting:
            key = waiting.pop()
            if key not in needed:
                needed.add(key)
                same = [other for other, name in first.items() if name == first[key]]
                waiting += [*same, *({against[key]} & first.keys())]
        return needed

    def grouped(self) -> tuple[str, ...]:
        """Return the compared runs with the same split as a group of an ensemble, each once."""
        seeds = {seed for study in self.studies_of("ensemble") for seed in study.groups}
        shared = (run for run in self.runs_of("comparison") if run.seed in seeds)
        return tuple(dict.fromkeys(run.fingerprint for run in shared))


@dataclass(frozen=True)
class Added:
    """What further rounds may add at most to the runs planned so far.

    Attributes:
        widening: Runs of widened spaces.
        searching: Runs of later rounds of searches.
        trainings: What those of searches cost, in whole trainings.
    """

    widening: int = 0
    searching: int = 0
    trainings: float = 0.0

    def __add__(self, other: "Added") -> "Added":
        """Return the sum of both."""
        return Added(
            self.widening + other.widening,
            self.searching + other.searching,
            self.trainings + other.trainings,
        )


NOTHING = Added()


def read_plan(folder: Path) -> Plan:
    """Return the plan stored in a phase's folder.

    Args:
        folder: The folder of the phase.

    Raises:
        Refusal: The plan is missing or corrupted.
    """
    return checked(Plan, read_sealed(folder / "plan.json"), folder / "plan.json")


def last_plan(folder: Path) -> Plan | None:
    """Return the plan in a phase's folder; None if none can be read: DVC then makes another.

    Args:
        folder: The folder of the phase.
    """
    try:
        return read_plan(folder)
    except Refusal:
        return None
