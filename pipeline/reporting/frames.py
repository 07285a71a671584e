"""The frames that pages and figures are made of, from plans, records, histories and scores.

Separate so that a page only spells what is here, and a figure only draws it. They follow the plan, so a
run without a record has its row too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from pipeline.comparison.intervals import LEVEL
from pipeline.config.plan import BASELINE, Plan, PlannedArm, PlannedRun, PlannedStudy
from pipeline.config.test_rules import DETERMINISTIC

STATES = ("done", "failed", "diverged", "missing")
GAPS = ("gap", "gap_noise", "gap_augmentation", "gap_observed")
TRIED = (
    *(
        "study",
        "arm",
        "strength",
        "n",
        "validation_accuracy",
        "validation_accuracy_low",
        "validation_accuracy_high",
    ),
    *("validation_nll", "chosen"),
)
SMALLEST_LOSS = 1e-12
COSTS = ("training_flops", "updates", "forward_flops")
RUN = ("phase", "study", "arm", "strength", "seed", "fingerprint", "state", "reason", *COSTS)
PASSES = ("study", "arm", "seed", "passes", "metric", "value")
Records = dict[str, dict[str, Any] | None]  # fingerprint -> record, None where there is none
Pair = tuple[
    tuple[str, ...], tuple[str, ...]
]  # fingerprints of an arm and of what it is compared with
Histories = dict[str, list[dict[str, Any]]]  # fingerprint -> rows of (epoch, split)


@dataclass(frozen=True)
class Evidence:
    """Everything a report says; each frame is described by the function that makes it.

    `contrasts`, `interactions`, `variance`, `published`, `ensembles`, `sizes` and `reliability` are the tables of those
    names; `tried` is the list of tried strengths in the choice; `test_use` tells how often the test set was opened; `data`
    is the summary of the prepared data. `runs` are those of compared arms, `members` those of groups, `draws` those in
    which one stream was moved.
    """

    exploration: Plan
    confirmation: Plan
    runs: pd.DataFrame
    members: pd.DataFrame
    draws: pd.DataFrame
    tried: pd.DataFrame
    contrasts: pd.DataFrame
    interactions: pd.DataFrame
    variance: pd.DataFrame
    published: pd.DataFrame
    outcomes: pd.DataFrame
    curves: pd.DataFrame
    audit: pd.DataFrame
    rules: pd.DataFrame
    passes: pd.DataFrame
    ensembles: pd.DataFrame
    sizes: pd.DataFrame
    reliability: pd.DataFrame
    test_use: Mapping[str, Any]
    data: Mapping[str, Any]

    def planned(self) -> pd.DataFrame:
        """Every planned run, of compared arms, of groups and of moved streams; one that stands for several is in it often."""
        frames = [frame[list(RUN)] for frame in (self.runs, self.members, self.draws) if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else self.runs

    def primary(self) -> pd.DataFrame:
        """The contrasts of the one metric that carries a verdict, best difference first, unknown ones last."""
        rows = self.contrasts[self.contrasts["metric"] == "test_accuracy"]
        return rows.sort_values(
            "difference", ascending=False, kind="stable", na_position="last"
        ).reset_index(drop=True)

    def ambiguous(self) -> bool:
        """Whether two studies use one arm name, so that a name alone does not say which is meant."""
        return bool(self.primary()["arm"].duplicated().any())

    def label(self, study: str, arm: str) -> str:
        """How an arm is called where its study is not plain, and what it is compared with if not with the baseline."""
        return self.named(study, arm) + self.against(study, arm)

    def named(self, study: str, arm: str) -> str:
        """An arm's name, with the study only if another study uses the name too."""
        shared = arm != BASELINE and (self.primary()["arm"] == arm).sum() > 1
        return f"{arm} of {study}" if shared else arm

    def against(self, study: str, arm: str) -> str:
        """What to add to an arm's name where it is not compared with the baseline but with another arm."""
        (other,) = [item.against for item in self._study(study).arms if item.name == arm]
        return "" if other == BASELINE else f" (against {other})"

    def _study(self, name: str) -> PlannedStudy:
        return next(study for study in self.confirmation.studies if study.name == name)

    def arms(self) -> list[tuple[str, PlannedArm]]:
        """The baseline once, under the first study, then every other arm with its study in the order of the plan."""
        pairs = [(study.name, arm) for study in self.confirmation.studies for arm in study.arms]
        return pairs[:1] + [(study, arm) for study, arm in pairs if arm.name != BASELINE]

    def twins(self) -> list[list[tuple[str, str]]]:
        """Every arm but the baseline as (study, arm); those that compare the same runs with the same runs stand together."""
        groups: dict[Pair, list[tuple[str, str]]] = {}
        for study, arm in self.arms()[1:]:
            groups.setdefault(self.pair(study, arm.name, arm.against), []).append((study, arm.name))
        return list(groups.values())

    def pair(self, study: str, arm: str, against: str) -> Pair:
        """The runs of an arm and those of `against`, an arm of its study or study.arm: equal for the same two sides.

        An arm without runs has its names in their place, so that it equals no other.
        """
        other, _, name = against.rpartition(".")
        return self._trained(study, arm) or (study, arm), self._trained(other or study, name)

    def _trained(self, study: str, arm: str) -> tuple[str, ...]:
        return tuple(
            run.fingerprint
            for run in self.confirmation.runs
            if (run.study, run.arm) == (study, arm)
        )

    def confirmed(self, study: str, arm: str) -> pd.DataFrame:
        """The outcomes of one arm's confirmation runs."""
        return _of(self.outcomes, study, arm)

    def baseline(self) -> pd.DataFrame:
        """The outcomes of the baseline, which all studies share."""
        return self.confirmed(self.confirmation.studies[0].name, BASELINE)


