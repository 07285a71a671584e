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
def results(plain):
    return searched(plain)


@pytest.fixture(scope="module")
def study(results):
    (study,) = results.confirmation.studies_of("search")
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


def test_the_wording_of_the_page_of_searches(results, golden):
    (page,) = search.pages(results)
    golden(page.body)


def test_the_tables_beside_the_page_are_those_it_links(results, plain, tmp_path):
    (page,) = search.pages(results)
    files = search_files(results)
    assert re.findall(r"\]\((\w+\.csv)\)", page.body) == list(files)
    assert not search_files(plain)
    report._write(tmp_path, results, {})
    assert {path.name for path in (tmp_path / "pages").glob("*.csv")} == set(files)
    written = read_table(tmp_path / "pages" / "search_methods.csv")
    assert list(written["method"]) == list(results.search_methods["method"])
    np.testing.assert_allclose(written["validation"], results.search_methods["validation"])


def test_the_front_page_has_the_leaders_and_what_matters(results, plain):
    text = search.search_lines(results)
    assert text.count("- **sgd** against **adam**") == 1
    assert text.count("- Hyperparameters of methods, **") == 2
    assert "(pages/search.md)" in text
    assert search.search_lines(plain) == ""
    assert f"## Search\n\n{text}" in front.front_page(results, [])


def test_every_figure_that_the_page_shows_is_drawn(results):
    (page,) = search.pages(results)
    shown = {part.split(".png")[0] for part in page.body.split("../figures/")[1:]}
    assert shown == set(drawn(results))


def test_hyperparameters_have_words(study):
    assert list(words(study).values()) == ["learning rate", "momentum", "hidden"]


def test_every_method_is_a_row_with_its_cost_and_what_random_search_needs(results, study):
    validation, test = tables_of(search.method_section(results, study))
    assert [(row["arm"], row["method"]) for row in validation] == [
        (arm, method) for arm in ("sgd", "adam") for method in ("random", "grid", "halving")
    ]
    assert validation[0]["equal random search (trainings)"] == "–"
    planted = results.search_methods.set_index(["arm", "method"]).loc[("adam", "halving")]
    assert validation[-1]["cost (trainings)"] == f"{planted['cost']:.1f}"
    assert test[-1]["test (%)"] == f"{100 * planted['test']:.1f}"
    assert test[0]["p (Holm)"] == "–"


@pytest.mark.parametrize(("p", "words_of"), [(0.01, "better than random"), (0.2, "not shown")])
def test_a_method_is_called_better_only_where_the_corrected_p_says_so(results, study, p, words_of):
    rows = results.search_methods.assign(p_holm=p, difference=0.02, low=0.01, high=0.03)
    text = search.method_section(dataclasses.replace(results, search_methods=rows), study)
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


def test_tables_are_the_same_after_they_were_stored(results, study, tmp_path):
    """Values of hyperparameters stay texts, and nobody leads where a cell is empty."""
    stored = {}
    for name in TABLES:
        write_table(tmp_path / f"{name}.csv", getattr(results, name))
        stored[name] = read_table(tmp_path / f"{name}.csv")
    read = dataclasses.replace(results, **stored)
    assert search.search_body(read) == search.search_body(results)
    assert leaders(stored["tuning_budget"]) == leaders(results.tuning_budget)


def test_a_rank_is_a_range_where_intervals_overlap(results, study):
    (rows,) = tables_of(search.importance_section(results, study, words(study)))
    table = results.search_importance
    assert len(table) > 0
    for cells, row in zip(rows, table.to_dict("records"), strict=True):
        first, last = row["first_rank"], row["last_rank"]
        assert cells["rank"] == (str(first) if first == last else f"{first} to {last}")


def test_what_matters_is_above_chance_and_ranked_where_it_can_be(results, study, golden):
    rows = results.search_importance[results.search_importance["arm"] == "sgd"]
    shares = rows.assign(importance=[0.6, 0.3, 0.1], chance=0.2, first_rank=1, last_rank=2)
    names = words(study)
    unranked = search._rank_line("sgd", shares, names)
    ranked = search._rank_line("sgd", shares.assign(last_rank=[1, 2, 2]), names)
    golden(unranked, ranked)


