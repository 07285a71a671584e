"""Exploration in rounds: tuning, widening, and that a plan follows from scores alone."""

import functools
import json
import math
import random
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.choose import COLUMNS
from pipeline.comparison import selection
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.levels import PRIMARY
from pipeline.comparison.matching import WHERE, outcomes
from pipeline.comparison.verdicts import Verdict
from pipeline.config.claims import claims_digest
from pipeline.config.plan import BASELINE, NOTHING, PROTOCOL, TUNING, Added
from pipeline.planning.arms import ArmDefinition
from pipeline.planning.choice import Score
from pipeline.planning.overtuning import overtuning_study
from pipeline.planning.phases import confirmation
from pipeline.planning.rounds import explore
from pipeline.planning.searches import Search, rounds
from pipeline.planning.studies import UNTUNED, read_experiment
from pipeline.runtime.errors import Refusal

TUNE = "tune: {training.learning_rate: {log: [0.01, 0.16], points: 5}}\n"
ARMS = """question: Which?
arms:
  dropout:
    - {name: dropout, rate: {uniform: [0.1, 0.5], points: 5}}
  no_batch_norm:
    - {protocol: {model.batch_norm: false}}
  both:
    - {against: no_batch_norm}
    - {protocol: {model.batch_norm: false}}
    - {name: dropout, rate: 0.25}
  decay:
    - {name: weight_decay, strength: {log: [0.001, 0.1], points: 3, extend: 0}}
"""


@pytest.fixture
def read(project):
    """Return a cached reader of the tiny project with a tuned baseline and search spaces."""
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    text = protocol.read_text().replace("studies: [dropout, others, ensembles, variance]", "")
    protocol.write_text(text + "studies: [dropout]\n" + TUNE)
    (project / "experiments" / "dropout.yaml").write_text(ARMS)

    @functools.cache
    def cached(*tuned):
        return read_experiment("tiny", tuned=dict(tuned))

    return lambda tuned: cached(*tuned.items())


@pytest.fixture
def quick(monkeypatch):
    """Make each setting once: that is most of the time of planning."""
    trial = ArmDefinition.trial
    made = {}

    def cached(written, values):
        key = id(written.protocol), str(written.fixed), tuple(written.spaces), tuple(values)
        made[key] = made.get(key) or trial(written, values)
        return made[key]

    monkeypatch.setattr(ArmDefinition, "trial", cached)


def accuracy(run, rate=0.04, dropout=0.3, noise=0.0, generator=None):
    """Return a score of a run that is best at these values."""
    values = run.setting.get(PROTOCOL, {})
    loss = math.log(values.get("training.learning_rate", 0.04) / rate) ** 2 / 50
    if "dropout" in run.setting:
        loss += (run.setting["dropout"]["rate"] - dropout) ** 2
    return 0.9 - loss + (generator.normal(0, noise) if generator else 0.0)


def complete(read, score=accuracy):
    """Return the exploration after all rounds, and the scores of its runs."""
    scores = {}
    while True:
        planned = explore(read, "digest", scores)
        new = {run.fingerprint: run for run in planned.plan.runs if run.fingerprint not in scores}
        if not new:
            return planned, scores
        given = {name: score(run) for name, run in new.items()}
        scores |= {
            name: value if isinstance(value, Score) else Score("done", value, 0.1)
            for name, value in given.items()
        }


def values(plan, study, arm, part, key):
    """Return the values tried by an arm, in the order of the plan."""
    runs = [run for run in plan.runs if (run.study, run.arm) == (study, arm)]
    return list(dict.fromkeys(run.setting[part][key] for run in runs))


RATE = (TUNING, BASELINE, PROTOCOL, "training.learning_rate")
DROPOUT = ("dropout", "dropout", "dropout", "rate")


def test_the_baseline_is_tuned_before_any_arm_is_planned(read):
    first = explore(read, "digest", {}).plan
    assert [study.kind for study in first.studies] == ["tuning"]
    assert {run.round for run in first.runs} == {1}
    assert len(first.runs) == 5 * 2
    planned, _ = complete(read)
    assert planned.plan.tuned == {"training.learning_rate": 0.04}
    assert planned.plan.settings["training"]["learning_rate"] == 0.04
    rounds = {(run.study, run.arm): run.round for run in reversed(planned.plan.runs)}
    assert rounds[TUNING, BASELINE] == 1
    assert rounds["dropout", "dropout"] == rounds["dropout", BASELINE] == 2


