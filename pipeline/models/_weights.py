"""Start a network from the tensors of a file: `model: {..., weights: resnet.safetensors}`.

Pickled files are read by torch's `weights_only` loader, which runs no code of the file.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from pipeline.data.weights import KEY, SAFE, read_weights
from pipeline.runtime.errors import Refusal

PREFIXES = ("module.", "model.", "network.", "_orig_mod.")  # prefixes by wrappers of a network
NESTED = ("state_dict", "model_state_dict", "model")  # where checkpoints hold the weights
NAMED = 4  # tensors named in one line


@dataclass(frozen=True)
class Match:
    """The tensors of a file that fit a network.

    Attributes:
        loaded: Names of the network -> tensors of the file.
        reshaped: Names that both have, in different shapes; the network keeps its own.
        missing: Names of the network that the file lacks.
        unused: Names of the file that the network lacks.
    """

    loaded: Mapping[str, Tensor]
    reshaped: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def note(self, path: str) -> str:
        """Return one line on the tensors that were loaded or left out."""
        total = len(self.loaded) + len(self.reshaped) + len(self.missing)
        parts = [f"{KEY}: {path}: {len(self.loaded)} of {total} tensors loaded"]
        if self.reshaped:
            parts.append(f"of another shape in the file: {_listed(self.reshaped)}")
        if self.missing:
            parts.append(f"missing in the file: {_listed(self.missing)}")
        if self.unused:
            parts.append(f"left out of the file: {_listed(self.unused)}")
        return "; ".join(parts)


def load_weights(network: nn.Module, path: str) -> Match:
    """Load the tensors of a file into a network, in place; others stay as they are.

    Args:
        network: The plain network, before regularizers place anything in it.
        path: The file, relative to the project: safetensors, or a dictionary of tensors that
            `torch.save` wrote, maybe under the key `state_dict`. A prefix that a wrapper puts in
            front of all names, such as `module.`, is removed.

    Returns:
        What was loaded and what was left out.

    Raises:
        Refusal: The file is missing or damaged, holds something else than tensors, or values that
            are not finite, or no tensor fits.
    """
    match = match_weights(network, path)
    state = network.state_dict()
    with torch.no_grad():
        for name, value in match.loaded.items():
            state[name].copy_(value)
    return match


def match_weights(network: nn.Module, path: str) -> Match:
    """Return the tensors of a file that `load_weights` would load, without a change of the network.

    Raises:
        Refusal: As for `load_weights`.
    """
    state = network.state_dict()
    given = _without_prefix(_tensors(path), state)
    both = [name for name in state if name in given]
    fitting = [name for name in both if given[name].shape == state[name].shape]
    if not any(state[name].is_floating_point() for name in fitting):
        raise Refusal(
            f"{KEY}: {path}: no tensor has name and shape of one of the network; expected names "
            f"such as {_listed(state)}, given {_listed(given) or 'none'}"
        )
    for name in fitting:
        if not given[name].isfinite().all():
            raise Refusal(f"{KEY}: {path}: {name} has values that are not finite")
    return Match(
        {name: given[name] for name in fitting},
        tuple(name for name in both if name not in fitting),
        tuple(name for name in state if name not in given),
        tuple(name for name in given if name not in state),
    )


def _tensors(path: str) -> dict[str, Tensor]:
    """Return the tensors of a file by name, on the processor."""
    content = read_weights(path)
    try:
        if path.endswith(SAFE):
            return safetensors.torch.load(content)
        return _flat(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True), path)
    except Refusal:
        raise
    except Exception as error:  # damaged, or a pickle with code in it, which is never run
        kind = type(error).__name__
        raise Refusal(
            f"{KEY}: {path}: damaged, or holds more than tensors ({kind}); expected a file of "
            "torch.save(network.state_dict(), path), or safetensors"
        ) from None


def _flat(content: Any, path: str) -> dict[str, Tensor]:
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise Refusal(
            f"{KEY}: {path}: holds a {type(content).__name__}; expected tensors by name, as of "
            "torch.save(network.state_dict(), path)"
        )
    return {
        str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)
    }


def _without_prefix(given: dict[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors, without a prefix of their names if more of these then fit the network.

    A prefix is removed only from the names that have it. Other names, such as the names of a saved
    optimizer, stay.
    """
    stripped = [
        {name.removeprefix(prefix): value for name, value in given.items()} for prefix in PREFIXES
    ]
    forms = [given, *stripped]
    return max(forms, key=lambda form: sum(name in state for name in form))


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more
