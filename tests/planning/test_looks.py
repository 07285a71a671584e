"""Confirmation in looks: which arms get further seeds, from scores alone."""

import random
from pathlib import Path

import pytest

from pipeline.comparison.looks import decide
from pipeline.config.plan import BASELINE, Plan, read_plan
from pipeline.planning.choice import Score
from pipeline.planning.looks import confirm
from pipeline.planning.phases import FIRST_CONFIRMATION_SEED, confirmation
from pipeline.planning.studies import read_experiment
from pipeline.records.store import Store
from pipeline.runtime.errors import Refusal

LOOKS = (3, 5, 8)
CHOICE = {"dropout": {"dropout": {"dropout": {"rate": 0.5}}}}
OTHERS = """question: Which?
arms:
  weight_decay: [{name: weight_decay, strength: 0.01}]
  shift: [{name: augmentation, shift: 1}]
  both: [{against: shift}, {name: augmentation, shift: 1}, {name: dropout, rate: 0.5}]
  same: [{name: dropout, rate: 0.5}]
"""
KEYS = (
    *(("dropout", "dropout"), ("others", "weight_decay"), ("others", "shift")),
    *(("others", "both"), ("others", "same")),
)


@pytest.fixture
def write(project):
    """Return a function that writes the tiny project with looks, and reads it."""
    (project / "experiments" / "others.yaml").write_text(OTHERS)
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    text, parameters = protocol.read_text(), (project / "params.yaml").read_text()

    def written(confirmation="{looks: [3, 5, 8]}", resolve="null", exploration="2"):
        changed = f"{{exploration: {exploration}, confirmation: {confirmation}}}"
        protocol.write_text(text.replace("{exploration: 2, confirmation: 3}", changed))
        (project / "params.yaml").write_text(f"{parameters}resolve: {resolve}\n")
        return read_experiment("tiny")

    return written


@pytest.fixture
def experiment(write):
    return write()


def stopping(**looks):
    """Return a decision by which arms stop at these looks, by default at the first."""

    def of_plan(plan, _scores):
        had = seeds(plan)
        stops = {}
        for key in KEYS:
            look = LOOKS.index(had[key]) + 1
            at_end = "last" if look == len(LOOKS) else None
            stops[key] = "futile" if look >= looks.get(key[1], 1) else at_end
        return stops

    return of_plan


def seeds(plan):
    """Return the number of seeds of every compared arm."""
    counts = {}
    for run in plan.runs_of("comparison"):
        counts[run.study, run.arm] = counts.get((run.study, run.arm), 0) + 1
    return counts


def complete(experiment, decision, order=list.sort):
    """Return the plan after all looks, when scores arrive in some order, one at a time."""
    scores = {}
    plan = confirm(experiment, "d", CHOICE, scores, decision)[0]
    while waiting := [name for name in plan.fingerprints() if name not in scores]:
        order(waiting)
        for name in waiting:
            scores[name] = Score("done", 0.9, 0.1)
        plan = confirm(experiment, "d", CHOICE, scores, decision)[0]
    return plan


def test_a_number_of_seeds_plans_what_it_always_did(write):
    written = write("3")
    plain, identities = confirmation(written, "d", CHOICE)
    assert confirm(written, "d", CHOICE, {}, decide) == (plain, identities)
    assert plain.looks is None
    assert not plain.waits
    assert "looks" not in plain.model_dump(mode="json")
    assert {run.round for run in plain.runs} == {None}
    assert Plan.model_validate_json(plain.model_dump_json()) == plain


def test_an_arm_gets_the_seeds_of_a_look_after_it_has_not_stopped_before(experiment):
    plan = complete(experiment, stopping(weight_decay=2))
    assert seeds(plan) == {
        ("dropout", BASELINE): 5,
        ("dropout", "dropout"): 3,
        ("others", BASELINE): 5,
        ("others", "weight_decay"): 5,
        ("others", "shift"): 3,
        ("others", "both"): 3,
        ("others", "same"): 3,
    }
    of_decay = [run for run in plan.runs if run.arm == "weight_decay"]
    first = FIRST_CONFIRMATION_SEED
    assert [run.seed for run in of_decay] == list(range(first, first + 5))
    assert [run.round for run in of_decay] == [1, 1, 1, 2, 2]
    assert {(stop.arm, stop.look, stop.reason) for stop in plan.looks.stops} == {
        ("dropout", 1, "futile"),
        ("weight_decay", 2, "futile"),
        ("shift", 1, "futile"),
        ("both", 1, "futile"),
        ("same", 1, "futile"),
    }


def test_the_reference_and_the_same_runs_get_every_seed_too(experiment):
    plan = complete(experiment, stopping(both=3, same=2))
    assert seeds(plan) == {
        ("dropout", BASELINE): 8,
        ("dropout", "dropout"): 5,
        ("others", BASELINE): 8,
        ("others", "weight_decay"): 3,
        ("others", "shift"): 8,
        ("others", "both"): 8,
        ("others", "same"): 5,
    }
    reasons = {stop.arm: (stop.look, stop.reason) for stop in plan.looks.stops}
    assert reasons["shift"] == (3, "futile")
    assert reasons["dropout"] == reasons["same"] == (2, "futile")


def test_the_plan_is_the_same_from_records_in_any_order_and_from_all_at_once(experiment):
    decision = stopping(both=3, weight_decay=2)
    expected = complete(experiment, decision)
    for seed in range(3):
        order = random.Random(seed).shuffle
        assert complete(experiment, decision, order) == expected
    scores = {name: Score("done", 0.9, 0.1) for name in expected.fingerprints()}
    assert confirm(experiment, "d", CHOICE, scores, decision)[0] == expected


