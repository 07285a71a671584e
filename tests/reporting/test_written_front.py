"""Edits of a written front page: every number and verdict of its answer and table of arms."""

import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from report_data import report_data

from pipeline.comparison.collapses import collapses, with_collapses
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.levels import COSTS
from pipeline.comparison.matching import WHERE, outcomes
from pipeline.comparison.seeds import seed_scores
from pipeline.comparison.written import written_contrasts
from pipeline.config.plan import PlannedLooks
from pipeline.execution import headlines
from pipeline.execution.headlines import headline_differences
from pipeline.records.reports import read_report
from pipeline.records.tables import write_table
from pipeline.reporting.dvc import metrics, plots, protocol_facts
from pipeline.reporting.pages.front import front_page
from pipeline.reporting.verdict_sentences import NOT_ABOVE_MAJORITY
from pipeline.reporting.written_front import WrittenFront, arm_table
from pipeline.runtime.files import to_json

EFFECTS = {  # mean difference of an arm; the second seed of those in LOST diverged
    **{"augmentation": 0.02, "dropout": 0.03, "smoothing": 0.004, "decay": 0.0},
    **{"mixup": 0.001, "early": -0.03, "noise": 0.025},
}
LOST = ("noise", "decay")
WAVE = {1000: -1.0, 1001: 0.0, 1002: 1.0}  # of the differences over seeds
NUMBER = re.compile(r"\d+(?:\.\d+)?")
VERDICT = re.compile(r"\b(?:helps?|hurts?|inconclusive|equivalent|No verdict)\b")
UNKNOWN = re.compile(r"\d+ epochs")  # which no table of a report has


def synthetic(looks=None):
    """Return report data whose tables are those of `compare` on made scores."""
    studies = {"one": dict.fromkeys(EFFECTS, "deterministic")}
    data = report_data(studies, dict.fromkeys(EFFECTS, (0.0, "inconclusive")))
    plan = data.confirmation.model_copy(update={"looks": looks})
    rows, states = [], {}
    for run in plan.runs:
        spread = 0.02 if run.arm == "mixup" else 0.0004
        value = 0.9 + EFFECTS.get(run.arm, 0.0)
        if run.arm != "baseline":
            value += spread * WAVE[run.seed]
        lost = run.arm in LOST and run.seed == 1001
        states[run.fingerprint] = "diverged" if lost else "done"
        if not lost:
            rows += [
                (run.fingerprint, "deterministic", 1, *place, value) for place in WHERE.values()
            ]
    names = ["fingerprint", "view", "members", "split", "metric", "value"]
    scores = pd.DataFrame(rows, columns=names).drop_duplicates()
    results = with_collapses(plan, outcomes(scores, states, dict.fromkeys(states, "one kind")))
    costs = {name: {"training_flops": 2, "forward_flops": 1} for name in states}
    used = ("test_accuracy", "gap", *COSTS)
    return replace(
        data,
        confirmation=plan,
        contrasts=contrasts(plan, results, costs, {}, metrics=used),
        collapses=collapses(plan, results),
        seeds=seed_scores(plan, results),
    )


def write(folder, data):
    (folder / "plots").mkdir()
    (folder / "report.md").write_text(front_page(data, []), encoding="utf-8")
    (folder / "metrics.json").write_text(to_json(metrics(data)))
    (folder / "protocol.json").write_text(to_json(protocol_facts(data)))
    write_table(folder / "seeds.csv", data.seeds)
    write_table(folder / "contrasts.csv", data.contrasts)
    write_table(folder / "plots" / "contrasts.csv", plots(data)["contrasts.csv"])


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    data = synthetic()
    assert metrics(data)["points"].keys() == EFFECTS.keys()
    write(folder, data)
    return folder


@pytest.fixture
def edited(report):
    """Return a function that finds the differences after one edit, which it takes back."""

    def differences(name, old, new):
        path = report / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        lines = headline_differences(report)
        path.write_text(text, encoding="utf-8")
        return lines

    return differences


