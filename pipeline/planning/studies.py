"""Read the studies of a protocol and report all their mistakes at once."""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import Field

from pipeline.config.claims import Claim
from pipeline.config.parameters import (
    EXPERIMENTS,
    PARAMETERS,
    PROTOCOLS,
    Parameters,
    read_parameters,
    read_valid_parameters,
)
from pipeline.config.plan import BASELINE, OVERTUNING, PROTOCOL, TUNING, Kind
from pipeline.config.registered_claims import read_claims
from pipeline.config.schema import Design, Ensemble, Replay, Variance
from pipeline.config.settings import Settings, Word
from pipeline.config.validation import (
    NAME,
    Inner,
    Refusals,
    Source,
    checked,
    errors_in,
    invalid,
    one_of,
    place_of,
    unknown_name,
)
from pipeline.config.yaml_files import read_yaml, yaml_names
from pipeline.planning.arm_files import SEARCH, nuisance_spaces, read_arm, tuned_baseline
from pipeline.planning.arm_mistakes import mistakes
from pipeline.planning.arms import Arm, baseline, relative, searched_values
from pipeline.planning.claims import claim_mistakes
from pipeline.planning.effects import effects, is_described, require_start
from pipeline.planning.pretraining import pretrained_by
from pipeline.planning.protocols import (
    Protocol,
    ProtocolFiles,
    document_of,
    files_of,
    require_one_size,
    value_of,
)
from pipeline.planning.resolution import override_protocol, resolve_protocol
from pipeline.planning.restricted import is_made_for
from pipeline.planning.searches import (
    SHORTENS,
    TWO_VALUES,
    Search,
    has_stops,
    least_grid,
    require_optuna,
    rounds,
)
from pipeline.planning.start_mistakes import require_effects
from pipeline.runtime.errors import Refusal

ORDER: tuple[Kind, ...] = ("comparison", "ensemble", "variance", "search")
SECTIONS = frozenset(ORDER) - {"comparison"}  # keys that set the kind of a study
LEAST_SPACES = 2  # spaces of an arm on which searches are replayed: a single one is a curve
DESIGN = "{search: {method: random, trials: 128}}"
FILE_NAME = re.compile("[a-z0-9_]{1,60}")  # of a study or a protocol
UNTUNED = "untuned"  # the arm with the protocol's values where tuning has chosen others


@dataclass(frozen=True)
class Study:
    """One question and the arms that answer it.

    Attributes:
        name: The name of its file, without the suffix.
        question: The question, for the report.
        arms: The arms, the baseline first.
        ensemble: The groups of a study whose arms are averaged, otherwise None.
        variance: The draws of a study whose arms are decomposed, otherwise None.
        claims: What lectures and papers say of these arms.
        search: The searches that are replayed on the arms of a study, otherwise None.
        kind: What is done with the arms: they are compared, averaged, decomposed, searched again
            and again, or a part of tuning.
    """

    name: str
    question: str
    arms: tuple[Arm, ...]
    kind: Kind = "comparison"
    ensemble: Ensemble | None = None
    variance: Variance | None = None
    claims: tuple[Claim, ...] = ()
    search: Replay | None = None


@dataclass(frozen=True)
class Experiment:
    """A protocol with its studies; studies that compare arms come first.

    Attributes:
        protocol: The protocol, with tuned values where they are chosen.
        studies: Its studies.
        tuning: The baseline with every value that the protocol tunes; None where it tunes none.
        tuned: The chosen values by dotted key; empty where none are chosen yet.
        untuned: The values of the protocol in their place.
        overridden: The dotted keys whose values `params.yaml` gives.
        requested_looks: The number of the look (from 1) that `params.yaml` requests, by study and
            arm.
    """

    protocol: Protocol
    studies: tuple[Study, ...]
    tuning: Arm | None = None
    tuned: Mapping[str, Any] = field(default_factory=dict)
    untuned: Mapping[str, Any] = field(default_factory=dict)
    overridden: tuple[str, ...] = ()
    requested_looks: Mapping[tuple[str, str], int] = field(default_factory=dict)


