"""What every regularizer promises, asked of each one that the folder holds, and of its named options."""

import itertools

import pytest
import torch
from interrupted import assert_same_end
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from pipeline import regularizers
from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.data.loader import Batches
from pipeline.prediction.members import deterministic, noise
from pipeline.prediction.network import as_images, assemble
from pipeline.regularizers.base import NoEffect, noise_layers, seed_batch, seed_noise, switch
from pipeline.runtime.errors import Refusal
from pipeline.training.trainer import train

NAMES = regularizers.names()
SHOWN = {
    "augmentation": {"shift": 1.0, "rotate": 10.0},
    "weight_decay": {"strength": 0.05},
    "max_norm": {"strength": 0.5},
}  # where the default does nothing or little
STRENGTHS = {
    "flip": 0.5,
    "crop": 0.4,
    "scale": 0.3,
    "shear": 20.0,
    "brightness": 0.4,
    "contrast": 0.4,
    "pca_jitter": 1.0,
}
VARIANTS = {  # options that take another path through the code than the defaults
    "augmentation": [
        *({name: value} for name, value in STRENGTHS.items()),
        {"cutout": 3},
        {**STRENGTHS, "cutout": 3},
    ],
    "dropconnect": [{"where": "convolution"}, {"inference": "gaussian"}],
    "dropout": [{"where": "input"}, {"rate": [0.3, 0.5]}],
    "early_stopping": [{"monitor": "accuracy"}],
    "fractional_max_pooling": [
        *(
            {"regions": "pseudorandom"},
            {"regions": "fixed"},
            {"overlapping": False},
            {"output_sizes": (6,)},
        )
    ],
    "stochastic_depth": [{"mode": "example"}, {"decay": "uniform"}],
    "weight_averaging": [{"kind": "mean"}, {"start": 0.5}],
}
ALSO_NEUTRAL = {  # other spellings of settings without effect
    "dropconnect": [{"rate": 0.0, "where": "convolution"}, {"rate": 0.0, "inference": "gaussian"}],
    "dropout": [{"rate": 0.0, "where": "input"}, {"rate": [0.0, 0.0]}],
    "stochastic_depth": [
        {"survival": 1.0, "decay": "uniform"},
        {"survival": 1.0, "mode": "example"},
    ],
    "weight_averaging": [{"decay": 0.0, "start": 0.5}],
}
RATED = {  # what applies a share of a layer's rate
    "dropconnect": lambda layer, share: setattr(layer, "dropped", round(layer.dropped * share)),
    "dropout": lambda layer, share: setattr(layer, "rate", layer.rate * share),
    "input_noise": lambda layer, share: setattr(layer, "sigma", layer.sigma * share),
    "spatial_dropout": lambda layer, share: setattr(layer, "rate", layer.rate * share),
    "stochastic_depth": lambda layer, share: setattr(
        layer, "survival", 1 - (1 - layer.survival) * share
    ),
}


def cases(names=NAMES, defaults=True):
    """Every regularizer with its defaults, then with each of its variants."""
    chosen = [
        (name, settings)
        for name in names
        for settings in [{}][: int(defaults)] + VARIANTS.get(name, [])
    ]
    return [
        pytest.param(name, settings, id="-".join([name, *map(str, settings)]))
        for name, settings in chosen
    ]


def item(name, **settings):
    values = settings or SHOWN.get(name, {})
    return {"name": name, **regularizers.settings()[name](**values).model_dump()}


def neutral(name):
    """Every spelling of settings without effect."""
    settings = regularizers.settings()[name].neutral()
    return (
        []
        if settings is None
        else [
            {"name": name, **settings.model_dump()},
            *(item(name, **o) for o in ALSO_NEUTRAL.get(name, [])),
        ]
    )


def shared_in_a_batch(name, settings):
    """By the papers: a block is skipped for the whole batch; convolutions have one mask a batch."""
    return (name == "stochastic_depth" and settings.get("mode") != "example") or settings.get(
        "where"
    ) == "convolution"


def has_a_form_of_its_own(name, settings):
    """Whose deterministic member is not the plain network."""
    return (
        name in ("stochastic_depth", "fractional_max_pooling")
        or settings.get("inference") == "gaussian"
    )


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def placed(config, pool):
    """The network of a run before training, and its regularizers."""
    chosen = regularizers.build(config.regularizers)
    return assemble(config, chosen, pool.shape, pool.classes), chosen


