"""Published beside measured: each difference by hand, each outcome by a planted one."""

import numpy as np
import pandas as pd
import pytest

from pipeline.comparison.intervals import interval
from pipeline.comparison.matching import outcomes
from pipeline.comparison.published import COLUMNS, published, relative_change
from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.schema import Published
from pipeline.prediction.tensors import PASSES

SEEDS = range(1000, 1006)
ACCURACIES = {"baseline": 0.80, "better": 0.85, "worse": 0.75, "same": 0.80}
NOISE = np.array([0.001, -0.001, 0.002, -0.002, 0.0005, -0.0005])
MACHINE = {"device": "cpu"}


def claim(arm, **more):
    return Published(
        **{"source": "A paper", "setting": "A network", "arm": arm, "effect": "lower"} | more
    )


def plan(*claims, ensembles=()):
    """Return two studies of the same four arms, and one of ensembles.

    `worse` of the second is `same`.
    """
    arms = tuple(PlannedArm(name=name) for name in ACCURACIES)
    runs = [
        PlannedRun(study=study, arm=arm, seed=seed, fingerprint=f"{run}{seed}")
        for study, others in (("one", {}), ("two", {"worse": "same"}))
        for arm in ACCURACIES
        for run in [others.get(arm, arm)]
        for seed in SEEDS
    ]
    studies = (
        PlannedStudy(name="one", question="?", arms=arms, published=claims),
        PlannedStudy(name="two", question="?", arms=arms),
    )
    fixed = {
        "protocol": "tiny",
        "phase": "confirmation",
        "settings": {},
        "margin": 0.01,
        "data_digest": "d",
    }
    return Plan(**fixed, studies=studies + ensembles, runs=tuple(runs))


def measured(planned, states=None, costs=None, passes=None, ensembles=None):
    rows = [
        (
            *(run.fingerprint, "deterministic", 1, "test", "accuracy"),
            ACCURACIES[name] + (name != "baseline") * NOISE[run.seed - SEEDS[0]],
        )
        for run in planned.runs
        for name in [run.fingerprint.removesuffix(str(run.seed))]
    ]
    scores = pd.DataFrame(
        rows, columns=["fingerprint", "view", "members", "split", "metric", "value"]
    ).drop_duplicates()
    names = planned.fingerprints()
    states = dict.fromkeys(names, "done") | (states or {})
    return published(
        planned,
        outcomes(scores, states, dict.fromkeys(names, MACHINE)),
        costs or {name: {"training_flops": 100} for name in names},
        passes
        if passes is not None
        else pd.DataFrame(columns=["fingerprint", "passes", "metric", "value"]),
        ensembles
        if ensembles is not None
        else pd.DataFrame(columns=["study", "group", "method", "metric", "value"]),
    )


def test_errors_are_paired_by_seed_and_stand_beside_what_is_printed():
    (row,) = measured(plan(claim("better", figures=(1.6, 1.35)))).to_dict("records")
    expected = interval(-0.05 - NOISE)
    assert (row["source"], row["published_setting"], row["sign"]) == (
        *("A paper", "A network"),
        "lower",
    )
    assert (row["study"], row["arm"], row["measure"]) == ("one", "better", "error")
    assert (row["published_before"], row["published_after"], row["n"]) == (1.6, 1.35, 6)
    assert row["before"] == pytest.approx(0.2)
    assert row["after"] == pytest.approx(0.15)
    assert row["difference"] == pytest.approx(expected.mean)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["published_change"] == pytest.approx(-0.15625)
    assert row["change"] == pytest.approx(-0.25)
    assert row["outcome"] == "agrees"


def test_a_change_is_relative_to_a_first_value_above_zero():
    (row,) = measured(plan(claim("better"))).to_dict("records")
    assert np.isnan(row["published_change"])
    assert np.isnan([relative_change(0.0, 0.1), relative_change(np.nan, 0.1)]).all()
    assert relative_change(0.2, 0.3) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arm", "effect", "outcome"),
    [
        *(
            ("better", "lower", "agrees"),
            ("worse", "lower", "disagrees"),
            ("same", "lower", "inconclusive"),
        ),
        *(
            ("better", "higher", "disagrees"),
            ("worse", "higher", "agrees"),
            ("same", "higher", "inconclusive"),
        ),
        *(
            ("better", "not_lower", "disagrees"),
            ("worse", "not_lower", "agrees"),
            ("same", "not_lower", "agrees"),
        ),
    ],
)
def test_the_outcome_is_that_of_the_sign(arm, effect, outcome):
    assert measured(plan(claim(arm, effect=effect)))["outcome"].tolist() == [outcome]


def test_no_gain_is_open_where_the_spread_leaves_it_open(monkeypatch):
    monkeypatch.setitem(globals(), "NOISE", NOISE * 20)
    assert measured(plan(claim("same", effect="not_lower")))["outcome"].tolist() == ["inconclusive"]


def test_an_arm_of_another_study_can_be_what_it_is_against():
    item = claim("better", against="worse", against_study="two")
    (row,) = measured(plan(item)).to_dict("records")
    assert (row["study"], row["against_study"], row["against"]) == ("one", "two", "worse")
    assert row["difference"] == pytest.approx(-0.05)
    (row,) = measured(plan(claim("better", against="worse"))).to_dict("records")
    assert row["difference"] == pytest.approx(-0.1)


