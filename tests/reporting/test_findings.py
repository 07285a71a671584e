"""Answers of a study of training choices: each follows from the tables, and each can be no."""

from math import inf, nan
from types import SimpleNamespace

import pandas as pd
import pytest
from sentences import bold, numbers

from pipeline.config.plan import Factor, PlannedArm, PlannedStudy
from pipeline.reporting.markdown import Formatter
from pipeline.reporting.pages import front
from pipeline.reporting.pages._findings import Finding, findings
from pipeline.reporting.pages.front import subject, title, training_findings

SGD = {"name": "sgd", "momentum": 0.9, "nesterov": True}
TRAINING = {"optimizer": SGD, "schedule": {"name": "one_cycle"}}
SEARCHED = {"training.learning_rate": "searched"}
ADAM = {"training.optimizer": "adam"}


def arm(name, protocol=None, regularizers=(), against="baseline"):
    factor = Factor(protocol=protocol or {}, regularizers=regularizers)
    return PlannedArm(name=name, factor=factor, against=against)


def ranges(*arms, **values):
    row = {"study": "s", "trials": 5, "seeds": 2, "basis": "curve", "low": 0.01, "high": 0.1}
    row |= {
        "low_open": False,
        "high_open": False,
        "factor": 10.0,
        "chosen": 0.05,
        "least": 9.0,
        "most": inf,
        **values,
    }
    return pd.DataFrame([{**row, "arm": name} for name in arms], columns=["arm", *row])


def targets(**rows):
    """Return times to target by arm: median updates, sooner and p (Holm)."""
    columns = ["study", "arm", "updates", "sooner", "p_holm"]
    return pd.DataFrame([("s", name, *values) for name, values in rows.items()], columns=columns)


def answers(arms, tried=None, verdicts=None, arrived=None, widened=(), training=TRAINING):
    rows = [
        {"study": "s", "arm": name, "difference": -0.02, "low_all": -0.03, "high_all": -0.01}
        | {"verdict": verdict, "below_margin": False}
        for name, verdict in (verdicts or {}).items()
    ]
    data = SimpleNamespace(
        confirmation=SimpleNamespace(settings={"training": training}),
        rate_ranges=ranges() if tried is None else tried,
        batch_norm_ranges=pd.DataFrame(widened, columns=["study", "arm", "with", "batch_norm"]),
        targets=targets() if arrived is None else arrived,
        primary=pd.DataFrame(
            rows,
            columns=[
                *("study", "arm", "difference", "low_all", "high_all", "verdict", "below_margin")
            ],
        ),
        format=Formatter(),
        trials=lambda study, name: 8,
    )
    study = PlannedStudy(name="s", question="?", arms=(arm("baseline"), *arms))
    return [str(one) for one in findings(data, study)]


@pytest.mark.parametrize(
    ("verdict", "answer"),
    [
        ("hurts", "No: **fixed** hurts (-2.0 points [-3.0, -1.0])"),
        ("helps", "Yes: **fixed** helps"),
        ("equivalent", "Yes: **fixed** is equivalent"),
        ("inconclusive", "Not shown: **fixed** is inconclusive"),
    ],
)
def test_whether_an_untuned_optimizer_is_a_good_default(verdict, answer):
    arms = [arm("tuned", ADAM | SEARCHED), arm("fixed", ADAM | {"training.learning_rate": 0.001})]
    (line,) = answers(arms, ranges("tuned"), {"fixed": verdict, "tuned": "helps"})
    assert line.partition("? ")[2].startswith(answer)
    assert "Tuned with 8 trials, **tuned** helps" in line


def test_an_optimizer_is_compared_with_itself_alone():
    others = [
        arm("tuned", {"training.optimizer": "rmsprop"} | SEARCHED),
        arm("decayed", ADAM | SEARCHED, ("weight_decay",)),
        arm("fixed", ADAM),
    ]
    verdicts = dict.fromkeys(("tuned", "decayed", "fixed"), "helps")
    assert answers(others, ranges("tuned", "decayed"), verdicts) == []


@pytest.mark.parametrize(
    ("protocol", "sooner", "p", "answer"),
    [
        ({"training.optimizer.momentum": 0.0}, 0.2, 0.01, "Yes"),
        ({"training.optimizer": SGD | {"momentum": 0.0}}, 0.8, 0.01, "No, later"),
        ({"training.optimizer.momentum": 0.0}, 0.2, 0.3, "Not shown"),
        ({"training.optimizer.momentum": 0.0}, 0.5, nan, "Not shown"),
    ],
)
def test_whether_momentum_reaches_the_target_sooner(protocol, sooner, p, answer):
    arrived = targets(baseline=(90, nan, nan), plain=(inf, sooner, p))
    (line,) = answers([arm("plain", protocol)], arrived=arrived)
    text = line.partition("? ")[2]
    assert text.startswith(f"{answer}: ")
    assert numbers(text)[:2] == ["90", "0.9"]
    assert bold(text) == ["plain"]
    assert "never" in text


def test_momentum_is_asked_about_where_one_side_has_it():
    arrived = targets(baseline=(90, nan, nan), plain=(80, 0.2, 0.01), adam=(80, 0.2, 0.01))
    assert answers([arm("adam", ADAM)], arrived=arrived) == []
    plain = {"optimizer": SGD | {"momentum": 0.0}, "schedule": "one_cycle"}
    changed = arm("plain", {"training.optimizer.momentum": 0.0})
    assert answers([changed], arrived=arrived, training=plain) == []


