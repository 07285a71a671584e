"""Variables and files around a project that change nothing, or are one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import write_clone

from pipeline import terminal
from pipeline.runtime.surroundings import (
    AVX2,
    GIT,
    HASHES,
    JOB,
    equal_hashes,
    equal_kernels,
    hidden_module,
    search_last,
    shut_out,
)
from pipeline.terminal import gapwise

LAUNCHED = {
    "SLURM_NTASKS": "4",
    "SLURM_JOB_NAME": "train",
    "RANK": "3",
    "LOCAL_RANK": "3",
    "WORLD_SIZE": "4",
    "MASTER_ADDR": "192.0.2.1",
    "MASTER_PORT": "1",
    "TORCHELASTIC_RUN_ID": "x",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NODELIST": "n[1-2]",
    "TORCHELASTIC_RESTART_COUNT": "1",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "LOCAL_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_SIZE": "4",
    "PMI_RANK": "2",
    "PMI_SIZE": "4",
    "PMIX_NAMESPACE": "x",
    "JSM_NAMESPACE_RANK": "2",
    "LSB_JOBID": "7",
    "PBS_NODEFILE": "nodes",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_CBWR": "COMPATIBLE",
    "GIT_DIR": "/other/.git",
    "GIT_INDEX_FILE": ".git/index.lock",
    "GIT_OBJECT_DIRECTORY": "/other/.git/objects",
    "GIT_CONFIG_COUNT": "1",
    "PL_TRAINER_LIMIT_TRAIN_BATCHES": "0.5",
    "PL_GLOBAL_SEED": "1",
}


@pytest.mark.parametrize(
    ("flags", "before", "after"),
    [
        ("sse2 avx2 avx512f", {}, AVX2),
        ("avx2", {}, AVX2),
        ("avx2", {"ATEN_CPU_CAPABILITY": "avx2"}, AVX2),  # of the process that started this one
        ("sse2 avx", {}, {}),
        ("avx2", {"ATEN_CPU_CAPABILITY": "avx512"}, {"ATEN_CPU_CAPABILITY": "avx512"}),
    ],
)
def test_kernels_are_those_of_avx2_where_it_is_there(tmp_path, monkeypatch, flags, before, after):
    processors = tmp_path / "cpuinfo"
    processors.write_text(f"model name: x\nflags\t\t: fpu {flags} fma\nbugs: avx2\n")
    monkeypatch.setattr(os, "environ", dict(before))
    equal_kernels(str(processors))
    assert os.environ == after


def test_kernels_stay_where_flags_are_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    equal_kernels(str(tmp_path / "none"))
    assert os.environ == {}


def test_every_process_of_the_project_uses_the_kernels_of_avx2():
    if " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("no AVX2 here")
    assert torch.backends.cpu.get_cpu_capability() == "AVX2"


def test_variables_of_launchers_and_hooks_are_removed_and_others_stay(monkeypatch):
    kept = {"CUDA_VISIBLE_DEVICES": "1", "RANKING": "x", "PATH": "/bin", "MPLBACKEND": "agg"}
    monkeypatch.setattr(os, "environ", LAUNCHED | kept)
    shut_out()
    assert os.environ == kept


def test_all_that_leads_git_to_another_repository_is_removed():
    listed = subprocess.run(
        ["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True
    )
    assert set(listed.stdout.split()) <= set(GIT)


def test_a_command_begins_again_with_the_hashes_of_all_processes(monkeypatch):
    """Unless it has them already; what only imports this package lets others have them."""
    began = []
    monkeypatch.setattr(os, "execv", lambda *words: began.append((*words, dict(os.environ))))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-u", "-m", "pipeline.train", "tiny"])
    for given, restart in (({"PYTHONHASHSEED": "7"}, True), ({}, False), (HASHES, True)):
        monkeypatch.setattr(os, "environ", dict(given))
        equal_hashes(restart)
        assert os.environ == HASHES
    words = [sys.executable, "-u", "-m", "pipeline.train", "tiny"]
    assert began == [(sys.executable, words, HASHES)]


def test_processes_that_train_one_run_together_keep_theirs(monkeypatch):
    given = LAUNCHED | {JOB: "{}", "MPLBACKEND": "agg"}
    monkeypatch.setattr(os, "environ", dict(given))
    shut_out()
    assert os.environ == given


@pytest.mark.parametrize(
    "backend", ["module://matplotlib_inline.backend_inline", "QtAgg", "no such"]
)
def test_figures_need_no_backend(backend):
    """The package is imported before matplotlib, also by way of torchmetrics."""
    code = "import pipeline, matplotlib; print(matplotlib.get_backend())"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"MPLBACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout.strip().lower(), ended.returncode) == ("agg", 0), ended.stderr


@pytest.mark.parametrize("name", ["random.py", "types.py", "dvc.py", "yaml.py", "json/__init__.py"])
def test_a_file_that_hides_a_needed_module_is_named(tmp_path, name):
    assert hidden_module(str(tmp_path)) == ""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert hidden_module(str(tmp_path)) == name.partition("/")[0]


@pytest.mark.parametrize("name", ["mynet.py", "random.txt", "json/notes.md", "tests/__init__.py"])
def test_other_files_hide_nothing(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert hidden_module(str(tmp_path)) == ""


@pytest.mark.parametrize("start", [("-m", "pipeline"), ("-m", "pipeline.choose", "tiny")])
def test_every_command_says_in_one_line_what_is_hidden(checkout, command, tmp_path, start):
    (tmp_path / "pipeline").symlink_to(checkout / "pipeline")
    (tmp_path / "random.py").touch()
    ended = command(sys.executable, *start, at=tmp_path)
    assert ended.stderr == "error: random.py: hides a module that is needed; rename it\n"
    assert ended.returncode == 2


def test_the_script_runs_the_code_of_the_project_around_it(checkout, command, tmp_path):
    """Another `pipeline.py` on the path is not taken, nor is the current folder the project's."""
    (tmp_path / "pipeline.py").write_text("raise SystemExit('another pipeline')")
    folder = write_clone(checkout, tmp_path / "clone") / "notes"
    folder.mkdir()
    script = "import sys; sys.path[0] = sys.argv.pop(); from gapwise import main; main()"
    words = ("-c", script, "status", str(tmp_path))
    path = os.pathsep.join([str(tmp_path), os.path.dirname(terminal.__file__)])
    ended = command(sys.executable, *words, at=folder, PYTHONPATH=path)
    assert "exploration: not planned yet" in ended.stdout, ended.stderr


