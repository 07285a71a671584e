"""What a study may say, what it means, and the line a mistake gives."""

import re
from fractions import Fraction

import pytest

from pipeline.config.plan import PROTOCOL, Factor
from pipeline.config.registered_claims import read_claims
from pipeline.planning.protocols import factor_of, read_protocol
from pipeline.planning.studies import read_experiment
from pipeline.runtime import behaviour
from pipeline.runtime.errors import Refusal

QUESTION = "question: Why?\n"
SNAPSHOTS = "arms: {a: [{protocol: {training.snapshots: 2}}]}"
SEARCHED = "arms: {a: [{name: dropout, rate: [0.1, 0.2]}]}"


def read(project, study: str = "", parameters: str = ""):
    if study:
        (project / "experiments" / "dropout.yaml").write_text(study)
    if parameters:
        (project / "params.yaml").write_text(parameters)
    return read_experiment("tiny")


def refused(project, **files) -> tuple[str, ...]:
    with pytest.raises(Refusal) as refusal:
        read(project, **files)
    assert all("\n" not in line for line in refusal.value.lines)
    return refusal.value.lines


def arms(text: str) -> str:
    return QUESTION + "arms:\n" + text


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (
            arms("  a: [{name: dropout, rte: 0.1}]"),
            "arms.a.0.rte: unknown key; expected one of: rate",
        ),
        (
            arms("  a: [{name: dropout, rate: high}]"),
            'arms.a.0.rate: invalid value "high"; expected a number',
        ),
        (arms("  a: [{name: dropout, rate: true}]"), "arms.a.0.rate: invalid value true"),
        (
            arms("  a: [{name: dropout, rate: [0.1, 1.5]}]"),
            "arms.a.0.rate: invalid value 1.5; expected a number",
        ),
        (arms("  a: [{name: dropout, rate: []}]"), "arms.a.0.rate: invalid value []"),
        (
            arms("  a: [{name: drop_out}]"),
            "arms.a.0.name: unknown name 'drop_out'; expected one of: augmentation, ",
        ),
        (arms("  a: [{name: drop_out}]"), "; did you mean 'dropout'?"),
        (arms("  a: [{name: DropPath}]"), "; did you mean"),
        (arms("  a: [{name: drop_connect}]"), "; did you mean 'stochastic_depth'?"),
        (arms("  a: [{name: drop_path}]"), "; did you mean 'stochastic_depth'?"),
        (
            arms("  a: [{name: fractional_max_pooling, output_sizes: [5, 3]}]"),
            "arms.a.0.output_sizes",
        ),
        (
            arms("  a: [{name: dropout, rate: [[0.1, 0.5, 0.2]]}]"),
            "arms.a (rate=[0.1, 0.5, 0.2]): dropout: rate: 3 rates; expected",
        ),
        (
            arms("  a: [{protocol: {model.name: x2}}]"),
            'protocol.model.name: invalid value "x2"; expected a value',
        ),
        (
            QUESTION + "ensemble: {groups: 4, size: 2}\n" + SNAPSHOTS,
            "ensemble.groups: invalid value 4; expected an integer <= 3 "
            "(experiments/protocols/tiny.yaml: seeds.confirmation)",
        ),
        (
            QUESTION + "ensemble: {groups: 2, size: 1}\n" + SNAPSHOTS,
            "ensemble.size: invalid value 1; expected an integer >= 2 and <= 100",
        ),
        (
            QUESTION + "ensemble: {groups: 2, size: 2}\n" + SEARCHED,
            "arms.a: 2 settings; expected 1 in a study with ensemble",
        ),
        (
            "question: Why?\nvariance: {groups: 4, draws: 2}\narms: {a: [{name: dropout}]}",
            "variance.groups: invalid value 4; expected an integer <= 3 "
            "(experiments/protocols/tiny.yaml: seeds.confirmation)",
        ),
        (
            "question: Why?\nvariance: {groups: 2, draws: 0}\narms: {a: [{name: dropout}]}",
            "variance.draws: invalid value 0; expected an integer >= 1 and <= 100",
        ),
        (
            QUESTION + "variance: {groups: 2, draws: 1}\n" + SEARCHED,
            "arms.a: 2 settings; expected 1 in a study with variance",
        ),
        (
            QUESTION
            + "variance: {groups: 2, draws: 1}\nensemble: {groups: 2, size: 2}\n"
            + "arms: {a: [{name: dropout}]}",
            "ensemble, variance: all given; expected one of them",
        ),
        (
            arms("  a: [{protocol: {training.schedule: cyclic_cosine}}]"),
            "training.snapshots: invalid value 0; "
            "expected an integer >= 1 with schedule cyclic_cosine: the number of its cycles",
        ),
        (
            arms("  a: [{protocol: {training.snapshots: 7}}]"),
            "training.snapshots: invalid value 7; expected an integer <= 6 (the number of updates)",
        ),
        (arms("  a: [{rate: 0.1}]"), "arms.a.0.name: missing; expected one of: augmentation, "),
        (arms("  a: []"), "arms.a: invalid value []; expected a list"),
        (arms("  a: dropout"), "arms.a"),
        (arms("  a/b: [{name: dropout}]"), "arms.a/b"),
        (arms("  ..: [{name: dropout}]"), "arms..."),
        (
            arms("  baseline: [{name: dropout}]"),
            'arms.baseline: invalid value "baseline"; expected another name',
        ),
        (arms("  a: [{name: dropout}]\n  a: [{name: dropout, rate: 0.1}]"), "duplicate key"),
        (
            arms("  a: [{name: dropout, rate: 0.1}]\n  b: [{name: dropout, rate: 0.1}]"),
            "arms.b (rate=0.1): the same network as arms.a (rate=0.1)",
        ),
        (arms("  a: [{name: dropout, rate: [0.1, 0.1]}]"), "arms.a.0.rate: invalid value"),
        (
            arms("  a: [{name: dropout, rate: 0.1}, {search: {method: sobol, trials: 8}}]"),
            "arms.a: search without a search space; expected one",
        ),
        (
            arms("  a: [{name: dropout}, {name: dropout}]"),
            'arms.a.1.name: invalid value "dropout"; expected a regularizer that the arm does not',
        ),
        (
            arms("  a: [{name: dropout}, {retune: true}, {retune: true}]"),
            'arms.a.2: invalid value {"retune": true}; expected retune once in an arm',
        ),
        (
            arms("  a: [{name: dropout, rate: 0.1, search: {method: grid, trials: 8}}]"),
            'arms.a.0: invalid value {"name": "dropout", "rate": 0.1, "search": {"method": "grid", '
            '"trials": 8}}; expected an item with search alone',
        ),
        (
            arms("  a: [{name: [dropout, weight_decay]}]"),
            'arms.a.0.name: invalid value ["dropout", "weight_decay"]; expected one of: ',
        ),
        (
            arms("  a: [{protocol: {data.test_fraction: 0.9}}]"),
            "protocol.data.test_fraction: the same for all arms",
        ),
        (arms("  a: [{protocol: {model.widths: [0, 8]}}]"), "model.widths.0: invalid value 0"),
        ('question: "  "\narms: {a: [{name: dropout}]}', "question: "),
        ("question: 2020-13-45\narms: {}", "not valid YAML"),
        ("question: !!int foo\narms: {}", "not valid YAML"),
        ("%YAML 1.1\n---\nquestion: a", "a directive"),
        (
            arms("  a: [{name: dropout, rate: 0}]"),
            "arms.a (rate=0): the same network as arms.baseline",
        ),
        (arms("  a: [{protocol: {model.depth: 3}}]"), "model.depth: unknown key"),
        (
            arms("  a: [{protocol: {seeds.exploration: 3}}]"),
            "seeds.exploration: unknown key; expected a key of data, model, training, start",
        ),
        (
            arms("  a: [{protocol: {training.epochs: 0}}]"),
            "training.epochs: invalid value 0; expected an integer >= 1",
        ),
        (
            arms("  a: [{name: dropout, where: {uniform: [0, 1], points: 2}}]"),
            "arms.a.0.where: invalid value 0; expected one of: hidden, input",
        ),
        (
            arms("  a: [{name: dropout, rate: {uniform: [0.1, 1.5], points: 3}}]"),
            "arms.a.0.rate: invalid value 1.5; expected ",
        ),
        (
            arms("  a: [{name: dropout, rate: {log: [0, 1], points: 3}}]"),
            "arms.a.0.rate.log: invalid value [0, 1]; expected numbers > 0",
        ),
        (
            arms("  a: [{name: dropout, rate: {log: [0.1, 0.5]}}]"),
            "arms.a.0.rate.points: missing; expected an integer",
        ),
        (
            arms(
                "  a: [{protocol: {training.learning_rate: {log: [0.1, 1], points: 100},"
                " training.optimizer.momentum: {uniform: [0, 0.9], points: 100}}}]"
            ),
            "arms.a: 10000 settings; expected at most 1000",
        ),
        (
            arms("  a: [{name: dropout, rate: [0.1, 0.2]}, {search: {method: sobol, trials: 10}}]"),
            "arms.a.1.search.trials: invalid value 10; expected a power of 2",
        ),
        (
            arms("  a: [{name: dropout, rate: [0.1, 0.2]}, {search: {method: best, trials: 8}}]"),
            'arms.a.1.search.method: invalid value "best"; expected one of: grid, random, '
            "sobol, coarse_to_fine, halving, tpe",
        ),
        (
            arms("  a: [{name: dropout, rate: 0.1}, {retune: maybe}]"),
            'arms.a.1.retune: invalid value "maybe"; expected true or false',
        ),
        (QUESTION + "arms: {}", "arms: invalid value {}"),
        (QUESTION, "arms: missing"),
        ("arms: {a: [{name: dropout}]}", "question: missing"),
        (
            QUESTION + "arm: {}\narms: {a: [{name: dropout}]}",
            "arm: unknown key; expected one of: "
            "question, protocols, ensemble, variance, search, claims, arms",
        ),
    ],
)
def test_a_mistake_in_a_study_is_one_line(project, study, words):
    (line,) = refused(project, study=study)
    assert words in line
    assert "experiments/dropout.yaml" in line


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("dataset: digits", "dataset: array_files", "no.npz: missing"),
        (
            "model: {name: resnet",
            "model: {name: cnn, widths: [4, 4, 4, 4, 4]} #",
            "model.widths: 5 stages",
        ),
        (
            "model: {name: resnet",
            "model: {import: 'torch.nn:Lineal'} #",
            "model.import: torch.nn:Lineal is an unknown name",
        ),
        (
            "studies: [dropout",
            "studies: [dropuot",
            "studies: unknown name 'dropuot'; expected one of: dropout, ",
        ),
        (
            "studies: [dropout, others, ensembles, variance]",
            "studies: [ensembles]",
            'studies: invalid value ["ensembles"]; expected also',
        ),
    ],
)
def test_a_mistake_of_all_arms_is_one_line_that_names_the_protocol(project, before, after, words):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    source = "source: {path: no.npz}\n" if "array_files" in after else ""
    protocol.write_text(source + protocol.read_text().replace(before, after))
    (line,) = refused(project)
    assert line.startswith(f"experiments/protocols/tiny.yaml: {words}")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (
            "protocols: [tiny]\nstudies: [no_such]",
            "studies: unknown name 'no_such'; expected one of: dropout, ensembles, others",
        ),
        ("protocols: [tiny]\nstudies: [../x]", "studies"),
        ("protocols: [tiny]\nstudies: []", "studies: invalid value []; expected null, all"),
        ("protocols: []", "protocols: invalid value []"),
        (
            "protocols: [tiny]\ndata: {train_size: few}",
            'data.train_size: invalid value "few"; expected an integer >= 2',
        ),
        (
            "protocols: [tiny]\ndata: {dataset: faces}",
            "data.dataset: unknown name 'faces'; expected one of: array_files, breast_cancer",
        ),
        (
            "protocols: [tiny]\nmodel: {name: vgg}",
            "model.name: unknown name 'vgg'; expected one of: cnn, imported, mlp, resnet",
        ),
        (
            "protocols: [tiny]\ntraining: {epoch: 3}",
            "training.epoch: unknown key; expected one of: learning_rate",
        ),
        (
            "protocols: [tiny]\ntraining: {learning_rate: -1}",
            "training.learning_rate: invalid value -1; expected a number > 0",
        ),
        ("protocols: [tiny]\nmargin: 2", "margin: invalid value 2"),
        ("protocols: tiny", 'protocols: invalid value "tiny"'),
        ("protocol: [tiny]", "protocols: missing"),
    ],
)
def test_a_mistake_in_the_parameters_is_named(project, parameters, words):
    lines = refused(project, parameters=parameters)
    assert words in lines[0]
    assert all(line.startswith("params.yaml: ") for line in lines)


