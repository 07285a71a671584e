"""Where in a protocol's network regularizers may act: what a network of the user's own is looked at for.

Separate from the sites themselves, which regularizers follow; here they are named.
"""

import functools
from collections.abc import Callable

from torch import nn

from pipeline import models
from pipeline.data import sources as data
from pipeline.models import _residuals as residuals
from pipeline.models import _sites as sites
from pipeline.models.imported import require_fit
from pipeline.planning.protocols import Protocol
from pipeline.terminal.tables import show, table

FOUND: dict[str, Callable[[nn.Module], list[str]]] = {
    "linear layers": lambda network: [name for name, _ in sites.linear_layers(network)],
    "of these with hidden inputs": lambda network: [
        name for name, _ in sites.hidden_layers(network)
    ],
    "convolutions above 1x1": lambda network: [name for name, _ in sites.convolutions(network)],
    "max-pooling layers": lambda network: [name for name, _ in sites.pooling_layers(network)],
    "residual blocks": lambda network: [block.name for block in residuals.residual_blocks(network)],
}


def show_sites(protocol: Protocol) -> None:
    """A row for each kind of site with the modules found. Raises Refusal where the network cannot be made or is too deep."""
    kind = data.describe(protocol.data.dataset, protocol.source)
    make = functools.partial(models.build, shape=kind.shape, classes=kind.classes)
    network = make(protocol.model).network
    require_fit(network, protocol.model, kind.shape, make)
    weights = sum(parameter.numel() for parameter in network.parameters())
    title = f"{protocol.name}: {protocol.model.get('import', protocol.model['name'])}, {weights:,} parameters"
    drawn = table("sites", "found", "modules", title=title)
    for name, found in FOUND.items():
        modules = found(network)
        drawn.add_row(name, str(len(modules)), ", ".join(modules))
    show(drawn)
    if left := residuals.passed_over(network):
        print(
            f"{left} modules or sums could not be told for residual blocks or not: stochastic depth leaves them alone"
        )
