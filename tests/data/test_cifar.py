"""CIFAR-10 and CIFAR-100: official batches from a folder, an archive or the network.

Nothing that a file names is run.
"""

import dataclasses
import gzip
import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from loopback import serving

from pipeline.data import sources as data
from pipeline.data.checks import collect_notes
from pipeline.data.sources import _download, cifar10, cifar100
from pipeline.runtime.errors import Refusal

GLOBALS = (
    # as Python 2 wrote an array
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    b"(K\x01%b%b\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T%btb."
)


def integer(number):
    return b"J" + number.to_bytes(4, "little")


def pickled_array(pixels):
    """Return the pickle of an array of bytes (N, 3072) in the words of the official files.

    Numpy no longer writes these.
    """
    raw = pixels.tobytes()
    return GLOBALS % (
        integer(len(pixels)),
        integer(pixels.shape[1]),
        len(raw).to_bytes(4, "little") + raw,
    )


def batch(count, key=b"labels", classes=10, seed=0):
    """Return a batch of the official format, protocol 2: its pixels and the file."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 256, (count, 3072), np.uint8)
    labels = (
        b"]("
        + b"".join(b"K" + bytes([label]) for label in generator.integers(0, classes, count))
        + b"e"
    )
    array = pickled_array(pixels).removeprefix(b"\x80\x02").removesuffix(b".")
    keyed = b"U" + bytes([len(key)]) + key
    return pixels, b"\x80\x02}(U\x04data" + array + keyed + labels + b"u."


def publish(monkeypatch, files, module=cifar10, archive_md5=""):
    """Declare this content to be the official one."""
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    variant = dataclasses.replace(
        module.VARIANT, md5={**module.VARIANT.md5, **sums}, archive_md5=archive_md5
    )
    monkeypatch.setattr(module, "VARIANT", variant)


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Return small batches that pass for the official ones: name -> content.

    Nothing of them is on this machine.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    made = {name: batch(10, seed=seed)[1] for seed, name in enumerate(cifar10.VARIANT.md5)}
    publish(monkeypatch, made)
    return made


def put(files, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {"path": str(folder)}


def archived(monkeypatch, members, path):
    """Return an archive of these members, name -> content, that passes for the official one."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    publish(monkeypatch, {}, archive_md5=hashlib.md5(path.read_bytes()).hexdigest())
    return {"path": str(path)}


def official_members(files):
    return {f"cifar-10-batches-py/{name}": content for name, content in files.items()}


def refused(source, pattern, name="cifar10"):
    """Return the one line of the error of reading."""
    with pytest.raises(Refusal, match=pattern) as error:
        data.read(name, source)
    (line,) = error.value.lines
    return line


def test_all_batches_in_their_order(files, tmp_path, capsys):
    parts = data.read("cifar10", put(files, tmp_path / "here"))
    assert parts.pool.images.shape == (50, 3, 32, 32)
    assert parts.pool.images[10:20].tobytes() == batch(10, seed=1)[0].tobytes()
    assert parts.test.images.tobytes() == batch(10, seed=5)[0].tobytes()
    assert not capsys.readouterr().err


def test_the_fine_labels_of_a_hundred_classes(monkeypatch, tmp_path):
    made = {
        name: batch(300, b"fine_labels", 100, seed)[1]
        for seed, name in enumerate(cifar100.VARIANT.md5)
    }
    publish(monkeypatch, made, cifar100)
    parts = data.read("cifar100", put(made, tmp_path))
    assert len(parts.pool.images) == len(parts.test.images) == 300
    assert parts.pool.labels.max() > 90


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_described_without_the_files(name, classes):
    kind = data.describe(name, {"path": "/nowhere"})
    assert (kind.shape, kind.classes, kind.flips_keep_labels) == ((3, 32, 32), classes, True)


