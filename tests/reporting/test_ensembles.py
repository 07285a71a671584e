"""Ways to predict with a group: the table, and the sentences made of its rows."""

import pandas as pd
import pytest
from ensemble_scores import ALL, ALONE, BINS, FOUR, JITTER, NOISE, ONE, ensemble_scores

from pipeline.comparison.equal_cost import equal_cost
from pipeline.comparison.gains import member_gains
from pipeline.reporting.markdown import Formatter
from pipeline.reporting.pages import _ensemble_gains as sentences
from pipeline.reporting.pages._gains import Gain
from pipeline.reporting.pages.ensembles import calibration_table, equal_cost_table
from pipeline.reporting.plots.ensemble_sizes import size_frame


def methods_of(scores: pd.DataFrame, bins: pd.DataFrame = BINS) -> list[Gain]:
    return sentences.methods_of(equal_cost(scores, bins), Formatter())


def methods(*rows: tuple[str, str, str, float, float, float, float]) -> list[Gain]:
    return methods_of(ensemble_scores(*rows))


def cells(gains: list[Gain]) -> dict[str, dict[str, str]]:
    """Return the rows of the equal-cost table by method."""
    return parsed(equal_cost_table(gains, 3, Formatter()))


def parsed(table: str) -> dict[str, dict[str, str]]:
    """Return the rows of a table by their first cell."""
    head, _, *body = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table.splitlines()
        if line.startswith("|")
    ]
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


def test_methods_with_the_best_accuracy_for_their_cost_come_first(golden) -> None:
    gains = methods(ONE, FOUR, ALONE, NOISE, ALL)
    order = ["**one model of a**", "**noise of a**", "independent", "one model", "greedy"]
    assert list(cells(gains)) == order
    golden(
        sentences.efficient_methods(gains, Formatter()),
        sentences.efficient_methods(methods(ONE, FOUR), Formatter()),
    )


def test_of_efficient_methods_with_the_same_printed_accuracy_the_cheapest_is_bold() -> None:
    better = ("twice", "a", "one model", 0.8 + 1e-5, 0.5, 10.0, 2.0)
    assert list(cells(methods(ONE, better))) == ["**one model**", "twice"]


def test_the_last_snapshot_is_the_reference_of_all_snapshots() -> None:
    last = ("last of snapshots", "baseline", "one model", 0.9, 0.2, 10.0, 1.0)
    shots = ("snapshots", "baseline", "last of snapshots", 0.82, 0.48, 10.0, 5.0)
    gains = methods(ONE, shots, last, FOUR)
    names = [method.name for method in gains]
    assert names == ["one model", "last of snapshots", "snapshots", "independent"]
    assert sentences.scaled_gains(gains) == ""
    table = cells(gains)
    assert table["**last of snapshots**"]["compared with"] == "one model"
    assert table["snapshots"]["compared with"] == "last of snapshots"
    assert table["snapshots"]["difference (points)"].startswith("-8.0\u00a0[")


SCALED = {
    "one model": 0.3,
    "kept": 0.25,
    "gone": 0.3002,
    "turned": 0.33,
    "mixed": 0.33,
    "worse": 0.2,
}


def test_gains_after_temperature_scaling(golden) -> None:
    ways = []
    for name in list(SCALED)[1:]:
        model = "every arm" if name == "mixed" else "baseline"
        nll = 0.6 if name == "worse" else 0.4
        ways.append((name, model, "one model", 0.8, nll, 40.0, 4.0))
    scores = ensemble_scores(ONE, *ways)
    assert sentences.scaled_gains(methods_of(scores)) == ""
    more = scores[scores["metric"] == "nll"].assign(metric="nll_scaled")
    jitter = more["group"].map(dict(enumerate(JITTER))) * (more["method"] != "one model")
    more = more.assign(value=more["method"].map(SCALED) + jitter)
    gains = methods_of(pd.concat([scores, more]))
    golden(sentences.scaled_gains(gains))
    probable = parsed(calibration_table(gains, Formatter()))["turned"]
    assert [probable[name] for name in ("NLL (nats)", "NLL, scaled (nats)")] == ["0.400", "0.330"]
    turned = next(method for method in gains if method.name == "turned")
    # half is 4.303 * 0.001 / sqrt(3)
    assert turned.change("nll_scaled", unit="") == "+0.030 [+0.028, +0.032]"


def test_without_scaled_scores_their_cells_are_void() -> None:
    row = parsed(calibration_table(methods(ONE, FOUR), Formatter()))["independent"]
    assert row["NLL, scaled (nats)"] == "–"


def test_what_predicts_the_same_has_no_row() -> None:
    same = ("weight_averaging", "weight_averaging", "one model", 0.8, 0.5, 10.0, 1.0)
    scores = ensemble_scores(ONE, FOUR)
    twin = scores[scores["method"] == "one model"].assign(method="same", model="same")
    assert "same" not in cells(methods_of(pd.concat([scores, twin])))
    assert "weight_averaging" in cells(methods(ONE, FOUR, same))


def test_the_optimism_of_greedy_selection(golden) -> None:
    scores = ensemble_scores(ONE, ALL)
    assert sentences.optimism(methods_of(scores)) == ""
    texts = []
    for unseen in (
        (0.01, 0.012, 0.011),
        (0.12, 0.08, 0.07),
        (0.0993, 0.09901, 0.09872),
        (0.2, 0.21, 0.22),
    ):
        rows = [(group, "nll_gain_selecting", 0.1 + group / 1e5) for group in range(3)]
        rows += [(group, "nll_gain_held_out", value) for group, value in enumerate(unseen)]
        halves = pd.DataFrame(rows, columns=["group", "metric", "value"])
        halves = halves.assign(study="s", method="greedy", model="every arm", against="one model")
        texts.append(sentences.optimism(methods_of(pd.concat([scores, halves]))))
    golden(*texts)


def test_sizes_are_compared_with_one_member_of_the_same_group(golden) -> None:
    rows = [
        ("s", group, "independent", size, metric, value + group / 10)
        for group in range(2)
        for metric in ("accuracy", "nll")
        for size, value in ((1, 0.5), (2, 0.53), (3, 0.54))
    ]
    columns = ["study", "group", "method", "members", "metric", "value"]
    sizes = member_gains(pd.DataFrame(rows, columns=columns))
    golden(sentences.size_gains(sizes, Formatter()))
    assert sentences.size_gains(sizes.iloc[:0], Formatter()) == ""
    single = pd.Series({"accuracy": 0.7, "nll": 0.8})
    frame = size_frame(sizes, single).set_index(["number", "metric"])
    assert frame.loc[(0, "nll"), "mean"] == 0.8
    assert frame.loc[(3, "accuracy"), "mean"] == pytest.approx(0.59)


def test_confidence_is_stated_for_the_methods_that_are_shown(golden) -> None:
    rows = [("s", group, "greedy", 0.5, 1.0, 40, 0.8 + group / 100, 0.7) for group in range(3)]
    gains = methods_of(ensemble_scores(ONE, ALL), pd.DataFrame(rows, columns=BINS.columns))
    golden(sentences.overconfidence(gains, ["one model", "greedy"], Formatter()))
    assert sentences.overconfidence(gains, ["one model"], Formatter()) == ""
