"""The folder of a project, from within it and from copies of DVC."""

import pytest
import tiny

from pipeline.config.parameters import Parameters, read_parameters
from pipeline.data.paths import cache_folder, data_path
from pipeline.planning.studies import read_experiment
from pipeline.runtime.errors import Refusal
from pipeline.runtime.project import enter_project, find_project, in_original, original


@pytest.mark.parametrize("below", [".", "docs", "experiments/protocols"])
def test_a_command_below_the_project_enters_it(project, monkeypatch, below):
    (project / below).mkdir(exist_ok=True)
    monkeypatch.chdir(project / below)
    monkeypatch.setattr("sys.path", ["elsewhere"])
    enter_project()
    assert find_project() == project == project.cwd()


def test_a_folder_without_a_project_is_left_as_it_is(tmp_path):
    assert find_project(tmp_path) == tmp_path == original(tmp_path)


@pytest.mark.parametrize("copy", [".dvc/tmp/exps/standalone/tmp1", ".dvc/tmp/exps/tmp1"])
@pytest.mark.parametrize("part", [".", "sub"])
def test_the_original_of_a_copy(tmp_path, copy, part):
    """DVC's own folder may lie at the top of the copied repository or in a part of it."""
    top = tmp_path / part
    copied = top / copy / part
    (copied / ".dvc").mkdir(parents=True)
    assert original(copied) == top
    (copied / "lower").mkdir()
    assert original(copied / "lower") == top / "lower"


def test_relative_data_of_a_copy_are_those_of_the_project(tmp_path, monkeypatch):
    copied = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    (copied / "tracked").mkdir(parents=True)
    for name in ("raw", "tracked"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(copied)
    assert data_path("raw") == tmp_path / "raw"
    assert data_path("tracked").resolve() == copied / "tracked"
    assert data_path("/nowhere/raw") == in_original(data_path("/nowhere/raw"))
    assert cache_folder() == tmp_path / ".data"
    monkeypatch.chdir(tmp_path)
    assert (str(data_path("missing")), str(cache_folder())) == ("missing", ".data")


def test_outside_a_project_one_line_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal) as refused:
        read_parameters()
    assert refused.value.lines == (
        f"params.yaml: missing in {tmp_path}; run in the folder of a project",
    )


USERS_PARAMETERS = """protocols: [mine]
tune: {training.learning_rate: {log: [0.01, 0.1], points: 3}}
resolve: {digits: {dropout: {dropout: 24}}}
margin: 0.02
start: {rates: {trunk: 0.1}}
"""


@pytest.mark.parametrize("text", [USERS_PARAMETERS, "protocols: [mine]\n"], ids=["set", "removed"])
def test_the_tiny_project_does_not_depend_on_the_params_yaml_of_a_user(tmp_path, monkeypatch, text):
    root, checkout = tmp_path / "root", tmp_path / "checkout"
    for name in ("pipeline", ".dvc"):
        (root / name).mkdir(parents=True)
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "pyproject.toml", "Makefile"):
        (root / name).touch()
    (root / "params.yaml").write_text(text)
    monkeypatch.setattr(tiny, "ROOT", root)
    tiny.write_checkout(checkout)
    parameters = read_parameters(checkout)
    assert (parameters.overrides(), parameters.resolve) == ({}, None)
    assert parameters.model_fields_set == set(Parameters.model_fields)
    assert read_experiment("tiny", checkout).protocol.margin == 0.01
