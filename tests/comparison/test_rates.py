"""Ranges of learning rates that work, by hand."""

from math import inf, isnan

import pandas as pd
import pytest

from pipeline.comparison import rates
from pipeline.comparison.rates import RANGES, SEEDS, TRIED, rate_ranges, rates_tried, seed_ranges
from pipeline.config.plan import Dimension, Factor, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.planning.choice import Score

SPACE = Dimension(part="protocol", key="training.learning_rate", scale="log")
STRENGTH = Dimension(part="weight_decay", key="strength", scale="log")


def missing(_):
    return Score("missing")


def planned(**spaces):
    """Return an exploration plan: the tuned baseline, and a study with arms by their spaces."""
    arms = [PlannedArm(name="baseline")]
    arms += [PlannedArm(name=name, space=space) for name, space in spaces.items()]
    tuned = (PlannedArm(name="baseline", space=(SPACE,)),)
    runs = [
        PlannedRun(study="s", arm="baseline", seed=seed, fingerprint=str(seed)) for seed in (0, 1)
    ]
    return Plan(
        protocol="p",
        phase="exploration",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(
            PlannedStudy(name="tuning", question="?", kind="tuning", arms=tuned),
            PlannedStudy(name="s", question="?", arms=tuple(arms)),
        ),
        runs=tuple(runs),
    )


def trials(scores, study="s", arm="a", fitted=None):
    """Return the settings tried of an arm, by rate; None for one whose runs diverged."""
    best = max(score for score in scores.values() if score is not None)
    return [
        {
            "study": study,
            "arm": arm,
            "setting": {"protocol": {"training.learning_rate": rate}},
            "budget": 1.0,
            "n": 0 if score is None else 2,
            "validation_accuracy": score,
            "fitted": (fitted or {}).get(rate),
            "diverged": 2 if score is None else 0,
            "chosen": score == best,
        }
        for rate, score in scores.items()
    ]


def ranges(scores, fitted=None, space=(SPACE,)):
    plan = planned(a=space)
    tried, singles = rates_tried(plan, trials(scores, fitted=fitted)), seed_ranges(plan, missing)
    (row,) = rate_ranges(plan, tried, singles).to_dict("records")
    return row


def test_a_range_ends_where_the_accuracy_is_one_point_below_the_best():
    row = ranges({0.01: 0.88, 0.1: 0.9, 1.0: 0.895, 10.0: 0.885})
    assert (row["trials"], row["seeds"], row["basis"], row["chosen"]) == (4, 2, "mean", 0.1)
    assert row["best"] == 0.9
    assert row["low"] == pytest.approx(10**-1.5)
    assert row["high"] == pytest.approx(10**0.5)
    assert row["factor"] == pytest.approx(100)
    assert not row["low_open"]
    assert not row["high_open"]


def test_a_range_that_never_falls_is_open():
    row = ranges({0.01: 0.895, 0.1: 0.9, 1.0: 0.7})
    assert (row["low"], row["low_open"], row["high_open"]) == (pytest.approx(0.01), True, False)


def test_a_dip_ends_the_range_whatever_follows_it():
    row = ranges({0.01: 0.9, 0.1: 0.91, 1.0: 0.7, 10.0: 0.91})
    assert row["high"] < 1


def test_a_diverged_rate_is_outside_from_the_last_one_that_works():
    row = ranges({0.1: 0.5, 1.0: 0.9, 10.0: None})
    assert (row["high"], row["high_open"]) == (pytest.approx(1), False)


def test_the_curve_is_used_where_there_is_one():
    curve = {0.01: 0.7, 0.1: 0.9, 1.0: 0.895}
    row = ranges({0.01: 0.7, 0.1: 0.9, 1.0: 0.85, 10.0: 0.1}, fitted=curve)
    assert row["basis"] == "curve"
    assert row["high"] > 1


def test_a_rate_beside_another_searched_value_has_no_range():
    row = ranges({0.1: 0.9, 1.0: 0.8}, space=(STRENGTH, SPACE))
    assert row["basis"] == "several values searched"
    assert isnan(row["factor"])


def test_studies_without_an_arm_of_its_own_rate_are_left_out():
    plan = planned(a=(STRENGTH,))
    table = rates_tried(plan, trials({0.1: 0.9}, "tuning", "baseline"))
    assert table.empty
    assert tuple(table.columns) == TRIED
    assert tuple(rate_ranges(plan, table, seed_ranges(plan, missing)).columns) == RANGES


