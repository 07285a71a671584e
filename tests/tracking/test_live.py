"""LiveLogger: the same run to the last bit whatever W&B does, and nothing twice in the end."""

import shutil
import subprocess
import sys
import uuid

import psutil
import pytest
from interrupted import killed_after
from loopback import silent
from marked import MARK, marked, survivors
from offline import curve, folder_of, wait_for_wandb
from stages import run_stages
from tiny import ROOT
from waiting import PATIENCE, wait_until
from wandb_server import behaving

from pipeline import choose, confirm, prepare, track, train
from pipeline.config.parameters import Execution
from pipeline.config.plan import read_plan
from pipeline.execution.processes import run_jobs
from pipeline.records.history import points
from pipeline.records.runs import read_history
from pipeline.records.store import Store
from pipeline.tracking import logger as module
from pipeline.tracking.logger import LiveLogger
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.payloads import Payload
from pipeline.training import trainer

KEY = "0" * 40
GIVEN = {"mode": "offline", "project": "gapwise", "entity": None}
PAYLOAD = {
    **{
        "id": "abc123",
        "group": "dropout",
        "job_type": "confirmation",
        "name": "dropout seed 3",
        "notes": "Does it help?",
    },
    **{"tags": ["dropout"], "config": {"arm": "dropout"}, "summary": {"state": "running"}},
}
SHIFT = {"name": "augmentation", "shift": 1}  # draws from the generator that every library shares


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """Wait for W&B as long as it takes on a busy machine, where a test sets no limit of its own."""
    monkeypatch.setattr(module, "PATIENCE", float(PATIENCE))
    monkeypatch.setattr(module, "LEAST", float(PATIENCE))
    wait_for_wandb(monkeypatch)


@pytest.fixture(autouse=True)
def _separate_folders(tmp_path, monkeypatch):
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home"))
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()


def logger(tmp_path):
    return LiveLogger(PAYLOAD, **GIVEN, folder=str(tmp_path))


def test_a_run_streams_the_points_of_its_history_and_stays_the_same(tmp_path, configure, pool):
    live = logger(tmp_path)
    streamed = trainer.train(configure(SHIFT, epochs=4, curve_points=4), pool, logger=live)
    alone = trainer.train(configure(SHIFT, epochs=4, curve_points=4), pool)
    assert live.trouble == ""
    assert curve(folder_of(tmp_path, "abc123")) == list(points(streamed.history))
    assert streamed.history == alone.history
    assert all(value.equal(alone.weights[name]) for name, value in streamed.weights.items())


def test_a_killed_wandb_changes_nothing_in_a_run(tmp_path, configure, pool, monkeypatch):
    """Killed after every point, in a worker, as always: what is left of wandb ends with it."""
    config, log = configure(epochs=4, curve_points=4), LiveLogger.log_metrics

    def killing(self, metrics, step=None):
        log(self, metrics, step)
        for core in psutil.Process().children():
            core.kill()
            core.wait()

    def streamed(job):
        live = logger(tmp_path)
        return {
            "state": "done",
            "history": trainer.train(config, pool, logger=live).history,
            "trouble": live.trouble,
        }

    monkeypatch.setattr(LiveLogger, "log_metrics", killing)
    ((_, outcome),) = run_jobs([{"id": "a"}], streamed, Execution(workers=1, time_limit=60))
    assert outcome["state"] == "done", outcome
    assert outcome["trouble"]
    assert outcome["history"] == trainer.train(config, pool).history


