"""Write the page of claims: claims of lectures and papers, next to the measured values.

The effects of papers come from other networks, data and budgets: only their signs are judged.
"""

import itertools
from collections.abc import Iterator, Mapping
from math import exp, isnan
from typing import Any

import pandas as pd

from pipeline.comparison.levels import POWER
from pipeline.comparison.verdicts import Outcome
from pipeline.config.claims import COSTS, LOGARITHMIC, Claim
from pipeline.config.plan import BASELINE, PlannedStudy
from pipeline.records.ledger import LEDGER, changes
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.claim_cells import (
    BY,
    MEASURES,
    drawn_claims,
    effect_cell,
    expected_words,
    in_pairs,
    outcome_words,
    sides_cell,
)
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.labels import named_setting
from pipeline.reporting.pages._page import Page

ORDER = 50
OUTCOMES = {  # the words for one claim and for several
    Outcome.SUPPORTED: ("is supported", "are supported"),
    Outcome.CONTRADICTED: ("is contradicted", "are contradicted"),
    Outcome.INCONCLUSIVE: ("is inconclusive", "are inconclusive"),
    Outcome.NOT_TESTABLE: ("is not testable here", "are not testable here"),
}
FIGURE = (
    "Claims about a difference in points, with one line for each test: difference with its "
    "interval, expectation and outcome"
)
NAMED = (Outcome.SUPPORTED, Outcome.CONTRADICTED)  # outcomes whose claims a sentence names
FEW = 3  # claims of an outcome that are named; more are counted
WORDS = (  # columns of text
    *("claim", "outcome", "contrast", "setting", "measure", "expected", "first → second"),
)
SHOWN = 12  # hexadecimal digits of the hash of all claims
PUBLISHED_WORDS = ("claim", "published", "setting of the paper", "here", "outcome")
CAPTION = (
    "Claims that expect the opposite of each other are next to each other. Intervals are not "
    "corrected, unlike those in the first paragraph of the report. p and p (equivalence) have "
    "Holm's correction over all claims of the report."
)
NOTES = (  # what the columns and the outcomes mean
    "**contrast**: what is compared. A contrast has the form A against B.",
    "**first → second**: the mean of B, and then the mean of A. For an interaction, the two "
    "differences that are compared.",
    "**measure**: the quantity that is compared, and the kind of test: directional (the sign of "
    "the difference), equivalence (the difference is within the margin), exact (as expected at "
    "every seed or group), interaction (the difference of two contrasts), correlation (rank "
    "correlation of gap and test accuracy over the arms of one seed; its mean over seeds is tested "
    "against 0) or slope (from the first to the last level).",
    "**setting**: the chosen settings of the arms.",
    "**expected**: what the claim says of A, compared with B. A claim of equivalence has a margin "
    "of its own.",
    "**difference**: A minus B, in points for percentages, in nats for NLL. For times to target, "
    "norms of weights and learning rates it is A divided by B. For a correlation it is the "
    "coefficient.",
    f"**interval**: {md.CONFIDENCE} Student-t interval over seeds or over groups of models; of "
    "searches, see their page.",
    "**times to target**: both sides are medians; the difference is the Hodges-Lehmann estimate, "
    "with interval and p of Wilcoxon's signed-rank test.",
    "**p**: two-sided test of no difference.",
    "**p (equivalence)**: test that the difference is between minus the margin and the margin. If "
    '"not higher" is expected, only the upper limit is tested; if "not lower" is expected, only '
    "the lower limit.",
    "**detectable**: the smallest true difference that these seeds find with "
    f"{100 * POWER:g} % power at the strictest step of Holm's procedure (in brackets: how "
    "uncertain it is).",
    "**outcome**: decided by the sign of a significant difference, unless a reason is given. If "
    '"lower" or "higher" is expected, a difference that is shown to be within the margin '
    "contradicts the claim.",
    "**raw**: the last weights of a run, where the arm uses an average of weights.",
)


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page, if a study makes claims."""
    if len(data.claims):
        yield Page("claims", "Claims", claims_body(data))


def claims_body(data: ReportData) -> str:
    """Return the tables of claims, the tables of figures of papers, and the sources."""
    rows = rows_of(data.claims)
    sources = list(dict.fromkeys(row["source"] for row in rows))
    judged = [row for row in in_pairs(rows) if row["outcome"] in OUTCOMES]
    tested = [row for row in judged if row["outcome"] != Outcome.NOT_TESTABLE]
    numbers = {row["claim"]: sources.index(row["source"]) + 1 for row in rows}
    listing = "\n".join(f"{number}. {md.escape(name)}" for number, name in enumerate(sources, 1))
    return md.join_parts(
        "# Claims",
        f"{claims_sentence(data)} {_untested_note(rows)}".strip(),
        registration(data),
        f"![{FIGURE}](../figures/claims.png)" if len(drawn_claims(data.claims)) else "",
        _tables(data, tested, numbers),
        md.section("What the columns mean", md.format_bullets(NOTES) if tested else ""),
        md.section("Published numbers", _published(data, rows, numbers)),
        md.section("Costs that follow from the settings", _identities(data, rows)),
        md.section("Not testable here", _untestable(judged)),
        md.section("Sources", listing),
    )


def _tables(data: ReportData, tested: list[dict[str, Any]], numbers: Mapping[str, int]) -> str:
    """Return a table of the claims that are decided, and one, folded, of the inconclusive ones.

    Args:
        data: The data of the report.
        tested: The rows of the tested claims.
        numbers: The number of every source.
    """
    settings = chosen_settings(data)

    def table(rows: list[dict[str, Any]]) -> str:
        cells = [_cells(data, row, numbers, settings) for row in rows]
        return md.format_table(md.without_void(cells), CAPTION, WORDS) if cells else ""

    decided = table([row for row in tested if row["outcome"] in NAMED])
    undecided = [row for row in tested if row["outcome"] not in NAMED]
    count = md.format_count(len(undecided), "inconclusive claim")
    rest = table(undecided)
    return md.join_parts(decided, md.folded(count, rest) if decided else rest)


def claims_sentence(data: ReportData) -> str:
    """Return the number of claims with each outcome; empty without any.

    Of claims with the same contrast, measure and expectation the first counts. Outcomes that follow
    from the settings do not count.
    """
    rows = [row for row in rows_of(data.claims) if not row["repeats"]]
    parts = []
    for outcome, (one, several) in OUTCOMES.items():
        names = [f"**{row['claim']}**" for row in rows if row["outcome"] == outcome]
        if names:
            word = one if len(names) == 1 else several
            is_short = outcome in NAMED and len(names) <= FEW
            named = f" ({md.format_list(names)})" if is_short else ""
            parts.append(f"{len(names)} {word}{named}")
    if not parts:
        return ""
    counted = [row for row in rows if row["outcome"] in OUTCOMES]
    return (
        f"Of {md.format_count(len(counted), 'claim')}, {'; '.join(parts)}. All tests are corrected "
        "together, so an arm can help while a claim about it is inconclusive."
    )


def _untested_note(rows: list[dict[str, Any]]) -> str:
    """Return how claims are counted, and how many of them were decided without a test."""
    exact = [row for row in rows if row["rule"] == "exact" and row["outcome"] in NAMED]
    identities = [row for row in rows if row["outcome"] == Outcome.IDENTITY]
    decided = not_counted = ""
    if exact:
        count = md.format_count(len(exact), "claim")
        decided = f" {count} of rule `exact` {'is' if len(exact) == 1 else 'are'} not tested: the "
        decided += "signs of all differences decide."
    if identities:
        count = md.format_count(len(identities), "claim")
        not_counted = f" Not counted: {count} that must hold by the settings."
    return f"Claims with equal tests count once.{decided}{not_counted}"


def registration(data: ReportData) -> str:
    """Return a link to the ledger that shows when claims were registered; "" without a ledger."""
    if not data.openings:
        return ""
    between = [changes(*pair) for pair in itertools.pairwise(data.openings)]
    changed = len([each for each in between if "claims" in {change.kind for change in each}])
    since = "It is the same in all entries: these claims were registered before test scores."
    if changed:
        since = (
            f"It changed {md.format_count(changed, 'time')} between entries: a claim that was "
            "added or changed then may have been written with results in view."
        )
    return (
        f"The plan and every entry of the [ledger](../{LEDGER}) store a hash of all claims "
        f"(`{data.exploration.claims[:SHOWN]}`…), before the test set is evaluated. {since}"
    )


def chosen_settings(data: ReportData) -> dict[str, str]:
    """Return the chosen settings of the arms that each claim compares, by claim."""
    chosen = {(row["study"], row["arm"]): row["setting"] for row in rows_of(data.primary)}
    settings = {}
    for study in data.confirmation.studies:
        for claim in study.claims:
            keys = dict.fromkeys(_compared_arms(claim, study))
            named = {key: named_setting(key[1], chosen[key]) for key in keys if key in chosen}
            listed = {key: text for key, text in named.items() if text}
            texts = [f"{arm}: {text}" for (_, arm), text in listed.items()]
            settings[claim.id] = "; ".join(texts if len(texts) > 1 else listed.values())
    return settings


def _compared_arms(claim: Claim, study: PlannedStudy) -> Iterator[tuple[str, str]]:
    """Yield the study and the name of every arm that a claim compares, also those it implies."""
    references = {arm.name: arm.against for arm in study.arms}
    for contrast in claim.contrasts:
        yield from ((study.name, arm) for arm in contrast.arms)
        if contrast.arm and not (contrast.passes or contrast.is_searched):
            reference = contrast.against or references.get(contrast.arm, BASELINE)
            yield contrast.against_study or study.name, reference


def _cells(
    data: ReportData, row: md.Row, numbers: Mapping[str, int], settings: Mapping[str, str]
) -> dict[str, str]:
    """Return the cells of a claim; what a narrow screen should show comes first."""
    contrast = f"({row['contrast']}) minus ({row['than']})" if row["than"] else row["contrast"]
    return {
        "claim": f"**{row['claim']}** ({BY[row['by']]} [{numbers[row['claim']]}]): "
        f"{md.escape(row['says'])}",
        "outcome": outcome_words(row, data.format),
        "difference": md.unbroken(effect_cell(row, data.format)),
        "contrast": md.escape(contrast),
        "setting": settings.get(row["claim"], "") or md.VOID,
        "measure": f"{MEASURES[row['measure']]}, {row['rule']}",
        "expected": expected_words(row, data.format),
        "first → second": md.unbroken(sides_cell(row, data.format)),
        "n": str(row["n"]),
        "p": md.format_p(row["p_holm"]),
        "p (equivalence)": md.format_p(row["p_equivalence"]),
        "detectable": _detectable(data, row),
    }


def _detectable(data: ReportData, row: md.Row) -> str:
    if row["outcome"] != Outcome.INCONCLUSIVE or isnan(row["detectable"]):
        return md.VOID
    middle, low, high = (
        _size(data, row, row[key]) for key in ("detectable", "detectable_low", "detectable_high")
    )
    return f"{middle} ({low} to {high})"


def _size(data: ReportData, row: md.Row, value: float) -> str:
    if row["measure"] in LOGARITHMIC:
        return f"x {md.format_ratio(exp(value))}"
    shown = effect_cell({**row, "difference": value}, data.format, interval=False)
    return shown.removeprefix("+")  # a size has no sign


def _published(data: ReportData, rows: list[dict[str, Any]], numbers: Mapping[str, int]) -> str:
    """Return the printed figures of papers next to the measured ones; "" without any."""
    cells = [
        {
            "claim": row["claim"],
            "published": f"{_figures(data, row)} [{numbers[row['claim']]}]",
            "setting of the paper": md.escape(row["published_setting"]),
            "here": f"{sides_cell(row, data.format)} ({_percent(row['change'])})",
            "outcome": row["outcome"],
        }
        for row in rows
        if row["published_setting"] and row["outcome"] != Outcome.NOT_TESTABLE
    ]
    caption = (
        "Before → after, and in brackets the change in percent of the first number. Compare the "
        "signs. Sizes are only roughly comparable, because networks, data and training budgets "
        "differ. Costs here are counted, not timed. Identity: the result follows from the settings "
        "and is not tested."
    )
    return md.format_table(cells, caption, PUBLISHED_WORDS) if cells else ""


def _figures(data: ReportData, row: md.Row) -> str:
    """Return the figures as printed and their change; only the expectation if there are none."""
    before, after = row["published_before"], row["published_after"]
    if pd.isna(before):
        return expected_words(row, data.format)
    digits = max(len(f"{figure:g}".partition(".")[2]) for figure in (before, after))
    change = _percent(row["published_change"])
    return f"{md.format_number(before, digits)} → {md.format_number(after, digits)} ({change})"


def _identities(data: ReportData, rows: list[dict[str, Any]]) -> str:
    lines = [
        f"**{row['claim']}** ({row['contrast']}): {md.escape(row['says'])} "
        f"Counted: {MEASURES[row['measure']]}, {sides_cell(row, data.format)}."
        for row in rows
        if row["outcome"] == Outcome.IDENTITY and row["measure"] in COSTS
    ]
    return md.format_bullets(lines)


def _untestable(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"**{row['claim']}**: {md.escape(row['says'])} ({row['reason']})"
        for row in rows
        if row["outcome"] == Outcome.NOT_TESTABLE
    ]
    return md.format_bullets(lines)


def _percent(change: float) -> str:
    """Return a relative change in percent."""
    return md.VOID if pd.isna(change) else f"{md.format_signed(100 * change, 0)} %"