def test_every_plan_has_the_hash_of_all_claims(read, project):
    claim = {"id": "helps", "source": "s", "by": "paper", "says": "s", "expect": "lower"}
    claim["contrast"] = {"arm": "dropout"}
    file = project / "experiments" / "dropout.yaml"
    file.write_text(f"{ARMS}claims:\n  - {json.dumps(claim)}\n")
    expected = claims_digest(read_experiment("tiny").studies[0].claims)
    assert expected != claims_digest(())
    assert explore(read, "digest", {}).plan.claims == expected
    planned, _ = complete(read)
    assert planned.plan.claims == expected


def test_arms_train_at_the_tuned_values_and_others_tune_their_own(read):
    planned, _ = complete(read, functools.partial(accuracy, rate=0.08))
    assert planned.plan.tuned == {"training.learning_rate": 0.08}
    by_arm = {}
    for run in planned.plan.runs:
        identity = planned.identities[run.fingerprint]
        by_arm.setdefault((run.study, run.arm), set()).add(identity["training"]["learning_rate"])
    assert by_arm["dropout", "dropout"] == by_arm["dropout", BASELINE] == {0.08}
    rates = {0.01, 0.02, 0.04, 0.08, 0.16}
    assert by_arm["dropout", "no_batch_norm"] == by_arm["dropout", "both"] == rates


def test_a_space_is_widened_until_its_best_value_is_inside(read):
    planned, _ = complete(read, functools.partial(accuracy, rate=0.64, dropout=0.65))
    assert values(planned.plan, *RATE) == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64]
    assert values(planned.plan, *DROPOUT) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    rounds = [run.round for run in planned.plan.runs if run.study == TUNING]
    assert rounds == [1] * 10 + [2] * 2 + [3] * 2
    (tuning,) = [arm for study, arm in planned.plan.arms() if study == TUNING]
    assert [(item.widened, item.lowest, item.highest) for item in tuning.space] == [
        (2, False, False)
    ]


def test_widening_stops_at_the_bound_of_the_field_and_where_nothing_acts(read):
    """A dropout rate is below 1, and one of 0 is the baseline."""
    above = complete(read, functools.partial(accuracy, dropout=2))[0].plan
    below = complete(read, functools.partial(accuracy, dropout=-1))[0].plan
    assert values(above, *DROPOUT)[-2:] == [0.6, 0.7]
    # a step leads to 0, which is the baseline, so it is halved; a half leads there again
    assert values(below, *DROPOUT) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.05, 0.025]
    spaces = {arm.name: arm.space for study, arm in below.arms() if study == "dropout"}
    assert [(item.lowest, item.highest) for item in spaces["dropout"]] == [(False, False)]


def test_a_field_ends_where_no_eighth_of_a_step_is_left(read, project):
    """No patience is between 0 and 1; regions of pooling are whole pixels."""
    study = """question: Which?
arms:
  stopping:
    - {name: early_stopping, patience: {integers: [1, 2]}}
  pooling:
    - name: fractional_max_pooling
      ratio: {uniform: [1.1, 1.5], points: 3}
      regions: fixed
      overlapping: false
  coarse:
    - name: fractional_max_pooling
      ratio: {uniform: [1.1, 1.5], points: 2}
      overlapping: false
  means:
    - {name: weight_averaging, kind: [ema, mean]}
  decays:
    - {name: weight_averaging, decay: [0.5, 0.9]}
"""
    (project / "experiments" / "dropout.yaml").write_text(study)

    def score(run):
        patience = run.setting.get("early_stopping", {}).get("patience", 0)
        return 0.9 - patience - run.setting.get("fractional_max_pooling", {}).get("ratio", 0)

    planned, _ = complete(lambda tuned: read_experiment("tiny", tuned=tuned), score)
    spaces = {arm.name: arm.space for _, arm in planned.plan.arms() if arm.space}
    assert [item.lowest for item in spaces["stopping"]] == [True]
    assert [item.lowest for item in spaces["pooling"]] == [True]
    # on these images three ratios lead to all sizes that there are; a patience may always grow
    exhausted = {name for name, space in spaces.items() if space[0].exhausted}
    assert exhausted == {"pooling", "means"} < spaces.keys()
    ratios = values(planned.plan, "dropout", "pooling", "fractional_max_pooling", "ratio")
    assert ratios == [1.1, 1.3, 1.5]