class StudyFile(Settings):
    """What the file of a study holds.

    Attributes:
        question: The question, for the report.
        protocols: The protocols that the study is meant for; null: all.
        ensemble: Groups of models to average. Each arm of the study then has one setting.
        variance: How each stream is redrawn. Each arm of the study then has one setting.
        search: Searches to compare. Each arm of the study then searches two or more values at once.
        claims: What lectures and papers say about these arms.
        arms: Name -> list of changes.
    """

    question: str = Field(pattern=r"\S")
    protocols: tuple[Word, ...] | None = Field(None, min_length=1)
    ensemble: Ensemble | None = None
    variance: Variance | None = None
    search: Replay | None = None
    claims: tuple[Claim, ...] = ()
    arms: dict[Word, list[dict[str, Any]]] = Field(min_length=1)

    @property
    def kind(self) -> Kind:
        """Return the kind of the study, from its section."""
        return next(iter(self.sections), "comparison")

    @property
    def sections(self) -> dict[Kind, Ensemble | Variance | Replay]:
        """Return the section that sets the kind of the study; none if arms are compared."""
        sections: dict[Kind, Ensemble | Variance | Replay | None] = {
            "ensemble": self.ensemble,
            "variance": self.variance,
            "search": self.search,
        }
        return {kind: section for kind, section in sections.items() if section}


class _Name(Settings):
    study: Word


def read_experiment(
    name: str, root: Path = Path(), tuned: Mapping[str, Any] | None = None
) -> Experiment:
    """Read the protocol `name` with its studies and the overrides of `params.yaml`.

    Args:
        name: The name of the protocol's file, without the suffix.
        root: The folder of the project.
        tuned: Protocol values chosen for the baseline, by dotted key.

    Raises:
        Refusal: A file is invalid; the error has one line for each mistake in any of the files.
    """
    refusals = Refusals()
    with refusals.collect():
        parameters = read_parameters(root)
    if refusals.lines:
        valid = read_valid_parameters(root)
        if valid is None:
            raise Refusal(*refusals.lines)
        parameters = valid
    with refusals.collect():
        _require_file_names(root)
    with refusals.collect():
        document, source = document_of(name, parameters, root)
        experiment = experiment_of(document, source, root, tuned, parameters)
    with refusals.collect():
        read_claims(root)
    refusals.require_none()
    return experiment


def _require_file_names(root: Path) -> None:
    """Check that the name of every file of a study or protocol can name it.

    Raises:
        Refusal: A name has other characters than lowercase letters, digits and underscores.
    """
    lines = [
        f"{folder / name}.yaml: invalid name {name!r}; expected {NAME}"
        for folder in (EXPERIMENTS, PROTOCOLS)
        for name in yaml_names(root / folder)
        if not FILE_NAME.fullmatch(name)
    ]
    if lines:
        raise Refusal(*lines)


def experiment_of(
    document: dict[str, Any],
    source: ProtocolFiles,
    root: Path = Path(),
    tuned: Mapping[str, Any] | None = None,
    parameters: Parameters | None = None,
) -> Experiment:
    """Return the experiment of a protocol that need not have a file, with its studies.

    Args:
        document: The values of the protocol, overrides applied.
        source: Their files, for errors.
        root: The folder of the project.
        tuned: As for `read_experiment`.
        parameters: The overrides; by default those of `params.yaml`.

    Raises:
        Refusal: As for `read_experiment`.
    """
    parameters = parameters or read_parameters(root)
    refusals = Refusals()
    with refusals.collect():
        base = resolve_protocol(document, source)
        require_one_size(document["data"], Inner(source, "data"))
        require_effects(document, base, source)
    with refusals.collect():
        _require_spaces(document, source)
    with refusals.collect():
        names = _study_names(document, parameters, root)
    refusals.require_none()
    tuning = tuned_baseline(base, source.file_of("tune"))
    protocol = override_protocol(base, dict(tuned), source) if tuned else base
    require_network(protocol, source)
    studies: list[Study] = []
    for study in names:
        with refusals.collect():
            studies.append(read_study(study, protocol, root, bool(tuned), parameters))
    refusals.require_none()
    if not any(study.kind == "comparison" for study in studies):
        where = f"{_naming(protocol.name, parameters)}: studies"
        raise Refusal(invalid(where, list(names), "also a study that compares arms"))
    studies.sort(key=lambda study: ORDER.index(study.kind))
    tuned = dict(tuned or {})
    before = {key: value_of(base, key) for key in tuned}
    untuned = {key: value for key, value in before.items() if value != tuned[key]}
    overrides = tuple(parameters.overrides())
    requested_looks = _requested_looks(protocol, studies, parameters, root)
    return Experiment(protocol, tuple(studies), tuning, tuned, untuned, overrides, requested_looks)


