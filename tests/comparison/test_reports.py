"""Whole reports in simulation: claims about a page of verdicts, each with a method that breaks it.

Every report is made by `contrasts` itself, from scores that were drawn; a wrong method is tried on
the same scores.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison import family
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.intervals import detectable
from pipeline.comparison.levels import PRIMARY
from pipeline.comparison.matching import WHERE, outcomes
from pipeline.comparison.selection import choice, tried
from pipeline.comparison.verdicts import Verdict
from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy

pytestmark = pytest.mark.usefixtures("little_garbage")
ARMS, SEEDS, SPREAD, MARGIN = 12, 8, 0.01, 0.01
NAMES = ("baseline", *(f"arm_{number}" for number in range(ARMS)))
COST = {"training_flops": 2, "forward_flops": 1}


def share(expected, count):
    """Return the most that a share of `count` draws may be: 3 standard errors above its mean."""
    return expected + 3 * np.sqrt(expected * (1 - expected) / count)


class Reports:
    """One plan of arms, made into reports from accuracies (arms, seeds), the baseline's first."""

    def __init__(self, studies, seeds, margin=MARGIN):
        described = tuple(
            PlannedStudy(name=study, question="?", arms=tuple(PlannedArm(name=arm) for arm in arms))
            for study, arms in studies.items()
        )
        runs = tuple(
            PlannedRun(study=study, arm=arm, seed=seed, fingerprint=f"{study}.{arm}.{seed}")
            for study, arms in studies.items()
            for arm in arms
            for seed in range(seeds)
        )
        protocol = {
            "protocol": "tiny",
            "phase": "confirmation",
            "settings": {},
            "margin": margin,
            "data_digest": "d",
        }
        self.plan = Plan(**protocol, studies=described, runs=runs)
        names = self.plan.fingerprints()
        self.states, self.machines = dict.fromkeys(names, "done"), dict.fromkeys(names, "one kind")
        self.costs = dict.fromkeys(names, COST)
        places = pd.DataFrame({"fingerprint": names, "view": "deterministic", "members": 1})
        self.scores = pd.concat(
            [places.assign(split=split, metric=name) for split, name in WHERE.values()],
            ignore_index=True,
        )

    def table(self, accuracies):
        scores = self.scores.assign(value=np.tile(np.ravel(accuracies), len(WHERE)))
        results = outcomes(scores, self.states, self.machines)
        return contrasts(self.plan, results, self.costs, {}, metrics=(PRIMARY,))


@pytest.fixture(scope="module")
def one():
    return Reports({"one": NAMES}, SEEDS)


def noise(generator, arms=ARMS + 1, seeds=SEEDS):
    """Return accuracies of equal arms: what a seed does to all of them, and to each."""
    return (
        0.9
        + generator.normal(0, 0.02, seeds)
        + generator.normal(0, SPREAD / np.sqrt(2), (arms, seeds))
    )


def significant(verdicts):
    return verdicts.isin([Verdict.HELPS, Verdict.HURTS])


def unpaired(accuracies):
    """Return a z interval of two means, as if nothing were paired and the spread known."""
    baseline, arms = accuracies[0], accuracies[1:]
    error = np.sqrt((arms.var(axis=1, ddof=1) + baseline.var(ddof=1)) / SEEDS)
    return np.abs(arms.mean(axis=1) - baseline.mean()) > 1.96 * error


@pytest.mark.parametrize(
    "common", [True, False], ids=["seeds that matter to all arms", "seeds that do not"]
)
def test_false_verdicts_of_hundreds_of_null_reports(common, one):
    """Of 120 reports on arms equal to their baseline, one in twenty may hold a false verdict."""
    generator, count = np.random.default_rng(10 + common), 120
    false = {"verdict": 0, "uncorrected": 0, "unpaired": 0}
    for _ in range(count):
        accuracies = (
            noise(generator) if common else generator.normal(0.9, SPREAD, (ARMS + 1, SEEDS))
        )
        table = one.table(accuracies)
        false["verdict"] += significant(table["verdict"]).any()
        false["uncorrected"] += (table["p"] < 0.05).any()
        false["unpaired"] += unpaired(accuracies).any()
    assert false["verdict"] <= share(0.05, count) * count
    assert false["uncorrected"] > 2 * share(0.05, count) * count
    assert common or false["unpaired"] > 2 * share(0.05, count) * count


def power(one, level, count):
    """Return how often the one effect among twelve arms, of detectable size, gets its verdict."""
    generator, effect = np.random.default_rng(12), np.zeros((ARMS + 1, 1))
    effect[5] = detectable(SPREAD, SEEDS, level)
    return np.mean(
        [
            one.table(noise(generator) + effect)["verdict"].iloc[4] == Verdict.HELPS
            for _ in range(count)
        ]
    )


def test_a_planted_effect_of_the_detectable_size_gets_its_verdict_four_times_in_five(one):
    count = 120
    error = np.sqrt(0.8 * 0.2 / count)
    assert 0.8 - 3 * error <= power(one, 0.05 / ARMS, count) <= 0.83 + 3 * error


