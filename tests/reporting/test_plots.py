"""Figures: every arm, bands from the table, words that do not overlap, the same bytes twice."""

import io
import itertools
import math
import re
from importlib.metadata import version
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis, Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from pipeline.config.plan import Dimension
from pipeline.reporting import evidence, plots, style, svg_text
from pipeline.reporting.labels import verdict_label
from pipeline.reporting.markdown import Formatter
from pipeline.reporting.plots import (
    _scores,
    _strengths,
    claims,
    cost_accuracy,
    curves,
    flips,
    forest,
    gap,
    layers,
    rates,
    reliability,
    targets,
    training,
    transfer_sizes,
)
from pipeline.reporting.plots._edges import value_rows
from pipeline.reporting.plots._names import write_names

NAN = math.nan
SVG = "{http://www.w3.org/2000/svg}"
ARMS = ["baseline", *(f"arm_{index}" for index in range(14))]
LONG = "dropout(rate={}), augmentation(shift=1, rotation=10)"


def contrasts(count: int) -> pd.DataFrame:
    """Return as many contrasts as asked, all verdicts in turn."""
    verdicts = itertools.cycle(forest.VERDICT_MARKERS)
    rows = [
        {
            "arm": arm,
            "difference": 0.02 - 0.003 * place,
            "low": 0.01 - 0.003 * place,
            "high": 0.03 - 0.003 * place,
            "low_90": 0.012 - 0.003 * place,
            "high_90": 0.028 - 0.003 * place,
            "against": "baseline",
            "family": "noise",
            "verdict": verdict,
            "below_margin": below,
            "title": arm,
        }
        for place, (arm, (verdict, below)) in enumerate(
            zip(ARMS[1 : count + 1], verdicts, strict=False)
        )
    ]
    return pd.DataFrame(rows)


def drawn_forest(frame: pd.DataFrame) -> Figure:
    return forest.forest(frame, 0.01, PALETTE, Formatter())


def drawn_curves(frame: pd.DataFrame, titles: dict[str, str]) -> Figure:
    return curves.curves(frame, dict.fromkeys(titles, "baseline"), titles, PALETTE)


def drawn_scatter(runs: pd.DataFrame) -> Figure:
    means = runs.groupby("label", sort=False)[list(gap.AXES)].mean().reset_index()
    return gap.scatter(runs, means, LOOKS)


def curve_rows(arm: str, height: float) -> list[dict[str, object]]:
    rows = []
    for split, epoch in itertools.product(("train", "validation"), (2, 4, 6)):
        row = {
            "arm": arm,
            "split": split,
            "updates": 10 * epoch,
            "learning_rate": 0.1 / epoch,
            "accuracy": height * epoch / 6,
            "loss": 1 / epoch,
        }
        bounds = {
            f"{name}_{side}": row[name] + sign * 0.05
            for name in ("accuracy", "loss")
            for side, sign in (("low", -1), ("high", 1))
        }
        rows.append(row | bounds)
    return rows


def tried(arm: str = "arm_0", value: str = "", **shared: dict[str, Any]) -> pd.DataFrame:
    """Return three rates of an arm on two seeds, as numbers or as texts, and what they share."""
    rows = [
        {
            "arm": arm,
            "setting": {"dropout": {"rate": value.format(rate) or rate}, **shared},
            "validation_accuracy": 0.9 + rate / 10,
            "scores": [0.88 + rate / 10, 0.92 + rate / 10],
            "change": rate / 10,
            "changes": [rate / 10 - 0.01, rate / 10 + 0.01],
            "chosen": rate == 0.25,
        }
        for rate in (0.1, 0.25, 0.5)
    ]
    return pd.DataFrame(rows).assign(n=2, fitted=NAN, collapsed=False)


def searched(
    scale: str | None = "uniform", n: int = 2, value: str = "", **changed: Any
) -> _strengths.Search:
    """Return the search of those rates, with a baseline of 90 %."""
    name = f"{_strengths.NAME}_"
    score = {_strengths.NAME: 0.9, f"{name}low": 0.89, f"{name}high": 0.91}
    reference = pd.Series({"arm": "baseline", "n": n, **score})
    space = (Dimension(part="dropout", key="rate", scale=scale),)
    return _strengths.Search(tried(value=value).assign(**changed), space, reference)


def drawn_search(search: _strengths.Search) -> Axes:
    """Return the panel of a search."""
    return _strengths.strengths({"arm_0": search}, PALETTE).axes[0]


def line(axes: Axes, **looks: Any) -> list[tuple[float, float]]:
    """Return the points of the lines of a panel that look so."""
    lines = [
        one
        for one in axes.lines
        if all(getattr(one, f"get_{name}")() == look for name, look in looks.items())
    ]
    return [tuple(point) for one in lines for point in one.get_xydata().tolist()]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def boxes(figure: Figure) -> list[tuple[str, matplotlib.transforms.Bbox]]:
    """Return every visible text with the place it takes once drawn."""
    canvas = FigureCanvasAgg(figure)
    with style.style():
        canvas.draw()
        unseen = {
            id(tick.label1)
            for axes in figure.axes
            for axis in (axes.xaxis, axes.yaxis)
            for tick in unseen_ticks(axis)
        }
        shown = [
            text
            for text in figure.findobj(matplotlib.text.Text)
            if text.get_text().strip() and text.get_visible()
        ]
    extent = matplotlib.text.Text.get_window_extent  # that of an annotation has its arrow
    places = [(text, extent(text, canvas.get_renderer())) for text in shown]
    return [(text.get_text(), box) for text, box in places if id(text) not in unseen]


def unseen_ticks(axis: Axis) -> list[Tick]:
    """Return ticks that exist but lie outside the axis."""
    low, high = sorted(axis.get_view_interval())
    return [tick for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]


