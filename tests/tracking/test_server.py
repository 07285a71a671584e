"""What W&B's own client sends a server: everything once, no secret, and all of it after a fall."""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing

import pandas as pd
import psutil
import pytest
from loopback import absent
from offline import inspected
from tiny import ROOT, clean_environment
from wandb_server import behaving

from pipeline.config.plan import read_plan
from pipeline.runtime.files import read_sealed, write_sealed
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.payloads import Payload

STAGE = """
import sys
from pipeline import track
from pipeline.execution.stage import stage
from pipeline.tracking import mirror, sync
mirror.PATIENCE, *rest = map(float, sys.argv[1].split())
sync.STAGE_SECONDS = rest[0] if rest else sync.STAGE_SECONDS
sys.exit(stage(track.main, ["tiny"]))
"""
KEY, TOKEN, PASSWORD, SETTING = (
    f"canary{what}".ljust(40, "0") for what in ("key", "token", "password", "setting")
)
PHASES = ("confirmation", "exploration")
SECRETS = (b"canary", base64.b64encode(f"api:{KEY}".encode()))


@pytest.fixture
def place(finished, tmp_path):
    """Return a finished project with the runs of one seed in its plans, and a home of secrets."""
    shutil.copytree(finished, tmp_path / "project")
    for phase in PHASES:
        folder = tmp_path / "project" / "artifacts" / "tiny" / phase
        plan = read_plan(folder)
        seed = min(run.seed for run in plan.runs)
        few = plan.model_copy(update={"runs": tuple(run for run in plan.runs if run.seed == seed)})
        write_sealed(folder / "plan.json", few.model_dump(mode="json"))
    for name in ("home/.config/wandb", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    for machine, name in (("127.0.0.1", "netrc"), ("example.org", ".netrc")):
        (tmp_path / "home" / name).write_text(f"machine {machine} login user password {PASSWORD}\n")
    (tmp_path / "home/.config/wandb/settings").write_text(f"[default]\napi_key = {SETTING}\n")
    return tmp_path


def environment(place, mode, address):
    variables = {
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        "NETRC": str(place / "home" / "netrc"),
    }
    given = {
        "WANDB_MODE": mode,
        "WANDB_BASE_URL": address,
        "WANDB_API_KEY": KEY,
        "SOME_TOKEN": TOKEN,
        "PYTHONPATH": str(ROOT),
    }
    return clean_environment(place / "site") | variables | given


def start(place, mode, address, patience=20, before=(), **more):
    command = [*before, sys.executable, "-c", STAGE, str(patience)]
    ended = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        command, cwd=place / "project", env=environment(place, mode, address) | more, **ended
    )


def tracked(*given, **named):
    """Return the exit code, the output and the errors."""
    with start(*given, **named) as process:
        out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def fingerprints(project):
    """Return every run of the plans -> its phase and first study."""
    plans = [read_plan(project / "artifacts" / "tiny" / phase) for phase in PHASES]
    return {
        row.fingerprint: (plan.phase, row.study) for plan in plans for row in reversed(plan.runs)
    }


def check_run(run, folder, phase, study, scores):
    """Compare a run with its files."""
    record, identity = (
        json.loads((folder / name).read_text()) for name in ("record.json", "run.json")
    )
    regularizers = [item["name"] for item in identity["regularizers"]]
    assert (run.project, run.arguments["group"], run.arguments["job_type"], run.exit_code) == (
        "gapwise",
        study,
        phase,
        0,
    )
    assert {study, run.config["arm"], *regularizers} <= set(run.arguments["tags"])
    assert run.arguments["name"].startswith(run.config["arm"])
    assert run.arguments["notes"].endswith("?")
    assert run.config["training.epochs"] == identity["training"]["epochs"]
    assert run.arguments["program"] == "pipeline.track"
    assert not [value for value in run.config.values() if isinstance(value, dict)]
    rows = pd.read_json(folder / "history.jsonl", lines=True).pivot(index="epoch", columns="split")
    assert (
        [row["_step"] for row in run.history()]
        == [row["epoch"] for row in run.history()]
        == list(rows.index)
    )
    for row in run.history():
        there = rows.loc[row["epoch"]]
        for split in ("train", "validation"):
            assert row[f"{split}/loss"] == pytest.approx(there["loss", split])
            assert row[f"{split}/accuracy"] == pytest.approx(there["accuracy", split])
        assert row["gap"] == pytest.approx(
            there["accuracy", "train"] - there["accuracy", "validation"]
        )
        assert row["learning_rate"] == pytest.approx(there["learning_rate", "train"])
    summary = run.summary()
    assert (summary["state"], summary["cost/updates"]) == ("done", record["cost"]["updates"])
    assert summary["cost/training_flops"] == record["cost"]["training_flops"]
    for name, audit in record["audit"].items():
        assert [summary[f"audit/{name}/{key}"] for key in audit] == list(audit.values())
    for (split, metric), value in scores.items():
        assert summary[
            f"final/{metric}" if split == "train_validation" else f"final/{split}_{metric}"
        ] == pytest.approx(value)


