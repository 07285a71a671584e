"""Which job goes to which node of a cluster next, and what is under way.

Separate from the cluster so that the rule can be read, and tested, without one.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field

from pipeline.execution.attempts import Job


@dataclass(frozen=True)
class Node:
    """A machine of the cluster that may be given jobs."""

    id: str
    place: str  # its address
    room: int  # runs at a time


@dataclass
class Grid:
    """What is where: jobs to do, jobs under way, and the nodes that have shown what they are."""

    waiting: list[Job]
    flying: dict[Hashable, tuple[Job, Node]] = field(default_factory=dict)  # by their tasks
    tried: dict[str, list[str]] = field(
        default_factory=dict
    )  # job id -> ids of the nodes it was given to
    trusted: dict[str, Node] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    def next(self) -> tuple[Job, Node] | None:
        """The next job and a free node for it, the least busy one; None where all have enough to do."""
        load = [node.id for _, node in self.flying.values()]
        free = [node for node in self.trusted.values() if load.count(node.id) < node.room]
        for job in self.waiting if free else ():
            before = self.tried.get(job["id"], [])
            elsewhere = set(self.trusted) - set(before)
            fit = [node for node in free if node.id in elsewhere or not elsewhere]
            if fit:
                return job, min(fit, key=lambda node: load.count(node.id) / node.room)
        return None
