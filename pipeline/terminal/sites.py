"""Print the output of `gapwise doctor --model`: where in a network regularizers may act."""

import functools
from collections.abc import Callable
from pathlib import Path

from torch import nn

from pipeline import models
from pipeline.config.parameters import read_parameters
from pipeline.config.validation import errors_in
from pipeline.data.description import describe
from pipeline.execution.stage import ARTIFACTS
from pipeline.models import _sites as sites
from pipeline.models._additions import passed_over
from pipeline.models._residuals import residual_blocks
from pipeline.models.imported import require_fit
from pipeline.planning.protocols import document_of
from pipeline.planning.resolution import resolved
from pipeline.terminal.tables import show, table

KINDS: dict[str, Callable[[nn.Module], list[str]]] = {
    "linear layers": lambda network: [name for name, _ in sites.linear_layers(network)],
    "of these with hidden inputs": lambda network: [
        name for name, _ in sites.hidden_layers(network)
    ],
    "convolutions above 1x1": lambda network: [name for name, _ in sites.convolutions(network)],
    "max-pooling layers": lambda network: [name for name, _ in sites.pooling_layers(network)],
    "residual blocks": lambda network: [block.name for block in residual_blocks(network)],
}


def show_sites(name: str) -> None:
    """Print a row for each kind of site with its modules.

    Raises:
        Refusal: The protocol is invalid, or its network cannot be built.
    """
    document, source = document_of(name, read_parameters(), Path())
    protocol = resolved(document, source)
    with errors_in(source):
        prepared = ARTIFACTS / name / "data"
        kind = describe(protocol.data.dataset, protocol.source, prepared)
        make = functools.partial(models.build, shape=kind.shape, classes=kind.classes)
        network = make(protocol.model)
        require_fit(network.network, protocol.model, kind.shape, make)
    weights = sum(parameter.numel() for parameter in network.parameters())
    model = protocol.model.get("import", protocol.model["name"])
    rows = table("sites", "number", "modules", title=f"{name}: {model}, {weights:,} parameters")
    for label, find in KINDS.items():
        modules = [name.removeprefix("network.") for name in find(network)]
        rows.add_row(label, str(len(modules)), ", ".join(modules))
    show(rows)
    if left := passed_over(network):
        print(
            f"{left} modules or sums may or may not be residual blocks: "
            "stochastic depth leaves them unchanged"
        )
