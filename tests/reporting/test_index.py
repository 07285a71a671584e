"""The index of all reports: baselines by their gap, arms by protocol, effects over gaps."""

import dataclasses
import math
import re

import pytest
from report_data import report_data

from pipeline.records.reports import WrittenReport
from pipeline.reporting import style
from pipeline.reporting.dvc import protocol_facts
from pipeline.reporting.index import common_arms, difference_rows, index_page, rare_rows
from pipeline.reporting.index_figure import effects

NAN = math.nan
FACTS = {"dataset": "digits", "network": "resnet", "train_size": 1500}
Arms = dict[str, tuple[float, float, float, str] | tuple[float, float, float]]


def report(arms: Arms, gap: float | None = 3.5, facts: dict[str, object] = FACTS) -> WrittenReport:
    """Return what a report leaves behind; arms with (low, difference, high) and their verdict.

    A report of older code has no verdicts.
    """
    metrics = {
        "baseline": {"accuracy": gap and 91.24, "gap": gap},
        "points": {},
        "runs": {"planned": 12, "done": 11},
    }
    rows = []
    for arm, (low, difference, high, *verdict) in arms.items():
        row = {"arm": arm, "low": low, "difference": difference, "high": high}
        if verdict:
            name, _, below = verdict[0].partition(", ")
            row |= {"verdict": name, "below_margin": bool(below)}
        rows.append(row)
    return WrittenReport(metrics, facts, tuple(rows), ())


REPORTS = {
    "digits": report(
        {"mixup": (-0.01, 0.02, 0.05, "inconclusive"), "dropout": (0.01, 0.02, 0.03, "helps")}
    ),
    "mnist": report({"dropout": (NAN, 0.001, NAN)}, gap=None, facts={}),
    "cifar": report({"dropout": (0.0, 0.003, 0.01, "equivalent")}, gap=9.0),
    "wine": report({"mixup": (-0.01, 0.01, 0.05, "inconclusive")}, gap=1.0),
}


def tables(page: str) -> list[list[list[str]]]:
    """Return the cells of every table, without its head."""
    blocks = re.findall(r"(?:^\|.*\n)+", page, flags=re.M)
    lines = [block.splitlines()[2:] for block in blocks]
    return [[[cell.strip() for cell in line.split("|")[1:-1]] for line in rows] for rows in lines]


def test_an_arm_of_many_protocols_has_a_cell_for_each_and_others_a_row_for_each() -> None:
    assert difference_rows(REPORTS) == [
        {"arm": "dropout", "digits": "**helps** +2.0", "mnist": "+0.1", "cifar": "equivalent +0.3"}
    ]
    assert rare_rows(REPORTS) == [
        {"report": "digits", "arm": "mixup", "difference": "inconclusive +2.0"},
        {"report": "wine", "arm": "mixup", "difference": "inconclusive +1.0"},
    ]


def test_only_beside_arms_of_many_protocols_the_others_are_folded() -> None:
    assert "<details><summary>Arms that fewer than 3 protocols tried" in index_page(REPORTS, {}, {})
    assert "<details>" not in index_page({"digits": REPORTS["digits"]}, {}, {})


def test_a_verdict_below_the_margin_is_not_bold() -> None:
    (row,) = rare_rows({"a": report({"b": (0.001, 0.002, 0.003, "helps, below the margin")})})
    assert row["difference"] == "helps +0.2"


def test_the_page_has_the_baselines_and_the_differences() -> None:
    page = index_page(REPORTS, {}, {})
    baselines, shared, rare = tables(page)
    assert baselines == [
        ["[wine](wine/report.md)", "digits", "resnet", "1,500", "91.2", "1.0", "11 of 12"],
        ["[digits](digits/report.md)", "digits", "resnet", "1,500", "91.2", "3.5", "11 of 12"],
        ["[cifar](cifar/report.md)", "digits", "resnet", "1,500", "91.2", "9.0", "11 of 12"],
        ["[mnist](mnist/report.md)", "–", "–", "–", "–", "–", "11 of 12"],
    ]
    assert [row[0] for row in shared] == ["dropout"]
    assert [row[:2] for row in rare] == [["wine", "mixup"], ["digits", "mixup"]]