def check_report(kept, project):
    (name,) = (name for name in kept.runs if name.startswith("report-"))
    run, report = kept.runs[name], project / "reports" / "tiny"
    assert (run.arguments["job_type"], run.arguments["group"], run.exit_code) == (
        "report",
        "tiny",
        0,
    )
    table = pd.read_csv(project / "artifacts" / "tiny" / "contrasts.csv")
    figures = {path.stem: path.read_bytes() for path in (report / "figures").glob("*.png")}
    summary = run.summary()
    assert all(
        set(figures) < {key.removeprefix("figures/") for key in row} for row in run.history()
    )
    assert summary["headline"]["nrows"] == sum(table["metric"] == "test_accuracy")
    assert (summary["contrasts"]["nrows"], summary["contrasts"]["ncols"]) == table.shape
    assert {
        figure: run.files[summary[f"figures/{figure}"]["path"]] for figure in figures
    } == figures
    sent = json.loads(run.files[summary["contrasts"]["path"]])
    assert [row[1] for row in sent["data"]] == list(table["arm"])
    texts = [report / "report.md", project / "artifacts" / "tiny" / "contrasts.csv"]
    assert kept.artifacts[name].contents() == {path.name: path.read_bytes() for path in texts}
    digest = read_plan(project / "artifacts" / "tiny" / "confirmation").data_digest
    assert run.used == {f"data-{digest[:20]}"}
    (data,) = (item for item in kept.artifacts.values() if item.type == "dataset")
    assert (data.metadata, data.contents()) == ({"dataset": "digits", "digest": digest}, {})
    assert all(item.committed for item in kept.artifacts.values())


def check_everything(kept, project):
    planned = fingerprints(project)
    assert set(planned) == {name for name in kept.runs if not name.startswith("report-")}
    scores = pd.read_csv(project / "artifacts" / "tiny" / "scores.csv").set_index(
        ["split", "metric"]
    )
    scores = scores[scores["view"] == "deterministic"]
    for name, (phase, study) in planned.items():
        values = scores[scores["fingerprint"] == name]["value"]
        assert len(values) > 15 or phase == "exploration"
        check_run(
            kept.runs[name], project / "artifacts" / "tiny" / phase / name, phase, study, values
        )
    check_report(kept, project)
    assert len({run.arguments["name"] for run in kept.runs.values()}) == len(kept.runs)
    assert kept.unknown == []


def check_secrets(kept, place):
    """Check that the key is in one header only, and each secret only where it was planted."""
    planted = {place / "home" / name for name in ("netrc", ".netrc", ".config/wandb/settings")}
    files = [path for path in place.rglob("*") if path.is_file() and path not in planted]
    assert any(path.name == "debug-internal.log" for path in files)
    assert not [path for path in files for secret in SECRETS if secret in path.read_bytes()]
    for path, headers, body in kept.requests:
        others = {name: value for name, value in headers.items() if name != "Authorization"}
        request = path.encode() + json.dumps(others).encode() + body
        assert not [secret for secret in SECRETS if secret in request]
    assert {headers.get("Authorization") for _, headers, _ in kept.requests} == {
        f"Basic {SECRETS[1].decode()}",
        None,
    }


@pytest.mark.long
def test_all_arrives_once_with_no_secret_as_soon_as_the_server_is_there(place):
    """Down, up, up again, and up with nothing remembered."""
    project, count = place / "project", len(fingerprints(place / "project")) + 1
    with absent() as nobody:
        code, out, err = tracked(place, "online", nobody.address, patience=2)
    assert (code, out, err.count("\n")) == (0, "", 1), err
    assert (
        f"mirrored 0 of {count} runs; the results are complete; run: gapwise track --protocol tiny"
        in err
    )

    with behaving() as kept:
        look = "look: wandb leet wandb\n"
        assert tracked(place, "online", kept.address) == (
            0,
            f"W&B: mirrored {count} runs online; {look}",
            "",
        )
        check_everything(kept, project)
        shown, requests = kept.shown(), len(kept.requests)
        assert tracked(place, "online", kept.address) == (
            0,
            f"W&B: mirrored 0 runs online ({count} were there already); {look}",
            "",
        )
        assert len(kept.requests) == requests
        shutil.rmtree(project / ".runs" / "tracked")
        assert tracked(place, "online", kept.address) == (
            0,
            f"W&B: mirrored {count} runs online; {look}",
            "",
        )
        assert len(kept.requests) > 1.5 * requests
        check_everything(kept, project)
        assert kept.shown() == shown
    check_secrets(kept, place)


