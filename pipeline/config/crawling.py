"""Find the classes of settings in a folder: each file defines one, which has the file's name."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pipeline.config.settings import Settings
from pipeline.runtime.errors import Refusal

Kind = TypeVar("Kind", bound=Settings)


@dataclass(frozen=True)
class Folder(Generic[Kind]):
    """A package whose files are choices; those whose name begins with an underscore are shared.

    Attributes:
        package: The name of the package, such as pipeline.regularizers.
        path: Its `__path__`.
        base: The class of which every file defines one subclass.
    """

    package: str
    path: Iterable[str]
    base: type[Kind]

    def names(self) -> tuple[str, ...]:
        """Return the names of all choices: the files of the folder, in order."""
        modules = (module.name for module in pkgutil.iter_modules(self.path))
        return tuple(sorted(name for name in modules if not name.startswith("_")))

    def settings(self) -> dict[str, type[Kind]]:
        """Return name -> the class that its file defines."""
        return {name: self._class_of(name) for name in self.names()}

    def parse(self, given: Mapping[str, Any]) -> Kind:
        """Return the settings of plain values: `name`, and values of its class."""
        values = {key: value for key, value in given.items() if key != "name"}
        return self._class_of(given["name"]).model_validate(values, strict=False)

    def _class_of(self, name: str) -> type[Kind]:
        """Return the one class of a file.

        Raises:
            Refusal: The file has no such class, several, or one of another name.
        """
        file = f"{self.package.replace('.', '/')}/{name}.py"
        module = importlib.import_module(f"{self.package}.{name}")
        classes = [
            item
            for item in vars(module).values()
            if isinstance(item, type)
            and issubclass(item, self.base)
            and item.__module__ == module.__name__
        ]
        if len(classes) != 1:
            base = self.base.__name__
            raise Refusal(f"{file}: {len(classes)} subclasses of {base}; expected one")
        if getattr(classes[0], "name", None) != name:
            raise Refusal(
                f"{file}: {classes[0].__name__}.name: invalid value "
                f"{getattr(classes[0], 'name', None)!r}; expected {name!r}, the name of the file"
            )
        return classes[0]
