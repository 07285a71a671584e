"""The mirror in Weights & Biases: the only place that knows wandb, and it never raises.

Separate because W&B may be absent, broken, slow or killed while the results are complete: whatever
happens here is a state to report, not an error. Everything sent comes from records of finished runs, so
nothing is lost and all of it can be sent again.
"""

import json
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

from pipeline.config.parameters import Tracking
from pipeline.tracking.payloads import Payload

if TYPE_CHECKING:
    import wandb

Mode = Literal["offline", "online"]
MODES = ("offline", "online", "disabled")
PATIENCE = 20  # seconds that W&B itself may take to start or to finish a run
SEND_SECONDS = (
    25.0  # for one run; what W&B's own limits miss, such as a wandb-core that has stopped
)
CLOSE_SECONDS = 5.0
REPORT_FILES, DATA = (
    "report",
    "dataset",
)  # types of the artifacts: of the texts, and of what they were made from
DESTINATION = "destination"  # a file in the folder of a run that says where it belongs
DIGITS = 20  # of the digest in an artifact's name
ENVIRONMENT = {  # what W&B reads before any settings: or it would look for a server even offline, and say so at every turn
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}
ANSWER, LAST = (
    "api: HTTP error",
    '"handler: operation stats"',
)  # in W&B's log: what came of the first is said in the next line


class Mirror:
    """Sends payloads until W&B is in trouble; `trouble` says why, `refused` which runs it would not take.

    `folder` is where W&B puts its own folder `wandb/`.
    """

    def __init__(self, mode: Mode, project: str, entity: str | None, folder: str):
        self.mode, self.project, self.entity, self.folder = mode, project, entity, folder
        self.trouble = ""
        self.refused: dict[str, str] = {}

    def send(self, payload: Payload) -> bool:
        """Replays one run and says whether all of it got there. Does nothing once there is trouble."""
        if self.trouble:
            return False
        try:
            with deadline(), no_stacks():
                return self._replay(payload)
        except (Exception, Late) as error:
            self.trouble = described(error)
            return False

    def close(self) -> None:
        """Ends W&B's own process, so that nothing is left to wait for, or to print, at exit."""
        if "wandb" not in sys.modules:
            return
        try:
            with deadline(CLOSE_SECONDS), no_stacks():
                sys.modules["wandb"].teardown()
        except (
            Exception,
            Late,
            SystemExit,
        ) as error:  # it exits with the code of a killed wandb-core
            self.trouble = self.trouble or described(error)

    def _replay(self, payload: Payload) -> bool:
        earlier = self._earlier(payload.id)
        run = self._started(payload)
        mark(run, self.project, self.entity)
        try:
            _fill(run, payload)
        except (
            TypeError,
            ValueError,
        ) as error:  # these values, not W&B: the next run may well be taken
            self.refused[payload.id] = described(error)
        run.finish(exit_code=int(payload.failed or payload.id in self.refused))
        lost = _lost(Path(run.settings.log_internal))
        if lost:
            self.refused.setdefault(payload.id, lost)
        if payload.id in self.refused:
            return False
        for folder in earlier:  # or `wandb sync` would put the curves of both behind one another
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def _earlier(self, name: str) -> list[Path]:
        """The folders of the run that were streamed live, or mirrored with other content, for the same project."""
        marks = Path(self.folder, "wandb").glob(f"offline-run-*-{name}/{DESTINATION}")
        return [
            path.parent
            for path in marks
            if path.read_text() == destination(self.project, self.entity)
        ]

    def _started(self, payload: Payload) -> "wandb.Run":
        import wandb  # here, so that it may be absent or broken

        return wandb.init(**arguments(payload, self.mode, self.project, self.entity, self.folder))


def mark(run: "wandb.Run", project: str, entity: str | None) -> None:
    """Notes in the folder of a run which project it is for."""
    Path(run.settings.sync_dir, DESTINATION).write_text(destination(project, entity))


def destination(project: str, entity: str | None) -> str:
    """The project in W&B and whose it is, in a line."""
    return f"{entity or ''}/{project}\n"


def has_key() -> bool:
    """Whether W&B would find a key for its server: in the environment, or where `wandb login` puts it."""
    import wandb
    from wandb.sdk.lib.wbauth import read_netrc_auth  # here, so that it may be absent or broken

    return "WANDB_API_KEY" in os.environ or bool(
        read_netrc_auth(host=os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url)
    )