def _of(frame: pd.DataFrame, study: str, arm: str) -> pd.DataFrame:
    return frame[(frame["study"] == study) & (frame["arm"] == arm)]


def run_frame(plan: Plan, records: Records) -> pd.DataFrame:
    """One row per planned run of a compared arm: phase, study, arm, strength, seed, fingerprint, state, reason, cost."""
    return _with_records(plan.phase, plan.runs, records, RUN)


def member_frame(plan: Plan, records: Records) -> pd.DataFrame:
    """The same of every planned model of a group, with its number in the group, `member`."""
    return _with_records(plan.phase, plan.members, records, (*RUN, "member"))


def draw_frame(plan: Plan, records: Records) -> pd.DataFrame:
    """The same of every planned run in which one stream was moved, with its `stream` and number `draw`."""
    return _with_records(plan.phase, plan.draws, records, (*RUN, "stream", "draw"))


def _with_records(
    phase: str, runs: Iterable[PlannedRun], records: Records, columns: Iterable[str]
) -> pd.DataFrame:
    rows = []
    for run in runs:
        record = records.get(run.fingerprint) or {"state": "missing"}
        cost = {name: record.get("cost", {}).get(name, np.nan) for name in COSTS}
        rows.append(
            {
                "phase": phase,
                **run.model_dump(),
                "state": record["state"],
                "reason": record.get("reason", ""),
                **cost,
            }
        )
    return pd.DataFrame(rows, columns=list(columns)).astype(dict.fromkeys(COSTS, float))


def tally(runs: pd.DataFrame) -> dict[str, int]:
    """How many runs were planned and what became of them; a run that stands in many rows counts once."""
    once = runs.drop_duplicates("fingerprint")
    return {
        "planned": len(once),
        **{state: int((once["state"] == state).sum()) for state in STATES},
    }


def outcome_frame(plan: Plan, scores: pd.DataFrame) -> pd.DataFrame:
    """One row per planned run that was scored: test accuracy by the arm's own test rule, train accuracy, parts of the gap."""
    frame = pd.DataFrame([run.model_dump() for run in plan.runs])
    tested = scores[(scores["split"] == "test") & (scores["metric"] == "accuracy")]
    tested = tested[tested["rule"] == tested["fingerprint"].map(plan.rules())]
    frame["test_accuracy"] = frame["fingerprint"].map(tested.set_index("fingerprint")["value"])
    trained = scores[
        (scores["split"] == "train")
        & (scores["metric"] == "accuracy")
        & (scores["rule"] == DETERMINISTIC)
    ]
    frame["train_accuracy"] = (
        frame["fingerprint"].map(trained.set_index("fingerprint")["value"]).astype(float)
    )
    parts = scores[scores["split"] == "train_validation"].set_index(["metric", "fingerprint"])[
        "value"
    ]
    for name in GAPS:
        known = parts.loc[name] if name in parts.index.get_level_values(0) else {}
        frame[name] = frame["fingerprint"].map(known).astype(float)
    return frame.dropna(subset=["test_accuracy", "gap"]).reset_index(drop=True)