def test_nothing_is_decided_before_all_compared_runs_of_a_look_have_ended(experiment):
    start = confirm(experiment, "d", CHOICE, {}, stopping())[0]
    assert start.looks.stops == ()
    names = {run.fingerprint for run in start.runs_of("comparison")}
    scores = {name: Score("done", 0.9, 0.1) for name in names}
    some = {name: scores[name] for name in sorted(scores)[1:]}
    assert confirm(experiment, "d", CHOICE, some, stopping())[0] == start
    stopped = confirm(experiment, "d", CHOICE, scores, stopping())[0]
    assert len(stopped.looks.stops) == len(KEYS)
    assert (start.waits, stopped.waits) == (True, False)
    assert stopped.runs == start.runs


def test_groups_and_overtuning_have_the_seeds_of_the_first_look(experiment):
    plan = complete(experiment, stopping(dropout=3, same=3))
    first_look = range(FIRST_CONFIRMATION_SEED, FIRST_CONFIRMATION_SEED + LOOKS[0])
    for kind, count in (("overtuning", LOOKS[0]), ("ensemble", 2), ("variance", 2)):
        assert {run.seed for run in plan.runs_of(kind)} == set(first_look[:count]), kind


def test_what_params_yaml_asks_for_comes_on_top_and_changes_nothing_else(write):
    decision = stopping(weight_decay=2)
    before = complete(write(), decision)
    asked = "{tiny: {others: {shift: 5}}}"
    after = complete(write(resolve=asked), decision)
    assert seeds(after) == seeds(before) | {("others", "shift"): 5}
    assert set(before.fingerprints()) < set(after.fingerprints())
    reasons = {stop.arm: (stop.look, stop.reason) for stop in after.looks.stops}
    unchanged = {stop.arm: (stop.look, stop.reason) for stop in before.looks.stops}
    assert reasons == unchanged | {"shift": (2, "asked")}
    protocols = Path("experiments", "protocols")
    (protocols / "other.yaml").write_text((protocols / "tiny.yaml").read_text())
    none = write(resolve="{tiny: {others: {weight_decay: 3}}, other: {a: {b: 7}}}")
    assert complete(none, decision) == before


def test_an_arm_that_has_the_seeds_that_are_asked_for_keeps_the_reason_why_it_stopped(write):
    decision = stopping(weight_decay=2)
    before = complete(write(), decision)
    asked = write(resolve="{tiny: {others: {weight_decay: 5}}}")
    assert complete(asked, decision) == before


@pytest.mark.parametrize(
    ("resolve", "line"),
    [
        (
            "{tiny: {others: {shift: 6}}}",
            "params.yaml: resolve.tiny.others.shift: invalid value 6; "
            "expected a declared look of seeds.confirmation: 3, 5, 8",
        ),
        ("{tiny: {others: {shft: 5}}}", "params.yaml: resolve.tiny.others: unknown name 'shft'"),
        ("{tiny: {othrs: {shift: 5}}}", "params.yaml: resolve.tiny: unknown name 'othrs'"),
        ("{tinny: {others: {shift: 5}}}", "params.yaml: resolve: unknown name 'tinny'"),
    ],
)
def test_only_declared_looks_of_arms_that_there_are_may_be_asked_for(write, resolve, line):
    with pytest.raises(Refusal) as refused:
        write(resolve=resolve)
    (message,) = refused.value.lines
    assert message.startswith(line)


@pytest.mark.parametrize(
    ("confirmation", "error"),
    [
        ("{looks: [6, 6]}", ".looks: invalid value [6, 6]; expected two or more growing numbers"),
        ("{looks: [2]}", ".looks: invalid value [2]; expected two or more growing numbers"),
        ("{looks: [2, 6]}", ".looks: invalid value [2, 6]; expected two or more growing numbers"),
        ("{looks: [3, 6], weights: [0.5, 0.6]}", ".weights: invalid value [0.5, 0.6]; expected 2"),
        ("{looks: [3, 6], weights: [1]}", ".weights: invalid value [1]; expected 2 numbers > 0"),
        ("{looks: [3, 6], weights: [0, 1]}", ".weights: invalid value [0, 1]; expected 2 numbers"),
        ("0", ": invalid value 0; expected an integer >= 1, or looks"),
        ("{looks: [3, 6], weight: 1}", ".weight: unknown key; expected one of: looks, weights"),
        ("[3, 6]", ": invalid value [3, 6]; expected an integer >= 1, or looks"),
    ],
)
def test_invalid_looks_are_one_line(write, confirmation, error):
    with pytest.raises(Refusal) as refused:
        write(confirmation)
    (line,) = refused.value.lines
    assert line.startswith(f"experiments/protocols/tiny.yaml: seeds.confirmation{error}")


def test_exploration_has_no_looks(write):
    with pytest.raises(Refusal) as refused:
        write("3", exploration="{looks: [3, 6]}")
    assert refused.value.lines == (
        'experiments/protocols/tiny.yaml: seeds.exploration: invalid value {"looks": [3, 6]}; '
        "expected an integer >= 1 and <= 997",
    )


def test_groups_are_not_larger_than_the_first_look(write, project):
    path = project / "experiments" / "ensembles.yaml"
    path.write_text(path.read_text().replace("groups: 2", "groups: 4"))
    with pytest.raises(Refusal, match="ensemble.groups: invalid value 4; expected an integer <= 3"):
        write()


def test_read_back(experiment, tmp_path):
    plan = complete(experiment, stopping(both=2))
    Store(tmp_path / "store").assemble(plan, tmp_path / "confirmation")
    assert read_plan(tmp_path / "confirmation") == plan