def test_reports_of_some_studies_are_listed_with_what_they_have_shown() -> None:
    arms = {"sgd": (-0.01, 0.01, 0.03, "inconclusive"), "adam": (0.01, 0.02, 0.03, "helps")}
    page = index_page({}, {"digits+optimizers": report(arms)}, {})
    link = "[digits+optimizers](digits+optimizers/report.md)"
    assert f"- {link}: adam **helps** +2.0, 1 other arm\n" in page


@pytest.mark.parametrize(
    ("model", "network"),
    [({"name": "cnn"}, "cnn"), ({"name": "imported", "import": "mine:Net"}, "mine:Net")],
)
def test_the_facts_name_the_network_its_data_and_their_size(
    model: dict[str, str], network: str
) -> None:
    data = report_data({"one": {"mixup": "deterministic"}}, {"mixup": (0.0, "inconclusive")})
    settings = data.confirmation.settings | {"model": model}
    plan = data.confirmation.model_copy(update={"settings": settings})
    assert protocol_facts(dataclasses.replace(data, confirmation=plan)) == {
        "protocol": "tiny",
        "dataset": "digits",
        "network": network,
        "train_size": 7,
        "margin": 0.01,
    }


def test_reports_without_an_arm_are_listed_alone() -> None:
    assert len(tables(index_page({"digits": report({})}, {}, {}))) == 1
    assert tables(index_page({}, {}, {})) == []


@pytest.fixture
def several() -> dict[str, WrittenReport]:
    """Return reports whose gaps are not in the order of their names."""
    arm = (0.01, 0.02, 0.03, "helps")
    return {
        "a": report({"dropout": arm, "mixup": arm}, gap=9.0),
        "b": report({"dropout": (NAN, NAN, NAN, "inconclusive")}, gap=2.0),
        "c": report({"dropout": arm}, gap=4.0),
        "d": report({"mixup": arm}, gap=0.0),
    }


def test_protocols_are_in_the_order_of_their_gaps(several: dict[str, WrittenReport]) -> None:
    page = index_page(several, {}, {})
    assert [row[0][1] for row in tables(page)[0]] == ["d", "b", "c", "a"]
    assert "| arm | b | c | a |" in page  # d has no arm that enough others tried


def test_what_many_protocols_tried_is_drawn_over_their_gaps(
    several: dict[str, WrittenReport],
) -> None:
    assert common_arms(several) == ["dropout"]
    assert "](effects.png)" in index_page(several, {}, {})
    figure = effects(several)
    panel = next(ax for ax in figure.axes if ax.get_title(loc="left") == "dropout")
    points = {
        (line.get_xdata()[0], round(line.get_ydata()[0], 6))
        for line in panel.lines
        if len(line.get_xdata()) == 1 and not math.isnan(line.get_ydata()[0])
    }
    assert points == {(9.0, 2.0), (4.0, 2.0)}
    bars = {tuple(line.get_ydata()) for line in panel.lines if list(line.get_xdata()) == [9.0, 9.0]}
    assert bars == {(1.0, 3.0)}
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["c", "a"]
    assert style.png(figure) == style.png(effects(several))


def test_claims_have_a_line_with_their_page() -> None:
    row = {"claim": "one", "outcome": "supported", "alternative": ""}
    reports = {"digits": dataclasses.replace(REPORTS["digits"], claims=(row,))}
    line = next(line for line in index_page(reports, {}, {}).splitlines() if "claims.md" in line)
    assert line.startswith("[Claims of lectures and papers](claims.md): ")
    assert re.findall(r"\d+", line) == ["1", "1", "1"]
    assert "claims.md" not in index_page(REPORTS, {}, {})
