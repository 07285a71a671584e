"""Weight averaging against closed forms: EMA mass of the first weights, plain mean, variance."""

from types import SimpleNamespace

import pytest
import torch
from declarations import replaced
from torch import nn
from torch.nn import functional

from pipeline import models, regularizers
from pipeline.config.run import Data
from pipeline.data.splits import train_and_validation
from pipeline.prediction.network import as_images
from pipeline.regularizers._audit import AuditInputs, BatchChanges, NoEffect
from pipeline.regularizers._refresh import refresh_statistics
from pipeline.regularizers.weight_averaging import Averager, WeightAveraging, ema, running_mean
from pipeline.runtime.errors import Refusal
from pipeline.training.trainer import train

VARIANTS = [{"kind": "mean"}, {"start": 0.5}]
ALSO_NEUTRAL = [{"decay": 0.0, "start": 0.5}]
FAULTS = [replaced(Averager, "on_train_batch_end", lambda self, trainer, task: None)]


def test_ema_closed_form():
    """The copied first weight keeps the mass decay^(n-1), the others (1 - decay) decay^(n-i)."""
    values = torch.randn(7, 3, dtype=torch.float64)
    average = values[0]
    for value in values[1:]:
        average = ema(average, value, 0.9)
    masses = torch.tensor(
        [0.9**6, *(0.1 * 0.9 ** (6 - index) for index in range(1, 7))], dtype=torch.float64
    )
    assert float(masses.sum()) == pytest.approx(1)
    assert torch.allclose(average, (masses[:, None] * values).sum(0), atol=1e-14)


def test_running_mean_counts_every_value_once():
    values = torch.randn(9, 2, dtype=torch.float64)
    average = values[0]
    for count, value in enumerate(values[1:], start=1):
        average = running_mean(average, value, count)
    assert torch.allclose(average, values.mean(0), atol=1e-14)


def test_variance_reduction_of_white_noise():
    """(1 - decay) / (1 + decay) for an EMA, 1 / n for a mean."""
    torch.manual_seed(0)
    noise = torch.randn(400, 5000, dtype=torch.float64)
    average, mean = noise[0], noise[0]
    for count, value in enumerate(noise[1:], start=1):
        average, mean = ema(average, value, 0.9), running_mean(mean, value, count)
    assert float(average.var()) == pytest.approx(0.1 / 1.9, rel=0.1)
    assert float(mean.var()) == pytest.approx(1 / 400, rel=0.1)


@pytest.mark.parametrize(("kind", "start"), [("ema", 0.0), ("mean", 0.0), ("mean", 0.5)])
def test_a_run_averages_its_own_weights(configure, pool, monkeypatch, kind, start):
    """The weights of every update are recorded apart, and averaged by hand."""
    seen = []
    original = Averager.on_train_batch_end

    def recorded(self, trainer, module, *rest):
        seen.append(
            {name: value.detach().clone() for name, value in module.network.named_parameters()}
        )
        original(self, trainer, module, *rest)

    monkeypatch.setattr(Averager, "on_train_batch_end", recorded)
    item = {"name": "weight_averaging", "kind": kind, "decay": 0.8, "start": start}
    trained = train(configure(item), pool)
    used = seen[round(start * 6) :]
    assert len(seen) == 6
    assert trained.audit["weight_averaging"]["averaged"] == len(used)
    for name in used[0]:
        expected = used[0][name]
        for count, weights in enumerate(used[1:], start=1):
            expected = (
                0.8 * expected + 0.2 * weights[name]
                if kind == "ema"
                else expected + (weights[name] - expected) / (count + 1)
            )
        assert torch.allclose(trained.weights[name], expected, atol=1e-6)
        assert torch.equal(trained.kept["raw"][0][name], seen[-1][name])


def test_raw_weights_are_those_of_the_baseline(configure, pool):
    trained = train(configure({"name": "weight_averaging", "decay": 0.9}), pool)
    baseline = train(configure(), pool)
    assert all(
        torch.equal(trained.kept["raw"][0][name], baseline.weights[name])
        for name in baseline.weights
    )


def test_statistics_are_those_of_the_averaged_weights():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    images = as_images(torch.rand(40, 1, 6, 6).numpy())
    refresh_statistics(network, images, 10, {})
    seen = network[0](images)
    assert torch.allclose(network[1].running_mean, seen.mean((0, 2, 3)), atol=1e-5)
    by_batch = torch.stack([part.var((0, 2, 3)) for part in seen.split(10)]).mean(0)
    assert torch.allclose(network[1].running_var, by_batch, atol=1e-5)
    assert network[1].momentum == 0.1


def test_an_average_that_is_the_last_weights_is_caught():
    averager = Averager("ema", 0.9, 0.0)
    averager.count = 6
    with pytest.raises(NoEffect, match="the average of 6 weights is the raw weights"):
        WeightAveraging(decay=0.9).audit(
            AuditInputs(nn.Identity(), [], 0.0, BatchChanges(), [averager])
        )


def recomputed(weights, model, images, batch_size):
    """Return name -> running mean or variance, by plain arithmetic.

    It is the mean over batches of what each batch norm reads.
    """
    network = models.build(model, tuple(images.shape[1:]), 10)
    network.load_state_dict(weights)
    network.train()
    seen = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            for what, measure in (("mean", torch.mean), ("var", torch.var)):
                read = seen.setdefault(f"{name}.running_{what}", [])
                module.register_forward_pre_hook(
                    lambda owner, arguments, read=read, measure=measure: read.append(
                        measure(arguments[0].double(), (0, 2, 3))
                    )
                )
    for batch in images.split(batch_size):
        network(batch)
    return {name: torch.stack(read).mean(0) for name, read in seen.items()}


@pytest.mark.parametrize("beside", [(), ({"name": "spatial_dropout", "rate": 0.3},)])
def test_a_run_ends_with_the_statistics_of_its_averaged_weights(configure, pool, beside):
    """And not with those of the raw weights, nor of noisy passes."""
    config = configure(*beside, {"name": "weight_averaging", "decay": 0.9})
    trained = train(config, pool)
    images = as_images(
        train_and_validation(pool, Data(**config.data), config.streams.split)[0].images
    )
    expected = recomputed(trained.weights, config.model, images, 10)
    assert len(expected) == 10
    for name, values in expected.items():
        assert torch.allclose(trained.weights[name].double(), values, atol=1e-5), name
    assert any(
        not torch.allclose(trained.kept["raw"][0][name].double(), values, atol=1e-2)
        for name, values in expected.items()
    )


@pytest.mark.parametrize("averaging_first", [True, False])
def test_early_stopping_with_it_raises(configure, pool, averaging_first):
    """It would restore raw weights over the average, or watch a network that is not tested."""
    pair = [{"name": "weight_averaging"}, {"name": "early_stopping"}]
    with pytest.raises(Refusal) as refused:
        train(configure(*(pair if averaging_first else pair[::-1])), pool)
    assert refused.value.lines == (
        "weight_averaging with early_stopping: it restores the raw weights, so that no average "
        "would be tested; expected one of the two in an arm",
    )
    assert regularizers.build(
        [{"name": "weight_averaging", "decay": 0}, pair[1]]
    ) == regularizers.build([pair[1]])


def test_an_average_that_is_replaced_after_training_is_caught(configure, pool, monkeypatch):
    end = Averager.on_train_end

    def replaced(self, trainer, module):
        end(self, trainer, module)
        module.network.load_state_dict(self.raw)

    monkeypatch.setattr(Averager, "on_train_end", replaced)
    with pytest.raises(
        NoEffect, match="weight_averaging: .* tensors at the end are not the average of training"
    ):
        train(configure({"name": "weight_averaging", "decay": 0.9}), pool)


def test_a_mean_has_no_decay():
    network = nn.Identity()
    one, other = (
        WeightAveraging(kind="mean", decay=decay).effect(network, (1, 8, 8)) for decay in (0.5, 0.9)
    )
    assert one == other
    assert WeightAveraging(decay=0.5).effect(network, ()) != WeightAveraging(decay=0.9).effect(
        network, ()
    )
    assert not WeightAveraging(kind="mean", decay=0).is_neutral()


class OwnNorm(nn.Module):
    """A batch norm written by hand, with any rule for its running statistics."""

    def __init__(self, update, channels=3):
        super().__init__()
        self.update = update
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.register_buffer("steps", torch.tensor(7))

    def forward(self, maps):
        mean, var = self.mean, self.var
        if self.training:
            var, mean = torch.var_mean(maps, (0, 2, 3), correction=0)
            number = maps.numel() / len(var)
            self.steps += 1
            self.mean = self.update(self.mean, mean.detach(), self.steps)
            unbiased = var.detach() * number / (number - 1)
            self.var.copy_(self.update(self.var, unbiased, self.steps))
        return (maps - mean.view(-1, 1, 1)) / (var.view(-1, 1, 1) + 1e-5).sqrt()


