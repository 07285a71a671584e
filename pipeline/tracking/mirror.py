"""Mirror runs in Weights & Biases, and never raise.

W&B may be absent, broken, slow or killed while the results are complete: whatever happens here is a
state to report. Everything sent comes from records of finished runs and can be sent again.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.config.parameters import Tracking
from pipeline.runtime.project import in_original
from pipeline.tracking.guards import WandbTimeout, deadline, no_stacks, short_error, short_text
from pipeline.tracking.payloads import Payload, Table
from pipeline.tracking.transactions import is_complete

if TYPE_CHECKING:
    import wandb

Mode = Literal["offline", "online"]
MODES = ("offline", "online", "disabled")
PATIENCE = 20  # seconds that W&B itself may take to start or to finish a run
SEND_SECONDS = 25.0  # for one run; W&B's own limits do not cover a stopped wandb-core
CLOSE_SECONDS = 5.0
WRITE_SECONDS = 5.0  # until the end of a run is in its file
REPORT_FILES, DATA = "report", "dataset"  # types of artifacts
DESTINATION = "destination"  # a file in the folder of a run with the name of its project
DIGITS = 20  # of the digest in an artifact's name
# read by W&B before any settings: it contacts a server even offline otherwise, and prints so
ENVIRONMENT = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
ANSWER = "api: HTTP error"  # in W&B's log; the next line has the consequence
LAST = '"handler: operation stats"'  # near the end of a complete log


class Mirror:
    """Send payloads until W&B has trouble: `trouble`; `rejected` has the reasons of single runs.

    `folder` is where W&B puts its own folder `wandb/`.
    """

    def __init__(self, mode: Mode, project: str, entity: str | None, folder: str):
        self.mode, self.project, self.entity, self.folder = mode, project, entity, folder
        self.trouble = ""
        self.rejected: dict[str, str] = {}

    def send(self, payload: Payload) -> bool:
        """Replay one run and return whether all of it was sent; do nothing after trouble."""
        if self.trouble:
            return False
        try:
            with deadline(SEND_SECONDS), no_stacks():
                return self._replay(payload)
        except (Exception, WandbTimeout) as error:
            self.trouble = short_error(error)
            return False

    def close(self) -> None:
        """End W&B's own process, so that nothing waits or prints at exit."""
        if "wandb" not in sys.modules:
            return
        try:
            with deadline(CLOSE_SECONDS), no_stacks():
                sys.modules["wandb"].teardown()
        except (Exception, WandbTimeout, SystemExit) as error:  # exits as a killed wandb-core did
            self.trouble = self.trouble or short_error(error)

    def _replay(self, payload: Payload) -> bool:
        earlier = self._earlier(payload.id)
        run = self._started(payload)
        mark(run, self.project, self.entity)
        try:
            _fill(run, payload)
        except (TypeError, ValueError) as error:  # of these values: the next run may be accepted
            self.rejected[payload.id] = short_error(error)
        run.finish(exit_code=int(payload.failed or payload.id in self.rejected))
        lost = _lost(Path(run.settings.log_internal))
        if lost:
            self.rejected.setdefault(payload.id, lost)
        if payload.id in self.rejected:
            return False
        if self.mode == "offline":
            _require_complete(Path(run.settings.sync_file))
        for folder in earlier:  # `wandb sync` would append its curves to these
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def _earlier(self, name: str) -> list[Path]:
        """Return the folders of a run that was streamed live or mirrored with other content."""
        marks = Path(self.folder, "wandb").glob(f"offline-run-*-{name}/{DESTINATION}")
        project = destination(self.project, self.entity)
        return [path.parent for path in marks if path.read_text() == project]

    def _started(self, payload: Payload) -> "wandb.Run":
        import wandb  # here, so that it may be absent or broken

        Path(self.folder, "wandb").mkdir(parents=True, exist_ok=True)
        return wandb.init(**arguments(payload, self.mode, self.project, self.entity, self.folder))


def mark(run: "wandb.Run", project: str, entity: str | None) -> None:
    """Write the project of a run into its folder."""
    Path(run.settings.sync_dir, DESTINATION).write_text(destination(project, entity))


def destination(project: str, entity: str | None) -> str:
    """Return a line with the owner and name of a project."""
    return f"{entity or ''}/{project}\n"


