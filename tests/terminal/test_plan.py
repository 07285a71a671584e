"""`plan`: how many runs there would be, and how many are to train."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pipeline import cli, models, prepare, train
from pipeline.comparison.looks import decide
from pipeline.config.plan import read_plan
from pipeline.config.yaml_files import read_yaml
from pipeline.evaluation.validation import validation_scores
from pipeline.execution import dvc
from pipeline.execution import forecast as forecasts
from pipeline.execution.forecast import forecast, seconds_per_run
from pipeline.execution.plans import keep_current_plans
from pipeline.planning.studies import read_experiment
from pipeline.records.store import open_store
from pipeline.terminal import plan
from pipeline.terminal.look_runs import show_look_runs
from pipeline.terminal.plan import finished_plans, images_share, show_plan
from pipeline.terminal.tables import breakable

WITHOUT_TORCH = """
import sys
from pipeline import cli
try:
    cli.plan()
except SystemExit as ended:
    sys.exit(ended.code or "imported: torch" if "torch" in sys.modules else 0)
"""


def show_expected():
    expected = forecast("tiny", validation_scores, decide)
    plans = expected.exploration, expected.confirmation
    show_plan(plans, expected.most_added, seconds_per_run(read_experiment("tiny")))


def shown(capsys):
    show_expected()
    return capsys.readouterr().out.splitlines()[-2:]


def baseline(capsys):
    """Return the numbers of the first baseline: explored, confirmed, to train."""
    show_expected()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    return next(row[1:] for row in rows if row[:1] == ["baseline"])


def test_the_minutes_are_those_of_training_alone(project, capsys):
    planned, missing = shown(capsys)
    # at most: dropout may choose another rate than its default, which is then confirmed beside it
    assert re.findall(r"\d+", planned) == ["49", "10", "2", "39", "3"]
    assert missing.startswith("49 runs to train: about ")
    assert missing.endswith(" minutes of training alone, with 2 workers")


def test_the_runs_announced_include_the_values_before_tuning(project, capsys):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    tune = "tune: {training.learning_rate: {log: [0.05, 0.2], points: 3, extend: 0}}\n"
    protocol.write_text(protocol.read_text() + tune)
    planned, _ = shown(capsys)
    assert re.findall(r"\d+", planned) == ["56", "14", "2", "42", "3"]  # 2 are shared


SEARCH = """
question: Which search is best?
search: {methods: [random], trials: 4}
arms:
  sgd:
    - {protocol: {training.learning_rate: {log: [0.001, 1]}, training.batch_size: [30, 5, 10]}}
    - {search: {method: random, trials: 6}}
"""


HALVING = """
question: Which rate?
arms:
  dropout:
    - {name: dropout, rate: {uniform: [0, 0.8]}}
    - {search: {method: halving, eta: 2, trials: 4}}
