"""How looks at growing numbers of seeds err, cover and find, beside a fixed number of seeds.

Simulated reports of 13 arms with one baseline, through the statistics of the pipeline
(`pipeline/comparison/looks.py`, `family.py`). Scores of a run: validation and test accuracy with
correlated noise; arms stop on validation, verdicts are on test. The unit is the standard deviation
of a paired difference over seeds. The correlation of both differences, the margin and the effects
called `digits` are those of `reports/digits/seeds.csv`.

`looks` goes on by validation scores; `resolved` goes on further while test scores are
inconclusive, as `gapwise resolve` does; `fixed` has 12 seeds; `same_cost` a fixed number with the
runs of `looks`.

- `null`: no arm has an effect. `family_wise`: the share of reports with a false helps or hurts.
  `coverage`: the share of intervals over the truth.
- `effects`: one arm of 13 has an effect. `power`: the share of reports in which it helps. Runs: of
  all arms and the baseline. `false_equivalence`: all arms lie at the margin.
- `peeking`: a verdict at the first look where the uncorrected p of test scores allows it.
- `digits`: verdicts of reports with these effects, by looks and by twelve seeds.
- `replayed`: the first 12 seeds of the committed report itself, with looks at 6 and 12.

Writes benchmarks/results/looks.json.
"""

import gc
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.comparison.family import Family, family
from pipeline.comparison.intervals import half_width
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.look_tests import Tests, look_tests, outlook, weighted_p
from pipeline.comparison.significance import holm
from pipeline.comparison.verdicts import Verdict
from pipeline.config.plan import PlannedLooks

ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "looks.json"
REPORTS = 1000
ARMS = 13
BAR = 0.05
LOOKS = PlannedLooks(seeds=(6, 12, 24), weights=(1 / 3, 1 / 3, 1 / 3))
SHORT = PlannedLooks(seeds=(6, 12), weights=(0.5, 0.5))
FIXED = PlannedLooks(seeds=(12,), weights=(1.0,))
EFFECTS = (0.5, 0.8, 1.0, 1.5, 2.0)
DIRECTIONS = (Verdict.HELPS, Verdict.HURTS)

Array = np.ndarray
# generator, shape, correlation -> validation and test noise of runs, with standard deviation 1
Noise = Callable[[np.random.Generator, tuple[int, ...], float], tuple[Array, Array]]


def normal(
    generator: np.random.Generator, shape: tuple[int, ...], correlation: float
) -> tuple[Array, Array]:
    """Return normal noise."""
    first, second = generator.normal(size=(2, *shape))
    return first, correlation * first + np.sqrt(1 - correlation**2) * second


def heavy(
    generator: np.random.Generator, shape: tuple[int, ...], correlation: float
) -> tuple[Array, Array]:
    """Return noise with the tails of t with 3 degrees of freedom: a bad run is bad on both."""
    mixed = np.sqrt(1 / generator.chisquare(3, size=shape))  # a t of 3 has variance 3
    first, second = normal(generator, shape, correlation)
    return first * mixed, second * mixed


def skewed(
    generator: np.random.Generator, shape: tuple[int, ...], correlation: float
) -> tuple[Array, Array]:
    """Return exponential noise, with a long tail downwards."""
    first, second = (1 + stats.norm.logsf(one) for one in normal(generator, shape, correlation))
    return first, second


def differences(
    generator: np.random.Generator,
    effects: Array,
    noise: Noise,
    correlation: float,
    quiet: float = 1.0,
) -> tuple[Array, Array]:
    """Return the paired differences (arms, seeds) of one report, on validation and on test.

    Args:
        generator: Draws the noise.
        effects: The true differences (arms,).
        noise: The noise of a run.
        correlation: That of validation and test noise.
        quiet: The spread of the baseline, against that of an arm.
    """
    shape = (1 + len(effects), LOOKS.seeds[-1])
    scale = np.array([quiet, *np.ones(len(effects))])[:, None] / np.sqrt(1 + quiet**2)
    sides = [scale * values for values in noise(generator, shape, correlation)]
    validation, test = (effects[:, None] + side[1:] - side[0] for side in sides)
    return validation, test


