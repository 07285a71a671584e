"""Find the folder of a project: from a folder inside it, and from the copies that DVC makes."""

import os
import sys
from pathlib import Path

MARKS = ("params.yaml", "experiments")  # in the folder of a project
DVC = ".dvc"
COPIES = (DVC, "tmp", "exps")  # `dvc exp run --temp` and the queue copy the project below these


def find_project(start: Path = Path()) -> Path:
    """Return the nearest folder of a project at or above `start`; `start` where there is none."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if all((folder / mark).exists() for mark in MARKS):
            return folder
    return start


def enter_project() -> None:
    """Make the folder around the current one that is a project current; import from it first."""
    project = str(find_project())
    os.chdir(project)
    if sys.path[0] != project:
        sys.path.insert(0, project)


def original(project: Path = Path()) -> Path:
    """Return the folder of which `project` is a temporary copy of DVC, else `project` itself."""
    project = project.resolve()
    for folder in project.parents:
        if folder.parts[-len(COPIES) :] == COPIES:
            top = _dvc_root(project, folder)
            return folder.parents[len(COPIES) - 1] / project.relative_to(top)
    return project


def in_original(path: Path) -> Path:
    """Return a path of a temporary copy as the original has it; elsewhere the path itself."""
    here = Path.cwd()
    project = original(here)
    return path if project == here else project / path


def _dvc_root(project: Path, copies: Path) -> Path:
    """Return the folder with DVC's own of a project in the folder of copies."""
    for folder in (project, *project.parents):
        if folder.is_relative_to(copies) and (folder / DVC).is_dir():
            return folder
    return project