RULES = {
    "momentum": lambda old, new, steps: 0.9 * old + 0.1 * new,
    "decay": lambda old, new, steps: old.mul(0.99).add(new, alpha=0.01),
    "cumulative": lambda old, new, steps: old + (new - old) / steps,
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_statistics_of_norms_written_by_hand_are_those_of_torch(rule):
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3)]
    written = nn.Sequential(layers[0], OwnNorm(rule), layers[1], OwnNorm(rule))
    torchs = nn.Sequential(layers[0], nn.BatchNorm2d(3), layers[1], nn.BatchNorm2d(3))
    images = as_images(torch.rand(40, 1, 8, 8).numpy())
    for network in (written, torchs):
        refresh_statistics(network, images, 10, {})
    for place in (1, 3):
        assert torch.allclose(written[place].mean, torchs[place].running_mean, atol=1e-4)
        assert torch.allclose(written[place].var, torchs[place].running_var, atol=1e-4)
        assert written[place].steps == 7


def test_instance_norms_with_running_statistics_are_refreshed():
    network = nn.Sequential(nn.InstanceNorm2d(1, affine=True, track_running_stats=True))
    images = as_images(torch.rand(40, 1, 6, 6).numpy())
    refresh_statistics(network, images, 10, {})
    assert torch.allclose(network[0].running_mean, images.mean((0, 2, 3)), atol=1e-5)


class OwnRate(nn.BatchNorm2d):
    """Moves its statistics by a rate of its own."""

    def forward(self, maps):
        if self.training:
            self.num_batches_tracked += 1
        statistics = self.running_mean, self.running_var
        return functional.batch_norm(maps, *statistics, training=self.training, momentum=0.01)


class Ghost(nn.BatchNorm2d):
    """Takes the statistics of half a batch at a time."""

    def forward(self, maps):
        parts = maps.chunk(2) if self.training else [maps]
        statistics = self.running_mean, self.running_var
        rest = {"training": self.training, "momentum": self.momentum}
        return torch.cat([functional.batch_norm(part, *statistics, **rest) for part in parts])


class SetsMomentum(nn.Sequential):
    """Sets the momentum of its norm in every pass."""

    def forward(self, maps):
        self[0].momentum = 0.01
        return super().forward(maps)


@pytest.mark.parametrize("kind", [OwnRate, Ghost])
def test_norms_with_a_forward_of_their_own_are_averaged(kind):
    images = as_images(torch.rand(40, 1, 6, 6).numpy())
    network = nn.Sequential(kind(1))
    refresh_statistics(network, images, 10, {})
    assert torch.allclose(network[0].running_mean, images.mean((0, 2, 3)), atol=0.02)


@pytest.mark.parametrize(
    "network",
    [nn.Sequential(nn.BatchNorm2d(1, momentum=0.0)), SetsMomentum(nn.BatchNorm2d(1))],
    ids=["momentum of 0", "set in its forward"],
)
def test_norms_that_cannot_be_summed_up_keep_their_statistics(network):
    network[0].running_mean.fill_(0.3)
    refresh_statistics(network, as_images(torch.rand(40, 1, 6, 6).numpy()), 10, {})
    assert float(network[0].running_mean) == pytest.approx(0.3)


class Annealed(nn.Module):
    """Keeps a temperature that falls, a count in floats, and a mask with infinities."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.register_buffer("temperature", torch.tensor(1.0))
        self.register_buffer("seen", torch.tensor([2.0]))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    def forward(self, images):
        if self.training:
            self.temperature *= 0.5
            self.seen += len(images)
        return self.weight * images.flatten(1) / self.temperature


def test_counts_and_schedules_stay_at_the_end_of_training():
    network = Annealed()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    averages = {"temperature": torch.tensor(3.0), "seen": torch.tensor([1.0])}
    refresh_statistics(network, as_images(torch.rand(40, 1, 6, 6).numpy()), 10, averages)
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


def test_buffers_that_never_change_keep_their_values():
    averager, task = Averager("ema", 0.9, 0.0), SimpleNamespace(network=Annealed())
    trainer = SimpleNamespace(global_step=1, estimated_stepping_batches=1)
    for temperature in (1.0, 2.0):
        task.network.temperature.fill_(temperature)
        averager.on_train_batch_end(trainer, task)
    assert torch.equal(averager.buffers["mask"], task.network.mask)
    assert float(averager.buffers["temperature"]) == pytest.approx(1.1)


class Codebook(nn.Module):
    """Quantizes units to the nearest of two codes, which follow the units assigned to them."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        for name in ("sizes", "sums", "codes"):
            self.register_buffer(name, torch.full((1, 2), 1.0))

    def forward(self, images):
        units = self.scale * images.flatten()[:, None]
        chosen = functional.one_hot((units - self.codes).abs().argmin(1), 2).float()
        if self.training:
            self.sizes = self.sizes * 0.9 + 0.1 * chosen.sum(0, keepdim=True)
            self.sums = self.sums * 0.9 + 0.1 * (units.detach() * chosen).sum(0, keepdim=True)
            self.codes = self.sums / self.sizes
        return (chosen * self.codes).sum(1).view(len(images), -1)


