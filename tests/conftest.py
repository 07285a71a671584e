"""A tiny project in a temporary folder, and small runs: what most tests stand on.

The first run of the project is made once for all workers, while they run tests that do not need
it, and copied by each.
"""

import functools
import gc
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import watched
from hypothesis import HealthCheck, settings
from tiny import clean_environment, write_checkout, write_project
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:  # imports take seconds, and the process that distributes tests needs none
    from pipeline.config.run import RunConfig
    from pipeline.data.arrays import Arrays

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of many processes compiles the package
os.environ.pop("GAPWISE_STORE", None)  # the runs of whoever tests are left alone
# Lightning reads the entry points of all installed packages for every run
importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)
# a busy machine makes no property false
settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("busy machine")
TOGETHER = ("tests/execution/test_ray.py", "tests/test_outcomes.py")
CONTRACT = "tests/test_contract.py"
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # gw0, gw1 and so on; empty in a single process
TRAINING = {
    "learning_rate": 0.05,
    "optimizer": {"name": "sgd"},
    "schedule": {"name": "one_cycle"},
    "epochs": 2,
    "batch_size": 10,
    "curve_points": 2,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests; those that wait for the first run come after others."""
    items.sort(key=_turn)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without garbage collection, and exempt modules and tests from it later.

    It would take a third of the time of collecting. Later, each of its full rounds would take
    0.2 s, and `statsmodels` asks for one per correction.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _turn(item: pytest.Item) -> int:
    waits = _needs_first_run(item)
    if item.get_closest_marker("long"):
        return 2 if waits else 1
    return 3 if waits else 4


def _needs_first_run(item: pytest.Item) -> bool:
    return "first_run" in getattr(item, "fixturenames", ())


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that stores the texts of `golden` again."""
    parser.addoption("--rewrite-golden", action="store_true", help="rewrite tests/golden")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return a function that compares texts with those in tests/golden/<test>.md.

    `pytest --rewrite-golden` stores them; read the difference before it is committed.
    """
    path = Path(__file__).with_name("golden") / f"{request.node.name}.md"

    def compare(*texts: str) -> None:
        text = "\n\n".join(texts) + "\n"
        if request.config.getoption("--rewrite-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()

    return compare


class FilesTogether(LoadScopeScheduling):
    """Give each worker one test at a time, or all that share a costly fixture.

    That is a whole file, or the contract of one regularizer, whose runs are trained once for it.
    `--dist loadgroup` does not group: https://github.com/pytest-dev/pytest-xdist/issues/1386.
    """

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        case = re.search(r"\[(?:\d-)?(\w+)", test)
        if path == CONTRACT and case:
            return f"{path}::{case[1]}"
        return path if path in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """Return how pytest-xdist distributes tests."""
    return FilesTogether(config, log)


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def little_garbage() -> Iterator[None]:
    """Keep what other tests left out of the garbage that statsmodels collects at every call."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def pool() -> "Arrays":
    """Return a tenth of the digits: enough to learn from, and quick to validate on."""
    from pipeline.data import sources as data
    from pipeline.data.splits import hold_out

    arrays = data.read("digits", {}).pool
    return arrays.take(hold_out(arrays.labels, 0.9)[0])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a tiny project: the current folder, with a separate run store."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAPWISE_STORE", str(tmp_path / ".runs"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return tmp_path


@pytest.fixture(scope="session", name="write_project")
def _write_project():
    """Write the settings files of the tiny project into a folder."""
    return write_project


@pytest.fixture(scope="session")
def first_run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the first run, the same for all workers."""
    root = tmp_path_factory.getbasetemp()
    return (root.parent if WORKER else root) / "first_run"


@pytest.fixture(scope="session", autouse=True)
def _first_run_in_the_background(
    request: pytest.FixtureRequest, first_run_folder: Path
) -> Iterator[None]:
    """Begin the first run as soon as the first worker begins, if any test needs it."""
    if WORKER not in ("", "gw0") or not any(
        _needs_first_run(item) for item in request.session.items
    ):
        yield
        return
    words = [sys.executable, watched.__file__, str(first_run_folder)]
    environment = os.environ | {"PYTHONPATH": str(request.config.rootpath)}
    with subprocess.Popen(words, env=environment, start_new_session=True) as process:
        yield
        if process.poll() is None:  # pytest was interrupted
            os.killpg(process.pid, signal.SIGTERM)


@pytest.fixture(scope="session")
def first_run(first_run_folder: Path) -> Path:
    """Return the folder of the first run of the tiny project, made once for all workers.

    `project` is the project after it; `run.json` says how it ended and what it connected to.
    """
    watched.watch_once(first_run_folder)
    return first_run_folder


def copy_results(first_run: Path, folder: Path, *more: str) -> None:
    """Copy what the first run has left into another folder with the settings of the project."""
    unmirrored = shutil.ignore_patterns("tracked")  # what W&B has of it
    for name in ("artifacts", "reports", ".runs", *more):
        source = first_run / "project" / name
        shutil.copytree(source, folder / name, ignore=unmirrored, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def finished(first_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny project after all nine stages, without code: to read, or to copy."""
    folder = tmp_path_factory.mktemp("finished")
    write_project(folder)
    copy_results(first_run, folder)
    for name in ("params.yaml", "dvc.lock"):
        shutil.copyfile(first_run / "project" / name, folder / name)
    return folder


@pytest.fixture
def configure():
    """Return a function that makes a small run's settings.

    It is called as in `configure({"name": "dropout", "rate": 0.5}, seed=1, epochs=3)`.
    """
    from declarations import MODEL

    from pipeline.config.run import RunConfig
    from pipeline.config.streams import Streams

    def made(
        *regularizers: dict[str, Any],
        seed: int = 0,
        streams: dict[str, int] | None = None,
        **training: Any,
    ) -> "RunConfig":
        return RunConfig(
            data={"dataset": "digits", "train_size": 30, "label_noise": 0.0, "test_fraction": 0.4},
            model=MODEL,
            training=TRAINING | training,
            regularizers=regularizers,
            streams=Streams.of(seed).model_copy(update=streams or {}),
        )

    return made


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of this project's code under git, to run its commands or change its files."""
    folder = tmp_path_factory.mktemp("checkout") / "project"
    write_checkout(folder)
    return folder


@pytest.fixture(scope="session")
def mounting() -> tuple[str, ...]:
    """Return the words before a line for the shell that mounts a file system for itself alone."""
    alone = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    if (
        not sys.platform.startswith("linux")
        or subprocess.run([*alone, "mount -t tmpfs none /mnt"], check=False).returncode
    ):
        pytest.skip("this system lets no user mount a file system of their own")
    return alone


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of commands: this interpreter's `python` first, no store, no W&B.

    DVC's own files are in another folder.
    """
    return clean_environment(tmp_path_factory.mktemp("site")) | {"WANDB_MODE": "disabled"}


@pytest.fixture(scope="session")
def command(checkout: Path, environment: dict[str, str]) -> Command:
    """Run a command in the checkout, or in the folder `at`; return the finished process."""

    def ran(*words: str, at: Path = checkout, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=at, env=environment | more, capture_output=True, text=True, check=False
        )

    return ran


@pytest.fixture(scope="session")
def reproduced(first_run: Path, checkout: Path) -> subprocess.CompletedProcess[str]:
    """Return the first `run` of the checkout, which has its results from now on."""
    copy_results(first_run, checkout, ".dvc")
    shutil.copyfile(first_run / "project" / "dvc.lock", checkout / "dvc.lock")
    ended = json.loads((first_run / "run.json").read_text())
    return subprocess.CompletedProcess([], ended["code"], ended["output"], ended["errors"])


@pytest.fixture
def copied(
    first_run: Path, reproduced: subprocess.CompletedProcess[str], checkout: Path, tmp_path: Path
) -> Path:
    """Return a copy of the reproduced checkout, to change."""
    assert reproduced.returncode == 0, reproduced.stderr
    lock = (first_run / "project" / "dvc.lock").read_bytes()
    assert (checkout / "dvc.lock").read_bytes() == lock, "an earlier test changed the checkout"
    shutil.copytree(checkout, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


@pytest.fixture
def committed(copied: Path) -> Path:
    """Return the reproduced checkout with its results committed."""
    for words in (
        ("add", "-A"),
        ("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "results"),
    ):
        subprocess.run(["git", *words], cwd=copied, check=True)
    return copied
