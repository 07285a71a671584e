"""A run on one device in this process, or on several in processes of its own.

Separate because Lightning starts such processes by running the program again that asks for them: that must be the run
alone, not a stage. Several devices are for a network that outgrows one; many runs are shared out over them otherwise.
"""

import json
import os
import subprocess
import sys

from pipeline.config.fingerprint import PACKAGE
from pipeline.execution.attempts import Job, Outcome
from pipeline.execution.stage import end_with_parent
from pipeline.training import work

JOB = "GAPWISE_JOB"  # the environment reaches every process of a run


def perform(job: Job) -> Outcome:
    """As `work.perform`, on as many devices as `job["hardware"]` has."""
    return dict(work.perform(job)) if job["hardware"]["devices"] == 1 else _together(job)


def _together(job: Job) -> Outcome:
    code = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": code, JOB: json.dumps(job)}
    command = [sys.executable, "-m", "pipeline.execution.devices"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"on {job['hardware']['devices']} devices: {lines[-1]}")
    outcome: Outcome = json.loads(ended.stdout.splitlines()[-1])
    return outcome


def main() -> None:
    """One of the processes of a run; the first of them prints the outcome."""
    end_with_parent()
    outcome = work.perform(json.loads(os.environ[JOB]))
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(json.dumps(outcome))


if __name__ == "__main__":
    main()
