"""Responses to hyperparameters: curves, ends that fail, the surface, and how far the best moves."""

import numpy as np
import pytest
from searched import UNIT, design_of, peak

from pipeline.comparison.responses import ends, responses, shifts, surface
from pipeline.planning.spaces import Space

RATES = {
    "training.learning_rate": Space((), "log", 1e-4, 1.0),
    "momentum": Space((), "one_minus_log", 0.0, 0.999),
    "width": Space(([4], [8], [16], [32])),
    "kind": Space(("a", "b")),
}
RATE = "training.learning_rate"


def moving(places):
    """Return accuracies whose best rate is 0.6 decades smaller at the middle of high momentum."""
    return 0.95 - 0.5 * np.square(places[:, 0] + 0.3 * (places[:, 1] - 0.5) - 0.6)


def test_quartiles_are_those_of_the_trials_in_each_part():
    design = design_of(points=128, noise=0.01)
    table = responses("s", "a", design)
    assert table.groupby("hyperparameter")["n"].sum().eq(128).all()
    first = table.iloc[0]
    inside = design.validation[design.places[:, 0] < 0.1]
    assert first["n"] == len(inside)
    assert first["median"] == pytest.approx(np.median(inside))
    assert (first["from"], first["to"]) == ("0", "0.1")
    best = table[table["hyperparameter"] == "rate"].set_index("place")["median"]
    assert best.idxmax() == pytest.approx(0.6, abs=0.06)


def test_every_value_of_a_list_is_a_part():
    table = responses("s", "a", design_of(spaces=RATES, points=64))
    rows = table[table["hyperparameter"] == "width"]
    assert list(rows["from"]) == ["[4]", "[8]", "[16]", "[32]"]
    assert set(rows["scale"]) == {""}


def test_lost_runs_have_the_lowest_score():
    design = design_of(points=64)
    lost = design.places[:, 0] < 0.1
    design.curves[lost, -1] = np.nan
    first = responses("s", "a", design).iloc[0]
    assert first["lost"] == first["n"] == lost.sum()
    assert first["median"] == pytest.approx(np.nanmin(design.validation), abs=1e-9)


def test_a_range_around_a_peak_fails_at_both_ends_and_a_flat_one_at_none():
    table = ends("s", "a", design_of(points=128, noise=0.01))
    fails = table.set_index(["hyperparameter", "end"])["fails"]
    assert fails["rate"].all()
    assert not fails[["momentum", "decay"]].any()


def test_a_range_that_ends_at_its_best_fails_at_the_other_end_alone():
    table = ends("s", "a", design_of(lambda places: 0.5 + 0.4 * places[:, 0], noise=0.01))
    rows = table[table["hyperparameter"] == "rate"].set_index("end")
    assert rows["fails"].to_dict() == {"low": True, "high": False}
    assert rows.loc["high", "median"] == rows.loc["high", "best"]


def test_an_end_fails_even_where_the_rest_of_the_range_is_no_better_on_average():
    """The upper half of the range collapses; the best part is beside the lower end."""

    def response(places):
        return np.where(places[:, 0] > 0.5, 0.1, 0.9 + 0.05 * (places[:, 0] > 0.2))

    table = ends("s", "a", design_of(response, points=128, noise=0.01))
    assert table[table["hyperparameter"] == "rate"]["fails"].all()


def test_values_without_order_have_no_ends():
    table = ends("s", "a", design_of(spaces=RATES, points=64))
    assert "kind" not in set(table["hyperparameter"])
    width = table[table["hyperparameter"] == "width"]
    assert list(width["at"]) == ["[4]", "[32]"]


def test_flat_ranges_seldom_fail():
    """The error over all ends of a design is 5 % at most."""
    spaces = {"rate": UNIT["rate"]}
    flat = [
        design_of(lambda places: 0.9 + 0 * peak(places), spaces, points=60, noise=0.01, seed=seed)
        for seed in range(20)
    ]
    wrong = [design for design in flat if ends("s", "a", design)["fails"].any()]
    assert len(wrong) <= 4  # 1 is expected


def test_the_surface_has_its_top_where_the_trials_have():
    table = surface("s", "a", design_of(peak, points=192, noise=0.002), ["rate", "momentum"])
    top = table.loc[table["mean"].idxmax()]
    assert top["first_place"] == pytest.approx(0.6, abs=0.11)
    assert (table["first"] + table["second"]).eq("ratemomentum").all()
    assert table["mean"].between(0.7, 0.96).all()


def test_a_surface_needs_two_hyperparameters_with_an_order():
    spaces = {name: RATES[name] for name in (RATE, "kind")}
    assert surface("s", "a", design_of(spaces=spaces, points=32), list(spaces)).empty


def test_a_planted_shift_of_the_best_rate_is_found():
    """Halves of momentum are 0.5 apart on its scale: 0.15 of four decades, a factor of 0.25."""
    table = shifts("s", "a", design_of(moving, RATES, points=256, noise=0.01), RATE)
    rows = table.set_index("hyperparameter")
    assert list(rows.index) == ["momentum", "width"]
    momentum = rows.loc["momentum"]
    assert momentum["low"] < 0.25 < momentum["high"] < 1
    assert momentum["shift"] == pytest.approx(momentum["above"] / momentum["below"], rel=1e-4)
    width = rows.loc["width"]
    assert width["low"] < 1 < width["high"]


def test_on_a_linear_scale_the_shift_is_a_share_of_the_range():
    table = shifts("s", "a", design_of(moving, UNIT, points=128, noise=0.01), "rate")
    row = table.set_index("hyperparameter").loc["momentum"]
    assert row["shift"] == pytest.approx(row["above"] - row["below"], abs=1e-5)
    assert row["high"] < 0


def test_without_a_range_there_is_nothing_to_move():
    assert shifts("s", "a", design_of(points=32), None).empty
