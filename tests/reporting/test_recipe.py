"""The recipe: the setting as YAML, what is kept of the baseline, and what to leave out."""

import dataclasses
import re
from math import nan

import pandas as pd
import pytest
from report_data import VERDICTS, report_data
from ruamel.yaml import YAML
from sentences import bold

from pipeline.comparison.levels import MAJORITY
from pipeline.comparison.trust import COLUMNS, Check
from pipeline.config.plan import Factor
from pipeline.reporting.pages._recipe import recipe_section, setting_yaml

SETTINGS = [
    {"dropout": {"rate": 0.25, "where": "input"}, "augmentation": {"shift": 1, "rotate": 10}},
    {"weight_decay": {"strength": 1e-05, "decoupled": True}},
    {"protocol": {"training.optimizer": {"name": "adam", "beta2": 0.99}, "model.widths": [8, 16]}},
    {"mixup": {"alpha": 1.0, "kind": "on"}},
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_is_an_arm_that_yaml_reads_back(setting):
    read = YAML(typ="safe").load(setting_yaml(setting))
    expected = [
        {"protocol": values} if part == "protocol" else {"name": part, **values}
        for part, values in setting.items()
    ]
    assert read == expected


def left_out(section):
    """Return the sentences on what to leave out: what hurts, then what changes nothing."""
    return re.findall(r"Leave out what .*?\)\.(?= |$)", section, flags=re.MULTILINE)


def failing(data, *checks):
    """Return the data with these failed checks: pairs of a check and its arm or classifier."""
    row = dict.fromkeys(COLUMNS, nan) | {"study": "layers", "passed": False, "at_bound": False}
    rows = [
        row | {"check": str(check), "arm": "baseline", "subject": name}
        if check is Check.REFERENCES
        else row | {"check": str(check), "arm": name, "subject": ""}
        for check, name in checks
    ]
    return dataclasses.replace(data, trust=pd.DataFrame(rows, columns=list(COLUMNS)))


def recipe(setting=None, verdicts=VERDICTS):
    """Return the section for a report whose best arm has this setting; a rate was tuned."""
    data = report_data({"layers": dict.fromkeys(verdicts, "deterministic")}, verdicts)
    plan = data.confirmation.model_copy(update={"tuned": {"training.learning_rate": 0.05}})
    contrasts = data.contrasts.assign(setting=[setting or {}] * len(data.contrasts))
    return recipe_section(dataclasses.replace(data, confirmation=plan, contrasts=contrasts))


def chosen(section):
    """Return the arms in bold and the tuned values in the first line of a recipe."""
    line = section.splitlines()[0]
    return bold(line), dict(re.findall(r"([\w.]+)=([\d.]*\d)", line))


def test_the_best_arm_is_named_with_the_tuned_values_that_it_keeps():
    section = recipe({"augmentation": {"shift": 1}})
    assert chosen(section) == (["augmentation"], {"training.learning_rate": "0.05"})
    block = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert YAML(typ="safe").load(block[1]) == [{"name": "augmentation", "shift": 1}]
    changed = recipe({"protocol": {"training.learning_rate": 0.5}})
    assert chosen(changed) == (["augmentation"], {})


def test_what_hurts_or_changes_nothing_is_left_out():
    section = recipe()
    hurting, equivalent = left_out(section)
    assert re.findall(r"\*\*(\w+)\*\* \(-3.0 points", hurting) == ["early"]
    assert re.findall(r"\*\*(\w+)\*\*", equivalent) == ["decay"]


def test_the_values_before_tuning_are_nothing_to_leave_out():
    data = report_data({"tuning": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)
    assert "Leave out" not in recipe_section(data)


def test_other_data_are_nothing_to_leave_out():
    data = report_data({"layers": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)
    (study,) = data.confirmation.studies
    noisy = Factor(protocol={"data.label_noise": 0.3})
    arms = [
        arm.model_copy(update={"factor": noisy}) if arm.name == "early" else arm
        for arm in study.arms
    ]
    studies = (study.model_copy(update={"arms": tuple(arms)}),)
    confirmation = data.confirmation.model_copy(update={"studies": studies})
    (hurts, *_) = left_out(recipe_section(data))
    assert "**early**" in hurts
    changed = recipe_section(dataclasses.replace(data, confirmation=confirmation))
    assert not any("**early**" in sentence for sentence in left_out(changed))


def test_where_nothing_helps_the_baseline_is_kept():
    section = recipe(verdicts={"mixup": (-0.004, "inconclusive"), "early": (-0.03, "hurts")})
    assert chosen(section) == ([], {"training.learning_rate": "0.05"})
    assert "yaml" not in section
    assert "**early**" in left_out(section)[0]


def test_an_arm_that_helps_but_is_no_choice_is_named_with_the_reason():
    data = report_data({"layers": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)
    section = recipe_section(dataclasses.replace(data, recipe=data.recipe.iloc[:0]))
    assert section.startswith("Keep the baseline. ")
    assert chosen(section) == (["augmentation", "dropout"], {})
    assert "no arm is shown to help" not in section


@pytest.mark.parametrize(
    ("checks", "conditions"),
    [
        ([], 0),
        ([(Check.INTERIOR, "early")], 1),
        ([(Check.INTERIOR, "early"), (Check.BUDGET, "early"), (Check.IMAGES, "early")], 3),
        ([(Check.INTERIOR, "dropout"), (Check.SEEDS, "early")], 0),
    ],
)
def test_an_arm_that_hurts_has_the_conditions_of_its_failed_checks(checks, conditions):
    data = report_data({"layers": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)
    hurting, _ = left_out(recipe_section(failing(data, *checks)))
    assert hurting.count("; ") == conditions


def test_a_loss_below_the_margin_is_said_to_be_one():
    verdicts = {"mixup": (-0.004, "hurts", True), "early": (-0.03, "hurts")}
    (hurting,) = left_out(recipe(verdicts=verdicts))
    small, large = re.findall(r"\*\*\w+\*\* \((.*?)\)", hurting)
    assert [text.count("margin") for text in (small, large)] == [1, 0]


@pytest.mark.parametrize("verdicts", [VERDICTS, {"early": (-0.03, "hurts")}], ids=["help", "none"])
@pytest.mark.parametrize("classifier", [MAJORITY, "logistic regression"])
def test_a_baseline_that_learned_nothing_comes_first_and_is_not_kept(verdicts, classifier):
    data = report_data({"layers": dict.fromkeys(verdicts, "deterministic")}, verdicts)
    section = recipe_section(failing(data, (Check.REFERENCES, classifier)))
    assert section.startswith("First make the baseline learn") == (classifier == MAJORITY)
    keeps = classifier != MAJORITY and verdicts is not VERDICTS
    assert ("Keep the baseline" in section) == keeps
