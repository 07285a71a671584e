"""Find the classes of settings in a folder: each file defines one, which has the file's name.

Files whose name begins with an underscore are shared.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TypeVar

from pipeline.config.settings import Settings
from pipeline.runtime.errors import Refusal

Kind = TypeVar("Kind", bound=Settings)


def file_names(path: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the files in a package, in order, without the shared ones.

    Args:
        path: The `__path__` of the package.
    """
    names = (module.name for module in pkgutil.iter_modules(path))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def class_of(package: str, name: str, base: type[Kind]) -> type[Kind]:
    """Return the one subclass of `base` that a file defines.

    Args:
        package: The name of the package, such as pipeline.regularizers.
        name: The name of the file.
        base: The class of settings.

    Raises:
        Refusal: The file has no such class, several, or one of another name.
    """
    file = f"{package.replace('.', '/')}/{name}.py"
    module = importlib.import_module(f"{package}.{name}")
    classes = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, base) and item.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise Refusal(f"{file}: {len(classes)} subclasses of {base.__name__}; expected one")
    if getattr(classes[0], "name", None) != name:
        raise Refusal(
            f"{file}: {classes[0].__name__}.name: invalid value "
            f"{getattr(classes[0], 'name', None)!r}; expected {name!r}, the name of the file"
        )
    return classes[0]
