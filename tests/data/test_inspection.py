"""What is found in folders of images, in arrays and in tables that no protocol knows."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline.data.inspection import inspect
from pipeline.data.inspection.inspection import DataOptions, class_warnings, sample_of
from pipeline.data.paths import path_in_settings
from pipeline.runtime.errors import Refusal

RANDOM = np.random.default_rng(0)


def write(root, counts, height=20, width=30, mode="RGB", suffix="png", most=255):
    """Write images of noise into class folders."""
    for name, count in counts.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image(height, width, mode, most).save(folder / f"{number}.{suffix}")


def image(height, width, mode, most=255):
    channels = {"RGB": 3, "RGBA": 4, "LA": 2}.get(mode, 1)
    if mode == "I;16":
        return Image.fromarray(RANDOM.integers(0, most + 1, (height, width), np.uint16))
    levels = RANDOM.integers(0, most + 1, (height, width, channels), np.uint8)
    return Image.fromarray(levels[..., 0] if channels == 1 else levels)


def look(path, **wanted):
    return inspect(path, DataOptions(**wanted))


def test_classes_sizes_and_colors_of_a_folder(tmp_path):
    root = tmp_path / "my фото"
    write(root, {"Öl": 30, "猫": 21})
    found = look(root)
    assert (found.dataset, found.is_image) == ("image_folder", True)
    assert dict(found.counts) == {"Öl": 30, "猫": 21}
    assert found.examples == 51
    assert found.source == {"path": str(root), "color": "rgb"}
    assert found.sizes == (20, 10)
    assert found.shape == (3, 20, 20)
    assert found.facts == ("short axis: 20 pixels", "long axis: 30 pixels")
    assert found.warnings == ()
    assert found.sample.images.shape == (51, 3, 20, 20)


@pytest.mark.parametrize(
    ("height", "sizes"), [(100, (32, 16, 8)), (32, (32, 16, 8)), (8, (8,)), (5, (8,))]
)
def test_large_images_are_resized_and_small_ones_kept(tmp_path, height, sizes):
    write(tmp_path / "a", {"x": 3, "y": 3}, height, height)
    assert look(tmp_path / "a").sizes == sizes
    assert look(tmp_path / "a", size=64).sizes == (64,)


def test_axes_are_those_of_the_upright_image(tmp_path):
    write(tmp_path / "a", {"x": 3, "y": 2}, 20, 20)
    exif = Image.Exif()
    exif[0x0112] = 6
    image(10, 40, "RGB").save(tmp_path / "a" / "y" / "turned.jpg", exif=exif)
    assert look(tmp_path / "a").facts == (
        "short axis: 10 to 20 pixels, 20 in the median",
        "long axis: 20 to 40 pixels, 20 in the median",
    )


def test_wide_images_are_a_warning(tmp_path):
    write(tmp_path / "a", {"x": 20, "y": 20}, 10, 40)
    (warning,) = look(tmp_path / "a").warnings
    assert "leaves out 75 % of an image" in warning


@pytest.mark.parametrize(
    ("mode", "most", "color", "white"),
    [
        ("L", 255, "grayscale", None),
        ("RGBA", 255, "rgb", None),
        ("I;16", 65535, "grayscale", None),
        ("I;16", 4000, "grayscale", 4095.0),
        ("I;16", 200, "grayscale", 255.0),
    ],
)
def test_colors_and_levels_of_the_files(tmp_path, mode, most, color, white):
    write(tmp_path / "a", {"x": 3, "y": 3}, 10, 10, mode, most=most)
    source = look(tmp_path / "a").source
    assert source["color"] == color
    assert source.get("white") == white


def test_gray_images_in_color_files_are_gray(tmp_path):
    for name in ("x", "y"):
        (tmp_path / "a" / name).mkdir(parents=True)
        for number in range(3):
            gray = image(16, 16, "L").convert("RGB")
            gray.save(tmp_path / "a" / name / f"{number}.jpg")
    assert look(tmp_path / "a").source["color"] == "grayscale"
    assert look(tmp_path / "a", color="rgb").source["color"] == "rgb"


def test_splits_of_their_own_are_found(tmp_path):
    write(tmp_path / "a" / "train", {"x": 5, "y": 5})
    write(tmp_path / "a" / "test", {"x": 2, "y": 3})
    found = look(tmp_path / "a")
    assert (found.examples, found.validation, found.test) == (10, 0, 5)


def test_thin_and_dominant_classes_are_warnings():
    thin, dominant = class_warnings({"a": 1000, "b": 20, "c": 3})
    assert "c (3)" in thin
    assert "b (20)" not in thin
    assert dominant.startswith("98 %")
    assert class_warnings({"a": 50, "b": 50}) == []


@pytest.mark.parametrize("count", [50, 5000])
def test_a_sample_has_every_class_twice(count):
    labels = RANDOM.integers(0, 3, count)
    labels[:2] = 3
    chosen = sample_of(labels, 200)
    assert len(chosen) == min(count, 200)
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(labels[chosen]).min() == 2


def write_arrays(folder, images, labels, **more):
    np.savez(folder / "a.npz", images=images, labels=labels, **more)
    return folder / "a.npz"


LABELS = np.arange(60) % 3


@pytest.mark.parametrize(
    ("images", "white", "shape"),
    [
        (RANDOM.integers(0, 256, (60, 9, 7), np.uint8), None, (1, 9, 7)),
        (RANDOM.integers(0, 256, (60, 8, 8, 3), np.int64), 255.0, (3, 8, 8)),
        (RANDOM.integers(0, 4001, (60, 8, 8), np.uint16), 4095.0, (1, 8, 8)),
        (RANDOM.integers(0, 65536, (60, 8, 8), np.uint16), None, (1, 8, 8)),
        (RANDOM.random((60, 3, 8, 8), np.float32), None, (3, 8, 8)),
        (RANDOM.random((60, 8, 8)) * 255, 255.0, (1, 8, 8)),
        (RANDOM.integers(0, 2, (60, 8, 8)), 1.0, (1, 8, 8)),
        (RANDOM.integers(0, 2, (60, 8, 8), np.uint8), 1.0, (1, 8, 8)),
        (RANDOM.integers(0, 101, (60, 8, 8), np.uint8), None, (1, 8, 8)),
    ],
)
def test_levels_and_shape_of_arrays(tmp_path, images, white, shape):
    found = look(write_arrays(tmp_path, images, LABELS))
    assert found.source.get("white") == white
    assert (found.dataset, found.shape, found.sizes) == ("array_files", shape, ())
    assert dict(found.counts) == {"0": 20, "1": 20, "2": 20}


def test_two_files_and_a_folder_of_them(tmp_path):
    images = RANDOM.integers(0, 256, (60, 8, 8), np.uint8)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "labels.npy", LABELS)
    np.save(tmp_path / "other.npy", LABELS)
    assert look(tmp_path).examples == 60
    assert look(tmp_path / "images.npy").examples == 60
    assert look(tmp_path / "images.npy", labels=str(tmp_path / "other.npy")).examples == 60
    with pytest.raises(Refusal, match="none.npy: missing; expected the labels of images.npy"):
        look(tmp_path / "images.npy", labels=str(tmp_path / "none.npy"))


def empty(root):
    root.mkdir()


def one_class(root):
    write(root, {"x": 9})


def thin(root):
    write(root, {"x": 9, "y": 1})


def no_images(root):
    for name in ("x", "y"):
        (root / name).mkdir(parents=True)
        for number in range(4):
            (root / name / f"{number}.txt").write_text("text")


@pytest.mark.parametrize(
    ("write_bad", "line"),
    [
        (lambda root: None, "missing; expected a folder of images, arrays or a table"),
        (empty, "0 folders of classes; expected >= 2"),
        (one_class, "1 folder of classes; expected >= 2"),
        (thin, "too few images of y"),
        (no_images, "none of 8 files is an image"),
        (lambda root: root.write_text("a"), "unknown kind of file"),
    ],
)
def test_bad_input_is_one_line(tmp_path, write_bad, line):
    write_bad(tmp_path / "bad")
    with pytest.raises(Refusal, match=line) as refused:
        look(tmp_path / "bad")
    assert len(refused.value.lines) == 1


@pytest.mark.parametrize(
    ("images", "labels", "line"),
    [
        (np.zeros((6, 8, 8), np.uint8), np.zeros(6, int), "one class"),
        (np.zeros((6, 8), np.uint8), LABELS[:6], "expected"),
        (np.full((6, 8, 8), -1.0), LABELS[:6], "range from -1"),
        (np.zeros((4, 8, 8), np.uint8), np.array([0, 0, 0, 1]), "too few examples of class 1"),
    ],
)
def test_bad_arrays_are_one_line(tmp_path, images, labels, line):
    with pytest.raises(Refusal, match=line) as refused:
        look(write_arrays(tmp_path, images, labels))
    assert len(refused.value.lines) == 1


IMAGES_ALONE = {"size": 8, "color": "rgb", "unreadable": "skip"}
ROWS_ALONE = {"label": "y", "split": "s", "group": "g", "ignore": ("a",), "categories": ("b",)}


@pytest.mark.parametrize(
    ("name", "given", "lines"),
    [
        ("t.csv", IMAGES_ALONE | {"layout": "NHW", "labels": "y.npy"}, 5),
        ("t.csv", {"white": 3, "flips_keep_labels": True}, 2),
        ("a.npz", IMAGES_ALONE | ROWS_ALONE | {"labels": "y.npy"}, 9),
        ("a.npy", IMAGES_ALONE | {"separator": ";"}, 4),
        ("photos", ROWS_ALONE | {"layout": "NHW", "labels": "y.npy"}, 7),
    ],
)
def test_options_that_do_not_apply_are_refused(tmp_path, name, given, lines):
    """None is dropped without a word."""
    (tmp_path / name).mkdir() if "." not in name else (tmp_path / name).touch()
    with pytest.raises(Refusal) as refused:
        look(tmp_path / name, **given)
    assert len(refused.value.lines) == lines
    assert all("does not apply to a" in line for line in refused.value.lines)


@pytest.mark.parametrize("separator", ["", "\\t", "ab"])
def test_a_separator_is_one_character(tmp_path, separator):
    write_table(tmp_path / "t.csv")
    with pytest.raises(Refusal, match=r"^--separator: invalid value .*; expected one character"):
        look(tmp_path / "t.csv", label="klasse", separator=separator)


def test_a_path_is_relative_inside_the_project_alone(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert path_in_settings(tmp_path / "project" / "a b" / "ö") == "a b/ö"
    assert path_in_settings(tmp_path / "project2") == str(tmp_path / "project2")
    with pytest.raises(Refusal, match="not valid Unicode"):
        path_in_settings(tmp_path / "a\udcff")


def write_table(path, **columns):
    """Write a table of 120 rows: a feature, columns of the test, and labels."""
    count = 120
    values = RANDOM.normal(size=count).round(3)
    labels = np.where(values + RANDOM.normal(0, 0.1, count) > 0, "größer", "小さい")
    frame = pd.DataFrame({"wert": values, **columns, "klasse": labels})
    frame.to_csv(path, index=False, sep=";" if path.suffix == ".tsv" else ",")
    return frame


PATIENTS = [f"P{number // 4:02d}" for number in range(120)]
PARTS = ["train"] * 80 + ["val"] * 20 + ["test"] * 20
ROLES = {  # column, its values, what is proposed
    "a number of every row": ("case_id", range(500, 620), {"ignore": ["case_id"]}),
    "a counter": ("x", range(120), {"ignore": ["x"]}),
    "free text": ("note", [f"seen {n}" for n in range(120)], {"ignore": ["note"]}),
    "what several rows share": ("patient_id", PATIENTS, {"group": "patient_id"}),
    "its own splits": ("Split", PARTS, {"split": "Split"}),
    "a category": ("split", ["banana"] * 60 + ["pea"] * 60, {}),
    "few of many rows": ("blood group", list("AB0" * 40), {}),
    "a number of its own": ("weight", RANDOM.normal(size=120), {}),
    "gaps": ("age", [None, *range(119)], {"missing": "impute"}),
}


@pytest.mark.parametrize("kind", ROLES)
def test_roles_of_columns(tmp_path, kind):
    name, values, expected = ROLES[kind]
    write_table(tmp_path / "t.csv", **{name: values})
    found = look(tmp_path / "t.csv", label="klasse")
    given = {"path": str(tmp_path / "t.csv"), "label": "klasse"}
    assert found.source == {**given, **expected}
    assert set(found.reasons) == set(expected)
    assert (found.dataset, found.is_image, found.noun) == ("table", False, "rows")
    own = (20, 20) if "split" in expected else (0, 0)
    assert (found.validation, found.test) == own
    assert found.examples == 120 - sum(own)
    assert set(found.counts) == {"größer", "小さい"}
    groups = (30, 4) if "group" in expected else (None, 0)
    assert (found.groups, found.largest_group) == groups


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("patient", [None, *PATIENTS[1:]], "names groups, and 1 rows have none: left out; fill"),
        ("price", [f"{number + 1},234.5" for number in range(120)], "(1,234.5) have separators"),
        ("price", [f"€{number}" for number in range(120)], "(€0) have separators"),
        ("rate", [f"{number / 7:.2f} %" for number in range(120)], "(0.00 %) have separators"),
        ("mass", [f"{number}.5 kg" for number in range(120)], "(0.5 kg) have separators"),
        ("note", [f"P{number}" for number in range(120)], None),
        ("day", [f"2024-01-{number:03}" for number in range(120)], None),
    ],
)
def test_columns_that_are_left_out_for_how_they_are_written(tmp_path, name, values, words):
    write_table(tmp_path / "t.csv", **{name: values})
    found = look(tmp_path / "t.csv", label="klasse")
    assert found.source["ignore"] == [name]
    assert "group" not in found.source
    assert [words in warning for warning in found.warnings] == ([True] if words else [])


def test_columns_that_may_be_made_from_the_label_are_warnings(tmp_path):
    frame = write_table(tmp_path / "t.csv", other=list("ab" * 60))
    assert look(tmp_path / "t.csv", label="klasse").warnings == ()
    code = (frame["klasse"] == "größer").astype(int)
    frame.assign(code=code, also=frame["klasse"]).to_csv(tmp_path / "t.csv", index=False)
    (warning,) = look(tmp_path / "t.csv", label="klasse").warnings
    assert warning.startswith("column code, also: each value occurs with one class alone")
    assert look(tmp_path / "t.csv", label="klasse", ignore=("code", "also")).warnings == ()


AGES = [20 + number % 60 for number in range(118)]


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("age", [-999, *AGES, -999], ["age: -999 in 2 of 120 rows, far from all other values"]),
        ("age", [None, *AGES, 9999], ["age: 9999 in 1 of 120 rows, far from all other values"]),
        ("age", [-99, *AGES, -150], []),
        ("age", [-999] * 120, []),
        ("code", ["00501", *map(str, AGES), "10115"], ["code: values such as 00501 are read as"]),
        ("code", ["0", *map(str, AGES), "0.5"], []),
        ("fold", [number % 5 for number in range(120)], ["fold: its numbers are a feature"]),
        ("fold", [number / 7 for number in range(120)], []),
        ("age", [number % 5 for number in range(120)], []),
    ],
)
def test_numbers_that_may_mean_another_thing_are_noted_and_kept(tmp_path, name, values, words):
    write_table(tmp_path / "t.csv", **{name: values})
    found = look(tmp_path / "t.csv", label="klasse")
    assert len(found.warnings) == len(words)
    starts = [f"column {text}" for text in words]
    assert [
        line[: len(start)] for line, start in zip(found.warnings, starts, strict=True)
    ] == starts
    assert found.shape == (2, 1, 1)
    assert look(tmp_path / "t.csv", label="klasse", ignore=(name,)).warnings == ()


def test_codes_with_leading_zeros_are_categories_if_rows_share_them(tmp_path):
    write_table(tmp_path / "t.csv", code=["007", "012", "100"] * 40)
    (warning,) = look(tmp_path / "t.csv", label="klasse").warnings
    assert warning.endswith("--category code")
    assert look(tmp_path / "t.csv", label="klasse", categories=("code",)).warnings == ()


def test_numbers_of_every_row_are_too_many_categories(tmp_path):
    write_table(tmp_path / "t.csv", code=[3 * number**2 for number in range(120)])
    with pytest.raises(Refusal, match="column code: too many categories, 120 different values in"):
        look(tmp_path / "t.csv", label="klasse", categories=("code",))


def test_what_a_user_says_of_columns_counts(tmp_path):
    write_table(tmp_path / "t.csv", patient_id=PATIENTS, part=PARTS, code=[1, 2, 3] * 40)
    wanted = {"label": "klasse", "ignore": ("patient_id",), "categories": ("code",)}
    found = look(tmp_path / "t.csv", **wanted, group="part")
    assert found.source["ignore"] == ["patient_id"]
    assert found.source["categories"] == ["code"]
    assert found.source["group"] == "part"
    assert "split" not in found.source
    assert found.shape == (4, 1, 1)


def test_separators_and_decimal_commas_are_recognized(tmp_path):
    frame = write_table(tmp_path / "t.csv")
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    found = look(tmp_path / "t.csv", label="klasse")
    assert (found.source["separator"], found.source["decimal"]) == (";", ",")
    assert found.sample.images[:, 0, 0, 0] == pytest.approx(frame["wert"])


@pytest.mark.parametrize(("label", "words"), [(None, "--label: missing"), ("klase", "'klasse'")])
def test_a_table_needs_the_column_of_its_labels(tmp_path, label, words):
    write_table(tmp_path / "t.csv")
    with pytest.raises(Refusal, match=words):
        look(tmp_path / "t.csv", label=label)
