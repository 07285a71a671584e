"""Write the front page: the main findings, and links to all other pages."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import nan

import pandas as pd

from pipeline.comparison.levels import ARM as ARM_KIND
from pipeline.comparison.levels import ENSEMBLE
from pipeline.comparison.verdicts import Verdict
from pipeline.config.plan import BASELINE, OVERTUNING, TUNING, PlannedArm, PlannedStudy
from pipeline.records.ledger import LEDGER, Change, changes
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.collapse_sentences import (
    collapse_sentences,
    lost_note,
    rare_note,
    undone_note,
)
from pipeline.reporting.evidence import MOST, ReportData
from pipeline.reporting.families import family_note
from pipeline.reporting.front_cells import ARM, SETTING, contrast_cells, seeds_words
from pipeline.reporting.labels import efficiency_name
from pipeline.reporting.pages._data_size import data_size_figure, has_sizes
from pipeline.reporting.pages._diagnosis import diagnosis_section
from pipeline.reporting.pages._findings import findings
from pipeline.reporting.pages._interactions import interaction_lines
from pipeline.reporting.pages._looks import short_stops
from pipeline.reporting.pages._page import STUDY, Page, incomplete_runs
from pipeline.reporting.pages._pretrainings import FROM_FRONT, cost_note
from pipeline.reporting.pages._recipe import recipe_section
from pipeline.reporting.pages._transfer import has_starts, size_figure
from pipeline.reporting.pages._trust import majority_warning, not_above, qualifiers, trust_section
from pipeline.reporting.pages.claims import claims_sentence
from pipeline.reporting.pages.search import search_lines
from pipeline.reporting.pages.variance import largest_streams
from pipeline.reporting.verdict_sentences import (
    NO_HELP,
    joint_intervals,
    limits_sentence,
    verdict_sentences,
    withheld_labels,
)

INTERVAL_WORDS = (
    f"with its {md.INTERVAL} over seeds. This interval is not corrected. It holds for these "
    "test examples and training examples from the same pool (for other test examples, see "
    "[verdicts](pages/verdicts.md))"
)
LEDGER_LINK = f"[ledger]({LEDGER})"
TRAINED = ("training.optimizer", "training.schedule", "training.warm_up")
FOREST = (
    "Forest plot: difference in test accuracy between every arm and the baseline, with interval "
    "and verdict; a band shows the margin"
)
EFFICIENCY = (
    "Test accuracy of every arm, test rule and ensemble against the cost of training and against "
    "the cost of a test example; a line joins the efficient ones"
)


def front_page(data: ReportData, pages: Sequence[Page]) -> str:
    """Return the text of `report.md`; `pages` are the other pages of the report."""
    claimed = claims_sentence(data)
    claims = f"{claimed} [Numbers and sources](pages/claims.md)." if claimed else ""
    note = f"*The figure shows the {MOST} largest differences.*"
    parts = [
        f"# {title(data)}: {subject(data)}",
        headline(data),
        data_notes(data),
        openings_line(data),
        md.section("Recipe", recipe_section(data)),
        "## Arms",
        headline_table(data),
        incomplete_runs(data.runs[~_diverged_in_designs(data)]),
        designs_note(data),
        left_out(data),
        f"![{FOREST}](figures/forest.png)",
        note if len(data.distinct) > MOST else "",
        family_note(data),
        *(data_size_figure(study, "") for study in _sized(data)),
        size_figure(data, ""),
        md.section("Trust checks", trust_section(data)),
        md.section("Accuracy against cost", cost_figure(data)),
        md.section("Diagnosis", diagnosis_section(data)),
        md.section("Training choices", training_findings(data)),
        md.section("Search", search_lines(data)),
        md.section("Interactions", interaction_lines(data)),
        md.section("Claims of lectures and papers", claims),
        *(
            md.section("Variance between seeds", largest_streams(data, study.name))
            for study in data.confirmation.studies_of("variance")
        ),
        md.section("Pages", _contents(pages)),
    ]
    return md.join_parts(*parts) + "\n"


def designs_note(data: ReportData) -> str:
    """Return the number of runs of designs that diverged, because of wide ranges; empty if none.

    Designs are the settings on which searches are replayed.
    """
    diverged = len(data.runs[_diverged_in_designs(data)])
    if not diverged:
        return ""
    planned = md.format_count(len(data.runs[_in_designs(data)]), "run")
    return (
        f"{diverged} of {planned} of search designs diverged, which is normal for wide ranges. (A "
        "search design is a set of settings, each trained once. Searches are replayed on its "
        "runs.)"
    )


def _diverged_in_designs(data: ReportData) -> pd.Series:
    """Return a mask of the rows of `runs` that are diverged runs of a design."""
    return _in_designs(data) & (data.runs["state"] == "diverged")


def _in_designs(data: ReportData) -> pd.Series:
    """Return a mask of the rows of `runs` that are settings on which searches are replayed."""
    names = [study.name for study in data.confirmation.studies_of("search")]
    return data.runs["study"].isin(names) & (data.runs["arm"] != BASELINE)


def title(data: ReportData) -> str:
    """Return the question of a report, from the changes of its arms."""
    arms = [arm for _, arm in data.planned_arms[1:]]
    training = [arm for arm in arms if _is_training_choice(arm)]
    if has_starts(data) and not any(arm.factor.regularizers for arm in arms):
        return "What to train of a pretrained network"
    if not training:
        return "Which regularizers help"
    if len(training) < len(arms):
        return "Which regularizers and training choices help"
    return "Which training choices help"


def subject(data: ReportData) -> str:
    """Return the subject of a report: its protocol, and its studies if it has only some."""
    protocol = data.confirmation.protocol
    studies = data.confirmation.studies
    names = [study.name for study in studies if study.name not in (TUNING, OVERTUNING)]
    if not (data.alone and names):
        return protocol
    word = "study" if len(names) == 1 else "studies"
    return f"{protocol}, {word} {md.format_few(names)} alone"


def _is_training_choice(arm: PlannedArm) -> bool:
    """Return whether an arm is a training choice: it changes more than data and regularizers.

    An arm with a regularizer is one if it also changes optimizer, schedule or warm-up.
    """
    if arm.factor.regularizers:
        return any(key.startswith(TRAINED) for key in arm.factor.protocol)
    return not all(key.startswith("data.") for key in arm.factor.protocol)


def training_findings(data: ReportData) -> str:
    """Return the answers of all studies of training choices, each question and study once.

    The answers of several studies to a question are below it, each after the link to its study. A
    single study has its link after its last answer.
    """
    studies = data.confirmation.studies_of("comparison")
    answers_of = {study.name: findings(data, study) for study in studies}
    links = {name: f"[{name}](pages/study_{name}.md)" for name, each in answers_of.items() if each}
    if len(links) == 1:
        ((name, link),) = links.items()
        lines = md.format_bullets([str(one) for one in answers_of[name]])
        return f"{lines}\n\nFrom the study {link}."
    answers: dict[str, dict[str, list[str]]] = {}
    for name, link in links.items():
        for one in answers_of[name]:
            answers.setdefault(one.question, {}).setdefault(one.answer, []).append(link)
    return "\n".join(
        line for question, each in answers.items() for line in _answered(question, each)
    )


def _answered(question: str, answers: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a question as an item of a list, and its answers as items below it.

    Args:
        question: The question.
        answers: The links of the studies that give an answer, by the answer.
    """
    yield f"- {question}"
    for answer, links in answers.items():
        yield f"  - {md.format_list(links)}: {answer}"


