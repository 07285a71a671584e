"""Check that README, docs and `params.yaml` agree with the code and the committed reports.

`make lint` runs these checks. The suite does not: it is independent of what a user changes.
"""

import html
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

from markdown_it import MarkdownIt
from shipped import SHIPPED
from tiny import SECTIONS, keys

from pipeline import models, regularizers
from pipeline.config.parameters import Parameters
from pipeline.config.yaml_files import read_yaml
from pipeline.data import sources
from pipeline.execution.git import committed_texts, names
from pipeline.records.reports import FILES, parse_report
from pipeline.records.rows import read_rows
from pipeline.terminal.cards import cards

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_headline_is_the_committed_reports():
    marked = r"a test compares -->\n(.*?)\n<!-- end of headline"
    shown = re.search(marked, README, re.DOTALL).group(1)
    # as committed: a run on another processor may have written other last digits
    committed = ["git", "show", "HEAD:reports/digits/report.md"]
    report = subprocess.run(committed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    parts = report.split("\n\n")
    answer = parts[1]
    table = next(part for part in parts if part.startswith("| arm"))
    assert shown == f"{answer}\n\n{table}"


def seen(page: str) -> str:
    """Return what a reader sees of a page of Markdown without a click, beside its pictures."""
    unfolded = re.sub("<details>.*?</details>", "", page, flags=re.DOTALL)
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(unfolded)
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", rendered)).split())


def test_folded_text_images_and_targets_of_links_are_not_counted():
    page = "a **b** ![c](d.png)\n\n<details><summary>e</summary>\n\nf\n\n</details>\n\n"
    assert seen(page + "| g |\n| --- |\n| [h](i.md) &lt; |\n") == "a b g h <"


def test_no_page_of_the_committed_report_takes_long_to_read():
    command = ["git", "archive", "HEAD", "reports/digits/report.md", "reports/digits/pages"]
    stored = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(stored)) as archive:
        texts = {
            member.name: archive.extractfile(member).read().decode()
            for member in archive
            if member.name.endswith(".md")
        }
    sizes = {name: len(seen(text).encode()) for name, text in texts.items()}
    assert len(sizes) > 15
    assert {name: size for name, size in sizes.items() if size > 8000} == {}


def committed_reports():
    """Return the committed reports of the protocols of this project, by name."""
    listed = names("ls-tree", "-z", "--name-only", "HEAD", "reports/")
    folders = [folder for folder in map(Path, listed) if folder.name in SHIPPED]
    return {folder.name: committed_report(folder) for folder in folders}


def committed_report(folder):
    """Return the committed report in a folder."""
    texts = committed_texts("HEAD", [f"{folder}/{name}" for name in FILES])
    by_name = {path.removeprefix(f"{folder}/"): text for path, text in texts.items()}
    return parse_report(by_name, folder.name)


def test_the_page_is_what_the_code_and_the_committed_reports_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "regularizers.md").read_text()
    written = cards(committed_reports())
    assert page == written, "run: python -m pipeline.terminal.cards > docs/regularizers.md"
    assert [
        line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")
    ] == list(regularizers.names())


def test_parameters_spell_every_overridable_key():
    document = read_yaml(ROOT / "params.yaml")
    assert set(document) == set(Parameters.model_fields)
    for section, kind in SECTIONS.items():
        assert list(document[section]) == keys(kind)
    assert set(document["model"]) == {"name", *keys_of_all(models)}
    assert set(document["source"]) == keys_of_all(sources)


def keys_of_all(noun):
    """Return the keys of all models or of all sources, as a user spells them."""
    return {key for kind in noun.settings().values() for key in keys(kind)}


def test_the_files_that_tests_copy_are_the_shipped_ones():
    folder = ROOT / "tests/support/copied"
    copied = [*folder.rglob("*.yaml")]
    assert len(copied) == 4
    for path in copied:
        shipped = ROOT / "experiments" / path.relative_to(folder)
        assert path.read_text(encoding="utf-8") == shipped.read_text(encoding="utf-8")


def test_the_table_of_budgets_has_the_epochs_of_the_protocols():
    page = (ROOT / "docs/statistics.md").read_text()
    table = page.partition("| protocol | margin | epochs | validation accuracy |")[2]
    row = re.compile(r"^\| `(\w+)` \| ([\d.]+) \| [^|]*?\*\*(\d+)\*\*", re.MULTILINE)
    shown = row.findall(table)
    assert len(shown) == 5
    for name, margin, epochs in shown:
        protocol = read_yaml(ROOT / f"experiments/protocols/{name}.yaml")
        assert protocol["training"]["epochs"] == int(epochs), name
        assert gain_of_longer_training(name, int(epochs)) < float(margin), name


def gain_of_longer_training(protocol, epochs):
    """Return the points of validation accuracy that twice the epochs gain.

    If the benchmark has not measured them, the committed report has, or the rise over the last
    third of training decides.
    """
    measured = json.loads((ROOT / "benchmarks/results/budgets.json").read_text())["epochs"]
    usual, twice = (measured[protocol].get(str(factor * epochs)) for factor in (1, 2))
    if twice:
        return twice["gain"] - usual["gain"]
    for row in read_rows(ROOT / f"reports/{protocol}/contrasts.csv"):
        if (row["arm"], row["metric"]) == ("longer", "validation_accuracy"):
            return 100 * row["difference"]
    return usual["change_over_last_third"]


def test_minutes_in_readme_are_those_of_the_benchmark():
    measured = json.loads((ROOT / "benchmarks/results/reports.json").read_text())["reports"]
    row = re.compile(r"^\| \[(\w+)\]\(reports/\w+/report\.md\) \| [^|]* \| (\d+) \|", re.MULTILINE)
    shown = dict(row.findall(README))
    assert measured.keys() <= shown.keys()
    for name, values in measured.items():
        assert int(shown[name]) == round(values["minutes"]), name
