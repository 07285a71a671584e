"""Seed the global generators, from which only the code of a user's own network draws."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from pipeline.config.streams import derive

NUMPY_SEEDS = 2**32  # numpy's global generator takes no larger ones


def seed_globals(seed: int, *names: str | int) -> None:
    """Seed the global generators of torch, numpy and Python, and of CUDA devices in use.

    Args:
        seed: The seed of a stream.
        names: Further parts of the seed, such as the epoch.
    """
    derived = derive(seed, *names)
    # only the CPU generator: torch.manual_seed queues a call for every absent device
    torch.default_generator.manual_seed(derived)
    np.random.seed(derived % NUMPY_SEEDS)
    random.seed(derived)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(derived)


@contextmanager
def restored_globals() -> Iterator[None]:
    """Restore the global generators at the end of the context."""
    torch_state, numpy_state = torch.default_generator.get_state(), np.random.get_state()
    python_state = random.getstate()
    cuda_states = _cuda_states()
    try:
        yield
    finally:
        torch.default_generator.set_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)


def global_states() -> dict[str, Any]:
    """Return name -> a value that is equal for equal states of that global generator."""
    _, keys, *rest = np.random.get_state()
    cuda = {f"CUDA {index}": state for index, state in enumerate(_cuda_states())}
    tensors = {"torch": torch.default_generator.get_state(), **cuda}
    return {
        **{name: state.numpy().tobytes() for name, state in tensors.items()},
        "numpy": (np.asarray(keys).tobytes(), *rest),
        "Python": random.getstate(),
    }


def _cuda_states() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
