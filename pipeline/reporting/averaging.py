"""Noise passes: what averaging them at test buys each arm, in accuracy and in NLL.

Separate from the pages of studies because it looks across all of them, and because nothing in it has a
verdict: the declared test rule alone carries those.
"""

from collections.abc import Iterator

import pandas as pd

from pipeline.config.test_rules import NOISE, NOISE_PASSES
from pipeline.reporting.frames import Evidence
from pipeline.reporting.gains import (
    METRICS,
    PRECISION,
    Gain,
    bounds,
    certain,
    difference,
    disagreeing,
    most,
    shown,
)
from pipeline.reporting.overview import MEAN_INTERVAL
from pipeline.reporting.tables import (
    CONFIDENCE,
    INTERVAL,
    VOID,
    counted,
    decimal,
    decimals,
    listed,
    percent,
    table,
)

NAMES = {"accuracy": "accuracy (%)", "nll": "NLL (nats)"}
KEYS = ["study", "arm"]
FIGURE = (
    "Test accuracy and negative log-likelihood against the number of noise passes averaged, a row of panels for each arm with "
    "noise, with bands, its deterministic score as a dashed line"
)
NO_VERDICTS = "Only test accuracy under the declared rule has a verdict: nothing in this section has one, nor a corrected p."


def averaging_section(evidence: Evidence) -> str:
    """The page over all arms with noise; empty where there is none."""
    if evidence.passes.empty:
        return ""
    digits, most_passes = decimals(evidence.primary()), last(evidence.passes)
    gains = pass_gains(evidence)
    start = f"Against each arm's own deterministic score, with {counted(most_passes, 'noise pass', 'es')} averaged:"
    studies = dict.fromkeys(evidence.passes["study"])
    parts = [
        "# Averaging at test",
        "Training adds randomness; a test can average it out over noise passes (noise layers sampling, batch norm frozen), or "
        f"use the standard form of each regularizer, the deterministic rule. {NO_VERDICTS}",
        " ".join(
            part
            for part in (
                start,
                most(gains, digits),
                certain(gains, digits),
                disagreeing(gains, digits),
            )
            if part
        ),
        pass_table(evidence),
        f"Curves over the number of passes: {listed([f'[{study}](study_{study}.md)' for study in studies])}.",
    ]
    return "\n\n".join(parts)


def pass_figure(evidence: Evidence, study: str) -> str:
    """The curves of one study over the number of passes; empty where no arm of it has noise."""
    if not (evidence.passes["study"] == study).any():
        return ""
    caption = (
        f"Lines: mean over seeds. Band: {MEAN_INTERVAL}. n: as in [the table](averaging.md). Rule: the arithmetic mean of the "
        "probabilities of so many noise passes; a star marks the number that the arm's declared rule averages. Every panel has "
        "its own scale."
    )
    return f"![{FIGURE}](../figures/passes_{study}.png)\n\n*{caption}*"


def pass_table(evidence: Evidence) -> str:
    """Two rows per arm, accuracy and NLL: deterministic, a few numbers of passes, and the paired difference."""
    digits, end = decimals(evidence.primary()), last(evidence.passes)
    numbers = sorted({0, 1, min(NOISE_PASSES, end), end})
    declared = {(study, arm.name) for study, arm in evidence.arms() if arm.rule == NOISE}
    rows = []
    for key, own in _arms(evidence.passes):
        means = own.groupby(["passes", "metric"])["value"].mean().unstack("metric").reindex(numbers)
        marks = {NOISE_PASSES: " (declared)"} if key in declared else {}
        for metric, found in _gain(evidence.named(*key), own, end).by.items():
            cells = {
                _titled(at): _spelled(metric, mean, digits) + marks.get(at, "")
                for at, mean in means[metric].items()
            }
            change = {
                "difference": shown(metric, found.mean, digits),
                INTERVAL: bounds(metric, found, digits) or VOID,
            }
            rows.append(
                {
                    "arm": evidence.named(*key),
                    "metric": NAMES[metric],
                    **cells,
                    **change,
                    "n": str(found.n),
                }
            )
    caption = (
        "n: done confirmation runs. Rule: the arithmetic mean of the probabilities of so many noise passes, on the test "
        "images; every arm's declared rule is deterministic unless another is marked. Difference: "
        f"{counted(end, 'pass', 'es')} minus deterministic, points of accuracy and nats: a gain is above 0 in accuracy and "
        f"below 0 in NLL. Interval: {CONFIDENCE} Student-t interval of the mean difference, paired by seed, not corrected."
    )
    return table(pd.DataFrame(rows), caption)


def pass_gains(evidence: Evidence) -> list[Gain]:
    """All noise passes minus deterministic, for every arm with noise."""
    end = last(evidence.passes)
    return [
        _gain(evidence.named(study, arm), own, end) for (study, arm), own in _arms(evidence.passes)
    ]


def last(passes: pd.DataFrame) -> int:
    """The largest number of noise passes."""
    return int(passes["passes"].max())


def _arms(passes: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    for (study, arm), own in passes.groupby(KEYS, sort=False):
        yield (str(study), str(arm)), own


def _gain(name: str, own: pd.DataFrame, end: int) -> Gain:
    wide = own.pivot_table(index=["metric", "seed"], columns="passes", values="value").reindex(
        columns=[0, end]
    )
    return Gain(
        name, {metric: difference(wide[end].loc[metric], wide[0].loc[metric]) for metric in METRICS}
    )


def _titled(number: int) -> str:
    return counted(number, "pass", "es") if number else "deterministic"


def _spelled(metric: str, value: float, digits: int) -> str:
    return percent(value, digits) if metric == "accuracy" else decimal(value, PRECISION)
