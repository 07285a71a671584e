"""The stage that mirrors to W&B, on small artifacts written here."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from offline import wait_for_wandb
from PIL import Image

from pipeline import track
from pipeline.config.plan import Factor, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.execution.stage import report_errors
from pipeline.records.runs import write_record
from pipeline.records.tables import write_table
from pipeline.runtime.files import to_json, write_sealed
from pipeline.tracking.payloads import report_id

ROOT = Path(__file__).resolve().parent.parent
CANARY = "canary-in-the-mine-canary-in-the-mine-0000"
SETTINGS: dict[str, Any] = {
    "data": {"dataset": "digits"},
    "model": {"name": "resnet"},
    "training": {"epochs": 12},
}
ARMS = (
    PlannedArm(name="baseline"),
    PlannedArm(name="drop", factor=Factor(regularizers=("dropout",))),
)
STUDY = PlannedStudy(name="dropout", question="Does dropout close the gap?", arms=ARMS)


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GAPWISE_STORE", str(tmp_path / "runs"))
    monkeypatch.setenv("WANDB_API_KEY", CANARY)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    wait_for_wandb(monkeypatch)
    set_tracking()
    for phase, seed in (("exploration", 0), ("confirmation", 1000)):
        write_phase(phase, seed)
    write_report()


def set_tracking(**values: str) -> None:
    lines = "".join(f"  {key}: {value}\n" for key, value in {"wandb": "offline", **values}.items())
    Path("params.yaml").write_text(f"protocols: [digits]\ntracking:\n{lines}")


def plan_of(phase: str, seed: int) -> Plan:
    runs = [
        PlannedRun(study="dropout", arm=arm, setting=setting, seed=seed, fingerprint=name)
        for arm, setting, name in (
            ("baseline", {}, f"1{seed:04}e67"),
            ("drop", {"dropout": {"rate": 0.25}}, f"d{seed}"),
            ("drop", {"dropout": {"rate": 0.5}}, f"m{seed}"),
        )
    ]
    given: dict[str, Any] = {
        "protocol": "digits",
        "phase": phase,
        "settings": SETTINGS,
        "margin": 0.01,
        "data_digest": "d",
    }
    return Plan(studies=(STUDY,), runs=tuple(runs), **given)


def write_phase(phase: str, seed: int) -> None:
    folder, plan = Path("artifacts/digits", phase), plan_of(phase, seed)
    folder.mkdir(parents=True)
    write_sealed(folder / "plan.json", plan.model_dump(mode="json"))
    for name in plan.fingerprints()[:2]:  # the third is missing
        write_run(
            folder / name,
            "done",
            [{"name": "dropout", "rate": 0.25}] if name.startswith("d") else [],
        )


def write_run(folder: Path, state: str, regularizers: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "epoch": epoch,
            "updates": epoch,
            "split": split,
            "loss": 1 / epoch,
            "accuracy": accuracy,
            "learning_rate": 0.05,
        }
        for epoch in (6, 12)
        for split, accuracy in (("train", 0.9), ("validation", 0.75))
    ]
    record = {
        "fingerprint": folder.name,
        "state": state,
        "reason": "",
        "audit": {},
        "cost": {"updates": 12},
        "machine": {},
        "files": {},
    }
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "run.json").write_text(to_json({**SETTINGS, "regularizers": regularizers}))
    write_record(folder, record)


def write_report() -> None:
    Path("artifacts/digits/scores.csv").write_text(
        "fingerprint,view,members,split,metric,value\n"
        "11000e67,deterministic,1,test,accuracy,0.9\n"
        "d1000,deterministic,1,test,accuracy,0.93\n"
        "d1000,noise,12,test,accuracy,0.94\n"
    )
    fixed = {
        "study": "dropout",
        "arm": "drop",
        "factor": ARMS[1].factor.model_dump(mode="json"),
        "setting": {"dropout": {"rate": 0.25}},
        "view": "deterministic",
        "members": 1,
        "n": 1,
        **dict.fromkeys(("low", "high", "p_holm")),
    }
    rows = [
        {
            **fixed,
            "metric": "test_accuracy",
            "difference": 0.03,
            "verdict": "inconclusive",
            "below_margin": False,
        },
        {**fixed, "metric": "gap", "difference": -0.02, "verdict": "", "below_margin": False},
    ]
    write_table(Path("artifacts/digits/contrasts.csv"), pd.DataFrame(rows))
    figures = Path("reports/digits/figures")
    figures.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(figures / "forest.png")
    Path("reports/digits/report.md").write_text("# Report\n")


def mirrored() -> dict[str, int]:
    """Return id -> how many times it is in W&B's folder."""
    names = [
        path.stem.removeprefix("run-") for path in Path().glob("wandb/offline-run-*/run-*.wandb")
    ]
    return {name: names.count(name) for name in names}


