"""The commands a user types, on a copy of the project: run, change something, make mistakes."""

import re
import subprocess
import sys
from importlib.metadata import version

import pytest
from tiny import RUN, tables, trained, write_clone
from waiting import wait_until

from pipeline import cli, train
from pipeline.execution.stage import stage

VERBS = (
    *("prepare", "train", "choose", "confirm", "predict", "evaluate", "compare", "report"),
    "track",
)


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.application(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"gapwise {version('gapwise')}\n"


def test_run_ends_with_the_headline_the_report_and_the_time_of_each_stage(reproduced, checkout):
    assert reproduced.returncode == 0, reproduced.stderr
    output, _, times = reproduced.stdout.partition("time of the stages")
    assert "baseline" in output
    assert output.rstrip().endswith("reports/tiny/report.md")
    rows = [line.split() for line in times.splitlines() if "@" in line or "all" in line]
    assert [name for name, _ in rows] == [*(f"{verb}@tiny" for verb in VERBS), "all"]
    *seconds, total = (float(number) for _, number in rows)
    assert all(number > 0 for number in seconds)
    assert sum(seconds) == pytest.approx(total, abs=0.5)
    assert "Traceback" not in reproduced.stdout + reproduced.stderr
    assert (checkout / "reports" / "tiny" / "report.md").exists()


def test_again_is_a_no_op_also_for_a_protocol_that_params_does_not_name(copied, command):
    """Its timing is there even where the report was kept, as in a fresh clone."""
    parameters, timing = copied / "params.yaml", copied / "reports" / "tiny" / "timing.md"
    text = parameters.read_text().replace('["tiny"]', '["no_such"]  # mine')
    parameters.write_text(text)
    lock, before = (copied / "dvc.lock").read_bytes(), trained(copied)
    shown = timing.read_bytes()
    timing.unlink()
    again = command(*RUN, "--protocol", "tiny", at=copied)
    assert again.returncode == 0, again.stderr
    assert "Data and pipelines are up to date." in again.stdout
    assert parameters.read_text() == text
    assert "no_such" in text
    assert (copied / "dvc.lock").read_bytes() == lock
    assert trained(copied) == before
    assert timing.read_bytes() == shown


def test_plan_prints_without_training(reproduced, checkout, monkeypatch, capsys):
    """In this process, as two more below: starting one takes longer than all else."""
    before = trained(checkout)
    monkeypatch.chdir(checkout)
    with pytest.raises(SystemExit, match="^0$"):
        cli.plan()
    shown = capsys.readouterr().out
    numbers = re.findall(r"\d+", re.search(r"at most \d+ runs.*", shown).group())
    assert numbers == ["49", "10", "2", "39", "3"]  # runs; runs and seeds of each phase
    assert trained(checkout) == before


def test_editing_a_regularizer_trains_its_runs_only(copied, command):
    file = copied / "pipeline" / "regularizers" / "dropout.py"
    text, before = file.read_text(), trained(copied)
    file.write_text(text + "\nADDED = 1\n")
    command(sys.executable, "-m", "dvc", "repro", "train@tiny", at=copied)
    assert len(set(trained(copied)) - set(before)) == 4
    assert {name: when for name, when in trained(copied).items() if name in before} == before


@pytest.mark.torture
def test_a_second_run_at_once_says_who_is_at_work(copied, command, environment):
    (copied / "params.yaml").write_text(
        (copied / "params.yaml").read_text().replace("epochs: null", "epochs: 3")
    )
    first = subprocess.Popen(
        RUN, cwd=copied, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    lock = copied / ".dvc" / "tmp" / "gapwise" / "lock"
    wait_until(lambda: lock.read_text() == str(first.pid))
    second = command(*RUN, at=copied)
    first.terminate()
    first.wait()
    assert second.returncode == 2
    assert second.stderr.startswith(f"error: another run is in progress (process {first.pid})")
    assert second.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (
            "params.yaml",
            "protocols: [no_such]",
            "params.yaml: protocols: unknown name 'no_such'; expected one of: tiny",
        ),
        ("params.yaml", "protocols: [tiny]\nstudies: [no_such]", "studies: unknown name 'no_such'"),
        ("params.yaml", "protocols: [../tiny]", "protocols.0: "),
        (
            "experiments/dropout.yaml",
            "question: Why?\narms: {a: [{name: dropout, rate: 2}]}",
            "arms.a.0.rate: invalid value 2",
        ),
        ("experiments/dropout.yaml", "", "dropout.yaml: empty; expected a mapping"),
        (
            "experiments/dropout.yaml",
            "a: &a [1]\nb: *a",
            "line 2: an alias (*a); expected the value",
        ),
        ("experiments/protocols/tiny.yaml", "data: {dataset: faces, train_size: 30}", "tiny.yaml"),
    ],
)
def test_bad_input_is_a_line_and_exit_code_2_and_loses_nothing(
    reproduced, checkout, monkeypatch, capsys, file, content, words
):
    before, kept = trained(checkout), tables(checkout)
    monkeypatch.chdir(checkout)
    path = checkout / file
    good = path.read_text()
    path.write_text(content)
    try:
        for verb in (cli.run, cli.plan):
            with pytest.raises(SystemExit, match="^2$"):
                verb()
            errors = capsys.readouterr().err
            assert words in errors
            assert all(line.startswith("error: ") for line in errors.splitlines())
    finally:
        path.write_text(good)
    assert trained(checkout) == before
    assert tables(checkout) == kept


