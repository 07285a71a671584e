"""Find the studies that apply under a protocol, and count their runs."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

from pipeline.config.parameters import EXPERIMENTS
from pipeline.config.plan import BASELINE
from pipeline.config.validation import unknown_name
from pipeline.config.yaml_files import yaml_names
from pipeline.planning.arms import Arm
from pipeline.planning.overtuning import most_compared, overtuning_study
from pipeline.planning.proposal import StudyRuns
from pipeline.planning.protocols import Protocol
from pipeline.planning.searches import rounds
from pipeline.planning.studies import Experiment, Study, read_study
from pipeline.runtime.errors import Refusal

OF_IMAGES = ("dropout", "augmentation", "weight_decay", "mixup", "label_smoothing")
OF_MIRRORED = ("dropout", "flip_and_shift", "weight_decay", "mixup", "label_smoothing")
OF_ROWS = ("dropout", "weight_decay", "mixup", "label_smoothing", "input_noise")


def applicable(
    protocol: Protocol, names: Sequence[str], root: Path = Path()
) -> dict[str, StudyRuns]:
    """Return the runs of the existing studies whose arms have an effect, in order.

    Args:
        protocol: The protocol.
        names: The names of studies.
        root: The folder of the project.

    Raises:
        Refusal: None of them can; the error is that of the first.
    """
    studies, refusals = {}, []
    existing = yaml_names(root / EXPERIMENTS)
    for name in names:
        if name not in existing:
            continue
        try:
            studies[name] = runs_of(read_study(name, protocol, root), protocol)
        except Refusal as refusal:
            refusals.append(refusal)
    if refusals and not studies:
        raise refusals[0]
    if not studies:
        raise Refusal(
            f"{EXPERIMENTS}: no file for {', '.join(names)}; "
            "expected at least one study, or --studies NAMES"
        )
    return studies


def required_studies(
    protocol: Protocol, names: Sequence[str], root: Path = Path()
) -> dict[str, StudyRuns]:
    """Return the runs of studies that a user has named.

    Args:
        protocol: The protocol.
        names: The names of studies.
        root: The folder of the project.

    Raises:
        Refusal: One does not exist, or an arm cannot act.
    """
    existing = yaml_names(root / EXPERIMENTS)
    unknown = [name for name in names if name not in existing]
    if unknown:
        raise Refusal(*(unknown_name("--studies", name, existing) for name in unknown))
    return {name: runs_of(read_study(name, protocol, root), protocol) for name in names}


def runs_of(study: Study, protocol: Protocol) -> StudyRuns:
    """Return the largest number of runs of a study, without the baseline's.

    Args:
        study: The study.
        protocol: The protocol that it runs under.
    """
    if study.search or study.kind != "comparison":
        return StudyRuns(explored=0, confirmed=0, arms=0, other=_other_runs(study))
    arms = len(study.arms) - 1  # without the baseline
    searched = [arm for arm in study.arms if arm.is_searched]
    explored = {BASELINE, *(arm.name for arm in searched)}
    references = {arm.against for arm in searched} - explored
    return StudyRuns(
        explored=sum(map(_trainings, searched)) + len(references),
        confirmed=arms + _added_by_overtuning(study, protocol),
        arms=arms,
    )


def _other_runs(study: Study) -> int:
    """Return the runs of a study that does not compare single arms."""
    if study.search:
        return sum(len(arm.trials) for arm in study.arms[1:]) * study.search.seeds
    if study.ensemble:
        return study.ensemble.groups * study.ensemble.size * len(study.arms)
    return study.variance.groups * len(study.arms) if study.variance else 0


def _added_by_overtuning(study: Study, protocol: Protocol) -> int:
    """Return the largest number of further settings that the study of overtuning trains."""
    choice = {study.name: {arm.name: most_compared(arm) for arm in study.arms}}
    overtuning = overtuning_study(Experiment(protocol, (study,)), choice)
    return sum(arm.against != BASELINE for arm in overtuning.arms) if overtuning else 0


def _trainings(arm: Arm) -> int:
    """Return the cost of the trials of an arm, in whole trainings."""
    search = arm.definition.search
    if search is None or not search.is_adaptive:
        return len(arm.trials)
    return ceil(sum(size * budget for size, budget in rounds(search)))