def test_a_design_has_equal_settings_once(project):
    study = """question: Which?
arms:
  stopping:
    - {name: early_stopping, patience: {integers: [1, 3]}}
    - {search: {method: sobol, trials: 16}}
"""
    (project / "experiments" / "dropout.yaml").write_text(study)
    (_, arm), *_ = [study.arms for study in read_experiment("tiny").studies]
    patience = [trial.setting["early_stopping"]["patience"] for trial in arm.trials]
    assert sorted(patience) == [1, 2, 3]


@pytest.mark.parametrize(
    ("added", "line"),
    [
        (
            "",
            "false, or a value under tune in experiments/protocols/tiny.yaml that neither "
            "params.yaml nor the arm gives",
        ),
        ("ensemble: {groups: 2, size: 2}\n", "false in a study with ensemble, variance or search"),
    ],
)
def test_an_arm_that_says_retune_where_nothing_is_tuned_is_one_line(project, added, line):
    arm = "    - {name: dropout, rate: 0.1}\n    - {retune: true}\n"
    text = f"question: Which?\n{added}arms:\n  dropout:\n{arm}"
    (project / "experiments" / "dropout.yaml").write_text(text)
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    where = "experiments/dropout.yaml: arms.dropout.1.retune"
    assert f"{where}: invalid value true; expected {line}" in refused.value.lines


def test_a_reference_with_one_setting_is_explored_beside_its_arm(read, project):
    text = ARMS.replace("rate: 0.25", "rate: [0.25, 0.5]").replace(
        "    - {protocol: {model.batch_norm: false}}\n",
        "    - {protocol: {model.batch_norm: false}}\n    - {retune: false}\n",
    )
    (project / "experiments" / "dropout.yaml").write_text(text)
    planned, _ = complete(lambda tuned: read_experiment("tiny", tuned=tuned))
    explored = {run.arm for run in planned.plan.runs if run.study == "dropout"}
    assert explored == {BASELINE, "dropout", "no_batch_norm", "both", "decay"}


def test_a_tuned_value_may_make_an_arm_the_baseline(read, project):
    """Then it has the baseline's own runs; as written, equal settings are refused."""
    arm = "  rate:\n    - {protocol: {training.learning_rate: 0.08}}\n"
    (project / "experiments" / "dropout.yaml").write_text(ARMS + arm)

    def again(tuned):
        return read_experiment("tiny", tuned=tuned)

    planned, _ = complete(again, functools.partial(accuracy, rate=0.08))
    experiment = again(planned.plan.tuned)
    first = {
        study.name: {arm.name: arm.trials[0].setting for arm in study.arms}
        for study in experiment.studies
    }
    runs = confirmation(experiment, "digest", first)[0].runs
    names = {arm: {run.fingerprint for run in runs if run.arm == arm} for arm in ("rate", BASELINE)}
    assert names["rate"] == names[BASELINE]
    (project / "experiments" / "dropout.yaml").write_text(ARMS + arm.replace("0.08", "0.05"))
    with pytest.raises(Refusal, match="expected another value than that of the protocol"):
        again({})


def test_an_arm_that_tunes_may_have_the_protocols_own_values_among_its_settings(read, project):
    arm = "  batch:\n    - {protocol: {training.batch_size: [10, 15]}}\n"
    (project / "experiments" / "dropout.yaml").write_text(ARMS + arm)
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("learning_rate: 0.05", "learning_rate: 0.04"))
    study = read_experiment("tiny").studies[0]
    (batch,) = [arm for arm in study.arms if arm.name == "batch"]
    assert len(batch.trials) == 2 * 5


def test_no_end_of_a_design_counts_as_a_bound(project):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    space = "tune: {training.learning_rate: {log: [0.01, 0.1]}, search: {method: sobol, trials: 4}}"
    protocol.write_text(f"{protocol.read_text()}{space}\n")
    plan = explore(lambda tuned: read_experiment("tiny", tuned=tuned), "digest", {}).plan
    (tuning,) = [arm for study, arm in plan.arms() if study == TUNING]
    assert [(item.lowest, item.highest) for item in tuning.space] == [(False, False)]
    assert [(item.low, item.high) for item in tuning.space] == [(0.01, 0.1)]


