"""What a training draws: the order of its batches, and what augmentation draws for each of them."""

from typing import NamedTuple

from pipeline import regularizers
from pipeline.data.loader import Batches


class Observed(NamedTuple):
    """What a training has drawn."""

    orders: list[tuple[int, ...]]
    draws: list[bytes]


def watch(monkeypatch):
    """Note from now on the order of the batches and the draws of augmentation around each batch."""
    seen = Observed([], [])
    augmentation = regularizers.settings()["augmentation"]
    iterate, modify = Batches.__iter__, augmentation.modify_batch

    def iterating(self):
        seen.orders.append(tuple(self.order().tolist()))
        return iterate(self)

    def modifying(self, inputs, targets, generator):
        before = generator.get_state().numpy().tobytes()
        changed = modify(self, inputs, targets, generator)
        seen.draws.append(before + generator.get_state().numpy().tobytes())
        return changed

    monkeypatch.setattr(Batches, "__iter__", iterating)
    monkeypatch.setattr(augmentation, "modify_batch", modifying)
    return seen
