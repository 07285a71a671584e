"""Optimizers and schedules in protocols, arms and `tune`: what they mean, and each mistake."""

import functools
import re
import shutil
from pathlib import Path

import pytest
from code_caches import forget_code

from pipeline.config.plan import BASELINE, PROTOCOL, TUNING
from pipeline.planning.choice import Score
from pipeline.planning.fingerprint import fingerprint, identity
from pipeline.planning.rounds import explore
from pipeline.planning.studies import UNTUNED, read_experiment, untuned_study
from pipeline.runtime import behaviour
from pipeline.runtime.errors import Refusal

SGD = {"name": "sgd", "momentum": 0.9, "nesterov": True}
ADAM = {"name": "adam", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "bias_correction": True}


@pytest.fixture
def read(project):
    """Read the tiny project with a study, further lines of the protocol and parameters."""

    def made(arms="a: [{name: dropout}]", lines="", training="", parameters=""):
        protocol = project / "experiments" / "protocols" / "tiny.yaml"
        text = made.text.replace("studies: [dropout, others, ensembles, variance]", "")
        text = text.replace("curve_points: 2}", f"curve_points: 2{training}}}")
        protocol.write_text(f"{text}studies: [dropout]\n{lines}\n")
        study = f"question: Which?\narms:\n  {arms}\n"
        (project / "experiments" / "dropout.yaml").write_text(study)
        (project / "params.yaml").write_text(f"protocols: [tiny]\n{parameters}\n")
        return read_experiment("tiny")

    made.text = (project / "experiments" / "protocols" / "tiny.yaml").read_text()
    return made


def settings(experiment, arm=0):
    """Return the training settings of each trial of an arm."""
    trials = experiment.studies[0].arms[arm].trials
    return [trial.protocol.settings()["training"] for trial in trials]


def test_the_study_of_the_docs_plans(read):
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()
    section = page[page.index("## Optimizers and schedules") :]
    study = re.search(r"```yaml\n(.*?)```", section, re.DOTALL).group(1)
    arms = study[study.index("arms:\n  ") + len("arms:\n  ") :]
    experiment = read(arms)
    values = [settings(experiment, number) for number in (1, 2, 3)]
    names = [(trials[0]["optimizer"]["name"], len(trials)) for trials in values]
    assert names == [("sgd", 5), ("adam", 7), ("adam", 7)]


def test_a_protocol_that_says_nothing_trains_as_before(read):
    (training,) = settings(read())
    assert training["optimizer"] == SGD
    assert training["schedule"]["name"] == "one_cycle"
    assert training["warm_up"] == 0


@pytest.mark.parametrize("written", ["adam", "{name: adam}", "{name: adam, beta2: 0.999}"])
def test_a_name_means_its_default_settings(read, written):
    (training,) = settings(read(training=f", optimizer: {written}, schedule: cosine"))
    assert training["optimizer"] == ADAM
    assert training["schedule"] == {"name": "cosine"}


def test_an_arm_replaces_the_whole_or_one_value(read):
    arms = (
        "whole: [{protocol: {training.optimizer: {name: adam, beta2: 0.99}}}]\n"
        "  one: [{protocol: {training.optimizer.momentum: 0.5}}]\n"
        "  both: [{protocol: {training.schedule.every: 0.1, training.schedule: step}}]"
    )
    whole, one, both = (settings(read(arms), number)[0] for number in (1, 2, 3))
    assert whole["optimizer"] == {**ADAM, "beta2": 0.99}
    assert one["optimizer"] == {**SGD, "momentum": 0.5}
    assert both["schedule"] == {"name": "step", "factor": 0.5, "every": 0.1}
    factor = read(arms).studies[0].arms[2].factor
    assert factor.protocol == {"training.optimizer.momentum": 0.5}


def test_values_of_an_optimizer_are_searched(read):
    space = "{one_minus_log: [0.5, 0.99], points: 3}"
    values = settings(read(f"a: [{{protocol: {{training.optimizer.momentum: {space}}}}}]"), 1)
    assert [each["optimizer"]["momentum"] for each in values] == [0.5, 0.9293, 0.99]
    names = settings(read("a: [{protocol: {training.optimizer: [adam, rmsprop]}}]"), 1)
    assert [each["optimizer"]["name"] for each in names] == ["adam", "rmsprop"]
    factors = settings(read("a: [{protocol: {training.optimizer.momentum: [x1/2, x1/3]}}]"), 1)
    assert [each["optimizer"]["momentum"] for each in factors] == [0.45, 0.3]


