"""Start and end a stage: one line per user error, and no process left after a kill."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from pipeline.execution.inputs import changed_inputs, input_digests
from pipeline.runtime.errors import Refusal
from pipeline.runtime.locks import exclusive_lock
from pipeline.runtime.notices import ignore_notices
from pipeline.runtime.project import enter_project
from pipeline.runtime.signals import TERMINATED, end_with_parent, interruptible
from pipeline.runtime.stage_times import add_stage_time

ARTIFACTS = Path("artifacts")
ALONE = "GAPWISE_ALONE"  # variable: suffix of the name of a report of some studies only
KEEP_GOING = "GAPWISE_KEEP_GOING"  # tells the stages of a run to report without failed runs
BAD_INPUT = 2
INTERRUPTED = 128 + signal.SIGINT


class Incomplete(Exception):
    """Part of a stage failed; the message names the part. Ends a command with exit code 1."""


def stage(work: Callable[[str], None], arguments: Sequence[str] | None = None) -> int:
    """Run one stage for the protocol named on the command line and return its exit code.

    0 done, 1 some runs failed, 2 bad input (one line per error), 130 and 143 interrupted.

    Args:
        work: The function of the stage, which takes the name of a protocol.
        arguments: The command line; None for that of the process.
    """
    protocols = list(sys.argv[1:] if arguments is None else arguments)
    verb = (
        work.__module__.rpartition(".")[2]
        if work.__module__ != "__main__"
        else os.path.basename(sys.argv[0])[:-3]
    )
    if len(protocols) != 1 or protocols[0].startswith("-"):
        return _refuse([f"usage: python -m pipeline.{verb} PROTOCOL"])
    end_with_parent()
    enter_project()
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return report_errors(lambda: _alone(work, protocols[0], verb))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _alone(work: Callable[[str], None], protocol: str, verb: str) -> None:
    """Run a stage unless another process runs it, since both would write the same output."""
    with exclusive_lock(stage_lock(protocol, verb)):
        before = input_digests()
        work(protocol)
        changed = changed_inputs(before)
        if changed:  # DVC would record the result under the present inputs
            raise Incomplete(
                f"{changed[0]} was changed during {verb}; finished runs are kept: run again"
            )
        add_stage_time(f"{verb}@{protocol}")


def stage_lock(protocol: str, verb: str) -> Path:
    """Return the lock file that a stage holds while it runs.

    Args:
        protocol: The name of the protocol.
        verb: The name of the stage, such as train.
    """
    return ARTIFACTS / f".{os.path.basename(protocol)}.{verb}.lock"


def report_errors(work: Callable[[], None]) -> int:
    """Run `work`, print errors that a user can cause as clear lines, and return an exit code.

    Args:
        work: The function to run.

    Returns:
        0 on success, 1 if a part failed, 2 for bad input, 130 if interrupted.
    """
    ignore_notices()
    try:
        with interruptible():
            work()
    except Refusal as refusal:
        return _refuse(refusal.lines)
    except Incomplete as incomplete:
        print(incomplete, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        line = environment_line(error)
        if line is None:
            raise
        return _refuse([line])
    return 0


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(TERMINATED)


def _refuse(lines: Sequence[str]) -> int:
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    return BAD_INPUT


def environment_line(error: OSError) -> str | None:
    """Return the remedy for an error of the disk; None for any other error.

    Args:
        error: The error that was raised.
    """
    place = "expected a writable folder (GAPWISE_STORE moves the run store)"
    remedies = {
        errno.ENOSPC: "the disk is full; free some space and run again: finished runs are kept",
        errno.EDQUOT: "the disk quota is used up; free some space: finished runs are kept",
        errno.ENOTDIR: f"a file is where a folder is needed; {place}",
        errno.EROFS: f"the file system is read-only; {place}",
        errno.EACCES: f"permission denied; {place}",
    }
    remedy = remedies.get(error.errno or 0)
    return f"{error.filename or 'write'}: {remedy}" if remedy else None
