"""Draw the paths of every optimizer on small landscapes, and count how often it arrives.

`python docs/landscapes.py` writes docs/optimizers.md and its figures in docs/landscapes/; a test
compares both with the code.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from pipeline import optimizers
from pipeline.optimizers._optimizer import Optimizer
from pipeline.reporting.markdown import section
from pipeline.reporting.style import DARK, WIDTH, png, style

PAGE = Path(__file__).with_name("optimizers.md")
FIGURES = Path(__file__).with_name("landscapes")
EVALUATIONS = 100  # of the gradient, on one path
PER_DECADE = 4  # learning rates
FIRST, LAST = -4, 2  # the learning rates tried, as powers of ten
TUNING, COUNTED = 100, 1000  # starts
SHARE = 10  # an optimizer with a line search has one start in ten
SHOWN = 3  # paths
CONTOURS = 11
OPTIMIZERS = {
    "gradient descent": {"name": "sgd", "momentum": 0},
    "momentum": {"name": "sgd", "nesterov": False},
    "Nesterov momentum": {"name": "sgd"},
    "AdaGrad": {"name": "adagrad"},
    "RMSProp": {"name": "rmsprop"},
    "Adam, AdamW": {"name": "adam"},  # without weight decay they are the same
    "L-BFGS": {"name": "lbfgs", "max_iter": 1},  # one iteration in a step, to see each
}
LINES = (("#0b3c5d", "-"), ("#d55e00", "-"), ("#56b4e9", "-"))  # dark, medium and light in grey


@dataclass(frozen=True)
class Landscape:
    """A loss of two weights, where paths begin, and when they have arrived.

    Attributes:
        title: The heading of its section.
        about: What it is.
        seen: What one sees.
        loss: Losses (...) of points (..., 2).
        start: Starts (n, 2) from numbers (n, 2) uniform in [0, 1).
        minima: The points of the lowest loss.
        target: The loss at which a path has arrived.
        side: Half the side of the picture, which no path may leave.
        noise: The standard deviation of the noise that is added to each coordinate of a gradient.
    """

    title: str
    about: str
    seen: str
    loss: Callable[[Tensor], Tensor]
    start: Callable[[Tensor], Tensor]
    minima: Sequence[tuple[float, float]]
    target: float
    side: float
    noise: float = 0.0


@dataclass(frozen=True)
class Result:
    """What is shown of an optimizer on a landscape.

    Attributes:
        rate: The chosen learning rate.
        trials: The number of learning rates tried.
        starts: The number of starts that are counted.
        arrived: The number of them from which it arrives.
        evaluations: The median number of evaluations until then, infinite for those that do not.
        paths: Those that are drawn, (evaluations + 1, paths, 2).
    """

    rate: float
    trials: int
    starts: int
    arrived: int
    evaluations: float
    paths: Tensor


def turn(points: Tensor, sign: float = 1.0) -> Tensor:
    """Return points turned to the left by 45 degrees, with sign -1 to the right."""
    half = math.sqrt(0.5)
    matrix = torch.tensor([[half, sign * half], [-sign * half, half]], dtype=torch.double)
    return points @ matrix


def circle(numbers: Tensor, inner: float, outer: float) -> Tensor:
    """Return points at all angles, and at distances of 0 between an inner and an outer one."""
    angle = 2 * math.pi * numbers[:, 0]
    radius = inner + (outer - inner) * numbers[:, 1]
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)


def strip(numbers: Tensor) -> Tensor:
    """Return points with x in [-2, 2) and y in [-0.01, 0.01)."""
    return (2 * numbers - 1) * torch.tensor([2.0, 0.01], dtype=torch.double)


def valley(points: Tensor) -> Tensor:
    """Return losses fifty times as steep in y as in x."""
    return points.square() @ torch.tensor([0.5, 25.0], dtype=torch.double)


def turned_valley(points: Tensor) -> Tensor:
    """Return the losses of the valley turned to the left by 45 degrees."""
    return valley(turn(points, -1.0))


def saddle(points: Tensor) -> Tensor:
    """Return losses with a saddle at 0 between two minima."""
    x, y = points.unbind(-1)
    return 8 * x**2 + (y**2 - 1) ** 2 / 4


def plateau(points: Tensor) -> Tensor:
    """Return losses that are almost level far from 0."""
    return 1 - torch.exp(-points.square().sum(-1) / 2)


LANDSCAPES = {
    "valley": Landscape(
        title="A valley",
        about="The loss is (x^2 + 50 y^2) / 2. Starts are on a circle of radius 2.",
        seen="Gradient descent oscillates across the valley and moves slowly along it: a learning "
        "rate that is suitable along the valley would diverge across it. Momentum adds up the "
        "small steps along the valley. AdaGrad and RMSProp divide each coordinate of a gradient by "
        "the size of the past gradients in this coordinate. The valley is parallel to an axis, so "
        "a large first step makes these sizes proportional to the curvatures, and the next steps "
        "lead to the minimum. L-BFGS estimates the curvature from its first steps.",
        loss=valley,
        start=lambda numbers: circle(numbers, 2, 2),
        minima=[(0, 0)],
        target=1e-3,
        side=3,
    ),
    "turned_valley": Landscape(
        title="The same valley, turned",
        about="The loss and the starts of the valley, turned by 45 degrees.",
        seen="The paths of gradient descent and of both kinds of momentum are the same as before, "
        "but turned, so they arrive from the same starts. AdaGrad, RMSProp and Adam treat each "
        "axis separately, and both axes are now equally steep. AdaGrad and RMSProp therefore "
        "arrive from far fewer starts than before. Adam arrives about as often as before, but with "
        "three times the learning rate. The advantage of these three optimizers depends on the "
        "axes.",
        loss=turned_valley,
        start=lambda numbers: turn(circle(numbers, 2, 2)),
        minima=[(0, 0)],
        target=1e-3,
        side=3,
    ),
    "saddle": Landscape(
        title="A saddle",
        about="The loss is 8 x^2 + (y^2 - 1)^2 / 4. Starts have x in [-2, 2], y in [-0.01, 0.01].",
        seen="The gradient along y is small near the saddle. Gradient descent leaves the saddle, "
        "but slowly, because the steep sides of the saddle limit its learning rate. AdaGrad and "
        "RMSProp divide by the size of the small gradient, and leave the saddle at once. Adam also "
        "leaves it at once, but then oscillates around the minimum, as momentum does. Adam and "
        "momentum therefore arrive later than gradient descent.",
        loss=saddle,
        start=strip,
        minima=[(0, 1), (0, -1)],
        target=1e-3,
        side=3,
    ),
    "plateau": Landscape(
        title="A plateau",
        about="The loss is 1 - exp(-(x^2 + y^2) / 2). Starts are 3 to 4 from the minimum.",
        seen="Far from the minimum, the gradient is almost zero. Gradient descent needs a large "
        "learning rate there, with which it is hardly stable at the minimum. It does not arrive in "
        "time from the farthest starts. AdaGrad, RMSProp and Adam divide their steps by the size "
        "of the gradients, so their first steps are as long here as on the other landscapes. "
        "L-BFGS extends its first step as long as the loss decreases.",
        loss=plateau,
        start=lambda numbers: circle(numbers, 3, 4),
        minima=[(0, 0)],
        target=1e-2,
        side=4.5,
    ),
    "noise": Landscape(
        title="The valley with noise",
        about="The loss and the starts are the same as in the valley. Noise with standard "
        "deviation 3 is added to every coordinate of every gradient.",
        seen="No optimizer arrives from nearly all starts: with a large learning rate, the noise "
        "remains large, and with a small one, the path does not arrive in time. The best learning "
        "rates are smaller than without noise, and curvature matters less. A schedule that lowers "
        "the learning rate is made for this case. L-BFGS fails, because its line search compares "
        "losses with different noise. In Gapwise, training with L-BFGS and noise is an error.",
        loss=valley,
        start=lambda numbers: circle(numbers, 2, 2),
        minima=[(0, 0)],
        target=0.1,
        side=3,
        noise=3.0,
    ),
}


def follow(
    settings: Optimizer, rates: Sequence[float], starts: Tensor, landscape: Landscape, noise: Tensor
) -> Tensor:
    """Return the weights at every evaluation of the gradient, and at the end.

    During a line search they are those from which it began. One optimizer moves all starts of all
    rates, each rate a group of parameters. So it has to update every coordinate by itself, or there
    has to be a single path.

    Args:
        settings: The optimizer.
        rates: Learning rates.
        starts: (starts, 2).
        landscape: The loss.
        noise: The noise of each gradient, (evaluations, starts, 2).

    Returns:
        Points (evaluations + 1, rates, starts, 2).
    """
    weights = [nn.Parameter(starts.clone()) for _ in rates]
    pairs = zip(weights, rates, strict=True)
    groups = [{"params": [weight], "weight_decay": 0.0, "lr": rate} for weight, rate in pairs]
    optimizer = settings.build(groups, rates[0])
    path: list[Tensor] = []

    def closure() -> Tensor:
        points = torch.stack(weights)
        drawn = noise[min(len(path), EVALUATIONS - 1)]
        path.append(begin)
        optimizer.zero_grad()
        loss = landscape.loss(points).sum() + (drawn * points).sum()
        loss.backward()
        return loss

    begin = torch.stack(weights).detach()
    while len(path) < EVALUATIONS:
        optimizer.step(closure)
        end = torch.stack(weights).detach()
        rests = not landscape.noise and torch.equal(begin, end)
        begin = end
        if rests or not is_inside(end, landscape).any():
            break
    path += [end] * (EVALUATIONS - len(path))
    return torch.stack([*path[:EVALUATIONS], end])


def follow_all(
    settings: Optimizer, rates: Sequence[float], starts: Tensor, landscape: Landscape
) -> Tensor:
    """Return the same; an optimizer with a line search, which needs one loss, goes path by path."""
    generator = torch.Generator().manual_seed(1)
    shape = (EVALUATIONS, *starts.shape)
    noise = landscape.noise * torch.randn(shape, generator=generator, dtype=torch.double)
    if not settings.full_batch:
        return follow(settings, rates, starts, landscape, noise)
    numbers = range(len(starts))
    paths = [
        follow(settings, [rate], starts[[number]], landscape, noise[:, [number]])
        for rate in rates
        for number in numbers
    ]
    return torch.cat(paths, dim=1).reshape(-1, len(rates), *starts.shape)


def is_inside(points: Tensor, landscape: Landscape) -> Tensor:
    """Return whether points (..., 2) are in the picture."""
    return (points.abs() <= landscape.side).all(-1)


def arrivals(paths: Tensor, landscape: Landscape) -> Tensor:
    """Return after how many evaluations each path has arrived for good, infinite if it has not."""
    is_above = ~(landscape.loss(paths) <= landscape.target)  # true also of NaN
    numbers = torch.arange(1, len(paths) + 1)[:, None, None]
    needed = (is_above * numbers).amax(0).double()
    has_arrived = is_inside(paths, landscape).all(0) & (needed < len(paths))
    return needed.where(has_arrived, math.inf)


def draw_starts(settings: Optimizer, landscape: Landscape) -> tuple[Tensor, Tensor]:
    """Return the starts that tune the learning rate, and those that are counted."""
    sequence = SobolEngine(2, scramble=True, seed=0)
    numbers = sequence.draw(TUNING + COUNTED, dtype=torch.double)
    share = SHARE if settings.full_batch else 1
    tuning, counted = landscape.start(numbers).split([TUNING, COUNTED])
    return tuning[: TUNING // share], counted[: COUNTED // share]


def tune(settings: Optimizer, landscape: Landscape) -> tuple[float, int]:
    """Return the best learning rate, and the number of those tried.

    The best has most arrivals, and the fewest evaluations among equals. While it is at an end
    of the range, another decade is tried there.
    """
    starts, _ = draw_starts(settings, landscape)
    scores: dict[int, tuple[float, float]] = {}
    steps = list(range(FIRST * PER_DECADE, LAST * PER_DECADE + 1))
    while steps:
        rates = [rate_at(step) for step in steps]
        arrival_steps = arrivals(follow_all(settings, rates, starts, landscape), landscape)
        means = arrival_steps.clamp(max=EVALUATIONS + 1).mean(1).tolist()
        counts = arrival_steps.isfinite().sum(1).tolist()
        scores |= dict(zip(steps, zip(counts, [-mean for mean in means], strict=True), strict=True))
        best = max(sorted(scores), key=scores.__getitem__)
        ends = {min(scores): -1, max(scores): 1}
        further = range(1, PER_DECADE + 1) if best in ends else ()
        steps = [best + ends[best] * number for number in further]
    return rate_at(best), len(scores)


def rate_at(step: int) -> float:
    """Return the learning rate of a trial."""
    return float(10 ** (step / PER_DECADE))


def count(settings: Optimizer, landscape: Landscape, rate: float, trials: int) -> Result:
    """Return the result of a learning rate on the starts that are counted."""
    _, starts = draw_starts(settings, landscape)
    paths = follow_all(settings, [rate], starts, landscape)
    (arrival_steps,) = arrivals(paths, landscape)
    arrived = int(arrival_steps.isfinite().sum())
    return Result(
        rate,
        trials,
        len(starts),
        arrived,
        arrival_steps.median().item(),
        paths[:, 0, :SHOWN].clone(),
    )


def measure(name: str, landscape: Landscape) -> Result:
    """Return the result of an optimizer on a landscape."""
    settings = optimizers.parse(OPTIMIZERS[name])
    return count(settings, landscape, *tune(settings, landscape))


HEAD = f"""# Optimizers

