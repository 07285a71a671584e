"""The stages in this process, on the tiny protocol of the current folder."""

from types import ModuleType

from pipeline import choose, compare, confirm, evaluate, predict, prepare, report, track, train

STAGES = (prepare, train, choose, confirm, predict, evaluate, compare, report, track)


def run_stages(*stages: ModuleType) -> None:
    """Run these stages, or all nine."""
    for stage in stages or STAGES:
        stage.main("tiny")
