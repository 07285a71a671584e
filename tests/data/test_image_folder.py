"""Images in class folders: which files, how they are decoded, errors, and resuming."""

import functools
import os
import shutil
import struct
import sys
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

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


def test_progress_is_printed_of_images_that_are_decoded_only(root, capsys):
    read(root)
    assert "6/6 ended" in capsys.readouterr().out
    read(root)
    assert capsys.readouterr().out == ""
    draw(root / "cat" / "4.png", RED)
    read(root)
    assert "7/7 ended" in capsys.readouterr().out


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
    dataset = read(whole)
    assert [len(part.labels) for part in (dataset.pool, dataset.validation, dataset.test)] == [
        6,
        7,
        6,
    ]
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
        ("RGBA", (9, 9, 9, 255), 9),
        ("LA", (40, 255), 40),
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


@pytest.mark.parametrize(("mode", "value"), [("LAB", (128, 128, 128)), ("CMYK", (0, 0, 0, 136))])
def test_other_color_spaces_become_gray_as_they_become_colors(root, mode, value):
    Image.new(mode, (8, 8), value).save(root / "cat" / "0.tif")
    (root / "cat" / "0.png").unlink()
    colors, (gray,) = only(read(root).pool), only(read(root, color="grayscale").pool)
    assert np.abs(np.array(colors) - gray).max() <= 1
    assert 110 < gray < 130


@pytest.mark.parametrize("kind", ["jpg", "bmp", "webp", "gif", "tif", "ppm"])
def test_kinds_of_files(root, kind):
    draw(root / "cat" / f"0.{kind}", (128, 128, 128))
    (root / "cat" / "0.png").unlink()
    assert np.abs(np.array(only(read(root).pool)) - 128).max() <= 2