class Report:
    """One simulated report: what each arm has had, and its verdict.

    Attributes:
        had: The number of looks of each arm (arms,).
        verdicts: The verdict of each arm.
        covered: Whether the interval of each arm holds its truth (arms,).
        runs: Those of all arms and of the baseline.
    """

    def __init__(
        self,
        scores: tuple[Array, Array],
        looks: PlannedLooks,
        effects: Array,
        margin: float,
        corrected: Family,
        resolves: bool = False,
    ):
        validation, test = scores
        count = len(looks.seeds)
        self.had = np.ones(len(effects), dtype=int)
        decided = look_tests(validation, looks.seeds, margin)
        for look in range(1, count):
            reasons = outlook(decided, looks, self.had, corrected, margin).reasons
            on = np.array([reason is None for reason in reasons]) & (self.had == look)
            self.had[on] = look + 1
        tests = look_tests(test, looks.seeds, margin)
        self._judge(tests, looks, effects, corrected, margin)
        while resolves:
            unclear = np.array([one == Verdict.INCONCLUSIVE for one in self.verdicts])
            further = unclear & (self.had < count)
            if not further.any():
                break
            self.had[further] += 1
            self._judge(tests, looks, effects, corrected, margin)
        seeds = np.array(looks.seeds)[self.had - 1]
        self.runs = int(seeds.sum() + seeds.max())

    def _judge(
        self, tests: Tests, looks: PlannedLooks, effects: Array, corrected: Family, margin: float
    ) -> None:
        p_values, equivalence = weighted_p(tests, looks.weights, self.had, margin)
        place = self.had[None] - 1
        columns = tests.n, tests.mean, tests.sd
        n, mean, sd = (np.take_along_axis(column, place, axis=0)[0] for column in columns)
        adjusted = corrected.holm(p_values), corrected.holm(equivalence)
        judged = corrected.verdicts(mean, *adjusted)
        self.verdicts = [verdict for verdict, _ in judged]
        level = LEVEL * np.array(looks.weights)[self.had - 1]
        half = half_width(sd / np.sqrt(n), n.astype(int), level)
        self.covered = np.abs(mean - effects) <= half

    def share(self, *verdicts: Verdict) -> float:
        """Return the share of arms with one of these verdicts."""
        return float(np.mean([one in verdicts for one in self.verdicts]))


def peeking(test: Array) -> bool:
    """Return whether a report without effects has a verdict at any look, without a correction."""
    for count in LOOKS.seeds:
        tests = look_tests(test, (count,), 1.0)
        if (holm(tests.p[0]) < LEVEL).any():
            return True
    return False


def kinds(
    scores: tuple[Array, Array], effects: Array, margin: float, arms: Family
) -> dict[str, Report]:
    """Return a report by looks, the same after `resolve` of all that is inconclusive, and fixed."""
    given = effects, margin, arms
    return {
        "looks": Report(scores, LOOKS, *given),
        "resolved": Report(scores, LOOKS, *given, resolves=True),
        "fixed": Report(scores, FIXED, *given),
    }


def null(noise: Noise, correlation: float, margin: float, quiet: float = 1.0) -> dict[str, float]:
    """Return how often reports without any effect err, by looks and by twelve seeds."""
    effects, arms = np.zeros(ARMS), _arms(ARMS)
    values: dict[str, list[float]] = {}
    generator = np.random.default_rng(0)
    for _ in range(REPORTS):
        scores = differences(generator, effects, noise, correlation, quiet)
        for name, report in kinds(scores, effects, margin, arms).items():
            false = report.share(*DIRECTIONS) > 0
            values.setdefault(f"family_wise_{name}", []).append(false)
            values.setdefault(f"coverage_{name}", []).append(report.covered.mean())
            equivalent = report.share(Verdict.EQUIVALENT)
            values.setdefault(f"equivalent_{name}", []).append(equivalent)
            values.setdefault(f"runs_{name}", []).append(report.runs)
        values.setdefault("family_wise_peeking", []).append(peeking(scores[1]))
    return _means(values)


def effect(size: float, correlation: float, margin: float) -> dict[str, float]:
    """Return how often one arm with an effect is found, and how many runs a report takes.

    `same_cost` is a fixed number of seeds that takes as many runs as the looks do on average.
    """
    effects, arms = np.array([size, *np.zeros(ARMS - 1)]), _arms(ARMS)
    values: dict[str, list[float]] = {}
    generator = np.random.default_rng(1)
    reports = [differences(generator, effects, normal, correlation) for _ in range(REPORTS)]
    runs = [Report(scores, LOOKS, effects, margin, arms).runs for scores in reports]
    equal = PlannedLooks(seeds=(round(float(np.mean(runs)) / (1 + ARMS)),), weights=(1.0,))
    for scores in reports:
        same_cost = Report(scores, equal, effects, margin, arms)
        reports_of = {**kinds(scores, effects, margin, arms), "same_cost": same_cost}
        for name, report in reports_of.items():
            values.setdefault(f"power_{name}", []).append(report.verdicts[0] == Verdict.HELPS)
            values.setdefault(f"coverage_{name}", []).append(report.covered[0])
            values.setdefault(f"runs_{name}", []).append(report.runs)
    return _means(values)


def at_margin(correlation: float, margin: float) -> dict[str, float]:
    """Return the share of arms just at the margin that are called equivalent."""
    effects, arms = np.full(ARMS, margin), _arms(ARMS)
    values: dict[str, list[float]] = {}
    generator = np.random.default_rng(2)
    for _ in range(REPORTS):
        scores = differences(generator, effects, normal, correlation)
        for name, report in kinds(scores, effects, margin, arms).items():
            false = report.share(Verdict.EQUIVALENT)
            values.setdefault(f"false_equivalence_{name}", []).append(false)
    return _means(values)