def test_bad_input_ends_a_command_without_a_traceback(command, checkout, tmp_path):
    folder = write_clone(checkout, tmp_path / "clone")
    (folder / "params.yaml").write_text("protocols: [no_such]")
    refused = command(*RUN, at=folder)
    assert refused.returncode == 2
    assert (
        refused.stderr
        == "error: params.yaml: protocols: unknown name 'no_such'; expected one of: tiny\n"
    )


@pytest.mark.parametrize("name", ["report", "track", "verify"])
def test_a_protocol_that_there_is_not_is_one_line(project, name, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.application([name, "--protocol", "no_such"])
    assert ended.value.code == 2
    expected = f"error: {name}: --protocol: unknown name 'no_such'; expected one of: tiny\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("stauts", r"command: unknown name 'stauts'; expected one of: .*; did you mean 'status'\?"),
        ("status --protcol x", "status: unknown option --protcol; did you mean '--protocol'\\?"),
        ("status tiny", "status: unexpected argument tiny; expected --protocol to name a .*"),
        ("restore tiny", "restore: unexpected argument tiny; see: gapwise restore --help"),
        ("--what", "gapwise: unknown option --what; see: gapwise --help"),
        ("new", "new: PATH: missing; see: gapwise new --help"),
        ("new x --minutes", "new: --minutes: no value; see: gapwise new --help"),
        ("new x --minutes y", "new: --minutes: invalid value y; expected a number; see: .*"),
        ("verify --retrain y", "verify: --retrain: invalid value y; expected an integer; see: .*"),
        ("verify --retrain -1", "verify: --retrain: invalid value -1; expected a number >= 0; .*"),
        ("run tiny", "run: studies: tiny is a protocol, .*: gapwise run --protocol tiny"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(finished, monkeypatch, capsys, words, line):
    monkeypatch.chdir(finished)
    with pytest.raises(SystemExit, match="^2$"):
        cli.application(words.split())
    (shown,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(f"error: {line}", shown)


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (
            "judge scores.csv --margin x --unit fractoin",
            ["judge: --margin: invalid value", "judge: --unit: "],
        ),
        (
            "new no_such --name A! --minutes -1 --arguments 3 --network rensett",
            [
                "/",
                "new: --arguments: invalid value",
                "new: --name: invalid value",
                "new: --minutes: invalid value -1",
                "new: --network: unknown name 'rensett'",
            ],
        ),
        (
            "run no_such --protocol nor_this",
            ["run: --protocol: unknown name 'nor_this'", "run: studies: unknown name 'no_such'"],
        ),
        ("resolve --protocol tiny --protocol other", ["resolve: --protocol: tiny, other; expect"]),
    ],
)
def test_mistakes_of_several_options_are_reported_together(
    project, monkeypatch, capsys, words, begins
):
    with pytest.raises(SystemExit, match="^2$"):
        cli.application(words.split())
    lines = [line.removeprefix("error: ") for line in capsys.readouterr().err.splitlines()]
    assert len(lines) == len(begins)
    assert all(line.startswith(begin) for line, begin in zip(lines, begins, strict=True)), lines


def test_without_a_command_the_help_is_printed(capsys):
    with pytest.raises(SystemExit, match="^0$"):
        cli.application([])
    assert "gapwise new PATH" in capsys.readouterr().out


def test_a_store_in_an_impossible_place_is_one_line(reproduced, checkout, monkeypatch, capsys):
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("GAPWISE_STORE", str(checkout / "dvc.yaml" / "store"))
    assert stage(train.main, ["tiny"]) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert "a file is where a folder is needed" in errors


@pytest.mark.torture
def test_a_full_disk_is_one_line_and_keeps_what_is_finished(copied, command, tmp_path):
    """A file system of 400 kB holds a few runs of the tiny network."""
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run(
        [*inside, f"mount -t tmpfs none {disk}"], capture_output=True, check=False
    ).returncode:
        pytest.skip("this system lets no user mount a small file system of their own")
    script = f"""
        mount -t tmpfs -o size=400k none {disk} || exit 9
        {sys.executable} -m pipeline.train tiny; code=$?
        ls {disk}; exit $code
    """
    refused = command(*inside, script, at=copied, GAPWISE_STORE=str(disk))
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert refused.stderr.count("\n") == 1
    assert (
        "the disk is full; free some space and run again: finished runs are kept" in refused.stderr
    )
    assert [name for name in refused.stdout.split() if len(name) == 20], (
        "no run was finished before the disk was full"
    )
