"""Scores read from W&B: what its own client gets from a server, and what is refused."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
from tiny import ROOT, clean_environment
from wandb_server import SUMMARY, Run, behaving

from pipeline.records.tables import read_table
from pipeline.runtime.errors import Refusal
from pipeline.tracking import scores as module
from pipeline.tracking.scores import read_wandb_scores

COMMAND = (
    *("judge", "--wandb", "me/mine", "--arm", "group", "--seed", "data.seed"),
    *("--score", "test/acc", "--keep-going", "--to", "judged"),
)


def test_the_runs_of_a_project_are_judged(tmp_path):
    """Finished ones in pages, of that project alone; a crashed one has no score."""
    with behaving() as kept:
        for number, seed in enumerate([1, 2, 3, 4] * 2):
            arm = "baseline" if number < 4 else "dropout"
            kept.runs[f"run{number}"] = Run(
                project="mine",
                arguments={"group": arm},
                config={"data": {"seed": seed}},
                streamed={SUMMARY: [{"test/acc": 0.9 + number / 100}]},
                exit_code=1 if number == 7 else 0,
            )
        kept.runs["other"] = Run(project="other", exit_code=0)
        environment = clean_environment(tmp_path) | {
            "HOME": str(tmp_path),
            "WANDB_BASE_URL": kept.address,
            "WANDB_API_KEY": "canary".ljust(40, "0"),
            "PYTHONPATH": str(ROOT),
        }
        ended = subprocess.run(
            [sys.executable, "-m", "pipeline", *COMMAND],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert kept.unknown == []
    seeds = read_table(tmp_path / "judged" / "seeds.csv")
    assert seeds["score"].tolist()[:3] == [0.94, 0.95, 0.96]
    assert seeds["paired"].tolist() == [True, True, True, False]
    (row,) = read_table(tmp_path / "judged" / "contrasts.csv").to_dict("records")
    assert (row["arm"], row["n"], row["left"]) == ("dropout", 3, 1)
    assert row["difference"] == pytest.approx(0.04)


def run(**values):
    usual = {"id": "x", "state": "finished", "group": None, "name": "first", "job_type": None}
    return SimpleNamespace(**usual | {"config": {}, "summary_metrics": {}} | values)


@pytest.fixture
def served(monkeypatch):
    """Set the runs that W&B returns."""
    monkeypatch.setattr(module, "has_key", lambda: True)
    return lambda *runs: monkeypatch.setattr(module, "_runs", lambda project: list(runs))


def test_arms_are_keys_of_the_configuration_before_attributes(served):
    config = {"a.b": 1, "a": {"c": {"d": 2}}, "seed": 3, "group": "mine"}
    served(run(config=config, group="theirs", summary_metrics={"acc": 0.5}))
    with pytest.raises(Refusal, match=r"acd: in the summary of no run; expected one of: acc$"):
        read_wandb_scores("me/p", "acd", "group", "seed")
    scores = [read_wandb_scores("me/p", "acc", arm, "seed") for arm in ("a.b", "a.c.d", "group")]
    assert [table["arm"].item() for table in scores] == ["1", "2", "mine"]
    assert read_wandb_scores("me/p", "acc", "name", "seed")["acc"].tolist() == ["0.5"]
    served(run(config=config, state="running", summary_metrics={"acc": 0.5}))
    assert read_wandb_scores("me/p", "acc", "name", "seed")["acc"].tolist() == [""]


def test_unreadable_runs_raise_one_line(served, monkeypatch):
    with pytest.raises(Refusal, match=r"^--wandb: invalid value 'p'; expected entity/project$"):
        read_wandb_scores("p", "acc", "arm", "seed")
    served()
    with pytest.raises(Refusal, match=r"^--wandb me/p: no runs; expected a run per arm and seed$"):
        read_wandb_scores("me/p", "acc", "arm", "seed")
    served(run(config={"arm": "a"}))
    with pytest.raises(Refusal, match=r"^--wandb me/p: run x: seed: no key seed in its conf"):
        read_wandb_scores("me/p", "acc", "arm", "seed")

    def broken(project):
        raise ValueError("not\nfound")

    monkeypatch.setattr(module, "_runs", broken)
    with pytest.raises(Refusal, match=r"^--wandb me/p: ValueError: not found$"):
        read_wandb_scores("me/p", "acc", "arm", "seed")
    monkeypatch.setattr(module, "has_key", lambda: False)
    with pytest.raises(Refusal, match=r"^--wandb: no API key; run: wandb login$"):
        read_wandb_scores("me/p", "acc", "arm", "seed")
