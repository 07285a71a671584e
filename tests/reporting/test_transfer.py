"""The page of transfer: shown only with starts, its tables, and what is said of a crossover."""

import dataclasses
import math
import re
from pathlib import Path

import pytest
from report_data import VERDICTS, report_data
from transferred import SIZES, Planted, planted

from pipeline.config.plan import FIRST_PHASE, PlannedStart
from pipeline.reporting.evidence import searches_frame
from pipeline.reporting.pages import cost, front, method, transfer
from pipeline.reporting.pages._pretrainings import pretraining_section
from pipeline.reporting.pages._recipe import recipe_section
from pipeline.reporting.pages._targets import target_section
from pipeline.reporting.pages._transfer import FIGURE, size_figure, transfer_link
from pipeline.reporting.plots import transfer_sizes


@pytest.fixture(scope="module")
def plain():
    return report_data({"layers": {"dropout": "deterministic"}}, VERDICTS)


@pytest.fixture(scope="module")
def results(plain):
    return with_tables(plain, planted())


def with_tables(plain, made):
    tables = {name: table for name, table in made.tables().items() if name != "arms"}
    return dataclasses.replace(plain, confirmation=made.plan, starts=made.start_configs(), **tables)


def with_starts(plain, results):
    """Return a plain report whose plan has the pretrainings of another, and an arm with one."""
    plan = plain.confirmation.model_copy(update={"starts": results.confirmation.starts})
    return dataclasses.replace(
        plain, confirmation=plan, starts=results.starts, transfer=results.transfer
    )


