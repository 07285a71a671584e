"""All nine stages on a tiny protocol: every number derived again, everything the same twice."""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from scipy import stats
from stages import STAGES, run_stages
from tiny import ROOT, trained

from pipeline import confirm, evaluate, prepare, regularizers, train
from pipeline.comparison.looks import decide
from pipeline.config.plan import read_plan
from pipeline.config.run import read_config
from pipeline.config.yaml_files import parse_yaml
from pipeline.data import sources as data
from pipeline.data.splits import hold_out, train_validation
from pipeline.evaluation.validation import validation_score
from pipeline.execution import verification
from pipeline.execution.failures import run_labels
from pipeline.execution.record_checks import record_differences
from pipeline.execution.replanning import replanning_differences
from pipeline.execution.retraining import retraining_differences
from pipeline.execution.stage import Incomplete
from pipeline.execution.verification import INPUTS, _unrecorded, differences, folder_md5, verify
from pipeline.prediction.network import assemble
from pipeline.records.ledger import LEDGER, append_opening, read_ledger, run_identities
from pipeline.records.predictions import (
    View,
    read_predictions,
    require_predictions,
    seal_predictions,
    write_predictions,
)
from pipeline.records.runs import file_digest, read_history, read_record, write_record
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, sealed, to_json, write_sealed

DIVERGING = """
question: What if the learning rate is absurd, and if every strength diverges?
arms:
  absurd:
    - {protocol: {training.learning_rate: 1.0e+30, training.schedule: constant}}
  sound:
    - {name: dropout, rate: 0.3}
  lost:
    - {name: weight_decay, strength: [1.0e+9, 1.0e+10]}
"""


IN_ANOTHER_ORDER = """
from pipeline.execution import processes
in_order = processes.run_jobs
processes.run_jobs = lambda jobs, *rest: in_order(jobs[::-1], *rest)
from stages import run_stages
run_stages()
"""


def artifacts(project):
    return project / "artifacts" / "tiny"


def stable_bytes(project):
    """Return what must be the same twice: tables, report and weights, wall clock apart."""
    files = [
        *artifacts(project).glob("*.csv"),
        *artifacts(project).glob("*.json"),
        *(project / "reports" / "tiny").rglob("*"),
        *(project / ".runs").glob("*/*.safetensors"),
    ]
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in files
        if path.is_file() and path.stem != "timing"
    }


