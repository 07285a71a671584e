"""Residual branches, found by graph, and gates that decide whether they are computed.

The forward of every module is traced through torch.fx with its submodules as leaves, so that any
block which adds its shortcut in its own forward (`out += identity`) is found.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
CALLS = (functional.linear, functional.conv1d, functional.conv2d, functional.conv3d)
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


class Gate(nn.Module):
    """Replaces shortcut + branch(*pieces) as gate(shortcut, *pieces), and may skip the branch."""

    branch: Callable[..., Tensor]


@dataclass(frozen=True)
class Addition:
    """One addition in a traced forward: its operands, the branch's nodes and those it reads."""

    node: fx.Node
    shortcut: fx.Node
    branch: fx.Node
    own: frozenset[fx.Node]  # nothing but the branch needs them
    computed: tuple[fx.Node, ...]  # own, and constants that others need too
    pieces: tuple[fx.Node, ...]

    def layers(self, block: nn.Module) -> int:
        """Return the number of convolutions and linear layers in the branch."""
        modules = [
            part
            for module in self.modules(block)
            for part in module.modules()
            if isinstance(part, LAYERS)
        ]
        return len(modules) + sum(node.target in CALLS for node in self.own)

    def modules(self, block: nn.Module) -> list[nn.Module]:
        """Return the modules that the branch calls."""
        return [
            block.get_submodule(str(node.target)) for node in self.own if node.op == "call_module"
        ]


@dataclass(frozen=True)
class ResidualBlock:
    """A module whose forward adds branches to shortcuts, as traced in each mode."""

    name: str
    module: nn.Module
    additions: Mapping[bool, Sequence[Addition]]  # equally many in both modes

    @property
    def branches(self) -> int:
        """Their number: one in most networks, two in a transformer's block."""
        return len(self.additions[True])

    def insert(self, gates: Mapping[str, Gate]) -> None:
        """Insert gates under their names, one for each branch; other names and weights stay."""
        for number, (name, gate) in enumerate(gates.items()):
            self.module.add_module(name, gate)
            gate.branch = self._traced(lambda additions, number=number: _branch(additions[number]))
        self.module.forward = self._traced(lambda additions: _rest(additions, tuple(gates)))

    def _traced(self, graph: Callable[..., fx.Graph]) -> "Traced":
        return Traced(
            self.module,
            {mode: _compiled(self.module, graph(found)) for mode, found in self.additions.items()},
        )


@final
class Traced:
    """A traced function of a module in each mode: tracing turns `self.training` into a constant.

    Reaches every submodule and weight through the module itself, so a deep copy or a replaced
    submodule is followed.
    """

    def __init__(self, owner: nn.Module, functions: Mapping[bool, Callable[..., Tensor]]):
        self.owner = owner
        self.functions = dict(functions)

    def __call__(self, *inputs: Any, **named: Any) -> Tensor:
        """Call the function of the mode that the module is in."""
        return self.functions[self.owner.training](self.owner, *inputs, **named)


def residual_blocks(network: nn.Module) -> list[ResidualBlock]:
    """Return the blocks, in order, whose forward adds two paths from its input.

    The path with more layers is the branch. If it holds further blocks, these count and it does
    not. Modules that cannot be traced are passed over.
    """
    found = [
        ResidualBlock(name, module, _additions(module)) for name, module in network.named_modules()
    ]
    owners = {block.module for block in found if block.branches}
    innermost = [_innermost(block, owners) for block in found]
    return [
        block
        for block in innermost
        if block.branches and block.branches == len(block.additions[False])
    ]


def passed_over(network: nn.Module) -> int:
    """Return the number of modules that cannot be traced and of sums of paths with equal layers."""
    graphs = [(module, _graph(module, True)) for module in network.modules() if _composed(module)]
    equal = sum(
        _is_equal(_sides(node), module) for module, graph in graphs if graph for node in graph.nodes
    )
    return equal + sum(graph is None for _, graph in graphs)


