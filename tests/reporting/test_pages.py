"""What the page says, and in which order."""

import dataclasses
import math
import re

import pandas as pd
import pytest

from pipeline.config.plan import Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.reporting import frames, overview, pages, sections

NAN = math.nan
SEEDS = (1000, 1001, 1002)


def plan(phase: str, studies: dict[str, dict[str, str]]) -> Plan:
    """Studies with their arms (name to test rule), three runs each."""
    described = tuple(
        PlannedStudy(
            name=study,
            question=f"Is {study} worth it?",
            arms=(
                PlannedArm(name="baseline", factor="nothing", rule="deterministic"),
                *(PlannedArm(name=arm, factor=f"{arm} layers", rule=rule) for arm, rule in arms.items()),
            ),
        )
        for study, arms in studies.items()
    )
    runs = tuple(
        PlannedRun(
            study=study.name,
            arm=arm.name,
            strength="",
            seed=seed,
            fingerprint=f"{study.name * (arm.name != 'baseline')}{arm.name}{seed}",
        )
        for study in described
        for arm in study.arms
        for seed in SEEDS
    )
    settings = {"data": {"dataset": "digits", "train_size": 7}, "model": {"name": "resnet"}, "training": {"epochs": 2}}
    return Plan(protocol="tiny", phase=phase, settings=settings, margin=0.01, data_digest="d", studies=described, runs=runs)


def evidence(studies: dict[str, dict[str, str]], verdicts: dict[str, tuple[float, str]]) -> frames.Evidence:
    """Evidence in which each arm has this difference and this verdict."""
    confirmation = plan("confirmation", studies)
    cost = {"training_flops": 1_230_000_000, "updates": 180, "forward_flops": 2_000_000}
    records = {name: {"state": "done", "cost": cost, "files": {}, "audit": {}} for name in confirmation.fingerprints()}
    history = [{"epoch": 2, "updates": 6, "split": split, "loss": 0.1, "accuracy": 0.9} for split in ("train", "validation")]
    scores = [
        row
        for place, name in enumerate(confirmation.fingerprints())
        for row in [
            (name, confirmation.rules()[name], "test", "accuracy", 0.9),
            *(
                (name, "deterministic", "train_validation", part, 0.1 + place / 1000 if "i" not in part else 0.0)
                for part in frames.GAPS
            ),
        ]
    ]
    rows = [
        {**{"study": study, "arm": arm, "factor": arm, "strength": "", "metric": metric, "rule": "deterministic", "n": 3}}
        | {
            "baseline_mean": 0.9,
            "arm_mean": 0.9 + shift,
            "difference": shift,
            "low": shift - 0.005,
            "high": shift + 0.005,
            "p": 0.01,
        }
        | {"p_holm": 0.02 if metric == "test_accuracy" else NAN, "verdict": verdict if metric == "test_accuracy" else ""}
        | {"detectable": 0.0123, "correlation": 0.5, "planned": 3, "done": 3, "failed": 0, "diverged": 0, "missing": 0}
        for study, arms in studies.items()
        for arm in arms
        for shift, verdict in [verdicts[arm]]
        for metric in ("test_accuracy", "test_nll", "gap")
    ]
    runs = frames.run_frame(confirmation, records)
    scored = pd.DataFrame(scores, columns=["fingerprint", "rule", "split", "metric", "value"])
    return frames.Evidence(
        exploration=plan("exploration", {}),
        confirmation=confirmation,
        runs=runs,
        members=frames.member_frame(confirmation, records),
        tried=frames.tried_frame([]),
        contrasts=pd.DataFrame(rows),
        outcomes=frames.outcome_frame(confirmation, scored),
        curves=frames.curve_frame(runs, dict.fromkeys(records, history)),
        audit=frames.audit_frame(runs, records),
        rules=frames.rule_frame(confirmation, scored),
        **dict.fromkeys(("passes", "ensembles", "sizes", "reliability"), pd.DataFrame()),
        test_use={"phase": "confirmation", "runs": 9, "test_examples": 719},
    )


VERDICTS = {
    "augmentation": (0.02, "helps"),
    "dropout": (0.01, "helps"),
    "smoothing": (0.004, "helps, below the margin"),
    "decay": (0.0, "equivalent"),
    "mixup": (-0.004, "inconclusive"),
    "early": (-0.03, "hurts"),
}