def test_an_error_names_the_file_of_its_key(project):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("margin: 0.01", "margin: 3"))
    assert refused(project, parameters="protocols: [tiny]\ntraining: {epochs: 0}") == (
        "params.yaml: training.epochs: invalid value 0; expected an integer >= 1",
        "experiments/protocols/tiny.yaml: margin: invalid value 3; expected a number > 0 and < 1",
    )


@pytest.mark.parametrize(
    ("study", "line"),
    [
        ("arms: {a: [{name: dropout}, {against: b}]}", "arms.a.against: unknown name 'b'"),
        (
            "arms: {a: [{name: dropout, rate: [0.1, 0.2]}], b: [{name: mixup}, {against: a}]}",
            'arms.b.against: invalid value "a"; expected another arm with one setting, one of: ',
        ),
        ("protocols: [tin]\narms: {a: [{name: dropout}]}", "protocols: unknown name 'tin'"),
        (
            "arms: {a: [{name: dropout, rate: 0}]}",
            "arms.a (rate=0): the same network as arms.baseline; expected a change of the baseline",
        ),
        ("arms: {a: [{name: dropout, rate: [1, 1]}]}", "arms.a.0.rate: invalid value [1, 1]; "),
    ],
)
def test_the_error_of_a_reference_or_of_equal_settings(project, study, line):
    (refusal,) = refused(project, study=f"question: Why?\n{study}")
    assert refusal.startswith(f"experiments/dropout.yaml: {line}")