TRANSPARENT = {
    "RGBA": (lambda: halves("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)), {}),
    "LA": (lambda: halves("LA", (0, 255), (0, 0)), {}),
    "an index of a palette": (lambda: palette_image(), {"transparency": 1}),
    "levels of a palette": (lambda: palette_image(), {"transparency": b"\xff\x00"}),
    "a color": (lambda: halves("RGB", (0, 0, 0), (1, 2, 3)), {"transparency": (1, 2, 3)}),
    "a level of gray": (lambda: halves("L", 0, 7), {"transparency": 7}),
    "one bit": (lambda: halves("1", 0, 1), {"transparency": 1}),
}


def halves(mode, left, right):
    image = Image.new(mode, (8, 8), left)
    image.paste(right, (4, 0, 8, 8))
    return image


def palette_image():
    image = halves("P", 0, 1)
    image.putpalette([0, 0, 0, 30, 40, 50])
    return image


@pytest.mark.parametrize("kind", TRANSPARENT)
@pytest.mark.parametrize(("background", "seen"), [("white", 255), (90, 90), ("#404040", 64)])
def test_transparent_pixels_show_the_background(root, kind, background, seen):
    make, saved = TRANSPARENT[kind]
    make().save(root / "cat" / "0.png", **saved)
    with collect_notes() as notes:
        image = read(root, background=background).pool.images[0]
    assert image[:, 0, 0].tolist() == [0, 0, 0]
    assert image[:, 0, 7].tolist() == [seen] * 3
    line = (
        f"animals: 1 of 6 images have transparent pixels; laid on source.background: {background}"
    )
    assert notes == [line]


def png(bits, color, levels, chunk=b""):
    """Return a PNG file with equal rows of these levels."""

    def packed(kind, content):
        checksum = zlib.crc32(kind + content).to_bytes(4)
        return len(content).to_bytes(4) + kind + content + checksum

    whole = functools.reduce(lambda number, level: (number << bits) | level, levels, 0)
    row = b"\0" + whole.to_bytes(bits * len(levels) // 8)
    header = struct.pack(">IIBBBBB", 8, 8, bits, color, 0, 0, 0)
    content = packed(b"IHDR", header) + (packed(b"tRNS", chunk) if chunk else b"")
    return (
        b"\x89PNG\r\n\x1a\n"
        + content
        + packed(b"IDAT", zlib.compress(8 * row))
        + packed(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("bits", "color", "dark", "key"),
    [
        (2, 0, [1], [2]),
        (4, 0, [1], [12]),
        (16, 0, [4369], [300]),
        (16, 2, [4369] * 3, [300, 301, 302]),
    ],
)
def test_a_transparent_level_of_any_depth(root, bits, color, dark, key):
    levels = 4 * dark + 4 * key
    content = png(bits, color, levels, struct.pack(f">{len(key)}H", *key))
    (root / "cat" / "0.png").write_bytes(content)
    image = read(root, background=200).pool.images[0]
    assert image[:, 0, 0].tolist() == [dark[0] * 255 // (2**bits - 1)] * 3
    assert image[:, 0, 7].tolist() == [200] * 3


@pytest.mark.parametrize(("background", "lost"), [("black", 2), ("white", 1), ("gray", 0)])
def test_drawings_that_their_background_hides_are_counted(root, background, lost):
    """Two black drawings and a white one on transparent ground."""
    for number, level in enumerate((0, 0, 255)):
        image = Image.new("LA", (8, 8), (level, 0))
        image.paste((level, 255), (2, 2, 5, 5))
        image.save(root / "cat" / f"{number}.png")
    with collect_notes() as notes:
        pool = read(root, background=background).pool
    flat = [len(np.unique(image)) == 1 for image in pool.images[:3]]
    assert sum(flat) == lost
    assert [f"; {lost} of them show nothing on it" in note for note in notes] == [lost > 0]


def test_opaque_alpha_changes_nothing(root):
    for path in root.glob("*/*.png"):
        Image.open(path).convert("RGBA").save(path)
    with collect_notes() as notes:
        pool = read(root, background="black").pool
    assert pool.images[:, 0, 0, 0].tolist() == [200] * 3 + [10] * 3
    assert notes == []


@pytest.mark.parametrize("background", ["no color", -1, 256, True, 1.5])
def test_a_background_is_a_color(root, background):
    assert "source.background: invalid value" in refusal(root, background=background)


def twelve_bits(root, kind="png"):
    for path in root.glob("*/*.png"):
        path.unlink()
        levels = np.full((8, 8), 1000 if path.parent.name == "cat" else 4000, np.uint16)
        Image.fromarray(levels).save(path.with_suffix(f".{kind}"))


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_a_level_of_white(root, kind):
    twelve_bits(root, kind)
    with collect_notes() as notes:
        assert read(root).pool.images[:, 0, 0, 0].tolist() == [3] * 3 + [15] * 3
    (note,) = notes
    assert "levels up to 4000 of 65535 are used" in note
    assert "set source.white to the level of white, such as 4095" in note
    with collect_notes() as notes:
        assert read(root, white=4000).pool.images[:, 0, 0, 0].tolist() == [64] * 3 + [255] * 3
    assert notes == []
    with collect_notes() as notes:
        assert read(root, white=2000).pool.images[:, 0, 0, 0].tolist() == [128] * 3 + [255] * 3
    assert "levels up to 4000, above 2000, become 1" in notes[0]


def test_one_image_of_full_range_does_not_hide_that_the_others_are_dark(root):
    twelve_bits(root)
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(root / "cat" / "0.png")
    with collect_notes() as notes:
        read(root)
    (note,) = notes
    assert "half of the images: levels up to 4000 of 65535 are used" in note


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 4095), (np.uint8, 63)])
def test_a_burnt_in_pixel_does_not_hide_that_images_are_dark(root, dtype, white):
    """Nor is it a level above white, once that is set."""
    for path in root.glob("*/*.png"):
        levels = np.full((8, 8), white - 10, dtype)
        levels[0, 0] = np.iinfo(dtype).max
        Image.fromarray(levels).save(path)
    with collect_notes() as notes:
        read(root)
    (note,) = notes
    assert f"levels up to {white - 10} of " in note
    assert f"such as {white}" in note
    with collect_notes() as notes:
        read(root, white=white)
    assert notes == []


def test_small_bright_objects_are_no_marks(root):
    """Levels lie between them and the rest, or many pixels are bright, or the rest is black."""
    for number, path in enumerate(sorted(root.glob("*/*.png"))):
        levels = np.full((8, 8), 0 if number % 3 == 2 else 40, np.uint8)
        levels[0, 0] = 255
        if number % 3 == 0:
            levels[0, 1:4] = 100, 150, 200
        elif number % 3 == 1:
            levels[1] = 240
        Image.fromarray(levels).save(path)
    with collect_notes() as notes:
        read(root)
    assert notes == []


@pytest.mark.parametrize("level", [np.uint16(16384), np.float32(0.25)])
def test_deep_tiff_in_which_zero_is_white(root, level):
    """Radiographs are stored so; Pillow turns the levels of 8 bits alone."""
    dark = Image.fromarray(np.full((8, 8), level))
    dark.save(root / "cat" / "0.png", format="TIFF", tiffinfo={262: 0})
    white = 1.0 if level < 1 else 65535
    assert only(read(root, white=white).pool) == [191] * 3


def test_white_of_images_of_eight_bits(root):
    """A level above 255 is meant for others; one below is that of masks or of few levels."""
    for path in root.glob("*/*.png"):
        halves("L", 3, 15 if path.parent.name == "cat" else 9).save(path)
    assert read(root, white=4095).pool.images[0, 0, 0].tolist() == [3] * 4 + [15] * 4
    with collect_notes() as notes:
        assert read(root, white=15).pool.images[0, 0, 0].tolist() == [51] * 4 + [255] * 4
    assert notes == []
    with collect_notes() as notes:
        read(root)
    assert "levels up to 15 of 255 are used" in notes[0]


def replace_by_levels(root, level):
    """Write an image of one level, a number of 32 bits whose range no file says."""
    Image.fromarray(np.full((8, 8), level)).save(root / "cat" / "0.tif")
    (root / "cat" / "0.png").unlink()


@pytest.mark.parametrize(
    ("level", "white", "byte"),
    [
        (np.float32(0.5), 1.0, 128),
        (np.int32(2000), 4000, 128),
        (np.float32(1.0000001), 1.0, 255),
        (np.float32(-1e-9), 1.0, 0),
    ],
)
def test_levels_of_unknown_range_are_fractions_of_white(root, level, white, byte):
    replace_by_levels(root, level)
    assert only(read(root, white=white).pool) == [byte] * 3


@pytest.mark.parametrize(
    ("level", "white", "words"),
    [
        (np.float32(-0.5), 1.0, "levels from -0.5 to -0.5; expected >= 0"),
        (np.int32(-7), 100, "levels from -7 to -7; expected >= 0"),
        (np.float32("nan"), 1.0, "levels from nan to nan"),
        (np.int32(7), None, "whose range is unknown: set source.white"),
    ],
)
def test_negative_levels_nan_and_an_unknown_range_raise(root, level, white, words):
    replace_by_levels(root, level)
    assert words in refusal(root, white=white)


def test_the_range_of_portable_maps(root):
    """Pillow scales whole levels to 16 bits, and floats not at all."""
    (root / "cat" / "0.png").write_bytes(b"P5 8 8 4095\n" + 64 * struct.pack(">H", 4095))
    assert only(read(root).pool) == [255] * 3
    (root / "cat" / "0.png").write_bytes(b"Pf\n8 8\n-1.0\n" + 64 * struct.pack("<f", 0.5))
    assert "whose range is unknown" in refusal(root)


def test_colors_of_16_bits_have_no_level_of_white(root):
    (root / "cat" / "0.png").write_bytes(png(16, 2, [65535] * 24))
    assert only(read(root).pool) == [255] * 3
    assert "colors of 16 bits, of which 8 are read" in refusal(root, white=4095)


def test_dark_colors_of_16_bits_get_advice_that_applies(root):
    for path in root.glob("*/*.png"):
        path.write_bytes(png(16, 2, [4000] * 24))
    with collect_notes() as notes:
        read(root)
    (note,) = notes
    assert "levels up to 4095 of 65535 are used" in note
    assert note.endswith("save them with 8 bits, scaled to the range of 0 to 255")


ORIENTED = struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)  # to be turned by a quarter, clockwise


def exif(*entries, count=None, after=b""):
    tags = struct.pack("<IH", 8, count or len(entries)) + b"".join(entries)
    return b"Exif\0\0II*\0" + tags + b"\0\0\0\0" + after


BROKEN_EXIF = {
    "a rational that cannot be written": exif(
        ORIENTED, struct.pack("<HHII", 0x11A, 10, 1, 38), after=struct.pack("<ii", -1, 0)
    ),
    "truncated": exif(ORIENTED, count=9)[:30],
    "a value beyond the end": exif(ORIENTED, struct.pack("<HHII", 0x11A, 5, 1, 99999)),
    "an unknown type": exif(struct.pack("<HHII", 0x10F, 77, 1, 6), ORIENTED),
    "a pointer beyond the end": exif(ORIENTED, struct.pack("<HHII", 0x8825, 4, 1, 99999)),
    "an orientation of one byte": exif(struct.pack("<HHIBBBB", 0x112, 1, 1, 6, 0, 0, 0)),
}


def red_above_blue():
    picture = Image.new("RGB", (16, 16), RED)
    picture.paste(BLUE, (0, 0, 16, 8))
    return picture


def assert_turned(image):
    """Check that the left is red and the right blue, as JPEG keeps them."""
    assert np.abs(image[:, 2, 1].astype(int) - RED).max() < 20
    assert np.abs(image[:, 2, 6].astype(int) - BLUE).max() < 20


@pytest.mark.parametrize("why", BROKEN_EXIF)
@pytest.mark.parametrize("kind", ["jpg", "webp", "png"])
def test_damaged_exif_loses_neither_image_nor_orientation(root, why, kind):
    (root / "cat" / "0.png").unlink()
    content = BROKEN_EXIF[why][6 if kind == "png" else 0 :]
    red_above_blue().save(root / "cat" / f"0.{kind}", exif=content, quality=95)
    assert_turned(read(root).pool.images[0])


def test_exif_that_is_none_is_ignored(root):
    red_above_blue().save(root / "cat" / "0.jpg", exif=b"Exif\0\0no tags at all")
    (root / "cat" / "0.png").unlink()
    image = read(root).pool.images[0]
    assert image[0, 6, 0] > image[0, 1, 0]


def chunk(kind, content, checksum=None):
    checksum = zlib.crc32(kind + content).to_bytes(4) if checksum is None else checksum
    return len(content).to_bytes(4) + kind + content + checksum


LARGE = zlib.compress(bytes(1 << 22))
CHUNKS = {
    "a text that unpacks to megabytes": chunk(b"zTXt", b"k\0\0" + LARGE),
    "a profile that unpacks to megabytes": chunk(b"iCCP", b"k\0\0" + LARGE),
    "much text": 70 * chunk(b"tEXt", b"k\0" + bytes(1 << 20)),
    "a wrong checksum": chunk(b"tEXt", b"k\0v", b"none"),
    "too short": chunk(b"gAMA", b"1"),
}


@pytest.mark.parametrize("why", CHUNKS)
def test_damaged_chunks_of_png(root, why):
    path = root / "cat" / "0.png"
    red_above_blue().save(path, exif=exif(ORIENTED)[6:])
    content = path.read_bytes()
    path.write_bytes(content[:33] + CHUNKS[why] + content[33:])
    assert_turned(read(root).pool.images[0])


SEGMENTS = {
    "a profile cut short": b"\xff\xe2\x00\x0eICC_PROFILE\0",
    "an index of images": b"\xff\xe2\x00\x0dMPF\0garbage",
    "the header of JFIF": b"\xff\xe0\x00\x07JFIF\0",
    "the segment of Adobe": b"\xff\xee\x00\x07Adobe",
}


@pytest.mark.parametrize("why", SEGMENTS)
def test_damaged_segments_of_jpeg(root, why):
    (root / "cat" / "0.png").unlink()
    path = root / "cat" / "0.jpg"
    red_above_blue().save(path, exif=exif(ORIENTED), quality=95)
    content = path.read_bytes()
    path.write_bytes(content[:2] + SEGMENTS[why] + content[2:])
    assert_turned(read(root).pool.images[0])


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_damaged_tags_of_tiff(root, compression):
    path = root / "cat" / "0.tif"
    (root / "cat" / "0.png").unlink()
    tags = {274: 6, 282: IFDRational(1, 1)}
    red_above_blue().save(path, tiffinfo=tags, compression=compression)
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HH", 282, 5))
    content[place : place + 12] = struct.pack("<HHII", 34665, 4, 1, 1 << 30)  # tags of EXIF
    path.write_bytes(content)
    assert_turned(read(root).pool.images[0])


def test_damaged_pixels_are_unreadable(root):
    path = root / "cat" / "0.png"
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 5
    path.write_bytes(content)
    assert "cat/0.png (" in refusal(root)


def test_the_extension_is_not_read(root):
    (root / "cat" / "0.png").rename(root / "cat" / "0.jpg")
    draw(root / "cat" / "1.bmp", BLUE).rename(root / "cat" / "nothing")
    assert read(root).pool.images[:4, 0, 0, 0].tolist() == [200, 200, 200, 10]


@pytest.mark.parametrize("name", ["caf\u00e9", "\uac00", "\u00c5ngstr\u00f6m"])
def test_names_in_two_unicode_forms_are_one_class(root, name):
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    (root / "cat").rename(root / composed)
    draw(root / decomposed / "9.png", BLUE)
    if not (root / composed).is_dir() or len(list(root.iterdir())) != 3:
        pytest.skip("the file system joins them")
    with collect_notes() as notes:
        pool = read(root).pool
    assert sorted(np.bincount(pool.labels).tolist()) == [3, 4]
    assert notes == [
        f"animals: class {composed}: several folders, whose names differ in their Unicode form; "
        "joined"
    ]


def test_splits_with_names_in_two_unicode_forms(root):
    whole = root.parent / "whole"
    for split, form in (("train", "NFC"), ("val", "NFD")):
        shutil.copytree(root, whole / split)
        (whole / split / "cat").rename(whole / split / unicodedata.normalize(form, "\u00e9"))
    dataset = read(whole)
    assert dataset.pool.labels.tolist() == dataset.validation.labels.tolist() == [0] * 3 + [1] * 3


def test_names_that_differ_otherwise_are_two_classes(root):
    draw(root / "cat " / "0.png", BLUE)
    draw(root / "cat " / "1.png", BLUE)
    draw(root / "cat " / "2.png", BLUE)
    assert data.describe("image_folder", {"path": str(root)}).classes == 3


def test_folders_around_the_classes_are_opened(root):
    shutil.move(root, root.parent / "outer" / "animals" / "animals")
    (root.parent / "outer" / "__MACOSX" / "animals").mkdir(parents=True)
    (root.parent / "outer" / "animals" / ".DS_Store").write_text("")
    (root.parent / "outer" / "README.txt").write_text("one more folder")
    assert len(read(root.parent / "outer").pool.labels) == 6


def test_a_split_in_a_folder_of_its_name(root):
    whole = root.parent / "whole"
    shutil.copytree(root, whole / "train" / "train")
    shutil.copytree(root, whole / "test" / "test")
    dataset = read(whole)
    assert [len(dataset.pool.labels), len(dataset.test.labels)] == [6, 6]


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["train/cat", "train/dog", "test"], "test: 0 folders of classes; expected >= 2"),
        (["train/cat", "train/dog", "valid/cat"], "folders train, valid; expected classes, or"),
        (["Train/cat", "Val/cat"], "Train: folders cat and no image; expected <class>/<image>"),
        (["train/cat/images", "train/dog/images"], "cat: folders images and no image"),
        (["."], "0 folders of classes; expected >= 2, one for each class; 2 files beside"),
    ],
)
def test_layouts_that_are_not_accepted(tmp_path, folders, words):
    for folder in folders:
        for number in range(2):
            draw(tmp_path / "whole" / folder / f"{number}.png", RED)
    assert words in refusal(tmp_path / "whole", unreadable="skip")