def smooth(network):
    """Biases away from zero, and no ReLU: a unit whose weights and bias are all dropped would sit on its kink."""
    for owner in list(shaken(network).modules()):
        for name in [
            name for name, module in owner.named_children() if isinstance(module, nn.ReLU)
        ]:
            setattr(owner, name, nn.Softplus())
    return network


def shaken(network):
    """Biases and batch-norm statistics away from where they begin."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if value.dim() == 1:
            value += torch.rand(value.shape, generator=generator) * (
                0.2 if "var" not in name else 1
            )
    return network


@pytest.mark.parametrize("name", NAMES)
def test_default_constructible_frozen_and_documented(name):
    kind = regularizers.settings()[name]
    settings = kind()
    for field in kind.model_fields:
        with pytest.raises(ValidationError):
            setattr(settings, field, 0.1)
    assert kind.test_rule in (DETERMINISTIC, NOISE)
    module = __import__(kind.__module__, fromlist=["x"])
    assert "Test rule:" in module.__doc__
    assert kind.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_neutral_equals_the_baseline_bit_for_bit(name, configure, pool):
    """However it is spelled."""
    for given in neutral(name):
        assert regularizers.build([given]) == ()
        assert equal(train(configure(given), pool).weights, train(configure(), pool).weights)
    assert not regularizers.build([item(name)])[0].is_neutral()


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name in NAMES for number in range(len(neutral(name)))]
)
def test_neutral_without_the_short_cut_equals_it_closely(
    name, number, configure, pool, monkeypatch
):
    given = neutral(name)[number]
    (settings,) = [
        regularizers._built(name, {key: value for key, value in given.items() if key != "name"})
    ]
    monkeypatch.setattr(regularizers, "build", lambda given: (settings,))
    monkeypatch.setattr(type(settings), "audit", lambda self, evidence: {})
    trained = train(configure(given, epochs=1), pool)
    monkeypatch.undo()
    expected = train(configure(epochs=1), pool).weights
    assert all(
        torch.allclose(trained.weights[key].float(), expected[key].float(), atol=1e-4)
        for key in expected
    )


@pytest.mark.parametrize(("name", "settings"), cases())
class TestEvery:
    """Each regularizer alone, with its defaults and with each of its options."""

    def test_initial_weights_untouched(self, name, settings, configure, pool):
        one, other = (
            placed(config, pool)[0].state_dict()
            for config in (configure(), configure(item(name, **settings)))
        )
        assert equal(one, other)

    def test_reproducible_whatever_the_global_generator(self, name, settings, configure, pool):
        torch.manual_seed(1)
        one = train(configure(item(name, **settings)), pool)
        torch.manual_seed(2)
        other = train(configure(item(name, **settings)), pool)
        assert equal(one.weights, other.weights)
        assert one.history == other.history
        assert torch.equal(one.validation_logits, other.validation_logits)
        assert one.audit == other.audit

    def test_has_an_effect_and_says_so(self, name, settings, configure, pool):
        trained = train(configure(item(name, **settings)), pool)
        assert trained.audit[name]
        if trained.audit[name].get("fired") != 0:  # what may rightly never fire says whether it did
            assert not equal(trained.weights, train(configure(), pool).weights)

    def test_deterministic_member_ignores_the_noise_stream(self, name, settings, configure, pool):
        network, _ = placed(configure(item(name, **settings)), pool)
        images = as_images(pool.images[:20])
        one = deterministic(network, images)
        for layer in noise_layers(network):
            layer.generator.manual_seed(123)
        assert torch.equal(one, deterministic(network, images))
        if noise_layers(network):
            passes = noise(network, images, 6, seed=0)
            assert any(not torch.equal(passes[0], other) for other in passes[1:])

    def test_deterministic_member_is_the_plain_network(self, name, settings, configure, pool):
        if not has_a_form_of_its_own(name, settings):
            assert (
                acts_without_noise(
                    placed(configure(item(name, **settings)), pool)[0], configure, pool
                )
                is False
            )

    def test_a_pass_draws_nothing_from_the_global_generator(self, name, settings, configure, pool):
        network, _ = placed(configure(item(name, **settings)), pool)
        images, before = as_images(pool.images[:20]), torch.random.get_rng_state()
        for training in (True, False):
            switch(network, training=training, sampling=True)
            network(images)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_moves_no_other_stream(self, name, settings, configure, pool, monkeypatch):
        """Batch order, and what augmentation draws, are the same bit for bit with and without it."""
        shared = () if name == "augmentation" else (item("augmentation"),)
        without, own = configure(*shared), configure(item(name, **settings), *shared)
        assert drawn(monkeypatch, without, pool, Batches, "__iter__") == drawn(
            monkeypatch, own, pool, Batches, "__iter__"
        )
        if shared:
            kind = regularizers.settings()["augmentation"]
            one, other = (
                drawn(monkeypatch, config, pool, kind, "modify_batch") for config in (without, own)
            )
            assert len(one) == 6
            assert one == other

    def test_equal_examples_of_a_batch_get_noise_of_their_own(
        self, name, settings, configure, pool
    ):
        """From every noise layer alone, unless one draw is for all by design."""
        network, _ = placed(configure(item(name, **settings)), pool)
        for layer in noise_layers(network):
            assert tells_equals_apart(network, layer, pool) is not shared_in_a_batch(name, settings)

    def test_equal_images_of_a_batch_are_changed_differently(self, name, settings, configure, pool):
        """By what draws for each image; mixup draws for a batch, and a mixture of equal images is that image."""
        for regularizer in placed(configure(item(name, **settings)), pool)[1]:
            if regularizer.augments and name not in ("mixup", "label_smoothing"):
                seed_batch(regularizer, 0)
                images = as_images(pool.images[:1]).expand(40, -1, -1, -1)
                changed, _ = regularizer.modify_batch(images, torch.zeros(40, 10))
                assert not torch.allclose(changed, changed[:1].expand_as(changed), atol=1e-3)

    def test_resumed_at_an_epoch_boundary_it_ends_at_the_same_bits(
        self, name, settings, configure, pool, tmp_path
    ):
        """Weights, optimizer, averaged weights, counters, history, audit."""
        assert_same_end(
            configure(item(name, **settings), epochs=5, curve_points=5), pool, tmp_path, stop=2
        )

    @pytest.mark.parametrize("steps", [0, 3])
    def test_gradients(self, name, settings, steps, configure, pool):
        """Of the loss, penalties included, for images and every weight: float64, fixed noise, both modes of batch norm."""
        config = configure(item(name, **settings), epochs=1)
        network, chosen = placed(config, pool)
        if steps:
            trained = train(config, pool)
            assert trained.cost["updates"] == steps
            network.load_state_dict(trained.weights)
        smooth(network.double())
        torch.manual_seed(0)
        images = (torch.rand(4, *pool.shape, dtype=torch.float64) * 0.6 + 0.2).requires_grad_()
        for training in (False, True):
            switch(network, training=training, sampling=True)
            given = (images, *network.parameters())
            assert torch.autograd.gradcheck(
                lambda images, *_: loss(network, chosen, images), given, fast_mode=True
            )


def acts_without_noise(network, configure, pool):
    """Whether the deterministic member differs from the plain network's output for equal weights."""
    plain, images = assemble(configure(), (), pool.shape, pool.classes), as_images(pool.images[:20])
    plain.load_state_dict(shaken(network).state_dict())
    return not torch.allclose(
        deterministic(network, images), deterministic(plain, images), atol=1e-6
    )


def tells_equals_apart(network, layer, pool):
    """Whether equal examples of a batch leave `layer` as different ones, each fed what it reads in a real pass."""
    switch(network, training=False, sampling=False)
    layer.sampling, seen = True, []
    seed_noise([layer], 0)
    hook = layer.register_forward_hook(
        lambda module, arguments, output: seen.append(output.detach())
    )
    network(as_images(pool.images[:1]).expand(64, -1, -1, -1))
    hook.remove()
    (rows,) = seen
    return not torch.allclose(rows, rows[:1].expand_as(rows), atol=1e-4)


def loss(network, chosen, images):
    """What a training step minimizes, with the same draws at every call."""
    seed_noise(noise_layers(network), 0)
    targets = functional.one_hot(torch.arange(len(images)), 10).to(images.dtype)
    for regularizer in chosen:
        seed_batch(regularizer, 0)
        images, targets = regularizer.modify_batch(images, targets)
    penalties = [
        penalty for regularizer in chosen if (penalty := regularizer.penalty(network)) is not None
    ]
    return functional.cross_entropy(network(images), targets) + sum(penalties)


def drawn(monkeypatch, config, pool, owner, method):
    """The global generator's state and the epoch's order at each call of a method during training."""
    record, original = [], getattr(owner, method)

    def watched(self, *arguments):
        order = tuple(self.order().tolist()) if isinstance(self, Batches) else ()
        record.append(order or hash(torch.random.get_rng_state().numpy().tobytes()))
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, watched)
        train(config, pool)
    return record


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(NAMES, 2)))
def test_composes_pairwise(one, other, configure, pool):
    """Or is refused in one line, in either order, where a file declares that a pair has no meaning."""
    if not {one, other} & {
        *regularizers.settings()[one].clashes,
        *regularizers.settings()[other].clashes,
    }:
        trained = train(configure(item(one), item(other), epochs=1), pool)
        assert set(trained.audit) == {one, other}
        assert not trained.diverged
        return
    for pair in ((one, other), (other, one)):
        with pytest.raises(Refusal, match=f"({one} with {other}|{other} with {one}): ") as refused:
            train(configure(*(item(name) for name in pair)), pool)
        assert len(refused.value.lines) == 1


