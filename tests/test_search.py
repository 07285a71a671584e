"""A study of searches through all nine stages, and verified."""

import re

import pandas as pd
import pytest
from stages import run_stages

from pipeline.comparison.looks import decide
from pipeline.config.plan import read_plan
from pipeline.evaluation.validation import validation_score
from pipeline.execution.replanning import replanning_differences

SEARCH = """
question: Which search is best?
search: {methods: [random, sobol, halving], trials: 8, replays: 100, seeds: 2}
arms:
  nesterov:
    - {protocol: {training.learning_rate: {log: [0.01, 1]}, training.batch_size: [5, 10, 15, 30]}}
    - {search: {method: random, trials: 16}}
"""


@pytest.mark.torture
def test_designs_are_trained_scored_and_planned_again(project):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("others, ensembles, variance", "search"))
    (project / "experiments" / "search.yaml").write_text(SEARCH)
    run_stages()
    artifacts = project / "artifacts" / "tiny"
    plan = read_plan(artifacts / "confirmation")
    design = {run.fingerprint for run in plan.runs_of("search") if run.arm == "nesterov"}
    assert len(design) == 32
    scores = pd.read_csv(artifacts / "scores.csv", dtype={"fingerprint": str})
    tested = scores[(scores["split"] == "test") & (scores["metric"] == "accuracy")]
    assert design <= set(tested["fingerprint"])
    assert set(pd.read_csv(artifacts / "contrasts.csv")["study"]) == {"dropout"}
    methods = pd.read_csv(artifacts / "search_methods.csv")
    assert list(methods["method"]) == ["random", "sobol", "halving"]
    assert methods["validation"].between(0, 1).all()
    pages = project / "reports" / "tiny" / "pages"
    linked = re.findall(r"\]\((\w+\.csv)\)", (pages / "search.md").read_text())
    assert {"search_methods.csv", "search_curves.csv"} <= set(linked)
    assert set(linked) == {path.name for path in pages.glob("*.csv")}
    lines, _ = replanning_differences("tiny", artifacts, validation_score, decide)
    assert lines == []
