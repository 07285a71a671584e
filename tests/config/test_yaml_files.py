"""One YAML, version 1.2, and nothing that a settings file never needs."""

from pathlib import Path

import pytest

from pipeline.config.yaml_files import read_yaml, yaml_names
from pipeline.runtime.errors import Refusal


def written(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_version_1_2(tmp_path):
    """The values that YAML 1.1 reads otherwise."""
    assert read_yaml(written(tmp_path, "a: 1e-3\nb: no\nc: 0o10\nd: on\n")) == {
        "a": 0.001,
        "b": "no",
        "c": 8,
        "d": "on",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: [*x, *x]", "an alias"),
        ("a: 1\na: 2", "duplicate key"),
        ("- 1", "a list"),
        ("", "empty; expected a mapping"),
        ("a: [1", "not valid YAML"),
        ("a: .nan", "a: invalid value nan; expected a finite number"),
        ("a: {b: [.inf]}", "a.b.0: invalid value inf"),
        ("a: 2020-01-01", "a: invalid value 2020-01-01; expected text"),
        ("1: a", "1: invalid key"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("a: " + "[" * 500 + "]" * 500, "nested too deeply"),
        ("a: " + "x" * 70000, "bytes; expected <="),
    ],
)
def test_an_invalid_file_raises_one_line(tmp_path, text, words):
    with pytest.raises(Refusal) as refused:
        read_yaml(written(tmp_path, text))
    (line,) = refused.value.lines
    assert words in line
    assert "file.yaml" in line
    assert "\n" not in line


def test_names_are_those_of_yaml_files_in_the_folder_itself(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("b.yaml", "a.yaml", "c.yml", "below/d.yaml"):
        (tmp_path / name).touch()
    assert yaml_names(tmp_path) == ["a", "b"]
    assert yaml_names(tmp_path / "none") == []


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(Refusal, match="no.yaml: missing"):
        read_yaml(tmp_path / "no.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Refusal, match="not UTF-8"):
        read_yaml(tmp_path / "binary.yaml")


def test_a_bomb_raises_before_it_grows(tmp_path):
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
    with pytest.raises(Refusal, match="an alias"):
        read_yaml(written(tmp_path, f"a0: &a0 [x]\n{levels}"))
