"""Runs that start from the weights of others: what is loaded, trained and frozen, at which rate."""

import itertools

import numpy as np
import pytest
import torch
from declarations import NAMES, item
from interrupted import assert_same_end, same
from sklearn.linear_model import LogisticRegression
from torch import nn

from pipeline import models
from pipeline.config.start import RunStart
from pipeline.data import sources
from pipeline.models._layers import layers
from pipeline.models._start import begin, rates
from pipeline.optimizers.lbfgs import Lbfgs
from pipeline.prediction.network import as_images
from pipeline.regularizers._audit import NoEffect
from pipeline.runtime.errors import Refusal
from pipeline.training import features, trainer
from pipeline.training.compatibility import require_trainable
from pipeline.training.cost import counted
from pipeline.training.features import features_of
from pipeline.training.trainer import train

MLP = {"name": "mlp", "hidden": [12, 4]}
FREEZING = ({"train": "head"}, {"train": "last_k", "k": 2})


@pytest.fixture
def starting(configure):
    """Return a function that makes the settings of a run with a start."""

    def made(start, *regularizers, model=None, **training):
        config = configure(*regularizers, **training)
        return config.model_copy(
            update={
                "start": RunStart(**start).model_dump(mode="json"),
                "model": model or config.model,
            }
        )

    return made


@pytest.fixture(scope="module")
def parents(pool):
    """Return the weights of a network by its settings, as other training has left them."""

    def made(model):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            network = models.build(dict(model), pool.shape, pool.classes)
        network.fit(as_images(pool.images[:200]))
        for _ in range(3):  # statistics of batch norms
            network.train()(as_images(pool.images[:100]))
        return {name: value.clone() for name, value in network.state_dict().items()}

    return made


def built(model, pool):
    return models.build(dict(model), pool.shape, pool.classes)


@pytest.mark.parametrize("start", FREEZING)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop"])
def test_frozen_tensors_keep_their_bytes(start, optimizer, starting, parents, pool):
    config = starting(start, optimizer={"name": optimizer}, epochs=2)
    parent = parents(config.model)
    network = built(config.model, pool)
    begin(network, RunStart(**start), pool.classes, parent)
    ended = train(config, pool, parent=parent)
    trained = [name for name in ended.weights if name not in network.frozen]
    assert all(torch.equal(ended.weights[name], parent[name]) for name in network.frozen)
    assert any("running_mean" in name for name in network.frozen)
    assert len(network.frozen) > len(trained) > 0
    assert not any(torch.equal(ended.weights[name], parent[name]) for name in trained)


@pytest.mark.parametrize("name", NAMES)
def test_no_regularizer_moves_frozen_tensors(name, starting, parents, pool):
    """The run itself compares their bytes, and would fail."""
    config = starting({"train": "last_k", "k": 3}, item(name), epochs=2)
    parent = parents(config.model)
    ended = train(config, pool, parent=parent)
    network = built(config.model, pool)
    begin(network, RunStart(train="last_k", k=3), pool.classes, None)
    assert all(torch.equal(ended.weights[key], parent[key]) for key in network.frozen)


@pytest.mark.parametrize("kind", ["weights", "statistics"])
def test_a_planted_drift_of_a_frozen_tensor_fails_the_run(
    kind, starting, parents, pool, monkeypatch
):
    config = starting({"train": "last_k", "k": 2}, epochs=1)
    if kind == "statistics":  # as if the modules of frozen layers were in training mode
        monkeypatch.setattr(models._standardized.Standardized, "train", nn.Module.train)
    else:
        frozen = trainer.frozen_tensors

        def moved(network):
            before = frozen(network)
            with torch.no_grad():
                next(network.parameters()).flatten()[0] += 1e-7
            return before

        monkeypatch.setattr(trainer, "frozen_tensors", moved)
    with pytest.raises(NoEffect, match="frozen tensors changed"):
        train(config, pool, parent=parents(config.model))


def test_adapted_norms_update_their_statistics_and_nothing_else(starting, parents, pool):
    config = starting({"train": "head", "norm": "adapted"}, epochs=1)
    parent = parents(config.model)
    ended = train(config, pool, parent=parent)
    changed = {
        name for name, value in parent.items() if not torch.equal(ended.weights[name], value)
    }
    last = layers(built(config.model, pool))[-1]
    assert changed == {*last.tensors} | {
        name for name in parent if "running" in name or "tracked" in name
    }


