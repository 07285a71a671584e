"""Turns a protocol and its studies into a plan: which runs, for which arm, under which seed.

Separate from `schema.py` (what may be said) and from `plan.py` (what later stages read back): this is
the only place that knows how a study is spelled. The catalogue of what can be named is handed in,
because regularizers, models and data stand below this layer.
"""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.config.documents import read_yaml
from pipeline.config.errors import Refusal
from pipeline.config.protocols import (
    EXPERIMENTS,
    PARAMETERS,
    Catalogue,
    Protocol,
    document_of,
    multiplied,
    named,
    overridden,
    read_parameters,
    resolved,
    unknown,
    value_of,
)
from pipeline.config.schema import Ensemble, Parameters, Published, Settings, Variance, Word, checked

BASELINE = "baseline"
PLUS = " + "  # between the parts of a factor


@dataclass(frozen=True)
class Strength:
    """One concrete setting of an arm: its label, its regularizers and the protocol it trains under."""

    label: str
    regularizers: tuple[Settings, ...]
    protocol: Protocol


@dataclass(frozen=True)
class Arm:
    """Everything one arm tries. `factor` says what it changes against the arm it is compared `against`."""

    name: str
    factor: str
    against: str
    rule: str
    strengths: tuple[Strength, ...]


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


def read_experiment(name: str, catalogue: Catalogue, root: Path = Path()) -> Experiment:
    """The protocol `name` with its studies, `params.yaml` applied. Raises Refusal naming every error."""
    parameters = read_parameters(root)
    document, source = document_of(name, parameters, root)
    protocol = resolved(document, catalogue, source)
    names = _study_names(protocol, parameters, root)
    studies: list[Study] = []
    errors: list[str] = []
    for study in names:
        try:
            studies.append(_study(study, protocol, catalogue, root))
        except Refusal as refusal:
            errors += refusal.lines
    if errors:
        raise Refusal(*errors)
    averaged = tuple(study for study in studies if study.ensemble)
    split = tuple(study for study in studies if study.variance)
    compared = tuple(study for study in studies if study not in (*averaged, *split))
    if not compared:
        raise Refusal(f"{PARAMETERS}: studies: {', '.join(names)} alone; needed is also a study that compares arms")
    return Experiment(protocol, compared, averaged, split)


def _study_names(protocol: Protocol, parameters: Parameters, root: Path) -> tuple[str, ...]:
    known = tuple(sorted(file.stem for file in (root / EXPERIMENTS).glob("*.yaml")))
    if parameters.studies == ():
        raise Refusal(f"{PARAMETERS}: studies: an empty list; allowed are null, all, or names of: {', '.join(known)}")
    names = parameters.studies or protocol.studies
    names = tuple(name for name in known if _fits(name, protocol, root)) if names == "all" else tuple(names)
    missing = [name for name in names if name not in known]
    if missing:
        raise Refusal(*(unknown(PARAMETERS, "studies", name, known) for name in missing))
    if len(set(names)) < len(names):
        raise Refusal(f"{PARAMETERS}: studies: a study is named twice; allowed is each once")
    return names


def _fits(study: str, protocol: Protocol, root: Path) -> bool:
    """Whether a study asks of this protocol; one whose file is wrong does, so that the error is told."""
    try:
        asked = read_yaml(root / EXPERIMENTS / f"{study}.yaml").get("protocols")
    except Refusal:
        return True
    return not isinstance(asked, list) or protocol.name in asked


class _Document(Settings):
    question: str = Field(pattern=r"\S")
    protocols: tuple[Word, ...] | None = Field(None, min_length=1)  # that the question makes sense under; null: all
    ensemble: Ensemble | None = None
    variance: Variance | None = None
    published: tuple[Published, ...] = ()  # effects that papers report, of these arms
    arms: dict[Word, list[dict[str, Any]]] = Field(min_length=1)


