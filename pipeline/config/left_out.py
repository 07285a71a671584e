"""Report the number of training examples that are in no batch of an epoch, if it is large.

An incomplete last batch is dropped, so that every update sees the same number of images and batch
norm never sees one alone.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.config.plan import PROTOCOL, Plan, Setting

LARGE = 0.05  # the share of the training examples from which a note is made
MOST = 4  # batch sizes of one train size that have a note each
OUT = "out of every epoch, different ones each time: an incomplete batch is dropped"


def left_out_notes(*plans: Plan) -> list[str]:
    """Return a line for each pair of train size and batch size that leaves out many images.

    A train size with more than `MOST` such batch sizes, as in a search over them, has one line.

    Args:
        *plans: Plans of phases.
    """
    rows = [(plan.settings, run.setting) for plan in plans for run in plan.runs]
    pairs = dict.fromkeys(_sizes(settings, setting) for settings, setting in rows)
    noted = [pair for pair in pairs if left_out_note(*pair)]
    batches: dict[int, list[int]] = {}
    for train_size, batch_size in noted:
        batches.setdefault(train_size, []).append(batch_size)
    notes = []
    for train_size, batch_size in noted:
        values = batches[train_size]
        is_few = len(values) <= MOST
        notes.append(
            left_out_note(train_size, batch_size) if is_few else _note_of_many(train_size, values)
        )
    return list(dict.fromkeys(notes))


def left_out_note(train_size: int, batch_size: int) -> str:
    """Return how many images each epoch leaves out; empty for at most a twentieth of them.

    Args:
        train_size: The number of training examples.
        batch_size: The number of examples per update.
    """
    number = _left_out(train_size, batch_size)
    share = number / train_size
    if share <= LARGE:
        return ""
    return (
        f"training.batch_size {batch_size} leaves {number} of {train_size} training examples "
        f"({100 * share:.0f} %) {OUT}"
    )


def _left_out(train_size: int, batch_size: int) -> int:
    return train_size % min(batch_size, train_size)


def _note_of_many(train_size: int, batch_sizes: Sequence[int]) -> str:
    """Return how many images an epoch leaves out at most, of many batch sizes."""
    most = max(_left_out(train_size, batch_size) for batch_size in batch_sizes)
    return (
        f"{len(batch_sizes)} values of training.batch_size, {min(batch_sizes)} to "
        f"{max(batch_sizes)}, leave up to {most} of {train_size} training examples "
        f"({100 * most / train_size:.0f} %) {OUT}"
    )


def _sizes(settings: dict[str, Any], setting: Setting) -> tuple[int, int]:
    """Return train size and batch size of a run: its setting replaces values of the protocol."""
    changed = setting.get(PROTOCOL, {})
    size = changed.get("data.train_size", settings["data"]["train_size"])
    if "data.per_class" in changed:
        size = changed["data.per_class"] * len(settings["data"]["classes"])
    return size, changed.get("training.batch_size", settings["training"]["batch_size"])