def test_independent_errors_of_a_protocol_are_reported_together(project):
    (project / "experiments" / "protocols" / "tiny.yaml").write_text(
        "data: {dataset: digit, train_size: 60}\n"
        "model: {name: cn}\n"
        "start: {trian: head}\n"
        "training:\n"
        "  {learning_rate: 0.05, epochs: 0, batch_size: 10, optimizer: sdg, schedule: onecycle}\n"
        "tune: {training.learning_rate: {log: [0.2, 0.01], points: 3}}\n"
        "margin: 3\n"
        "studies: [dropuot]\n"
    )
    lines = refused(project)
    file = "experiments/protocols/tiny.yaml"
    assert [line.split(": ")[:2] for line in lines] == [
        [file, "data.dataset"],
        [file, "training.optimizer.name"],
        [file, "training.schedule.name"],
        [file, "training.epochs"],
        [file, "margin"],
        [file, "model.name"],
        [file, "start.trian"],
        [file, "tune.training.learning_rate.log"],
        [file, "studies"],
    ]


def test_independent_errors_of_valid_sections_are_reported_together(project):
    parameters = (
        "protocols: [tiny]\ntraining: {batch_size: 900}\nmodel: {depth: 2}\nsource: {pth: x}\n"
        "tune: {training.learning_rate: {log: [2, 1]}}\nstudies: [dropuot]"
    )
    lines = refused(project, parameters=parameters)
    assert [line.split(": ")[:2] for line in lines] == [
        ["params.yaml", "source.pth"],
        ["params.yaml", "training.batch_size"],
        ["params.yaml", "model.depth"],
        ["params.yaml", "tune.training.learning_rate.log"],
        ["params.yaml", "studies"],
    ]


