"""What the pages say, and in which order."""

import dataclasses
import itertools
import math
import re

import numpy as np
import pandas as pd
import pytest
from report_data import NAN, VERDICTS, derived, report_data
from sentences import bold, lost_runs, numbers

from pipeline.comparison import variance as variance_table
from pipeline.comparison.variance import standard_errors
from pipeline.comparison.verdicts import LOST_RUNS
from pipeline.config.plan import Factor, PlannedArm, PlannedRun, PlannedStudy
from pipeline.records.ledger import Change, opened_plan
from pipeline.reporting import pages, verdict_sentences
from pipeline.reporting.evidence import ReportData, run_frame, searches_frame, tried_frame
from pipeline.reporting.pages import (
    _diagnosis,
    _interactions,
    _page,
    all_pages,
    cost,
    front,
    gap,
    images,
    variance,
    verdicts,
)


@pytest.fixture
def results() -> ReportData:
    return report_data({"layers": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)


def test_the_method_has_what_was_loaded_from_a_file_of_weights(results: ReportData) -> None:
    line = "model.weights: w.pt: 3 of 4 tensors loaded"
    for loaded in ("", line):
        plan = results.confirmation.model_copy(update={"loaded": loaded})
        text = all_pages(dataclasses.replace(results, confirmation=plan))["pages/method.md"]
        assert text.count("w.pt: 3 of 4") == bool(loaded)


def test_the_wording_of_all_pages(results: ReportData, golden) -> None:
    """One report with every verdict, an interaction and a study of variance."""
    made = all_pages(spread(interacting(results, -0.007, -0.001)))
    front_page = made["report.md"].partition("## Pages")[0]
    golden(front_page, *(made[f"pages/{name}.md"] for name in (*KNOWN, "study_spread")))


@pytest.mark.parametrize(
    ("margins", "words", "changed"),
    [
        ([], None, None),
        ([0.01], "evaluated under one plan (", None),
        ([0.01, 0.02], "evaluated 2 times (", "margin ("),
        ([0.01, 0.02, 0.01, 0.03], "evaluated 4 times (", "margin 3 times"),
    ],
)
def test_the_front_page_says_how_often_the_test_set_was_opened(
    results: ReportData, margins: list[float], words: str | None, changed: str | None
) -> None:
    plan = opened_plan(results.confirmation, {}, "test_accuracy", {})
    openings = tuple({**plan, "margin": margin} for margin in margins)
    front = all_pages(dataclasses.replace(results, openings=openings))["report.md"]
    lines = [line for line in front.splitlines() if line.startswith("**Test set**")]
    assert len(lines) == (words is not None)
    assert all(line.startswith(f"**Test set**: {words}") for line in lines)
    assert (changed or "") in front


def test_kinds_of_changes_are_in_the_order_of_importance() -> None:
    """Also in another process, where the order of a set differs."""
    changed = [Change(kind, "") for kind in ("margin", "code", "arms added", "code", "claims")]
    assert front._kinds(changed) == ["margin", "code", "arms added", "claims"]


def test_a_resolve_is_named_among_many_changes(results: ReportData) -> None:
    plan = opened_plan(results.confirmation, {}, "test_accuracy", {})
    looks = {"seeds": [6, 12, 24], "weights": [0.4, 0.3, 0.3]}
    openings = []
    for look, reason in ((1, "futile"), (2, "asked"), (3, "asked")):
        stop = {"study": "layers", "arm": "dropout", "look": look, "reason": reason}
        openings.append({**plan, "looks": {**looks, "stops": [stop]}})
    line = front.openings_line(dataclasses.replace(results, openings=tuple(openings)))
    assert "further looks by gapwise resolve 2 times" in line
    assert "looks." not in line


@pytest.mark.parametrize(
    ("shape", "names", "cells", "has_picture"),
    [
        ([1, 8, 8], [], ["0", "1"], True),
        ([4, 1, 1], ["häufig", "稀 | $x_"], ["0: häufig", "1: 稀 \\| $x_"], False),
    ],
)
def test_classes_have_names_and_rows_no_pictures(
    results: ReportData, shape: list[int], names: list[str], cells: list[str], has_picture: bool
) -> None:
    study, arm = results.decided[0]
    row = {"study": study, "arm": arm, "images": 9, "before": 0.5, "after": 0.6, "difference": 0.1}
    flipped = row | {"image": 3, "label": 0}
    data = dataclasses.replace(
        results,
        data={**results.data, "shape": shape, "class_names": names},
        classes=pd.DataFrame([row | {"label": label} for label in (0, 1)]),
        flips=pd.DataFrame([flipped]),
    )
    (page,) = images.pages(data)
    table = [line.split(" | ")[0] for line in page.body.splitlines() if line.startswith("| ")]
    assert [cell.removeprefix("| ") for cell in table[2:]] == cells
    assert ("figures/flips.png" in page.body) == has_picture
    assert ("flips.csv" in page.body) != has_picture


def test_arms_are_to_the_right_of_their_own_reference(
    results: ReportData, monkeypatch: pytest.MonkeyPatch
) -> None:
    (study, first), second, (_, third) = results.decided[:3]
    against = {first: "baseline", second[1]: "wide", third: "baseline"}
    before = {first: 0.5, second[1]: 0.25, third: 0.5}
    change = {first: 0.1, second[1]: 0.2, third: -0.3}
    keys = [(study, first), second, (study, third)]
    rows = [
        {"study": key[0], "arm": key[1], "label": 0, "images": 9, "before": before[key[1]]}
        | {"difference": change[key[1]]}
        for key in keys
    ]
    monkeypatch.setattr(ReportData, "against", lambda _, study, arm: against[arm])
    (page,) = images.pages(dataclasses.replace(results, classes=pd.DataFrame(rows)))
    head, _, row = [line.strip("| ").split(" | ") for line in page.body.splitlines()[2:5]]
    assert dict(zip(head, row, strict=True)) == {
        **{"class": "0", "examples": "9", "baseline (%)": "50.0", first: "+10.0"},
        **{third: "-30.0", "wide (%)": "25.0", second[1]: "+20.0"},
    }
    assert head.index(third) < head.index("wide (%)") < head.index(second[1])


@pytest.mark.parametrize(("n", "expected"), [(3, True), (1, False)])
def test_a_row_says_that_its_difference_is_the_same_at_every_seed(
    results: ReportData, n: int, expected: bool
) -> None:
    rows = results.contrasts
    bounds = [name for name in rows if name.startswith(("low", "high"))]
    rows.loc[rows["arm"] == "decay", bounds] = NAN
    rows.loc[rows["arm"] == "decay", "n"] = n
    tables = front.headline_table(results), verdicts.verdict_table(results)
    for table in tables:
        arms = [line.split(" | ")[0] for line in table.splitlines() if "0.0 at every seed" in line]
        assert arms == (["| decay"] if expected else [])


def test_many_arms_of_one_verdict_are_counted(golden) -> None:
    texts = []
    for verdict in ("helps", "hurts", "equivalent", "inconclusive"):
        arms = {f"a{number}": ((number + 1) / 100, verdict) for number in range(4)}
        arms["other"] = (0.5, "helps", True)
        texts.append(
            front.headline(report_data({"one": dict.fromkeys(arms, "deterministic")}, arms))
        )
    golden(*texts)


def test_all_searches_are_on_one_page_that_the_front_page_links(results: ReportData) -> None:
    assert "pages/settings.md" not in all_pages(results)
    names = {"study": "layers", "arm": "dropout"}
    counts = dict.fromkeys(("done", "failed", "diverged", "missing"), 0)
    row = {
        "setting": {"dropout": {"rate": 0.5}},
        "budget": 1.0,
        "chosen": True,
        "change": 0.0123,
        "n": 2,
    }
    search = {"trials": 6, "whole_trials": 6, "seeds": 2, "widened": 1, "edge": False}
    data = dataclasses.replace(
        results,
        tried=tried_frame([names | counts | row]),
        searches=searches_frame([names | search, {**names, **search, "arm": "mixup"}]),
    )
    made = all_pages(data)
    assert "(pages/settings.md)" in made["report.md"].partition("## Pages")[2]
    assert "(settings.md)" in made["pages/study_layers.md"]
    page = made["pages/settings.md"]
    assert "(../figures/settings.png)" in page
    study = "[layers](study_layers.md)"
    assert [[*row.values()] for row in table_of(page, "arm")] == [
        [study, "dropout", "rate=0.5", "6", "2", "1", "+1.2"],
        [study, "mixup", "–", "6", "2", "1", "–"],
    ]


def test_every_verdict_has_its_words() -> None:
    for judged in verdict_sentences.VERDICTS:
        assert (
            front.headline(
                report_data({"layers": {"dropout": "deterministic"}}, {"dropout": (0.0, *judged)})
            ).count("**dropout**")
            == 1
        )


def test_notes_on_the_data_are_on_the_front_page(results: ReportData) -> None:
    assert "Notes on the data" not in all_pages(results)["report.md"]
    notes = [f"data_batch_{number}: missing" for number in range(5)]
    noted = dataclasses.replace(results, data=results.data | {"notes": notes})
    text = all_pages(noted)["report.md"]
    assert "data_batch_0: missing, data_batch_1: missing, data_batch_2: missing and 2 more" in text
    assert text.index("## Recipe") > text.index("Notes on the data") > text.index("Limits: 3 fresh")


def test_nothing_that_helps_is_said_first() -> None:
    answer = front.headline(
        report_data({"one": {"a": "deterministic"}}, {"a": (0.0, "inconclusive")})
    )
    assert answer.startswith("No arm has been shown to help. ")


KNOWN = (
    "verdicts",
    "method",
    "checks",
    "gap",
    "cost",
    "study_layers",
)  # there may be others, in files of their own


def whole(results: ReportData) -> str:
    """Return all pages, the front page first."""
    return "\n".join(all_pages(results).values())


def test_the_pages_keep_their_order(results: ReportData) -> None:
    made = all_pages(results)
    marks = [
        "# Which",
        "Limits: 3 fresh seeds",
        "## Recipe",
        "| arm | verdict |",
        "(figures/forest.png)",
        "## Trust checks",
        "## Diagnosis",
    ]
    places = [made["report.md"].index(mark) for mark in [*marks, "## Pages"]]
    assert places == sorted(places)
    marks = ["# Study: layers", "## Confirmation", "(../figures/curves_layers.png)", "## Audit"]
    places = [made["pages/study_layers.md"].index(mark) for mark in marks]
    assert places == sorted(places)
    pages = ["report.md", *(f"pages/{name}.md" for name in KNOWN)]
    assert [name for name in made if name in pages] == pages
    assert "nan" not in whole(results)


def test_every_page_is_linked_and_links_back(results: ReportData) -> None:
    made = all_pages(results)
    contents = made["report.md"].partition("## Pages")[2]
    linked = re.findall(r"\]\((pages/[^)]+)\)", contents)
    assert linked == list(made)[1:]
    assert all(made[name].startswith("[← the report](../report.md)") for name in linked)
    assert "- Studies: [layers](pages/study_layers.md)\n" in made["report.md"]


def test_every_table_names_n_rule_and_interval(results: ReportData) -> None:
    made = all_pages(results)
    text = "\n".join(made[name] for name in ("report.md", *(f"pages/{name}.md" for name in KNOWN)))
    captions = re.findall(r"^\|.*\n\n\*(.*)\*$", text, flags=re.M)
    assert len(captions) == 9
    for caption in captions[1:8]:
        assert "n: " in caption
        assert "rule" in caption.lower()
        assert "interval" in caption.lower()
    assert "with its 95 % interval over seeds" in captions[0]
    assert "95 % Student-t interval" in captions[1]
    assert "Holm over 6 contrasts of test accuracy" in captions[1]


def test_the_study_is_named_only_where_the_arm_is_not_plain() -> None:
    studies = {
        "one": {"dropout": "deterministic", "decay": "deterministic"},
        "two": {"dropout": "noise_12"},
    }
    shown = report_data(studies, VERDICTS)
    assert "| arm | study |" in whole(shown)
    assert "**dropout of one**" in front.headline(shown)
    assert "**decay**" in front.headline(shown)
    assert _page.rules(shown) == (
        "noise_12 (12 forward passes) for dropout; "
        "deterministic (1 forward pass) for every other arm"
    )


def test_cost_counts_the_passes_of_the_rule() -> None:
    text = cost.cost_table(
        report_data({"one": {"dropout": "deterministic", "decay": "noise_12"}}, VERDICTS)
    )
    rows = [[*row.values()] for row in table_of(text, "arm")]
    assert ["dropout", "1.23 G", "1.00", "180", "1", "2.00 M", "3"] in rows
    assert ["decay", "1.23 G", "1.00", "180", "12", "24.0 M", "3"] in rows


def test_operations_that_are_not_counted_are_named_with_their_arms(results: ReportData) -> None:
    assert "not counted" not in cost.cost_table(results)
    costs = results.costs.copy()
    costs.loc[costs["arm"].isin(["dropout", "early"]), "uncounted"] = "aten._fft_c2c, aten._fft_r2c"
    costs.loc[costs["arm"] == "baseline", "uncounted"] = "foreign.twice"
    text = cost.cost_table(dataclasses.replace(results, costs=costs))
    assert "not counted" in text
    items = [line for line in text.splitlines() if line.startswith("- `")]
    assert {tuple(re.findall(r"`([\w.]+)`", line)): bold(line) for line in items} == {
        ("foreign.twice",): ["baseline"],
        ("aten._fft_c2c", "aten._fft_r2c"): ["dropout", "early"],
    }


def test_parts_of_the_gap_that_are_exactly_zero_are_so_shown(results: ReportData) -> None:
    (row,) = [row for row in table_of(gap.gap_table(results), "n") if row["arm"] == "baseline"]
    whole_gap = "10.1 [9.9, 10.3]"
    assert [*row.values()] == ["baseline", "3", whole_gap, "0", "0", whole_gap]


def test_lost_runs_are_counted_once_however_many_studies_share_them(results: ReportData) -> None:
    runs = pd.concat([results.runs, results.runs.assign(study="again")])
    assert _page.incomplete_runs(runs) == ""
    runs.loc[runs["fingerprint"] == "baseline1000", "state"] = "diverged"
    assert lost_runs(_page.incomplete_runs(runs)) == [(1, 21, {"diverged": 1})]


def test_settings_of_a_design_that_diverged_are_no_lost_runs(results: ReportData) -> None:
    """Runs of the baseline are lost wherever they diverge, and failed ones of a design too."""
    search = PlannedStudy(
        name="search",
        question="Which search?",
        kind="search",
        arms=(PlannedArm(name="baseline"), PlannedArm(name="sgd", design="random")),
    )
    plan = results.confirmation
    plan = plan.model_copy(update={"studies": (*plan.studies, search)})
    states = {"baseline": "diverged", "one": "diverged", "two": "failed", "three": "done"}
    more = [
        {
            **results.runs.iloc[0],
            "study": "search",
            "arm": "sgd",
            "fingerprint": name,
            "state": state,
        }
        for name, state in states.items()
    ]
    more[0]["arm"] = "baseline"
    runs = pd.concat([results.runs, pd.DataFrame(more)], ignore_index=True)
    data = dataclasses.replace(results, confirmation=plan, runs=runs)
    assert numbers(front.designs_note(data))[:2] == ["1", "3"]
    text = front.front_page(data, [])
    assert (2, 24, {"failed": 1, "diverged": 1}) in lost_runs(text)
    assert front.designs_note(data) in text
    assert front.designs_note(results) == ""


def test_settings_that_read_alike_have_rows_of_their_own(results: ReportData) -> None:
    runs = results.runs[results.runs["arm"] == "dropout"].copy()
    runs["setting"] = [{"dropout": {"rate": rate}} for rate in (1, "1", 1)]
    assert _page.runs_section(runs) == ""
    runs["state"] = ["failed", "failed", "done"]
    rows = table_of(_page.runs_section(runs), "arm")
    assert [[*row.values()] for row in rows] == [
        ["confirmation", "dropout", "rate=1", "2/1/1/0/0"],
        ["confirmation", "dropout", "rate=1", "1/0/1/0/0"],
    ]


def test_pairs_without_numbers_are_shown_as_unknown(results: ReportData) -> None:
    numbers = [
        "baseline_mean",
        "arm_mean",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "detectable",
        "correlation",
    ]
    numbers += ["p_sign_flip", "seeds_needed", "seed_error", "image_error", "low_all", "high_all"]
    numbers += ["detectable_low", "detectable_high", "low_images", "high_images"]
    numbers += ["seeds_needed_low", "seeds_needed_high"]
    judged = {"verdict": "inconclusive", "below_margin": False}
    void = results.contrasts.assign(n=0, **judged, **dict.fromkeys(numbers, NAN))
    errors = standard_errors(void)
    text = whole(dataclasses.replace(results, contrasts=void, standard_errors=errors))
    assert "6 of 6 arms are inconclusive." in text
    few = void[void["arm"].isin(("dropout", "decay"))]
    assert "**dropout** (no pair of runs)" in front.headline(
        dataclasses.replace(results, contrasts=few)
    )
    assert "nan" not in text


def test_an_arm_with_another_budget_is_named(results: ReportData, golden) -> None:
    costs = results.costs.copy()
    costs.loc[costs["arm"] == "early", ["updates", "updates_ratio"]] *= 0.5
    sentence = cost.budgets(dataclasses.replace(results, costs=costs))
    golden(cost.budgets(results), sentence)
    assert "**dropout**" not in sentence


def test_pairs_left_out_are_counted_with_their_reason(results: ReportData, golden) -> None:
    assert front.left_out(results) == ""
    table = results.contrasts.copy()
    is_row = (table["arm"] == "dropout") & (table["metric"] == "test_accuracy")
    table.loc[is_row, ["unpaired", "other_machine", "n"]] = (2, 1, 1)
    golden(front.left_out(dataclasses.replace(results, contrasts=table)))


def test_an_inconclusive_arm_says_how_many_pairs_it_needs(results: ReportData) -> None:
    page = all_pages(results)["pages/study_layers.md"]
    needed = {row["arm"]: row["seeds needed"] for row in table_of(page, "verdict")}
    assert needed == dict.fromkeys(VERDICTS, "–") | {"mixup": "1,234 (900 to > 10,000)"}
    table = results.contrasts.assign(seeds_needed=math.inf, seeds_needed_low=math.inf)
    many = dataclasses.replace(results, contrasts=table)
    rows = table_of(all_pages(many)["pages/study_layers.md"], "verdict")
    assert {row["seeds needed"] for row in rows} == {"–", "> 10,000"}


def test_the_diagnosis_of_variance(results: ReportData, golden) -> None:
    """Training errors are 1.0, 1.1 and 1.2 %; the second time with a best possible error."""
    stated = results.confirmation.model_copy(update={"optimal_error": 0.008})
    other = dataclasses.replace(results, confirmation=stated)
    other = dataclasses.replace(other, **derived(other, results.outcomes))
    golden(*(_diagnosis.diagnosis_section(data) for data in (results, other)))


@pytest.mark.parametrize(
    ("withheld", "p", "words"), [(True, 0.001, "lost runs"), (True, 0.5, ""), (False, 0.001, "")]
)
def test_of_an_arm_whose_verdict_is_withheld_the_runs_that_were_not_lost_count(
    results: ReportData, withheld: bool, p: float, words: str
) -> None:
    """`early` is the one arm with a smaller gap that does not help."""
    table = results.contrasts.copy()
    changed = (table["arm"] == "early") & (table["metric"] == "test_accuracy")
    table.loc[changed, ["difference", "withheld", "p_holm"]] = (0.02, withheld, p)
    text = _diagnosis.diagnosis_section(dataclasses.replace(results, contrasts=table))
    (line,) = [line for line in text.splitlines() if "**early**" in line]
    assert words in line
    assert bool(words) == ("lost" in line)


def test_where_bias_is_the_problem_arms_that_fit_better_are_named(
    results: ReportData, golden
) -> None:
    outcomes = results.outcomes.assign(train_accuracy=0.7, gap=0.01)
    better = outcomes["arm"] == "mixup"
    outcomes.loc[better, "train_accuracy"] = [0.8, 0.81, 0.82]
    golden(_diagnosis.diagnosis_section(dataclasses.replace(results, **derived(results, outcomes))))


def test_whether_the_smallest_gap_is_the_best_model(results: ReportData, golden) -> None:
    outcomes = results.outcomes.assign(gap=0.1, test_accuracy=0.9)
    outcomes.loc[outcomes["arm"] == "decay", "gap"] = 0.02
    outcomes.loc[outcomes["arm"] == "dropout", "test_accuracy"] = 0.95
    another = gap.smallest_gap(dataclasses.replace(results, **derived(results, outcomes)))
    outcomes.loc[outcomes["arm"] == "decay", "test_accuracy"] = 0.96
    same = gap.smallest_gap(dataclasses.replace(results, **derived(results, outcomes)))
    golden(another, same)
    ranks = outcomes["gap"].rank().corr(outcomes["test_accuracy"].rank())
    assert f" {ranks:.2f}. Within arms" in same


def interacting(results: ReportData, low: float, high: float) -> ReportData:
    row = {
        "study": "layers",
        "arm": "both",
        "first": "dropout",
        "second": "decay",
        "n": 3,
        "p": 0.5,
        "p_sign_flip": 0.5,
    }
    row |= {
        "effect": 0.02,
        "sum": 0.023,
        "difference": (low + high) / 2,
        "low": low,
        "high": high,
        "excludes_zero": low > 0 or high < 0,
        "p_holm": 0.02 if low > 0 or high < 0 else 0.5,
        **{"detectable": 0.04, "detectable_low": 0.033, "detectable_high": 0.062},
    }
    rows = [row | {"metric": metric} for metric in ("test_accuracy", "test_nll", "gap")]
    return dataclasses.replace(results, interactions=pd.DataFrame(rows))


def test_interactions_by_their_interval(results: ReportData, golden) -> None:
    bounds = [(-0.006, -0.001), (0.001, 0.006), (-0.006, 0.001), (NAN, NAN)]
    golden(*(_interactions.interaction_lines(interacting(results, *pair)) for pair in bounds))


def test_a_pair_whose_lost_runs_contradict_its_verdict_has_none(results: ReportData) -> None:
    row = {"study": "layers", "arm": "both", "better": "dropout", "verdict": "inconclusive"}
    row |= {
        "difference": 0.02,
        "p_holm": 0.2,
        "low": 0.015,
        "high": 0.025,
        "low_all": 0.01,
        "high_all": 0.03,
    }
    row |= {"low_images": NAN, "high_images": NAN, "verdict_other_images": "inconclusive"}
    row |= dict(zip(LOST_RUNS, (2, 12, 2, 1, 12, 1, 12), strict=True))
    lines = []
    for withheld in (False, True):
        parts = pd.DataFrame([row | {"withheld": withheld, "repeats": False}])
        lines.append(_interactions.interaction_lines(dataclasses.replace(results, parts=parts)))
    plain, withheld_line = lines
    assert "is not shown to differ" in plain
    assert "is not shown to differ" not in withheld_line
    assert re.findall(r"(\d+) of (\d+)", withheld_line) == [("2", "12"), ("1", "12")]


@pytest.mark.parametrize(
    ("factor", "most", "shown", "missing"),
    [
        (1.07, 1.55, "1.07 (dropout)", "1.55"),
        (NAN, 1.55, "up to 1.55 times", "dropout)"),
        (NAN, NAN, "", "factor"),
    ],
)
def test_intervals_say_how_much_wider_another_pool_makes_them(
    results: ReportData, factor: float, most: float, shown: str, missing: str
) -> None:
    arm = "" if np.isnan(factor) else "dropout"
    row = {"study": "spread", "arm": arm, "split_sd": 0.01, "factor": factor, "most": most}
    made = all_pages(dataclasses.replace(results, pools=pd.DataFrame([row])))
    for page in ("verdicts", "method"):
        text = made[f"pages/{page}.md"].partition("pool of training examples")[2]
        text = ". ".join(text.split(". ")[:6])
        assert shown in text
        assert missing not in text


@pytest.mark.parametrize(("elsewhere", "words"), [("helps", False), ("inconclusive", True)])
def test_a_pair_has_its_interval_over_test_examples(results: ReportData, elsewhere, words) -> None:
    row = {"study": "layers", "arm": "both", "better": "dropout", "verdict": "helps"}
    row |= {"difference": 0.02, "low": 0.01, "high": 0.03, "withheld": False, "p_holm": 0.04}
    row |= {"low_images": -0.004, "high_images": 0.044, "verdict_other_images": elsewhere}
    made = dataclasses.replace(results, parts=pd.DataFrame([row]))
    line = _interactions.interaction_lines(made)
    assert "+2.0 points [+1.0, +3.0] ([-0.4, +4.4] if" in line
    assert ("inconclusive" in line) is words
    assert "corrected for all contrasts" in line


def test_interactions_stand_on_both_pages(results: ReportData) -> None:
    made = all_pages(interacting(results, -0.007, -0.001))
    assert "-0.4 points [-0.7, -0.1]" in made["report.md"]
    page = made["pages/study_layers.md"]
    rows = {row["metric"]: row for row in table_of(page, "sum of parts")}
    nll = [rows["test NLL (nats)"][name] for name in ("together", "sum of parts")]
    assert nll == ["+0.020", "+0.023"]
    assert rows["test NLL (nats)"]["interaction [95 % interval]"] == "-0.004 [-0.007, -0.001]"
    assert "In all rows: pair = both, parts = dropout, decay, n = 3." in page


def test_the_standard_errors_and_their_advice(results: ReportData, golden) -> None:
    texts = []
    for seeds, others in ((0.01, 0.001), (0.001, 0.01), (0.01, 0.01)):
        errors = standard_errors(results.contrasts.assign(seed_error=seeds, image_error=others))
        texts.append(
            variance.standard_error_sentence(dataclasses.replace(results, standard_errors=errors))
        )
    golden(*texts)


def table_of(page: str, column: str) -> list[dict[str, str]]:
    """Return the rows of the first table that has a column."""
    lines = [line.replace("\u00a0", " ") for line in page.splitlines()]
    start = next(
        place for place, line in enumerate(lines) if line.startswith("|") and f"| {column} " in line
    )
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in itertools.takewhile(lambda line: line.startswith("|"), lines[start:])
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def test_a_metric_that_is_exactly_the_baseline_s_has_no_number(results: ReportData) -> None:
    table = results.contrasts.copy()
    same = (table["arm"] == "dropout") & (table["metric"] == "gap")
    table.loc[same, ["difference", "p", "low", "high"]] = [0.0, NAN, NAN, NAN]
    page = all_pages(dataclasses.replace(results, contrasts=table))["pages/study_layers.md"]
    rows = {row["arm"]: row for row in table_of(page, "test NLL (nats)")}
    assert rows["augmentation"]["gap (points)"] == "+2.0 [+1.5, +2.5]"
    assert rows["dropout"]["gap (points)"] == "–"
    assert rows["dropout"]["test NLL (nats)"] == "+0.010 [+0.005, +0.015]"


def spread(results: ReportData) -> ReportData:
    """Return the report with a study of variance, some of whose runs are not done."""
    arms = (
        PlannedArm(name="baseline"),
        PlannedArm(name="dropout", factor=Factor(regularizers=("dropout",))),
    )
    study = PlannedStudy(
        name="spread", question="Where from?", kind="variance", groups=(1000, 1001), arms=arms
    )
    draws = tuple(
        PlannedRun(
            study="spread",
            arm=arm.name,
            seed=seed,
            stream="init",
            draw=1,
            fingerprint=f"{arm.name}-{seed}",
        )
        for arm in arms
        for seed in (1000, 1001)
    )
    planned = results.confirmation
    plan = planned.model_copy(
        update={"studies": (*planned.studies, study), "runs": (*planned.runs, *draws)}
    )
    rows = [
        ("baseline", "init", 2, 4, 2, 0.0003, 0.0173, 0.009, 0.05),
        ("baseline", "order", 2, 4, 2, 0.0001, 0.01, 0.005, 0.04),
        ("baseline", "test set", 0, 0, 0, 0.0004, 0.02, NAN, NAN),
        ("dropout", "noise", 2, 4, 2, 0.0, 0.0, NAN, NAN),
    ]
    table = pd.DataFrame(rows, columns=list(variance_table.COLUMNS)).assign(study="spread")
    records = {name: {"state": "done"} for name in planned.fingerprints()}
    records["dropout-1001"] = {"state": "failed", "reason": "why"}
    return dataclasses.replace(
        results, confirmation=plan, variance=table, runs=run_frame(plan, records)
    )


def test_a_study_of_variance_has_its_page_and_its_sentence(results: ReportData) -> None:
    changed = spread(results)
    made = all_pages(changed)
    page = made["pages/study_spread.md"]
    rows = [[*row.values()] for row in table_of(page, "arm")]
    assert ["baseline", "init", "1.73", "[0.90, 5.00]", "2", "4"] in rows
    assert ["baseline", "test set", "2.00", "–", "0", "0"] in rows
    assert ["dropout", "noise", "0.00", "–", "2", "4"] in rows
    assert (4, 4, {"failed": 1, "missing": 3}) in lost_runs(page)
    assert "dropout, seed 1001: failed: why" in page
    (sentence,) = [line for line in page.splitlines() if "standard deviation of 1.73" in line]
    assert sentence.index("**init**") < sentence.index("**order**")
    assert sentence in made["report.md"]
    assert "nan" not in page
    nothing = all_pages(dataclasses.replace(changed, variance=changed.variance.iloc[:0]))
    assert "no variance components" in nothing["pages/study_spread.md"]


def test_the_sentence_of_an_interaction_depends_on_the_sign_of_the_effects(
    results: ReportData, golden
) -> None:
    texts = []
    for effect, total, low in (
        (0.02, 0.03, -0.015),
        (0.03, 0.02, 0.005),
        (-0.08, -0.05, -0.035),
        (-0.03, -0.06, 0.025),
        (-0.01, 0.02, -0.035),
        (0.01, -0.02, 0.025),
    ):
        changed = interacting(results, low, low + 0.01)
        table = changed.interactions.assign(effect=effect, sum=total)
        texts.append(
            _interactions.interaction_lines(dataclasses.replace(changed, interactions=table))
        )
    golden(*texts)


def test_within_arms_a_collapsed_arm_decides_nothing(results: ReportData) -> None:
    outcomes = results.outcomes.assign(
        gap=[0.01, 0.02, 0.03] * 7, test_accuracy=[0.99, 0.98, 0.97] * 7, train_accuracy=1.0
    )
    outcomes.loc[outcomes["arm"] == "early", ["gap", "test_accuracy"]] = [[0.0, 0.1]] * 3
    sentence = gap.smallest_gap(dataclasses.replace(results, **derived(results, outcomes)))
    assert bold(sentence) == ["early", "baseline"]
    assert "-1.00" in numbers(sentence)


def test_without_a_baseline_there_is_no_diagnosis(results: ReportData) -> None:
    outcomes = results.outcomes[results.outcomes["arm"] != "baseline"]
    assert "nothing to diagnose" in _diagnosis.diagnosis_section(
        dataclasses.replace(results, **derived(results, outcomes))
    )


def test_the_primary_table_of_a_study_has_the_numbers_of_its_contrasts(results: ReportData) -> None:
    table = results.contrasts.copy()
    primary = (table["metric"] == "test_accuracy") & (table["arm"] == "dropout")
    numbers = {
        "baseline_mean": 0.81,
        "arm_mean": 0.845,
        "difference": 0.035,
        "low": 0.012,
        "high": 0.058,
        "n": 7,
    }
    numbers |= {
        "p": 0.0123,
        "p_sign_flip": 0.0156,
        "p_holm": 0.074,
        "detectable": 0.0271,
        "detectable_low": 0.0191,
        "detectable_high": 0.0421,
        "correlation": -0.42,
    }
    table.loc[primary, list(numbers)] = list(numbers.values())
    page = all_pages(dataclasses.replace(results, contrasts=table))["pages/study_layers.md"]
    rows = {row["arm"]: row for row in table_of(page, "verdict")}
    assert list(rows["dropout"].values()) == [
        *("dropout", "81.0", "84.5", "+3.5 [+1.2, +5.8]", "helps", "7"),
        *("0.012", "0.016", "0.074", "2.7 (1.9 to 4.2)", "–", "-0.42"),
    ]
    assert "In all rows: rule = deterministic." in page


def test_more_than_all_points_can_not_be_found(results: ReportData) -> None:
    table = results.contrasts.assign(detectable=1.5)
    page = all_pages(dataclasses.replace(results, contrasts=table))["pages/study_layers.md"]
    assert {row["detectable"] for row in table_of(page, "verdict")} == {"none possible"}


def test_a_page_is_added_by_a_file_alone(
    results: ReportData, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "extra.py").write_text(
        "from pipeline.reporting.pages._page import Page\n\nORDER = 25\n\n\n"
        "def pages(data):\n    yield Page('extra', 'More', f'# {data.confirmation.protocol}')\n"
    )
    monkeypatch.setattr(pages, "__path__", [*pages.__path__, str(tmp_path)])
    made = all_pages(results)
    assert made["pages/extra.md"] == f"{pages.BACK}\n\n# tiny\n"
    names = ("verdicts", "method", "checks", "gap", "extra", "cost")
    assert list(made)[1:7] == [f"pages/{name}.md" for name in names]
    assert ", [More](pages/extra.md), " in made["report.md"]
