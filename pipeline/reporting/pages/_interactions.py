"""Write interactions: the effect of two parts together against the sum of their single effects."""

import pandas as pd

from pipeline.comparison.levels import LEVEL, POWER
from pipeline.comparison.verdicts import Verdict
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import lost_words
from pipeline.reporting.pages._looks import weight_note
from pipeline.reporting.units import METRICS

PARTS = {
    Verdict.HELPS: "is better than",
    Verdict.HURTS: "is worse than",
    Verdict.EQUIVALENT: "is equivalent to",
    Verdict.INCONCLUSIVE: "is not shown to differ from",
}
FEWEST = 2  # seeds that have an interval
LESS_HELP = "Together they gain less than the sum: their effects overlap."
MORE_HELP = "Together they gain more than the sum: they reinforce each other."
MORE_HARM = "Together they lose more than the sum: they make each other worse."
LESS_HARM = "Together they lose less than the sum: their losses overlap."


def interaction_lines(data: ReportData) -> str:
    """Return a sentence for every pair whose parts were also tried alone; empty without pairs."""
    rows = data.interactions[data.interactions["metric"] == "test_accuracy"]
    parts = [_part_sentence(data, row) for row in rows_of(data.parts)]
    return md.format_bullets([_sentence(data, row) for row in rows_of(rows)] + parts)


def interaction_table(data: ReportData, study: str) -> str:
    """Return the interactions of one study, metric by metric; empty without pairs."""
    rows = rows_of(of(data.interactions, study))
    if not rows:
        return ""
    cells, same = md.without_constant([_cells(data, row) for row in rows], ("pair", "parts", "n"))
    caption = (
        f"{same} Interaction: the difference of the pair minus the sum of the differences of its "
        "parts. n: seeds at which all four runs are completed and not lost, on the same kind of "
        "machine. Tables above may have more seeds, so their differences may have another sum. "
        "Rule: the test rule of each arm; gaps are always measured without noise. "
        f"Interval: {md.CONFIDENCE} Student-t "
        "interval of the mean over seeds. p: two-sided paired t test. p (Holm): corrected over the "
        "pairs of the report. p (sign flips): exact, not corrected. No verdict."
        f"{weight_note(data, 'all four arms', ', and intervals are at its level')}"
    )
    return md.format_table(cells, caption.strip(), words=("pair", "parts", "metric"))


def _sentence(data: ReportData, row: md.Row) -> str:
    pair, both = f"**{row['arm']}**", f"**{row['first']}** and **{row['second']}**"
    if row["n"] < FEWEST:
        return (
            f"{pair}: too few seeds have all four runs ({pair}, {both} and the baseline) to "
            "estimate an interaction."
        )
    points = data.format.points
    return (
        f"Over {md.format_count(row['n'], 'seed')}, the effect of {pair} is "
        f"{points(row['effect'])} points. Those of {both} add up to "
        f"{points(row['sum'])} points. Interaction (the effect minus this sum): "
        f"{data.format.change(row)}. {_meaning(data, row)}"
    )


def _part_sentence(data: ReportData, row: md.Row) -> str:
    """Return the verdict of a pair against its better part."""
    if row["withheld"]:
        return (
            f"No verdict for **{row['arm']}** against {_better(row)}: {lost_words(row, 'part')}. "
            f"The other runs have a difference of {data.format.joint_change(row)}."
        )
    return (
        f"**{row['arm']}** {PARTS[row['verdict']]} {_better(row)}. Difference in test accuracy: "
        f"{data.format.change(row)}{_over_images(data, row)}. "
        f"The p of {md.format_p(row['p_holm'])} is corrected for all contrasts and this choice, "
        "the interval is not."
    )


def _better(row: md.Row) -> str:
    return f"**{row['better']}** (the change with the better validation accuracy)"


def _over_images(data: ReportData, row: md.Row) -> str:
    """Return the interval of a pair over seeds and test examples, and the verdict if it changes."""
    bounds = data.format.points_interval(row["low_images"], row["high_images"])
    if not bounds:
        return ""
    verdict = row["verdict_other_images"]
    other = "" if verdict == row["verdict"] else f", where the pair is {verdict}"
    return f" ({bounds} if the choice of test examples counts too{other})"


def _corrected(row: md.Row) -> str:
    """Return over which tests the p of an interaction is corrected; "" for a single pair."""
    return "" if row["p"] == row["p_holm"] else ", after Holm's correction over all pairs"


def _meaning(data: ReportData, row: md.Row) -> str:
    """Return the meaning of an interaction: its sign has different meanings for help and harm."""
    if pd.isna(row["low"]):
        return "It is the same at every seed, so it has no interval."
    if not row["p_holm"] < LEVEL:
        return (
            f"It is not significant (p: {md.format_p(row['p_holm'])}{_corrected(row)}). "
            "With these seeds, an uncorrected test detects "
            f"{data.format.detectable(row, unit='points')} with {100 * POWER:g} % power."
        )
    less = row["difference"] < 0
    if row["effect"] > 0 and row["sum"] > 0:
        return LESS_HELP if less else MORE_HELP
    if row["effect"] < 0 and row["sum"] < 0:
        return MORE_HARM if less else LESS_HARM
    return f"Together they score {'lower' if less else 'higher'} than the sum."


def _cells(data: ReportData, row: md.Row) -> dict[str, str]:
    metric, difference = row["metric"], data.format.difference
    return {
        "pair": row["arm"],
        "parts": f"{row['first']}, {row['second']}",
        "metric": METRICS[metric].difference_label,
        "together": difference(metric, row["effect"]),
        "sum of parts": difference(metric, row["sum"]),
        f"interaction [{md.INTERVAL}]": md.unbroken(data.format.change(row, metric, unit="")),
        "n": str(row["n"]),
        "p": md.format_p(row["p"]),
        "p (Holm)": md.format_p(row["p_holm"]),
        "p (sign flips)": md.format_p(row["p_sign_flip"]),
    }
