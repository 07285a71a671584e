"""Train a run on one device in this process, or on several in a process each.

Lightning starts such processes by running the calling program again, which must therefore be only
the run and not a stage: `python -m pipeline.execution.devices`.
"""

import json
import os
import signal
import subprocess
import sys

import torch

from pipeline.config.parameters import PARAMETERS
from pipeline.execution.jobs import Job, Outcome, run_guarded
from pipeline.runtime.behaviour import PACKAGE
from pipeline.runtime.errors import Refusal
from pipeline.runtime.signals import end_with_parent
from pipeline.runtime.surroundings import JOB
from pipeline.training.job import run_training

SYNCHRONIZED = (  # in torch's errors on a CPU: of the layer, and before it of what distributes it
    "SyncBatchNorm expected input tensor to be on",
    "SyncBatchNorm layers only work with GPU modules",
)
OUTCOME = "outcome: "  # begins the line of the output that has the outcome


def train_on_devices(job: Job) -> Outcome:
    """Train a run on the number of devices in `job["hardware"]`.

    Args:
        job: The run: its identity, folders and hardware, as the scheduler makes it.

    Returns:
        The outcome: the state of the run, and the reason if it failed.

    Raises:
        Refusal: The run's precision is not available here.
    """
    _require_precision(job)
    if job["hardware"]["devices"] == 1:
        return dict(run_training(job))
    return _train_in_subprocess(job)


def _require_precision(job: Job) -> None:
    precision = job["identity"]["training"].get("precision")
    gpu = job["hardware"]["accelerator"] != "cpu" and torch.cuda.is_available()
    if precision == "16-mixed" and not gpu:
        raise Refusal(
            f'{PARAMETERS} or the protocol: training.precision: invalid value "16-mixed" without '
            "a GPU; expected 32-true or bf16-mixed"
        )


def _train_in_subprocess(job: Job) -> Outcome:
    code = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": code, JOB: json.dumps(job)}
    command = [sys.executable, "-m", "pipeline.execution.devices"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in ended.stdout.splitlines() if line.startswith(OUTCOME)]
    if any(error in ended.stderr + "".join(lines) for error in SYNCHRONIZED):
        raise Refusal(
            "model.import: has nn.SyncBatchNorm, which synchronizes GPUs alone; expected batch "
            f"norm of another kind, or in {PARAMETERS} execution.devices: 1"
        )
    if ended.returncode or not lines:
        errors = ended.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"on {job['hardware']['devices']} devices: {errors[-1]}")
    outcome: Outcome = json.loads(lines[-1].removeprefix(OUTCOME))
    if outcome["state"] == "refused":
        raise Refusal(*outcome["reason"].splitlines())
    return outcome


def main() -> None:
    """Train a run as one of its processes; the first process prints the outcome."""
    end_with_parent(signal.SIGKILL)  # training replaces the handler of SIGTERM
    outcome = run_guarded(run_training, json.loads(os.environ[JOB]))
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{OUTCOME}{json.dumps(outcome)}")
    elif outcome["state"] == "failed":
        sys.exit(1)  # so that Lightning ends the other processes


if __name__ == "__main__":
    main()
