"""Tables in CSV and Parquet files: features, classes, splits and groups, a line for a fault."""

import logging

import numpy as np
import pandas as pd
import pytest

from pipeline.data import sources as data
from pipeline.data.checks import collect_notes
from pipeline.data.paths import data_path
from pipeline.data.sources import _table_file
from pipeline.data.sources.table import Source, read_table
from pipeline.runtime.errors import Refusal

RANDOM = np.random.default_rng(0)
ROWS = 40
FRAME = pd.DataFrame(
    {
        "größe": RANDOM.normal(170, 10, ROWS).round(2),
        "都市": RANDOM.choice(["Köln", "東京", "São Paulo 🏙"], ROWS),
        "zip": RANDOM.choice([10115, 80331], ROWS),
        "smoker": RANDOM.choice([True, False], ROWS),
        "клас": np.where(np.arange(ROWS) % 3, "häufig", "rare | $x_"),
    }
)


@pytest.fixture
def saved(tmp_path):
    """Return a function that writes a CSV file and returns its settings."""

    def wrote(content=FRAME, label="клас", **settings):
        path = tmp_path / "t.csv"
        if isinstance(content, pd.DataFrame):
            content = content.to_csv(index=False)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return {"path": str(path), "label": label, **settings}

    return wrote


def refusal(source) -> str:
    with pytest.raises(Refusal) as refused:
        data.describe("table", source)
    assert len(refused.value.lines) == 1
    return str(refused.value)


def test_features_are_numbers_and_one_for_each_category(saved):
    splits = data.read("table", saved(categories=["zip"]))
    rows = splits.pool.images[:, :, 0, 0]
    names = list(splits.feature_names)
    assert splits.class_names == ("häufig", "rare | $x_")
    assert splits.pool.labels.tolist() == (np.arange(ROWS) % 3 == 0).astype(int).tolist()
    assert rows[:, names.index("größe")] == pytest.approx(FRAME["größe"])
    assert (rows[:, names.index("smoker")] == FRAME["smoker"]).all()
    for column in ("都市", "zip"):
        values = sorted({str(value) for value in FRAME[column]})
        for value in values:
            one = rows[:, names.index(f"{column}={value}")]
            assert (one == (FRAME[column].astype(str) == value)).all()
    assert len(names) == 2 + FRAME["都市"].nunique() + 2
    assert data.describe("table", saved(categories=["zip"])).shape == (len(names), 1, 1)


def test_missing_values_raise_or_are_kept_for_the_training_rows_to_fill(saved):
    frame = FRAME.copy()
    frame.loc[3:5, "größe"] = np.nan
    frame.loc[7, "都市"] = None
    assert "4 missing values, in größe (3), 都市 (1)" in refusal(saved(frame))
    with collect_notes() as notes:
        splits = data.read("table", saved(frame, missing="impute"))
    rows = splits.pool.images[:, :, 0, 0]
    of_city = [name.startswith("都市=") for name in splits.feature_names]
    assert np.isnan(rows[3:6, 0]).all()
    assert np.isnan(rows[7, of_city]).all()
    assert np.isnan(rows).sum() == 3 + sum(of_city)
    assert "größe (3), 都市 (1)" in notes[0]
    assert str(data_path(saved()["path"])) not in notes[0]


@pytest.mark.parametrize("word", ["", "NA", "N/A", "nan", "NULL", "?"])
def test_words_for_a_missing_value(saved, word):
    source = saved(f"a,y\n1,x\n{word},z\n", "y", missing="impute")
    assert np.isnan(data.read("table", source).pool.images[1, 0, 0, 0])


def test_a_class_may_be_called_none_and_numbers_are_in_order(saved):
    assert data.read("table", saved("a,y\n1,None\n2,z\n", "y")).class_names == ("None", "z")
    numbers = data.read("table", saved("a,y\n1,10\n2,9\n3,9\n", "y"))
    assert numbers.class_names == ("9", "10")
    assert numbers.pool.labels.tolist() == [1, 0, 0]


def test_spaces_and_unicode_forms_do_not_make_classes_or_categories(saved):
    text = "a,b,y\n1,é ,x\n2,e\u0301,x \n3,é, z\n"
    splits = data.read("table", saved(text, "y"))
    assert splits.class_names == ("x", "z")
    assert splits.feature_names == ("a", "b=é")


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("a;y\n1,5;x\n2;z\n", {"separator": ";", "decimal": ","}),
        ("\ufeffa,y\n1.5,x\n2,z\n", {}),
        (",a,y\n0,1.5,x\n1,2,z\n", {}),
        ('"a","y"\r\n1.5,"x"\r\n2,"z"\r\n', {}),
    ],
)
def test_ways_to_write_a_table(saved, content, settings):
    splits = data.read("table", saved(content, "y", **settings))
    assert splits.feature_names == ("a",)
    assert splits.pool.images[:, 0, 0, 0].tolist() == [1.5, 2]
    assert splits.pool.labels.tolist() == [0, 1]