def test_codebooks_begin_at_their_averages_and_follow_the_images():
    """They would be that of the raw weights otherwise, or that of one batch."""
    torch.manual_seed(0)
    images = as_images(torch.rand(400, 1, 6, 6).numpy())
    network = Codebook()
    averages = {name: torch.full((1, 2), 0.5) for name in ("sizes", "sums")}
    refresh_statistics(network, images, 10, averages | {"codes": torch.tensor([[0.2, 0.8]])})
    assert torch.allclose(network.codes, torch.tensor([[0.25, 0.75]]), atol=0.05)


def test_power_iterations_are_those_of_the_averaged_weights():
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(36, 8, bias=False))
    network = nn.Sequential(nn.Flatten(), layer)
    with torch.no_grad():
        layer.parametrizations.weight.original.normal_()
    images = as_images(torch.rand(400, 1, 6, 6).numpy())
    refresh_statistics(network, images, 4, {"1.parametrizations.weight.0._u": torch.rand(8)})
    assert torch.linalg.matrix_norm(network.eval()[1].weight.detach(), 2) == pytest.approx(
        1, abs=1e-2
    )


class Written(nn.Module):
    """A convolution whose forward first writes its own weights, and a batch norm."""

    def __init__(self, write, always):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3)
        self.write, self.always = write, always

    def forward(self, images):
        if self.training or self.always:
            self.conv.weight.data = self.write(self.conv.weight.data)
        return self.norm(self.conv(images))


def centred(weights):
    """Standardize in place."""
    weights.sub_(weights.mean((1, 2, 3), keepdim=True))
    return weights.div_(weights.std((1, 2, 3), keepdim=True) + 1e-5)


WRITES = {
    "renormed": lambda weights: torch.renorm(weights, 2, 0, 0.3),
    "standardized": centred,
    "clamped": lambda weights: weights.clamp_(-0.1, 0.1),
    "shrunk": lambda weights: weights * 0.5,
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("always", [True, False])
def test_a_forward_that_writes_its_weights_does_so_from_their_average(write, always):
    torch.manual_seed(0)
    network = Written(write, always)
    images = as_images(torch.rand(40, 1, 6, 6).numpy())
    averager, task = Averager("mean", 0.0, 0.0), SimpleNamespace(network=network)
    batches = SimpleNamespace(images=images, size=10)
    trainer = SimpleNamespace(global_step=1, estimated_stepping_batches=1, train_dataloader=batches)
    steps = [torch.randn(3, 1, 3, 3) for _ in range(3)]
    for step in steps:
        network.conv.weight.data = step.clone()
        averager.on_train_batch_end(trainer, task)
    averager.on_train_end(trainer, task)
    average = torch.stack(steps).mean(0)
    assert torch.allclose(network.conv.weight, average, atol=1e-6)
    seen = functional.conv2d(images, write(average))
    assert torch.allclose(network.norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5)
    inputs = AuditInputs(network, [], 0.0, BatchChanges(), [averager])
    assert WeightAveraging(kind="mean").audit(inputs)["averaged"] == 3


class Queue(nn.Module):
    """Keeps the last eight units, and the largest after a norm as an observer does."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(36)
        self.register_buffer("queue", torch.full((8,), -9.0))
        self.register_buffer("place", torch.tensor(3))
        self.register_buffer("largest", torch.tensor(5.0))

    def forward(self, images):
        units = self.norm(images.flatten(1))
        if self.training:
            self.queue[(torch.arange(2) + self.place) % 8] = units[:2, 0].detach()
            self.place.add_(2).remainder_(8)
            self.largest = 0.5 * self.largest + 0.5 * units.detach().max()
        return units / self.largest


def test_queues_fill_and_observers_follow_units_whose_scale_a_norm_sets():
    torch.manual_seed(0)
    network = Queue()
    averages = {"queue": torch.zeros(8), "largest": torch.tensor(4.0)}
    refresh_statistics(network, as_images(torch.rand(80, 1, 6, 6).numpy()), 10, averages)
    assert float(network.queue.abs().min()) > 0
    assert network.place == 3
    assert 1.5 < float(network.largest) < 3
