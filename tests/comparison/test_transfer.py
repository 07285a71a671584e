"""Starts from pretrained weights: rows of arms, the crossover, and gains by size."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from transferred import PRETRAINED, SEEDS, SIZES, Planted, planted

from pipeline.comparison import transfer as module
from pipeline.comparison.significance import holm
from pipeline.comparison.transfer import (
    COLUMNS,
    CROSSOVERS,
    GAINS,
    LEADS,
    cells_of,
    crossing,
    crossover,
    crossovers,
    gains,
    leads,
    starts_of,
)
from pipeline.records.tables import read_table, write_table


@pytest.fixture(scope="module")
def made():
    return planted()


@pytest.fixture(scope="module")
def tables(made):
    return made.tables()


def test_an_arm_has_its_source_what_is_trained_and_the_verdict_of_its_contrast(tables, tmp_path):
    write_table(tmp_path / "transfer.csv", tables["transfer"])
    table = read_table(tmp_path / "transfer.csv")
    assert tuple(table) == COLUMNS
    rows = table.set_index("arm")
    named = rows[["pretraining", "train", "per_class", "train_size", "learning_rate", "plain"]]
    assert named.loc["baseline"].tolist() == ["", "scratch", 10, 50, 0.05, True]
    assert named.loc["images_100"].tolist() == ["", "scratch", 100, 500, 0.05, True]
    assert named.loc["head_similar_3"].tolist() == ["similar", "head", 3, 15, 0.1, True]
    assert named.loc["all_different_100"].tolist() == ["different", "all", 100, 500, 0.1, True]
    assert rows.loc["head_then_all_similar_10", "train"] == "head_then_all"
    assert rows["k"].dropna().to_dict() == {"last_k_similar_10": 2}
    assert rows.loc["head_similar_3", "reference"] == "images_3"
    judged = tables["contrasts"].set_index("arm")
    for name in ("difference", "low", "high", "p_holm"):
        assert np.allclose(rows.loc[judged.index, name], judged[name], rtol=1e-9, equal_nan=True)
    assert rows.loc[judged.index, "verdict"].tolist() == judged["verdict"].tolist()
    assert rows.loc["baseline", "verdict"] == ""
    means = tables["arms"].set_index("arm")
    assert np.allclose(rows["accuracy"], means.loc[rows.index, "mean"], rtol=1e-9)
    assert set(rows["n"]) == {len(SEEDS)}


def test_costs_are_those_of_all_phases_and_with_pretraining_of_the_whole_chain(tables):
    rows = tables["transfer"].set_index("arm")[["training_ratio", "total_ratio"]]
    assert rows.loc["baseline"].tolist() == [1, 1]
    assert rows.loc["images_100"].tolist() == [10, 10]
    whole = 1 + PRETRAINED["similar"] / 30
    assert rows.loc["head_similar_3"].tolist() == pytest.approx([1, whole])
    # its first phase is part of its own cost, and not counted again
    whole = 1 + PRETRAINED["similar"] / 100
    assert rows.loc["head_then_all_similar_10"].tolist() == pytest.approx([1, whole])


def test_without_starts_there_are_no_rows():
    plain = Planted({("", "all", size): np.full(len(SEEDS), 0.9) for size in SIZES})
    starts = starts_of(plain.plan, plain.read)
    assert starts == []
    assert tuple(crossovers(cells_of(starts), plain.outcomes)) == CROSSOVERS
    table = gains(cells_of(starts), plain.outcomes, None)
    assert tuple(table) == GAINS
    assert table.empty
    assert tuple(leads(cells_of(starts), plain.outcomes, None)) == LEADS


def test_an_arm_that_changes_more_is_no_plain_one(made):
    def read(fingerprint):
        config = made.read(fingerprint)
        start = config.start | {"decay": 0.7} if "all_similar_3-" in fingerprint else config.start
        model = {"name": "mlp"} | ({"hidden": 9} if "head_similar_3-" in fingerprint else {})
        return config.model_copy(update={"start": start, "model": model})

    cells = cells_of(starts_of(made.plan, read))
    assert ("similar", "all", 3) not in cells
    assert ("similar", "head", 3) not in cells
    assert ("similar", "all", 10) in cells
    assert ("similar", "head_then_all", 10) not in cells


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([-1, 1, 2, 3], math.sqrt(30)),  # halfway between 3 and 10
        ([-1, -1, -1, 3], 30 * (100 / 30) ** 0.25),
        ([1, -2, 2, 3], math.sqrt(300)),  # the last time counts
        ([-1, 0, 1, 1], 10),
        ([1, 1, 1, 1], -math.inf),
        ([-1, 1, 1, -1], math.inf),
        ([0, 0, 0, 0], math.inf),
    ],
)
def test_a_crossing_is_interpolated_in_the_logarithm_of_the_size(differences, expected):
    both = np.array([differences, [1, 1, 1, 1]], dtype=float).T
    assert crossing(both, SIZES).tolist() == pytest.approx([expected, -math.inf])


def test_the_crossover_of_planted_numbers(made, tables):
    table = tables["crossovers"].set_index("pretraining")
    assert table["smallest"].to_dict() == {"similar": 3, "different": 10}
    similar = table.loc["similar"]
    assert similar[["largest", "n", "without"]].tolist() == [100, len(SEEDS), 0]
    cells = made.cells
    ten, thirty = (
        np.mean(cells["similar", "all", size] - cells["similar", "head", size]) for size in (10, 30)
    )
    assert ten < 0 < thirty
    place = math.log(10) - ten / (thirty - ten) * math.log(3)
    assert similar["size"] == pytest.approx(math.exp(place))
    assert 10 < similar["low"] < similar["size"] < similar["high"] < 30
    assert similar["low"] < 17 < similar["high"]
    different = table.loc["different"]  # ahead at both sizes
    assert different[["size", "low", "high", "without"]].tolist() == [-math.inf] * 3 + [1]


def test_one_seed_has_no_crossover():
    assert np.isnan(crossover(np.array([[-1.0], [1.0]]), (3, 10))).all()


def test_an_interval_reaches_beyond_the_sizes_where_resamples_have_no_crossing():
    lead = np.array([[-1.0] * 8, [*[1.0] * 7, -9.0]])  # one seed alone decides
    size, low, high, without = crossover(lead, (3, 10))
    assert size == math.inf
    assert (3 < low < 10, high) == (True, math.inf)
    share = 1 - (7 / 8) ** 8  # of resamples with that seed; seven others to one are a tie
    assert without == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize(("seeds", "least", "most"), [(8, 0.81, 0.94), (24, 0.88, 0.98)])
def test_the_interval_covers_the_crossing(seeds, least, most, monkeypatch):
    monkeypatch.setattr(module, "RESAMPLES", 200)
    draws = np.random.default_rng(1)
    truth = 0.03 * np.log(np.array(SIZES) / 17)[:, None]
    covered = []
    for _ in range(300):
        _, low, high, _ = crossover(truth + draws.normal(0, 0.03, (4, seeds)), SIZES)
        covered.append(low <= 17 <= high)
    assert least < np.mean(covered) < most


def test_gains_are_compared_between_sizes_and_between_sources(made, tables):
    table = tables["transfer_gains"]
    assert tuple(table) == GAINS
    keys = table[["train", "pretraining", "other", "size", "other_size"]]
    assert [tuple(row) for row in keys.to_numpy().tolist()] == [
        ("head", "similar", "", 3, 100),
        ("all", "similar", "", 3, 100),
        ("head", "different", "", 10, 100),
        ("all", "different", "", 10, 100),
        ("head", "similar", "different", 10, 100),
        ("all", "similar", "different", 10, 100),
    ]
    cells = made.cells
    gain = {size: cells["similar", "head", size] - cells["", "all", size] for size in SIZES}
    row = table.iloc[0]
    assert row["effect"] == pytest.approx(gain[3].mean())
    assert row["other_effect"] == pytest.approx(gain[100].mean())
    test = stats.ttest_1samp(gain[3] - gain[100], 0)
    assert row["p"] == pytest.approx(test.pvalue)
    assert (row["low"], row["high"]) == pytest.approx(test.confidence_interval())
    lead = {
        size: cells["similar", "head", size] - cells["different", "head", size]
        for size in (10, 100)
    }
    assert table.iloc[4]["difference"] == pytest.approx((lead[10] - lead[100]).mean())
    assert np.allclose(table["p_holm"], holm(table["p"].to_numpy(float)), equal_nan=True)


def test_fine_tuning_is_compared_with_the_probe_at_every_size_and_between_sizes(made, tables):
    table = tables["transfer_leads"]
    assert tuple(table) == LEADS
    keys = table[["pretraining", "size", "other_size"]].fillna(0).to_numpy().tolist()
    assert keys == [
        *[["similar", size, 0] for size in SIZES],
        ["different", 10, 0],
        ["different", 100, 0],
        ["similar", 100, 10],  # the sizes that both have
        ["different", 100, 10],
    ]
    lead = {
        (source, size): made.cells[source, "all", size] - made.cells[source, "head", size]
        for source, size, _ in keys
    }
    expected = [lead[source, size] for source, size, _ in keys[:6]]
    expected += [lead[source, 100] - lead[source, 10] for source, _, _ in keys[6:]]
    for row, values in zip(table.to_dict("records"), expected, strict=True):
        assert row["difference"] == pytest.approx(values.mean(), abs=1e-12)
        if values.std() < 1e-9:  # the other source has the same lead at both sizes
            assert math.isnan(row["p"])
            continue
        test = stats.ttest_1samp(values, 0)
        assert row["p"] == pytest.approx(test.pvalue)
        assert (row["low"], row["high"]) == pytest.approx(test.confidence_interval())
    single = table.iloc[0]
    for column, mode in (("effect", "all"), ("other_effect", "head")):
        assert single[column] == pytest.approx(made.cells["similar", mode, 3].mean())
    both = table.iloc[6]
    assert both["effect"] == pytest.approx(lead["similar", 100].mean())
    assert both["other_effect"] == pytest.approx(lead["similar", 10].mean())
    assert np.allclose(table["p_holm"], holm(table["p"].to_numpy(float)), equal_nan=True)


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        ({3, 10}, {"similar": (30, 100), "different": (10, 100)}),  # one size in common
        ({3, 10, 30}, {"different": (10, 100)}),
        ({30}, {"similar": (10, 100), "different": (10, 100)}),
    ],
)
def test_sizes_are_those_in_common_where_there_are_two(made, left, expected):
    cells = {
        cell: values
        for cell, values in made.cells.items()
        if not (cell[0] == "similar" and cell[2] in left)
    }
    fewer = Planted(cells)
    table = leads(cells_of(starts_of(fewer.plan, fewer.read)), fewer.outcomes, None).dropna(
        subset="other_size"
    )
    ends = {
        row["pretraining"]: (row["other_size"], row["size"]) for row in table.to_dict("records")
    }
    assert ends == expected


def test_a_seed_without_one_of_the_runs_counts_in_no_row_with_it(made):
    lost = next(run for run in made.plan.runs if run.arm == "head_similar_10")
    outcomes = replace(made.outcomes, states=made.outcomes.states | {lost.fingerprint: "failed"})
    table = leads(cells_of(starts_of(made.plan, made.read)), outcomes, None)
    missing = (table["pretraining"] == "similar") & (
        (table["size"] == 10) | (table["other_size"] == 10)
    )
    assert missing.sum() == 2
    assert set(table.loc[missing, "n"]) == {len(SEEDS) - 1}
    assert set(table.loc[~missing, "n"]) == {len(SEEDS)}
