"""The script `gapwise`: the command line of the project around the current folder.

It is installed as a separate module, so that another module named `pipeline` cannot take its
place.
"""

import os
import sys

CODE = os.path.join("pipeline", "__main__.py")


def main() -> None:
    """Run the command line with the code of the current project, or of the project of this file."""
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        current = os.getcwd()
    except FileNotFoundError:
        sys.exit("error: the current folder was deleted; run from the folder of a project")
    sys.path.insert(0, _project(current) or _project(here))
    from pipeline.__main__ import main as command_line

    command_line()


def _project(folder: str) -> str:
    """Return the nearest folder at or above `folder` with the code of a project; "" for none."""
    while not os.path.isfile(os.path.join(folder, CODE)):
        if folder == os.path.dirname(folder):
            return ""
        folder = os.path.dirname(folder)
    return folder
