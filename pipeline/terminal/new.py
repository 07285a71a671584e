"""Print and write the output of `gapwise new`: a protocol for data that none names yet."""

import dataclasses
import functools
import math
import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from pipeline.comparison.looks import decide
from pipeline.comparison.references import simple_error
from pipeline.comparison.trust import seeds_required
from pipeline.config.parameters import PARAMETERS, PROTOCOLS, read_parameters
from pipeline.config.run import Data
from pipeline.config.settings import Settings, Word
from pipeline.config.validation import (
    Origin,
    Refusals,
    checked,
    choices,
    errors_in,
    invalid,
    one_of,
    suggestion,
    unknown_name,
)
from pipeline.config.yaml_files import parse_yaml
from pipeline.data import sources
from pipeline.data.checks import (
    collect_notes,
    compare_splits,
    ignore_notes,
    require_examples,
    require_sizes,
)
from pipeline.data.inspection import inspect
from pipeline.data.inspection.inspection import DataOptions, Inspection
from pipeline.data.paths import printable
from pipeline.data.sources import array_files, image_folder
from pipeline.data.splits import development_and_test
from pipeline.evaluation.validation import validation_scores
from pipeline.execution.forecast import forecast_of
from pipeline.execution.probing import measure_speed
from pipeline.execution.processes import worker_environments
from pipeline.planning.applicable import (
    OF_IMAGES,
    OF_MIRRORED,
    OF_ROWS,
    applicable,
    required_studies,
)
from pipeline.planning.proposal import (
    NETWORKS,
    Network,
    Proposal,
    ProtocolOptions,
    Speed,
    networks,
    propose,
    splits_of,
)
from pipeline.planning.proposal_text import protocol_text
from pipeline.planning.protocols import (
    Protocol,
    ProtocolFiles,
    files_of,
    is_replaced,
    with_overrides,
)
from pipeline.planning.resolution import resolve_protocol
from pipeline.planning.studies import Experiment, experiment_of, require_network
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_text
from pipeline.terminal.plan import show_plan
from pipeline.terminal.sites import show_sites
from pipeline.terminal.tables import say

COMPARED = 20_000  # examples that are compared with each other before `prepare` does
NAMED = 12  # classes
KEYS = {  # of a source, and the options that set them
    **{key: f"--{key}" for key in ("label", "split", "group", "ignore", "separator")},
    **{key: f"--{key}" for key in ("size", "color", "white", "layout", "unreadable")},
    "categories": "--category",
}
NAMED_KEY = re.compile(
    rf"(?:^dataset \w+: )?\bsource\.({'|'.join(KEYS)})\b(?:: (\[[^]]*\]|skip|'..?'))?"
)


OPTIONS = {  # keys of a protocol, and the options that set them
    **{f"source.{key}": option for key, option in KEYS.items()},
    **{f"data.{key}": f"--{key.replace('_', '-')}" for key in ("train_size", "test_fraction")},
    **{f"seeds.{key}": f"--{key}" for key in ("exploration", "confirmation")},
    "training.batch_size": "--batch-size",
    "training.epochs": "--epochs",
    "training.learning_rate": "--learning-rate",
    "model.import": "--model",
    "model.arguments": "--arguments",
    "margin": "--margin",
    "name": "--name",
}
UNNAMED = ProtocolFiles(PROTOCOLS)
CHOICES = {  # options whose values are one of a few
    "color": choices(image_folder.Source, "color"),
    "unreadable": choices(image_folder.Source, "unreadable"),
    "layout": choices(array_files.Source, "layout"),
}


DATASET = re.compile("^data.dataset: ")


class _Name(Settings):
    name: Word


@final
@dataclasses.dataclass(frozen=True)
class _Proposed(Origin):
    """The values of a protocol that is not written yet.

    Attributes:
        data: The data, as in errors.
        files: The file that is to be written, and `params.yaml`, for values of no option.
    """

    data: str = ""
    files: ProtocolFiles = UNNAMED

    def place(self, key: str) -> str:
        """Return the option that sets a value, otherwise its file and key."""
        if key == "data.dataset":
            return self.data
        is_overridden = self.files.file_of(key) == PARAMETERS
        for of_option, option in OPTIONS.items():
            if is_replaced(key, [of_option]) and not is_overridden:
                return option + key.removeprefix(of_option)
        return self.files.place(key)


