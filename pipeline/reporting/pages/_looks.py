"""Write at which look every arm stopped, and why."""

import pandas as pd

from pipeline.comparison.levels import FUTILE, LEVEL, LIKELY
from pipeline.config.plan import Reason
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import Key, ReportData

STOPPED: dict[Reason, str] = {
    "difference": "a difference is predicted",
    "equivalent": "equivalence is predicted",
    "futile": "the last look is unlikely to decide",
    "last": "last look",
    "asked": "requested by `gapwise resolve`",
}
SHORT: dict[Reason, str] = {
    "difference": "difference",
    "equivalent": "equivalence",
    "futile": "futile",
    "last": "last look",
    "asked": "resolve",
}
METHOD = f"""\
**Looks**: arms have {{seeds}} seeds; the weights of these looks are {{weights}}. After each look, \
an arm stops for one of two reasons. First, its validation scores show a difference or \
equivalence, by the tests of a verdict with the same corrections, and test scores would show it \
too with a chance of at least {100 * LIKELY:g} %. Second, the last look would decide with a chance \
below {100 * FUTILE:g} %, if the present mean and spread were the true ones (conditional power). \
No test score is read for this. An arm also continues as long as an arm that is compared with it \
continues. p: the smallest of the p values at the looks of an arm, each divided by the weight of \
its look; a look is left out if the sign of its difference is not that of the last look. Intervals \
are at level 1 - {LEVEL:g} x weight of the last look of the arm, so that they cover at least \
{md.CONFIDENCE} whenever an arm stops (union bound). Equivalence is corrected in the same way; if \
the last difference is beyond the margin, earlier looks are left out. All other tests of arms are \
corrected by the weight of the last look only: rates of lost runs, interactions, training \
accuracy, time to target, sign flips. Intervals of the means of single arms are not corrected"""
BY_WEIGHT = " p is divided by the weight of the last [look](method.md#statistics) of {whose}{more}."
BY_WEIGHT_HERE = BY_WEIGHT.replace("method.md#statistics", "#looks")


def looks_note(data: ReportData) -> str:
    """Return how looks correct p and intervals; empty without looks."""
    looks = data.confirmation.looks
    if looks is None:
        return ""
    weights = md.format_list([f"{weight:.3g}" for weight in looks.weights])
    return METHOD.format(seeds=_numbers(looks.seeds), weights=weights)


def weight_note(data: ReportData, whose: str, more: str = "", *, here: bool = False) -> str:
    """Return that p is corrected by the weight of the last look; empty without looks.

    Args:
        data: The report.
        whose: Whose look it is.
        more: What else is corrected by it.
        here: Whether the page has the table of looks.
    """
    if data.confirmation.looks is None:
        return ""
    return (BY_WEIGHT_HERE if here else BY_WEIGHT).format(whose=whose, more=more)


def looks_section(data: ReportData) -> str:
    """Return a table of the last look of every arm; empty without looks."""
    if data.looks.empty:
        return ""
    rows = [
        {
            "arm": row["label"],
            "seeds": str(row["seeds"]),
            "look": str(row["look"]),
            "stopped": stopped_words(row["stopped"]),
            "validation difference": data.format.points(row["validation_difference"]),
            "p (Holm)": md.format_p(row["validation_p_holm"]),
            "p (equivalence)": md.format_p(row["validation_p_equivalence"]),
            "chance (%)": _chance(row["chance"]),
        }
        for row in rows_of(last_looks(data))
    ]
    caption = (
        "At the last look of each arm. Validation difference: points of validation accuracy, arm "
        "minus reference; it decides whether the arm continues. p: corrected for looks. Chance: "
        "probability of a decision at the last look. Where the last look was requested by "
        "`gapwise resolve`, these scores decided nothing. `looks.csv` of the artifacts has every "
        "look of every arm. "
        "[How looks correct verdicts](method.md#statistics)."
    )
    return md.format_table(md.without_void(rows), caption, words=("arm", "stopped"))


def last_looks(data: ReportData) -> pd.DataFrame:
    """Return the last look of every arm with its label, without arms that repeat another."""
    last = data.looks.drop_duplicates(["study", "arm"], keep="last")
    return data.distinct[["study", "arm", "label"]].merge(last, on=["study", "arm"])


def short_stops(data: ReportData) -> dict[Key, str]:
    """Return why each arm stopped, in a word or two; empty without looks."""
    looks = data.confirmation.looks
    stops = looks.stops if looks else ()
    return {(stop.study, stop.arm): SHORT[stop.reason] for stop in stops}


def stopped_words(reason: str) -> str:
    """Return the reason why an arm stopped, in words, or that it waits for scores."""
    return {str(key): words for key, words in STOPPED.items()}.get(reason, md.VOID)


def _numbers(seeds: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, seeds[:-1]))} or {seeds[-1]}"


def _chance(chance: float) -> str:
    return md.VOID if pd.isna(chance) else md.format_number(100 * chance, 0)