SEARCHED = """question: Which?
arms:
  dropout:
    - {{name: dropout, rate: {rate}, where: [hidden, input]}}
    - {{protocol: {{training.learning_rate: {{log: [0.01, 0.64]}}}}}}
    - {{search: {search}}}
"""


@pytest.fixture
def search(project):
    """Return a reader of the tiny project with one arm that is searched as given, of 8 epochs."""
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    text = protocol.read_text().replace("studies: [dropout, others, ensembles, variance]", "")
    text = re.sub(r"epochs: \d+", "epochs: 8", text)
    protocol.write_text(text + "studies: [dropout]\n")

    def reader(rate="{uniform: [0, 0.8]}", **given):
        file = project / "experiments" / "dropout.yaml"
        file.write_text(SEARCHED.format(rate=rate, search=json.dumps(given)))
        experiment = read_experiment("tiny")
        return lambda tuned: experiment

    return reader


METHODS = {
    "halving": {"eta": 2, "trials": 8},
    "coarse_to_fine": {"trials": 6},
    "tpe": {"trials": 6, "batch": 3},
}


@pytest.mark.parametrize("method", METHODS)
def test_rounds_of_a_search_follow_from_the_scores_in_any_order_and_after_any_kill(
    search, quick, method
):
    read = search(method=method, **METHODS[method])
    ahead = explore(read, "digest", {})
    whole, scores = complete(read)
    sizes = rounds(Search(method=method, **METHODS[method]))
    runs = [run for run in whole.plan.runs if run.arm == "dropout"]
    seeds = len({run.seed for run in runs})
    assert Counter((run.round, run.budget) for run in runs) == {
        (number, budget): size * seeds for number, (size, budget) in enumerate(sizes, start=1)
    }
    epochs = {run.budget: whole.identities[run.fingerprint]["training"]["epochs"] for run in runs}
    assert epochs == {budget: round(8 * budget) for _, budget in sizes}
    left = sum(size for size, _ in sizes[1:])
    cost = sum(size * budget for size, budget in sizes[1:])
    assert ahead.most_added == Added(searching=left * seeds, trainings=pytest.approx(cost * seeds))
    assert whole.most_added == NOTHING
    chance = random.Random(0)
    names = list(scores)
    chance.shuffle(names)
    kept = {name: scores[name] for name in names[: chance.randrange(len(names))]}
    while missing := [
        name for name in explore(read, "digest", kept).plan.fingerprints() if name not in kept
    ]:
        some = chance.sample(missing, chance.randint(1, len(missing)))
        kept |= {name: scores[name] for name in some}
    again = explore(read, "digest", kept)
    assert (again.plan, again.identities) == (whole.plan, whole.identities)


def test_only_a_setting_with_a_whole_schedule_is_chosen(search, quick):
    """Short schedules score best here, which makes them no candidates."""
    read = search(method="halving", eta=2, trials=4)
    whole, scores = complete(read, lambda run: accuracy(run) + (run.budget < 1) / 20)
    frame = runs_frame(whole.plan, scores)
    table = selection.tried(whole.plan, frame)
    table = table[table["arm"] == "dropout"]
    assert table["budget"].value_counts().to_dict() == {1 / 4: 4, 1 / 2: 2, 1.0: 1}
    (setting,) = table.loc[table["chosen"], "setting"]
    assert set(table.loc[table["chosen"], "budget"]) == {1.0}
    assert not any(table.loc[table["budget"] < 1, "changes"])
    row = selection.searches(whole.plan, table, frame).iloc[0]
    assert (row["trials"], row["whole_trials"], row["first_trials"]) == (4, 1, 4)
    (arm,) = [arm for _, arm in whole.plan.arms() if arm.name == "dropout"]
    assert arm.search == {"method": "halving", "trials": 4, "eta": 2}
    assert [(item.low, item.high) for item in arm.space if item.scale] == [(0, 0.8), (0.01, 0.64)]
    plan, identities = confirmation(read({}), "digest", chosen(whole.plan, scores))
    confirmed = [run for run in plan.runs if (run.study, run.arm) == ("dropout", "dropout")]
    assert {json.dumps(run.setting) for run in confirmed} == {json.dumps(setting)}
    assert {identities[run.fingerprint]["training"]["epochs"] for run in confirmed} == {8}