def curve_frame(runs: pd.DataFrame, histories: Histories) -> pd.DataFrame:
    """The mean curves of every arm over its done runs, with bands.

    Columns: study, arm, split, epoch, updates, n and, for accuracy and loss, mean, low and high. The mean of the loss
    is geometric, and its band that of the mean logarithm: losses spread over powers of ten.
    """
    done = runs[runs["state"] == "done"]
    keys = ["study", "arm", "split", "epoch", "updates"]
    rows = [
        {"study": study, "arm": arm, **row}
        for study, arm, name in zip(done["study"], done["arm"], done["fingerprint"], strict=True)
        for row in histories.get(name, [])
    ]
    frame = pd.DataFrame(rows, columns=[*keys, "accuracy", "loss"])
    frame["loss"] = np.log(frame["loss"].astype(float).clip(lower=SMALLEST_LOSS))
    accuracy, loss = (
        banded(frame, keys, name).rename(columns={"mean": name, **_bounds(name)})
        for name in ("accuracy", "loss")
    )
    sides = list(_bounds("accuracy").values())
    accuracy[sides] = accuracy[sides].clip(0, 1)
    columns = ["loss", *_bounds("loss").values()]
    loss[columns] = np.exp(loss[columns])
    return accuracy.merge(loss, on=[*keys, "n"])


def rule_frame(plan: Plan, scores: pd.DataFrame) -> pd.DataFrame:
    """The mean of every score under every test rule, declared or not, over each arm's scored runs.

    Columns: study, arm, rule, split, metric, n, mean, low, high.
    """
    runs = pd.DataFrame([run.model_dump() for run in plan.runs])[["study", "arm", "fingerprint"]]
    scored = runs.merge(scores[scores["split"].isin(("validation", "test"))], on="fingerprint")
    return banded(scored, ["study", "arm", "rule", "split", "metric"], "value")


def pass_frame(plan: Plan, passes: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The test scores of every compared run with noise by the number of noise passes averaged; 0 is deterministic.

    Columns: study, arm, seed, passes, metric, value. `passes` and `scores` are the tables of those names.
    """
    metrics, noisy = set(passes["metric"]), set(passes["fingerprint"])
    alone = scores[
        (scores["rule"] == DETERMINISTIC)
        & (scores["split"] == "test")
        & scores["metric"].isin(metrics)
    ]
    alone = alone[alone["fingerprint"].isin(noisy)].assign(passes=0)
    runs = pd.DataFrame([run.model_dump() for run in plan.runs])[
        ["study", "arm", "seed", "fingerprint"]
    ]
    both = pd.concat(
        [runs.merge(table[list(passes.columns)], on="fingerprint") for table in (alone, passes)],
        ignore_index=True,
    )
    return both[list(PASSES)].astype({"passes": int, "value": float})


def audit_frame(runs: pd.DataFrame, records: Records) -> pd.DataFrame:
    """What the regularizers of every arm did: the mean of each measure over its done runs, and their number."""
    rows = [
        {
            "study": study,
            "arm": arm,
            "regularizer": regularizer,
            "measure": measure,
            "value": float(value),
        }
        for study, arm, name in zip(runs["study"], runs["arm"], runs["fingerprint"], strict=True)
        for record in [records.get(name)]
        if record is not None and record["state"] == "done"
        for regularizer, measures in sorted(record.get("audit", {}).items())
        for measure, value in sorted(measures.items())
    ]
    keys = ["study", "arm", "regularizer", "measure"]
    return banded(pd.DataFrame(rows, columns=[*keys, "value"]), keys, "value")


def tried_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The tried strengths of the choice as a frame, a number that is None as NaN."""
    frame = pd.DataFrame(rows, columns=[*TRIED, *STATES])
    return frame.astype({name: float for name in TRIED if name.startswith("validation")})


def banded(frame: pd.DataFrame, by: Iterable[str], value: str) -> pd.DataFrame:
    """`n`, `mean`, `low` and `high` of `value` in every group: the Student-t interval of the mean, NaN where n < 2."""
    groups = (
        frame.groupby(list(by), sort=False)[value]
        .agg(n="count", mean="mean", spread="std")
        .reset_index()
    )
    freedom = np.maximum(groups["n"] - 1, 1)
    half = t.ppf(1 - LEVEL / 2, freedom) * groups["spread"] / np.sqrt(groups["n"])
    return groups.drop(columns="spread").assign(
        low=groups["mean"] - half, high=groups["mean"] + half
    )


def _bounds(name: str) -> dict[str, str]:
    return {"low": f"{name}_low", "high": f"{name}_high"}