def show_new(path: Path, name: str, data_options: DataOptions, options: ProtocolOptions) -> None:
    """Look at the data, write a protocol for them, and print what was found and planned.

    Args:
        path: The absolute path of the data.
        name: The name of the protocol; a file of this name is replaced.
        data_options: The options for the data.
        options: The options for the protocol.

    Raises:
        Refusal: The data or an option cannot be used.
    """
    file = PROTOCOLS / f"{name}.yaml"
    with ignore_notes(), _options_in_errors(path):
        inspection = inspect(path, data_options)
    _show_inspection(name, inspection)
    with ignore_notes(), _options_in_errors(path):
        _require_readable(inspection)
    origin = _Proposed(printable(str(path)), files_of(name, read_parameters()))
    proposal = _proposal(name, inspection, options, origin)
    heading = (
        f"{inspection.examples:,} {inspection.noun} in {len(inspection.counts)} "
        f"classes, for {options.minutes:g} minutes with {_workers()} runs at a time. "
        "Written by gapwise new: every value may be changed."
    )
    text = protocol_text(proposal, heading)
    warnings = [*proposal.warnings, *_problems(inspection, proposal, origin)]
    document = parse_yaml(text, file)

    def read(tuned: Mapping[str, Any]) -> Experiment:
        return experiment_of(*with_overrides(name, dict(document), read_parameters()), tuned=tuned)

    expected = forecast_of(name, read, validation_scores, decide)
    write_text(file, text)
    plans = expected.exploration, expected.confirmation
    show_plan(plans, expected.most_added, document["seconds_per_run"])
    if options.imported:
        show_sites(name)
    for warning in warnings:
        say(f"warning: {warning}")
    if overrides := read_parameters().overrides():
        say(f"warning: {PARAMETERS} overrides {', '.join(overrides)}: so it does here")
    say(f"about {proposal.minutes:.1f} minutes from the command to the report")
    say(f"protocol: {file}")
    say(f"run: gapwise run --protocol {name}")


def name_of_new(path: Path, option: str | None, is_replaced: bool) -> str:
    """Return the name of the protocol to be written.

    Args:
        path: The path of the data.
        option: The name that the user has chosen; None for one that the path gives.
        is_replaced: Whether a protocol of this name is replaced.

    Raises:
        Refusal: The name cannot be that of a folder, the path gives none, or there is such a
            protocol.
    """
    name = _name_of(path) if option is None else _valid_name(option)
    file = PROTOCOLS / f"{name}.yaml"
    if file.exists() and not is_replaced:
        raise Refusal(f"{file}: exists; expected another --name, or --force to replace it")
    return name


def _valid_name(option: str) -> str:
    return checked(_Name, {"name": option}, _Proposed()).name


def _name_of(path: Path) -> str:
    """Return the name of a protocol for the data at a path.

    Raises:
        Refusal: The path gives none.
    """
    decomposed = unicodedata.normalize("NFKD", path.stem if path.is_file() else path.name)
    letters = decomposed.encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")[:60]
    if not name:
        raise Refusal(f"{printable(path.name)}: gives no name for the protocol; expected --name")
    return name


def require_valid(data_options: DataOptions, options: ProtocolOptions) -> None:
    """Check the options that can be checked without the data.

    Args:
        data_options: The options for the data.
        options: The options for the protocol.

    Raises:
        Refusal: A value is invalid; the error has a line for each.
    """
    lines = []
    if not (math.isfinite(options.minutes) and options.minutes > 0):
        expected = "a finite number > 0"
        lines.append(f"--minutes: invalid value {options.minutes:g}; expected {expected}")
    if options.network is not None and options.network not in NETWORKS:
        lines.append(unknown_name("--network", options.network, NETWORKS))
    if options.arguments is not None and options.imported is None:
        lines.append("--arguments: no effect without --model")
    for option, names in CHOICES.items():
        value = getattr(data_options, option)
        if value is not None and value not in names:
            lines.append(invalid(f"--{option}", value, one_of(names)) + suggestion(value, names))
    refusals = Refusals()
    refusals.lines += lines
    if data_options.size is not None:
        values = {"path": ".", "size": data_options.size}
        with refusals.collect():
            checked(image_folder.Source, values, _Proposed(), "source")
    with refusals.collect():
        _require_values(options)
    refusals.require_none()


def _require_values(options: ProtocolOptions) -> None:
    """Check the values of the protocol that the user has chosen.

    Raises:
        Refusal: One is invalid.
    """
    chosen_values = options.document()
    document = {
        **chosen_values,
        "name": "any",
        "data": {"dataset": "any", "train_size": 2, **chosen_values["data"]},
        "model": {},
        "training": {"learning_rate": 1, "epochs": 1, "batch_size": 2, **chosen_values["training"]},
        "studies": ["any"],
    }
    checked(Protocol, document, _Proposed())


