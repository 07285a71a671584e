"""Prepared arrays: whole, checksummed, digest of their content."""

import numpy as np
import pytest

from pipeline.data.arrays import DatasetInfo
from pipeline.data.prepared import (
    read_development,
    read_summary,
    read_test_images,
    read_test_labels,
    write_prepared,
)
from pipeline.runtime.errors import Refusal

INFO = DatasetInfo((1, 8, 8), 10, flips_keep_labels=False)


@pytest.fixture
def folder(tmp_path, pool):
    write_prepared(tmp_path / "p" / "data", "digits", pool, pool.take(np.arange(20)), False)
    return tmp_path / "p" / "data"


def test_read_back(folder, pool):
    assert (read_development(folder).images == pool.images).all()
    assert (read_test_images(folder) == pool.images[:20]).all()
    assert (read_test_labels(folder) == pool.labels[:20]).all()
    assert read_summary(folder)["shape"] == [1, 8, 8]


def test_the_digest_is_that_of_the_content(folder, pool, tmp_path):
    one = read_summary(folder)["digest"]
    assert (
        write_prepared(tmp_path / "q", "digits", pool, pool.take(np.arange(20)), False)["digest"]
        == one
    )
    assert (
        write_prepared(tmp_path / "q", "digits", pool, pool.take(np.arange(1, 21)), False)["digest"]
        != one
    )


def test_notes_are_kept_and_change_no_digest(folder, pool, tmp_path):
    assert read_summary(folder)["notes"] == []
    noted = write_prepared(
        tmp_path / "q",
        "digits",
        pool,
        pool.take(np.arange(20)),
        False,
        ["some images are twice there"],
    )
    assert read_summary(tmp_path / "q")["notes"] == ["some images are twice there"]
    assert noted["digest"] == read_summary(folder)["digest"]


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x")],
)
def test_damage_is_found(folder, damage):
    damage(folder / "development_labels.npy")
    with pytest.raises(Refusal, match=r"development_labels.npy: missing or corrupted; run"):
        read_development(folder)


def test_nothing_prepared_says_what_to_run(tmp_path):
    with pytest.raises(
        Refusal, match="data.json: missing or corrupted; run: gapwise run --protocol p"
    ):
        read_summary(tmp_path / "artifacts" / "p" / "data")


def test_arrays_that_are_not_as_promised_are_named(pool):
    import dataclasses

    mistakes = {
        "float64": {"images": pool.images.astype(np.float64)},
        "expected float32 or uint8": {"images": pool.images[:, 0]},
        "images range from 0 to 255": {"images": pool.images * 255},
        "as describe() returns": {"classes": 11},
        "labels range from 1 to 10": {"labels": pool.labels + 1},
        "labels are int64 (5,)": {"labels": pool.labels[:5]},
    }
    assert list(pool.errors(INFO)) == []
    for words, changed in mistakes.items():
        (line,) = dataclasses.replace(pool, **changed).errors(INFO)
        assert words in line