RATES = "training.learning_rate: [0.01, 0.1]"
MOMENTA = "training.optimizer.momentum: [0.5, 0.9]"


@pytest.mark.parametrize(
    ("change", "tuned"),
    [
        ("training.optimizer: adam", {"training.learning_rate"}),
        (
            "training.optimizer.nesterov: false",
            {"training.learning_rate", "training.optimizer.momentum"},
        ),
        ("training.schedule: cosine", {"training.learning_rate", "training.optimizer.momentum"}),
        ("training.warm_up: 0.1", {"training.learning_rate", "training.optimizer.momentum"}),
        ("training.epochs: 3", set()),
    ],
)
def test_arms_tune_the_nuisance_values_that_they_still_have(read, change, tuned):
    experiment = read(f"a: [{{protocol: {{{change}}}}}]", f"tune: {{{RATES}, {MOMENTA}}}")
    assert experiment.studies[0].arms[1].definition.nuisance == tuned


def test_the_baseline_is_tuned_by_a_value_of_its_optimizer(read):
    read("a: [{name: dropout}]", f"tune: {{{MOMENTA}}}")
    reader = functools.partial(read_experiment, "tiny")
    scores = {}
    for _ in range(2):
        planned = explore(lambda tuned: reader(tuned=tuned), "digest", scores)
        scores = {run.fingerprint: Score("done", 0.9 - key(run), 0.1) for run in planned.plan.runs}
    assert planned.plan.tuned == {"training.optimizer.momentum": 0.5}
    assert planned.plan.settings["training"]["optimizer"] == {**SGD, "momentum": 0.5}
    study = untuned_study(reader(tuned=planned.plan.tuned))
    (arm,) = [arm for arm in study.arms if arm.name == UNTUNED]
    assert arm.factor.protocol == {"training.optimizer.momentum": 0.9}


def key(run):
    return run.setting.get(PROTOCOL, {}).get("training.optimizer.momentum", 0)


def test_a_value_given_in_params_yaml_is_not_tuned(read):
    parameters = "training: {optimizer: {name: adam, beta2: 0.99}, schedule: null}"
    experiment = read(lines=f"tune: {{{RATES}, {MOMENTA}}}", parameters=parameters)
    assert list(experiment.tuning.definition.spaces) == [(PROTOCOL, "training.learning_rate")]
    assert settings(experiment)[0]["optimizer"] == {**ADAM, "beta2": 0.99}


@pytest.mark.parametrize(
    ("space", "ends"),
    [
        ("training.optimizer.momentum: {uniform: [0, 0.8], points: 3}", (True, False)),
        ("training.warm_up: {uniform: [0, 0.8], points: 3}", (True, False)),
    ],
)
def test_spaces_end_at_the_bounds_of_the_field(read, space, ends):
    read(lines=f"tune: {{{space}}}")
    plan = explore(lambda tuned: read_experiment("tiny", tuned=tuned), "digest", {}).plan
    (arm,) = [arm for study, arm in plan.arms() if study == TUNING and arm.name == BASELINE]
    (dimension,) = arm.space
    assert (dimension.lowest, dimension.highest) == ends


STEP = "training.schedule: step, training.schedule.every"


def test_the_bounds_are_those_of_the_arm_s_own_choice(read):
    arms = f"a: [{{protocol: {{{STEP}: {{uniform: [0.5, 1], points: 3}}}}}}]"
    read(arms)
    plan = explore(lambda tuned: read_experiment("tiny", tuned=tuned), "digest", {}).plan
    (arm,) = [arm for study, arm in plan.arms() if arm.name == "a"]
    assert [(item.lowest, item.highest) for item in arm.space] == [(False, True)]