def _requested_looks(
    protocol: Protocol, studies: Sequence[Study], parameters: Parameters, root: Path
) -> dict[tuple[str, str], int]:
    """Return the looks that `params.yaml` requests, without studies that are not run.

    Raises:
        Refusal: A protocol, a study or an arm does not exist, or the protocol declares no look at a
            number of seeds.
    """
    arms = {study.name: [arm.name for arm in study.arms] for study in studies}
    arms |= {TUNING: [UNTUNED]}
    looks = protocol.seeds.looks.looks
    requested = (parameters.resolve or {}).get(protocol.name, {})
    present = [study for study in requested if study in arms]
    requested_looks: dict[tuple[str, str], int] = {}
    errors = _unknown_requests(parameters, protocol.name, root)
    for study in present:
        where = f"{PARAMETERS}: resolve.{protocol.name}.{study}"
        for arm, seeds in requested[study].items():
            if arm not in arms[study]:
                errors.append(unknown_name(where, arm, arms[study]))
            elif seeds not in looks:
                declared = ", ".join(map(str, looks))
                expected = f"a declared look of seeds.confirmation: {declared}"
                errors.append(invalid(f"{where}.{arm}", seeds, expected))
            else:
                requested_looks[study, arm] = looks.index(seeds) + 1
    if errors:
        raise Refusal(*errors)
    return requested_looks


def _unknown_requests(parameters: Parameters, protocol: str, root: Path) -> list[str]:
    """Return a line for each protocol, and each study of this one, that has no file."""
    resolve = parameters.resolve or {}
    protocols = {*yaml_names(root / PROTOCOLS), protocol}
    studies = {*yaml_names(root / EXPERIMENTS), TUNING}
    where = f"{PARAMETERS}: resolve"
    unknown_protocols = [name for name in resolve if name not in protocols]
    unknown_studies = [name for name in resolve.get(protocol, {}) if name not in studies]
    return [
        *(unknown_name(where, name, protocols) for name in unknown_protocols),
        *(unknown_name(f"{where}.{protocol}", name, studies) for name in unknown_studies),
    ]


def tuning_study(arm: Arm) -> Study:
    """Return the study that tunes the baseline, in the exploration plan.

    Args:
        arm: The baseline with the search spaces of `tune`.
    """
    question = "Which values of the protocol are best for the baseline?"
    return Study(TUNING, question, (arm,), "tuning")


def untuned_study(experiment: Experiment) -> Study | None:
    """Return the study of the changes by tuning, in the confirmation plan.

    Args:
        experiment: The protocol with its tuned values, and its studies.

    Returns:
        The tuned baseline, and an arm with the values of the protocol where they differ; None where
        the protocol tunes nothing.
    """
    if experiment.tuning is None:
        return None
    protocol = experiment.protocol
    arms = [baseline(protocol)]
    if experiment.untuned:
        items = [{PROTOCOL: dict(experiment.untuned)}]
        path = PROTOCOLS / f"{protocol.name}.yaml"
        arms.append(read_arm(UNTUNED, items, protocol, path, is_fixed=True))
    return Study(TUNING, "What has tuning the baseline changed?", tuple(arms))


def require_network(protocol: Protocol, source: Source) -> None:
    """Check that the network of the protocol can be built for its data, and for its pretrainings.

    Args:
        protocol: The protocol.
        source: Where its values come from, for errors.

    Raises:
        Refusal: The data or the network cannot be made, or nothing can start from a pretraining.
    """
    with errors_in(source):
        effects((), protocol.network_settings())
        require_start(protocol)
    for name in protocol.pretraining:
        pretrained, acting = pretrained_by(protocol, name)
        if not is_described(protocol.name, pretrained.data.dataset, pretrained.source):
            continue
        with errors_in(Inner(source, f"pretraining.{name}")):
            effects(acting, pretrained.network_settings())
            require_start(pretrained)
            require_start(protocol.model_copy(update={"start": {"from": name}}))


def _require_spaces(document: Mapping[str, Any], source: ProtocolFiles) -> None:
    """Check the search spaces of `tune` of a protocol that may have other mistakes.

    Raises:
        Refusal: A space is invalid.
    """
    tune = document.get("tune")
    if isinstance(tune, Mapping):
        nuisance_spaces(tune, document, source.file_of("tune"))


def _study_names(document: Mapping[str, Any], parameters: Parameters, root: Path) -> Sequence[str]:
    """Return the names of the studies of a protocol that may have other mistakes.

    Raises:
        Refusal: A study does not exist, or is there twice.
    """
    existing = yaml_names(root / EXPERIMENTS)
    if parameters.studies == ():
        expected = f"null, all, or a list of: {', '.join(existing)}"
        raise Refusal(invalid(f"{PARAMETERS}: studies", [], expected))
    if parameters.studies == "all":
        return [study for study in existing if is_made_for(study, document["name"], root)]
    names = parameters.studies or document.get("studies")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return []  # an error of the protocol
    where = f"{_naming(document['name'], parameters)}: studies"
    if missing := [study for study in names if study not in existing]:
        raise Refusal(*(unknown_name(where, study, existing) for study in missing))
    if len(set(names)) < len(names):
        raise Refusal(invalid(where, list(names), "distinct studies"))
    return names


