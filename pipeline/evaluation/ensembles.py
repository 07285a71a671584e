"""Ensembles from stored predictions alone: joined, measured by size and recency, and selected; no model is loaded.

Lakshminarayanan et al., NeurIPS 2017 (the mean of independently trained networks); Caruana et al., ICML 2004
(selection from a library). Separate from `averaging.py`: that says how members become one prediction, this
says which members.
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
SUBSETS = 200  # of one size
SEED = 0
ROUNDING = 1e-12  # three copies of a prediction may score a last digit better than one


def concatenated(parts: Sequence[Logits], examples: Sequence[str]) -> Logits:
    """Logits (M_i, N, classes) of several predictions as one (sum of M_i, N, classes), in their order.

    `examples` holds for each part the digest of the examples that it was made on. Raises Refusal for no
    parts and for parts that differ in examples or classes.
    """
    if not parts:
        raise Refusal("ensemble: no parts; needed is at least one")
    _, count, classes = parts[0].shape
    for number, (part, digest) in enumerate(zip(parts, examples, strict=True), start=1):
        if part.shape[1] != count:
            raise _unlike(f"part {number} has {part.shape[1]} examples, part 1 has {count}")
        if part.shape[2] != classes:
            raise _unlike(f"part {number} has {part.shape[2]} classes, part 1 has {classes}")
        if digest != examples[0]:
            raise _unlike(f"part {number} was made on examples {digest}, part 1 on {examples[0]}")
    return np.concatenate(parts)


def subset(logits: Logits, size: int) -> Logits:
    """The first `size` members (size, N, classes). Raises Refusal for a size that the group does not have."""
    if not 1 <= size <= len(logits):
        raise Refusal(
            f"ensemble size {size}: the group has {len(logits)} members; allowed is 1 to {len(logits)}"
        )
    return logits[:size]


def size_curve(logits: Logits, labels: Labels, score: Score) -> Array:
    """The mean score (M,) of the averaged probabilities of all subsets of 1 to M members.

    Where a size has more than 200 subsets, the mean is over 200 different ones drawn by a fixed seed. Over
    all subsets a score that is convex in the probabilities never rises with the size (Jensen).
    """
    members = softmax(logits)
    return np.array(
        [
            _mean_score(members, _subsets(len(members), size), labels, score)
            for size in _sizes(members)
        ]
    )


def last_curve(logits: Logits, labels: Labels, score: Score) -> Array:
    """The score (M,) of the averaged probabilities of the last 1 to M members.

    For snapshots in the order of training: Huang et al., ICLR 2017.
    """
    members = softmax(logits)
    return np.array(
        [score(subset(members[::-1], size).mean(axis=0), labels) for size in _sizes(members)]
    )


def disagreement(logits: Logits) -> float:
    """The fraction of examples, 0 to 1, on which the top class of two members differs, as a mean over pairs.

    NaN for one member, which has no pair, and where a probability is NaN.
    """
    members = softmax(logits)
    if len(members) < 2 or np.isnan(members).any():
        return nan
    tops = members.argmax(axis=2)
    return float(np.mean([np.mean(one != other) for one, other in combinations(tops, 2)]))


def greedy(
    library: Array, labels: Labels, rounds: int, start: int, score: Score = nll
) -> NDArray[np.int64]:
    """How often (L,) each prediction of a library (L, N, classes) is picked: forward selection with replacement.

    The picks are the `start` best single predictions in order (all, where there are fewer), then `rounds`
    times the one that makes the mean best; ties go to the first. The shortest best prefix of the picks counts,
    so on these labels the result is never worse than the best single prediction; on others it may be, and the
    labels of the selection tell nothing of it. `score` is lower for better; a prediction scored NaN is never
    picked unless all are. Raises Refusal. Caruana, Niculescu-Mizil, Crew and Ksikes, ICML 2004.
    """
    _check_selection(len(library), rounds, start)
    picks = _sorted_start(_scores(library, labels, score), start)
    total, values = np.zeros(library.shape[1:]), []
    for length in range(1, len(picks) + rounds + 1):
        if length > len(picks):
            picks.append(
                int(
                    np.argmin(
                        _scores(((total + single) / length for single in library), labels, score)
                    )
                )
            )
        total = total + library[picks[length - 1]]
        values += _scores([total / length], labels, score)
    best = int(np.argmax(np.array(values) <= min(values) + ROUNDING))
    return np.bincount(picks[: best + 1], minlength=len(library))


def weighted(library: Array, counts: NDArray[np.int64]) -> Array:
    """The mean (N, classes) of the predictions of a library (L, N, classes), each as often as its count (L,).

    A prediction of count 0 has no part in it, even where it is NaN. Raises ValueError for counts without a mean.
    """
    if len(counts) != len(library) or min(counts) < 0 or not any(counts):
        raise ValueError(
            f"counts {list(map(int, counts))}: allowed are {len(library)} of 0 or more, not all 0"
        )
    picked = counts > 0
    mean: Array = np.average(library[picked], axis=0, weights=counts[picked])
    return mean


def _unlike(found: str) -> Refusal:
    return Refusal(f"ensemble: {found}; members of one ensemble need the same examples and classes")


def _sizes(members: Array) -> range:
    return range(1, len(members) + 1)


def _subsets(members: int, size: int) -> list[tuple[int, ...]]:
    """All subsets of a size, or 200 of them: drawn one by one, since all may be more than memory holds."""
    if comb(members, size) <= SUBSETS:
        return list(combinations(range(members), size))
    generator, drawn = np.random.default_rng(SEED), set[tuple[int, ...]]()
    while len(drawn) < SUBSETS:
        drawn.add(tuple(sorted(generator.permutation(members)[:size].tolist())))
    return sorted(drawn)


def _mean_score(
    members: Array, subsets: Iterable[tuple[int, ...]], labels: Labels, score: Score
) -> float:
    return float(np.mean([score(members[list(chosen)].mean(axis=0), labels) for chosen in subsets]))


def _check_selection(size: int, rounds: int, start: int) -> None:
    for name, value, least in (("library", size, 1), ("rounds", rounds, 0), ("start", start, 1)):
        if value < least:
            raise Refusal(f"greedy selection: {name} {value}; allowed is {least} or more")


def _scores(predictions: Iterable[Array], labels: Labels, score: Score) -> list[float]:
    """A score for each prediction, with infinity for NaN, which argmin would take for the least."""
    values = [score(prediction, labels) for prediction in predictions]
    return [np.inf if np.isnan(value) else value for value in values]


def _sorted_start(scores: list[float], start: int) -> list[int]:
    """The indices of the `start` lowest scores; infinite ones only where there is no other, since they would stay."""
    order = [int(index) for index in np.argsort(scores, kind="stable")[:start]]
    return [index for index in order if np.isfinite(scores[index])] or order[:1]