def scores(labels: list[str], numbers: list[int]) -> pd.DataFrame:
    """Return means with bands for every label, number (0 is the reference) and metric."""
    rows = [
        {"label": label, "number": number, "metric": metric, "mean": 0.8 + number / 100}
        for label, number, metric in itertools.product(labels, [0, *numbers], _scores.SCALES)
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(low=frame["mean"] - 0.05, high=frame["mean"] + 0.05)


def bins(methods: list[str]) -> pd.DataFrame:
    """Return ten bins of every method, the first of them empty."""
    rows = [
        {"method": method, "low": at / 10, "high": (at + 1) / 10, "share": at / 45}
        | {"confidence": at / 10 + 0.05 if at else NAN, "accuracy": at / 10 if at else NAN}
        | {"accuracy_low": 0.9 * at / 10, "accuracy_high": min(1.1 * at / 10, 1)}
        for method, at in itertools.product(methods, range(10))
    ]
    return pd.DataFrame(rows)


PALETTE = style.colors(ARMS)
LOOKS = {
    arm: style.Look(PALETTE[arm], marker, arm)
    for arm, marker in zip(ARMS, itertools.cycle(style.MARKERS), strict=False)
}
CURVES = pd.DataFrame(
    [row for place, arm in enumerate(ARMS[:4]) for row in curve_rows(arm, 0.8 + place / 100)]
)
OUTCOMES = pd.DataFrame(
    [
        {
            "study": "a",
            "label": arm,
            "arm": arm,
            "against": "baseline",
            "gap": 0.1 + i / 100,
            "test_accuracy": 0.9 - i / 50,
        }
        for arm in ARMS
        for i in range(2)
    ]
)
RATES = pd.DataFrame(
    [
        {"arm": arm, "learning_rate": 10.0**-place, "validation_accuracy": 0.9 - place / 10}
        | {"fitted": 0.9, "diverged": place == 3, "chosen": place == 0}
        for arm in ARMS[:5]
        for place in range(4)
    ]
)
COSTS = pd.DataFrame(
    [
        {"kind": kind, "study": "s", "name": arm, "view": "noise", "members": members}
        | {"training_ratio": 1.0 + place, "test_ratio": 1.0 * members}
        | {"accuracy": 0.9 + place / 100 + members / 1000}
        | dict.fromkeys(("efficient", "efficient_training", "efficient_test"), members == 1)
        for place, arm in enumerate(ARMS[:4])
        for kind, members in (("arm", 1), ("averaging at test", 12))
    ]
)
LOW = COSTS.iloc[[1]].assign(accuracy=0.2, efficient_training=False, efficient_test=False)
REACHED = pd.DataFrame(
    [
        {"arm": arm, "updates": math.inf if place == number else 10.0 * (number + 1)}
        for place, arm in enumerate(ARMS[:9])
        for number in range(6)
    ]
)
LAYERS = pd.DataFrame(
    [
        {"arm": arm, "layer": f"{layer}.branch.2.weight", "measure": measure, "updates": updates}
        | {"mean": updates * (layer + 1) / 1e4}
        for arm in ARMS[:6]
        for layer in range(60)
        for measure in ("update_ratio", "gradient_norm")
        for updates in (10, 20, 30)
    ]
)
TRANSFER = {
    (source, train): pd.DataFrame(
        {"size": [3, 10, 100], "mean": mean, "low": mean - 0.01, "high": mean + 0.01}
    )
    for source, train, mean in (
        ("", "scratch", np.array([0.6, 0.7, 0.9])),
        *(("similar", train, np.array([0.7, 0.8, 0.9])) for train in ("head", "all")),
        *(("different", train, np.array([0.7, 0.75, 0.9])) for train in ("head", "all")),
    )
}
CROSSED = pd.DataFrame(
    [
        {"pretraining": "similar", "size": 9.0, "low": 2.0, "high": 12.0},
        {"pretraining": "different", "size": 90.0, "low": 40.0, "high": math.inf},
    ]
)
RANGES = pd.DataFrame({"arm": ARMS[:5], "low": 0.1, "high": 1.0})
MIXED = {
    "arm_0": _strengths.Search(tried(augmentation={"shift": 1, "rotation": 10})),
    "arm_1": _strengths.Search(tried(value="a very long name of a setting {}")),
}
FALLEN = {"collapsed": [False, False, True], _strengths.NAME: [0.91, 0.92, 0.1]}
FALLEN_NEIGHBORS = {"collapsed": [True, True, False], _strengths.NAME: [0.1, 0.11, 0.92]}
LONG_TITLES = [f"fine_tuning_at_{size} (against images_{size})" for size in (300, 5000)]
CLOSE = [{"dropout": {"rate": rate}} for rate in (0.001, 0.00112, 0.5)]
NAMES = [
    "dropout (rate=0.25)",
    "weight_decay (strength=0.005)",
    "augmentation (shift=1, rotation=10)",
]
WITHHELD = {
    "verdict": "inconclusive",
    "below_margin": False,
    "withheld": True,
    "lost": 1,
    "ended": 10,
    "reference_lost": 0,
    "reference_ended": 10,
}
FIGURES = {
    "forest": lambda: drawn_forest(contrasts(3).assign(title=NAMES)),
    "withheld": lambda: drawn_forest(contrasts(3).assign(title=NAMES, **WITHHELD)),
    "many": lambda: drawn_forest(
        contrasts(14).assign(title=[f"{arm} ({LONG.format(0.1)})" for arm in ARMS[1:]])
    ),
    "curves": lambda: drawn_curves(CURVES, {"arm_0": "arm_0 (rate=0.25)"}),
    "many_curves": lambda: drawn_curves(
        CURVES, {arm: f"{arm} ({LONG.format(0.1)})" for arm in ARMS[1:4]}
    ),
    "strengths": lambda: _strengths.strengths({"arm_0": searched()}, PALETTE),
    "close_strengths": lambda: _strengths.strengths({"arm_0": searched(setting=CLOSE)}, PALETTE),
    "fallen": lambda: _strengths.strengths({"arm_0": searched(**FALLEN)}, PALETTE),
    "fallen_neighbors": lambda: _strengths.strengths(
        {"arm_0": searched(**FALLEN_NEIGHBORS, setting=CLOSE)}, PALETTE
    ),
    "many_fallen_neighbors": lambda: _strengths.strengths(
        {arm: searched(**FALLEN_NEIGHBORS, setting=CLOSE) for arm in ARMS}, PALETTE
    ),
    "settings": lambda: _strengths.strengths(
        {arm: searched(**FALLEN, change=[0.1, 0.2, -0.5]) for arm in ARMS[:5]}, PALETTE
    ),
    "long_titles": lambda: _strengths.strengths(
        {title: searched() for title in LONG_TITLES}, dict.fromkeys(LONG_TITLES, "black")
    ),
    "long_strengths": lambda: _strengths.strengths(MIXED, PALETTE),
    "cheap_costs": lambda: cost_accuracy.cost_accuracy(
        COSTS.assign(training_ratio=COSTS["training_ratio"] ** -2.5), LOOKS
    ),
    "scatter": lambda: drawn_scatter(OUTCOMES),
    "named_scatter": lambda: drawn_scatter(OUTCOMES[OUTCOMES["arm"].isin(ARMS[:6])]),
    "costs": lambda: cost_accuracy.cost_accuracy(COSTS, LOOKS),
    "costs_below": lambda: cost_accuracy.cost_accuracy(pd.concat([COSTS, LOW]), LOOKS),
    "targets": lambda: targets.share_reached(REACHED, 60, PALETTE),
    "passes": lambda: _scores.score_curves(
        scores(ARMS[1:11], list(range(1, 51))),
        PALETTE,
        "noise passes averaged",
        "deterministic",
        {"arm_0"},
    ),
    "sizes": lambda: _scores.score_curves(
        scores(ARMS[1:5], [1, 2, 3, 4]), PALETTE, "members averaged", "one model"
    ),
    "reliability": lambda: reliability.reliability(bins(ARMS[:5]), PALETTE, ARMS[0]),
    "rates": lambda: rates.rates(RATES, RANGES, PALETTE),
    "narrow_rates": lambda: rates.rates(
        RATES.assign(learning_rate=0.2 * RATES["learning_rate"] ** 0.4), RANGES, PALETTE
    ),
    "layers": lambda: layers.layers(LAYERS),
    "transfer_sizes": lambda: transfer_sizes.transfer_sizes(TRANSFER, CROSSED, "images per class"),
    "losses": lambda: training.losses(CURVES, training.line_looks(ARMS[:4], PALETTE)),
}


@pytest.mark.parametrize("name", list(FIGURES))
def test_no_text_overlaps_or_leaves_the_figure(name: str) -> None:
    figure = FIGURES[name]()
    shown = boxes(figure)
    for (one, left), (other, right) in itertools.combinations(shown, 2):
        apart = (
            left.x1 <= right.x0 + 1
            or right.x1 <= left.x0 + 1
            or left.y1 <= right.y0 + 2
            or right.y1 <= left.y0 + 2
        )
        assert apart, (one, other)
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in shown:
        assert box.x0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y0 >= -1, text
        assert box.y1 <= height + 1, text


def test_colors_are_the_same_everywhere_and_the_baseline_is_grey() -> None:
    palette = style.colors(ARMS)
    assert palette["baseline"] == style.DARK == style.colors(["a", "b"])["baseline"]
    assert len({palette[arm] for arm in ARMS[1:10]}) == 9
    assert style.colors([*ARMS, *ARMS]) == palette


def test_the_bytes_are_the_same_twice_whatever_the_user_has_set() -> None:
    names = ("forest", "sizes")
    first = {name: style.png(FIGURES[name]()) for name in names}
    vector = style.svg(FIGURES["scatter"]())
    with matplotlib.rc_context({"font.size": 30, "figure.facecolor": "red", "savefig.dpi": 20}):
        assert {name: style.png(FIGURES[name]()) for name in names} == first
        assert style.svg(FIGURES["scatter"]()) == vector
    assert b"clipPath" in vector  # whose names are random without a salt
    assert b"<dc:date>" not in vector
    assert version("matplotlib").encode() not in vector
    with Image.open(io.BytesIO(first["forest"])) as image:
        assert image.width == style.WIDTH * style.DPI
        assert "Software" not in image.info


def test_a_picture_of_few_colors_looks_as_it_was_drawn() -> None:
    figure = FIGURES["forest"]()
    whole = io.BytesIO()
    with style.style():
        figure.savefig(whole, format="png", dpi=style.DPI)
    stored = style.png(figure)
    with Image.open(io.BytesIO(stored)) as image, Image.open(whole) as drawn:
        assert image.mode == "P"
        pixels, expected = (np.asarray(each.convert("RGB"), dtype=int) for each in (image, drawn))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) <= style.COLORS
    assert np.abs(pixels - expected).max() <= 24  # of 255, at the edges of letters and lines
    colors, counts = np.unique(expected.reshape(-1, 3), axis=0, return_counts=True)
    for color in colors[counts > 0.001 * counts.sum()]:  # areas keep their color
        assert (pixels[(expected == color).all(axis=-1)] == color).all()
    assert len(stored) < 0.6 * len(whole.getvalue())


