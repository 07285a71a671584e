"""Write the page of searches: which finds good settings soonest, and what matters for a score."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf

import pandas as pd

from pipeline.comparison.levels import BUDGET_COVERED, LEVEL, SMALL_DESIGN
from pipeline.config.plan import PlannedStudy
from pipeline.records.runs import STATES
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, count_states, of
from pipeline.reporting.pages._page import Page
from pipeline.reporting.pages._search import (
    BUDGET,
    CURVES,
    IMPORTANCE,
    METHODS,
    RESPONSES,
    SURFACE,
    arms_of,
    leaders,
    search_studies,
    words,
)
from pipeline.reporting.search_files import search_files

ORDER = 58
ENDS = {"low": "lower", "high": "upper"}
REFERENCE = "random search at equal cost"
UNTESTED = "untested"
NEAREST = "grid, Sobol, coarse to fine and TPE"  # methods that are taken to the nearest points
FIGURES = {
    CURVES: "Median of the best validation score against cost in trainings, a line per method",
    BUDGET: "Chance that one arm beats the other, against the number of trials, with a band",
    IMPORTANCE: "Importance of every hyperparameter for the best trials, with intervals",
    RESPONSES: "Validation score of every trial against each hyperparameter, with quartiles",
    SURFACE: "Mean validation score over the two most important hyperparameters, with the trials",
}


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page, if a study of searches has results."""
    if search_studies(data):
        yield Page("search", "Search", search_body(data))


def search_body(data: ReportData) -> str:
    """Return everything about the studies of searches."""
    return md.join_parts(
        "# Search",
        "Each arm of these studies was trained at settings that do not depend on scores; they are "
        "called its design. Searches are replayed on these runs, without further training. A lost "
        "run counts as the worst of its design. A search whose runs are all lost finds nothing and "
        "is left out of means.",
        *(study_section(data, study) for study in search_studies(data)),
        md.section("Tables", _table_list(data), 2),
    )


def _table_list(data: ReportData) -> str:
    """Return links to the tables beside the page."""
    links = [f"[{name}]({name})" for name in search_files(data)]
    return f"The numbers of this page: {md.format_list(links)}."


def search_lines(data: ReportData) -> str:
    """Return the lines on searches for the front page: leads and importance; empty without any."""
    lines = []
    for study in search_studies(data):
        names = words(study)
        budget = of(data.tuning_budget, study.name).groupby(["arm", "other"], sort=False)
        ranked = arms_of(of(data.search_importance, study.name))
        lines += [_budget_line(pair) for _, pair in budget]
        lines += [
            f"Hyperparameters of {study.name}, {_rank_line(arm, rows, names)}"
            for arm, rows in ranked.items()
        ]
    if not lines:
        return ""
    return md.join_parts(md.format_bullets(lines), "[All about searches](pages/search.md).")


def study_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the section of one study, from its question to its runs."""
    names = words(study)
    return md.join_parts(
        f"## {study.name}",
        f"{md.escape(study.question)} {_designs(data, study)}",
        md.section("Methods of search", method_section(data, study), 3),
        md.section("Verdict by tuning budget", budget_section(data, study), 3),
        md.section("What matters", importance_section(data, study, names), 3),
        md.section("Response to each hyperparameter", response_section(data, study, names), 3),
        md.section("Where the best value moves", shift_section(data, study, names), 3),
        lost_runs(data, study),
    )


def lost_runs(data: ReportData, study: PlannedStudy) -> str:
    """Return the number of lost runs of a study; empty if all are done."""
    counts = count_states(of(data.runs, study.name))
    kinds = [f"{counts[state]} {state}" for state in STATES[1:] if counts[state]]
    if not kinds:
        return ""
    planned = md.format_count(counts["planned"], "run")
    return f"Of {planned} (including those of the baseline), {md.format_list(kinds)}."


def _designs(data: ReportData, study: PlannedStudy) -> str:
    parts = []
    for arm, rows in arms_of(of(data.search_points, study.name)).items():
        settings = md.format_count(len(set(rows["point"])), "setting")
        values = md.format_count(len(set(rows["hyperparameter"])), "hyperparameter")
        parts.append(f"the design of **{arm}** has {settings} of {values}")
    line = "; ".join(parts)
    return f"{line[:1].upper()}{line[1:]}."


def _figure(name: str, study: PlannedStudy, arm: str = "") -> str:
    ending = f"_{arm}" if arm else ""
    return f"![{FIGURES[name]}](../figures/{name}_{study.name}{ending}.png)"


def method_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the results of each method, by cost and at its end."""
    rows = of(data.search_methods, study.name)
    banded = of(data.search_curves, study.name)["band_low"].notna().any()
    band = f" Band: {md.CONFIDENCE} of random searches, at all costs together." if banded else ""
    return md.join_parts(
        _figure(CURVES, study),
        f"*Median over searches, at costs rounded up to whole trainings.{band} All methods may try "
        "the same number of settings. They differ in cost because some train with short schedules, "
        "and because a grid may have fewer settings.*",
        md.format_bullets(_method_lines(data, rows)),
        _validation_table(data, rows),
        _test_table(data, rows),
        _basis(rows),
    )


