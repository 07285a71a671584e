"""Images and labels in NumPy files: layouts, errors, and that images are not read early."""

import errno
import io
import shutil
import struct
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.data import numpy_files, stored
from pipeline.data import sources as data
from pipeline.data.arrays import DatasetInfo
from pipeline.data.checks import collect_notes
from pipeline.runtime.errors import Refusal

LABELS = np.arange(12) % 3
BYTES = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), np.uint8)


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes an .npz file and returns its settings."""

    def wrote(images=BYTES, labels=LABELS, layout=None, **others):
        np.savez_compressed(tmp_path / "a.npz", **{"images": images, "labels": labels} | others)
        return {"path": str(tmp_path / "a.npz"), "layout": layout}

    return wrote


def refusal(source) -> str:
    with pytest.raises(Refusal) as refused:
        data.read("array_files", source)
    assert len(refused.value.lines) == 1
    return str(refused.value)


@pytest.mark.parametrize(
    ("images", "layout", "shape"),
    [
        (BYTES[..., 0], None, (1, 6, 5)),
        (BYTES, None, (3, 6, 5)),
        (BYTES[..., :1], None, (1, 6, 5)),
        (np.moveaxis(BYTES, -1, 1), None, (3, 6, 5)),
        (BYTES[:, :3], "NHWC", (3, 3, 5)),
        (BYTES[:, :3], "NCHW", (3, 5, 3)),
        (BYTES[..., :2], "NHWC", (2, 6, 5)),
    ],
)
def test_layouts(saved, images, layout, shape):
    source = saved(images, layout=layout)
    assert data.describe("array_files", source) == DatasetInfo(shape, 3, flips_keep_labels=False)
    pool = data.read("array_files", source).pool
    expected = (
        images[:, None]
        if images.ndim == 3
        else images
        if images.shape[1:] == shape
        else np.moveaxis(images, -1, 1)
    )
    assert (pool.images == expected).all()
    assert pool.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(
    ("images", "layout", "words"),
    [
        (BYTES[:, :3], None, "fits NHWC and NCHW; expected"),
        (BYTES[..., :2], None, "fits no known layout"),
        (BYTES, "NHW", "fits no NHW layout"),
        (BYTES[..., 0], "NCHW", "fits no NCHW layout"),
        (BYTES[0, :, :, 0], None, "labels: int64 (12,); expected integers or texts (6,)"),
        (BYTES.astype(np.int64), None, "images: type int64; expected uint8"),
        (BYTES.astype(np.float32), None, "images: range from 0 to 255; expected 0 to 1"),
        (np.full(BYTES.shape, np.nan), None, "images: values that are not a number; expected"),
        (BYTES[:, :0], None, "expected >= 1 image"),
        (np.array([None] * 12), None, "or numbers with source.white; np.stack(images) makes"),
    ],
)
def test_images_that_raise(saved, images, layout, words):
    assert words in refusal(saved(images, layout=layout))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (LABELS[:-1], "labels: int64 (11,); expected integers or texts (12,)"),
        (LABELS / 1, "of (12, 6, 5, 3); labels.astype(int) does that"),
        (LABELS > 1, "of (12, 6, 5, 3); labels.astype(int) does that"),
        (LABELS[:, None], "labels: int64 (12, 1); expected"),
        (LABELS[:, None], "; labels[:, 0] has this shape"),
        (np.eye(3)[LABELS], "; labels.argmax(axis=1) does that for one column per class"),
        (LABELS - 1, "labels: range from -1 to 1, no example of 2; expected 0"),
        (2 * LABELS, "range from 0 to 4, no example of 1; expected 0 to k - 1"),
        (LABELS + 10**12, "to 1000000000002, no example of 0, 1, 2;"),
        (0 * LABELS, "one class; expected >= 2"),
        (LABELS + 1, "as np.unique(labels, return_inverse=True)[1] has them"),
        (LABELS.astype(object), "of (12, 6, 5, 3); labels.astype(str) does that"),
        (
            np.array(["", "a", " "])[LABELS],
            "8 of 12 labels are empty, the first is that of image 0",
        ),
        (np.array(["a", "a "])[LABELS % 2], "one class; expected >= 2"),
        (np.array([b"a", b"\xff"])[LABELS % 2], "labels: not UTF-8; expected texts or integers"),
        (np.array(["a", "\udc80"])[LABELS % 2], "labels: not UTF-8; expected texts or integers"),
    ],
)
def test_labels_that_raise(saved, labels, words):
    assert words in refusal(saved(labels=labels))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["eel", "cat", "dog"], ["cat", "dog", "eel"]),
        ([b"eel", b"cat", "Öl".encode()], ["cat", "eel", "Öl"]),
        (["10", "9", "100"], ["9", "10", "100"]),
        (["10", "9", "x"], ["10", "9", "x"]),
    ],
)
def test_texts_are_the_names_of_classes(saved, names, expected):
    names = np.array(names)
    source = saved(
        labels=names[LABELS], test_images=BYTES[:2], test_labels=names[LABELS[:2]].astype("U5")
    )
    dataset = data.read("array_files", source)
    written = [name.decode() if isinstance(name, bytes) else name for name in names.tolist()]
    assert dataset.class_names == tuple(expected)
    assert [expected[label] for label in dataset.pool.labels] == [written[n] for n in LABELS]
    assert [expected[label] for label in dataset.test.labels] == [written[n] for n in LABELS[:2]]
    assert data.describe("array_files", source).classes == 3
    read = data.read_labels("array_files", source)
    assert read.class_names == tuple(expected)
    assert (read.pool.labels == dataset.pool.labels).all()


def test_texts_that_differ_in_their_unicode_form_are_one_class(saved):
    names = np.array(["e\u0301t\u00e9 ", "\u00e9te\u0301", "hiver"])
    dataset = data.read("array_files", saved(labels=names[LABELS]))
    assert dataset.class_names == ("hiver", "\u00e9t\u00e9")
    assert dataset.pool.labels.tolist() == [1, 1, 0] * 4


def test_integers_have_no_names_and_the_labels_they_had(saved):
    dataset = data.read("array_files", saved(labels=LABELS.astype(">i2")))
    assert dataset.class_names == ()
    assert dataset.pool.labels.tobytes() == LABELS.astype(np.int64).tobytes()


def test_classes_of_another_part_are_those_of_the_pool(saved):
    texts = np.array(["a", "b", "c"])
    given = {"test_images": BYTES[:3]}
    others = saved(labels=texts[LABELS], test_labels=np.array(["a", "d", "e"]), **given)
    assert "test_labels: d, e: not among the classes of the pool (a, b, c)" in refusal(others)
    mixed = saved(labels=texts[LABELS], test_labels=LABELS[:3], **given)
    assert "test_labels: int64; expected the type of the labels of the pool" in refusal(mixed)


def test_given_parts(saved):
    source = saved(
        test_images=BYTES[:4],
        test_labels=LABELS[:4],
        validation_images=BYTES[:2],
        validation_labels=LABELS[:2],
    )
    dataset = data.read("array_files", source)
    assert [len(part.labels) for part in (dataset.pool, dataset.validation, dataset.test)] == [
        12,
        2,
        4,
    ]
    assert (dataset.test.images == np.moveaxis(BYTES[:4], -1, 1)).all()
    assert "a.npz: test_labels: missing among images, labels, test_images; expected" in refusal(
        saved(test_images=BYTES[:4])
    )
    assert "test_labels: range from 3 to 5; expected" in refusal(
        saved(test_images=BYTES[:3], test_labels=LABELS[:3] + 3)
    )
    assert "test_images: shape (4, 3, 5, 3); expected (N, 6, 5, 3)" in refusal(
        saved(test_images=BYTES[:4, :3], test_labels=LABELS[:4])
    )


def test_floats_become_single(saved):
    images = data.read("array_files", saved(BYTES / 255)).pool.images
    assert images.dtype == np.float32
    assert np.allclose(images, np.moveaxis(BYTES, -1, 1) / 255)


@pytest.mark.parametrize(
    ("levels", "white", "expected", "note"),
    [
        (np.uint16([0, 4000]), None, 4000 / 65535, "such as 4095"),
        (np.uint16([0, *[4000] * 58, 65535]), None, 1, "such as 4095"),
        (np.uint16([0, *[4000] * 58, 65535]), 4000, 1, None),
        (np.uint16([0, 4000]), 4000, 1, None),
        (np.uint16([0, 4000]), 3000, 1, "levels up to 4000, above 3000, become 1"),
        (np.uint16([0, 60000]), None, 60000 / 65535, None),
        (np.int16([0, 1000]), 2000, 0.5, None),
        (np.int64([0, 16]), 16, 1, None),
        (np.uint8([0, 16]), 16, 1, None),
        (np.uint8([0, 1]), None, 1, "levels up to 1 of 255 are used"),
        (np.float32([0, 255]), 255, 1, None),
        (np.float64([0, 0.06]), None, 0.06, "levels up to 0.06 of 1 are used"),
        (np.uint8([0, 200]), 4095, 200, None),
    ],
)
def test_a_level_of_white(saved, levels, white, expected, note):
    images = np.resize(levels, (12, 6, 5))
    with collect_notes() as notes:
        stored = data.read("array_files", saved(images) | {"white": white}).pool.images
    assert stored.max() == pytest.approx(expected)
    assert stored.min() == 0
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


@pytest.mark.parametrize(
    ("levels", "white", "words"),
    [
        (np.int16([0, 1000]), None, "type int16; expected uint8 in 0 to 255, uint16"),
        (np.int16([-3, 1000]), 1000, "range from -3 to 1000; expected >= 0"),
        (np.uint32([0, 9]), None, "or numbers with source.white"),
        (np.float32([-0.5, 1]), None, "or source.white, as images have it before they are"),
        (np.float32([0, 1.01]), None, "range from 0 to 1.01; expected 0 to 1"),
        (np.float64([0, 1.000001]), None, "range from 0 to 1.000001; expected 0 to 1"),
        (np.float32([-2e-6, 1]), None, "range from -2e-06 to 1; expected 0 to 1"),
        (np.float32([0.5, np.nan]), None, "images: values that are not a number; expected 0 to 1"),
        (np.float32([0, np.inf]), None, "range from 0 to inf"),
        (np.array([False, True]), 1, "type bool"),
    ],
)
def test_levels_that_raise(saved, levels, white, words):
    assert words in refusal(saved(np.resize(levels, (12, 6, 5))) | {"white": white})


@pytest.mark.parametrize(
    "levels",
    [
        np.float32([0, 1.0000001]),
        np.float64([0, 1 + 2e-7]),
        np.float16([0, 1.001]),
        np.float32([-1e-8, 1]),
    ],
)
def test_errors_of_rounding_are_clipped(saved, levels):
    stored = data.read("array_files", saved(np.resize(levels, (12, 6, 5)))).pool.images
    assert (stored.min(), stored.max()) == (0, 1)


def test_a_validation_set_of_another_type(saved):
    source = saved(validation_images=BYTES / 255, validation_labels=LABELS)
    dataset = data.read("array_files", source)
    images = dataset.pool.with_validation(dataset.validation).images
    assert images.dtype == np.float32
    assert np.allclose(images[:12], images[12:], atol=1e-6)


def test_two_files_are_mapped(tmp_path):
    np.save(tmp_path / "x.npy", BYTES)
    np.save(tmp_path / "y.npy", LABELS.astype(np.uint8))
    source = {"images": str(tmp_path / "x.npy"), "labels": str(tmp_path / "y.npy")}
    pool = data.read("array_files", source).pool
    assert isinstance(pool.images, np.memmap)
    assert pool.labels.dtype == np.int64
    assert (pool.images == np.moveaxis(BYTES, -1, 1)).all()
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    assert "x.npy: corrupted, or not an array for NumPy" in refusal(source)
    np.savez(tmp_path / "z.npz", images=BYTES)
    assert "not .npy files; expected .npy files, or source.path" in refusal(
        source | {"images": str(tmp_path / "z.npz")}
    )
    assert "nowhere.npy: missing; expected" in refusal(
        source | {"images": str(tmp_path / "nowhere.npy")}
    )
    assert f"{tmp_path}: a folder; expected" in refusal(source | {"images": str(tmp_path)})


@pytest.mark.parametrize(
    "source", [{}, {"path": "a.npz", "images": "b.npy"}, {"images": "b.npy"}, {"path": ""}]
)
def test_one_file_or_two(source):
    assert "path of an .npz file, or images and labels of two .npy files" in refusal(source)


def test_describing_reads_no_images(saved, monkeypatch):
    source, read = saved(), []
    original = numpy_files.ArrayFile.read
    monkeypatch.setattr(
        numpy_files.ArrayFile, "read", lambda self: read.append(self.member) or original(self)
    )
    data.describe("array_files", source)
    assert set(read) == {"labels"}


def free(monkeypatch, size):
    """Set the bytes of free disk space."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=size))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_is_too_large_for_memory_is_unpacked_to_the_disk(order, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, images = tmp_path / "a.npz", np.asarray(BYTES, order=order)
    save(path, images=images, labels=LABELS)
    monkeypatch.setattr(stored, "IN_MEMORY", BYTES.nbytes - 1)
    read = numpy_files.list_arrays(path)["images"].read()
    assert isinstance(read, np.memmap)
    assert (read == BYTES).all()
    assert list((tmp_path / ".data").iterdir()) == []
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert "a.npz: corrupted, or not an array for NumPy" in refusal({"path": str(path)})