def mode_of(tracking: Tracking) -> str:
    """What W&B is asked for: `WANDB_MODE` where it is set, else as in `params.yaml`."""
    return os.environ.get("WANDB_MODE") or tracking.wandb


def folder_of() -> Path:
    """Where W&B puts its own folder `wandb/`."""
    return Path(os.environ.get("WANDB_DIR") or ".")


def arguments(
    payload: Payload, mode: str, project: str, entity: str | None, folder: str
) -> dict[str, Any]:
    """What `wandb.init` is given for a run, in plain values."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    return {
        "id": payload.id,
        "project": project,
        "entity": entity,
        "group": payload.group,
        "job_type": payload.job_type,
        "tags": payload.tags,
        "name": payload.name,
        "notes": payload.notes,
        "config": dict(payload.config),
        "dir": folder,
        "mode": mode,
        "resume": "allow"
        if mode == "online"
        else None,  # or a server may put the same curves behind those it has
        "reinit": "create_new",
        "settings": _settings(),
    }


def _settings() -> dict[str, Any]:
    """Quiet, bounded in time, and nothing of this machine or its command line."""
    private = {
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_disable_stats": True,
        "x_save_requirements": False,
    }
    bounded = {"init_timeout": PATIENCE, "finish_timeout": PATIENCE, "finish_timeout_raises": True}
    return {
        **private,
        **bounded,
        "save_code": False,
        "disable_git": True,
        "console": "off",
        "program": "pipeline.track",
        "use_dot_wandb": False,
    }


def _lost(log: Path) -> str:
    """The first thing that could not be sent, from W&B's log of a run: for curves and files it raises nothing."""
    text, ended, _ = log.read_text(encoding="utf-8").partition(LAST)
    if not ended:
        return f"{log.name} breaks off, as on a full disk"
    entries = (json.loads(line) for line in text.splitlines()[:-1])
    errors = (entry["msg"] for entry in entries if entry["level"].startswith("ERROR"))
    return next((_short(error) for error in errors if error != ANSWER), "")


def _fill(run: "wandb.Run", payload: Payload) -> None:
    for row in payload.history:
        run.log(dict(row), step=row["epoch"])
    _illustrate(run, payload)
    run.summary.update(dict(payload.summary))


def _illustrate(run: "wandb.Run", payload: Payload) -> None:
    """The report's tables, figures and files."""
    import wandb

    media: dict[str, Any] = {
        name: wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
        for name, table in payload.tables.items()
    }
    media |= {name: wandb.Image(image.path, caption=name) for name, image in payload.images.items()}
    if media:
        run.log(media)
    if payload.data:
        dataset, digest = payload.data["dataset"], payload.data["digest"]
        data = wandb.Artifact(
            f"data-{digest[:DIGITS]}", type=DATA, description=dataset, metadata=dict(payload.data)
        )
        # by its digest alone, images stay on this machine; an offline run may log what it cannot use
        run.log_artifact(data) if run.offline else run.use_artifact(data)
    if payload.texts:
        files = wandb.Artifact(payload.id, type=REPORT_FILES, metadata=dict(payload.data))
        for name, text in payload.texts.items():
            with files.new_file(name, encoding="utf-8") as file:
                file.write(text)
        run.log_artifact(files)


class Late(BaseException):
    """W&B did not answer. No Exception, so that W&B cannot catch it and go on waiting."""


@contextmanager
def deadline(seconds: float | None = None) -> Iterator[None]:
    """Interrupts what takes longer than `seconds`, or than W&B may take for one run.

    In the main thread of a system that has alarms; elsewhere does nothing.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield
        return
    patience = SEND_SECONDS if seconds is None else seconds

    def ring(number: int, frame: FrameType | None) -> None:
        raise Late(f"no answer within {patience:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, patience)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def no_stacks() -> Iterator[None]:
    """A line that W&B cannot write to its log, or a thread of it that loses wandb-core, is no stack on the terminal."""
    before = logging.raiseExceptions, threading.excepthook
    logging.raiseExceptions, threading.excepthook = False, lambda lost: None
    try:
        yield
    finally:
        logging.raiseExceptions, threading.excepthook = before


def described(error: BaseException) -> str:
    """One short line."""
    name = "TimeoutError" if isinstance(error, Late) else type(error).__name__
    return _short(f"{name}: {error}")


def _short(text: str) -> str:
    return " ".join(text.split())[:200].rstrip(": ")
