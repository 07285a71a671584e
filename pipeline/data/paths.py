"""Paths as users write them, and names as a terminal may show them.

Separate because every source that reads files needs both, whatever is in the files.
"""

import os
from pathlib import Path


def meant(path: str) -> Path:
    """What a path in the settings means: ~ is the home folder."""
    return Path(os.path.expanduser(path))  # pathlib's raises where there is no such user


def printable(text: str) -> str:
    """The text with what a terminal would act upon, or cannot show, escaped: the name of a file may hold anything."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