def replaced(match):
    """Return another number or another verdict for a match."""
    token = match[0]
    return token[:-1] + str((int(token[-1]) + 1) % 10) if token[-1].isdigit() else "is unsure"


def changed(text, match):
    """Return a text in which a match is another number or another verdict."""
    return text[: match.start()] + replaced(match) + text[match.end() :]


def test_a_written_report_agrees_with_its_tables(report):
    verdicts = {row["arm"]: row for row in synthetic().distinct.to_dict("records")}
    assert [verdicts[name]["verdict"] for name in EFFECTS] == [
        *("helps", "helps", "helps", "inconclusive", "inconclusive", "hurts", "inconclusive")
    ]
    assert verdicts["noise"]["withheld"]
    assert verdicts["smoothing"]["below_margin"]
    assert headline_differences(report) == []


def test_a_report_with_looks_agrees_with_its_tables(tmp_path):
    stops = [
        {"study": "one", "arm": arm, "look": 2, "reason": "futile" if arm == "mixup" else "last"}
        for arm in EFFECTS
    ]
    looks = {"seeds": (2, 3), "weights": (0.4, 0.6), "stops": tuple(stops)}
    data = synthetic(PlannedLooks.model_validate(looks))
    write(tmp_path, data)
    assert headline_differences(tmp_path) == []
    front = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "corrected for 2 looks, at 2 and 3 seeds" in front
    for old, new in (("| 3: futile |", "| 2: futile |"), ("2 to 3 fresh", "1 to 3 fresh")):
        assert front.count(old) == 1
        (tmp_path / "report.md").write_text(front.replace(old, new), encoding="utf-8")
        assert headline_differences(tmp_path)
    (tmp_path / "report.md").write_text(front, encoding="utf-8")
    facts = json.loads((tmp_path / "protocol.json").read_text())
    facts["looks"]["weights"] = [0.6, 0.4]
    (tmp_path / "protocol.json").write_text(json.dumps(facts))
    assert any("by seeds.csv" in line for line in headline_differences(tmp_path))


@pytest.fixture(scope="module")
def tables(report):
    """Return the tables of the report, which are read once."""
    return WrittenFront(written_contrasts(report / "contrasts.csv", read_report(report)))


def test_every_number_and_verdict_of_the_answer_is_compared(report, tables):
    front = (report / "report.md").read_text(encoding="utf-8")
    answer = front.split("\n\n")[1]
    exempt = [match.span() for match in UNKNOWN.finditer(answer)]
    start, end = answer.index("The baseline reaches"), answer.index("Limits: ")
    exempt.append((start, end))  # compared with metrics.json, below
    tokens = [
        match
        for pattern in (NUMBER, VERDICT)
        for match in pattern.finditer(answer)
        if not any(low <= match.start() < high for low, high in exempt)
    ]
    assert len(tokens) > 30
    table = arm_table(front)
    assert not [*tables.answer_differences(answer, *table)]
    missed = [
        match
        for match in tokens
        if not [*tables.answer_differences(changed(answer, match), *table)]
    ]
    assert missed == []


def test_the_warning_of_a_baseline_that_learned_nothing_is_read_back(report, tables):
    front = (report / "report.md").read_text(encoding="utf-8")
    answer = front.split("\n\n")[1]
    table = arm_table(front)
    warned = f"{NOT_ABOVE_MAJORITY} {answer}"
    assert not [*tables.answer_differences(warned, *table)]
    for other in (warned.replace("not shown", "shown", 1), f"{NOT_ABOVE_MAJORITY} {warned}"):
        assert [*tables.answer_differences(other, *table)]


