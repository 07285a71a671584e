"""The plan: shared baselines once, fresh seeds, nothing explored that has nothing to explore."""

import pytest

from pipeline.config.plan import PROTOCOL, read_plan
from pipeline.config.schema import Seeds
from pipeline.planning.phases import (
    FIRST_CONFIRMATION_SEED,
    confirmation,
    drawn_streams,
    member_streams,
)
from pipeline.planning.rounds import explore
from pipeline.planning.studies import read_experiment
from pipeline.records.store import Store
from pipeline.runtime.errors import Refusal

CHOICE = {
    "dropout": {"dropout": {"dropout": {"rate": 0.5}}},
    "others": {"shift": {"augmentation": {"shift": 1.0}}},
}


@pytest.fixture
def experiment(project):
    return read_experiment("tiny")


def compared(plan):
    return plan.runs_of("comparison")


def settings(plan):
    """Return every setting that is trained: study, arm and the values it spells out."""
    rows = []
    for run in compared(plan):
        if (row := (run.study, run.arm, run.setting)) not in rows:
            rows.append(row)
    return rows


def test_exploration_counts(experiment):
    planned = explore(lambda _: experiment, "digest", {})
    plan, identities = planned.plan, planned.identities
    assert settings(plan) == [
        ("dropout", "baseline", {}),
        ("dropout", "dropout", {"dropout": {"rate": 0.1}}),
        ("dropout", "dropout", {"dropout": {"rate": 0.5}}),
        ("others", "baseline", {}),
        ("others", "shift", {"augmentation": {"shift": 0.5}}),
        ("others", "shift", {"augmentation": {"shift": 1.0}}),
    ]
    assert len(plan.fingerprints()) == 2 * (1 + 2 + 2)
    assert set(identities) == set(plan.fingerprints())


def test_the_baseline_is_trained_once_for_all_studies(experiment):
    plan, _ = confirmation(experiment, "digest", CHOICE)
    names = {
        study: [run.fingerprint for run in plan.runs if (run.study, run.arm) == (study, "baseline")]
        for study in ("dropout", "others")
    }
    assert names["dropout"] == names["others"]
    assert len(names["dropout"]) == 3
    assert len({run.fingerprint for run in compared(plan)}) == 3 * (1 + 1 + 2)


def test_confirmation_takes_the_choice_and_arms_with_one_strength(experiment):
    plan, _ = confirmation(experiment, "digest", CHOICE)
    assert settings(plan) == [
        ("dropout", "baseline", {}),
        ("dropout", "dropout", {"dropout": {"rate": 0.5}}),
        ("others", "baseline", {}),
        ("others", "weight_decay", {"weight_decay": {"strength": 0.01}}),
        ("others", "shift", {"augmentation": {"shift": 1.0}}),
    ]


def test_changed_protocol_values_stand_in_the_setting_by_their_key(experiment):
    plan, _ = confirmation(experiment, "digest", CHOICE)
    values = [run.setting for run in plan.runs if run.arm == "snapshots"]
    changed = {"training.schedule": "cyclic_cosine", "training.snapshots": 2}
    assert values == [{PROTOCOL: changed}] * 2


def test_a_stale_choice_raises_and_a_missing_one_is_accepted(experiment):
    stale = {"dropout": {"dropout": {"dropout": {"rate": 0.9}}}}
    with pytest.raises(Refusal) as refused:
        confirmation(experiment, "digest", CHOICE | stale)
    assert refused.value.lines == (
        'choice.json: dropout.dropout: invalid value {"dropout": {"rate": 0.9}}; '
        "expected a setting of this arm; run: gapwise run --protocol tiny",
    )
    with pytest.raises(Refusal, match="dropout.dropout: invalid value {}; expected"):
        confirmation(experiment, "digest", {})
    plan, _ = confirmation(experiment, "digest", CHOICE | {"dropout": {"dropout": None}})
    assert ("dropout", "dropout") not in {(run.study, run.arm) for run in plan.runs}


def test_a_choice_is_compared_by_its_values_whatever_their_order(project):
    text = "question: Does it?\narms:\n  a: [{name: augmentation, shift: [1, 2], rotate: 5}]\n"
    (project / "experiments" / "dropout.yaml").write_text(text)
    chosen = {"dropout": {"a": {"augmentation": {"rotate": 5, "shift": 2}}}}
    plan, _ = confirmation(read_experiment("tiny"), "digest", CHOICE | chosen)
    values = [run.setting for run in plan.runs if run.arm == "a"]
    assert values == [{"augmentation": {"shift": 2, "rotate": 5}}] * 3


def test_no_confirmation_seed_has_been_explored(experiment):
    explored = explore(lambda _: experiment, "d", {}).plan
    confirmed = confirmation(experiment, "d", CHOICE)[0]
    assert not {run.seed for run in explored.runs} & {run.seed for run in confirmed.runs}
    assert not set(explored.fingerprints()) & set(confirmed.fingerprints())
    largest = max(
        rule.le for rule in Seeds.model_fields["exploration"].metadata if hasattr(rule, "le")
    )
    assert largest <= FIRST_CONFIRMATION_SEED


def test_arms_of_a_seed_share_every_stream(experiment):
    plan, identities = confirmation(experiment, "digest", CHOICE)
    by_seed = {}
    for one in (identities[run.fingerprint] for run in compared(plan)):
        by_seed.setdefault(one["streams"]["split"], set()).add(
            tuple(sorted(one["streams"].items()))
        )
    assert len(by_seed) == 3
    assert all(len(streams) == 1 for streams in by_seed.values())


