"""What is found in folders of images, in arrays and in tables that no protocol knows.

Folders: classes, sizes, axes, colors, levels, splits. Arrays: levels, shape, pairs of files.
Tables: what columns are besides features, how numbers are written. Then samples, warnings, options
that do not apply, and data that cannot be used, each refused in one line.
"""

import numpy as np
import pandas as pd
import pytest
from PIL import ExifTags, Image

from pipeline.data.inspection import inspect
from pipeline.data.inspection.inspection import DataOptions, class_warnings, sample_of
from pipeline.data.paths import path_in_settings
from pipeline.runtime.errors import Refusal

RANDOM = np.random.default_rng(0)
CHANNELS = {"RGB": 3, "RGBA": 4, "LA": 2}  # of Pillow's modes; one of the others
TURNED_BY_90_DEGREES = 6  # in EXIF


def inspected(path, **options):
    """Return what is found at a path, given what the user says of it."""
    return inspect(path, DataOptions(**options))


def random_image(height, width, mode="RGB", highest=255):
    """Return an image of uniform noise up to the highest level."""
    if mode == "I;16":
        return Image.fromarray(RANDOM.integers(0, highest + 1, (height, width), np.uint16))
    shape = (height, width, CHANNELS.get(mode, 1))
    levels = RANDOM.integers(0, highest + 1, shape, np.uint8)
    return Image.fromarray(levels[..., 0] if mode == "L" else levels)


def write_folder(root, counts, height=20, width=30, mode="RGB", highest=255):
    """Write so many images of noise into a folder for each class; return the root."""
    for name, count in counts.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            random_image(height, width, mode, highest).save(folder / f"{number}.png")
    return root


def refused_in_one_line(words, path, **options):
    with pytest.raises(Refusal, match=words) as refused:
        inspected(path, **options)
    assert len(refused.value.lines) == 1


# Folders of images


