"""Checkpoints at epoch boundaries: atomic, checksummed, the last two kept.

Separate, and not Lightning's own, because those stage in a temporary folder that may lie on another file
system, where a kill leaves half a file (its weights-only reading is used all the same).
"""

import hashlib
import os
import time
import uuid
from pathlib import Path

import pytorch_lightning as lightning

KEPT = 2
SECONDS = 20.0  # between checkpoints: a short run never writes one


class Checkpoints(lightning.Callback):
    """Saves at the end of an epoch once `seconds` have passed since the last checkpoint or the start."""

    def __init__(self, folder: Path, seconds: float = SECONDS):
        self.folder = folder
        self.seconds = seconds
        self.last = time.monotonic()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Saves where it is time."""
        due = (
            time.monotonic() - self.last >= self.seconds
            and trainer.current_epoch + 1 != trainer.max_epochs
        )
        if not trainer.strategy.broadcast(due):  # all devices of a run, or none
            return
        staging = (
            self.folder / f"staging-{uuid.uuid4().hex}"
        )  # another process may be training the same run
        trainer.save_checkpoint(staging)
        self.last = time.monotonic()
        if not trainer.is_global_zero:
            return
        digest = hashlib.sha256(staging.read_bytes()).hexdigest()
        os.replace(staging, self.folder / f"{trainer.current_epoch + 1:06d}-{digest}.ckpt")
        for old in sorted(self.folder.glob("*.ckpt"))[:-KEPT]:
            old.unlink(missing_ok=True)


def latest(folder: Path) -> Path | None:
    """The newest checkpoint whose content matches the checksum in its name; None where there is none."""
    return next(
        (path for path in sorted(folder.glob("*.ckpt"), reverse=True) if _is_whole(path)), None
    )


def _is_whole(path: Path) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == path.stem.partition("-")[2]
    except FileNotFoundError:  # removed by another process that trains the same run
        return False