@pytest.mark.parametrize(
    ("start", "fresh"), [({}, 1), ({"head": "kept"}, 0), ({"reinitialize": 2}, 3)]
)
def test_what_is_loaded_and_what_keeps_its_random_weights(start, fresh, parents, pool):
    model = MLP | {"hidden": [12, 8, 6]}
    parent = parents(model)
    drawn = built(model, pool)
    network = built(model, pool)
    network.load_state_dict(drawn.state_dict())
    begin(network, RunStart(**start), pool.classes, parent)
    every = layers(network)
    for number, layer in enumerate(every):
        source = drawn.state_dict() if number >= len(every) - fresh else parent
        for name in layer.tensors:
            assert torch.equal(network.state_dict()[name], source[name]), name


def test_layers_are_in_the_order_of_the_forward_and_hold_every_tensor_once(pool):
    class Twisted(nn.Module):
        """Registered from the end, with a parameter of its own and one layer never called."""

        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 10)
            self.unused = nn.Linear(3, 3)
            self.norm = nn.BatchNorm2d(4)
            self.last = nn.Linear(4 * 64, 6)
            self.shift = nn.Parameter(torch.zeros(4, 1, 1))
            self.first = nn.Conv2d(1, 4, 3, padding=1)

        def forward(self, images):
            features = self.norm(self.first(images)) + self.shift
            return self.head(torch.relu(self.last(features.flatten(1))))

    from pipeline.models._probe import probe
    from pipeline.models._standardized import Inputs, Standardized

    plain = Twisted()
    images = torch.rand(4, 1, 8, 8)
    network = Standardized(plain, Inputs((1, 8, 8)), probe(plain, images))
    every = layers(network)
    assert [layer.name for layer in every] == ["network.first", "network.last", "network.head"]
    assert sorted(itertools.chain(*(layer.tensors for layer in every))) == sorted(
        network.state_dict()
    )
    assert {"network.norm.running_mean", "network.shift", "network.unused.weight"} <= {
        *every[0].tensors
    }


@pytest.mark.parametrize("decay", [1.0, 0.5])
@pytest.mark.parametrize("trunk", [1.0, 0.1])
def test_rates_by_depth_follow_the_formula(decay, trunk, starting, parents, pool):
    """The head has the learning rate, the layer d below it trunk * decay ** d of it."""
    model = MLP | {"hidden": [12, 8, 6]}
    network = built(model, pool)
    by_layer = rates(network, RunStart(trunk=trunk, decay=decay))
    parameters = dict(network.named_parameters())
    every = layers(network)
    for number, layer in enumerate(every):
        depth = len(every) - 1 - number
        expected = trunk * decay**depth if depth else 1.0
        for name in layer.tensors:
            if name in parameters:
                assert by_layer[parameters[name]] == pytest.approx(expected)


def test_a_rate_is_that_of_the_step(starting, parents, pool):
    """One plain step of gradient descent: each layer moves by its rate times its gradient."""
    model = MLP | {"input_normalization": "none"}
    start = {"head": "kept", "trunk": 0.1, "decay": 0.5}
    plain = {"name": "sgd", "momentum": 0.0, "nesterov": False}
    given = {"optimizer": plain, "schedule": {"name": "constant"}, "epochs": 1, "batch_size": 30}
    parent = parents(model)
    runs = [
        train(starting(values, model=model, **given), pool, parent=parent)
        for values in ({"head": "kept"}, start)
    ]
    assert {row["learning_rate"] for run in runs for row in run.history} == {0.05}  # the highest
    one, other = (run.weights for run in runs)
    for name, value in parent.items():
        if "network" not in name:
            continue
        depth = {"1": 2, "3": 1, "5": 0}[name.split(".")[1]]
        factor = 0.1 * 0.5**depth if depth else 1.0
        assert torch.allclose(other[name] - value, factor * (one[name] - value), atol=1e-7), name


def test_a_start_that_trains_all_alike_takes_the_steps_of_a_plain_run(starting, pool, configure):
    """From the random weights of the run itself, kept: the same bits."""
    config = configure()
    start = trainer.assemble(config, (), pool.shape, pool.classes)
    start.fit(trainer._examples(pool, trainer.Data(**config.data), 0)[0].images)
    weights = train(starting({"head": "kept"}), pool, parent=start.state_dict())
    assert same(weights.weights, train(config, pool).weights)