def _naming(protocol: str, parameters: Parameters) -> Path:
    """Return the file that names the studies."""
    return PARAMETERS if parameters.studies else PROTOCOLS / f"{protocol}.yaml"


def read_study(
    name: str,
    protocol: Protocol,
    root: Path = Path(),
    is_tuned: bool = False,
    parameters: Parameters | None = None,
) -> Study:
    """Read a study under a protocol.

    Args:
        name: The name of its file, without the suffix.
        protocol: The protocol, resolved.
        root: The folder of the project.
        is_tuned: Whether the protocol has tuned values.
        parameters: The overrides; by default those of `params.yaml`.

    Raises:
        Refusal: The file is invalid, or an arm cannot act under this protocol; a line for each
            mistake.
    """
    path = EXPERIMENTS / f"{name}.yaml"
    checked(_Name, {"study": name}, path)
    if name in (TUNING, OVERTUNING):
        raise Refusal(f"{path}: reserved name; expected another name")
    values = read_yaml(root / path)
    try:
        document = checked(StudyFile, values, path)
    except Refusal as refusal:
        raise Refusal(*refusal.lines, *_arm_mistakes(values, protocol, path)) from None
    if document.protocols and protocol.name not in document.protocols:
        existing = yaml_names(root / PROTOCOLS)
        if unknown := [one for one in document.protocols if one not in existing]:
            where = f"{path}: protocols"
            raise Refusal(*(unknown_name(where, one, existing) for one in unknown))
        expected = f"a list with {protocol.name}; or leave {name} out of studies"
        raise Refusal(invalid(f"{path}: protocols", list(document.protocols), expected))
    arms, errors = _read_arms(document.arms, [*document.sections], protocol, path)
    unread = set(document.arms) - {arm.name for arm in arms}
    errors += mistakes(arms, path, is_tuned, unread)
    files = files_of(protocol.name, parameters or read_parameters(root))
    errors += _section_mistakes(document, protocol, path, files)
    errors += _single_mistakes(document, arms, path)
    errors += dict.fromkeys(_search_mistakes(document, protocol, arms, path, files))
    names = [BASELINE, *document.arms]
    errors += claim_mistakes(document.claims, document.kind, names, path)
    if errors:
        raise Refusal(*errors)
    dataset = protocol.data.dataset
    claims = [claim for claim in document.claims if not claim.datasets or dataset in claim.datasets]
    return Study(
        name=name,
        question=document.question,
        arms=tuple(relative(arm, arms) for arm in arms),
        kind=document.kind,
        ensemble=document.ensemble,
        variance=document.variance,
        claims=tuple(claims),
        search=document.search,
    )


def _arm_mistakes(values: Mapping[str, Any], protocol: Protocol, path: Path) -> list[str]:
    """Return a line for each mistake in the arms of a study that has other mistakes."""
    arms = values.get("arms")
    if not isinstance(arms, Mapping):
        return []
    lists = {
        name: items
        for name, items in arms.items()
        if isinstance(items, list) and all(isinstance(item, dict) for item in items)
    }
    return _read_arms(lists, [*SECTIONS.intersection(values)], protocol, path)[1]


def _read_arms(
    lists: Mapping[str, list[dict[str, Any]]],
    sections: Collection[str],
    protocol: Protocol,
    path: Path,
) -> tuple[list[Arm], list[str]]:
    """Return the baseline with the arms that can be read, and a line for each mistake."""
    arms = [baseline(protocol)]
    errors: list[str] = []
    for name, items in lists.items():
        if "search" in sections and not any(SEARCH in item for item in items):
            expected = f"a design, as in {DESIGN}"
            errors.append(f"{path}: arms.{name}: {SEARCH}: missing; expected {expected}")
            continue
        try:
            arms.append(read_arm(name, items, protocol, path, bool(sections)))
        except Refusal as refusal:
            errors += refusal.lines
    return arms, errors


