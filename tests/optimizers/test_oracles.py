"""Every optimizer against a loop by hand, in float64 on a quadratic, and its known limits."""

import math

import pytest
import torch
from torch import nn

from pipeline import optimizers
from pipeline.optimizers.adagrad import Adagrad
from pipeline.optimizers.adam import Adam
from pipeline.optimizers.adamw import AdamW
from pipeline.optimizers.lbfgs import Lbfgs
from pipeline.optimizers.rmsprop import Rmsprop
from pipeline.optimizers.sgd import Sgd

RATE, DECAY, STEPS = 0.02, 0.1, 20
SIZE = 10


def quadratic(condition=20.0):
    """Return the matrix, the linear part and the start of a quadratic of ten dimensions."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(SIZE, SIZE, dtype=torch.float64, generator=generator)).Q
    scales = torch.logspace(0, math.log10(condition), SIZE, dtype=torch.float64)
    matrix = rotation @ torch.diag(scales) @ rotation.T
    linear, start = torch.randn(2, SIZE, dtype=torch.float64, generator=generator)
    return matrix, linear, start


MATRIX, LINEAR, START = quadratic()


def gradient(point):
    return MATRIX @ point - LINEAR


def path(settings, rate=RATE, decay=0.0, steps=STEPS, slope=gradient):
    """Return the points to which the product's optimizer goes, one row for each step."""
    parameter = nn.Parameter(START.clone())
    optimizer = settings.build([{"params": [parameter], "weight_decay": decay}], rate)
    points = []
    for _ in range(steps):
        parameter.grad = slope(parameter.detach())
        optimizer.step()
        points.append(parameter.detach().clone())
    return torch.stack(points)


def by_hand(step, decay=0.0, steps=STEPS):
    """Return the points to which `step(point, gradient, number)` goes."""
    point, points = START.clone(), []
    for number in range(1, steps + 1):
        point = step(point, gradient(point) + decay * point, number)
        points.append(point)
    return torch.stack(points)


def close(one, other):
    return torch.allclose(one, other, rtol=0, atol=1e-12)


def momentum_steps(rho, nesterov):
    velocity = torch.zeros(SIZE, dtype=torch.float64)

    def step(point, slope, number):
        nonlocal velocity
        velocity = rho * velocity + slope
        return point - RATE * (slope + rho * velocity if nesterov else velocity)

    return step


def adagrad_steps(eps):
    total = torch.zeros(SIZE, dtype=torch.float64)

    def step(point, slope, number):
        nonlocal total
        total = total + slope**2
        return point - RATE * slope / (total.sqrt() + eps)

    return step


def rmsprop_steps(alpha, eps):
    mean = torch.zeros(SIZE, dtype=torch.float64)

    def step(point, slope, number):
        nonlocal mean
        mean = alpha * mean + (1 - alpha) * slope**2
        return point - RATE * slope / (mean.sqrt() + eps)

    return step


def adam_steps(beta1, beta2, eps, corrected=True, decoupled=0.0):
    first, second = torch.zeros(2, SIZE, dtype=torch.float64)

    def step(point, slope, number):
        nonlocal first, second
        first = beta1 * first + (1 - beta1) * slope
        second = beta2 * second + (1 - beta2) * slope**2
        one, other = (1 - beta1**number, 1 - beta2**number) if corrected else (1, 1)
        shrunk = (1 - RATE * decoupled) * point
        return shrunk - RATE * (first / one) / ((second / other).sqrt() + eps)

    return step


