"""Write the trust checks of a report: failed ones first, each with its number and its cure."""

from collections.abc import Callable, Sequence

from pipeline.comparison.levels import MAJORITY
from pipeline.comparison.trust import Check
from pipeline.config.plan import BASELINE, PROTOCOL
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._diagnosis import baseline_problem
from pipeline.reporting.verdict_sentences import (
    BEYOND,
    IF_OTHER_EXAMPLES,
    NOT_ABOVE_MAJORITY,
    UNTUNED,
)

Rows = Sequence[md.Row]
PARAMETERS = "`params.yaml`"
OVERRIDES = f"{PARAMETERS}, or `-S`, gives"
RATE, EPOCHS = "training.learning_rate", "training.epochs"
LONGER_TRAINING = "longer_training"  # the study that trains the baseline for twice as many epochs
INTRODUCTION = "A failed check changes no verdict; it limits what the verdicts mean."
NAMES = {  # of checks, as the page of trust checks names them
    Check.TUNED: "baseline tuned",
    Check.INTERIOR: "search spaces",
    Check.GAIN: "chosen settings",
    Check.LONGER: "longer training",
    Check.BUDGET: "budget",
    Check.REFERENCES: "reference classifiers",
    Check.IMAGES: "other test examples",
    Check.SEEDS: "seeds",
    Check.TRIALS: "trials",
    Check.MACHINE: "machine",
}
METHOD = "[What each check measures](pages/checks.md)."


def trust_section(data: ReportData) -> str:
    """Return a line for every check that applies: the failed ones, and folded those that passed."""
    failed, passed = [], []
    for check, write in LINES.items():
        rows = rows_of(data.trust[data.trust["check"] == check])
        wrong = [row for row in rows if not row["passed"]]
        if wrong:
            failed.append(f"**Failed** ({NAMES[check]}): {write(data, rows, wrong)}")
        elif rows:
            passed.append(f"Passed ({NAMES[check]}): {write(data, rows, [])}")
    if not failed and not passed:
        return ""
    counted = f"{md.format_count(len(passed), 'check')} passed"
    return md.join_parts(
        f"{INTRODUCTION} {METHOD}" if failed else METHOD,
        md.format_bullets(failed),
        md.folded(counted, md.format_bullets(passed)),
    )


def qualifiers(data: ReportData) -> list[str]:
    """Return the limits of the answer besides the seeds.

    The number of epochs always is a limit, failed checks add others.
    """
    failed = data.failed_checks
    tuned = rows_of(data.trust[data.trust["check"] == Check.TUNED])
    ends = any(row["subject"] and not row["passed"] for row in tuned)
    epochs = md.format_count(_epochs(data), "epoch")
    is_of_length = data.trust["check"].isin([Check.LONGER, Check.BUDGET])
    short = data.trust[is_of_length & ~data.trust["passed"]]
    rising = short[short["value"].notna()]  # unknown for a curve with fewer than two points
    arms = md.format_count(len(rising), "arm")
    few = f" ({arms} still improving at the end)" if len(rising) else ""
    unstable = data.trust[(data.trust["check"] == Check.IMAGES) & ~data.trust["passed"]]
    verdicts = md.format_count(len(unstable), "verdict")
    changes = "changes" if len(unstable) == 1 else "change"
    conditions = {
        f"{epochs}{few}": True,
        f"{verdicts} {changes} {IF_OTHER_EXAMPLES}": (Check.IMAGES in failed),
        UNTUNED: any(not row["subject"] and not row["passed"] for row in tuned),
        BEYOND: ends or Check.INTERIOR in failed,
    }
    return [words for words, holds in conditions.items() if holds]


def is_above_majority(data: ReportData) -> bool:
    """Return whether the baseline passes the comparison with the majority class, or has none."""
    return MAJORITY not in _references_not_beaten(data)


def majority_warning(data: ReportData) -> str:
    """Return the sentence with which the answer begins if the baseline may have learned nothing.

    It ends with a space; the text is empty for a baseline that is above the majority class.
    """
    return "" if is_above_majority(data) else f"{NOT_ABOVE_MAJORITY} "


