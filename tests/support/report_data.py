"""Report data made by hand: arms with the differences and verdicts that a test wants."""

import itertools
import math

import pandas as pd

from pipeline.comparison import arms as arm_tables
from pipeline.comparison import (
    claims,
    collapses,
    efficiency,
    equal_cost,
    flips,
    interactions,
    look_table,
    overtuning,
    recipe,
    seeds,
    transfer,
    variance,
)
from pipeline.comparison.bands import BAND
from pipeline.comparison.calibration import COLUMNS as BINS
from pipeline.comparison.correlations import gap_correlations
from pipeline.comparison.costs import costs
from pipeline.comparison.curves import curve_means
from pipeline.comparison.diagnosis import diagnosis
from pipeline.comparison.gains import GAIN, MEMBERS, PASSES
from pipeline.comparison.levels import COSTS
from pipeline.comparison.matching import Outcomes
from pipeline.comparison.norms import norm_means
from pipeline.comparison.rates import RANGES, WIDENED
from pipeline.comparison.rates import TRIED as RATES
from pipeline.comparison.references import COLUMNS as REFERENCES
from pipeline.comparison.resolution import resolution
from pipeline.comparison.search_tables import search_tables
from pipeline.comparison.targets import time_to_target, times
from pipeline.comparison.trust import trust
from pipeline.comparison.variance import standard_errors
from pipeline.comparison.verdicts import LOST_RUNS
from pipeline.config.plan import Factor, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.reporting.evidence import ReportData, run_frame, searches_frame, tried_frame

NAN = math.nan
RULES = {"deterministic": DETERMINISTIC, "noise_12": NOISE}
SEEDS = (1000, 1001, 1002)
COST = {"training_flops": 1_230_000_000, "updates": 180, "forward_flops": 2_000_000}
USE = {"phase": "confirmation", "runs": 9, "test_examples": 719, "validation_examples": 928}
DATA = {"development": 1078, "validation": 0, "notes": [], "shape": [1, 8, 8]}
SETTINGS = {
    "data": {"dataset": "digits", "train_size": 7},
    "model": {"name": "resnet"},
    "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.05},
}
VERDICTS = {
    "augmentation": (0.02, "helps"),
    "dropout": (0.01, "helps"),
    "smoothing": (0.004, "helps", True),
    "decay": (0.0, "equivalent"),
    "mixup": (-0.004, "inconclusive"),
    "early": (-0.03, "hurts"),
}
ERRORS = ("seed_error", "image_error", "total_error")
CONTRASTED = ("test_accuracy", "validation_accuracy", "test_nll", "gap", *COSTS)
Studies = dict[str, dict[str, str]]  # study -> arm -> test rule
Judged = tuple[float, str] | tuple[float, str, bool]  # difference, verdict, below the margin


def planned(phase: str, studies: Studies) -> Plan:
    """Return a plan with three runs of every arm; the baseline's are shared."""
    described, runs = [], []
    for study, rules in studies.items():
        arms = [PlannedArm(name="baseline")]
        arms += [
            PlannedArm(
                name=arm, factor=Factor(regularizers=(arm, "layers")), rule=RULES[rules[arm]]
            )
            for arm in rules
        ]
        question = f"Is {study} worth it?"
        described.append(PlannedStudy(name=study, question=question, arms=tuple(arms)))
        for arm in arms:
            shared = "" if arm.name == "baseline" else study
            for seed in SEEDS:
                key = {"study": study, "arm": arm.name, "seed": seed}
                runs.append(PlannedRun(**key, fingerprint=f"{shared}{arm.name}{seed}"))
    return Plan(
        protocol="tiny",
        phase=phase,
        settings=SETTINGS,
        margin=0.01,
        data_digest="d",
        studies=tuple(described),
        runs=tuple(runs),
    )