def _study(name: str, protocol: Protocol, catalogue: Catalogue, root: Path) -> Study:
    path = EXPERIMENTS / f"{name}.yaml"
    checked(_Name, {"study": name}, path)
    document = checked(_Document, read_yaml(root / path), path)
    _require_made_for(protocol, document, path)
    rule = catalogue.rule(())
    arms = [Arm(BASELINE, "nothing", BASELINE, rule, (Strength("", (), protocol),))]
    errors: list[str] = []
    for arm, items in document.arms.items():
        try:
            arms.append(_arm(arm, items, protocol, catalogue, path))
        except Refusal as refusal:
            errors += refusal.lines
    errors += [*_repeated(arms, path, catalogue), *_unfit(arms, path), *_mixed(arms, path, catalogue)]
    errors += [*_ungrouped(document, arms, protocol, path), *_misplaced(document, arms, catalogue, path)]
    if errors:
        raise Refusal(*errors)
    related = tuple(_relative(arm, arms) for arm in arms)
    return Study(name, document.question, related, document.ensemble, document.variance, _about(document.published, protocol))


def _require_made_for(protocol: Protocol, document: _Document, path: Path) -> None:
    """Raises Refusal where the study names its protocols and this is none of them."""
    if document.protocols and protocol.name not in document.protocols:
        own = ", ".join(document.protocols)
        raise Refusal(f"{path}: protocols: not made for {protocol.name}; allowed are {own}, or another study")


def _about(published: tuple[Published, ...], protocol: Protocol) -> tuple[Published, ...]:
    """The published effects that speak of the protocol's dataset."""
    return tuple(item for item in published if not item.datasets or protocol.data.dataset in item.datasets)


def _misplaced(document: _Document, arms: list[Arm], catalogue: Catalogue, path: Path) -> Iterator[str]:
    """Published effects of arms or datasets that there are not, or that this kind of study does not measure."""
    known = [arm.name for arm in arms]
    for number, item in enumerate(document.published):
        where = f"published.{number}"
        if document.variance:
            yield f"{path}: {where}: stands beside variance; allowed is a study that compares or averages"
        if (item.measure == "crops") != bool(document.ensemble) or (item.measure == "crops" and item.arm != BASELINE):
            allowed = "crops of the baseline with ensemble, and any other measure without"
            yield f"{path}: {where}.measure: {item.measure!r} of {item.arm} is refused; allowed are {allowed}"
        named = [("arm", item.arm), *([("against", item.against)] if item.against and "." not in item.against else [])]
        yield from (unknown(path, f"{where}.{key}", name, known) for key, name in named if name not in known)
        strange = set(item.datasets or ()) - set(catalogue.datasets)
        yield from (unknown(path, f"{where}.datasets", name, catalogue.datasets) for name in sorted(strange))


class _Name(Settings):
    study: Word


def _repeated(arms: list[Arm], path: Path, catalogue: Catalogue) -> Iterator[str]:
    """Arms or strengths that would train the same network twice under two names, or one that cannot be."""
    seen: dict[str, str] = {}
    for arm in arms:
        for strength in arm.strengths:
            where = f"arms.{arm.name}" + f" ({strength.label})" * bool(strength.label)
            settings = strength.protocol.settings()
            try:
                effect, others = catalogue.effect(strength.regularizers, settings | {"source": strength.protocol.source})
            except Refusal as refusal:
                yield from (f"{path}: {where}: {line}" for line in refusal.lines)
                continue
            key = json.dumps([effect, settings])
            if key in seen:
                yield f"{path}: {where}: the same network as {seen[key]}; allowed is each once{others()}"
            seen.setdefault(key, where)


def _mixed(arms: list[Arm], path: Path, catalogue: Catalogue) -> Iterator[str]:
    """Arms whose strengths are averaged differently at test."""
    for arm in arms:
        rules = sorted({catalogue.rule(strength.regularizers) for strength in arm.strengths})
        if len(rules) > 1:
            yield f"{path}: arms.{arm.name}: strengths with the test rules {' and '.join(rules)}; allowed is one in each arm"


def _ungrouped(document: _Document, arms: list[Arm], protocol: Protocol, path: Path) -> Iterator[str]:
    """What a study of ensembles or of variance cannot do: have more groups than there are fresh seeds, or choose a strength."""
    kinds = [(kind, asked) for kind in ("ensemble", "variance") if (asked := getattr(document, kind))]
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


