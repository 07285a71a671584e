"""Images in class folders: which files, how they are decoded, errors, and resuming."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data import chunks, decoding
from pipeline.data import sources as data
from pipeline.data.arrays import Arrays, DatasetInfo
from pipeline.data.checks import collect_notes
from pipeline.runtime.errors import Refusal

RED, BLUE = (200, 30, 10), (10, 30, 200)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return three small images of each of two classes."""
    monkeypatch.chdir(tmp_path)
    for name, color in (("cat", RED), ("dog", BLUE)):
        for number in range(3):
            draw(tmp_path / "animals" / name / f"{number}.png", color)
    return tmp_path / "animals"


def draw(path: Path, color, size=(12, 8), **saved) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path, **saved)
    return path


def read(root: Path, **settings):
    return data.read("image_folder", {"path": str(root), "size": 8} | settings)


def refusal(root: Path, **settings) -> str:
    with pytest.raises(Refusal) as refused:
        read(root, **settings)
    assert len(refused.value.lines) == 1
    return str(refused.value)


def only(arrays: Arrays) -> list[int]:
    """Return the color of the first image, which has only one."""
    image = arrays.images[0]
    assert (image == image[:, :1, :1]).all()
    return image[:, 0, 0].tolist()


def test_classes_are_the_folders_and_images_come_sorted(root):
    draw(root / "dog" / "00.png", (1, 2, 3))
    pool = read(root).pool
    assert pool.images.shape == (7, 3, 8, 8)
    assert pool.images.dtype == np.uint8
    assert pool.labels.tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert pool.images[:, :, 0, 0].tolist() == [list(RED)] * 3 + [
        list(BLUE),
        [1, 2, 3],
        list(BLUE),
        list(BLUE),
    ]  # 0, 00, 1
    source = {"path": str(root), "flips_keep_labels": True}
    assert data.describe("image_folder", source) == DatasetInfo(
        (3, 32, 32), 2, flips_keep_labels=True
    )


def test_given_parts_are_kept(root):
    whole = root.parent / "whole"
    for part in ("train", "val", "test"):
        shutil.copytree(root, whole / part)
    draw(whole / "val" / "cat" / "9.png", BLUE)
    found = read(whole)
    assert [len(part.labels) for part in (found.pool, found.validation, found.test)] == [6, 7, 6]
    (whole / "train" / "cat" / "0.png").unlink()
    assert (
        len(read(whole).pool.labels) == 5
    )  # one to train on and one more: the others have folders of their own
    (whole / "train" / "cat" / "1.png").unlink()
    assert "train: too few images of cat (1); expected >= 2 of each class" in refusal(whole)
    draw(whole / "train" / "cat" / "1.png", RED)
    shutil.rmtree(whole / "val" / "dog")
    shutil.copytree(root / "cat", whole / "val" / "wolf")
    assert "val: dog, wolf: not in both this folder and train" in refusal(whole)
    shutil.rmtree(whole / "val")
    shutil.copytree(root, whole / "validation")
    assert "folders test, train, validation; expected" in refusal(whole)


def test_a_class_may_be_called_train(root):
    (root / "cat").rename(root / "train")
    assert len(read(root).pool.labels) == 6


