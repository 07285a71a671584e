"""One run: paired with others, the same twice, resumed to the same bits, scored clean."""

import math

import numpy as np
import pytest
import torch
from interrupted import assert_same_end, killed_after
from weights import equal

from pipeline import regularizers
from pipeline.config.run import Data, Training
from pipeline.config.test_rules import NOISE
from pipeline.data import stored
from pipeline.data.arrays import Arrays
from pipeline.data.loader import Batches
from pipeline.data.splits import train_and_validation
from pipeline.prediction import members, tensors
from pipeline.prediction.members import deterministic, noise
from pipeline.prediction.network import as_images, assemble
from pipeline.regularizers._audit import NoEffect
from pipeline.training import checkpoints
from pipeline.training.checkpoints import latest
from pipeline.training.snapshots import Snapshots
from pipeline.training.task import Task
from pipeline.training.trainer import train

DROPOUT = {"name": "dropout", "rate": 0.5}
SHIFT = {"name": "augmentation", "shift": 1.0}
DECAY = {"name": "weight_decay", "strength": 0.01}


def test_a_bare_loop_gives_the_same_weights(configure, pool):
    """Lightning adds nothing of its own: plain PyTorch, written out, ends at the same bits."""
    config = configure(epochs=3)
    trained = train(config, pool)
    fit, _ = train_and_validation(pool, Data(dataset="digits", train_size=30), 0)
    network = assemble(config, (), pool.shape, pool.classes)
    images, targets = (
        as_images(fit.images),
        torch.nn.functional.one_hot(torch.from_numpy(fit.labels), 10).float(),
    )
    network.fit(images)
    task = Task(network, (), *parsed(config))
    optimizer = torch.optim.SGD(task.groups(), lr=0.05, momentum=0.9, nesterov=True, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.05, total_steps=9, cycle_momentum=False
    )
    batches = Batches(images, targets, 10, 0)
    for epoch in range(3):
        batches.epoch = epoch
        network.train()
        for inputs, labels in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(inputs), labels).backward()
            optimizer.step()
            schedule.step()
    assert equal(trained.weights, dict(network.state_dict()))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_beside_memory_train_and_predict_the_same(channels, configure, pool, monkeypatch):
    """With changes of images, noise, refreshed statistics and views in parts."""
    chosen = [DROPOUT, SHIFT, {"name": "weight_averaging"}]
    model = {"name": "cnn", "widths": (4,), "hidden": 8, "batch_norm": True}
    levels = (255 * pool.images.repeat(channels, axis=1)).round().astype(np.uint8)
    colored = Arrays(levels, pool.labels, pool.classes)
    monkeypatch.setattr(members, "VIEWED", 100)
    monkeypatch.setattr(tensors, "CROPPED", members.CHUNK)
    results = []
    for given in ([*chosen], []):
        config = configure(*given).model_copy(update={"model": model})
        for fits in (stored.IN_MEMORY, 0):
            monkeypatch.setattr(stored, "IN_MEMORY", fits)
            trained = train(config, colored)
            fit, held = train_and_validation(colored, Data(**config.data), config.streams.split)
            images = {"train": fit, "validation": held, "test": held}
            run = tensors.TrainedRun(
                config, regularizers.build(given), trained.weights, trained.kept
            )
            views = tensors.predictions(
                run,
                {name: as_images(part.images) for name, part in images.items()},
                10,
                True,
                False,
            )
            results.append((trained.weights, trained.history, views))
        (weights, history, views), (others, course, other_views) = results[-2:]
        assert equal(weights, others)
        assert history == course
        assert equal(views, other_views)
    assert {view.kind for view in results[0][2]} > {"draws", "trained", "augmented", "raw"}
    assert "crops" in {view.kind for view in results[2][2]}