def has_key() -> bool:
    """Return whether W&B finds a key: in the environment, or where `wandb login` puts it."""
    import wandb
    from wandb.sdk.lib.wbauth import read_netrc_auth  # here, so that it may be absent or broken

    host = os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url
    return "WANDB_API_KEY" in os.environ or bool(read_netrc_auth(host=host))


def mode_of(tracking: Tracking) -> str:
    """Return `WANDB_MODE` where it is set, else the mode of `params.yaml`."""
    return os.environ.get("WANDB_MODE") or tracking.wandb


def wandb_parent() -> Path:
    """Return the folder in which W&B puts its own folder `wandb/`, also for a copy of DVC."""
    return Path(os.environ.get("WANDB_DIR") or in_original(Path()))


def silence() -> None:
    """Keep W&B from sending reports about itself and from printing, unless the user wants it."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def arguments(
    payload: Payload, mode: str, project: str, entity: str | None, folder: str
) -> dict[str, Any]:
    """Return the arguments of `wandb.init` for a run, as plain values."""
    silence()
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
        "resume": "allow" if mode == "online" else None,  # a server may append the curves otherwise
        "reinit": "create_new",
        "settings": _settings(),
    }


def _settings() -> dict[str, Any]:
    """Return settings that are quiet, bounded in time and without facts of this machine."""
    return {
        "x_disable_meta": True,
        "x_disable_machine_info": True,
        "x_disable_stats": True,
        "x_save_requirements": False,
        "init_timeout": PATIENCE,
        "finish_timeout": PATIENCE,
        "finish_timeout_raises": True,
        "save_code": False,
        "disable_git": True,
        "console": "off",
        "program": "pipeline.track",
        "use_dot_wandb": False,
    }


def _lost(log: Path) -> str:
    """Return the first error in W&B's log of a run: for curves and files it raises nothing."""
    text, ended, _ = log.read_text(encoding="utf-8").partition(LAST)
    if not ended:
        return f"{log.name} breaks off, as on a full disk"
    entries = (json.loads(line) for line in text.splitlines()[:-1])
    errors = (entry["msg"] for entry in entries if entry["level"].startswith("ERROR"))
    return next((short_text(error) for error in errors if error != ANSWER), "")


def _require_complete(file: Path) -> None:
    """Wait until the file of an offline run has its end, which W&B writes after the run.

    Raises:
        OSError: It has not; W&B's log may not say so.
    """
    end = time.monotonic() + WRITE_SECONDS
    while not is_complete(file.read_bytes()):
        if time.monotonic() > end:
            raise OSError(f"{file.name} breaks off, as on a full disk")
        time.sleep(0.01)


def _fill(run: "wandb.Run", payload: Payload) -> None:
    for row in payload.history:
        run.log(dict(row), step=row["epoch"])
    _illustrate(run, payload)
    run.summary.update(dict(payload.summary))


def _illustrate(run: "wandb.Run", payload: Payload) -> None:
    """Log the report's tables, figures and files."""
    import wandb

    media: dict[str, Any] = {name: _wandb_table(table) for name, table in payload.tables.items()}
    for name, image in payload.images.items():
        media[name] = wandb.Image(image.path, caption=name)
    if media:
        run.log(media)
    if payload.data:
        _log_data(run, payload.data)
    if payload.texts:
        _log_files(run, payload)


def _wandb_table(table: Table) -> "wandb.Table":
    """Return a table as W&B shows it."""
    import wandb

    return wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])


def _log_data(run: "wandb.Run", data: Mapping[str, str]) -> None:
    """Log the digest of the data alone: images stay on this machine."""
    import wandb

    name = f"data-{data['digest'][:DIGITS]}"
    artifact = wandb.Artifact(name, type=DATA, description=data["dataset"], metadata=dict(data))
    if run.offline:
        run.log_artifact(artifact)  # an offline run cannot use an artifact
    else:
        run.use_artifact(artifact)


def _log_files(run: "wandb.Run", payload: Payload) -> None:
    """Log the files of the report."""
    import wandb

    files = wandb.Artifact(payload.id, type=REPORT_FILES, metadata=dict(payload.data))
    for name, text in payload.texts.items():
        with files.new_file(name, encoding="utf-8") as file:
            file.write(text)
    run.log_artifact(files)