MISTAKES = [
    (
        "a: [{protocol: {training.optimizer: {name: adam, momentum: 0.9}}}]",
        "training.optimizer.momentum: unknown key; "
        "expected one of: beta1, beta2, eps, bias_correction",
    ),
    (
        "a: [{protocol: {training.optimizer: adma}}]",
        "training.optimizer.name: unknown name 'adma'; expected one of: adagrad, adam, adamw, "
        "lbfgs, rmsprop, sgd; did you mean 'adam'?",
    ),
    ("a: [{protocol: {training.optimizer: momentum}}]", "; did you mean 'sgd'?"),
    (
        "a: [{protocol: {training.schedule: cosin}}]",
        "training.schedule.name: unknown name 'cosin'; expected one of: constant, cosine, "
        "cyclic_cosine, exponential, inverse_sqrt, inverse_time, one_cycle, step; "
        "did you mean 'cosine'?",
    ),
    (
        "a: [{protocol: {training.warm_up: 1.5}}]",
        "training.warm_up: invalid value 1.5; expected a number >= 0 and < 1",
    ),
    (
        "a: [{protocol: {training.optimizer.momentun: 0.5}}]",
        "training.optimizer.momentun: unknown key; expected one of: momentum, nesterov; "
        "did you mean 'momentum'?",
    ),
    (
        "a: [{protocol: {training.optimiser.momentum: 0.5}}]",
        "protocol.training.optimiser: unknown key; expected one of: optimizer, schedule; "
        "did you mean 'optimizer'?",
    ),
    *(
        (
            f"a: [{{protocol: {{{key}: 0.5}}}}]",
            f"protocol.{key}: unknown key; expected a key of data, model, training, start",
        )
        for key in ("training", "training.", "training..momentum", "trainng.optimizer.momentum")
    ),
    (
        "a: [{protocol: {training.learning_rate.first: 3}}]",
        "protocol.training.learning_rate: unknown key; expected one of: optimizer, schedule",
    ),
    (
        "a: [{protocol: {training.optimizer: 3}}]",
        "training.optimizer: invalid value 3; expected a mapping",
    ),
    (
        "a: [{protocol: {training.optimizer: {beta2: 0.9}}}]",
        "training.optimizer.name: missing; expected one of: adagrad, ",
    ),
    (
        "a: [{protocol: {training.optimizer: lbfgs}}]",
        "training.batch_size: invalid value 10; "
        "expected 30 (data.train_size) with lbfgs, which takes the full batch",
    ),
    (
        "a: [{protocol: {training.optimizer: lbfgs, training.batch_size: 30,"
        " training.precision: 16-mixed}}]",
        'training.precision: invalid value "16-mixed"; expected 32-true or bf16-mixed with lbfgs',
    ),
    (
        "a: [{protocol: {training.optimizer: lbfgs, training.batch_size: 30}}]",
        "arms.a (training.optimizer=lbfgs, training.batch_size=30): batch norm with lbfgs: ",
    ),
    (
        "a: [{protocol: {training.optimizer: lbfgs, training.batch_size: 30,"
        " model.batch_norm: false}}, {name: dropout, rate: 0.5}]",
        "dropout with lbfgs: a line search compares losses of the same function",
    ),
    (
        "a: [{protocol: {training.optimizer: adam}}, {name: l1_penalty}]",
        "l1_penalty with adam: it needs one step length for all weights; expected another",
    ),
    (
        "a: [{protocol: {training.optimizer: {name: sgd}}}]",
        "arms.a (training.optimizer=sgd): the same network as arms.baseline",
    ),
    (
        "a: [{protocol: {training.optimizer: adam}}]\n"
        "  b: [{protocol: {training.optimizer: adamw}}]",
        "arms.b (training.optimizer=adamw): the same network as arms.a (training.optimizer=adam)",
    ),
    (
        "a: [{protocol: {training.optimizer: adamw}}, {name: weight_decay}]\n"
        "  b: [{protocol: {training.optimizer: adam}}, {name: weight_decay, decoupled: true}]",
        "arms.b (decoupled=true, training.optimizer=adam): the same network as arms.a",
    ),
    (
        "a: [{protocol: {training.optimizer: {name: sgd, momentum: 0, nesterov: false}}}]\n"
        "  b: [{protocol: {training.optimizer.momentum: 0}}]",
        "arms.b (training.optimizer.momentum=0): the same network as arms.a "
        "(training.optimizer=sgd(momentum=0, nesterov=false))",
    ),
    (
        "a: [{protocol: {training.learning_rate: [0.1, 0.2]}}]\n"
        "  b: [{protocol: {model.batch_norm: true, training.learning_rate: [0.1, 0.2]}}]",
        "arms.b.0.protocol.model.batch_norm: invalid value true; expected another value than that "
        "of the protocol, as by -S model.batch_norm=false",
    ),
    (
        "a: [{protocol: {training.snapshots: 5, training.warm_up: 0.5}}]",
        "training.snapshots: invalid value 5; expected an integer <= 3 (the number of updates)",
    ),
]


@pytest.mark.parametrize(("arms", "words"), MISTAKES)
def test_a_mistake_is_one_line(read, arms, words):
    with pytest.raises(Refusal) as refusal:
        read(arms)
    (line,) = refusal.value.lines
    assert line.startswith("experiments/dropout.yaml: arms.")
    assert words in line


