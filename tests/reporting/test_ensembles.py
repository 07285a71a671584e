"""Ways to predict with a group: order and pairs of their rows, and the sentences made of them."""

import numpy as np
import pandas as pd
import pytest

from pipeline.reporting import ensembles, lessons, methods

SHIFTS = (-0.01, 0.0, 0.01)  # of the groups, in the baseline and in all that is compared with it
JITTER = (0.001, -0.001, 0.0)  # of the groups, in a difference


def scored(
    *rows: tuple[str, str, str, float, float, float, float], groups: int = 3
) -> pd.DataFrame:
    """The table `ensembles` from (method, model, against, accuracy, nll, cost, passes)."""
    made = []
    for name, model, against, accuracy, nll, cost, passes in rows:
        for group in range(groups):
            jitter = JITTER[group] * (name != against) * (1 + (against != "one model"))
            values = {
                "accuracy": accuracy + SHIFTS[group] + jitter,
                "nll": nll + SHIFTS[group] + jitter,
            }
            values |= dict.fromkeys(
                ("brier", "calibration_error", "calibration_error_scaled", "disagreement"), 0.1
            )
            values |= {"training_flops": cost, "forward_passes": passes, "trainings": 1.0}
            made += [
                ("s", group, name, model, against, metric, value)
                for metric, value in values.items()
            ]
    return pd.DataFrame(
        made, columns=["study", "group", "method", "model", "against", "metric", "value"]
    )


ONE = ("one model", "baseline", "one model", 0.8, 0.5, 10.0, 1.0)
FOUR = ("independent", "baseline", "one model", 0.85, 0.4, 40.0, 4.0)
NOISE = ("noise of a", "a", "one model of a", 0.9, 0.6, 10.0, 20.0)
ALONE = ("one model of a", "a", "one model", 0.85, 0.5, 10.0, 1.0)
ALL = ("greedy", "every arm", "one model", 0.79, 0.3, 90.0, 5.0)


def test_rows_start_with_one_model_and_follow_cost_then_passes() -> None:
    rows = methods.method_rows(scored(ALL, NOISE, FOUR, ALONE, ONE))
    assert [row.name for row in rows] == [
        "one model",
        "one model of a",
        "noise of a",
        "independent",
        "greedy",
    ]
    assert [row.cost for row in rows] == [1, 1, 1, 4, 9]
    assert [row.name for row in methods.averages(rows)] == ["noise of a", "independent", "greedy"]


def test_a_gain_is_paired_with_what_the_row_names() -> None:
    rows = {row.name: row for row in methods.method_rows(scored(ONE, FOUR, NOISE, ALONE))}
    noise = rows["noise of a"].gain.by["accuracy"]
    assert (noise.mean, noise.n) == (pytest.approx(0.05), 3)
    half = (
        4.302652729911275 * 0.001 / np.sqrt(3)
    )  # the shifts of the groups cancel, the jitter of one side stays
    four = rows["independent"].gain.by["nll"]
    assert [four.low, four.mean, four.high] == pytest.approx([-0.1 - half, -0.1, -0.1 + half])


def test_a_method_without_a_group_is_paired_over_the_others() -> None:
    table = scored(ONE, FOUR)
    table = table[(table["method"] != "independent") | (table["group"] > 0)]
    row = methods.method_rows(table)[1]
    assert (row.n, row.gain.by["accuracy"].n) == (2, 2)


def test_the_cheapest_is_told_by_metric_and_none_where_none_gains() -> None:
    rows = methods.method_rows(scored(ONE, FOUR, ALONE, NOISE, ALL))
    said = lessons.cheapest(rows, 1)
    assert (
        "in accuracy, **noise of a** (1.00 of one baseline training and 20 forward passes; +5.0 points"
        in said
    )
    assert (
        "in NLL, **independent** (4.00 of one baseline training and 4 forward passes; -0.100 nats"
        in said
    )
    assert lessons.cheapest(methods.method_rows(scored(ONE, ALL)), 1).startswith(
        "**The cheapest whose interval shows a gain**: in accuracy, none; in NLL, **greedy**"
    )