TEXTS = "".join(f"text {number},{'xz'[number % 2]}\n" for number in range(50))
DASH = "".join(f"{number or '-'},{'xz'[number % 2]}\n" for number in range(50))
QUANTITY = "".join(f"1,{number}.5\n" for number in range(50))
SHARED = "a,s,g,y\n1,train,p,x\n2,test,p,z\n3,train,q,x\n"
WIDE = ",".join(f"gene {number}" for number in range(300)) + ",y\n" + 2 * f"{'1,' * 300}x\n"
FAULTS = {
    "no label": (FRAME, {"label": "klas"}, "source.label: unknown column klas"),
    "nearest name": (FRAME, {"label": "smokr"}, "did you mean 'smoker'?"),
    "two roles": (FRAME, {"label": "клас", "group": "клас"}, "group: column клас is source.label"),
    "empty": ("", {}, "empty"),
    "only names": ("a,y\n", {}, "no rows"),
    "no names": ("a,,y\n1,2,x\n", {}, "column 2 has no name"),
    "same names": ("a,a,y\n1,2,x\n", {}, "two columns have the name a"),
    "one class": ("a,y\n1,x\n2,x\n", {}, "one class (x)"),
    "quantity": ("a,y\n" + QUANTITY, {}, "50 different labels in 50 rows"),
    "missing label": ("a,y\n1,x\n2,\n", {}, "1 of 2 rows have no value, the first is row 2"),
    "no feature": ("y\nx\nz\n", {}, "no column besides the label"),
    "empty column": ("a,b,y\n1,,x\n2,,z\n", {"missing": "impute"}, "source.ignore: [b]"),
    "free text": ("a,y\n" + TEXTS, {}, "free text, 50 different values in 50 rows"),
    "ignore": ("a,y\n" + TEXTS, {}, "source.ignore: [a]"),
    "no number": ("a,y\n" + DASH, {}, "1 of 50 values are no numbers ('-')"),
    "infinite": ("a,y\n1,x\ninf,z\n", {}, "1 infinite values"),
    "too large": ("a,y\n1,x\n1e300,z\n", {}, "1 values beyond 3e38"),
    "long row": ("a,y\n1,x\n2,z,5\n", {}, "Expected 2 fields in line 3, saw 3"),
    "long rows": ("a,y\n1,2,x\n2,3,z\n", {}, "more values than the first line has names (2)"),
    "open quote of a name": ('"a,y\n' + "1,x\n" * 400, {}, "a name of 1,603 characters"),
    "a row for names": (
        "1.5,0\n1,1\n2,0\n",
        {"label": "0"},
        "the first line looks like a row, with 0",
    ),
    "a row of texts": ("a,y\na,z\nb,y\n", {}, "the first line looks like a row, with y for"),
    "other separator of many": (WIDE.replace(",", ";"), {}, "expected source.separator: ';'"),
    "no line": ("\0" * 200_000, {}, "a name of 200,000 characters or more"),
    "open quote": ('a,y\n1,x\n"2,z\n', {}, "EOF inside string"),
    "separator": ("a;y\n1;x\n2;z\n", {}, "expected source.separator: ';'"),
    "latin 1": ("a,y\n1,größe\n2,z\n".encode("latin-1"), {}, "not UTF-8 (byte 9"),
    "group in two": (SHARED, {"split": "s", "group": "g"}, "values of column g are in two splits"),
    "unknown split": (
        "a,s,y\n1,tain,x\n2,test,z\n",
        {"split": "s"},
        'column s: invalid value "tain"',
    ),
    "no training": ("a,s,y\n1,test,x\n2,test,z\n", {"split": "s"}, "no row is for training"),
    "no group": ("a,g,y\n1,p,x\n2,,z\n", {"group": "g"}, "expected a group in every row"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line(saved, fault):
    content, settings, words = FAULTS[fault]
    assert words in refusal(saved(content, **{"label": "y", **settings}))


def test_a_name_may_have_a_line_break(saved):
    splits = data.read("table", saved('"größe\n(cm)",y\n1.5,x\n2,z\n', "y"))
    assert splits.feature_names == ("größe (cm)",)
    assert splits.pool.images[:, 0, 0, 0].tolist() == [1.5, 2]


def test_a_first_line_may_have_many_names(saved):
    assert data.describe("table", saved(WIDE + "2," * 300 + "z\n", "y")).shape == (300, 1, 1)


@pytest.mark.parametrize(
    "table", ["a,y\n1,y\n2,n\n", "a,n\n1,y\n2,n\n", "c,y\na,y\nb,n\n"], ids=["y", "n", "texts"]
)
def test_a_label_may_be_called_like_a_class(saved, table):
    """The classes are y and n, and the first line ends with the label."""
    label = table.partition("\n")[0][-1]
    assert data.read("table", saved(table, label)).class_names == ("n", "y")


def test_a_first_line_of_values_alone_looks_like_a_row(saved):
    assert "looks like a row" in refusal(saved("1.5,y\n1,y\n2,n\n", "y"))


def test_columns_that_are_numbered_may_be_called_like_a_class(saved):
    splits = data.read("table", saved("0,1,2\n1,1.5,3\n0,2.5,4\n", "0"))
    assert (splits.class_names, splits.feature_names) == (("0", "1"), ("1", "2"))


@pytest.mark.parametrize(
    ("classes", "same"),
    [
        (["low", "LOW", "mid"], "LOW, low"),
        (["1", "2", "1.0"], "1, 1.0"),
        (["1", "one", "10"], None),
        (["nan", "x", "NaN"], "NaN, nan"),
    ],
)
def test_classes_that_may_be_one_are_noted(saved, classes, same):
    text = "a,y\n" + "".join(f"{number},{name}\n" for number, name in enumerate(classes))
    with collect_notes() as notes:
        splits = data.read("table", saved(text, "y"))
    assert len(splits.class_names) == 3
    assert [f"classes {same} differ" in note for note in notes] == ([True] if same else [])


def test_files_that_are_no_tables(saved, tmp_path, monkeypatch):
    source = saved()
    assert "missing" in refusal({**source, "path": str(tmp_path / "none.csv")})
    assert "a folder" in refusal({**source, "path": str(tmp_path)})
    (tmp_path / "t.parquet").write_bytes(b"no")
    assert "arquet" in refusal({**source, "path": str(tmp_path / "t.parquet")})
    monkeypatch.setattr(_table_file, "MOST_BYTES", 1 << 10)
    assert " MB; expected <= 0.0009766 MB" in refusal({**source, "missing": "impute"})


def test_given_splits_and_groups(saved):
    names = [*["train"] * 20, *["Val"] * 10, *["test"] * 10]
    frame = FRAME.assign(part=names, person=np.arange(ROWS) // 5)
    splits = data.read("table", saved(frame, split="part", group="person"))
    parts = (splits.pool, splits.validation, splits.test)
    assert [len(part.labels) for part in parts] == [20, 10, 10]
    assert not {"part", "person"} & set(splits.feature_names)
    for part, start in zip(parts, (0, 20, 30), strict=True):
        expected = FRAME["größe"][start : start + len(part.labels)]
        assert part.images[:, 0, 0, 0] == pytest.approx(expected)
        assert (part.groups == np.arange(start, start + len(part.labels)) // 5).all()


def test_columns_that_tell_nothing_are_noted(saved, caplog):
    times = 1_700_000_000_000 + np.arange(ROWS)  # one number in single precision
    frame = FRAME.assign(same=7, far=1e6 + np.arange(ROWS), times=times)
    with caplog.at_level(logging.WARNING):
        data.read("table", saved(frame))
    assert any("one value in all rows of same:" in line for line in caplog.messages)
    assert any("values of far, times differ by less" in line for line in caplog.messages)


def test_a_changed_file_is_read_again(saved):
    assert read_table(Source(**saved())).labels.sum() == 14
    assert read_table(Source(**saved(FRAME[:20]))).labels.sum() == 7


def test_parquet_holds_the_same_table(saved, tmp_path):
    pytest.importorskip("pyarrow")
    frame = FRAME.assign(city=FRAME["都市"].astype("category"))
    frame.loc[3, "größe"] = np.nan
    frame.to_parquet(tmp_path / "t.parquet")
    source = saved(frame, missing="impute")
    csv, parquet = (
        data.read("table", {**source, "path": str(tmp_path / name)})
        for name in ("t.csv", "t.parquet")
    )
    assert csv.feature_names == parquet.feature_names
    assert csv.class_names == parquet.class_names
    assert np.array_equal(csv.pool.images, parquet.pool.images, equal_nan=True)