def test_missing_training_batches_are_a_warning(files, tmp_path, capsys):
    some = {name: files[name] for name in ("data_batch_1", "data_batch_4", "test_batch")}
    with collect_notes() as notes:
        assert len(data.read("cifar10", put(some, tmp_path / "here")).pool.labels) == 20
    line = "data_batch_2, data_batch_3, data_batch_5: missing; using 2 of 5 training files"
    assert notes == [f"here: {line}"]
    assert capsys.readouterr().err == f"warning: {tmp_path / 'here'}: {line}\n"


@pytest.mark.parametrize("home", ["~", "~nobody-of-that-name"])
def test_a_path_may_begin_with_a_tilde(files, tmp_path, monkeypatch, home):
    monkeypatch.setenv("HOME", str(tmp_path))
    put(files, tmp_path / home.removesuffix("~") / "here")
    assert len(data.read("cifar10", {"path": f"{home}/here"}).pool.labels) == 50


@pytest.mark.parametrize("kept", [[], ["test_batch"], ["data_batch_1", "data_batch_2"]])
def test_too_few_batches(files, tmp_path, kept):
    source = put({name: files[name] for name in kept}, tmp_path)
    line = refused(source, "expected cifar-10-python.tar.gz or a folder with data_batch_1, ")
    assert line.startswith(f"{tmp_path}: data_batch_")


def test_a_batch_that_is_not_the_official_one(files, tmp_path):
    source = put(
        files | {"data_batch_3": files["data_batch_3"][:-9] + b"}" + files["data_batch_3"][-8:]},
        tmp_path,
    )
    expected = hashlib.md5(files["data_batch_3"]).hexdigest()
    refused(source, f"data_batch_3: md5 .*; expected the published file, {expected}")


