"""Read and restore settings of the whole process that code of the user may change."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

# name -> how it is read, and how it is set
SWITCHES: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the default type": (torch.get_default_dtype, torch.set_default_dtype),
    "whether gradients are computed": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the precision of products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "which algorithms are allowed": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "the fused path of attention": (
        torch.backends.mha.get_fastpath_enabled,
        torch.backends.mha.set_fastpath_enabled,
    ),
    "how denormal numbers are rounded": (
        lambda: bool(torch.tensor(1e-40) * 0.5 == 0),
        torch.set_flush_denormal,
    ),
}
FLAGS: tuple[tuple[Any, str], ...] = (  # flags of libraries that compute products and convolutions
    *((torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic")),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.mkldnn, "enabled"),
)


def switches() -> dict[str, Any]:
    """Return name -> value of everything that changes numbers of the whole process."""
    values = {name: read() for name, (read, _) in SWITCHES.items()}
    return values | {_name(owner, flag): getattr(owner, flag) for owner, flag in FLAGS}


@contextlib.contextmanager
def restored_switches() -> Iterator[None]:
    """Restore the switches, the default device, numpy's errors, warnings and the current folder."""
    before, device = switches(), torch.get_default_device()
    with np.errstate(), warnings.catch_warnings(), contextlib.chdir(Path.cwd()):
        try:
            yield
        finally:
            if torch.get_default_device() != device:
                torch.set_default_device(None)
            for name, (read, write) in SWITCHES.items():
                if read() != before[name]:
                    write(before[name])
            for owner, flag in FLAGS:
                if getattr(owner, flag) != before[_name(owner, flag)]:
                    setattr(owner, flag, before[_name(owner, flag)])


def _name(owner: ModuleType, flag: str) -> str:
    return f"{owner.__name__}.{flag}"