def test_inputs_are_normalized_by_training_images_alone(configure, pool):
    trained = train(configure(epochs=1), pool).weights
    parts = train_and_validation(pool, Data(dataset="digits", train_size=30), 0)
    means = [as_images(part.images).mean().item() for part in parts]
    spreads = [as_images(part.images).std(correction=0).item() for part in parts]
    assert trained["mean"].item() == pytest.approx(means[0], rel=1e-5)
    assert trained["deviation"].item() == pytest.approx(spreads[0], rel=1e-5)
    assert abs(means[0] - means[1]) > 1e-3
    assert abs(spreads[0] - spreads[1]) > 1e-3


def parsed(config):
    from pipeline.config.run import Training

    return Training(**config.training), config.streams


def test_every_epoch_visits_in_its_own_derived_order(configure, pool, monkeypatch):
    visited = []
    step = Task.training_step
    monkeypatch.setattr(
        Task,
        "training_step",
        lambda self, batch, index: visited.append(batch[0].clone()) or step(self, batch, index),
    )
    train(configure(epochs=3), pool)
    fit, _ = train_and_validation(pool, Data(dataset="digits", train_size=30), 0)
    batches = Batches(as_images(fit.images), torch.zeros(30, 10), 10, 0)
    expected = []
    for epoch in range(3):
        batches.epoch = epoch
        expected += [images for images, _ in batches]
    assert len(visited) == 9
    assert all(torch.equal(one, other) for one, other in zip(visited, expected, strict=True))
    assert not torch.equal(visited[0], visited[3])


@pytest.mark.parametrize("stream", ["split", "init", "order", "augmentation", "noise"])
def test_each_stream_moves_what_it_names(configure, pool, stream):
    one = train(configure(DROPOUT, SHIFT), pool)
    other = train(configure(DROPOUT, SHIFT, streams={stream: 9}), pool)
    assert not equal(one.weights, other.weights)
    assert torch.equal(one.validation_labels, other.validation_labels) is (stream != "split")


def test_augmentation_draws_anew_in_every_epoch(configure, pool, monkeypatch):
    kind, drawn = regularizers.settings()["augmentation"], []
    modify = kind.modify_batch

    def watched(self, inputs, targets, generator):
        drawn.append(generator.get_state())
        return modify(self, inputs, targets, generator)

    monkeypatch.setattr(kind, "modify_batch", watched)
    train(configure(SHIFT, epochs=3), pool)
    assert len(drawn) == 9
    assert len({state.numpy().tobytes() for state in drawn}) == 9


def test_validation_members_are_those_of_the_test_rule(configure, pool):
    config = configure({"name": "fractional_max_pooling", "ratio": 1.41})
    trained = train(config, pool)
    chosen = regularizers.build(config.regularizers)
    network = assemble(config, chosen, pool.shape, pool.classes)
    network.load_state_dict(trained.weights)
    _, held = train_and_validation(pool, Data(dataset="digits", train_size=30), 0)
    expected = noise(network, as_images(held.images), NOISE.members, config.streams.noise)
    assert trained.validation_logits.shape[0] == NOISE.members
    assert torch.equal(trained.validation_logits, expected)


def test_the_audit_is_given_the_training_loss_and_the_real_optimizer(configure, pool, monkeypatch):
    kind, seen = regularizers.settings()["weight_decay"], []
    monkeypatch.setattr(kind, "audit", lambda self, inputs: seen.append(inputs) or {"x": 1.0})
    trained = train(configure(DECAY), pool)
    (inputs,) = seen
    assert inputs.training_loss == trained.history[-2]["loss"] != trained.history[-1]["loss"]
    assert "momentum_buffer" not in inputs.groups[0]
    assert inputs.groups[0]["lr"] == pytest.approx(trained.history[-1]["learning_rate"])


def test_a_run_computes_on_one_thread(configure, pool):
    """Their number changes the bits."""
    torch.set_num_threads(2)
    train(configure(), pool)
    assert torch.get_num_threads() == 1


def test_streams_without_a_user_change_nothing(configure, pool):
    one = train(configure(), pool)
    assert equal(
        one.weights, train(configure(streams={"augmentation": 9, "noise": 9}), pool).weights
    )


