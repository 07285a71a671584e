"""One job on one worker: what it gave, or how it failed.

Separate because every executor does it the same way. Jobs and outcomes are plain values.
"""

import json
import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from pipeline.execution.stage import environment_line
from pipeline.runtime.errors import Refusal

Job = Mapping[str, Any]
Outcome = dict[str, Any]
Perform = Callable[[Job], Outcome]
PACKAGE = f"{os.sep}pipeline{os.sep}"  # an error is best told by our own line that led to it


def attempt(perform: Perform, job: Job) -> Outcome:
    """What `perform` gives for the job, or how it failed; never raises.

    State `refused` is everybody's: bad input, a full or read-only disk; the reason has a line for each error.
    """
    try:
        outcome = perform(job)
        json.dumps(outcome)  # what cannot be told is a failure too
        return outcome
    except Refusal as refusal:  # bad input: it is everybody's
        return {"state": "refused", "reason": "\n".join(refusal.lines)}
    except OSError as error:
        line = environment_line(error)
        return {"state": "refused", "reason": line} if line else _failure(error)
    except (Exception, KeyboardInterrupt) as error:  # whatever a run raises, the others go on
        return _failure(error)


def _failure(error: BaseException) -> Outcome:
    frames = list(traceback.extract_tb(error.__traceback__))
    frames = frames[1:] or frames  # the first is the call above
    last = next((frame for frame in reversed(frames) if PACKAGE in frame.filename), frames[-1])
    place = f"{os.path.basename(last.filename)}, line {last.lineno}"
    reason = f"{type(error).__name__}: {' '.join(str(error).split())} ({place})"
    return {"state": "failed", "reason": reason, "traceback": traceback.format_exc()}
