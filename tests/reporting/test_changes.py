"""The difference of two reports: what changed and nothing else, read from the committed tables."""

import json

import pytest
from report_data import VERDICTS, report_data

from pipeline.records.reports import CONTRASTS, METRICS, SEEDS, parse_report
from pipeline.reporting.changes import change_rows, changes_section
from pipeline.reporting.dvc import metrics, plots
from pipeline.runtime.errors import Refusal

STUDIES = {"layers": dict.fromkeys(VERDICTS, "deterministic")}
SEEDS_HEAD = "protocol,study,arm,reference,fingerprint,reference_fingerprint\n"


def texts(verdicts=VERDICTS):
    """Return the files of a report with these verdicts."""
    studies = {"layers": dict.fromkeys(verdicts, "deterministic")}
    data = report_data(studies, verdicts)
    return {METRICS: json.dumps(metrics(data)), CONTRASTS: plots(data)["contrasts.csv"].to_csv()}


def written(verdicts=VERDICTS, seeds=""):
    files = texts(verdicts)
    return parse_report(files | ({SEEDS: SEEDS_HEAD + seeds} if seeds else {}), "there")


def older(verdicts=VERDICTS):
    """Return a report of code that wrote neither verdicts nor changes of the gap."""
    files = texts(verdicts)
    frame = plots(report_data(STUDIES, verdicts))["contrasts.csv"]
    kept = frame.loc[:, :"high"]
    return parse_report(files | {CONTRASTS: kept.to_csv()}, "there")


def test_equal_reports_have_one_line():
    section = changes_section("x", written(), written())
    assert section == "### x\n\nNo verdict, difference or setting changed (6 arms)."


def test_only_arms_that_changed_are_rows():
    later = VERDICTS | {"mixup": (0.02, "helps"), "smoothing": (0.004, "helps")}
    rows = {row["arm"]: row for row in change_rows(written(), written(later))}
    assert rows.keys() == {"mixup", "smoothing"}
    assert rows["mixup"]["verdict"] == "inconclusive → helps"
    assert rows["mixup"]["difference"] == "-0.4 [-0.9, +0.1] → +2.0 [+1.5, +2.5]"
    assert rows["mixup"]["change of gap"] == rows["mixup"]["difference"]  # the same in this data
    assert rows["mixup"]["n"] == "3"
    assert rows["smoothing"]["verdict"] == "helps, below the margin → helps"
    assert rows["smoothing"]["difference"] == "+0.4 [-0.1, +0.9]"


def test_an_arm_of_one_report_alone_is_a_row():
    fewer = {name: judged for name, judged in VERDICTS.items() if name != "early"}
    (gone,) = change_rows(written(), written(fewer))
    assert (gone["arm"], gone["verdict"], gone["n"]) == ("early", "hurts → –", "3 → –")
    (new,) = change_rows(written(fewer), written())
    assert (new["arm"], new["verdict"], new["n"]) == ("early", "– → hurts", "– → 3")


def test_what_an_older_report_does_not_know_is_no_change():
    assert change_rows(older(), written()) == []
    assert change_rows(written(), older()) == []
    (row,) = change_rows(older(), written(VERDICTS | {"early": (-0.05, "hurts")}))
    assert row["verdict"] == "? → hurts"
    assert row["difference"].startswith("-3.0 [-3.5, -2.5] → -5.0")


def test_baseline_checks_and_new_runs_are_noted():
    before = written(seeds="tiny,one,a,baseline,1,12345e67\n")
    after = written(seeds="tiny,one,a,baseline,2,12345e67\ntiny,one,b,baseline,3,\n")
    changed = dict(after.metrics) | {"baseline": {"accuracy": 91.0, "gap": 3.0}, "failed_checks": 9}
    after = type(after)(changed, after.facts, after.contrasts, after.seeds)
    section = changes_section("x", before, after)
    assert "2 of 3 compared runs are new." in section  # one has no reference
    assert "→ 91.0 %, gap" in section
    assert "→ 9." in section


@pytest.mark.parametrize("name", ["accuracy", "gap"])
def test_either_number_of_the_baseline_is_noted(name):
    before = written()
    baseline = before.metrics["baseline"] | {name: 12.3}
    changed = dict(before.metrics) | {"baseline": baseline}
    after = type(before)(changed, before.facts, before.contrasts, before.seeds)
    assert "→ 12.3 " in changes_section("x", before, after)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({METRICS: None}, "there: metrics.json: missing; expected a report"),
        ({METRICS: "{"}, "there: metrics.json: corrupted; run: gapwise restore"),
        ({METRICS: "[]"}, "there: metrics.json: corrupted; run: gapwise restore"),
        ({METRICS: "{}"}, "there: metrics.json: corrupted; run: gapwise restore"),
        ({CONTRASTS: "arm\na\n"}, "there: plots/contrasts.csv: corrupted; run: gapwise restore"),
        ({CONTRASTS: "n\n1,2\n"}, "there: plots/contrasts.csv: corrupted; run: gapwise restore"),
        ({SEEDS: "seed\nx\n"}, "there: seeds.csv: corrupted; run: gapwise restore"),
    ],
)
def test_a_corrupted_report_is_one_line(changes, line):
    files = {name: text for name, text in (texts() | changes).items() if text is not None}
    with pytest.raises(Refusal) as refused:
        parse_report(files, "there")
    assert refused.value.lines == (line,)
