"""Write the page of noise passes: what averaging them at test gains, for every arm with noise."""

from collections.abc import Iterator

import pandas as pd

from pipeline.config.test_rules import NOISE
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.pages._gains import NAMES, Gain, format_gains, gain_of
from pipeline.reporting.pages._page import COMPLETED, MEAN_INTERVAL, Page
from pipeline.reporting.units import METRICS

ORDER = 40
FIGURE = (
    "Test accuracy and negative log-likelihood against the number of noise passes averaged, a row "
    "of panels for each arm with noise, with bands, and the deterministic score as a dashed line"
)
WORDS = (
    "A network that was trained with noise can be tested without noise (the deterministic rule), "
    "or its predictions can be averaged over several noise passes. In a noise pass, noise layers "
    "sample as in training, and batch norm uses its stored statistics. One rule is declared for "
    "each arm before training, and only test accuracy under this rule is given a verdict. The "
    "differences on this page have no verdict and no corrected p."
)


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page over all arms with noise, if there are any."""
    if data.pass_gains.empty:
        return
    last, gains = last_number(data.pass_gains), pass_gains(data)
    start = (
        f"The average of {md.format_count(last, 'noise pass', 'es')} is compared with one pass "
        "without noise; intervals are not corrected."
    )
    links = [f"[{study}](study_{study}.md)" for study in dict.fromkeys(data.pass_gains["study"])]
    body = md.join_parts(
        "# Noise passes at test",
        WORDS,
        " ".join([start, *format_gains(gains)]),
        pass_table(data, gains),
        f"Curves over the number of passes: {md.format_list(links)}.",
    )
    yield Page("averaging", "Noise passes at test", body)


def pass_figure(data: ReportData, study: str) -> str:
    """Return the curves of one study over the number of passes; empty without noise."""
    if of(data.pass_gains, study).empty:
        return ""
    caption = (
        f"Lines: mean over seeds. Band: {MEAN_INTERVAL}. n: as in [the table](averaging.md). Rule: "
        "the arithmetic mean of the probabilities of as many noise passes as the axis says. A "
        "star, if there is one, marks the number that the arm's test rule averages. The panels of "
        "a metric share their scale."
    )
    return f"![{FIGURE}](../figures/passes_{study}.png)\n\n*{caption}*"


def pass_table(data: ReportData, gains: list[Gain]) -> str:
    """Return two rows per arm, accuracy and NLL, with a few numbers of passes and the gain."""
    last = last_number(data.pass_gains)
    arms = data.pass_gains.groupby(["study", "arm"], sort=False)
    noisy = {(study, arm.name) for study, arm in data.planned_arms if arm.rule == NOISE}
    rows = []
    for (key, scores), gain in zip(arms, gains, strict=True):
        for metric in NAMES:
            means = scores[scores["metric"] == metric].set_index("passes")["mean"]
            low, high = (gain.value(metric, f"difference_{side}") for side in ("low", "high"))
            rows.append(
                {
                    "arm": gain.name,
                    "metric": METRICS[metric].label,
                    **_pass_cells(data, means, last, metric, declared=key in noisy),
                    "difference": data.format.difference(metric, gain.value(metric, "difference")),
                    md.INTERVAL: md.unbroken(data.format.bounds(metric, low, high)) or md.VOID,
                    "n": f"{gain.value(metric, 'pairs'):.0f}",
                }
            )
    caption = (
        f"{COMPLETED} Rule: the arithmetic mean of the probabilities of as many noise passes as "
        "the column says, on the test examples. Declared: the test rule of the arm. An arm without "
        "this mark is tested by the deterministic rule. Difference: "
        f"{md.format_count(last, 'pass', 'es')} minus deterministic; a gain is above 0 for "
        f"accuracy and below 0 for NLL. Interval: {md.CONFIDENCE} Student-t interval of the mean "
        "difference, "
        "paired by seed, not corrected."
    )
    return md.format_table(rows, caption, words=("arm", "metric"))


def pass_gains(data: ReportData) -> list[Gain]:
    """Return all noise passes minus deterministic, for every arm with noise."""
    last = last_number(data.pass_gains)
    return [
        gain_of(data.named(study, arm), rows[rows["passes"] == last], data.format)
        for (study, arm), rows in data.pass_gains.groupby(["study", "arm"], sort=False)
    ]


def last_number(passes: pd.DataFrame) -> int:
    """Return the largest number of noise passes."""
    return int(passes["passes"].max())


def _pass_cells(
    data: ReportData, means: pd.Series, last: int, metric: str, *, declared: bool
) -> dict[str, str]:
    cells = {}
    for number in sorted({0, 1, min(NOISE.members, last), last}):
        title = md.format_count(number, "pass", "es") if number else "deterministic"
        mark = " (declared)" if declared and number == NOISE.members else ""
        cells[title] = data.format.score(metric, means.get(number, float("nan"))) + mark
    return cells