def test_a_trial_that_lost_a_run_goes_on_to_no_longer_schedule(search, quick):
    read = search(method="halving", eta=2, trials=4)
    lost = Score("failed")
    first = [run for run in explore(read, "digest", {}).plan.runs if run.arm == "dropout"]
    best = max(first, key=accuracy).setting
    whole, _ = complete(read, lambda run: lost if run.setting == best and run.seed else 0.5)
    longer = [run.setting for run in whole.plan.runs if run.budget == 1 / 2]
    assert len(longer) == 2 * 2
    assert best not in longer


def test_the_baseline_is_tuned_by_rounds_of_a_search_before_the_arms(search, quick, project):
    search(method="random", trials=2)
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    tune = {"training.learning_rate": {"log": [0.01, 0.64]}}
    tune["search"] = {"method": "halving", "eta": 2, "trials": 4}
    protocol.write_text(f"{protocol.read_text()}tune: {json.dumps(tune)}\n")

    @functools.cache
    def cached(*tuned):
        return read_experiment("tiny", tuned=dict(tuned))

    planned, _ = complete(lambda tuned: cached(*tuned.items()))
    tuning = [run for run in planned.plan.runs if run.study == TUNING]
    assert {run.round: run.budget for run in tuning} == {1: 1 / 4, 2: 1 / 2, 3: 1}
    (chosen,) = {json.dumps(run.setting[PROTOCOL]) for run in tuning if run.budget == 1}
    assert planned.plan.tuned == json.loads(chosen)
    assert {run.round for run in planned.plan.runs if run.study != TUNING} == {4}


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (
            {"method": "halving", "trials": 27},
            "training.epochs: invalid value 8; expected an integer >= 27 for halving, which "
            "shortens schedules",
        ),
        (
            {"method": "grid", "trials": 7, "rate": "[0.1, 0.2]"},
            "search.trials: invalid value 7; expected an integer >= 8, the settings of the grid "
            "with two values of each range",
        ),
    ],
)
def test_a_search_that_does_not_fit_its_arm_is_one_line(search, written, line):
    with pytest.raises(Refusal) as refused:
        search(**written)
    assert refused.value.lines == (f"experiments/dropout.yaml: arms.dropout: {line}",)


def test_extend_of_zero_is_not_widened(read):
    planned, _ = complete(
        read, lambda run: 0.9 + run.setting.get("weight_decay", {}).get("strength", 0)
    )
    assert values(planned.plan, "dropout", "decay", "weight_decay", "strength") == [
        0.001,
        0.01,
        0.1,
    ]


def test_the_plan_follows_from_the_scores_in_any_order_and_after_any_kill(read, quick):
    """Scores of any part of the runs, in any order, lead to the same plan in the end."""
    score = functools.partial(accuracy, rate=0.16, dropout=0.65)
    whole, scores = complete(read, score)
    assert {run.seed for run in whole.plan.runs if run.round == 3} == {2, 3, 4}  # further seeds
    chance = random.Random(0)
    for _ in range(5):
        names = list(scores)
        chance.shuffle(names)
        kept = {name: scores[name] for name in names[: chance.randrange(len(names))]}
        while True:
            planned = explore(read, "digest", kept)
            missing = [name for name in planned.plan.fingerprints() if name not in kept]
            if not missing:
                break
            some = chance.sample(missing, chance.randint(1, len(missing)))
            kept |= {name: scores[name] for name in some}
        assert planned.plan == whole.plan
        assert planned.identities == whole.identities


def test_no_more_is_added_than_announced(read):
    ahead = explore(read, "digest", {}, ahead=True)
    planned, _ = complete(read, functools.partial(accuracy, rate=10, dropout=2))
    most = len(ahead.plan.fingerprints()) + ahead.most_added.widening
    assert len(planned.plan.fingerprints()) <= most
    assert planned.most_added == NOTHING
    # 2 widenings of: the baseline, dropout, and the rates of two arms; 2 seeds each, and 3 further
    # ones of the last three values
    assert ahead.most_added == Added(widening=2 * 2 * 4 + 3 * 3 * 4)


def test_a_planted_optimum_beyond_the_list_is_found(read, quick):
    """In at least 95 of 100 searches under noise of 1 point, to one step of the scale.

    `benchmarks/measure_choice.py` has the share under the noise of `digits`.
    """
    generator = np.random.default_rng(0)
    tuning, hits = replace(read({}), studies=()), 0
    for _ in range(100):
        best, splits = generator.uniform(4.5, 6), generator.normal(0, 0.02, 10)

        def score(run, rate=0.01 * 2**best, splits=splits):
            return accuracy(run, rate, noise=0.01, generator=generator) + splits[run.seed]

        planned, _ = complete(lambda tuned: replace(tuning, tuned=tuned), score)
        chosen = math.log2(planned.plan.tuned["training.learning_rate"] / 0.01)
        hits += abs(chosen - best) <= 1
    assert hits >= 95


