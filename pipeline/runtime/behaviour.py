"""A digest of what code does: files may move and messages may change, and the digest stays.

Imports, docstrings, comments, layout, type annotations and the texts inside `raise` do not count.
Which names a module takes from elsewhere does count, as far as it uses them:
another function behind the same name is another behaviour.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.errors import Refusal

PACKAGE = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")  # what marks a folder of installed packages


@dataclass(frozen=True)
class Source:
    """The behaviour of one source file.

    `code` is its normalized text; `imports` are pairs of a used name and where it comes from, as in
    ("weights", "pipeline.models._sites.weights").
    """

    code: str
    imports: tuple[tuple[str, str], ...]


@functools.cache
def code_digest(module: str) -> str:
    """Return the sha256 of the behaviour of a module and of everything it imports and uses.

    Imports from this package, the module's own package and the current folder are followed.

    Raises:
        Refusal: the module is not found.
    """
    lines = sorted(_line(name, path, module) for name, path in modules(module).items())
    return _sha256("\n".join(lines))


def modules(module: str) -> dict[str, Path]:
    """Return the name and file of a module and of everything it imports and uses, found by reading.

    Raises:
        Refusal: the module is not found.
    """
    found: dict[str, Path] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        path = _file_of(name)
        if path is None or name in found or not _is_followed(name, path, module):
            continue
        found[name] = path
        queue += _imported_modules(name, path)
    if not found:
        raise Refusal(
            f"model.import: {module} is not found; "
            "expected a module of Python source, in this folder or installed"
        )
    return found


def _imported_modules(module: str, path: Path) -> Iterator[str]:
    """Yield the names that may be modules a module runs, its own package among them."""
    if _top(module) != PACKAGE.name:  # of this package, an `__init__` counts where it is named
        yield module.rpartition(".")[0]
    for _, target in _source(path, module).imports:
        yield target
        yield target.rpartition(".")[0]


def _is_followed(name: str, path: Path, start: str) -> bool:
    if name == PACKAGE.name:
        return False
    return _top(name) in (_top(start), PACKAGE.name) or _is_of_this_folder(path)


def _line(module: str, path: Path, start: str) -> str:
    """Return the digest of one file with the origin of every name it uses."""
    source = _source(path, module)
    origins = sorted(f"{name}={_origin(target, start)}" for name, target in source.imports)
    return _sha256("\n".join([source.code, *origins]))


def _origin(target: str, start: str) -> str:
    """Return what an imported name is: its code where that is followed, else its name."""
    for module, _, attribute in ((target, "", ""), target.rpartition(".")):
        path = _file_of(module) if module else None
        if path and _is_followed(module, path, start):
            return f"{_sha256(_source(path, module).code)}.{attribute}"
    return target


@functools.cache
def _source(path: Path, module: str) -> Source:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = list(_imports(tree, path, module))
    code = ast.unparse(_Normalized().visit(tree))
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)} | {"*"}
    return Source(code, tuple(sorted({pair for pair in imports if pair[0] in used})))


def _imports(tree: ast.Module, path: Path, module: str) -> Iterator[tuple[str, str]]:
    """Yield (name as used, absolute name) of everything a file imports."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or _top(alias.name), alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            with contextlib.suppress(ImportError):  # leads out of the package
                start = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                yield from (
                    (alias.asname or alias.name, f"{start}.{alias.name}") for alias in node.names
                )


class _Normalized(ast.NodeTransformer):
    """Removes what does not count from a syntax tree."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Visit the children; put `pass` where nothing is left of a body."""
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_Import(self, node: ast.Import) -> None:
        """Remove an import; the names it binds are counted apart."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Remove an import; the names it binds are counted apart."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Remove the annotation of the result."""
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Remove the annotation of the result."""
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Remove the annotation of an argument."""
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Remove the annotation of a variable; that it is declared stays."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Blank every text of a message."""
        return _Blanked().visit(node)  # type: ignore[no-any-return]


class _Blanked(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Blank a text."""
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """Blank a text with values in it."""
        return ast.Constant("")


@functools.cache
def _file_of(module: str) -> Path | None:
    """Return the file of a module, found without running any; None where it is no Python source."""
    top, *rest = module.split(".")
    if top == PACKAGE.name:
        folders = [PACKAGE]
    else:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        if not spec:
            return None
        if not rest:
            return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    for folder in folders:
        path = folder.joinpath(*rest)
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return file
    return None


def _is_of_this_folder(path: Path) -> bool:
    """Whether a file lies under the current folder, outside environments and installed packages."""
    here = Path.cwd()
    if not path.is_relative_to(here):
        return False
    folders = [folder for folder in path.parents if folder != here and folder.is_relative_to(here)]
    return not any(
        folder.name in ("site-packages", "dist-packages")
        or any((folder / mark).exists() for mark in ENVIRONMENTS)
        for folder in folders
    )


def _top(module: str) -> str:
    return module.partition(".")[0]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