def test_a_mistake_of_the_parameters_hides_none_of_the_protocol(project):
    parameters = (
        "protocols: [tiny]\nexecution: {workers: many}\ntracking: {wandb: ofline}\nmargin: low\n"
        "training: {epochs: 0}\nstart: {kk: 1}\nmodel: {name: cn}\nstudies: [dropuot]\n"
    )
    lines = refused(project, parameters=parameters)
    assert {line.split(": ")[1] for line in lines} == {
        *("execution.workers", "tracking.wandb", "margin", "training.epochs", "start.kk"),
        *("model.name", "studies"),
    }


@pytest.mark.parametrize("parameters", ["protocols: [tiny", "protocols: tiny\nmargin: low"])
def test_parameters_without_protocols_have_no_further_mistakes(project, parameters):
    lines = refused(project, parameters=parameters)
    assert all(line.startswith("params.yaml: ") for line in lines)


CLAIM = "by: paper, source: s, says: t, measure: error, expect: lower"


def test_a_mistake_in_a_study_that_is_not_run_is_found_before_training(project):
    studies = project / "experiments"
    arms = "question: Why?\narms: {b: [{name: mixup}]}\nclaims:\n"
    (studies / "one.yaml").write_text(f"{arms}  - {{id: first, {CLAIM}, contrast: {{arm: b}}}}\n")
    (studies / "two.yaml").write_text(
        f"{arms}  - {{id: first, {CLAIM}, contrast: {{arm: b}}, alternative: frist}}\n"
    )
    (studies / "My study.yaml").write_text(arms.replace("claims:\n", ""))
    (studies / "protocols" / "Tiny.yaml").write_text("{}")
    study = "question: Why?\narms: {a: [{name: dropuot}]}"
    lines = refused(project, study=study)
    assert [line.split(": ")[:2] for line in lines] == [
        [
            "experiments/My study.yaml",
            "invalid name 'My study'; expected a name of lowercase letters, digits and _",
        ],
        [
            "experiments/protocols/Tiny.yaml",
            "invalid name 'Tiny'; expected a name of lowercase letters, digits and _",
        ],
        ["experiments/dropout.yaml", "arms.a.0.name"],
        ["experiments/two.yaml", "claims.0.id"],
        ["experiments/two.yaml", "claims.0.alternative"],
    ]