def path_points(path: str) -> list[tuple[float, float]]:
    """Return the points of a path of M, L, C, Q, z, and of the relative l, h, v, c, q."""
    points: list[tuple[float, float]] = []
    start = last = (0.0, 0.0)
    for command, written in re.findall("([A-Za-z])([^A-Za-z]*)", path):
        numbers = [
            float(number) for number in re.findall(r"-?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)", written)
        ]
        if command in "hv":
            zeros = [0.0] * len(numbers)
            sides = (numbers, zeros) if command == "h" else (zeros, numbers)
            steps = zip(*sides, strict=True)
        else:
            steps = zip(numbers[::2], numbers[1::2], strict=True)
        size = {"c": 3, "q": 2}.get(command.lower(), 1)
        for number, (x, y) in enumerate(steps, 1):
            is_relative = command.islower()
            point = (last[0] + x, last[1] + y) if is_relative else (x, y)
            points.append(point)
            if number % size == 0:
                last = point
        if command == "M":
            start = last
        if command == "z":
            last = start
    return points


@pytest.mark.parametrize(
    ("path", "short"),
    [
        (
            "M 1 2 L 3.5 2 L 3.5 1 L 4 4 L 4.5 4.5 z M 9 9 L 8 8 z",
            "M1 2h2.5v-1l.5 3 .5 .5zM9 9l-1-1z",
        ),
        (
            "M 0 1 C 0 2 1 3 3 3 C 4 3 4 3 5 2 Q 1 1 0 0.5",
            "M0 1c0 1 1 2 3 2 1 0 1 0 2-1q-4-1-5-1.5",
        ),
        ("M 1 1 L 2 1 L 2 1 L 1 1", "M1 1h1 0-1"),
    ],
)
def test_a_path_is_relative_to_its_last_point(path: str, short: str) -> None:
    assert svg_text._relative_path(path) == short
    assert np.array(path_points(short)) == pytest.approx(np.array(path_points(path)))