def not_above(data: ReportData) -> str:
    """Return the other classifiers that the baseline is not shown to beat, after a space.

    The majority class is not among them, since the answer begins with it. Empty if none.
    """
    names = [name for name in _references_not_beaten(data) if name != MAJORITY]
    if not names:
        return ""
    return f" Its validation accuracy is not shown to be above that of {md.format_list(names)}."


def _references_not_beaten(data: ReportData) -> list[str]:
    """Return the reference classifiers that the baseline is not shown to be above."""
    rows = data.trust[(data.trust["check"] == Check.REFERENCES) & ~data.trust["passed"]]
    return list(rows["subject"])


def caveats(data: ReportData, study: str, arm: str) -> list[str]:
    """Return the conditions of the verdict of one arm: those of its failed checks, in words."""
    rows = data.trust[(data.trust["study"] == study) & (data.trust["arm"] == arm)]
    failed = set(rows.loc[~rows["passed"], "check"])
    epochs = md.format_count(_epochs(data), "epoch")
    words = {
        Check.INTERIOR: "among the values tried",
        Check.LONGER: f"still improving after {epochs}",
        Check.BUDGET: f"still improving after {epochs}",
        Check.IMAGES: "for these test examples",
    }
    return [condition for check, condition in words.items() if check in failed]


def _tuned(data: ReportData, rows: Rows, failed: Rows) -> str:
    row = rows[0]
    trials = md.format_count(int(row["value"]), "trial")
    if not failed:
        bound = ", beyond which no value is allowed" if row["at_bound"] else ""
        return f"The baseline is tuned ({_place(row)}{bound}; {trials})."
    if row["value"] > 1 and not row["subject"]:
        return (
            f"No tuning trial of the baseline ({row['value']:.0f}) has all its runs done. Run "
            "`gapwise run` again."
        )
    if row["value"] > 1:
        return (
            f"The best value of the baseline is at an end of those tried ({_place(row)}; "
            f"{trials}). Widen `tune` in {_tune_file(data)}."
        )
    return f"The baseline is not tuned. {_how_to_tune(data, is_searched=row['value'] > 0)}"


def _how_to_tune(data: ReportData, *, is_searched: bool) -> str:
    """Return the remedy, with the file to change, for a baseline without several trials."""
    rate = data.confirmation.settings["training"]["learning_rate"]
    tune = f"`tune: {{{RATE}: {{log: [{0.1 * rate:g}, {10 * rate:g}], points: 5}}}}`"
    file, overridden = _protocol_file(data), data.confirmation.overridden
    if is_searched:
        return f"`tune` in {_tune_file(data)} has one value: write {tune} there."
    if "tune" in overridden:
        return (
            f"{OVERRIDES} `tune` without a search space: write {tune} there, or null to use {file}."
        )
    if RATE in overridden:
        return (
            f"{OVERRIDES} `{RATE}`, and a value given there is not tuned. Set it to null there, "
            f"and write {tune} in {file}."
        )
    return f"Add {tune} to {file}."


def _interior(data: ReportData, rows: Rows, failed: Rows) -> str:
    if failed:
        return (
            f"The chosen value is at an end of {_part(failed, rows, 'search space')}: "
            f"{_names(data, failed, _place)}. "
            f"Widen {_verb(failed, 'it', 'them')} in {_study_files(failed)}, or under `tune` in "
            f"{_tune_file(data)}."
        )
    bounds = [row for row in rows if row["at_bound"]]
    if bounds:
        return (
            "No search space needs to be wider. "
            f"{_verb(bounds, 'One chosen value is', 'Some chosen values are')} at an end of the "
            "space, but no value beyond is allowed or has an effect: "
            f"{_names(data, bounds, _place)}."
        )
    if len(rows) == 1:
        return "The chosen value is not at an end of its search space."
    return f"None of the {len(rows)} searches chose a value at an end of its search space."


def _each(rows: Rows) -> str:
    return "The arm" if len(rows) == 1 else f"Each of the {len(rows)} arms"