def test_an_invalid_claim_can_be_named_by_another(project):
    text = "question: Why?\narms: {b: [{name: mixup}]}\nclaims:\n"
    claims = {"one": f"id: first, {CLAIM}".replace("error", "eror"), "two": f"id: second, {CLAIM}"}
    for name, claim in claims.items():
        other = "second" if name == "one" else "first"
        (project / "experiments" / f"{name}.yaml").write_text(
            f"{text}  - {{{claim}, contrast: {{arm: b}}, alternative: {other}}}\n"
        )
    (line,) = refused(project)
    assert line.startswith("experiments/one.yaml: claims.0.measure: ")


def test_a_study_is_checked_also_if_a_parameter_is_invalid(project):
    study = "question: Why?\narms: {a: [{name: dropuot}]}"
    lines = refused(project, parameters="protocols: [tiny]\nmargin: low", study=study)
    places = [line.split(": ")[:2] for line in lines]
    assert places == [["params.yaml", "margin"], ["experiments/dropout.yaml", "arms.a.0.name"]]


def test_a_protocol_named_twice_raises(project):
    (line,) = refused(project, parameters="protocols: [tiny, tiny]")
    assert line.startswith('params.yaml: protocols: invalid value ["tiny", "tiny"]; expected')


def test_an_unknown_key_of_a_study_hides_no_error_of_its_arms(project):
    arms_of_study = "a: [{name: dropuot}], b: [{name: dropout, rate: 7}], c: [], d: {name: mixup}"
    lines = refused(project, study=f"question: Why?\nclaim: []\narms: {{{arms_of_study}}}")
    assert [line.split(": ")[1] for line in lines] == [
        "arms.d",
        "claim",
        "arms.a.0.name",
        "arms.b.0.rate",
        "arms.c",
    ]


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        (
            "training: {optimizer: {name: sgd, momentum: 2}}",
            "training.optimizer.momentum: invalid value 2; expected a number >= 0 and < 1",
        ),
        ("model: {name: mlp, depth: 3}", "model.depth: unknown key; expected one of: "),
        ("data: {classes: [1, 1]}", "data.classes: invalid value [1, 1]; expected distinct"),
        ("source: {lable: x}", "source.lable: unknown key; the dataset digits has no source"),
        ("start: {from: other}", "start.from: unknown name 'other'; the protocol has no pretr"),
    ],
)
def test_an_error_of_a_value_inside_an_override_names_the_parameters(project, parameters, line):
    (refusal,) = refused(project, parameters=f"protocols: [tiny]\n{parameters}")
    assert refusal.startswith(f"params.yaml: {line}")


def test_the_seeds_of_a_study_name_their_file(project):
    study = "question: Why?\nensemble: {groups: 3, size: 2}\narms: {a: [{name: dropout}]}"
    parameters = "protocols: [tiny]\nseeds: {confirmation: 2}"
    (line,) = refused(project, study=study, parameters=parameters)
    assert "groups: invalid value 3; expected an integer <= 2 (params.yaml: seeds." in line


@pytest.mark.parametrize(
    ("items", "line"),
    [
        ("[{protocol: {training.epoch: 3}}]", "0.protocol.training.epoch: unknown key"),
        (
            "[{name: dropout}, {protocol: {training.optimizer: {name: sgd, momentum: 2}}}]",
            "1.protocol.training.optimizer.momentum: invalid value 2",
        ),
        ("[{protocol: {training.epochs: {log: [0, 1]}}}]", "0.protocol.training.epochs.log"),
        ("[{protocol: {training.batch_size: 900}}]", "0.protocol.training.batch_size: invalid"),
    ],
)
def test_an_error_of_an_arm_names_the_place_in_its_file(project, items, line):
    (refusal,) = refused(project, study=f"question: Why?\narms: {{a: {items}}}")
    assert refusal.startswith(f"experiments/dropout.yaml: arms.a.{line}")


