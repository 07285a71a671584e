"""Be the process of DVC: Control-C ends it without a traceback, also during its imports.

It imports nothing else of this package, since every run waits for it.
"""

import sys

from pipeline.runtime.imports import without_collection
from pipeline.runtime.signals import interruptible

if __name__ == "__main__":
    with interruptible():
        with without_collection():
            from dvc.cli import main

        code = main(sys.argv[1:])
    sys.exit(code)
