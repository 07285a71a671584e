"""Compute the statistics of a report from the scores of its runs, or of runs from elsewhere.

`from pipeline.comparison import judge` is for notebooks; see `pipeline.comparison.judging`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.comparison.judging import judge

__all__ = ["judge"]


def __getattr__(name: str) -> Any:
    """Import `judge` when it is first used: pandas and scipy are slow to import."""
    if name != "judge":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.comparison.judging import judge

    return judge