@pytest.mark.parametrize(
    ("size", "kept"), [((20, 10), [1]), ((10, 20), [1]), ((3, 90), [1]), ((5, 5), [0, 1, 2])]
)
def test_the_middle_of_the_longer_side_is_kept(root, size, kept):
    """Three bands of brightness along the longer side; the middle one is a half of it."""
    along = max(size)
    line = np.repeat([50, 150, 250], [along // 4, along - 2 * (along // 4), along // 4]).astype(
        np.uint8
    )
    bands = np.broadcast_to(line if size[0] >= size[1] else line[:, None], size[::-1])
    Image.fromarray(np.ascontiguousarray(bands)).save(root / "cat" / "0.png")
    image = read(root, size=4).pool.images[0, 0]
    seen = image.mean(0 if size[0] >= size[1] else 1)
    assert {int(np.argmin(np.abs(np.array([50, 150, 250]) - value))) for value in seen} == set(kept)


def test_as_resize_and_centre_crop(root):
    """Compare with the two steps in turn, which differ by a rounding of the crop alone."""
    rough = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    image = Image.fromarray(rough).resize((160, 120), Image.Resampling.BICUBIC)
    image.save(root / "cat" / "0.png")
    expected = np.asarray(
        image.resize((32, 24), Image.Resampling.BILINEAR).crop((4, 0, 28, 24))
    ).transpose(2, 0, 1)
    assert np.abs(read(root, size=24).pool.images[0].astype(int) - expected).max() <= 1


def test_upright_as_the_camera_noted(root):
    picture = Image.new("RGB", (8, 8), RED)
    picture.paste(BLUE, (0, 0, 8, 4))
    noted = Image.Exif()
    noted[0x0112] = 6  # to be turned by a quarter, clockwise
    picture.save(root / "cat" / "0.png", exif=noted)
    image = read(root).pool.images[0]
    assert image[:, 0, 0].tolist() == list(RED)
    assert image[:, 0, 7].tolist() == list(BLUE)


@pytest.mark.parametrize(
    ("mode", "value", "gray"),
    [
        ("L", 77, 77),
        ("1", 1, 255),
        ("P", 5, 5),
        ("RGBA", (9, 9, 9, 0), 9),
        ("LA", (40, 1), 40),
        ("I;16", 0x8000, 128),
    ],
)
def test_every_mode_becomes_bytes(root, mode, value, gray):
    image = Image.new(mode, (8, 8), value)
    if mode == "P":
        image.putpalette([shade for index in range(256) for shade in (index, index, index)])
    image.save(root / "cat" / "0.png")
    assert only(read(root, color="grayscale").pool) == [gray]
    assert only(read(root).pool) == [gray] * 3


@pytest.mark.parametrize("kind", ["jpg", "bmp", "webp", "gif", "tif", "ppm"])
def test_kinds_of_files(root, kind):
    draw(root / "cat" / f"0.{kind}", (128, 128, 128))
    (root / "cat" / "0.png").unlink()
    assert np.abs(np.array(only(read(root).pool)) - 128).max() <= 2


def empty(path):
    path.write_bytes(b"")


def truncated(path):
    draw(path, RED, (400, 400))
    path.write_bytes(path.read_bytes()[:-200])


def animated(path):
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 99)]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:])


def linked_out(path):
    path.symlink_to(draw(path.parents[2] / "elsewhere.png", RED))


def floating(path):
    Image.new("F", (8, 8), 0.5).save(path, format="TIFF")


FAULTS = {
    "empty": empty,
    "truncated": truncated,
    "more than one frame": animated,
    "a link out of the folder": linked_out,
    "mode F": floating,
    "unknown image format": lambda path: path.write_text("a note"),
    "not a file": os.mkfifo,
    "more than 2000 pixels": lambda path: draw(path, RED, (50, 41)),
}


@pytest.mark.parametrize("why", FAULTS)
def test_an_unreadable_file_is_an_error_or_left_out(root, monkeypatch, capsys, why):
    monkeypatch.setattr(
        Image, "MAX_IMAGE_PIXELS", 2000 if "pixels" in why else Image.MAX_IMAGE_PIXELS
    )
    FAULTS[why](root / "cat" / "bad.png")
    line = refusal(root)
    assert "animals: 1 of 7 files unreadable: cat/bad.png (" in line
    assert why in line
    assert "source.unreadable: skip" in line
    capsys.readouterr()
    with collect_notes() as notes:
        pool = read(root, unreadable="skip").pool
    assert pool.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert pool.images[:, 0, 0, 0].tolist() == [200] * 3 + [10] * 3
    assert notes[0].startswith("animals: 1 of 7 files unreadable: cat/bad.png")
    assert notes[0].endswith("; left out")
    assert capsys.readouterr().err.endswith("left out\n")


def test_the_first_five_are_named(root):
    for number in range(7):
        (root / "cat" / f"x{number}").write_text("no image")
    assert "7 of 13 files" in refusal(root)
    assert refusal(root).count("unknown image format") == 5


