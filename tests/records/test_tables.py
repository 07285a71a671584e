"""Tables on disk: mappings, text and undefined numbers read back as they were written."""

from math import nan

import pandas as pd
import pytest

from pipeline.records.rows import read_rows
from pipeline.records.tables import plain_rows, read_table, write_table
from pipeline.runtime.errors import Refusal

SETTINGS = [
    {},
    {"dropout": {"rate": 0.1, "where": "input, hidden"}},
    {"protocol": {"model.batch_norm": False, "model.widths": [8, 16]}},
]
FACTORS = [
    {"regularizers": [], "protocol": {}},
    {"regularizers": ["dropout"], "protocol": {}},
    {"regularizers": [], "protocol": {"model.batch_norm": False, "model.widths": [8, 16]}},
]


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "study": ["one", "one", "NA"],
            "arm": ["baseline", "drop", "null"],
            "factor": FACTORS,
            "setting": SETTINGS,
            "verdict": ["", "helps", ""],
            "difference": [nan, 0.123456789012345, -1e-20],
            "n": [3, 4, 5],
        }
    )


def test_mappings_text_and_numbers_are_read_back(tmp_path, table):
    write_table(tmp_path / "contrasts.csv", table)
    read = read_table(tmp_path / "contrasts.csv")
    assert list(read.columns) == list(table.columns)
    assert read["setting"].tolist() == SETTINGS
    assert [list(setting) for setting in read["setting"]] == [list(one) for one in SETTINGS]
    assert read["factor"].tolist() == FACTORS
    for name in ("study", "arm", "verdict", "n"):
        assert read[name].tolist() == table[name].tolist()
    assert read["difference"].isna().tolist() == [True, False, False]
    assert read["difference"][1] == pytest.approx(0.123456789012345, rel=1e-9)
    assert read["difference"][2] == -1e-20


def test_a_table_that_was_read_is_written_to_the_same_bytes(tmp_path, table):
    write_table(tmp_path / "one.csv", table)
    write_table(tmp_path / "two.csv", read_table(tmp_path / "one.csv"))
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_a_table_is_not_changed_by_writing_it(tmp_path, table):
    before = table.copy(deep=True)
    write_table(tmp_path / "one.csv", table)
    pd.testing.assert_frame_equal(table, before)


def test_a_table_without_rows_keeps_its_columns(tmp_path, table):
    write_table(tmp_path / "empty.csv", table.iloc[:0])
    read = read_table(tmp_path / "empty.csv")
    assert (len(read), list(read.columns)) == (0, list(table.columns))


def test_a_fingerprint_that_looks_like_a_number_stays_text(tmp_path):
    names = ["12345e67", "00100", "1e5"]  # pandas would take all of these for numbers
    frame = pd.DataFrame({"fingerprint": names, "view": "noise", "members": [1, 2, -3]})
    write_table(tmp_path / "scores.csv", frame)
    rows = list(read_rows(tmp_path / "scores.csv"))
    for read in (read_table(tmp_path / "scores.csv"), pd.DataFrame(rows)):
        assert read["fingerprint"].tolist() == names
        assert read["members"].tolist() == [1, 2, -3]
    assert [type(row["members"]) for row in rows] == [int] * 3


def test_rows_are_plain_values_with_none_for_what_is_undefined(table):
    rows = plain_rows(table)
    assert [row["setting"] for row in rows] == SETTINGS
    assert rows[0]["difference"] is None
    assert rows[1]["n"] == 4


def test_a_missing_table_raises(tmp_path):
    with pytest.raises(Refusal) as refused:
        read_table(tmp_path / "scores.csv")
    assert refused.value.lines == (f"{tmp_path / 'scores.csv'}: missing; run: gapwise run",)


@pytest.mark.parametrize(
    "damaged", [b"", b"a", b"a\n1", b"a\n1,2,3\n4\n5,6,7,8\n", b"setting\n{\n", b"a\n\xff\n"]
)
def test_a_corrupted_table_raises(tmp_path, damaged):
    path = tmp_path / "table.csv"
    path.write_bytes(damaged)
    with pytest.raises(Refusal, match=r"table.csv: corrupted; run: gapwise run$"):
        read_table(path)


def test_rows_are_those_of_the_table(tmp_path, table):
    write_table(tmp_path / "contrasts.csv", table.assign(below_margin=[True, False, False]))
    rows = read_rows(tmp_path / "contrasts.csv")
    read = read_table(tmp_path / "contrasts.csv")
    pd.testing.assert_frame_equal(pd.DataFrame(rows), read, check_dtype=False)
    assert [type(row["n"]) for row in read_rows(tmp_path / "contrasts.csv")] == [int] * 3
    with pytest.raises(Refusal, match=r"none.csv: missing; run: gapwise run"):
        next(read_rows(tmp_path / "none.csv"))
