"""Gapwise: which regularizers close the train/validation gap, by how much, and at what cost."""

import os
import signal
import sys

if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # Control-C during the imports of `python -m` ends it without a traceback
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(
            signal.SIG_UNBLOCK, {signal.SIGINT}
        )  # held back until now where a run of ours started this
if (
    "DVC_STAGE" in os.environ
):  # before the slow imports of a stage, or a kill meanwhile would leave it training alone
    from pipeline.runtime.signals import end_with_parent

    end_with_parent()