def test_classes_sizes_and_colors_of_a_folder(tmp_path):
    root = write_folder(tmp_path / "my фото", {"Öl": 30, "猫": 21}, height=20, width=30)
    inspection = inspected(root)
    assert (inspection.dataset, inspection.is_image) == ("image_folder", True)
    assert dict(inspection.counts) == {"Öl": 30, "猫": 21}
    assert inspection.examples == 30 + 21
    assert inspection.source == {"path": str(root), "color": "rgb"}
    assert inspection.sizes == (20, 20 // 2)
    assert inspection.shape == (3, 20, 20)
    assert inspection.facts == ("short axis: 20 pixels", "long axis: 30 pixels")
    assert inspection.warnings == ()
    assert inspection.sample.images.shape == (30 + 21, 3, 20, 20)


SIZES = [
    pytest.param(100, (32, 16, 8), id="larger-than-32-pixels"),
    pytest.param(32, (32, 16, 8), id="32-pixels"),
    pytest.param(8, (8,), id="8-pixels"),
    pytest.param(5, (8,), id="smaller-than-networks-need"),
]


@pytest.mark.parametrize(("side", "sizes"), SIZES)
def test_large_images_are_resized_to_32_pixels_or_fewer_and_small_ones_kept(tmp_path, side, sizes):
    root = write_folder(tmp_path / "a", {"x": 3, "y": 3}, side, side)
    assert inspected(root).sizes == sizes


@pytest.mark.parametrize(("side", "sizes"), SIZES)
def test_a_size_that_the_user_gives_is_the_only_one(tmp_path, side, sizes):
    root = write_folder(tmp_path / "a", {"x": 3, "y": 3}, side, side)
    assert inspected(root, size=64).sizes == (64,)


def test_axes_are_the_same_whichever_way_an_image_is_turned(tmp_path):
    """Five images of 20 x 20 pixels, and one stored as 10 x 40 that is shown as 40 x 10."""
    root = write_folder(tmp_path / "a", {"x": 3, "y": 2}, 20, 20)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = TURNED_BY_90_DEGREES
    random_image(10, 40).save(root / "y" / "turned.jpg", exif=exif)
    assert inspected(root).facts == (
        "short axis: 10 to 20 pixels, 20 in the median",
        "long axis: 20 to 40 pixels, 20 in the median",
    )


def test_wide_images_are_a_warning(tmp_path):
    root = write_folder(tmp_path / "a", {"x": 20, "y": 20}, height=10, width=40)
    (warning,) = inspected(root).warnings
    share_beside_the_center = 100 * (40 - 10) // 40
    assert f"leaves out {share_beside_the_center} % of an image" in warning


@pytest.mark.parametrize(
    ("mode", "highest", "color", "white"),
    [
        pytest.param("L", 255, "grayscale", None, id="gray"),
        pytest.param("RGBA", 255, "rgb", None, id="colors-with-transparency"),
        pytest.param("I;16", 2**16 - 1, "grayscale", None, id="all-of-16-bits"),
        pytest.param("I;16", 4000, "grayscale", 2**12 - 1, id="12-of-16-bits"),
        pytest.param("I;16", 200, "grayscale", 2**8 - 1, id="8-of-16-bits"),
    ],
)
def test_colors_and_white_are_those_of_the_files(tmp_path, mode, highest, color, white):
    root = write_folder(tmp_path / "a", {"x": 3, "y": 3}, 10, 10, mode, highest)
    source = inspected(root).source
    assert source["color"] == color
    assert source.get("white") == white


@pytest.fixture
def gray_photos(tmp_path):
    """Return a folder of gray images in JPEG files with three colors."""
    for name in ("x", "y"):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(3):
            random_image(16, 16, "L").convert("RGB").save(folder / f"{number}.jpg")
    return tmp_path / "photos"


def test_gray_images_in_color_files_are_gray(gray_photos):
    assert inspected(gray_photos).source["color"] == "grayscale"


def test_the_user_decides_whether_images_have_colors(gray_photos):
    assert inspected(gray_photos, color="rgb").source["color"] == "rgb"


def test_splits_of_a_folder_are_kept_apart(tmp_path):
    write_folder(tmp_path / "a" / "train", {"x": 5, "y": 5})
    write_folder(tmp_path / "a" / "test", {"x": 2, "y": 3})
    inspection = inspected(tmp_path / "a")
    assert (inspection.examples, inspection.validation, inspection.test) == (10, 0, 5)


def no_folders(root):
    root.mkdir()


def folder_of_one_class(root):
    write_folder(root, {"x": 9})


def class_of_one_image(root):
    write_folder(root, {"x": 9, "y": 1})


def folders_of_texts(root):
    for name in ("x", "y"):
        (root / name).mkdir(parents=True)
        for number in range(4):
            (root / name / f"{number}.txt").write_text("text")


def unknown_file(root):
    root.write_text("a")


@pytest.mark.parametrize(
    ("write_bad", "words"),
    [
        (no_folders, "0 folders of classes; expected >= 2"),
        (folder_of_one_class, "1 folder of classes; expected >= 2"),
        (class_of_one_image, "too few images of y"),
        (folders_of_texts, "none of 8 files is an image"),
        (unknown_file, "unknown kind of file"),
    ],
)
def test_a_bad_folder_or_file_raises_one_line(tmp_path, write_bad, words):
    write_bad(tmp_path / "bad")
    refused_in_one_line(words, tmp_path / "bad")


def test_a_missing_path_raises_one_line(tmp_path):
    refused_in_one_line(
        "missing; expected a folder of images, arrays or a table", tmp_path / "none"
    )


# Arrays

LABELS = np.arange(60) % 3


def write_arrays(folder, images, labels):
    """Write an .npz file; return its path."""
    np.savez(folder / "a.npz", images=images, labels=labels)
    return folder / "a.npz"


def levels_up_to(highest, dtype, shape=(8, 8)):
    """Return 60 arrays of uniform noise: integers from 0 to the highest level."""
    return RANDOM.integers(0, highest + 1, (60, *shape), dtype)


@pytest.mark.parametrize(
    ("images", "white", "shape"),
    [
        pytest.param(levels_up_to(255, np.uint8, (9, 7)), None, (1, 9, 7), id="bytes"),
        pytest.param(levels_up_to(100, np.uint8), None, (1, 8, 8), id="dark-bytes"),
        pytest.param(levels_up_to(1, np.uint8), 1, (1, 8, 8), id="bytes-of-0-and-1"),
        pytest.param(levels_up_to(1, np.int64), 1, (1, 8, 8), id="integers-of-0-and-1"),
        pytest.param(
            levels_up_to(255, np.int64, (8, 8, 3)), 255, (3, 8, 8), id="integers-channels-last"
        ),
        pytest.param(levels_up_to(4000, np.uint16), 2**12 - 1, (1, 8, 8), id="12-of-16-bits"),
        pytest.param(levels_up_to(2**16 - 1, np.uint16), None, (1, 8, 8), id="all-of-16-bits"),
        pytest.param(
            RANDOM.random((60, 3, 8, 8), np.float32), None, (3, 8, 8), id="fractions-channels-first"
        ),
        pytest.param(255 * RANDOM.random((60, 8, 8)), 255, (1, 8, 8), id="floats-up-to-255"),
    ],
)
def test_white_and_shape_are_those_of_the_arrays(tmp_path, images, white, shape):
    inspection = inspected(write_arrays(tmp_path, images, LABELS))
    assert inspection.source.get("white") == white
    assert (inspection.dataset, inspection.shape, inspection.sizes) == ("array_files", shape, ())
    assert dict(inspection.counts) == {"0": 20, "1": 20, "2": 20}


@pytest.fixture
def pair(tmp_path):
    """Return a folder of a file of images and one of labels; a third one has other labels."""
    np.save(tmp_path / "images.npy", levels_up_to(255, np.uint8))
    np.save(tmp_path / "labels.npy", LABELS)
    np.save(tmp_path / "other.npy", LABELS % 2)
    return tmp_path


@pytest.mark.parametrize("name", ["", "images.npy"], ids=["folder", "file-of-images"])
def test_labels_lie_beside_the_images(pair, name):
    assert dict(inspected(pair / name).counts) == {"0": 20, "1": 20, "2": 20}


def test_labels_can_be_in_another_file(pair):
    inspection = inspected(pair / "images.npy", labels=str(pair / "other.npy"))
    assert dict(inspection.counts) == {"0": 40, "1": 20}


def test_missing_labels_raise_one_line(pair):
    words = "none.npy: missing; expected the labels of images.npy"
    refused_in_one_line(words, pair / "images.npy", labels=str(pair / "none.npy"))


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        pytest.param(np.zeros((6, 8, 8), np.uint8), [0] * 6, "one class", id="one-class"),
        pytest.param(np.zeros((6, 8), np.uint8), [0, 1, 2] * 2, "expected", id="one-axis"),
        pytest.param(np.full((6, 8, 8), -1.0), [0, 1, 2] * 2, "range from -1", id="negative"),
        pytest.param(
            np.zeros((4, 8, 8), np.uint8),
            [0, 0, 0, 1],
            "too few examples of class 1",
            id="class-of-one-example",
        ),
    ],
)
def test_bad_arrays_raise_one_line(tmp_path, images, labels, words):
    refused_in_one_line(words, write_arrays(tmp_path, images, np.array(labels)))


