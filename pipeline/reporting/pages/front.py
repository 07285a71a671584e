"""Write the front page: the main findings, and links to all other pages."""

from collections.abc import Sequence

import pandas as pd

from pipeline.comparison.levels import POWER
from pipeline.comparison.verdicts import Verdict
from pipeline.config.plan import PlannedArm
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import MOST, ReportData
from pipeline.reporting.labels import setting_cell, verdict_label
from pipeline.reporting.pages._diagnosis import diagnosis_section
from pipeline.reporting.pages._findings import findings
from pipeline.reporting.pages._interactions import interaction_lines
from pipeline.reporting.pages._page import (
    CONTRAST_INTERVAL,
    PAIRS,
    RUNS,
    Page,
    family,
    format_states,
    incomplete_runs,
    rules,
)
from pipeline.reporting.pages._trust import not_above, qualifiers, trust_section
from pipeline.reporting.pages.gap import smallest_gap
from pipeline.reporting.pages.published import published_sentence
from pipeline.reporting.pages.variance import largest_streams, standard_error_sentence

BELOW = ", but by less than the margin of {}"
VERDICTS = {  # (verdict, below the margin): the words after one arm and after several
    (Verdict.HELPS, False): ("helps", "help"),
    (Verdict.HELPS, True): (f"helps{BELOW}", f"help{BELOW}"),
    (Verdict.HURTS, False): ("hurts", "hurt"),
    (Verdict.HURTS, True): (f"hurts{BELOW}", f"hurt{BELOW}"),
    (Verdict.EQUIVALENT, False): (
        "is equivalent to its baseline within {}",
        "are equivalent to their baseline within {}",
    ),
    (Verdict.INCONCLUSIVE, False): ("is inconclusive", "are inconclusive"),
}
RANKED = (Verdict.HELPS, Verdict.HURTS)  # verdicts whose largest difference is named
TRAINED = ("training.optimizer", "training.schedule", "training.warm_up")
NAMED = 3  # arms of one verdict that the headline names; more are counted
FOREST = (
    "Forest plot: difference in test accuracy of every arm to the baseline, with interval and "
    "verdict, over the margin"
)


def front_page(data: ReportData, pages: Sequence[Page]) -> str:
    """Return the whole of `report.md`; `pages` are those behind it."""
    published = published_sentence(data)
    sources = f"{published} [Figures and sources](pages/published.md)." if published else ""
    note = f"*The figure shows only the {MOST} largest differences.*"
    parts = [
        f"# {title(data)}: {data.confirmation.protocol}",
        headline(data),
        headline_table(data),
        incomplete_runs(data.runs),
        left_out(data),
        f"![{FOREST}](figures/forest.png)",
        note if len(data.distinct) > MOST else "",
        md.section("Trust checks", trust_section(data)),
        md.section("Diagnosis", diagnosis_section(data)),
        smallest_gap(data),
        md.section("Training choices", training_findings(data)),
        md.section("Interactions", interaction_lines(data)),
        md.section("Published and measured", sources),
        md.section("Precision", standard_error_sentence(data)),
        *(largest_streams(data, study.name) for study in data.confirmation.studies_of("variance")),
        md.section("Pages", _contents(pages)),
    ]
    return md.join_parts(*parts) + "\n"


def title(data: ReportData) -> str:
    """Return the question of a report, by what its arms change."""
    arms = [arm for _, arm in data.planned_arms[1:]]
    training = [arm for arm in arms if _is_training_choice(arm)]
    if not training:
        return "Which regularizers close the gap"
    if len(training) < len(arms):
        return "Which regularizers and training choices help"
    return "Which training choices help"


def _is_training_choice(arm: PlannedArm) -> bool:
    """Return whether an arm changes how or what is trained, rather than adds a regularizer."""
    if arm.factor.regularizers:
        return any(key.startswith(TRAINED) for key in arm.factor.protocol)
    return not all(key.startswith("data.") for key in arm.factor.protocol)


def training_findings(data: ReportData) -> str:
    """Return the answers of all studies of training choices, each with a link to its page."""
    lines = [
        f"{line} [Study {study.name}](pages/study_{study.name}.md)."
        for study in data.confirmation.studies_of("comparison")
        for line in findings(data, study)
    ]
    return md.format_bullets(lines)


def headline(data: ReportData) -> str:
    """Return the findings in plain language: verdict by verdict, then the baseline's gap.

    Failed trust checks limit the first sentence, and the one about the baseline.
    """
    sentences = [_verdict_sentence(data, *judged) for judged in VERDICTS]
    findings = [sentence for sentence in sentences if sentence]
    if not (data.distinct["verdict"] == Verdict.HELPS).any():
        findings.insert(0, "no arm has been shown to help.")
    accuracy, gap = (data.baseline(name)["mean"] for name in ("test_accuracy", "gap"))
    findings.append(
        f"The baseline reaches {data.format.percent(accuracy)} % test accuracy with a gap of "
        f"{data.format.percent(gap)} points between train and validation accuracy"
        f"{not_above(data)}."
    )
    note = (
        f"(Points of test accuracy, {md.INTERVAL}s. A detectable difference is the smallest that "
        f"these seeds find with {100 * POWER:g} % power.)"
    )
    conditions, values = qualifiers(data)
    return f"With {_fresh_seeds(data.distinct)}{conditions}, {values}{' '.join(findings)} {note}"


