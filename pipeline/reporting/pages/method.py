"""Write the page of methods: questions, protocol, statistics, and how to read a verdict."""

from collections.abc import Iterator, Mapping
from math import isnan
from typing import Any

from pipeline.comparison.levels import LEVEL, POWER, UNSURE
from pipeline.comparison.transfer import OWN_WEIGHTS
from pipeline.config.labels import format_value, format_values
from pipeline.config.left_out import left_out_notes
from pipeline.config.plan import TUNING
from pipeline.reporting import markdown as md
from pipeline.reporting.collapse_sentences import RULE, rare_note
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._looks import looks_note
from pipeline.reporting.pages._page import CONTRAST_INTERVAL, Page, changes, family, rules
from pipeline.reporting.pages._pretrainings import has_pretrainings, pretraining_section
from pipeline.reporting.pages._transfer import has_starts
from pipeline.reporting.pages.variance import pool_words

ORDER = 10
STATISTICS = f"""\
- **Primary metric**: test accuracy under the test rule of each arm, declared before any data was \
seen.
- **Test rule**: {{rules}}.
- **Interval**: {CONTRAST_INTERVAL}. It covers fresh seeds on this test set and this pool \
(all examples that are not test examples, from which every seed draws its training examples), not \
another pool{{pools}}. The [page of verdicts](verdicts.md) has the interval over other test \
examples too. Its coverage is 95 % for normally distributed differences, \
and 88 to 92 % for exponentially distributed ones with 3 to 20 seeds.
- **p**: two-sided paired t test; Holm's correction over {{family}} ({{arms}}). The page of \
each study also has the p of the exact sign-flip test, which assumes no normal distribution.
- **Equivalence**: two one-sided paired t tests at level {LEVEL:g} within {{margin}}{{share}}, \
with Holm's correction over the same contrasts, as a family of its own.
- **Intervals of sentences**: wherever a sentence names an arm by its difference or change of \
gap, the interval is the simultaneous one of all arms (Bonferroni), so that it also holds for the \
best of many. Tables have single intervals. An arm can help although its simultaneous interval \
includes 0, since Holm's procedure is less strict.
- **Collapsed and diverged runs**: {RULE}. Such runs and diverged ones are a result of their own: \
the rate of each arm has its exact {md.INTERVAL} (Clopper and Pearson), and an exact McNemar test \
against the reference, with Holm over the same contrasts. If a run of a pair is lost, the pair is \
left out of the differences: verdicts are about typical runs. An arm that lost more runs than its \
reference, of all or at the seeds where the runs of both ended, does not help, and is not \
equivalent. {{rare}}
- **Detectable difference, seeds needed**: for {100 * POWER:g} % power at level {LEVEL:g} divided \
by the number of contrasts, the strictest threshold of Holm's procedure. The range in brackets \
follows from the range of the true spread (chi-square, {100 * UNSURE:g} to \
{100 * (1 - UNSURE):g} %), since few seeds measure the spread only roughly. Seeds needed: if the \
observed difference were the true one.
- **Validation set**: {{validation}} examples. {{resolution}}. A setting that is ahead by less \
may not be better; therefore the chosen one is confirmed on fresh seeds.
- **Test set**: {{test}} examples, read only by `evaluate`, for {{runs}} of the {{phase}} phase \
(models of ensembles included), whose settings were fixed beforehand."""
READING = f"""\
- **helps** (**hurts**): test accuracy is significantly higher (lower) than that of the reference, \
after Holm's correction over all contrasts. The reference is the baseline unless a row names \
another arm.
- **helps, below the margin** (or hurts): significant, and shown to be smaller than the margin of \
equivalence.
- **equivalent**: two one-sided tests place the difference inside the margin: \
evidence that there is no effect that matters.
- **inconclusive**: none of these. This is not evidence of absence: an effect smaller than the \
*detectable* difference is still possible. This number of seeds detects that difference with \
{100 * POWER:g} % power after the correction.

Only test accuracy has verdicts; every other metric has an interval and an uncorrected p. The \
aim is not a small gap but accuracy on validation and test examples."""

TRUST = f"""\
A failed check changes no verdict. It limits what a verdict means, and the first paragraph of the \
report says so where the values tried, the budget or simple classifiers are in question.

- **Baseline tuned**: the values that `tune` of the protocol names were searched, and the best one \
of two or more is inside its range, or the next value beyond it is not allowed or has no effect.
- **Search spaces**: the same holds for every arm that searches a number.
- **Chosen settings**: the mean validation accuracy on the exploration seeds is above that of the \
reference.
- **Budget**: validation accuracy over the last third of training, interpolated between the \
points of the curve, rises by no more than {{margin}} on average. A learning rate that falls \
to zero always raises it somewhat.
- **Reference classifiers**: majority class, 1-nearest neighbour (Euclidean) and multinomial \
logistic regression (scikit-learn), on the splits, standardized inputs and training labels of the \
network. The mean difference in validation accuracy, paired by seed, is above 0 and so is its \
interval. Large training sets are compared at the first 2 to 5 seeds.
- **Other test examples**: the tests of the verdict, repeated with the standard error over seeds \
and test examples together, give the same verdict. Variance: that over seeds plus that over \
examples, minus that of single predictions, which both include.
- **Seeds**: 2 / 2^n, the smallest p of the exact sign-flip test, times the number of arms is at \
most {LEVEL:g}.
- **Trials**: every arm that is searched tried as many settings as its reference, the baseline \
in its tuning, apart from those that widening added.
- **Machine**: processor type, threads and device are the same for all confirmation runs."""


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    questions = [
        f"**{study.name}**: {md.escape(study.question)} {changes(study)}"
        for study in data.confirmation.studies
        if study.kind != "overtuning"
    ]
    body = md.join_parts(
        "# Method",
        f"## Research questions\n\n{md.format_bullets(questions)}",
        f"## Protocol\n\n{md.format_bullets([f'{line}.' for line in _protocol(data)])}",
        md.section("Pretrainings", pretraining_section(data)),
        f"## Statistics\n\n{_statistics(data)}",
        md.format_bullets([f"{note}." for note in [looks_note(data)] if note]),
        f"## How to read a verdict\n\n{READING}",
        f"## Trust checks\n\n{TRUST.format(margin=md.format_margin(data.confirmation.margin))}",
    )
    yield Page("method", "Method and how to read a verdict", body)