def report_data(studies: Studies, verdicts: dict[str, Judged]) -> ReportData:
    """Return data in which each arm has this difference and this verdict."""
    plan = planned("confirmation", studies)
    record = {"state": "done", "cost": COST, "files": {}, "audit": {}}
    records = dict.fromkeys(plan.fingerprints(), record)
    columns = ["fingerprint", "view", "members", "split", "metric", "value"]
    scores = pd.DataFrame(_scores(plan), columns=columns)
    outcomes = arm_tables.run_outcomes(plan, scores)
    history = [
        {"epoch": epoch, "updates": 3 * epoch, "split": split, "loss": 0.1, "accuracy": 0.9}
        for epoch in (1, 2)
        for split in ("train", "validation")
    ]
    contrasts = pd.DataFrame(_contrasts(studies, verdicts))
    between = _pairs(plan, contrasts)
    means = arm_tables.arm_means(outcomes, plan, records)
    histories = dict.fromkeys(records, history)
    of_runs = times(plan, histories, records)
    counted, rules = costs(plan, means, records), arm_tables.rule_means(plan, scores)
    references = pd.DataFrame(columns=list(REFERENCES))
    parts = pd.DataFrame(columns=["study", "arm", "better", *interactions.PART])
    checked = {"contrasts": contrasts, "parts": parts, "scores": scores, "references": references}
    return ReportData(
        confirmation=plan,
        exploration=planned("exploration", studies),
        runs=run_frame(plan, records),
        tried=tried_frame([]),
        searches=searches_frame([]),
        test_use=USE,
        data=DATA,
        contrasts=contrasts,
        collapses=collapses.collapses(plan, Outcomes(dict.fromkeys(records, "done"), {}, {})),
        parts=parts,
        pools=pd.DataFrame([("", "", NAN, NAN, NAN)], columns=list(variance.POOLS)),
        pairs=between,
        recipe=recipe.recipe(plan, contrasts, between),
        looks=pd.DataFrame(columns=list(look_table.COLUMNS)),
        seeds=pd.DataFrame(columns=list(seeds.COLUMNS)),
        interactions=pd.DataFrame(columns=list(interactions.COLUMNS)),
        claims=pd.DataFrame(columns=list(claims.COLUMNS)),
        variance=pd.DataFrame(columns=["study", *variance.COLUMNS]),
        standard_errors=standard_errors(contrasts),
        classes=pd.DataFrame(columns=list(flips.CLASSES)),
        flips=pd.DataFrame(columns=list(flips.FLIPS)),
        overtuning=pd.DataFrame(columns=list(overtuning.COLUMNS)),
        outcomes=outcomes,
        arms=means,
        costs=counted,
        rules=rules,
        audits=arm_tables.audit_means(plan, records),
        curves=curve_means(plan, histories),
        target_times=of_runs,
        targets=time_to_target(plan, of_runs),
        transfer=pd.DataFrame(columns=list(transfer.COLUMNS)),
        crossovers=pd.DataFrame(columns=list(transfer.CROSSOVERS)),
        transfer_gains=pd.DataFrame(columns=list(transfer.GAINS)),
        transfer_leads=pd.DataFrame(columns=list(transfer.LEADS)),
        **search_tables(plan, histories, scores),
        rate_trials=pd.DataFrame(columns=list(RATES)),
        rate_ranges=pd.DataFrame(columns=list(RANGES)),
        batch_norm_ranges=pd.DataFrame(columns=list(WIDENED)),
        norms=norm_means(plan, {}, ()),
        diagnosis=diagnosis(plan, outcomes),
        correlations=gap_correlations(outcomes),
        resolution=resolution(928, 0, 928 / 1078),
        pass_gains=pd.DataFrame(columns=[*PASSES, *BAND, *GAIN]),
        member_gains=pd.DataFrame(columns=[*MEMBERS, *BAND, *GAIN]),
        equal_cost=pd.DataFrame(columns=list(equal_cost.COLUMNS)),
        efficiency=efficiency.efficiency(
            plan, counted, rules, pd.DataFrame(columns=list(equal_cost.COLUMNS))
        ),
        calibration=pd.DataFrame(columns=list(BINS)),
        references=references,
        trust=trust(plan, records, histories, checked, []),
    )