def test_plain_and_empty_groups_are_left_out() -> None:
    text = '<svg><g><g/><g id="a"><g><path/></g><g class="b"/></g></g></svg>'
    assert svg_text._without_plain_groups(text) == '<svg><g id="a"><path/></g></svg>'


def test_marks_of_one_look_have_their_class_once_unless_it_is_transparent_as_a_whole() -> None:
    text = '<defs><style></style><clipPath id="p"/></defs>{}'.format(
        "".join(
            f'<g clip-path="url(#p)">{marks}</g>'
            for marks in (
                '<use style="fill: red; fill-opacity: 0.5"/>' * 2,
                '<use style="fill: red"/><use style="fill: blue"/>',
                '<use style="opacity: 0.5"/>' * 2,
                '<use style="fill: green"/>',
            )
        )
    )
    shared = svg_text.shortened(text)
    assert '<g clip-path="url(#i0)" class="s0"><use/><use/></g>' in shared
    assert '<use class="s1"/><use class="s2"/>' in shared
    assert '<use class="s3"/><use class="s3"/>' in shared
    assert '<use class="s4"/>' in shared


@pytest.mark.parametrize("name", ["forest", "curves", "named_scatter"])
def test_an_svg_shows_what_matplotlib_draws_with_fewer_bytes(name: str) -> None:
    figure = FIGURES[name]()
    whole = io.StringIO()
    with style.style(), matplotlib.rc_context({"svg.hashsalt": style.SALT, "svg.fonttype": "none"}):
        figure.savefig(whole, format="svg", metadata={"Date": None, "Creator": None})
    stored = style.svg(figure).decode()
    assert len(stored) < 0.5 * len(whole.getvalue())
    root, expected = (ElementTree.fromstring(text) for text in (stored, whole.getvalue()))
    classes = dict(re.findall(r"[.](s[0-9]+){([^}]*)}", stored))
    parents = {child: parent for parent in root.iter() for child in parent}
    number = re.compile(r"-?[0-9]+[.]?[0-9]*")
    for tag in ("path", "use", "text", "image", "clipPath"):
        shown, drawn = (list(tree.iter(f"{SVG}{tag}")) for tree in (root, expected))
        assert len(shown) == len(drawn)
        for one, other in zip(shown, drawn, strict=True):
            assert "".join(one.itertext()).strip() == "".join(other.itertext()).strip()
            looks = re.sub("([:;]) ", r"\1", other.get("style", "").replace(svg_text.FONT, ""))
            look = one.get("class") or (parents[one].get("class", "") if tag == "use" else "")
            assert classes.get(look, "") == looks
            points = [path_points(each.get("d", "")) for each in (one, other)]
            assert np.array(points[0]) == pytest.approx(np.array(points[1]), abs=0.051)
            for key in ("x", "y"):
                places, exact = (number.findall(each.get(key, "")) for each in (one, other))
                assert [*map(float, places)] == pytest.approx([*map(float, exact)], abs=0.051)
    # Every reference leads to the same element.
    targets = [{element.get("id"): element for element in tree.iter()} for tree in (root, expected)]
    links = [
        [
            match
            for element in tree.iter()
            for value in element.attrib.values()
            for match in re.findall(r"^#(.+)|url[(]#(.+)[)]", value)
        ]
        for tree in (root, expected)
    ]
    assert len(links[0]) == len(links[1]) > 0
    for one, other in zip(*links, strict=True):
        near, far = targets[0]["".join(one)], targets[1]["".join(other)]
        assert near.tag == far.tag
        assert len(path_points(near.get("d", ""))) == len(path_points(far.get("d", "")))


