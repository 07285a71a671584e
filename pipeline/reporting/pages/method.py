"""Write the page of methods: questions, protocol, statistics, and how to read a verdict."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.comparison.levels import LEVEL, POWER
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._page import CONTRAST_INTERVAL, Page, changes, family, rules

ORDER = 10
STATISTICS = f"""\
- **Primary metric**: test accuracy under the test rule of each arm, declared before any data was \
seen.
- **Test rule**: {{rules}}.
- **Interval**: {CONTRAST_INTERVAL}. It is conditional on this test set and this pool of images: \
it covers fresh seeds, not fresh data. Of normal differences it covers 95 %, of very skewed ones \
(exponential) 88 to 92 % at 3 to 20 seeds.
- **p**: two-sided paired t test; Holm's correction over {{family}} ({{arms}}). The exact p of \
flipping the signs of the differences, which assumes no normal distribution, is next to it on \
the page of each study.
- **Equivalence**: two one-sided paired t tests at level {LEVEL:g} within {{margin}}, not \
corrected for the number of arms; the same as the 90 % interval within the margin.
- **Detectable difference, seeds needed**: {100 * POWER:g} % power at level {LEVEL:g} over the \
number of contrasts, the hardest step of Holm's correction.
- **Validation set**: {{validation}} images. {{resolution}}: a strength that is ahead by less may \
not be better, which is why what is chosen is confirmed.
- **Test set**: {{test}} images, opened by `evaluate` alone, for {{runs}} of the {{phase}} phase, \
whose strengths were fixed beforehand."""
READING = f"""\
- **helps**, **hurts**: the difference in test accuracy is significant after Holm's correction \
over all arms of this report.
- **helps, below the margin** (or hurts): significant, and shown to be smaller than the margin of \
equivalence.
- **equivalent**: two one-sided tests put the difference inside the margin: \
evidence that there is no effect that matters.
- **inconclusive**: neither was shown. This is no evidence of absence: an effect smaller \
than the *detectable* difference,
  which this number of seeds finds with {100 * POWER:g} % power after the correction, is \
still possible.

Only test accuracy carries a verdict; every other metric has its interval and an uncorrected p. \
A small gap is not the aim:
validation and test performance is."""


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    questions = [
        f"**{study.name}**: {md.escape(study.question)} {changes(study)}"
        for study in data.confirmation.studies
    ]
    body = md.join_parts(
        "# How it was measured",
        f"## What was asked\n\n{md.format_bullets(questions)}",
        f"## Protocol\n\n{md.format_bullets([f'{line}.' for line in _protocol(data)])}",
        f"## Statistics\n\n{_statistics(data)}",
        f"## How to read a verdict\n\n{READING}",
    )
    yield Page("method", "How it was measured, and how to read a verdict", body)


def _protocol(data: ReportData) -> Iterator[str]:
    settings = data.confirmation.settings
    dataset, model, training = (settings[section] for section in ("data", "model", "training"))
    updates = md.format_operations(data.baseline("updates")["mean"])
    yield (
        f"**Data**: {md.escape(str(dataset['dataset']))}, {dataset['train_size']} training images; "
        f"{_others(dataset, 'dataset', 'train_size')}"
    )
    if data.data["notes"]:
        yield f"**Notes on the data**: {'; '.join(map(md.escape, data.data['notes']))}"
    yield f"**Model**: {md.escape(str(model['name']))}; {_others(model, 'name')}"
    yield (
        f"**Training**: {training['epochs']} epochs, {updates} updates (every arm, unless named "
        f"under [cost](cost.md)); {_others(training, 'epochs')}"
    )
    yield (
        f"**Seeds**: {_seeds(data, 'exploration')} to explore strengths, "
        f"{_seeds(data, 'confirmation')} to confirm, none of them in both. All arms of a seed "
        "share split, initial weights and batch order"
    )
    yield ("**Choice of a strength**: highest mean validation accuracy over the exploration seeds")


def _statistics(data: ReportData) -> str:
    use = data.test_use
    return STATISTICS.format(
        rules=rules(data),
        family=family(data),
        arms=", ".join(data.primary["label"]),
        margin=md.format_margin(data.confirmation.margin),
        validation=use["validation_examples"],
        resolution=_resolution(data),
        test=use["test_examples"],
        runs=md.format_count(use["runs"], "run"),
        phase=use["phase"],
    )


def _resolution(data: ReportData) -> str:
    """Return which differences chance alone makes on the validation images, by number of seeds."""
    few, more = (f"{100 * value:.1f}" for value in data.resolution["difference"])
    row = data.resolution.iloc[0]
    single = (
        "Two networks of which exactly one is right on 2 % of them, whichever it is, differ by up "
        f"to {few} points by chance alone, on 10 % by up to {more} (in 95 of 100 draws)"
    )
    if row["seeds"] < 2:
        return single
    return (
        f"{single}. The mean over {row['seeds']:.0f} exploration seeds, any two of which share "
        f"{100 * row['overlap']:.0f} % of their validation images, divides that by "
        f"{row['least']:.2f} (where the same images decide at every seed) to {row['most']:.2f} "
        "(where others do)"
    )


def _seeds(data: ReportData, phase: str) -> str:
    seeds = data.runs.loc[data.runs["phase"] == phase, "seed"].nunique()
    return md.format_count(int(seeds), "seed")


def _others(section: Mapping[str, Any], *named: str) -> str:
    """Return the settings of a section that were not named yet."""
    values = sorted(section.items())
    return ", ".join(f"{key} {md.escape(str(value))}" for key, value in values if key not in named)
