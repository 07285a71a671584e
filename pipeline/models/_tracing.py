"""Trace forwards through torch.fx; checks of sizes in them hold, as they did on images."""

import ast
import inspect
import operator
import textwrap
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import fx, nn

READING = (
    *(getattr, torch._assert, operator.getitem, operator.eq, operator.ne),
    *(operator.lt, operator.le, operator.gt, operator.ge),
    *(operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.mod),
)
SIZES = ("size", "dim", "numel", "ndimension")
FX = Path(fx.__file__).parent


class CheckedTracer(fx.Tracer):
    """Traces a forward in which `assert` and `if ...: raise` check what is read.

    The graph does not hold the checks, nor other operations that only read and whose result is not
    used, as the sizes in `batch, channels, height, width = maps.shape`.
    """

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Return the truth value by which the calling check passes.

        Any other caller gets the error of `torch.fx`.
        """
        outcome = _outcome_of_check()
        return super().to_bool(obj) if outcome is None else outcome

    def trace(self, *args: Any, **kwargs: Any) -> fx.Graph:
        """Return the graph."""
        graph = super().trace(*args, **kwargs)
        for node in reversed(graph.nodes):
            if not node.users and _only_reads(node):
                graph.erase_node(node)
        return graph


class BlockTracer(CheckedTracer):
    """Traces one forward; buffers are read whenever the graph runs, as parameters are."""

    proxy_buffer_attributes = True
    keeps_gradients = True

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Note whether gradients are on where a node is made."""
        self.keeps_gradients &= torch.is_grad_enabled()
        return super().create_node(*args, **kwargs)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Return True: every submodule is."""
        return True


def _only_reads(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in SIZES
    return node.op == "call_function" and node.target in READING


def _outcome_of_check() -> bool | None:
    """Return the outcome of the test that the traced code makes now, None if it is not a check."""
    frame = inspect.currentframe()
    while frame is not None and _is_here(frame):
        frame = frame.f_back
    if frame is None:
        return None
    try:
        lines, first = inspect.getsourcelines(frame.f_code)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError):  # no file, or a lambda within a line
        return None
    line = frame.f_lineno - first + 1
    checks = [check for node in ast.walk(tree) if (check := _check(node))]
    for test, outcome in checks:
        if test.lineno <= line <= (test.end_lineno or test.lineno):
            return _of_operand(test, outcome)
    return None


def _is_here(frame: FrameType) -> bool:
    file = Path(frame.f_code.co_filename)
    return file == Path(__file__) or FX in file.parents


def _check(node: ast.AST) -> tuple[ast.expr, bool] | None:
    """Return the test of a check and the outcome by which it passes."""
    if isinstance(node, ast.Assert):
        return node.test, True
    if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise) and not node.orelse:
        return node.test, False
    return None


def _of_operand(test: ast.expr, outcome: bool) -> bool | None:
    """Return the truth value of the operands that gives a test its outcome; None if they differ."""
    while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, outcome = test.operand, not outcome
    has_not = any(isinstance(part, ast.Not | ast.NotIn | ast.IfExp) for part in ast.walk(test))
    return None if has_not else outcome