def test_a_protocol_that_does_not_exist_names_those_that_do(project):
    with pytest.raises(Refusal, match=r"unknown name '\.\./tiny'; expected one of: tiny"):
        read_experiment("../tiny")
    with pytest.raises(Refusal, match="expected one of: tiny"):
        read_protocol("other")


def test_a_mistake_in_an_arm_makes_no_line_for_what_refers_to_it(project):
    text = "  some: [{name: dropuot}]\n  b: [{name: dropout}, {against: some}]"
    (line,) = refused(project, study=arms(text) + CLAIMS)
    assert "arms.some.0.name: unknown name 'dropuot'" in line


def test_all_errors_of_all_files_at_once(project):
    (project / "experiments" / "others.yaml").write_text(arms("  c: [{name: dropout, rate: 2}]"))
    lines = refused(project, study=arms("  a: [{name: dropout, rate: -1}]\n  b: [{name: dropuot}]"))
    assert len(lines) == 3
    assert "others.yaml" in lines[2]


def test_lists_multiply_and_settings_hold_what_was_given(project):
    text = arms(
        "  a: [{name: augmentation, shift: [1, 2], rotate: [5, 10]}]\n"
        "  b: [{name: dropout, rate: 0.1}, {name: augmentation, shift: 1}]"
    )
    a, b = read(project, study=text).studies[0].arms[1:]
    assert [trial.setting for trial in a.trials] == [
        {"augmentation": {"shift": shift, "rotate": rotate}}
        for shift, rotate in ((1, 5), (1, 10), (2, 5), (2, 10))
    ]
    assert [item.rotate for trial in a.trials for item in trial.regularizers] == [5, 10, 5, 10]
    (trial,) = b.trials
    assert trial.setting == {"dropout": {"rate": 0.1}, "augmentation": {"shift": 1}}
    assert list(trial.setting) == ["dropout", "augmentation"]
    assert b.factor == Factor(regularizers=("dropout", "augmentation"))


def test_a_list_within_a_list_is_one_value(project):
    text = arms("  a: [{name: fractional_max_pooling, output_sizes: [[5], [6]]}]")
    trials = read(project, study=text).studies[0].arms[1].trials
    assert [trial.setting for trial in trials] == [
        {"fractional_max_pooling": {"output_sizes": [5]}},
        {"fractional_max_pooling": {"output_sizes": [6]}},
    ]


def test_protocol_values_can_be_a_factor(project):
    text = arms("  a: [{protocol: {model.batch_norm: false, training.epochs: 3}}, {name: dropout}]")
    arm = read(project, study=text).studies[0].arms[1]
    (trial,) = arm.trials
    assert trial.protocol.model["batch_norm"] is False
    assert trial.protocol.training.epochs == 3
    changed = {"model.batch_norm": False, "training.epochs": 3}
    assert trial.setting == {"dropout": {}, PROTOCOL: changed}
    assert arm.factor == Factor(regularizers=("dropout",), protocol=changed)


def test_a_factor_leaves_out_what_the_reference_has_too(project):
    text = arms(
        "  a: [{name: dropout, rate: 0.1}, {protocol: {training.epochs: 3}}]\n"
        "  b: [{name: dropout, rate: 0.1}, {name: weight_decay, strength: 0.1},"
        " {protocol: {training.epochs: 3, model.batch_norm: false}}, {against: a}]\n"
        "  c: [{name: dropout, rate: 0.1}, {against: b}]\n"
        "  d: [{name: dropout, rate: 0.1}, {protocol: {training.epochs: 4}}, {against: a}]"
    )
    factors = {
        arm.name: (arm.against, arm.factor) for arm in read(project, study=text).studies[0].arms
    }
    assert factors == {
        "baseline": ("baseline", Factor()),
        "a": ("baseline", Factor(regularizers=("dropout",), protocol={"training.epochs": 3})),
        "b": ("a", Factor(regularizers=("weight_decay",), protocol={"model.batch_norm": False})),
        "c": ("b", Factor()),
        "d": ("a", Factor(protocol={"training.epochs": 4})),
    }


def test_parameters_override_the_protocol_and_null_does_not(project):
    protocol = read(
        project,
        parameters="protocols: [tiny]\ntraining: {epochs: 7, optimizer: null}\nmargin: 0.02",
    ).protocol
    assert (protocol.training.epochs, protocol.training.warm_up, protocol.margin) == (7, 0, 0.02)