def test_a_group_shares_its_split_and_nothing_else(experiment):
    plan, identities = confirmation(experiment, "digest", CHOICE)
    baseline = [member for member in plan.runs_of("ensemble") if member.arm == "baseline"]
    first = FIRST_CONFIRMATION_SEED
    assert [(member.seed, member.member) for member in baseline] == [
        (first + group, member_number) for group in (0, 1) for member_number in (0, 1)
    ]
    for group in (0, 1):
        one, other = (
            identities[member.fingerprint]["streams"]
            for member in baseline
            if member.seed == first + group
        )
        assert one["split"] == other["split"]
        assert all(one[name] != other[name] for name in ("init", "order", "augmentation", "noise"))
    drawn = [
        seed
        for member in baseline
        for name, seed in identities[member.fingerprint]["streams"].items()
        if name == "init"
    ]
    assert len(set(drawn)) == len(drawn)


def test_member_zero_is_the_confirmation_run_and_members_are_in_no_contrast(experiment):
    plan, _ = confirmation(experiment, "digest", CHOICE)
    members = plan.runs_of("ensemble")
    runs = {run.fingerprint for run in compared(plan) if run.arm == "baseline"}
    zero = {
        member.fingerprint for member in members if (member.arm, member.member) == ("baseline", 0)
    }
    assert len(zero) == 2
    assert zero < runs
    new = {member.fingerprint for member in members} - zero
    assert len(new) == 2 * (1 + 1 + 1)  # groups: another baseline, snapshots, averaged weights
    assert not new & {run.fingerprint for run in compared(plan)}
    assert {run.study for run in members} == {"ensembles"}
    assert all(run.member is None for run in plan.runs if run.study != "ensembles")
    assert set(plan.rules()) == set(plan.fingerprints())
    assert set(plan.grouped()) == {
        run.fingerprint for run in compared(plan) if run.seed < FIRST_CONFIRMATION_SEED + 2
    }


def test_studies_are_in_the_plan_by_kind_with_their_groups(experiment):
    plan, _ = confirmation(experiment, "digest", CHOICE)
    first = FIRST_CONFIRMATION_SEED
    assert [(study.name, study.kind, study.groups, study.size) for study in plan.studies] == [
        ("dropout", "comparison", (), 0),
        ("others", "comparison", (), 0),
        ("ensembles", "ensemble", (first, first + 1), 2),
        ("variance", "variance", (first, first + 1), 0),
        ("overtuning", "overtuning", (), 0),
    ]


def test_one_stream_moves_and_the_others_stay(experiment):
    plan, identities = confirmation(experiment, "digest", CHOICE)
    draws = plan.runs_of("variance")
    moved = {}
    for draw in draws:
        is_moved = {
            name: seed != draw.seed
            for name, seed in identities[draw.fingerprint]["streams"].items()
        }
        assert [name for name, other in is_moved.items() if other] == [draw.stream] * (
            draw.draw > 0
        )
        moved.setdefault(draw.arm, {}).setdefault(draw.stream, []).append((draw.seed, draw.draw))
    every = [(FIRST_CONFIRMATION_SEED + group, draw) for group in (0, 1) for draw in (0, 1)]
    drawn = [
        identities[draw.fingerprint]["streams"][draw.stream]
        for draw in draws
        if draw.draw and draw.arm == "dropout"
    ]
    assert len(set(drawn)) == 2  # one for each group: a seed of its own, the same in every stream
    assert moved["baseline"] == dict.fromkeys(("split", "init", "order"), every)
    assert moved["dropout"] == dict.fromkeys(
        ("split", "init", "order", "augmentation", "noise"), every
    )
    anchors = {draw.fingerprint for draw in draws if draw.draw == 0 and draw.arm == "baseline"}
    assert len(anchors) == 2
    assert anchors < {run.fingerprint for run in compared(plan)}
    others = {run.fingerprint for run in (*compared(plan), *plan.runs_of("ensemble"))}
    assert not others & {draw.fingerprint for draw in draws if draw.draw}
    assert {run.study for run in draws} == {"variance"}
    assert {(run.stream, run.draw) for run in plan.runs if run.study != "variance"} == {
        (None, None)
    }


def test_exploration_leaves_ensembles_alone(experiment):
    plan = explore(lambda _: experiment, "digest", {}).plan
    assert [study.name for study in plan.studies] == ["dropout", "others"]
    assert {run.study for run in plan.runs} == {"dropout", "others"}
    assert plan.grouped() == ()


def test_read_back(experiment, tmp_path):
    plan, _ = confirmation(experiment, "digest", CHOICE)
    Store(tmp_path / "store").assemble(plan, tmp_path / "confirmation")
    assert read_plan(tmp_path / "confirmation") == plan


def test_no_draw_of_a_study_of_variance_meets_a_model_of_a_group():
    seeds = range(FIRST_CONFIRMATION_SEED, FIRST_CONFIRMATION_SEED + 100)
    members = {member_streams(seed, member).init for seed in seeds for member in range(1, 100)}
    draws = {drawn_streams(seed, "init", draw).init for seed in seeds for draw in range(1, 100)}
    assert len(members) == len(draws) == 100 * 99
    assert not members & draws