def test_every_cell_of_the_table_of_arms_is_compared(report, tables):
    text = (report / "report.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == len(EFFECTS)
    for row in rows:
        for pattern in (NUMBER, VERDICT):
            new = pattern.sub(replaced, row)
            lines = [*tables.table_differences(*arm_table(text.replace(row, new)))]
            cells = sum(bool(pattern.search(cell)) for cell in row.split(" | "))
            assert len(lines) >= max(cells, 1)
    for without in (text.replace(rows[2] + "\n", ""), text.replace(rows[2], rows[1])):
        assert [*tables.table_differences(*arm_table(without))]


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("report.md", " comparisons at once", " comparison at once", "the answer lacks"),
        ("report.md", "helps", "hurts", ""),
        ("metrics.json", '"accuracy": 89.0', '"accuracy": 55.1', "of the baseline, metrics.json"),
        ("metrics.json", '"dropout": 3.0', '"dropout": 3.5', "points.dropout"),
        ("protocol.json", '"margin": 0.01', '"margin": 0.02', "the answer lacks"),
        ("seeds.csv", ",True,False,False,False,False,0.9", ",True,False,False,False,False,0.8", ""),
        ("seeds.csv", "True,False,False,False", "False,False,False,False", "by seeds.csv"),
        (
            "seeds.csv",
            "False,True,False,False,False",
            "False,False,False,False,False",
            "0 by seeds.csv",
        ),
        ("plots/contrasts.csv", ",helps,", ",hurts,", "verdict: helps, not that of plots"),
        ("contrasts.csv", ",helps,", ",hurts,", "hurts, but helps by its p-values"),
        ("contrasts.csv", "dropout", "", ""),
    ],
)
def test_edits_of_tables_are_named(edited, name, old, new, words):
    lines = edited(name, old, new)
    assert any(words in line for line in lines)


ARM = {"against": "baseline", "setting": {}, "seeds": [1000, 1001, 1002]}
ARMS = {"baseline": ARM, **dict.fromkeys(EFFECTS, ARM)}
DATA = {"dataset": "digits", "train_size": 7}
PLAN = {
    "margin": 0.01,
    "settings": {"data": DATA, "training": {"epochs": 2}},
    "arms": {"one": ARMS},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ()),
        ({"margin": 0.02}, ("protocol.json: margin: 0.01, but 0.02",)),
        ({"arms": {"one": {**ARMS, "dropped": ARM}}}, ("dropped of one: not among",)),
        ({"arms": {"one": {**ARMS, "mixup": {**ARM, "seeds": [1000]}}}}, ("mixup of one: seeds",)),
        (
            {"arms": {"one": {**ARMS, "mixup": {**ARM, "setting": {"mixup": {}}}}}},
            ("mixup of one: setting",),
        ),
        (
            {"settings": {"data": DATA, "training": {"epochs": 3}}},
            ("the answer has 2 epochs, the ledger 3",),
        ),
        ({"looks": {"seeds": [2, 3], "weights": [0.4, 0.6]}}, ("protocol.json: looks: None",)),
    ],
)
def test_the_plan_of_a_report_is_the_last_one_of_its_ledger(report, change, words, monkeypatch):
    monkeypatch.setattr(headlines, "read_ledger", lambda path: [{}, PLAN | change])
    lines = headline_differences(report)
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))


BOUNDS = ("low", "high", "low_90", "high_90", "low_all", "high_all")


@pytest.mark.parametrize(
    "name", ["n", "arm_mean", "difference", *BOUNDS, "p", "p_holm", "p_equivalence", "lost"]
)
def test_every_number_of_a_contrast_is_that_of_its_seeds(report, edited, name):
    path = report / "contrasts.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    row = table.index[(table["arm"] == "mixup") & (table["metric"] == "test_accuracy")][0]
    before = path.read_text(encoding="utf-8")
    value = float(table.loc[row, name])
    other = (
        str(int(value) + 1)
        if name in ("n", "lost")
        else f"{value + (0.003 if value < 0.9 else -0.003):.10g}"
    )
    table.loc[row, name] = other
    assert edited("contrasts.csv", before, table.to_csv(index=False, lineterminator="\n"))