def headline_table(data: ReportData) -> str:
    """Return a table with a row per arm, the best difference first."""
    caption = (
        f"n: {PAIRS}. Test rule: {rules(data)}; gaps are always deterministic. "
        f"Interval: {CONTRAST_INTERVAL}. "
        f"p: two-sided paired t test, Holm over {family(data)}; "
        "the intervals are not corrected, so an interval may exclude 0 although the verdict is "
        "inconclusive. Equivalent: the 90 % interval lies within the margin (two one-sided tests "
        "at 5 %, not corrected). Arms are not compared with each other. All results are specific "
        "to this test set and this pool of training images."
    )
    gaps = data.contrasts[data.contrasts["metric"] == "gap"].to_dict("records")
    by_arm = {(row["study"], row["arm"]): row for row in gaps}
    rows = [
        _headline_cells(data, row, by_arm.get((row["study"], row["arm"])))
        for row in data.distinct.to_dict("records")
    ]
    return md.format_table(rows, caption, words=("arm", "study", "verdict", "setting"))


def left_out(data: ReportData) -> str:
    """Return what the contrasts left out, and which compare the same runs; empty if none do."""
    primary, lines = data.distinct, []
    for row in primary.to_dict("records"):
        if row["unpaired"]:
            lines.append(
                f"**{row['label']}**: {md.format_count(row['unpaired'], 'pair')} of seeds left "
                "out: one of the two runs is not done or has no number."
            )
        if row["other_machine"]:
            lines.append(
                f"**{row['label']}**: {md.format_count(row['other_machine'], 'pair')} left out: "
                "trained on another kind of machine than the rest. Contrasts and interactions do "
                "not mix processors or numbers of threads; other means and figures use all runs."
            )
    for twins in data.twins:
        names = md.format_list([f"**{data.label(*key)}**" for key in twins])
        if data.is_its_reference(*twins[0]):
            verb = "have" if len(twins) > 1 else "has"
            lines.append(f"{names} {verb} the setting of the reference: there is no difference.")
        elif len(twins) > 1:
            lines.append(f"{names} are the same runs, and count once.")
    lines += [
        f"**{label}** has the same difference at every seed, so it has no interval."
        for label in primary.loc[(primary["n"] > 1) & primary["low"].isna(), "label"]
    ]
    if (primary["n"] == 1).any():
        lines.append(
            "One pair of seeds has no interval, no p and no verdict: raise seeds.confirmation in "
            "params.yaml."
        )
    return md.format_bullets(lines)


def _verdict_sentence(data: ReportData, verdict: Verdict, below: bool) -> str:
    """Return what the arms with one verdict do: a few by name, many by number and the largest."""
    one, several = VERDICTS[verdict, below]
    margin = md.format_margin(data.confirmation.margin)
    primary = data.distinct
    rows = primary[(primary["verdict"] == verdict) & (primary["below_margin"] == below)]
    if rows.empty:
        return ""
    if len(rows) <= NAMED:
        names = [_finding(data, row) for row in rows.to_dict("records")]
        return f"{md.format_list(names)} {(several if len(names) > 1 else one).format(margin)}."
    words = f"{len(rows)} of {md.format_count(len(primary), 'arm')} {several.format(margin)}"
    if verdict not in RANKED:
        return f"{words}."
    largest = rows.loc[rows["difference"].abs().idxmax()].to_dict()
    return f"{words}, most of all {_finding(data, largest)}."


def _finding(data: ReportData, row: md.Row) -> str:
    name = f"**{row['label']}**"
    if pd.isna(row["difference"]):
        return f"{name} (no pair of runs)"
    change = data.format.change(row)
    if row["verdict"] != Verdict.INCONCLUSIVE or pd.isna(row["detectable"]):
        return f"{name} ({change})"
    return f"{name} ({change}; detectable: {data.format.detectable(row['detectable'])})"


def _fresh_seeds(primary: pd.DataFrame) -> str:
    least, most = int(primary["n"].min()), int(primary["n"].max())
    seeds = md.format_count(most, "fresh seed")
    return f"up to {seeds}" if least < most else seeds


def _headline_cells(data: ReportData, row: md.Row, gap: md.Row | None) -> dict[str, str]:
    study = {"study": row["study"]} if data.ambiguous else {}
    trained = not data.rate_ranges.empty
    return {
        "arm": row["arm"] + data.reference(row["study"], row["arm"]),
        **study,
        **({"trials": str(data.trials(row["study"], row["arm"]))} if trained else {}),
        "verdict": verdict_label(row),
        "difference (points)": data.format.points(row["difference"]),
        md.INTERVAL: data.format.points_interval(row["low"], row["high"]) or md.VOID,
        "test accuracy (%)": data.format.percent(row["arm_mean"]),
        "baseline (%)": data.format.percent(row["baseline_mean"]),
        "gap (points)": data.format.percent(gap["arm_mean"]) if gap else md.VOID,
        "change of gap": data.format.change(gap, unit="") if gap else md.VOID,
        "n": str(row["n"]),
        "p (Holm)": md.format_p(row["p_holm"]),
        "setting": setting_cell(row["setting"]),
        RUNS: format_states(row),
    }


def _contents(pages: Sequence[Page]) -> str:
    lines = []
    for page in pages:
        link = f"[{page.title}](pages/{page.name}.md)"
        lines.append(f"{link}: {page.question}" if page.question else link)
    return md.format_bullets(lines)