def test_a_probe_is_the_logistic_regression_of_scikit_learn(starting):
    """On the features of the frozen trunk, trained to the end by L-BFGS."""
    pool = sources.read("digits", {}).pool
    data = {"dataset": "digits", "train_size": 300, "label_noise": 0.5, "test_fraction": 0.4}
    config = starting(
        {"train": "head"},
        model=MLP,
        optimizer={"name": "lbfgs", "max_iter": 100, "max_eval": 150},
        schedule={"name": "constant"},
        learning_rate=1.0,
        epochs=6,
        curve_points=1,
        batch_size=300,
    ).model_copy(update={"data": data})
    torch.manual_seed(0)
    parent = built(MLP, pool).state_dict()
    ended = train(config, pool, parent=parent)
    fit, held = trainer._examples(pool, trainer.Data(**data), config.streams.split)
    network = built(MLP, pool)
    network.load_state_dict(parent)
    inputs, tested = (
        features_of(network, "network.5", part.images).double().numpy() for part in (fit, held)
    )
    reference = LogisticRegression(C=np.inf, solver="newton-cg", tol=1e-7)
    reference.fit(inputs, fit.labels.numpy())
    expected = reference.predict_proba(tested)
    given = ended.validation_logits[0].double().softmax(1).numpy()
    assert np.abs(given - expected).max() < 3e-3
    assert (given.argmax(1) == expected.argmax(1)).mean() > 0.995


def test_features_give_the_bits_of_the_network_on_the_same_chunks(
    starting, parents, pool, monkeypatch
):
    """A full batch is one chunk, so that both ways see the same chunks."""
    given = {"epochs": 3, "batch_size": 30, "curve_points": 3}
    config = starting({"train": "head"}, **given)
    parent = parents(config.model)
    fast = train(config, pool, parent=parent)
    monkeypatch.setattr(trainer, "head_alone", lambda *_: "")
    slow = train(config, pool, parent=parent)
    assert all(torch.allclose(fast.weights[key], slow.weights[key]) for key in fast.weights)
    assert fast.cost["training_flops"] < slow.cost["training_flops"] / 2
    # the network itself, on features of the same chunks, is the same bit for bit
    fit, _ = trainer._examples(pool, trainer.Data(**config.data), 0)
    network = built(config.model, pool)
    network.load_state_dict(parent)
    head = layers(network)[-1].name
    taken = features_of(network, head, fit.images)
    with torch.no_grad():
        logits = network.eval()(fit.images)
    assert torch.equal(network.get_submodule(head)(taken), logits)


def test_features_cost_a_forward_pass_of_every_training_image(starting, pool):
    config = starting({"train": "head"})
    head = layers(built(config.model, pool))[-1].name
    before_training = {"batch_size": 10, "updates": 0, "passes": 0}
    counts = counted(config, pool, **before_training, head=head)
    assert counts["training_flops"] == config.data["train_size"] * counts["forward_flops"] > 0
    assert counted(config, pool, **before_training)["training_flops"] == 0


@pytest.mark.parametrize(
    ("start", "given", "is_fast"),
    [
        ({"train": "head"}, (), True),
        ({"train": "head"}, ({"name": "weight_decay", "strength": 0.01},), True),
        ({"train": "head", "norm": "adapted"}, (), False),
        ({"train": "last_k", "k": 2}, (), False),
        ({"train": "head"}, ({"name": "dropout", "rate": 0.5},), False),
        ({"train": "head"}, ({"name": "augmentation", "shift": 1},), False),
    ],
)
def test_features_are_computed_once_only_where_nothing_changes_them(
    start, given, is_fast, starting, parents, pool, monkeypatch
):
    heads = []
    whether = features.head_alone
    monkeypatch.setattr(
        trainer, "head_alone", lambda *args: heads.append(whether(*args)) or heads[-1]
    )
    config = starting(start, *(item(one.pop("name"), one) for one in map(dict, given)), epochs=1)
    train(config, pool, parent=parents(config.model))
    assert [bool(head) for head in heads] == [is_fast]


@pytest.mark.parametrize(
    "start",
    [{"train": "head"}, {"train": "head", "norm": "adapted"}, {"train": "last_k", "k": 2}, {}],
)
def test_resumed_it_ends_at_the_same_bits(start, starting, parents, pool, tmp_path, monkeypatch):
    config = starting(start, epochs=4, curve_points=4, optimizer={"name": "adam"})
    parent = parents(config.model)
    monkeypatch.setattr(train, "__defaults__", (*train.__defaults__[:-1], parent))
    assert_same_end(config, pool, tmp_path, 2)


