"""Print how long each stage of a run took."""

from collections.abc import Mapping

from pipeline.terminal.tables import show, table


def show_stages(seconds: Mapping[str, float]) -> None:
    """Print a row for each stage with its seconds, then their sum; nothing if none ran.

    Args:
        seconds: Seconds by name of the stage.
    """
    if not seconds:
        return
    rows = table("stage", "seconds", title="time of the stages")
    rows.columns[1].justify = "right"
    for stage, taken in seconds.items():
        rows.add_row(stage, f"{taken:.1f}")
    rows.add_row("all", f"{sum(seconds.values()):.1f}")
    show(rows)
