"""The page of searches: shown only with results, its tables, its sentences and its figures."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from report_data import VERDICTS, report_data
from searched import RATE, searched

from pipeline import report
from pipeline.comparison.search_tables import TABLES
from pipeline.records.tables import read_table, write_table
from pipeline.reporting.pages import front, search
from pipeline.reporting.pages._search import leaders, words
from pipeline.reporting.plots import (
    search_budget,
    search_curves,
    search_importance,
    search_responses,
    search_surface,
)
from pipeline.reporting.search_files import search_files

FIGURES = (search_curves, search_budget, search_importance, search_responses, search_surface)


@pytest.fixture(scope="module")
def plain():
    return report_data({"layers": {"dropout": "deterministic"}}, VERDICTS)


@pytest.fixture(scope="module")
def found(plain):
    return searched(plain)


@pytest.fixture(scope="module")
def study(found):
    (study,) = found.confirmation.studies_of("search")
    return study


def tables_of(text):
    """Return the tables of Markdown, each a list of rows, cells by column."""
    parts = text.replace("\xa0", " ").split("\n\n")
    blocks = [part.splitlines() for part in parts if part.startswith("|")]
    tables = []
    for lines in blocks:
        names, _, *rows = (
            [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines
        )
        tables.append([dict(zip(names, cells, strict=True)) for cells in rows])
    return tables


def drawn(data):
    return {name: figure for module in FIGURES for name, figure in module.figures(data)}


def test_a_report_without_searches_has_no_such_page_and_no_such_figure(plain):
    assert not list(search.pages(plain))
    assert not drawn(plain)


def test_the_wording_of_the_page_of_searches(found, golden):
    (page,) = search.pages(found)
    golden(page.body)


def test_the_tables_beside_the_page_are_those_it_links(found, plain, tmp_path):
    (page,) = search.pages(found)
    files = search_files(found)
    assert re.findall(r"\]\((\w+\.csv)\)", page.body) == list(files)
    assert not search_files(plain)
    report._write(tmp_path, found, {})
    assert {path.name for path in (tmp_path / "pages").glob("*.csv")} == set(files)
    written = read_table(tmp_path / "pages" / "search_methods.csv")
    assert list(written["method"]) == list(found.search_methods["method"])
    np.testing.assert_allclose(written["validation"], found.search_methods["validation"])


def test_the_front_page_has_the_leaders_and_what_matters(found, plain):
    text = search.search_lines(found)
    assert text.count("- **sgd** against **adam**") == 1
    assert text.count("- Hyperparameters of methods, **") == 2
    assert "(pages/search.md)" in text
    assert search.search_lines(plain) == ""
    assert f"## Search\n\n{text}" in front.front_page(found, [])


def test_every_figure_that_the_page_shows_is_drawn(found):
    (page,) = search.pages(found)
    shown = {part.split(".png")[0] for part in page.body.split("../figures/")[1:]}
    assert shown == set(drawn(found))


def test_hyperparameters_have_words(study):
    assert list(words(study).values()) == ["learning rate", "momentum", "hidden"]


def test_every_method_is_a_row_with_its_cost_and_what_random_search_needs(found, study):
    validation, test = tables_of(search.method_section(found, study))
    assert [(row["arm"], row["method"]) for row in validation] == [
        (arm, method) for arm in ("sgd", "adam") for method in ("random", "grid", "halving")
    ]
    assert validation[0]["equal random search (trainings)"] == "–"
    planted = found.search_methods.set_index(["arm", "method"]).loc[("adam", "halving")]
    assert validation[-1]["cost (trainings)"] == f"{planted['cost']:.1f}"
    assert test[-1]["test (%)"] == f"{100 * planted['test']:.1f}"
    assert test[0]["p (Holm)"] == "–"


@pytest.mark.parametrize(("p", "words_of"), [(0.01, "better than random"), (0.2, "not shown")])
def test_a_method_is_called_better_only_where_the_corrected_p_says_so(found, study, p, words_of):
    rows = found.search_methods.assign(p_holm=p, difference=0.02, low=0.01, high=0.03)
    text = search.method_section(dataclasses.replace(found, search_methods=rows), study)
    assert text.count(words_of) == 2  # a line for each arm


def budget(leads):
    columns = {"study": "methods", "arm": "a", "other": "b", "trials": range(1, len(leads) + 1)}
    return pd.DataFrame({**columns, "leader": leads})


@pytest.mark.parametrize(
    ("leads", "sentence"),
    [
        (["b", "b", "", ""], "b leads from 1 to 2 trials, then neither leads from 3 to 4 trials"),
        (["", "", "a", "a"], "neither leads from 1 to 2 trials, then a leads from 3 to 4 trials"),
        (
            ["a", "", "b", ""],
            "a leads at 1 trial, then neither leads at 2 trials, then b leads at 3",
        ),
        (["a", "a"], "b**: a leads from 1 to 2 trials."),
        (["", ""], "b**: neither leads from 1 to 2 trials."),
    ],
)
def test_the_sentence_on_the_tuning_budget(leads, sentence):
    assert sentence in search._budget_line(budget(leads))


def test_tables_are_the_same_after_they_were_stored(found, study, tmp_path):
    """Values of hyperparameters stay texts, and nobody leads where a cell is empty."""
    stored = {}
    for name in TABLES:
        write_table(tmp_path / f"{name}.csv", getattr(found, name))
        stored[name] = read_table(tmp_path / f"{name}.csv")
    read = dataclasses.replace(found, **stored)
    assert search.search_body(read) == search.search_body(found)
    assert leaders(stored["tuning_budget"]) == leaders(found.tuning_budget)


def test_a_rank_is_a_range_where_intervals_overlap(found, study):
    (rows,) = tables_of(search.importance_section(found, study, words(study)))
    table = found.search_importance
    for cells, row in zip(rows, table.to_dict("records"), strict=True):
        first, last = row["first_rank"], row["last_rank"]
        assert cells["rank"] == (str(first) if first == last else f"{first} to {last}")


def test_what_matters_is_above_chance_and_ranked_where_it_can_be(found, study, golden):
    rows = found.search_importance[found.search_importance["arm"] == "sgd"]
    shares = rows.assign(importance=[0.6, 0.3, 0.1], chance=0.2, first_rank=1, last_rank=2)
    names = words(study)
    unranked = search._rank_line("sgd", shares, names)
    ranked = search._rank_line("sgd", shares.assign(last_rank=[1, 2, 2]), names)
    golden(unranked, ranked)


def test_lost_runs_are_counted(found, study):
    runs = found.runs.iloc[[0] * 4].assign(
        study="methods", state=["done", "diverged", "diverged", "failed"], fingerprint=list("abcd")
    )
    text = search.lost_runs(dataclasses.replace(found, runs=runs), study)
    assert re.findall(r"(\d+) (runs|failed|diverged)", text) == [
        ("4", "runs"),
        ("1", "failed"),
        ("2", "diverged"),
    ]
    assert search.lost_runs(found, study) == ""


def test_a_method_whose_searches_find_too_little_is_not_tested(found, study):
    rows = found.search_methods.copy()
    own = (rows["method"] == "halving") & (rows["arm"] == "adam")
    assert own.sum() == 1
    rows.loc[own, ["difference", "low", "high", "p", "p_holm"]] = np.nan
    rows.loc[own, ["ended", "random_ended"]] = (0.74, 0.9)
    text = search.method_section(dataclasses.replace(found, search_methods=rows), study)
    (line,) = [line for line in text.splitlines() if line.startswith("- **adam**")]
    tested_methods, _, untested_methods = line.partition("not tested")
    assert "halving" in untested_methods
    assert "halving" not in tested_methods
    tested = tables_of(text)[1]
    (cell,) = [
        row["minus random (points) [95 % interval]"]
        for row in tested
        if (row["arm"], row["method"]) == ("adam", "halving")
    ]
    assert cell == "26 % find nothing"


def test_small_designs_have_a_sentence_instead_of_ranks(found, study):
    none = dataclasses.replace(found, search_importance=found.search_importance.iloc[:0])
    assert "fewer than 50 settings" in search.importance_section(none, study, words(study))


def test_ends_say_where_a_range_is_wide_enough(found, study):
    ends = found.search_ends.assign(fails=found.search_ends["hyperparameter"] == RATE)
    ends.loc[ends["hyperparameter"].ne(RATE) & ends["end"].eq("low"), "fails"] = True
    rows = tables_of(
        search.end_table(dataclasses.replace(found, search_ends=ends), study, words(study))
    )[0]
    assert {row["fails at"] for row in rows if row["hyperparameter"] == "learning rate"} == {
        "both ends"
    }
    assert {row["fails at"] for row in rows if row["hyperparameter"] != "learning rate"} == {
        "the lower end only"
    }


def test_a_shift_on_a_logarithmic_scale_is_a_factor(found, study):
    (rows,) = tables_of(search.shift_section(found, study, words(study)))
    for cells, row in zip(rows, found.search_shifts.to_dict("records"), strict=True):
        bounds = f"[{row['low']:.2g}, {row['high']:.2g}]"
        assert cells["shift [95 % interval]"] == f"x {row['shift']:.2g} {bounds}"


def test_a_shift_on_another_scale_is_a_difference(found, study):
    shifts = found.search_shifts.assign(scale="uniform", shift=0.25, low=0.1, high=0.4)
    (rows,) = tables_of(
        search.shift_section(dataclasses.replace(found, search_shifts=shifts), study, words(study))
    )
    assert {row["shift [95 % interval]"] for row in rows} == {"+0.25 [0.1, 0.4]"}


def test_a_single_arm_has_no_verdict_by_tuning_budget(found, study):
    alone = dataclasses.replace(found, tuning_budget=found.tuning_budget.iloc[:0])
    assert search.budget_section(alone, study) == ""
    assert not list(search_budget.figures(alone))


def test_curves_end_where_their_search_ends(found):
    ((_, figure),) = search_curves.figures(found)
    for ax, (_, rows) in zip(
        figure.axes, found.search_curves.groupby("arm", sort=False), strict=True
    ):
        lines = [line for line in ax.get_lines() if len(line.get_xdata()) > 1]
        ends = sorted(max(line.get_xdata()) for line in lines)
        known = rows.dropna(subset="median").groupby("method")["cost"].agg(["max", "size"])
        assert ends == sorted(known.loc[known["size"] > 1, "max"])


def test_a_panel_of_responses_has_a_dot_for_every_trial_and_a_cross_for_a_lost_one(found):
    figures = dict(search_responses.figures(found))
    figure = figures["search_responses_methods_sgd"]
    ax = figure.axes[0]
    dots, crosses, _ = ax.collections
    assert ax.get_title(loc="left") == "sgd"
    assert (len(dots.get_offsets()), len(crosses.get_offsets())) == (51, 1)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.0001", "0.01", "1"]
