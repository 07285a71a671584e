"""Images that are larger than the memory: the same results as from memory, in little of it."""

import errno
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.config.run import Data
from pipeline.data import sources as data
from pipeline.data import stored
from pipeline.data.checks import compare_splits
from pipeline.data.loader import Batches, StoredTensor
from pipeline.data.prepared import read_development, read_test_images, write_prepared
from pipeline.data.splits import development_and_test, train_and_validation
from pipeline.data.stored import StoredImages, bounded, changed, extremes, joined, pieces, taken
from pipeline.data.white import level_counts, used_level, without_rounding
from pipeline.models._standardized import Inputs, Standardized
from pipeline.prediction.network import as_images

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 5), np.uint8)
CHOSEN = np.random.default_rng(1).permutation(40)[:30]
MEGABYTE = 1 << 20


@pytest.fixture
def no_memory(monkeypatch):
    """Let no image fit into memory, and a piece hold seven of `IMAGES`."""
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    monkeypatch.setattr(stored, "PIECE", 7 * IMAGES[0].size)


@pytest.fixture(params=["memory", "file", "axes moved"])
def given(request, tmp_path):
    """Return `IMAGES` in memory, mapped from a file, and with its channels last in that."""
    if request.param == "memory":
        return IMAGES
    if request.param == "file":
        np.save(tmp_path / "images.npy", IMAGES)
        return np.load(tmp_path / "images.npy", mmap_mode="r")
    np.save(tmp_path / "images.npy", IMAGES.transpose(0, 2, 3, 1))
    return np.moveaxis(np.load(tmp_path / "images.npy", mmap_mode="r"), 3, 1)


CASES = {
    "taken": (lambda images: taken(images, CHOSEN), IMAGES[CHOSEN]),
    "taken twice": (lambda images: taken(taken(images, CHOSEN), CHOSEN[:9] % 30), None),
    "joined": (lambda images: joined(images, images), np.concatenate([IMAGES, IMAGES])),
    "changed": (lambda images: changed(images, np.square, np.dtype(np.uint8)), np.square(IMAGES)),
    "all": (bounded, IMAGES),
}
CASES["taken twice"] = (CASES["taken twice"][0], IMAGES[CHOSEN][CHOSEN[:9] % 30])


@pytest.mark.parametrize("name", CASES)
def test_parts_are_those_of_the_array(name, given, no_memory):
    make, expected = CASES[name]
    images = make(given)
    assert isinstance(images, StoredImages)
    assert (images.shape, images.dtype, len(images)) == (expected.shape, np.uint8, len(expected))
    assert (images[:] == expected).all()
    assert (images[3:-2] == expected[3:-2]).all()
    order = np.arange(len(expected))[::-1]
    assert (images[order] == expected[order]).all()
    assert (np.concatenate(list(pieces(images))) == expected).all()
    assert max(map(len, pieces(images))) == 7
    assert extremes(images) == (expected.min(), expected.max())
    assert (level_counts(images) == np.bincount(expected.ravel(), minlength=256)).all()
    tensor, whole = as_images(images), as_images(np.ascontiguousarray(expected))
    assert isinstance(tensor, StoredTensor)
    index = torch.tensor([5, 0, 2])
    splits = zip(tensor.split(4), whole.split(4), strict=True)
    for one, other in [(tensor[index], whole[index]), *splits]:
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_levels_are_those_of_the_array(no_memory):
    """A few marks far above the image, in one piece of many."""
    levels = np.random.default_rng(0).random((40, 3, 4, 5)).astype(np.float32) * 0.2
    levels[17, 0, 0, :3] = 1 + 1e-7
    marked = taken(levels, np.arange(40))
    assert used_level(marked, 1.0) == used_level(levels, 1.0) == levels[levels < 1].max()
    clipped = without_rounding(marked)
    assert isinstance(clipped, StoredImages)
    assert (clipped[:] == levels.clip(0, 1)).all()


@pytest.mark.parametrize("statistics", ["channel", "feature", "global"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_normalization_is_that_of_the_array(statistics, dtype, no_memory):
    images = IMAGES if dtype == np.uint8 else (IMAGES / 255).astype(np.float32)
    fitted = []
    for given in (as_images(images), as_images(bounded(images))):
        network = Standardized(torch.nn.Flatten(), Inputs((3, 4, 5), statistics=statistics))
        network.fit(given)
        fitted.append(torch.cat([network.mean, network.deviation]))
    exact = dtype == np.uint8 or statistics != "channel"  # else torch sums in another order
    assert torch.equal(*fitted) if exact else torch.allclose(*fitted, rtol=1e-6)


def prepared(folder, count, monkeypatch, bytes_in_memory):
    """Write images with copies and a dark test set, prepare them, and return what is known."""
    monkeypatch.setattr(stored, "IN_MEMORY", bytes_in_memory)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, 8, 8, 3), np.uint8)
    images[1], images[2] = images[0], images[3]
    folder.mkdir()
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", np.arange(count) % 2)
    source = {key: str(folder / f"{key}.npy") for key in ("images", "labels")}
    splits = data.read("array_files", source)
    development, test = development_and_test(splits, 0.1)
    notes = compare_splits(development, test)
    summary = write_prepared(folder / "p" / "data", "array_files", development, test, False, notes)
    return summary["digest"], summary["notes"], read_development(folder / "p" / "data")