def derived(data: ReportData, outcomes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables that follow from other outcomes, to replace those of `data`."""
    plan = data.confirmation
    means = arm_tables.arm_means(outcomes, plan, {})
    return {
        "outcomes": outcomes,
        "arms": means,
        "costs": costs(plan, means, {}),
        "diagnosis": diagnosis(plan, outcomes),
        "correlations": gap_correlations(outcomes),
    }


def _pairs(plan: Plan, contrasts: pd.DataFrame) -> pd.DataFrame:
    """Return the differences of the arms that help, none of them significant."""
    primary = contrasts[contrasts["metric"] == "test_accuracy"].set_index(["study", "arm"])
    keys = [arm.key for arm in recipe.helping_arms(plan, contrasts)]
    rows = []
    for other, arm in itertools.combinations(keys, 2):
        difference = primary.loc[arm, "difference"] - primary.loc[other, "difference"]
        bounds = {"low": difference - 0.02, "high": difference + 0.02, "p": 0.5, "p_holm": 1.0}
        names = dict(zip(recipe.PAIRS, (*arm, *other), strict=False))
        rows.append({**names, "n": 3, "difference": difference, **bounds})
    return pd.DataFrame(rows, columns=list(recipe.PAIRS))


def _scores(plan: Plan) -> list[tuple[str, str, int, str, str, float]]:
    rows = []
    for place, name in enumerate(plan.fingerprints()):
        rule = plan.rules()[name]
        tested = 0.9 - place % 3 / 100
        rows.append((name, rule.view, rule.members, "test", "accuracy", tested))
        rows.append((name, "deterministic", 1, "train", "accuracy", 0.99 - place / 1000))
        for part in arm_tables.PARTS:
            value = 0.1 + place / 1000 if part in ("gap", "gap_observed") else 0.0
            rows.append((name, "deterministic", 1, "train_validation", part, value))
    return rows


def _contrasts(studies: Studies, verdicts: dict[str, Judged]) -> list[dict[str, object]]:
    fixed = {
        **{"view": "deterministic", "members": 1, "n": 3, "baseline_mean": 0.9, "p": 0.01},
        **{"p_sign_flip": 0.25, "detectable": 0.0123, "seeds_needed": 1234.0, "correlation": 0.5},
        **{"seeds_needed_low": 900.0, "seeds_needed_high": math.inf},
        **{"unpaired": 0, "other_machine": 0, "lost_pairs": 0, "withheld": False},
        **dict(zip(LOST_RUNS, (0, 3, 0, 0, 3, 0, 3), strict=True)),
        **{"planned": 3, "done": 3, "failed": 0, "diverged": 0, "missing": 0},
    }
    rows = []
    for study, arms in studies.items():
        for arm in arms:
            shift, verdict, *below = verdicts[arm]
            for metric in CONTRASTED:
                primary = metric == "test_accuracy"
                row = {"study": study, "arm": arm, "setting": {}, "metric": metric, **fixed}
                row |= {"arm_mean": 0.9 + shift, "difference": shift}
                row |= {"low": shift - 0.005, "high": shift + 0.005}
                row |= {"low_90": shift - 0.004, "high_90": shift + 0.004}
                row |= {"low_all": shift - 0.008, "high_all": shift + 0.008}
                row |= {"low_images": shift - 0.012, "high_images": shift + 0.012}
                row |= {"detectable_low": 0.0082, "detectable_high": 0.0377}
                if metric in COSTS:
                    row |= {"baseline_mean": 1.0, "arm_mean": 1.0, "difference": 0.0}
                row["excludes_zero"] = abs(shift) > 0.005
                corrected = 0.02 if primary else 0.02 if abs(shift) > 0.008 else 0.5
                row |= {"p_holm": corrected if metric in ("test_accuracy", "gap") else NAN}
                row |= {"verdict": verdict if primary else ""}
                row |= {"verdict_other_images": row["verdict"], "repeats": False}
                errors = (0.002, 0.005, 0.006) if primary else (NAN, NAN, NAN)
                row |= dict(zip(ERRORS, errors, strict=True))
                row["below_margin"] = primary and any(below)
                rows.append(row)
    return rows