def like(effects: Array, correlation: float, margin: float) -> dict[str, dict[str, float]]:
    """Return the verdicts and runs of reports with given effects, by kinds of looks."""
    arms = _arms(len(effects))
    values: dict[str, dict[str, list[float]]] = {}
    generator = np.random.default_rng(3)
    for _ in range(REPORTS):
        scores = differences(generator, effects, normal, correlation)
        for name, looks in (("looks_6_12_24", LOOKS), ("looks_6_12", SHORT), ("fixed_12", FIXED)):
            report = Report(scores, looks, effects, margin, arms)
            counts = {
                str(verdict): float(sum(one == verdict for one in report.verdicts))
                for verdict in Verdict
            }
            for key, value in {**counts, "runs": report.runs}.items():
                values.setdefault(name, {}).setdefault(key, []).append(value)
    return {name: _means(values) for name, values in values.items()}


def replayed(validation: Array, test: Array, margin: float) -> dict[str, object]:
    """Return the verdicts of a committed report, and those by looks at its first seeds."""
    truths, arms = np.zeros(len(test)), _arms(len(test))
    by_looks = Report((validation, test), SHORT, truths, margin, arms)
    fixed = Report((validation, test), FIXED, truths, margin, arms)
    same = [one == other for one, other in zip(by_looks.verdicts, fixed.verdicts, strict=True)]
    return {
        "arms": len(test),
        "same_verdicts": sum(same),
        "runs_looks": by_looks.runs,
        "runs_fixed": fixed.runs,
        "verdicts_looks": list(map(str, by_looks.verdicts)),
        "verdicts_fixed": list(map(str, fixed.verdicts)),
    }


def committed(protocol: str) -> tuple[Array, Array]:
    """Return the differences (arms, seeds) of a committed report, on validation and on test.

    Arms whose runs are those of another, and those against another arm than the baseline, are left
    out.
    """
    table = pd.read_csv(ROOT / "reports" / protocol / "seeds.csv")
    table = table[(table["reference"] == "baseline") & table["paired"]]
    table = table.drop_duplicates("fingerprint")
    sides = []
    for name in ("validation_accuracy", "test_accuracy"):
        changes = table.assign(change=table[name] - table[f"reference_{name}"])
        wide = changes.pivot(index=["study", "arm"], columns="seed", values="change")
        sides.append(wide.dropna().to_numpy(float))
    return sides[0], sides[1]


def spread_of(values: Array) -> float:
    """Return the standard deviation of a difference over seeds, pooled over arms."""
    return float(np.sqrt(values.var(axis=1, ddof=1).mean()))


def correlation_of(first: Array, second: Array) -> float:
    """Return the correlation of differences inside arms."""
    centred = [values - values.mean(axis=1, keepdims=True) for values in (first, second)]
    return float(np.corrcoef(*(values.ravel() for values in centred))[0, 1])


def _arms(count: int) -> Family:
    return family([("baseline", number) for number in range(count)])


def _over_normal(
    nulls: dict[str, dict[str, float]], name: str, worst: Callable[..., float]
) -> float:
    """Return the worst figure of looks, with and without `resolve`, under normal noise."""
    rows = [row for noise, row in nulls.items() if noise.startswith("normal")]
    return worst(row[f"{name}_{kind}"] for row in rows for kind in ("looks", "resolved"))


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: round(float(np.mean(values)), 4) for name, values in values.items()}


def main() -> None:
    """Measure and write the result."""
    gc.freeze()  # a correction by statsmodels collects garbage each time
    validation, test = committed("digits")
    spread = spread_of(test)
    margin, correlation = 0.01 / spread, correlation_of(validation, test)
    run = partial(null, margin=margin)
    nulls = {
        "normal": run(normal, correlation),
        "normal_correlation_0.9": run(normal, 0.9),
        "normal_uncorrelated": run(normal, 0.0),
        "t_3": run(heavy, correlation),
        "t_3_correlation_0.9": run(heavy, 0.9),
        "exponential": run(skewed, correlation),
        "exponential_over_a_quiet_baseline": run(skewed, correlation, quiet=0.25),
        "t_3_over_a_quiet_baseline": run(heavy, correlation, quiet=0.25),
    }
    held = {
        "family_wise": _over_normal(nulls, "family_wise", max),
        "coverage": _over_normal(nulls, "coverage", min),
        "peeking": nulls["normal"]["family_wise_peeking"],
    }
    results = {
        "bar": BAR,
        "reports": REPORTS,
        "arms": ARMS,
        "looks": {"seeds": LOOKS.seeds, "weights": LOOKS.weights},
        "of_digits": {
            "correlation": round(correlation, 3),
            "margin": round(margin, 3),
            "spread": round(spread, 5),
        },
        "held": held,
        "null": nulls,
        "effects": {str(size): effect(size, correlation, margin) for size in EFFECTS},
        "at_margin": at_margin(correlation, margin),
        "digits": like(test.mean(axis=1) / spread, correlation, margin),
        "replayed": {"digits": replayed(validation, test, 0.01)},
    }
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