"""


def test_a_search_in_rounds_says_what_later_rounds_may_add(project, capsys):
    """Of 8 epochs: 4 trials with 2 epochs, then 2 with 4, and 1 with 8, each on 2 seeds."""
    (project / "experiments" / "dropout.yaml").write_text(HALVING)
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    text = protocol.read_text().replace("epochs: 2", "epochs: 8")
    studies = "studies: [dropout, others, ensembles, variance]"
    protocol.write_text(text.replace(studies, "studies: [dropout]\nseconds_per_run: 60"))
    show_expected()
    *_, later, _ = capsys.readouterr().out.splitlines()
    assert re.findall(r"[\d.]+", later) == ["6", "2.0"]  # 4 runs of half a training, 2 whole ones
    planned = forecast("tiny", validation_scores, decide)
    shares = [images_share(planned.exploration, run) for run in planned.exploration.runs]
    assert sorted(shares) == [0.25] * 8 + [1.0] * 2


def test_a_design_is_shown_by_its_ranges(project, capsys):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("variance]", "search]"))
    (project / "experiments" / "search.yaml").write_text(SEARCH)
    show_expected()
    words = " ".join(capsys.readouterr().out.split())
    assert (
        "sgd random design over: 0 6 6 training.learning_rate: 0.001 to 1 (log) "
        "training.batch_size: 5, 10, 30 " in words
    )


def test_what_is_trained_is_not_to_train(project, finished, capsys):
    for name in ("artifacts", ".runs"):
        shutil.copytree(finished / name, project / name)
    confirmation = project / "artifacts" / "tiny" / "confirmation"
    for folder in (project / ".runs" / name for name in read_plan(confirmation).fingerprints()):
        folder.rename(project / folder.name)
    choice = (project / "artifacts" / "tiny" / "choice.json").rename(project / "choice.json")
    confirmation.rename(project / "confirmation")
    assert shown(capsys)[1].startswith("39 runs to train: ")
    assert baseline(capsys) == ["2", "3", "3"]
    (project / "confirmation").rename(confirmation)
    choice.rename(project / "artifacts" / "tiny" / "choice.json")
    for name in read_plan(confirmation).fingerprints():
        (project / name).rename(project / ".runs" / name)
    assert shown(capsys)[1].startswith("0 runs to train: about 0.0 minutes")
    assert baseline(capsys) == ["2", "3", "0"]


def test_a_run_takes_what_confirmation_runs_took_else_those_of_exploration(
    project, finished, monkeypatch
):
    (project / "artifacts").symlink_to(finished / "artifacts")
    monkeypatch.setenv("GAPWISE_STORE", str(finished / ".runs"))
    experiment, store = read_experiment("tiny"), open_store()
    for phases in (("confirmation", "exploration"), ("exploration",)):
        monkeypatch.setattr(
            forecasts, "last_plan", lambda folder, totals=phases: _plan_of(folder, totals)
        )
        names = read_plan(project / "artifacts" / "tiny" / phases[0]).fingerprints()
        times = [store.timing(name)["seconds"] for name in names]
        assert seconds_per_run(experiment) == pytest.approx(statistics.median(times))
    monkeypatch.setattr(forecasts, "last_plan", lambda folder: None)
    assert seconds_per_run(experiment) == experiment.protocol.seconds_per_run


def _plan_of(folder, phases):
    return read_plan(folder) if folder.name in phases else None


def test_no_round_reads_the_test_set(project, finished):
    """Without it, exploration has the same plan."""
    for name in ("artifacts", ".runs"):
        shutil.copytree(finished / name, project / name)
    for path in (project / "artifacts" / "tiny" / "data").glob("test_*"):
        path.unlink()
    folder = project / "artifacts" / "tiny" / "exploration"
    before = read_plan(folder)
    shutil.rmtree(folder)
    train.main("tiny")
    assert read_plan(folder) == before


def test_training_says_what_runs_take_from_a_file_of_weights(project, monkeypatch, capsys):
    """Names that do not fit would else be left out in silence."""
    settings = read_experiment("tiny").protocol.network_settings()
    state = models.build(settings["model"], (1, 8, 8), 10).network.state_dict()
    first = next(iter(state))
    torch.save({name: state[name] for name in state if name != first}, project / "w.pt")
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("grid: 1", "grid: 1, weights: w.pt"))
    monkeypatch.setattr(train, "read_summary", lambda folder: {"digest": ""})
    for name in ("read_development_labels", "require_arm_sizes", "complete_rounds"):
        monkeypatch.setattr(train, name, lambda *given: None)
    train.main("tiny")
    loaded = f"{len(state) - 1} of {len(state)} tensors loaded"
    note = f"note: model.weights: w.pt: {loaded}; missing in the file: {first}\n"
    assert capsys.readouterr().out == note


def test_finished_plans_are_shown_as_new_ones_and_without_torch(finished, monkeypatch, capsys):
    monkeypatch.chdir(finished)
    monkeypatch.setenv("GAPWISE_STORE", str(finished / ".runs"))
    show_expected()
    expected = capsys.readouterr().out
    show_plan(finished_plans("tiny"))
    assert capsys.readouterr().out == expected
    code = str(Path(__file__).resolve().parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        env=os.environ | {"PYTHONPATH": code},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == expected


@pytest.mark.parametrize(
    "change", ["study", "plan", "data", "run", "library", "own network", "pretrained"]
)
def test_no_plan_is_finished_once_a_new_one_would_differ(finished, monkeypatch, tmp_path, change):
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("GAPWISE_STORE", str(tmp_path / "copy" / ".runs"))
    store = open_store()
    explored, _ = finished_plans("tiny")
    folder = store.folder(explored.fingerprints()[0])
    if change == "study":
        study = Path("experiments", "dropout.yaml")
        study.write_text(study.read_text() + "\n")
    elif change == "plan":  # as in a clone after `dvc pull`
        shutil.rmtree(store.root / "plans")
    elif change == "data":
        shutil.rmtree(Path("artifacts", "tiny", "data"))
    elif change == "run":
        (folder / "weights.safetensors").write_bytes(b"")
    elif change == "library":
        monkeypatch.setattr(plan, "_version", lambda library: "0.0.1")
    else:
        identity = store.identity(folder.name)
        added = {"import": "nets:Net"} if change == "own network" else {"weights": "a.pt"}
        changed = identity | {"model": identity["model"] | added}
        monkeypatch.setattr(type(store), "identity", lambda self, fingerprint: changed)
    assert not finished_plans("tiny")
    if change == "study":  # one that no stage has to run again for: DVC says so at the next run
        keep_current_plans(store, "tiny")
        assert finished_plans("tiny")


@pytest.mark.parametrize("file", ["params.yaml", "experiments/protocols/tiny.yaml"])
def test_run_checks_settings_of_which_no_plan_is_stored(
    finished, monkeypatch, tmp_path, capsys, file
):
    """As of results that `dvc pull` or `gapwise restore` left: DVC would end with code 1."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("GAPWISE_STORE", str(tmp_path / "empty"))
    monkeypatch.setattr(dvc, "reproduce", lambda *_: pytest.fail("DVC was started"))
    document = read_yaml(Path(file))
    training = document.get("training") or {}
    Path(file).write_text(json.dumps({**document, "training": {**training, "epochs": 0}}))
    with pytest.raises(SystemExit) as ended:
        cli.application(["run"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "training.epochs: invalid value 0; expected" in line


@pytest.mark.parametrize(
    ("columns", "lines"),
    [
        (80, ["depth(survival=0.8), a=b", "training.schedule=", "cyclic_cosine,", "x" * 30]),
        (120, ["depth(survival=0.8), a=b", "training.schedule=cyclic_cosine,", "x" * 30]),
    ],
)
def test_long_words_break_after_a_sign(monkeypatch, columns, lines):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = f"depth(survival=0.8), a=b\ntraining.schedule=cyclic_cosine,\n{'x' * 30}"
    assert breakable(text).splitlines() == lines
    name = breakable("encoder.layers.0-5.self_attention.output_projection (6)").splitlines()
    broken = ["encoder.layers.0-5.", "self_attention.", "output_projection (6)"]
    assert name == (broken if columns == 80 else ["".join(broken)])


def test_images_that_no_batch_has_are_noted_in_plan_and_prepare(project, capsys):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("batch_size: 10", "batch_size: 20"))
    note = (
        "note: training.batch_size 20 leaves 10 of 30 training examples (33 %) out of every epoch, "
        "different ones each time: an incomplete batch is dropped"
    )
    show_expected()
    assert note in " ".join(capsys.readouterr().out.split())
    prepare.main("tiny")
    assert note in capsys.readouterr().out.splitlines()


def test_an_arm_with_more_epochs_or_images_takes_longer(project):
    arms = "  a: [{protocol: {training.epochs: x3}}]\n  b: [{protocol: {data.train_size: 45}}]\n"
    (project / "experiments" / "dropout.yaml").write_text(f"question: Which?\narms:\n{arms}")
    plan = forecast("tiny", validation_scores, decide).confirmation
    shares = {run.arm: images_share(plan, run) for run in plan.runs if run.study == "dropout"}
    assert shares == {"baseline": 1, "a": 3, "b": 1.5}


def test_looks_take_at_least_the_first_and_at_most_the_last(project, capsys):
    path = project / "experiments" / "protocols" / "tiny.yaml"
    text = path.read_text().replace("confirmation: 3", "confirmation: {looks: [3, 5]}")
    path.write_text(text.replace("[dropout, others, ensembles, variance]", "[others]"))
    show_look_runs(forecast("tiny", validation_scores, decide), 1.0)
    output = " ".join(capsys.readouterr().out.split())
    # baseline, weight decay, shift, and the default of shift where another one is chosen
    assert output.startswith(
        "confirmation looks at 3, 5 seeds: at least 9 runs, expected: not known"
    )
    assert "at most 15, about" in output