def _protocol(data: ReportData) -> Iterator[str]:
    settings = data.confirmation.settings
    dataset, model, training = (settings[section] for section in ("data", "model", "training"))
    updates = md.format_operations(data.baseline("updates")["mean"])
    yield (
        f"**Data**: {md.escape(str(dataset['dataset']))}, {dataset['train_size']} training examples"
        f"{_others(dataset, 'dataset', 'train_size')}"
    )
    if data.data["notes"]:
        yield f"**Notes on the data**: {'; '.join(map(md.escape, data.data['notes']))}"
    yield f"**Model**: {md.escape(str(model['name']))}{_others(model, 'name')}"
    yield (
        f"**Training**: {training['epochs']} epochs, {updates} updates (exceptions are named under "
        f"[cost](cost.md)){_others(training, 'epochs')}"
    )
    for note in left_out_notes(data.confirmation):
        yield f"**Batches**: {md.escape(note)}"
    explored = md.format_count(len(data.exploration.first_seeds()), "seed")
    yield (
        f"**Seeds**: {explored} to explore settings, "
        f"{_seeds(data)} to confirm, all different. {_shared(data)}"
    )
    yield from _tuning(data)
    yield (
        "**Choice of a setting**: over a range with five or more settings, the highest value of a "
        "smooth curve through their validation accuracies; else the highest mean"
    )


def _shared(data: ReportData) -> str:
    """Return what all arms of a seed share; weights only where they start from the same ones."""
    if not has_starts(data):
        return "All arms of a seed share split, initial weights and batch order"
    sources = ["the same pretraining"] if has_pretrainings(data) else []
    if OWN_WEIGHTS in set(data.transfer["pretraining"]):
        sources.append("the file of `model.weights`")
    return (
        "All arms of a seed share split and batch order. Those that start from random weights have "
        f"the same ones, and those that start from {' or from '.join(sources)} share its weights"
    )


def _tuning(data: ReportData) -> Iterator[str]:
    """Yield what the baseline was tuned by, nothing if it was not."""
    tuned = data.confirmation.tuned
    users, start = "All arms", ""
    if has_starts(data):
        users, start = "Arms that start as the baseline does", "the start, "
    for row in data.searches[data.searches["study"] == TUNING].to_dict("records"):
        trials = md.format_count(int(row["trials"]), "trial")
        if row["chosen"]:
            values = md.escape(format_values(tuned))
            yield (
                f"**Tuned on the baseline**: {values}, of {trials}. {users} use this. Arms that "
                f"change the data, the model, {start}the batches, the optimizer or the schedule, "
                "and arms with `retune: true`, are tuned again, except in ensembles"
            )


def _statistics(data: ReportData) -> str:
    use = data.test_use
    return STATISTICS.format(
        rules=rules(data),
        pools=pool_words(data),
        family=family(data),
        arms=", ".join(_contrasts(data)),
        margin=md.format_margin(data.confirmation.margin),
        rare=rare_note(data.rates),
        share=_share_of_errors(data),
        validation=use["validation_examples"],
        resolution=_resolution(data),
        test=use["test_examples"],
        runs=md.format_count(use["runs"], "run"),
        phase=use["phase"],
    )


def _contrasts(data: ReportData) -> list[str]:
    """Return the names of all contrasts that are corrected together."""
    pairs = data.labelled(data.parts[~data.parts["repeats"].astype(bool)])
    return [*data.distinct["label"], *(f"{arm} against its better part" for arm in pairs["label"])]


def _share_of_errors(data: ReportData) -> str:
    """Return how large the margin is beside the errors of the baseline; empty without errors."""
    share = data.margin_of_errors
    return "" if isnan(share) else f" ({100 * share:.0f} % of the baseline's test errors)"


def _resolution(data: ReportData) -> str:
    """Return which differences chance alone makes on validation, by number of seeds."""
    few, more = (f"{100 * value:.1f}" for value in data.resolution["difference"])
    row = data.resolution.iloc[0]
    single = (
        "By chance alone, two networks that disagree in correctness on 2 % of them differ in "
        f"accuracy by up to {few} points, and on 10 % by up to {more} (95 % of draws)"
    )
    if row["seeds"] < 2:
        return single
    return (
        f"{single}. Averaging over {row['seeds']:.0f} exploration seeds divides these limits by "
        f"{row['least']:.2f} (if the networks disagree on the same examples at every seed) to "
        f"{row['most']:.2f} (if on different examples). The validation sets of two seeds "
        f"share {100 * row['overlap']:.0f} % of their examples"
    )


def _seeds(data: ReportData) -> str:
    seeds = data.runs.loc[data.runs["phase"] == "confirmation", "seed"].nunique()
    return md.format_count(int(seeds), "seed")


def _others(section: Mapping[str, Any], *named: str) -> str:
    """Return "; " and the settings of a section that have a value and are not `named`."""
    values = {
        key: value for key, value in section.items() if key not in named and value is not None
    }
    words = ", ".join(f"{key} {md.escape(format_value(values[key]))}" for key in sorted(values))
    return f"; {words}" if words else ""
