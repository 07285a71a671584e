"""Variance by stream and by test set, on planted variances and by hand."""

import re
from math import nan, sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison.variance import (
    COLUMNS,
    TEST_SET,
    advice,
    components,
    finite_test_set,
    pool_factor,
    pools,
    streams,
)
from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.test_rules import NOISE

ROOT = Path(__file__).resolve().parents[2]


def frame(values, arm="baseline", stream="init"):
    """Return values (groups, runs) as rows."""
    values = np.asarray(values, dtype=float)
    groups, runs = values.shape
    return pd.DataFrame(
        {
            "arm": arm,
            "stream": stream,
            "group": np.repeat(np.arange(groups), runs),
            "value": values.ravel(),
        }
    )


def test_the_variance_is_pooled_inside_groups():
    """Two groups far apart, of variance 1 and 4; chi-square of 4 degrees by its table."""
    row = components(frame([[1, 2, 3], [100, 102, 104]])).iloc[0]
    assert tuple(row.index) == COLUMNS
    assert row[["arm", "stream", "n_groups", "n", "df"]].tolist() == ["baseline", "init", 2, 6, 4]
    assert (row["variance"], row["sd"]) == pytest.approx((2.5, sqrt(2.5)))
    assert (row["low"], row["high"]) == pytest.approx(
        (sqrt(10 / 11.1433), sqrt(10 / 0.48442)), rel=1e-4
    )


def test_arms_and_streams_are_apart_and_in_their_order():
    table = components(
        pd.concat(
            [
                frame([[1, 3]], stream="split"),
                frame([[1, 2]], stream="init"),
                frame([[5, 9]], "dropout", "noise"),
            ]
        )
    )
    assert list(zip(table["arm"], table["stream"], strict=True)) == [
        ("baseline", "split"),
        ("baseline", "init"),
        ("dropout", "noise"),
    ]
    assert table["variance"].tolist() == [2, 0.5, 8]


def test_groups_of_unequal_size_weigh_by_their_degrees_of_freedom():
    rows = pd.concat(
        [frame([[1, 2, 3, 4]]), frame([[7, 9]]).assign(group=1), frame([[5]]).assign(group=2)]
    )
    row = components(rows).iloc[0]
    assert (row["n_groups"], row["n"], row["df"]) == (2, 6, 4)
    assert row["variance"] == pytest.approx((5 + 2) / 4)


def test_values_that_are_no_numbers_are_left_out():
    row = components(frame([[1, 2, nan], [4, nan, nan]])).iloc[0]
    assert (row["n_groups"], row["n"], row["df"], row["variance"]) == (1, 2, 1, 0.5)


def test_without_spread_there_is_no_interval_and_without_groups_nothing():
    still = components(frame([[0.9, 0.9, 0.9]])).iloc[0]
    assert (still["df"], still["variance"], still["sd"]) == (2, 0, 0)
    assert np.isnan([still["low"], still["high"]]).all()
    alone = components(frame([[0.9], [0.8]])).iloc[0]
    assert (alone["n_groups"], alone["n"], alone["df"]) == (0, 0, 0)
    assert alone[["variance", "sd", "low", "high"]].isna().all()
    empty = components(frame(np.zeros((0, 2))))
    assert (len(empty), tuple(empty.columns)) == (0, COLUMNS)


def test_planted_components_are_recovered():
    """400 studies at once: three streams of known spread, five anchors apart, four seeds each."""
    generator = np.random.default_rng(5)
    planted = {"split": 0.02, "init": 0.01, "order": 0.004}
    parts = []
    for study in range(400):
        for stream, sd in planted.items():
            anchors = generator.normal(0.9, 0.05, (5, 1))
            parts.append(
                frame(anchors + generator.normal(0, sd, (5, 4)), arm=f"a{study}", stream=stream)
            )
    rows = pd.concat(parts)
    table = components(rows)
    for stream, sd in planted.items():
        of_stream = table[table["stream"] == stream]
        assert set(of_stream["df"]) == {15}
        error = sd**2 * sqrt(2 / 15 / 400)
        assert of_stream["variance"].mean() == pytest.approx(sd**2, abs=4 * error)
        assert ((of_stream["low"] <= sd) & (sd <= of_stream["high"])).mean() == pytest.approx(
            0.95, abs=0.04
        )
        naive = (
            rows[rows["stream"] == stream].groupby("arm")["value"].var()
        )  # takes the anchors' spread along
        assert abs(naive.mean() - sd**2) > 4 * error


