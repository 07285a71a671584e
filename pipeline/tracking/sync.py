"""Send to Weights & Biases what it does not have yet, and remember what was sent."""

import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pipeline.config.parameters import read_parameters
from pipeline.config.validation import invalid, one_of, suggestion
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, write_sealed
from pipeline.tracking.mirror import MODES, Mirror, Mode, mode_of, wandb_parent
from pipeline.tracking.payloads import Payload

STAGE_SECONDS = 30.0  # that an online mirror may delay a run of DVC


@dataclass(frozen=True)
class Target:
    """Where payloads are sent, and `memory`: the file with the digest of each that was sent."""

    mode: Mode
    project: str
    entity: str | None
    memory: Path

    def unsent(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Return what was not sent with this content, or is no longer in the offline folder."""
        sent = self._sent()
        there = {
            path.stem.removeprefix("run-")
            for path in (wandb_parent() / "wandb").glob("offline-run-*/run-*.wandb")
        }
        return [
            payload
            for payload in payloads
            if sent.get(payload.id) != payload.digest()
            or (self.mode == "offline" and payload.id not in there)
        ]

    def remember(self, payload: Payload) -> None:
        """Record that a payload was sent."""
        write_sealed(self.memory, {**self._sent(), payload.id: payload.digest()})

    def _sent(self) -> dict[str, str]:
        """Return digests by id; none if the file is corrupted, as sending twice is harmless."""
        try:
            return read_sealed(self.memory)
        except Refusal:
            return {}


def find_target(memory: Path) -> Target | None:
    """Return where payloads are sent, with a file in the folder `memory`; None if W&B is disabled.

    Raises:
        Refusal: `WANDB_MODE` is not a mode.
    """
    tracking = read_parameters().tracking
    mode = mode_of(tracking)
    if mode not in MODES:
        raise Refusal(invalid("WANDB_MODE", mode, one_of(MODES)) + suggestion(mode, MODES))
    if mode == "disabled":
        return None
    name = f"{mode}-{tracking.project}-{tracking.entity or 'default'}"
    file = memory / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.json"
    return Target(cast(Mode, mode), tracking.project, tracking.entity, file)


def sync(payloads: Sequence[Payload], target: Target, protocol: str, hurried: bool) -> None:
    """Send what is new and print one line with the result; raise nothing.

    Args:
        payloads: All that W&B should have.
        target: Where it is sent.
        protocol: Named in the command that catches up.
        hurried: Whether an online mirror stops after `STAGE_SECONDS`.
    """
    new = target.unsent(payloads)
    count, problem = _send(new, target, hurried and target.mode == "online")
    if problem:
        report_problem(
            f"{problem}; mirrored {count} of {len(new)} runs; the results are complete", protocol
        )
        return
    folder = wandb_parent() / "wandb"
    send = f"; send: wandb sync {folder}/offline-run-*" if target.mode == "offline" else ""
    before = len(payloads) - count
    there = f" ({before} were there already)" if before else ""
    print(f"W&B: mirrored {count} runs {target.mode}{there}; look: wandb leet {folder}{send}")


def _send(payloads: Sequence[Payload], target: Target, hurried: bool) -> tuple[int, str]:
    """Return how many payloads were sent, and what went wrong."""
    mirror = Mirror(target.mode, target.project, target.entity, str(wandb_parent()))
    count, began = 0, time.monotonic()
    try:
        for payload in payloads:
            if hurried and time.monotonic() - began > STAGE_SECONDS:
                return count, f"slow, stopped after {STAGE_SECONDS:g} s"
            if mirror.send(payload):
                count += 1
                target.remember(payload)
    except OSError as error:
        return count, str(error)
    finally:
        mirror.close()
    rejected = [f"{name} was rejected ({reason})" for name, reason in mirror.rejected.items()]
    more = [f"and {len(rejected) - 1} others"] if len(rejected) > 1 else []
    return count, mirror.trouble or "; ".join(rejected[:1] + more)


def print_dry_run(payloads: Sequence[Payload], target: Target, protocol: str) -> None:
    """Print what would be sent for a protocol."""
    new = target.unsent(payloads)
    place = str(wandb_parent() / "wandb")
    if target.mode == "online":
        place = f"{target.entity or 'your default entity'}/{target.project}"
    counts = Counter((payload.group, payload.job_type) for payload in new)
    for (group, kind), count in sorted(counts.items()):
        print(f"{group}: {count} {kind}")
    print(
        f"{protocol}: {len(new)} of {len(payloads)} runs would be mirrored {target.mode}, "
        f"to {place}; nothing was sent"
    )


def report_problem(problem: str, protocol: str) -> None:
    """Print a problem with the command that catches up."""
    login = "wandb login, and " if "API key" in problem else ""
    print(f"W&B: {problem}; run: {login}gapwise track --protocol {protocol}", file=sys.stderr)