def headline(data: ReportData) -> str:
    """Return the answer, and a list of the baseline's gap, the limits and a note on intervals.

    It begins with a warning if the baseline may have learned nothing.
    """
    findings = verdict_sentences(
        data.distinct, data.confirmation.margin, data.format, ties=data.ties
    )
    if not (data.distinct["verdict"] == Verdict.HELPS).any():
        findings.insert(0, NO_HELP)
    findings += collapse_sentences(data.rates, withheld_labels(data.distinct))
    accuracy, gap = (data.baseline(name)["mean"] for name in ("test_accuracy", "gap"))
    baseline = (
        f"The baseline reaches {data.format.percent(accuracy)} % test accuracy"
        f"{_with_collapses(data)} with a gap of "
        f"{data.format.percent(gap)} points between train and validation accuracy."
        f"{not_above(data)}"
    )
    limits = limits_sentence(_fresh_seeds(data), qualifiers(data))
    note = joint_intervals(data.contrast_count, data.distinct, _looks_corrected(data))
    bullets = md.format_bullets([baseline, limits, note])
    return f"{majority_warning(data)}{' '.join(findings)}\n{bullets}"


def _looks_corrected(data: ReportData) -> str:
    """Return the looks for which the answer is corrected; empty without looks."""
    looks = data.confirmation.looks
    if looks is None:
        return ""
    numbers = md.format_list([str(seeds) for seeds in looks.seeds])
    return f", corrected for {md.format_count(len(looks.seeds), 'look')}, at {numbers} seeds"


