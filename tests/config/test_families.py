"""The family of an arm, by which figures color it."""

import itertools
from types import SimpleNamespace
from typing import get_args

import pytest

from pipeline import regularizers
from pipeline.config.families import Family, family_of
from pipeline.config.plan import BASELINE
from pipeline.reporting.families import MEANINGS, colored_families, family_note
from pipeline.reporting.style import FAMILIES, SHAPES

APART = 4.5  # of lightness, 0 to 100, of the greys of two families


@pytest.mark.parametrize(
    ("parts", "keys", "expected"),
    [
        (["noise"], [], "noise"),
        (["noise", "noise"], [], "noise"),
        (["noise", "examples"], [], "combination"),
        ([], ["training.optimizer", "training.learning_rate"], "training"),
        ([], ["model.widths"], "architecture"),
        ([], ["data.train_size"], "data size"),
        (["penalty"], ["training.optimizer"], "combination"),
        ([], ["start.from", "start.rates.decay"], "transfer"),
        ([], ["start.from", "training.learning_rate"], "combination"),
        ([], [], "other"),
    ],
)
def test_an_arm_has_the_family_of_all_its_changes(parts, keys, expected):
    assert family_of(parts, keys) == expected


def test_every_family_has_a_color_and_every_regularizer_a_family():
    assert tuple(FAMILIES) == tuple(MEANINGS) == get_args(Family)
    assert all(kind.family != "other" for kind in regularizers.settings().values())


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ({"s": ["penalty", "noise"]}, ["noise", "penalty"]),
        ({"s": ["noise"] * 3, "t": ["noise", "examples"]}, ["noise", "examples"]),
        ({"s": ["noise"] * 4, "t": ["examples"]}, []),
        ({"s": ["noise"], "t": ["noise"]}, []),
        ({}, []),
    ],
)
def test_arms_are_colored_by_family_where_shades_tell_them_apart(families, expected):
    arms = [
        (study, SimpleNamespace(name=f"{study}{place}", family=family))
        for study, names in families.items()
        for place, family in enumerate(names)
    ]
    baseline = ("s", SimpleNamespace(name=BASELINE, family="other"))
    data = SimpleNamespace(planned_arms=[baseline, *arms])
    assert colored_families(data) == expected
    note = family_note(data)
    assert bool(note) == bool(expected)
    assert all(f"{family} ({MEANINGS[family]})" in note for family in expected)


@pytest.mark.parametrize("color", FAMILIES.values())
def test_colors_stand_out_from_white(color):
    assert 1.05 / (luminance(color) + 0.05) >= 3


def test_families_differ_without_colors():
    assert set(SHAPES) == set(FAMILIES)
    assert len(set(SHAPES.values())) == len(SHAPES)
    greys = [116 * luminance(color) ** (1 / 3) - 16 for color in FAMILIES.values()]
    assert min(abs(one - other) for one, other in itertools.combinations(greys, 2)) > APART


def luminance(color):
    """Return the relative luminance of a color, as WCAG 2 defines it."""
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    ]
    return sum(
        weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )
