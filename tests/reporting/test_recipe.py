"""The recipe: the setting as YAML, what is kept of the baseline, and what to leave out."""

import dataclasses

import pytest
from report_data import VERDICTS, report_data
from ruamel.yaml import YAML

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


def told(setting=None, verdicts=VERDICTS):
    """Return the section for a report whose best arm has this setting; a rate was tuned."""
    data = report_data({"layers": dict.fromkeys(verdicts, "deterministic")}, verdicts)
    plan = data.confirmation.model_copy(update={"tuned": {"training.learning_rate": 0.05}})
    contrasts = data.contrasts.assign(setting=[setting or {}] * len(data.contrasts))
    return recipe_section(dataclasses.replace(data, confirmation=plan, contrasts=contrasts))


def test_the_best_arm_is_named_with_the_tuned_values_that_it_keeps():
    section = told({"augmentation": {"shift": 1}})
    assert section.startswith("Use **augmentation**, with the tuned training.learning_rate=0.05:")
    assert "```yaml\n- {name: augmentation, shift: 1}\n```" in section
    changed = told({"protocol": {"training.learning_rate": 0.5}})
    assert changed.startswith("Use **augmentation**:")


def test_what_hurts_or_changes_nothing_is_left_out():
    section = told()
    assert "Leave out **early** (hurts: -3.0 points" in section
    assert "**decay** (makes no difference above the margin" in section
    assert "mixup" not in section.partition("Leave out")[2].partition("\n")[0]


def test_the_values_before_tuning_are_nothing_to_leave_out():
    data = report_data({"tuning": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)
    assert "Leave out" not in recipe_section(data)


def test_where_nothing_helps_the_baseline_is_kept():
    section = told(verdicts={"mixup": (-0.004, "inconclusive"), "early": (-0.03, "hurts")})
    assert section.startswith("Keep the baseline, with the tuned training.learning_rate=0.05:")
    assert "yaml" not in section
    assert "Leave out **early**" in section


def test_an_arm_that_helps_but_is_no_choice_is_named_with_the_reason():
    data = report_data({"layers": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)
    section = recipe_section(dataclasses.replace(data, recipe=data.recipe.iloc[:0]))
    assert section.startswith("Keep the baseline. **augmentation** and **dropout** help, but ")
    assert "no arm is shown to help" not in section