def test_a_size_that_forgets_the_correction_is_found_half_as_often(one):
    assert power(one, 0.05, 60) < 0.6


def test_the_detectable_difference_of_a_report_is_that_of_its_verdict(one):
    """It is the true one, up to the bias of a measured standard deviation."""
    generator = np.random.default_rng(13)
    stated = np.mean([one.table(noise(generator))["detectable"].mean() for _ in range(30)])
    assert stated == pytest.approx(detectable(SPREAD, SEEDS, 0.05 / ARMS), rel=0.08)
    assert stated > 1.5 * detectable(SPREAD, SEEDS, 0.05)


def test_equivalence_is_found_where_it_is_and_rarely_at_the_margin(one):
    """Of arms that lie just at the margin at most 5 % are called equivalent."""
    generator, count, effect = np.random.default_rng(14), 100, np.zeros((ARMS + 1, 1))
    effect[7:] = MARGIN
    shares = []
    for _ in range(count):
        table = one.table(0.45 + noise(generator) / 2 + effect)
        within = (table["verdict"] == Verdict.EQUIVALENT) | table["below_margin"]
        naive = table["difference"].abs() < MARGIN
        shares.append(
            [(table["verdict"][:6] == "equivalent").mean(), within[6:].mean(), naive[6:].mean()]
        )
    equal, at_margin, by_eye = np.mean(shares, axis=0)
    assert equal > 0.9
    assert at_margin <= share(
        0.05, 6 * count / 2
    )  # arms of one report share their baseline: worth about half
    assert by_eye > 0.4


def test_a_smaller_p_than_the_correction_allows_is_no_verdict(one):
    """The family counts arms that failed: p = 0.01 is not enough, though eleven have no p."""
    accuracies = noise(np.random.default_rng(15))
    base = np.array([-3, -1, 1, 3, -2, 2, -1, 1.0])
    accuracies[1] = accuracies[0] + 0.01 * (base + stats.t.isf(0.005, 7) * stats.sem(base))
    accuracies[2:] = np.nan
    table = one.table(accuracies)
    assert table["p"].iloc[0] == pytest.approx(0.01)
    assert table["p_holm"].iloc[0] == pytest.approx(0.12)
    assert set(table["verdict"]) == {"inconclusive"}
    assert set(table["unpaired"].iloc[1:]) == {SEEDS}


def test_the_chosen_of_twenty_equal_strengths_is_as_good_as_any_on_fresh_seeds():
    """At one seed the best of twenty looks 1.87 standard deviations better than it is."""
    count, strengths, seeds, generator = 60, 20, 12, np.random.default_rng(16)
    settings = [{"dropout": {"rate": number / strengths}} for number in range(strengths)]
    frame = pd.DataFrame(
        [
            (f"s{study}", "arm", setting, 1.0, 0, "done", 0.1)
            for study in range(count)
            for setting in settings
        ],
        columns=["study", "arm", "setting", "budget", "seed", "state", "validation_nll"],
    )
    reports = Reports({f"s{study}": ("baseline", "arm") for study in range(count)}, seeds)
    explored = generator.normal(0.9, SPREAD, (count, strengths))
    picked = choice(tried(reports.plan, frame.assign(validation_accuracy=explored.ravel())))
    places = [settings.index(picked[f"s{study}"]["arm"]) for study in range(count)]
    looked = (explored[np.arange(count), places].mean() - 0.9) / SPREAD
    assert looked == pytest.approx(1.87, abs=0.2)
    fresh = generator.normal(0.9, SPREAD, (count, strengths, seeds))[np.arange(count), places]
    table = reports.table(np.stack([np.full((count, seeds), 0.9), fresh], axis=1))
    assert abs(table["difference"].mean()) / SPREAD < 0.1


def test_constant_scores_give_neither_warning_nor_certainty(one):
    """Warnings are errors here: nothing is divided by a spread of 0."""
    table = one.table(np.full((ARMS + 1, SEEDS), 0.9))
    assert set(table["verdict"]) == {"inconclusive"}
    undefined = [
        "low",
        "high",
        "p",
        "p_sign_flip",
        "p_holm",
        "detectable",
        "seeds_needed",
        "correlation",
    ]
    assert table[undefined].isna().all(axis=None)
    better = one.table(np.linspace(0.5, 0.9, ARMS + 1)[:, None] * np.ones(SEEDS))
    assert set(better["verdict"]) == {"inconclusive"}
    assert set(better["p_sign_flip"]) == {2 / 2**SEEDS}


def test_one_seed_says_nothing(monkeypatch):
    reports = Reports({"one": NAMES}, 1)
    table = reports.table(np.linspace(0.5, 0.9, ARMS + 1))
    assert set(table["verdict"]) == {"inconclusive"}
    assert table[["low", "high", "p", "p_sign_flip", "p_holm", "seed_error"]].isna().all(axis=None)
    assert table["difference"].gt(0).all()
    monkeypatch.setattr(
        family, "holm", lambda p: np.where(np.isnan(p), 0.0, p)
    )  # what a wrong correction would do
    assert set(reports.table(np.linspace(0.5, 0.9, ARMS + 1))["verdict"]) == {"helps"}