def test_what_it_is_against_is_of_its_own_study_unless_another_is_named():
    planned = plan(claim("better"), claim("better", against="worse"))
    lost = {run.fingerprint: "failed" for run in planned.runs if run.arm == "worse"}
    rows = measured(planned, states=lost).to_dict("records")
    assert [(row["against_study"], row["against"], row["n"]) for row in rows] == [
        ("one", "baseline", 6),
        ("one", "worse", 0),
    ]


def test_without_words_it_is_against_what_the_arm_is_compared_with():
    planned = plan(claim("better"))
    arms = tuple(
        arm.model_copy(update={"against": "worse"}) if arm.name == "better" else arm
        for arm in planned.studies[0].arms
    )
    study = planned.studies[0].model_copy(update={"arms": arms})
    moved = planned.model_copy(update={"studies": (study, planned.studies[1])})
    (row,) = measured(moved).to_dict("records")
    assert (row["against"], row["difference"]) == ("worse", pytest.approx(-0.1))


def test_what_the_plan_has_not_is_left_out():
    elsewhere = claim("better", against="dropout", against_study="three")
    table = measured(plan(elsewhere))
    assert table.empty
    assert list(table) == list(COLUMNS)
    assert len(measured(plan(elsewhere, claim("better")))) == 1


def test_one_run_that_is_not_done_takes_its_pair_with_it():
    (row,) = measured(plan(claim("better")), states={"better1000": "failed"}).to_dict("records")
    assert row["n"] == 5


def test_costs_are_shares_of_the_others_and_known_without_error_where_they_do_not_vary():
    planned = plan(claim("better", measure="training_cost", figures=(75, 60)))
    costs = {
        name: {"training_flops": 78 if name.startswith("better") else 100}
        for name in planned.fingerprints()
    }
    (row,) = measured(planned, costs=costs).to_dict("records")
    assert (row["before"], row["after"], row["outcome"]) == (1, pytest.approx(0.78), "agrees")
    assert row["low"] == row["high"] == pytest.approx(-0.22)
    assert np.isnan([row["passes_before"], row["passes_after"]]).all()


def test_passes_are_those_of_the_same_runs():
    rows = [
        (f"{arm}{seed}", number, "accuracy", value + NOISE[seed - SEEDS[0]] * number)
        for arm, gain in (("better", 0.02), ("worse", -0.9))
        for seed in SEEDS
        for number, value in ((1, 0.8), (3, 0.5), (12, 0.8 + gain))
    ]
    passes = pd.DataFrame(rows, columns=["fingerprint", "passes", "metric", "value"])
    (row,) = measured(plan(claim("better", measure="passes")), passes=passes).to_dict("records")
    assert (row["measure"], row["passes_before"], row["passes_after"]) == ("passes", 1, 12)
    assert (row["before"], row["after"]) == pytest.approx((0.2, 0.18))
    assert row["difference"] == pytest.approx(-0.02)
    few = plan(claim("better", measure="passes", passes=(3, 12)))
    (row,) = measured(few, passes=passes).to_dict("records")
    assert (row["passes_before"], row["passes_after"]) == (3, 12)
    assert row["before"] == pytest.approx(0.5)


def test_crops_are_those_of_one_model_of_each_group():
    asked = PlannedStudy(
        name="many",
        question="?",
        kind="ensemble",
        groups=(1000, 1001),
        size=2,
        arms=(PlannedArm(name="baseline"),),
        published=(claim("baseline", measure="crops"),),
    )
    values = {"one model": (0.70, 0.72), "crops": (0.75, 0.78), "independent": (0.1, 0.1)}
    rows = [
        ("many", group, method, "accuracy", value)
        for method, both in values.items()
        for group, value in zip((1000, 1001), both, strict=True)
    ]
    ensembles = pd.DataFrame(rows, columns=["study", "group", "method", "metric", "value"])
    (row,) = measured(plan(ensembles=(asked,)), ensembles=ensembles).to_dict("records")
    assert (row["study"], row["n"]) == ("many", 2)
    assert row["difference"] == pytest.approx(-0.055)


@pytest.mark.parametrize(
    ("effect", "figures", "fits"),
    [
        *(
            ("lower", (1.6, 1.35), True),
            ("higher", (1.6, 1.35), False),
            ("not_lower", (1.6, 1.35), False),
        ),
        *(
            ("lower", (1.0, 1.0), False),
            ("higher", (1.0, 1.0), False),
            ("not_lower", (1.0, 1.0), True),
        ),
        *(
            ("higher", (1.0, 1.1), True),
            ("not_lower", (1.0, 1.1), True),
            ("lower", (1.0, 1.1), False),
        ),
    ],
)
def test_figures_have_to_show_the_effect_they_stand_for(effect, figures, fits):
    if fits:
        assert claim("better", effect=effect, figures=figures).figures == figures
        return
    with pytest.raises(ValueError, match="an effect that its figures show"):
        claim("better", effect=effect, figures=figures)


@pytest.mark.parametrize("passes", [(0, 12), (12, 12), (12, 1), (1, PASSES + 1), (1,)])
def test_passes_are_few_and_more_and_no_more_than_there_are(passes):
    with pytest.raises(ValueError, match="passes"):
        claim("better", measure="passes", passes=passes)


def test_as_many_passes_as_there_are_can_be_asked_for():
    assert claim("better", measure="passes", passes=(1, PASSES)).passes == (1, PASSES)


def test_an_arm_without_any_run_was_not_measured():
    planned = plan(claim("better"))
    lost = {run.fingerprint: "diverged" for run in planned.runs if run.arm == "better"}
    (row,) = measured(planned, states=lost).to_dict("records")
    assert (row["n"], row["outcome"]) == (0, "not measured")