def test_a_byte_image_is_drawn_as_its_fractions() -> None:
    levels = np.array([[[0, 51], [102, 255]]], np.uint8)
    row = {"label": "3", "before": 0.25, "after": 1.0}
    shown = []
    for image in (levels, levels / 255):
        ax = Figure().subplots()
        flips.draw_image(ax, image, row, "class 3")
        [drawn] = ax.images
        shown.append(drawn.to_rgba(drawn.get_array()))
    assert shown[0] == pytest.approx(shown[1], abs=1 / 255)
    assert len(np.unique(shown[0][..., 0])) == 4


@pytest.mark.parametrize(
    ("names", "title"),
    [
        ((), "class 1"),
        (("0", "1"), "class 1"),
        (("cat", "dog"), "dog"),
        (("cat", "polar bear"), "polar bear"),
        (("cat", "brown bears"), "brown bea…"),
    ],
)
def test_a_class_has_its_name_above_an_image(names: tuple[str, ...], title: str) -> None:
    assert flips.class_title(1, names) == title


def test_titles_of_images_do_not_touch() -> None:
    rows = [
        {
            "image": 0,
            "label": place % 2,
            "before": 0.0,
            "after": 1.0,
            "difference": 1 - 2 * (place > 5),
        }
        for place in range(12)
    ]
    image = {0: np.zeros((1, 4, 4))}
    for names in ((), ("mushroom", "automobile")):
        figure = flips.flips({"arm": pd.DataFrame(rows)}, image, names)
        figure.draw_without_rendering()
        titles = [ax.title.get_window_extent() for part in figure.subfigs for ax in part.axes]
        assert len(titles) == 12
        for left, right in itertools.pairwise(titles):
            assert left.x1 < right.x0


def test_the_forest_states_every_contrast_and_marks_its_verdict() -> None:
    frame = contrasts(6)
    figure = drawn_forest(frame)
    words = "\n".join(texts(figure))
    for row in frame.itertuples():
        assert row.arm in words
        assert (
            f"{100 * row.difference:+.1f} "
            f"[{100 * row.low:+.1f}, {100 * row.high:+.1f}]  {verdict_label(row._asdict())}"
            in words
        )
    drawn = [spots for spots in figure.axes[0].collections if isinstance(spots, PathCollection)]
    looks = {
        (spot.get_paths()[0].vertices.tobytes(), tuple(spot.get_facecolor()[0]) == (1, 1, 1, 1))
        for spot in drawn
    }
    assert len(drawn) == len(looks) == 6


def test_a_forest_marks_families_beside_names_and_in_its_legend() -> None:
    families = ["noise", "penalty", "noise", "examples"]
    frame = contrasts(4).assign(family=families)
    colors = {arm: style.FAMILIES[name] for arm, name in zip(ARMS[1:], families, strict=False)}
    figure = forest.forest(frame, 0.01, colors, Formatter())
    [axes] = figure.axes
    marks = [line.get_marker() for line in axes.lines if line.get_marker() in style.SHAPES.values()]
    assert marks == [style.SHAPES[name] for name in families]
    handles = {
        text.get_text(): handle
        for legend in figure.legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    for name in families:
        assert handles[name].get_marker() == style.SHAPES[name]
    one = forest.forest(frame.assign(family="noise"), 0.01, colors, Formatter())
    assert not [line for line in one.axes[0].lines if line.get_marker() in style.SHAPES.values()]


def test_a_forest_without_intervals_or_pairs_says_so() -> None:
    frame = contrasts(2).assign(
        verdict="inconclusive", below_margin=False, low=NAN, high=NAN, difference=[0.01, NAN]
    )
    words = texts(drawn_forest(frame.assign(title=["one", "two"])))
    assert "+1.0  inconclusive" in words
    assert "no pair of runs" in words


def test_one_far_interval_does_not_squeeze_the_others() -> None:
    frame = contrasts(6)
    plain = drawn_forest(frame)
    assert not any("beyond" in word for word in texts(plain))
    far = frame.copy()
    far.loc[5, ["difference", "low", "high"]] = [-0.5, -0.9, -0.1]
    cut = drawn_forest(far)
    low, high = cut.axes[0].get_xlim()
    assert high - low < 4 * 100 * (frame["high"].max() - frame["low"].min())
    assert any("beyond the axis" in word for word in texts(cut))
    assert any("-50.0 [-90.0, -10.0]" in word for word in texts(cut))


def test_a_forest_of_very_many_arms_shows_the_largest_differences() -> None:
    frame = pd.concat([contrasts(6)] * 10, ignore_index=True)
    shown = forest.largest(frame)
    assert len(shown) == evidence.MOST == 40
    assert list(shown.index) == sorted(shown.index)
    left = frame.drop(shown.index)["difference"].abs()
    assert left.max() <= shown["difference"].abs().min()


def test_forests_grow_with_the_arms_and_keep_their_width() -> None:
    sizes = [drawn_forest(contrasts(count)).get_size_inches() for count in (6, 13)]
    assert sizes[0][0] == sizes[1][0] == style.WIDTH
    assert sizes[1][1] - sizes[0][1] == pytest.approx(7 * forest.ROW)
    screen = 830 / (style.WIDTH * style.DPI)  # of a figure in a column of 830 pixels
    assert sizes[1][1] * style.DPI * screen <= 600


def test_arms_with_several_references_are_grouped_under_them() -> None:
    frame = contrasts(4).assign(against=["baseline", "baseline", "images", "images"])
    figure = drawn_forest(frame)
    heights = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    assert heights["against baseline"] == 0
    assert heights["against images"] == 3
    assert list(figure.axes[0].get_yticks()) == [1, 2, 4, 5]
    assert "against baseline" not in texts(drawn_forest(contrasts(4)))


def test_a_title_of_curves_that_needs_many_lines_is_the_name_alone() -> None:
    assert curves._title("a", "a (rate=0.1)", "baseline") == "a (rate=0.1)"
    assert curves._title("a", f"a ({LONG.format(0.1)})", "b").count("\n") == 1
    assert curves._title("a", f"a ({LONG.format(0.1)}, {LONG})", "b") == "a, against b"


def test_curves_draw_the_bands_of_the_table() -> None:
    frame = pd.DataFrame(curve_rows("baseline", 0.8) + curve_rows("arm_0", 0.9))
    axes = drawn_curves(frame, {"arm_0": "arm_0"}).axes[0]
    rows = frame[(frame["arm"] == "arm_0") & (frame["split"] == "validation")]
    assert any(
        np.allclose(line.get_ydata(), 100 * rows["accuracy"])
        for line in axes.lines
        if len(line.get_ydata()) == 3
    )
    edges = np.concatenate([band.get_paths()[0].vertices[:, 1] for band in axes.collections])
    assert set(np.round(100 * rows["accuracy_low"], 6)) <= set(np.round(edges, 6))


@pytest.mark.parametrize(
    ("scale", "places"),
    [
        ("uniform", [0.1, 0.25, 0.5]),
        ("log", np.log([0.1, 0.25, 0.5])),
        ("one_minus_log", -np.log([0.9, 0.75, 0.5])),
        (None, [0.1, 0.25, 0.5]),
    ],
)
def test_a_number_has_its_place_on_its_scale(scale: str | None, places: list[float]) -> None:
    axes = drawn_search(searched(scale))
    assert axes.get_xticks() == pytest.approx(places)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "0.25", "0.5"]
    assert axes.get_xlabel() == "dropout rate"
    assert line(axes, marker="*") == [(pytest.approx(places[1]), pytest.approx(2.5))]


