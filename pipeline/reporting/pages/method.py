"""Write the page of methods: questions, protocol, statistics, and how to read a verdict."""

from collections.abc import Iterator, Mapping
from math import isnan
from typing import Any

from pipeline.comparison.levels import LEVEL, POWER, UNSURE
from pipeline.comparison.transfer import OWN_WEIGHTS
from pipeline.config.labels import format_value, format_values
from pipeline.config.left_out import left_out_notes
from pipeline.config.plan import TUNING
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.collapse_sentences import RULE, rare_note
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._looks import looks_note
from pipeline.reporting.pages._page import CONTRAST_INTERVAL, Page, family, rules
from pipeline.reporting.pages._pretrainings import has_pretrainings, pretraining_section
from pipeline.reporting.pages._transfer import has_starts
from pipeline.reporting.pages.variance import pool_words

ORDER = 10
OWN_INITIALIZATION = "own (the network's default initialization)"
STATISTICS = f"""\
- **Primary metric**: test accuracy under the test rule of each arm, declared in the plan.
- **Test rule**: {{rules}}.
- **Interval**: {CONTRAST_INTERVAL}. It holds for new seeds on this test set and this pool of \
training examples. The pool is all examples that are not test examples; every seed draws its \
training examples from it. The interval does not hold for other pools{{pools}}. The [page of \
verdicts](verdicts.md) also has an interval that holds for other test examples, and the page of \
[trust checks](checks.md) says how it is computed. Coverage is 95 % for normally distributed \
differences, and 88 to 92 % for exponentially distributed ones with 3 to 20 seeds.
- **p**: two-sided paired t test; Holm's correction over {{family}} ({{arms}}). The page of each \
study also has the p of the exact sign-flip test, which does not assume a normal \
distribution.
- **Equivalence**: two one-sided paired t tests at level {LEVEL:g} for a margin of \
{{margin}}{{share}}. Holm's correction is over the same contrasts, but separate from that of the \
p values.
- **Simultaneous intervals**: the intervals of differences from the baseline in the first \
paragraph, the recipe and the diagnosis of the report hold for all arms at once (Bonferroni). \
They are therefore valid for an arm that is named because it is the best. Other intervals are not \
corrected, unless they say so. An arm can help although its simultaneous interval includes 0, \
because Holm's procedure is less strict.
- **Collapsed and diverged runs**: {RULE}. A run has diverged if its loss is no longer a finite \
number. Both kinds are called lost, and are counted separately: the rate of each arm has an exact \
{md.INTERVAL} (Clopper and Pearson) and an exact McNemar test against the reference, with Holm's \
correction over the same contrasts. If one run of a pair is lost, the pair is left out of the \
differences, so the differences are about runs that were not lost. An arm that lost more runs \
than its reference cannot have the verdict "helps" or "equivalent". It has lost more if its share \
of lost runs is higher over all runs, or over the seeds at which both runs have ended. {{rare}}
- **Detectable difference**: the smallest true difference that this number of seeds detects with \
{100 * POWER:g} % power. **Seeds needed**: the number of seeds that would detect the observed \
difference with the same power, if it were the true difference. The level of the test is \
{LEVEL:g} divided by the number of contrasts, the strictest threshold of Holm's procedure. The \
range in brackets shows how uncertain the number is, because few seeds estimate the standard \
deviation only roughly: it is computed with the limits of the {100 * (1 - 2 * UNSURE):g} % \
interval of the standard deviation (chi-square distribution).
- **Validation set**: {{validation}} examples. {{resolution}}. A setting that leads by less than \
these limits may not be better, so the chosen setting is confirmed on fresh seeds.
- **Test set**: {{test}} examples, read only by the stage `evaluate`, for {{runs}} of the \
{{phase}} phase (including models of ensembles), whose settings were fixed before this \
evaluation. The report says near its beginning how often the test set was evaluated."""
READING = f"""\
- **helps** (**hurts**): test accuracy is significantly higher (lower) than that of the \
reference, after Holm's correction over all contrasts. The reference is the baseline unless a row \
names another arm.
- **helps, below the margin** (**hurts, below the margin**): the difference is significant, but \
shown to be smaller than the margin of equivalence.
- **equivalent**: two one-sided tests show that the difference is inside the margin. This is \
evidence that no effect of practical size exists.
- **inconclusive**: none of these. An arm that lost more runs than its reference is inconclusive \
where it would otherwise help or be equivalent, and an arm that lost fewer where it would \
otherwise hurt. Inconclusive does not mean that there is no effect. The tables of the studies \
give the *detectable* difference, which this number of seeds detects with {100 * POWER:g} % power \
after the correction. A smaller effect is easily missed.

Only test accuracy has verdicts; other metrics have intervals, and p values that are uncorrected \
unless a sentence says otherwise. The aim is not a small gap, but high accuracy on validation and \
test examples."""


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    questions = [
        f"**{study.name}**: {md.escape(study.question)}"
        for study in data.confirmation.studies
        if study.kind != "overtuning"
    ]
    body = md.join_parts(
        "# Method",
        f"## Research questions\n\n{md.format_bullets(questions)}",
        "The page of each study lists its changes to the baseline.",
        f"## Protocol\n\n{md.format_bullets([f'{line}.' for line in _protocol(data)])}",
        md.section("Pretrainings", pretraining_section(data)),
        f"## Statistics\n\n{_statistics(data)}",
        md.format_bullets([f"{note}." for note in [looks_note(data)] if note]),
        f"## How to read a verdict\n\n{READING}",
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
    yield f"**Model**: {md.escape(str(model['name']))}{_others(_in_words(model), 'name')}"
    if data.confirmation.loaded:
        yield f"**Pretrained weights**: {md.escape(data.confirmation.loaded)}"
    yield (
        f"**Training**: {training['epochs']} epochs, {updates} updates "
        f"({_exceptions(data)}){_others(training, 'epochs')}"
    )
    for note in left_out_notes(data.confirmation):
        yield f"**Batches**: {md.escape(note)}"
    explored = md.format_count(len(data.exploration.first_seeds()), "seed")
    yield (
        f"**Seeds**: {explored} to choose settings, and {_confirmed(data)} to confirm "
        f"them. {_shared(data)}"
    )
    yield from _tuning(data)
    yield (
        "**Choice of a setting**: for a range with at least five settings, the setting at which a "
        "smooth curve through the validation accuracies is highest; otherwise the setting with the "
        "highest mean"
    )


def _in_words(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a network, with words for weights that it draws itself."""
    draws_itself = model.get("initialization") == "own"
    return {**model, "initialization": OWN_INITIALIZATION} if draws_itself else dict(model)


def _shared(data: ReportData) -> str:
    """Return the common parts of all arms of a seed; weights only if they start from the same."""
    if not has_starts(data):
        return "For each seed, all arms share split, initial weights and batch order"
    sources = ["the same pretraining"] if has_pretrainings(data) else []
    if OWN_WEIGHTS in set(data.transfer["pretraining"]):
        sources.append("the file of `model.weights`")
    return (
        "For each seed, all arms share split and batch order. Arms that start from random weights "
        f"have the same ones; arms that start from {' or from '.join(sources)} share its weights"
    )


def _tuning(data: ReportData) -> Iterator[str]:
    """Yield the tuning of the baseline, nothing if it was not tuned."""
    tuned = data.confirmation.tuned
    users, start = "All arms", ""
    if has_starts(data):
        users, start = "Arms that start as the baseline does", "the start, "
    for row in rows_of(data.searches[data.searches["study"] == TUNING]):
        trials = md.format_count(int(row["trials"]), "trial")
        if row["chosen"]:
            values = md.escape(format_values(tuned))
            yield (
                f"**Tuned on the baseline**: {values}, chosen from {trials}. {users} use this "
                f"value, except those that change `data`, `model`, {start}the batch size, the "
                "optimizer or the schedule, or that have `retune: true`. (Regularizers are not "
                "changes of `data` or `model`.) For these arms the value is tuned separately, "
                "except in studies of ensembles"
            )


def _exceptions(data: ReportData) -> str:
    """Return where the arms with other numbers of updates are named."""
    if set(data.costs["updates_ratio"].dropna()) <= {1}:
        return "in every arm"
    return "exceptions: [cost](cost.md)"


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
    return [
        *data.distinct["label"],
        *(f"{arm} against the better of its two changes" for arm in pairs["label"]),
    ]


def _share_of_errors(data: ReportData) -> str:
    """Return the size of the margin against the baseline's errors; empty without errors."""
    share = data.margin_of_errors
    return "" if isnan(share) else f" ({100 * share:.0f} % of the baseline's test errors)"


def _resolution(data: ReportData) -> str:
    """Return the differences on validation that are due to chance only, by number of seeds."""
    few, more = (f"{100 * value:.1f}" for value in data.resolution["difference"])
    row = data.resolution.iloc[0]
    single = (
        "Two equally good networks can differ by chance. If they disagree on 2 % of these examples "
        "(exactly one of the two is right), chance alone makes their accuracies differ by up to "
        f"{few} points (in 95 % of cases); if on 10 %, by up to {more} points"
    )
    if row["seeds"] < 2:
        return single
    return (
        f"{single}. For the mean over {row['seeds']:.0f} exploration seeds, these limits are "
        f"smaller: they are divided by {row['least']:.2f} if the networks disagree on the same "
        f"examples at every seed, by {row['most']:.2f} if they disagree on different ones, and "
        "otherwise by a number in between. The validation sets of two seeds share "
        f"{100 * row['overlap']:.0f} % of their examples"
    )


def _confirmed(data: ReportData) -> str:
    """Return the number of confirmation seeds."""
    seeds = data.runs.loc[data.runs["phase"] == "confirmation", "seed"].nunique()
    return md.format_count(int(seeds), "other seed")


def _others(section: Mapping[str, Any], *named: str) -> str:
    """Return "; " and the settings of a section that have a value and are not `named`."""
    values = {
        key: value for key, value in section.items() if key not in named and value is not None
    }
    words = ", ".join(f"{key}={md.escape(format_value(values[key]))}" for key in sorted(values))
    return f"; {words}" if words else ""
