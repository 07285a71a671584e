"""What W&B is told, without W&B."""

import dataclasses
import json
from typing import Any

import pytest

from pipeline.config.plan import (
    FIRST_PHASE,
    Factor,
    Plan,
    PlannedArm,
    PlannedLooks,
    PlannedRun,
    PlannedStart,
    PlannedStudy,
    Stop,
)
from pipeline.config.test_rules import NOISE
from pipeline.tracking.payloads import Image, Payload, report_id, report_payload, run_payloads
from pipeline.tracking.recorded import Recorded

SETTINGS = {
    "data": {"dataset": "digits", "train_size": 150},
    "model": {"name": "resnet"},
    "training": {"epochs": 60},
}
BASELINE = PlannedArm(name="baseline")
DROPOUT = PlannedArm(
    name="drop",
    factor=Factor(regularizers=("dropout",), protocol={"data.train_size": 75}),
    rule=NOISE,
)
MORE = PlannedArm(name="more", factor=Factor(regularizers=("mixup",)), against="drop")
SETTING = {"dropout": {"rate": 0.25}, "protocol": {"data.train_size": 75}}
IDENTITY = {
    "data": {"dataset": "digits", "train_size": 75},
    "model": {"name": "resnet", "widths": [8, 16]},
    "training": {"epochs": 60},
    "streams": {"split": 1000, "noise": 1000},
    "regularizers": [{"name": "dropout", "rate": 0.25, "sites": {"head": True}}],
    "code": {"models/resnet.py": "0"},
}
HISTORY = [
    {
        "epoch": 12,
        "updates": 36,
        "split": "train",
        "loss": 0.5,
        "accuracy": 0.9,
        "learning_rate": 0.05,
    },
    {
        "epoch": 6,
        "updates": 18,
        "split": "train",
        "loss": 1.0,
        "accuracy": 0.7,
        "learning_rate": 0.02,
    },
    {
        "epoch": 6,
        "updates": 18,
        "split": "validation",
        "loss": 1.1,
        "accuracy": 0.6,
        "learning_rate": 0.02,
    },
]
RECORD = {
    "state": "done",
    "reason": "",
    "audit": {"dropout": {"drop_rate": 0.249}},
    "cost": {"training_flops": 10, "updates": 180},
    "machine": {"threads": 1},
    "files": {},
}


def plan(*runs: PlannedRun, starts: tuple[PlannedStart, ...] = ()) -> Plan:
    studies = [
        PlannedStudy(name=name, question=f"Does {name} help?", arms=(BASELINE, DROPOUT, MORE))
        for name in ("one", "two")
    ]
    return Plan(
        protocol="digits",
        phase="confirmation",
        settings=SETTINGS,
        margin=0.01,
        data_digest="d1",
        studies=tuple(studies),
        runs=runs,
        starts=starts,
    )


def start(name: str, fingerprint: str, data: str, before: str | None = None) -> PlannedStart:
    return PlannedStart(
        name=name, data=data, seed=1000, fingerprint=fingerprint, start=before, images=9
    )


def row(study: str, arm: str, fingerprint: str, **more: Any) -> PlannedRun:
    return PlannedRun(study=study, arm=arm, seed=1000, fingerprint=fingerprint, **more)


def one(**changes: Any) -> Payload:
    recorded = dataclasses.replace(Recorded(RECORD, HISTORY, IDENTITY), **changes)
    return next(run_payloads(plan(row("one", "drop", "f1", setting=SETTING)), {"f1": recorded}))


def test_a_shared_run_comes_once_under_its_first_study_and_is_tagged_with_all() -> None:
    runs = [row("one", "baseline", "f0"), row("one", "drop", "f1"), row("two", "baseline", "f0")]
    first, second = run_payloads(
        plan(*runs), {"f0": Recorded(RECORD), "f1": Recorded(RECORD, (), IDENTITY)}
    )
    assert (first.id, first.group, first.tags) == ("f0", "one", ("baseline", "one", "two"))
    assert first.config["studies"] == "one, two"
    assert first.config["regularizers"] == "none"
    assert (second.id, second.tags) == ("f1", ("drop", "dropout", "one"))


def test_a_run_says_what_it_is() -> None:
    payload = one()
    assert payload.job_type == "confirmation"
    assert payload.name == "drop rate=0.25, data.train_size=75 seed 1000"
    assert payload.notes == "Does one help?"


def test_a_model_of_a_group_and_a_draw_say_which_they_are() -> None:
    runs = (
        row("one", "baseline", "f0", member=2),
        row("one", "baseline", "f1", stream="init", draw=3),
    )
    payloads = run_payloads(plan(*runs), {name: Recorded(RECORD) for name in ("f0", "f1")})
    assert [payload.name for payload in payloads] == [
        "baseline seed 1000 member 2",
        "baseline seed 1000 init 3",
    ]