def test_what_averaging_buys_leaves_out_references_and_names_what_mixes_arms() -> None:
    said = lessons.gained(methods.method_rows(scored(ONE, FOUR, ALONE, NOISE, ALL)), 1)
    assert "one model of a" not in said
    assert (
        "accuracy rises most for **independent** (+5.0" in said
        or "accuracy rises most for **noise of a** (+5.0" in said
    )
    assert "NLL falls most for **independent** (-0.100 nats" in said
    before, _, after = said.partition(
        " What other arms do as well, not averaging alone, is in the difference of "
    )
    assert "greedy" not in before
    assert after.startswith("**greedy** (accuracy -1.0 points [")
    assert ", NLL -0.200 nats [" in after
    assert "What other arms do" not in lessons.gained(methods.method_rows(scored(ONE, FOUR)), 1)


def test_the_last_snapshot_is_the_reference_of_all_snapshots() -> None:
    last = ("last of snapshots", "baseline", "one model", 0.9, 0.2, 10.0, 1.0)
    shots = ("snapshots", "baseline", "last of snapshots", 0.82, 0.48, 10.0, 5.0)
    rows = methods.method_rows(scored(ONE, shots, last, FOUR))
    assert [row.name for row in rows] == [
        "one model",
        "last of snapshots",
        "snapshots",
        "independent",
    ]
    said = lessons.gained(rows, 1) + lessons.cheapest(rows, 1) + lessons.scaled(rows, 1)
    assert "last of snapshots" not in said
    assert "a loss for **snapshots**" in said
    cells = _cells(ensembles.equal_cost_table(rows, 3, 1))
    assert cells["last of snapshots"]["compared with"] == "one model"
    assert cells["snapshots"]["compared with"] == "last of snapshots"
    assert cells["snapshots"]["difference (points)"].startswith("-8.0 [")


def test_a_gain_in_nll_is_followed_through_temperature_scaling() -> None:
    after = {
        "one model": 0.3,
        "kept": 0.25,
        "gone": 0.3002,
        "turned": 0.33,
        "mixed": 0.33,
        "worse": 0.2,
    }
    models = {"mixed": "every arm"}
    ways = [
        (
            name,
            models.get(name, "baseline"),
            "one model",
            0.8,
            0.6 if name == "worse" else 0.4,
            40.0,
            4.0,
        )
        for name in list(after)[1:]
    ]
    table = scored(ONE, *ways)
    assert lessons.scaled(methods.method_rows(table), 1) == ""
    more = table[table["metric"] == "nll"].assign(metric="nll_scaled")
    jitter = more["group"].map(dict(enumerate(JITTER))) * (more["method"] != "one model")
    rows = methods.method_rows(
        pd.concat([table, more.assign(value=more["method"].map(after) + jitter)])
    )
    assert lessons.scaled(rows, 1) == (
        "**After temperature scaling**, of the gains in NLL whose interval leaves out 0: those of **kept** remain; those "
        "of **gone** vanish (the interval of the scaled difference holds 0); those of **turned** turn into losses: "
        "what these gained is calibration, which one temperature gives as well."
    )
    cells = _cells(ensembles.equal_cost_table(rows, 3, 1))["turned"]
    assert [cells[name] for name in ("NLL (nats)", "NLL scaled (nats)")] == ["0.400", "0.330"]
    assert cells["difference (nats)"].startswith("-0.100 [")
    assert (
        cells["difference scaled (nats)"] == "+0.030 [+0.028, +0.032]"
    )  # half is 4.303 * 0.001 / sqrt(3)


def test_without_scaled_scores_their_cells_are_void() -> None:
    cells = _cells(ensembles.equal_cost_table(methods.method_rows(scored(ONE, FOUR)), 3, 1))[
        "independent"
    ]
    assert (cells["NLL scaled (nats)"], cells["difference scaled (nats)"]) == ("–", "–")


