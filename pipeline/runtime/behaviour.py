"""Digest what code does: files may move and messages may change, and the digest stays.

Docstrings, comments, layout, the order of imports and the text of a raised error do not count, nor
does the module that checks values.
What an imported name stands for does count: another function behind it is another behaviour.
Code of this package is also read without type annotations and without imports it does not use;
code of the user may act on its annotations or by being imported, so it keeps both.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.util
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.errors import Refusal

PACKAGE = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")  # what marks a folder of installed packages
CHECKS = "pipeline.config.validation"  # words error messages; does not change accepted values


@dataclass(frozen=True)
class Source:
    """The behaviour of one source file.

    Attributes:
        code: Its normalized text.
        imports: Triples of a name, how many earlier imports bind that name, and its origin, as in
            ("weights", 0, "pipeline.models._sites.weights").
    """

    code: str
    imports: tuple[tuple[str, int, str], ...]


@functools.cache
def code_digest(module: str) -> str:
    """Return the sha256 of the behaviour of a module and of everything it imports and uses.

    Imports from this package, the module's own package and the current folder are followed.

    Raises:
        Refusal: The module is not found.
    """
    sources = {name: _source(path, name) for name, path in modules(module).items()}
    digests = {name: _sha256(source.code) for name, source in sources.items()}
    distinct = 0
    while len(set(digests.values())) > distinct:  # until the number of distinct digests stays
        distinct = len(set(digests.values()))
        digests = {name: _digest(source, digests) for name, source in sources.items()}
    return _sha256("\n".join([digests[module], *sorted(digests.values())]))


@functools.cache
def folder_digest(folder: str) -> str:
    """Return the sha256 of the behaviour of all files in a folder of this package.

    What they import from elsewhere counts by its name alone.
    """
    files = sorted((PACKAGE / folder).rglob("*.py"))
    sources = [_source(path, _module_of(path)) for path in files]
    texts = sorted(f"{source.code}\n{source.imports}" for source in sources)
    return _sha256("\n".join(texts))


def modules(module: str) -> dict[str, Path]:
    """Return the name and file of a module and of everything it imports and uses, found by reading.

    Raises:
        Refusal: The module is not found.
    """
    files: dict[str, Path] = {}
    queue = [module]
    while queue:
        name = queue.pop()
        path = _file_of(name)
        if path is None or name in files or not _is_followed(name, path, module):
            continue
        files[name] = path
        queue += _imported_modules(name, path)
    if not files:
        raise Refusal(
            f"model.import: unknown name {module!r}; "
            "expected a module of Python source, in this folder or installed"
        )
    return files


def texts(module: str) -> dict[Path, str]:
    """Return the texts of the files of a module and of what it imports, without this package.

    Raises:
        Refusal: The module is not found.
    """
    files = (path for path in modules(module).values() if not path.is_relative_to(PACKAGE))
    return {path: path.read_text("utf-8") for path in files}


def libraries(module: str) -> set[str]:
    """Return the top-level names of the installed packages that a module's code imports.

    The standard library does not count.

    Raises:
        Refusal: The module is not found.
    """
    names = {
        _top(target)
        for name, path in modules(module).items()
        for _, _, target in _source(path, name).imports
        if not _is_followed(_top(target), _file_of(_top(target)), module)
    }
    return names - sys.stdlib_module_names - {PACKAGE.name}


def require_visible(module: str) -> None:
    """Check that no installed package hides a module of this folder.

    A package with an `__init__.py` comes before a folder without one, wherever the two lie.

    Raises:
        Refusal: A package does.
    """
    top = _top(module)
    here, other = Path.cwd() / top, _file_of(top)
    hidden = here.is_dir() and not (here / "__init__.py").exists()
    if not hidden or other is None or top == PACKAGE.name or other.is_relative_to(Path.cwd()):
        return
    raise Refusal(f"model.import: {module}: {other} hides the folder {top}; add {top}/__init__.py")


def _imported_modules(module: str, path: Path) -> Iterator[str]:
    """Yield the names that may be modules a module runs, its own package among them."""
    if not _is_of_package(module):  # of this package, an `__init__` counts where it is named
        yield module.rpartition(".")[0]
    for _, _, target in _source(path, module).imports:
        yield target
        yield target.rpartition(".")[0]


def _is_of_package(module: str) -> bool:
    return _top(module) == PACKAGE.name


def _is_followed(name: str, path: Path | None, start: str) -> bool:
    if path is None or name in (PACKAGE.name, CHECKS):
        return False
    return _is_of_package(name) or _top(name) == _top(start) or _is_of_this_folder(path)


def _digest(source: Source, digests: dict[str, str]) -> str:
    """Return the digest of a file whose imports are known by these digests."""
    origins = [f"{name}.{number}={_origin(o, digests)}" for name, number, o in source.imports]
    return _sha256("\n".join([source.code, *origins]))


def _origin(target: str, digests: dict[str, str]) -> str:
    """Return what an imported name is: the digest of its file where there is one, else its name."""
    for module, _, attribute in ((target, "", ""), target.rpartition(".")):
        if module in digests:
            return f"{digests[module]}.{attribute}"
    return target


@functools.cache
def _source(path: Path, module: str) -> Source:
    is_package = path.name == "__init__.py"
    return _parsed(path.read_text(encoding="utf-8"), module, is_package)


@functools.cache
def _parsed(text: str, module: str, is_package: bool) -> Source:
    """Return the behaviour of the text of a module, which may be that of a package."""
    tree = ast.parse(text)
    bound: Counter[str] = Counter()
    imports = []
    for name, target in _imports(tree, module if is_package else module.rpartition(".")[0]):
        imports.append((name, bound[name], target))
        bound[name] += 1
    of_package = _is_of_package(module)
    code = ast.unparse(_Normalized(keeps_annotations=not of_package).visit(tree))
    if of_package and not is_package:  # an `__init__` imports for others
        read = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
        imports = [entry for entry in imports if entry[0] in {*read, "*"}]
    return Source(code, tuple(sorted(imports)))


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, str]]:
    """Yield (name as used, absolute name) of everything a file imports, in the order of lines."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        if isinstance(node, ast.Import):
            yield from ((_bound(alias, node), alias.name) for alias in node.names)
            continue
        with contextlib.suppress(ImportError):  # leads out of the package
            start = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from ((_bound(alias, node), f"{start}.{alias.name}") for alias in node.names)


