"""What DVC shows of an experiment and the last commit: the columns that matter, and plots."""

import csv
import json
import re
import sys
from pathlib import Path

import pytest
from stages import STAGES, run_stages

ROOT = Path(__file__).resolve().parent.parent
DROP = re.search(
    r"dvc exp show --only-changed --drop '(.+?)'", (ROOT / "docs" / "dvc.md").read_text()
).group(1)
COMMANDS = [
    ["commit", "-q", "-f"],
    ["exp", "save", "-n", "fewer"],
    ["exp", "show", "--csv", "--only-changed", "--drop", DROP],
    ["exp", "diff", "--json"],
    ["metrics", "diff", "--json"],
    ["params", "diff", "--json"],
    ["plots", "diff", "HEAD", "-o", "plots"],
    ["metrics", "show"],
    ["dag", "--mermaid"],
]
END = "-- end of a command --"
SEVERAL = f"""
import json, sys
from dvc.cli import main
for number, words in enumerate(json.loads(sys.argv[1])):
    if number:
        print({END!r}, flush=True)
    if main(words):
        sys.exit(1)
"""  # commands of DVC in one process: its imports take longer than all of them
CHANGED = {"  confirmation: null": "  confirmation: 2", "studies: null": "studies: [others]"}
METRICS = [
    "baseline.accuracy",
    "baseline.gap",
    "points.dropout",
    "points.shift",
    "points.weight_decay",
]
RUNS = ["runs.done", "runs.planned"]
HEADLINE = re.compile(r"\| (\w+) \| \w+ \| ([+-]?[\d.]+)[^|]*\|")


@pytest.fixture
def experiment(committed, monkeypatch):
    """Return the committed checkout with an experiment in its workspace: a study, fewer seeds.

    There is nothing to train. The stages ran in this process: each takes longer to start.
    """
    parameters = committed / "params.yaml"
    text = parameters.read_text()
    for old, new in CHANGED.items():
        assert old in text
        text = text.replace(old, new)
    parameters.write_text(text)
    with (committed / ".git" / "config").open("a") as config:
        config.write("[user]\n\tname = t\n\temail = t@example.org\n")
    monkeypatch.chdir(committed)
    monkeypatch.delenv("GAPWISE_STORE", raising=False)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run_stages()
    return committed


def test_an_experiment_and_the_last_commit_side_by_side(experiment, command):
    ended = command(sys.executable, "-c", SEVERAL, json.dumps(COMMANDS), at=experiment)
    assert ended.returncode == 0, ended.stderr
    _, _, table, experiments, metrics, params, _, shown, graph = ended.stdout.split(END)
    rows = list(csv.DictReader(table.strip().splitlines()))
    assert sorted(rows[0]) == sorted(
        ["Experiment", "rev", "typ", "Created", *METRICS, *RUNS, "studies", "seeds.confirmation"]
    )
    (fewer,) = [row for row in rows if row["Experiment"] == "fewer"]
    assert (fewer["seeds.confirmation"], fewer["points.dropout"], fewer["runs.done"]) == (
        "2",
        "",
        fewer["runs.planned"],
    )

    report = (experiment / "reports" / "tiny" / "pages" / "verdicts.md").read_text()
    headline = {f"points.{arm}": float(points) for arm, points in HEADLINE.findall(report)}
    assert headline.keys() == {"points.shift", "points.weight_decay"}
    assert {name: float(fewer[name]) for name in headline} == pytest.approx(headline, abs=0.051)

    document = json.loads(experiments)
    assert document["params"]["params.yaml"].keys() == {"seeds.confirmation", "studies"}
    assert document["metrics"]["reports/tiny/metrics.json"].keys() == {*METRICS, *RUNS}
    assert json.loads(metrics) == document["metrics"]
    assert json.loads(params).keys() == {"params.yaml"}

    assert "reports/tiny/metrics.json" in shown
    assert all(f"{stage.__name__.removeprefix('pipeline.')}@tiny" in graph for stage in STAGES)

    page = (experiment / "plots" / "index.html").read_text()
    specs = [json.loads(line) for line in re.findall(r"var spec = (\{.*\});", page)]
    assert [{row["rev"] for row in spec["data"]["values"]} for spec in specs] == [
        {"HEAD", "workspace"}
    ] * 3
    assert "DVC_METRIC" not in page