ROWS = "data: {dataset: breast_cancer}\nmodel: {name: mlp, hidden: [8]}"
WITHOUT_EFFECT = [
    ("model: {name: mlp, hidden: []}", "model.activation: tanh"),
    ("model: {name: mlp, hidden: []}", "model.batch_norm: true"),
    ("model: {input_normalization: none}", "model.input_statistics: feature"),
    ("seeds: {exploration: 1}", "model.input_statistics: global"),
    (ROWS, "model.input_statistics: feature"),
]


@pytest.mark.parametrize(("parameters", "change"), WITHOUT_EFFECT)
def test_a_choice_that_the_network_does_not_have_is_one_line(read, parameters, change):
    """As an activation without hidden layers, and statistics of the pixel that is a feature."""
    with pytest.raises(Refusal) as refusal:
        read(f"a: [{{protocol: {{{change}}}}}]", parameters=parameters)
    (line,) = refusal.value.lines
    assert re.match(r"experiments/dropout.yaml: arms.a \(.*\): the same network as", line)


@pytest.mark.parametrize("change", ["model.activation: tanh", "model.input_statistics: global"])
def test_a_choice_that_the_network_has_is_an_arm(read, change):
    assert len(read(f"a: [{{protocol: {{{change}}}}}]", parameters=ROWS).studies[0].arms) == 2


def test_adam_and_decoupled_decay_are_not_coupled_decay(read):
    arms = (
        "a: [{protocol: {training.optimizer: adam}}, {name: weight_decay}]\n"
        "  b: [{protocol: {training.optimizer: adam}}, {name: weight_decay, decoupled: true}]"
    )
    assert len(read(arms).studies[0].arms) == 3


def test_a_protocol_with_lbfgs_and_batch_norm_is_one_line(read):
    with pytest.raises(Refusal) as refusal:
        read(training=", optimizer: lbfgs", parameters="training: {batch_size: 30}")
    (line,) = refusal.value.lines
    start = "experiments/protocols/tiny.yaml: batch norm with lbfgs: every evaluation of a line "
    assert line.startswith(start)


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Return a copy of the package whose files may be edited."""
    copy = tmp_path / "copy" / "pipeline"
    shutil.copytree(behaviour.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(behaviour, "PACKAGE", copy)
    forget_code()
    yield copy
    forget_code()


RUNS = {
    "sgd": {},
    "adam": {"optimizer": {"name": "adam"}},
    "cosine": {"schedule": {"name": "cosine"}},
}


@pytest.mark.parametrize(
    ("file", "renamed"),
    [
        ("optimizers/adam.py", {"adam"}),
        ("optimizers/sgd.py", {"sgd", "cosine"}),
        ("optimizers/_optimizer.py", {"sgd", "adam", "cosine"}),
        ("schedules/cosine.py", {"cosine"}),
        ("schedules/one_cycle.py", {"sgd", "adam"}),
        ("schedules/step.py", set()),
    ],
)
def test_a_run_is_named_by_the_code_of_its_own_optimizer_and_schedule(
    configure, code, file, renamed
):
    def names():
        forget_code()
        configs = {name: configure(**given) for name, given in RUNS.items()}
        return {name: fingerprint(identity(config, "")) for name, config in configs.items()}

    before = names()
    (code / file).write_text((code / file).read_text() + "ADDED = 1\n")
    after = names()
    assert {name for name in RUNS if after[name] != before[name]} == renamed


def test_every_value_of_an_optimizer_counts(configure):
    one, other = (
        fingerprint(identity(configure(optimizer={"name": "adam", "beta2": beta2}), ""))
        for beta2 in (0.99, 0.999)
    )
    assert one != other


@pytest.mark.parametrize(
    ("optimizer", "key", "place"),
    [
        ("{name: adam, weight_decay: 0.1}", "weight_decay", "{name: weight_decay, strength: "),
        ("{name: sgd, lr: 0.1}", "lr", "training.learning_rate"),
        ("{name: adamw, learning_rate: 0.1}", "learning_rate", "training.learning_rate"),
        ("{name: adam, betas: [0.9, 0.99]}", "betas", "beta1"),
    ],
)
def test_keys_of_other_libraries_raise_with_a_hint(project, optimizer, key, place):
    arm = f"    - {{protocol: {{training.optimizer: {optimizer}}}}}\n"
    (project / "experiments" / "which.yaml").write_text(f"question: Which?\narms:\n  a:\n{arm}")
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [which]\n")
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    (line,) = refused.value.lines
    start, _, hint = line.rpartition("; ")
    assert f"training.optimizer.{key}: unknown key" in start
    assert place in hint
