"""The plan of one phase: which runs stand behind which arm of which study.

Separate from `planning.py`, which makes it, because later stages read it back (`plan.json` beside the runs) and must not
need the regularizers, hence torch, to do so. They iterate this plan, never a directory listing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pipeline.config.schema import Published
from pipeline.config.settings import Settings
from pipeline.config.validation import checked
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed

BASELINE = "baseline"  # the empty arm of every study
PLUS = " + "  # between the parts of a factor
Phase = Literal["exploration", "confirmation"]


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


def read_plan(folder: Path) -> Plan:
    """The plan stored in a phase's folder. Raises Refusal."""
    return checked(Plan, read_sealed(folder / "plan.json"), folder / "plan.json")


def last_plan(folder: Path) -> Plan | None:
    """The plan in a phase's folder; None where there is none that can be read, and DVC makes another."""
    try:
        return read_plan(folder)
    except Refusal:
        return None
