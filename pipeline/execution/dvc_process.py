"""Run DVC in a process that Control-C ends without a traceback, even during imports.

It imports nothing else of this package, since every run waits for it.
"""

import logging
import sys
from functools import partial

from pipeline.runtime.imports import without_collection
from pipeline.runtime.signals import interruptible

OMITTED = {  # loggers of DVC -> beginnings of messages that are of no use to a user
    "dvc_data.index.checkout": ("No file hash info found",),  # of outputs that the run will make
    "dvc_data.hashfile.checkout": ("No file hash info found",),
    "dvc.dvcfile": ("Generating lock file", "Updating lock file"),
}


def quiet() -> None:
    """Suppress messages of DVC that do not help a user."""
    for name, starts in OMITTED.items():
        logging.getLogger(name).addFilter(partial(_is_useful, starts))


def _is_useful(starts: tuple[str, ...], record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(starts)


if __name__ == "__main__":
    quiet()
    with interruptible():
        with without_collection():
            from dvc.cli import main

        code = main(sys.argv[1:])
    sys.exit(code)
