"""DVC as a process that Control-C ends without a traceback, wherever it is: `python -m pipeline.execution.reproduction`.

Separate because `python -m dvc` shows one while it is still importing its own modules.
"""

import sys

from dvc.cli import main

from pipeline.execution.stage import interruptible

if __name__ == "__main__":
    with interruptible():
        code = main(sys.argv[1:])
    sys.exit(code)