def _gains(data: ReportData, rows: Rows, failed: Rows) -> str:
    if failed:
        return (
            f"{_part(failed, rows, 'chosen setting')} {_verb(failed, 'does', 'do')} not beat "
            f"{_verb(failed, 'its', 'their')} reference on validation: "
            f"{_names(data, _sorted(failed), _points(data))}. {_no_better(data, failed)}"
        )
    least = min(rows, key=lambda row: row["value"])
    return (
        "Every chosen setting beats its reference on validation. The smallest difference: "
        f"{_names(data, [least], _points(data))}."
    )


def _no_better(data: ReportData, failed: Rows) -> str:
    """Return the remedy for arms that do not beat their reference.

    More values do not help where the best one is inside the space, or at the end of its field.
    """
    interior = data.trust[data.trust["check"] == Check.INTERIOR]
    rows = rows_of(interior)
    wide = {(row["study"], row["arm"]) for row in rows if row["passed"]}
    narrow = [row for row in failed if (row["study"], row["arm"]) not in wide]
    more = 2 * len(data.exploration.first_seeds())
    seeds = (
        "More exploration seeds make the choice more reliable: "
        f"`seeds.exploration: {more}` in {_value_file(data, 'seeds.exploration')}."
    )
    if not narrow:
        return f"{_verb(failed, 'Its range is', 'Their ranges are')} wide enough. {seeds}"
    values = f"Add values in {_study_files(narrow)}."
    return values if len(narrow) == len(failed) else f"{values} {seeds}"


def _budgets(data: ReportData, rows: Rows, failed: Rows) -> str:
    margin = md.format_margin(data.confirmation.margin)
    measured = [row for row in failed if row["value"] == row["value"]]
    if failed and not measured:
        names = _names(data, failed, lambda row: "")
        return (
            f"The learning curve has fewer than two points: {names}. Set "
            f"`training.curve_points: 10` in {PARAMETERS}."
        )
    of_reference = ""
    if any(row["subject"] for row in rows):
        of_reference = (
            " The rise of a reference that gains nothing from longer training is subtracted."
        )
    if failed:
        epochs = 2 * _epochs(data)
        return (
            f"Validation accuracy still rises by more than {margin} over the last third of "
            f"training: {_names(data, _sorted(measured)[::-1], _change(data))}.{of_reference} "
            f"Longer training may help {_verb(measured, 'it', 'them')}: try "
            f"`training.epochs: {epochs}` in {_value_file(data, EPOCHS)}{_measure_it(data)}."
        )
    most = max(rows, key=lambda row: row["value"])
    return (
        f"Validation accuracy no longer rises by more than {margin} over the last third of "
        f"training. The largest rise: {_names(data, [most], _change(data))}.{of_reference}"
    )


def _measure_it(data: ReportData) -> str:
    """Return how to measure what longer training gains; "" if it has been measured."""
    is_measured = (data.trust["check"] == Check.LONGER).any()
    return "" if is_measured else f", or measure the gain with the study `{LONGER_TRAINING}`"


def _longer(data: ReportData, rows: Rows, failed: Rows) -> str:
    margin = md.format_margin(data.confirmation.margin)
    if failed:
        epochs = min(_longer_epochs(data, row) for row in failed)
        return (
            f"Longer training raises validation accuracy by more than {margin}: "
            f"{_names(data, failed, _longer_change(data))}. Set `training.epochs: {epochs}` in "
            f"{_value_file(data, EPOCHS)}."
        )
    return (
        f"Longer training does not raise validation accuracy by more than {margin}: "
        f"{_names(data, rows, _longer_change(data))}."
    )


def _longer_change(data: ReportData) -> Callable[[md.Row], str]:
    """Return a function that writes the epochs of a longer training and what it gains."""
    change = _change(data)
    return lambda row: f"{_longer_epochs(data, row)} epochs: {change(row)}"


def _epochs(data: ReportData) -> int:
    return int(data.confirmation.settings["training"]["epochs"])


def _longer_epochs(data: ReportData, row: md.Row) -> int:
    """Return the epochs of the longer training in a row of this check."""
    settings = data.primary.loc[data.primary["arm"] == row["subject"], "setting"]
    epochs = [setting.get(PROTOCOL, {}).get(EPOCHS) for setting in settings]
    return next(int(number) for number in epochs if number is not None)


