"""A default run in an environment that notes every connection to another machine.

Weights & Biases is offline, DVC is without telemetry, the data come with scikit-learn.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock
from tiny import RUN, clean_environment, write_checkout

WATCH = """
import os, sys

def watch(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.gethostbyname":
        wanted = str(arguments[0])
        fine = wanted in ("None", "localhost", "127.0.0.1", "::1", "")
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        wanted = str(address)
        fine = not isinstance(address, tuple) or address[0] in ("::1", "localhost")
        fine = fine or address[0].startswith("127.")
    else:
        return
    if not fine:
        with open(os.environ["SEEN"], "a") as file:
            file.write(f"{sys.argv}: {event} {wanted}\\n")
        raise SystemExit(f"no network: {event} {wanted}")

sys.addaudithook(watch)
"""
ALONE = ("unshare", "--user", "--map-root-user", "--net")


def watching(folder: Path) -> dict[str, str]:
    """Return an environment in which a connection to elsewhere is noted and ends the process."""
    (folder / "watch").mkdir()
    (folder / "watch" / "sitecustomize.py").write_text(WATCH)
    (folder / "seen").touch()
    places = {"PYTHONPATH": str(folder / "watch"), "SEEN": str(folder / "seen")}
    return clean_environment(folder / "site") | places


def namespace() -> tuple[str, ...]:
    """Return the start of a command without any network, where the system allows that."""
    if not sys.platform.startswith("linux"):
        return ()
    tried = subprocess.run([*ALONE, "true"], capture_output=True, check=False)
    return () if tried.returncode else ALONE


def watch_once(folder: Path) -> None:
    """Make the watched run in `folder`, or wait for the process that makes it."""
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "run.json").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
            watched_run(folder)


def watched_run(folder: Path) -> None:
    """Run the tiny project in `folder`/project, then write `folder`/run.json.

    As without an activated environment: this interpreter is not the `python` of the path.
    """
    folder.mkdir()
    write_checkout(folder / "project", wandb="offline")
    ended = subprocess.run(
        [*namespace(), *RUN],
        cwd=folder / "project",
        env=watching(folder) | {"PATH": _path_without_interpreter()},
        capture_output=True,
        text=True,
        check=False,
    )
    result = {
        "code": ended.returncode,
        "output": ended.stdout,
        "errors": ended.stderr,
        "seen": (folder / "seen").read_text(),
    }
    (folder / "run.json").write_text(json.dumps(result))


def _path_without_interpreter() -> str:
    interpreter = str(Path(sys.executable).parent)
    return os.pathsep.join(
        folder for folder in os.environ["PATH"].split(os.pathsep) if folder != interpreter
    )


if __name__ == "__main__":
    watch_once(Path(sys.argv[1]))
