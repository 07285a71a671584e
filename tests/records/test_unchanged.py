"""Regularized runs that end with the weights of their reference."""

import pytest

from pipeline.config.parameters import Execution
from pipeline.config.plan import Factor, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.execution import scheduler
from pipeline.execution.scheduler import complete
from pipeline.execution.stage import Incomplete
from pipeline.records.runs import read_record
from pipeline.records.store import Store
from pipeline.records.unchanged import unchanged_runs
from pipeline.terminal.status import show_status
from pipeline.training.job import _packed
from pipeline.training.trainer import train

ARMS = {  # arm -> what it adds and what it is compared with
    "baseline": ((), "baseline"),
    "dropout": (("dropout",), "baseline"),
    "early": (("early_stopping",), "baseline"),
    "both": (("dropout", "early_stopping"), "baseline"),
    "more": (("mixup",), "dropout"),
    "patient": (("early_stopping",), "early"),
    "wider": ((), "baseline"),
}
DROPOUT, MIXUP = {"dropout": {"realised_rate": 0.1}}, {"mixup": {"changed": 1.0}}
EARLY = {"early_stopping": {"fired": 0.0}}


def plan(*names, seeds=(0, 1)):
    """Return a plan of these arms; the runs are named by arm and seed."""
    chosen = {name: ARMS[name] for name in dict.fromkeys(("baseline", *names))}
    arms = tuple(
        PlannedArm(name=name, factor=Factor(regularizers=added), against=against)
        for name, (added, against) in chosen.items()
    )
    runs = tuple(
        PlannedRun(study="one", arm=name, seed=seed, fingerprint=f"{name}{seed}")
        for name in chosen
        for seed in seeds
    )
    return Plan(
        protocol="tiny",
        phase="exploration",
        settings={"data": {}, "model": {}, "training": {}},
        margin=0.01,
        data_digest="",
        studies=(PlannedStudy(name="one", question="?", arms=arms),),
        runs=runs,
    )


def record(weights, audit=(), idle=(), state="done"):
    files = {"weights.safetensors": weights}
    return {"state": state, "files": files, "audit": dict(audit), "idle": list(idle)}


def test_a_run_with_the_weights_of_its_reference_is_named_with_what_should_have_acted():
    records = {
        "baseline0": record("a"),
        "baseline1": record("b"),
        "dropout0": record("a", DROPOUT),
        "dropout1": record("other", DROPOUT),
    }
    assert unchanged_runs(plan("dropout"), records) == {
        "dropout0": "audit: the final weights are those of baseline at the same seed; "
        "expected others by dropout"
    }


def test_weights_of_another_seed_or_of_another_arm_are_no_reference():
    records = {
        "baseline0": record("a"),
        "baseline1": record("b"),
        "dropout0": record("b", DROPOUT),
        "dropout1": record("c", DROPOUT),
        "more0": record("a", DROPOUT | MIXUP),
        "more1": record("c", DROPOUT | MIXUP),
    }
    assert list(unchanged_runs(plan("dropout", "more"), records)) == ["more1"]


@pytest.mark.parametrize(
    ("arm", "audit", "idle", "fails"),
    [
        ("dropout", DROPOUT, [], True),
        ("dropout", DROPOUT, ["dropout"], False),  # few draws, and by chance none dropped a unit
        ("early", EARLY, ["early_stopping"], False),
        ("early", EARLY, [], True),
        ("both", DROPOUT | EARLY, ["early_stopping"], True),
        ("both", DROPOUT | EARLY, ["dropout", "early_stopping"], False),
        ("wider", {}, [], False),  # no regularizer
        ("wider", DROPOUT, [], True),  # undeclared, yet audited
    ],
)
def test_equal_weights_are_valid_where_all_that_differs_did_nothing(arm, audit, idle, fails):
    records = {"baseline0": record("a"), f"{arm}0": record("a", audit, idle)}
    assert bool(unchanged_runs(plan(arm, seeds=(0,)), records)) is fails