def test_names_with_control_characters_are_shown_escaped(root, capsys):
    for name in (b"\x1b[31mred.png", b"two\nlines.png", b"\xff.png", "schön.png".encode()):
        Path(os.fsdecode(bytes(root / "cat") + b"/" + name)).write_bytes(b"")
    line = refusal(root)
    assert line.isprintable()
    for shown in (
        r"cat/\x1b[31mred.png",
        r"cat/two\nlines.png",
        r"cat/\udcff.png",
        "cat/schön.png",
    ):
        assert shown in line
    with collect_notes() as notes:
        read(root, unreadable="skip")
    assert all(note.isprintable() for note in notes)
    assert "\x1b" not in capsys.readouterr().err
    (root / "\x1b[31mred").mkdir()
    assert r"too few images of \x1b[31mred (0)" in refusal(root)


def test_the_home_folder_may_be_meant(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(data.read("image_folder", {"path": "~/animals", "size": 8}).pool.labels) == 6


def test_links_within_and_hidden_files(root):
    (root / "cat" / "again.png").symlink_to(root / "dog" / "0.png")
    (root / "cat" / ".DS_Store").write_text("not an image")
    (root / ".cache").mkdir()
    assert read(root).pool.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_folders_that_are_no_classes(root):
    assert "nowhere: missing; expected a folder" in refusal(root / "nowhere")
    assert "cat: 0 folders of classes; expected >= 2" in refusal(root / "cat")
    (root / "fox").mkdir()
    assert "too few images of fox (0); expected >= 3 of each class" in refusal(root)
    for number in range(2):
        draw(root / "fox" / f"{number}.png", RED)
    (root / "fox" / "2.png").write_bytes(b"")
    assert "too few images of fox (2)" in refusal(root, unreadable="skip")
    shutil.rmtree(root / "fox")
    (root / "fox").symlink_to(root.parent, target_is_directory=True)
    assert "fox: links out of the folder" in refusal(root)


@pytest.mark.skipif(sys.platform != "linux", reason="the file system may not tell cases apart")
def test_classes_that_differ_in_case_alone(root):
    shutil.copytree(root / "cat", root / "Cat")
    assert "Cat and cat differ only in case" in refusal(root)


def test_an_interrupted_run_resumes(root, monkeypatch):
    """Decode the others after a kill in the first of three chunks; then changed chunks alone."""
    monkeypatch.setattr(chunks, "CHUNK", 2)
    seen, decode = [], decoding.decode

    def noted(path, *others):
        if len(seen) == stop:
            raise KeyboardInterrupt
        seen.append(f"{path.parent.name}{path.stem}")
        return decode(path, *others)

    def tried():
        seen.clear()
        found = read(root).pool.images
        return sorted(seen), found

    monkeypatch.setattr(decoding, "decode", noted)
    monkeypatch.setattr(chunks, "THREADS", 1)
    stop = 3
    with pytest.raises(KeyboardInterrupt):
        tried()
    stop = None
    again, images = tried()
    assert again == ["cat2", "dog0", "dog1", "dog2"]
    assert tried()[0] == []
    assert (tried()[1] == images).all()
    draw(root / "cat" / "2.png", BLUE, (9, 9))
    again, images = tried()
    assert again == ["cat2", "dog0"]
    assert images[:, 0, 0, 0].tolist() == [200, 200, 10, 10, 10, 10]
    kept = sorted(Path(".data").glob("*/*"))
    assert len(kept) == 3  # the chunk of before the change is gone
    damaged = bytearray(kept[0].read_bytes())
    damaged[300] ^= 1
    kept[0].write_bytes(damaged)
    again, repaired = tried()
    assert len(again) == 2
    assert (repaired == images).all()


def test_another_size_or_color_is_decoded_again(root):
    assert read(root, size=8).pool.images.shape[-1] == 8
    assert read(root, size=4).pool.images.shape[-1] == 4
    assert read(root, color="grayscale").pool.images.shape[1] == 1
