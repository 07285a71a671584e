"""The README is true: its figures are the report's, and its examples work as printed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str, after: str) -> str:
    """Return the first code block of a language after some words."""
    return re.search(rf"```{language}\n(.*?)```", README[README.index(after) :], re.DOTALL).group(1)


def test_the_headline_is_the_committed_reports():
    shown = re.search(r"a test compares -->\n(.*?)\n<!-- end of headline", README, re.DOTALL).group(
        1
    )
    # as committed: a run on another processor may have written other last digits
    committed = ["git", "show", "HEAD:reports/digits/report.md"]
    report = subprocess.run(committed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("After ")
    assert shown in report


def test_what_it_links_to_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_picture_of_the_stages_is_what_dvc_follows():
    """A chain: each stage reads something of the one before it, and nothing of a later one."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    chain = re.findall(r"\w+", re.search(r"^prepare +->.*", README, re.MULTILINE).group())
    assert chain == list(stages)
    names = [
        set(map(str, (o if isinstance(o, str) else next(iter(o)) for o in stages[verb]["outs"])))
        for verb in chain
    ]
    reads = [
        [before for before, outs in enumerate(names) if outs & set(stages[verb]["deps"])]
        for verb in chain
    ]
    assert [max(before, default=None) for before in reads] == [None, *range(len(chain) - 1)]


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """Return a copy of the project with the README's regularizer and study in it."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("pipeline", "tests", "experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "pipeline" / "regularizers" / "feature_noise.py").write_text(
        block("python", "Another regularizer")
    )
    (folder / "tests" / "regularizers" / "test_feature_noise.py").write_text(
        block("python", "Its own test")
    )
    (folder / "experiments" / "feature_noise.yaml").write_text(block("yaml", "Its study"))
    (folder / "experiments" / "together.yaml").write_text(block("yaml", "Another study"))
    return folder


def ran(folder, *command):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_regularizer_passes_the_contract_and_its_study_trains(extended):
    ended = ran(
        extended,
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_contract.py",
        "tests/regularizers/test_feature_noise.py",
        "tests/test_studies.py",
        "-k",
        "feature_noise",
    )
    assert ended.returncode == 0, ended.stdout
    assert int(re.search(r"(\d+) passed", ended.stdout).group(1)) >= 10


def test_the_study_plans(extended):
    (extended / "params.yaml").write_text(
        "protocols: [digits]\nstudies: [together, feature_noise]\n"
    )
    ended = ran(extended, "pipeline", "plan")
    assert ended.returncode == 0, ended.stderr
    assert "shift_and_dropout" in ended.stdout


def test_every_make_target_it_names_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", README)) - {"and"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_parameter_it_sets_exists():
    document = read_yaml(ROOT / "params.yaml")
    for key in re.findall(r"-S '?([a-z_.]+)=", README):
        section, _, field = key.partition(".")
        assert section in document
        assert not field or field in document[section]


def test_the_figures_of_the_engine_are_those_that_were_measured():
    results = {
        name: json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
        for name in ("run", "grid", "alternatives")
    }
    factors = [
        results["alternatives"][f"factor_{way}_for_each_run"]["median"]
        for way in ("process", "dvc_stage")
    ]
    words = [
        *(f"{results['run'][case]['median_ratio']:.2f} times" for case in ("digits", "28x28")),
        *(
            f"{results['grid'][part]['median']:.0%}".replace("%", " %")
            for part in ("once_workers_stand", "with_their_start")
        ),
        *(f"{factor:.1f} times" for factor in factors),
    ]
    text = " ".join((ROOT / "README.md").read_text().split())
    assert not [word for word in words if word not in text]
