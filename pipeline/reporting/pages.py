"""The pages of a report: a front page that is understood in a minute, and a page for everything behind it.

Separate from the tables and figures they show: here are only words and order.
"""

from typing import Any

import pandas as pd

from pipeline.reporting.averaging import averaging_section
from pipeline.reporting.diagnosis import diagnosis, smallest_gap
from pipeline.reporting.ensembles import ensemble_section
from pipeline.reporting.frames import Evidence
from pipeline.reporting.gallery import MOST
from pipeline.reporting.interplay import interaction_lines
from pipeline.reporting.literature import literature_page, literature_sentence
from pipeline.reporting.method import method_page
from pipeline.reporting.overview import budgets, cost_table, gap_table, headline_table, left_out
from pipeline.reporting.sections import losses, study_section
from pipeline.reporting.spread import largest, spread_sentence, variance_page
from pipeline.reporting.tables import (
    INTERVAL,
    amount,
    counted,
    decimals,
    findable,
    listed,
    percent,
    points,
    points_interval,
    text,
)

VERDICTS = {  # the words after the arm that has a verdict, and after several; and whether one stands out as the most
    "helps": ("helps", "help", True),
    "helps, below the margin": (
        "helps, but by less than the margin of {}",
        "help, but by less than the margin of {}",
        True,
    ),
    "hurts": ("hurts", "hurt", True),
    "hurts, below the margin": (
        "hurts, but by less than the margin of {}",
        "hurt, but by less than the margin of {}",
        True,
    ),
    "equivalent": (
        "is equivalent to its baseline within {}",
        "are equivalent to their baseline within {}",
        False,
    ),
    "inconclusive": ("stays inconclusive", "stay inconclusive", False),
}
NAMED = 3  # arms of one verdict that the headline names; more are counted
FOREST = "Forest plot: difference in test accuracy of every arm to the baseline, with interval and verdict, over the margin"
SCATTER = "Scatter: gap against test accuracy, small for every confirmation run and large for the mean of every arm"
BACK = "[← the report](../report.md)"


def pages(evidence: Evidence) -> dict[str, str]:
    """File name, relative to the folder of the report, to Markdown."""
    found = {
        "method": method_page(evidence),
        "gap": _gap_page(evidence),
        "cost": _cost_page(evidence),
    }
    averaging = averaging_section(evidence)
    if averaging:
        found["averaging"] = averaging
    if len(evidence.published):
        found["published"] = literature_page(evidence)
    plan = evidence.confirmation
    found |= {study_page(study.name): study_section(evidence, study) for study in plan.studies}
    found |= {
        study_page(ensemble.name): ensemble_section(evidence, ensemble)
        for ensemble in plan.ensembles
    }
    found |= {study_page(study.name): variance_page(evidence, study) for study in plan.variances}
    behind = {f"pages/{name}.md": f"{BACK}\n\n{body}\n" for name, body in found.items()}
    return {"report.md": front_page(evidence, list(found)), **behind}


def study_page(study: str) -> str:
    """The name of a study's page: no study can take the place of another page."""
    return f"study_{study}"


