"""The plan: runs and studies by kind, runs that share a split with a group, rules of runs."""

import json

import pytest
from plans import planned_run

from pipeline.config.plan import (
    BASELINE,
    Factor,
    Plan,
    PlannedArm,
    PlannedStudy,
    last_plan,
    read_plan,
)
from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_sealed

DROP = PlannedArm(name="drop", factor=Factor(regularizers=("dropout",)))
POOL = PlannedArm(
    name="pool",
    factor=Factor(regularizers=("pooling",), protocol={"model.batch_norm": False}),
    against="drop",
    rule=NOISE,
    train_size=30,
)
STUDIES = (
    PlannedStudy(name="one", question="?", arms=(PlannedArm(name=BASELINE), DROP, POOL)),
    PlannedStudy(name="two", question="?", arms=(PlannedArm(name=BASELINE),)),
    PlannedStudy(
        name="many",
        question="?",
        kind="ensemble",
        arms=(PlannedArm(name=BASELINE), PlannedArm(name="averaged")),
        groups=(1000, 1001),
        size=2,
    ),
    PlannedStudy(
        name="spread",
        question="?",
        kind="variance",
        arms=(PlannedArm(name=BASELINE),),
        groups=(1002,),
    ),
)


RATE = {"dropout": {"rate": 0.5}, "protocol": {"training.epochs": 3}}
ROWS = (
    *(planned_run("one", BASELINE, seed, f"base{seed}") for seed in (1000, 1001, 1002)),
    *(planned_run("one", "drop", seed, f"drop{seed}", setting=RATE) for seed in (1000, 1001, 1002)),
    planned_run("one", "pool", 1002, "pool1002"),
    *(planned_run("two", BASELINE, seed, f"base{seed}") for seed in (1000, 1001, 1002)),
    planned_run("many", BASELINE, 1000, "base1000", member=0),
    planned_run("many", BASELINE, 1000, "member1000", member=1),
    planned_run("many", "averaged", 1000, "averaged1000", member=0),
    planned_run("spread", BASELINE, 1002, "base1002", stream="init", draw=0),
    planned_run("spread", BASELINE, 1002, "init1002", stream="init", draw=1),
)


def planned(studies=STUDIES, runs=ROWS):
    return Plan(
        protocol="tiny",
        phase="confirmation",
        settings={"data": {"train_size": 30}},
        margin=0.01,
        data_digest="d",
        studies=studies,
        runs=runs,
    )


@pytest.mark.parametrize(
    ("kind", "names"),
    [("comparison", ["one", "two"]), ("ensemble", ["many"]), ("variance", ["spread"])],
)
def test_studies_and_runs_are_picked_by_kind_in_the_order_of_the_plan(kind, names):
    plan = planned()
    assert [study.name for study in plan.studies_of(kind)] == names
    assert plan.runs_of(kind) == tuple(run for run in ROWS if run.study in names)


def test_a_kind_that_no_study_is_of_has_no_runs():
    plan = planned(STUDIES[:2], ROWS[:10])
    assert plan.studies_of("ensemble") == ()
    assert plan.runs_of("variance") == ()
    assert plan.runs_of("comparison") == ROWS[:10]
    assert plan.grouped() == ()


def test_every_run_comes_once_in_the_order_of_the_plan():
    assert planned().fingerprints() == (
        *("base1000", "base1001", "base1002", "drop1000", "drop1001", "drop1002", "pool1002"),
        *("member1000", "averaged1000", "init1002"),
    )


def test_compared_runs_of_the_seeds_of_a_group_share_its_split():
    """Those of seed 1002 do not, and models that the group adds are not compared."""
    assert planned().grouped() == ("base1000", "base1001", "drop1000", "drop1001")


def test_every_run_has_the_rule_of_the_first_arm_that_names_it():
    plan = planned()
    assert plan.rules() == dict.fromkeys(plan.fingerprints(), DETERMINISTIC) | {"pool1002": NOISE}
    shared = planned(runs=(*ROWS, planned_run("one", "pool", 1000, "base1000")))
    assert shared.rules()["base1000"] == DETERMINISTIC
    first = planned(runs=(planned_run("one", "pool", 1000, "base1000"), *ROWS))
    assert first.rules()["base1000"] == NOISE


def test_arms_come_with_the_names_of_their_studies():
    assert [(study, arm.name) for study, arm in planned().arms()] == [
        *(("one", BASELINE), ("one", "drop"), ("one", "pool"), ("two", BASELINE)),
        *(("many", BASELINE), ("many", "averaged"), ("spread", BASELINE)),
    ]


def test_a_plan_is_read_back_as_it_was_written(tmp_path):
    write_sealed(tmp_path / "plan.json", planned().model_dump(mode="json"))
    assert read_plan(tmp_path) == last_plan(tmp_path) == planned()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plan: plan["runs"][0].update(strength="rate=0.5"), "runs.0.strength: unknown key"),
        (lambda plan: plan["runs"][0].update(setting="rate=0.5"), "runs.0.setting"),
        (lambda plan: plan["studies"][2].update(kind="ensembles"), "studies.2.kind"),
        (lambda plan: plan["studies"][0]["arms"][1].update(factor="dropout"), "factor"),
        (lambda plan: plan["studies"][0]["arms"][1].update(rule="noise_12"), "rule"),
        (lambda plan: plan["studies"][0]["arms"][1]["rule"].update(members=0), "rule.members"),
    ],
)
def test_a_plan_of_another_form_raises_one_line_that_names_the_place(tmp_path, change, words):
    plan = json.loads(planned().model_dump_json())
    change(plan)
    write_sealed(tmp_path / "plan.json", plan)
    with pytest.raises(Refusal) as refused:
        read_plan(tmp_path)
    (line,) = refused.value.lines
    assert line.startswith(str(tmp_path / "plan.json"))
    assert words in line
    assert last_plan(tmp_path) is None


def test_a_plan_that_is_missing_or_damaged_raises(tmp_path):
    with pytest.raises(Refusal, match=r"plan\.json"):
        read_plan(tmp_path)
    write_sealed(tmp_path / "plan.json", planned().model_dump(mode="json"))
    text = (tmp_path / "plan.json").read_text()
    (tmp_path / "plan.json").write_text(text.replace("base1000", "base1009", 1))
    with pytest.raises(Refusal, match=r"plan\.json"):
        read_plan(tmp_path)
    assert last_plan(tmp_path) is None


def test_what_is_absent_is_not_written():
    """So that a plan without looks or pretrained weights is what it was before there were any."""
    plan = Plan(
        protocol="p",
        phase="confirmation",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(),
        runs=(),
    )
    assert not {"looks", "loaded"} & plan.model_dump().keys()
    assert "loaded" not in plan.model_dump(exclude={"loaded"})
    loaded = plan.model_copy(update={"loaded": "3 of 4 tensors loaded"})
    assert Plan.model_validate(loaded.model_dump()) == loaded
