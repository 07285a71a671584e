"""Ignore warnings of torch that say nothing to who trains a network."""

import warnings

# of a hook of the user's on a first layer: images need no gradient, so it fires with its outputs'
HOOKS = "Full backward hook is firing when gradients are computed"
TRACED = "For backward hooks to be called.*torch.fx.proxy.Proxy"  # residual branches are looked for


def ignore_notices() -> None:
    """Ignore these warnings in this process, in front of all other filters."""
    for message in (HOOKS, TRACED):
        warnings.filterwarnings("ignore", message=message)