@pytest.mark.parametrize(
    ("verdict", "answer"),
    [
        ("hurts", "Yes"),
        ("helps", "No, it is worse"),
        ("equivalent", "No, it makes no difference above the margin"),
        ("inconclusive", "Not shown"),
    ],
)
def test_whether_lowering_the_rate_improves_the_end(verdict, answer):
    changed = arm("flat", {"training.schedule": "constant"})
    (line,) = answers([changed], verdicts={"flat": verdict})
    text = line.partition("? ")[2]
    assert text.startswith(f"{answer}: ")
    assert "one_cycle" in text
    assert bold(text) == ["flat"]
    constant = {"optimizer": SGD, "schedule": {"name": "constant"}}
    assert answers([changed], verdicts={"flat": verdict}, training=constant) == []


@pytest.mark.parametrize(
    ("protocol", "regularizers"), [({}, ("dropout",)), ({"model.batch_norm": False}, ())]
)
def test_an_arm_that_changes_something_else_too_answers_neither(protocol, regularizers):
    arrived = targets(baseline=(90, nan, nan), mixed=(80, 0.2, 0.01))
    for value in ({"training.optimizer.momentum": 0.0}, {"training.schedule": "constant"}):
        mixed = arm("mixed", value | protocol, regularizers)
        assert answers([mixed], verdicts={"mixed": "hurts"}, arrived=arrived) == []
        alone = arm("mixed", value | SEARCHED)
        assert len(answers([alone], verdicts={"mixed": "hurts"}, arrived=arrived)) == 1


@pytest.mark.parametrize(
    ("outcome", "answer"), [("wider", "Yes"), ("narrower", "No"), ("undecided", "Undecided")]
)
def test_whether_batch_norm_widens_the_range(outcome, answer):
    tried = ranges("baseline", "plain")
    (line,) = answers([arm("plain")], tried, widened=[("s", "plain", "baseline", outcome)])
    assert f"that work? {answer}" in line
    _, spans, seeds, _ = line.split(". ", 4)[1:]
    assert numbers(spans) == ["10", "0.01", "0.1"] * 2
    assert numbers(seeds) == ["9", "9"]


def test_one_seed_decides_nothing_about_ranges():
    tried = ranges("baseline", "plain", seeds=1)
    (line,) = answers([arm("plain")], tried, widened=[("s", "plain", "baseline", "wider")])
    assert "that work? Undecided" in line
    assert "1 exploration seed and" in line


def test_arms_that_arrive_at_another_time_are_named_by_their_corrected_p():
    arrived = targets(
        baseline=(90, nan, nan), a=(60, 0.9, 0.01), b=(inf, 0.1, 0.02), c=(60, 0.8, 0.06)
    )
    (line,) = answers([arm("a"), arm("b"), arm("c")], ranges("a"), arrived=arrived)
    sooner, later = line.partition("? Sooner: ")[2].split("Later: ")
    assert (bold(sooner), numbers(sooner)) == (["a"], ["60", "0.010"])
    assert (bold(later), numbers(later)) == (["b"], ["0.020"])
    assert "never" in later
    arrived["p_holm"] = nan
    (line,) = answers([arm("a")], ranges("a"), arrived=arrived)
    assert line.endswith("? None is shown to.")


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ([arm("dropout", regularizers=("dropout",))], "Which regularizers help"),
        ([arm("adam", ADAM)], "Which training choices help"),
        (
            [arm("adam", ADAM), arm("dropout", regularizers=("dropout",))],
            "Which regularizers and training choices help",
        ),
        ([arm("adamw", ADAM, ("weight_decay",))], "Which training choices help"),
        (
            [
                arm("longer", {"training.epochs": 9}, ("dropout",)),
                arm("less", {"data.train_size": 9}),
            ],
            "Which regularizers help",
        ),
    ],
)
def test_a_report_is_titled_by_what_its_arms_change(arms, expected):
    planned = [("s", one) for one in (arm("baseline"), *arms)]
    assert title(SimpleNamespace(planned_arms=planned, transfer=())) == expected


@pytest.mark.parametrize(
    ("alone", "studies", "expected"),
    [
        (False, "one", "digits"),
        (True, "one", "digits, study one alone"),
        (True, "one two", "digits, studies one and two alone"),
        (True, "a b c d e", "digits, studies a, b, c and 2 more alone"),
    ],
)
def test_a_report_of_studies_alone_is_titled_by_them(alone, studies, expected):
    names = [*studies.split(), "tuning", "overtuning"]
    planned = [SimpleNamespace(name=name) for name in names]
    plan = SimpleNamespace(protocol="digits", studies=planned)
    assert subject(SimpleNamespace(confirmation=plan, alone=alone)) == expected


FOUND = {
    "a": [Finding("Which?", "None."), Finding("Why?", "So.")],
    "b": [Finding("Which?", "Both.")],
    "c": [Finding("Which?", "None.")],
    "d": [],
}
LINKS = {name: f"[{name}](pages/study_{name}.md)" for name in FOUND}


@pytest.mark.parametrize(
    ("studies", "lines"),
    [
        ("a", ["- Which? None.", "- Why? So.", "", f"From the study {LINKS['a']}."]),
        (
            "abcd",
            [
                *(
                    "- Which?",
                    f"  - {LINKS['a']} and {LINKS['c']}: None.",
                    f"  - {LINKS['b']}: Both.",
                ),
                *("- Why?", f"  - {LINKS['a']}: So."),
            ],
        ),
        ("d", []),
    ],
)
def test_no_question_and_no_answer_is_repeated(monkeypatch, studies, lines):
    monkeypatch.setattr(front, "findings", lambda _, study: FOUND[study.name])
    planned = [SimpleNamespace(name=name) for name in studies]
    plan = SimpleNamespace(studies_of=lambda kind: planned)
    assert training_findings(SimpleNamespace(confirmation=plan)).splitlines() == lines