def test_a_category_and_several_values_stand_at_equal_distances() -> None:
    assert list(drawn_search(searched(value="as {}")).get_xticks()) == [0, 1, 2]
    axes = drawn_search(_strengths.Search(tried()))
    assert list(axes.get_xticks()) == [0, 1, 2]
    assert not line(axes, marker="o", linestyle="-")  # nothing is between two ranks
    assert line(drawn_search(searched()), marker="o", linestyle="-")
    assert axes.get_xlabel() == "setting: rate=…"


def test_every_seed_is_a_dot_beside_the_mean_and_the_response_curve() -> None:
    axes = drawn_search(searched(fitted=[0.91, 0.93, 0.92], changes=[[0.01, None], [-0.1], []]))
    assert line(axes, marker="o", markersize=5) == [(0.1, 1), (0.25, -10)]
    means = line(axes, marker="o", markersize=9, linestyle="None")
    assert means == [(0.1, 1), (0.25, 2.5), (0.5, 5)]
    assert [height for _, height in line(axes, linestyle=":")] == pytest.approx([1, 3, 2])


def test_the_reference_is_the_line_at_zero() -> None:
    axes = drawn_search(searched())
    assert [height for _, height in line(axes, linestyle="--")] == [0, 0]
    words = [text.get_text() for text in axes.figure.legends[0].get_texts()]
    assert words == ["chosen", "mean", "a seed", "baseline"]
    tuned = _strengths.Search(searched().rows, searched().space)
    words = drawn_search(tuned).figure.legends[0].get_texts()
    assert words[-1].get_text() == "chosen value"


def test_a_collapsed_setting_is_an_arrow_with_its_value_and_does_not_flatten_the_rest() -> None:
    lost = {"change": [0.0, 0.02, -0.8], "changes": [[0.0], [0.02], [-0.8]]}
    axes = drawn_search(searched(**FALLEN, **lost))
    low, high = axes.get_ylim()
    assert -1 < low < 0
    assert 2 < high < 3
    assert [text.get_text() for text in axes.texts] == ["-80.0"]
    ((place, height),) = line(axes, marker="v")
    assert place == 0.5
    assert 0 < height < 0.2  # of the panel
    assert axes.texts[0].get_window_extent().y1 <= axes.transData.transform((0, 0))[1]


def test_a_collapsed_setting_inside_the_axis_is_at_its_value() -> None:
    lost = {"change": [-0.1, 0.02, -0.09], "changes": [[-0.1], [0.02], [-0.09]]}
    axes = drawn_search(searched(**FALLEN, **lost))
    assert line(axes, marker="X") == [(0.5, pytest.approx(-9))]
    assert not line(axes, marker="v")
    assert not axes.texts


def test_values_that_would_touch_are_on_two_rows() -> None:
    assert value_rows([0, 5, 11, 12], ["-1.0"] * 4, 1.0) == [0, 0, 0, 1]
    assert value_rows([0, 4, 5], ["-1.0"] * 3, 1.0) == [0, 1, 0]


@pytest.mark.parametrize(("panels", "columns"), [(1, 1), (2, 2), (12, 2), (13, 3), (32, 3)])
def test_a_figure_of_settings_is_no_taller_than_two_screens(panels: int, columns: int) -> None:
    layout = _strengths.layout_of(panels)
    assert layout.columns == columns
    assert layout.columns * layout.rows >= panels > layout.columns * (layout.rows - 1)
    assert (layout.rows * layout.height + _strengths.FRAME) * style.DPI <= 1750


def test_searches_of_the_same_settings_and_scores_show_the_same() -> None:
    search = searched()
    assert search.shows_the_same(searched())
    assert not search.shows_the_same(searched("log"))
    assert not search.shows_the_same(searched(chosen=False))
    assert not search.shows_the_same(searched(changes=[[0.1], [0.2], [0.3]]))


def test_a_name_that_is_longer_than_a_panel_breaks_after_an_underscore() -> None:
    small = _strengths.layout_of(20)
    title = "fine_tuning_after_label_smoothing (against fine_tuning)"
    lines = _strengths._wrapped(title, small).splitlines()
    assert lines == ["fine_tuning_after_label_", "smoothing (against", "fine_tuning)"]