def test_what_is_prepared_is_the_same(tmp_path, monkeypatch):
    whole = prepared(tmp_path / "whole", 300, monkeypatch, stored.IN_MEMORY)
    in_pieces = prepared(tmp_path / "pieces", 300, monkeypatch, 0)
    assert in_pieces[:2] == whole[:2]
    assert "copies of others" in whole[1][0]
    assert (read_test_images(tmp_path / "pieces" / "p" / "data").shape) == (30, 3, 8, 8)


@pytest.mark.parametrize("white", [None, 200])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_arrays_of_every_type_are_read_alike(dtype, white, tmp_path, monkeypatch):
    images = IMAGES if dtype == np.uint8 else (IMAGES.astype(np.uint16) * 257).astype(dtype)
    if white is None and np.dtype(dtype).kind == "f":
        images = (images / 65535).astype(dtype)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(40) % 2)
    source = {"path": str(tmp_path / "a.npz"), "layout": "NCHW", "white": white}
    monkeypatch.chdir(tmp_path)
    whole = data.read("array_files", source).pool.images
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    monkeypatch.setattr(stored, "PIECE", 7 * IMAGES[0].size)
    parts = data.read("array_files", source).pool.images
    assert parts.dtype == whole.dtype
    assert (parts[:] == whole).all()


def test_a_folder_is_read_alike(tmp_path, monkeypatch):
    """With an unreadable file in the middle, and transparent images."""
    monkeypatch.chdir(tmp_path)
    for number, pixels in enumerate(IMAGES):
        (tmp_path / "images" / f"class_{number % 2}").mkdir(parents=True, exist_ok=True)
        alpha = np.full((4, 5, 1), 255 * (number % 3 > 0), np.uint8)
        image = Image.fromarray(np.concatenate([pixels.transpose(1, 2, 0), alpha], axis=2))
        image.save(tmp_path / "images" / f"class_{number % 2}" / f"{number:02}.png")
    (tmp_path / "images" / "class_1" / "21.png").write_bytes(b"no image")
    source = {"path": "images", "size": 4, "unreadable": "skip"}
    whole = data.read("image_folder", source).pool
    monkeypatch.setattr(stored, "IN_MEMORY", 0)
    monkeypatch.setattr(stored, "PIECE", 7 * IMAGES[0].size)
    parts = data.read("image_folder", source).pool
    assert isinstance(parts.images, StoredImages)
    assert (parts.images[:] == whole.images).all()
    assert (parts.labels == whole.labels).all()
    assert len(parts.labels) == 39
    names = {path.suffix for path in (tmp_path / ".data").rglob("*") if path.is_file()}
    assert names == {".npz"}


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    full = Path("/dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: full.open("w+b"))
    with pytest.raises(OSError, match="No space left") as raised:
        stored.mapped([bytes(100)], (100,), np.dtype(np.uint8), tmp_path)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path))


def test_preparing_and_a_pass_over_batches_take_little_memory(tmp_path, monkeypatch):
    """Of 48 MB of images, of which one MB may be in memory, less than a quarter."""
    monkeypatch.setattr(stored, "PIECE", MEGABYTE)
    tracemalloc.start()
    try:
        images, labels = tmp_path / "images.npy", tmp_path / "labels.npy"
        count = 48 * MEGABYTE // (64 * 64 * 3)
        mapped = np.lib.format.open_memmap(images, "w+", np.uint8, (count, 64, 64, 3))
        for number in range(count):
            mapped[number, 0, 0] = (*divmod(number, 256), number % 2)
        np.save(labels, np.arange(count) % 2)
        monkeypatch.setattr(stored, "IN_MEMORY", MEGABYTE)
        splits = data.read("array_files", {"images": str(images), "labels": str(labels)})
        development, test = development_and_test(splits, 0.1)
        compare_splits(development, test)
        folder = tmp_path / "p" / "data"
        write_prepared(folder, "array_files", development, test, False)
        size = len(development.labels) - 200
        settings = Data(dataset="array_files", train_size=size)
        train, validation = train_and_validation(read_development(folder), settings, 0)
        assert isinstance(train.images, StoredImages)
        batches = Batches(as_images(train.images), torch.zeros(size, 2), 20, 0)
        assert sum(len(inputs) for inputs, _ in batches) == size // 20 * 20
        assert sum(len(piece) for piece in as_images(validation.images).split(20)) == 200
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * MEGABYTE