# Tables

ROWS = 120
PATIENTS = [f"P{number // 4:02d}" for number in range(ROWS)]  # 30, of four rows each
PARTS = ["train"] * 80 + ["val"] * 20 + ["test"] * 20
CLASSES = ("größer", "小さい")


def write_table(path, **columns):
    """Write a table of a feature (wert), more columns, and labels (klasse); return the frame."""
    values = RANDOM.normal(size=ROWS).round(3)
    labels = np.where(values + RANDOM.normal(0, 0.1, ROWS) > 0, *CLASSES)
    frame = pd.DataFrame({"wert": values, **columns, "klasse": labels})
    frame.to_csv(path, index=False)
    return frame


def rows_of(text):
    """Return the values of a column by a format of the number of a row."""
    return [text.format(number) for number in range(ROWS)]


def source_with(tmp_path, name, values):
    """Return what is found in a table with one more column, and what was proposed for it."""
    write_table(tmp_path / "t.csv", **{name: values})
    inspection = inspected(tmp_path / "t.csv", label="klasse")
    given = {"path": str(tmp_path / "t.csv"), "label": "klasse"}
    assert given.items() <= inspection.source.items()
    return inspection, {key: value for key, value in inspection.source.items() if key not in given}


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        pytest.param("case_id", range(500, 620), {"ignore": ["case_id"]}, id="number-of-a-row"),
        pytest.param("x", range(ROWS), {"ignore": ["x"]}, id="counter"),
        pytest.param("note", rows_of("seen {}"), {"ignore": ["note"]}, id="free-text"),
        pytest.param("split", ["banana"] * 60 + ["pea"] * 60, {}, id="category-called-split"),
        pytest.param("blood group", list("AB0" * 40), {}, id="category-called-group"),
        pytest.param("weight", RANDOM.normal(size=ROWS), {}, id="feature"),
        pytest.param("age", [None, *range(ROWS - 1)], {"missing": "impute"}, id="gap"),
        pytest.param("patient_id", PATIENTS, {"group": "patient_id"}, id="shared-by-rows"),
        pytest.param("Split", PARTS, {"split": "Split"}, id="names-of-splits"),
    ],
)
def test_what_a_column_is_besides_a_feature(tmp_path, name, values, expected):
    inspection, proposed = source_with(tmp_path, name, values)
    assert proposed == expected
    assert set(inspection.reasons) == set(expected)