def test_lost_runs_are_counted(results, study):
    runs = results.runs.iloc[[0] * 4].assign(
        study="methods", state=["done", "diverged", "diverged", "failed"], fingerprint=list("abcd")
    )
    text = search.lost_runs(dataclasses.replace(results, runs=runs), study)
    assert re.findall(r"(\d+) (runs|failed|diverged)", text) == [
        ("4", "runs"),
        ("1", "failed"),
        ("2", "diverged"),
    ]
    assert search.lost_runs(results, study) == ""


def test_a_method_whose_searches_find_too_little_is_not_tested(results, study):
    rows = results.search_methods.copy()
    is_row = (rows["method"] == "halving") & (rows["arm"] == "adam")
    assert is_row.sum() == 1
    rows.loc[is_row, ["difference", "low", "high", "p", "p_holm"]] = np.nan
    rows.loc[is_row, ["ended", "random_ended"]] = (0.74, 0.9)
    text = search.method_section(dataclasses.replace(results, search_methods=rows), study)
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


def test_small_designs_have_a_sentence_instead_of_ranks(results, study):
    none = dataclasses.replace(results, search_importance=results.search_importance.iloc[:0])
    assert "fewer than 50 settings" in search.importance_section(none, study, words(study))


def test_ends_say_where_a_range_is_wide_enough(results, study):
    ends = results.search_ends.assign(fails=results.search_ends["hyperparameter"] == RATE)
    ends.loc[ends["hyperparameter"].ne(RATE) & ends["end"].eq("low"), "fails"] = True
    rows = tables_of(
        search.end_table(dataclasses.replace(results, search_ends=ends), study, words(study))
    )[0]
    assert {row["fails at"] for row in rows if row["hyperparameter"] == "learning rate"} == {
        "both ends"
    }
    assert {row["fails at"] for row in rows if row["hyperparameter"] != "learning rate"} == {
        "the lower end only"
    }


def test_a_shift_on_a_logarithmic_scale_is_a_factor(results, study):
    (rows,) = tables_of(search.shift_section(results, study, words(study)))
    for cells, row in zip(rows, results.search_shifts.to_dict("records"), strict=True):
        bounds = f"[{row['low']:.2g}, {row['high']:.2g}]"
        assert cells["shift [95 % interval]"] == f"x {row['shift']:.2g} {bounds}"


def test_a_shift_on_another_scale_is_a_difference(results, study):
    shifts = results.search_shifts.assign(scale="uniform", shift=0.25, low=0.1, high=0.4)
    (rows,) = tables_of(
        search.shift_section(
            dataclasses.replace(results, search_shifts=shifts), study, words(study)
        )
    )
    assert {row["shift [95 % interval]"] for row in rows} == {"+0.25 [0.1, 0.4]"}


def test_a_single_arm_has_no_verdict_by_tuning_budget(results, study):
    alone = dataclasses.replace(results, tuning_budget=results.tuning_budget.iloc[:0])
    assert search.budget_section(alone, study) == ""
    assert not list(search_budget.figures(alone))


def test_curves_end_where_their_search_ends(results):
    ((_, figure),) = search_curves.figures(results)
    assert figure.axes
    for ax, (_, rows) in zip(
        figure.axes, results.search_curves.groupby("arm", sort=False), strict=True
    ):
        lines = [line for line in ax.get_lines() if len(line.get_xdata()) > 1]
        ends = sorted(max(line.get_xdata()) for line in lines)
        assert ends
        by_method = rows.dropna(subset="median").groupby("method")["cost"].agg(["max", "size"])
        assert ends == sorted(by_method.loc[by_method["size"] > 1, "max"])


def test_a_panel_of_responses_has_a_dot_for_every_trial_and_a_cross_for_a_lost_one(results):
    figures = dict(search_responses.figures(results))
    figure = figures["search_responses_methods_sgd"]
    ax = figure.axes[0]
    dots, crosses, _ = ax.collections
    assert ax.get_title(loc="left") == "sgd"
    assert (len(dots.get_offsets()), len(crosses.get_offsets())) == (51, 1)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.0001", "0.01", "1"]
