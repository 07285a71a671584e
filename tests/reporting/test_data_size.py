"""Lines over the size of the training set: the points of each, and studies without any."""

from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.config.plan import Factor, PlannedArm, PlannedStudy
from pipeline.reporting.pages._data_size import data_size_section, has_sizes
from pipeline.reporting.plots.data_size import data_size, size_frames


def size_alone(images, epochs):
    """Return the factor of an arm that changes the size, and the epochs that go with it."""
    return Factor(protocol={"data.train_size": images, "training.epochs": epochs})


FACTORS = {  # arm -> what it changes, what it is compared with, its training images
    "baseline": (Factor(), "baseline", 1000),
    "images_100": (size_alone(100, 500), "baseline", 100),
    "drop_at_100": (Factor(regularizers=("dropout",)), "images_100", 100),
    "drop_at_1000": (Factor(regularizers=("dropout",)), "baseline", 1000),
    "images_5000": (size_alone(5000, 10), "baseline", 5000),
    "plain_at_5000": (
        Factor(protocol={"model.batch_norm": False, "data.train_size": 5000}),
        "baseline",
        5000,
    ),
    "both_at_5000": (Factor(regularizers=("dropout", "augmentation")), "images_5000", 5000),
}


def study(factors=FACTORS):
    arms = [
        PlannedArm(name=name, factor=factor, against=against, train_size=size)
        for name, (factor, against, size) in factors.items()
    ]
    return PlannedStudy(name="growth", question="?", arms=tuple(arms))


@pytest.fixture
def report():
    return reported(FACTORS, {})


def reported(factors, settings):
    """Return the mean of every arm, and the contrast of every arm but the baseline."""
    means = {arm: 0.5 + place / 10 for place, arm in enumerate(factors)}
    rows = [
        ("growth", arm, settings.get(arm, {}), shift, shift - 0.01, shift + 0.01)
        for arm, shift in ((arm, place / 100) for place, arm in enumerate(factors))
        if arm != "baseline"
    ]
    primary = pd.DataFrame(rows, columns=["study", "arm", "setting", "difference", "low", "high"])

    def outcome(study, arm, metric):
        assert (study, metric) == ("growth", "test_accuracy")
        return {"n": 2, "mean": means[arm], "low": means[arm] - 0.1, "high": means[arm] + 0.1}

    confirmation = SimpleNamespace(tuned={"training.learning_rate": 0.05})
    return SimpleNamespace(outcome=outcome, primary=primary, confirmation=confirmation)


def test_an_arm_is_a_point_of_the_line_of_what_it_adds(report):
    scores, differences = size_frames(report, study())
    assert list(zip(scores["label"], scores["size"], scores["mean"].round(3), strict=True)) == [
        *(("baseline", 100, 0.6), ("baseline", 1000, 0.5), ("baseline", 5000, 0.9)),
        *(("dropout", 100, 0.7), ("dropout", 1000, 0.8), ("dropout + augmentation", 5000, 1.1)),
        ("model.batch_norm=false", 5000, 1.0),
    ]
    assert list(
        zip(differences["label"], differences["size"], differences["mean"], strict=True)
    ) == [
        *(("dropout", 100, 0.02), ("dropout", 1000, 0.03), ("dropout + augmentation", 5000, 0.06))
    ]


TWO = {  # two strengths at every size
    "baseline": (Factor(), "baseline", 1000),
    **{f"images_{size}": (size_alone(size, 5), "baseline", size) for size in (100, 5000)},
    **{
        f"{strength}_at_{size}": (Factor(regularizers=("dropout",)), against, size)
        for strength in ("weak", "strong")
        for size, against in ((100, "images_100"), (1000, "baseline"), (5000, "images_5000"))
    },
}
RATES = {"weak": 0.1, "strong": 0.5}


def test_two_strengths_at_one_size_are_two_lines():
    settings = {
        arm: {
            "dropout": {"rate": RATES[arm.split("_")[0]]},
            "protocol": {
                **{"data.train_size": size, "training.epochs": 5},
                "training.learning_rate": 1 / size,  # arms of each size tune it
            },
        }
        for arm, (factor, _, size) in TWO.items()
        if factor.regularizers
    }
    scores, differences = size_frames(reported(TWO, settings), study(TWO))
    lines = ["dropout (rate=0.1)", "dropout (rate=0.5)"]
    assert scores.groupby("label", sort=False)["size"].agg(list).to_dict() == {
        name: [100, 1000, 5000] for name in ["baseline", *lines]
    }
    assert list(dict.fromkeys(differences["label"])) == lines
    assert scores["series"].nunique() == 3
    upper, _ = data_size(scores, differences).axes
    assert [list(line.get_xdata()) for line in upper.lines] == [[100, 1000, 5000]] * 3
    (legend,) = upper.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["baseline", *lines]


def test_values_that_read_alike_are_two_lines():
    pair = {"rate": 1}, {"rate": "1"}
    arms = {arm: TWO[arm] for arm in ("baseline", "weak_at_1000", "strong_at_1000")}
    settings = {arm: {"dropout": values} for arm, values in zip(list(arms)[1:], pair, strict=True)}
    scores, differences = size_frames(reported(arms, settings), study(arms))
    assert scores["series"].nunique() == 3
    upper, _ = data_size(scores, differences).axes
    assert len(upper.lines) == 3


def test_the_figure_has_a_line_for_each_and_a_tick_for_every_size(report):
    upper, lower = data_size(*size_frames(report, study())).axes
    assert [list(line.get_xdata()) for line in upper.lines] == [
        [100, 1000, 5000],
        [100, 1000],
        [5000],
        [5000],
    ]
    assert list(lower.get_xticks()) == [100, 1000, 5000]


def test_a_study_of_starts_has_its_curve_on_the_page_of_transfer():
    start = Factor(protocol={"start.from": "similar"})
    assert not has_sizes(study({**FACTORS, "probe": (start, "baseline", 1000)}))


def test_a_study_of_one_size_has_no_such_section():
    plain = study({name: (factor, other, 1000) for name, (factor, other, _) in FACTORS.items()})
    assert not has_sizes(plain)
    assert data_size_section(plain) == ""
    assert "figures/growth_growth.png" in data_size_section(study())
