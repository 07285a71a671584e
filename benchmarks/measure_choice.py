"""How much accuracy a choice loses against the best value of a range, by points and seeds.

Simulated validation accuracy through the choice of the pipeline (`pipeline/planning/choice.py`).
Truths over the scale: see `truth`; four are parabolas or parts of them, three are not. Noise:
`NOISE`, the standard deviation of a run around setting and seed in the exploration of `digits` (150
images, three seeds), and `SPLIT`, that of a seed.
Loss: percentage points of true accuracy, mean over all simulated searches. `curve` chooses by the
response curve, `parabola` by a least-squares parabola, `mean` by the highest mean. `widening` is
how often the rounds of exploration (`pipeline/planning/rounds.py`) find an optimum beyond a space,
by the number of further seeds of its last values. Writes benchmarks/results/choice.json.
"""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from pipeline.config.plan import PROTOCOL, Dimension
from pipeline.planning import rounds
from pipeline.planning.arms import ArmDefinition
from pipeline.planning.choice import LEAST_POINTS, Score, ScoredSetting, best, collapsed
from pipeline.planning.studies import Experiment, read_experiment

ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "choice.json"
NOISE = 0.0138  # accuracy, a fraction
SPLIT = 0.02
FALL = 0.0096  # accuracy at one step from the best value, a fraction
SEARCHES = 1000
RATE = "training.learning_rate"
FURTHER = (0, 2, 3)  # seeds
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


def parabola(places: np.ndarray, tried: list[ScoredSetting]) -> int:
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
            ScoredSetting({"p": {"k": place}}, tuple(Score("done", value, 0.0) for value in column))
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


def searched(tuning: Experiment, peak: float, generator: np.random.Generator) -> tuple[float, int]:
    """Return the place chosen for the baseline after all rounds, in steps, and the number of runs.

    Args:
        tuning: A protocol that tunes the learning rate over five values, without studies.
        peak: The best place, in steps from the first value; the score falls by `FALL` at a distance
            of 1.
        generator: Draws the shift of every seed and the noise of every run.
    """
    assert tuning.tuning
    (space,) = tuning.tuning.definition.spaces.values()

    def place(values: dict[str, float]) -> float:
        return float((np.log(values[RATE]) - np.log(space.low)) / space.step)

    shifts = generator.normal(0, SPLIT, tuning.protocol.seeds.exploration + max(FURTHER))
    scores: dict[str, Score] = {}
    while True:
        planned = rounds.explore(lambda tuned: replace(tuning, tuned=tuned), "", scores).plan
        new = [run for run in planned.runs if run.fingerprint not in scores]
        if not new:
            return place(planned.tuned), len(planned.runs)
        for run in new:
            accuracy = 0.9 - FALL * (place(run.setting[PROTOCOL]) - peak) ** 2 + shifts[run.seed]
            score = Score("done", accuracy + generator.normal(0, NOISE), 0.0)
            scores[run.fingerprint] = score


def widening(tuning: Experiment) -> dict[str, float]:
    """Return the share of optima found to one place, and runs, for two kinds of optima."""
    result: dict[str, float] = {}
    for kind, ends in {"beyond": (4.5, 6.0), "inside": (0.5, 3.5)}.items():
        generator = np.random.default_rng(1)
        hits, runs = 0, 0
        for _ in range(SEARCHES):
            peak = generator.uniform(*ends)
            place, count = searched(tuning, peak, generator)
            hits, runs = hits + (abs(place - peak) <= 1), runs + count
        result |= {f"found_{kind}": hits / SEARCHES, f"runs_{kind}": runs / SEARCHES}
    return result


def repeated() -> dict[str, dict[str, float]]:
    """Return `widening` for several numbers of further seeds of the last values."""
    make = ArmDefinition.trial
    tuning = replace(read_experiment("digits", ROOT), studies=())
    assert tuning.tuning
    definition = tuning.tuning.definition
    trial = functools.cache(lambda values: make(definition, values))
    result = {}
    with mock.patch.object(ArmDefinition, "trial", lambda _, values: trial(tuple(values))):
        for further in FURTHER:
            with mock.patch.object(rounds, "REPEATS", further):
                result[f"repeats_{further}"] = widening(tuning)
    return result


def main() -> None:
    """Measure and write the result."""
    results = {"widening": repeated()}
    for points, seeds in DESIGNS:
        by_kind = {kind: losses(kind, points, seeds) for kind in KINDS}
        rules = {rule: [row[rule] for row in by_kind.values()] for rule in by_kind[KINDS[0]]}
        over_all = {rule: round(float(np.mean(values)), 3) for rule, values in rules.items()}
        results[f"points_{points}_seeds_{seeds}"] = {**by_kind, "mean_of_all": over_all}
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
