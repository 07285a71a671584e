"""Verdicts over other test examples, of results from elsewhere."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.comparison import judge
from pipeline.comparison.intervals import total_error
from pipeline.runtime.errors import Refusal

SEEDS, IMAGES = 8, 200
ARMS = ("baseline", "better", "alike")


@pytest.fixture(scope="module")
def right():
    """Return which images each run has right (arms, seeds, images)."""
    generator = np.random.default_rng(4)
    easy = generator.normal(1.0, 1.0, IMAGES)
    gains = np.array([0.0, 0.5, 0.0])[:, None, None]
    return easy + gains + generator.normal(0, 0.4, (3, SEEDS, IMAGES)) > 0


@pytest.fixture(scope="module")
def images(right):
    arms, seeds, places = np.indices(right.shape).reshape(3, -1)
    columns = {"arm": np.array(ARMS)[arms], "seed": seeds, "image": places}
    return pd.DataFrame({**columns, "correct": right.ravel().astype(int)})


@pytest.fixture(scope="module")
def scores(right):
    return pd.DataFrame({"seed": range(SEEDS), **dict(zip(ARMS, right.mean(axis=2), strict=True))})


def test_the_interval_is_that_of_crossed_variances(scores, images, right):
    judged = judge(scores, images=images.sample(frac=1, random_state=1), margin=0.04)
    row = judged.table.set_index("arm").loc["better"]
    changes = right[1].astype(float) - right[0]
    seed_error = stats.sem(changes.mean(axis=1))
    error = total_error(seed_error, changes.mean(axis=0), np.abs(changes).mean(), SEEDS)
    assert row["total_error"] == pytest.approx(error)
    assert row["image_error"] == pytest.approx(np.sqrt(error**2 - seed_error**2))
    half = stats.t.ppf(0.975, SEEDS - 1) * error
    bounds = row["difference"] - half, row["difference"] + half
    assert (row["low_images"], row["high_images"]) == pytest.approx(bounds)
    assert judged.n_test == IMAGES
    assert judged.table["verdict"].tolist() == ["helps", "equivalent"]
    assert judged.table["verdict_other_images"].tolist() == ["helps", "equivalent"]


def test_a_verdict_on_few_images_may_not_hold_on_others(scores):
    """All seeds agree on a gain at 2 of 40 images."""
    right = np.ones((2, SEEDS, 40), bool)
    right[0, :, :2] = False
    right[:, 0, 2] = False
    right[1, 1, 3] = False
    table = pd.DataFrame(dict(zip(ARMS[:2], right.mean(axis=2), strict=True)))
    table.insert(0, "seed", range(SEEDS))
    places = np.indices(right.shape).reshape(3, -1)
    named = {"arm": np.array(ARMS)[places[0]], "seed": places[1], "image": places[2]}
    row = judge(table, images={**named, "correct": right.ravel()}).table.iloc[0]
    assert (row["verdict"], row["verdict_other_images"]) == ("helps", "inconclusive")


def test_units_and_directions_change_nothing_but_the_units(scores, images):
    fractions = judge(scores, images=images, margin=0.04).table
    arms = list(ARMS)
    others = {
        1.0: judge(
            scores.assign(**(1 - scores[arms])),
            images=images,
            margin=0.04,
            direction="lower",
            unit="fraction",
        ),
        100.0: judge(
            scores.assign(**(100 * scores[arms])), images=images, margin=4.0, unit="percent"
        ),
    }
    for scale, judged in others.items():
        table, expected = judged.table, scale * fractions["total_error"]
        assert table["total_error"].tolist() == pytest.approx(list(expected))
        assert table["verdict_other_images"].tolist() == ["helps", "equivalent"]
    low, high = (others[1.0].table[name].to_numpy() for name in ("low_images", "high_images"))
    assert list(-low) == pytest.approx(fractions["high_images"].tolist())
    assert list(-high) == pytest.approx(fractions["low_images"].tolist())


def test_without_images_nothing_is_said_of_them(scores):
    table = judge(scores, margin=0.04).table
    assert table["verdict_other_images"].tolist() == ["", ""]
    assert table[["low_images", "high_images", "total_error"]].isna().all(axis=None)


def cell(table, row, value):
    """Return the table with another cell of `correct` in a row."""
    return table.assign(correct=table["correct"].astype(object).where(table.index != row, value))


def without(table, arm, seed):
    """Return the table without the images of a run."""
    return table[(table["arm"] != arm) | (table["seed"] != seed)]


def all_right(table, arm, seed):
    """Return the table with a run that has every image right."""
    is_other = (table["arm"] != arm) | (table["seed"] != seed)
    return table.assign(correct=table["correct"].where(is_other, 1))


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (
            lambda table: table.drop(columns="correct"),
            "no column correct; expected the columns arm, seed, image, correct",
        ),
        (lambda table: table.iloc[:0], "no rows; expected a row per run and test example"),
        (
            lambda table: table.drop(columns="seed"),
            "no column seed; expected the columns arm, seed, image, correct",
        ),
        (
            lambda table: cell(table, 5, "2"),
            "line 7: correct: invalid value '2'; expected True or False",
        ),
        (
            lambda table: pd.concat([table, table.iloc[:1]]),
            "line 4802: a second row of arm 'baseline' at seed 0, image 0; "
            "expected one per run and image",
        ),
        (
            lambda table: table.drop(index=5),
            "arm 'baseline', seed 0: 199 of 200 images; expected the same images for every run",
        ),
        (
            lambda table: without(table, "better", 3),
            "arm 'better', seed 3: no row; expected the images of every run that counts",
        ),
        (
            lambda table: all_right(table, "alike", 2),
            r"arm 'alike', seed 2: correct: 100\.00 % of the images, but the score is 0\.\d+; "
            "expected the test examples that the score is of",
        ),
    ],
)
def test_bad_input_raises_one_line(scores, images, edit, line):
    with pytest.raises(Refusal) as refused:
        judge(scores, images=edit(images), margin=0.04, images_source="hits.csv")
    (message,) = refused.value.lines
    assert re.fullmatch(rf"hits\.csv: {line}", message), message


def test_images_of_scores_that_are_no_accuracies_raise(scores, images):
    with pytest.raises(Refusal, match="images: the scores are no accuracies; expected --unit"):
        judge(scores, images=images, margin=0.04, unit="number")
    long = scores.melt("seed", var_name="arm", value_name="score").assign(n_test=300)
    with pytest.raises(Refusal, match="images: 200 images; expected the 300 of n_test"):
        judge(long, images=images, margin=0.04)
