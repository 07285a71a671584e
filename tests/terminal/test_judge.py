"""`gapwise judge` replaces nothing but what it wrote, and prints what limits the verdicts."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.runtime.errors import Refusal
from pipeline.terminal.judge import (
    FILES,
    Source,
    direction,
    number,
    read_table,
    require_folder,
    show_judgement,
    unit,
)

COLLAPSED = {
    "baseline": [0.91, 0.92, 0.90, 0.91, 0.92, 0.91],
    "a*b": [0.93, 0.10, 0.94, 0.93, 0.94, 0.93],
}


def test_a_folder_of_other_files_is_not_replaced(tmp_path):
    require_folder(tmp_path / "new")
    target = tmp_path / "judged"
    target.mkdir()
    for name in FILES:
        (target / name).touch()
    require_folder(target)
    (target / "notes.txt").touch()
    with pytest.raises(Refusal, match="judged: holds notes.txt; expected a new folder, or one"):
        require_folder(target)
    with pytest.raises(Refusal, match="not a folder; expected a new folder"):
        require_folder(target / "notes.txt")
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with pytest.raises(Refusal, match="link: not a folder"):
        require_folder(tmp_path / "link")


def test_a_report_replaces_the_one_before(tmp_path, capsys):
    target = tmp_path / "judged"
    for name in ("first", "second"):
        show_judgement(Source(f"{name}.csv", pd.DataFrame(COLLAPSED), {}), {}, target)
    assert {path.name for path in target.iterdir()} == set(FILES)
    assert {path.name for path in (target / "figures").iterdir()} == {"forest.png", "forest.svg"}
    assert (target / "report.md").read_text().startswith("# Judged: second\n")
    assert [path.name for path in tmp_path.iterdir()] == ["judged"]
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if "[" in line)
    assert row.split()[0] == "a*b"  # beside the long words of a withheld verdict
    words = " ".join(printed.split())
    assert "Warning: a*b, seed 2: 10.0 is far from the arm's median of 93.0" in words
    assert "The table does not show whether runs with the same seed were paired" in words


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("logs/scores.csv", "scores"),
        ("logs/{arm}/seed_{seed}/**/metrics.csv", "logs-arm-seed_-seed-metrics.csv"),
        ("../..", "scores"),
        ("Ergebnisse 2.csv", "Ergebnisse-2"),
    ],
)
def test_a_report_is_named_after_its_source(source, name):
    assert Source(source, pd.DataFrame(), {}).title == name


NAMES = dict.fromkeys(("arm", "seed", "score"))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((None, None, None), "judge: no scores; expected one of: SCORES, --glob, --wandb"),
        ((None, "*.csv", "me/mine"), "judge: --glob, --wandb: given together; expected one of: "),
        ((None, "*.csv", None), "--score: missing; expected the name of the score"),
        ((None, None, "me/mine"), "--score: missing; expected the name of the score"),
        ((None, "", None), "^--glob: invalid value ''; expected a pattern"),
        ((None, None, ""), "^--wandb: invalid value ''; expected entity/project"),
        ((Path("scores.csv"), "", None), "judge: SCORES, --glob: given together; expected one of"),
    ],
)
def test_one_source_is_named_with_its_score(given, line):
    with pytest.raises(Refusal, match=line):
        read_table(*given, NAMES)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    for folder in (Path("/proc/x"), tmp_path / "file" / "judged"):
        with pytest.raises(Refusal) as raised:
            show_judgement(Source("x.csv", pd.DataFrame(COLLAPSED), {}), {}, folder)
        (line,) = raised.value.lines
        assert line.startswith(f"--to {folder}: cannot be written (")
        assert line.endswith("); expected a folder that can be made")


def test_a_missing_table_of_images_is_named_with_its_columns(tmp_path):
    source, images = Source("x.csv", pd.DataFrame(COLLAPSED), {}), tmp_path / "nope.csv"
    with pytest.raises(Refusal) as raised:
        show_judgement(source, {}, tmp_path / "new", images)
    columns = "the columns arm, seed, image, correct"
    assert raised.value.lines == (f"{images}: missing; expected a CSV file with {columns}",)


def test_options_are_read_as_what_they_say():
    assert (number("--margin", None), number("--margin", "0.02")) == (None, 0.02)
    with pytest.raises(Refusal, match='^--margin: invalid value "abc"; expected a number > 0'):
        number("--margin", "abc")
    with pytest.raises(Refusal, match="^--margin: invalid value -1.0; expected a number > 0"):
        number("--margin", "-1")
    assert (unit(None), unit("percent")) == (None, "percent")
    line = "--unit: unknown name 'percnt'; expected one of: .*; did you mean 'percent'"
    with pytest.raises(Refusal, match=line):
        unit("percnt")
    directions = [direction(*given) for given in ((False, False), (True, False), (False, True))]
    assert directions == [None, "lower", "higher"]
    with pytest.raises(Refusal, match="^--lower and --higher: both given; expected one"):
        direction(True, True)
