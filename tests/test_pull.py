"""What was trained elsewhere is not trained again: in a clone after `dvc pull`, in experiments."""

import json
import subprocess
import sys

import pytest
from tiny import RUN, trained, write_clone

from pipeline.records.store import open_store

DVC = (sys.executable, "-m", "dvc")
MORE = "arms:\n  more:\n    - {name: dropout, rate: 0.7}\n"


def trained_here(folder):
    """Return the runs trained in this store, and not restored into it: their seconds are stored."""
    hashes = {
        path.parent.name: json.loads(path.read_text())
        for path in (folder / ".runs").glob("*/timing.json")
    }
    return {name for name, timing in hashes.items() if timing.get("seconds")}


def test_after_a_pull_nothing_is_trained_and_with_one_new_arm_that_arm_only(
    committed, command, tmp_path
):
    fresh = write_clone(committed, tmp_path / "fresh")
    remote = (
        f"[core]\n    remote = shared\n['remote \"shared\"']\n    url = {tmp_path / 'remote'}\n"
    )
    for folder in (committed, fresh):
        (folder / ".dvc" / "config.local").write_text(remote)
    assert command(*DVC, "push", at=committed).returncode == 0
    pulled = command(*DVC, "pull", at=fresh)
    assert pulled.returncode == 0, pulled.stderr
    again = command(*RUN, at=fresh)
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stdout
    assert set(trained(fresh)) == set(trained(committed))
    assert trained_here(fresh) == set()
    study = fresh / "experiments" / "dropout.yaml"
    study.write_text(study.read_text().replace("arms:\n", MORE))
    more = command(sys.executable, "-m", "pipeline.confirm", "tiny", at=fresh)
    assert more.returncode == 0, more.stderr
    new = trained_here(fresh)
    assert new == set(trained(fresh)) - set(trained(committed))
    configs = [json.loads((fresh / ".runs" / name / "run.json").read_text()) for name in new]
    assert sorted(config["streams"]["split"] for config in configs) == [1000, 1001, 1002]
    assert {item["rate"] for config in configs for item in config["regularizers"]} == {0.7}


@pytest.mark.torture
def test_an_experiment_in_a_temporary_folder_finds_the_store(committed, command):
    before = trained(committed)
    ran = command(
        *DVC, "exp", "run", "--temp", "-S", "seeds.exploration=3", "train@tiny", at=committed
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "exploration of tiny, round 1 (10 runs kept): 5/5 ended" in ran.stdout + ran.stderr
    after = trained(committed)
    assert len(after) == len(before) + 5
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("place", [".dvc/tmp/exps/standalone/tmp1", ".dvc/tmp/exps/tmp1/"])
def test_repositories_of_experiments_share_the_store_of_their_project(tmp_path, monkeypatch, place):
    """As `dvc exp run --temp` and the queue lay them out; a linked work tree shares the main's."""
    monkeypatch.delenv("GAPWISE_STORE", raising=False)
    (tmp_path / "main").mkdir()
    main, linked = tmp_path / "main", tmp_path / "linked"
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (
        ("init", "-q"),
        (*identity, "commit", "-q", "--allow-empty", "-m", "x"),
        ("worktree", "add", "-q", linked),
    ):
        subprocess.run(["git", *words], cwd=main, check=True)
    for tree in (main, linked):
        (tree / place).mkdir(parents=True)
        subprocess.run(["git", "init", "-q"], cwd=tree / place, check=True)
        assert open_store(tree / place).root == main / ".runs"
