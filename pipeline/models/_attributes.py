"""Read the plain attributes of a user's network, whose values are neither trained nor stored."""

import functools
import hashlib
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pipeline.models._reads import may_be_read
from pipeline.runtime import behaviour
from pipeline.runtime.errors import Refusal

REGISTERED = ("training", "_parameters", "_buffers", "_modules")
NUMBERS = (bool, int, float, complex, str, np.generic)
FOUND = (nn.Module, Tensor, np.ndarray, *NUMBERS)
SEQUENCES = (list, tuple, set, frozenset, deque)

Named = tuple[str, Any]  # of an attribute, and what it holds


def unregistered(network: nn.Module) -> str | None:
    """Return the name of a plain attribute that holds layers or weights, None if none does.

    It may hold them in lists, dicts, functions and other objects.
    """
    registered = {id(part) for part in (*network.modules(), *network.parameters())}
    for name, value in _walk(_attributes(network)):
        parts = [value] if isinstance(value, nn.Module) else _trained(value)
        if any(id(part) not in registered for part in parts):
            return attribute_of(name)
    return None


def _trained(value: Any) -> list[Any]:
    """Return the parameters that a value is or was computed from."""
    if isinstance(value, nn.Parameter):
        return [value]
    if not isinstance(value, Tensor) or not value.requires_grad:
        return []
    if value.grad_fn is None:
        return [value]
    left, seen, leaves = [value.grad_fn], set(), []
    while left:
        node = left.pop()
        if node not in seen:
            seen.add(node)
            left += [following for following, _ in node.next_functions if following is not None]
            if hasattr(node, "variable"):  # a leaf of the graph
                leaves.append(node.variable)
    return leaves


def trained_parameters(value: Tensor) -> list[nn.Parameter]:
    """Return the parameters that a tensor was computed from."""
    return [part for part in _trained(value) if isinstance(part, nn.Parameter)]


def attribute_of(name: str) -> str:
    """Return the attribute in which a value lies, as `blocks` for `blocks[0]`."""
    return name.partition("[")[0]


def is_read_back(network: nn.Module, name: str) -> bool:
    """Return whether an attribute of a module or class may act on a later pass, by the sources.

    It is True for any other name, and if a source is not found.
    """
    owner, _, attribute = name.rpartition(".")
    classes = _classes(network)
    modules = {module for module, _ in network.named_modules()}
    if owner not in modules | {kind.__name__ for kind in classes} or attribute.endswith("_hooks"):
        return True
    try:
        sources = dict[Path, str]()
        for kind in classes:
            sources |= behaviour.texts(kind.__module__)
        return may_be_read(attribute, list(sources.values()))
    except (Refusal, OSError, SyntaxError, UnicodeDecodeError):
        return True


def contents(network: nn.Module) -> dict[str, Any]:
    """Return keys that are equal for equal numbers and tensors, by the name of the attribute.

    Attributes are of the network's modules, of their classes and of the files that define these
    classes. Buffers that are not persistent are included.
    """
    attributes = _walk((*_attributes(network), *_globals(network), *_buffers(network)))
    return {name: _content(value) for name, value in attributes if not isinstance(value, nn.Module)}


def _attributes(network: nn.Module) -> Iterator[Named]:
    """Yield the plain attributes of all modules and of their classes."""
    for name, module in network.named_modules():
        for attribute, value in vars(module).items():
            if attribute not in REGISTERED:
                is_hooks = attribute.endswith("_hooks") and isinstance(value, dict)
                held = list(value.values()) if is_hooks else value
                yield f"{name}.{attribute}".removeprefix("."), held
    for kind in _classes(network):
        for attribute, value in vars(kind).items():
            if not attribute.startswith("__"):
                yield f"{kind.__name__}.{attribute}", value


def _classes(network: nn.Module) -> list[type]:
    """Return the classes of all modules, except for classes of torch."""
    kinds = [kind for module in network.modules() for kind in type(module).__mro__]
    defined = (
        kind for kind in kinds if kind.__module__.partition(".")[0] not in ("torch", "builtins")
    )
    return list(dict.fromkeys(defined))


def _globals(network: nn.Module) -> Iterator[Named]:
    """Yield the numbers, tensors, lists and dicts of the files that define the classes."""
    for file in dict.fromkeys(kind.__module__ for kind in _classes(network)):
        for name, value in vars(sys.modules.get(file, object)).items():
            if isinstance(value, (*FOUND, list, dict)) and not name.startswith("__"):
                yield f"{file}.{name}", value


def _buffers(network: nn.Module) -> Iterator[Named]:
    """Yield the buffers that are not persistent."""
    for name, module in network.named_modules():
        for buffer in module._non_persistent_buffers_set:
            yield f"{name}.{buffer}".removeprefix("."), module._buffers[buffer]


def _walk(roots: Iterable[Named]) -> Iterator[Named]:
    """Yield the modules, tensors, arrays and numbers in these attributes; modules as a whole."""
    left = list(roots)
    seen: dict[int, Any] = {}  # keeps the objects alive, so that no id is reused
    while left:
        name, value = left.pop()
        if isinstance(value, FOUND) and not _is_of_objects(value):
            yield name, value
        elif id(value) not in seen:
            seen[id(value)] = value
            left += [(f"{name}[{key}]", part) for key, part in _parts(value)]


def _is_of_objects(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.hasobject


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return (key, part) for each part of an object."""
    if isinstance(value, type | ModuleType):
        return ()
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, SEQUENCES):
        return enumerate(value)
    if _is_of_objects(value):
        return enumerate(value.flat)
    if isinstance(value, functools.partial):
        return enumerate((value.func, value.args, value.keywords))
    if isinstance(value, MethodType):
        return enumerate((value.__self__, value.__func__))
    if isinstance(value, FunctionType):
        return enumerate((value.__defaults__, *_enclosed(value)))
    slots = [slot for kind in type(value).__mro__ for slot in vars(kind).get("__slots__", ())]
    held = {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    return [*held.items(), *getattr(value, "__dict__", {}).items()]


def _enclosed(function: FunctionType) -> list[Any]:
    """Return the values of outer functions that a function uses."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    return [cell.cell_contents for name, cell in cells.items() if name != "__class__"]


def _content(value: Any) -> Any:
    if is_lazy(value):
        return None
    if isinstance(value, Tensor):
        value = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        content = value.cpu().contiguous().flatten().view(torch.uint8).numpy()
        return value.dtype, value.shape, _digest(content)
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, _digest(value)
    return type(value), str(value)


def _digest(content: NDArray[Any]) -> bytes:
    return hashlib.blake2b(content.tobytes()).digest()
