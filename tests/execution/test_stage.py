"""How a stage ends: exit codes, one line per error, no traceback."""

import errno
import signal
import subprocess
import sys
import textwrap

import pytest
from waiting import wait_until

from pipeline.execution.stage import Incomplete, report_errors, stage
from pipeline.runtime.errors import Refusal


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Refusal("one", "two"), 2, "error: one\nerror: two\n"),
        (Incomplete("3 runs failed"), 1, "3 runs failed\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            OSError(errno.ENOSPC, "x", "/a/b"),
            2,
            "error: /a/b: the disk is full; free some space and run again: "
            "finished runs are kept\n",
        ),
        (OSError(errno.EROFS, "x"), 2, "error: write: the file system is read-only"),
    ],
)
def test_what_a_user_can_cause_is_a_line_and_a_code(capsys, error, code, line):
    assert report_errors(raising(error)) == code
    assert capsys.readouterr().err.startswith(line)


def test_our_own_mistakes_are_not_hidden():
    with pytest.raises(FileNotFoundError):
        report_errors(raising(FileNotFoundError(errno.ENOENT, "x")))


STAGE = """
import sys, time
from pipeline.execution.stage import stage
def main(protocol):
    print("at work", flush=True)
    time.sleep(30)
sys.exit(stage(main, {arguments}))
"""


@pytest.mark.parametrize("arguments", ["[]", "['a', 'b']", "['--help']"])
def test_usage(arguments):
    ended = subprocess.run(
        [sys.executable, "-c", STAGE.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "usage: python -m pipeline." in ended.stderr


def test_sigterm_ends_a_stage_with_143():
    process = subprocess.Popen(
        [sys.executable, "-c", STAGE.format(arguments="['tiny']")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 143
    process.stdout.close()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux can end a child with its parent"
)
def test_a_stage_ends_with_its_parent(tmp_path):
    """As when DVC is killed: the stage must not train on alone."""
    script = textwrap.dedent(f"""
        import subprocess, sys, time
        command = [sys.executable, "-c", {STAGE.format(arguments="['tiny']")!r}]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        child.stdout.readline()
        print(child.pid, flush=True)
        child.wait()
    """)
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not alive(pid))


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_two_processes_are_never_at_one_stage(project):
    """The second is refused, whoever started it; another stage or protocol is not."""
    code = "import sys; sys.argv[0] = 'train.py'\n" + STAGE
    first = subprocess.Popen(
        [sys.executable, "-c", code.format(arguments="['tiny']")], stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "at work\n"
    second = subprocess.run(
        [sys.executable, "-c", code.format(arguments="['tiny']")],
        capture_output=True,
        text=True,
        check=False,
    )
    first.kill()
    first.wait()
    first.stdout.close()
    assert second.returncode == 2
    assert (
        second.stderr
        == f"error: another run is in progress (process {first.pid}); wait for it or end it\n"
    )


def test_what_was_changed_while_a_stage_was_at_work_ends_it(project, capsys, monkeypatch):
    """DVC would record its result under the settings that are there when it has ended."""
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert stage(lambda protocol: None, ["tiny"]) == 0
    assert (
        stage(
            lambda protocol: (project / "params.yaml").write_text("protocols: [tiny]\n\n"), ["tiny"]
        )
        == 1
    )
    assert "params.yaml was changed during" in capsys.readouterr().err
