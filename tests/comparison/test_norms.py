"""Norms of weights, gradients and updates: geometric means over runs."""

import math

import pytest
from report_data import planned

from pipeline.comparison.norms import NORMS, norm_means

LAYERS = {"first.weight": dict.fromkeys(NORMS, 2.0)}


def test_the_mean_over_runs_is_geometric_and_of_the_studies_asked_for():
    plan = planned("confirmation", {"one": {"a": "deterministic"}, "two": {"b": "deterministic"}})
    values = {1000: 1.0, 1001: 10.0, 1002: 100.0}
    row = {"epoch": 1, "updates": 5, "split": "train", "loss": 0.1}
    histories = {
        run.fingerprint: [
            row | dict.fromkeys(NORMS, values[run.seed]) | {"layers": LAYERS},
            {**row, "split": "validation"},
        ]
        for run in plan.runs
    }
    table = norm_means(plan, histories, {"one"})
    assert set(table["study"]) == {"one"}
    assert table["measure"].value_counts().to_dict() == dict.fromkeys(NORMS, 4)
    layer = table[table["layer"] == "first.weight"]
    assert set(layer["mean"].round(9)) == {2.0}
    table = table[table["layer"] == ""]
    assert table["measure"].value_counts().to_dict() == dict.fromkeys(NORMS, 2)
    first = table.iloc[0]
    assert (first["n"], first["mean"]) == (3, pytest.approx(10))
    # the interval of the mean logarithm: t at 2 degrees of freedom
    half = 4.302653 * math.log(10) / math.sqrt(3)
    assert first["high"] == pytest.approx(10 * math.exp(half))


def test_runs_without_norms_give_an_empty_table():
    plan = planned("confirmation", {"one": {"a": "deterministic"}})
    assert norm_means(plan, {}, {"one"}).empty