def test_all_searches_share_the_axis_of_their_paired_differences() -> None:
    searches = {
        "arm_0": searched(fitted=[0.91, 0.93, 0.92]),
        "arm_1": searched(change=[0.0, 0.1, 0.2]),
    }
    figure = _strengths.strengths(searches, PALETTE)
    first, second = (axes for axes in figure.axes if axes.get_title("left"))
    assert first.get_ylim() == second.get_ylim()
    assert line(first, marker="*") == [(0.25, pytest.approx(2.5))]
    assert [height for _, height in line(first, linestyle=":")] == pytest.approx([1, 3, 2])
    assert len(line(first, marker="o", markersize=5)) == 6


def test_strengths_of_which_no_run_was_done_leave_an_empty_place() -> None:
    lost = {_strengths.NAME: NAN, "change": NAN, "chosen": False}
    nothing = searched(**lost).rows
    for column in ("scores", "changes"):
        nothing[column] = [[None, None]] * len(nothing)
    search = _strengths.Search(nothing, searched().space)
    assert style.png(_strengths.strengths({"arm_0": search}, PALETTE))


def test_without_any_done_run_the_figures_are_empty() -> None:
    columns = list(curve_rows("baseline", 0.8)[0])
    assert style.png(drawn_curves(pd.DataFrame(columns=columns), {"arm_0": "arm_0"}))
    assert style.png(
        drawn_scatter(pd.DataFrame(columns=["study", "label", "arm", "against", *gap.AXES]))
    )


def test_curves_of_averages_draw_their_table_reference_and_star() -> None:
    frame = scores(["a", "b"], list(range(1, 21)))
    panels = _scores.score_curves(
        frame, {"a": "#111111", "b": "#222222"}, "passes", "deterministic", {"b"}
    ).axes
    for axes, scale in zip(panels[:2], (100, 1), strict=True):
        lines = [line.get_ydata() for line in axes.lines]
        assert any(len(line) == 2 and np.allclose(line, scale * 0.8) for line in lines)
        assert any(
            len(line) == 20 and np.allclose(line, scale * (0.8 + np.arange(1, 21) / 100))
            for line in lines
        )
        edges = np.concatenate([band.get_paths()[0].vertices[:, 1] for band in axes.collections])
        assert np.isclose(edges, scale * (0.85 + 0.2)).any()
    stars = [
        [len(line.get_xdata()) for line in axes.lines if line.get_marker() == "*"]
        for axes in panels
    ]
    assert stars == [[], [], [1], [1]]


def test_norms_by_layer_are_those_halfway_and_of_layers_at_equal_distances() -> None:
    axes = layers.layers(LAYERS).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"{layer}.branch.2.weight" for layer in range(0, 60, 3)
    ]
    first = [text.get_text() for text in axes.texts[:7]]
    assert first == ["0.002"] * 6 + ["0.008"]


def test_an_arm_measured_at_other_updates_is_shown_and_layers_that_do_not_train_have_a_dash() -> (
    None
):
    other = LAYERS[LAYERS["arm"] == ARMS[0]].assign(arm="other")
    other["updates"] -= 5
    other.loc[other["layer"] == "0.branch.2.weight", "mean"] = NAN
    axes = layers.layers(pd.concat([LAYERS, other])).axes
    assert [label.get_text() for label in axes[-1].get_xticklabels()] == [*ARMS[:6], "other"]
    numbers = [text.get_text() for text in axes[0].texts]
    assert numbers[:14] == ["0.002"] * 6 + ["–"] + ["0.008"] * 7


def test_a_reliability_diagram_has_a_panel_for_each_method_without_empty_bins() -> None:
    frame = bins(ARMS[:3])
    frame.loc[frame["method"] == ARMS[1], "accuracy"] += 0.01
    first, second, third = reliability.reliability(frame, PALETTE, ARMS[0]).axes
    assert [ax.get_title(loc="left") for ax in (first, second, third)] == ARMS[:3]
    assert [len(line.get_xdata()) for line in first.lines] == [2, 9]
    drawn = {ax: [list(line.get_ydata()) for line in ax.lines] for ax in (first, second)}
    places = 10.0 * np.arange(1, 10)
    assert drawn[first][1] == drawn[second][1] == pytest.approx(places)  # the single model
    assert drawn[second][2] == pytest.approx(places + 1)
    ends = np.array(first.collections[0].get_segments())[:, :, 1]
    assert ends == pytest.approx(100 * np.array([[0.09, 0.11]]) * np.arange(1, 10)[:, None])
    assert [bar.get_height() for bar in first.patches] == pytest.approx(100 * np.arange(10) / 45)


def test_a_figure_is_added_by_a_file_alone(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "extra.py").write_text("def figures(data):\n    yield f'extra_{data}', None\n")
    (tmp_path / "_shared.py").write_text("raise AssertionError\n")
    monkeypatch.setattr(plots, "__path__", [str(tmp_path)])
    assert plots.all_figures("tiny") == {"extra_tiny.png": None}


def test_few_arms_share_a_panel_and_many_have_one_for_every_few_studies() -> None:
    sizes = {"a": 4, "b": 5, "c": 1, "d": 11}
    studies = {f"{name}{index}": name for name, size in sizes.items() for index in range(size)}
    panels = gap._panels(studies)
    assert {title: len(labels) for title, labels in panels.items()} == {
        "a, b": 9,
        "c": 1,
        "d": 9,
        "d, continued": 2,
    }
    assert list(itertools.chain(*panels.values())) == list(studies)
    few = dict(itertools.islice(studies.items(), gap.NAMED))
    assert gap._panels(few) == {"": list(few)}
    assert gap._panels({}) == {"": []}