def test_the_tuned_baseline_stands_beside_the_arms():
    plan = planned(a=(SPACE,))
    listed = trials({1.0: 0.8, 0.1: 0.9}, "tuning", "baseline") + trials({0.1: 0.9, 0.2: 0.8})
    table = rates_tried(plan, listed)
    assert table[["arm", "learning_rate"]].to_numpy().tolist() == [
        ["baseline", 0.1],
        ["baseline", 1.0],
        ["a", 0.1],
        ["a", 0.2],
    ]
    assert set(table["study"]) == {"s"}


def seeds(factor, least, most):
    return {"factor": factor, "least": least, "most": most}


@pytest.mark.parametrize(
    ("one", "other", "outcome"),
    [
        (seeds(8.0, 7.0, 9.0), seeds(4.0, 3.0, 5.0), "wider"),
        (seeds(4.0, 3.0, 5.0), seeds(8.0, 7.0, 9.0), "narrower"),
        (seeds(8.0, 7.0, inf), seeds(4.0, 3.0, 5.0), "wider"),
        (seeds(8.0, 7.0, 9.0), seeds(4.0, 3.0, 7.5), "undecided"),
        (seeds(8.0, 7.0, 9.0), seeds(4.0, 3.0, inf), "undecided"),
        (seeds(4.0, 4.0, 4.0), seeds(4.0, 4.0, 4.0), "undecided"),
    ],
)
def test_one_range_is_wider_where_it_is_so_at_every_seed(one, other, outcome):
    assert rates._compared(one, other) == outcome


def test_single_seeds_have_ranges_of_their_own():
    plan = planned(a=(SPACE,))
    accuracies = {(0.01, 0): 0.7, (0.1, 0): 0.9, (1.0, 0): 0.7}
    accuracies |= {(0.01, 1): 0.895, (0.1, 1): 0.9, (1.0, 1): None}
    runs = [
        PlannedRun(
            study="s",
            arm="a",
            seed=seed,
            setting={"protocol": {"training.learning_rate": rate}},
            fingerprint=f"{rate} {seed}",
        )
        for rate, seed in accuracies
    ]
    scores = {
        f"{rate} {seed}": Score("diverged") if accuracy is None else Score("done", accuracy, 0.1)
        for (rate, seed), accuracy in accuracies.items()
    }
    plan = plan.model_copy(update={"runs": tuple(runs)})
    table = rates_tried(plan, trials({0.01: 0.8, 0.1: 0.9, 1.0: 0.7}))
    singles = seed_ranges(plan, scores.__getitem__)
    assert tuple(singles) == SEEDS
    singles = singles[singles["arm"] == "a"]
    assert singles["factor"].tolist() == pytest.approx([100 ** (0.01 / 0.2), 10])
    assert singles["is_open"].tolist() == [False, True]
    (row,) = rate_ranges(plan, table, singles).to_dict("records")
    assert row["least"] == pytest.approx(100 ** (0.01 / 0.2))
    assert row["most"] == inf  # it still works at the lowest rate
    (row,) = rate_ranges(plan, table, seed_ranges(plan, missing)).to_dict("records")
    assert isnan(row["least"])


@pytest.mark.parametrize(
    ("partners", "expected"), [((), "baseline"), (("rate_alone", "dropout"), "rate_alone")]
)
def test_batch_norm_is_compared_with_the_network_that_has_it(partners, expected):
    factors = {
        "plain": Factor(protocol={"model.batch_norm": False, "training.learning_rate": "searched"}),
        "rate_alone": Factor(protocol={"training.learning_rate": "searched"}),
        "dropout": Factor(regularizers=("dropout",)),
        "other": Factor(protocol={"model.batch_norm": False, "model.initialization": "he"}),
    }
    names = ("plain", "other", *partners)
    arms = [PlannedArm(name=name, factor=factors[name], space=(SPACE,)) for name in names]
    plan = planned()
    study = PlannedStudy(name="s", question="?", arms=(PlannedArm(name="baseline"), *arms))
    plan = plan.model_copy(update={"studies": (plan.studies[0], study)})
    wide = {name: 4.0 if name == "plain" else 8.0 for name in ("baseline", *names)}
    ranges = pd.DataFrame(
        [
            {"study": "s", "arm": name, **dict.fromkeys(("factor", "least", "most"), factor)}
            for name, factor in wide.items()
        ]
    )
    (row,) = rates.batch_norm_ranges(plan, ranges).to_dict("records")
    assert row == {"study": "s", "arm": "plain", "with": expected, "batch_norm": "wider"}


def test_nothing_is_interpolated_towards_a_rate_without_accuracy():
    assert rates._end([0.0, 1.0], [0.9, -inf], 0.89) == (0.0, False)


def test_a_table_of_ranges_is_numeric():
    plan = planned(a=(SPACE,))
    table = rates_tried(plan, trials({0.1: 0.9, 1.0: None}))
    assert table["validation_accuracy"].dtype == float
    assert isinstance(table, pd.DataFrame)