@pytest.mark.torture
def test_a_slow_server_holds_a_run_of_the_pipeline_up_for_so_long_and_the_command_not_at_all(place):
    """It answers everything, half a second late; the stage has two seconds."""
    count = len(fingerprints(place / "project")) + 1
    with behaving() as kept:
        kept.delay = 0.5
        begun = time.monotonic()
        code, out, err = tracked(
            place, "online", kept.address, patience="20 2", DVC_STAGE="track@tiny"
        )
        assert time.monotonic() - begun < 20
        assert (code, out) == (0, "")
        (done,) = re.findall(
            rf"^W&B: slow, stopped after 2 s; mirrored (\d+) of {count} runs; .*\n$", err
        )
        assert 0 < int(done) < count
        kept.delay = 0
        code, out, err = tracked(place, "online", kept.address)
        assert out.startswith(
            f"W&B: mirrored {count - int(done)} runs online ({done} were there already); "
        )
        check_everything(kept, place / "project")


@pytest.mark.torture
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds wandb-core in /proc")
def test_a_core_killed_on_the_way_costs_one_line_and_the_next_time_completes(place):
    count = len(fingerprints(place / "project")) + 1
    with behaving() as kept:
        with start(place, "online", kept.address) as process:
            while len(kept.runs) < 5 and process.poll() is None:
                time.sleep(0.02)
            begun = time.monotonic()
            os.kill(core_of(process.pid), signal.SIGKILL)
            out, err = process.communicate(timeout=300)
        assert time.monotonic() - begun < 30
        assert (process.returncode, out, err.count("\n")) == (0, "", 1), err
        (done,) = re.findall(rf"mirrored (\d+) of {count} runs", err)
        assert 3 <= int(done) < count
        code, out, err = tracked(place, "online", kept.address)
        assert (code, err) == (0, "")
        assert out.startswith(
            f"W&B: mirrored {count - int(done)} runs online ({done} were there already); "
        )
        check_everything(kept, place / "project")


def core_of(pid: int) -> int:
    children = psutil.Process(pid).children()
    return next(child.pid for child in children if "wandb-core" in " ".join(child.cmdline()))


@pytest.mark.torture
def test_a_full_disk_costs_one_line_and_nothing_half_written_counts(place, mounting):
    (place / "small").mkdir()
    copied = f'"$0" "$@"; code=$?; cp -r {place}/small/wandb {place}/wandb; exit $code'
    before = (*mounting, f"mount -t tmpfs -o size=100k none {place}/small; {copied}")
    code, out, err = tracked(
        place, "offline", "http://127.0.0.1:9", before=before, WANDB_DIR=str(place / "small")
    )
    assert (code, out, err.count("\n")) == (0, "", 1), err
    assert re.search("No space left on device|breaks off, as on a full disk", err)
    (memory,) = (place / "project" / ".runs" / "tracked").iterdir()
    sent = read_sealed(memory)
    assert f"mirrored {len(sent)} of " in err
    for name in sent:
        (folder,) = (place / "wandb").glob(f"offline-run-*-{name}")
        seen = json.loads(inspected(folder, "--summary"))
        assert (seen["state"], seen["summary"]["state"]) == ("finished", "done")


@pytest.mark.parametrize(
    "refused", ["file_stream", "CreateRunFiles", "/runs/one/", "/artifacts/one/", "CommitArtifact"]
)
def test_what_the_server_rejects_does_not_count_as_sent(refused, tmp_path, monkeypatch):
    """W&B raises nothing for these."""
    for name, value in {"HOME": str(tmp_path), "WANDB_API_KEY": KEY}.items():
        monkeypatch.setenv(name, value)
    words = {
        "group": "dropout",
        "job_type": "report",
        "name": "one",
        "notes": "",
        "tags": (),
        "config": {},
        "summary": {},
    }
    payload = Payload(
        id="one", **words, history=({"epoch": 1, "gap": 0.1},), texts={"report.md": "# Gap\n"}
    )
    with behaving() as kept:
        monkeypatch.setenv("WANDB_BASE_URL", kept.address)
        for folder, refusing, rejected in (
            (tmp_path / "first", refused, ["one"]),
            (tmp_path / "again", None, []),
        ):
            kept.refusing = refusing
            with closing(Mirror("online", "gapwise", None, str(folder))) as mirror:
                assert mirror.send(payload) == (not rejected)
            assert (list(mirror.rejected), mirror.trouble) == (rejected, "")
        assert kept.runs["one"].history() == [{"_step": 1, "epoch": 1, "gap": 0.1}]
        assert kept.artifacts["one"].contents() == {"report.md": b"# Gap\n"}
