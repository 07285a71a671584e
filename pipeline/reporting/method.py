"""How a report was measured: what was asked, the protocol, the statistics, and how to read a verdict.

Separate from the front page, which has to be understood in a minute.
"""

import math
from typing import Any

from pipeline.comparison.intervals import LEVEL, POWER
from pipeline.config.plan import BASELINE
from pipeline.reporting.frames import Evidence
from pipeline.reporting.overview import CONTRAST_INTERVAL, family, rules
from pipeline.reporting.sections import changes
from pipeline.reporting.tables import amount, count, counted, text

NORMAL = 1.96  # standard deviations to either side of 95 % of a normal distribution
READING = f"""\
- **helps**, **hurts**: the difference in test accuracy is significant after Holm's correction over all arms of this report.
- **helps, below the margin** (or hurts): significant, and shown to be smaller than the margin of equivalence.
- **equivalent**: two one-sided tests put the difference inside the margin: evidence that there is no effect that matters.
- **inconclusive**: neither was shown. This is no evidence of absence: an effect smaller than the *detectable* difference,
  the one that so many seeds find with {100 * POWER:g} % power after the correction, may well be there.

Only test accuracy carries a verdict; every other metric has its interval and an uncorrected p. A small gap is not the aim:
validation and test performance is."""


def method_page(evidence: Evidence) -> str:
    """What was asked and how it was measured."""
    return "\n\n".join(
        [
            "# How it was measured",
            f"## What was asked\n\n{asked(evidence)}",
            f"## Protocol\n\n{_listed(_protocol(evidence))}",
            f"## Statistics\n\n{_listed(_statistics(evidence))}",
            f"## How to read a verdict\n\n{READING}",
        ]
    )


def asked(evidence: Evidence) -> str:
    """The question of every study and what its arms change."""
    return "\n".join(
        f"- **{study.name}**: {text(study.question)} {changes(study)}"
        for study in evidence.confirmation.asked()
    )


def _listed(lines: list[str]) -> str:
    return "\n".join(f"- {line}." for line in lines)


def _protocol(evidence: Evidence) -> list[str]:
    data, model, training = (
        evidence.confirmation.settings[section] for section in ("data", "model", "training")
    )
    runs = evidence.runs
    updates = runs.loc[(runs["arm"] == BASELINE) & (runs["state"] == "done"), "updates"].max()
    explored, confirmed = (
        counted(_seeds(evidence, phase), "seed") for phase in ("exploration", "confirmation")
    )
    notes = "; ".join(map(text, evidence.data["notes"]))
    return [
        f"**Data**: {text(str(data['dataset']))}, {data['train_size']} training images; {_rest(data, 'dataset', 'train_size')}",
        *([f"**Notes on the data**: {notes}"] if notes else []),
        f"**Model**: {text(str(model['name']))}; {_rest(model, 'name')}",
        f"**Training**: {training['epochs']} epochs, {count(updates)} updates (every arm, unless named under [cost](cost.md)); "
        f"{_rest(training, 'epochs')}",
        f"**Seeds**: {explored} to explore strengths, {confirmed} to confirm, none of them in both. All arms of a seed share "
        "split, initial weights and batch order",
        "**Choice of a strength**: highest mean validation accuracy over the exploration seeds",
    ]


def _seeds(evidence: Evidence, phase: str) -> int:
    """How many seeds a phase has."""
    runs = evidence.runs
    return int(runs.loc[runs["phase"] == phase, "seed"].nunique())


def _statistics(evidence: Evidence) -> list[str]:
    primary, use = evidence.primary(), evidence.test_use
    names = ", ".join(
        evidence.label(study, arm)
        for study, arm in zip(primary["study"], primary["arm"], strict=True)
    )
    return [
        "**Primary metric**: test accuracy under the test rule of each arm, declared before any data was seen",
        f"**Test rule**: {rules(evidence)}",
        f"**Interval**: {CONTRAST_INTERVAL}. It is conditional on this test set and this pool of images: it covers "
        "fresh seeds, not fresh data. Of normal differences it covers 95 %, of very skewed ones (exponential) 88 to 92 % at 3 "
        "to 20 seeds",
        f"**p**: two-sided paired t test; Holm's correction over {family(primary)} ({names}). The exact p of flipping the "
        "signs of the differences, which assumes no normal distribution, stands beside it on the page of each study",
        f"**Equivalence**: two one-sided paired t tests at level {LEVEL:g} within {amount(evidence.confirmation.margin)}, "
        "not corrected for the number of arms; the same as the 90 % interval within the margin",
        f"**Detectable difference, seeds needed**: {100 * POWER:g} % power at level {LEVEL:g} over the number of contrasts, "
        "the hardest step of Holm's correction",
        f"**Validation set**: {use['validation_examples']} images. {_resolved(evidence)}: a strength that is ahead by less may "
        "not be better, which is why what is chosen is confirmed",
        f"**Test set**: {use['test_examples']} images, opened by `evaluate` alone, for {counted(use['runs'], 'run')} of the "
        f"{use['phase']} phase, whose strengths were fixed beforehand",
    ]


def _resolved(evidence: Evidence) -> str:
    """Which difference in accuracy chance alone makes on the validation set of one seed, and in the mean over seeds."""
    images = evidence.test_use["validation_examples"]
    few, more = (_by_chance(share, images) for share in (0.02, 0.1))
    told = (
        f"Two networks of which exactly one is right on 2 % of them, whichever it is, differ by up to {few} points by chance "
        f"alone, on 10 % by up to {more} (in 95 of 100 draws)"
    )
    seeds = _seeds(evidence, "exploration")
    if seeds < 2:
        return told
    shared = (
        1 if evidence.data["validation"] else images / evidence.data["development"]
    )  # given, or drawn by each seed
    least, most = (math.sqrt(seeds / (1 + (seeds - 1) * alike)) for alike in (shared, 0))
    return (
        f"{told}. The mean over {seeds} exploration seeds, any two of which share {100 * shared:.0f} % of their validation "
        f"images, divides that by {least:.2f} (where the same images decide at every seed) to {most:.2f} (where others do)"
    )


def _by_chance(share: float, images: int) -> str:
    """By how many points two equally good networks differ in 95 of 100 draws, exactly one being right on a share of the images.

    A normal approximation, and at most the share itself.
    """
    return f"{100 * min(share, NORMAL * math.sqrt(share / images)):.1f}"


def _rest(section: dict[str, Any], *said: str) -> str:
    return ", ".join(
        f"{key} {text(str(value))}" for key, value in sorted(section.items()) if key not in said
    )
