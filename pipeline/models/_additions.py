"""Find sums of two paths from the input of a module's forward, in its graph.

The forward is traced through torch.fx with submodules as leaves, so that any module which adds its
shortcut in its own forward (`out += identity`) is found.
"""

import copy
import itertools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from pipeline.models._randomness import global_states, restored_globals
from pipeline.models._tracing import BlockTracer

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
CALLS = (
    *(functional.linear, functional.conv1d, functional.conv2d, functional.conv3d),
    *(operator.matmul, torch.matmul, torch.bmm, torch.einsum, "matmul", "bmm"),
)
CONSTANT = "_tensor_constant"  # torch.fx keeps tensors that a forward makes under such names
SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


@dataclass(frozen=True)
class Addition:
    """One addition in a traced forward: its operands, and the nodes of the branch."""

    node: fx.Node
    shortcut: fx.Node
    branch: fx.Node
    exclusive: frozenset[fx.Node]  # only the branch needs them
    computed: tuple[fx.Node, ...]  # these, and constants that others need too
    pieces: tuple[fx.Node, ...]

    def layers(self, block: nn.Module) -> int:
        """Return the number of convolutions, linear layers and products in the branch."""
        parts = itertools.chain(*(module.modules() for module in self.modules(block)))
        layers = sum(isinstance(part, LAYERS) for part in parts)
        return layers + sum(node.target in CALLS for node in self.exclusive)

    def modules(self, block: nn.Module) -> list[nn.Module]:
        """Return the modules that the branch calls."""
        calls = (node for node in self.exclusive if node.op == "call_module")
        return [block.get_submodule(str(node.target)) for node in calls]


def find_additions(module: nn.Module, training: bool) -> list[Addition]:
    """Return the sums of a shortcut and a branch in a module's own forward, outermost only."""
    graph = _graph(module, training)
    nodes = graph.nodes if graph else ()
    unused = [node for node in nodes if not node.users and node.op != "output"]
    sums = [_addition(node, module) for node in nodes]
    additions = [
        addition
        for addition in sums
        # operations in place would have to be moved with the branch
        if addition and addition.exclusive.isdisjoint(_inputs(unused))
    ]
    inner = frozenset[fx.Node]().union(*(addition.exclusive for addition in additions))
    return [addition for addition in additions if addition.node not in inner]


def _inputs(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    return set(itertools.chain(*(node.all_input_nodes for node in nodes)))


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


def untraced(network: nn.Module) -> dict[str, str]:
    """Return name -> why of the modules that cannot be traced."""
    composed = [(name, part) for name, part in network.named_modules() if _composed(part)]
    graphs = {name: _traced(module, True) for name, module in composed}
    return {name: graph for name, graph in graphs.items() if isinstance(graph, str)}


def _graph(module: nn.Module, training: bool) -> fx.Graph | None:
    """Return the graph of a module's forward with its submodules as leaves, or None."""
    graph = _traced(module, training) if _composed(module) else None
    return graph if isinstance(graph, fx.Graph) else None


def _traced(module: nn.Module, training: bool) -> fx.Graph | str:
    """Return the graph of a module's forward with its submodules as leaves, or why there is none.

    None if the forward draws, which would be a constant of the graph, changes a buffer, or switches
    gradients off, which a graph does not keep.
    """
    copied, states = copy.deepcopy(module), global_states()  # a forward may change its module
    copied.training = training
    try:
        with restored_globals(), torch.enable_grad():
            tracer = BlockTracer()
            graph = tracer.trace(copied)
            if _is_changed(module, copied) or any(map(_changes_buffer, graph.nodes)):
                return "its forward changes a buffer"
            if global_states() != states:
                return "its forward draws random numbers"
            if not tracer.keeps_gradients:
                return "its forward switches gradients off"
    except Exception as error:  # whatever a user's forward raises on meeting a symbol
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    constants = {name: value for name, value in vars(copied).items() if CONSTANT in name}
    vars(module).update(constants)
    return graph


def _is_changed(module: nn.Module, copied: nn.Module) -> bool:
    buffers = dict(copied.named_buffers(recurse=False))
    return any(
        not torch.equal(value, buffers[name]) for name, value in module.named_buffers(recurse=False)
    )


def _changes_buffer(node: fx.Node) -> bool:
    """Return whether a node is a method that changes a buffer or a parameter in place."""
    owner = node.args[0] if node.args else None
    in_place = node.op == "call_method" and str(node.target).endswith("_")
    return in_place and isinstance(owner, fx.Node) and owner.op == "get_attr"


def _composed(module: nn.Module) -> bool:
    """Return whether a module is a user's and has submodules."""
    return not type(module).__module__.startswith("torch.") and any(True for _ in module.children())


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
    nodes = node.graph.nodes
    (output,) = (each for each in nodes if each.op == "output")
    needed, elsewhere = _ancestors(branch), _ancestors(output, {node: [shortcut]})
    exclusive = frozenset(each for each in needed - elsewhere if each.op != "placeholder")
    of_branch = exclusive | (needed - derived)
    computed = tuple(each for each in nodes if each in of_branch)
    sources = itertools.chain(*(each.all_input_nodes for each in computed))
    pieces = dict.fromkeys(source for source in sources if source not in computed)
    return Addition(node, shortcut, branch, exclusive, computed, tuple(pieces))


def _ancestors(
    start: fx.Node, instead: Mapping[fx.Node, list[fx.Node]] | None = None
) -> set[fx.Node]:
    """Return a node and all its ancestors; `instead` replaces the inputs of single nodes."""
    ancestors: set[fx.Node] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in ancestors:
            ancestors.add(node)
            waiting += (instead or {}).get(node, node.all_input_nodes)
    return ancestors


def _derived(graph: fx.Graph) -> set[fx.Node]:
    """Return the inputs of a graph and all that depends on them."""
    derived: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or derived.intersection(node.all_input_nodes):
            derived.add(node)
    return derived
