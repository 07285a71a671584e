"""A run's identity and the fingerprint that names it.

Separate because it decides what is trained again: the fingerprint covers the resolved settings, the
streams, the data, the code the run uses and the versions of the libraries that compute it, and nothing
else. Comments and docstrings do not count.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.errors import Refusal
from pipeline.config.schema import Settings
from pipeline.config.streams import Streams

PACKAGE = Path(__file__).resolve().parent.parent
SHARED_CODE = (
    "config/rules.py",
    "config/streams.py",
    "data/arrays.py",
    "data/splits.py",
    "data/loader.py",
    "models/__init__.py",
    "models/initialization.py",
    "models/sites.py",
    "regularizers/__init__.py",
    "regularizers/base.py",
    "prediction/members.py",
    "prediction/network.py",
    "prediction/prefix.py",
    "models/standardized.py",
    "training/*.py",
)
LIBRARIES = ("torch", "numpy", "pytorch-lightning", "kornia", "scikit-learn")
OWN = ("pipeline.models.", "pipeline.regularizers.")  # where a regularizer may import its code from
ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")  # what marks a folder of installed packages
LENGTH = 20  # hexadecimal digits; 80 bits


class RunConfig(Settings):
    """Everything that decides one training: protocol values, regularizers with concrete strengths, streams."""

    data: dict[str, Any]
    model: dict[str, Any]
    training: dict[str, Any]
    regularizers: tuple[dict[str, Any], ...]
    streams: Streams


def identity(config: RunConfig, data_digest: str) -> dict[str, Any]:
    """The plain values whose hash is the fingerprint; stored beside the run as `run.json`."""
    return {
        **config.model_dump(mode="json"),
        "data_digest": data_digest,
        "code": _code(config.model["name"], *(item["name"] for item in config.regularizers))
        | imported_code(config.model.get("import", "").partition(":")[0]),
        "versions": versions(),
    }


def config_of(identity: Mapping[str, Any]) -> RunConfig:
    """The settings inside an identity. Raises pydantic's ValidationError where it is not one."""
    return RunConfig.model_validate_json(json.dumps({key: identity[key] for key in RunConfig.model_fields}))


def read_config(path: Path) -> RunConfig:
    """The settings of a stored run, from its `run.json`."""
    return config_of(json.loads(path.read_text(encoding="utf-8")))


def fingerprint(identity: dict[str, Any]) -> str:
    """The name of a run: equal for equal identities, on every machine."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:LENGTH]


@functools.cache
def versions() -> dict[str, str]:
    """The libraries that compute a run; a build suffix such as +cpu is dropped."""
    return {name: importlib.metadata.version(name).partition("+")[0] for name in LIBRARIES}


@functools.cache
def code_digest(path: Path) -> str:
    """The sha256 of a source file's meaning: comments, docstrings and layout do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def package_digest() -> str:
    """The sha256 of every source file of this package, byte for byte."""
    sums = {name: hashlib.sha256((PACKAGE / name).read_bytes()).hexdigest() for name in _files("**/*.py")}
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()


def given_digests() -> dict[str, str]:
    """What a stage follows besides its data, here and now -> a digest of it."""
    settings = [Path("params.yaml"), *sorted(Path("experiments").rglob("*.yaml"))]
    found = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in settings if path.is_file()}
    return found | {"the code of pipeline": package_digest()}


@functools.cache
def _code(model: str, *regularizers: str) -> dict[str, str]:
    """File -> digest of the code a run uses."""
    return {name: code_digest(PACKAGE / name) for name in _files_of(model, regularizers)}


@functools.cache
def imported_code(module: str) -> dict[str, str]:
    """Name -> digest of a module of the user's own and of what it imports; empty for no name. Raises Refusal.

    Followed are imports from its own package, from the current folder and from this package.
    """
    found: dict[str, str] = {}
    queue = [module] * bool(module)
    while queue:
        name = queue.pop()
        path = _source_of(name)
        if path and name not in found and (_top(name) in (_top(module), PACKAGE.name) or _is_of_this_folder(path)):
            found[name] = code_digest(path)
            queue += _run_with(name, path)
    if module and not found:
        raise Refusal(f"model.import: {module} is not found; needed is a module of Python source, in this folder or installed")
    return found


def _top(module: str) -> str:
    return module.partition(".")[0]


def _source_of(module: str) -> Path | None:
    """The file of a module, found without running any; None where there is none of Python source."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if not spec:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.origin.endswith(".py") else None
    folders = [PACKAGE] if top == PACKAGE.name else [Path(folder) for folder in spec.submodule_search_locations or ()]
    bare = [folder.joinpath(*rest) for folder in folders]
    files = [file for path in bare for file in (path / "__init__.py", path.with_name(f"{path.name}.py"))]
    return next((file for file in files if file.is_file()), None)


def _is_of_this_folder(path: Path) -> bool:
    """Whether a file lies under the current folder, and is not of an environment or of packages installed there."""
    folders = [folder for folder in path.parents if folder != Path.cwd() and folder.is_relative_to(Path.cwd())]
    installed = any(folder.name in ("site-packages", "dist-packages") for folder in folders)
    marked = any((folder / mark).exists() for folder in folders for mark in ENVIRONMENTS)
    return path.is_relative_to(Path.cwd()) and not installed and not marked


def _run_with(module: str, path: Path) -> list[str]:
    """What else a module runs: its package and what it imports; of this package, what is named for a regularizer too."""
    if _top(module) == PACKAGE.name:
        return [other for other in _imports(path, module) if other.startswith(OWN)]
    return [module.rpartition(".")[0], *_imports(path, module)]


def _imports(path: Path, module: str) -> Iterator[str]:
    """What a source file may import, `package.module` and `package.module.name` alike."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            with contextlib.suppress(ImportError):  # leads out of the package
                start = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                yield start
                yield from (f"{start}.{alias.name}" for alias in node.names)


def _files_of(model: str, regularizers: Sequence[str]) -> Iterator[str]:
    """The shared files, those of the model and the regularizers, and what those import."""
    for pattern in (*SHARED_CODE, f"models/{model}.py"):
        yield from _files(pattern)
    for name in (f"regularizers/{regularizer}.py" for regularizer in regularizers):
        yield name
        yield from _used(PACKAGE / name)


@functools.cache
def _used(path: Path) -> tuple[str, ...]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return tuple(f"{module.partition('.')[2].replace('.', '/')}.py" for module in modules if module.startswith(OWN))


@functools.cache
def _files(pattern: str) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob(pattern)))
