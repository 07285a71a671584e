"""Reads the studies to reproduce under a protocol, and tells what is wrong with them.

Separate from `schema.py` (what may be said), `arms.py` (how an arm is spelled) and `planning.py` (which runs that makes).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline import regularizers
from pipeline.config.parameters import PARAMETERS, Parameters, read_parameters
from pipeline.config.plan import BASELINE
from pipeline.config.schema import Ensemble, Published, Variance
from pipeline.config.settings import Settings, Word
from pipeline.config.validation import checked
from pipeline.config.yaml_files import read_yaml
from pipeline.data import sources
from pipeline.planning.arms import Arm, Strength, mistakes, read_arm, relative
from pipeline.planning.effects import effects
from pipeline.planning.protocols import EXPERIMENTS, PROTOCOLS, Protocol, document_of, unknown
from pipeline.planning.resolution import resolved
from pipeline.runtime.errors import Refusal


@dataclass(frozen=True)
class Study:
    """A question and its arms, the baseline first.

    Not compared one by one are the arms of an `ensemble`, which are averaged, and of a `variance`, which are taken apart.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    ensemble: Ensemble | None = None
    variance: Variance | None = None
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """A protocol with the studies to reproduce under it; those that ask about ensembles or about variance stand apart."""

    protocol: Protocol
    studies: tuple[Study, ...]
    ensembles: tuple[Study, ...] = ()
    variances: tuple[Study, ...] = ()

    def all(self) -> tuple[Study, ...]:
        """Every study, those that compare first."""
        return (*self.studies, *self.ensembles, *self.variances)


def read_experiment(name: str, root: Path = Path()) -> Experiment:
    """The protocol `name` with its studies, `params.yaml` applied. Raises Refusal naming every error."""
    parameters = read_parameters(root)
    document, source = document_of(name, parameters, root)
    protocol = resolved(document, source)
    _require_network(protocol, source)
    names = _study_names(protocol, parameters, root)
    studies: list[Study] = []
    errors: list[str] = []
    for study in names:
        try:
            studies.append(_study(study, protocol, root))
        except Refusal as refusal:
            errors += refusal.lines
    if errors:
        raise Refusal(*errors)
    averaged = tuple(study for study in studies if study.ensemble)
    split = tuple(study for study in studies if study.variance)
    compared = tuple(study for study in studies if study not in (*averaged, *split))
    if not compared:
        alone = f"{', '.join(names)} alone; needed is also a study that compares arms"
        raise Refusal(f"{_asking(protocol, parameters)}: studies: {alone}")
    return Experiment(protocol, compared, averaged, split)


def _require_network(protocol: Protocol, source: str) -> None:
    """Raises Refusal where the data or the network itself cannot be had: the protocol's mistake, and no arm's."""
    try:
        effects((), protocol.settings() | {"source": protocol.source})
    except Refusal as refusal:
        raise Refusal(*(f"{source}: {line}" for line in refusal.lines)) from None


def _study_names(protocol: Protocol, parameters: Parameters, root: Path) -> tuple[str, ...]:
    known = tuple(sorted(file.stem for file in (root / EXPERIMENTS).glob("*.yaml")))
    if parameters.studies == ():
        raise Refusal(
            f"{PARAMETERS}: studies: an empty list; allowed are null, all, or names of: {', '.join(known)}"
        )
    source = _asking(protocol, parameters)
    names = parameters.studies or protocol.studies
    names = (
        tuple(name for name in known if _fits(name, protocol, root))
        if names == "all"
        else tuple(names)
    )
    missing = [name for name in names if name not in known]
    if missing:
        raise Refusal(*(unknown(source, "studies", name, known) for name in missing))
    if len(set(names)) < len(names):
        raise Refusal(f"{source}: studies: a study is named twice; allowed is each once")
    return names


def _asking(protocol: Protocol, parameters: Parameters) -> Path | str:
    """The file that says which studies there are to be."""
    return PARAMETERS if parameters.studies else PROTOCOLS / f"{protocol.name}.yaml"


def _fits(study: str, protocol: Protocol, root: Path) -> bool:
    """Whether a study asks of this protocol; one whose file is wrong does, so that the error is told."""
    try:
        asked = read_yaml(root / EXPERIMENTS / f"{study}.yaml").get("protocols")
    except Refusal:
        return True
    return not isinstance(asked, list) or protocol.name in asked


