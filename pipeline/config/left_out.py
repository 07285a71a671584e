"""Say how many training examples are in no batch of an epoch, where they are many.

An incomplete last batch is dropped, so that every update sees the same number of images and batch
norm never sees one alone.
"""

from typing import Any

from pipeline.config.plan import PROTOCOL, Plan, Setting

LARGE = 0.05  # the share of the training examples from which a note is made


def left_out_notes(*plans: Plan) -> list[str]:
    """Return a line for each pair of train size and batch size that leaves out many images."""
    notes = [_note_of(plan.settings, run.setting) for plan in plans for run in plan.runs]
    return [note for note in dict.fromkeys(notes) if note]


def left_out_note(train_size: int, batch_size: int) -> str:
    """Return how many images each epoch leaves out; empty for at most a twentieth of them."""
    number = train_size % min(batch_size, train_size)
    share = number / train_size
    if share <= LARGE:
        return ""
    return (
        f"training.batch_size {batch_size} leaves {number} of {train_size} training examples "
        f"({100 * share:.0f} %) out of every epoch, different ones each time: "
        "an incomplete batch is dropped"
    )


def _note_of(settings: dict[str, Any], setting: Setting) -> str:
    """Return the note for a run: the values of its setting replace those of the protocol."""
    changed = setting.get(PROTOCOL, {})
    size = changed.get("data.train_size", settings["data"]["train_size"])
    if "data.per_class" in changed:
        size = changed["data.per_class"] * len(settings["data"]["classes"])
    return left_out_note(
        size, changed.get("training.batch_size", settings["training"]["batch_size"])
    )