def test_files_of_operating_systems_are_ignored(root):
    for name in ("Thumbs.db", "desktop.ini", "._0.png"):
        (root / "cat" / name).write_text("no image")
    (root / "__MACOSX" / "cat").mkdir(parents=True)
    assert len(read(root).pool.labels) == 6


def test_tiny_imagenet_is_named(root):
    whole = root.parent / "tiny"
    for index in range(200):
        draw(whole / "train" / f"n{index}" / "images" / "0.JPEG", RED)
    draw(whole / "val" / "images" / "0.JPEG", RED)
    draw(whole / "test" / "images" / "0.JPEG", RED)
    (whole / "val" / "val_annotations.txt").write_text("0.JPEG\tn0\t0\t0\t9\t9\n")
    line = refusal(whole)
    assert "the layout of Tiny ImageNet" in line
    assert len(line) < 400


def test_class_folders_two_levels_deep_are_named(root):
    shutil.copytree(root, root.parent / "kingdoms" / "Train")
    shutil.copytree(root, root.parent / "kingdoms" / "Test")
    line = refusal(root.parent / "kingdoms", unreadable="skip")
    assert "Test: folders cat, dog and no image; expected <class>/<image>" in line


def test_long_lists_are_shortened(root):
    whole = root.parent / "whole"
    for split in ("train", "val"):
        shutil.copytree(root, whole / split)
    for index in range(200):
        draw(whole / "train" / f"class{index:03}" / "0.png", RED)
    line = refusal(whole)
    assert "class000, class001, class002, class003, class004 and 195 others: not in both" in line


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
    "a folder; expected images directly in": os.mkdir,
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
    assert "expected still PNG, JPEG, BMP, WEBP, GIF, TIFF or PPM, or source." in line
    assert line.endswith("source.unreadable: skip")
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


