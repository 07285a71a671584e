"""Find which modules of a user's network draw random numbers or keep statistics themselves."""

import copy
from typing import Any

import torch
from torch import nn

from pipeline.models._randomness import global_states, restored_globals, seed_globals

DRAWS = "your own; seeded by the run"
KEEPS = "your own; its buffers are stored with the weights"


def stateful_parts(network: nn.Module, shape: tuple[int, ...]) -> dict[str, list[str]]:
    """Return name -> notes of the modules that draw in a training pass, or have stored buffers.

    Of a module that draws and its parts that do, the parts are named.

    Args:
        network: The plain network; it is left unchanged.
        shape: (channels, height, width) of the images.
    """
    notes = {name: [DRAWS] for name in _drawing(network, shape)}
    for name, module in network.named_modules():
        buffers = {name for name, buffer in module._buffers.items() if buffer is not None}
        if buffers - module._non_persistent_buffers_set:
            notes.setdefault(name, []).append(KEEPS)
    return notes


def _drawing(network: nn.Module, shape: tuple[int, ...]) -> set[str]:
    copied = copy.deepcopy(network).train()
    before: dict[str, dict[str, Any]] = {}
    drawing: set[str] = set()

    def enter(name: str) -> None:
        before[name] = global_states()

    def leave(name: str) -> None:
        has_part = any(other.startswith(f"{name}.") for other in drawing)
        if not has_part and global_states() != before[name]:
            drawing.add(name)

    for name, module in copied.named_modules():
        if name:  # the network as a whole has a row for no other reason
            module.register_forward_pre_hook(lambda *_, name=name: enter(name))
            module.register_forward_hook(lambda *_, name=name: leave(name))
    with restored_globals(), torch.no_grad():
        seed_globals(0, "probe")
        copied(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)))
    return drawing
