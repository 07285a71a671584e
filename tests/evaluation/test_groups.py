"""Groups of models that share a split: who belongs to one, and under which name."""

import numpy as np
import pytest
from plans import planned_run

from pipeline.config.plan import BASELINE, Plan, PlannedArm, PlannedStudy
from pipeline.evaluation.groups import group_tables, read_group
from pipeline.records.predictions import Predictions, View

SEEDS = (1000, 1001)
TRAIN = 12
LABELS = {"train": np.arange(TRAIN) % 3, "validation": np.arange(10) % 3}
TEST = np.arange(15) % 3


RUNS = (
    *(planned_run("one", BASELINE, seed, f"base{seed}") for seed in SEEDS),
    *(planned_run("one", "drop", seed, f"drop{seed}") for seed in SEEDS),
    *(planned_run("two", BASELINE, seed, f"base{seed}") for seed in SEEDS),
    *(planned_run("two", "drop", seed, f"other{seed}") for seed in SEEDS),
    *(planned_run("two", "shift", seed, f"shift{seed}") for seed in SEEDS),
    *(planned_run("two", "again", seed, f"shift{seed}") for seed in SEEDS),
    *(planned_run("many", BASELINE, seed, f"base{seed}", member=0) for seed in SEEDS),
    *(planned_run("many", BASELINE, seed, f"second{seed}", member=1) for seed in SEEDS),
    *(planned_run("many", "averaged", seed, f"averaged{seed}", member=0) for seed in SEEDS),
    *(planned_run("spread", "drop", seed, f"draw{seed}", stream="init", draw=1) for seed in SEEDS),
)


def study(name, *arms, **more):
    described = tuple(PlannedArm(name=arm) for arm in (BASELINE, *arms))
    return PlannedStudy(name=name, question="?", arms=described, **more)


MANY = study("many", "averaged", kind="ensemble", groups=SEEDS, size=2)
PLAN = Plan(
    protocol="tiny",
    phase="confirmation",
    settings={},
    margin=0.01,
    data_digest="d",
    studies=(
        study("one", "drop"),
        study("two", "drop", "shift", "again"),
        MANY,
        study("spread", "drop", kind="variance", groups=SEEDS),
    ),
    runs=RUNS,
)


def predicted(run, images=TRAIN):
    generator = np.random.default_rng(len(run) + ord(run[0]))
    sizes = {"validation": len(LABELS["validation"]), "test": len(TEST)}
    logits = {
        View(split, "deterministic"): generator.normal(size=(1, size, 3))
        for split, size in sizes.items()
    }
    labels = LABELS | {"train": np.arange(images) % 3}
    return Predictions(logits, labels, f"validation images of {run[-4:]}")


def group(seed=1000, lost=(), read=predicted):
    done = [run for run in PLAN.fingerprints() if run not in lost]
    return read_group(PLAN, MANY, seed, read, done)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group_has_the_models_of_its_seed_each_once_under_its_first_name(seed):
    """An arm's name that two studies give to different runs is told apart by the study."""
    models = group(seed)
    assert [model.run for model in models.baseline] == [f"base{seed}", f"second{seed}"]
    assert {arm: model.run for arm, model in models.others.items()} == {
        "averaged": f"averaged{seed}"
    }
    assert {arm: model.run for arm, model in models.compared.items()} == {
        "baseline": f"base{seed}",
        "drop of one": f"drop{seed}",
        "drop of two": f"other{seed}",
        "shift": f"shift{seed}",
    }
    digests = {model.examples for model in (*models.baseline, *models.compared.values())}
    assert digests == {f"validation images of {seed}"}


@pytest.mark.parametrize("lost", ["base1000", "second1000"])
def test_a_group_that_has_lost_a_model_of_the_baseline_is_none(lost):
    assert group(lost=[lost]) is None
    assert group(1001, lost=[lost]) is not None


def test_other_models_that_are_not_done_are_left_out():
    models = group(lost=["averaged1000", "other1000"])
    assert models.others == {}
    assert set(models.compared) == {"baseline", "drop", "shift"}


def test_an_arm_trained_on_other_images_is_in_no_group():
    def read(run):
        return predicted(run, images=TRAIN + 3 if run.startswith("shift") else TRAIN)

    assert set(group(read=read).compared) == {"baseline", "drop of one", "drop of two"}


def test_the_costs_of_a_method_are_those_of_its_trainings_and_of_its_distinct_members():
    training = dict.fromkeys(PLAN.fingerprints(), 1) | {"second1000": 10, "averaged1000": 100}
    costs = {run: {"training_flops": flops, "forward_flops": 7} for run, flops in training.items()}
    costs["second1000"]["forward_flops"] = 1000
    tables = group_tables(group(), (LABELS["validation"], TEST), costs)
    assert set(tables) == {"ensembles", "sizes", "reliability"}
    values = {(method, metric): value for method, _, _, metric, value in tables["ensembles"]}
    flops = {method: value for (method, name), value in values.items() if name == "training_flops"}
    assert flops["one model"] == 1
    assert flops["independent"] == 1 + 10
    assert flops["averaged"] == 100
    assert flops["all arms"] == 4
    assert values["one model", "test_flops"] == 7
    assert values["independent", "test_flops"] == 7 + 1000
    assert values["all arms", "test_flops"] == 4 * 7
    passes = values["greedy", "forward_passes"]
    assert values["greedy", "test_flops"] in (7 * passes, 7 * (passes - 1) + 1000)
    counted = {}
    for method, _, _, count, *_ in tables["reliability"]:
        counted[method] = counted.get(method, 0) + count
    assert counted == dict.fromkeys(flops, len(TEST))
