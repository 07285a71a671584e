"""How often the sentences of a report are wrong, in simulated reports through the real code.

Scores are drawn, and everything after them is the code of `compare`: collapses, contrasts, families
and intervals. A report has a baseline and 13 arms with 12 seeds each, unless a scenario says
otherwise; the standard deviation of a difference between two runs is one point of accuracy, and so
is the margin. `wrong` is the share of reports with at least one false sentence of a kind, beside it
the same scores under a method that leaves out the correction. Where arms are equal but some runs
collapse, a false verdict is one about the typical runs, of which none differ.

`images` draws the predictions of two equal arms on other seeds and other test images, and counts
how often an interval covers the difference over all images, which is 0: over seeds alone, over
seeds and images by crossed variances (`total_error`), and by a bootstrap of both.

Shares of n reports have a standard error of sqrt(share (1 - share) / n). Writes
benchmarks/results/verdicts.json.
"""

import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.comparison.collapses import collapses, with_collapses
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.interactions import against_better_parts
from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.comparison.matching import WHERE, Outcomes
from pipeline.comparison.verdicts import Verdict
from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy

RESULT = Path(__file__).parent / "results" / "verdicts.json"
ARMS, SEEDS, MARGIN = 13, 12, 0.01
SPREAD = 0.01 / np.sqrt(2)  # of a run around its arm, so that differences have 0.01
BETWEEN = 0.02  # of a seed, the same for all arms
COST = {"training_flops": 2, "forward_flops": 1}
REPORTS = 300
RARE = 0.05  # of runs
DEPTHS = (5, 10, 20)  # of a collapse, in standard deviations of a run
DIRECTED = (Verdict.HELPS, Verdict.HURTS)

Array = np.ndarray
NO_HITS: Mapping[str, Array] = {}
Draw = Callable[[np.random.Generator], Array]  # accuracies (arms + 1, seeds), the baseline's first


@dataclass(frozen=True)
class Design:
    """The plan of a simulated report."""

    plan: Plan
    seeds: int

    def outcomes(self, accuracies: Array, gaps: Array) -> Outcomes:
        """Return the outcomes of runs with these test accuracies and gaps, arm by arm."""
        names = self.plan.fingerprints()
        scores = {}
        for values, metric in ((accuracies, PRIMARY), (gaps, "gap")):
            for name, value in zip(names, values.ravel().tolist(), strict=True):
                scores[(name, "deterministic", 1, *WHERE[metric])] = value
        return Outcomes(dict.fromkeys(names, "done"), dict.fromkeys(names, "one"), scores)

    def table(
        self,
        outcomes: Outcomes,
        hits: Mapping[str, Array] = NO_HITS,
        metrics: Sequence[str] = (PRIMARY,),
    ) -> pd.DataFrame:
        """Return the contrasts."""
        costs = dict.fromkeys(self.plan.fingerprints(), COST)
        return contrasts(self.plan, outcomes, costs, hits, metrics=metrics)


def design(arms: int = ARMS, seeds: int = SEEDS) -> Design:
    """Return a plan of one study with a baseline and arms."""
    names = ("baseline", *(f"arm_{number}" for number in range(arms)))
    runs = tuple(
        PlannedRun(study="one", arm=arm, seed=seed, fingerprint=f"{arm}.{seed}")
        for arm in names
        for seed in range(seeds)
    )
    plan = Plan(
        protocol="simulated",
        phase="confirmation",
        settings={},
        margin=MARGIN,
        data_digest="none",
        studies=(
            PlannedStudy(name="one", question="?", arms=tuple(PlannedArm(name=n) for n in names)),
        ),
        runs=runs,
    )
    return Design(plan, seeds)


def normal(generator: np.random.Generator, arms: int = ARMS, seeds: int = SEEDS) -> Array:
    """Return accuracies (arms + 1, seeds) of equal arms."""
    common = 0.85 + generator.normal(0, BETWEEN, seeds)
    return common + generator.normal(0, SPREAD, (arms + 1, seeds))


def shares(rows: Sequence[Mapping[str, bool]]) -> dict[str, float]:
    """Return the share of reports by kind."""
    table = pd.DataFrame(rows).astype(float)
    return {str(name): round(float(value), 4) for name, value in table.mean().items()}


def null_report(seeds: int, reports: int) -> dict[str, float]:
    """Simulate reports without any effect: verdicts, gaps, the named arm, rates and flags."""
    generator, plan = np.random.default_rng(seeds), design(seeds=seeds)
    rows = []
    for _ in range(reports):
        drawn, gaps = normal(generator, seeds=seeds), normal(generator, seeds=seeds)
        outcomes = with_collapses(plan.plan, plan.outcomes(drawn, gaps))
        table = plan.table(outcomes, metrics=(PRIMARY, "gap"))
        rates = collapses(plan.plan, outcomes)
        accuracy, gap = (table[table["metric"] == metric] for metric in (PRIMARY, "gap"))
        best = accuracy.loc[accuracy["difference"].idxmax()]
        smaller = gap["difference"] < 0
        rows.append(
            {
                "verdict": accuracy["verdict"].isin(DIRECTED).any(),
                "verdict_uncorrected": (accuracy["p"] < LEVEL).any(),
                "smaller_gap": (smaller & (gap["p_holm"] < LEVEL)).any(),
                "smaller_gap_uncorrected": (smaller & gap["excludes_zero"]).any(),
                "named_arm_covered": best["low_all"] <= 0 <= best["high_all"],
                "named_arm_covered_single": best["low"] <= 0 <= best["high"],
                "any_arm_missed": not accuracy["low_all"].le(0).all()
                or not accuracy["high_all"].ge(0).all(),
                "clean_report_flagged": bool(outcomes.collapsed),
                "rate_claimed": (rates["often"] != "").any(),
            }
        )
    return shares(rows)