This page shows the paths of the optimizers of `pipeline/optimizers` on losses of two weights. It is
generated by `python docs/landscapes.py`. Momentum is 0.9, and all other settings have their
[default values](studies.md#optimizers-and-schedules).

- **A path** has {EVALUATIONS} evaluations of the gradient. It arrives if it ends at or below a
  target loss and never leaves the picture. The number of evaluations is counted until the loss
  stays at or below the target.
- **The learning rate** of every optimizer is chosen separately on each landscape. There are
  {(LAST - FIRST) * PER_DECADE + 1} trials on a log scale between {10.0**FIRST:g} and {10**LAST}.
  The best trial has the most arrivals from {TUNING} starts. If several trials have equally many
  arrivals, the best one has the lowest mean number of evaluations. While the best trial is at an
  end of the range, {PER_DECADE} more trials are added at this end. The tables include these trials.
- **Arrivals** are counted from {COUNTED:,} other starts, which are spread evenly (a Sobol
  sequence). The pictures show the paths from the first {SHOWN} of these starts. No path was
  selected by hand.
- **L-BFGS** is computed path by path, so it uses only one start in {SHARE}. It finds its
  step lengths itself, with two or more evaluations per step. Its learning rate is only the first
  length that it tries.
- Without weight decay, AdamW is the same as Adam.
"""
TAIL = """## What these pictures do not show

A loss of two weights differs from the loss of a network in several ways. A network has many
directions, and few of them are steep. The noise of its gradients is larger where the gradients are
larger. A lower training loss does not imply a better test score. The learning rates of this page do
not apply to networks. Averages over a thousand steps, such as beta2 = 0.999, have little effect
within a hundred steps. The study `optimizers` compares the optimizers on data:
[digits](../reports/digits+optimizers/report.md).

## Sources

- CS231n, Convolutional Neural Networks for Visual Recognition, Stanford 2017, lecture 7: poor
  conditioning, saddles, plateaus and noise as problems of gradient descent.
- Sutskever, Martens, Dahl and Hinton, On the Importance of Initialization and Momentum in Deep
  Learning, ICML 2013.
- Duchi, Hazan and Singer, Adaptive Subgradient Methods, JMLR 12, 2011 (AdaGrad).
- Tieleman and Hinton, Neural Networks for Machine Learning, lecture 6.5, 2012 (RMSProp).
- Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015.
- Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019 (AdamW).
- Liu and Nocedal, On the Limited Memory BFGS Method for Large Scale Optimization, Mathematical
  Programming 45, 1989.
- Dauphin, Pascanu, Gulcehre, Cho, Ganguli and Bengio, Identifying and Attacking the Saddle Point
  Problem in High-Dimensional Non-Convex Optimization, NIPS 2014.
- Zhang, Maes, Milligan, Jolicoeur-Martineau, Mitliagkas, Scieur, Lacoste-Julien and Guille-Escuret,
  Understanding Adam Requires Better Rotation Dependent Assumptions, NeurIPS 2025.
- Choi, Shallue, Nado, Lee, Maddison and Dahl, On Empirical Comparisons of Optimizers for Deep
  Learning, arXiv 1910.05446, 2019: a comparison depends on how each one is tuned.
"""


def page(results: Mapping[str, Mapping[str, Result]]) -> str:
    """Return the page in Markdown, from the results of every landscape."""
    parts = [HEAD, *(chapter(name, results[name]) for name in LANDSCAPES), TAIL]
    return "\n".join(parts)


def chapter(name: str, results: Mapping[str, Result]) -> str:
    """Return the section of a landscape: its loss, picture, table, and what one sees."""
    landscape = LANDSCAPES[name]
    about = f"{landscape.about} Target: a loss of {landscape.target:g}."
    picture = f"![{landscape.title}: paths of every optimizer]({FIGURES.name}/{name}.png)"
    paragraphs = [about, picture, result_table(results), landscape.seen]
    text = "\n\n".join([fill(part, 100) if part[0].isalpha() else part for part in paragraphs])
    return section(landscape.title, text) + "\n"


def result_table(results: Mapping[str, Result]) -> str:
    """Return a table with a row for every optimizer."""
    rows = [
        "| optimizer | learning rate | trials | starts | arrived (%) | evaluations (median) |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, result in results.items():
        has_median = math.isfinite(result.evaluations)
        median = f"{result.evaluations:.0f}" if has_median else f"> {EVALUATIONS}"
        share = 100 * result.arrived / result.starts
        counts = str(result.trials), f"{result.starts:,}"
        cells = (name, spell_rate(result.rate), *counts, f"{share:.1f}", median)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def spell_rate(rate: float) -> str:
    """Return a learning rate with three digits."""
    return f"{float(f'{rate:.3g}'):g}"


def draw(landscape: Landscape, results: Mapping[str, Result]) -> bytes:
    """Return a PNG with a map for each optimizer, and the shares of starts that arrive."""
    with style():
        plt.rcParams.update({"font.size": 10, "axes.titlesize": 10.5, "axes.titleweight": "normal"})
        rows = math.ceil((len(results) + 1) / 4)
        figure, grid = plt.subplots(rows, 4, figsize=(WIDTH, 2.05 * rows), layout="constrained")
        axes = grid.flatten()
        for place, (name, result) in zip(axes, results.items(), strict=False):
            draw_map(place, landscape, result)
            place.set_title(f"{name}\nrate {spell_rate(result.rate)}", loc="center")
        draw_shares(axes[len(results)], results)
        for place in axes[len(results) + 1 :]:
            place.set_visible(False)
        looks = {
            "start": {"marker": "o", "color": DARK, "markerfacecolor": "white"},
            "evaluation of the gradient": {"marker": ".", "color": DARK},
            "minimum": {"marker": "X", "color": "#a50026", "markeredgecolor": "white"},
        }
        handles = [Line2D([], [], linestyle="", **look) for look in looks.values()]
        figure.legend(handles, list(looks), loc="outside lower center", ncols=3, fontsize=10)
        return png(figure)


def draw_map(axes: Axes, landscape: Landscape, result: Result) -> None:
    """Draw contours of the loss, paths, their starts, and the minima."""
    side = landscape.side
    line = torch.arange(-60, 61, dtype=torch.double) * side / 60
    x, y = torch.meshgrid(line, line, indexing="xy")
    loss = landscape.loss(torch.stack([x, y], dim=-1))
    spread = loss.max().item() / landscape.target
    levels = [landscape.target * spread ** (number / CONTOURS) for number in range(CONTOURS)]
    axes.contour(x, y, loss, levels=levels, colors="#c4c4c4", linewidths=0.6)
    paths = result.paths.unbind(1)
    for path, (color, dashes) in zip(paths, LINES, strict=True):
        axes.plot(*path.T, dashes, color=color, linewidth=0.9, marker=".", markersize=3)
    for path in paths:
        look = {"markerfacecolor": "white", "markersize": 5, "color": DARK, "zorder": 4}
        axes.plot(*path[0], "o", **look)
    for minimum in landscape.minima:
        look = {"color": "#a50026", "markeredgecolor": "white", "markersize": 8, "zorder": 5}
        axes.plot(*minimum, "X", **look)
    axes.set(xlim=(-side, side), ylim=(-side, side), xticks=[], yticks=[], aspect="equal")


def draw_shares(axes: Axes, results: Mapping[str, Result]) -> None:
    """Draw the share of starts from which each optimizer arrives."""
    shares = {name: 100 * result.arrived / result.starts for name, result in results.items()}
    axes.barh(range(len(shares)), shares.values(), color="#b9d3e6")
    for place, (name, share) in enumerate(shares.items()):
        look = {"va": "center", "fontsize": 9}
        axes.text(3, place, name.removesuffix(" momentum").removesuffix(", AdamW"), **look)
        axes.text(132, place, f"{share:.0f}", ha="right", **look)
    axes.set(xlim=(0, 136), xticks=[], yticks=[], box_aspect=1)
    axes.set_title("arrived\n(% of starts)", loc="center")
    axes.invert_yaxis()
    axes.grid(visible=False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    results = {
        name: {optimizer: measure(optimizer, landscape) for optimizer in OPTIMIZERS}
        for name, landscape in LANDSCAPES.items()
    }
    FIGURES.mkdir(exist_ok=True)
    for name, landscape in LANDSCAPES.items():
        (FIGURES / f"{name}.png").write_bytes(draw(landscape, results[name]))
    PAGE.write_text(page(results))
