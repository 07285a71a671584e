"""What every optimizer and every schedule promises, tested for each one in its folder."""

import functools

import pytest
import torch
from interrupted import assert_same_end
from observed import watch
from pydantic import ValidationError
from torch import nn
from weights import equal

from pipeline import optimizers, schedules
from pipeline.config.run import RunConfig
from pipeline.optimizers.lbfgs import Lbfgs
from pipeline.optimizers.sgd import Sgd
from pipeline.runtime.errors import Refusal
from pipeline.training.compatibility import require_trainable
from pipeline.training.trainer import train

FULL_BATCH = {"batch_size": 30, "learning_rate": 0.5}
PLAIN = {"name": "mlp", "hidden": (8,)}  # without batch norm
KINDS = {"optimizer": optimizers, "schedule": schedules}
CASES = [(part, name) for part, folder in KINDS.items() for name in folder.names()]
RATES = {"sgd": 0.05, "adagrad": 0.05}


@pytest.fixture(scope="module")
def trained(pool):
    """Return a run by its settings, trained once for this module."""

    @functools.cache
    def by_text(text):
        return train(RunConfig.model_validate_json(text), pool)

    return lambda config: by_text(config.model_dump_json())


@pytest.fixture
def case(configure):
    """Return the settings of a run with an optimizer or a schedule by name, None for defaults."""

    def made(part, name, *regularizers, **training):
        given = {} if name is None else {part: {"name": name}}
        if part == "schedule":
            given |= {"snapshots": 2}
        is_full = part == "optimizer" and name and optimizers.settings()[name].full_batch
        given |= FULL_BATCH if is_full else {}
        if part == "optimizer" and not is_full:
            given |= {"learning_rate": RATES.get(name, 0.005)}
        config = configure(*regularizers, **given | training)
        return config.model_copy(update={"model": PLAIN})

    return made


@pytest.mark.parametrize(("part", "name"), CASES)
class TestEvery:
    """Each optimizer and each schedule, with its defaults."""

    def test_default_constructible_frozen_and_documented(self, part, name):
        kind = KINDS[part].settings()[name]
        settings = kind()
        assert kind.name == name
        assert kind.__doc__
        assert __import__(kind.__module__, fromlist=["x"]).__doc__
        assert KINDS[part].parse({"name": name}) == settings
        for field in kind.model_fields:
            with pytest.raises(ValidationError):
                setattr(settings, field, 0.1)

    def test_reproducible_whatever_the_global_generator(self, part, name, case, trained, pool):
        torch.manual_seed(1)
        one = trained(case(part, name))
        torch.manual_seed(2)
        before = torch.random.get_rng_state()
        other = train(case(part, name), pool)
        assert equal(one.weights, other.weights)
        assert one.history == other.history
        assert not one.diverged
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_has_an_effect(self, part, name, case, trained):
        """Another end than any other one of its kind, at the same learning rate."""
        same = {"epochs": 4, "learning_rate": 0.02, "batch_size": 30 if part == "optimizer" else 10}
        run = trained(case(part, name, **same))
        for other in KINDS[part].names():
            if other == name:
                continue
            changed = trained(case(part, other, **same))
            # AdamW is Adam where nothing is decayed
            assert equal(run.weights, changed.weights) is ({name, other} == {"adam", "adamw"})

    def test_moves_no_other_stream(self, part, name, case, pool):
        orders, draws = [], []
        for chosen in (name, None):
            shift = {"name": "augmentation", "shift": 1.0}
            full = part == "optimizer" and optimizers.settings()[name].full_batch
            size = {"batch_size": 30} if full else {}
            with pytest.MonkeyPatch.context() as patch:
                seen = watch(patch)
                train(case(part, chosen, *([] if full else [shift]), **size), pool)
            orders.append(seen.orders)
            draws.append(seen.draws)
        assert orders[0] == orders[1]
        assert len(orders[0]) > 0
        assert draws[0] == draws[1]
        assert full or len(draws[0]) == 6

    @pytest.mark.parametrize("warm_up", [0.0, 0.3])
    def test_resumed_at_an_epoch_boundary_it_ends_at_the_same_bits(
        self, part, name, warm_up, case, pool, tmp_path
    ):
        """Weights, optimizer, schedule, counters, history, cost."""
        config = case(part, name, epochs=4, curve_points=4, warm_up=warm_up)
        assert_same_end(config, pool, tmp_path, 2)