def test_an_archive_larger_than_the_disk_raises_before_it_is_read(saved, tmp_path, monkeypatch):
    """Zeros pack a thousandfold; and a header may claim any size."""
    monkeypatch.chdir(tmp_path)
    source = saved()
    free(monkeypatch, 2 * BYTES.nbytes - 1)
    assert len(data.read("array_files", source).pool.labels) == 12
    monkeypatch.setattr(stored, "IN_MEMORY", BYTES.nbytes - 1)
    assert (
        "images: unpacks to 0 MB; expected <= 0 MB, half of the free disk space, or .npy files"
        in refusal(source)
    )
    free(monkeypatch, 2 * BYTES.nbytes)
    assert len(data.read("array_files", source).pool.labels) == 12
    free(monkeypatch, 16 << 30)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, shape in (("images", (10**12, 8, 8)), ("labels", (10**12,))):
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                header, {"descr": "|u1", "fortran_order": False, "shape": shape}
            )
            archive.writestr(f"{name}.npy", header.getvalue())
    assert "labels: unpacks to 953674 MB; expected <= 8192 MB" in refusal(source)


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 4 GiB"), OSError(errno.ENOMEM, "Cannot allocate memory")],
)
def test_memory_that_ends_before_it_should(saved, monkeypatch, error):
    """A limit on this process alone is not seen beforehand."""
    source = saved()

    def full(*_, **__):
        raise error

    monkeypatch.setattr(np, "load", full)
    assert "a.npz: does not fit into memory; expected .npy files" in refusal(source)