def test_the_curve_is_clean_deterministic_and_about_as_long_as_asked(configure, pool):
    trained = train(configure(DROPOUT, SHIFT, epochs=7, curve_points=3), pool)
    assert [(row["epoch"], row["split"]) for row in trained.history] == [
        (epoch, split) for epoch in (3, 6, 7) for split in ("train", "validation")
    ]
    config = configure(DROPOUT, SHIFT)
    network = assemble(config, regularizers.build(config.regularizers), pool.shape, pool.classes)
    network.load_state_dict(trained.weights)
    fit, _ = train_and_validation(pool, Data(dataset="digits", train_size=30), 0)
    logits = deterministic(network, as_images(fit.images))[0]
    assert trained.history[-2]["accuracy"] == pytest.approx(
        (logits.argmax(1).numpy() == fit.labels).mean()
    )


def test_scoring_more_often_is_the_same_run(configure, pool):
    assert equal(
        train(configure(DROPOUT, curve_points=1), pool).weights,
        train(configure(DROPOUT, curve_points=2), pool).weights,
    )


def test_cost_is_counted(configure, pool):
    """Three convolutions, two linear layers, by hand: 2 operations per multiplication."""
    cost = train(configure(epochs=2), pool).cost
    stem, first = 64 * 9 * 1 * 4, 2 * 64 * 9 * 4 * 4
    second = 16 * (4 * 8) + 16 * 9 * 4 * 8 + 16 * 9 * 8 * 8
    head = 8 * 8 + 8 * 10
    assert cost["forward_flops"] == 2 * (stem + first + second + head)
    assert cost["updates"] == 6
    assert (
        2.5 * 60 * cost["forward_flops"] < cost["training_flops"] < 3 * 60 * cost["forward_flops"]
    )


def test_what_stochastic_depth_skips_is_counted_by_its_chance(configure, pool):
    """The branches of two blocks, by hand: forward and backward cost three times the forward."""
    plain = train(configure(), pool).cost
    skipping = train(configure({"name": "stochastic_depth", "survival": 0.5}), pool).cost
    first, second = 2 * 64 * 9 * 4 * 4, 16 * 9 * 4 * 8 + 16 * 9 * 8 * 8
    saved = 3 * 2 * 60 * (0.25 * first + 0.5 * second)
    assert plain["training_flops"] - skipping["training_flops"] == pytest.approx(saved)
    assert plain["forward_flops"] == skipping["forward_flops"]


def test_counting_cost_draws_nothing_and_is_not_audited(configure, pool):
    audit = train(configure(DROPOUT, epochs=40), pool).audit["dropout"]
    drawn = 40 * 30 * (8 + 8)
    assert abs(audit["realised_rate"] - 0.5) < 4 * 0.5 / math.sqrt(drawn)


def test_a_run_that_diverges_is_a_result(configure, pool):
    trained = train(configure(learning_rate=1e30, schedule={"name": "constant"}, epochs=4), pool)
    assert "loss is" in trained.diverged
    assert trained.validation_logits is None


def test_a_regularizer_without_effect_fails_the_run(configure, pool, monkeypatch):
    kind = regularizers.settings()["augmentation"]
    monkeypatch.setattr(
        kind, "modify_batch", lambda self, inputs, targets, generator: (inputs, targets)
    )
    with pytest.raises(NoEffect, match="augmentation: none of 60 images was changed"):
        train(configure(SHIFT), pool)


AVERAGED = {"name": "weight_averaging", "decay": 0.9}
SNAPSHOTS = {"schedule": {"name": "cyclic_cosine"}, "snapshots": 3}


@pytest.mark.parametrize("items", [(), (DROPOUT, SHIFT, DECAY, {"name": "mixup"}, AVERAGED)])
def test_resumed_after_any_epoch_it_ends_at_the_same_bits(configure, pool, tmp_path, items):
    """With snapshots; what each regularizer keeps, the contract asks of every one of them."""
    config = configure(*items, epochs=6, curve_points=3, **SNAPSHOTS)
    assert_same_end(config, pool, tmp_path, *range(1, 6))