def test_a_table_has_rows_and_classes(tmp_path):
    inspection, _ = source_with(tmp_path, "weight", RANDOM.normal(size=ROWS))
    assert (inspection.dataset, inspection.is_image, inspection.noun) == ("table", False, "rows")
    assert set(inspection.counts) == set(CLASSES)
    assert (inspection.examples, inspection.validation, inspection.test) == (ROWS, 0, 0)
    assert (inspection.groups, inspection.largest_group) == (None, 0)


def test_rows_of_the_splits_of_a_table_are_no_examples_to_draw_from(tmp_path):
    inspection, _ = source_with(tmp_path, "Split", PARTS)
    assert (inspection.examples, inspection.validation, inspection.test) == (80, 20, 20)


def test_groups_of_a_table_are_counted(tmp_path):
    inspection, _ = source_with(tmp_path, "patient_id", PATIENTS)
    assert (inspection.groups, inspection.largest_group) == (30, 4)


UNREADABLE = {  # a column, and words of its warning
    "separators": ("price", rows_of("{},234.5"), "(0,234.5) have separators of thousands"),
    "currency": ("price", rows_of("€{}"), "(€0) have separators of thousands or units"),
    "percentages": ("rate", rows_of("{}.14 %"), "(0.14 %) have separators of thousands or units"),
    "units": ("mass", rows_of("{}.5 kg"), "(0.5 kg) have separators of thousands or units"),
    "gap": ("patient", [None, *PATIENTS[1:]], "names groups, and 1 rows have none: left out; fill"),
}


@pytest.mark.parametrize(("name", "values", "words"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_column_that_is_left_out_for_its_form_is_a_warning(tmp_path, name, values, words):
    inspection, proposed = source_with(tmp_path, name, values)
    assert proposed == {"ignore": [name]}
    (warning,) = inspection.warnings
    assert words in warning


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param("note", rows_of("P{}"), id="names"),
        pytest.param("day", rows_of("2024-01-{:03}"), id="dates"),
    ],
)
def test_texts_without_quantities_are_left_out_without_a_warning(tmp_path, name, values):
    inspection, proposed = source_with(tmp_path, name, values)
    assert proposed == {"ignore": [name]}
    assert inspection.warnings == ()