def test_an_error_of_the_disk_is_none_of_the_file(saved, monkeypatch):
    source = saved()

    def failing(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(np, "load", failing)
    with pytest.raises(PermissionError):
        data.read("array_files", source)


HEADER = "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 8, 8), }"
SAYS = "corrupted, or not an array for NumPy: "


@pytest.mark.parametrize(
    "header",
    [
        "((((",
        "(" * 3000,
        "{'descr': '''",
        HEADER[:-6],
        HEADER.replace("8,", "80000000000000000000000,"),
        HEADER.replace("8,", f"{2**63 - 1},"),
        HEADER.replace("60, 8, 8", "4294967296, 4294967296"),
        HEADER.replace("60", "-60"),
        HEADER.replace("60, 8, 8", "True, 8"),
        HEADER.replace(", }", ", 1: 2}"),
        HEADER.replace(", }", ", []: 2}"),
        HEADER.replace("|u1", "zzz"),
        HEADER + " " * 20000,
    ],
)
def test_damaged_headers(tmp_path, capsys, header):
    line = f"{header}\n".encode()
    (tmp_path / "x.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + bytes(3840)
    )
    with pytest.raises(Refusal) as refused:
        numpy_files.list_arrays(tmp_path / "x.npy")[""].read()
    (line,) = refused.value.lines
    assert f"x.npy: {SAYS}" in line
    assert "allow_pickle" not in line
    assert not capsys.readouterr().err


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_damaged_members(tmp_path, packing):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", packing) as archive:
        for name, array in (
            ("labels", LABELS),
            ("images", np.random.default_rng(0).integers(0, 256, (12, 40, 40), np.uint8)),
        ):
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(f"{name}.npy", member.getvalue())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[600:9000] = bytes((7 * value + 13) & 255 for value in content[600:9000])
    (tmp_path / "a.npz").write_bytes(content)
    assert f"a.npz: {SAYS}" in refusal({"path": str(tmp_path / "a.npz")})


def test_a_path_may_begin_with_a_tilde(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    saved()
    np.save(tmp_path / "x.npy", BYTES)
    np.save(tmp_path / "y.npy", LABELS)
    for source in ({"path": "~/a.npz"}, {"images": "~/x.npy", "labels": "~/y.npy"}):
        assert len(data.read("array_files", source).pool.labels) == 12


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:200],
        lambda content: b"text",
        lambda content: content[:-300] + b"?" * 300,
    ],
)
def test_damaged_files(saved, tmp_path, damage):
    source = saved()
    (tmp_path / "a.npz").write_bytes(damage((tmp_path / "a.npz").read_bytes()))
    assert "a.npz: " in refusal(source)


def test_a_flipped_bit_is_found(saved, tmp_path):
    source = saved()
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[600] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "a.npz: corrupted" in refusal(source)
