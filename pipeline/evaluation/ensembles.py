"""Build ensembles from stored predictions: concatenated, scored by size, and selected greedily.

Lakshminarayanan et al., NeurIPS 2017 (the mean of independently trained networks); Caruana et al.,
ICML 2004 (selection from a library).
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import comb, nan

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.averaging import softmax
from pipeline.evaluation.metrics import Array, Labels, Score, nll
from pipeline.runtime.errors import Refusal

Logits = NDArray[np.floating]  # (members, N, classes)
SUBSETS = 200  # at most, of each size
SEED = 0
ROUNDING = 1e-12  # the mean of three equal predictions may differ in the last digit


def concatenated(parts: Sequence[Logits], examples: Sequence[str]) -> Logits:
    """Return the members of several predictions as one (sum of members, examples, classes).

    Args:
        parts: Logits (members, examples, classes) each.
        examples: The digest of the examples of each part.

    Raises:
        Refusal: There are no parts, or they differ in examples or classes.
    """
    if not parts:
        raise Refusal("ensemble: no parts; expected >= 1")
    made_on = [
        f"{part.shape[1]} examples ({digest}) in {part.shape[2]} classes"
        for part, digest in zip(parts, examples, strict=True)
    ]
    for number, basis in enumerate(made_on, start=1):
        if basis != made_on[0]:
            raise Refusal(f"ensemble: part {number}: {basis}; expected {made_on[0]}")
    return np.concatenate(parts)


def size_curve(logits: Logits, labels: Labels, score: Score) -> Array:
    """Return the mean score (members,) of the averaged probabilities of all subsets of each size.

    Of a size with more than 200 subsets, 200 are drawn by a fixed seed. Over all subsets a score
    that is convex in the probabilities never rises with the size (Jensen).

    Args:
        logits: (members, examples, classes).
        labels: (examples,).
        score: The metric of probabilities and labels.
    """
    members = softmax(logits)
    means = []
    for size in range(1, len(members) + 1):
        subsets = _subsets(len(members), size)
        scores = [score(members[list(chosen)].mean(axis=0), labels) for chosen in subsets]
        means.append(np.mean(scores))
    return np.array(means)


def last_curve(logits: Logits, labels: Labels, score: Score) -> Array:
    """Return the score (members,) of the averaged probabilities of the last 1, 2, ... members.

    For snapshots in the order of training: Huang et al., ICLR 2017.

    Args:
        logits: (members, examples, classes).
        labels: (examples,).
        score: The metric of probabilities and labels.
    """
    latest = softmax(logits)[::-1]
    means = [latest[:size].mean(axis=0) for size in range(1, len(latest) + 1)]
    return np.array([score(mean, labels) for mean in means])


def disagreement(logits: Logits) -> float:
    """Return the share of examples, 0 to 1, on which two members' top classes differ, over pairs.

    Fort, Hu and Lakshminarayanan, Deep Ensembles: A Loss Landscape Perspective, arXiv 1912.02757,
    2019.

    Args:
        logits: (members, examples, classes).

    Returns:
        The mean share; NaN for a single member and where a probability is NaN.
    """
    members = softmax(logits)
    if len(members) < 2 or np.isnan(members).any():
        return nan
    tops = members.argmax(axis=2)
    return float(np.mean([np.mean(one != other) for one, other in combinations(tops, 2)]))


def greedy(
    library: Array, labels: Labels, rounds: int, start: int, score: Score = nll
) -> NDArray[np.int64]:
    """Return the number of times that each prediction of a library is selected.

    Forward selection with replacement: the `start` best single predictions in order (all, where
    there are fewer), then `rounds` times the one that makes the mean best; ties go to the first.
    The shortest best prefix counts, so on these labels the result is never worse than the best
    single prediction; on other labels it may be. Caruana, Niculescu-Mizil, Crew and Ksikes, ICML
    2004.

    Args:
        library: Probabilities (predictions, examples, classes).
        labels: (examples,).
        rounds: The number of additions, at least 0.
        start: The number of single predictions to start with, at least 1.
        score: The metric, better when lower; a prediction scored NaN is selected only if all are.

    Returns:
        Counts (predictions,).

    Raises:
        Refusal: The library is empty, or `rounds` or `start` is out of range.
    """
    for name, value, least in (
        ("library", len(library), 1),
        ("rounds", rounds, 0),
        ("start", start, 1),
    ):
        if value < least:
            raise Refusal(f"greedy selection: {name}: invalid value {value}; expected >= {least}")
    picks = _sorted_start(_scores(library, labels, score), start)
    total, values = np.zeros(library.shape[1:]), []
    for length in range(1, len(picks) + rounds + 1):
        if length > len(picks):
            means = ((total + single) / length for single in library)
            picks.append(int(np.argmin(_scores(means, labels, score))))
        total = total + library[picks[length - 1]]
        values += _scores([total / length], labels, score)
    best = int(np.argmax(np.array(values) <= min(values) + ROUNDING))
    return np.bincount(picks[: best + 1], minlength=len(library))


def weighted(library: Array, counts: NDArray[np.int64]) -> Array:
    """Return the mean (examples, classes) of a library, weighted by counts.

    Args:
        library: Probabilities (predictions, examples, classes).
        counts: (predictions,); a prediction of count 0 is ignored, even where it is NaN.

    Raises:
        ValueError: The counts are not one integer >= 0 for each prediction, or are all 0.
    """
    if len(counts) != len(library) or min(counts) < 0 or not any(counts):
        raise ValueError(
            f"counts: invalid value {list(map(int, counts))}; "
            f"expected {len(library)} integers >= 0, not all 0"
        )
    picked = counts > 0
    mean: Array = np.average(library[picked], axis=0, weights=counts[picked])
    return mean


def _subsets(members: int, size: int) -> list[tuple[int, ...]]:
    """Return all subsets of a size, or 200 random ones if there are more."""
    if comb(members, size) <= SUBSETS:
        return list(combinations(range(members), size))
    generator, drawn = np.random.default_rng(SEED), set[tuple[int, ...]]()
    while len(drawn) < SUBSETS:
        drawn.add(tuple(sorted(generator.permutation(members)[:size].tolist())))
    return sorted(drawn)


def _scores(predictions: Iterable[Array], labels: Labels, score: Score) -> list[float]:
    """Return the score of each prediction, with infinity for NaN, which argmin would choose."""
    values = [score(prediction, labels) for prediction in predictions]
    return [np.inf if np.isnan(value) else value for value in values]


def _sorted_start(scores: list[float], start: int) -> list[int]:
    """Return the indices of the `start` lowest scores; an infinite one only if all are."""
    order = [int(index) for index in np.argsort(scores, kind="stable")[:start]]
    return [index for index in order if np.isfinite(scores[index])] or order[:1]