def _with_collapses(data: ReportData) -> str:
    """Return that the mean of the baseline is over all its runs, if one of them collapsed."""
    baseline = data.rates[(data.rates["arm"] == BASELINE) & (data.rates["collapsed"] > 0)]
    return " (the mean of all its runs, also of those that collapsed)" if len(baseline) else ""


def data_notes(data: ReportData) -> str:
    """Return the notes of the checks of the data, the first of many; empty without any."""
    notes = [md.escape(note) for note in data.data["notes"]]
    if not notes:
        return ""
    return f"**Notes on the data**: {md.format_few(notes)} ([all](pages/method.md#protocol))."


def openings_line(data: ReportData) -> str:
    """Return the number of plans under which the test set was evaluated, and their changes.

    "" without a ledger.
    """
    if not data.openings:
        return ""
    between = [changes(*pair) for pair in itertools.pairwise(data.openings)]
    if not between:
        return f"**Test set**: evaluated under one plan ({LEDGER_LINK})."
    if len(between) == 1:
        changed = [
            md.escape(f"{change.kind} ({change.detail})" if change.detail else change.kind)
            for change in between[0]
        ]
    else:
        kinds = Counter(itertools.chain.from_iterable(map(_kinds, between)))
        changed = [
            f"{md.escape(kind)} {'once' if count == 1 else f'{count} times'}"
            for kind, count in kinds.most_common()
        ]
    plans = len(data.openings)
    return (
        f"**Test set**: evaluated {plans} times ({LEDGER_LINK}). Later plans were made "
        f"with earlier results known. What changed between plans: {', '.join(changed)}."
    )


def _kinds(changed: Sequence[Change]) -> list[str]:
    """Return the kinds of some changes, each once, in their order."""
    return list(dict.fromkeys(change.kind for change in changed))


def headline_table(data: ReportData) -> str:
    """Return a table with a row per arm, the best difference first; details have their own page.

    What a narrow screen shows without scrolling is first: the arm, its verdict and its difference.
    """
    caption = (
        f"Difference: points of test accuracy, arm minus {_reference(data)}, {INTERVAL_WORDS}. "
        "Gap: train minus validation accuracy, in points, both without dropout or other noise. "
        "Costs: counted operations, divided by those of "
        f"{_owner(data)}.{cost_note(data, FROM_FRONT)}"
    )
    details = (
        f"{_passes_note(data)}{_contrasts_note(data)}{_parts_note(data)}"
        f"{_equivalence_note(data)}{_seeds_note(data)}"
        f"{lost_note(data.rates)}{rare_note(data.rates)}{_lost_pairs_note(data)}"
        f"{undone_note(data.rates, data.distinct)}"
    )
    rows = [_headline_cells(data, row) for row in rows_of(data.grouped)]
    table = md.format_table(rows, caption, words=(ARM, "verdict", "seeds", "study", SETTING))
    return md.join_parts(table, md.folded("More on this table", details.strip()))


def _passes_note(data: ReportData) -> str:
    """Return the arms that predict by the mean of several noise passes, and their numbers."""
    counts: dict[int, list[str]] = {}
    for study, arm in data.planned_arms[1:]:
        if arm.rule.view == "noise" and arm.rule.members > 1:
            counts.setdefault(arm.rule.members, []).append(f"**{data.label(study, arm.name)}**")
    return "".join(
        f"{md.format_list(names)} {'averages its' if len(names) == 1 else 'average their'} "
        f"predictions over {count} noise passes. A noise pass is a forward pass in which the noise "
        "of training is active. "
        for count, names in counts.items()
    )


