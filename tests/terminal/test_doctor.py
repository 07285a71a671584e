"""`doctor`: one line for each check, with the remedy where one is needed."""

import importlib.metadata
from pathlib import Path

import pytest

from pipeline.terminal import doctor
from pipeline.terminal.doctor import Finding, findings


def finding_of(name):
    return next(finding for finding in findings() if finding.name == name)


def test_every_check_is_one_line_with_its_name(project):
    lines = [finding.line() for finding in findings()]
    assert [line.split()[1] for line in lines] == [
        "Python",
        "packages",
        "code",
        "modules",
        "torch",
        "threads",
        "git",
        "DVC",
        "dvc.lock",
        "W&B",
        "run",
        "disk",
    ]
    assert all(line.startswith(("ok ", "fix ")) and "\n" not in line for line in lines)


@pytest.mark.parametrize(
    ("name", "spoil", "remedy"),
    [
        (
            "dvc.lock",
            lambda folder, patch: Path("dvc.lock").write_text("stages: [1,"),
            "make run restores it",
        ),
        (
            "threads",
            lambda folder, patch: Path("params.yaml").write_text(
                "protocols: [tiny]\nexecution: {workers: 999}\n"
            ),
            "params.yaml: execution.workers: expected",
        ),
        ("git", lambda folder, patch: patch.setenv("GIT_DIR", str(folder / "none")), "git init"),
        ("DVC", lambda folder, patch: None, "dvc init"),
        ("modules", lambda folder, patch: Path("random.py").touch(), "rename it"),
        ("code", lambda folder, patch: Path("pipeline").mkdir(), "python -m pipeline doctor"),
        (
            "packages",
            lambda folder, patch: patch.setattr(
                importlib.metadata, "version", lambda name: "0.0.1"
            ),
            "expected ",
        ),
        (
            "disk",
            lambda folder, patch: patch.setattr(doctor, "ROOM", 1 << 60),
            "or move it: GAPWISE_STORE",
        ),
        (
            "run store",
            lambda folder, patch: patch.setenv(
                "GAPWISE_STORE", str(folder / "params.yaml" / "store")
            ),
            "not writable",
        ),
    ],
)
def test_what_is_wrong_comes_with_its_remedy(project, monkeypatch, name, spoil, remedy):
    spoil(project, monkeypatch)
    assert remedy in finding_of(name).remedy


def test_online_without_a_key_is_reported_and_a_key_is_never_shown(project, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("NETRC", str(project / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert finding_of("W&B").remedy == "no key found: wandb login"
    monkeypatch.setenv("WANDB_BASE_URL", "https://own.example.org")
    (project / "netrc").write_text(f"machine own.example.org login user password {'canary' * 7}\n")
    assert finding_of("W&B").remedy == ""
    monkeypatch.setenv("WANDB_BASE_URL", "https://other.example.org")
    assert finding_of("W&B").remedy == "no key found: wandb login"
    monkeypatch.setenv("WANDB_API_KEY", "canary" * 7)
    assert finding_of("W&B").remedy == ""
    assert not [finding for finding in findings() if "canary" in finding.line()]


def test_a_mode_that_does_not_exist_is_reported(project, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "Offline")
    assert (
        finding_of("W&B").remedy
        == "expected one of: offline, online, disabled; run: unset WANDB_MODE"
    )


def test_a_line_says_ok_or_what_to_fix():
    assert Finding("git", "at abc").line() == "ok   git        at abc"
    assert Finding("DVC", "3", "dvc init").line() == "fix  DVC        3; dvc init"


def test_a_repository_of_another_owner_comes_with_the_command_that_trusts_it(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    finding = finding_of("git")
    assert finding.state == f"{checkout} belongs to another user"
    assert finding.remedy == f"git config --global --add safe.directory '{checkout}'"
