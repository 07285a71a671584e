"""Print the output of `gapwise doctor --model`: where regularizers may act, and on what weights."""

import copy
import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from torch import nn

from pipeline import regularizers
from pipeline.config.parameters import read_parameters
from pipeline.config.start import Start
from pipeline.config.validation import errors_in
from pipeline.data.description import describe
from pipeline.execution.stage import ARTIFACTS
from pipeline.models._additions import passed_over
from pipeline.models._draws import stateful_parts
from pipeline.models._probe import probe_of
from pipeline.models._residuals import ResidualBlock, residual_blocks
from pipeline.models._routing import Route, routes
from pipeline.models._sites import kind_of, plain, reads_images, why_not
from pipeline.models._weights import match_weights
from pipeline.models.imported import require_fit
from pipeline.planning.networks import (
    build_network,
    evaluation_notes,
    require_passes,
    require_stored_draws,
    require_usable,
)
from pipeline.planning.protocols import document_of
from pipeline.planning.resolution import resolve_protocol
from pipeline.planning.sizes import require_protocol_sizes
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal
from pipeline.terminal.tables import breakable, say, show, table

WHOLE = "the network itself"

Row = tuple[str, ...]


@dataclass(frozen=True)
class Acting:
    """What regularizers in their default settings act on.

    Attributes:
        modules: Name of a module -> labels of the regularizers that place noise there.
        weights: Label of a regularizer -> the number of weights that it acts on.
        others: Labels of those that act on the network as a whole, its batches or its training.
        refusals: Why others cannot act, one line each.
    """

    modules: Mapping[str, Sequence[str]]
    weights: Mapping[str, int]
    others: Sequence[str]
    refusals: Sequence[str]


def show_sites(name: str) -> None:
    """Print a row for each module that may be a site, then a row for each parameter.

    Modules whose names differ only in numbers share a row.

    Args:
        name: The name of the protocol.

    Raises:
        Refusal: The protocol is invalid, or its network cannot be built.
    """
    document, source = document_of(name, read_parameters(), Path())
    protocol = resolve_protocol(document, source)
    with errors_in(source):
        prepared = ARTIFACTS / name / "data"
        kind = describe(protocol.data.dataset, protocol.source, prepared, protocol.data.classes)
        make = functools.partial(build_network, shape=kind.shape, classes=kind.classes)
        network = make(protocol.model)
        require_fit(network.network, protocol.model, kind.shape, make)
        require_usable(network, protocol.model["initialization"], kind.shape)
        path = protocol.model.get("weights")
        if path or not Start.model_validate(protocol.start).is_fresh:
            require_stored_draws(network, protocol.model, kind.shape, kind.classes)
        start = match_weights(network.network, path).note(path) if path else ""
    require_protocol_sizes(protocol)
    weights = sum(parameter.numel() for parameter in network.parameters())
    model = protocol.model.get("import", protocol.model["name"])
    acting = _acting(network, kind.shape, kind.classes)
    show(
        _table(
            ("module", "kind", "acted on by", "note"),
            _module_rows(network, acting.modules, _stateful_parts(network, kind.shape)),
            f"{name}: {model}, {weights:,} parameters",
        )
    )
    if left := passed_over(network):
        say(
            f"modules and sums that may or may not be residual blocks: {left}; "
            "stochastic depth leaves these unchanged"
        )
    show(
        _table(
            ("parameter", "shape", "group", "why"),
            map(_parameter_row, routes(network)),
            f"{name}: parameters",
        )
    )
    on_weights = [f"{label} ({number})" for label, number in acting.weights.items()]
    say(f"on decayed weights (number of tensors): {', '.join(on_weights) or 'none'}")
    say(f"on the network as a whole, its batches or its training: {', '.join(acting.others)}")
    for refusal in acting.refusals:
        say(f"cannot act: {refusal}")
    for note in filter(None, [start, *evaluation_notes(network, kind.shape)]):
        say(note)


def _acting(network: nn.Module, shape: tuple[int, ...], classes: int) -> Acting:
    modules: dict[str, list[str]] = defaultdict(list)
    weights: dict[str, int] = {}
    others: list[str] = []
    refusals: list[str] = []
    module_names = {name for name, _ in network.named_modules() if name}
    for label, regularizer in _variants():
        try:
            regularizer.effect(network, shape)
            equipped = copy.deepcopy(network)
            regularizers.equip(equipped, [regularizer])
            require_passes(equipped, shape, classes)
        except Refusal as refusal:
            lines = (line.removeprefix(f"{regularizer.name}: ") for line in refusal.lines)
            refusals += [f"{label}: {line}" for line in lines]
            continue
        sites = regularizer.sites(network)
        names = [_name(site) for site in sites if not isinstance(site, nn.Parameter)]
        if not names:
            weights[label] = len(sites)
        elif module_names.isdisjoint(names):
            others.append(label)
        for name in module_names.intersection(names):
            modules[name].append(label)
    return Acting(modules, weights, others, refusals)


def _variants() -> Iterator[tuple[str, Regularizer]]:
    """Yield every regularizer in its default settings, and one for each place in its `where`."""
    for name, kind in regularizers.settings().items():
        field = kind.model_fields.get("where")
        if field is None:
            yield name, kind()
            continue
        for place in get_args(field.annotation):
            label = name if place == field.default else f"{name} ({place})"
            yield label, kind.model_validate({"where": place})


def _name(site: ResidualBlock | tuple[str, nn.Module]) -> str:
    return site.name if isinstance(site, ResidualBlock) else site[0]


def _stateful_parts(network: nn.Module, shape: tuple[int, ...]) -> Mapping[str, Sequence[str]]:
    """Return name -> notes of modules that draw or keep statistics, none for a built-in network."""
    if probe_of(network) is None:
        return {}
    parts = stateful_parts(network, shape)
    return {name: notes for name, notes in parts.items() if name}  # not those of `Standardized`


def _module_rows(
    network: nn.Module, acted: Mapping[str, Sequence[str]], states: Mapping[str, Sequence[str]]
) -> Iterator[Row]:
    """Yield name, kind, what acts and notes, of modules that may be sites or have state."""
    blocks = {block.name for block in residual_blocks(network)}
    for name, module in network.named_modules():
        kind = "residual block" if name in blocks else kind_of(module)
        if kind or name in acted or name in states:
            labels = ", ".join(acted.get(name, ())) or "none"
            notes = ["reads the images"] if reads_images(network, name, module) else []
            notes += [*why_not(network, name, module), *states.get(name, ())]
            yield plain(name) or WHOLE, kind or type(module).__name__, labels, ", ".join(notes)


def _parameter_row(route: Route) -> Row:
    shape = "x".join(map(str, route.parameter.shape)) or "scalar"
    return route.name, shape, route.group, route.reason


def _table(columns: Row, rows: Iterable[Row], title: str) -> Any:
    shown = table(*columns, title=title)
    grouped: dict[Row, list[str]] = {}
    for name, *cells in rows:
        grouped.setdefault((re.sub(r"\d+", "#", name), *cells), []).append(name)
    for (_, *cells), names in grouped.items():
        shown.add_row(breakable(_joined(names)), *cells)
    return shown


def _joined(names: Sequence[str]) -> str:
    """Return names that differ in numbers alone as one, as in `layers.0-5.linear (6)`."""
    if len(names) == 1:
        return names[0]
    places = zip(*(map(int, re.findall(r"\d+", name)) for name in names), strict=True)
    texts = iter([_ranges(sorted(set(numbers))) for numbers in places])
    return re.sub(r"\d+", lambda _: next(texts), names[0]) + f" ({len(names)})"


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as in `0-3,5`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)
