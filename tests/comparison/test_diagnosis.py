"""Bias or variance, correlations, and what a validation set resolves."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from report_data import planned
from scipy import stats

from pipeline.comparison.correlations import ALL, WITHIN, gap_correlations
from pipeline.comparison.diagnosis import diagnosis, problem
from pipeline.comparison.resolution import chance_difference, resolution
from pipeline.data.splits import train_validation


@pytest.mark.parametrize(
    ("bias", "gap", "named"),
    [
        (0.0, 0.1, "variance"),
        (0.05, 0.1, "variance"),
        (0.06, 0.1, "both"),
        (0.1, 0.05, "bias"),
        (0.1, -0.02, "bias"),
        (0.01, 0.01, "neither"),
        (-0.1, 0.02, "variance"),
    ],
)
def test_the_problem_is_the_part_that_outweighs_the_other(
    bias: float, gap: float, named: str
) -> None:
    assert problem(bias, gap, margin=0.01) == named


def outcomes(**train: list[float]) -> pd.DataFrame:
    """Return outcomes of arms of the study `one` from their train accuracies."""
    rows = [
        ("one", arm, seed, f"{arm}{seed}", 0.5 + value / 10, value, 0.1 + seed / 100)
        for arm, values in train.items()
        for seed, value in enumerate(values)
    ]
    names = ["study", "arm", "seed", "fingerprint", "test_accuracy", "train_accuracy", "gap"]
    return pd.DataFrame(rows, columns=names)


def test_bias_is_what_the_training_error_has_over_the_best_one() -> None:
    plan = planned("confirmation", {"one": {"a": "deterministic"}})
    plan = plan.model_copy(update={"optimal_error": 0.05})
    table = diagnosis(plan, outcomes(baseline=[0.8, 0.9], a=[0.95, 0.99]))
    measures = table.set_index(["arm", "measure"])["mean"].to_dict()
    assert measures == pytest.approx(
        {
            ("baseline", "training_error"): 0.15,
            ("baseline", "avoidable_bias"): 0.1,
            ("baseline", "gap"): 0.105,
            ("a", "train_accuracy"): 0.12,
        }
    )
    assert list(table["problem"]) == ["both"] * 3 + [""]


def test_changes_of_the_fit_are_paired_by_seed() -> None:
    plan = planned("confirmation", {"one": {"a": "deterministic"}})
    accuracies = outcomes(baseline=[0.8, 0.9, 0.7], a=[0.85, 0.95])
    row = diagnosis(plan, accuracies).set_index("arm").loc["a"]
    assert (row["n"], row["mean"]) == (2, pytest.approx(0.05))


def test_an_arm_that_fits_better_has_an_interval_without_zero() -> None:
    plan = planned("confirmation", {"one": {"a": "deterministic", "b": "deterministic"}})
    accuracies = outcomes(baseline=[0.8, 0.9, 0.7], a=[0.85, 0.96, 0.74], b=[0.9, 0.8, 0.75])
    table = diagnosis(plan, accuracies).set_index("arm")
    assert table.loc["a", "excludes_zero"]
    assert not table.loc["b", "excludes_zero"]


def test_without_a_baseline_there_is_no_problem() -> None:
    plan = planned("confirmation", {"one": {"a": "deterministic"}})
    table = diagnosis(plan, outcomes(a=[0.9, 0.8]))
    assert set(table["problem"]) == {""}
    assert list(table["n"]) == [0, 0, 0, 0]


def test_one_arm_that_collapsed_decides_nothing_within_arms() -> None:
    accuracies = outcomes(baseline=[0.9, 0.8, 0.7], a=[0.7, 0.6, 0.5])
    accuracies.loc[accuracies["arm"] == "a", ["gap", "test_accuracy"]] = [[0.0, 0.1]] * 3
    table = gap_correlations(accuracies).set_index("scope")
    values = accuracies[["gap", "test_accuracy"]]
    centred = values - values.groupby(accuracies["arm"]).transform("mean")
    for scope, numbers in ((ALL, values), (WITHIN, centred.round(9))):
        expected = stats.spearmanr(numbers).statistic
        assert table.loc[scope, "spearman"] == pytest.approx(expected)
    assert table.loc[WITHIN, "spearman"] < -0.8
    assert list(table["n"]) == [6, 6]


def test_a_run_that_arms_share_counts_once() -> None:
    accuracies = outcomes(baseline=[0.9, 0.8, 0.7], a=[0.5, 0.7, 0.6])
    again = accuracies[accuracies["arm"] == "baseline"].assign(study="two")
    table = gap_correlations(pd.concat([accuracies, again], ignore_index=True))
    pd.testing.assert_frame_equal(table, gap_correlations(accuracies))
    assert list(table["n"]) == [6, 6]


@pytest.mark.parametrize("arms", [{"a": [0.9, 0.8]}, {"a": [0.9, 0.9], "b": [0.9, 0.9]}])
def test_a_correlation_needs_two_arms_that_vary(arms: dict[str, list[float]]) -> None:
    assert gap_correlations(outcomes(**arms))["spearman"].isna().all()


@pytest.mark.parametrize("share", [0.02, 0.1])
@pytest.mark.parametrize("images", [100, 1000])
def test_the_difference_that_chance_makes_is_that_of_simulated_networks(
    images: int, share: float
) -> None:
    either = round(share * images)
    # of the first network, on the images on which exactly one is right
    right = np.random.default_rng(0).binomial(either, 0.5, 100_000)
    quantile = np.quantile(abs(2 * right - either) / images, 0.95)
    assert quantile == pytest.approx(chance_difference(share, images), abs=0.2 / images + 0.001)


@pytest.mark.parametrize("given", [0, 1000])
def test_what_the_mean_over_seeds_resolves_is_that_of_simulated_seeds(given: int) -> None:
    overlap = 1 if given else 1000 / 1250
    row = resolution(1000, 2, overlap).iloc[0]
    labels, generator = np.arange(1250) % 10, np.random.default_rng(0)
    sets = [train_validation(labels, 250, seed, given)[1] for seed in range(40)]
    shared = np.mean([len(np.intersect1d(*pair)) / 1000 for pair in pairwise(sets)])
    assert shared == pytest.approx(row["overlap"], abs=0.01)
    sums = []
    for one, other in list(pairwise(sets)) * 100:
        # which of two networks is right on the images: 1 the first, -1 the second
        same, another = generator.choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=(2, 1250))
        alike = same[one].sum() + same[other].sum()
        apart = same[one].sum() + another[other].sum()
        sums.append((same[one].sum(), alike, apart))
    single, alike, apart = np.std(sums, axis=0)
    expected = [row["least"], row["most"]]
    assert [2 * single / alike, 2 * single / apart] == pytest.approx(expected, abs=0.03)


def test_one_seed_divides_nothing() -> None:
    assert resolution(100, 1, 0.5)[["least", "most"]].isna().all(axis=None)
