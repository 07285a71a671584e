"""How statistics of searches err, cover and find, on designs with a known response.

Each simulated design has `POINTS` random settings of four values in [0, 1]. Scores of a run are
`response` of its setting plus noise `NOISE`, in validation and test alike; early scores are lower,
with more noise. The truth of an importance, of a chance and of a shift is that of a design of
`MANY` settings; the truth of a method's difference to random search is its mean over designs.

- `importance`: the share of intervals over the truth, of hyperparameters that matter and of those
  that do not: by halves of the trials, as in the pipeline, and by a percentile bootstrap over
  trials. `ranked`: how often the two largest are put in an order, where they are equal (an error)
  and where one is twice the other.
- `budget`: the share of bands that hold for all numbers of trials, and of reports in which an arm
  leads somewhere although both are equal.
- `methods`: the share of intervals of the difference to random search that cover, by method.
- `ends`: the share of arms in which a flat range fails at an end, and of ends that fail beside a
  peak.
- `shifts`: the share of arms whose intervals for all shifts cover.

Writes benchmarks/results/searches.json.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.comparison import importance as importance_of
from pipeline.comparison import tuning_budget
from pipeline.comparison.designs import Design
from pipeline.comparison.importance import divergences, importance, study_of
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.responses import ends, shifts
from pipeline.comparison.search_methods import method_tables
from pipeline.comparison.tuning_budget import budget_table, wins
from pipeline.planning.searches import Search
from pipeline.planning.spaces import Space

RESULT = Path(__file__).parent / "results" / "searches.json"
POINTS = 192
MANY = 4000
NOISE = 0.006  # accuracy, a fraction
EARLY = 0.02
SHARES = np.array([1 / 27, 1 / 9, 1 / 3, 1.0])
SPACES = {name: Space((), "uniform", 0.0, 1.0) for name in ("first", "second", "third", "fourth")}
DESIGNS = 20  # of importance, whose bootstrap is slow
MORE = 60
RESAMPLES = 40  # of the bootstrap of importance
BANDS = 200  # resamples of a band
FEW_HALVES = 30
REPLAYS = 300
TRIALS = 32

Array = np.ndarray
Response = Callable[[Array], Array]


def response(first: float, second: float, height: float = 0.95, tilt: float = 0.0) -> Response:
    """Return accuracies with a peak; third and fourth values do not matter.

    Args:
        first: How much accuracy falls with the squared distance of the first value from its best.
        second: The same of the second value.
        height: The accuracy at the peak.
        tilt: How far the best first value moves over the range of the second.
    """

    def accuracy(places: Array) -> Array:
        best = 0.6 - tilt * (places[:, 1] - 0.5)
        fall = first * (places[:, 0] - best) ** 2 + second * (places[:, 1] - 0.4) ** 2
        return height - fall

    return accuracy


def design(truth: Response, generator: np.random.Generator, points: int = POINTS) -> Design:
    """Return a random design with the scores of its runs."""
    places = generator.random((points, len(SPACES)))
    expected = truth(places)
    validation, test = expected + NOISE * generator.standard_normal((2, points))
    early = [
        share**0.1 * expected + EARLY * generator.standard_normal(points) for share in SHARES[:-1]
    ]
    return Design(
        spaces=SPACES,
        values=tuple(tuple(row) for row in places.tolist()),
        shares=SHARES,
        curves=np.stack([*early, validation], axis=1),
        by_seed=validation[None],
        test=test,
    )


def importances(generator: np.random.Generator) -> dict[str, object]:
    """Return how intervals of importance cover, and how often an order is claimed."""
    result: dict[str, object] = {}
    for name, truth in (("equal", response(0.3, 0.3)), ("twice", response(0.5, 0.25))):
        large = design(truth, generator, MANY)
        sizes = divergences(large, study_of(large), large.ranked)
        share = sizes / sizes.sum()
        covers: dict[str, list[Array]] = {"halves": [], "bootstrap": []}
        ranked = []
        for _ in range(DESIGNS):
            drawn = design(truth, generator)
            table = importance("s", "a", drawn).set_index("hyperparameter").loc[list(SPACES)]
            covers["halves"].append(((table["low"] <= share) & (share <= table["high"])).to_numpy())
            covers["bootstrap"].append(_bootstrap_covers(drawn, share, generator))
            ranked.append(table["last_rank"].iloc[0] == 1 or table["last_rank"].iloc[1] == 1)
        result[name] = {
            "ranked": rounded(ranked),
            **{
                method: {
                    "matters": rounded([rows[:2] for rows in each]),
                    "does not": rounded([rows[2:] for rows in each]),
                }
                for method, each in covers.items()
            },
        }
    return result


def _bootstrap_covers(drawn: Design, share: Array, generator: np.random.Generator) -> Array:
    sizes = np.array([_redrawn_sizes(drawn, generator) for _ in range(RESAMPLES)])
    shares = sizes / sizes.sum(axis=1, keepdims=True)
    low, high = np.quantile(shares, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    covers: Array = (low <= share) & (share <= high)
    return covers


def _redrawn_sizes(drawn: Design, generator: np.random.Generator) -> Array:
    points, scores = drawn.redrawn(generator)
    repeated = drawn.subset(points)
    return divergences(repeated, study_of(repeated), scores)


def budgets(generator: np.random.Generator) -> dict[str, float]:
    """Return how often a band holds for all numbers of trials, and how often an equal arm leads."""
    steep, flat = response(0.6, 0.3, 0.955), response(0.2, 0.1, 0.95)
    large = [design(truth, generator, MANY) for truth in (steep, flat)]
    sizes = np.arange(1, TRIALS + 1)
    truth = wins(large[0].ranked, large[0].test, large[1].ranked, large[1].test, sizes)
    holds, leads = [], []
    for _ in range(MORE):
        pair = [design(each, generator) for each in (steep, flat)]
        table = budget_table("s", ("a", pair[0]), ("b", pair[1]), TRIALS)
        holds.append(((table["low"] <= truth) & (truth <= table["high"])).all())
        same = [design(steep, generator) for _ in range(2)]
        table = budget_table("s", ("a", same[0]), ("b", same[1]), TRIALS)
        leads.append((table["leader"] != "").any())
    return {"covered": rounded(holds), "false_leader": rounded(leads)}


def methods(generator: np.random.Generator) -> dict[str, dict[str, float]]:
    """Return how often intervals of a method's difference to random search cover."""
    truth = response(0.5, 0.25)
    result = {}
    for name in ("grid", "sobol", "coarse_to_fine", "halving"):
        rows = [
            method_tables(
                "s", "a", design(truth, generator), [Search(method=name, trials=TRIALS)], REPLAYS
            )[1].iloc[0]
            for _ in range(MORE // 2)
        ]
        mean = float(np.mean([row["difference"] for row in rows]))
        covers = [row["low"] <= mean <= row["high"] for row in rows]
        result[name] = {"covered": rounded(covers), "difference": round(mean, 4)}
    return result


def failing_ends(generator: np.random.Generator) -> dict[str, float]:
    """Return how often flat ranges fail, and how often both ends beside a peak do."""
    flat, peak = response(0.0, 0.0), response(0.5, 0.0)
    wrong = [ends("s", "a", design(flat, generator))["fails"].any() for _ in range(MORE)]
    right = []
    for _ in range(MORE):
        table = ends("s", "a", design(peak, generator))
        right.append(table.loc[table["hyperparameter"] == "first", "fails"].all())
    return {"flat": rounded(wrong), "both_beside_a_peak": rounded(right)}


def shifting(generator: np.random.Generator) -> dict[str, float]:
    """Return how often the intervals of all shifts of an arm cover together."""
    truth = response(0.5, 0.0, tilt=0.3)
    large = shifts("s", "a", design(truth, generator, MANY), "first")["shift"].to_numpy()
    holds = []
    for _ in range(MORE):
        table = shifts("s", "a", design(truth, generator), "first")
        holds.append(((table["low"] <= large) & (large <= table["high"])).all())
    return {"covered": rounded(holds), "shift": round(float(large[0]), 3)}


def rounded(values: object) -> float:
    """Return the mean of shares with three digits."""
    return round(float(np.mean(np.array(values, dtype=float))), 3)


def main() -> None:
    """Run every simulation, each from its own random stream, and write the results."""
    tuning_budget.RESAMPLES = BANDS
    importance_of.SHUFFLES = 1  # what is by chance is not measured here
    importance_of.HALVES = FEW_HALVES
    parts = {
        "importance": importances,
        "budget": budgets,
        "methods": methods,
        "ends": failing_ends,
        "shifts": shifting,
    }
    result = {
        name: part(np.random.default_rng(number))
        for number, (name, part) in enumerate(parts.items())
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