def rows_of(text):
    """Return the rows of a table of Markdown, cells by column."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


def test_a_report_without_starts_has_no_such_page_and_no_such_figure(plain):
    assert not list(transfer.pages(plain))
    assert not list(transfer_sizes.figures(plain))


def test_the_wording_of_the_page_of_transfer(results, golden):
    (page,) = transfer.pages(results)
    golden(page.body)


def test_each_pretraining_is_described_with_what_it_changes(results, plain):
    assert rows_of(pretraining_section(results)) == [
        {
            "pretraining": "similar",
            "dataset": "digits",
            "classes": "0, 1, 2",
            "training examples": "400",
            "epochs": "30",
            "other training values": "–",
            "regularizers": "–",
        },
        {
            "pretraining": "different",
            "dataset": "mnist_5k",
            "classes": "all",
            "training examples": "2,500",
            "epochs": "30",
            "other training values": "batch_size=50",
            "regularizers": "dropout(rate=0.5)",
        },
    ]
    assert "(method.md#pretrainings): **similar** (400 examples" in transfer.transfer_body(results)
    assert pretraining_section(plain) == ""


def test_the_method_names_pretrainings_where_there_are_some(results, plain):
    data = with_starts(plain, results)
    (page,), (without,) = method.pages(data), method.pages(plain)
    assert f"## Pretrainings\n\n{pretraining_section(data)}" in page.body
    assert "retrain" not in without.body


@pytest.mark.parametrize(
    "sources", [("similar",), ("model.weights",), ("similar", "model.weights")]
)
def test_arms_with_a_start_share_its_weights_and_are_tuned_again(results, plain, sources):
    rows = results.transfer.assign(pretraining=sources[-1])
    data = dataclasses.replace(with_starts(plain, results), transfer=rows)
    if sources == ("model.weights",):
        data = dataclasses.replace(data, confirmation=plain.confirmation)
    search = {"study": "tuning", "arm": "baseline", "trials": 3, "chosen": True}
    searches = searches_frame([search])
    (page,), (without,) = (
        method.pages(dataclasses.replace(one, searches=searches)) for one in (data, plain)
    )
    names = {"similar": "the same pretraining", "model.weights": "the file of `model.weights`"}
    started = " or from ".join(names[source] for source in sources)
    assert f"start from {started} share its weights" in page.body
    assert "share split, initial weights" not in page.body
    assert "change `data`, `model`, the start, the batch size" in page.body
    assert "All arms use this" not in page.body
    assert "share split, initial weights and batch order" in without.body
    assert "that change `data`, `model`, the batch size" in without.body
    assert "All arms use this" in without.body


def test_every_cost_says_that_it_leaves_out_pretrainings(results, plain):
    with_them = with_starts(plain, results)
    (study,) = plain.confirmation.studies
    for write, link in [
        (recipe_section, "pages/transfer.md#cost-of-training"),
        (front.headline_table, "pages/transfer.md#cost-of-training"),
        (front.cost_figure, "pages/transfer.md#cost-of-training"),
        (cost.cost_table, "(transfer.md#cost-of-training"),
        (cost.efficiency_table, "(transfer.md#cost-of-training"),
        (lambda data: target_section(data, study), "(transfer.md#cost-of-training"),
    ]:
        assert write(with_them).count(link) == 1
        assert "transfer.md" not in write(plain)
    first = next(start for start in results.confirmation.starts if start.name == FIRST_PHASE)
    phases = plain.confirmation.model_copy(update={"starts": (first,)})
    of_file = dataclasses.replace(with_them, confirmation=phases)  # its weights cost nothing here
    assert "transfer.md" not in cost.cost_table(of_file)


def test_a_pretraining_with_a_start_and_a_share_of_its_own(results):
    """Its two phases count together, and one of the two trains from another pretraining."""
    (first, last, before) = (
        PlannedStart(name=name, data=data, images=9, seed=0, fingerprint=key, start=start)
        for name, data, key, start in [
            (FIRST_PHASE, "own", "b", "c"),
            ("own", "own", "a", "b"),
            ("similar", "similar", "c", None),
        ]
    )
    config = next(iter(results.starts.values()))
    two = config.model_copy(update={"start": {"head": "kept", "decay": 0.7}})
    noisy = two.model_copy(update={"data": config.data | {"label_noise": 0.2}})
    settings = results.confirmation.settings
    settings = settings | {"data": settings["data"] | {"label_noise": 0.0}}
    plan = results.confirmation.model_copy(
        update={"starts": (before, first, last), "settings": settings}
    )
    data = dataclasses.replace(
        results,
        confirmation=plan,
        starts={"a": noisy, "b": config},
        data=results.data | {"apart": {"own": {"share": 0.5}}},
    )
    (row,) = rows_of(pretraining_section(data))
    assert row["epochs"] == "60"
    assert row["starts from"] == "similar"
    assert row["set apart (%)"] == "50"
    assert row["other training values"].endswith("label_noise=0.2, start.decay=0.7")


def test_the_page_and_its_studies_link_to_each_other(results, plain):
    assert "Studies: [modes](study_modes.md)." in transfer.transfer_body(results)
    assert "(transfer.md)" in transfer_link(results, "modes")
    assert transfer_link(results, "layers") == transfer_link(plain, "layers") == ""


def test_the_best_of_every_size_and_source_comes_first(results):
    cells = {row["images per class"]: row for row in rows_of(transfer.grid(results))}
    assert list(cells) == [str(size) for size in SIZES]
    assert cells["3"]["similar"].startswith("**probe** +")
    assert cells["100"]["similar"].startswith("**fine-tuning** +")
    assert cells["3"]["different"] == "–"
    rows = results.transfer.assign(difference=-results.transfer["difference"])
    worse = rows_of(transfer.grid(dataclasses.replace(results, transfer=rows)))
    assert worse[0]["similar"].startswith("**scratch**; fine-tuning -")


def numbers_left_out(results, rows):
    """Return how many arms the text below the table by size leaves out, in a list."""
    text = transfer.grid(dataclasses.replace(results, transfer=rows))
    return [int(number) for number in re.findall(r"(\d+) arms [^.]*left out", text)]


def test_the_table_by_size_counts_the_arms_that_it_leaves_out(results):
    """Those of other modes, which may be better than what is bold."""
    rows = results.transfer
    plain_ones = rows[~rows["train"].isin(["head_then_all", "last_k"])]
    changed = plain_ones.assign(plain=plain_ones["pretraining"] != "different")
    assert numbers_left_out(results, rows) == [2]
    assert numbers_left_out(results, plain_ones) == []
    assert numbers_left_out(results, changed) == [4]


def test_fine_tuning_against_the_probe_is_said_as_far_as_it_is_shown(results):
    rows = rows_of(transfer.lead_section(results))
    sizes = [(row["from"], row["images per class"]) for row in rows]
    assert sizes == [
        *[("similar", str(size)) for size in SIZES],
        ("different", "10"),
        ("different", "100"),
        ("similar", "100 minus 10"),
        ("different", "100 minus 10"),
    ]
    lead = results.transfer_leads["difference"].to_numpy()
    cells = [row["fine-tuning minus probe [95 % interval]"].split("\u00a0")[0] for row in rows]
    assert cells == [results.format.points(value) for value in lead]


@pytest.mark.parametrize(
    ("differences", "p_values", "expected"),
    [
        (
            (-0.03, 0.02, 0.05),
            (0.01, 0.04, 0.02),
            "fine-tuning is shown to be higher with 10 images per class, and that of the probe "
            "with 3. Fine-tuning minus probe increases by 5.0 points from 3 to 10.",
        ),
        (
            (-0.03, -0.02, -0.05),
            (0.01, 0.04, 0.02),
            "the probe is shown to be higher with 3 and 10 images per class. "
            "Fine-tuning minus probe decreases by 5.0 points from 3 to 10.",
        ),
        (
            (-0.03, -0.02, 0.05),
            (0.06, math.nan, 0.05),
            "neither is shown to have the higher test accuracy. "
            "The difference is not shown to change from 3 to 10.",
        ),
    ],
)
def test_what_is_ahead_is_decided_by_the_corrected_p(results, differences, p_values, expected):
    rows = results.transfer_leads.iloc[[0, 1, 6]].assign(
        size=[3, 10, 10],
        other_size=[math.nan, math.nan, 3],
        difference=differences,
        p_holm=p_values,
    )
    (line, *_) = transfer.lead_section(
        dataclasses.replace(results, transfer_leads=rows)
    ).splitlines()
    assert line.endswith(expected)


def test_sizes_that_differ_between_sources_are_said(results):
    assert "3 and 100 for similar and 10 and 100 for different" in transfer.gain_table(results)
    rows = results.transfer_gains
    same = rows[rows["pretraining"] == "similar"]
    assert "for similar" not in transfer.gain_table(
        dataclasses.replace(results, transfer_gains=same)
    )


def test_an_arm_without_a_difference_to_scratch_is_in_no_cell(results):
    rows = results.transfer.copy()
    rows.loc[rows["arm"] == "all_similar_3", "reference"] = "head_similar_3"
    rows.loc[rows["arm"] == "head_similar_10", "difference"] = math.nan  # all runs failed
    cells = rows_of(transfer.grid(dataclasses.replace(results, transfer=rows)))
    assert "fine-tuning" not in cells[0]["similar"]
    assert "probe" not in cells[1]["similar"]


def test_an_arm_with_the_runs_of_another_is_listed_once(results):
    rows = results.transfer.copy()
    rows.loc[rows["arm"] == "all_similar_3", "repeats"] = True
    again = dataclasses.replace(results, transfer=rows)
    for table in (transfer.arm_table, transfer.cost_table):
        listed = [row["arm"] for row in rows_of(table(results))]
        assert [row["arm"] for row in rows_of(table(again))] == [
            arm for arm in listed if arm != "all_similar_3"
        ]


def test_a_probe_that_costs_next_to_nothing_does_not_cost_zero(results):
    rows = results.transfer.assign(training_ratio=0.00432, total_ratio=10.00432)
    (first, *_) = rows_of(transfer.cost_table(dataclasses.replace(results, transfer=rows)))
    assert list(first.values())[-2:] == ["0.004", "10.00"]


def test_one_size_has_no_curve(plain):
    made = planted()
    cells = {cell: values for cell, values in made.cells.items() if cell[2] == 10}
    data = with_tables(plain, Planted(cells))
    assert transfer.grid(data) == transfer.size_section(data) == transfer.gain_table(data) == ""
    assert not list(transfer_sizes.figures(data))
    assert {row["arm"] for row in rows_of(transfer.arm_table(data))} >= {"baseline"}


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"size": 12.34, "low": 3.21, "high": math.inf}, "at 12 images per class. Interval [3.2, "),
        ({"size": 12.34, "low": 3.21, "high": math.inf}, "above 100]"),
        ({"size": -math.inf}, "fine-tuning is ahead at all"),
        ({"size": math.inf}, "fine-tuning is not ahead at the largest"),
        ({"size": math.nan}, "too few seeds"),
    ],
)
def test_a_crossover_is_a_size_or_what_there_is_instead(results, values, part):
    rows = results.crossovers.iloc[:1].assign(**values)
    assert part in transfer.crossover_lines(dataclasses.replace(results, crossovers=rows))


def test_the_crossover_says_how_often_its_interval_covers(results):
    assert "88 % at 8 seeds and 93 % at 24 seeds." in transfer.crossover_lines(results)
    statistics = Path(__file__).parents[2] / "docs" / "statistics.md"
    assert "covers 88 % at 8 seeds, 93 % at 24 " in statistics.read_text()


def test_the_front_page_asks_what_to_train_and_shows_the_curve(plain, results):
    assert front.title(results) == "What to train of a pretrained network"
    assert front.title(plain) != front.title(results)
    assert f"(figures/{FIGURE}.png)" in size_figure(results, "")
    assert size_figure(plain, "") == ""


def test_the_figure_has_a_line_for_each_and_marks_the_crossover(results):
    ((name, figure),) = transfer_sizes.figures(results)
    assert f"figures/{name}.png" in transfer.size_section(results)
    (ax,) = figure.axes
    lines = [line for line in ax.lines if len(line.get_xdata()) > 2 or 100 in line.get_xdata()]
    assert sorted(len(line.get_xdata()) for line in lines) == [2, 2, 4, 4, 4]
    assert list(ax.get_xticks()) == list(SIZES)
    (size,) = results.crossovers.loc[results.crossovers["pretraining"] == "similar", "size"]
    assert [line.get_xdata()[0] for line in ax.lines if line not in lines] == [size]
