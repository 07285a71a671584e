"""Designs as they are read from a plan, its scores and its learning curves."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from searched import design_of

from pipeline.compare import curves_of
from pipeline.comparison.designs import designs_of, point_table
from pipeline.comparison.search_tables import TABLES, moved, search_tables
from pipeline.config.plan import Dimension, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.schema import Replay

SPACE = (
    Dimension(part="protocol", key="training.learning_rate", scale="log", low=0.01, high=1.0),
    Dimension(part="protocol", key="model.hidden"),
    Dimension(part="dropout", key="rate", scale="uniform", low=0.0, high=0.5),
)
POINTS = [(0.01, [32], 0.0), (0.1, [4], 0.25), (1.0, [128], 0.5), (0.03, [4], 0.1)]
SEEDS = (1000, 1001)


def fingerprint(point, seed):
    return f"p{point}s{seed}"


@pytest.fixture
def plan():
    runs = [
        PlannedRun(
            study="s",
            arm="a",
            setting={
                "protocol": {"training.learning_rate": rate, "model.hidden": hidden},
                "dropout": {"rate": share},
            },
            seed=seed,
            fingerprint=fingerprint(point, seed),
        )
        for point, (rate, hidden, share) in enumerate(POINTS)
        for seed in reversed(SEEDS)
    ]
    baseline = PlannedRun(study="s", arm="baseline", seed=1000, fingerprint="b")
    study = PlannedStudy(
        name="s",
        question="Which?",
        kind="search",
        arms=(PlannedArm(name="baseline"), PlannedArm(name="a", space=SPACE, design="random")),
        search=Replay(methods=("random", "halving"), trials=2, replays=100, seeds=2),
    )
    return Plan(
        protocol="tiny",
        phase="confirmation",
        settings={"training": {"epochs": 9}},
        margin=0.01,
        data_digest="d",
        studies=(study,),
        runs=(baseline, *runs),
    )


def scores(lost=()):
    rows = [
        (fingerprint(point, seed), "deterministic", 1, split, "accuracy", value + seed / 1e5)
        for point, value in enumerate((0.7, 0.8, 0.9, 0.75))
        for seed in SEEDS
        for split in ("validation", "test")
        if fingerprint(point, seed) not in lost
    ]
    rows.append(("b", "deterministic", 1, "test", "accuracy", 0.5))
    rows.append((fingerprint(0, 1000), "noise", 20, "test", "accuracy", 0.1))
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def histories(epochs=(1, 3, 9)):
    return {
        fingerprint(point, seed): [
            {"epoch": epoch, "split": split, "accuracy": point / 10 + epoch / 100}
            for epoch in epochs
            for split in ("train", "validation")
        ]
        for point in range(len(POINTS))
        for seed in SEEDS
    }


def only_design(*args):
    ((study, arm, design),) = designs_of(*args)
    assert (study.name, arm.name) == ("s", "a")
    return design


def test_a_design_has_the_values_of_its_points_and_their_places(plan):
    design = only_design(plan, scores(), histories())
    assert list(design.spaces) == ["training.learning_rate", "model.hidden", "dropout.rate"]
    assert list(design.values) == POINTS
    assert design.spaces["model.hidden"].values == ([4], [32], [128])
    assert design.is_random
    assert list(design.is_ordered) == [True, True, True]
    np.testing.assert_allclose(design.places[:, 0], [0, 0.5, 1, 0.5 + np.log10(0.3) / 2])
    np.testing.assert_allclose(design.places[:, 1], [0.5, 1 / 6, 5 / 6, 1 / 6])
    assert design.number_of(POINTS[2]) == 2
    assert design.number_of((0.5, [4], 0.0)) is None


def test_scores_are_means_over_seeds_under_the_test_rule(plan):
    design = only_design(plan, scores(), histories())
    np.testing.assert_allclose(design.by_seed[0], np.array([0.71, 0.81, 0.91, 0.76]))
    np.testing.assert_allclose(design.validation, np.array([0.7, 0.8, 0.9, 0.75]) + 0.010005)
    np.testing.assert_allclose(design.test, design.validation)


def test_equal_means_over_seeds_are_equal_scores():
    """Round-off of a mean puts no point above another, also not in a resample."""
    by_seed = np.array([[0.1, 0.15], [0.2, 0.15]])
    assert np.ptp(by_seed.mean(axis=0)) > 0
    made = replace(design_of(points=2), by_seed=by_seed, curves=by_seed.mean(axis=0)[:, None])
    assert np.ptp(made.ranked) == 0
    draws = [made.redrawn(np.random.default_rng(seed))[1] for seed in range(9)]
    assert {len(set(scores)) for scores in draws if np.allclose(scores, 0.15)} == {1}


def test_curves_are_at_shares_of_the_schedule_and_end_with_the_final_score(plan):
    design = only_design(plan, scores(), histories())
    np.testing.assert_allclose(design.shares, [1 / 9, 1 / 3, 1])
    np.testing.assert_allclose(design.curves[1, :2], [0.11, 0.13])


def test_a_point_with_a_lost_run_has_no_score_and_is_below_all_others(plan):
    design = only_design(plan, scores(lost={fingerprint(2, 1001)}), histories())
    assert math.isnan(design.validation[2])
    assert design.ranked.argmin() == 2
    _, drawn = design.redrawn(np.random.default_rng(0))
    assert np.isfinite(drawn).all()


def test_a_run_that_diverged_has_its_scores_up_to_there(plan):
    """Else a replay drops it before anyone could know that it will diverge."""
    lost = fingerprint(2, 1001)
    curves = {**histories(), lost: histories(epochs=(1, 3))[lost], fingerprint(3, 1000): []}
    design = only_design(plan, scores(lost={lost, fingerprint(3, 1000)}), curves)
    np.testing.assert_allclose(design.shares, [1 / 9, 1 / 3, 1])
    np.testing.assert_allclose(design.curves[2], [0.21, 0.23, math.nan])
    np.testing.assert_allclose(design.curves[3], math.nan)


def test_curves_of_searches_are_those_of_diverged_runs_too(plan, tmp_path):
    states = dict.fromkeys((run.fingerprint for run in plan.runs), "done")
    states |= {fingerprint(2, 1001): "diverged", fingerprint(3, 1000): "failed"}
    for name in states:
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.jsonl").write_text('{"epoch": 1}\n')
    records = {name: {"state": state} for name, state in states.items()}
    curves = curves_of(tmp_path, plan, records, "search")
    assert states.keys() - curves.keys() == {fingerprint(3, 1000)}
    assert curves[fingerprint(2, 1001)] == [{"epoch": 1}]


def test_resamples_have_points_and_seeds_with_replacement(plan):
    design = only_design(plan, scores(), histories())
    resamples = [design.redrawn(np.random.default_rng(seed)) for seed in range(30)]
    values = {round(float(value), 6) for _, drawn in resamples for value in drawn}
    means = {0.71, 0.710005, 0.71001}  # of seed 1000 alone, of both, of 1001 alone
    assert means <= values
    assert all(len(points) == 4 for points, _ in resamples)


def test_a_part_of_a_design_has_the_scores_of_its_points(plan):
    design = only_design(plan, scores(), histories())
    part = design.subset(np.array([1, 3]))
    assert part.values == (POINTS[1], POINTS[3])
    np.testing.assert_allclose(part.places, design.places[[1, 3]])
    np.testing.assert_allclose(part.curves, design.curves[[1, 3]])


def test_a_row_of_the_points_is_a_value_of_a_point(plan):
    table = point_table("s", "a", only_design(plan, scores(), histories()))
    assert len(table) == len(POINTS) * len(SPACE)
    best = table[table["is_best"]]
    assert set(best["point"]) == {2}
    assert list(best["at"]) == ["1.0", "[128]", "0.5"]


def test_the_learning_rate_is_what_may_move_else_the_most_important_range(plan):
    design = only_design(plan, scores(), histories())
    names = ["dropout.rate", "model.hidden", "training.learning_rate"]
    assert moved(design, names) == "training.learning_rate"
    del design.spaces["training.learning_rate"]
    assert moved(design, names[:2]) == "dropout.rate"


def test_all_tables_have_their_columns_with_and_without_studies(plan):
    tables = search_tables(plan, histories(), scores())
    empty = search_tables(plan.model_copy(update={"studies": (), "runs": ()}), {}, scores())
    for name, columns in TABLES.items():
        assert tuple(tables[name].columns) == columns
        assert tuple(empty[name].columns) == columns
        assert empty[name].empty
    assert list(tables["search_methods"]["method"]) == ["random", "halving"]
    assert tables["search_importance"].empty  # of four points nothing is known
    assert tables["tuning_budget"].empty  # of one arm