def test_a_state_that_is_not_restored_is_noticed(configure, pool, tmp_path, monkeypatch):
    """The planted fault: a callback that forgets what it kept."""
    monkeypatch.setattr(Snapshots, "load_state_dict", lambda self, state: None)
    with pytest.raises(AssertionError, match="kept"):
        assert_same_end(configure(epochs=6, **SNAPSHOTS), pool, tmp_path, 4)


def test_a_damaged_checkpoint_falls_back_to_the_older(configure, pool, tmp_path):
    config = configure(DROPOUT, epochs=5)
    whole = train(config, pool)
    killed_after(4, config, pool, tmp_path)
    older, newer = sorted(tmp_path.glob("*.ckpt"))
    newer.write_bytes(newer.read_bytes()[:-100])
    assert latest(tmp_path) == older
    assert equal(whole.weights, train(config, pool, tmp_path).weights)
    for path in tmp_path.glob("*.ckpt"):
        path.write_bytes(b"")
    assert latest(tmp_path) is None


def test_a_short_run_writes_no_checkpoint(configure, pool, tmp_path):
    train(configure(), pool, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_no_checkpoint_follows_the_last_epoch(configure, pool, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints.Checkpoints.__init__, "__defaults__", (0.0,))
    train(configure(epochs=3), pool, tmp_path)
    epochs = [int(path.name.partition("-")[0]) for path in sorted(tmp_path.glob("*.ckpt"))]
    assert epochs == [1, 2]


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "3"},
        {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4"},
        {"LSB_JOBID": "7", "LSB_DJOB_RANKFILE": "no file", "JSM_NAMESPACE_LOCAL_RANK": "1"},
        {"RANK": "1", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1", "GROUP_RANK": "2"},
    ],
)
def test_a_cluster_around_a_run_changes_nothing(configure, pool, monkeypatch, variables):
    alone = train(configure(DROPOUT), pool).weights
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    trained = train(configure(DROPOUT), pool)
    assert trained.leads
    assert equal(trained.weights, alone)


def test_every_parameter_is_trained(configure, pool):
    """Weights, biases, and scales and shifts of batch norm."""
    config = configure()
    network = assemble(config, (), pool.shape, pool.classes)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    after = train(config, pool).weights
    assert [name for name, value in before.items() if torch.equal(value, after[name])] == []


def test_the_last_point_of_the_curve_is_that_of_the_final_weights(configure, pool):
    """Scored on running statistics of batch norm, not on those of a batch."""
    config = configure()
    run = train(config, pool)
    network = assemble(config, (), pool.shape, pool.classes)
    network.load_state_dict(run.weights)
    _, held = train_and_validation(pool, Data(**config.data), config.streams.split)
    (logits,) = deterministic(network, as_images(held.images))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(held.labels))
    (last,) = [row for row in run.history if (row["epoch"], row["split"]) == (2, "validation")]
    assert last["loss"] == pytest.approx(float(loss), rel=1e-4)


def test_launchers_that_lightning_would_notice_change_nothing(configure, pool, monkeypatch):
    """Also where their variables are set after this package was imported, as in a notebook."""
    plain = train(configure(), pool)
    launched = {
        **{"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "3"},
        **{"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4"},
        **{"MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1", "KUBERNETES_PORT": "tcp://1"},
        **{"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4", "PMI_RANK": "2"},
        **{"MV2_COMM_WORLD_RANK": "2", "LSB_JOBID": "7", "JSM_NAMESPACE_RANK": "2"},
    }
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    again = train(configure(), pool)
    assert again.history == plain.history


def test_no_weight_decays_unless_an_arm_says_so(configure, pool):
    config = configure()
    network = assemble(config, (), pool.shape, pool.classes)
    groups = Task(network, (), Training(**config.training), config.streams).groups()
    assert [group["weight_decay"] for group in groups] == [0, 0]
    assert all(group["params"] for group in groups)
