"""Scores that other programs wrote: what is read of their files, and which are refused."""

import os

import pytest

from pipeline.records.score_files import LARGEST, read_score_files, read_score_table
from pipeline.runtime.errors import Refusal

METRICS = "epoch,step,train/loss,test/acc\n0,10,0.5,\n1,20,,0.8\n2,30,0.3,0.9\n2,30,0.2,\n"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_cells_are_texts_as_written(tmp_path):
    path = write(tmp_path / "scores.csv", '\ufeffarm, seed,score \n"a, b",01,0.90\n\n"c\nd",NA,\n')
    table = read_score_table(path)
    assert table.columns.tolist() == ["arm", "seed", "score"]
    assert table.to_numpy().tolist() == [["a, b", "01", "0.90"], ["c\nd", "NA", ""]]
    assert read_score_table(write(tmp_path / "empty.csv", "")).empty


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a,b\n1,2\n1\n", "line 3: cells: invalid number 1; expected 2"),
        ("a,b\n1,2,3\n", "line 2: cells: invalid number 3; expected 2"),
        ("a,b, a\n1,2,3\n", "a: given twice; expected one column of each name"),
        ("a;b\n1;2\n", "'a;b' in the first line; expected names between commas"),
        ('a,b\n1,"2"3\n', "not a CSV file in UTF-8 ("),
    ],
)
def test_a_file_that_is_no_table_raises(tmp_path, text, line):
    path = write(tmp_path / "x.csv", text)
    with pytest.raises(Refusal) as raised:
        read_score_table(path)
    assert str(raised.value).startswith(f"{path}: {line}")


def test_files_that_are_missing_binary_or_huge_raise(tmp_path):
    path = tmp_path / "x.csv"
    with pytest.raises(Refusal, match="missing; expected a CSV file with scores"):
        read_score_table(path)
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(Refusal, match="not a CSV file in UTF-8"):
        read_score_table(path)
    os.truncate(path, 2_000_000_000)
    with pytest.raises(Refusal, match=r"2,000 MB; expected <= 100 MB: a row per run"):
        read_score_table(path)
    assert LARGEST == 100_000_000


def test_arm_and_seed_are_parts_of_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arm in ("baseline", "drop out"):
        for seed in (1, 22):
            write(tmp_path / f"logs/{arm}/x/seed_{seed}/metrics.csv", METRICS)
    write(tmp_path / "logs/baseline/x/other/metrics.csv", METRICS)
    table = read_score_files("logs/{arm}/**/seed_{seed}/metrics.csv", "test/acc", "arm", "seed")
    assert table[["arm", "seed", "test/acc"]].to_numpy().tolist() == [
        ["baseline", "1", "0.9"],
        ["baseline", "22", "0.9"],
        ["drop out", "1", "0.9"],
        ["drop out", "22", "0.9"],
    ]
    absolute = read_score_files(
        f"{tmp_path}/logs/{{arm}}/*/seed_{{seed}}/*.csv", "test/acc", "arm", "seed"
    )
    assert absolute[["arm", "seed"]].equals(table[["arm", "seed"]])


def test_arm_and_seed_are_read_from_the_settings_of_a_run(tmp_path):
    """As PyTorch Lightning and lightning-hydra-template leave them."""
    for seed in (1, 2):
        run = tmp_path / f"logs/train/runs/2026-01-0{seed}"
        write(run / "csv/version_0/metrics.csv", METRICS)
        write(run / "csv/version_0/hparams.yaml", "lr: 0.1\n")
        write(run / ".hydra/config.yaml", f"seed: {seed}\nmodel: {{net: {{dropout: 0.{seed}}}}}\n")
    pattern = f"{tmp_path}/logs/**/metrics.csv"
    table = read_score_files(pattern, "test/acc", "model.net.dropout", "seed")
    assert table[["arm", "seed"]].to_numpy().tolist() == [["0.1", "1"], ["0.2", "2"]]
    nearest = read_score_files(pattern, "test/acc", "lr", "seed")
    assert nearest["arm"].tolist() == ["0.1", "0.1"]
    with pytest.raises(Refusal, match=r"metrics.csv: arm: no key model.net.depth in hparams.yaml"):
        read_score_files(pattern, "test/acc", "model.net.depth", "seed")


def test_patterns_and_columns_without_a_match_raise(tmp_path):
    with pytest.raises(Refusal, match="no file matches; expected CSV files"):
        read_score_files(f"{tmp_path}/*.csv", "acc", "arm", "seed")
    path = write(tmp_path / "a/1.csv", METRICS)
    with pytest.raises(
        Refusal, match=f"{path}: --score: unknown name 'acc'; expected one of: epoch, step"
    ):
        read_score_files(f"{tmp_path}/{{arm}}/{{seed}}.csv", "acc", "arm", "seed")
    write(path, "acc\n\n")
    assert read_score_files(f"{tmp_path}/{{arm}}/{{seed}}.csv", "acc", "arm", "seed")[
        "acc"
    ].tolist() == [""]
