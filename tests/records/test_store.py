"""The run store: a run is there whole or not at all."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from waiting import PATIENCE

from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy, read_plan
from pipeline.records.runs import read_history, read_record
from pipeline.records.store import MUTED, Store, open_store

FILES = {
    "run.json": b"{}",
    "history.jsonl": b'{"epoch": 1}\n{"epoch": 2}\n',
    "weights.safetensors": b"w" * 100,
}
RECORD = {"state": "done", "reason": "", "audit": {}, "cost": {"updates": 3}, "machine": {}}


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.write("aa", FILES, RECORD, {"seconds": 1.5})
    return store


def plan(*names):
    runs = tuple(
        PlannedRun(
            study="s", arm="a", setting={"dropout": {"rate": 0.5}}, seed=seed, fingerprint=name
        )
        for seed, name in enumerate(names)
    )
    return Plan(
        protocol="p",
        phase="exploration",
        settings={},
        margin=0.01,
        data_digest="d",
        studies=(PlannedStudy(name="s", question="?", arms=(PlannedArm(name="a"),)),),
        runs=runs,
    )


def test_written_and_read(store):
    assert store.state("aa") == "done"
    assert store.finished("aa")
    assert read_record(store.folder("aa"))["cost"] == {"updates": 3}
    assert [row["epoch"] for row in read_history(store.folder("aa"))] == [1, 2]
    assert store.timing("aa") == {"seconds": 1.5}
    assert store.state("bb") == "missing"
    assert store.timing("bb") == {}


@pytest.mark.parametrize("name", [*FILES, "record.json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]),
    ],
)
def test_any_damage_sends_the_run_back_to_training(store, name, damage):
    damage(store.folder("aa") / name)
    assert store.state("aa") == "missing"
    store.write("aa", FILES, RECORD, {})
    assert store.state("aa") == "done"


def test_the_first_complete_run_wins(store):
    store.write("aa", FILES | {"run.json": b"other"}, RECORD, {"seconds": 9.0})
    assert (store.folder("aa") / "run.json").read_bytes() == b"{}"
    assert store.timing("aa") == {"seconds": 1.5}


def test_a_failed_run_is_not_finished_and_gives_way(store):
    store.write_failure("bb", "why")
    assert store.state("bb") == "failed"
    assert not store.finished("bb")
    store.write("bb", FILES, RECORD | {"state": "diverged"}, {})
    assert store.finished("bb")


def test_a_killed_writer_leaves_no_run(store, monkeypatch):
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.write("bb", FILES, RECORD, {})
    assert store.state("bb") == "missing"
    assert [path.name for path in store.root.iterdir() if path.name != ".lock"] == ["aa"]


def test_sweep_removes_leftovers_and_stale_checkpoints_only(store):
    for name, age in ((".cc.123", 3600), (".dd.456", 0)):
        (store.root / name).mkdir()
        os.utime(store.root / name, (time.time() - age,) * 2)
    for name in ("aa", "dd"):
        store.checkpoints(name).mkdir(parents=True)
    store.sweep()
    assert sorted(path.name for path in store.root.iterdir() if path.name != ".lock") == [
        ".dd.456",
        "aa",
        "checkpoints",
    ]
    assert [path.name for path in (store.root / "checkpoints").iterdir()] == ["dd"]


def test_sweep_keeps_the_checkpoints_of_a_failed_run_which_is_resumed(store):
    store.write_failure("ee", "out of luck")
    store.checkpoints("ee").mkdir(parents=True)
    store.sweep()
    assert store.checkpoints("ee").is_dir()


def test_live_curves_stop_for_some_minutes(store, monkeypatch):
    assert store.muted() == ""
    store.mute("no server")
    assert store.muted() == "no server"
    later = time.time() + MUTED + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert store.muted() == ""


def test_assembled_from_the_plan_alone_and_the_same_twice(store, tmp_path):
    store.write("old", FILES, RECORD, {})
    target = tmp_path / "artifacts" / "exploration"
    for _ in range(2):
        store.assemble(plan("aa", "bb"), target)
        assert sorted(path.name for path in target.iterdir()) == ["aa", "plan.json"]
        assert sorted(path.name for path in (target / "aa").iterdir()) == sorted(
            [*FILES, "record.json"]
        )
    assert read_plan(target) == plan("aa", "bb")
    assert sorted(path.name for path in target.parent.iterdir()) == ["exploration"]


def test_restored_from_a_pulled_output(store, tmp_path):
    source = tmp_path / "exploration"
    store.assemble(plan("aa"), source)
    fresh = Store(tmp_path / "fresh")
    assert fresh.restore([source, tmp_path / "nowhere"]) == 1
    assert fresh.state("aa") == "done"
    assert json.loads((fresh.folder("aa") / "record.json").read_text()) == json.loads(
        (store.folder("aa") / "record.json").read_text()
    )
    assert fresh.restore([source]) == 0
    (source / "aa" / "weights.safetensors").write_bytes(b"corrupted")
    assert Store(tmp_path / "third").restore([source]) == 0


def test_a_failed_run_is_not_restored(store, tmp_path):
    store.write_failure("bb", "why")
    store.assemble(plan("bb"), tmp_path / "exploration")
    fresh = Store(tmp_path / "fresh")
    assert fresh.restore([tmp_path / "exploration"]) == 0
    assert fresh.state("bb") == "missing"


def test_the_store_stands_at_the_root_of_the_main_tree(checkout, monkeypatch):
    monkeypatch.delenv("GAPWISE_STORE", raising=False)
    assert open_store(checkout / "pipeline").root == checkout / ".runs"
    monkeypatch.setenv("GAPWISE_STORE", str(checkout / "elsewhere"))
    assert open_store(checkout).root == checkout / "elsewhere"


def git(folder, *words):
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    allowed = ("-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *allowed, *words], cwd=folder, check=True)


def committed_project(folder):
    """Write a project to a folder of a new or of an existing repository, and commit it."""
    (folder / "experiments").mkdir(parents=True)
    (folder / "params.yaml").touch()
    (folder / "experiments" / "dropout.yaml").touch()
    if not (folder.parent / ".git").exists():
        git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def plain(folder):
    return committed_project(folder / "main"), folder / "main"


def without_git(folder):
    main = committed_project(folder / "main")
    shutil.rmtree(main / ".git")
    return main, main


def in_a_larger_repository(folder):
    git(folder, "init", "-q")
    return committed_project(folder / "sub"), folder / "sub"


def linked_tree_of_a_larger_repository(folder):
    (folder / "large").mkdir()
    git(folder / "large", "init", "-q")
    main = committed_project(folder / "large" / "sub")
    git(main, "worktree", "add", "-q", folder / "linked")
    return folder / "linked" / "sub", main


def submodule(folder):
    committed_project(folder / "main")
    (folder / "large").mkdir()
    git(folder / "large", "init", "-q")
    git(folder / "large", "submodule", "--quiet", "add", folder / "main", "part")
    return folder / "large" / "part", folder / "large" / "part"


def linked_tree_of_a_submodule(folder):
    part, _ = submodule(folder)
    git(part, "worktree", "add", "-q", folder / "linked")
    return folder / "linked", folder / "linked"


def tree_of_a_bare_repository(folder):
    committed_project(folder / "main")
    git(folder, "clone", "-q", "--bare", folder / "main", "bare/.git")
    git(folder / "bare", "worktree", "add", "-q", folder / "bare" / "tree")
    return folder / "bare" / "tree", folder / "bare" / "tree"


def separate_git_folder(folder):
    main = committed_project(folder / "main")
    git(main, "init", "-q", "--separate-git-dir", folder / "meta")
    return main, main


def name_in_latin_1(folder):
    return plain(folder / os.fsdecode(b"caf\xe9"))


@pytest.mark.parametrize(
    "layout",
    [
        name_in_latin_1,
        *(plain, without_git, in_a_larger_repository, linked_tree_of_a_larger_repository),
        *(submodule, linked_tree_of_a_submodule, tree_of_a_bare_repository, separate_git_folder),
    ],
)
def test_the_store_is_in_the_folder_of_the_project(tmp_path, monkeypatch, layout):
    monkeypatch.delenv("GAPWISE_STORE", raising=False)
    project, owner = layout(tmp_path)
    assert open_store(project).root == owner / ".runs"
    assert open_store(project / "experiments").root == owner / ".runs"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as in a hook
    assert open_store(project).root == owner / ".runs"


RACE = """
import sys
from pathlib import Path
from pipeline.records.store import Store
store = Store(Path(sys.argv[1]))
record = {"state": "done", "reason": "", "audit": {}, "cost": {}, "machine": {}}
print("ready", flush=True)
sys.stdin.readline()
for number in range(300):
    store.write(f"run{number}", {"weights.safetensors": bytes(1000)}, record, {})
    assert store.finished(f"run{number}"), number
"""


def test_two_processes_that_write_the_same_runs_lose_none(tmp_path):
    words = [sys.executable, "-c", RACE, str(tmp_path)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    both = [subprocess.Popen(words, **pipes, text=True) for _ in range(2)]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("begin\n")
        process.stdin.flush()
    assert [process.communicate(timeout=PATIENCE) for process in both] == [("", "")] * 2
    assert len(list(tmp_path.glob("run*/record.json"))) == 300
    assert [path.name for path in tmp_path.glob(".*")] == [".lock"]