def test_runs_that_others_start_from_come_first_in_groups_of_their_own() -> None:
    starts = (
        start("similar", "p1", "similar"),
        start(FIRST_PHASE, "p2", "", "p1"),
        start(FIRST_PHASE, "f0", "", "p1"),  # an arm too: a probe
        start("other", "p3", "other"),  # not trained yet
    )
    runs = (row("one", "baseline", "f0", start="p1"), row("one", "drop", "f1", start="p2"))
    identity = {**IDENTITY, "data": {"dataset": "digits", "train_size": 400}}
    recorded = dict.fromkeys(("p1", "p2", "f0", "f1"), Recorded(RECORD, HISTORY, identity))
    payloads = list(run_payloads(plan(*runs, starts=starts), recorded))
    groups = [("p1", "pretraining"), ("p2", FIRST_PHASE), ("f0", "one"), ("f1", "one")]
    assert [(payload.id, payload.group) for payload in payloads] == groups
    pretrained = payloads[0]
    assert (pretrained.job_type, pretrained.name) == ("pretraining", "similar seed 1000")
    assert pretrained.tags == ("similar", "dropout")
    assert pretrained.config["data.train_size"] == 400  # not that of the protocol
    assert "data_digest" not in pretrained.config  # that of the protocol's data
    for key, value in {"pretraining": "similar", "dropout.rate": 0.25, "seed": 1000}.items():
        assert pretrained.config[key] == value
    assert pretrained.summary["cost/updates"] == 180
    assert [point["epoch"] for point in pretrained.history] == [6, 12]
    assert payloads[1].config["starts_from"] == payloads[2].config["starts_from"] == "p1"


def test_config_is_flat_and_holds_the_values_of_the_run_over_those_of_the_protocol() -> None:
    config = one().config
    assert not [key for key, value in config.items() if isinstance(value, dict)]
    expected = {
        **{
            "arm": "drop",
            "study": "one",
            "protocol": "digits",
            "phase": "confirmation",
            "seed": 1000,
        },
        **{
            "setting.dropout.rate": 0.25,
            "setting.protocol.data.train_size": 75,
            "factor.regularizers": ["dropout"],
            "factor.protocol.data.train_size": 75,
            "test_rule.view": "noise",
            "test_rule.members": 12,
        },
        **{"regularizers": "dropout", "fingerprint": "f1", "data_digest": "d1"},
        **{
            "dropout.rate": 0.25,
            "dropout.sites.head": True,
            "data.train_size": 75,
            "model.widths": [8, 16],
        },
        **{"training.epochs": 60, "streams.noise": 1000, "machine.threads": 1},
    }
    assert {key: config.get(key) for key in expected} == expected
    assert not [key for key in config if key.startswith("code")]


def test_a_run_without_its_identity_has_the_protocol_values() -> None:
    assert one(identity={}).config["data.train_size"] == 150


def test_curves_come_by_epoch_with_the_gap_where_both_splits_are_there() -> None:
    first, second = one().history
    assert first["epoch"] == 6
    assert first["gap"] == pytest.approx(0.1)
    assert first["validation/loss"] == 1.1
    assert first["learning_rate"] == 0.02
    assert second == {
        "epoch": 12,
        "train/loss": 0.5,
        "train/accuracy": 0.9,
        "updates": 36,
        "learning_rate": 0.05,
    }


def test_summary_has_scores_gap_audit_cost_and_state() -> None:
    scores = [
        {"view": view, "members": members, "split": split, "metric": metric, "value": value}
        for view, members, split, metric, value in (
            ("noise", 12, "test", "accuracy", 0.95),
            ("noise", 20, "test", "accuracy", 0.96),
            ("deterministic", 1, "test", "accuracy", 0.94),
            ("deterministic", 1, "train_validation", "gap_noise", 0.01),
        )
    ]
    assert one(scores=scores, timing={"seconds": 1.5}).summary == {
        "state": "done",
        "cost/training_flops": 10,
        "cost/updates": 180,
        "cost/seconds": 1.5,
        "audit/dropout/drop_rate": 0.249,
        "final/test_accuracy": 0.95,
        "final/noise_20/test_accuracy": 0.96,
        "final/deterministic/test_accuracy": 0.94,
        "final/gap_noise": 0.01,
    }


def test_operations_that_are_not_counted_are_one_text() -> None:
    def summary(*names: str) -> object:
        cost = {**RECORD["cost"], "uncounted": list(names)}  # type: ignore[dict-item]
        return one(record={**RECORD, "cost": cost}).summary.get("cost/uncounted")

    assert summary("aten._fft_c2c", "aten._fft_r2c") == "aten._fft_c2c, aten._fft_r2c"
    assert summary() is None


def test_a_failed_run_is_failed_and_says_why() -> None:
    payload = one(record={"state": "failed", "reason": "no effect", "files": {}})
    assert payload.failed
    assert payload.summary == {"state": "failed", "reason": "no effect"}
    assert not one(record={"state": "diverged", "reason": "loss is NaN", "files": {}}).failed