def _method_lines(data: ReportData, rows: pd.DataFrame) -> list[str]:
    """Return for each arm which methods differ from random search at equal cost."""
    lines = []
    for arm, methods in arms_of(rows[rows["method"] != "random"]).items():
        by_outcome: dict[str, list[str]] = {"better": [], "worse": [], "": [], UNTESTED: []}
        for row in rows_of(methods):
            decided = row["p_holm"] < LEVEL
            side = ("worse", "better")[row["difference"] > 0] if decided else ""
            side = UNTESTED if pd.isna(row["difference"]) else side
            change = f" ({md.unbroken(_change(data, row))})" if decided else ""
            by_outcome[side].append(f"{METHODS[row['method']]}{change}")
        parts = [
            f"{side} than {REFERENCE}: {md.format_list(by_outcome[side])}"
            for side in ("better", "worse")
            if by_outcome[side]
        ]
        if by_outcome[""]:
            parts.append(f"not shown to differ from {REFERENCE}: {md.format_list(by_outcome[''])}")
        if by_outcome[UNTESTED]:
            parts.append(
                "not tested, because too many searches find nothing: "
                f"{md.format_list(by_outcome[UNTESTED])}"
            )
        lines.append(f"**{arm}**, mean test score of the chosen setting: {'; '.join(parts)}.")
    return lines


def _change(data: ReportData, row: md.Row) -> str:
    interval = data.format.points_interval(row["low"], row["high"])
    return f"{data.format.points(row['difference'])} points {interval}".strip()


def _validation_table(data: ReportData, rows: pd.DataFrame) -> str:
    cells = [
        {
            "arm": row["arm"],
            "method": METHODS[row["method"]],
            "settings": f"{row['settings']:.0f}",
            "cost (trainings)": f"{row['cost']:.1f}",
            "validation (%)": data.format.percent(row["validation"]),
            "regret (points)": data.format.percent(row["regret"]),
            "equal random search (trainings)": _random_cost(row),
        }
        for row in rows_of(rows)
    ]
    caption = (
        "At the end of each search, means over searches. Cost: in whole trainings. Validation: "
        "score of the chosen setting. Regret: how far this score is below that of the best setting "
        "of the design. Equal random search: the cost at which random search has the same mean "
        f"validation score. For {NEAREST}, the proposals of random search are moved to the nearest "
        "settings of the design, as theirs are. Not tested: another design would give other "
        "numbers."
    )
    return md.format_table(cells, caption, words=("arm", "method"))


def _random_cost(row: md.Row) -> str:
    if row["method"] == "random" or pd.isna(row["random_cost"]):
        return md.VOID
    return "beyond the design" if row["random_cost"] == inf else f"{row['random_cost']:.1f}"


def _test_table(data: ReportData, rows: pd.DataFrame) -> str:
    cells = [
        {
            "arm": row["arm"],
            "method": METHODS[row["method"]],
            "test (%)": data.format.percent(row["test"]),
            "optimism (points)": data.format.points(row["optimism"]),
            f"minus random (points) [{md.INTERVAL}]": _minus_random(data, row),
            "p": md.format_p(row["p"]),
            "p (Holm)": md.format_p(row["p_holm"]),
        }
        for row in rows_of(rows)
    ]
    caption = (
        "Test accuracy of the setting chosen by validation, means over searches. Optimism: "
        "validation minus test score. Minus random: difference to random search at equal cost. For "
        f"{NEAREST}, the proposals of random search are moved to the nearest settings of the "
        "design, as theirs are. A failed search lowers the mean much, but the median in the figure "
        "only little, so the two may order methods differently, mainly at a low cost. Interval and "
        "p: over designs, by halves of the settings (jackknife); `docs/statistics.md` says how "
        "often such intervals cover. p (Holm): corrected for this table. Rule: the test rule of "
        "each arm."
    )
    return md.format_table(cells, caption, words=("arm", "method"))


def _minus_random(data: ReportData, row: md.Row) -> str:
    if pd.isna(row["difference"]):
        least = min(row["ended"], row["random_ended"])
        return f"{100 * (1 - least):.0f} % find nothing" if row["method"] != "random" else md.VOID
    interval = data.format.points_interval(row["low"], row["high"])
    return md.unbroken(f"{data.format.points(row['difference'])} {interval}".strip())