def at_the_margin(reports: int) -> dict[str, float]:
    """Simulate reports whose arms all lie at the margin, half of them on either side."""
    generator, plan = np.random.default_rng(1), design()
    sides = np.where(np.arange(ARMS) % 2, MARGIN, -MARGIN)
    effect = np.concatenate([[0.0], sides])[:, None]
    rows = []
    for _ in range(reports):
        drawn = normal(generator)
        drawn = drawn.mean(axis=0) + (drawn - drawn.mean(axis=0)) / 3 + effect
        accuracy = plan.table(plan.outcomes(drawn, drawn))
        inside = (accuracy["low_90"] > -MARGIN) & (accuracy["high_90"] < MARGIN)
        rows.append(
            {
                "equivalent": (
                    (accuracy["verdict"] == Verdict.EQUIVALENT) | accuracy["below_margin"]
                ).any(),
                "equivalent_uncorrected": inside.any(),
            }
        )
    return shares(rows)


def with_rare_collapses(
    depth: float, who: str, reports: int, shift: float = 0.0
) -> dict[str, float]:
    """Simulate reports of which a few runs collapse by `depth` standard deviations of a run.

    Args:
        depth: In standard deviations of a run.
        who: Which runs may: those of the "baseline", of the "arms", or of "all".
        reports: How many.
        shift: What is added to the other runs of those that may collapse.
    """
    generator, plan = np.random.default_rng(int(depth) + len(who)), design()
    may = np.zeros((ARMS + 1, 1), bool)
    may[{"baseline": slice(0, 1), "arms": slice(1, None), "all": slice(None)}[who]] = True
    rows = []
    for _ in range(reports):
        lost = may & (generator.random((ARMS + 1, SEEDS)) < RARE)
        drawn = normal(generator) - depth * SPREAD * lost + shift * may
        raw = plan.outcomes(drawn, drawn)
        outcomes = with_collapses(plan.plan, raw)
        table, plain = plan.table(outcomes), plan.table(raw)
        more = table["lost"] > table["reference_lost"]
        rows.append(
            {
                "verdict": table["verdict"].isin(DIRECTED).any(),
                "verdict_collapses_left_in": plain["verdict"].isin(DIRECTED).any(),
                "helps_with_more_losses": (more & (table["verdict"] == Verdict.HELPS)).any(),
                "rate_claimed": (collapses(plan.plan, outcomes)["often"] != "").any(),
                "withheld": table["withheld"].any(),
            }
        )
    return shares(rows)


def other_shapes(name: str, draw: Draw, reports: int) -> dict[str, float]:
    """Simulate reports of equal means whose scores are not normal."""
    generator, plan = np.random.default_rng(len(name)), design()
    rows = []
    for _ in range(reports):
        drawn = draw(generator)
        outcomes = with_collapses(plan.plan, plan.outcomes(drawn, drawn))
        table = plan.table(outcomes)
        rows.append(
            {
                "verdict": table["verdict"].isin(DIRECTED).any(),
                "report_flagged": bool(outcomes.collapsed),
            }
        )
    return shares(rows)


def skewed_arms(generator: np.random.Generator) -> Array:
    """Return arms with exponential noise downwards over a baseline with a tenth of it."""
    drawn = normal(generator)
    drawn[0] = drawn.mean(axis=0) + (drawn[0] - drawn.mean(axis=0)) / 10
    noise = generator.exponential(SPREAD, (ARMS, SEEDS))
    drawn[1:] = drawn[0] + SPREAD - noise
    return drawn


def heavy_tails(generator: np.random.Generator) -> Array:
    """Return scores with the noise of Student's t with 3 degrees of freedom."""
    common = 0.85 + generator.normal(0, BETWEEN, SEEDS)
    scores: Array = common + SPREAD * generator.standard_t(3, (ARMS + 1, SEEDS)) / np.sqrt(3)
    return scores


def unequal_spreads(generator: np.random.Generator) -> Array:
    """Return arms of which the widest has four times the spread of the narrowest."""
    drawn = normal(generator)
    common = drawn.mean(axis=0)
    scores: Array = common + (drawn - common) * np.linspace(0.5, 2, ARMS + 1)[:, None]
    return scores


