"""The examples of docs/judge.md work as they stand, and a report is judged as it was."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import cli
from pipeline.comparison.seeds import COLUMNS
from pipeline.records.tables import read_table
from pipeline.terminal.judge import FILES

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "judge.md").read_text()
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
TEXTS = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
METRICS = "epoch,train/loss,test/acc\n0,0.5,\n1,,{}\n"


def runs(arm, seed, score, **arms):
    """Return a row per run under these names of columns, as a program exports them."""
    generator = np.random.default_rng(5)
    return pd.DataFrame(
        [
            {"Name": f"run-{name}-{number}", arm: name, seed: float(number), score: value}
            for name, mean in arms.items()
            for number, value in enumerate(mean + 0.01 * generator.standard_normal(6))
        ]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with every file that the page judges."""
    place = tmp_path_factory.mktemp("judge")
    (place / "scores.csv").write_text(re.search(r"```csv\n(.*?)```", PAGE, re.DOTALL)[1])
    _images(pd.read_csv(place / "scores.csv", index_col="seed")).to_csv(place / "images.csv")
    arms = {"baseline": 0.9, "dropout": 0.93}
    runs("Group", "seed", "test/acc", **arms).to_csv(place / "wandb.csv", index=False)
    runs("params.arm", "params.seed", "metrics.acc", **arms).to_csv(place / "mlflow.csv")
    trials = runs("params_optimizer", "user_attrs_seed", "value", sgd=0.5, adam=0.4)
    trials.loc[3, "value"] = np.nan  # a trial that failed
    trials.to_csv(place / "optuna.csv")
    for arm, mean in arms.items():
        for seed in (1, 2, 3):
            path = place / "logs" / arm / f"seed_{seed}" / "lightning_logs" / "version_0"
            path.mkdir(parents=True)
            (path / "metrics.csv").write_text(METRICS.format(mean + seed / 100))
    for number, (rate, seed) in enumerate((rate, seed) for rate in (0.0, 0.5) for seed in (1, 2)):
        run = place / "logs" / "train" / "runs" / str(number)
        (run / "csv" / "version_0").mkdir(parents=True)
        (run / ".hydra").mkdir()
        (run / "csv" / "version_0" / "metrics.csv").write_text(METRICS.format(0.9 + rate / 50))
        (run / ".hydra" / "config.yaml").write_text(
            f"seed: {seed}\nmodel:\n  net: {{dropout: {rate}}}\n"
        )
    (place / "reports" / "digits").mkdir(parents=True)
    scores = runs("arm", "seed", "test_accuracy", dropout=0.93)
    report = scores.assign(
        study="dropout", reference="baseline", paired=True, reference_test_accuracy=0.9
    )
    report.reindex(columns=COLUMNS).to_csv(place / "reports/digits/seeds.csv", index=False)
    return place


def _images(scores, count=100):
    """Return which images each run of a wide table has right: those that are easy to all first."""
    rows = [
        (arm, seed, image, image < round(count * score))
        for arm, of_arm in scores.items()
        for seed, score in of_arm.items()
        for image in range(count)
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "image", "correct"])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_writes_a_report_and_nothing_else(words, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert words[:2] == ["gapwise", "judge"]
    before = set(folder.rglob("*"))
    with pytest.raises(SystemExit, match="^0$"):
        cli.application(words[1:])
    written = re.search(r"Full report: (\S+)/report.md", capsys.readouterr().out)
    target = folder / written[1]
    new = set(folder.rglob("*")) - before
    assert {path.relative_to(target).parts[0] for path in new - {target}} == set(FILES)
    assert target.parent == folder
    shutil.rmtree(target)


def test_the_output_is_that_of_the_page(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match="^0$"):
        cli.application(["judge", "scores.csv"])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert "\n".join(lines).strip("\n") == TEXTS[0].rstrip("\n")


def test_the_code_for_a_notebook_prints_what_the_page_shows(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stdout == TEXTS[1], ended.stderr


def test_the_command_of_the_readme_is_among_them():
    readme = (ROOT / "README.md").read_text()
    shown = re.findall(r"^gapwise judge .*", readme, re.MULTILINE)
    assert [shlex.split(line, comments=True) for line in shown] == [COMMANDS[0]]


def test_the_scores_of_a_report_give_its_verdicts(finished, tmp_path, monkeypatch, capsys):
    """Also over other test examples, by the images that its runs have right."""
    monkeypatch.chdir(tmp_path)
    seeds = finished / "reports/tiny/seeds.csv"
    right = read_table(finished / "artifacts/tiny/images.csv").set_index("image")
    rows = read_table(seeds)
    names = rows[["arm", "seed", "fingerprint"]].to_numpy().tolist()
    names += rows[["reference", "seed", "reference_fingerprint"]].to_numpy().tolist()
    tables = [
        right[run].rename("correct").reset_index().assign(arm=arm, seed=seed)
        for arm, seed, run in {tuple(name) for name in names}
        if run in right
    ]
    pd.concat(tables).to_csv("images.csv", index=False)
    with pytest.raises(SystemExit, match="^0$"):
        cli.application(["judge", str(seeds), "--images", "images.csv", "--to", "judged"])
    capsys.readouterr()
    contrasts = read_table(finished / "artifacts/tiny/contrasts.csv")
    expected = contrasts[contrasts["metric"] == "test_accuracy"].reset_index(drop=True)
    judged = read_table(tmp_path / "judged/contrasts.csv")
    shared = [name for name in judged if name in expected and name not in ("arm", "unpaired")]
    assert {"n", "difference", "low", "high", "p", "p_holm", "verdict"} <= set(shared)
    assert {"low_images", "total_error", "verdict_other_images"} <= set(shared)
    pd.testing.assert_frame_equal(
        judged[shared], expected[shared], check_dtype=False, rtol=1e-7, atol=1e-9
    )


def test_a_file_is_named_from_the_folder_in_which_the_command_runs(finished, tmp_path):
    shutil.copytree(finished / "experiments", tmp_path / "experiments")
    shutil.copy(finished / "params.yaml", tmp_path)
    (tmp_path / "logs").mkdir()
    shutil.copy(finished / "reports/tiny/seeds.csv", tmp_path / "logs" / "mine.csv")
    words = [sys.executable, "-X", "importtime", "-m", "pipeline", "judge", "mine.csv"]
    ended = subprocess.run(
        words,
        cwd=tmp_path / "logs",
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert (tmp_path / "logs" / "mine-judged" / "report.md").exists()
    loaded = re.findall(r"\| +(\w+)", ended.stderr)
    assert "pandas" in loaded
    assert not {"torch", "pytorch_lightning"} & set(loaded)