def _basis(rows: pd.DataFrame) -> str:
    """Return the basis of the replays of each method."""
    lines = []
    for basis, methods in rows.groupby("basis", sort=False):
        by_name = methods.groupby("method", sort=False)["distance"].max()
        far = {METHODS[str(name)]: distance for name, distance in by_name.items()}
        names = md.format_list(list(far))
        numbers = [f"{count:,}" for count in dict.fromkeys(methods["replays"]) if count]
        counts = f"; {md.format_list(numbers)} searches" if numbers else ""
        moved = md.format_list([f"{distance:.2f}" for distance in far.values()])
        apart = f", at a mean distance of up to {moved} from the proposed settings (unit cube)"
        apart = apart if max(far.values()) > 0 else ""
        order = " A grid has the same settings in every search." if "grid" in by_name else ""
        lines.append(f"{names}: {basis}{apart}{counts}.{order}")
    words_before = "The searches use these points (settings of the design) and curves:"
    return f"{words_before}\n\n{md.format_bullets(lines)}"


def budget_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the better of two arms by number of trials; empty for a single arm."""
    rows = of(data.tuning_budget, study.name)
    if rows.empty:
        return ""
    lines = [_budget_line(pair) for _, pair in rows.groupby(["arm", "other"], sort=False)]
    caption = (
        "*Chance that the first arm has the better test score if both arms take the best of the "
        "same number of random trials, by validation score. Band: "
        f"{md.CONFIDENCE} for all numbers of trials together, bootstrap over both designs, "
        f"{rows['resamples'].iloc[0]:,} resamples. The band covers less than that: in simulations, "
        f"it held at all numbers of trials in {100 * BUDGET_COVERED:g} % of designs. The first arm "
        "leads where the band is above one half, and the second where it is below.*"
    )
    return md.join_parts(md.format_bullets(lines), _figure(BUDGET, study), caption)


def _budget_line(pair: pd.DataFrame) -> str:
    """Return a sentence such as: adam leads from 1 to 4 trials, then neither leads from 5 to 9."""
    first = pair.iloc[0]
    spans = leaders(pair)
    words_of = [_span(leader, start, end) for leader, start, end in spans]
    names = f"**{first['arm']}** against **{first['other']}**"
    return f"{names}: {', then '.join(words_of)}."


def _span(leader: str, start: int, end: int) -> str:
    """Return the leader for a range of numbers of trials; an empty name means none."""
    name = f"{leader} leads" if leader else "neither leads"
    if start == end:
        return f"{name} at {md.format_count(end, 'trial')}"
    return f"{name} from {start} to {md.format_count(end, 'trial')}"


def importance_section(data: ReportData, study: PlannedStudy, names: Mapping[str, str]) -> str:
    """Return the importance of each hyperparameter, and the hyperparameters that have no rank."""
    rows = of(data.search_importance, study.name)
    if rows.empty:
        return (
            f"Designs with fewer than {SMALL_DESIGN} settings are too small to measure importance."
        )
    cells = [
        {
            "arm": row["arm"],
            "hyperparameter": names[row["hyperparameter"]],
            f"share (%) [{md.INTERVAL}]": _share(row),
            "chance limit (%)": f"{100 * row['chance']:.0f}",
            "rank": _rank(row),
        }
        for row in rows_of(rows)
    ]
    caption = (
        "Share: importance of each hyperparameter by PED-ANOVA, which compares its values in the "
        "best tenth of the trials, by validation score, with those in all trials. Interval: over "
        "halves of the trials (jackknife). Chance limit: when the scores are shuffled, no "
        f"hyperparameter has a larger share in {md.CONFIDENCE} of cases. Rank: all ranks that the "
        "intervals allow; hyperparameters whose intervals overlap have no single rank."
    )
    lines = [_rank_line(arm, part, names) for arm, part in arms_of(rows).items()]
    return md.join_parts(
        _figure(IMPORTANCE, study),
        md.format_bullets(lines),
        md.format_table(cells, caption, words=("arm", "hyperparameter")),
    )


def _share(row: md.Row) -> str:
    bounds = f"[{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
    return md.unbroken(f"{100 * row['importance']:.0f} {bounds}")


def _rank(row: md.Row) -> str:
    first, last = row["first_rank"], row["last_rank"]
    return str(first) if first == last else f"{first} to {last}"


def _rank_line(arm: str, rows: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Return the hyperparameters of an arm that are shown to matter, and their ranks if known."""
    matters = rows["importance"] > rows["chance"]
    ranked = rows["first_rank"] == rows["last_rank"]
    above = [names[name] for name in rows.loc[matters, "hyperparameter"]]
    below = [names[name] for name in rows.loc[~matters, "hyperparameter"]]
    parts = [f"{md.format_list(above)} {_are(above)} shown to matter"] if above else []
    places = [
        f"{names[row['hyperparameter']]} has rank {row['first_rank']}"
        for row in rows_of(rows[ranked & matters])
    ]
    open_names = [names[name] for name in rows.loc[~ranked & matters, "hyperparameter"]]
    if places:
        parts.append(md.format_list(places))
    if len(open_names) > 1:
        parts.append(
            "their order is not shown"
            if len(open_names) == len(above)
            else f"the order of {md.format_list(open_names)} is not shown"
        )
    if below:
        parts.append(f"{md.format_list(below)} {_are(below)} not shown to matter")
    return f"**{arm}**: {'; '.join(parts)}."


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def response_section(data: ReportData, study: PlannedStudy, names: Mapping[str, str]) -> str:
    """Return how scores depend on each hyperparameter, and whether its range is wide enough."""
    figures = [
        _figure(RESPONSES, study, arm) for arm in arms_of(of(data.search_responses, study.name))
    ]
    surfaces = [
        _figure(SURFACE, study, arm) for arm in arms_of(of(data.search_surface, study.name))
    ]
    return md.join_parts(
        *figures,
        "*A dot is a trial. The line joins the medians of tenths of the range, with quartiles. The "
        "other hyperparameters vary too.*",
        end_table(data, study, names),
        *surfaces,
        "*Colour: mean score of the trials near each point. Circles are the trials; those of the "
        "best tenth are filled.*"
        if surfaces
        else "",
    )


