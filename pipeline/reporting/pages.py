"""The report as one page of Markdown: what was found first, then how, then a section per study.

Separate from the tables and figures it shows: it only chooses words and order.
"""

from typing import Any

import pandas as pd

from pipeline.comparison.intervals import LEVEL, POWER
from pipeline.config.plan import PlannedEnsemble, PlannedStudy
from pipeline.config.studies import BASELINE
from pipeline.reporting.averaging import averaging_section
from pipeline.reporting.ensembles import ensemble_section
from pipeline.reporting.frames import Evidence
from pipeline.reporting.overview import CONTRAST_INTERVAL, budgets, cost_table, family, gap_table, headline_table, rules
from pipeline.reporting.sections import changes, losses, study_section
from pipeline.reporting.tables import INTERVAL, amount, count, counted, decimals, listed, percent, points, points_interval, text

VERDICTS = {  # the words after the arm that has a verdict, and after several
    "helps": ("helps", "help"),
    "helps, below the margin": ("helps, but by less than the margin of {}", "help, but by less than the margin of {}"),
    "hurts": ("hurts", "hurt"),
    "hurts, below the margin": ("hurts, but by less than the margin of {}", "hurt, but by less than the margin of {}"),
    "equivalent": ("is equivalent to the baseline within {}", "are equivalent to the baseline within {}"),
    "inconclusive": ("stays inconclusive", "stay inconclusive"),
}
READING = f"""\
- **helps**, **hurts**: the difference in test accuracy is significant after Holm's correction over all arms of this report.
- **helps, below the margin** (or hurts): significant, and shown to be smaller than the margin of equivalence.
- **equivalent**: two one-sided tests put the difference inside the margin: evidence that there is no effect that matters.
- **inconclusive**: neither was shown. This is no evidence of absence: an effect smaller than the *detectable* difference,
  the one that so many seeds find with {100 * POWER:g} % power, may well be there.

Only test accuracy carries a verdict; every other metric has its interval and an uncorrected p. A small gap is not the aim:
validation and test performance is."""
FOREST = "Forest plot: difference in test accuracy of every arm to the baseline, with interval and verdict, over the margin"
SCATTER = "Scatter: the gap of every confirmation run against its test accuracy, a marker for each arm"


def page(evidence: Evidence) -> str:
    """The whole of `report.md`."""
    parts = [
        f"# Which regularizers close the gap: {evidence.confirmation.protocol}",
        headline(evidence),
        headline_table(evidence),
        losses(evidence.planned()),
        f"![{FOREST}](figures/forest.png)",
        f"## What was asked\n\n{_asked(evidence)}",
        f"## How it was measured\n\n{_measured(evidence)}",
        f"## How to read a verdict\n\n{READING}",
        f"## The gap, decomposed\n\n{gap_table(evidence)}",
        f"![{SCATTER}](figures/gap.png)",
        f"## Cost\n\n{cost_table(evidence)}",
        budgets(evidence),
        averaging_section(evidence),
        *(ensemble_section(evidence, ensemble) for ensemble in evidence.confirmation.ensembles),
        *(study_section(evidence, study) for study in evidence.confirmation.studies),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def headline(evidence: Evidence) -> str:
    """The findings in plain language: what helps and by how much, what does not, what stays open, and the baseline's gap."""
    primary = evidence.primary()
    digits = decimals(primary)
    margin = amount(evidence.confirmation.margin)
    found = []
    for verdict, words in VERDICTS.items():
        names = [_finding(evidence, row, digits) for row in primary[primary["verdict"] == verdict].to_dict("records")]
        if names:
            found.append(f"{listed(names)} {words[len(names) > 1].format(margin)}.")
    if not primary["verdict"].str.startswith("helps").any():
        found.insert(0, "no arm has been shown to help.")
    means = evidence.baseline()[["test_accuracy", "gap"]].mean()
    found.append(
        f"The baseline reaches {percent(means['test_accuracy'], digits)} % test accuracy with a gap of "
        f"{percent(means['gap'], digits)} points between train and validation accuracy."
    )
    return f"After {_fresh_seeds(primary)}, {' '.join(found)} (Differences in points of test accuracy, with {INTERVAL}s.)"


def _finding(evidence: Evidence, row: dict[str, Any], digits: int) -> str:
    name = f"**{evidence.label(row['study'], row['arm'])}**"
    if pd.isna(row["difference"]):
        return f"{name} (no pair of runs)"
    known = f"{points(row['difference'], digits)} points {points_interval(row['low'], row['high'], digits)}".strip()
    if row["verdict"] != "inconclusive" or pd.isna(row["detectable"]):
        return f"{name} ({known})"
    return f"{name} ({known}; detectable: {percent(row['detectable'], digits)})"


def _fresh_seeds(primary: pd.DataFrame) -> str:
    least, most = int(primary["n"].min()), int(primary["n"].max())
    return f"{least} to {counted(most, 'fresh seed')}" if least < most else counted(most, "fresh seed")


def _asked(evidence: Evidence) -> str:
    studies: list[PlannedStudy | PlannedEnsemble] = [*evidence.confirmation.studies, *evidence.confirmation.ensembles]
    return "\n".join(f"- **{study.name}**: {text(study.question)} {changes(study)}" for study in studies)


def _measured(evidence: Evidence) -> str:
    return "\n".join(f"- {line}." for line in [*_protocol(evidence), *_statistics(evidence)])


def _protocol(evidence: Evidence) -> list[str]:
    data, model, training = (evidence.confirmation.settings[section] for section in ("data", "model", "training"))
    runs = evidence.runs
    updates = runs.loc[(runs["arm"] == BASELINE) & (runs["state"] == "done"), "updates"].max()
    seeds = runs.groupby("phase")["seed"].nunique()
    explored, confirmed = (counted(int(seeds.get(phase, 0)), "seed") for phase in ("exploration", "confirmation"))
    return [
        f"**Data**: {text(str(data['dataset']))}, {data['train_size']} training images; {_rest(data, 'dataset', 'train_size')}",
        f"**Model**: {text(str(model['name']))}; {_rest(model, 'name')}",
        f"**Training**: {training['epochs']} epochs, {count(updates)} updates (every arm, unless named under Cost); "
        f"{_rest(training, 'epochs')}",
        f"**Seeds**: {explored} to explore strengths, {confirmed} to confirm, none of them in both. All arms of a seed share "
        "split, initial weights and batch order",
        "**Choice of a strength**: highest mean validation accuracy over the exploration seeds",
    ]


def _statistics(evidence: Evidence) -> list[str]:
    primary, use = evidence.primary(), evidence.test_use
    names = ", ".join(evidence.label(study, arm) for study, arm in zip(primary["study"], primary["arm"], strict=True))
    return [
        "**Primary metric**: test accuracy under the test rule of each arm, declared before any data was seen",
        f"**Test rule**: {rules(evidence)}",
        f"**Interval**: {CONTRAST_INTERVAL}. It is conditional on this test set and this pool of images: it covers "
        "fresh seeds, not fresh data",
        f"**p**: two-sided paired t test; Holm's correction over {family(primary)} ({names})",
        f"**Equivalence**: two one-sided paired t tests at level {LEVEL:g} within {amount(evidence.confirmation.margin)}",
        f"**Test set**: {use['test_examples']} images, opened by `evaluate` alone, for {counted(use['runs'], 'run')} of the "
        f"{use['phase']} phase, whose strengths were fixed beforehand",
    ]


def _rest(section: dict[str, Any], *said: str) -> str:
    return ", ".join(f"{key} {text(str(value))}" for key, value in sorted(section.items()) if key not in said)
