"""Planned runs, and the smallest plan that has some."""

from collections.abc import Iterable
from typing import Any

from pipeline.config.plan import Plan, PlannedRun, PlannedStudy


def planned_run(study: str, arm: str, seed: int, fingerprint: str, **more: Any) -> PlannedRun:
    """Return a planned run."""
    return PlannedRun(study=study, arm=arm, seed=seed, fingerprint=fingerprint, **more)


def plan_of_one_arm(fingerprints: Iterable[str]) -> Plan:
    """Return a confirmation plan whose runs are all of arm `a` of study `s`, with seeds from 0."""
    return Plan(
        protocol="p",
        phase="confirmation",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(PlannedStudy(name="s", question="?", arms=()),),
        runs=tuple(planned_run("s", "a", seed, name) for seed, name in enumerate(fingerprints)),
    )
