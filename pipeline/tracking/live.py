"""Choose the runs that send live curves to W&B while they train; `logger.py` sends them.

The curves are provisional: the mirror replaces them with the whole finished run, under the same id.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.config.parameters import Tracking
from pipeline.config.plan import Plan
from pipeline.tracking.mirror import mode_of, wandb_parent
from pipeline.tracking.payloads import run_payloads
from pipeline.tracking.recorded import Recorded

MAKE = "pipeline.tracking.logger:LiveLogger"
BEGUN = {"state": "running"}


def loggers(
    tracking: Tracking, plan: Plan, identities: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return what makes the logger of each run, by fingerprint; nothing where none is streamed."""
    mode = mode_of(tracking)
    if not tracking.live or mode not in ("offline", "online"):
        return {}
    begun = {name: Recorded(BEGUN, identity=identity) for name, identity in identities.items()}
    place = {
        "mode": mode,
        "project": tracking.project,
        "entity": tracking.entity,
        "folder": str(wandb_parent().absolute()),
    }
    return {
        payload.id: {"make": MAKE, "given": {"payload": dataclasses.asdict(payload), **place}}
        for payload in run_payloads(plan, begun)
    }