@pytest.mark.parametrize(("epochs", "fails"), [((7, 7), False), ((7, 9), True), ((7, None), True)])
def test_two_settings_may_keep_the_weights_of_one_epoch(epochs, fails):
    """As early stopping of two patiences, where validation never improves again."""
    names = ("early0", "patient0")
    measures = [{} if epoch is None else {"best_epoch": epoch} for epoch in epochs]
    records = {
        name: record("a", {"early_stopping": {"fired": 1.0, **kept}})
        for name, kept in zip(names, measures, strict=True)
    }
    records["baseline0"] = record("b")
    assert bool(unchanged_runs(plan("early", "patient", seeds=(0,)), records)) is fails


@pytest.mark.parametrize("state", ["failed", "diverged"])
def test_only_runs_that_are_done_are_compared(state):
    records = {"baseline0": record("a"), "dropout0": record("a", DROPOUT, state=state)}
    assert not unchanged_runs(plan("dropout"), records)
    assert not unchanged_runs(plan("dropout"), {"baseline0": record("a"), "dropout0": None})


def test_one_fingerprint_for_both_arms_is_no_fault():
    shared = plan("dropout", seeds=(0,))
    runs = tuple(run.model_copy(update={"fingerprint": "same"}) for run in shared.runs)
    assert not unchanged_runs(shared.model_copy(update={"runs": runs}), {"same": record("a")})


def test_a_phase_with_such_a_run_ends_in_a_line_and_later_stages_see_it_failed(
    tmp_path, monkeypatch, capsys
):
    """The store keeps the run as it was trained, so that it is not trained again."""
    store, given = Store(tmp_path / "store"), plan("dropout")
    weights = {"baseline0": b"a", "baseline1": b"b", "dropout0": b"a", "dropout1": b"c"}
    for name, content in weights.items():
        audit = DROPOUT if name.startswith("dropout") else {}
        written = {"state": "done", "reason": "", "audit": audit, "idle": []}
        store.write(name, {"weights.safetensors": content}, written, {})
    folder = tmp_path / "artifacts" / "tiny"
    monkeypatch.chdir(tmp_path)
    protocol = tmp_path / "experiments" / "protocols" / "tiny.yaml"
    protocol.parent.mkdir(parents=True)
    protocol.touch()
    monkeypatch.setattr(scheduler, "write_current_plan", lambda *_: None)
    finish = (given, {}, "", store, folder, Execution(workers=1), {})
    for _ in range(2):
        with pytest.raises(Incomplete) as failed:
            complete(*finish)
        assert str(failed.value) == (
            "1 of 1 runs failed:\ndropout seed 0: audit: the final weights are those of baseline "
            "at the same seed; expected others by dropout"
        )
    kept = read_record(folder / "exploration" / "dropout0")
    assert (kept["state"], kept["audit"]) == ("failed", DROPOUT)
    assert read_record(folder / "exploration" / "dropout1")["state"] == "done"
    assert store.state("dropout0") == "done"
    complete(*finish[:5], Execution(workers=1, keep_going=True), {})
    monkeypatch.setenv("GAPWISE_STORE", str(store.root))
    show_status("tiny")
    output = capsys.readouterr().out
    assert "exploration: failed: dropout seed 0: audit: the final weights are those of" in output


def test_a_decay_too_small_for_the_precision_leaves_the_weights_and_passes_its_own_audit(
    configure, pool
):
    tiny = {"name": "weight_decay", "strength": 1e-30}
    runs = [train(configure(*items, epochs=1), pool) for items in ((), (tiny,))]
    baseline, decayed = (record(_packed(run.weights), run.audit, run.idle) for run in runs)
    assert decayed["audit"]["weight_decay"]["tensors"] > 0
    records = {"baseline0": baseline, "dropout0": decayed}
    assert unchanged_runs(plan("dropout", seeds=(0,)), records)


def test_early_stopping_that_never_stops_is_idle(configure, pool):
    item = {"name": "early_stopping", "patience": 100}
    run = train(configure(item, epochs=2, curve_points=2), pool)
    assert run.audit["early_stopping"]["fired"] == 0
    assert run.idle == ["early_stopping"]