@pytest.fixture
def telling_table(tmp_path):
    """Return a table with two columns that were made from the label, and two that were not.

    One value of `partly` occurs with one class alone, the other one with both.
    """
    frame = write_table(tmp_path / "t.csv", other=list("ab" * 60))
    is_first = frame["klasse"] == CLASSES[0]
    partly = np.where(is_first & (frame["other"] == "a"), "a", "b")
    code = is_first.astype(int)
    more = {"code": code, "also": frame["klasse"], "partly": partly}
    frame.assign(**more).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_columns_that_may_be_made_from_the_label_are_a_warning(telling_table):
    (warning,) = inspected(telling_table, label="klasse").warnings
    assert warning.startswith("column code, also: each value occurs with one class alone")


def test_columns_that_are_left_out_are_no_warning(telling_table):
    assert inspected(telling_table, label="klasse", ignore=("code", "also")).warnings == ()


AGES = [20 + number % 60 for number in range(ROWS - 2)]
FIFTHS = [number % 5 for number in range(ROWS)]
SEVENTHS = [number / 7 for number in range(ROWS)]

AMBIGUOUS = {  # a column of numbers, and how its warning begins
    "two-of-999": ("age", [-999, *AGES, -999], "age: -999 in 2 of 120 rows, far from all other"),
    "one-of-9999": ("age", [None, *AGES, 9999], "age: 9999 in 1 of 120 rows, far from all other"),
    "leading-zeros": ("code", ["00501", *AGES, "10115"], "code: values such as 00501 are read as"),
    "fold": ("fold", FIFTHS, "fold: its numbers are a feature"),
}
AMOUNTS = {
    "two-outliers": ("age", [-99, *AGES, -150]),
    "one-value": ("age", [-999] * ROWS),
    "fractions": ("code", ["0", *AGES, "0.5"]),
    "fold-of-fractions": ("fold", SEVENTHS),
    "few-values": ("age", FIFTHS),
}


