"""Ensembles: identities for any members, brute force for few, the optimism of a selection."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.evaluation.averaging import arithmetic_mean, geometric_mean, softmax
from pipeline.evaluation.ensembles import (
    concatenated,
    disagreement,
    greedy,
    last_curve,
    size_curve,
    weighted,
)
from pipeline.evaluation.metrics import accuracy, brier, nll
from pipeline.runtime.errors import Refusal

PROPER = (nll, brier)  # both convex in the probabilities
MEMBERS, EXAMPLES, CLASSES = 5, 12, 4


def random_logits(seed=0, scale=2.0, members=MEMBERS):
    generator = np.random.default_rng(seed)
    return generator.normal(scale=scale, size=(members, EXAMPLES, CLASSES)), generator.integers(
        0, CLASSES, EXAMPLES
    )


def random_library(seed, size=6, scale=1.5):
    logits, labels = random_logits(seed, scale, size)
    return softmax(logits), labels


def error(probabilities, labels):
    return 1 - accuracy(probabilities, labels)


# Members and their mean


def assert_jensen(logits, labels, score):
    mean, members = arithmetic_mean(logits), softmax(logits)
    for row in range(len(labels)):
        one, label = slice(row, row + 1), labels[row : row + 1]
        average = np.mean([score(member[one], label) for member in members])
        assert score(mean[one], label) <= average * (1 + 1e-12) + 1e-12


@pytest.mark.parametrize("score", PROPER)
@given(
    logits=arrays(float, (3, 2, 4), elements=st.floats(-300, 300)),
    labels=arrays(int, 2, elements=st.integers(0, 3)),
)
def test_jensen_no_example_of_the_mean_is_worse_than_its_members_on_average(score, logits, labels):
    assert_jensen(logits, labels, score)


@pytest.mark.parametrize("score", PROPER)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 50.0, 1e4])
def test_jensen_up_to_logits_that_underflow(score, scale):
    assert_jensen(*random_logits(seed=5, scale=scale), score)


def test_accuracy_has_no_such_bound():
    logits = np.log(np.array([[[0.51, 0.49]], [[0.51, 0.49]], [[0.01, 0.99]]]))
    curve = size_curve(logits, np.array([0]), accuracy)
    assert curve[0] == pytest.approx(2 / 3)
    assert curve[2] == 0


@pytest.mark.parametrize("scale", [0.1, 2.0, 100.0])
def test_brier_of_the_mean_is_the_mean_brier_less_the_spread_of_the_members(scale):
    logits, labels = random_logits(seed=6, scale=scale)
    members, mean = softmax(logits), arithmetic_mean(logits)
    spread = np.square(members - mean).sum(axis=2).mean()
    expected = np.mean([brier(member, labels) for member in members]) - spread
    assert brier(mean, labels) == pytest.approx(expected, abs=1e-13)


def test_the_mean_of_probabilities_is_not_that_of_logits():
    logits = np.log(np.array([[[0.9, 0.1]], [[0.5, 0.5]]]))
    assert arithmetic_mean(logits) == pytest.approx(np.array([[0.7, 0.3]]))
    assert geometric_mean(logits) == pytest.approx(
        np.array([[0.75, 0.25]])
    )  # roots of .45 and .05, 3 : 1
    assert size_curve(logits, np.array([1]), nll)[1] == pytest.approx(-np.log(0.3))
    assert last_curve(logits, np.array([1]), nll)[1] == pytest.approx(-np.log(0.3))


# Putting members together


def test_parts_are_joined_along_the_member_axis_in_order():
    logits, _ = random_logits()
    joined = concatenated([logits[:1], logits[1:3], logits[3:]], ["ab"] * 3)
    assert joined.tolist() == logits.tolist()


def test_an_ensemble_of_groups_is_the_mean_over_all_members_not_over_groups():
    logits, _ = random_logits()
    joined = arithmetic_mean(concatenated([logits[:1], logits[1:]], ["ab", "ab"]))
    assert joined == pytest.approx(softmax(logits).mean(axis=0), rel=1e-12)


@pytest.mark.parametrize(
    ("shape", "digest", "description"),
    [
        ((1, 12, 4), "cd", "12 examples (cd) in 4 classes"),
        ((1, 11, 4), "ab", "11 examples (ab) in 4 classes"),
        ((1, 12, 5), "ab", "12 examples (ab) in 5 classes"),
    ],
)
def test_members_of_other_examples_raise_one_line(shape, digest, description):
    parts = [np.zeros((3, 12, 4)), np.zeros(shape)]
    with pytest.raises(Refusal) as refused:
        concatenated(parts, ["ab", digest])
    assert refused.value.lines == (
        f"ensemble: part 2: {description}; expected 12 examples (ab) in 4 classes",
    )


def test_an_empty_list_of_parts_raises():
    with pytest.raises(Refusal, match="^ensemble: no parts; expected >= 1"):
        concatenated([], [])


def test_every_part_needs_its_digest():
    with pytest.raises(ValueError, match="zip"):
        concatenated([np.zeros((1, 2, 2)), np.zeros((1, 2, 2))], ["ab"])


# Curves


@pytest.mark.parametrize("score", [*PROPER, accuracy])
def test_the_size_curve_is_the_mean_over_all_subsets(score):
    logits, labels = random_logits(seed=1)
    curve = size_curve(logits, labels, score)
    expected = [
        np.mean(
            [
                score(arithmetic_mean(logits[list(chosen)]), labels)
                for chosen in combinations(range(5), size)
            ]
        )
        for size in range(1, 6)
    ]
    assert curve == pytest.approx(np.array(expected), rel=1e-12)


@pytest.mark.parametrize("score", PROPER)
def test_the_size_curve_of_a_convex_score_never_rises(score):
    logits, labels = random_logits(seed=2, scale=4)
    assert (np.diff(size_curve(logits, labels, score)) < 0).all()


def test_copies_equal_one():
    logits, labels = random_logits(seed=3)
    copies = np.repeat(logits[:1], 4, axis=0)
    single = nll(softmax(logits[0]), labels)
    assert size_curve(copies, labels, nll) == pytest.approx(np.full(4, single), rel=1e-12)
    assert last_curve(copies, labels, nll) == pytest.approx(np.full(4, single), rel=1e-12)
    assert disagreement(copies) == 0


def test_the_order_of_members_matters_to_the_last_curve_alone():
    logits, labels = random_logits(seed=4)
    turned = logits[[3, 0, 4, 2, 1]]
    assert size_curve(turned, labels, nll) == pytest.approx(
        size_curve(logits, labels, nll), rel=1e-12
    )
    assert disagreement(turned) == pytest.approx(disagreement(logits), rel=1e-12)
    assert last_curve(turned, labels, nll)[-1] == pytest.approx(
        last_curve(logits, labels, nll)[-1], rel=1e-12
    )
    assert (
        np.abs(last_curve(turned, labels, nll) - last_curve(logits, labels, nll))[:-1].min() > 1e-3
    )


def test_the_last_curve_starts_at_the_last_member():
    logits = np.log(np.array([[[0.1, 0.9]], [[0.5, 0.5]], [[0.9, 0.1]]]))
    assert last_curve(logits, np.array([0]), nll) == pytest.approx(-np.log([0.9, 0.7, 0.5]))


def test_many_subsets_are_sampled_once_each_and_the_same_every_time():
    generator = np.random.default_rng(0)
    logits, labels, seen = generator.normal(size=(12, 3, 3)), np.array([0, 1, 2]), []

    def spy(probabilities, _):
        seen.append(tuple(probabilities.ravel()))
        return nll(probabilities, labels)

    curve = size_curve(logits, labels, spy)
    assert len(seen) == 12 + 66 + 200 * 7 + 66 + 12 + 1  # C(12, m) where that is 200 or less
    assert len(set(seen)) == len(seen)
    assert curve.tolist() == size_curve(logits, labels, nll).tolist()
    whole = [
        nll(arithmetic_mean(logits[list(chosen)]), labels) for chosen in combinations(range(12), 6)
    ]
    assert curve[5] == pytest.approx(np.mean(whole), abs=4 * np.std(whole) / np.sqrt(200))


def test_a_group_with_more_subsets_than_memory_has_a_curve():
    logits, labels = np.random.default_rng(1).normal(size=(60, 2, 2)), np.array([0, 1])
    assert np.isfinite(size_curve(logits, labels, nll)).all()


def test_disagreement_by_hand():
    sure = np.eye(3)
    logits = np.array(
        [sure[[0, 0, 0, 0]], sure[[0, 0, 1, 2]], sure[[0, 1, 1, 1]]]
    )  # pairs differ on 2, 3 and 2 of 4
    assert disagreement(logits) == pytest.approx((2 + 3 + 2) / 12)


def test_disagreement_needs_two_members_whose_class_is_defined():
    logits, _ = random_logits()
    assert np.isnan(disagreement(logits[:1]))
    logits[2, 3, 1] = np.nan
    assert np.isnan(disagreement(logits))
    assert disagreement(logits[[0, 1]]) > 0


def test_an_undefined_member_spoils_the_ensembles_it_is_in_and_no_other():
    logits, labels = random_logits()
    logits[0] = np.nan
    assert np.isnan(size_curve(logits, labels, nll)).all()
    assert np.isnan(last_curve(logits, labels, nll)).tolist() == [False, False, False, False, True]


# Greedy selection


def naive_greedy(library, labels, rounds, start, score):
    """Return the selection by its definition: every prefix is scored again, without a sum."""
    singles = [score(single, labels) for single in library]
    picks = sorted(range(len(library)), key=lambda index: singles[index])[:start]
    for _ in range(rounds):
        trials = [
            score(library[[*picks, index]].mean(axis=0), labels) for index in range(len(library))
        ]
        picks.append(int(np.argmin(trials)))
    prefixes = [
        score(library[picks[:length]].mean(axis=0), labels) for length in range(1, len(picks) + 1)
    ]
    return np.bincount(picks[: int(np.argmin(prefixes)) + 1], minlength=len(library))


@pytest.mark.parametrize("score", PROPER)
@pytest.mark.parametrize(("rounds", "start"), [(0, 1), (0, 4), (1, 1), (6, 1), (6, 3)])
def test_greedy_is_its_definition(score, rounds, start):
    for seed in range(8):
        library, labels = random_library(seed)
        expected = naive_greedy(library, labels, rounds, start, score)
        assert greedy(library, labels, rounds, start, score).tolist() == expected.tolist()


def test_one_round_after_the_best_single_equals_brute_force_over_the_second_pick():
    """The first pick is fixed: this is the best of {best} and all {best, other}, not of all."""
    for seed in range(20):
        library, labels = random_library(seed, size=4)
        best = int(np.argmin([nll(single, labels) for single in library]))
        tried = [
            nll(library[best], labels),
            *(nll((library[best] + other) / 2, labels) for other in library),
        ]
        counts = greedy(library, labels, rounds=1, start=1)
        assert counts[best] >= 1
        assert nll(weighted(library, counts), labels) == pytest.approx(min(tried), rel=1e-12)


def test_greedy_weighs_by_picking_again():
    """Seven labels of ten are the first class: twice 0.9 and once 0.3 make the best, 0.7."""
    library = np.array([np.tile([0.9, 0.1], (10, 1)), np.tile([0.3, 0.7], (10, 1))])
    labels = np.array([0] * 7 + [1] * 3)
    assert [greedy(library, labels, rounds, 1).tolist() for rounds in range(4)] == [
        [1, 0],
        [1, 1],
        [2, 1],
        [2, 1],
    ]
    assert weighted(library, np.array([2, 1])) == pytest.approx(np.tile([0.7, 0.3], (10, 1)))


def test_a_sorted_start_that_hurts_is_cut_to_its_best_prefix():
    library = np.array([[[0.2, 0.8]], [[0.9, 0.1]], [[0.5, 0.5]]])
    assert greedy(library, np.array([0]), rounds=0, start=3).tolist() == [0, 1, 0]
    assert greedy(library, np.array([0]), rounds=3, start=3).tolist() == [0, 1, 0]


def test_ties_go_to_the_first():
    library = np.array([[[0.4, 0.6]], [[0.8, 0.2]], [[0.8, 0.2]]])
    assert greedy(library, np.array([0]), rounds=2, start=1).tolist() == [0, 1, 0]


@pytest.mark.parametrize("score", [*PROPER, error])
@pytest.mark.parametrize("start", [1, 3, 6])
def test_greedy_is_never_worse_than_the_best_single_where_it_selected(score, start):
    for seed in range(20):
        library, labels = random_library(seed)
        best = min(score(single, labels) for single in library)
        assert score(weighted(library, greedy(library, labels, 5, start, score)), labels) <= best


def test_the_score_decides_what_is_best():
    library = np.array(
        [[[0.5, 0.3, 0.2], [0.4, 0.35, 0.25]], [[0.9, 0.05, 0.05], [0.4, 0.41, 0.19]]]
    )
    labels = np.array([0, 0])
    assert greedy(library, labels, 0, 1, error).tolist() == [1, 0]
    assert greedy(library, labels, 0, 1).tolist() == [0, 1]


@pytest.mark.parametrize("score", PROPER)
def test_an_undefined_prediction_is_never_picked(score):
    library, labels = random_library(0)
    broken = np.insert(library, [0, 3], np.nan, axis=0)
    for start in (2, 6, 8):  # a start of all must leave the rounds after it able to gain
        expected = np.insert(greedy(library, labels, 30, start, score), [0, 3], 0)
        assert expected.sum() > 6
        assert greedy(broken, labels, 30, start, score).tolist() == expected.tolist()
        assert np.isfinite(weighted(broken, expected)).all()


def test_of_undefined_predictions_alone_the_first_is_returned():
    library, labels = np.full((3, 2, 2), np.nan), np.array([0, 1])
    assert [greedy(library, labels, rounds, 2).tolist() for rounds in (0, 2)] == [[1, 0, 0]] * 2
    assert np.isnan(weighted(library, np.array([1, 0, 0]))).all()


def test_a_start_beyond_the_library_is_the_whole_library():
    library, labels = random_library(2)
    assert greedy(library, labels, 3, 99).tolist() == greedy(library, labels, 3, 6).tolist()


@pytest.mark.parametrize(
    ("size", "rounds", "start", "line"),
    [
        (0, 1, 1, "greedy selection: library: invalid value 0; expected >= 1"),
        (2, -1, 1, "greedy selection: rounds: invalid value -1; expected >= 0"),
        (2, 1, 0, "greedy selection: start: invalid value 0; expected >= 1"),
    ],
)
def test_what_greedy_refuses(size, rounds, start, line):
    with pytest.raises(Refusal) as refused:
        greedy(np.full((size, 3, 2), 0.5), np.zeros(3, dtype=int), rounds, start)
    assert refused.value.lines == (line,)


def best_single(library, labels, score):
    return np.eye(len(library), dtype=int)[
        int(np.argmin([score(single, labels) for single in library]))
    ]


def all_alike(library, labels, score):
    return np.ones(len(library), dtype=int)


def gains_over_random_predictors(score, rival, draws=300):
    """Return gains of greedy selection over a rival: (draws,) on its half and on the other."""
    seen, unseen = [], []
    for seed in range(draws):
        generator = np.random.default_rng(seed)
        library, labels = softmax(generator.normal(size=(8, 120, 3))), generator.integers(0, 3, 120)
        counts = greedy(library[:, :60], labels[:60], 6, 1, score)
        ours, theirs = (
            weighted(library, counts),
            weighted(library, rival(library[:, :60], labels[:60], score)),
        )
        seen.append(score(theirs[:60], labels[:60]) - score(ours[:60], labels[:60]))
        unseen.append(score(theirs[60:], labels[60:]) - score(ours[60:], labels[60:]))
    return np.array(seen), np.array(unseen)


def test_greedy_over_random_predictors_gains_accuracy_where_it_selected_and_nowhere_else():
    """Of error, since by NLL the mean of unrelated sure predictors is truly better than one."""
    seen, unseen = gains_over_random_predictors(error, best_single)
    noise = unseen.std(ddof=1) / np.sqrt(len(unseen))
    assert seen.min() >= 0
    assert seen.mean() > 10 * noise
    assert abs(unseen.mean()) < 3 * noise


@pytest.mark.parametrize("score", PROPER)
def test_greedy_over_random_predictors_beats_their_plain_mean_only_where_it_selected(score):
    """No weights fixed beforehand beat equal ones where predictors are alike, of a convex score."""
    seen, unseen = gains_over_random_predictors(score, all_alike)
    noise = unseen.std(ddof=1) / np.sqrt(len(unseen))
    assert seen.mean() > 10 * noise
    assert unseen.mean() < -3 * noise


def test_weighted_is_the_mean_by_counts():
    library, _ = random_library(0, size=3)
    assert weighted(library, np.array([3, 0, 1])) == pytest.approx(
        0.75 * library[0] + 0.25 * library[2], rel=1e-12
    )
    assert weighted(library, np.array([0, 5, 0])) == pytest.approx(library[1], rel=1e-15)


@pytest.mark.parametrize("counts", [[0, 0, 0], [2, -1, 0], [1, 1]])
def test_counts_that_weigh_nothing_are_an_error(counts):
    with pytest.raises(
        ValueError, match=r"counts: invalid value \[.*\]; expected 3 integers >= 0, not all 0"
    ):
        weighted(random_library(0, size=3)[0], np.array(counts))