def _contrasts_note(data: ReportData) -> str:
    """Return the contrasts that are corrected together; empty if they are the rows of the table."""
    if not data.pair_count:
        return ""
    arms = md.format_count(len(data.distinct), "arm")
    pairs = data.labelled(data.parts[~data.parts["repeats"].astype(bool)])
    names = md.format_list([f"**{label}**" for label in pairs["label"]])
    return (
        f"A contrast is a tested comparison. There are {data.contrast_count}: {arms} against their "
        f"references, and {names} against the better of the two changes that it combines "
        "([Interactions](#interactions)). "
    )


def _equivalence_note(data: ReportData) -> str:
    """Return why an arm may not be equivalent although its interval is inside the margin."""
    margin, rows = data.confirmation.margin, data.distinct
    inside = rows["low"].gt(-margin) & rows["high"].lt(margin)
    names = rows.loc[inside & (rows["verdict"] == Verdict.INCONCLUSIVE), "label"]
    if names.empty:
        return ""
    return (
        f"The interval of {md.format_few([f'**{label}**' for label in names])} is inside the "
        f"margin of {md.format_margin(margin)}, but not the verdict: the test of equivalence is "
        "corrected for all contrasts, and the interval is not. "
    )


def _parts_note(data: ReportData) -> str:
    """Return the arms that are single parts of a pair."""
    rows = data.interactions[data.interactions["metric"] == "test_accuracy"]
    return "".join(
        f"**{row['first']}** and **{row['second']}** each have one of the two changes of "
        f"**{row['arm']}**. "
        for row in rows_of(rows)
    )


def _lost_pairs_note(data: ReportData) -> str:
    """Return the number of pairs that contrasts left out because a run was lost; empty if none."""
    pairs = [
        f"{md.format_count(int(row['lost_pairs']), 'seed')} of **{row['label']}**"
        for row in rows_of(data.distinct)
        if row["lost_pairs"]
    ]
    if not pairs:
        return ""
    return (
        " If the run of the arm or of its reference is lost, its seed is left out of the "
        f"difference: {md.format_list(pairs)}."
    )


def _seeds_note(data: ReportData) -> str:
    if data.confirmation.looks is None:
        return ""
    looks = md.format_list([str(seeds) for seeds in data.confirmation.looks.seeds])
    return (
        "Seeds: their number, and why the arm stopped there. This is decided by validation scores "
        f"at looks of {looks} seeds. "
    )


def cost_figure(data: ReportData) -> str:
    """Return the figure of accuracy against cost, and which choices are efficient.

    Of choices with the same printed accuracy, the cheapest is named.
    """
    if data.efficiency.empty:
        return ""
    rows = data.efficiency[data.efficiency["efficient"].astype(bool)]
    rows = rows.sort_values(["training_ratio", "test_ratio"], kind="stable")
    shown = rows.assign(percent=rows["accuracy"].map(data.format.percent))
    names = [
        f"**{efficiency_name(row)}** ({_verdict_of(data, row)}{row['percent']} %; "
        f"{md.format_ratio(row['training_ratio'])}, {md.format_ratio(row['test_ratio'])})"
        for row in rows_of(shown.drop_duplicates("percent"))
    ]
    has_ensembles = (data.efficiency["kind"] == ENSEMBLE).any()
    fewer = "Ensembles have fewer seeds. " if has_ensembles else ""
    words = (
        "A choice is efficient if every other choice is less accurate, or costs more in training "
        "or at test (not tested for significance). Efficient "
        "choices, the cheapest to train first (in brackets: verdict; mean test accuracy; "
        "costs of training and test, as multiples of the baseline's): "
        f"{'; '.join(names)}. Filled marks are efficient by the cost of their panel alone. "
        f"{fewer}[Numbers](pages/cost.md).{cost_note(data, FROM_FRONT)}"
    )
    return md.join_parts(f"![{EFFICIENCY}](figures/cost_accuracy.png)", words)