def test_the_spread_over_test_sets_is_binomial():
    right = np.random.default_rng(6).random((20_000, 500)) < 0.93
    assert finite_test_set(0.93, 500) == pytest.approx(right.mean(axis=1).var(), rel=0.04)
    assert sqrt(finite_test_set(0.94, 10_000)) == pytest.approx(0.0024, abs=0.0001)
    assert finite_test_set(0.93, 500) == pytest.approx(stats.binom(500, 0.93).var() / 500**2)
    assert finite_test_set(1.0, 500) == 0


ACCURACIES = {  # arm -> stream -> group -> accuracies of its draws
    "baseline": {"init": [[0.5, 0.6], [0.7, 0.9]], "order": [[0.5, 0.5], [0.7, 0.9]]},
    "pool": {"noise": [[0.6, 0.7], [0.8, 0.8]]},
}


def drawn():
    """Return a plan with variance and a comparison, and scores of all its runs under two rules."""
    runs, rows = [], []
    for arm, accuracies in ACCURACIES.items():
        places = [
            (stream, group, draw, value)
            for stream, groups in accuracies.items()
            for group, values in enumerate(groups)
            for draw, value in enumerate(values)
        ]
        for stream, group, draw, value in places:
            name = f"{arm}-{group}" if draw == 0 else f"{arm}-{group}-{stream}"
            where = {"study": "spread", "stream": stream, "draw": draw}
            runs.append(PlannedRun(arm=arm, seed=1000 + group, fingerprint=name, **where))
            other = value if arm == "baseline" else 0.0
            rows.append((name, "deterministic", 1, "test", "accuracy", other))
            rows.append((name, "noise", 12, "test", "accuracy", 1 - other if other else value))
            rows.append((name, "deterministic", 1, "validation", "accuracy", 0.1))
            rows.append((name, "deterministic", 1, "test", "nll", 9.0))
    seen = [("baseline-0", 0), ("baseline-1", 1), ("drop-0", 0)]
    runs += [
        PlannedRun(study="one", arm=name[:-2], seed=1000 + group, fingerprint=name)
        for name, group in seen
    ]
    rows.append(("drop-0", "deterministic", 1, "test", "accuracy", 0.3))
    arms = (PlannedArm(name="baseline"), PlannedArm(name="pool", rule=NOISE))
    alone = (PlannedArm(name="baseline"), PlannedArm(name="drop"))
    plan = Plan(
        protocol="tiny",
        phase="confirmation",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(
            PlannedStudy(name="one", question="?", arms=alone),
            PlannedStudy(name="spread", question="?", kind="variance", arms=arms, groups=(0, 1)),
        ),
        runs=tuple(runs),
    )
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    return plan, pd.DataFrame(rows, columns=columns).drop_duplicates()


def test_streams_are_of_test_accuracy_under_each_arms_own_rule():
    plan, scores = drawn()
    table = streams(plan, scores, images=50)
    assert tuple(table.columns) == ("study", *COLUMNS)
    assert set(table["study"]) == {"spread"}
    keys = table[["arm", "stream", "n_groups", "n", "df"]].to_numpy().tolist()
    assert keys == [
        ["baseline", "init", 2, 4, 2],
        ["baseline", "order", 2, 4, 2],
        ["baseline", TEST_SET, 0, 0, 0],
        ["pool", "noise", 2, 4, 2],
        ["pool", TEST_SET, 0, 0, 0],
    ]
    baseline = (0.5 + 0.6 + 0.7 + 0.9 + 0.5 + 0.5 + 0.7 + 0.9) / 8
    pool = (0.6 + 0.7 + 0.8 + 0.8) / 4
    assert table["variance"].tolist() == pytest.approx(
        [
            *((0.005 + 0.02) / 2, 0.02 / 2, baseline * (1 - baseline) / 50),
            *(0.005 / 2, pool * (1 - pool) / 50),
        ]
    )


def test_a_run_without_a_score_has_no_part_in_the_variance():
    plan, scores = drawn()
    table = streams(plan, scores[scores["fingerprint"] != "baseline-1-init"], images=50)
    row = table[(table["arm"] == "baseline") & (table["stream"] == "init")].iloc[0]
    assert (row["n_groups"], row["n"], row["variance"]) == (1, 2, pytest.approx(0.005))


def test_a_plan_without_variance_has_an_empty_table():
    plan, scores = drawn()
    compared = plan.model_copy(
        update={"studies": plan.studies_of("comparison"), "runs": plan.runs_of("comparison")}
    )
    table = streams(compared, scores, images=50)
    assert (len(table), tuple(table.columns)) == (0, ("study", *COLUMNS))


