"""Write checkpoints at epoch boundaries: atomic, with checksums, the last two kept.

Lightning writes its own to a temporary folder, maybe on another file system, where a kill leaves
half a file; its weights-only reading is used.
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
    """Saves at the end of an epoch if `seconds` have passed since the last one or the start."""

    def __init__(self, folder: Path, seconds: float = SECONDS):
        self.folder = folder
        self.seconds = seconds
        self.last = time.monotonic()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Save if it is time, on all devices of a run or none."""
        waited = time.monotonic() - self.last >= self.seconds
        due = waited and trainer.current_epoch + 1 != trainer.max_epochs
        if not trainer.strategy.broadcast(due):
            return
        # a unique name: another process may be training the same run
        staging = self.folder / f"staging-{uuid.uuid4().hex}"
        trainer.save_checkpoint(staging)
        self.last = time.monotonic()
        if not trainer.is_global_zero:
            return
        digest = hashlib.sha256(staging.read_bytes()).hexdigest()
        os.replace(staging, self.folder / f"{trainer.current_epoch + 1:06d}-{digest}.ckpt")
        for old in sorted(self.folder.glob("*.ckpt"))[:-KEPT]:
            old.unlink(missing_ok=True)


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint whose content matches the checksum in its name, or None."""
    newest_first = sorted(folder.glob("*.ckpt"), reverse=True)
    return next((path for path in newest_first if _is_whole(path)), None)


def _is_whole(path: Path) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == path.stem.partition("-")[2]
    except FileNotFoundError:  # removed by another process that trains the same run
        return False