def test_a_path_may_begin_with_a_tilde(root, monkeypatch):
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
    (root / "one" / "cat").mkdir(parents=True)
    (root / "one" / "notes.txt").touch()
    assert "one: 1 folder of classes; expected >= 2" in refusal(root / "one")
    assert "1 file beside them" in refusal(root / "one")
    shutil.rmtree(root / "one")
    (root / "fox").mkdir()
    expected = "too few images of fox (0); expected >= 3 of each class, or its folder left out"
    assert expected in refusal(root)
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
    assert "Cat, cat differ only in case" in refusal(root)


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
        images = read(root).pool.images
        return sorted(seen), images

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
    corrupted = bytearray(kept[0].read_bytes())
    corrupted[300] ^= 1
    kept[0].write_bytes(corrupted)
    again, repaired = tried()
    assert len(again) == 2
    assert (repaired == images).all()


def test_another_size_or_color_is_decoded_again(root):
    assert read(root, size=8).pool.images.shape[-1] == 8
    assert read(root, size=4).pool.images.shape[-1] == 4
    assert read(root, color="grayscale").pool.images.shape[1] == 1


def test_a_link_to_a_missing_folder_is_no_missing_class(root):
    (root / "fox").symlink_to(root / "unmounted")
    assert "animals: fox: links to what is missing; expected folders" in refusal(root)


def test_an_archive_in_place_of_a_folder_is_one_line(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    for name, state in (("photos.zip", "a file"), ("photos", "missing")):
        with pytest.raises(Refusal, match=rf"{name}: {state}; expected a folder with one for each"):
            data.read("image_folder", {"path": str(tmp_path / name)})
