"""MNIST and Fashion-MNIST: published files alone, from a folder, a package or the network."""

import dataclasses
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from loopback import absent, serving

from pipeline.data import sources as data
from pipeline.data.sources import _download, fashion_mnist, mnist
from pipeline.data.sources import _idx as idx
from pipeline.runtime.errors import Refusal

LABELS = "train-labels-idx1-ubyte"
IMAGES = "train-images-idx3-ubyte"


def written(name):
    """Return a small file of the format: 20 examples to train on, 10 for the test."""
    generator = np.random.default_rng(len(name))
    count = idx.EXAMPLES[name.partition("-")[0]]
    shape = (count, 28, 28) if "images" in name else (count,)
    values = generator.integers(0, 256 if "images" in name else 10, shape, np.uint8)
    return struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape) + values.tobytes()


def publish(monkeypatch, files):
    """Declare this content to be the official one."""
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(fashion_mnist, "MD5", sums)


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Return small files that pass for the published ones: name -> content.

    Nothing of them is on this machine.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(idx, "EXAMPLES", {"train": 20, "t10k": 10})
    monkeypatch.setattr(
        fashion_mnist, "PUBLISHED", dataclasses.replace(fashion_mnist.PUBLISHED, installed=None)
    )
    made = {name: written(name) for name in idx.FILES}
    publish(monkeypatch, made)
    return made