def _bound(alias: ast.alias, node: ast.Import | ast.ImportFrom) -> str:
    """Return the name that an import makes."""
    name = alias.name if isinstance(node, ast.ImportFrom) else _top(alias.name)
    return alias.asname or name


class _Normalized(ast.NodeTransformer):
    """Removes what does not count from a syntax tree.

    Args:
        keeps_annotations: Whether type annotations count.
    """

    def __init__(self, keeps_annotations: bool) -> None:
        self.keeps_annotations = keeps_annotations

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """Remove the imports of the file as a whole."""
        imports = ast.Import | ast.ImportFrom
        node.body = [line for line in node.body if not isinstance(line, imports)]
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Visit the children; put `pass` where nothing is left of a body."""
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        """Keep the place and the names of an import inside a function or a condition."""
        return ast.Import([ast.alias(_bound(alias, node)) for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        """Keep the place and the names of an import inside a function or a condition."""
        return ast.Import([ast.alias(_bound(alias, node)) for alias in node.names])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Remove the annotation of the result."""
        if not self.keeps_annotations:
            node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Remove the annotation of the result."""
        if not self.keeps_annotations:
            node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Remove the annotation of an argument."""
        if not self.keeps_annotations:
            node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Remove the annotation of a variable; that it is declared stays."""
        if not self.keeps_annotations:
            node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Blank the texts that a raised error is made with, and nothing inside them."""
        if isinstance(node.exc, ast.Call):
            node.exc.args = [
                ast.Constant("") if _is_text(argument) else argument for argument in node.exc.args
            ]
        return self.generic_visit(node)


def _is_text(node: ast.expr) -> bool:
    is_string = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_string or isinstance(node, ast.JoinedStr)


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


def _module_of(path: Path) -> str:
    """Return the name of the module in a file of this package."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


def is_user_file(path: Path) -> bool:
    """Return whether a file is the user's: under the current folder, not installed there."""
    return not path.is_relative_to(PACKAGE) and _is_of_this_folder(path)


def _is_of_this_folder(path: Path) -> bool:
    """Return whether a file lies under the current folder, outside environments and packages."""
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
