"""Divide a training into cycles."""


def ends(updates: int, snapshots: int) -> list[int]:
    """Return the updates after which weights are kept, evenly spaced, the last one at the end.

    If the length divides, these are the cycles of ceil(T / M) of Huang et al. (Snapshot Ensembles,
    ICLR 2017); if it does not, no cycle is cut short, so that each cools down as far.
    """
    return [updates * number // snapshots for number in range(1, snapshots + 1)]
