"""Live curves in W&B while a run trains, through Lightning's `WandbLogger`.

Separate from the mirror because it lives in the process that trains, and alone imports Lightning here. What it streams is
provisional: the mirror tells the whole finished run once more, under the same id and in its place.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from pipeline.config.parameters import Tracking
from pipeline.config.plan import Plan
from pipeline.tracking.mirror import (
    Late,
    arguments,
    deadline,
    described,
    folder_of,
    mark,
    mode_of,
    no_stacks,
)
from pipeline.tracking.payloads import Payload, Recorded, run_payloads

MAKE = f"{__name__}:Live"
PATIENCE = 10.0  # seconds that the training waits for W&B
LEAST, SHARE = 5.0, 0.2  # of a run: seconds, and the part of its time, that may go into waiting
BEGUN = {"state": "running"}


def loggers(
    tracking: Tracking, plan: Plan, identities: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Fingerprint -> what makes the logger of that run, in plain values; empty where nothing is to be streamed."""
    mode = mode_of(tracking)
    if not tracking.live or mode not in ("offline", "online"):
        return {}
    begun = {name: Recorded(BEGUN, identity=identity) for name, identity in identities.items()}
    place = {
        "mode": mode,
        "project": tracking.project,
        "entity": tracking.entity,
        "folder": str(folder_of().absolute()),
    }
    return {
        payload.id: {"make": MAKE, "given": {"payload": dataclasses.asdict(payload), **place}}
        for payload in run_payloads(plan, begun)
    }


class Live(Logger):
    """Streams one run. It never raises, and is silent once W&B was in trouble: `trouble` says why."""

    def __init__(self, payload: Mapping[str, Any], **place: Any):
        super().__init__()
        self.trouble = ""
        self._waited, self._began = 0.0, time.monotonic()
        self._given = arguments(Payload(**payload), **place)
        self._logger: WandbLogger | None = None

    @property
    def name(self) -> str:
        """The project in W&B."""
        return str(self._given["project"])

    @property
    def version(self) -> str:
        """The run's id in W&B, its fingerprint."""
        return str(self._given["id"])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Sends one point of the curve; the first one starts the run."""
        self._told(lambda: self._started().experiment.log(dict(metrics), step=step))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the config of the run was given at its start."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Ends the run."""
        if self._logger is not None:
            run = self._logger.experiment
            self._told(lambda: run.finish(exit_code=int(status != "success")))

    def _started(self) -> WandbLogger:
        if self._logger is None:
            import wandb  # here, so that it may be absent or broken

            run = wandb.init(**self._given)
            mark(run, self._given["project"], self._given["entity"])
            self._logger = WandbLogger(experiment=run, log_model=False)
        return self._logger

    def _told(self, action: Callable[[], None]) -> None:
        if self.trouble:
            return
        try:
            began = time.monotonic()
            with deadline(PATIENCE), no_stacks():
                action()
            self._waited += time.monotonic() - began
            if self._waited > max(LEAST, SHARE * (time.monotonic() - self._began)):
                self.trouble = f"slow, training has waited {self._waited:.0f} s"
        except (Exception, Late) as error:
            self.trouble = described(error)