def put(files, folder, packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(
            gzip.compress(content) if packed else content
        )
    return {"path": str(folder)}


def refused(source, pattern=None):
    """Return the one line of the error of reading."""
    with pytest.raises(Refusal, match=pattern) as error:
        data.read("fashion_mnist", source)
    (line,) = error.value.lines
    return line


@pytest.mark.parametrize("packed", [False, True])
def test_both_parts_as_they_are_in_the_files(files, tmp_path, packed):
    splits = data.read("fashion_mnist", put(files, tmp_path / "here", packed))
    assert splits.pool.images.shape == (20, 1, 28, 28)
    assert splits.test.images.shape == (10, 1, 28, 28)
    assert splits.validation is None
    assert splits.pool.images.tobytes() == files[IMAGES][16:]
    assert list(splits.test.labels) == list(files["t10k-labels-idx1-ubyte"][8:])


@pytest.mark.parametrize(("name", "flips"), [("mnist", False), ("fashion_mnist", True)])
def test_described_without_the_files(name, flips):
    kind = data.describe(name, {"path": "/nowhere"})
    assert (kind.shape, kind.classes, kind.flips_keep_labels) == ((1, 28, 28), 10, flips)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        (IMAGES, lambda content: content[:-1], "md5 "),
        (IMAGES, lambda content: content + b"x", "more than 15696 bytes"),
        (LABELS, lambda content: b"\0\0\x0d" + content[3:], "md5 "),
        (LABELS, lambda content: content[:4] + struct.pack(">I", 19) + content[8:], "md5 "),
        (LABELS, lambda content: b"", "md5 "),
        (LABELS, lambda content: content[:-1] + bytes([9 - content[-1]]), "md5 "),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_is_not_the_published_one(files, tmp_path, name, damage, words, packed):
    line = refused(put(files | {name: damage(files[name])}, tmp_path / "here", packed), words)
    assert str(tmp_path / "here" / name) in line


def test_a_gzip_file_that_ends_early_or_is_none(files, tmp_path):
    source = put(files, tmp_path, packed=True)
    for content in (
        gzip.compress(files[LABELS])[:-9],
        b"no gzip",
        b"\x1f\x8b\x08\0" + bytes(6) + b"\xff" * 20,
    ):
        (tmp_path / f"{LABELS}.gz").write_bytes(content)
        refused(source, f"{LABELS}.gz: incomplete gzip file .*; expected the published file")


def test_a_gzip_bomb_is_not_unpacked(files, tmp_path, monkeypatch):
    source = put(files, tmp_path, packed=True)
    (tmp_path / f"{LABELS}.gz").write_bytes(gzip.compress(bytes(64 << 20), 1))
    read = []
    monkeypatch.setattr(idx, "require_md5", lambda content, *_: read.append(len(content)))
    refused(source, f"{LABELS}.gz: more than 28 bytes")
    assert read == [len(files[IMAGES])]  # the file before it


def test_labels_out_of_range(files, tmp_path, monkeypatch):
    wrong = files | {LABELS: files[LABELS][:-1] + b"\x0a"}
    publish(monkeypatch, wrong)
    refused(
        put(wrong, tmp_path),
        r"fashion_mnist.py: read\(\): pool: labels range from 0 to 10; expected 0 to 9",
    )


def test_a_file_that_is_missing(files, tmp_path):
    source = put(files, tmp_path)
    (tmp_path / LABELS).unlink()
    assert refused(source).startswith(
        f"{tmp_path}: {LABELS} and {LABELS}.gz: missing; expected a folder with"
    )


def test_nowhere_says_where_it_looked_and_every_way(files, monkeypatch):
    monkeypatch.setattr(
        _download, "urlopen", lambda *_, **__: pytest.fail("a download that is not allowed")
    )
    for source, problem in (
        ({}, "missing"),
        ({"path": "elsewhere"}, r'invalid value "elsewhere" \(does not exist\)'),
    ):
        line = refused(source, f"^source.path: {problem}; expected a folder with ")
        assert ".data/fashion_mnist" in line
        assert "source.download: true" in line
        assert "apt-get install dataset-fashion-mnist" in line
    assert not Path(".data").exists()
    with pytest.raises(Refusal, match="source.path: missing; .*.data/mnist") as error:
        data.read("mnist", {})
    assert "apt-get" not in str(error.value)


def test_a_package_is_found_before_an_earlier_download(files, tmp_path, monkeypatch):
    put(files, tmp_path / "package")
    published = dataclasses.replace(fashion_mnist.PUBLISHED, installed=tmp_path / "package")
    monkeypatch.setattr(fashion_mnist, "PUBLISHED", published)
    put(dict.fromkeys(files, b""), tmp_path / ".data" / "fashion_mnist")
    assert len(data.read("fashion_mnist", {}).pool.labels) == 20


@pytest.fixture
def at(monkeypatch):
    """Return a function that sets the URL at which the files are published."""

    def moved(url):
        monkeypatch.setattr(
            fashion_mnist, "PUBLISHED", dataclasses.replace(fashion_mnist.PUBLISHED, url=url)
        )

    return moved


def test_fetched_once(files, tmp_path, at):
    put(files, tmp_path / "server", packed=True)
    with serving(tmp_path / "server") as server:
        at(server.address)
        fetched = data.read("fashion_mnist", {"download": True})
        again = data.read("fashion_mnist", {"download": True})
    assert [path for _, path, _, _ in server.requests] == [f"/{name}" for name in idx.PACKED]
    assert (fetched.pool.images == again.pool.images).all()
    assert sorted(path.name for path in Path(".data").rglob("*")) == sorted(
        [*idx.PACKED, "fashion_mnist"]
    )


@pytest.mark.parametrize(
    ("change", "kept_back", "words"),
    [
        (
            lambda folder: (folder / f"{LABELS}.gz").unlink(),
            0,
            f"{LABELS}.gz: download failed \\(HTTP Error 404",
        ),
        (lambda folder: None, 12, f"{IMAGES}.gz: incomplete gzip file"),
        (
            lambda folder: (folder / f"{LABELS}.gz").write_bytes(b"<html>"),
            0,
            f"{LABELS}.gz: incomplete gzip file",
        ),
        (
            lambda folder: (folder / f"{LABELS}.gz").write_bytes(
                gzip.compress(written(LABELS)[:-1] + b"\0")
            ),
            0,
            "md5 ",
        ),
    ],
    ids=["404", "truncated", "a page", "other content"],
)
def test_a_server_without_the_published_files_leaves_nothing(
    files, tmp_path, at, change, kept_back, words
):
    put(files, tmp_path / "server", packed=True)
    change(tmp_path / "server")
    with serving(tmp_path / "server", kept_back) as server:
        at(server.address)
        assert refused({"download": True}, words).startswith(server.address)
    assert not list(Path(".data").iterdir())


def test_an_endless_answer_is_cut_short(files, tmp_path, at, monkeypatch):
    monkeypatch.setattr(_download.read_limited, "__defaults__", (100,))
    put(files, tmp_path / "server", packed=True)
    with serving(tmp_path / "server") as server:
        at(server.address)
        refused(
            {"download": True}, f"{IMAGES}.gz: more than 100 bytes; expected the published file"
        )
    assert not list(Path(".data").iterdir())


def test_no_network_says_what_to_do_instead(files, at):
    with absent() as nobody:
        at(nobody.address)
        line = refused(
            {"download": True},
            r"download failed \(.*refused.*\); expected source.path of a folder with",
        )
    assert line.startswith(f"{nobody.address}/{IMAGES}.gz")
    assert not list(Path(".data").iterdir())


def test_an_interrupted_download_leaves_nothing(files, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(_download, "urlopen", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.read("fashion_mnist", {"download": True})
    assert not list(Path(".data").iterdir())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"path": "here", "download": True}, "path, or download: true, which uses its own folder"),
        ({"path": 3}, r"source.path: .*\b3\b"),
        ({"path": ""}, 'source.path: .*""'),
        ({"download": "yes"}, 'source.download: .*"yes"'),
        ({"folder": "here"}, "source.folder: unknown key; .* path, download"),
    ],
)
def test_settings_that_raise(source, words):
    with pytest.raises(Refusal, match=words):
        data.describe("mnist", source)


def test_the_package_of_the_system_is_the_published_one():
    if not fashion_mnist.PUBLISHED.installed.exists():
        pytest.skip("the package dataset-fashion-mnist is not installed")
    splits = data.read("fashion_mnist", {})
    assert (np.bincount(splits.pool.labels) == 6000).all()
    assert (np.bincount(splits.test.labels) == 1000).all()
    assert splits.pool.images.mean() / 255 == pytest.approx(0.28604, abs=1e-5)


def test_the_two_datasets_differ_in_every_file():
    assert list(mnist.MD5) == list(fashion_mnist.MD5) == list(idx.FILES)
    assert not set(mnist.MD5.values()) & set(fashion_mnist.MD5.values())