def better_parts(reports: int, behind: float) -> dict[str, float]:
    """Simulate a pair that is exactly as good as its better part.

    Args:
        reports: How many.
        behind: How far the other part is behind, in standard deviations of a difference.
    """
    generator, names = np.random.default_rng(6), ("baseline", "first", "second", "both")
    plan = design(arms=3)
    study = plan.plan.studies[0].model_copy(
        update={"arms": tuple(PlannedArm(name=name) for name in names)}
    )
    renamed = dict(zip(("baseline", "arm_0", "arm_1", "arm_2"), names, strict=True))
    runs = tuple(run.model_copy(update={"arm": renamed[run.arm]}) for run in plan.plan.runs)
    pair = Design(plan.plan.model_copy(update={"studies": (study,), "runs": runs}), SEEDS)
    parts = {
        ("one", name): frozenset(changed)
        for name, changed in zip(names, ((), ("a",), ("b",), ("a", "b")), strict=True)
    }
    means = np.array([-0.02, -behind * 0.01, 0.0, 0.0])[:, None]
    costs = dict.fromkeys(pair.plan.fingerprints(), COST)
    rows = []
    for _ in range(reports):
        test = normal(generator, arms=3) + means
        validation = test + generator.normal(0, SPREAD, test.shape)
        outcomes = pair.outcomes(test, test)
        split = WHERE["validation_accuracy"]
        values = zip(pair.plan.fingerprints(), validation.ravel().tolist(), strict=True)
        more = {(name, "deterministic", 1, *split): value for name, value in values}
        outcomes = Outcomes(outcomes.states, outcomes.kinds, {**outcomes.scores, **more})
        besides = against_better_parts(pair.plan, outcomes, parts)
        table = contrasts(pair.plan, outcomes, costs, NO_HITS, (PRIMARY,), besides)
        last = table.iloc[-1]
        rows.append({"verdict": last["verdict"] in DIRECTED, "p_below_level": last["p"] < LEVEL})
    return shares(rows)


def images(count: int, experiments: int, by_image: float) -> dict[str, float]:
    """Simulate predictions on other seeds and test images.

    Args:
        count: The test images of an experiment.
        experiments: How many.
        by_image: The standard deviation of what an arm does to single images, beside a noise of 1
            for single predictions.
    """
    generator, plan = np.random.default_rng(count), design(arms=1)
    rows = []
    for _ in range(experiments):
        easy = generator.normal(1.2, 1, count)
        image_effects = generator.normal(0, by_image, (2, 1, count))
        seed = generator.normal(0, 0.1, (2, SEEDS, 1))
        right = easy + image_effects + seed + generator.normal(0, 1, (2, SEEDS, count)) > 0
        right = right.astype(np.int8)
        hits = dict(zip(plan.plan.fingerprints(), right.reshape(-1, count), strict=True))
        accuracies = right.mean(axis=2)
        row = plan.table(plan.outcomes(accuracies, accuracies), hits).iloc[0]
        low, high = bootstrap(right[1].astype(float) - right[0], generator)
        rows.append(
            {
                "seeds_alone": row["low"] <= 0 <= row["high"],
                "crossed": row["low_images"] <= 0 <= row["high_images"],
                "bootstrap_of_both": low <= 0 <= high,
            }
        )
    return shares(rows)


def bootstrap(differences: Array, generator: np.random.Generator, resamples: int = 200) -> Array:
    """Return the 95 % percentile interval of a mean (seeds, images), both drawn again."""
    seeds, count = differences.shape
    of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    of_images = generator.multinomial(count, np.full(count, 1 / count), resamples) / count
    means = np.einsum("rs,si,ri->r", of_seeds, differences, of_images, optimize=True)
    ends: Array = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2])
    return ends


def main() -> None:
    """Run all scenarios and write the result."""
    gc.freeze()  # statsmodels collects garbage at every correction
    start = time.process_time()
    result: dict[str, object] = {
        "reports": REPORTS,
        "bars": {"wrong": LEVEL, "covered": 1 - LEVEL, "flagged": 0.01},
        "arms": ARMS,
        "seeds": SEEDS,
        "null": {f"seeds_{seeds}": null_report(seeds, REPORTS) for seeds in (6, 12, 24)},
        "at_the_margin": at_the_margin(REPORTS),
        "collapses": {
            f"{who}_by_{depth}": with_rare_collapses(depth, who, REPORTS // 2)
            for who in ("baseline", "arms", "all")
            for depth in DEPTHS
        },
        "collapses_with_equal_means": {
            f"{who}_by_20": with_rare_collapses(20, who, REPORTS // 2, RARE * 20 * SPREAD)
            for who in ("baseline", "arms")
        },
        "shapes": {
            name: other_shapes(name, draw, REPORTS // 2)
            for name, draw in (
                ("skewed_arms_over_a_quiet_baseline", skewed_arms),
                ("heavy_tails", heavy_tails),
                ("unequal_spreads", unequal_spreads),
            )
        },
        "better_part": {f"behind_{behind}": better_parts(REPORTS, behind) for behind in (0, 0.5)},
        "images": {
            f"by_image_{by_image}": images(300, REPORTS, by_image) for by_image in (0.2, 0.6)
        },
    }
    RESULT.write_text(f"{json.dumps(result, indent=1)}\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    print(f"{time.process_time() - start:.0f} s of one core")


if __name__ == "__main__":
    main()
