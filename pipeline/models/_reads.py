"""Find whether code may read an attribute back, other than to update it, from its source."""

import ast
from collections.abc import Iterator, Sequence

from torch import nn

MUTATORS = ("append", "appendleft", "extend", "insert", "add", "update", "clear", "pop")
PURE = ("abs", "bool", "float", "int", "len", "max", "min", "round", "sum")
LOGGERS = ("log", "logger", "logging", "warnings")
SHOWN = ("extra_repr", "__repr__", "__str__")  # these run for people only
CALLED = frozenset(dir(nn.Module)) - frozenset(SHOWN)  # by torch
BY_NAME = ("getattr", "vars", "eval", "exec", "globals", "locals")


def may_be_read(attribute: str, sources: Sequence[str]) -> bool:
    """Return whether the value of an attribute may affect anything except itself and printed text.

    All attributes of that name count, on every object. An update, such as `self.steps += 1` or
    `self.log.append(loss)`, is not a read. Functions that nothing calls are left out.

    Args:
        attribute: Its name.
        sources: The texts of all files whose code may run.
    """
    trees = [ast.parse(source) for source in sources]
    left = [part for tree in trees for part in _statements(tree.body)]
    names = {name for part in left for name in _names_in(part)}
    running = (part for part in left if not _is_unused(part, names))
    return any(_reads(part, attribute) for part in running)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a file and of its classes one by one, without its script."""
    for part in body:
        if isinstance(part, ast.ClassDef):
            yield from _statements(part.body)
        elif not (isinstance(part, ast.If) and "__name__" in ast.unparse(part.test)):
            yield part


def _names_in(part: ast.stmt) -> Iterator[str]:
    """Yield all names, attributes and texts in a statement, by which a function may be called."""
    for node in ast.walk(part):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
                yield name


def _is_unused(part: ast.stmt, names: set[str]) -> bool:
    if not isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) or part.decorator_list:
        return False
    if part.name.startswith("__") and part.name not in SHOWN:
        return False
    return part.name not in CALLED and part.name not in names


def _reads(part: ast.AST, attribute: str) -> bool:
    """Return whether a node reads the attribute for anything but itself."""
    if _only_shows(part):
        return False
    match part:
        case ast.Attribute(attr=name, ctx=ast.Load()) if name == attribute:
            return True
        case ast.Attribute(attr="__dict__"):
            return True
        case ast.Constant(value=value) if value == attribute:
            return True
        case ast.Call(func=ast.Name(id=name), args=[_, ast.Constant(), *_]) if name == "getattr":
            pass
        case ast.Call(func=ast.Name(id=name)) if name in BY_NAME:
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=owner, attr=name)) as call) if (
            name in MUTATORS and _is_held(owner, attribute)
        ):
            return any(_reads(given, attribute) for given in (*call.args, *call.keywords))
        case ast.AugAssign(target=target) if _is_held(target, attribute):
            return _reads_for_others(part.value, attribute)
        case ast.Assign(targets=[target]) if _is_held(target, attribute):
            return _reads_for_others(part.value, attribute)
    return any(_reads(inner, attribute) for inner in ast.iter_child_nodes(part))


def _is_held(target: ast.expr, attribute: str) -> bool:
    """Return whether a target is the attribute or a part of its value."""
    while not (isinstance(target, ast.Attribute) and target.attr == attribute):
        if not isinstance(target, ast.Attribute | ast.Subscript):
            return False
        target = target.value
    return True


def _reads_for_others(value: ast.expr, attribute: str) -> bool:
    """Return whether the new value of an attribute uses the old one for more than an update.

    Arithmetic and the functions of `PURE` are updates.
    """
    match value:
        case ast.Attribute(attr=name) if name == attribute:
            return False
        case ast.BinOp(left=left, right=right):
            return _reads_for_others(left, attribute) or _reads_for_others(right, attribute)
        case ast.UnaryOp(operand=operand):
            return _reads_for_others(operand, attribute)
        case ast.Call(func=ast.Name(id=name)) if name in PURE:
            return any(_reads_for_others(given, attribute) for given in value.args)
    return _reads(value, attribute)


def _only_shows(part: ast.AST) -> bool:
    """Return whether a statement only prints or logs, or does so if a condition holds."""
    match part:
        case ast.If(body=body, orelse=[]):
            return all(map(_only_shows, body)) and not _calls(part.test)
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"))):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in LOGGERS
    return False


def _calls(test: ast.expr) -> bool:
    return any(isinstance(part, ast.Call | ast.NamedExpr) for part in ast.walk(test))
