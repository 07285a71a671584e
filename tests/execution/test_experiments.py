"""Studies run alone leave everything else as it is; results return to the last commit."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import cli
from pipeline.execution import experiments
from pipeline.execution.experiments import copy_problem, restore_results, run_studies
from pipeline.execution.stage import Incomplete
from pipeline.records.store import open_store
from pipeline.report import read_summaries, write_index
from pipeline.runtime.errors import Refusal

IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.org")


def git(*words):
    ended = subprocess.run(["git", *IDENTITY, *words], check=True, capture_output=True, text=True)
    return ended.stdout


@pytest.fixture
def committed_report(project):
    """Return the project under git with a committed report."""
    (project / "reports" / "tiny" / "pages").mkdir(parents=True)
    (project / "reports" / "tiny" / "report.md").write_text("committed")
    (project / "dvc.lock").write_text("committed")
    (project / ".gitignore").write_text(".runs/\n.dvc/\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "start")
    return project


@pytest.fixture
def dvc(monkeypatch, committed_report):
    """Stand in for DVC, which commits a report under the name of the experiment."""
    calls = []

    def run(words, environment):
        calls.append(list(words))
        if words[:2] != ["exp", "run"]:
            return
        report = committed_report / "reports" / "tiny" / "report.md"
        report.write_text(f"experiment {len(calls)}")
        git("add", "reports")
        commit = git("commit-tree", git("write-tree").strip(), "-m", "x").strip()
        git("update-ref", f"refs/exps/aa/bbb/{words[words.index('-n') + 1]}", commit)
        git("reset", "-q", "--hard")

    monkeypatch.setattr(experiments.dvc, "run_dvc", run)
    return calls


def test_a_report_of_studies_alone_lies_beside_that_of_the_protocol(dvc, project):
    (project / "experiments" / "mine.yaml").write_text("question: Mine?")
    for number in (1, 2):
        _, texts = run_studies(["tiny"], ["dropout", "others"], keep_going=False)
        ((path, text),) = texts.items()
        assert (str(path), text) == (
            "reports/tiny+dropout+others/report.md",
            f"experiment {number}",
        )
        assert path.read_text() == text
    assert git("status", "--porcelain", "--", "reports/tiny", "dvc.lock", "params.yaml") == ""
    assert [words[words.index("-n") + 1] for words in dvc] == ["dropout-others", "dropout-others-2"]
    assert dvc[0][-2:] == ["-C", "experiments/mine.yaml"]
    assert "--temp" in dvc[0]


def test_a_report_of_many_studies_can_have_a_name_of_its_own(dvc, project):
    _, texts = run_studies(["tiny"], ["dropout", "others"], keep_going=False, label="claims")
    assert [path.parent.name for path in texts] == ["tiny+claims"]


@pytest.mark.parametrize(("keep_going", "forced"), [(False, True), (True, False)])
def test_after_failures_the_stages_run_again(dvc, keep_going, forced):
    run_studies(["tiny"], ["dropout"], keep_going)
    assert "--force" not in dvc[0]
    open_store().write_failure("a" * 64, "no memory")
    run_studies(["tiny"], ["dropout"], keep_going)
    assert ("--force" in dvc[1]) == forced


def test_the_index_shows_protocols_alone(dvc, project):
    (project / "reports" / "tiny+dropout").mkdir()
    (project / "reports" / "tiny+dropout" / "metrics.json").write_text("{}")
    assert read_summaries(project / "reports") == {}


def test_it_lists_the_reports_of_studies_as_soon_as_these_have_run(finished, tmp_path, monkeypatch):
    """`gapwise verify` would find another index otherwise."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("GAPWISE_STORE", str(tmp_path / "copy" / ".runs"))
    index, before = Path("reports", "README.md"), Path("reports", "README.md").read_text()

    def ran(*_):
        shutil.copytree("reports/tiny", "reports/tiny+dropout")
        return {}, {}

    monkeypatch.setattr(experiments, "run_studies", ran)
    with pytest.raises(SystemExit, match="^0$"):
        cli.application(["run", "dropout"])
    assert "tiny+dropout" in index.read_text()
    shutil.rmtree("reports/tiny+dropout")
    write_index(Path("reports"), redraw=False)
    assert index.read_text() == before


def test_an_unknown_study_raises_before_anything_runs(dvc):
    with pytest.raises(Refusal, match="run: studies: unknown name 'dropuot'"):
        run_studies(["tiny"], ["dropuot"], keep_going=False)
    assert dvc == []


def test_without_a_commit_it_says_what_to_do(project):
    with pytest.raises(Refusal, match="git: no commit here; run: git init"):
        run_studies(["tiny"], ["dropout"], keep_going=False)


def test_results_return_to_the_last_commit_and_code_stays(dvc, project):
    texts = {
        "params.yaml": "protocols: [tiny]\n# changed\n",
        "experiments/dropout.yaml": "changed",
        "mynet.py": "new",
        "reports/mine/report.md": "not committed",
    }
    results = {"reports/tiny/report.md": "other", "dvc.lock": "other"}
    stray = project / "reports" / "tiny" / "pages" / "study_other.md"
    for name, text in {**texts, **results, str(stray): "x"}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    restored, *left = restore_results()
    assert restored.endswith(": dvc.lock, reports, artifacts")
    assert {name: (project / name).read_text() for name in texts} == texts
    assert {(project / name).read_text() for name in results} == {"committed"}
    assert not stray.exists()
    assert dvc == [["checkout", "--force", "--quiet"]]
    assert left == [
        "params.yaml: differs from the last commit and was left; git restore params.yaml undoes it"
    ]


def test_without_committed_results_nothing_is_changed(dvc, project):
    git("rm", "-rq", "--cached", "reports", "dvc.lock")
    git("commit", "-qm", "none")
    with pytest.raises(Refusal, match="restore: the last commit holds neither reports nor dvc"):
        restore_results()
    assert dvc == []
    git("add", "reports")
    git("commit", "-qm", "reports alone")
    (project / "dvc.lock").write_text("mine")
    assert restore_results() == [
        "restored from the last commit: reports, artifacts",
        "dvc.lock: not in the last commit, and left as it was",
    ]
    assert (project / "dvc.lock").read_text() == "mine"


def test_outputs_that_the_cache_lacks_are_named(monkeypatch, committed_report):
    def fail(words, environment):
        raise Incomplete

    monkeypatch.setattr(experiments.dvc, "run_dvc", fail)
    assert restore_results() == [
        "restored from the last commit: dvc.lock, reports",
        "some outputs are not in DVC's cache; run: gapwise run, or dvc pull",
    ]


def test_a_shallow_clone_raises_before_dvc_copies_it(dvc, project, tmp_path, monkeypatch):
    git("clone", "-q", "--depth", "1", f"file://{project}", str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    with pytest.raises(Refusal, match="shallow clone, .*; run: git fetch --unshallow"):
        run_studies(["tiny"], ["dropout"], keep_going=False)
    assert dvc == []
    git("fetch", "-q", "--unshallow")
    assert copy_problem() == ""


def test_a_path_that_dvc_cannot_write_raises(dvc, project, tmp_path, monkeypatch):
    git("clone", "-q", str(project), str(tmp_path / "pro ject"))
    monkeypatch.chdir(tmp_path / "pro ject")
    assert copy_problem() == ""
    git("clone", "-q", str(project), str(tmp_path / "projé"))
    monkeypatch.chdir(tmp_path / "projé")
    with pytest.raises(Refusal, match="run: dropout alone: .*projé: DVC cannot copy"):
        run_studies(["tiny"], ["dropout"], keep_going=False)
    assert dvc == []
