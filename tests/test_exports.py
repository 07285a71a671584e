"""The examples of docs/exports.md work as they stand, on the committed reports."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline import cli
from pipeline.comparison.seeds import COLUMNS

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "exports.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """Return a project with the reports that the page names, in two commits."""
    folder = tmp_path_factory.mktemp("exports")
    (folder / "params.yaml").write_text("protocols: [digits]\n")
    for name in ("digits", "mnist_5k", "fashion_mnist"):
        shutil.copytree(ROOT / "reports" / name, folder / "reports" / name)
    words = ("git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for number in range(2):
        (folder / "reports" / "note.txt").write_text(str(number))
        subprocess.run([*words, "add", "-A"], check=True)
        subprocess.run([*words, "commit", "-qm", f"commit {number}"], check=True)
    return folder


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_works(words, committed, monkeypatch, capsys):
    monkeypatch.chdir(committed)
    assert words[0] == "gapwise"
    with pytest.raises(SystemExit, match="^0$"):
        cli.application(words[1:])
    printed = capsys.readouterr().out
    assert printed.startswith(("export: ", "### "))


def test_the_commands_of_the_readme_are_among_them():
    readme = (ROOT / "README.md").read_text()
    shown = re.findall(r"^gapwise (?:export|diff) .*", readme, re.MULTILINE)
    assert len(shown) == 2
    assert all(shlex.split(line, comments=True) in COMMANDS for line in shown)


def test_the_analysis_reads_the_scores(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "reports" / "digits").mkdir(parents=True)
    rows = [
        {"arm": "dropout", "seed": seed, "paired": seed < 4}
        | {"test_accuracy": 0.9 + seed / 100, "reference_test_accuracy": 0.9}
        for seed in range(5)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.to_csv(tmp_path / "reports" / "digits" / "seeds.csv", index=False)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "dropout: [-0.6, +3.6] points, p = 0.103\n"