@pytest.fixture(scope="module")
def whole(finished):
    """Return the tiny project, reproduced once: the current folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(finished)
        patch.setenv("GAPWISE_STORE", str(finished / ".runs"))
        patch.setenv("WANDB_MODE", "disabled")
        yield finished


@pytest.fixture
def scores(whole):
    return pd.read_csv(artifacts(whole) / "scores.csv", dtype={"fingerprint": str})


@pytest.fixture
def contrasts(whole):
    return pd.read_csv(artifacts(whole) / "contrasts.csv")


def test_every_planned_run_is_recorded_with_its_evidence(whole):
    for phase, expected in (
        ("exploration", 2 * 5),
        ("confirmation", 3 * 5 + 2 * 3 + 2 * 3 + 2 * 6),
    ):
        plan = read_plan(artifacts(whole) / phase)
        assert len(plan.fingerprints()) == expected
        for name in plan.fingerprints():
            record = read_record(artifacts(whole) / phase / name)
            assert record["state"] == "done"
            assert record["machine"]["threads"] == 1
            assert record["cost"]["updates"] == 6
            assert {row["group"] for row in record["routing"]} == {"decayed", "not decayed"}
            assert record["idle"] == []
            assert [row["epoch"] for row in read_history(artifacts(whole) / phase / name)] == [
                1,
                1,
                2,
                2,
            ]


def test_scores_derive_again_from_weights_and_raw_data(whole, scores):
    """Not one function of prediction, averaging or metrics is used here."""
    arrays = data.read("digits", {}).pool
    development, test = hold_out(arrays.labels, 0.4)
    pool = arrays.take(development)
    for name in read_plan(artifacts(whole) / "confirmation").fingerprints():
        folder = artifacts(whole) / "confirmation" / name
        config = read_config(folder / "run.json")
        network = assemble(config, (), pool.shape, pool.classes)
        network.load_state_dict(safetensors.torch.load_file(folder / "weights.safetensors"))
        network.eval()
        fit, held = train_validation(pool.labels, 30, config.streams.split)
        splits = {"test": (arrays, test), "validation": (pool, held), "train": (pool, fit)}
        accuracies = {}
        for split, (source, indices) in splits.items():
            with torch.no_grad():
                logits = network(torch.from_numpy(source.images[indices]))
            labels = torch.from_numpy(source.labels[indices])
            accuracies[split] = float((logits.argmax(1) == labels).float().mean())
            nll = float(torch.nn.functional.cross_entropy(logits.double(), labels))
            metrics = scores.query(
                "fingerprint == @name and view == 'deterministic' and split == @split"
            ).set_index("metric")["value"]
            assert metrics["accuracy"] == pytest.approx(accuracies[split], abs=1e-6)
            assert metrics["nll"] == pytest.approx(nll, rel=1e-4)
        gap = scores.query("fingerprint == @name and metric == 'gap'")["value"].item()
        assert gap == pytest.approx(accuracies["train"] - accuracies["validation"], abs=1e-6)


def test_contrasts_derive_again_from_scores(whole, scores, contrasts):
    plan = read_plan(artifacts(whole) / "confirmation")
    test = scores.query(
        "split == 'test' and view == 'deterministic' and metric == 'accuracy'"
    ).set_index("fingerprint")["value"]
    primary = contrasts[contrasts["metric"] == "test_accuracy"]
    assert len(primary) == 3
    for row in primary.itertuples():
        values = {
            arm: [
                test[run.fingerprint]
                for run in sorted(plan.runs_of("comparison"), key=lambda run: run.seed)
                if (run.study, run.arm) == (row.study, arm)
            ]
            for arm in ("baseline", row.arm)
        }
        difference = np.array(values[row.arm]) - np.array(values["baseline"])
        half = stats.t.ppf(0.975, 2) * difference.std(ddof=1) / 3**0.5
        assert row.n == 3
        assert row.difference == pytest.approx(difference.mean(), abs=1e-9)
        assert (row.low, row.high) == pytest.approx(
            (difference.mean() - half, difference.mean() + half), abs=1e-8
        )
        assert row.p == pytest.approx(
            stats.ttest_rel(values[row.arm], values["baseline"]).pvalue, rel=1e-5
        )
    order = np.argsort(primary["p"].to_numpy())
    by_hand = np.minimum(1, np.maximum.accumulate(primary["p"].to_numpy()[order] * [3, 2, 1]))
    assert primary["p_holm"].to_numpy()[order] == pytest.approx(by_hand, rel=1e-6)


def test_the_promised_columns_and_metrics(contrasts):
    promised = [
        "study",
        "arm",
        "factor",
        "setting",
        "metric",
        "view",
        "members",
        "n",
        "baseline_mean",
        "arm_mean",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
        "verdict",
    ]
    assert set(promised) <= set(contrasts.columns)
    assert {"test_accuracy", "validation_accuracy", "test_nll", "gap"} <= set(contrasts["metric"])
    others = contrasts[contrasts["metric"] != "test_accuracy"]
    assert others["verdict"].isna().all()
    assert others.loc[others["metric"] != "gap", "p_holm"].isna().all()
    arms = contrasts.drop_duplicates(["study", "arm"]).set_index("arm")
    assert json.loads(arms["setting"]["weight_decay"]) == {"weight_decay": {"strength": 0.01}}
    assert json.loads(arms["factor"]["shift"]) == {"regularizers": ["augmentation"], "protocol": {}}


def test_the_spread_of_a_stream_derives_again_from_scores(whole, scores):
    plan = read_plan(artifacts(whole) / "confirmation")
    test = scores.query(
        "split == 'test' and view == 'deterministic' and metric == 'accuracy'"
    ).set_index("fingerprint")["value"]
    draws = plan.runs_of("variance")
    assert len(draws) == 2 * 2 * (3 + 5)
    table = pd.read_csv(artifacts(whole) / "variance.csv").set_index(["arm", "stream"])
    assert [stream for arm, stream in table.index if arm == "baseline"] == [
        "split",
        "init",
        "order",
        "test set",
    ]
    for (arm, stream), row in table.query("n_groups > 0").iterrows():
        pairs = [
            [test[d.fingerprint] for d in draws if (d.arm, d.stream, d.seed) == (arm, stream, s)]
            for s in (1000, 1001)
        ]
        assert row["variance"] == pytest.approx(
            np.mean([np.var(pair, ddof=1) for pair in pairs]), abs=1e-9
        )
    assert (
        table.loc[("dropout", "augmentation"), "variance"] == 0
    )  # nothing of the arm draws from that stream
    mean = np.mean([test[draw.fingerprint] for draw in draws if draw.arm == "baseline"])
    assert table.loc[("baseline", "test set"), "variance"] == pytest.approx(mean * (1 - mean) / 719)


def predicted_md5(folder):
    """Return the checksum of the predictions in `dvc.lock`."""
    outs = read_lock(folder)["stages"]["predict@tiny"]["outs"]
    return next(out["md5"] for out in outs)


def read_lock(folder):
    return parse_yaml((folder / "dvc.lock").read_text(), folder / "dvc.lock")


def test_verification_names_what_was_changed_and_nothing_else(whole, monkeypatch, capsys, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder, symlinks=True)
    monkeypatch.chdir(folder)
    (artifacts(folder) / "figures.json").unlink()  # as where DVC found the report unchanged
    page = folder / "reports" / "tiny" / "pages" / "study_dropout.md"
    data_file = artifacts(folder) / "data" / "data.json"
    faults = {
        page: (
            page.read_text().replace("Study: dropout", "Study: none", 1),
            "pages/study_dropout.md: differs from what",
        ),
        **{
            folder / "artifacts" / "tiny" / name: ("stale", f"artifacts/tiny/{name}: differs")
            for name in (
                "choice.json",
                "scores.csv",
                "images.csv",
                "contrasts.csv",
                "interactions.csv",
                "variance.csv",
                "equal_cost.csv",
                "curves.csv",
                "references.csv",
                "trust.csv",
            )
        },
        folder / "reports" / "tiny" / "metrics.json": ("{}", "metrics.json: differs"),
        folder / "dvc.lock": (
            (folder / "dvc.lock").read_text().replace(predicted_md5(folder), "0.dir"),
            "artifacts/tiny/predictions: is not what dvc.lock records",
        ),
        folder / "artifacts" / "tiny" / "predictions" / "notes.txt": (
            "stray",
            "artifacts/tiny/predictions/notes.txt: no stage wrote it; remove it",
        ),
        folder / "artifacts" / "tiny" / "data" / "data.json": (
            to_json(sealed({**read_sealed(data_file), "notes": ["none"]})),
            "artifacts/tiny/data/data.json: not what the source of the data gives now",
        ),
        folder / "artifacts" / "tiny" / "more.csv": ("stray", "artifacts/tiny/more.csv: not among"),
        folder / "artifacts" / "other.txt": (
            "stray",
            "artifacts/other.txt: no protocol has this name",
        ),
        folder / "reports" / "tiny" / "extra.md": (
            "more",
            "reports/tiny/extra.md: not among the files",
        ),
        folder / "reports" / "README.md": ("# Reports", "reports/README.md: differs from what"),
    }
    for path, (text, _) in faults.items():
        path.write_text(text)
    (folder / "reports" / "tiny" / "figures" / "forest.png").unlink()
    with pytest.raises(Incomplete) as incomplete:
        verify([])
    lines = str(incomplete.value).splitlines()
    expected = [words for _, words in faults.values()] + [
        "reports/tiny/figures/forest.png: missing",
        "artifacts/tiny/choice.json: missing or corrupted; run: gapwise run "
        "--protocol tiny",  # nothing is planned by it
        "artifacts/tiny/data: is not what dvc.lock records",
    ]
    assert len(lines) == len(expected)
    assert all(any(words in line for line in lines) for words in expected)
    assert capsys.readouterr().out == f"tiny: {len(lines)} differences\n"
    monkeypatch.setattr(verification, "differences", lambda protocol: [])
    verify(["tiny"])
    assert capsys.readouterr().out == "tiny: verified\n"


@pytest.fixture
def altered(whole, monkeypatch, tmp_path):
    """Return a copy of the reproduced project, the current folder, to change."""
    folder = tmp_path / "copy"
    shutil.copytree(whole, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.torture
def test_verification_finds_a_dropped_failure(altered):
    runs = artifacts(altered) / "confirmation"
    name = next(run.fingerprint for run in read_plan(runs).runs if run.arm == "dropout")
    record = read_record(runs / name)
    write_record(runs / name, record | {"state": "failed", "reason": "hidden"})
    with pytest.raises(Incomplete, match="report.md: differs"):
        verify(["tiny"])


def replan(folder, phase, change):
    """Change a stored plan, with its checksum."""
    path = artifacts(folder) / phase / "plan.json"
    plan = read_sealed(path)
    change(plan)
    write_sealed(path, plan)


def relock(folder):
    """Write the checksums of the input folders as they are now into `dvc.lock`."""
    text = (folder / "dvc.lock").read_text()
    for stage in read_lock(folder)["stages"].values():
        for out in stage["outs"]:
            if out["path"].startswith(tuple(f"artifacts/tiny/{name}" for name in INPUTS)):
                text = text.replace(out["md5"], folder_md5(folder / out["path"]))
    (folder / "dvc.lock").write_text(text)


def drop_seed(plan):
    plan["runs"] = [run for run in plan["runs"] if run["seed"] != 1002]


def drop_arm(plan):
    plan["runs"] = [run for run in plan["runs"] if run["arm"] != "weight_decay"]
    for study in plan["studies"]:
        study["arms"] = [arm for arm in study["arms"] if arm["name"] != "weight_decay"]


def change_margin(plan):
    plan["margin"] = 0.05


def replace_strength(plan):
    for run in plan["runs"]:
        if run["arm"] == "shift":
            run["setting"]["augmentation"]["shift"] = 0.7


def drop_trial(plan):
    plan["runs"] = [
        run for run in plan["runs"] if run["setting"] != {"augmentation": {"shift": 1.0}}
    ]


def swap_runs(plan):
    runs = [run for run in plan["runs"] if run["study"] == "others" and run["arm"] == "shift"]
    runs[0]["fingerprint"], runs[1]["fingerprint"] = runs[1]["fingerprint"], runs[0]["fingerprint"]


EDITS = [
    (drop_seed, "confirmation", ["seeds dropped: "]),
    (drop_arm, "confirmation", ["arms dropped: weight_decay"]),
    (change_margin, "confirmation", ["margin: 0.01 -> 0.05"]),
    (replace_strength, "confirmation", ["settings: shift shift="]),
    (swap_runs, "confirmation", ["than shift shift=", "than shift shift="]),
    (drop_trial, "exploration", ["settings: shift none -> shift=0.5"]),
]


def test_replanning_finds_edited_plans_with_every_checksum_renewed(altered):
    for edit, phase, words in EDITS:
        plan = artifacts(altered) / phase / "plan.json"
        written = plan.read_bytes()
        replan(altered, phase, edit)
        lines, libraries = replanning_differences(
            "tiny", artifacts(altered), validation_score, decide
        )
        edited = [line for line in lines if line.startswith((str(plan), str(plan.parent)))]
        assert libraries == ""
        assert len(edited) == len(words)
        assert all(word in line for word, line in zip(words, edited, strict=True)), edit
        assert all(line.endswith("run: gapwise run --protocol tiny") for line in lines)
        if edit is drop_seed:  # dvc.lock is slow to read
            relock(altered)
            assert list(_unrecorded("tiny", altered)) == []
        plan.write_bytes(written)


def test_replanning_passes_an_honest_repeat_and_follows_settings_files(altered):
    def compared():
        return replanning_differences("tiny", artifacts(altered), validation_score, decide)

    assert compared() == ([], "")
    protocol = altered / "experiments" / "protocols" / "tiny.yaml"
    text = protocol.read_text()
    protocol.write_text(text.replace("margin: 0.01", "margin: 0.05"))
    lines, _ = compared()
    assert [line.partition("params.yaml: ")[2] for line in lines] == [
        "margin: 0.05 -> 0.01; run: gapwise run --protocol tiny"
    ] * 2
    protocol.write_text(text.replace("confirmation: 3", "confirmation: 4"))
    (line,), _ = compared()
    assert "confirmation/plan.json" in line
    assert "seeds dropped: " in line
    protocol.write_text("data: {}")
    lines, _ = compared()
    assert any("tiny.yaml: " in line and "missing; expected" in line for line in lines)


def test_replanning_finds_a_forged_identity_and_forged_data(altered):
    phase = artifacts(altered) / "confirmation"
    name = next(run.fingerprint for run in read_plan(phase).runs if run.arm == "dropout")
    identity = json.loads((phase / name / "run.json").read_text())
    identity["training"]["epochs"] = 3
    (phase / name / "run.json").write_text(to_json(identity))
    record = read_record(phase / name)
    digest = file_digest(phase / name / "run.json")
    write_record(phase / name, record | {"files": record["files"] | {"run.json": digest}})
    lines, _ = replanning_differences("tiny", artifacts(altered), validation_score, decide)
    assert any(f"{name} is not its fingerprint" in line for line in lines)
    assert any("trained from other settings" in line for line in lines)
    summary = read_sealed(artifacts(altered) / "data" / "data.json")
    labels = artifacts(altered) / "data" / "test_labels.npy"
    np.save(labels, np.load(labels)[::-1])
    sums = summary["files"] | {"test_labels.npy": file_digest(labels)}
    write_sealed(artifacts(altered) / "data" / "data.json", summary | {"files": sums})
    lines, _ = replanning_differences("tiny", artifacts(altered), validation_score, decide)
    assert "data.json: digest: not that of the arrays" in lines[0]


@pytest.fixture
def scored_again(monkeypatch):
    """Let `evaluate` alone run again in verification; all other files are taken as they are."""

    def recompute(protocol, root, again):
        for name in ("artifacts", "reports"):
            kept = shutil.ignore_patterns(*INPUTS, LEDGER)
            shutil.copytree(root / name, again / name, ignore=kept)
        for name in INPUTS:
            (again / "artifacts" / protocol / name).symlink_to(root / "artifacts" / protocol / name)
        ledger = root / "reports" / protocol / LEDGER
        if ledger.exists():
            shutil.copyfile(ledger, again / "reports" / protocol / LEDGER)
        with monkeypatch.context() as patch:
            patch.chdir(again)
            evaluate.main(protocol)

    monkeypatch.setattr(verification, "_recompute", recompute)


def test_verification_compares_the_ledger_with_the_plan_of_the_report(
    altered, scored_again, monkeypatch
):
    ledger = altered / "reports" / "tiny" / LEDGER
    place = f"reports/tiny/{LEDGER}"
    assert differences("tiny") == []
    for slow in ("_unrecorded", "_replanned", "_strays"):  # which do not read the ledger
        monkeypatch.setattr(verification, slow, lambda *_: [])
    content = ledger.read_bytes()
    (planned,) = read_ledger(ledger)
    append_opening(ledger, {**planned, "margin": 0.05})
    assert differences("tiny") == [
        f"{place}: its last entry is not the plan of the report: margin: 0.05 -> 0.01; "
        "run: gapwise run --protocol tiny"
    ]
    ledger.write_bytes(content.replace(b'"margin":0.01', b'"margin":0.02'))
    (line,) = differences("tiny")
    assert line.startswith(f"{altered}/{place}: line 1: corrupted; ")
    ledger.unlink()
    assert differences("tiny") == [
        f"{place}: missing; the next evaluation begins it; run: gapwise run --protocol tiny"
    ]


def rewrite_run(folder, **files):
    """Replace files of a stored run, with their checksums."""
    record = read_record(folder)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        record["files"][name] = hashlib.sha256(content).hexdigest()
    write_record(folder, record)


def test_training_again_finds_changed_weights_and_predictions(altered):
    phase = artifacts(altered) / "confirmation"
    plan = read_plan(phase)
    names = [run.fingerprint for run in plan.runs if (run.study, run.arm) == ("others", "shift")]
    chosen = run_identities(phase, names)

    def compared(*which):
        identities = {name: chosen[name] for name in which}
        return retraining_differences(artifacts(altered), identities, 9, seed=1)

    labels, lines = compared(*names[:2])
    assert sorted(labels) == [
        f"confirmation: {label}" for label in sorted(map(run_labels(plan).get, names[:2]))
    ]
    assert lines == []
    folder = artifacts(altered) / "predictions"
    predictions = read_predictions(folder, names[0], require_predictions(folder, names)[names[0]])
    test = View("test", "deterministic")
    logits = {**predictions.logits, test: predictions.logits[test][:, ::-1]}
    write_predictions(folder, names[0], replace(predictions, logits=logits))
    (folder / "predictions.json").unlink()
    seal_predictions(folder)
    scale_weights(phase / names[1], 2)
    _, lines = compared(*names[:2])
    assert len(lines) == 3
    assert f"{names[1]} (confirmation: shift" in lines[0]
    assert "weights.safetensors has other bits" in lines[0]
    assert all("not what its weights predict" in line for line in lines[1:])
    scale_weights(phase / names[0], 1.00001)
    history = (phase / names[0] / "history.jsonl").read_text().splitlines()
    last = {**json.loads(history[-1]), "accuracy": 0.99}
    assert last["split"] == "validation"
    curve = "\n".join([*history[:-1], json.dumps(last)]) + "\n"
    rewrite_run(phase / names[0], **{"history.jsonl": curve.encode()})
    write_record(phase / names[1], {**read_record(phase / names[1]), "state": "diverged"})
    for name in names:
        record = read_record(phase / name)
        write_record(phase / name, {**record, "machine": {"cpu_capability": "another"}})
    _, lines = compared(*names)
    words = ["validation accuracy 0.9900, but ", "diverged, but done when", "the bits of this one"]
    for name, word in zip(names, words, strict=True):
        assert [name in line for line in lines if word in line] == [True]


def scale_weights(folder, factor):
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    scaled = {name: value * factor for name, value in weights.items()}
    rewrite_run(folder, **{"weights.safetensors": safetensors.torch.save(scaled)})


def test_records_that_contradict_their_files_are_found(altered):
    phase = artifacts(altered) / "confirmation"
    one, other, third = read_plan(phase).fingerprints()[:3]
    assert list(record_differences(artifacts(altered))) == []
    diverged = {"state": "diverged", "reason": "the train loss is nan after epoch 2"}
    write_record(phase / one, {**read_record(phase / one), **diverged})
    record = {**read_record(phase / other), "state": "failed"}
    scores = record["files"].pop("validation.safetensors")  # the curve has its last epoch
    write_record(phase / other, record)
    shutil.rmtree(phase / third)
    lines = list(record_differences(artifacts(altered)))
    words = [
        "recorded as diverged, but has",
        "recorded as failed, but has",
        "missing; run: gapwise run",
    ]
    for name, word in zip((one, other, third), words, strict=True):
        assert [f"{phase / name}: " in line for line in lines if word in line] == [True]
    write_record(phase / one, {**read_record(phase / one), "state": "done", "reason": ""})
    files = {**record["files"], "validation.safetensors": scores}
    write_record(phase / other, {**record, "state": "done", "files": files})
    folder = artifacts(altered) / "predictions"
    swapped = [folder / f"{name}.safetensors" for name in (one, other)]
    contents = [path.read_bytes() for path in swapped]
    for path, content in zip(swapped, contents[::-1], strict=True):
        path.write_bytes(content)
    (folder / "predictions.json").unlink()
    seal_predictions(folder)
    lines = list(record_differences(artifacts(altered)))
    assert [line.partition(":")[0] for line in lines] == [str(phase / third), *map(str, swapped)]


def test_verification_finds_damaged_inputs(altered):
    runs = artifacts(altered) / "confirmation"
    name = next(run.fingerprint for run in read_plan(runs).runs if run.arm == "dropout")
    history = runs / name / "history.jsonl"
    good = history.read_bytes()
    history.write_bytes(good + b" ")
    with pytest.raises(Refusal, match=f"{name}: a file is missing or corrupted"):
        verify(["tiny"])
    history.write_bytes(good)
    tensors = next((artifacts(altered) / "predictions").glob("*.safetensors"))
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(
        Incomplete,
        match="verify: evaluate of tiny failed: error: artifacts/tiny/predictions/.*corrupted",
    ):
        verify(["tiny"])
    shutil.rmtree(artifacts(altered) / "predictions")
    with pytest.raises(
        Refusal, match="artifacts/tiny/predictions: missing; run: gapwise run --protocol tiny"
    ):
        verify(["tiny"])


def test_the_choice_is_the_best_on_validation_alone(whole):
    document = json.loads((artifacts(whole) / "choice.json").read_text())
    plan = read_plan(artifacts(whole) / "exploration")
    means = {}
    for run in plan.runs:
        stored = safetensors.torch.load_file(
            artifacts(whole) / "exploration" / run.fingerprint / "validation.safetensors"
        )
        accuracy = float((stored["logits"][0].argmax(1) == stored["labels"]).double().mean())
        label = json.dumps(run.setting)
        means.setdefault((run.study, run.arm), {}).setdefault(label, []).append(accuracy)
    for study, arm in (("dropout", "dropout"), ("others", "shift")):
        tried = {label: np.mean(values) for label, values in means[study, arm].items()}
        assert len(tried) == 2
        assert tried[json.dumps(document["choice"][study][arm])] == max(tried.values())


def test_only_confirmation_runs_ever_met_the_test_set(whole, scores):
    explored = set(read_plan(artifacts(whole) / "exploration").fingerprints())
    use = json.loads((artifacts(whole) / "test_use.json").read_text())
    assert not explored & set(scores["fingerprint"])
    assert not explored & set(use["fingerprints"])
    assert use["test_examples"] == 719
    assert use["runs"] == 15 + 2 * 3 + 2 * 3 + 2 * 6


def test_the_gap_comes_apart_and_is_exact_without_noise(whole, scores):
    plan = read_plan(artifacts(whole) / "confirmation")
    settings = {run.fingerprint: run.setting for run in plan.runs}
    parts = scores[scores["split"] == "train_validation"].pivot(
        index="fingerprint", columns="metric", values="value"
    )
    assert np.allclose(
        parts["gap_observed"], parts["gap"] + parts["gap_noise"] + parts["gap_augmentation"]
    )
    for part, name in (("gap_noise", "dropout"), ("gap_augmentation", "augmentation")):
        uses_it = np.array([name in settings[run] for run in parts.index])
        assert (parts.loc[~uses_it, part] == 0).all()
        assert (parts.loc[uses_it, part] != 0).any()


def test_two_clean_runs_give_the_same_bytes(whole, project):
    """By two workers, and by one: in another order, with more threads and another hash seed."""
    (project / "params.yaml").write_text("protocols: [tiny]\nexecution: {workers: 1}\n")
    surroundings = {
        "OMP_NUM_THREADS": "4",
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}",
    }
    ended = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_ORDER],
        env=os.environ | surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    one, other = stable_bytes(whole), stable_bytes(project)
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
    assert {
        "reports/tiny/report.md",
        "artifacts/tiny/contrasts.csv",
        "reports/tiny/figures/forest.png",
    } <= set(one)
    assert sum(name.endswith("/weights.safetensors") for name in one) == 49


def test_a_new_setting_trains_its_own_runs_only(project):
    run_stages(prepare, train)
    before = trained(project)
    path = project / "experiments" / "dropout.yaml"
    path.write_text(path.read_text().replace("[0.1, 0.5]", "[0.1, 0.3, 0.5]"))
    run_stages(train)
    after = trained(project)
    assert len(after) == len(before) + 2
    assert {name: after[name] for name in before} == before


def test_a_failed_run_is_named_counted_and_never_a_baseline(project, monkeypatch, capsys):
    kind = regularizers.settings()["augmentation"]
    monkeypatch.setattr(
        kind, "modify_batch", lambda self, inputs, targets, generator: (inputs, targets)
    )
    run_stages(prepare)
    with pytest.raises(Incomplete, match="4 of 10 runs failed") as failed:
        run_stages(train)
    assert "NoEffect: augmentation: " in str(failed.value)
    assert (
        sum(read_record(project / ".runs" / name)["state"] == "done" for name in trained(project))
        == 6
    )


def test_diverged_runs_are_results_and_an_arm_without_a_choice_is_reported_as_lost(project):
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [others]\n")
    (project / "experiments" / "others.yaml").write_text(DIVERGING)
    run_stages()
    table = pd.read_csv(artifacts(project) / "contrasts.csv").query("metric == 'test_accuracy'")
    rows = table.set_index("arm")
    absurd, lost = rows.loc["absurd"], rows.loc["lost"]
    assert (absurd["planned"], absurd["done"], absurd["diverged"], absurd["n"]) == (3, 0, 3, 0)
    assert (lost["planned"], lost["n"], lost["verdict"]) == (0, 0, "inconclusive")
    choice = json.loads((artifacts(project) / "choice.json").read_text())["choice"]["others"]
    assert choice == {"lost": None}
    assert "lost" in (project / "reports" / "tiny" / "report.md").read_text()
    before = trained(project)
    run_stages(confirm)
    assert trained(project) == before


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_out_of_order_raises_one_line(project, stage):
    with pytest.raises(Refusal) as refused:
        stage.main("tiny")
    assert len(refused.value.lines) == 1


def test_streams_of_all_arms_of_a_seed_are_paired(whole):
    """Same split, initialization and order: at a seed, arms differ in their regularizers alone."""
    plan = read_plan(artifacts(whole) / "confirmation")
    for seed, group in itertools.groupby(
        sorted(plan.runs_of("comparison"), key=lambda run: run.seed), key=lambda run: run.seed
    ):
        identities = [
            json.loads(
                (artifacts(whole) / "confirmation" / run.fingerprint / "run.json").read_text()
            )
            for run in group
        ]
        assert {
            json.dumps({key: one[key] for key in ("data", "model", "training", "streams")})
            for one in identities
        } == {
            json.dumps(
                {key: identities[0][key] for key in ("data", "model", "training", "streams")}
            )
        }
        assert identities[0]["streams"]["split"] == seed
