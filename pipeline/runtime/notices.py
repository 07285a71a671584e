"""Ignore warnings of torch that are irrelevant to users."""

import warnings

# of a user's hook on a first layer: it fires with the gradient of outputs, as images need none
HOOKS = "Full backward hook is firing when gradients are computed"
TRACED = "For backward hooks to be called.*torch.fx.proxy.Proxy"  # residual branches are looked for


def ignore_notices() -> None:
    """Ignore these warnings in this process, in front of all other filters."""
    for message in (HOOKS, TRACED):
        warnings.filterwarnings("ignore", message=message)
