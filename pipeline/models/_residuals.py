"""Find residual blocks of a network, and insert gates that may skip their branches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from torch import Tensor, fx, nn

from pipeline.models._additions import Addition, find_additions
from pipeline.models._sites import runs


class Gate(nn.Module):
    """Replaces shortcut + branch(*pieces) as gate(shortcut, *pieces), and may skip the branch.

    Attributes:
        branch: The function that may be skipped.
        survival: The chance that a draw computes it, in (0, 1].
    """

    branch: Callable[..., Tensor]
    survival: float


@dataclass(frozen=True)
class ResidualBlock:
    """A module whose forward adds branches to shortcuts, as traced in each mode."""

    name: str
    module: nn.Module
    additions: Mapping[bool, Sequence[Addition]]  # equally many in both modes

    @property
    def branches(self) -> int:
        """Return the number of branches: one in most networks, two in a transformer's block."""
        return len(self.additions[True])

    def insert(self, gates: Mapping[str, Gate]) -> None:
        """Insert gates under their names, one for each branch; other names and weights stay."""
        for number, (name, gate) in enumerate(gates.items()):
            self.module.add_module(name, gate)
            gate.branch = self._traced(lambda additions, number=number: _branch(additions[number]))
        self.module.forward = self._traced(lambda additions: _rest(additions, tuple(gates)))

    def _traced(self, graph: Callable[..., fx.Graph]) -> "Traced":
        module, additions = self.module, self.additions.items()
        return Traced(module, {mode: _compiled(module, graph(sums)) for mode, sums in additions})


@final
@dataclass(frozen=True, eq=False)
class Traced:
    """A traced function of a module in each mode: tracing turns `self.training` into a constant.

    Reaches every submodule and weight through the module itself, so a deep copy or a replaced
    submodule is followed.
    """

    owner: nn.Module
    functions: Mapping[bool, Callable[..., Tensor]]

    def __call__(self, *inputs: Any, **named: Any) -> Tensor:
        """Call the function of the mode that the module is in."""
        return self.functions[self.owner.training](self.owner, *inputs, **named)


def residual_blocks(network: nn.Module) -> list[ResidualBlock]:
    """Return the blocks, in order, whose forward adds two paths from its input.

    The path with more layers is the branch. If it holds further blocks, these count and it does
    not. Modules that cannot be traced are passed over.
    """
    blocks = [
        ResidualBlock(name, module, {mode: find_additions(module, mode) for mode in (True, False)})
        for name, module in network.named_modules()
        if runs(network, name)
    ]
    owners = {block.module for block in blocks if block.branches}
    innermost = [_innermost(block, owners) for block in blocks]
    return [
        block
        for block in innermost
        if block.branches and block.branches == len(block.additions[False])
    ]


def _innermost(block: ResidualBlock, owners: set[nn.Module]) -> ResidualBlock:
    """Return a block with only the additions whose branches hold no block."""

    def is_innermost(item: Addition) -> bool:
        return not any(owners & set(module.modules()) for module in item.modules(block.module))

    kept = {mode: list(filter(is_innermost, items)) for mode, items in block.additions.items()}
    return replace(block, additions=kept)


def _branch(addition: Addition) -> fx.Graph:
    """Return the graph pieces -> branch."""
    graph = fx.Graph()
    copies = {node: graph.placeholder(node.name) for node in addition.pieces}
    for node in addition.computed:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[addition.branch])
    return graph


def _rest(additions: Sequence[Addition], names: Sequence[str]) -> fx.Graph:
    """Return the whole forward, with a call of the gate of that name for every addition."""
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    gates = {
        addition.node: (name, addition) for name, addition in zip(names, additions, strict=True)
    }
    skipped = frozenset[fx.Node]().union(*(addition.exclusive for addition in additions))
    for node in (node for node in additions[0].node.graph.nodes if node not in skipped):
        if node in gates:
            name, addition = gates[node]
            copies[node] = graph.call_module(
                name, tuple(copies[read] for read in (addition.shortcut, *addition.pieces))
            )
        else:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    return graph


def _compiled(block: nn.Module, graph: fx.Graph) -> Callable[..., Tensor]:
    """Return a graph as a function whose first argument is the block."""
    function: Callable[..., Tensor] = type(fx.GraphModule(block, graph)).forward
    return function
