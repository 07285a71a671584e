"""Gapwise: which regularizers close the train/validation gap, by how much, and at what cost."""

import os
import sys

from pipeline.runtime.surroundings import (
    equal_hashes,
    equal_kernels,
    hidden_module,
    search_last,
    shut_out,
)

project = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
search_last(os.environ.get("PYTHONPATH", ""), project)
shut_out()
equal_kernels()
equal_hashes(restart=sys.argv[:1] == ["-m"])  # before the slow imports of `python -m`
import signal  # noqa: E402  a file in a folder of PYTHONPATH would have hidden it

if sys.path and os.path.abspath(sys.path[0]) == project and (hiding := hidden_module(project)):
    print(f"error: {hiding}: hides a module that is needed; rename it", file=sys.stderr)
    sys.exit(2)
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Control-C during the imports of `python -m` ends the process without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
if "DVC_STAGE" in os.environ:
    # before the slow imports of a stage, which otherwise trains on when DVC is killed meanwhile
    from pipeline.runtime.signals import end_with_parent

    end_with_parent()