def test_groups_of_arms_have_a_panel_each_if_their_accuracies_are_far_apart() -> None:
    references = {"a": "baseline", "noisy": "baseline", "b": "noisy", "baseline": "baseline"}
    runs = pd.DataFrame(
        {"label": arm, "arm": arm, "against": against} for arm, against in references.items()
    )
    groups = gap._groups(runs)
    assert groups == {"baseline": ["a", "baseline"], "noisy": ["noisy", "b"]}
    heights = {"a": 95.0, "baseline": 93.0, "noisy": 72.0, "b": 74.0}
    panels = gap._distant_groups(groups, heights)
    assert list(panels.values()) == list(groups.values())
    near = gap._distant_groups(groups, {**heights, "b": 92.0})
    assert near == {"": ["a", "baseline", "noisy", "b"]}


@pytest.mark.parametrize(("low", "shown"), [(-0.9, 1), (-0.05, 0)])
def test_an_interval_that_leaves_the_axis_of_claims_has_its_numbers(low: float, shown: int) -> None:
    rows = pd.DataFrame({"claim": list("abcdef"), "expect": "lower", "outcome": "supported"})
    rows = rows.assign(difference=-0.03, low=-0.05, high=-0.01)
    rows.loc[0, "low"] = low
    numbers = [word for word in texts(claims.claims(rows)) if "[" in word]
    assert numbers == [f"← -3.0 [{100 * low:+.1f}, -1.0]"] * shown


def test_updates_are_logarithmic_where_an_arm_has_many_times_those_of_others() -> None:
    longer = CURVES.assign(updates=CURVES["updates"].mask(CURVES["arm"] == "arm_0", 9000))
    looks = training.line_looks(ARMS[:4], PALETTE)
    scales = [training.losses(frame, looks).axes[0].get_xscale() for frame in (CURVES, longer)]
    assert scales == ["linear", "log"]
    times = [targets.share_reached(REACHED, last, PALETTE).axes[0] for last in (60, 6000)]
    assert [ax.get_xscale() for ax in times] == ["linear", "log"]


def test_a_panel_of_the_gap_has_the_runs_and_means_of_its_arms_and_the_means_of_others() -> None:
    figure = drawn_scatter(OUTCOMES)
    first, second = figure.axes
    assert {text.get_text() for text in second.texts} == set(ARMS[gap.EACH :])
    others, *mine = [len(each.get_offsets()) for each in second.collections]
    assert others == gap.EACH
    assert mine == [2, 1] * (len(ARMS) - gap.EACH)
    assert len(first.collections) == 1 + 2 * gap.EACH


def test_what_is_far_below_others_is_an_arrow_at_its_cost() -> None:
    figure = cost_accuracy.cost_accuracy(pd.concat([COSTS, LOW]), LOOKS)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[-1] == "lower than shown"
    for ax, cost in zip(figure.axes, cost_accuracy.PANELS, strict=True):
        (arrow,) = [text for text in ax.texts if text.get_text() == ""]
        assert arrow.xy[0] == LOW[cost].iloc[0]
        assert ax.get_ylim()[0] > 100 * LOW["accuracy"].iloc[0]
    without = cost_accuracy.cost_accuracy(COSTS, LOOKS)
    assert len(without.legends[0].get_texts()) == len(labels) - 1


def test_an_axis_of_equal_costs_shows_its_scale() -> None:
    ax = cost_accuracy.cost_accuracy(COSTS.assign(training_ratio=1.0), LOOKS).axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.5", "1", "2"]
    low, high = ax.get_xlim()
    assert low < 0.5 < 2 < high


@pytest.mark.parametrize(("cost", "ticks"), [(0.008, "0.01"), (0.3, "0.5"), (700.0, "500")])
def test_axes_of_costs_have_ticks_far_from_the_baseline(cost: float, ticks: str) -> None:
    table = pd.concat([COSTS, COSTS.iloc[:1].assign(training_ratio=cost)])
    ax = cost_accuracy.cost_accuracy(table, LOOKS).axes[0]
    assert ticks in [label.get_text() for label in ax.get_xticklabels()]


def test_a_name_keeps_clear_of_markers():
    points = [(0.0, 0.0), (0.5, 0.5), (0.62, 0.5), (0.38, 0.5), (1.0, 1.0)]
    with style.style():
        figure = Figure(figsize=(7, 4), layout="constrained")
        ax = figure.subplots()
        ax.plot(*zip(*points, strict=True), "o")
        write_names(figure, ax, {"a_long_name_of_an_arm": points[1]}, points)
    figure.draw_without_rendering()
    (name,) = ax.texts
    box = Text.get_window_extent(name)  # without the line to its point
    assert not [point for point in points if box.contains(*ax.transData.transform(point))]


@pytest.mark.parametrize("apart", [0.15, 0.25, 0.3])
def test_names_of_wide_letters_keep_clear_of_each_other(apart: float) -> None:
    middle = 0.5
    points = {
        "momentum": (middle, middle),
        "mammoth_mm": (middle + apart, middle),
        "mmmmmmmm": (middle - apart, middle),
        "MMMMMM": (middle, 0.52),
    }
    with style.style():
        figure = Figure(figsize=(7, 4), layout="constrained")
        ax = figure.subplots()
        ax.plot(*zip(*points.values(), (0, 0), (1, 1), strict=True), "o")
        write_names(figure, ax, points)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(name) for name in ax.texts]
    pairs = list(itertools.combinations(boxes, 2))
    assert len(boxes) == len(points)
    assert not [(one, other) for one, other in pairs if one.overlaps(other)]