@contextmanager
def _options_in_errors(path: Path) -> Iterator[None]:
    """Name the data and the options of the command in errors that name keys of a protocol."""
    try:
        yield
    except Refusal as refusal:
        lines = (NAMED_KEY.sub(_option, line) for line in refusal.lines)
        raise Refusal(*(DATASET.sub(lambda _: f"{path}: ", line) for line in lines)) from None


def _option(key: re.Match[str]) -> str:
    """Return the option, for each value that the error has."""
    option, values = KEYS[key[1]], key[2]
    if values is None:
        return option
    if not values.startswith("["):
        return f"{option} {values}"
    return " ".join(f"{option} {shlex.quote(value)}" for value in values[1:-1].split(", "))


def _require_readable(inspection: Inspection) -> None:
    """Check that all images can be read, before networks are timed.

    Raises:
        Refusal: Some cannot.
    """
    if inspection.sizes and inspection.examples <= COMPARED:
        size = inspection.sizes[0]
        require_examples(sources.read(inspection.dataset, {**inspection.source, "size": size}))


def _workers() -> int:
    return len(worker_environments(read_parameters().execution))


def _proposal(
    name: str, inspection: Inspection, options: ProtocolOptions, origin: Origin
) -> Proposal:
    """Return the protocol, for which networks are timed until one fits the minutes."""
    candidates = networks(inspection, splits_of(inspection, options), options)
    protocol = _protocol(name, inspection, options, candidates[0], origin)
    require_network(protocol, origin)
    usual = OF_ROWS
    if inspection.is_image:
        usual = OF_MIRRORED if inspection.flips_keep_labels else OF_IMAGES
    if options.studies:
        studies = required_studies(protocol, options.studies)
    else:
        studies = applicable(protocol, usual)

    @functools.cache
    def timed(number: int, batch_size: int) -> Speed:
        network = dataclasses.replace(candidates[number], batch_size=batch_size)
        side = network.size
        shape = inspection.shape if side is None else (inspection.shape[0], side, side)
        return measure_speed(
            _protocol(name, inspection, options, network, origin),
            shape,
            len(inspection.counts),
            read_parameters().execution,
        )

    def speed_of(network: Network) -> Speed:
        alike = [(one.model, one.size) for one in candidates]
        return timed(alike.index((network.model, network.size)), network.batch_size)

    error = simple_error(inspection.sample)
    return propose(inspection, options, speed_of, studies, _workers(), error, seeds_required)


def _protocol(
    name: str, inspection: Inspection, options: ProtocolOptions, network: Network, origin: Origin
) -> Protocol:
    """Return a protocol with this network, to time it and to ask which studies apply."""
    splits = splits_of(inspection, options)
    size = {} if network.size is None else {"size": network.size}
    document = {
        "data": {"dataset": inspection.dataset, "train_size": options.train_size or splits.train},
        "source": {**inspection.source, **size},
        "model": dict(network.model),
        "training": {"learning_rate": 0.01, "epochs": 1, "batch_size": network.batch_size},
        "studies": ["dropout"],
    }
    overridden, _ = with_overrides(name, document, read_parameters())
    return resolve_protocol(overridden, origin)


def _problems(inspection: Inspection, proposal: Proposal, origin: Origin) -> list[str]:
    """Return what `prepare` will find in the data, a line each.

    Raises:
        Refusal: The data cannot be prepared.
    """
    document = proposal.document()
    if inspection.examples > COMPARED:
        return ["copies and parts that differ are looked for when the run begins"]
    with collect_notes():
        splits = sources.read(inspection.dataset, document["source"])
    with errors_in(origin):
        require_examples(splits)
        data = Data(**document["data"])
        development, test = development_and_test(splits, data.test_fraction)
        require_sizes(development, data)
    return compare_splits(development, test, splits.feature_names)


def _show_inspection(name: str, inspection: Inspection) -> None:
    say(f"{name}: {inspection.examples:,} {inspection.noun} in {len(inspection.counts)} classes")
    named = [f"{label} ({count:,})" for label, count in inspection.counts.items()]
    more = f" and {len(named) - NAMED} others" if len(named) > NAMED else ""
    say(f"classes: {', '.join(named[:NAMED])}{more}")
    parts = {"validation": inspection.validation, "test": inspection.test}
    for split, count in parts.items():
        if count:
            say(f"{split}: {count:,} {inspection.noun} in a separate split")
    for fact in inspection.facts:
        say(fact)
