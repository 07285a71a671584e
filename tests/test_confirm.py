"""The stage confirm with looks: resumable, whatever happens between, and blind to the test set."""

import shutil
from hashlib import sha256

import numpy as np
import pytest
from safetensors.numpy import save

from pipeline import confirm, prepare
from pipeline.config.plan import BASELINE, read_plan
from pipeline.records.store import open_store
from pipeline.runtime.files import write_sealed

CHOICE = {"dropout": {"dropout": {"dropout": {"rate": 0.5}}}}
STUDY = """question: Which?
arms:
  good: [{name: weight_decay, strength: 0.01}]
  unclear: [{name: augmentation, shift: 1}]
"""
EXAMPLES = 400


@pytest.fixture
def folder(project):
    """Return artifacts with data and a choice, of a protocol with looks."""
    path = project / "experiments" / "protocols" / "tiny.yaml"
    text = path.read_text().replace("confirmation: 3", "confirmation: {looks: [3, 5, 6]}")
    path.write_text(text.replace("[dropout, others, ensembles, variance]", "[dropout, others]"))
    (project / "experiments" / "others.yaml").write_text(STUDY)
    prepare.main("tiny")
    folder = project / "artifacts" / "tiny"
    write_sealed(folder / "choice.json", {"choice": CHOICE, "tuned": {}})
    return folder


class Killed(Exception):
    """A kill in the middle of a stage."""


@pytest.fixture
def trained(monkeypatch):
    """Train nothing: store runs whose validation accuracy follows from arm and seed.

    Return the runs, and after how many more to be killed, None for never.
    """
    state = {"runs": [], "left": None}

    def complete(plan, identities, entry, store, folder, settings, loggers):
        for run in plan.runs:
            if store.finished(run.fingerprint):
                continue
            if state["left"] == len(state["runs"]):
                raise Killed
            state["runs"].append(run.fingerprint)
            store.write(run.fingerprint, *_stored(run), {})
        store.assemble(plan, folder / plan.phase)

    monkeypatch.setattr(confirm, "complete", complete)
    return state


def _stored(run):
    """Return the files and the record of a run."""
    gain = {"good": 100, "unclear": 4 + 9 * (run.seed % 3)}.get(run.arm, 0)
    right = 200 + gain + int(sha256(f"{run.arm}{run.seed}".encode()).hexdigest(), 16) % 5
    labels = np.zeros(EXAMPLES, dtype=np.int64)
    logits = np.zeros((1, EXAMPLES, 2), dtype=np.float32)
    logits[0, :right, 0] = logits[0, right:, 1] = 1
    record = {"state": "done", "audit": {}, "cost": {}, "machine": {"cpu": "x"}}
    return {"validation.safetensors": save({"logits": logits, "labels": labels})}, record


def test_looks_go_on_until_every_arm_has_stopped(folder, trained):
    confirm.main("tiny")
    plan = read_plan(folder / "confirmation")
    stops = {stop.arm: (stop.look, stop.reason) for stop in plan.looks.stops}
    assert stops["good"] == (1, "difference")
    assert stops["unclear"][0] > 1
    rows = [run.arm for run in plan.runs_of("comparison")]
    counts = {arm: plan.looks.seeds[look - 1] for arm, (look, _) in stops.items()}
    assert {arm: rows.count(arm) for arm in counts} == counts
    assert rows.count(BASELINE) == 2 * max(counts.values())  # in two studies
    assert sorted(trained["runs"]) == sorted(plan.fingerprints())


def test_the_plan_is_the_same_after_kills_and_without_the_test_set(folder, trained):
    confirm.main("tiny")
    expected = (folder / "confirmation" / "plan.json").read_bytes()
    once = len(trained["runs"])
    shutil.rmtree(open_store().root)
    shutil.rmtree(folder / "confirmation")
    for path in (folder / "data").glob("*test*"):
        path.unlink()
    trained["runs"].clear()
    for left in range(2, once, 4):
        trained["left"] = left
        with pytest.raises(Killed):
            confirm.main("tiny")
    trained["left"] = None
    confirm.main("tiny")
    assert (folder / "confirmation" / "plan.json").read_bytes() == expected
    assert len(trained["runs"]) == len(set(trained["runs"])) == once
