"""Print how many confirmation runs looks take: at least, expected, and at most."""

from math import isnan
from pathlib import Path

from pipeline.comparison.look_forecast import expected_runs, explored_spread
from pipeline.execution.forecast import Forecast
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed
from pipeline.terminal.plan import minutes_of
from pipeline.terminal.tables import say

ARTIFACTS = Path("artifacts")
UNKNOWN = "expected: not known before settings are chosen"


def show_look_runs(forecast: Forecast, seconds_per_run: float) -> None:
    """Print the runs of all looks; nothing if the protocol declares none.

    Args:
        forecast: The plans of the protocol.
        seconds_per_run: The time to expect for a run of the protocol.
    """
    looks = forecast.most.looks
    if looks is None:
        return
    names = forecast.most.fingerprints()
    first = {run.fingerprint for run in forecast.most.runs if run.round == 1}
    minutes, _ = minutes_of([forecast.most], names, seconds_per_run)
    seeds = ", ".join(map(str, looks.seeds))
    say(
        f"confirmation looks at {seeds} seeds: at least {len(first)} runs, "
        f"{_likely_runs(forecast)}, at most {len(names)}, about {minutes:.1f} minutes"
    )


def _likely_runs(forecast: Forecast) -> str:
    """Return the expected number of runs, from the spread and the gains of exploration."""
    try:
        chosen = read_sealed(ARTIFACTS / forecast.most.protocol / "choice.json")
    except Refusal:
        return UNKNOWN
    spread = explored_spread(chosen["tried"])
    if isnan(spread):
        return UNKNOWN
    gains = {(row["study"], row["arm"]): row["gain"] for row in chosen["searches"]}
    measured = {key: gain for key, gain in gains.items() if gain is not None}
    return f"about {expected_runs(forecast.most, measured, spread):.0f} expected by exploration"
