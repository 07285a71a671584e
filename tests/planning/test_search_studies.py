"""Studies of searches: what their file may say, and the runs that they plan."""

import importlib.util

import pytest

from pipeline.config.plan import BASELINE, Dimension, Plan, PlannedArm, PlannedStudy
from pipeline.config.schema import Replay
from pipeline.planning.applicable import runs_of
from pipeline.planning.phases import confirmation
from pipeline.planning.rounds import explore
from pipeline.planning.studies import read_experiment
from pipeline.records.ledger import opened_plan
from pipeline.runtime.errors import Refusal

SEARCH = """
question: Which search is best?
search: {methods: [random, halving], trials: 4, replays: 200, seeds: 2}
arms:
  sgd:
    - {protocol: {training.learning_rate: {log: [0.001, 1]}, training.batch_size: [5, 10, 30]}}
    - {name: dropout, rate: {uniform: [0.1, 0.5], points: 3}}
    - {search: {method: random, trials: 6}}
  adam:
    - {protocol: {training.optimizer: adam, training.learning_rate: {log: [0.001, 1]}}}
    - {name: dropout, rate: 0.2}
    - {protocol: {training.optimizer.beta1: {one_minus_log: [0, 0.99]}}}
    - {search: {method: sobol, trials: 8}}
"""
CHOICE = {
    "dropout": {"dropout": {"dropout": {"rate": 0.5}}},
    "others": {"shift": {"augmentation": {"shift": 1.0}}},
}


@pytest.fixture
def experiment(project):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("variance]", "variance, search]"))
    (project / "experiments" / "search.yaml").write_text(SEARCH)
    return read_experiment("tiny")


@pytest.fixture
def plan(experiment) -> Plan:
    return confirmation(experiment, "digest", CHOICE)[0]


def test_every_setting_of_a_design_is_confirmed_at_its_seeds(plan):
    runs = plan.runs_of("search")
    counts = {arm: [run for run in runs if run.arm == arm] for arm in (BASELINE, "sgd", "adam")}
    assert {arm: len(rows) for arm, rows in counts.items()} == {BASELINE: 2, "sgd": 12, "adam": 16}
    for rows in counts.values():
        assert {run.seed for run in rows} == {1000, 1001}
    assert len({run.fingerprint for run in runs}) == 30
    of_baseline = {run.fingerprint for run in counts[BASELINE]}
    assert of_baseline <= {run.fingerprint for run in plan.runs_of("comparison")}


def test_the_plan_holds_the_ranges_of_a_design_and_what_is_replayed(plan):
    (study,) = plan.studies_of("search")
    assert study.search == Replay(methods=("random", "halving"), trials=4, replays=200, seeds=2)
    arms = {arm.name: arm for arm in study.arms}
    assert [arm.design for arm in study.arms] == [None, "random", "sobol"]
    assert arms[BASELINE].space == ()
    assert arms["sgd"].space == (
        Dimension(part="dropout", key="rate", scale="uniform", low=0.1, high=0.5),
        Dimension(part="protocol", key="training.learning_rate", scale="log", low=0.001, high=1),
        Dimension(part="protocol", key="training.batch_size"),
    )
    keys = [one.key for one in arms["adam"].space]
    assert keys == ["training.learning_rate", "training.optimizer.beta1"]
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_a_search_is_not_explored_chosen_or_compared_with_defaults(experiment):
    explored = explore(lambda _: experiment, "digest", {}).plan
    assert "search" not in {study.name for study in explored.studies}
    arms = next(study.arms for study in experiment.studies if study.name == "search")
    assumed = {"search": {arm.name: arm.trials[0].setting for arm in arms}}
    plan, _ = confirmation(experiment, "digest", CHOICE | assumed)
    assert plan == confirmation(experiment, "digest", CHOICE)[0]


def test_other_studies_have_the_plan_that_they_have_without_it(experiment, plan):
    """Names of runs and digests of plans are in committed ledgers."""
    others = tuple(study for study in experiment.studies if study.kind != "search")
    alone = confirmation(
        type(experiment)(experiment.protocol, others, experiment.tuning), "digest", CHOICE
    )[0]
    kept = [run for run in plan.runs if run.study != "search"]
    assert kept == list(alone.runs)
    for study in alone.model_dump()["studies"]:
        assert set(study) == {"name", "question", "kind", "arms", "groups", "size", "claims"}
        names = {"name", "factor", "against", "rule", "family", "train_size", "space"}
        assert all(set(arm) == names for arm in study["arms"])


