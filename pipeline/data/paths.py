"""Resolve paths as users write them, and escape names for a terminal."""

import os
from pathlib import Path

from pipeline.runtime.errors import Refusal
from pipeline.runtime.project import in_original


def data_path(path: str) -> Path:
    """Return a path of the settings: a leading ~ is the home folder.

    In a copy that DVC makes of a project, a relative path to a file that git does not track leads
    into the project.
    """
    written = Path(os.path.expanduser(path))  # Path.expanduser raises for an unknown user
    return written if written.exists() else in_original(written)


def path_in_settings(path: Path) -> str:
    """Return a path as a protocol names it: relative inside the project, otherwise absolute.

    Raises:
        Refusal: The name is not valid Unicode, so a settings file cannot hold it.
    """
    project = Path.cwd().resolve()
    resolved = Path(os.path.abspath(path))
    inside = resolved.is_relative_to(project)
    written = str(resolved.relative_to(project)) if inside else str(resolved)
    try:
        written.encode()
    except UnicodeEncodeError:
        raise Refusal(
            f"{printable(ascii(written))}: the name is not valid Unicode; expected another name"
        ) from None
    return written


def cache_folder() -> Path:
    """Return the folder of files that are downloaded or decoded once, outside DVC's outputs."""
    return in_original(Path(".data"))


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path, with its links followed, lies in the folder."""
    return path.resolve().is_relative_to(folder.resolve())


def printable(text: str) -> str:
    """Return the text with every character escaped that a terminal cannot show or would act on."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
