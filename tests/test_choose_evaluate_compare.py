"""The stages choose, evaluate and compare on small artifacts, their numbers derived again."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save
from scipy import special, stats

from pipeline import choose, compare, evaluate
from pipeline.config.plan import Factor, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.data.arrays import Arrays
from pipeline.data.prepared import write_prepared
from pipeline.evaluation.ensembles import greedy
from pipeline.evaluation.methods import ROUNDS, START
from pipeline.execution.stage import ALONE
from pipeline.records.ledger import LEDGER, append_opening, read_ledger
from pipeline.records.predictions import (
    Predictions,
    View,
    read_predictions,
    seal_predictions,
    write_predictions,
)
from pipeline.records.runs import write_record
from pipeline.records.tables import read_table
from pipeline.reporting.evidence import TABLES
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed, to_json, write_sealed

CLASSES, TRAIN, VALIDATION, TEST = 3, 30, 40, 50
ERRORS = ("seed_error", "image_error", "total_error")
MACHINE = {"cpu_capability": "AVX512", "threads": 1, "device": "cpu"}
ARMS = {"baseline": DETERMINISTIC, "noisy": DETERMINISTIC, "pooled": NOISE}
FACTORS = {
    "baseline": Factor(),
    "noisy": Factor(regularizers=("dropout",)),
    "pooled": Factor(regularizers=("fractional_max_pooling",), protocol={"training.epochs": 3}),
}
KINDS = {
    "baseline": {},
    "noisy": {"augmented": 8, "trained": 8},
    "pooled": {"trained": 8},
    "snapshots": {},
    "averaged": {},
}
HELD = {  # members by kind on validation and test
    "baseline": {"crops": 5},
    "noisy": {"noise": 15, "draws": 8},
    "pooled": {"noise": 15, "moments": 1},
    "snapshots": {"snapshots": 3},
    "averaged": {"raw": 1},
}
GROUPS, SIZE = (1000, 1001), 3
GROUPED = (
    *(("00", "baseline", 0), ("30", "baseline", 1), ("31", "baseline", 2)),
    *(("40", "snapshots", 0), ("50", "averaged", 0)),
)
MEMBERS = ("30", "31", "40", "50")  # how the fingerprints of those that are not compared begin
EXAMPLES = {"test_examples": TEST, "validation_examples": VALIDATION}
COST = {"training_flops": 7, "forward_flops": 3}
WEAK, STRONG = {"dropout": {"rate": 0.1}}, {"dropout": {"rate": 0.5}}
POOLED = {"fractional_max_pooling": {"ratio": 1.2}, "protocol": {"training.epochs": 3}}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return `artifacts/tiny` with data, an exploration, a confirmation and predictions."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "artifacts" / "tiny"
    generator = np.random.default_rng(10)
    data = write_prepared(
        folder / "data",
        "tiny",
        _arrays(generator, TRAIN + VALIDATION),
        _arrays(generator, TEST),
        False,
    )["digest"]
    explored = {"baseline": ({},), "noisy": (WEAK, STRONG)}
    _phase(folder / "exploration", _plan("exploration", range(3), explored, data), generator)
    confirmed = {"baseline": ({},), "noisy": (STRONG,), "pooled": (POOLED,)}
    plan = _grouped(_plan("confirmation", range(1000, 1004), confirmed, data))
    _phase(folder / "confirmation", plan, generator)
    _predictions(folder, plan, generator)
    write_sealed(folder / "choice.json", {"choice": {}, "tried": [], "searches": []})
    return folder


def _arrays(generator, count):
    return Arrays(
        np.zeros((count, 1, 2, 2), np.float32), generator.integers(0, CLASSES, count), CLASSES
    )


def _plan(phase, seeds, settings, data):
    """Return a plan with fingerprints that look like numbers: 10e1000 must not become one."""
    names = list(ARMS)
    runs = [
        PlannedRun(
            study="one",
            arm=arm,
            setting=setting,
            seed=seed,
            fingerprint=f"{names.index(arm)}{place}e{seed}",
        )
        for arm, tried in settings.items()
        for place, setting in enumerate(tried)
        for seed in seeds
    ]
    arms = tuple(PlannedArm(name=arm, factor=FACTORS[arm], rule=rule) for arm, rule in ARMS.items())
    studies = (
        PlannedStudy(name="one", question="?", arms=arms),
        PlannedStudy(name="two", question="?", arms=arms[:1]),
    )
    return Plan(
        protocol="tiny",
        phase=phase,
        settings={"data": {"dataset": "tiny", "train_size": TRAIN}, "training": {"epochs": 2}},
        margin=0.01,
        data_digest=data,
        studies=studies,
        runs=tuple(runs),
    )


def _grouped(plan):
    """Return the plan with two groups of three baselines, a run of snapshots, one of an average."""
    members = tuple(
        PlannedRun(study="many", arm=arm, seed=seed, member=member, fingerprint=f"{place}e{seed}")
        for place, arm, member in GROUPED
        for seed in GROUPS
    )
    arms = tuple(PlannedArm(name=arm) for arm in ("baseline", "snapshots", "averaged"))
    study = PlannedStudy(
        name="many", question="?", kind="ensemble", groups=GROUPS, size=SIZE, arms=arms
    )
    return plan.model_copy(
        update={"studies": (*plan.studies, study), "runs": (*plan.runs, *members)}
    )


def _logits(generator, members, labels, skill):
    noise = generator.normal(size=(members, len(labels), CLASSES))
    return (noise + skill * np.eye(CLASSES)[labels]).astype(np.float32)


def _phase(folder, plan, generator):
    folder.mkdir()
    write_sealed(folder / "plan.json", plan.model_dump(mode="json"))
    labels = generator.integers(0, CLASSES, VALIDATION)
    for run in plan.runs:
        skill = 3.0 if run.setting == WEAK else 1.0 if run.setting == STRONG else 2.0
        _store(
            folder / run.fingerprint,
            {"logits": _logits(generator, 1, labels, skill), "labels": labels},
        )


def _store(folder, tensors, **record):
    folder.mkdir(exist_ok=True)
    content = save(tensors)
    (folder / "validation.safetensors").write_bytes(content)
    files = {"validation.safetensors": sha256(content).hexdigest()}
    write_record(
        folder, {"state": "done", "machine": MACHINE, "files": files, "cost": COST, **record}
    )


def _predictions(folder, plan, generator):
    (folder / "predictions").mkdir()
    labels = {
        "train": generator.integers(0, CLASSES, TRAIN),
        "validation": generator.integers(0, CLASSES, VALIDATION),
    }
    all_labels = {**labels, "test": np.load(folder / "data" / "test_labels.npy")}
    for run in {run.fingerprint: run for run in plan.runs}.values():
        members = {View(split, "deterministic"): 1 for split in all_labels}
        members |= {View("train", kind): count for kind, count in KINDS[run.arm].items()}
        for split in ("validation", "test"):
            members |= {View(split, kind): count for kind, count in HELD[run.arm].items()}
        logits = {
            view: _logits(generator, count, all_labels[view.split], 1.5)
            for view, count in members.items()
        }
        written = Predictions(logits, labels, examples=f"images of {run.seed}")
        write_predictions(folder / "predictions", run.fingerprint, written)
    seal_predictions(folder / "predictions")


def _predicted(folder, run):
    """Return the predictions of a run, whatever its checksum."""
    path = folder / "predictions" / f"{run}.safetensors"
    return read_predictions(folder / "predictions", run, sha256(path.read_bytes()).hexdigest())


def _tested(folder, run, kind):
    """Return logits (members, N, classes) of a run on the test, in double precision."""
    return _predicted(folder, run).logits[View("test", kind)].astype(float)


def _rewrite(folder, run, predictions):
    (folder / "predictions" / "predictions.json").unlink()
    write_predictions(folder / "predictions", run, predictions)
    seal_predictions(folder / "predictions")


def _record(folder, fingerprint, **changed):
    run = folder / fingerprint
    write_record(run, {**json.loads((run / "record.json").read_text()), **changed})


def _read_scores(folder):
    table = pd.read_csv(folder / "scores.csv", dtype={"fingerprint": str})
    scores = table.set_index(["fingerprint", "view", "members", "split", "metric"])["value"]
    assert scores.index.is_unique
    return scores


def _chosen(folder):
    return json.loads((folder / "choice.json").read_text())


# choose


def test_choose_takes_the_best_on_validation_and_keeps_the_table(folder, capsys):
    choose.main("tiny")
    assert "noisy: rate=0.1 chosen" in capsys.readouterr().out
    written = _chosen(folder)
    assert written["choice"] == {"one": {"noisy": WEAK}, "two": {}}
    assert [(row["arm"], row["setting"], row["chosen"]) for row in written["tried"]] == [
        ("baseline", {}, False),
        ("noisy", WEAK, True),
        ("noisy", STRONG, False),
    ]
    assert set(written["tried"][0]) == {
        *("study", "arm", "setting", "budget", "n"),
        *("validation_accuracy", "validation_accuracy_low", "validation_accuracy_high"),
        *("validation_nll", "fitted", "chosen", "done", "diverged", "failed", "missing"),
        *("collapsed", "scores", "changes", "change"),
    }


def test_chooses_scores_are_those_of_the_stored_logits(folder):
    choose.main("tiny")
    row = _chosen(folder)["tried"][1]
    stored = [
        load_file(folder / "exploration" / f"10e{seed}" / "validation.safetensors")
        for seed in range(3)
    ]
    right = [(each["logits"][0].argmax(axis=1) == each["labels"]).mean() for each in stored]
    logs = [
        special.log_softmax(each["logits"][0].astype(float), axis=1)[
            np.arange(VALIDATION), each["labels"]
        ]
        for each in stored
    ]
    assert (row["n"], row["done"], row["validation_accuracy"]) == (
        3,
        3,
        pytest.approx(np.mean(right)),
    )
    assert row["validation_nll"] == pytest.approx(-np.mean(logs))
    low, high = stats.ttest_1samp(right, 0).confidence_interval(0.95)
    assert (row["validation_accuracy_low"], row["validation_accuracy_high"]) == pytest.approx(
        (low, high)
    )


def test_choose_averages_probabilities_over_the_members(folder):
    labels = np.zeros(4, np.int64)
    members = np.tile(
        np.array([[[4.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]], np.float32), (1, 4, 1)
    )
    for seed in range(3):
        _store(folder / "exploration" / f"11e{seed}", {"logits": members, "labels": labels})
    choose.main("tiny")
    row = _chosen(folder)["tried"][2]
    assert (row["validation_accuracy"], row["validation_accuracy_low"]) == (
        1.0,
        None,
    )  # no spread, no interval
    assert row["validation_nll"] == pytest.approx(
        -np.log(special.softmax(members[:, 0], axis=1)[:, 0].mean())
    )


def test_choose_never_sees_the_test_set_nor_the_confirmation(folder):
    choose.main("tiny")
    before = (folder / "choice.json").read_bytes()
    (folder / "data" / "test_labels.npy").write_bytes(b"corrupted")
    shutil.rmtree(folder / "confirmation")
    shutil.rmtree(folder / "predictions")
    choose.main("tiny")
    assert (folder / "choice.json").read_bytes() == before
    shutil.rmtree(folder / "data")
    choose.main("tiny")
    assert (folder / "choice.json").read_bytes() == before


def test_choose_passes_over_a_setting_that_diverged(folder):
    _record(folder / "exploration", "10e1", state="diverged")
    choose.main("tiny")
    written = _chosen(folder)
    assert written["choice"]["one"] == {"noisy": STRONG}
    assert [written["tried"][1][key] for key in ("n", "done", "diverged", "failed", "missing")] == [
        2,
        2,
        1,
        0,
        0,
    ]


def test_choose_says_of_an_arm_that_there_is_nothing_to_choose(folder, capsys):
    shutil.rmtree(folder / "exploration" / "10e0")
    _record(folder / "exploration", "11e2", state="failed")
    choose.main("tiny")
    assert json.loads((folder / "choice.json").read_text())["choice"]["one"] == {"noisy": None}
    assert "noisy: nothing chosen" in capsys.readouterr().out


# evaluate


def test_evaluate_scores_every_view_split_and_metric_in_order(folder):
    evaluate.main("tiny")
    scores = pd.read_csv(folder / "scores.csv", dtype={"fingerprint": str})
    assert list(scores.columns) == [*("fingerprint", "view", "members", "split", "metric", "value")]
    compared = [f"{arm}0e{seed}" for arm in range(3) for seed in range(1000, 1004)]
    assert list(dict.fromkeys(scores["fingerprint"])) == compared + [
        f"{place}e{seed}" for place in MEMBERS for seed in GROUPS
    ]
    baseline, pooled = (scores[scores["fingerprint"] == name] for name in ("00e1000", "20e1000"))
    metrics = 5
    assert len(baseline) == 3 * metrics + 4 + 2 * metrics
    assert len(pooled) == 3 * metrics + 4 + 2 * 3 * metrics
    assert set(zip(baseline["view"], baseline["members"], strict=True)) == {
        ("deterministic", 1),
        ("crops", 5),
    }
    assert set(zip(pooled["view"], pooled["members"], strict=True)) == {
        *(("deterministic", 1), ("noise", 12), ("noise", 15), ("moments", 1))
    }
    columns = ("view", "members", "split", "metric")
    keys = list(zip(*(pooled[name] for name in columns), strict=True))
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_evaluates_numbers_are_those_of_the_predictions(folder):
    evaluate.main("tiny")
    scores = _read_scores(folder)["20e1002"]
    labels = np.load(folder / "data" / "test_labels.npy")
    passes = special.softmax(_tested(folder, "20e1002", "noise"), axis=2)
    mean = passes[:12].mean(axis=0)
    values = scores["noise"][12]["test"]
    assert values["accuracy"] == pytest.approx((mean.argmax(axis=1) == labels).mean())
    assert values["nll"] == pytest.approx(-np.log(mean[np.arange(TEST), labels]).mean(), rel=1e-9)
    assert values["brier"] == pytest.approx(
        ((mean - np.eye(CLASSES)[labels]) ** 2).sum(axis=1).mean(), rel=1e-9
    )
    every = -np.log(passes.mean(axis=0)[np.arange(TEST), labels]).mean()
    assert scores["noise"][15]["test"]["nll"] == pytest.approx(every, rel=1e-9)
    (plain,) = (_tested(folder, "20e1002", "deterministic").argmax(axis=2) == labels).mean(axis=1)
    assert scores["deterministic"][1]["test"]["accuracy"] == pytest.approx(plain)
    assert plain != values["accuracy"]


@pytest.mark.parametrize("arm", [0, 1, 2])
def test_evaluate_decomposes_the_gap(arm, folder):
    evaluate.main("tiny")
    parts = _read_scores(folder)[f"{arm}0e1001"]["deterministic"][1]["train_validation"]
    predicted = _predicted(folder, f"{arm}0e1001")
    right = {
        view: (values.argmax(axis=-1) == predicted.labels[view.split]).mean()
        for view, values in predicted.logits.items()
        if view.split in ("train", "validation")
    }
    clean = right["train", "deterministic"]
    augmented = right.get(("train", "augmented"), clean)
    trained = right.get(("train", "trained"), augmented)
    expected = [clean - right["validation", "deterministic"], trained - augmented]
    expected.append(augmented - clean)
    assert [parts[name] for name in ("gap", "gap_noise", "gap_augmentation")] == pytest.approx(
        expected, abs=1e-9
    )
    assert parts["gap_observed"] == pytest.approx(sum(expected), abs=1e-9)
    assert (parts["gap_noise"] == 0) == (arm == 0)
    assert (parts["gap_augmentation"] == 0) == (arm != 1)


def test_evaluate_says_which_images_every_compared_run_has_right(folder):
    evaluate.main("tiny")
    table = pd.read_csv(folder / "images.csv")
    labels = np.load(folder / "data" / "test_labels.npy")
    assert table["label"].tolist() == labels.tolist()
    assert table["image"].tolist() == list(range(len(labels)))
    prefixes = ("00", "10", "20")
    runs = [f"{prefix}e{seed}" for prefix in prefixes for seed in range(1000, 1004)]
    assert list(table.columns) == ["image", "label", *runs]
    for prefix, kind, count in (("00", "deterministic", 1), ("20", "noise", 12)):
        for seed in range(1000, 1004):
            logits = _tested(folder, f"{prefix}e{seed}", kind)[:count]
            right = special.softmax(logits, axis=-1).mean(axis=0).argmax(axis=1) == labels
            assert table[f"{prefix}e{seed}"].tolist() == right.astype(int).tolist()


def test_evaluate_records_that_it_opened_the_test_set(folder):
    evaluate.main("tiny")
    use = read_sealed(folder / "test_use.json")
    scored = sorted(set(_read_scores(folder).index.get_level_values("fingerprint")))
    assert use == {
        "phase": "confirmation",
        "runs": 12 + len(MEMBERS) * 2,
        "fingerprints": scored,
        **EXAMPLES,
    }


def test_evaluate_notes_the_plan_before_a_score_exists_and_an_equal_one_once(folder):
    ledger = folder.parents[1] / "reports" / "tiny" / LEDGER
    index = folder / "predictions" / "predictions.json"
    listed = index.read_bytes()
    write_sealed(index, {"files": dict.fromkeys(read_sealed(index)["files"], "0")})
    with pytest.raises(Refusal, match="missing or corrupted"):
        evaluate.main("tiny")
    assert not (folder / "scores.csv").exists()
    content = ledger.read_bytes()
    index.write_bytes(listed)
    evaluate.main("tiny")
    assert ledger.read_bytes() == content
    path = folder / "confirmation" / "plan.json"
    write_sealed(path, {**read_sealed(path), "margin": 0.07})
    evaluate.main("tiny")
    first, last = read_ledger(ledger)
    assert ledger.read_bytes().startswith(content)
    assert last == {**first, "margin": 0.07}
    assert {*first["code"]} >= {"evaluation", "comparison"}
    ledger.write_bytes(content.replace(b"0.", b"1.", 1))
    with pytest.raises(Refusal, match="line 1: corrupted; .*git checkout"):
        evaluate.main("tiny")


def test_studies_alone_go_on_with_the_ledger_of_their_report(folder, monkeypatch):
    reports = folder.parents[1] / "reports"
    evaluate.main("tiny")
    kept, path = reports / "tiny+dropout" / LEDGER, folder / "confirmation" / "plan.json"
    kept.parent.mkdir()
    kept.write_bytes((reports / "tiny" / LEDGER).read_bytes())
    for margin in (0.07, 0.08):  # one line in the report of the study, then one of the protocol
        write_sealed(path, {**read_sealed(path), "margin": margin})
        if margin == 0.07:
            append_opening(kept, {**read_ledger(kept)[0], "margin": margin})
        else:
            evaluate.main("tiny")
    monkeypatch.setenv(ALONE, "dropout")
    write_sealed(path, {**read_sealed(path), "margin": 0.09})
    evaluate.main("tiny")
    entries = read_ledger(reports / "tiny" / LEDGER)
    assert [entry["margin"] for entry in entries] == [0.01, 0.07, 0.09]
    assert (reports / "tiny" / LEDGER).read_bytes().startswith(kept.read_bytes())


def test_evaluate_refuses_damaged_missing_and_unlisted_predictions(folder):
    path = folder / "predictions" / "10e1000.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"10e1000\.safetensors: missing or corrupted"):
        evaluate.main("tiny")
    path.unlink()
    with pytest.raises(Refusal, match=r"10e1000\.safetensors: missing or corrupted"):
        evaluate.main("tiny")
    write_sealed(folder / "predictions" / "predictions.json", {"files": {}})
    with pytest.raises(Refusal, match="missing; expected a file for every run") as refused:
        evaluate.main("tiny")
    assert len(refused.value.lines) == 12 + len(MEMBERS) * 2
    assert not (folder / "scores.csv").exists()
    assert not (folder / "test_use.json").exists()


def _ensembles(folder):
    table = pd.read_csv(folder / "ensembles.csv")
    return table.set_index(["group", "method", "metric"])["value"]


def _probabilities(folder, *keys):
    """Return mean probabilities on the test of members named as file and kind."""
    members = [_tested(folder, run, kind) for run, kind in keys]
    return special.softmax(np.concatenate(members), axis=2).mean(axis=0)


@pytest.mark.parametrize(
    ("method", "places", "kind", "passes", "trainings"),
    [
        ("one model", ["00"], "deterministic", 1, 1),
        ("independent", ["00", "30", "31"], "deterministic", 3, 3),
        ("crops", ["00"], "crops", 5, 1),
        ("snapshots", ["40"], "snapshots", 3, 1),
        ("last of snapshots", ["40"], "deterministic", 1, 1),
        ("averaged", ["50"], "deterministic", 1, 1),
        ("averaged, raw", ["50"], "raw", 1, 1),
        ("noise passes of noisy", ["10"], "noise", 15, 1),
        ("augmented views of noisy", ["10"], "draws", 8, 1),
        ("moments of pooled", ["20"], "moments", 1, 1),
        ("all arms", ["00", "10", "20"], "deterministic", 3, 3),
    ],
)
def test_every_method_averages_its_own_members(folder, method, places, kind, passes, trainings):
    evaluate.main("tiny")
    labels = np.load(folder / "data" / "test_labels.npy")
    for seed in GROUPS:
        values = _ensembles(folder)[seed][method]
        expected = _probabilities(folder, *((f"{place}e{seed}", kind) for place in places))
        assert values["accuracy"] == pytest.approx((expected.argmax(axis=1) == labels).mean())
        assert values["nll"] == pytest.approx(
            -np.log(expected[np.arange(TEST), labels]).mean(), rel=1e-9
        )
        assert (values["forward_passes"], values["trainings"], values["training_flops"]) == (
            passes,
            trainings,
            7 * trainings,
        )


def test_temperature_comes_from_validation_alone(folder):
    evaluate.main("tiny")
    before = _ensembles(folder)[1000]["one model"]
    labels = folder / "data" / "test_labels.npy"
    np.save(labels, (np.load(labels) + 1) % CLASSES)
    summary = json.loads((folder / "data" / "data.json").read_text())
    summary["files"]["test_labels.npy"] = sha256(labels.read_bytes()).hexdigest()
    write_sealed(folder / "data" / "data.json", summary)
    evaluate.main("tiny")
    after = _ensembles(folder)[1000]["one model"]
    assert after["temperature"] == before["temperature"]
    assert after["nll_scaled"] != before["nll_scaled"]


def test_curves_over_passes_and_members_are_slices(folder):
    evaluate.main("tiny")
    labels = np.load(folder / "data" / "test_labels.npy")
    passes = pd.read_csv(folder / "passes.csv", dtype={"fingerprint": str}).set_index(
        ["fingerprint", "metric", "passes"]
    )["value"]
    assert set(passes.index.get_level_values(0)) == {
        f"{arm}0e{seed}" for arm in (1, 2) for seed in range(1000, 1004)
    }
    logits = _tested(folder, "10e1002", "noise")
    for number in (1, 7, 15):
        mean = special.softmax(logits[:number], axis=2).mean(axis=0)
        assert passes["10e1002"]["accuracy"][number] == pytest.approx(
            (mean.argmax(axis=1) == labels).mean()
        )
        assert passes["10e1002"]["nll"][number] == pytest.approx(
            -np.log(mean[np.arange(TEST), labels]).mean(), rel=1e-9
        )
    sizes = pd.read_csv(folder / "sizes.csv").set_index(["group", "method", "metric", "members"])[
        "value"
    ]
    pairs = [("00", "30"), ("00", "31"), ("30", "31")]
    values = [
        _probabilities(folder, *((f"{place}e1001", "deterministic") for place in pair))
        for pair in pairs
    ]
    expected = np.mean([-np.log(mean[np.arange(TEST), labels]).mean() for mean in values])
    assert sizes[1001]["independent"]["nll"][2] == pytest.approx(expected, rel=1e-9)
    last = special.softmax(_tested(folder, "40e1001", "snapshots")[1:], axis=2)
    assert sizes[1001]["snapshots"]["accuracy"][2] == pytest.approx(
        (last.mean(axis=0).argmax(axis=1) == labels).mean()
    )


def test_greedy_selection_looks_at_half_of_validation(folder):
    evaluate.main("tiny")
    values = _ensembles(folder)[1000]["greedy"]
    runs = ["00e1000", "10e1000", "20e1000", "30e1000", "31e1000"]
    singles = _validation(folder, runs)
    labels = _predicted(folder, "00e1000").labels["validation"]
    halves = slice(0, None, 2), slice(1, None, 2)
    counts = greedy(singles[:, halves[0]], labels[halves[0]], ROUNDS, START)
    for name, half in zip(("nll_gain_selecting", "nll_gain_held_out"), halves, strict=True):
        mean, chosen = (
            singles[:, half].mean(axis=0),
            np.average(singles[:, half], axis=0, weights=counts),
        )
        scores = [
            -np.log(each[np.arange(len(each)), labels[half]]).mean() for each in (mean, chosen)
        ]
        assert values[name] == pytest.approx(scores[0] - scores[1], rel=1e-9)
    assert values["nll_gain_selecting"] != pytest.approx(values["nll_gain_held_out"])
    assert (values["trainings"], values["training_flops"]) == (len(runs), 7 * len(runs))
    assert values["forward_passes"] == (counts > 0).sum()


def _validation(folder, runs):
    """Return probabilities (models, N, classes) on validation."""
    view = View("validation", "deterministic")
    logits = [_predicted(folder, run).logits[view].astype(float) for run in runs]
    return special.softmax(np.concatenate(logits), axis=2)


def test_every_method_is_compared_with_what_it_averages(folder):
    evaluate.main("tiny")
    table = pd.read_csv(folder / "ensembles.csv")
    against = dict(zip(table["method"], table["against"], strict=True))
    assert (
        against["noise passes of noisy"]
        == against["augmented views of noisy"]
        == "one model of noisy"
    )
    assert against["snapshots"] == "last of snapshots"
    assert (
        against["independent"]
        == against["crops"]
        == against["all arms"]
        == against["greedy"]
        == "one model"
    )


def test_a_model_under_two_names_is_averaged_once(folder):
    plan = json.loads((folder / "confirmation" / "plan.json").read_text())
    plan["runs"] += [
        run | {"study": "two", "arm": "again"} for run in plan["runs"] if run["arm"] == "noisy"
    ]
    plan["studies"][1]["arms"].append(plan["studies"][0]["arms"][1] | {"name": "again"})
    write_sealed(folder / "confirmation" / "plan.json", plan)
    evaluate.main("tiny")
    ensembles = _ensembles(folder)[1000]
    assert ensembles["all arms"]["forward_passes"] == ensembles["all arms"]["trainings"] == 3
    assert "one model of again" not in ensembles.index.get_level_values("method")


def test_curves_over_members_are_of_what_has_an_order(folder):
    evaluate.main("tiny")
    assert set(pd.read_csv(folder / "sizes.csv")["method"]) == {"independent", "snapshots"}


def test_reliability_counts_every_example(folder):
    evaluate.main("tiny")
    table = pd.read_csv(folder / "reliability.csv")
    assert set(table.groupby(["group", "method"])["count"].sum()) == {TEST}


def test_a_group_without_all_its_models_is_left_out(folder):
    _record(folder / "confirmation", "31e1000", state="diverged")
    _record(folder / "confirmation", "40e1001", state="failed")
    evaluate.main("tiny")
    groups = _ensembles(folder)
    assert set(groups.index.get_level_values("group")) == {1001}
    assert "snapshots" not in groups.index.get_level_values("method")


def test_an_arm_trained_on_more_images_is_in_no_ensemble(folder):
    evaluate.main("tiny")
    before = _ensembles(folder)
    generator = np.random.default_rng(0)
    for seed in GROUPS:
        before_this = _predicted(folder, f"10e{seed}")
        labels = {
            "train": generator.integers(0, CLASSES, TRAIN + 5),
            "validation": before_this.labels["validation"][5:],
        }
        logits = {
            view: values[:, 5:] if view.split == "validation" else values
            for view, values in before_this.logits.items()
            if view.split != "train"
        }
        train = _logits(generator, 1, labels["train"], 1.5)
        logits[View("train", "deterministic")] = train
        _rewrite(folder, f"10e{seed}", Predictions(logits, labels, examples="fewer images"))
    evaluate.main("tiny")
    after = _ensembles(folder)
    for seed in GROUPS:
        assert before[seed]["all arms"]["trainings"] - after[seed]["all arms"]["trainings"] == 1
    assert "noise passes of noisy" in before.index.get_level_values("method")
    assert "noise passes of noisy" not in after.index.get_level_values("method")


def test_predictions_of_different_examples_are_not_averaged(folder):
    same = _predicted(folder, "30e1000")
    _rewrite(folder, "30e1000", replace(same, examples="images of 1001"))
    with pytest.raises(
        Refusal, match=r"^ensemble: part 4: 40 examples \(.*\) in 3 classes; expected"
    ):
        evaluate.main("tiny")
    _rewrite(folder, "30e1000", same)
    evaluate.main("tiny")


def test_evaluate_scores_no_run_whose_setting_was_still_open(folder):
    plan = json.loads((folder / "exploration" / "plan.json").read_text())
    write_sealed(folder / "confirmation" / "plan.json", plan)
    with pytest.raises(Refusal, match="phase: invalid value .exploration.; expected confirmation"):
        evaluate.main("tiny")


def test_evaluate_follows_the_plan_and_leaves_out_what_is_not_done(folder):
    _record(folder / "confirmation", "10e1003", state="diverged")
    shutil.rmtree(folder / "confirmation" / "20e1003")
    (folder / "predictions" / "10e1003.safetensors").unlink()
    evaluate.main("tiny")
    scored = set(_read_scores(folder).index.get_level_values("fingerprint"))
    assert len(scored) == 10 + len(MEMBERS) * 2
    assert {"10e1003", "20e1003"}.isdisjoint(scored)
    assert json.loads((folder / "test_use.json").read_text())["runs"] == 10 + len(MEMBERS) * 2


# compare


def test_compare_derives_the_table_from_the_scores(folder):
    evaluate.main("tiny")
    compare.main("tiny")
    table = pd.read_csv(folder / "contrasts.csv", keep_default_na=False)
    assert ",".join(table.columns) == (
        "study,arm,factor,setting,metric,view,members,n,baseline_mean,arm_mean,difference,low,high,"
        "low_90,high_90,low_all,high_all,low_images,high_images,excludes_zero,p,p_sign_flip,p_holm,"
        "p_equivalence,verdict,below_margin,withheld,detectable,detectable_low,detectable_high,"
        "seeds_needed,seeds_needed_low,seeds_needed_high,seed_error,image_error,total_error,"
        "verdict_other_images,repeats,correlation,"
        "planned,done,failed,diverged,missing,unpaired,other_machine,lost_pairs,lost,ended,"
        "lost_alone,reference_lost,reference_ended,reference_lost_alone,both_ended"
    )
    assert list(table["arm"]) == ["noisy"] * 13 + ["pooled"] * 13
    assert ",".join(table["metric"][:13]) == (
        "test_accuracy,validation_accuracy,test_nll,validation_nll,test_brier,validation_brier,"
        "test_calibration_error,validation_calibration_error,gap,gap_noise,gap_augmentation,"
        "training_cost,test_cost"
    )
    scores = _read_scores(folder)
    baseline, pooled = (
        np.array([scores[f"{place}e{seed}", *rule, "test", "nll"] for seed in range(1000, 1004)])
        for place, rule in (("00", ("deterministic", 1)), ("20", ("noise", 12)))
    )
    row = table[(table["arm"] == "pooled") & (table["metric"] == "test_nll")].iloc[0]
    expected = stats.ttest_rel(pooled, baseline)
    assert (row["view"], row["members"], row["n"]) == ("noise", 12, 4)
    assert (row["verdict"], row["p_holm"]) == ("", "")
    assert json.loads(row["setting"]) == POOLED
    assert json.loads(row["factor"]) == {
        "regularizers": ["fractional_max_pooling"],
        "protocol": {"training.epochs": 3},
    }
    assert float(row["difference"]) == pytest.approx((pooled - baseline).mean(), rel=1e-8)
    assert float(row["p"]) == pytest.approx(expected.pvalue, rel=1e-6)
    assert (float(row["low"]), float(row["high"])) == pytest.approx(
        tuple(expected.confidence_interval(0.95)), rel=1e-6
    )
    read = read_table(folder / "contrasts.csv")
    assert read["setting"].tolist() == [STRONG] * 13 + [POOLED] * 13
    factors = [FACTORS[arm].model_dump(mode="json") for arm in ("noisy", "pooled")]
    assert read["factor"].tolist() == [factors[0]] * 13 + [factors[1]] * 13


def test_compare_counts_lost_runs_and_keeps_machines_apart(folder):
    _record(folder / "confirmation", "10e1003", state="diverged")
    shutil.rmtree(folder / "confirmation" / "10e1002")
    _record(folder / "confirmation", "20e1001", machine={**MACHINE, "threads": 2})
    evaluate.main("tiny")
    compare.main("tiny")
    table = pd.read_csv(folder / "contrasts.csv")
    counts = table[table["metric"] == "test_accuracy"].set_index("arm")[
        ["n", "planned", "done", "failed", "diverged", "missing", "unpaired", "other_machine"]
    ]
    assert counts.loc["noisy"].tolist() == [2, 4, 2, 0, 1, 1, 1, 0]
    assert counts.loc["pooled"].tolist() == [3, 4, 4, 0, 0, 0, 0, 1]
    rates = pd.read_csv(folder / "collapses.csv").set_index("arm")
    assert rates["diverged"].to_dict() == {"baseline": 0, "noisy": 1, "pooled": 0}
    assert rates.loc["noisy", ["runs", "pairs", "only_arm"]].tolist() == [3, 3, 1]


def test_compare_takes_costs_from_records_and_image_errors_from_the_images(folder):
    _record(folder / "confirmation", "10e1000", cost={"training_flops": 14, "forward_flops": 3})
    evaluate.main("tiny")
    compare.main("tiny")
    table = pd.read_csv(folder / "contrasts.csv").set_index(["arm", "metric"])
    assert table["arm_mean"]["noisy"]["training_cost"] == pytest.approx((2 + 1 + 1 + 1) / 4)
    assert (table["arm_mean"]["pooled"]["test_cost"], table["arm_mean"]["noisy"]["test_cost"]) == (
        12,
        1,
    )
    images = pd.read_csv(folder / "images.csv")
    pooled, baseline = (
        images[[f"{prefix}e{seed}" for seed in range(1000, 1004)]].mean(axis=1)
        for prefix in ("20", "00")
    )
    images_alone = (pooled - baseline).sem()
    errors = {name: table[name]["pooled"]["test_accuracy"] for name in ERRORS}
    assert errors["total_error"] >= images_alone - 1e-9
    together = np.hypot(errors["seed_error"], errors["image_error"])
    assert errors["total_error"] == pytest.approx(together)


def test_compare_checks_the_searches_of_the_choice_and_the_baseline(folder):
    number = {
        "trials": 5,
        "first_trials": 5,
        "seeds": 3,
        "widened": 1,
        "gain": 0.1,
        "gain_low": 0.0,
        "gain_high": 0.2,
    }
    named = {"study": "one", "arm": "noisy", "place": "dropout.rate=0.5", "chosen": True}
    ends = {"edge": True, "at_bound": False, "exhausted": False}
    search = {**named, **number, "ordered": True, **ends}
    write_sealed(folder / "choice.json", {"choice": {}, "tried": [], "searches": [search]})
    evaluate.main("tiny")
    compare.main("tiny")
    table = read_table(folder / "trust.csv").set_index("check")
    assert not table.loc["baseline_tuned", "passed"]
    row = table.loc["spaces_interior"]
    assert (row["passed"], row["arm"], row["subject"]) == (False, "noisy", "dropout.rate=0.5")
    assert table.loc["same_machine", "value"] == 12 + len(MEMBERS) * 2
    references = read_table(folder / "references.csv")
    assert list(references["seed"].unique()) == list(range(1000, 1004))
    scores = _read_scores(folder)
    baseline = [
        scores[f"00e{seed}", "deterministic", 1, "validation", "accuracy"]
        for seed in range(1000, 1004)
    ]
    majority = references[references["classifier"] == "majority class"]["validation_accuracy"]
    value = table[table["subject"] == "majority class"]["value"].iloc[0]
    assert value == pytest.approx(np.mean(baseline) - majority.mean())


def _combined(folder):
    """Add an arm that does what `noisy` and `pooled` do, under two seeds, and settings of runs."""
    path = folder / "confirmation" / "plan.json"
    plan = json.loads(path.read_text())
    plan["runs"] += [
        {"study": "one", "arm": "both", "seed": seed, "fingerprint": f"40e{seed}"}
        for seed in GROUPS
    ]
    plan["studies"][0]["arms"].append({**plan["studies"][0]["arms"][1], "name": "both"})
    write_sealed(path, plan)
    dropout, pooling = {"name": "dropout", "rate": 0.5}, {"name": "pooling", "ratio": 1.2}
    made = {"00": [], "10": [dropout], "20": [pooling], "40": [pooling, dropout]}
    for place, regularizers in made.items():
        for seed in GROUPS:
            settings = {
                "data": {"train_size": 30},
                "model": {"name": "cnn"},
                "training": {"learning_rate": 0.05},
                "start": {},
                "regularizers": regularizers,
                "code": {},
                "versions": {},
            }
            streams = dict.fromkeys(("split", "init", "order", "augmentation", "noise"), seed)
            run = folder / "confirmation" / f"{place}e{seed}" / "run.json"
            run.write_text(to_json({**settings, "streams": streams, "data_digest": "d"}))


def test_compare_finds_an_arms_parts_in_the_stored_runs(folder):
    _combined(folder)
    evaluate.main("tiny")
    compare.main("tiny")
    table = pd.read_csv(folder / "interactions.csv")
    assert table[["study", "arm", "first", "second"]].drop_duplicates().to_numpy().tolist() == [
        ["one", "both", "noisy", "pooled"]
    ]
    scores = _read_scores(folder)
    plain, noisy = ("deterministic", 1), ("noise", 12)
    both, one, other, neither = (
        np.array([scores[f"{place}e{seed}", *rule, "test", "accuracy"] for seed in GROUPS])
        for place, rule in (("40", plain), ("10", plain), ("20", noisy), ("00", plain))
    )
    assert table["n"][0] == 2
    assert table["difference"][0] == pytest.approx((both - one - other + neither).mean())


def test_compare_writes_no_interaction_where_no_arm_has_parts(folder):
    evaluate.main("tiny")
    compare.main("tiny")
    assert (
        (folder / "interactions.csv")
        .read_text()
        .startswith("study,arm,first,second,metric,n,effect,sum,difference,")
    )
    assert len((folder / "interactions.csv").read_text().splitlines()) == 1


def test_compare_refuses_scores_that_lack_a_done_run(folder):
    _record(folder / "confirmation", "10e1003", state="diverged")
    evaluate.main("tiny")
    _record(folder / "confirmation", "10e1003", state="done")
    with pytest.raises(Refusal, match="10e1003"):
        compare.main("tiny")
    assert not (folder / "contrasts.csv").exists()


# all three


def test_the_same_bytes_twice_and_nothing_left_beside_them(folder):
    tables = (
        "scores.csv",
        "passes.csv",
        "ensembles.csv",
        "sizes.csv",
        "reliability.csv",
        "images.csv",
        "rate_seeds.csv",  # for claims alone
        *(f"{name}.csv" for name in TABLES),
    )
    names = ("choice.json", "test_use.json", *tables)
    contents = []
    for _ in range(2):
        for verb in (choose, evaluate, compare):
            verb.main("tiny")
        contents.append([(folder / name).read_bytes() for name in names])
    assert contents[0] == contents[1]
    assert {path.name for path in folder.iterdir()} == {
        "data",
        "exploration",
        "confirmation",
        "predictions",
        *names,
    }


@pytest.mark.parametrize(
    ("verb", "name"),
    [(choose, "choice.json"), (evaluate, "scores.csv"), (compare, "contrasts.csv")],
)
def test_a_write_that_fails_leaves_the_old_file_whole(verb, name, folder, monkeypatch):
    evaluate.main("tiny")
    (folder / name).write_text("old")
    if verb is compare:
        evaluate.main("tiny")
    monkeypatch.setattr("os.replace", _full)
    with pytest.raises(OSError, match="no space"):
        verb.main("tiny")
    assert (folder / name).read_text() == "old"
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def _full(*_):
    raise OSError("no space")


def test_no_torch_is_needed():
    source = (
        "import sys; from pipeline import choose, evaluate, compare; "
        "sys.exit('torch' in sys.modules)"
    )
    root = Path(choose.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", source], cwd=root, check=False).returncode == 0


def test_a_damaged_validation_file_raises_and_is_not_scored(folder):
    path = folder / "exploration" / "10e1" / "validation.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Refusal, match="10e1: a file is missing or corrupted"):
        choose.main("tiny")