def summary_of(name: str) -> dict[str, Any]:
    (folder,) = Path("wandb").glob(f"offline-run-*-{name}")
    command = [
        str(Path(sys.executable).with_name("wandb")),
        "leet",
        "inspect",
        "--summary",
        "--json",
        str(folder),
    ]
    seen: dict[str, Any] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    return seen


def run() -> int:
    return report_errors(lambda: track.main("digits"))


def tracked() -> list[str]:
    ids: list[str] = json.loads(Path("artifacts/digits/tracked.json").read_text())["ids"]
    return ids


REPORT = report_id([plan_of("exploration", 0), plan_of("confirmation", 1000)])
IDS = sorted(["10000e67", "d0", "11000e67", "d1000", REPORT])


def test_every_run_and_the_report_are_mirrored_and_twice_is_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run() == 0
    assert tracked() == IDS
    assert mirrored() == dict.fromkeys(IDS, 1)
    expected = (
        "W&B: mirrored 5 runs offline; look: wandb leet wandb; "
        "send: wandb sync wandb/offline-run-*\n"
    )
    assert capfd.readouterr() == (expected, "")

    seen = summary_of("d1000")
    assert seen["config"]["dropout.rate"] == 0.25
    assert seen["config"]["setting.dropout.rate"] == 0.25
    assert seen["config"]["factor.regularizers"] == ["dropout"]
    assert seen["config"]["test_rule.view"] == "deterministic"
    assert seen["config"]["test_rule.members"] == 1
    assert seen["config"]["phase"] == "confirmation"
    assert seen["summary"]["final/test_accuracy"] == 0.93
    assert seen["summary"]["final/noise_12/test_accuracy"] == 0.94
    assert seen["summary"]["gap"] == pytest.approx(0.15)
    assert summary_of("11000e67")["summary"]["final/test_accuracy"] == 0.9
    report = summary_of(REPORT)["summary"]
    assert report["dropout/drop/verdict"] == "inconclusive"
    assert report["figures/forest"]["_type"] == "image-file"
    assert report["headline"]["nrows"] == 1

    written = Path("artifacts/digits/tracked.json").read_bytes()
    assert run() == 0
    assert mirrored() == dict.fromkeys(IDS, 1)
    assert "mirrored 0 runs offline (5 were there already)" in capfd.readouterr().out
    assert Path("artifacts/digits/tracked.json").read_bytes() == written
    files = [path.read_bytes() for path in Path().rglob("*") if path.is_file()]
    assert not [content for content in files if CANARY.encode() in content]


