"""Every command that README and docs print exists, and the first steps of a user plan."""

import importlib.util
import json
import re
import runpy
import shlex
from math import sqrt
from pathlib import Path

import pytest
import torch
from declarations import MODEL
from dvc.cli.parser import get_main_parser
from short import train_two_steps
from tiny import PROTOCOL, parameters_text
from typer.main import get_command
from typer.testing import CliRunner
from wandb.cli.cli import cli as wandb

from pipeline import cli
from pipeline.config.parameters import PARAMETERS
from pipeline.config.yaml_files import parse_yaml
from pipeline.models import build
from pipeline.planning.proposal import Speed
from pipeline.planning.studies import read_experiment
from pipeline.terminal import new

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^( *)```bash\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
MEASURED = Speed(start=0.046, update=0.00736, score=3.2e-5)
ELSEWHERE = {  # programs of others, which their own documentation describes
    *("git", "cd", "source", "pip", "bash", "export", "ray", "(umask", "pre-commit")
}


def lines(page: Path) -> list[list[str]]:
    """Return the words of every command in the shell blocks of a page and in its `-S` examples."""
    text = page.read_text()
    blocks = [line for _, block in BLOCK.findall(text) for line in block.splitlines()]
    inline = re.findall(r"`((?:gapwise|dvc|make) [^`\n]+)`", text)
    words = [shlex.split(line, comments=True) for line in [*blocks, *inline]]
    return [part for command in words for part in split(command)]


def split(words: list[str]) -> list[list[str]]:
    """Return the commands that && joins."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


PRINTED = sorted({shlex.join(words) for page in PAGES for words in lines(page)})
PROGRAMS = {line: shlex.split(line)[0] for line in PRINTED}
CHECKED = {"gapwise", "dvc", "wandb", "make", "python"}
COMMANDS = [line for line, program in PROGRAMS.items() if program in CHECKED]


def test_every_program_is_of_the_project_or_known():
    assert set(PROGRAMS.values()) == CHECKED | ELSEWHERE


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_its_options(line):
    """It is parsed, not run: that is done by the tests of each command."""
    program, *words = shlex.split(line)
    if program == "gapwise" and "--help" in words:
        assert CliRunner().invoke(cli.application, words).exit_code == 0
    elif program == "gapwise":
        command = get_command(cli.application).commands[words[0]]
        context = command.make_context(words[0], words[1:])
        assert context.params.keys() == {parameter.name for parameter in command.params}
    elif program == "dvc":
        arguments = get_main_parser().parse_args(words)
        assert callable(arguments.func)
        for override in getattr(arguments, "set_param", None) or []:
            requires_parameter(override)
    elif program == "wandb":
        assert words[0] in wandb.commands
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None
    else:
        assert (ROOT / words[0]).exists()


def requires_parameter(override: str) -> None:
    """Check that a complete `params.yaml` has the key of an override, which DVC requires."""
    section, _, field = override.partition("=")[0].partition(".")
    if section == "KEY":
        return
    document = parse_yaml(parameters_text("offline"), PARAMETERS)
    assert section in document
    assert not field or field.partition(".")[0] in document[section]


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "README.md").read_text()
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", index))
    assert listed == {page.name for page in PAGES[2:]} - {"README.md"}


@pytest.fixture
def project_with_images(tmp_path, monkeypatch):
    """Return a project with the images that the script of docs/getting-started.md writes."""
    page = (ROOT / "docs" / "getting-started.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "write_images.py").write_text(script)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("write_images.py")
    (tmp_path / "experiments" / "protocols").mkdir(parents=True)
    for name in ("dropout", "augmentation", "weight_decay"):
        copied = ROOT / "tests/support/copied" / f"{name}.yaml"  # a user may edit the study
        (tmp_path / "experiments" / copied.name).write_text(copied.read_text())
    (tmp_path / "params.yaml").write_text("protocols: [digits]\nexecution: {workers: 2}\n")
    return tmp_path


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_the_first_protocol_of_a_user_is_written_and_plans(
    page, project_with_images, capsys, monkeypatch
):
    """Where a network is timed, the numbers of the machine on which the page was written."""
    text = (ROOT / page).read_text()
    monkeypatch.setattr(new, "measure_speed", lambda *_: MEASURED)
    (line,) = re.findall(r"^ *gapwise (new .*)", text, re.MULTILINE)
    with pytest.raises(SystemExit, match="^0$"):
        cli.application(shlex.split(line))
    printed = capsys.readouterr().out
    command = printed.splitlines()[-1].removeprefix("run: ")
    assert command == "gapwise run --protocol photographs"
    assert re.search(rf"^ *{command}$", text, re.MULTILINE)
    if page == "docs/getting-started.md":
        written = (
            project_with_images / "experiments" / "protocols" / "photographs.yaml"
        ).read_text()
        (shown,) = re.findall(r"```yaml\n(# 600 .*?)```", text, re.DOTALL)
        assert written.startswith(shown)
        (output,) = re.findall(r"```\n(photographs: 600 .*?)```", text, re.DOTALL)
        first, last = output.split("...\n")
        assert printed.startswith(first)
        assert printed.endswith(last)


TRANSFER = (ROOT / "docs" / "transfer.md").read_text()


def test_the_pretrainings_and_arms_of_the_page_plan(project):
    """Under the training of the tiny project."""
    keys, study = re.findall(r"```yaml\n((?:data|question).*?)```", TRANSFER, re.DOTALL)[:2]
    kept = [line for line in PROTOCOL.splitlines() if not line.startswith(("data:", "studies:"))]
    protocol = "\n".join([*kept, "studies: [modes]", keys])
    (project / "experiments" / "protocols" / "tiny.yaml").write_text(protocol)
    (project / "experiments" / "modes.yaml").write_text(study)
    (modes,) = read_experiment("tiny").studies
    trained = [arm.trials[-1].protocol.start["train"] for arm in modes.arms]
    assert trained == ["all", "head", "all", "head_then_all", "last_k", "all"]
    assert modes.arms[4].trials[-1].protocol.start["k"] == 4


def test_own_weights_are_trained_as_the_page_says(project, pool):
    written = re.findall(r"^`([\w/.]+)`\n\n```yaml\n(.*?)```", TRANSFER, re.DOTALL | re.MULTILINE)
    for name, content in written:
        (project / name).write_text(content)
    network = build(MODEL, pool.shape, pool.classes).network
    state = {name: value + 1 for name, value in network.state_dict().items()}
    torch.save(state, project / "experiments" / "pretrained.pt")
    (study,) = read_experiment("pretrained").studies
    weights = {
        arm.name: train_two_steps(arm.trials[-1], pool).weights
        for arm in study.arms
        if arm.name in ("baseline", "probe", "scratch")
    }
    first, *_, head = (name for name in state if name.endswith(".weight"))
    kept = {arm: {} for arm in weights}
    for arm, values in weights.items():
        for name in (first, head):
            kept[arm][name] = torch.equal(values[f"network.{name}"], state[name])
    assert kept["probe"] == {first: True, head: False}
    assert kept["baseline"] == kept["scratch"] == {first: False, head: False}


def test_the_tests_of_identities_exist():
    page = (ROOT / "docs/studies.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) >= 8
    for path, name in named:
        assert f"\ndef {name}(" in (ROOT / path).read_text(), (path, name)


def test_the_table_of_budgets_has_the_numbers_of_the_benchmark():
    measured = json.loads((ROOT / "benchmarks/results/budgets.json").read_text())["epochs"]
    page = (ROOT / "docs/statistics.md").read_text()
    table = page.partition("| protocol | margin | epochs | validation accuracy |")[2]
    rows = {
        name: cells.split(" | ")
        for name, cells in re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE)
    }
    assert rows.keys() == measured.keys()
    for name, by_epochs in measured.items():
        _, epochs, accuracies, rises = rows[name]
        assert re.findall(r"\d+", epochs) == list(by_epochs)
        for text, key in ((accuracies, "accuracy"), (rises, "change_over_last_third")):
            shown = [float(number) for number in re.findall(r"-?[\d.]+", text)]
            assert shown == pytest.approx([row[key] for row in by_epochs.values()], abs=0.0501)


def test_the_shares_that_limit_the_verdicts_are_those_of_the_benchmark():
    result = json.loads((ROOT / "benchmarks/results/verdicts.json").read_text())
    page = " ".join((ROOT / "docs/statistics.md").read_text().split())
    page = page[page.index("**Violated assumptions") :]
    shapes, means = result["shapes"], result["collapses_with_equal_means"]
    tails, skewed, unequal = (
        shapes[name]
        for name in ("heavy_tails", "skewed_arms_over_a_quiet_baseline", "unequal_spreads")
    )
    few, much = (result["images"][f"by_image_{by}"]["seeds_alone"] for by in (0.2, 0.6))
    near = {share: sqrt(share * (1 - share) / (result["reports"] // 2)) for share in (0.05, 1 / 3)}
    whole = sqrt(0.05 * 0.95 / result["reports"])
    expected = {
        r"near 5 % have a standard error of (\S+) points, those near a third ([\d.]+)\.": [
            *near.values()
        ],
        r"reports near 5 % have a standard error of ([\d.]+) points\.": [whole],
        r"degrees of freedom\): (\S+) %": [tails["verdict"]],
        r"unequal spread: (\S+) %": [unequal["verdict"]],
        r"a tenth of their noise: (\S+) %": [skewed["verdict"]],
        r"in (\S+) % of reports with heavy tails, in (\S+) % with skewed arms, and in (\S+) % with "
        r"unequal spreads": [one["report_flagged"] for one in (tails, skewed, unequal)],
        r"Here (\S+) % of reports have a verdict, and (\S+) % have": [
            means["arms_by_20"][name] for name in ("verdict", "withheld")
        ],
        r"these collapses instead, (\S+) % have a verdict, and (\S+) % have": [
            means["baseline_by_20"][name] for name in ("verdict", "withheld")
        ],
        r"alone cover (\S+) % for arms that differ little by example, (\S+) %": [few, much],
    }
    for pattern, shares in expected.items():
        assert [*re.search(pattern, page).groups()] == [
            f"{100 * one:.1f}".removesuffix(".0") for one in shares
        ]


def test_the_study_of_searches_of_the_page_plans(project):
    """Under the training of the tiny project, for as many epochs as its halving needs."""
    page = (ROOT / "docs" / "search.md").read_text()
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    longer = protocol.read_text().replace("epochs: 2", "epochs: 10")
    protocol.write_text(longer.replace("curve_points: 2", "curve_points: 10"))
    (study,) = re.findall(r"```yaml\n(question.*?)```", page, re.DOTALL)
    (project / "experiments" / "search.yaml").write_text(study)
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [dropout, search]\n")
    searches = read_experiment("tiny").studies[-1]
    assert searches.kind == "search"
    assert [len(arm.trials) for arm in searches.arms] == [1, 64, 64]
