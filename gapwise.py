"""The script `gapwise`: the command line of the project around the current folder.

A module of its own, so that another module named `pipeline` cannot take its place.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    """Run the command line with the code of the project, else with that beside this file."""
    sys.path.insert(0, _project() or HERE)
    from pipeline.__main__ import main as command_line

    command_line()


def _project() -> str:
    """Return the nearest folder with the code of a project at or above the current one, or ""."""
    folder = os.getcwd()
    while not os.path.isfile(os.path.join(folder, "pipeline", "__main__.py")):
        if folder == os.path.dirname(folder):
            return ""
        folder = os.path.dirname(folder)
    return folder
