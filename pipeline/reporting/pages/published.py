"""Write the page of published and measured effects: sign and size, with intervals.

The effects of papers come from other networks, data and budgets: only their signs are judged.
"""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from pipeline.comparison.verdicts import Agreement
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import Pair, ReportData
from pipeline.reporting.pages._page import Page

ORDER = 50
SHARE = 2  # decimals of a cost
OUTCOMES = {  # the words for one effect and for several
    Agreement.AGREES: ("agrees", "agree"),
    Agreement.DISAGREES: ("disagrees", "disagree"),
    Agreement.INCONCLUSIVE: ("is inconclusive", "are inconclusive"),
    Agreement.NOT_MEASURED: ("was not measured", "were not measured"),
}
ONE_ARM = {"passes": "{} against {} noise passes", "crops": "one view against crops"}  # at test
SIGNS = {"lower": "lower", "higher": "higher", "not_lower": "no gain"}  # published without figures
COST = "training_cost"
WORDS = ("effect", "measured as", "published", "published for", "here", "outcome")  # columns
ERROR, COSTS = "test error (%)", "training FLOPs, relative to the first"


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page, if a study names published effects."""
    if len(data.published):
        title = "Published effects"
        yield Page("published", title, published_body(data))


def published_body(data: ReportData) -> str:
    """Return the table of published effects and their sources."""
    rows = data.published.to_dict("records")
    sources = list(dict.fromkeys(row["source"] for row in rows))
    cells = [_cells(data, row, sources.index(row["source"]) + 1) for row in rows]
    caption = (
        "Pairs of figures: before → after (the change in percent of before). n: seeds, or groups "
        "of models where crops are compared. Rule: the test rule of each arm, unless passes or "
        f"crops are named. Interval: {md.CONFIDENCE} Student-t interval of the mean difference "
        "over seeds. A cost is counted, not timed; if it is the same at every seed, its interval "
        "has no width. p: two-sided paired t test. Intervals and p are not corrected. Agrees: the "
        "interval is on the published side of 0, or, for an effect published as no gain, the "
        "difference is shown to be within the margin. Disagrees: it is on the other side. Rows of "
        "the same runs, measure and published sign count once in the sentence above. Signs can be "
        "compared; sizes only roughly, because networks, data and budgets differ."
    )
    listing = "\n".join(f"{number}. {md.escape(name)}" for number, name in enumerate(sources, 1))
    return md.join_parts(
        "# Published and measured",
        published_sentence(data),
        md.format_table(cells, caption, WORDS),
        listing,
    )


def published_sentence(data: ReportData) -> str:
    """Return how many published effects agree in sign with what was measured; empty without any.

    The same effect of the same runs counts once, under its first name. Costs do not count: they
    follow from the settings.
    """
    rows = [row for row in _distinct(data) if row["measure"] != COST]
    parts = []
    for outcome, (one, several) in OUTCOMES.items():
        names = [f"**{_name(row)}**" for row in rows if row["outcome"] == outcome]
        if names:
            word = one if len(names) == 1 else several
            parts.append(f"{len(names)} {word} ({md.format_list(names)})")
    if not parts:
        return ""
    total = md.format_count(len(rows), "effect")
    return (
        f"Of {total} that papers report, judged by sign, each with a single interval: "
        f"{'; '.join(parts)}."
    )


def _distinct(data: ReportData) -> list[md.Row]:
    """Return the first row of every pair of runs, measure and sign."""
    first_rows: dict[tuple[Pair, tuple[str, ...], str], md.Row] = {}
    for row in data.published.to_dict("records"):
        pair = data.pair((row["study"], row["arm"]), (row["against_study"], row["against"]))
        first_rows.setdefault((pair, _measure(row), row["sign"]), row)
    return list(first_rows.values())


def _measure(row: md.Row) -> tuple[str, ...]:
    """Return what was measured, with the numbers of noise passes for a measure of passes."""
    numbers = (row["passes_before"], row["passes_after"])
    return (row["measure"], *(f"{number:g}" for number in numbers if pd.notna(number)))


def _name(row: md.Row) -> str:
    """Return the name of an effect in a sentence."""
    if row["measure"] in ONE_ARM:
        _, *passes = _measure(row)
        return f"{row['arm']}: {ONE_ARM[row['measure']].format(*passes)}"
    cost = ", training FLOPs" if row["measure"] == COST else ""
    return f"{row['arm']} against {row['against']}{cost}"


def _cells(data: ReportData, row: md.Row, source: int) -> dict[str, str]:
    measured, spell, spell_difference = ERROR, data.format.percent, data.format.points
    if row["measure"] == COST:
        measured, spell = COSTS, md.format_ratio
        spell_difference = partial(md.format_signed, digits=SHARE)
    return {
        "effect": _name(row),
        "measured as": measured,
        "published": f"{_published(row)} [{source}]",
        "published for": md.escape(row["published_setting"]),
        "here": f"{spell(row['before'])} → {spell(row['after'])} ({_percent(row['change'])})",
        "difference": spell_difference(row["difference"]),
        md.INTERVAL: md.format_interval(row["low"], row["high"], spell_difference) or md.VOID,
        "n": str(row["n"]),
        "p": md.format_p(row["p"]),
        "outcome": "follows from the settings" if row["measure"] == COST else row["outcome"],
    }


def _published(row: md.Row) -> str:
    """Return the figures as printed and their change; the sign alone if there are none."""
    before, after = row["published_before"], row["published_after"]
    if pd.isna(before):
        return SIGNS[row["sign"]]
    digits = max(len(f"{figure:g}".partition(".")[2]) for figure in (before, after))
    change = _percent(row["published_change"])
    return f"{md.format_number(before, digits)} → {md.format_number(after, digits)} ({change})"


def _percent(change: float) -> str:
    """Return a relative change in percent."""
    return md.VOID if pd.isna(change) else f"{md.format_signed(100 * change, 0)} %"
