"""Runs as frames, and the columns that are derived once."""

import dataclasses

from report_data import VERDICTS, planned, report_data

from pipeline.config.plan import PlannedRun, PlannedStudy
from pipeline.reporting.evidence import count_states, run_frame


def test_a_model_of_a_group_is_counted_with_the_compared_runs() -> None:
    plan = planned("confirmation", {"one": {}})
    study = PlannedStudy(name="groups", question="?", kind="ensemble", arms=())
    members = [
        PlannedRun(study="groups", arm="a", seed=0, fingerprint=name, member=number)
        for number, name in enumerate(("x", "lost"))
    ]
    both = plan.model_copy(
        update={"studies": (*plan.studies, study), "runs": (*plan.runs, *members)}
    )
    done = {name: {"state": "done"} for name in (*plan.fingerprints(), "x")}
    frame = run_frame(both, done)
    models = frame[frame["study"] == "groups"]
    assert list(zip(models["member"], models["state"], strict=True)) == [
        (0, "done"),
        (1, "missing"),
    ]
    assert count_states(frame) == {
        "planned": 5,
        "done": 4,
        "failed": 0,
        "diverged": 0,
        "missing": 1,
    }


def test_contrasts_are_sorted_and_labelled_once() -> None:
    data = report_data({"one": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)
    assert data.primary is data.primary
    assert list(data.primary["label"]) == list(VERDICTS)
    assert data.primary["difference"].is_monotonic_decreasing
    assert data.format.decimals == 1


def test_a_name_that_two_studies_share_has_its_study() -> None:
    rules = {"dropout": "deterministic"}
    data = report_data({"one": rules | {"decay": "deterministic"}, "two": rules}, VERDICTS)
    assert set(data.primary["label"]) == {"dropout of one", "dropout of two", "decay"}


def test_an_arm_that_is_compared_with_another_one_than_the_baseline_names_it() -> None:
    data = report_data({"one": {"dropout": "deterministic", "decay": "deterministic"}}, VERDICTS)
    (study,) = data.confirmation.studies
    arms = [
        arm.model_copy(update={"against": "dropout"}) if arm.name == "decay" else arm
        for arm in study.arms
    ]
    changed = study.model_copy(update={"arms": tuple(arms)})
    plan = data.confirmation.model_copy(update={"studies": (changed,)})
    data = dataclasses.replace(data, confirmation=plan)
    assert data.label("one", "decay") == "decay (against dropout)"
    assert data.label("one", "dropout") == "dropout"


def test_an_outcome_that_is_not_known_has_no_runs() -> None:
    data = report_data({"one": {"dropout": "deterministic"}}, VERDICTS)
    assert data.outcome("one", "dropout", "test_accuracy")["n"] == 3
    assert data.outcome("one", "other", "test_accuracy")["n"] == 0


def test_a_pair_is_told_by_its_runs_and_by_its_names_where_it_has_none() -> None:
    rules = {"dropout": "deterministic"}
    data = report_data({"one": rules, "two": rules}, VERDICTS)
    assert data.pair(("one", "dropout"), ("one", "baseline")) == (
        ("onedropout1000", "onedropout1001", "onedropout1002"),
        ("baseline1000", "baseline1001", "baseline1002"),
    )
    lost = [data.pair((study, "gone"), (study, "baseline")) for study in ("one", "two")]
    assert [arm for arm, _ in lost] == [("one", "gone"), ("two", "gone")]
    assert data.pair(("one", "dropout"), ("one", "gone"))[1] == ()
