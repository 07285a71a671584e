"""How much accuracy a choice loses against the best value of a range, by points and seeds.

Simulated validation accuracy through the choice of the pipeline (`pipeline/planning/choice.py`).
Truths over the scale: see `truth`; four are parabolas or parts of them, three are not. Noise:
`NOISE`, the standard deviation of a run around setting and seed in the exploration of `digits` (150
images, three seeds), and `SPLIT`, that of a seed.
Loss: percentage points of true accuracy, mean over all simulated searches. `curve` chooses by the
response curve, `parabola` by a least-squares parabola, `mean` by the highest mean. `widening` is
how often an optimum beyond a list is found, and what repeats at its edge would add. Writes
benchmarks/results/choice.json.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.config.plan import Dimension
from pipeline.planning.choice import LEAST_POINTS, Score, Tried, at_edge, best, collapsed

RESULT = Path(__file__).parent / "results" / "choice.json"
NOISE = 0.0138  # accuracy, a fraction
SPLIT = 0.02
FALL = 0.0096  # accuracy at one step from the best value, a fraction
SEARCHES = 1000
DESIGNS = ((3, 3), (5, 2), (9, 1), (5, 1), (7, 1), (5, 3))  # points, seeds
KINDS = ("inside", "rising", "collapsing", "plateau", "tent", "steep", "narrow")
SCALED = Dimension(part="p", key="k", scale="uniform")
GRID = np.linspace(0, 1, 401)

Truth = Callable[[np.ndarray], np.ndarray]


def truth(kind: str, generator: np.random.Generator) -> Truth:
    """Return a random function of the place in the range, in [0, 1].

    Args:
        kind: inside: a parabola with its peak inside; rising: one that still rises at the end;
            collapsing: one that collapses beyond its peak, as with too large learning rates;
            plateau: flat, then a parabola; tent: two lines; steep: a parabola that falls by 9
            points soon after its peak; narrow: a bump in a flat range.
        generator: Draws place, height and width.
    """
    peak = generator.uniform(1, 1.5) if kind == "rising" else generator.uniform(0.1, 0.9)
    depth = generator.uniform(0.02, 0.06)
    cliff = generator.uniform(max(peak, 0.6), 1) if kind == "collapsing" else 2
    drop = generator.uniform(0.3, 0.8)
    width = generator.uniform(0.08, 0.2)

    def accuracy(places: np.ndarray) -> np.ndarray:
        distances = (places - peak) / max(peak, 1 - peak)
        parabola = 0.95 - depth * distances**2
        if kind == "plateau":
            return 0.95 - depth * np.maximum(distances, 0)
        if kind == "tent":
            return 0.95 - depth * np.abs(distances)
        if kind == "steep":
            fall = 0.09 * np.minimum((places - peak) / (1.5 * width), 1)
            return np.where(places <= peak, parabola, 0.95 - fall)
        if kind == "narrow":
            return 0.95 - depth * (1 - np.exp(-(((places - peak) / width) ** 2) / 2))
        return np.where(places > cliff, parabola - drop, parabola)

    return accuracy


def parabola(places: np.ndarray, tried: list[Tried]) -> int:
    """Return the best setting on a least-squares parabola through the means."""
    means = np.array([item.accuracy for item in tried])
    kept = ~collapsed(means)
    if kept.sum() < LEAST_POINTS:
        return int(means.argmax())
    curve = np.polynomial.Polynomial.fit(places[kept], means[kept], 2)
    return int(np.where(kept, curve(places), -np.inf).argmax())


def losses(kind: str, points: int, seeds: int) -> dict[str, float]:
    """Return the mean loss of every rule, in percentage points."""
    generator = np.random.default_rng(0)
    places = np.linspace(0, 1, points)
    total = dict.fromkeys(("curve", "parabola", "mean"), 0.0)
    for _ in range(SEARCHES):
        accuracy = truth(kind, generator)
        measured = accuracy(places) + generator.normal(0, NOISE, (seeds, points))
        measured += generator.normal(0, SPLIT, (seeds, 1))
        tried = [
            Tried({"p": {"k": place}}, tuple(Score("done", value, 0.0) for value in column))
            for place, column in zip(places, measured.T, strict=True)
        ]
        chosen = {
            "curve": best(tried, [SCALED]),
            "parabola": parabola(places, tried),
            "mean": best(tried, []),
        }
        for rule, number in chosen.items():
            total[rule] += float(accuracy(GRID).max() - accuracy(places[number]))
    return {rule: round(100 * value / SEARCHES, 3) for rule, value in total.items()}


def widened(peak: float, repeats: int, generator: np.random.Generator) -> tuple[float, int]:
    """Return the place chosen after up to two widenings of five places, and the number of runs.

    Args:
        peak: The best place; the score falls by `FALL` at a distance of 1.
        repeats: Further runs of an outermost place and of the chosen one beside it, where a space
            that was widened once would not be widened again.
        generator: Draws the noise of two seeds.
    """

    def measured(place: float, runs: int) -> np.ndarray:
        return 0.9 - FALL * (place - peak) ** 2 + generator.normal(0, NOISE / runs**0.5, 2)

    scores = {float(place): measured(place, 1) for place in range(5)}
    runs, left, repeated = 2 * len(scores), 2, False
    while True:
        tried = [
            Tried({"p": {"k": place}}, tuple(Score("done", value, 0.0) for value in scores[place]))
            for place in sorted(scores)
        ]
        chosen = float(tried[best(tried, [SCALED])].setting["p"]["k"])
        end = at_edge({"p": {"k": chosen}}, tried, SCALED)
        outermost = [place for place in (min(scores), max(scores)) if abs(place - chosen) == 1]
        if end and left:
            place = chosen + end
            scores[place] = measured(place, 1)
            left, runs = left - 1, runs + 2
        elif repeats and left == 1 and outermost and not repeated:
            for place in (chosen, outermost[0]):
                more = measured(place, repeats / 2)
                scores[place] = (2 * scores[place] + repeats * more) / (2 + repeats)
            runs, repeated = runs + 2 * repeats, True
        else:
            return chosen, runs


def widening(repeats: int) -> dict[str, float]:
    """Return the share of optima found to one place, and runs, for two kinds of optima.

    Args:
        repeats: As in `widened`.
    """
    result = {}
    for kind, ends in {"beyond": (4.5, 6.0), "inside": (0.5, 3.5)}.items():
        generator = np.random.default_rng(1)
        found, runs = 0, 0
        for _ in range(SEARCHES):
            peak = generator.uniform(*ends)
            place, count = widened(peak, repeats, generator)
            found, runs = found + (abs(place - peak) <= 1), runs + count
        result |= {f"found_{kind}": found / SEARCHES, f"runs_{kind}": runs / SEARCHES}
    return result


def main() -> None:
    """Measure and write the result."""
    results = {"widening": {f"repeats_{repeats}": widening(repeats) for repeats in (0, 2, 4)}}
    for points, seeds in DESIGNS:
        by_kind = {kind: losses(kind, points, seeds) for kind in KINDS}
        rules = {rule: [row[rule] for row in by_kind.values()] for rule in by_kind[KINDS[0]]}
        over_all = {rule: round(float(np.mean(values)), 3) for rule, values in rules.items()}
        results[f"points_{points}_seeds_{seeds}"] = {**by_kind, "mean_of_all": over_all}
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