@pytest.fixture
def found() -> frames.Evidence:
    return evidence({"layers": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)


def test_the_headline_says_each_verdict_in_plain_language(found: frames.Evidence) -> None:
    sentence = pages.headline(found)
    assert sentence.startswith(
        "After 3 fresh seeds, **augmentation** (+2.0 points [+1.5, +2.5]) and **dropout** (+1.0 points [+0.5, +1.5]) help."
    )
    assert "**smoothing** (+0.4 points [-0.1, +0.9]) helps, but by less than the margin of 1 point." in sentence
    assert "**decay** (0.0 points [-0.5, +0.5]) is equivalent to the baseline within 1 point." in sentence
    assert "**mixup** (-0.4 points [-0.9, +0.1]; detectable: 1.2) stays inconclusive." in sentence
    assert "**early** (-3.0 points [-3.5, -2.5]) hurts." in sentence
    assert "The baseline reaches 90.0 % test accuracy with a gap of 10.1 points" in sentence


def test_every_verdict_has_its_words() -> None:
    for verdict in pages.VERDICTS:
        assert (
            pages.headline(evidence({"layers": {"dropout": "deterministic"}}, {"dropout": (0.0, verdict)})).count("**dropout**")
            == 1
        )


def test_nothing_that_helps_is_said_first() -> None:
    assert "seeds, no arm has been shown to help." in pages.headline(
        evidence({"one": {"a": "deterministic"}}, {"a": (0.0, "inconclusive")})
    )


def test_the_page_keeps_its_order(found: frames.Evidence) -> None:
    text = pages.page(found)
    marks = [
        "# Which regularizers",
        "After 3 fresh seeds",
        "| arm | strength |",
        "(figures/forest.png)",
        "## What was asked",
        "## How it was measured",
        "## How to read a verdict",
        "## The gap, decomposed",
        "## Cost",
        "## Study: layers",
        "### Confirmed",
        "(figures/curves_layers.png)",
        "### What acted",
        "### Runs",
    ]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "nan" not in text
    assert "## Averaging at test" not in text
    assert "## Ensembles" not in text


def test_every_table_names_n_rule_and_interval(found: frames.Evidence) -> None:
    captions = re.findall(r"^\|.*\n\n\*(.*)\*$", pages.page(found), flags=re.M)
    assert len(captions) == 5
    for caption in captions[:4]:
        assert "n: " in caption
        assert "rule" in caption.lower()
        assert "interval" in caption.lower()
    assert "95 % Student-t interval" in captions[0]
    assert "Holm over 6 contrasts of test accuracy" in captions[0]


def test_the_study_is_named_only_where_the_arm_is_not_plain() -> None:
    studies = {"one": {"dropout": "deterministic", "decay": "deterministic"}, "two": {"dropout": "noise_12"}}
    shown = evidence(studies, VERDICTS)
    assert "| arm | study |" in pages.page(shown)
    assert "**dropout of one**" in pages.headline(shown)
    assert "**decay**" in pages.headline(shown)
    assert (
        "deterministic (1 forward pass) for baseline, dropout, decay; noise_12 (12 forward passes) for dropout"
        in overview.rules(shown)
    )


def test_cost_counts_the_passes_of_the_rule() -> None:
    text = overview.cost_table(evidence({"one": {"dropout": "deterministic", "decay": "noise_12"}}, VERDICTS))
    assert "| dropout | 1.23 G | 1.00 | 180 | 1 | 2.00 M | 3 |" in text
    assert "| decay | 1.23 G | 1.00 | 180 | 12 | 24.0 M | 3 |" in text


def test_parts_of_the_gap_that_are_exactly_zero_are_so_shown(found: frames.Evidence) -> None:
    row = next(line for line in overview.gap_table(found).splitlines() if line.startswith("| baseline"))
    assert re.fullmatch(r"\| baseline \| 3 \| 10\.1 \[9\.9, 10\.3\] \| 0 \| 0 \| 10\.1 \[9\.9, 10\.3\] \|", row)


def test_lost_runs_are_counted_once_however_many_studies_share_them(found: frames.Evidence) -> None:
    runs = pd.concat([found.runs, found.runs.assign(study="again")])
    assert sections.losses(runs) == ""
    runs.loc[runs["fingerprint"] == "baseline1000", "state"] = "diverged"
    assert "**1 run of 21 not done: 1 diverged.**" in sections.losses(runs)


def test_pairs_without_numbers_are_shown_as_unknown(found: frames.Evidence) -> None:
    numbers = ["baseline_mean", "arm_mean", "difference", "low", "high", "p", "p_holm", "detectable", "correlation"]
    void = found.contrasts.assign(n=0, verdict="inconclusive", **dict.fromkeys(numbers, NAN))
    text = pages.page(dataclasses.replace(found, contrasts=void))
    assert "**dropout** (no pair of runs)" in text
    assert "nan" not in text


def test_an_arm_with_another_budget_is_named(found: frames.Evidence) -> None:
    assert overview.budgets(found) == "Every arm took as many updates as the baseline."
    runs = found.runs.copy()
    early = runs["arm"] == "early"
    runs.loc[early, "updates"] = runs.loc[early, "updates"] * 0.5
    said = overview.budgets(dataclasses.replace(found, runs=runs))
    usual, fewer = (runs.loc[runs["arm"] == arm, "updates"].iloc[0] for arm in ("baseline", "early"))
    assert said.endswith(f"- **early** took {fewer:.0f} updates on average, 0.50 of the baseline's {usual:.0f}.")
    assert "**dropout**" not in said
