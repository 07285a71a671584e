"""Stream the curve of one run to W&B while it trains, through Lightning's `WandbLogger`."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from pipeline.tracking.guards import WandbTimeout, deadline, no_stacks, short_error
from pipeline.tracking.mirror import arguments, mark
from pipeline.tracking.payloads import Payload

PATIENCE = 10.0  # seconds that the training waits for W&B
LEAST, SHARE = 5.0, 0.2  # seconds, and the part of its time, that a run may spend waiting


class LiveLogger(Logger):
    """Stream one run. It never raises, and does nothing after W&B had trouble: `trouble`."""

    def __init__(self, payload: Mapping[str, Any], **place: Any):
        super().__init__()
        self.trouble = ""
        self._waited, self._began = 0.0, time.monotonic()
        self._given = arguments(Payload(**payload), **place)
        self._logger: WandbLogger | None = None

    @property
    def name(self) -> str:
        """Return the project in W&B."""
        return str(self._given["project"])

    @property
    def version(self) -> str:
        """Return the run's id in W&B, its fingerprint."""
        return str(self._given["id"])

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send one point of the curve; the first one starts the run."""
        self._guard(lambda: self._started().experiment.log(dict(metrics), step=step))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the config of the run was given at its start."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run."""
        if self._logger is not None:
            run = self._logger.experiment
            self._guard(lambda: run.finish(exit_code=int(status != "success")))

    def _started(self) -> WandbLogger:
        if self._logger is None:
            import wandb  # here, so that it may be absent or broken

            run = wandb.init(**self._given)
            mark(run, self._given["project"], self._given["entity"])
            self._logger = WandbLogger(experiment=run, log_model=False)
        return self._logger

    def _guard(self, action: Callable[[], None]) -> None:
        if self.trouble:
            return
        try:
            began = time.monotonic()
            with deadline(PATIENCE), no_stacks():
                action()
            self._waited += time.monotonic() - began
            if self._waited > max(LEAST, SHARE * (time.monotonic() - self._began)):
                self.trouble = f"slow, training has waited {self._waited:.0f} s"
        except (Exception, WandbTimeout) as error:
            self.trouble = short_error(error)