def _is_equal(sides: Sequence[Addition], block: nn.Module) -> bool:
    numbers = {side.layers(block) for side in sides}
    return len(numbers) == 1 and numbers != {0}


def _innermost(block: ResidualBlock, owners: set[nn.Module]) -> ResidualBlock:
    """Return a block with only the additions whose branches hold no block."""

    def is_innermost(item: Addition) -> bool:
        return not any(owners & set(module.modules()) for module in item.modules(block.module))

    additions = {mode: list(filter(is_innermost, items)) for mode, items in block.additions.items()}
    return replace(block, additions=additions)


def _additions(module: nn.Module) -> dict[bool, list[Addition]]:
    """Return the residual additions in a module's own forward, outermost only, by mode."""
    return {mode: _outermost(module, _graph(module, mode)) for mode in (True, False)}


def _outermost(module: nn.Module, graph: fx.Graph | None) -> list[Addition]:
    found = [
        addition for node in (graph.nodes if graph else ()) if (addition := _addition(node, module))
    ]
    return [item for item in found if not any(item.node in other.own for other in found)]


def _graph(module: nn.Module, training: bool) -> fx.Graph | None:
    """Return the graph of a module's forward with its submodules as leaves, or None."""
    if not _composed(module):
        return None
    before = module.training
    module.training = training
    try:
        return _Tracer().trace(module)
    except Exception:  # whatever a user's forward raises on meeting a symbol: it cannot be traced
        return None
    finally:
        module.training = before


def _composed(module: nn.Module) -> bool:
    """Return whether a module is a user's and has submodules."""
    return not type(module).__module__.startswith("torch.") and any(True for _ in module.children())


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return True: every submodule is."""
        return True


def _addition(node: fx.Node, block: nn.Module) -> Addition | None:
    """Return a node as the sum of a shortcut and a branch, or None."""
    sides = sorted(_sides(node), key=lambda side: side.layers(block))
    return sides[1] if sides and sides[0].layers(block) < sides[1].layers(block) else None


def _sides(node: fx.Node) -> list[Addition]:
    """Return a sum of paths from the input with either operand as the branch; [] if it is none."""
    if (
        node.op not in ("call_function", "call_method")
        or node.target not in SUMS
        or len(node.all_input_nodes) != 2
    ):
        return []
    derived = _derived(node.graph)
    if node.kwargs or not set(node.args) <= derived:
        return []
    return [
        _side(node, shortcut, branch, derived) for shortcut, branch in (node.args, node.args[::-1])
    ]


def _side(node: fx.Node, shortcut: Any, branch: Any, derived: set[fx.Node]) -> Addition:
    """Return the addition with one operand as the branch."""
    (output,) = (found for found in node.graph.nodes if found.op == "output")
    needed, elsewhere = _ancestors(branch), _ancestors(output, {node: [shortcut]})
    own = frozenset(found for found in needed - elsewhere if found.op != "placeholder")
    computed = tuple(
        found for found in node.graph.nodes if found in own or found in needed - derived
    )
    pieces = dict.fromkeys(
        source for found in computed for source in found.all_input_nodes if source not in computed
    )
    return Addition(node, shortcut, branch, own, computed, tuple(pieces))


def _ancestors(
    start: fx.Node, instead: Mapping[fx.Node, list[fx.Node]] | None = None
) -> set[fx.Node]:
    """Return a node and all it depends on; `instead` replaces what single nodes depend on."""
    found: set[fx.Node] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += (instead or {}).get(node, node.all_input_nodes)
    return found


def _derived(graph: fx.Graph) -> set[fx.Node]:
    """Return the inputs of a graph and all that depends on them."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or found.intersection(node.all_input_nodes):
            found.add(node)
    return found


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
    skipped = frozenset[fx.Node]().union(*(addition.own for addition in additions))
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