@pytest.mark.parametrize(
    ("seed_error", "image_error", "expected"),
    [
        (0.004, 0.001, "seeds"),
        (0.001, 0.004, "images"),
        (0.002, 0.001, "both"),
        (0.001, 0.002, "both"),
        (0.001, 0.001, "both"),
        (0.001, 0.0, "seeds"),
        (0.0, 0.0, "both"),
        (nan, 0.001, ""),
        (0.001, nan, ""),
    ],
)
def test_advice(seed_error, image_error, expected):
    assert advice(seed_error, image_error) == expected


def test_what_is_advised_against_would_change_little():
    """Beyond a ratio of two, any number of the other narrows the whole by at most 11 %."""
    assert 1 - 2 / sqrt(1 + 2**2) < 0.11


def test_the_factor_makes_an_interval_as_wide_as_other_pools_need():
    """2,000 pools of 40 examples; a run trains on 20 and scores their mean, 12 runs of a pool."""
    generator = np.random.default_rng(4)
    pool = generator.normal(0, 1, (2000, 40))
    drawn = np.stack([generator.permuted(pool, axis=1)[:, :20].mean(axis=1) for _ in range(12)])
    runs = drawn + generator.normal(0, 0.1, drawn.shape)
    error = np.sqrt((runs.var(axis=0, ddof=1) / 12).mean())
    split = np.sqrt(drawn.var(axis=0, ddof=1).mean())
    true = runs.mean(axis=0).std()
    assert true > 2 * error
    assert pool_factor(split, 12, error, 0.5) == pytest.approx(true / error, rel=0.05)
    assert np.isnan(pool_factor(split, 12, error, 1.0))


def test_the_factor_is_of_the_difference_under_the_split_alone():
    arms = tuple(PlannedArm(name=name) for name in ("baseline", "arm"))
    study = PlannedStudy(name="spread", kind="variance", question="?", arms=arms)
    runs = [
        PlannedRun(
            **{"study": "spread", "arm": arm, "seed": group, "stream": stream, "draw": draw},
            fingerprint=f"{arm}.{stream}.{group}.{draw}",
        )
        for arm in ("baseline", "arm")
        for stream in ("split", "init")
        for group in (0, 1)
        for draw in (0, 1)
    ]
    plan = Plan(
        **{"protocol": "tiny", "phase": "confirmation", "margin": 0.01, "data_digest": "d"},
        settings={"data": {"train_size": 10}},
        studies=(study,),
        runs=tuple(runs),
    )
    places = {"view": "deterministic", "members": 1, "split": "test", "metric": "accuracy"}
    scores = pd.DataFrame(
        [
            {"fingerprint": run.fingerprint, **places}
            | {"value": 0.9 + 0.01 * run.draw * (run.arm == "arm") + 0.1 * (run.stream == "init")}
            for run in runs
        ]
    )
    errors = {"metric": "test_accuracy", "repeats": False, "n": 12, "seed_error": 0.01}
    (row,) = pools(plan, scores, pd.DataFrame([errors]), 100).to_dict("records")
    assert row["arm"] == "arm"
    assert row["split_sd"] == pytest.approx(0.01 / sqrt(2))
    assert row["factor"] == pytest.approx(sqrt(1 + 0.5 / 9))
    assert row["most"] == pytest.approx(sqrt(1 + 12 / 9))
    unmeasured = plan.model_copy(update={"runs": (), "studies": ()})
    (row,) = pools(unmeasured, scores, pd.DataFrame([errors]), 100).to_dict("records")
    assert (row["study"], row["arm"], row["most"]) == ("", "", pytest.approx(sqrt(1 + 12 / 9)))
    assert np.isnan(row["factor"])
    (row,) = pools(unmeasured, scores, pd.DataFrame([errors]), 10).to_dict("records")
    assert np.isnan(row["most"])  # every run trains on the whole pool


def test_the_most_is_reached_where_the_split_makes_all_of_the_spread():
    error, n, share = 0.01, 12, 0.3
    assert pool_factor(error * sqrt(n), n, error, share) == pytest.approx(sqrt(1 + n * 0.3 / 0.7))


def test_the_coverage_in_the_docs_is_that_of_its_factors():
    """Of a t interval that is too narrow by a factor, with the degrees of freedom of its seeds."""
    words = " ".join((ROOT / "docs" / "statistics.md").read_text().split())
    computed = re.search(r"by the t distribution, (\d+) seeds: (.*?)\. ", words)
    freedom = int(computed[1]) - 1
    critical = stats.t.ppf(0.975, freedom)
    pairs = re.findall(r"by (?:a factor of )?([\d.]+) covers (\d+) %", computed[2])
    assert len(pairs) == 4
    for factor, covered in pairs:
        coverage = 2 * stats.t.cdf(critical / float(factor), freedom) - 1
        assert round(100 * coverage) == int(covered), factor
