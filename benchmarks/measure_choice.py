"""How much accuracy a choice loses against the best value of a range, by points and seeds.

Simulated validation accuracy through the choice of the pipeline (`pipeline/planning/choice.py`).
Truths over the scale: a parabola with its peak inside, one that still rises at the end, one that
collapses beyond its peak, as with too large learning rates. Noise: `NOISE`, the standard deviation
of a run around setting and seed in the exploration of `digits` (150 images, three seeds).
Loss: percentage points of true accuracy, mean over all simulated searches. `curve` chooses by the
response curve, `mean` by the highest mean. Writes benchmarks/results/choice.json.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.config.plan import Dimension
from pipeline.planning.choice import Score, Tried, best

RESULT = Path(__file__).parent / "results" / "choice.json"
NOISE = 0.0138  # accuracy, a fraction
SEARCHES = 2000
DESIGNS = ((3, 3), (5, 2), (9, 1), (5, 1), (7, 1), (5, 3))  # points, seeds
SCALED = Dimension(part="p", key="k", scale="uniform")
RULES = {"curve": (SCALED,), "mean": ()}
GRID = np.linspace(0, 1, 401)

Truth = Callable[[np.ndarray], np.ndarray]


def truth(kind: str, generator: np.random.Generator) -> Truth:
    """Return a random function of the place in the range, in [0, 1]."""
    peak = generator.uniform(1, 1.5) if kind == "rising" else generator.uniform(0.1, 0.9)
    depth = generator.uniform(0.02, 0.06)
    cliff = generator.uniform(max(peak, 0.6), 1) if kind == "collapsing" else 2
    drop = generator.uniform(0.3, 0.8)

    def accuracy(places: np.ndarray) -> np.ndarray:
        smooth = 0.95 - depth * ((places - peak) / max(peak, 1 - peak)) ** 2
        return np.where(places > cliff, smooth - drop, smooth)

    return accuracy


def losses(kind: str, points: int, seeds: int) -> dict[str, float]:
    """Return the mean loss of every rule, in percentage points."""
    generator = np.random.default_rng(0)
    places = np.linspace(0, 1, points)
    total = dict.fromkeys(RULES, 0.0)
    for _ in range(SEARCHES):
        accuracy = truth(kind, generator)
        measured = accuracy(places) + generator.normal(0, NOISE, (seeds, points))
        tried = [
            Tried({"p": {"k": place}}, tuple(Score("done", value, 0.0) for value in column))
            for place, column in zip(places, measured.T, strict=True)
        ]
        for rule, space in RULES.items():
            chosen = places[best(tried, space)]
            total[rule] += float(accuracy(GRID).max() - accuracy(chosen))
    return {rule: round(100 * value / SEARCHES, 3) for rule, value in total.items()}


def main() -> None:
    """Measure and write the result."""
    results = {
        f"points_{points}_seeds_{seeds}": {
            kind: losses(kind, points, seeds) for kind in ("inside", "rising", "collapsing")
        }
        for points, seeds in DESIGNS
    }
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