def test_the_optimizer_holds_no_state_of_frozen_weights(starting, parents, pool, monkeypatch):
    held = []
    ended = trainer.Task.on_train_end

    def look(self):
        groups = self.trainer.optimizers[0].param_groups
        held.extend(parameter for group in groups for parameter in group["params"])
        ended(self)

    monkeypatch.setattr(trainer.Task, "on_train_end", look)
    config = starting({"train": "head"}, epochs=1, optimizer={"name": "adam"})
    train(config, pool, parent=parents(config.model))
    assert sorted(tuple(parameter.shape) for parameter in held) == [(10,), (10, 8)]


@pytest.mark.parametrize(
    ("start", "parent", "message"),
    [
        ({"train": "last_k", "k": 9}, {}, "start.k: invalid value 9; expected an integer <= 3"),
        ({"reinitialize": 3}, {}, "start.reinitialize: invalid value 3; expected an integer <= 2"),
        ({}, {"hidden": [12, 5]}, "start.from: 3.weight is of shape (5, 12) in the pretraining"),
    ],
)
def test_a_start_that_does_not_fit_raises(start, parent, message, parents, pool):
    network = built(MLP, pool)
    with pytest.raises(Refusal) as refusal:
        begin(network, RunStart(**start), pool.classes, parents(MLP | parent))
    assert str(refusal.value).startswith(message)


def test_lbfgs_with_frozen_norms_raises(pool):
    """The network decides, whatever of it is trained."""
    network = built({"name": "resnet", "widths": [4], "blocks": 1, "hidden": 4, "grid": 1}, pool)
    begin(network, RunStart(train="head"), pool.classes, None)
    norms = [name for name, one in network.named_modules() if isinstance(one, nn.BatchNorm2d)]
    assert norms
    assert set(norms) <= {*network.resting}
    with pytest.raises(Refusal, match="^batch norm with lbfgs: "):
        require_trainable(Lbfgs(), network, ())


def test_a_frozen_weight_tied_to_a_trained_one_raises(pool):
    from pipeline.models._standardized import Inputs, Standardized

    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Linear(10, 10), nn.Linear(10, 10))
    plain[3].weight = plain[2].weight
    network = Standardized(plain, Inputs((1, 8, 8)))
    with pytest.raises(Refusal, match="tied with 3.weight"):
        begin(network, RunStart(train="head"), 10, None)
    begin(network, RunStart(train="last_k", k=2), 10, None)


def test_a_network_that_does_not_end_in_its_logits_has_no_head(pool):
    from pipeline.models._standardized import Inputs, Standardized

    plain = nn.Sequential(nn.Conv2d(1, 20, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = Standardized(nn.Sequential(plain, nn.Softmax(1)), Inputs((1, 8, 8)))
    with pytest.raises(Refusal, match="does not return its 10 logits"):
        begin(network, RunStart(train="head"), 10, None)


@pytest.mark.parametrize(
    "regularizer",
    [{"name": "weight_decay", "decoupled": True}, {"name": "l1_penalty"}],
    ids=["decoupled", "l1"],
)
def test_penalties_follow_the_rate_of_each_layer(regularizer, starting, parents, pool):
    """What a step takes off a weight is in proportion to its rate."""
    model = MLP | {"input_normalization": "none"}
    plain = {"name": "sgd", "momentum": 0.0, "nesterov": False}
    given = {"optimizer": plain, "schedule": {"name": "constant"}, "epochs": 1, "batch_size": 30}
    parent = parents(model)
    taken = {}
    for trunk in (1.0, 0.25):
        start = {"head": "kept", "trunk": trunk}
        without, penalized = (
            train(starting(start, *items, model=model, **given), pool, parent=parent).weights
            for items in ((), (regularizer | {"strength": 0.01},))
        )
        far = {name: value.abs() > 0.02 for name, value in parent.items()}  # from zero
        taken[trunk] = {name: (penalized[name] - without[name]) * far[name] for name in parent}
    for name in ("network.1.weight", "network.3.weight"):
        assert float(taken[1.0][name].abs().max()) > 0
        assert torch.allclose(taken[0.25][name], 0.25 * taken[1.0][name], atol=2e-7)
    assert torch.allclose(taken[0.25]["network.5.weight"], taken[1.0]["network.5.weight"])