def test_a_widening_that_stops_by_chance_is_tried_on_further_seeds(read, quick):
    """The score rises to .64, but at .32, which widening adds, it falls by chance on two seeds."""
    unlucky = {(0.32, 0): 0.04, (0.32, 1): 0.04}

    def score(run):
        rate = run.setting.get(PROTOCOL, {}).get("training.learning_rate", 0.04)
        return accuracy(run, rate=0.64) - unlucky.get((rate, run.seed), 0) + 0.05 * run.seed

    planned, scores = complete(read, score)
    runs = [run for run in planned.plan.runs if run.study == TUNING]
    seeds = {}
    for run in runs:
        seeds.setdefault(run.setting[PROTOCOL]["training.learning_rate"], []).append(run.seed)
    few, many = [0, 1], [0, 1, 2, 3, 4]
    rates = dict.fromkeys([0.01, 0.02, 0.04], few) | dict.fromkeys([0.08, 0.16, 0.32], many)
    assert seeds == rates | {0.64: few}
    assert planned.plan.tuned == {"training.learning_rate": 0.64}
    assert [run.round for run in runs] == [1] * 10 + [2] * 2 + [3] * 9 + [4] * 2
    frame = runs_frame(planned.plan, scores)
    table = selection.tried(planned.plan, frame).iloc[:7]
    assert (table["n"] == [2, 2, 2, 5, 5, 5, 2]).all()
    # seeds 2 to 4 are better by .05 each, which is no merit of the settings that have them
    assert table["validation_accuracy"].iloc[3] == pytest.approx(
        accuracy(runs[6], rate=0.64) + 0.025, abs=0.03
    )
    assert selection.searches(planned.plan, table, frame)["seeds"].iloc[0] == 2
    assert chosen(planned.plan, scores)[TUNING][BASELINE][PROTOCOL] == planned.plan.tuned


@pytest.mark.parametrize(
    ("state", "rates", "best"),
    [
        ("diverged", [0.01, 0.02, 0.04, 0.08, 0.16], 0.08),
        ("failed", [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64], 0.32),  # an error is no end
    ],
)
def test_failed_runs_are_not_chosen_and_stop_no_other(read, state, rates, best):
    def score(run):
        rate = run.setting.get(PROTOCOL, {}).get("training.learning_rate")
        return Score(state) if rate == 0.16 else Score("done", 0.9 + min(rate or 0, 0.32), 0.1)

    scores = {}
    while True:
        planned = explore(read, "digest", scores)
        new = [run for run in planned.plan.runs if run.fingerprint not in scores]
        if not new:
            break
        scores |= {run.fingerprint: score(run) for run in new}
    assert values(planned.plan, *RATE) == rates
    assert planned.plan.tuned == {"training.learning_rate": best}


def test_confirmation_has_the_tuned_baseline_and_the_values_before(read):
    planned, _ = complete(read, functools.partial(accuracy, rate=0.08))
    experiment = read(planned.plan.tuned)
    both = {PROTOCOL: {"model.batch_norm": False, "training.learning_rate": 0.02}}
    choice = {
        "dropout": {
            "dropout": {"dropout": {"rate": 0.6}},  # a value that widening has added
            "no_batch_norm": both,
            "both": {"dropout": {"rate": 0.25}, **both},
            "decay": {"weight_decay": {"strength": 0.01}},
        }
    }
    plan, identities = confirmation(experiment, "digest", choice)
    rates = {
        (run.study, run.arm): identities[run.fingerprint]["training"]["learning_rate"]
        for run in plan.runs
    }
    assert rates[TUNING, UNTUNED] == 0.05
    assert rates[TUNING, BASELINE] == rates["dropout", BASELINE] == 0.08
    assert rates["dropout", "both"] == 0.02
    assert plan.tuned == {"training.learning_rate": 0.08}
    wrong = {"dropout": {**choice["dropout"], "decay": {"weight_decay": {"rate": 1}}}}
    with pytest.raises(Refusal, match=r"choice.json: dropout.decay: invalid value"):
        confirmation(experiment, "digest", wrong)


