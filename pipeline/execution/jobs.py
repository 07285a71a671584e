"""Perform one job, whose input and outcome are plain values, on any executor."""

import json
import os
import pkgutil
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.execution.stage import environment_line
from pipeline.runtime.errors import Refusal
from pipeline.runtime.imports import without_collection
from pipeline.runtime.notices import ignore_notices

Job = Mapping[str, Any]
Outcome = dict[str, Any]
Perform = Callable[[Job], Outcome]
Entry = str  # module:function of a `Perform`; read only where there are jobs
PACKAGE = f"{os.sep}pipeline{os.sep}"


def load(entry: Entry) -> Perform:
    """Return the function that an entry names; its module is imported now.

    Args:
        entry: A function as "module:name".
    """
    with without_collection():
        perform: Perform = pkgutil.resolve_name(entry)
    return perform


def run_guarded(perform: Perform, job: Job) -> Outcome:
    """Return the outcome of a job, or how it failed; raise nothing.

    State `refused` stops all jobs: bad input, a full or read-only disk. Its reason has a line for
    each error.

    Args:
        perform: The function that does the job.
        job: The job, as plain values.

    Returns:
        The outcome, with at least `state`; `reason` if the state is failed or refused.
    """
    ignore_notices()
    try:
        outcome = perform(job)
        json.dumps(outcome)
        return outcome
    except Refusal as refusal:
        return {"state": "refused", "reason": "\n".join(refusal.lines)}
    except OSError as error:
        line = environment_line(error)
        return {"state": "refused", "reason": line} if line else _failure(error)
    except (Exception, KeyboardInterrupt) as error:
        return _failure(error)


def _failure(error: BaseException) -> Outcome:
    """Return the outcome of a job that raised; the reason names the last line of this package."""
    frames = list(traceback.extract_tb(error.__traceback__))
    frames = frames[1:] or frames  # the first is `run_guarded`
    last = next((frame for frame in reversed(frames) if PACKAGE in frame.filename), frames[-1])
    place = f"{os.path.basename(last.filename)}, line {last.lineno}"
    reason = f"{type(error).__name__}: {' '.join(str(error).split())} ({place})"
    return {"state": "failed", "reason": reason, "traceback": traceback.format_exc()}