def _verdict_of(data: ReportData, row: md.Row) -> str:
    """Return the verdict of an arm under its own test rule; empty without one."""
    rows = data.primary[(data.primary["study"] == row["study"])]
    rows = rows[rows["arm"] == row["name"]]
    return f"{rows['verdict'].iloc[0]}; " if row["kind"] == ARM_KIND and len(rows) else ""


def left_out(data: ReportData) -> str:
    """Return the pairs that contrasts left out, and contrasts of the same runs; empty if none."""
    primary, lines = data.distinct, []
    for row in rows_of(primary):
        if row["unpaired"]:
            lines.append(
                f"**{row['label']}**: {md.format_count(row['unpaired'], 'pair')} of runs left "
                "out, because one of the two is not done or has no score."
            )
        if row["other_machine"]:
            lines.append(
                f"**{row['label']}**: {md.format_count(row['other_machine'], 'pair')} of runs left "
                "out, because they were trained on another kind of machine than the rest. "
                "Contrasts and interactions do not mix processors or numbers of threads; other "
                "means and figures use all runs."
            )
    for keys in data.arms_by_runs:
        names = md.format_list([f"**{data.label(*key)}**" for key in keys])
        if data.is_its_reference(*keys[0]):
            verb = "have" if len(keys) > 1 else "has"
            lines.append(
                f"{names} {verb} the same setting as the reference, so there is no difference."
            )
        elif len(keys) > 1:
            lines.append(f"{names} are the same runs and are counted once.")
    lines += [
        f"**{label}** has the same difference at every seed, so it has no interval."
        for label in primary.loc[(primary["n"] > 1) & primary["low"].isna(), "label"]
    ]
    if (primary["n"] == 1).any():
        lines.append(
            "A single pair of runs has no interval, no p and no verdict: raise "
            "`seeds.confirmation` in `params.yaml`."
        )
    return md.format_bullets(lines)


def _fresh_seeds(data: ReportData) -> str:
    primary, looks = data.distinct, data.confirmation.looks
    stops = {(stop.study, stop.arm): stop.reason for stop in looks.stops} if looks else {}
    reasons = [stops.get(key) for key in zip(primary["study"], primary["arm"], strict=True)]
    futile = len([reason for reason in reasons if reason == "futile"]) if looks else None
    return seeds_words(int(primary["n"].min()), int(primary["n"].max()), futile)


def _headline_cells(data: ReportData, row: md.Row) -> dict[str, str]:
    key = row["study"], row["arm"]
    stops = short_stops(data)
    costs = data.cost_ratios.get(key, (nan, nan))
    gap = data.gap_contrasts.get(key)
    cells = contrast_cells(row, gap, costs, data.format, data.reference(*key))
    setting = cells.pop(SETTING)
    if not data.rate_ranges.empty:
        cells["trials"] = str(data.trials(*key))
    if key in stops:
        cells["seeds"] = f"{row['n']}: {stops[key]}"
    if data.ambiguous:
        cells["study"] = row["study"]
    return {**cells, SETTING: setting}


def _reference(data: ReportData) -> str:
    references = {arm.against for _, arm in data.planned_arms[1:]}
    return "baseline" if references <= {BASELINE} else "its reference"


def _owner(data: ReportData) -> str:
    """Return the arm whose costs are the unit of the costs of an arm."""
    reference = _reference(data)
    return f"the {reference}" if reference == BASELINE else reference


def _sized(data: ReportData) -> list[PlannedStudy]:
    """Return the studies with a curve over training-set sizes."""
    return [study for study in data.confirmation.studies_of("comparison") if has_sizes(study)]


def _contents(pages: Sequence[Page]) -> str:
    """Return links to all pages, with pages of studies on a separate line."""
    of_studies: list[str] = []
    others: list[str] = []
    for page in pages:
        lines = of_studies if page.name.startswith(STUDY) else others
        lines.append(f"[{page.title}](pages/{page.name}.md)")
    start = [f"Studies: {', '.join(of_studies)}"] if of_studies else []
    return md.format_bullets([", ".join(others), *start])