class Attack:
    """Pickles to a call of os.system."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("trusted", [False, True])
def test_what_a_file_asks_for_is_not_run(files, tmp_path, monkeypatch, trusted):
    files["test_batch"] = pickle.dumps({"data": Attack(f"touch {tmp_path}/ran")}, protocol=2)
    if trusted:
        publish(monkeypatch, files)
    words = (
        "test_batch: names posix.system; expected only arrays of bytes"
        if trusted
        else "test_batch: md5 "
    )
    refused(put(files, tmp_path), words)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "asked",
    [
        b"cbuiltins\neval\n.",
        b"cnumpy\nload\n.",
        b"c__builtin__\ngetattr\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"Ppid\n.",
    ],
)
def test_no_other_name_is_looked_up(files, tmp_path, monkeypatch, asked):
    files["test_batch"] = asked
    publish(monkeypatch, files)
    refused(put(files, tmp_path), "test_batch: ")


def test_an_array_of_objects_cannot_be_made(files, tmp_path, monkeypatch):
    files["test_batch"] = files["test_batch"].replace(b"U\x02u1", b"U\x02O8")
    publish(monkeypatch, files)
    assert data.read("cifar10", put(files, tmp_path)).test.images.dtype == np.uint8


def test_labels_out_of_range(files, tmp_path, monkeypatch):
    files["data_batch_1"] = batch(200, classes=12)[1]
    publish(monkeypatch, files)
    refused(
        put(files, tmp_path),
        r"cifar10.py: read\(\): pool: labels range from 0 to 11; expected 0 to 9",
    )


def test_the_archive_is_read_without_being_unpacked(files, tmp_path, monkeypatch):
    source = archived(
        monkeypatch,
        {"cifar-10-batches-py/batches.meta": b"x", **official_members(files)},
        tmp_path / "a.tar.gz",
    )
    parts = data.read("cifar10", source)
    assert len(parts.pool.labels) == 50
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_an_archive_that_is_not_the_official_one(files, tmp_path, monkeypatch):
    source = archived(monkeypatch, official_members(files), tmp_path / "a.tar.gz")
    publish(monkeypatch, {}, archive_md5="0" * 32)
    refused(source, f"a.tar.gz: md5 .*; expected the published file, {'0' * 32}")


def test_members_with_other_paths_are_passed_over(files, tmp_path, monkeypatch):
    wicked = {f"../{name}": content for name, content in official_members(files).items()}
    wicked |= {f"{tmp_path}/cifar-10-batches-py/{name}": content for name, content in files.items()}
    (tmp_path / "in").mkdir()
    source = archived(monkeypatch, wicked, tmp_path / "in" / "a.tar.gz")
    refused(source, "a.tar.gz: data_batch_1, data_batch_2, .*: missing")
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.tar.gz"]


def test_an_archive_bomb_is_not_unpacked(files, tmp_path, monkeypatch):
    source = archived(
        monkeypatch,
        official_members(files | {"data_batch_1": bytes(32 << 20)}),
        tmp_path / "a.tar.gz",
    )
    monkeypatch.setattr(_download.read_limited, "__defaults__", (1 << 20,))
    refused(source, "data_batch_1: more than 1048576 bytes; expected the published file")


def test_a_member_that_is_a_link_is_passed_over(files, tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    publish(
        monkeypatch, {}, archive_md5=hashlib.md5((tmp_path / "a.tar.gz").read_bytes()).hexdigest()
    )
    refused({"path": "a.tar.gz"}, "a.tar.gz: data_batch_1, .*, test_batch: missing; expected")


def test_a_batch_larger_than_any_official_one_is_not_read(files, tmp_path, monkeypatch):
    source = put(files | {"data_batch_2": bytes(2 << 20)}, tmp_path)
    monkeypatch.setattr(_download.read_limited, "__defaults__", (1 << 20,))
    refused(source, "data_batch_2: more than 1048576 bytes")


def test_an_archive_larger_than_the_official_one_is_not_read(files, tmp_path, monkeypatch):
    (tmp_path / "a.tar.gz").write_bytes(bytes(2 << 20))
    monkeypatch.setattr(_download.read_limited, "__defaults__", (1 << 20,))
    refused({"path": "a.tar.gz"}, "a.tar.gz: more than 1048576 bytes")


def test_fetched_as_the_archive(files, tmp_path, monkeypatch):
    (tmp_path / "server").mkdir()
    archived(monkeypatch, official_members(files), tmp_path / "server" / cifar10.VARIANT.archive)
    with serving(tmp_path / "server") as server:
        monkeypatch.setattr(
            cifar10, "PUBLISHED", dataclasses.replace(cifar10.PUBLISHED, url=server.address)
        )
        assert len(data.read("cifar10", {"download": True}).pool.labels) == 50
        assert len(data.read("cifar10", {}).pool.labels) == 50
    assert len(server.requests) == 1
    assert [path.name for path in Path(".data/cifar10").iterdir()] == [cifar10.VARIANT.archive]


def test_a_server_with_another_archive_leaves_nothing(files, tmp_path, monkeypatch):
    put({cifar10.VARIANT.archive: gzip.compress(b"x")}, tmp_path / "server")
    with serving(tmp_path / "server") as server:
        monkeypatch.setattr(
            cifar10, "PUBLISHED", dataclasses.replace(cifar10.PUBLISHED, url=server.address)
        )
        assert refused({"download": True}, "md5 ").startswith(
            f"{server.address}/{cifar10.VARIANT.archive}"
        )
    assert not list(Path(".data").iterdir())


@pytest.mark.parametrize(
    ("name", "folder"), [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")]
)
def test_nowhere_says_where_it_looked_and_every_way(monkeypatch, tmp_path, name, folder):
    monkeypatch.chdir(tmp_path)
    line = refused(
        {}, f"^source.path: missing; expected the folder {folder} or a folder with ", name
    )
    assert f"{folder.replace('batches-py', 'python')}.tar.gz" in line
    assert f".data/{name}" in line
    assert "source.download: true" in line


def test_the_official_files():
    if "GAPWISE_CIFAR10" not in os.environ:
        pytest.skip("GAPWISE_CIFAR10 does not name the official folder")
    parts = data.read("cifar10", {"path": os.environ["GAPWISE_CIFAR10"]})
    assert (np.bincount(parts.test.labels) == 1000).all()
    assert list(parts.test.labels[:6]) == [3, 8, 8, 0, 6, 6]
    assert list(parts.test.images[0, :, 0, 0]) == [158, 112, 49]