COUPLED = {
    "sgd": (Sgd(momentum=0), lambda: momentum_steps(0, False)),
    "sgd-momentum": (Sgd(nesterov=False), lambda: momentum_steps(0.9, False)),
    "sgd-nesterov": (Sgd(momentum=0.8), lambda: momentum_steps(0.8, True)),
    "adagrad": (Adagrad(eps=1e-3), lambda: adagrad_steps(1e-3)),
    "rmsprop": (Rmsprop(alpha=0.9, eps=1e-3), lambda: rmsprop_steps(0.9, 1e-3)),
    "adam": (Adam(beta1=0.8, beta2=0.99, eps=1e-3), lambda: adam_steps(0.8, 0.99, 1e-3)),
    "adam-defaults": (Adam(), lambda: adam_steps(0.9, 0.999, 1e-8)),
    "adam-uncorrected": (
        Adam(bias_correction=False),
        lambda: adam_steps(0.9, 0.999, 1e-8, corrected=False),
    ),
}


@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("name", COUPLED)
def test_a_loop_by_hand_takes_the_same_path(name, decay):
    """O12.1; the weight decay of a group is that of the gradient."""
    settings, steps = COUPLED[name]
    expected = by_hand(steps(), decay)
    assert close(path(settings, decay=decay), expected)
    assert (expected[-1] - START).norm() > 0.1


@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_adamw_shrinks_the_weights_themselves(decay):
    expected = by_hand(adam_steps(0.9, 0.999, 1e-8, decoupled=decay))
    assert close(path(AdamW(), decay=decay), expected)
    assert close(path(AdamW()), path(Adam()))


def test_both_forms_of_momentum_are_one_path_with_rescaled_rates():
    """O12.2: v <- beta v + (1 - beta) g needs 1 / (1 - beta) times the learning rate."""
    velocity = torch.zeros(SIZE, dtype=torch.float64)

    def step(point, slope, number):
        nonlocal velocity
        velocity = 0.9 * velocity + (1 - 0.9) * slope
        return point - RATE / (1 - 0.9) * velocity

    assert close(path(Sgd(nesterov=False)), by_hand(step))


def test_both_forms_of_nesterov_agree():
    """O12.2: looking ahead, and a change of variables x - rate * rho * v."""
    point, velocity, ahead = START.clone(), torch.zeros(SIZE, dtype=torch.float64), []
    for _ in range(STEPS):
        velocity = 0.9 * velocity + gradient(point - RATE * 0.9 * velocity)
        point = point - RATE * velocity
        ahead.append(point - RATE * 0.9 * velocity)
    assert close(path(Sgd()), torch.stack(ahead))


@pytest.mark.parametrize(("beta2", "ratio"), [(0.999, 3.162278), (0.99, 1.0), (0.9, 0.316228)])
def test_the_first_step_without_bias_correction(beta2, ratio):
    """O12.3: (1 - beta1) / sqrt(1 - beta2) of the learning rate."""
    uncorrected = path(Adam(beta2=beta2, bias_correction=False), steps=1)[0] - START
    corrected = path(Adam(beta2=beta2), steps=1)[0] - START
    assert (uncorrected / corrected).tolist() == pytest.approx([ratio] * SIZE, rel=1e-5)
    assert corrected.abs().tolist() == pytest.approx([RATE] * SIZE, rel=1e-6)


def test_adam_with_a_large_eps_is_momentum():
    """O12.4: it then divides by eps alone, and (1 - beta1) is part of the learning rate."""
    eps = 1e9
    like = path(Adam(eps=eps, bias_correction=False), rate=RATE * eps / (1 - 0.9))
    assert torch.allclose(like, path(Sgd(nesterov=False)), atol=1e-6)


def test_tuned_adam_is_not_worse_than_tuned_momentum():
    """O12.4: with its eps tuned too, since momentum is one of its limits (Choi et al., 2019)."""

    def best(settings, scale):
        rates = [scale * 10 ** (step / 8) for step in range(-24, 9)]
        ends = [path(settings, rate=rate)[-1] for rate in rates]
        losses = [point @ MATRIX @ point / 2 - LINEAR @ point for point in ends]
        return min(loss.item() for loss in losses if loss.isfinite())

    lowest = -(LINEAR @ torch.linalg.solve(MATRIX, LINEAR) / 2).item()
    momentum = best(Sgd(nesterov=False), 1.0) - lowest
    adam = min(
        best(Adam(eps=eps, bias_correction=False), (eps + 1) / (1 - 0.9))
        for eps in (1e-8, 1e-2, 1.0, 1e2, 1e4, 1e9)
    )
    assert 0 < adam - lowest < 1.001 * momentum


