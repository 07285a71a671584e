"""Planned starts: which runs others start from, what is shared, and what is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import prepare
from pipeline.config.parameters import Execution
from pipeline.config.start import RunStart, Start
from pipeline.config.streams import Streams
from pipeline.data import sources
from pipeline.data.arrays import Arrays
from pipeline.data.prepared import read_development, read_summary, read_test_images
from pipeline.data.splits import balanced, train_validation
from pipeline.models import build
from pipeline.planning.parts import part_of_pretraining, part_of_protocol
from pipeline.planning.phases import confirmation, plan_of
from pipeline.planning.protocols import Protocol, with_source
from pipeline.planning.rounds import explore
from pipeline.planning.starts import Digests, identify_run, phases
from pipeline.planning.studies import read_experiment
from pipeline.records.runs import read_history
from pipeline.records.store import open_store
from pipeline.runtime.errors import Refusal
from pipeline.training.job import run_training

PROTOCOL = """
data: {{dataset: digits, classes: [5, 6, 7, 8, 9], per_class: 6, test_fraction: 0.4}}
model: {{name: resnet, widths: [4, 8], blocks: 1, hidden: 8, grid: 1}}
training: {{learning_rate: 0.05, epochs: 4, batch_size: 10, curve_points: 2}}
pretraining:
  similar: {{data: {{classes: [0, 1, 2, 3, 4], train_size: 60}}, training: {{epochs: 3}}}}
  regularized:
    data: {{classes: [0, 1, 2, 3, 4], train_size: 60}}
    regularizers: [{{name: dropout, rate: 0.3}}]
  own: {{data: {{classes: [9, 8, 1], train_size: 40}}, share: 0.5}}
{more}
seeds: {{exploration: 2, confirmation: 3}}
studies: [modes]
"""
STUDY = """
question: Why?
arms:
  probe: [{protocol: {start.from: similar, start.train: head}}]
  fine_tuning: [{protocol: {start.from: similar, training.learning_rate: [0.1, 0.01]}}]
  after_dropout: [{protocol: {start.from: regularized}}]
  two_phases: [{protocol: {start.from: similar, start.train: head_then_all}}]
  control: [{protocol: {start.from: own}}]