class _Document(Settings):
    question: str = Field(pattern=r"\S")
    protocols: tuple[Word, ...] | None = Field(
        None, min_length=1
    )  # that the question makes sense under; null: all
    ensemble: Ensemble | None = None
    variance: Variance | None = None
    published: tuple[Published, ...] = ()  # effects that papers report, of these arms
    arms: dict[Word, list[dict[str, Any]]] = Field(min_length=1)


def _study(name: str, protocol: Protocol, root: Path) -> Study:
    path = EXPERIMENTS / f"{name}.yaml"
    checked(_Name, {"study": name}, path)
    document = checked(_Document, read_yaml(root / path), path)
    _require_made_for(protocol, document, path)
    rule = regularizers.test_rule(())
    arms = [Arm(BASELINE, "nothing", BASELINE, rule, (Strength("", (), protocol),))]
    errors: list[str] = []
    for arm, items in document.arms.items():
        try:
            arms.append(read_arm(arm, items, protocol, path))
        except Refusal as refusal:
            errors += refusal.lines
    errors += mistakes(arms, path)
    errors += [*_ungrouped(document, arms, protocol, path), *_misplaced(document, arms, path)]
    if errors:
        raise Refusal(*errors)
    related = tuple(relative(arm, arms) for arm in arms)
    return Study(
        name,
        document.question,
        related,
        document.ensemble,
        document.variance,
        _about(document.published, protocol),
    )


def _require_made_for(protocol: Protocol, document: _Document, path: Path) -> None:
    """Raises Refusal where the study names its protocols and this is none of them."""
    if document.protocols and protocol.name not in document.protocols:
        own = ", ".join(document.protocols)
        raise Refusal(
            f"{path}: protocols: not made for {protocol.name}; allowed are {own}, or another study"
        )


def _about(published: tuple[Published, ...], protocol: Protocol) -> tuple[Published, ...]:
    """The published effects that speak of the protocol's dataset."""
    return tuple(
        item for item in published if not item.datasets or protocol.data.dataset in item.datasets
    )


def _misplaced(document: _Document, arms: list[Arm], path: Path) -> Iterator[str]:
    """Published effects of arms or datasets that there are not, or that this kind of study does not measure."""
    known, datasets = [arm.name for arm in arms], sources.settings()
    for number, item in enumerate(document.published):
        where = f"published.{number}"
        if document.variance:
            yield f"{path}: {where}: stands beside variance; allowed is a study that compares or averages"
        if (item.measure == "crops") != bool(document.ensemble) or (
            item.measure == "crops" and item.arm != BASELINE
        ):
            allowed = "crops of the baseline with ensemble, and any other measure without"
            yield f"{path}: {where}.measure: {item.measure!r} of {item.arm} is refused; allowed are {allowed}"
        named = [
            ("arm", item.arm),
            *([("against", item.against)] if item.against and "." not in item.against else []),
        ]
        yield from (
            unknown(path, f"{where}.{key}", name, known) for key, name in named if name not in known
        )
        strange = set(item.datasets or ()) - set(datasets)
        yield from (unknown(path, f"{where}.datasets", name, datasets) for name in sorted(strange))


class _Name(Settings):
    study: Word


def _ungrouped(
    document: _Document, arms: list[Arm], protocol: Protocol, path: Path
) -> Iterator[str]:
    """What a study of ensembles or of variance cannot do: have more groups than there are fresh seeds, or choose a strength."""
    kinds = [
        (kind, asked) for kind in ("ensemble", "variance") if (asked := getattr(document, kind))
    ]
    if len(kinds) > 1:
        yield f"{path}: variance: stands beside ensemble; allowed is one of them in a study"
    for kind, asked in kinds:
        seeds = protocol.seeds.confirmation
        if asked.groups > seeds:
            ways = f"raise that, or leave {path.stem} out of studies"
            yield f"{path}: {kind}.groups: {asked.groups} is refused; allowed is at most seeds.confirmation, {seeds}: {ways}"
        for arm in arms:
            if len(arm.strengths) > 1:
                yield f"{path}: arms.{arm.name}: {len(arm.strengths)} strengths; allowed is one in a study with {kind}"