def test_only_what_changed_or_is_gone_is_mirrored_again(capfd: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    write_run(Path("artifacts/digits/confirmation/m1000"), "diverged", [])
    (folder,) = Path("wandb").glob("offline-run-*-d0")
    folder.rename("elsewhere")
    assert run() == 0
    assert mirrored() == dict.fromkeys([*IDS, "m1000"], 1)
    assert "mirrored 2 runs offline (4 were there already)" in capfd.readouterr().out


def test_other_content_takes_the_place_of_what_was_mirrored_offline() -> None:
    """Or `wandb sync` would put two curves behind one another."""
    assert run() == 0
    first = {path.name for path in Path("wandb").glob("offline-run-*")}
    Path("reports/digits/report.md").write_text("# Another one\n")
    assert run() == 0
    assert mirrored() == dict.fromkeys(IDS, 1)
    assert first != {path.name for path in Path("wandb").glob("offline-run-*")}


def test_another_project_is_another_mirror() -> None:
    assert run() == 0
    set_tracking(project="other")
    assert run() == 0
    assert mirrored() == dict.fromkeys(IDS, 2)
    names = sorted(path.name for path in Path("runs/tracked").iterdir())
    assert names == ["offline-gapwise-default.json", "offline-other-default.json"]


@pytest.mark.parametrize("where", ["environment", "params.yaml"])
def test_disabled_sends_nothing(
    where: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("wandb.init", lambda **given: pytest.fail("sent"))
    if where == "environment":
        monkeypatch.setenv("WANDB_MODE", "disabled")
    else:
        set_tracking(wandb="disabled")
    assert run() == 0
    assert tracked() == IDS
    assert not Path("wandb").exists()
    assert capfd.readouterr().out == "W&B: disabled, nothing mirrored\n"


def test_an_unknown_mode_in_the_environment_ends_well(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    assert run() == 0
    assert tracked() == IDS
    assert (
        'WANDB_MODE: invalid value "sometimes"; expected one of: offline, online, disabled'
        in capfd.readouterr().err
    )


@pytest.mark.parametrize("what", ["wandb.init", "wandb.Run.finish"])
def test_a_broken_wandb_changes_no_result(
    what: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*given: Any, **named: Any) -> None:
        raise RuntimeError("on fire")

    with monkeypatch.context() as patch:
        patch.setattr(what, broken)
        assert run() == 0
    assert tracked() == IDS
    printed = capfd.readouterr()
    expected = (
        "W&B: RuntimeError: on fire; mirrored 0 of 5 runs; the results are complete; "
        "run: gapwise track --protocol digits\n"
    )
    assert printed == ("", expected)
    assert run() == 0
    assert set(mirrored()) == set(IDS)


def test_an_unwritable_folder_changes_no_result(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    monkeypatch.setenv("WANDB_DIR", "file")
    assert run() == 0
    assert tracked() == IDS
    assert capfd.readouterr().err.count("\n") == 1


def test_a_damaged_memory_is_forgotten() -> None:
    assert run() == 0
    memory = Path("runs/tracked/offline-gapwise-default.json")
    digests = hashlib.sha256(memory.read_bytes()).digest()
    memory.write_text("{half")
    assert run() == 0
    assert hashlib.sha256(memory.read_bytes()).digest() == digests


def test_a_missing_plan_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    Path("artifacts/digits/confirmation/plan.json").unlink()
    assert run() == 2
    assert capfd.readouterr().err.startswith(
        "error: artifacts/digits/confirmation/plan.json: missing or corrupted"
    )


HOSTILE = """
import os, signal, sys
from pathlib import Path
import wandb
from pipeline import track
from pipeline.execution.stage import stage
from pipeline.tracking import mirror

mirror.SEND_SECONDS = mirror.CLOSE_SECONDS = 3.0
real, begun = wandb.init, []

def core():
    tasks = Path("/proc/self/task").glob("*/children")
    children = " ".join(path.read_text() for path in tasks).split()
    names = {pid: Path("/proc", pid, "cmdline").read_text() for pid in children}
    return next(int(pid) for pid, name in names.items() if "wandb-core" in name)

def init(**given):
    begun.append(given["id"])
    if len(begun) == 2:
        found = core()
        Path("core").write_text(str(found))
        os.kill(found, getattr(signal, sys.argv[1]))
    return real(**given)

wandb.init = init
sys.exit(stage(track.main, ["digits"]))
"""


@pytest.mark.torture
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds wandb-core in /proc")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_a_killed_or_stopped_core_costs_little_and_changes_no_result(how: str) -> None:
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{HOSTILE}",
        how,
    ]
    try:
        with (
            open("stdout", "w") as out,
            open("stderr", "w") as err,
        ):  # a stopped core would keep a pipe open
            code = subprocess.run(
                command, stdout=out, stderr=err, timeout=120, check=False
            ).returncode
        took = time.time() - Path("core").stat().st_mtime
    finally:
        subprocess.run(
            ["kill", "-KILL", Path("core").read_text()], capture_output=True, check=False
        )
    printed = Path("stderr").read_text()
    assert took < 20  # seconds since it was hit
    assert (code, Path("stdout").read_text(), printed.count("\n")) == (0, "", 1), printed
    assert "mirrored 1 of 5 runs" in printed
    assert tracked() == IDS
    assert run() == 0
    assert set(mirrored()) == set(IDS)