def test_the_ledger_digests_all_settings_of_a_design(plan):
    opened = opened_plan(plan, {}, "test_accuracy", {})
    assert opened["arms"]["search"]["sgd"]["setting"] is None
    assert opened["arms"]["dropout"]["dropout"]["setting"] == {"dropout": {"rate": 0.5}}
    place = next(number for number, run in enumerate(plan.runs) if run.arm == "sgd")
    other = plan.runs[place].model_copy(update={"setting": {"dropout": {"rate": 0.4}}})
    runs = (*plan.runs[:place], other, *plan.runs[place + 1 :])
    changed = opened_plan(plan.model_copy(update={"runs": runs}), {}, "test_accuracy", {})
    differing = {
        (study, arm)
        for study, arms in opened["arms"].items()
        for arm in arms
        if arms[arm] != changed["arms"][study][arm]
    }
    assert differing == {("search", "sgd")}


def test_a_plan_without_searches_says_nothing_of_them():
    arm = PlannedArm(name=BASELINE)
    study = PlannedStudy(name="s", question="?", arms=(arm,))
    assert "design" not in arm.model_dump()
    assert "search" not in study.model_dump(mode="json")
    replay = Replay(methods=("random",), trials=2)
    searched = study.model_copy(update={"kind": "search", "search": replay})
    assert searched.model_dump()["search"]["replays"] == 1000


def test_its_runs_are_counted_where_a_protocol_is_proposed(experiment):
    (study,) = (one for one in experiment.studies if one.kind == "search")
    counted = runs_of(study, experiment.protocol)
    assert (counted.explored, counted.confirmed, counted.arms, counted.other) == (0, 0, 0, 28)


ONE_SPACE = "  a: [{name: dropout, rate: {uniform: [0.1, 0.5]}}, {search: SEARCH}]"
TWO = "{name: augmentation, shift: {uniform: [0.5, 2], points: 2}, rotate: {uniform: [1, 9]}}"


