"""README is short, names what is included, and the examples of the docs work as printed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shipped import SHIPPED

from pipeline import optimizers, regularizers, schedules
from pipeline.config.yaml_files import read_yaml

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
STUDIES = (ROOT / "docs" / "studies.md").read_text()
REGULARIZER = (ROOT / "docs" / "add-a-regularizer.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def block(page: str, language: str, after: str) -> str:
    """Return the first code block of a language after some words."""
    return re.search(rf"```{language}\n(.*?)```", page[page.index(after) :], re.DOTALL).group(1)


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_it_names_everything_that_is_included():
    for folder in (regularizers, optimizers, schedules):
        kind = folder.__name__.rpartition(".")[2]
        names = re.search(rf"^\| \[{kind}\]\S* \| ([\w, ]+)", README, re.MULTILINE).group(1)
        assert names.strip().split(", ") == sorted(folder.settings()), kind
    protocols = re.findall(r"^\| \[(\w+)\]\(reports/", README, re.MULTILINE)
    assert sorted(protocols) == sorted(SHIPPED)


def links(page: Path) -> list[str]:
    """Return the targets of the links of a page, those inside code left out."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


LINKING_PAGES = [page for page in PAGES if links(page)]


@pytest.mark.parametrize("page", LINKING_PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_exists(page):
    for link in links(page):
        target, _, anchor = link.partition("#")
        linked = (page.parent / target) if target else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked.read_text()), link


def test_the_picture_of_the_stages_is_what_dvc_follows():
    """A chain: each stage reads something of the one before it, and nothing of a later one."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    picture = re.search(r"```mermaid\n(.*?)    exploration -->", README, re.DOTALL).group(1)
    chain = re.findall(r"\w+", "".join(re.findall(r"^ +\w+ -->.*\n", picture, re.MULTILINE)))
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
    """Return a copy of the project with the regularizer, optimizer and study of the docs in it."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("pipeline", "tests", "experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "pipeline" / "regularizers" / "feature_noise.py").write_text(
        block(REGULARIZER, "python", "regularizers/feature_noise.py")
    )
    (folder / "tests" / "regularizers" / "test_feature_noise.py").write_text(
        block(REGULARIZER, "python", "Its test")
    )
    (folder / "pipeline" / "optimizers" / "lion.py").write_text(
        block(CONTRIBUTING, "python", "optimizers/lion.py")
    )
    (folder / "experiments" / "feature_noise.yaml").write_text(
        block(REGULARIZER, "yaml", "Its study")
    )
    (folder / "experiments" / "together.yaml").write_text(block(STUDIES, "yaml", "## Studies"))
    return folder


TRIED = """
import sys
import pytest
from pipeline import cli

failed = pytest.main(sys.argv[1:])
sys.exit(failed or cli.plan())
"""


def test_regularizer_and_optimizer_pass_the_contract_and_the_studies_train_and_plan(extended):
    """In one process: the imports take longer than the rest. Pairs are left to the contract."""
    (extended / "params.yaml").write_text(
        "protocols: [digits]\nstudies: [together, feature_noise]\n"
    )
    chosen = (
        "tests/test_contract.py",
        "tests/test_optimizers_and_schedules.py",
        "tests/regularizers/test_feature_noise.py",
        "tests/test_studies.py",
        *("-k", "(feature_noise or lion) and not pairwise"),
    )
    ended = subprocess.run(
        [sys.executable, "-c", TRIED, "-q", "-p", "no:cacheprovider", "-rp", *chosen],
        cwd=extended,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    passed = re.findall(r"^PASSED .*(feature_noise|lion)", ended.stdout, re.MULTILINE)
    assert passed.count("feature_noise") >= 10
    assert passed.count("lion") >= 6
    assert "shift_and_dropout" in ended.stdout


def test_the_page_of_benchmarks_is_made_from_their_results(tmp_path):
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    page = tmp_path / "benchmarks" / "README.md"
    page.unlink()
    subprocess.run([sys.executable, page.with_name("summary.py")], check=True)
    assert page.read_text() == (ROOT / "benchmarks" / "README.md").read_text()