def test_all_studies_by_one_word(project):
    (project / "experiments" / "zeta.yaml").write_text(arms("  a: [{name: dropout}]"))

    def kinds(studies):
        experiment = read(project, parameters=f"protocols: [tiny]\nstudies: {studies}").studies
        return [(study.name, study.kind) for study in experiment]

    assert kinds("all") == [
        ("dropout", "comparison"),
        ("others", "comparison"),
        ("zeta", "comparison"),
        ("ensembles", "ensemble"),
        ("variance", "variance"),
    ]
    assert kinds("[zeta]") == [("zeta", "comparison")]
    assert kinds("[variance, zeta]") == [("zeta", "comparison"), ("variance", "variance")]


def test_a_factor_is_times_the_protocol_s_value(project):
    text = (
        "  a: [{protocol: {training.learning_rate: x3, training.epochs: x1/2}}]\n"
        "  b: [{protocol: {training.epochs: x1.5}}]"
    )
    study = read(project, arms(text)).studies[0]
    first, second = (arm.trials[0].protocol.training for arm in study.arms[1:])
    assert (first.learning_rate, first.epochs, second.epochs) == (0.15, 1, 3)
    changed = {"training.learning_rate": 0.15, "training.epochs": 1}
    assert study.arms[1].factor == Factor(protocol=changed)
    assert study.arms[1].trials[0].setting == {PROTOCOL: changed}
    parameters = "protocols: [tiny]\ntraining: {learning_rate: 0.1}\n"
    moved = read(project, parameters=parameters).studies[0].arms[1].trials[0].protocol.training
    assert moved.learning_rate == 0.3
    (line,) = refused(project, study=arms("  a: [{protocol: {training.epochs: x1/3}}]"))
    assert "training.epochs" in line


@pytest.mark.parametrize(
    ("value", "factor"),
    [("x3", 3), ("x0.5", Fraction(1, 2)), ("x1/3", Fraction(1, 3)), ("x0", 0)]
    + [
        (value, None) for value in ("x", "xresnet", "x1/0", "x-3", "3", "X3", "xnan", "xinf", 3, [])
    ],
)
def test_a_factor_is_an_x_and_a_number_that_is_not_negative(value, factor):
    assert factor_of(value) == factor


@pytest.mark.parametrize("value", ["x1/0", "x-3", "x"])
def test_a_text_that_is_no_factor_raises_like_any_other_text(project, value):
    (line,) = refused(project, study=arms(f"  a: [{{protocol: {{training.epochs: {value}}}}}]"))
    assert f'training.epochs: invalid value "{value}"; expected' in line


def test_an_override_that_changes_nothing_is_no_factor(project):
    study = read(
        project,
        arms("  a:\n    - {protocol: {training.epochs: 2}}\n    - {name: dropout, rate: 0.1}"),
    ).studies[0]
    assert study.arms[1].factor == Factor(regularizers=("dropout",))
    assert study.arms[1].trials[0].setting == {
        "dropout": {"rate": 0.1},
        PROTOCOL: {"training.epochs": 2},
    }


def test_another_model_brings_its_own_settings(project):
    settings = read(project, parameters="protocols: [tiny]\nmodel: {name: mlp}\n").protocol.model
    assert settings["name"] == "mlp"
    assert "blocks" not in settings


def test_ensembles_alone_raise(project):
    (line,) = refused(project, parameters="protocols: [tiny]\nstudies: [ensembles]\n")
    assert (
        line == 'params.yaml: studies: invalid value ["ensembles"]; '
        "expected also a study that compares arms"
    )


CLAIMS = """
claims:
  - {id: helps, source: A paper, by: paper, says: It helps., contrast: {arm: some}, expect: lower}
"""
SOME = "  some:\n    - {name: dropout, rate: 0.25}\n"


def test_claims_are_kept_with_the_study(project):
    experiment = read(project, arms(SOME) + CLAIMS)
    (study,) = [study for study in experiment.studies if study.name == "dropout"]
    assert [(item.id, item.contrast.arm) for item in study.claims] == [("helps", "some")]