def test_adagrad_s_steps_fall_as_the_root_of_time():
    """O12.5, under constant gradients."""
    points = path(Adagrad(), slope=lambda point: torch.full_like(point, 3.0))
    steps = torch.diff(points, dim=0, prepend=START[None])
    expected = torch.tensor([[-RATE / math.sqrt(t)] * SIZE for t in range(1, STEPS + 1)])
    assert torch.allclose(steps, expected.double(), rtol=1e-6)


def test_lbfgs_solves_a_quadratic_in_eleven_iterations():
    """O12.6: ten dimensions, and one iteration to begin with."""
    matrix, linear, start = quadratic(condition=5.0)
    solution = torch.linalg.solve(matrix, linear)
    parameter = nn.Parameter(start.clone())
    optimizer = Lbfgs(max_iter=11).build([{"params": [parameter], "weight_decay": 0.0}], 1.0)

    def closure():
        optimizer.zero_grad()
        loss = parameter @ matrix @ parameter / 2 - linear @ parameter
        loss.backward()
        return loss

    optimizer.step(closure)
    assert (parameter.detach() - solution).norm() < 1e-5 * (start - solution).norm()
    assert optimizer.state[parameter]["n_iter"] <= 11


def test_the_second_iteration_of_lbfgs_is_newton_s_step():
    """With equal curvature in all directions: the first iteration learns it, however long it is."""
    parameter = nn.Parameter(START.clone())
    optimizer = Lbfgs(max_iter=1).build([{"params": [parameter]}], 0.01)
    distances = []

    def closure():
        optimizer.zero_grad()
        loss = 3 * (parameter - LINEAR).square().sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.param_groups[0]["lr"] = 1.0 if distances else 0.01
        optimizer.step(closure)
        distances.append((parameter.detach() - LINEAR).norm().item())
    assert distances[0] > 0.1
    assert distances[1] < 1e-9


def test_one_iteration_of_lbfgs_has_room_for_its_line_search():
    parameter = nn.Parameter(START.clone())
    optimizer = Lbfgs(max_iter=1).build([{"params": [parameter]}], 1000.0)  # far too long
    losses = []

    def closure():
        optimizer.zero_grad()
        loss = 100 * parameter.square().sum()
        loss.backward()
        losses.append(loss.item())
        return loss

    optimizer.step(closure)
    assert 2 < len(losses) <= 25
    assert 100 * parameter.detach().square().sum() < 0.9 * losses[0]


TORCH = {
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "lbfgs": torch.optim.LBFGS,
}


@pytest.mark.parametrize("name", TORCH)
def test_defaults_are_those_of_torch(name):
    """All but momentum and the decay, which is 0 unless an arm has it."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "weight_decay": 0.0}]
    ours = optimizers.settings()[name]().build(groups, 0.1).param_groups[0]
    theirs = TORCH[name]([nn.Parameter(torch.zeros(1))], lr=0.1).param_groups[0]
    extra = {"sgd": {"momentum", "nesterov"}, "lbfgs": {"line_search_fn"}}.get(name, set())
    left_out = {"params", "fused", "weight_decay", *extra}
    assert {key: ours[key] for key in ours.keys() - left_out} == {
        key: theirs[key] for key in theirs.keys() - left_out
    }
    assert ours.get("weight_decay", 0) == 0


def test_the_step_length_is_known_where_it_is_one_number():
    assert Sgd(momentum=0).step_length(0.1) == 0.1
    assert Sgd(momentum=0.9).step_length(0.1) == pytest.approx(1.0)
    names = {name for name, kind in optimizers.settings().items() if kind().step_length(1.0)}
    assert names == {"sgd"}
