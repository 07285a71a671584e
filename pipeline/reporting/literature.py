"""What papers report beside what was measured here: sign and size, with intervals.

Separate from the contrasts because these effects come from other networks, data and budgets: only their signs are judged.
"""

from typing import Any

import pandas as pd

from pipeline.reporting.frames import Evidence, Pair
from pipeline.reporting.tables import (
    CONFIDENCE,
    INTERVAL,
    VOID,
    counted,
    decimal,
    decimals,
    listed,
    p_value,
    percent,
    points,
    points_interval,
    ratio,
    signed,
    signed_interval,
    table,
    text,
)

SHARE = 2  # decimals of a cost
OUTCOMES = {
    "agrees": ("agrees", "agree"),
    "disagrees": ("disagrees", "disagree"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
    "not measured": ("was not measured", "were not measured"),
}
ALONE = {
    "passes": "{} against {} noise passes",
    "crops": "one view against crops",
}  # of one arm, at test
SIGNS = {
    "lower": "lower",
    "higher": "higher",
    "not_lower": "no gain",
}  # of the measure, where no figures are given
COST = "training_cost"
ERROR, COSTS = "test error (%)", "training FLOPs as counted, a share of the other's"


def literature_sentence(evidence: Evidence) -> str:
    """How many published effects agree in sign with what was measured, and which do not; empty where there is none.

    The same effect of the same runs counts once, under its first name, however many studies and papers name it.
    """
    rows = _once(evidence)
    if not rows:
        return ""
    told = []
    for outcome, (one, several) in OUTCOMES.items():
        own = [row for row in rows if row["outcome"] == outcome]
        if own:
            names = listed([f"**{_name(row)}**" for row in own])
            told.append(f"{len(own)} {one if len(own) == 1 else several} ({names})")
    whole = counted(len(rows), "effect")
    return f"Of {whole} that papers report, judged by sign: {'; '.join(told)}."


def literature_page(evidence: Evidence) -> str:
    """The table of published effects, figures side by side, and their sources."""
    rows, digits = evidence.published.to_dict("records"), decimals(evidence.primary())
    sources = list(dict.fromkeys(row["source"] for row in rows))
    cells = [_cells(row, sources.index(row["source"]) + 1, digits) for row in rows]
    caption = (
        "Each pair of figures stands as before → after (the change in percent of before). n: pairs of seeds (groups for "
        "crops), as in the contrasts. Rule: the test rule of each arm, unless passes or crops are named. Interval: "
        f"{CONFIDENCE} Student-t interval of the mean difference over seeds; a cost is counted, never timed, and where it is "
        "alike at every seed it follows from the settings and has no width. p: two-sided paired t test. Neither is corrected. "
        "Agrees, disagrees: the interval lies on the published side of 0, or on the other; of an effect published as no gain, "
        "agrees also where it is shown to lie within the margin. Rows of the same runs, measure and sign count once in the "
        "sentence above. Signs can be compared; sizes come from other networks, amounts of data and budgets, and can only "
        "roughly."
    )
    listing = "\n".join(
        f"{number}. {text(source)}" for number, source in enumerate(sources, start=1)
    )
    parts = [
        "# Published and measured",
        literature_sentence(evidence),
        table(pd.DataFrame(cells), caption),
        listing,
    ]
    return "\n\n".join(parts)


def _once(evidence: Evidence) -> list[dict[str, Any]]:
    """The first row of every pair of runs, measure and sign."""
    found: dict[tuple[Pair, str, str], dict[str, Any]] = {}
    for row in evidence.published.to_dict("records"):
        pair = evidence.pair(row["study"], row["arm"], row["against"])
        found.setdefault((pair, row["measure"], row["sign"]), row)
    return list(found.values())


def _name(row: dict[str, Any]) -> str:
    """What an effect is called in a sentence."""
    kind = row["measure"].partition("_")[0]
    if kind in ALONE:
        return f"{row['arm']}: {ALONE[kind].format(*_passes(row))}"
    return f"{row['arm']} against {row['against'].rpartition('.')[2]}" + (
        ", counted cost" if row["measure"] == COST else ""
    )


def _passes(row: dict[str, Any]) -> list[str]:
    """The numbers of noise passes in a measure such as passes_1_12."""
    return str(row["measure"]).split("_")[1:]


def _cells(row: dict[str, Any], source: int, digits: int) -> dict[str, str]:
    cost = row["measure"] == COST
    before, after = (
        ratio(row[side]) if cost else percent(row[side], digits) for side in ("before", "after")
    )
    spelled = (
        signed_interval(row["low"], row["high"], SHARE)
        if cost
        else points_interval(row["low"], row["high"], digits)
    )
    return {
        "effect": _name(row),
        "measured as": COSTS if cost else ERROR,
        "published": f"{_published(row)} [{source}]",
        "published for": text(row["setting"]),
        "here": f"{before} → {after} ({_change(row['before'], row['after'])})",
        "difference": signed(row["difference"], SHARE)
        if cost
        else points(row["difference"], digits),
        INTERVAL: spelled or VOID,
        "n": str(row["n"]),
        "p": p_value(row["p"]),
        "outcome": row["outcome"],
    }


def _published(row: dict[str, Any]) -> str:
    """The figures as printed and their change; where there are none, the sign alone."""
    before, after = row["published_before"], row["published_after"]
    if pd.isna(before):
        return SIGNS[row["sign"]]
    digits = max(len(f"{figure:g}".partition(".")[2]) for figure in (before, after))
    return f"{decimal(before, digits)} → {decimal(after, digits)} ({_change(before, after)})"


def _change(before: float, after: float) -> str:
    """The change relative to what was before, in percent."""
    return f"{signed(100 * (after / before - 1), 0)} %" if before > 0 else VOID