def _relative(arm: Arm, arms: list[Arm]) -> Arm:
    """The arm with its factor told against the arm it is compared with: what both have is no difference."""
    if arm.against == BASELINE:
        return arm
    shared = next(other.factor for other in arms if other.name == arm.against).split(PLUS)
    own = [part for part in arm.factor.split(PLUS) if part not in shared]
    return replace(arm, factor=f"{PLUS.join(own) or 'less'}, against {arm.against}")


def _unfit(arms: list[Arm], path: Path) -> Iterator[str]:
    """Arms compared against one that is not there, or that has strengths to choose from."""
    fit = {arm.name for arm in arms if len(arm.strengths) == 1}
    for arm in arms:
        if arm.against not in fit or arm.against == arm.name != BASELINE:
            others = ", ".join(sorted(fit - {arm.name}))
            yield f"{path}: arms.{arm.name}.against: {arm.against!r} is refused; allowed are arms with one strength: {others}"


def _arm(name: str, items: list[dict[str, Any]], protocol: Protocol, catalogue: Catalogue, path: Path) -> Arm:
    where = f"arms.{name}"
    if name == BASELINE:
        raise Refusal(f"{path}: {where}: the empty arm is part of every study; allowed is any other name")
    if not items:
        raise Refusal(f"{path}: {where}: empty; allowed is a list of regularizers")
    written = {key: value for item in items if "protocol" in item for key, value in _override(item, path, where)}
    overrides = multiplied(written, protocol, f"{path}: {where}")
    against = [str(item["against"]) for item in items if set(item) == {"against"}]
    named = [(index, item) for index, item in enumerate(items) if "protocol" not in item and set(item) != {"against"}]
    names = [item.get("name") for _, item in named]
    if len(set(map(str, names))) < len(names):
        raise Refusal(f"{path}: {where}: a regularizer is named twice; allowed is each once")
    changed = overridden(protocol, overrides, catalogue, f"{path}: {where}") if overrides else protocol
    grids = [list(_grid(item, catalogue, path, f"{where}.{index}")) for index, item in named]
    strengths = tuple(
        Strength(_label(parts, overrides), tuple(regularizer for regularizer, _ in parts), changed)
        for parts in itertools.product(*grids)
    )
    moved = {key: value for key, value in overrides.items() if value_of(protocol, key) != value}
    factor = PLUS.join([*map(str, names), *(f"{key}={_text(value)}" for key, value in moved.items())])
    return Arm(name, factor, (against or [BASELINE])[0], catalogue.rule(strengths[0].regularizers), strengths)


def _override(item: dict[str, Any], path: Path, where: str) -> Iterator[tuple[str, Any]]:
    if set(item) != {"protocol"} or not isinstance(item["protocol"], dict) or not item["protocol"]:
        raise Refusal(f"{path}: {where}.protocol: allowed is a mapping such as {{model.batch_norm: false}}")
    yield from item["protocol"].items()


Part = tuple[Settings, str]  # a regularizer, and the label of the values that were spelled out


def _grid(item: dict[str, Any], catalogue: Catalogue, path: Path, where: str) -> Iterator[Part]:
    """Every combination of the listed strengths of one regularizer."""
    choices = {key: value if isinstance(value, list) and key != "name" else [value] for key, value in item.items()}
    empty = [key for key, value in choices.items() if not value]
    if empty:
        raise Refusal(f"{path}: {where}.{empty[0]}: an empty list; allowed is at least one strength")
    for values in itertools.product(*choices.values()):
        given = dict(zip(choices, values, strict=True))
        label = ", ".join(f"{key}={_text(value)}" for key, value in given.items() if key != "name")
        yield named(given, catalogue.regularizers, path, where), label


def _label(parts: tuple[Part, ...], overrides: dict[str, Any]) -> str:
    words = [label if len(parts) == 1 else f"{_name(item)}({label})" for item, label in parts]
    return ", ".join([word for word in words if word] + [f"{key}={_text(value)}" for key, value in overrides.items()])


def _name(regularizer: Settings) -> str:
    return type(regularizer).__module__.rpartition(".")[2]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