@pytest.mark.parametrize(
    ("search", "arms", "line"),
    [
        (
            "{methods: [random], trials: 4, seeds: 4}",
            f"  a: [{TWO}, {{search: {{method: random, trials: 4}}}}]",
            "search.seeds: invalid value 4; expected an integer <= 3 "
            "(experiments/protocols/tiny.yaml: seeds.confirmation); "
            "or leave dropout out of studies",
        ),
        (
            "{methods: [random], trials: 9}",
            f"  a: [{TWO}, {{search: {{method: random, trials: 8}}}}]",
            "search.trials: invalid value 9; expected an integer <= 8, the settings of a",
        ),
        (
            "{methods: [sobol, tpe], trials: 6}",
            f"  a: [{TWO}, {{search: {{method: random, trials: 8}}}}]",
            "search.trials: invalid value 6; expected a power of 2 for sobol, such as 32",
        ),
        (
            "{methods: [random, tep], trials: 4}",
            f"  a: [{TWO}, {{search: {{method: random, trials: 8}}}}]",
            'search.methods.1: invalid value "tep"; expected one of: grid, random, sobol, '
            "coarse_to_fine, halving, tpe; did you mean 'tpe'?",
        ),
        (
            "{methods: [tpe, tpe], trials: 4}",
            f"  a: [{TWO}, {{search: {{method: random, trials: 8}}}}]",
            'search.methods: invalid value ["tpe", "tpe"]; expected each method once',
        ),
        (
            "{methods: [random], trials: 2}",
            ONE_SPACE.replace("SEARCH", "{method: random, trials: 4}"),
            "arms.a: 1 search space; expected 2 or more in a study with search",
        ),
        (
            "{methods: [random], trials: 2}",
            "  a: [{name: augmentation, shift: [1, 2], rotate: [3, 5]}]",
            "arms.a: search: missing; expected a design, as in "
            "{search: {method: random, trials: 128}}",
        ),
        (
            "{methods: [random], trials: 2}",
            f"  a: [{TWO}]",
            "arms.a: search: missing; expected a design, as in "
            "{search: {method: random, trials: 128}}",
        ),
        (
            "{methods: [random, grid], trials: 3}",
            f"  a: [{TWO}, {{search: {{method: random, trials: 8}}}}]",
            "search.trials: invalid value 3; expected an integer >= 4, "
            "the settings of a grid over a with two values of each range",
        ),
        (
            "{methods: [random], trials: 2}",
            f"  a: [{TWO}, {{search: {{method: tpe, trials: 8}}}}]",
            'arms.a: search.method: invalid value "tpe"; expected one of: random, sobol; '
            "trials of others depend on scores or on steps",
        ),
        (
            "{methods: [random, grid], trials: 4}\nclaims: [{id: x, by: paper, source: s, says: t, "
            "contrast: {arm: a, search: tpe}, measure: error, expect: lower}]",
            f"  a: [{TWO}, {{search: {{method: random, trials: 8}}}}]",
            'claims.0.contrast.search: invalid value "tpe"; expected one of: grid '
            "(search.methods without random)",
        ),
        (
            "{methods: [random], trials: 2, rounds: 3}",
            f"  a: [{TWO}, {{search: {{method: random, trials: 8}}}}]",
            "search.rounds: unknown key; expected one of: methods, trials, replays, seeds",
        ),
        (
            "{methods: [random], trials: 2}\nvariance: {groups: 2, draws: 1}",
            f"  a: [{TWO}, {{search: {{method: random, trials: 8}}}}]",
            "variance, search: all given; expected one of them",
        ),
        (
            "{methods: [random], trials: 2}",
            f"  a: [{TWO}, {{search: {{method: random, trials: 8}}}}, {{retune: true}}]",
            "arms.a.2.retune: invalid value true; "
            "expected false in a study with ensemble, variance or search",
        ),
    ],
)
def test_a_mistake_in_a_study_of_searches_is_one_line(project, search, arms, line):
    path = project / "experiments" / "dropout.yaml"
    path.write_text(f"question: Which?\nsearch: {search}\narms:\n{arms}\n")
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    assert f"experiments/dropout.yaml: {line}" in refused.value.lines


NEEDS = "which needs a point of the learning curve for each of its"


@pytest.mark.parametrize(
    ("method", "trials", "points", "key", "value", "least", "count"),
    [
        ("halving", 4, 1, "curve_points", 1, 2, 2),
        ("coarse_to_fine", 4, 1, "curve_points", 1, 2, 2),
        # 1/9, 1/3 and 1 of the training need three different epochs
        ("halving", 9, 2, "epochs", 2, 4, 3),
    ],
)
def test_a_search_that_stops_trials_needs_a_score_for_each_of_its_rounds(
    project, method, trials, points, key, value, least, count
):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("curve_points: 2", f"curve_points: {points}"))
    search = SEARCH.replace("halving", method).replace("trials: 4", f"trials: {trials}")
    search = search.replace("trials: 6", "trials: 12").replace("trials: 8", "trials: 16")
    (project / "experiments" / "dropout.yaml").write_text(search)
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    where = f"experiments/protocols/tiny.yaml: training.{key}: invalid value {value}"
    words = f"{method} of {trials} trials in experiments/dropout.yaml, {NEEDS} {count} rounds"
    assert refused.value.lines == (f"{where}; expected an integer >= {least} for {words}",)


def test_an_arm_with_fewer_epochs_than_rounds_is_named(project):
    search = SEARCH.replace("batch_size: [5, 10, 30]", "epochs: [1, 2]")
    (project / "experiments" / "dropout.yaml").write_text(search)
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    (line,) = refused.value.lines
    start = "experiments/dropout.yaml: arms.sgd.0.protocol.training.epochs: invalid value 1; "
    assert line.startswith(f"{start}expected an integer >= 2 for halving of 4 trials")


def test_a_study_of_searches_needs_optuna(project, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "optuna" else find_spec(name)
    )
    (project / "experiments" / "dropout.yaml").write_text(SEARCH)
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    line = "the importance of values needs optuna; run: pip install '.[optuna]'"
    assert f"experiments/dropout.yaml: search: {line}" in refused.value.lines