def test_an_update_of_lbfgs_costs_all_its_passes(case, trained):
    one = trained(case("optimizer", "lbfgs")).cost
    other = trained(case("optimizer", "sgd", batch_size=30)).cost
    assert one["updates"] == other["updates"] == 2
    passes = one["training_flops"] / (other["training_flops"] / 2)
    assert passes == int(passes)
    assert 2 < passes <= 2 * 26


def test_lbfgs_trains_convolutions(configure, pool):
    """Their kernels and gradients lie in memory with channels last."""
    config = configure(optimizer={"name": "lbfgs"}, **FULL_BATCH)
    model = {"name": "cnn", "widths": (4,), "hidden": 8, "batch_norm": False}
    run = train(config.model_copy(update={"model": model}), pool)
    losses = [row["loss"] for row in run.history if row["split"] == "train"]
    assert losses[-1] < 0.9 * losses[0]


NOISY = {
    "dropout": {"name": "dropout", "rate": 0.5},
    "augmentation": {"name": "augmentation", "shift": 1.0},
    "weight_decay": {"name": "weight_decay", "strength": 0.01},
    "l1_penalty": {"name": "l1_penalty", "strength": 0.01},
    "max_norm": {"name": "max_norm", "strength": 1.0},
}


@pytest.mark.parametrize("name", NOISY)
def test_lbfgs_raises_with_regularizers_that_change_its_loss_or_its_steps(name, case, pool):
    with pytest.raises(Refusal, match=f"^{name} with lbfgs: .*; expected another") as refused:
        train(case("optimizer", "lbfgs", NOISY[name]), pool)
    assert len(refused.value.lines) == 1


def test_lbfgs_raises_with_batch_norm(configure, pool):
    with pytest.raises(Refusal, match="^batch norm with lbfgs: every evaluation"):
        train(configure(optimizer={"name": "lbfgs"}, batch_size=30), pool)


@pytest.mark.parametrize("module", [nn.Dropout(0.5), nn.Dropout2d(0.5), nn.RReLU()])
def test_lbfgs_raises_with_random_layers_of_the_network(module):
    name = type(module).__name__
    with pytest.raises(Refusal, match=f"^{name} of the network with lbfgs: "):
        require_trainable(Lbfgs(), nn.Sequential(nn.Linear(2, 2), module), ())
    require_trainable(Sgd(), nn.Sequential(nn.Linear(2, 2), module), ())


def test_lbfgs_accepts_a_dropout_layer_of_rate_0_and_of_no_other():
    dropout = nn.Dropout(1e-6)
    network = nn.Sequential(nn.Linear(2, 2), dropout)
    with pytest.raises(Refusal, match="^Dropout of the network with lbfgs: "):
        require_trainable(Lbfgs(), network, ())
    dropout.p = 0.0
    assert require_trainable(Lbfgs(), network, ()) is None


@pytest.mark.parametrize("name", ["adagrad", "rmsprop", "adam", "adamw"])
def test_the_proximal_step_raises_where_step_lengths_differ(name, case, pool):
    with pytest.raises(Refusal, match=f"^l1_penalty with {name}: it needs one step length"):
        train(case("optimizer", name, NOISY["l1_penalty"]), pool)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rmsprop", "adam", "adamw"])
def test_decay_and_norms_act_with_every_optimizer_of_gradients(name, case, trained):
    """Coupled and decoupled decay differ, except under AdamW, which always decouples."""
    plain = trained(case("optimizer", name, epochs=4))
    coupled, decoupled = (
        trained(case("optimizer", name, {**NOISY["weight_decay"], "decoupled": way}, epochs=4))
        for way in (False, True)
    )
    bounded = trained(case("optimizer", name, {"name": "max_norm", "strength": 0.5}, epochs=4))
    for run in (coupled, decoupled, bounded):
        assert not equal(run.weights, plain.weights)
    assert bounded.audit["max_norm"]["fired"] > 0
    closeness = [
        torch.allclose(one, other, rtol=0, atol=1e-6)
        for one, other in zip(coupled.weights.values(), decoupled.weights.values(), strict=True)
    ]
    assert all(closeness) is (name == "adamw")


def test_stochastic_depth_trains_with_every_optimizer_of_gradients(configure, pool):
    """A skipped branch has no gradient, and some branches get their first one late."""
    for name in ("adagrad", "rmsprop", "adam", "adamw"):
        item = {"name": "stochastic_depth", "survival": 0.2}
        run = train(configure(item, optimizer={"name": name}, learning_rate=0.005), pool)
        assert not run.diverged