def end_table(data: ReportData, study: PlannedStudy, names: Mapping[str, str]) -> str:
    """Return whether each range fails at both of its ends."""
    rows = of(data.search_ends, study.name)
    cells = []
    for (arm, name), both in rows.groupby(["arm", "hyperparameter"], sort=False):
        ends = {row["end"]: row for row in rows_of(both)}
        cells.append(
            {
                "arm": str(arm),
                "hyperparameter": names[str(name)],
                **{f"{ENDS[end]} end": _end(data, row) for end, row in ends.items()},
                "fails at": _fails(list(ends.values())),
            }
        )
    caption = (
        "Each end: its value, and the median validation score (%) of the trials in the nearest "
        "fifth of the range. An end fails if another fifth has significantly better scores; a "
        "range that fails at both ends is wide enough. Mann-Whitney tests with Bonferroni's "
        "correction over fifths and Holm's over the ends of an arm, at level "
        f"{100 * LEVEL:g} %."
    )
    return md.format_table(cells, caption, words=("arm", "hyperparameter", "fails at"))


def _end(data: ReportData, row: md.Row) -> str:
    return f"{md.escape(row['at'])}: {data.format.percent(row['median'])}"


def _fails(ends: Sequence[md.Row]) -> str:
    failing = [ENDS[row["end"]] for row in ends if row["fails"]]
    if len(failing) == len(ENDS):
        return "both ends"
    return f"the {failing[0]} end only" if failing else "no end is shown to fail"


def shift_section(data: ReportData, study: PlannedStudy, names: Mapping[str, str]) -> str:
    """Return the shift of the best rate of an arm when each other value changes."""
    rows = of(data.search_shifts, study.name)
    if rows.empty:
        return ""
    cells = [
        {
            "arm": row["arm"],
            "best value of": names[row["moved"]],
            "by": names[row["hyperparameter"]],
            "split at": md.escape(row["split"]),
            "best value up to the split": f"{row['below']:.3g}",
            "best value above the split": f"{row['above']:.3g}",
            f"shift [{md.INTERVAL}]": md.unbroken(_moves(row)),
        }
        for row in rows_of(rows)
    ]
    caption = (
        "The trials are split at the median of the second hyperparameter. Best value: the middle "
        "of the values of the best quarter of the trials, by validation score. Shift: on a "
        "logarithmic scale, the best value above the split divided by that up to it; otherwise the "
        "difference as a share of the range. Interval: percentile bootstrap over trials and seeds, "
        "for all rows of an arm together."
    )
    return md.format_table(cells, caption, words=("arm", "best value of", "by"))


def _moves(row: md.Row) -> str:
    is_factor = row["scale"].startswith("log")
    spell = "x {:.2g}" if is_factor else "{:+.2f}"
    low, high = f"{row['low']:.2g}", f"{row['high']:.2g}"
    return f"{spell.format(row['shift'])} [{low}, {high}]"
