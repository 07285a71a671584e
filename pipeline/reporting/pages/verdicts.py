"""Write the page of verdicts: every number behind the table of the front page."""

from collections.abc import Iterator

from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.collapse_sentences import rate_table
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.front_cells import constant_words
from pipeline.reporting.labels import setting_cell, verdict_cell
from pipeline.reporting.pages._looks import looks_section, weight_note
from pipeline.reporting.pages._page import (
    CONTRAST_INTERVAL,
    PAIRS,
    RUNS,
    Page,
    family,
    format_states,
    rules,
)
from pipeline.reporting.pages.variance import pool_words, standard_error_sentence

ORDER = 5
LOOKS = " p, intervals and equivalence are corrected for the [looks](#looks) that each arm has had."
PAIR_LOOKS = (
    " Looks: p is divided by the weight of the last [look](#looks) that both arms have had, and "
    "intervals are at its level."
)
OTHER_IMAGES = "interval for other test examples"


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    body = md.join_parts(
        "# Verdicts",
        verdict_table(data),
        md.section("Looks", looks_section(data)),
        pair_table(data),
        md.section("Collapsed and diverged runs", rate_table(data.rates, _rate_looks(data))),
        md.section("Precision", standard_error_sentence(data)),
    )
    yield Page("verdicts", "Verdicts", body)


def verdict_table(data: ReportData) -> str:
    """Return a table with a row per arm, the best difference first."""
    caption = (
        f"n: {PAIRS}. Test rule: {rules(data)}; gaps are always measured without noise. "
        f"Interval: {CONTRAST_INTERVAL}. It holds for new seeds on these test examples and this "
        "pool of training examples. Interval for other test examples: it also includes the choice "
        "of test examples ([how](checks.md)). If this changes the verdict, the new verdict is "
        "named. Neither interval holds for other pools of training examples"
        f"{pool_words(data)}. "
        f"p: two-sided paired t test, Holm over {family(data)}; "
        "the intervals are not corrected, so an interval may exclude 0 although the verdict is "
        "inconclusive. Equivalent: two one-sided tests at 5 %, with Holm's correction, show that "
        f"the difference is within the margin.{LOOKS if data.confirmation.looks else ''}"
    )
    gaps = data.gap_contrasts
    rows = [
        _cells(data, row, gaps.get((row["study"], row["arm"]))) for row in rows_of(data.grouped)
    ]
    words = ("arm", "study", "verdict", "setting")
    return md.format_table(md.without_void(rows), caption, words)


def _rate_looks(data: ReportData) -> str:
    return weight_note(data, "the arm", ", and intervals are at its level", here=True)


def pair_table(data: ReportData) -> str:
    """Return the arms that help, compared with each other; empty for fewer than two."""
    rows = [
        {
            "arm": data.named(row["study"], row["arm"]),
            "other arm": data.named(row["other_study"], row["other"]),
            "difference (points)": data.format.points(row["difference"]),
            md.INTERVAL: _interval(data, row),
            "n": str(row["n"]),
            "p (Holm)": md.format_p(row["p_holm"]),
        }
        for row in rows_of(data.pairs)
    ]
    if not rows:
        return ""
    caption = (
        "Difference: arm minus other arm. n: seeds at which both arms have a completed run, on the "
        f"same kind of machine. Rule: the test rule of each arm. Interval: {md.CONFIDENCE} "
        "Student-t interval of the mean difference, paired by seed, not corrected. p: two-sided "
        f"paired t test, Holm over {md.format_count(len(rows), 'row')}. "
        'Arms with the verdict "helps, below the margin" are not compared.'
        f"{PAIR_LOOKS if data.confirmation.looks else ''}"
    )
    table = md.format_table(rows, caption, words=("arm", "other arm"))
    return md.section("Arms that help, compared with each other", table)


def _interval(data: ReportData, row: md.Row) -> str:
    """Return the interval over seeds, a dash without one."""
    return md.unbroken(data.format.points_interval(row["low"], row["high"])) or md.VOID


def _over_images(data: ReportData, row: md.Row) -> str:
    """Return the interval over seeds and test examples, and the verdict there if it is another."""
    bounds = data.format.points_interval(row["low_images"], row["high_images"])
    if not bounds or row["verdict_other_images"] == row["verdict"]:
        return md.unbroken(bounds) or md.VOID
    return f"{md.unbroken(bounds)} (verdict: {row['verdict_other_images']})"


def _cells(data: ReportData, row: md.Row, gap: md.Row | None) -> dict[str, str]:
    study = {"study": row["study"]} if data.ambiguous else {}
    return {
        "arm": row["arm"] + data.reference(row["study"], row["arm"]),
        **study,
        "verdict": verdict_cell(row),
        "difference (points)": data.format.points(row["difference"]) + constant_words(row),
        md.INTERVAL: _interval(data, row),
        OTHER_IMAGES: _over_images(data, row),
        "test accuracy (%)": data.format.percent(row["arm_mean"]),
        "baseline (%)": data.format.percent(row["baseline_mean"]),
        "gap (points)": data.format.percent(gap["arm_mean"]) if gap else md.VOID,
        "change of gap": md.unbroken(data.format.change(gap, unit="")) if gap else md.VOID,
        "n": str(row["n"]),
        "p (Holm)": md.format_p(row["p_holm"]),
        "setting": setting_cell(row["setting"]),
        RUNS: md.VOID if row["planned"] == row["done"] else format_states(row),
    }
