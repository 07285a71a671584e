"""Define the five named sources of randomness of a run, and derive seeds from them.

Two runs that share a stream's seed share its draws bit for bit, whatever else differs between them.
"""

import hashlib

from pipeline.config.settings import Settings

Name = str | int


class Streams(Settings):
    """The seed of each stream of one run."""

    split: int
    init: int
    order: int
    augmentation: int
    noise: int

    @classmethod
    def of(cls, seed: int) -> "Streams":
        """Return the streams of a usual run: one seed for all."""
        return cls(split=seed, init=seed, order=seed, augmentation=seed, noise=seed)


def derive(seed: int, *names: Name) -> int:
    """Return a 63-bit seed that depends on `seed` and every name, and on nothing else.

    >>> derive(0, "noise", "dropout", "head.1", 3) == derive(0, "noise", "dropout", "head.1", 3)
    True
    """
    text = "\x1f".join([str(seed), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