"""

NETWORK = {"name": "resnet", "widths": [4, 8], "blocks": 1, "hidden": 8, "grid": 1}
SIMILAR = "similar: {data: {classes: [0, 1, 2, 3, 4]"
LAST = "start: {from: own, train: last_k, k: 99}"


@pytest.fixture
def write(project):
    """Return a function that writes the protocol and the study, with changes."""

    def written(more="", study=STUDY, **replaced):
        text = PROTOCOL.format(more=more)
        for old, new in replaced.values():
            assert old in text
            text = text.replace(old, new)
        (project / "experiments" / "protocols" / "tiny.yaml").write_text(text)
        (project / "experiments" / "modes.yaml").write_text(study)
        return read_experiment("tiny")

    return written


def plans(experiment, **digests):
    explored = explore(lambda _: experiment, "digest", {}, pool_digests=digests)
    choice = {"modes": {"fine_tuning": {"protocol": {}}}}
    trial = next(arm for arm in experiment.studies[0].arms if arm.name == "fine_tuning").trials[0]
    choice["modes"]["fine_tuning"] = trial.setting
    return explored.plan, confirmation(experiment, "digest", choice, digests)


def test_arms_of_a_seed_share_one_pretraining_and_other_seeds_have_others(write):
    explored, (confirmed, identities) = plans(write(), similar="s", regularized="r", own="o")
    assert {start.name for start in explored.starts} == {"similar"}
    rows = {}
    for run in confirmed.runs:
        rows.setdefault(run.arm, {})[run.seed] = run.start
    assert rows["baseline"] == dict.fromkeys([1000, 1001, 1002])
    assert rows["probe"] == rows["fine_tuning"]
    assert len({*rows["probe"].values()}) == 3
    named = {start.fingerprint: start for start in confirmed.starts}
    assert {named[start].name for start in rows["probe"].values()} == {"similar"}
    assert {named[start].name for start in rows["after_dropout"].values()} == {"regularized"}
    assert {named[start].name for start in rows["two_phases"].values()} == {"first phase"}
    for seed, start in rows["two_phases"].items():
        assert named[start].start == rows["probe"][seed]
        assert named[start].data == ""
    assert {start.name for start in named.values() if start.more_data} == {"own"}
    with_more = {run.arm for run in confirmed.runs if run.fingerprint in confirmed.with_more_data()}
    assert with_more == {"control"}
    for name, start in named.items():
        digest = {"similar": "s", "regularized": "r", "own": "o", "": "digest"}[start.data]
        assert identities[name]["data_digest"] == digest
    for run in confirmed.runs:
        assert identities[run.fingerprint].get("starts_from") == run.start


def test_every_run_is_trained_after_the_one_it_starts_from(write):
    _, (plan, _) = plans(write())
    waves = plan.waves()
    assert sorted(name for wave in waves for name in wave) == sorted(plan.trained())
    place = {name: number for number, wave in enumerate(waves) for name in wave}
    for row in (*plan.starts, *plan.runs):
        if row.start:
            assert place[row.start] < place[row.fingerprint]
    assert set(waves[-1]) == set(plan.fingerprints())
    assert [len(wave) for wave in waves] == [9, 3, 18]


def test_what_a_pretraining_depends_on(write):
    """Its own settings, its data and the network; not how its arms are trained."""

    def names(pretraining, apart="s", **replaced):
        experiment = write(**replaced)
        plan = confirmation(
            experiment,
            "digest",
            {"modes": {"fine_tuning": experiment.studies[0].arms[2].trials[0].setting}},
            {"similar": apart, "regularized": apart, "own": apart},
        )[0]
        return {start.fingerprint for start in plan.starts if start.name == pretraining}

    first = names("similar")
    rate = ("learning_rate: 0.05, epochs: 4", "learning_rate: 0.05, epochs: 9")
    assert names("similar", a=rate) == first  # it gives its own epochs
    assert names("regularized", a=rate) != names("regularized")
    assert names("similar", a=("epochs: 3", "epochs: 5")).isdisjoint(first)
    assert names("similar", a=("widths: [4, 8]", "widths: [4, 4]")).isdisjoint(first)
    assert names("similar", a=("per_class: 6", "per_class: 8")) == first
    assert names("similar", a=("rate: 0.3", "rate: 0.5")) == first
    assert names("regularized", a=("rate: 0.3", "rate: 0.5")) != names("regularized")
    assert names("similar", apart="t").isdisjoint(first)


def test_head_then_all_without_a_second_phase_is_the_probe(write):
    experiment = write()
    arms = {arm.name: arm for arm in experiment.studies[0].arms}
    digests, streams = Digests("d"), Streams.of(3)

    def run(share):
        (trial,) = arms["two_phases"].trials
        start = {**trial.protocol.start, "head_share": share}
        changed = trial.protocol.model_copy(update={"start": start})
        return identify_run(
            type(trial)(trial.setting, trial.regularizers, changed), streams, digests
        )

    probe = identify_run(arms["probe"].trials[0], streams, digests)
    assert run(1.0) == probe
    assert run(0.5).identity["training"]["epochs"] == 2
    ((first, described), _) = run(0.5).starts
    assert described["training"]["epochs"] == 2
    assert described["start"]["train"] == "head"
    assert run(0.5).identity["start"] == RunStart(head="kept").model_dump(mode="json")
    assert first.fingerprint == run(0.5).identity["starts_from"]


@pytest.mark.parametrize(
    ("share", "epochs"), [(0.1, 1), (0.5, 2), (0.6, 2), (0.7, 3), (0.87, 3), (0.9, 4), (1.0, 4)]
)
def test_the_first_phase_has_its_share_of_four_epochs_and_its_own_rate(write, share, epochs):
    protocol = write().studies[0].arms[4].trials[0].protocol
    given = {**protocol.start, "head_share": share, "rates": {"head": 3.0}}
    first, last = phases(protocol, Start.model_validate(given))
    assert first.training.epochs == epochs
    assert first.training.learning_rate == pytest.approx(0.15)
    assert first.start["train"] == "head"
    if epochs == 4:
        assert last == first
        return
    assert last.training.epochs == 4 - epochs
    assert last.training.learning_rate == 0.05


def test_a_pretraining_follows_from_the_init_stream_alone(write):
    (trial,) = write().studies[0].arms[1].trials
    digests, usual = Digests("d", {"similar": "s"}), Streams.of(3)
    others = {"split": 7, "order": 8, "augmentation": 9, "noise": 10}

    def run(**changed):
        return identify_run(trial, usual.model_copy(update=changed), digests)

    ((start, described),) = run().starts
    assert described["streams"] == usual.model_dump()
    assert (start.seed, start.images) == (3, 60 * 3)  # training examples times epochs
    assert run(**others).starts == run().starts
    assert run(**others).fingerprint != run().fingerprint
    assert run(init=4).starts[0][0].fingerprint != start.fingerprint


def test_a_training_of_two_phases_has_the_curve_and_the_cost_of_both(write, project):
    write()
    prepare.main("tiny")
    digest = read_summary(Path("artifacts/tiny/data"))["digest"]
    (trial,) = write().studies[0].arms[4].trials
    run = identify_run(trial, Streams.of(0), Digests(digest, {"similar": "s"}))
    store = open_store()
    (first, described), _ = run.starts
    job = {
        "data": str(project / "artifacts" / "tiny" / "data"),
        "store": str(store.root),
        "hardware": Execution().hardware(),
    }
    alone = {key: described[key] for key in described if key != "starts_from"}
    run_training({**job, "id": first.fingerprint, "identity": alone})
    run_training({**job, "id": run.fingerprint, "identity": run.identity})
    one, both = (store.record(name)["cost"] for name in (first.fingerprint, run.fingerprint))
    curves = [read_history(store.folder(name)) for name in (first.fingerprint, run.fingerprint)]
    assert curves[1][: len(curves[0])] == curves[0]
    points = [(row["epoch"], row["updates"]) for row in curves[1] if row["split"] == "train"]
    assert points == sorted(points)
    assert points[-1] == (4, 12)
    assert both["updates"] == 12
    assert one["updates"] == 6
    assert both["training_flops"] > 2 * one["training_flops"]


def test_no_pretraining_sees_an_image_of_the_protocol(write):
    """Of the classes that both have, examples are set apart; the test set is held out first."""
    write()
    prepare.main("tiny")
    folder = Path("artifacts/tiny/data")

    def images(pool):
        return {image.tobytes() for image in pool}

    development = images(read_development(folder).images)
    test = images(read_test_images(folder))
    everything = sources.read("digits", {}).pool
    assert len(development | test) < len(everything.labels)
    sizes = {}
    for name in read_summary(folder)["pretraining"]:
        pool = read_development(folder / "pretraining" / name)
        assert images(pool.images).isdisjoint(development | test)
        sizes[name] = pool.classes, len(pool.labels)
    assert sizes["similar"] == sizes["regularized"]
    assert sizes["similar"][0] == 5
    assert sizes["own"][0] == 3
    labels = {image.tobytes(): int(label) for image, label in zip(*_digits(), strict=True)}
    pool = read_development(folder / "pretraining" / "own")
    given = [labels[image.tobytes()] for image in pool.images]
    assert given == [[9, 8, 1][label] for label in pool.labels]
    # half of the nines and eights are the protocol's, and none of the ones
    target = read_development(folder)
    mine = np.array([labels[image.tobytes()] for image in target.images])
    assert (mine == target.labels + 5).all()
    assert abs((mine == 9).sum() - given.count(9)) <= 1
    assert 1 not in mine


def _digits():
    pool = sources.read("digits", {}).pool
    return pool.images, pool.labels


@pytest.mark.parametrize("seed", range(5))
def test_as_many_of_each_class_and_smaller_sets_are_parts_of_larger(seed):
    labels = np.random.default_rng(seed).choice(4, 300, p=[0.1, 0.2, 0.3, 0.4])
    few, many = (train_validation(labels, 4 * n, seed, per_class=n) for n in (3, 9))
    for (train, rest), count in ((few, 3), (many, 9)):
        assert (np.bincount(labels[train]) == count).all()
        assert sorted([*train, *rest]) == [*range(300)]
        assert (np.diff(train) > 0).all()
    assert {*few[0]} < {*many[0]}
    with pytest.raises(Refusal, match="data.per_class: invalid value 99"):
        balanced(labels, 99, seed, 1)


@pytest.mark.parametrize(("classes", "share"), [("[9, 8, 1]", "0.5"), ("[0, 1, 2]", "null")])
def test_no_group_is_split_between_a_pretraining_and_the_protocol(write, classes, share):
    """As the images of one patient, of whatever classes."""
    protocol = write(a=("[9, 8, 1]", classes), b=("share: 0.5", f"share: {share}")).protocol
    generator = np.random.default_rng(0)
    labels, groups = generator.integers(0, 10, 4000), generator.integers(0, 1500, 4000)
    images = np.arange(4000, dtype=np.float32).reshape(-1, 1, 1, 1)
    pool = Arrays(images, labels, 10, groups=groups)
    part = part_of_protocol(protocol, pool, (), "p.yaml")
    pretrained = part_of_pretraining(protocol, "own", pool, (), "p.yaml")
    seen = [set(part.groups.tolist()) for part in (part, pretrained)]
    assert min(map(len, seen)) > 100
    assert not seen[0] & seen[1]


@pytest.mark.parametrize(
    ("more", "replaced", "words"),
    [
        ("start: {from: simlar}", (), "start.from: unknown name 'simlar'"),
        ("start: {train: head}", (), "start.from: missing; expected one of: similar"),
        ("start: {from: similar, train: last_k}", (), "start.k: missing; expected an integer"),
        ("start: {from: similar, k: 2}", (), "start.k: invalid value 2; expected null with"),
        ("start: {from: similar, train: heads}", (), 'start.train: invalid value "heads"'),
        ("start: {from: similar, rates: {trunk: 0}}", (), "start.rates.trunk: invalid value 0"),
        ("", ("share: 0.5", "share: null"), "pretraining.own.share: invalid value null"),
        (
            "",
            ("train_size: 40}", "train_size: 40, test_fraction: 0.1}"),
            "pretraining.own.data.test_fraction: invalid value 0.1; expected 0.4: the test",
        ),
        ("", ("classes: [5, 6, 7, 8, 9]", "classes: [5, 6, 7, 8, 12]"), "data.classes: invalid"),
        ("", ("classes: [5, 6, 7, 8, 9]", "classes: [5, 6, 7, 8, 5]"), "data.classes: invalid"),
        ("", ("classes: [9, 8, 1]", "classes: [9, 9]"), "data.classes: invalid value [9, 9]"),
        ("", ("classes: [5, 6, 7, 8, 9]", "classes: null"), "data.classes: missing; expected"),
        ("", ("classes: [5, 6, 7, 8, 9]", "classes: []"), "data.classes: invalid value []; exp"),
        ("", ("classes: [9, 8, 1]", "classes: [9, 8, 11]"), "pretraining.own.data.classes: inv"),
        ("", ("per_class: 6", "per_class: 900"), "data.per_class: invalid value 900"),
        ("", ("rate: 0.3", "rate: 3"), "pretraining.regularized.regularizers.0.rate: invalid"),
        ("", ("train_size: 60", "train_size: 6000"), "pretraining.similar"),
        (
            "",
            (SIMILAR, "similar: {data: {dataset: breast_cancer"),
            "similar.model.name: resnet take",
        ),
        (
            "",
            (SIMILAR, "similar: {data: {dataset: cifar10"),
            "similar.start.from: mean is of shape",
        ),
        ("", ("training: {epochs: 3}", "start: {train: head}"), "similar.start.from: missing"),
        ("", ("training: {epochs: 3}", LAST), "similar.start.k: invalid value 99"),
        (
            "start: {from: own, train: head_then_all, head_share: 0.9}",
            (),
            "start.head_share: invalid value 0.9; expected a share that leaves one of 4 epochs",
        ),
        ("", ("classes: [5, 6, 7, 8, 9]", "classes: [5.5, 1]"), "data.classes.0: invalid value 5"),
        ("", ("classes: [5, 6, 7, 8, 9]", "classes: [1]"), "data.classes: invalid value [1]"),
        ("start: {from: own, reinitialize: 7}", (), "start.reinitialize: invalid value 7"),
        ("start: {from: own, train: head_then_all, reinitialize: 99}", (), "invalid value 99"),
        ("", ("per_class: 6", "per_class: six"), 'data.per_class: invalid value "six"; expected'),
        (
            "",
            ("per_class: 6", "per_class: 6, train_size: 99"),
            "data.train_size: invalid value 99; expected none beside data.per_class, which makes "
            "it 30 (5 classes)",
        ),
        (
            "",
            ("training: {epochs: 3}", "share: 0.5"),
            "pretraining.similar.share: invalid value 0.5; expected null: it has no class",
        ),
        (
            "start: {from: own, norm: adapted}",
            (),
            'start.norm: invalid value "adapted"; expected frozen with train: all',
        ),
        (
            "start: {from: own, train: head, head_share: 0.3}",
            (),
            "start.head_share: invalid value 0.3; expected 0.5 without train: head_then_all",
        ),
        ("start: {from: own, rates: {head: 3}}", (), "start.rates.head: invalid value 3; expec"),
        (
            "start: {from: own, train: head, rates: {decay: 0.7}}",
            (),
            "start.rates.decay: invalid value 0.7; expected 1 with train: head",
        ),
        (
            "start: {from: own, train: last_k, k: 1, rates: {trunk: 0.7}}",
            (),
            "start.rates.trunk: invalid value 0.7; expected 1 with k: 1",
        ),
        (
            "",
            ("training: {epochs: 3}", "start: {from: regularized, norm: adapted}"),
            "pretraining.similar.start.norm: invalid value",
        ),
        (
            "start: {from: own, train: head, reinitialize: 1}",
            (),
            "start.reinitialize: invalid value 1; expected 0 with train: head",
        ),
        (
            "start: {from: own, train: last_k, k: 3, reinitialize: 3}",
            (),
            "start.reinitialize: invalid value 3; expected an integer <= 2 with k: 3",
        ),
        (
            "start: {from: own, train: head_then_all, head_share: 1, reinitialize: 1}",
            (),
            "start.reinitialize: invalid value 1; expected 0 with head_share: 1",
        ),
        (
            "",
            ("training: {epochs: 3}", "start: {from: regularized, train: head, reinitialize: 1}"),
            "pretraining.similar.start.reinitialize: invalid value 1",
        ),
        ("", ("training: {epochs: 3}", "start: {from: regularized}, share: null"), None),
    ],
)
def test_a_mistake_is_one_line(more, replaced, words, write):
    given = {"a": replaced} if replaced else {}
    if words is None:  # a chain of pretrainings is none
        assert write(more, **given)
        return
    with pytest.raises((Refusal, SystemExit)) as refusal:
        write(more, **given)
        prepare.main("tiny")
    (line,) = refusal.value.lines
    assert line.startswith("experiments/protocols/tiny.yaml")
    assert words in line


@pytest.mark.parametrize(
    ("source", "is_refused"),
    [
        ({"size": 16}, True),
        ({"path": "./photos"}, True),
        ({"path": "photos", "size": 12}, False),
        ({"path": "others", "size": 16}, False),
    ],
)
def test_the_files_of_a_protocol_are_read_in_one_way(source, is_refused):
    """In another size, a test image of the protocol would be an unknown one of the pretraining."""
    protocol = Protocol(
        name="p",
        data={"dataset": "image_folder", "train_size": 9, "test_fraction": 0.4},
        source={"path": "photos", "size": 12},
        model={"name": "resnet"},
        training={"learning_rate": 0.1, "epochs": 1, "batch_size": 3},
        seeds={"exploration": 1, "confirmation": 2},
        studies=("s",),
        pretraining={"similar": {"data": {"train_size": 9}, "source": source, "share": 0.5}},
    )
    if not is_refused:
        assert with_source(protocol, "p.yaml").pretraining["similar"]["source"]["path"]
        return
    with pytest.raises(Refusal) as refusal:
        with_source(protocol, "p.yaml")
    (line,) = refusal.value.lines
    assert line.startswith("p.yaml: pretraining.similar.source: invalid value")


@pytest.mark.parametrize(
    "values",
    [
        "train: head_then_all, reinitialize: 1",
        "train: last_k, k: 3, reinitialize: 2",
        "train: head, norm: adapted",
        "train: all, head_share: 0.5, norm: frozen",
    ],
)
def test_values_with_an_effect_and_defaults_are_accepted(values, write):
    """The layers drawn anew are trained, if only in a second phase."""
    study = "question: Why?\narms:\n  a: [{protocol: {model.hidden: 16}}]\n"
    assert write(f"start: {{from: own, {values}}}", study=study)


def test_a_value_without_effect_raises_unless_it_is_inherited(write):
    """A protocol may fine-tune at layer-wise rates, and an arm train the head alone."""
    usual = "start: {from: own, train: head_then_all, head_share: 0.3, rates: {decay: 0.7}}"
    study = "question: Why?\narms:\n  a: [{protocol: {start.train: head}}]\n"
    assert write(usual, study=study)
    for more, line in [
        ("start.head_share: 0.2", "start.head_share: invalid value 0.2"),
        ("start.rates: {decay: 0.2}", "start.rates.decay: invalid value 0.2"),
        ("start.rates.decay: 0.2", "start.rates.decay: invalid value 0.2"),
        ("start.norm: adapted, start.train: all", "start.norm: invalid value"),
        ("start.k: 2", "start.k: invalid value 2; expected null with train: head"),
    ]:
        changes = f"start.train: head, {more}" if "train" not in more else more
        with pytest.raises(Refusal) as refusal:
            write(usual, study=study.replace("start.train: head", changes))
        (message,) = refusal.value.lines
        assert message.startswith(f"experiments/modes.yaml: arms.a.0.protocol.{line}")


@pytest.mark.parametrize(
    ("start", "model", "other"),
    [
        ("start.train: last_k, start.k: 8", "", "fine_tuning"),
        ("start.train: last_k, start.k: 7", "", ""),
        ("start.train: head, start.norm: adapted", ", batch_norm: false", "probe"),
        ("start.train: head, start.norm: adapted", "", ""),
    ],
)
def test_a_start_that_trains_the_same_network_as_another_raises(start, model, other, write):
    """The last 8 of 8 layers are all, and without batch norm none adapts."""
    arms = "  fine_tuning: [{protocol: {start.from: similar}}]\n"
    arms += f"  a: [{{protocol: {{start.from: similar, {start}}}}}]\n"
    study = STUDY.split("  fine_tuning")[0] + arms
    layers = ("grid: 1}", f"grid: 1{model}}}")
    if not other:
        assert write(study=study, a=layers)
        return
    with pytest.raises(Refusal) as refusal:
        write(study=study, a=layers)
    (line,) = refusal.value.lines
    assert "arms.a" in line
    assert f"the same network as arms.{other}" in line


def test_head_then_all_without_a_second_phase_beside_the_probe_is_the_same_network(write):
    two = "start.from: similar, start.train: head_then_all, start.head_share: 1"
    study = STUDY + f"  again: [{{protocol: {{{two}}}}}]\n"
    with pytest.raises(Refusal) as refusal:
        write(study=study)
    (line,) = refusal.value.lines
    assert "arms.again" in line
    assert "the same network as arms.probe" in line
    write(study=study.replace("head_share: 1", "head_share: 1, start.rates.head: 2.0"))


def test_a_cycle_of_starts_raises(write):
    first = ("training: {epochs: 3}", "start: {from: regularized}")
    second = ("rate: 0.3}]", "rate: 0.3}]\n    start: {from: similar}")
    with pytest.raises(Refusal) as refusal:
        write(a=first, b=second)
    (line,) = refusal.value.lines
    assert "a cycle of starts: similar -> regularized -> similar" in line


def test_random_layers_with_a_file_of_weights_raise(write, project):
    """Every tensor of the file is loaded, so none would stay random."""
    torch.save(build(NETWORK, (1, 8, 8), 5).network.state_dict(), project / "w.pt")
    weights = ("grid: 1}", "grid: 1, weights: w.pt}")
    probe = STUDY.replace("start.from: similar, start.train: head}", "start.train: head}")
    plan, _ = plan_of(write(study=probe, a=weights), "confirmation", "digest", (), [])
    assert re.search(r"^model.weights: w.pt: (\d+) of \1 tensors loaded$", plan.loaded)
    with pytest.raises(Refusal) as refusal:
        write("start: {reinitialize: 2}", study=probe, a=weights)
    (line,) = refusal.value.lines
    assert "start.reinitialize: invalid value 2; expected 0 without start.from" in line


@pytest.mark.parametrize(
    ("start", "is_refused"),
    [
        ("start.train: head", True),
        ("start.train: last_k, start.k: 1", True),
        ("start.train: last_k, start.k: 2", False),
        ("start.train: head_then_all, start.head_share: 1", True),
        ("start.train: head_then_all", False),
    ],
)
def test_a_frozen_layer_that_is_missing_in_the_file_of_weights_raises(start, is_refused, write):
    """It would stay as it is drawn, to the end."""
    state = build(NETWORK, (1, 8, 8), 5).network.state_dict()
    lower = {name: state[name] for name in state if name.split(".")[0] not in ("8", "10")}
    assert 0 < len(lower) < len(state)
    torch.save(lower, "w.pt")
    weights = ("grid: 1}", "grid: 1, weights: w.pt}")
    study = f"question: Why?\narms:\n  a: [{{protocol: {{{start}}}}}]\n"
    if not is_refused:
        assert write(study=study, a=weights)
        return
    with pytest.raises(Refusal) as refusal:
        write(study=study, a=weights)
    (line,) = refusal.value.lines
    assert "start.train: invalid value" in line
    assert "random and untrained" in line


def test_settings_of_an_arm_that_fail_alike_have_one_line(write):
    arm = "{start.from: similar, start.train: last_k, start.k: {integers: [1, 40]}}"
    with pytest.raises(Refusal) as refusal:
        write(study=f"question: Why?\narms:\n  deep: [{{protocol: {arm}}}]\n")
    (line,) = refusal.value.lines
    assert "start.k: invalid value 9; expected an integer <= 8 (layers)" in line


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        ({"from": "a", "norm": "adapted"}, {"from": "a"}, True),
        ({"from": "a", "rates": {"head": 2.0}}, {"from": "a"}, True),
        ({"from": "a", "train": "last_k", "k": 1}, {"from": "a", "train": "head"}, True),
        (
            {"from": "a", "train": "head", "rates": {"decay": 0.5}},
            {"from": "a", "train": "head"},
            True,
        ),
        ({"from": "a", "head_share": 0.3}, {"from": "a"}, True),
        ({"from": "a", "rates": {"trunk": 0.5}}, {"from": "a"}, False),
        ({"from": "b"}, {"from": "a"}, False),
        ({"from": "a", "train": "head_then_all"}, {"from": "a"}, False),
        ({"from": "a", "train": "head", "norm": "adapted"}, {"from": "a", "train": "head"}, False),
    ],
)
def test_starts_of_equal_effect_are_told_from_others(one, other, is_equal):
    effects = [Start.model_validate(given).effect() for given in (one, other)]
    assert (effects[0] == effects[1]) is is_equal


def test_train_size_with_per_class_raises(write):
    study = STUDY + "  larger: [{protocol: {data.train_size: 90}}]\n"
    with pytest.raises(Refusal, match="expected data.per_class"):
        write(study=study)
    write(study=STUDY + "  larger: [{protocol: {data.per_class: 9}}]\n")
