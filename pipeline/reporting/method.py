"""How a report was measured: what was asked, the protocol, the statistics, and how to read a verdict.

Separate from the front page, which has to be understood in a minute.
"""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.comparison.intervals import LEVEL, POWER
from pipeline.config.arms import BASELINE
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
    return "\n".join(f"- **{study.name}**: {text(study.question)} {changes(study)}" for study in evidence.confirmation.asked())


def _listed(lines: list[str]) -> str:
    return "\n".join(f"- {line}." for line in lines)


def _protocol(evidence: Evidence) -> list[str]:
    data, model, training = (evidence.confirmation.settings[section] for section in ("data", "model", "training"))
    runs = evidence.runs
    updates = runs.loc[(runs["arm"] == BASELINE) & (runs["state"] == "done"), "updates"].max()
    seeds = runs.groupby("phase")["seed"].nunique()
    explored, confirmed = (counted(int(seeds.get(phase, 0)), "seed") for phase in ("exploration", "confirmation"))
    return [
        f"**Data**: {text(str(data['dataset']))}, {data['train_size']} training images; {_rest(data, 'dataset', 'train_size')}",
        f"**Model**: {text(str(model['name']))}; {_rest(model, 'name')}",
        f"**Training**: {training['epochs']} epochs, {count(updates)} updates (every arm, unless named under [cost](cost.md)); "
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
        "fresh seeds, not fresh data. Of normal differences it covers 95 %, of very skewed ones (exponential) 88 to 92 % at 3 "
        "to 20 seeds",
        f"**p**: two-sided paired t test; Holm's correction over {family(primary)} ({names}). The exact p of flipping the "
        "signs of the differences, which assumes no normal distribution, stands beside it on the page of each study",
        f"**Equivalence**: two one-sided paired t tests at level {LEVEL:g} within {amount(evidence.confirmation.margin)}, "
        "not corrected for the number of arms; the same as the 90 % interval within the margin",
        f"**Detectable difference, seeds needed**: {100 * POWER:g} % power at level {LEVEL:g} over the number of contrasts, "
        "the hardest step of Holm's correction",
        f"**Validation set**: {use['validation_examples']} images. Chance alone moves an accuracy of 90 % on as many by up to "
        f"{_blur(0.9, use)} points, one of 50 % by {_blur(0.5, use)} (in 95 of 100 draws): a strength that is ahead by less "
        "may not be better, which is why what is chosen is confirmed",
        f"**Test set**: {use['test_examples']} images, opened by `evaluate` alone, for {counted(use['runs'], 'run')} of the "
        f"{use['phase']} phase, whose strengths were fixed beforehand",
    ]


def _blur(accuracy: float, use: Mapping[str, Any]) -> str:
    """Half of the 95 % interval of an accuracy on so many images, in points (normal approximation of the binomial)."""
    return f"{100 * NORMAL * math.sqrt(accuracy * (1 - accuracy) / use['validation_examples']):.1f}"


def _rest(section: dict[str, Any], *said: str) -> str:
    return ", ".join(f"{key} {text(str(value))}" for key, value in sorted(section.items()) if key not in said)