@pytest.mark.parametrize(("name", "values", "start"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_numeric_columns_that_may_be_codes_have_a_note_and_are_kept(tmp_path, name, values, start):
    inspection, _ = source_with(tmp_path, name, values)
    (warning,) = inspection.warnings
    assert warning.startswith(f"column {start}")
    assert inspection.shape == (2, 1, 1)
    assert inspected(tmp_path / "t.csv", label="klasse", ignore=(name,)).warnings == ()


@pytest.mark.parametrize(("name", "values"), AMOUNTS.values(), ids=AMOUNTS)
def test_amounts_are_kept_without_a_warning(tmp_path, name, values):
    inspection, _ = source_with(tmp_path, name, values)
    assert inspection.warnings == ()
    assert inspection.shape == (2, 1, 1)


def test_codes_with_leading_zeros_are_categories_if_rows_share_them(tmp_path):
    write_table(tmp_path / "t.csv", code=["007", "012", "100"] * 40)
    (warning,) = inspected(tmp_path / "t.csv", label="klasse").warnings
    assert warning.endswith("--category code")
    assert inspected(tmp_path / "t.csv", label="klasse", categories=("code",)).warnings == ()


def test_numbers_of_every_row_are_too_many_categories(tmp_path):
    write_table(tmp_path / "t.csv", code=[3 * number**2 for number in range(120)])
    with pytest.raises(Refusal, match="column code: too many categories, 120 different values in"):
        inspected(tmp_path / "t.csv", label="klasse", categories=("code",))


def test_what_a_user_says_of_columns_counts(tmp_path):
    """Three categories of `code` are a feature each, beside `wert`; `part` names no splits."""
    write_table(tmp_path / "t.csv", patient_id=PATIENTS, part=PARTS, code=[1, 2, 3] * 40)
    options = {"ignore": ("patient_id",), "categories": ("code",), "group": "part"}
    inspection = inspected(tmp_path / "t.csv", label="klasse", **options)
    assert inspection.source["ignore"] == ["patient_id"]
    assert inspection.source["categories"] == ["code"]
    assert inspection.source["group"] == "part"
    assert "split" not in inspection.source
    assert inspection.shape == (1 + 3, 1, 1)


def test_separators_and_decimal_commas_are_recognized(tmp_path):
    frame = write_table(tmp_path / "t.csv")
    frame.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    inspection = inspected(tmp_path / "t.csv", label="klasse")
    assert (inspection.source["separator"], inspection.source["decimal"]) == (";", ",")
    assert inspection.sample.images[:, 0, 0, 0] == pytest.approx(frame["wert"])


@pytest.mark.parametrize(
    ("label", "words"),
    [
        pytest.param(None, "--label: missing", id="no-label"),
        pytest.param("klase", "'klasse'", id="misspelt-label"),
    ],
)
def test_a_table_needs_the_column_of_its_labels(tmp_path, label, words):
    write_table(tmp_path / "t.csv")
    refused_in_one_line(words, tmp_path / "t.csv", label=label)


@pytest.mark.parametrize("separator", ["", "\\t", "ab"], ids=["empty", "escaped", "two"])
def test_a_separator_is_one_character(tmp_path, separator):
    write_table(tmp_path / "t.csv")
    words = r"^--separator: invalid value .*; expected one character"
    refused_in_one_line(words, tmp_path / "t.csv", label="klasse", separator=separator)


# Samples, warnings of classes, options, paths


@pytest.mark.parametrize("count", [50, 5000], ids=["few-examples", "many-examples"])
def test_a_sample_has_two_examples_of_a_rare_class(count):
    size = 200
    labels = RANDOM.integers(0, 3, count)
    labels[:2] = 3
    chosen = sample_of(labels, size)
    assert len(chosen) == min(count, size)
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(labels[chosen])[3] == 2


def test_thin_classes_and_a_dominant_one_are_warnings():
    thin, dominant = class_warnings({"a": 1000, "b": 20, "c": 3})
    assert "of c (3):" in thin
    assert dominant.startswith(f"{100 * 1000 / 1023:.0f} %")
    assert "class a:" in dominant


def test_classes_of_a_good_size_are_no_warning():
    assert class_warnings({"a": 50, "b": 50}) == []


OF_IMAGES = {"size": 8, "color": "rgb", "unreadable": "skip"}
OF_ROWS = {"label": "y", "split": "s", "group": "g", "ignore": ("a",), "categories": ("b",)}
OF_ARRAYS = {"layout": "NHW", "labels": "y.npy"}
ON_THE_COMMAND_LINE = {"flips_keep_labels": "--flips", "categories": "--category"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("t.csv", OF_IMAGES | OF_ARRAYS, id="table"),
        pytest.param("t.csv", {"white": 3, "flips_keep_labels": True}, id="table-levels"),
        pytest.param("a.npz", OF_IMAGES | OF_ROWS | {"labels": "y.npy"}, id="arrays"),
        pytest.param("a.npy", OF_IMAGES | {"separator": ";"}, id="array"),
        pytest.param("photos", OF_ROWS | OF_ARRAYS, id="folder"),
    ],
)
def test_every_option_that_does_not_apply_is_named(tmp_path, name, options):
    path = tmp_path / name
    if path.suffix:
        path.touch()
    else:
        path.mkdir()
    with pytest.raises(Refusal) as refused:
        inspected(path, **options)
    named = [line.partition(": not applicable to a")[0] for line in refused.value.lines]
    assert sorted(named) == sorted(ON_THE_COMMAND_LINE.get(key, f"--{key}") for key in options)


def test_a_path_inside_the_project_is_relative(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    assert path_in_settings(tmp_path / "project" / "a b" / "ö") == "a b/ö"
    assert path_in_settings(tmp_path / "project2") == str(tmp_path / "project2")


def test_a_path_is_valid_unicode(tmp_path):
    with pytest.raises(Refusal, match="not valid Unicode"):
        path_in_settings(tmp_path / "a\udcff")