def test_claims_about_other_data_are_left_out(project):
    text = arms(SOME) + CLAIMS.replace("expect", "datasets: [cifar10], expect")
    assert not any(study.claims for study in read(project, text).studies)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "{arm: some}",
            "{arm: other}",
            "claims.0.contrast: unknown name 'other'; expected one of: baseline, some",
        ),
        (
            "{arm: some}",
            "{arm: some, against: other}",
            "claims.0.contrast: unknown name 'other'; expected one of: baseline, some",
        ),
        (
            "{arm: some}",
            "{arm: some, against: dropout.some}",
            'claims.0.contrast.against: invalid value "dropout.some"; expected a name',
        ),
        (
            "expect",
            "datasets: [mnst], expect",
            "claims.0.datasets: unknown name 'mnst'; expected one of: ",
        ),
        (
            "{arm: some}",
            "{members: [1, 2]}",
            'claims.0.contrast: invalid value {"members": [1, 2]}; expected methods or members',
        ),
        (
            "expect",
            "needs: {data.label_nois: 0.1}, expect",
            "claims.0.needs: unknown name 'data.label_nois'; expected one of: data.classes",
        ),
        (
            "expect",
            "needs: {data.label_noise: 1.5}, expect",
            "claims.0.needs.data.label_noise: invalid value 1.5; expected a value that this key",
        ),
        (
            "expect",
            "needs: {model.batch_norm: 1}, expect",
            "claims.0.needs.model.batch_norm: invalid value 1; expected a value that this key",
        ),
        (
            "expect",
            "needs: {model.batchnorm: true}, expect",
            "claims.0.needs: unknown name 'model.batchnorm'; expected one of: model.",
        ),
        ("expect", "alternative: helps, expect", "claims.0.alternative: "),
        (
            "expect",
            "measure: accurcy, expect",
            'claims.0.measure: invalid value "accurcy"; expected one of: accuracy',
        ),
        (
            "expect",
            "rule: directonal, expect",
            'claims.0.rule: invalid value "directonal"; expected one of: directional',
        ),
        ("expect", "figures: [1, 2], setting: s, expect", "claims.0.figures: "),
        ("{arm: some}", "{}", "claims.0.contrast"),
        (
            "{arm: some}",
            "{arm: baseline}",
            'claims.0.contrast: invalid value {"arm": "baseline"}; expected another arm than',
        ),
        (
            "{arm: some}",
            "{arm: some, against: some, against_study: dropout}",
            'claims.0.contrast: invalid value {"arm": "some", "against": "some"',
        ),
    ],
)
def test_claims_have_to_fit_the_study(project, old, new, line):
    (message,) = refused(project, study=arms(SOME) + CLAIMS.replace(old, new, 1))
    assert message.startswith(f"experiments/dropout.yaml: {line}")


def test_two_claims_have_two_ids(project):
    twice = CLAIMS + CLAIMS.strip().partition("\n")[2] + "\n"
    (message,) = refused(project, study=arms(SOME) + twice)
    assert message == (
        'experiments/dropout.yaml: claims.1.id: invalid value "helps"; '
        "expected another id than that of experiments/dropout.yaml: claims.0"
    )


def test_the_claims_of_all_studies_are_read_at_once(tmp_path):
    folder = tmp_path / "experiments"
    folder.mkdir()
    (folder / "one.yaml").write_text(CLAIMS.replace("expect", "alternative: hurts, expect"))
    (folder / "two.yaml").write_text(CLAIMS.replace("helps,", "hurts,"))
    read_ids = {
        study: [item.id for item in claims] for study, claims in read_claims(tmp_path).items()
    }
    assert read_ids == {"one": ["helps"], "two": ["hurts"]}
    (folder / "two.yaml").write_text(CLAIMS)
    with pytest.raises(Refusal) as refusal:
        read_claims(tmp_path)
    assert [line.split("; ")[0] for line in refusal.value.lines] == [
        'experiments/two.yaml: claims.0.id: invalid value "helps"',
        "experiments/one.yaml: claims.0.alternative: unknown name 'hurts'",
    ]


def test_a_package_elsewhere_that_hides_the_folder_of_a_network_is_named(
    project, tmp_path_factory, monkeypatch
):
    """A folder without `__init__.py` comes last on the path, even one of the current folder."""
    other = tmp_path_factory.mktemp("other") / "mynets"
    for folder in (other, project / "mynets"):
        folder.mkdir()
    (other / "__init__.py").touch()
    (project / "mynets" / "small.py").write_text("import torch\nNet = torch.nn.Flatten\n")
    monkeypatch.syspath_prepend(str(other.parent))
    monkeypatch.syspath_prepend(str(project))
    behaviour._file_of.cache_clear()  # of the current folder of other tests
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    text = re.sub("model: .*", "model: {import: 'mynets.small:Net'}", protocol.read_text())
    protocol.write_text(text)
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    assert list(refused.value.lines) == [
        f"experiments/protocols/tiny.yaml: model.import: mynets.small: {other / '__init__.py'} "
        "hides the folder mynets; add mynets/__init__.py"
    ]
