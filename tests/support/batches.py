"""What tests of regularizers that change batches need."""

from typing import Any

import torch

from pipeline.regularizers._audit import AuditInputs, BatchChanges


def generator(seed: int = 1) -> torch.Generator:
    """Return a seeded generator of torch."""
    return torch.Generator().manual_seed(seed)


def audit_inputs(**changes: Any) -> AuditInputs:
    """Return what an audit sees of changed batches, with a network that is not looked at."""
    return AuditInputs(torch.nn.Identity(), [], 0.0, BatchChanges(**changes))