def test_killed_and_resumed_it_is_one_run_on_a_server_and_the_mirror_adds_no_point(
    tmp_path, configure, pool, monkeypatch
):
    """Killed as its second epoch begins; then the mirror sends the whole run again."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    config = configure(epochs=4, curve_points=4)
    with behaving() as kept:
        monkeypatch.setenv("WANDB_BASE_URL", kept.address)

        def live():
            return LiveLogger(PAYLOAD, **GIVEN | {"mode": "online", "folder": str(tmp_path)})

        killed_after(2, config, pool, tmp_path / "checkpoints", live())
        run = kept.runs["abc123"]
        assert [point["epoch"] for point in run.history()] == [1, 2]
        trained = trainer.train(config, pool, tmp_path / "checkpoints", logger=live())
        whole = list(points(trained.history))
        assert [{key: point[key] for key in whole[0]} for point in run.history()] == whole
        client = Mirror("online", "gapwise", None, str(tmp_path))
        assert client.send(
            Payload(**PAYLOAD | {"history": tuple(whole), "summary": {"state": "done"}})
        )
        client.close()
        assert [{key: point[key] for key in whole[0]} for point in run.history()] == whole
        assert run.summary()["state"] == "done"
        assert (list(kept.runs), kept.unknown) == (["abc123"], [])


def asked_for_live(project):
    parameters = project / "params.yaml"
    few = parameters.read_text().replace("studies: null", "studies: [others]")
    parameters.write_text(few + "tracking: {live: true}\n")


@pytest.mark.torture
@pytest.mark.long
def test_what_was_streamed_is_there_once_after_the_mirror(project, finished, monkeypatch):
    for name in ("artifacts", "reports"):
        shutil.copytree(finished / name, project / name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    parameters = project / "params.yaml"
    parameters.write_text(parameters.read_text() + "tracking: {live: true}\n")
    train.main("tiny")
    plan = read_plan(project / "artifacts" / "tiny" / "exploration")
    store = Store(project / ".runs")
    histories = {
        name: list(points(read_history(store.folder(name)))) for name in plan.fingerprints()
    }
    assert {name: curve(folder_of(project, name)) for name in histories} == histories
    live_folders = {folder_of(project, name) for name in histories}
    track.main("tiny")
    assert {name: curve(folder_of(project, name)) for name in histories} == histories
    assert not live_folders & {folder_of(project, name) for name in histories}


@pytest.mark.long
def test_trouble_is_waited_for_once_and_said_in_a_line(project, monkeypatch, capfd):
    """A server that never answers: one wait for the two workers, none afterwards."""
    monkeypatch.setattr(module, "PATIENCE", 6.0)
    asked_for_live(project)
    prepare.main("tiny")
    with silent() as server:
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        train.main("tiny")
    monkeypatch.setattr(module, "LiveLogger", None)  # a run that would stream fails
    run_stages(choose, confirm)
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("W&B: ")]
    assert lines == 2 * [
        "W&B: TimeoutError: no answer within 6 s; no live curves for some minutes, "
        "the mirror sends them later"
    ]
    store = Store(project / ".runs")
    assert store.muted()
    assert all(
        store.finished(name)
        for name in read_plan(project / "artifacts" / "tiny" / "exploration").fingerprints()
    )


class Clock:
    """A clock that goes on by so many seconds for each point."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.now = 0.0

    def monotonic(self):
        return self.now

    def answer(self):
        self.now += self.seconds
        return FakeLogger()


def test_what_is_slow_on_every_point_is_trouble_too(tmp_path, monkeypatch):
    """Each wait is within its bound, all together are more than their share of the run."""
    clock = Clock(seconds=3.0)
    monkeypatch.setattr(module, "LEAST", 5.0)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(LiveLogger, "_started", lambda self: clock.answer())
    slow = logger(tmp_path)
    slow.log_metrics({"epoch": 1}, 1)
    assert slow.trouble == ""
    slow.log_metrics({"epoch": 2}, 2)
    assert slow.trouble == "slow, training has waited 6 s"


class FakeLogger:
    """Takes everything at once."""

    class experiment:
        """Of the run."""

        @staticmethod
        def log(row, step):
            """Do nothing."""


def test_nothing_is_streamed_unless_asked_for(project, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    run_stages(prepare, train)
    assert not (project / "wandb").exists()


@pytest.mark.torture
@pytest.mark.long
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux shows the processes of others"
)
def test_killed_while_it_streams_it_leaves_no_process(project, environment):
    asked_for_live(project)
    prepare.main("tiny")
    mark = uuid.uuid4().hex
    place = {"GAPWISE_STORE": str(project / ".runs"), "PYTHONPATH": str(ROOT), MARK: mark}
    stage = subprocess.Popen(
        [sys.executable, "-m", "pipeline.train", "tiny"],
        env=environment | place | {"WANDB_MODE": "offline"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: list(project.glob("wandb/offline-run-*")) or stage.poll() is not None)
    assert len(marked(mark)) > 1  # workers too
    assert stage.poll() is None
    stage.kill()
    stage.wait()
    assert survivors(mark) == []