def front_page(evidence: Evidence, behind: list[str]) -> str:
    """The whole of `report.md`; `behind` names the other pages."""
    interactions, spread = interaction_lines(evidence), spread_sentence(evidence)
    literature = literature_sentence(evidence)
    beside = f"{literature} [Figures and sources](pages/published.md)."
    parts = [
        f"# Which regularizers close the gap: {evidence.confirmation.protocol}",
        headline(evidence),
        headline_table(evidence),
        losses(evidence.planned()),
        left_out(evidence),
        f"![{FOREST}](figures/forest.png)",
        f"*The figure shows the {MOST} largest differences, the table all.*"
        if len(evidence.primary()) > MOST
        else "",
        f"## Diagnosis\n\n{diagnosis(evidence)}",
        smallest_gap(evidence),
        f"## What two do together\n\n{interactions}" if interactions else "",
        f"## Published and measured\n\n{beside}" if literature else "",
        f"## More seeds, or more images?\n\n{spread}" if spread else "",
        *(largest(evidence, study) for study in evidence.confirmation.variances),
        f"## Pages\n\n{_contents(evidence, behind)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(evidence: Evidence) -> str:
    """The findings in plain language: what helps and by how much, what does not, what stays open, and the baseline's gap."""
    primary = evidence.primary()
    digits = decimals(primary)
    found = [
        _told(evidence, primary, verdict)
        for verdict in VERDICTS
        if (primary["verdict"] == verdict).any()
    ]
    if not primary["verdict"].str.startswith("helps").any():
        found.insert(0, "no arm has been shown to help.")
    means = evidence.baseline()[["test_accuracy", "gap"]].mean()
    found.append(
        f"The baseline reaches {percent(means['test_accuracy'], digits)} % test accuracy with a gap of "
        f"{percent(means['gap'], digits)} points between train and validation accuracy."
    )
    return f"After {_fresh_seeds(primary)}, {' '.join(found)} (Differences in points of test accuracy, with {INTERVAL}s.)"


def _told(evidence: Evidence, primary: pd.DataFrame, verdict: str) -> str:
    """What the arms with one verdict do: a few by name, many by number and the one with the largest difference."""
    one, several, ranked = VERDICTS[verdict]
    margin, digits = amount(evidence.confirmation.margin), decimals(primary)
    rows = primary[primary["verdict"] == verdict]
    if len(rows) <= NAMED:
        names = [_finding(evidence, row, digits) for row in rows.to_dict("records")]
        return f"{listed(names)} {(several if len(names) > 1 else one).format(margin)}."
    words = f"{len(rows)} of {counted(len(primary), 'arm')} {several.format(margin)}"
    if not ranked:
        return f"{words}."
    most = rows.loc[rows["difference"].abs().idxmax()].to_dict()
    return f"{words}; the largest difference is that of {_finding(evidence, most, digits)}."


def _finding(evidence: Evidence, row: dict[str, Any], digits: int) -> str:
    name = f"**{evidence.label(row['study'], row['arm'])}**"
    if pd.isna(row["difference"]):
        return f"{name} (no pair of runs)"
    known = f"{points(row['difference'], digits)} points {points_interval(row['low'], row['high'], digits)}".strip()
    if row["verdict"] != "inconclusive" or pd.isna(row["detectable"]):
        return f"{name} ({known})"
    return f"{name} ({known}; detectable: {findable(row['detectable'], digits)})"


def _fresh_seeds(primary: pd.DataFrame) -> str:
    least, most = int(primary["n"].min()), int(primary["n"].max())
    return f"up to {counted(most, 'fresh seed')}" if least < most else counted(most, "fresh seed")


def _contents(evidence: Evidence, behind: list[str]) -> str:
    questions = {
        study_page(name): text(question)
        for name, question in evidence.confirmation.questions().items()
    }
    titles = {
        "method": "How it was measured, and how to read a verdict",
        "gap": "The gap, decomposed, and against test accuracy",
        "cost": "What training and testing cost, counted",
        "averaging": "Averaging noise passes at test",
        "published": "What papers report, beside what was measured here",
    }
    lines = []
    for name in behind:
        link = f"[{titles.get(name) or name.removeprefix('study_')}](pages/{name}.md)"
        lines.append(f"- {link}: {questions[name]}" if name in questions else f"- {link}")
    return "\n".join(lines)


def _gap_page(evidence: Evidence) -> str:
    parts = [
        "# The gap",
        smallest_gap(evidence),
        f"![{SCATTER}](../figures/gap.png)",
        f"## Decomposed\n\n{gap_table(evidence)}",
    ]
    return "\n\n".join(part for part in parts if part)


def _cost_page(evidence: Evidence) -> str:
    return "\n\n".join(["# Cost", cost_table(evidence), budgets(evidence)])
