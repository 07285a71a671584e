"""Check that training left frozen weights and statistics as they were, byte for byte."""

from collections.abc import Mapping

from torch import Tensor

from pipeline.models._standardized import Standardized
from pipeline.regularizers._audit import NoEffect

NAMED = 3  # tensors named in one line


def require_unchanged(network: Standardized, before: Mapping[str, Tensor]) -> None:
    """Check the parameters and buffers of frozen layers against copies of them.

    Args:
        network: The network after training.
        before: The copies, by name, made before training.

    Raises:
        NoEffect: One has other bytes; the error names the first ones.
    """
    state = network.state_dict()
    changed = [name for name, value in before.items() if not _same_bytes(state[name], value)]
    if changed:
        names = ", ".join(name.removeprefix("network.") for name in changed[:NAMED])
        raise NoEffect(
            f"start: {len(changed)} of {len(before)} frozen tensors changed in training: {names}; "
            "expected the bytes of the start"
        )


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors hold the same bytes, where 0 is not -0 and NaN is NaN."""
    return one.cpu().contiguous().numpy().tobytes() == other.cpu().contiguous().numpy().tobytes()