def test_an_override_of_a_tuned_value_fixes_it(read, project):
    path = project / "params.yaml"
    path.write_text(path.read_text() + "training: {learning_rate: 0.03}\n")
    experiment = read_experiment("tiny")
    assert experiment.tuning is None
    assert experiment.protocol.training.learning_rate == 0.03
    plan = explore(lambda tuned: read_experiment("tiny", tuned=tuned), "digest", {}).plan
    assert "training.learning_rate" in plan.overridden


@pytest.mark.parametrize(
    ("tune", "line"),
    [
        (
            "{training.learning_rate: 0.1}",
            "tune.training.learning_rate: invalid value 0.1; "
            "expected a search space, as in {log: [0.001, 0.1], points: 5}",
        ),
        ("{training.rate: [0.1]}", "training.rate: unknown key"),
        ("{data.dataset: [digits]}", "data.dataset: the same for all arms"),
        (
            "{training.learning_rate: [0.1, 0]}",
            "learning_rate: invalid value 0; expected a number > 0",
        ),
        (
            "{training.learning_rate: {log: [0.1, 1]}}",
            "tune.training.learning_rate.points: missing",
        ),
    ],
)
def test_a_bad_nuisance_space_is_one_line(project, tune, line):
    protocol = project / "experiments" / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text() + f"tune: {tune}\n")
    with pytest.raises(Refusal) as refused:
        read_experiment("tiny")
    assert len(refused.value.lines) == 1
    assert line in refused.value.lines[0]
    assert refused.value.lines[0].startswith("experiments/protocols/tiny.yaml: ")


@pytest.mark.torture
def test_reports_with_tuning_and_widening_keep_their_error_and_are_unbiased(read):
    """Null scores: what is tuned, widened and chosen by luck is worth nothing on fresh seeds.

    One report in twenty may hold a false verdict; the mean of what was chosen is no better than the
    baseline, although it looked better than the truth in exploration.
    """
    generator, count, spread = np.random.default_rng(1), 400, 0.01
    false, looked, confirmed = 0, [], []

    def draw(run):
        return generator.normal(0.9, spread)

    for _ in range(count):
        planned, scores = complete(read, draw)
        choice = chosen(planned.plan, scores)
        plan, _ = confirmation(read(planned.plan.tuned), "digest", choice)
        names = plan.fingerprints()
        values = dict(zip(names, generator.normal(0.9, spread, len(names)), strict=True))
        table = table_of(plan, values)
        false += table["verdict"].isin([Verdict.HELPS, Verdict.HURTS]).any()
        row = table[table["arm"] == "dropout"].iloc[0]
        confirmed.append(row["difference"])
        looked.append(explored(planned.plan, scores, choice["dropout"]["dropout"]) - 0.9)
    assert false <= (0.05 + 3 * math.sqrt(0.05 * 0.95 / count)) * count
    errors = [np.std(values) / math.sqrt(count) for values in (confirmed, looked)]
    assert abs(np.mean(confirmed)) < 3 * errors[0]
    assert np.mean(looked) > 2 * errors[1]


@pytest.mark.parametrize("end", ["diverged", "collapsed"])
def test_a_last_value_that_no_chance_explains_is_not_tried_again(read, quick, end):
    def score(run):
        rate = run.setting.get(PROTOCOL, {}).get("training.learning_rate", 0.04)
        if rate > 0.2:
            return Score("diverged") if end == "diverged" else 0.3
        return accuracy(run, rate=0.3)

    planned, _ = complete(read, score)
    assert values(planned.plan, *RATE) == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32]
    assert planned.plan.tuned == {"training.learning_rate": 0.16}
    assert {run.seed for run in planned.plan.runs if run.study == TUNING} == {0, 1}


def chosen(plan, scores):
    """Return the choice from scores, as the stage `choose` makes it."""
    frame = runs_frame(plan, scores)
    return selection.choice(selection.tried(plan, frame))


def explored(plan, scores, setting):
    """Return the mean accuracy of a setting of dropout in exploration."""
    frame = runs_frame(plan, scores)
    frame = frame[frame["study"] == "dropout"]
    return frame[[item == setting for item in frame["setting"]]]["validation_accuracy"].mean()