def test_the_digest_tells_any_change_and_nothing_else() -> None:
    assert one().digest() == one().digest()
    assert one().digest() != one(timing={"seconds": 2.0}).digest()
    assert one(history=[{**HISTORY[0], "loss": float("nan")}]).digest()


def contrast(arm: str) -> dict[str, Any]:
    """Return the start of a row of contrasts.csv, as it is read back."""
    factor = next(one.factor for one in (DROPOUT, MORE) if one.name == arm)
    return {
        "study": "one",
        "arm": arm,
        "factor": json.loads(factor.model_dump_json()),
        "setting": SETTING,
    }


def test_the_tables_of_the_report_hold_labels_in_place_of_mappings() -> None:
    rows = [{**contrast(arm), "metric": "test_accuracy"} for arm in ("drop", "more")]
    tables = report_payload([plan(row("one", "drop", "f1"))], rows, {}, {}).tables
    assert tables.keys() == {"headline", "contrasts"}
    for name in tables:
        at = {column: place for place, column in enumerate(tables[name].columns)}
        labels = [(cells[at["factor"]], cells[at["setting"]]) for cells in tables[name].rows]
        setting = "rate=0.25, data.train_size=75"
        assert labels == [
            ("dropout + data.train_size=75", setting),
            ("mixup, against drop", setting),
        ]


def test_the_report_holds_the_headline_and_the_whole_table() -> None:
    contrasts = [
        {
            **contrast("drop"),
            "metric": "test_accuracy",
            "difference": 0.02,
            "low": 0.01,
            "high": 0.03,
            "verdict": "helps",
            "below_margin": True,
            "withheld": False,
            "lost": 2,
        },
        {
            **contrast("drop"),
            "metric": "gap",
            "difference": -0.02,
            "low": None,
            "high": None,
            "verdict": None,
            "below_margin": False,
        },
    ]
    plans = [plan(row("one", "drop", "f1"))]
    payload = report_payload(
        plans, contrasts, {"figures/forest": Image("forest.png", "0")}, {"report.md": "# Report"}
    )
    assert (payload.job_type, payload.group, payload.id) == ("report", "digits", report_id(plans))
    assert payload.tags == ("report", "one", "two")
    assert len(payload.tables["headline"].rows) == 1
    assert payload.tables["contrasts"].columns == tuple(contrasts[0])
    verdicts = payload.tables["contrasts"].columns.index("verdict")
    assert payload.tables["contrasts"].rows[1][verdicts] is None
    assert payload.summary["one/drop/verdict"] == "helps"
    assert payload.summary["one/drop/below_margin"] is True
    assert payload.summary["one/drop/withheld"] is False
    headline = payload.tables["headline"]
    assert headline.rows[0][headline.columns.index("lost")] == 2
    assert payload.config["training.epochs"] == 60


def test_the_notes_of_the_report_are_the_answer_of_the_front_page() -> None:
    answer = "With 6 to 12 fresh seeds, **drop** helps. (Corrected for 2 looks.)"
    page = f"# Which help: digits\n\n{answer}\n\n**Test set**: evaluated under one plan."
    payload = report_payload([plan(row("one", "drop", "f1"))], [], {}, {"report.md": page})
    first, empty, *questions = payload.notes.split("\n")
    assert (first, empty) == (answer, "")
    assert questions == [study.question for study in plan().studies]
    without = report_payload([plan(row("one", "drop", "f1"))], [], {}, {})
    assert without.notes.split("\n") == questions


def test_the_headline_has_the_last_look_of_every_arm_and_why_it_stopped() -> None:
    stop = Stop(study="one", arm="drop", look=2, reason="futile")
    looks = PlannedLooks(seeds=(6, 12), weights=(0.5, 0.5), stops=(stop,))
    planned = plan(row("one", "drop", "f1")).model_copy(update={"looks": looks})
    lost = {"lost": 2, "ended": 12, "reference_lost": 1, "reference_ended": 11}
    rows = [{**contrast("drop"), "metric": "test_accuracy", "n": 9, **lost}]
    payload = report_payload([planned], rows, {}, {})
    table = payload.tables["headline"]
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert (cells["look"], cells["stopped"]) == (2, "futile")
    expected = {"look": 2, "stopped": "futile", "n": 9, **lost}
    assert {name: payload.summary[f"one/drop/{name}"] for name in expected} == expected
    assert {name: cells[name] for name in expected} == expected
    plain = report_payload([plan(row("one", "drop", "f1"))], rows, {}, {}).tables["headline"]
    assert plain.rows[0][plain.columns.index("stopped")] is None


def test_other_runs_are_another_report() -> None:
    assert report_id([plan(row("one", "drop", "f1"))]) != report_id(
        [plan(row("one", "drop", "f2"))]
    )


def test_a_report_of_nothing_is_still_one() -> None:
    assert report_payload([plan()], [], {}, {}).tables == {}