def test_files_in_pythonpath_hide_nothing_that_is_needed(checkout, command, tmp_path):
    for name in ("random.py", "token.py", "signal.py", "torch.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('hides')")
    code = "import pipeline, random, token, signal, numpy; from importlib.util import find_spec"
    code += "; print(find_spec('torch').origin)"
    ended = command(sys.executable, "-c", code, at=checkout, PYTHONPATH=str(tmp_path))
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ended.stdout.endswith("/site-packages/torch/__init__.py\n")


def test_modules_of_the_user_in_pythonpath_are_found(checkout, command, tmp_path):
    (tmp_path / "mynet.py").touch()
    words = (sys.executable, "-P", "-c", "import sys; sys.path.append('.'); import pipeline, mynet")
    ended = command(*words, at=checkout, PYTHONPATH=str(tmp_path))
    assert (ended.stderr, ended.returncode) == ("", 0)


def test_the_folder_of_the_project_stays_where_pythonpath_has_it(monkeypatch):
    monkeypatch.setattr(sys, "path", ["/code", "/other", "/lib", "/lib/site-packages", "/linked"])
    search_last("/code:/other/", "/code")
    assert sys.path == ["/code", "/lib", "/lib/site-packages", "/other", "/linked"]


def test_the_script_says_in_one_line_that_its_folder_was_deleted(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SystemExit, match="the current folder was deleted") as ended:
        gapwise.main()
    assert "\n" not in str(ended.value)