def runs_frame(plan, scores):
    rows = []
    for run in plan.runs:
        score = scores[run.fingerprint]
        place = run.study, run.arm, run.setting, run.budget, run.seed
        rows.append((*place, score.state, score.accuracy, score.nll))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def table_of(plan, values):
    """Return the contrasts of runs with these accuracies."""
    names = list(values)
    frame = pd.DataFrame({"fingerprint": names, "view": "deterministic", "members": 1})
    scores = pd.concat(
        [
            frame.assign(split=split, metric=name, value=list(values.values()))
            for split, name in WHERE.values()
        ],
        ignore_index=True,
    )
    results = outcomes(scores, dict.fromkeys(names, "done"), dict.fromkeys(names, "one kind"))
    costs = {name: {"training_flops": 2, "forward_flops": 1} for name in names}
    images = pd.DataFrame({name: [] for name in ("study", "arm", "image", "correct", "differs")})
    return contrasts(plan, results, costs, images, metrics=(PRIMARY,))


def test_a_chosen_setting_is_confirmed_beside_the_default_and_the_first_one(read):
    """Where the default is among the settings and is not chosen; dropout's is 0.5."""
    planned, _ = complete(read)
    experiment = read(planned.plan.tuned)

    def names(rate):
        arms = {arm.name: arm.trials[0].setting for arm in experiment.studies[0].arms}
        choice = {"dropout": arms | {"dropout": {"dropout": {"rate": rate}}}}
        plan, _ = confirmation(experiment, "digest", choice)
        of = [study for study in plan.studies if study.kind == "overtuning"]
        return plan, {arm.name: arm.against for study in of for arm in study.arms}

    plan, against = names(0.3)
    arm = "dropout"
    assert against == {
        **{BASELINE: BASELINE, arm: BASELINE},
        **{f"{arm}, default": arm, f"{arm}, first": arm},
    }
    rates = {
        run.arm: run.setting["dropout"]["rate"]
        for run in plan.runs_of("overtuning")
        if run.arm != BASELINE
    }
    assert rates == {arm: 0.3, f"{arm}, default": 0.5, f"{arm}, first": 0.1}
    chosen = {
        run.fingerprint for run in plan.runs if (run.study, run.arm) == ("dropout", "dropout")
    }
    shared = {run.fingerprint for run in plan.runs_of("overtuning") if run.arm == arm}
    assert chosen == shared
    assert set(names(0.1)[1]) == {BASELINE, arm, f"{arm}, default"}  # the first was chosen
    assert set(names(0.5)[1]) == {BASELINE, arm, f"{arm}, first"}  # the default was chosen


def test_a_default_that_widening_has_added_is_confirmed_too(read, project):
    narrow = ARMS.replace("{uniform: [0.1, 0.5], points: 5}", "{uniform: [0.1, 0.4], points: 4}")
    (project / "experiments" / "dropout.yaml").write_text(narrow)
    experiment = read_experiment("tiny")

    def arms(rate):
        first = {arm.name: arm.trials[0].setting for arm in experiment.studies[0].arms}
        choice = {"dropout": first | {"dropout": {"dropout": {"rate": rate}}}}
        study = overtuning_study(experiment, choice)
        return [] if study is None else [arm.name for arm in study.arms[1:]]

    assert arms(0.6) == ["dropout", "dropout, default", "dropout, first"]  # after 0.5
    assert arms(0.5) == ["dropout", "dropout, first"]
    assert arms(0.4) == []  # 0.5 was not tried


@pytest.mark.parametrize(
    ("beside", "expected"),
    [("", ["rate, default", "rate, first"]), ("training.optimizer: adagrad, ", [])],
)
def test_a_learning_rate_of_another_optimizer_is_no_default(read, project, beside, expected):
    arm = f"{{protocol: {{{beside}training.learning_rate: {{log: [0.0125, 0.2], points: 5}}}}}}"
    (project / "experiments" / "dropout.yaml").write_text(
        f"question: Which?\narms:\n  rate:\n    - {arm}\n"
    )
    experiment = read_experiment("tiny", tuned={"training.learning_rate": 0.05})
    searched = experiment.studies[0].arms[-1]
    assert 0.05 in searched.definition.spaces[PROTOCOL, "training.learning_rate"].values
    choice = {"dropout": {"rate": searched.trials[-1].setting}}
    study = overtuning_study(experiment, choice)
    names = [] if study is None else [arm.name for arm in study.arms if "," in arm.name]
    assert names == expected