class TestPlanted:
    """The bugs that a regularizer can have unseen: each is planted, and the audit or the contract above notices."""

    @pytest.mark.parametrize("share", [0, 0.1])
    @pytest.mark.parametrize(("name", "settings"), cases(RATED))
    def test_a_rate_never_applied_or_at_a_tenth(
        self, name, settings, share, configure, pool, monkeypatch
    ):
        equip = regularizers.equip

        def weaker(network, chosen):
            equip(network, chosen)
            for layer in noise_layers(network):
                RATED[name](layer, share)

        config = configure(item(name, **settings), epochs=20)
        assert train(config, pool).audit[name]
        monkeypatch.setattr(regularizers, "equip", weaker)
        with pytest.raises(NoEffect, match=f"^{name}: ") as noticed:
            train(config, pool)
        assert "\n" not in str(noticed.value)

    @pytest.mark.parametrize(("name", "settings"), cases())
    def test_one_draw_for_a_whole_batch(self, name, settings, configure, pool):
        network, _ = placed(configure(item(name, **settings)), pool)
        for layer in noise_layers(network):
            layer.sample = repeating(layer.sample)
            assert tells_equals_apart(network, layer, pool) is False

    @pytest.mark.parametrize(("name", "settings"), cases())
    def test_acting_in_the_deterministic_member(self, name, settings, configure, pool):
        if has_a_form_of_its_own(name, settings) or settings.get("where") == "convolution":
            return  # the first differ anyway; the layer over convolutions hands its input on unread
        network, _ = placed(configure(item(name, **settings)), pool)
        for layer in noise_layers(network):
            plain, layer.deterministic = layer.deterministic, scaled(layer.deterministic)
            assert acts_without_noise(network, configure, pool)
            layer.deterministic = plain

    @pytest.mark.parametrize(
        "name", [name for name in NAMES if regularizers.settings()[name]().augments]
    )
    def test_batches_returned_as_they_came(self, name, configure, pool, monkeypatch):
        monkeypatch.setattr(
            regularizers.settings()[name],
            "modify_batch",
            lambda self, inputs, targets: (inputs, targets),
        )
        with pytest.raises(NoEffect, match=f"{name}: none of "):
            train(configure(item(name)), pool)


def repeating(sample):
    """The draw of the first example for all of them."""
    return lambda inputs, *pieces: sample(inputs[:1], *(piece[:1] for piece in pieces)).expand(
        len(inputs), *[-1] * (inputs.dim() - 1)
    )


def scaled(form):
    """The deterministic form times 1 - rate, as if nothing had been rescaled in training."""
    return lambda inputs: form(inputs) * 0.9