def _section_mistakes(
    document: StudyFile, protocol: Protocol, path: Path, files: ProtocolFiles
) -> Iterator[str]:
    """Yield a line for several sections at once, and for one that needs more seeds than there are.

    All arms have the seeds of the first look.
    """
    kinds = list(document.sections)
    if len(kinds) > 1:
        yield f"{path}: {', '.join(kinds)}: all given; expected one of them"
    seeds = protocol.seeds.looks.looks[0]
    for kind, section in document.sections.items():
        key = "seeds" if isinstance(section, Replay) else "groups"
        number = getattr(section, key)
        if number > seeds:
            expected = f"an integer <= {seeds} ({files.place('seeds.confirmation')})"
            line = invalid(f"{path}: {kind}.{key}", number, expected)
            yield f"{line}; or leave {path.stem} out of studies"


def _single_mistakes(document: StudyFile, arms: list[Arm], path: Path) -> Iterator[str]:
    """Yield a line for each arm of an ensemble or of variance with several settings."""
    if document.kind in ("ensemble", "variance"):
        for arm in arms:
            if arm.is_searched:
                yield (
                    f"{path}: arms.{arm.name}: {arm.most_settings} settings; "
                    f"expected 1 in a study with {document.kind}"
                )


def _search_mistakes(
    document: StudyFile, protocol: Protocol, arms: list[Arm], path: Path, files: ProtocolFiles
) -> Iterator[str]:
    """Yield a line for each arm whose settings are not a design for replays of searches."""
    if document.search is None:
        return
    try:
        require_optuna(f"{path}: search", "the importance of values")
    except Refusal as refusal:
        yield from refusal.lines
    replayed = [method for method in document.search.methods if method != "random"]
    for number, claim in enumerate(document.claims):
        for contrast in claim.contrasts:
            if contrast.search and contrast.search not in replayed:
                where = f"{path}: claims.{number}.contrast.search"
                expected = f"{one_of(replayed)} (search.methods without random)"
                yield invalid(where, contrast.search, expected)
    for arm in arms[1:]:
        where = f"{path}: arms.{arm.name}"
        spaces = len(searched_values(arm))
        if spaces < LEAST_SPACES:
            expected = f"{LEAST_SPACES} or more in a study with search"
            yield f"{where}: {spaces} search space{'' if spaces == 1 else 's'}; expected {expected}"
        search = arm.definition.search
        if search and arm.design is None:
            expected = f"{one_of(get_args(Design))}; trials of others depend on scores or on steps"
            yield invalid(f"{where}: search.method", search.method, expected)
        elif document.search.trials > len(arm.trials):
            expected = f"an integer <= {len(arm.trials)}, the settings of {arm.name}"
            yield invalid(f"{path}: search.trials", document.search.trials, expected)
        yield from _replay_mistakes(document.search, protocol, arm, path, files)


def _replay_mistakes(
    replay: Replay, protocol: Protocol, arm: Arm, path: Path, files: ProtocolFiles
) -> Iterator[str]:
    """Yield a line for each method that cannot be replayed on an arm with so many trials.

    A grid needs two values of each range. A method that stops trials needs a score of their
    learning curves for each of its rounds.
    """
    for method in replay.methods:
        search = Search(method=method, trials=replay.trials)
        if method == "grid":
            spaces = arm.definition.spaces.values()
            least = least_grid([replace(one, values=()) if one.scale else one for one in spaces])
            if least > replay.trials:
                grid = f"the settings of a grid over {arm.name}{TWO_VALUES}"
                expected = f"an integer >= {least}, {grid}"
                yield invalid(f"{path}: search.trials", replay.trials, expected)
        if method in SHORTENS:
            yield from _stop_mistakes(search, protocol, arm, path, files)


def _stop_mistakes(
    search: Search, protocol: Protocol, arm: Arm, path: Path, files: ProtocolFiles
) -> Iterator[str]:
    """Yield a line for each learning curve without a score for each round of a search."""
    schedules = [trial.protocol.training for trial in arm.trials]
    lengths = dict.fromkeys((each.epochs, each.curve_points) for each in schedules)
    words = f"{search.method} of {search.trials} trials in {path}"
    needs = f"a point of the learning curve for each of its {len(rounds(search))} rounds"
    for epochs, points in lengths:
        if has_stops(search, epochs, points):
            continue
        enough = [number for number in range(1, epochs + 1) if has_stops(search, epochs, number)]
        key, value = ("curve_points", points) if enough else ("epochs", epochs)
        least = enough[0] if enough else _least_epochs(search)
        is_changed = value != getattr(protocol.training, key)
        source: Source = arm.definition.places if is_changed else files
        expected = f"an integer >= {least} for {words}, which needs {needs}"
        yield invalid(place_of(source, f"training.{key}"), value, expected)


def _least_epochs(search: Search) -> int:
    """Return the fewest epochs that have a score for each round, with one after each."""
    return next(number for number in itertools.count(1) if has_stops(search, number, number))