def _above_references(data: ReportData, rows: Rows, failed: Rows) -> str:
    shown = [f"{row['subject']} ({_change(data)(row)})" for row in failed or rows]
    if failed:
        return (
            "The validation accuracy of the baseline is not shown to be above that of "
            f"{md.format_list(shown)}. {_better_baseline(data)}"
        )
    return f"The validation accuracy of the baseline is above that of {md.format_list(shown)}."


def _better_baseline(data: ReportData) -> str:
    """Return how to improve the baseline: longer training only if it does not overfit."""
    if baseline_problem(data) == "variance":
        return (
            "The baseline overfits ([Diagnosis](#diagnosis)), so longer training will hardly "
            "help it. Try more training examples (`data.train_size`), "
            f"{_recommended(data)}or another network in {_protocol_file(data)}."
        )
    return (
        f"Train longer first: `training.epochs: {2 * _epochs(data)}` in "
        f"{_value_file(data, EPOCHS)}. If that is not enough, change the network or its training "
        f"in {_protocol_file(data)}."
    )


def _recommended(data: ReportData) -> str:
    """Return the recommended arm with a comma; "" without one."""
    if data.recipe.empty:
        return ""
    chosen = data.recipe.iloc[0]
    return f"**{data.named(chosen['study'], chosen['arm'])}** as in the [recipe](#recipe), "


def _other_images(data: ReportData, rows: Rows, failed: Rows) -> str:
    if not failed:
        return (
            f"{_verb(rows, 'The only verdict', f'All {len(rows)} verdicts')} other than "
            f"inconclusive {_verb(rows, 'stays', 'stay')} the same if the choice of test "
            "examples also counts as a source of error."
        )
    verdicts = md.format_count(len(rows), "verdict")
    others = {
        (row["study"], row["arm"]): row["verdict_other_images"] for row in rows_of(data.primary)
    }
    change = _change(data)
    names = _names(
        data, failed, lambda row: f"{others.get((row['study'], row['arm']))}; {change(row)}"
    )
    return (
        f"Of {verdicts} other than inconclusive, {len(failed)} would be another one if the choice "
        f"of test examples also counted as a source of error: {names}. (The interval is not "
        "corrected.) "
        f"Raise {_seeds_key(data)} in {_value_file(data, 'seeds.confirmation')}. "
        "[Precision](pages/verdicts.md#precision) says whether more test examples would also help."
    )


def _seeds(data: ReportData, rows: Rows, failed: Rows) -> str:
    seeds = md.format_count(int(min(row["value"] for row in rows)), "seed")
    required = int(max(row["limit"] for row in failed or rows))
    arms = md.format_count(data.contrast_count, "contrast")
    if failed:
        return (
            f"{seeds} are too few for the exact sign-flip test over {arms}. "
            f"{_enough_seeds(data, required)} in {_value_file(data, 'seeds.confirmation')}."
        )
    return (
        f"The contrast with the fewest seeds has {seeds}. The exact sign-flip test over {arms} "
        f"needs at least {required}."
    )


def _seeds_key(data: ReportData) -> str:
    return f"{'the looks of ' if data.confirmation.looks else ''}`seeds.confirmation`"


def _enough_seeds(data: ReportData, required: int) -> str:
    if data.confirmation.looks:
        return f"Declare a first look of at least {required} seeds under `seeds.confirmation`"
    return f"Set `seeds.confirmation: {required}`"


