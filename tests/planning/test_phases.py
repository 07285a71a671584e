"""The plan: shared baselines once, fresh seeds, nothing explored that has nothing to explore."""

import pytest

from pipeline.config.plan import read_plan
from pipeline.config.schema import Seeds
from pipeline.planning.phases import FIRST_CONFIRMATION_SEED, confirmation, exploration
from pipeline.planning.studies import read_experiment
from pipeline.records.store import Store
from pipeline.runtime.errors import Refusal

CHOICE = {"dropout": {"dropout": "rate=0.5"}, "others": {"shift": "shift=1.0"}}


@pytest.fixture
def experiment(project):
    return read_experiment("tiny")


def rows(plan):
    return {(run.study, run.arm, run.strength, run.seed) for run in plan.runs}


def test_exploration_counts(experiment):
    plan, identities = exploration(experiment, "digest")
    arms = {(run.study, run.arm) for run in plan.runs}
    assert arms == {
        ("dropout", "baseline"),
        ("dropout", "dropout"),
        ("others", "baseline"),
        ("others", "shift"),
    }
    assert len(plan.fingerprints()) == 2 * (1 + 2 + 2)
    assert set(identities) == set(plan.fingerprints())


def test_the_baseline_is_trained_once_for_all_studies(experiment):
    plan, _ = confirmation(experiment, "digest", CHOICE)
    names = {
        study: [run.fingerprint for run in plan.runs if (run.study, run.arm) == (study, "baseline")]
        for study in ("dropout", "others")
    }
    assert names["dropout"] == names["others"]
    assert len({run.fingerprint for run in plan.runs}) == 3 * (1 + 1 + 2)


def test_confirmation_takes_the_choice_and_arms_with_one_strength(experiment):
    plan, _ = confirmation(experiment, "digest", CHOICE)
    assert {(study, arm, strength) for study, arm, strength, _ in rows(plan)} == {
        ("dropout", "baseline", ""),
        ("dropout", "dropout", "rate=0.5"),
        ("others", "baseline", ""),
        ("others", "weight_decay", "strength=0.01"),
        ("others", "shift", "shift=1.0"),
    }


def test_a_stale_choice_is_refused_and_no_choice_is_not(experiment):
    with pytest.raises(
        Refusal, match="study dropout, arm dropout: 'rate=0.9' is no strength of it"
    ):
        confirmation(experiment, "digest", CHOICE | {"dropout": {"dropout": "rate=0.9"}})
    with pytest.raises(Refusal, match="'' is no strength"):
        confirmation(experiment, "digest", {})
    plan, _ = confirmation(experiment, "digest", CHOICE | {"dropout": {"dropout": None}})
    assert ("dropout", "dropout") not in {(run.study, run.arm) for run in plan.runs}


def test_no_confirmation_seed_has_been_explored(experiment):
    explored, confirmed = exploration(experiment, "d")[0], confirmation(experiment, "d", CHOICE)[0]
    assert not {run.seed for run in explored.runs} & {run.seed for run in confirmed.runs}
    assert not set(explored.fingerprints()) & set(confirmed.fingerprints())
    largest = max(
        rule.le for rule in Seeds.model_fields["exploration"].metadata if hasattr(rule, "le")
    )
    assert largest <= FIRST_CONFIRMATION_SEED


def test_arms_of_a_seed_share_every_stream(experiment):
    plan, identities = confirmation(experiment, "digest", CHOICE)
    by_seed = {}
    for one in (identities[run.fingerprint] for run in plan.runs):
        by_seed.setdefault(one["streams"]["split"], set()).add(
            tuple(sorted(one["streams"].items()))
        )
    assert all(len(streams) == 1 for streams in by_seed.values())


def test_a_group_shares_its_split_and_nothing_else(experiment):
    plan, identities = confirmation(experiment, "digest", CHOICE)
    baseline = [member for member in plan.members if member.arm == "baseline"]
    first = FIRST_CONFIRMATION_SEED
    assert [(member.seed, member.member) for member in baseline] == [
        (first + group, own) for group in (0, 1) for own in (0, 1)
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
    runs = {run.fingerprint for run in plan.runs if run.arm == "baseline"}
    zero = {
        member.fingerprint
        for member in plan.members
        if (member.arm, member.member) == ("baseline", 0)
    }
    assert zero < runs
    new = {member.fingerprint for member in plan.members} - zero
    assert len(new) == 2 * (1 + 1 + 1)  # groups: another baseline, snapshots, averaged weights
    assert not new & {run.fingerprint for run in plan.runs}
    assert "ensembles" not in {study.name for study in plan.studies}
    assert set(plan.rules()) == set(plan.fingerprints())
    assert set(plan.grouped()) == {
        run.fingerprint for run in plan.runs if run.seed < FIRST_CONFIRMATION_SEED + 2
    }


def test_one_stream_moves_and_the_others_stay(experiment):
    plan, identities = confirmation(experiment, "digest", CHOICE)
    moved = {}
    for draw in plan.draws:
        found = {
            name: seed != draw.seed
            for name, seed in identities[draw.fingerprint]["streams"].items()
        }
        assert [name for name, other in found.items() if other] == [draw.stream] * (draw.draw > 0)
        moved.setdefault(draw.arm, {}).setdefault(draw.stream, []).append((draw.seed, draw.draw))
    every = [(FIRST_CONFIRMATION_SEED + group, draw) for group in (0, 1) for draw in (0, 1)]
    drawn = [
        identities[draw.fingerprint]["streams"][draw.stream]
        for draw in plan.draws
        if draw.draw and draw.arm == "dropout"
    ]
    assert len(set(drawn)) == 2  # one for each group: a seed of its own, the same in every stream
    assert moved["baseline"] == dict.fromkeys(("split", "init", "order"), every)
    assert moved["dropout"] == dict.fromkeys(
        ("split", "init", "order", "augmentation", "noise"), every
    )
    assert {
        draw.fingerprint for draw in plan.draws if draw.draw == 0 and draw.arm == "baseline"
    } < {run.fingerprint for run in plan.runs}
    others = {run.fingerprint for run in (*plan.runs, *plan.members)}
    assert not others & {draw.fingerprint for draw in plan.draws if draw.draw}
    assert "variance" not in {study.name for study in plan.studies}


def test_exploration_leaves_ensembles_alone(experiment):
    plan, _ = exploration(experiment, "digest")
    assert (plan.members, plan.ensembles, plan.draws, plan.variances) == ((), (), (), ())


def test_read_back(experiment, tmp_path):
    plan, _ = confirmation(experiment, "digest", CHOICE)
    Store(tmp_path / "store").assemble(plan, tmp_path / "confirmation")
    assert read_plan(tmp_path / "confirmation") == plan
