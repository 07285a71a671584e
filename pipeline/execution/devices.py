"""A run on one device in this process, or on several in processes of its own.

Separate because Lightning starts such processes by running the program again that asks for them: that must be the run
alone, not a stage. Several devices are for a network that outgrows one; many runs are shared out over them otherwise.
"""

import json
import os
import signal
import subprocess
import sys

import torch

from pipeline.execution.attempts import Job, Outcome, attempt
from pipeline.runtime.behaviour import PACKAGE
from pipeline.runtime.errors import Refusal
from pipeline.runtime.signals import end_with_parent
from pipeline.training import work

JOB = "GAPWISE_JOB"  # the environment reaches every process of a run
TOLD = "outcome: "  # begins the line that matters of what they print


def perform(job: Job) -> Outcome:
    """As `work.perform`, on as many devices as `job["hardware"]` has.

    Raises Refusal where its precision is not to be had here.
    """
    _require_precision(job)
    return dict(work.perform(job)) if job["hardware"]["devices"] == 1 else _together(job)


def _require_precision(job: Job) -> None:
    precision = job["identity"]["training"].get("precision")
    if precision == "16-mixed" and (
        job["hardware"]["accelerator"] == "cpu" or not torch.cuda.is_available()
    ):
        raise Refusal(
            f"training.precision: {json.dumps(precision)} needs a GPU; allowed here are 32-true and bf16-mixed"
        )


def _together(job: Job) -> Outcome:
    code = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": code, JOB: json.dumps(job)}
    command = [sys.executable, "-m", "pipeline.execution.devices"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    told = [line.removeprefix(TOLD) for line in ended.stdout.splitlines() if line.startswith(TOLD)]
    if ended.returncode or not told:
        lines = ended.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"on {job['hardware']['devices']} devices: {lines[-1]}")
    outcome: Outcome = json.loads(told[-1])
    if outcome["state"] == "refused":
        raise Refusal(*outcome["reason"].splitlines())
    return outcome


def main() -> None:
    """One of the processes of a run; the first of them prints the outcome."""
    end_with_parent(
        signal.SIGKILL
    )  # training puts a handler of its own in place of the one for SIGTERM
    outcome = attempt(work.perform, json.loads(os.environ[JOB]))
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{TOLD}{json.dumps(outcome)}")
    elif outcome["state"] == "failed":
        sys.exit(1)  # so that Lightning ends the others


if __name__ == "__main__":
    main()