def _trials(data: ReportData, rows: Rows, failed: Rows) -> str:
    if not failed:
        fewer = [row for row in rows if row["value"] < row["limit"]]
        full = ""
        if fewer:
            names = _names(data, fewer, _counts)
            full = f", or all settings of a smaller space: {names}"
        return (
            f"{_each(rows)} with a search tried as many settings as its reference{full}. "
            "Settings that extended a range are not counted."
        )
    parts = []
    if few := [row for row in failed if row["value"] < row["limit"]]:
        parts.append(
            f"Fewer trials than the reference: {_names(data, few, _counts)}. This can only "
            f"understate {_verb(few, 'its', 'their')} best result. Add values in "
            f"{_study_files(few)}."
        )
    if many := [row for row in failed if row["value"] > row["limit"]]:
        tuned = [row for row in many if row["subject"] == BASELINE]
        others = [row for row in many if row["subject"] != BASELINE]
        places = [f"under `tune` in {_tune_file(data)}"] if tuned else []
        places += [f"in {_study_files(others)}"] if others else []
        parts.append(
            f"More trials than the reference: {_names(data, many, _counts)}. This can overstate "
            f"the difference. Give the reference as many values, {' and '.join(places)}."
        )
    return " ".join(parts)


def _counts(row: md.Row) -> str:
    return f"{int(row['value'])} against {int(row['limit'])}"


def _machines(data: ReportData, rows: Rows, failed: Rows) -> str:
    protocol = data.confirmation.protocol
    kinds = [f"{row['subject']} ({md.format_count(int(row['value']), 'run')})" for row in rows]
    if failed:
        return (
            f"The confirmation runs are from {len(rows)} kinds of machine: "
            f"{md.format_list(kinds)}. Train all on one, with `protocols: [{protocol}]` in "
            "`params.yaml`: `GAPWISE_STORE=$(mktemp -d) "
            f"dvc repro --force train@{protocol} confirm@{protocol}`, then `make run`."
        )
    return f"All confirmation runs are from one kind of machine: {kinds[0]}."


LINES: dict[Check, Callable[[ReportData, Rows, Rows], str]] = {
    Check.TUNED: _tuned,
    Check.REFERENCES: _above_references,
    Check.LONGER: _longer,
    Check.BUDGET: _budgets,
    Check.INTERIOR: _interior,
    Check.GAIN: _gains,
    Check.TRIALS: _trials,
    Check.IMAGES: _other_images,
    Check.SEEDS: _seeds,
    Check.MACHINE: _machines,
}


def _names(data: ReportData, rows: Rows, detail: Callable[[md.Row], str]) -> str:
    """Return the arms of a few rows with a detail of each, and how many more there are."""
    names = []
    for row in rows:
        shown = detail(row)
        name = f"**{data.label(row['study'], row['arm'])}**"
        names.append(f"{name} ({shown})" if shown else name)
    return md.format_few(names)


def _sorted(rows: Rows) -> Rows:
    """Return the rows by their value, the least first."""
    return sorted(rows, key=lambda row: float(row["value"]))


def _change(data: ReportData) -> Callable[[md.Row], str]:
    """Return a function that writes the value of a row in points with its interval."""
    return lambda row: data.format.change({**row, "difference": row["value"]})


def _points(data: ReportData) -> Callable[[md.Row], str]:
    """Return a function that writes the value of a row in points, without an interval."""
    return lambda row: f"{data.format.points(row['value'])} points"


def _place(row: md.Row) -> str:
    return md.escape(row["subject"])


def _part(failed: Rows, rows: Rows, noun: str) -> str:
    """Return the number of rows that have failed, as in 2 of 5 verdicts."""
    return f"{len(failed)} of {md.format_count(len(rows), noun)}"


def _verb(rows: Rows, one: str, several: str) -> str:
    return one if len(rows) == 1 else several


def _protocol_file(data: ReportData) -> str:
    return f"`experiments/protocols/{data.confirmation.protocol}.yaml`"


def _tune_file(data: ReportData) -> str:
    """Return the file with the search spaces of the baseline."""
    return PARAMETERS if "tune" in data.confirmation.overridden else _protocol_file(data)


def _value_file(data: ReportData, key: str) -> str:
    """Return the file that has the value of a dotted key."""
    return PARAMETERS if key in data.confirmation.overridden else _protocol_file(data)


def _study_files(rows: Rows) -> str:
    """Return the files of the studies of these rows."""
    studies = list(dict.fromkeys(row["study"] for row in rows))
    if len(studies) > md.FEW:
        return f"{len(studies)} files of `experiments`"
    return md.format_list([f"`experiments/{study}.yaml`" for study in studies])