@pytest.mark.parametrize(
    ("unseen", "words"),
    [
        (
            (0.01, 0.012, 0.011),
            "on that half and +0.011 nats [+0.009, +0.013] on the other: the half that selected flatters it, +0.089",
        ),
        ((0.12, 0.08, 0.07), "no clear sign that the selecting half flatters it, +0.010"),
        (
            (0.0993, 0.09901, 0.09872),
            "no clear sign that the selecting half flatters it, +0.001 nats [0.000, +0.002]",
        ),
        ((0.2, 0.21, 0.22), "no sign that selection flatters it, -0.110"),
    ],
)
def test_optimism_follows_the_numbers(unseen: tuple[float, ...], words: str) -> None:
    rows = [("s", group, "greedy", lessons.GREEDY[0], 0.1 + group / 1e5) for group in range(3)]
    rows += [("s", group, "greedy", lessons.GREEDY[1], value) for group, value in enumerate(unseen)]
    table = pd.DataFrame(rows, columns=["study", "group", "method", "metric", "value"])
    assert words in lessons.optimism(table)
    assert (
        "its cost is that of all models it picks from. Its gain over the plain mean of all of them ("
        in lessons.optimism(table)
    )
    assert lessons.optimism(table.iloc[:0]) == ""


def test_sizes_are_compared_with_one_member_of_the_same_group() -> None:
    rows = [
        ("s", group, "independent", size, metric, value + group / 10)
        for group in range(2)
        for metric in ("accuracy", "nll")
        for size, value in ((1, 0.5), (2, 0.53), (3, 0.54))
    ]
    sizes = pd.DataFrame(rows, columns=["study", "group", "method", "members", "metric", "value"])
    assert (
        "  - independent, 1 to 3 members: accuracy +4.0 points, the second alone +3.0 points; NLL +0.040"
        in lessons.grown(sizes, 1)
    )
    assert lessons.grown(sizes.iloc[:0], 1) == ""
    frame = methods.size_frame(sizes, {"accuracy": 0.7, "nll": 0.8}).set_index(["number", "metric"])
    assert frame.loc[(0, "nll"), "mean"] == 0.8
    assert frame.loc[(3, "accuracy"), "mean"] == pytest.approx(0.59)


def test_bins_are_pooled_by_their_counts_and_few_images_show_no_accuracy() -> None:
    rows = [
        ("s", 0, "greedy", 0.0, 0.5, 10, 0.4, 0.2),
        ("s", 0, "greedy", 0.5, 1.0, 30, 0.9, 0.7),
        ("s", 1, "greedy", 0.0, 0.5, 0, np.nan, np.nan),
        ("s", 1, "greedy", 0.5, 1.0, 40, 0.8, 0.9),
        ("s", 1, "noise passes of a", 0.5, 1.0, 40, 0.8, 0.9),
    ]
    table = pd.DataFrame(
        rows, columns=["study", "group", "method", "low", "high", "count", "confidence", "accuracy"]
    )
    bins = methods.pooled(table).set_index(["method", "low"])
    assert list(bins.index) == [("greedy", 0.0), ("greedy", 0.5)]
    assert list(bins["share"]) == [10 / 80, 70 / 80]
    assert bins.loc[("greedy", 0.5), "accuracy"] == pytest.approx((30 * 0.7 + 40 * 0.9) / 70)
    assert np.isnan(bins.loc[("greedy", 0.0), "accuracy"])
    excess = methods.overconfidence(table)
    assert excess["greedy"].mean == pytest.approx(((10 * 0.2 + 30 * 0.2) / 40 + -0.1) / 2)
    assert lessons.trusted(table, 1).endswith(
        "greedy +5.0 [-185.6, +195.6]".replace("-185.6, +195.6", _bounds(excess["greedy"])) + "."
    )


def _cells(page: str) -> dict[str, dict[str, str]]:
    """The rows of a table by their first cell."""
    head, _, *body = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("|")
    ]
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


def _bounds(found) -> str:
    return f"{100 * found.low:+.1f}, {100 * found.high:+.1f}"
