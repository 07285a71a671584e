"""Find pages and figures in their folders, so that there is no list to edit."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import ModuleType

from pipeline.runtime.errors import Refusal


def public_names(folder: Iterable[str]) -> list[str]:
    """Return the names of the modules in a package's `__path__` that do not begin with `_`."""
    names = (module.name for module in pkgutil.iter_modules(folder))
    return sorted(name for name in names if not name.startswith("_"))


def load_modules(
    package: str, names: Iterable[str], required: Mapping[str, type]
) -> list[ModuleType]:
    """Import modules of a package by name.

    Raises:
        Refusal: A module lacks a name that is required, or its value is not of the type.
    """
    modules = [importlib.import_module(f"{package}.{name}") for name in names]
    errors = []
    for module in modules:
        file = f"{module.__name__.replace('.', '/')}.py"
        for name, kind in required.items():
            if not hasattr(module, name):
                errors.append(f"{file}: {name}: missing; expected {kind.__name__}")
            elif not isinstance(value := getattr(module, name), kind):
                errors.append(f"{file}: {name}: invalid value {value!r}; expected {kind.__name__}")
    if errors:
        raise Refusal(*errors)
    return modules
