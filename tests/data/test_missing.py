"""What rows of a table are completed with comes from the training rows of the run alone."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.config.run import Data, RunConfig
from pipeline.config.streams import Streams
from pipeline.data.arrays import Arrays
from pipeline.data.missing import Filling
from pipeline.data.prepared import write_prepared
from pipeline.data.splits import draw, train_and_validation, train_validation
from pipeline.prediction import job as prediction
from pipeline.prediction.network import as_images, assemble
from pipeline.training.trainer import train

ROWS, FEATURES, TRAIN = 60, 5, 20
DATA = Data(dataset="table", train_size=TRAIN)


def table(seed=0) -> Arrays:
    """Return rows of very different units, a tenth of the values missing."""
    random = np.random.default_rng(seed)
    units = np.array([1, 1e-9, 1e6, 10, 1])
    values = random.normal(size=(ROWS, FEATURES)) * units + 3 * units
    values[random.random(values.shape) < 0.1] = np.nan
    return Arrays(values.astype(np.float32)[:, :, None, None], np.arange(ROWS) % 2, 2)


def network_of(pool, **model):
    settings = {"name": "mlp", "hidden": [4], **model}
    training = {"learning_rate": 0.1, "epochs": 2, "batch_size": 10}
    given = {"data": DATA.model_dump(), "model": settings, "training": training}
    config = RunConfig(**given, regularizers=(), streams=Streams.of(3))
    return config, assemble(config, [], pool.shape, 2)


def test_values_are_imputed_and_standardized_as_by_scikit_learn():
    pool = table()
    raw, others = draw(pool, DATA, 3)
    assert np.isnan(raw.images).any()
    assert np.isnan(others.images).any()
    oracle = make_pipeline(SimpleImputer(), StandardScaler())
    expected = [
        oracle.fit_transform(raw.images[:, :, 0, 0]),
        oracle.transform(others.images[:, :, 0, 0]),
    ]
    filled = train_and_validation(pool, DATA, 3)
    _, network = network_of(pool)
    network.fit(as_images(filled[0].images))
    for part, values in zip(filled, expected, strict=True):
        images = as_images(part.images)
        mine = ((images - network.mean) / network.deviation).numpy()[:, :, 0, 0]
        assert mine == pytest.approx(values, abs=2e-5)


def test_no_row_but_those_of_training_changes_what_is_trained():
    pool, seed = table(), 3
    inside, outside = train_validation(pool.labels, TRAIN, seed)
    before, _ = train_and_validation(pool, DATA, seed)
    for row in outside:
        images = pool.images.copy()
        images[row] = [[[1e5]], [[np.nan]], [[-7]], [[0]], [[1e-20]]]
        changed = Arrays(images, pool.labels, 2)
        assert train_and_validation(changed, DATA, seed)[0].images.tobytes() == (
            before.images.tobytes()
        )
    images = pool.images.copy()  # the planted fault: a training row does change it
    images[inside[0], 0] = 1e5
    planted, _ = train_and_validation(Arrays(images, pool.labels, 2), DATA, seed)
    gaps = np.isnan(pool.images[inside, 0, 0, 0])
    assert gaps.any()
    assert (planted.images[gaps, 0] != before.images[gaps, 0]).all()


def test_weights_do_not_depend_on_other_rows():
    pool = table()
    config, _ = network_of(pool)
    _, outside = train_validation(pool.labels, TRAIN, config.streams.split)
    images = pool.images.copy()
    images[outside] = np.nan
    one, other = (train(config, each) for each in (pool, Arrays(images, pool.labels, 2)))
    assert one.weights.keys() == other.weights.keys()
    for name, weight in one.weights.items():
        assert weight.equal(other.weights[name])


def test_a_category_without_a_training_row_acts_as_an_unknown_one():
    pool = table()
    inside, outside = train_validation(pool.labels, TRAIN, 3)
    rows = np.zeros((ROWS, 4, 1, 1), np.float32)
    rows[:, 0, 0, 0] = np.arange(ROWS)
    rows[inside, 1 + np.arange(TRAIN) % 2] = 1
    rows[outside, 1] = 1
    unseen = outside[:5]
    rows[unseen, 1:, 0, 0] = [0, 0, 1]
    train_part, validation = train_and_validation(Arrays(rows, pool.labels, 2), DATA, 3)
    assert not train_part.images[:, 3].any()
    assert not validation.images[:5, 1:].any()
    assert validation.images[5:, 1].all()


@pytest.mark.parametrize("values", [[0.1] * 4, [np.nan, 0.1, 0.1, 0.1], [np.nan] * 4])
def test_a_constant_feature_is_left_out_whatever_other_rows_have(values):
    rows = np.array(values, np.float32)[:, None, None, None]
    filling = Filling.of(rows)
    others = np.array([1e9, np.nan, 0.1], np.float32)[:, None, None, None]
    assert not filling.rows(rows).any()
    assert not filling.rows(others).any()


def test_images_are_not_copied():
    images = np.zeros((3, 1, 4, 4), np.uint8)
    assert Filling.of(images).rows(images) is images
    arrays = Arrays(images, np.arange(3), 3)
    assert Filling.of(images).apply(arrays) is arrays


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_units_do_not_matter(scale):
    pool = table()
    scaled = Arrays(pool.images * np.float32(scale), pool.labels, 2)
    inputs = []
    for each in (pool, scaled):
        fit, held = train_and_validation(each, DATA, 3)
        _, network = network_of(each)
        network.fit(as_images(fit.images))
        images = as_images(held.images)
        inputs.append(((images - network.mean) / network.deviation).numpy())
    assert inputs[1] == pytest.approx(inputs[0], abs=1e-4)


def test_predictions_fill_every_split_by_the_training_rows_of_their_run(tmp_path, monkeypatch):
    pool, test = table(), table(seed=1)
    write_prepared(tmp_path / "data", "table", pool, test, False)
    config, _ = network_of(pool)
    seen = {}
    monkeypatch.setattr(prediction, "_trained_run", lambda *_: SimpleNamespace(config=config))
    monkeypatch.setattr(
        prediction, "predictions", lambda run, images, *_: seen.update(images) or {}
    )
    monkeypatch.setattr(prediction, "write_predictions", lambda *_: None)
    job = {"id": "a", "folder": tmp_path, "target": tmp_path, "viewed": False, "accelerator": "cpu"}
    prediction.run_prediction(job)
    raw, _ = draw(pool, DATA, config.streams.split)
    oracle = SimpleImputer().fit(raw.images[:, :, 0, 0])
    expected = oracle.transform(test.images[:, :, 0, 0])
    assert seen["test"].numpy()[:, :, 0, 0] == pytest.approx(expected, rel=1e-5)
    filled = train_and_validation(pool, DATA, config.streams.split)
    for split, part in zip(("train", "validation"), filled, strict=True):
        assert (seen[split].numpy() == part.images).all()
