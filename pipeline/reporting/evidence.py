"""Collect what a report reads: plans, runs and the tables of the stages before it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import nan
from typing import Any

import pandas as pd

from pipeline.comparison.bands import BAND
from pipeline.comparison.explored import GAIN, SEARCHES, TRIED, VALIDATION
from pipeline.comparison.levels import COSTS, LEVEL, PRIMARY
from pipeline.comparison.verdicts import Verdict
from pipeline.config.claims import INDEPENDENT, SINGLE
from pipeline.config.plan import BASELINE, TUNING, Plan, PlannedArm
from pipeline.config.run import RunConfig
from pipeline.data.arrays import is_row
from pipeline.evaluation.methods import ALL_ARMS, GREEDY
from pipeline.records.runs import STATES
from pipeline.records.tables import rows_of
from pipeline.reporting.markdown import Formatter

RUN = (
    *("phase", "study", "arm", "setting", "seed", "fingerprint", "state", "reason"),
    *("member", "stream", "draw"),
)
METHODS = (SINGLE, INDEPENDENT, "snapshots", ALL_ARMS, GREEDY)  # with reliability
MOST = 40  # contrasts in the forest plot
FINE = 0.002  # half an interval, a fraction; below it one decimal of a percent hides the result

Key = tuple[str, str]  # study, arm
Pair = tuple[tuple[str, ...], tuple[str, ...]]  # fingerprints of an arm and of its reference
Records = dict[str, dict[str, Any] | None]  # fingerprint -> record, None if there is none


@dataclass(frozen=True)
class ReportData:
    """Everything in a report. The fields from `contrasts` on are the tables of `compare`.

    Attributes:
        exploration: Its plan, with the spaces that arms search.
        runs: All planned runs, a row for each row of the plans.
        tried: The settings in the choice, as mappings.
        searches: A row for each searched arm: whether its search was a fair one.
        test_use: How often the test set was opened.
        data: The summary of the prepared data.
        starts: The settings of the confirmation runs that others start from, by fingerprint.
        openings: The plans under which the test set was opened, as the ledger has them.
        alone: Whether it is a report of only some studies, beside the report of the protocol.
        pictures: The test images (channels, height, width) that figures show, by number; fractions
            in [0, 1] or bytes.
    """

    confirmation: Plan
    exploration: Plan
    runs: pd.DataFrame
    tried: pd.DataFrame
    searches: pd.DataFrame
    test_use: Mapping[str, Any]
    data: Mapping[str, Any]
    contrasts: pd.DataFrame
    collapses: pd.DataFrame
    parts: pd.DataFrame
    pools: pd.DataFrame
    pairs: pd.DataFrame
    recipe: pd.DataFrame
    looks: pd.DataFrame
    seeds: pd.DataFrame
    interactions: pd.DataFrame
    claims: pd.DataFrame
    variance: pd.DataFrame
    standard_errors: pd.DataFrame
    classes: pd.DataFrame
    flips: pd.DataFrame
    overtuning: pd.DataFrame
    outcomes: pd.DataFrame
    arms: pd.DataFrame
    costs: pd.DataFrame
    rules: pd.DataFrame
    audits: pd.DataFrame
    curves: pd.DataFrame
    target_times: pd.DataFrame
    targets: pd.DataFrame
    transfer: pd.DataFrame
    crossovers: pd.DataFrame
    transfer_gains: pd.DataFrame
    transfer_leads: pd.DataFrame
    search_points: pd.DataFrame
    search_curves: pd.DataFrame
    search_methods: pd.DataFrame
    search_importance: pd.DataFrame
    search_responses: pd.DataFrame
    search_ends: pd.DataFrame
    search_surface: pd.DataFrame
    search_shifts: pd.DataFrame
    search_scales: pd.DataFrame
    tuning_budget: pd.DataFrame
    rate_trials: pd.DataFrame
    rate_ranges: pd.DataFrame
    batch_norm_ranges: pd.DataFrame
    norms: pd.DataFrame
    diagnosis: pd.DataFrame
    correlations: pd.DataFrame
    resolution: pd.DataFrame
    pass_gains: pd.DataFrame
    member_gains: pd.DataFrame
    equal_cost: pd.DataFrame
    efficiency: pd.DataFrame
    calibration: pd.DataFrame
    references: pd.DataFrame
    trust: pd.DataFrame
    starts: Mapping[str, RunConfig] = field(default_factory=dict)
    openings: Sequence[Mapping[str, Any]] = ()
    alone: bool = False
    pictures: Mapping[int, Any] = field(default_factory=dict)

    @property
    def is_table(self) -> bool:
        """Return whether examples are rows of a table."""
        return is_row(tuple(self.data["shape"]))

    def class_name(self, label: int) -> str:
        """Return the number of a class, with its name unless this is also a number.

        Args:
            label: The number of the class.
        """
        names = self.data.get("class_names", ())
        name = names[label] if names else str(label)
        return name if name.isdecimal() else f"{label}: {name}"

    @cached_property
    def primary(self) -> pd.DataFrame:
        """Return the contrasts that carry a verdict, best difference first, unknown ones last."""
        rows = self.contrasts[self.contrasts["metric"] == PRIMARY].sort_values(
            "difference", ascending=False, kind="stable", na_position="last"
        )
        return self.labelled(rows).reset_index(drop=True)

    @cached_property
    def distinct(self) -> pd.DataFrame:
        """Return the rows of `primary`, without repeated comparisons of the same runs."""
        return self.primary[~self.primary["repeats"]].reset_index(drop=True)

    @property
    def contrast_count(self) -> int:
        """Return the number of contrasts in one correction: arms, and pairs with better parts."""
        return len(self.distinct) + self.pair_count

    @property
    def pair_count(self) -> int:
        """Return the number of pairs that are compared with their better parts."""
        return len(self.parts[~self.parts["repeats"].astype(bool)])

    @cached_property
    def rates(self) -> pd.DataFrame:
        """Return the rates of lost runs of every arm, each comparison once, with `label`."""
        return self.labelled(self.collapses[~self.collapses["repeats"].astype(bool)])

    @cached_property
    def ties(self) -> dict[str, list[str]]:
        """Return, for each arm that helps, the arms without a significant difference, by label."""
        tied: dict[str, list[str]] = {}
        for row in rows_of(self.pairs):
            if not row["p_holm"] < LEVEL:
                first = self.label(row["study"], row["arm"])
                second = self.label(row["other_study"], row["other"])
                tied.setdefault(first, []).append(second)
                tied.setdefault(second, []).append(first)
        return tied

    @cached_property
    def gap_contrasts(self) -> dict[Key, Mapping[str, Any]]:
        """Return the contrast of the gap of every arm."""
        rows = rows_of(self.contrasts[self.contrasts["metric"] == "gap"])
        return {(row["study"], row["arm"]): row for row in rows}

    @cached_property
    def cost_ratios(self) -> dict[Key, tuple[float, float]]:
        """Return the costs of training and of one test example, as multiples of the reference's."""
        rows = self.contrasts[self.contrasts["metric"].isin(COSTS)]
        means = rows.pivot(index=["study", "arm"], columns="metric", values="arm_mean")
        means = means.reindex(columns=list(COSTS))
        return dict(zip(means.index, means.itertuples(index=False, name=None), strict=True))

    @cached_property
    def grouped(self) -> pd.DataFrame:
        """Return the rows of `distinct`, arms with the same reference together, with `against`.

        Arms against the baseline come first; inside a group the best difference is first.
        """
        keys = zip(self.distinct["study"], self.distinct["arm"], strict=True)
        rows = self.distinct.assign(against=[self._references[key] for key in keys])
        references = list(dict.fromkeys([BASELINE, *rows["against"]]))
        order = rows["against"].map(references.index).sort_values(kind="stable").index
        return rows.loc[order].reset_index(drop=True)

    @cached_property
    def decided(self) -> list[Key]:
        """Return the arms that help or hurt, the largest difference first."""
        rows = self.distinct[self.distinct["verdict"].isin((Verdict.HELPS, Verdict.HURTS))]
        order = rows["difference"].abs().sort_values(ascending=False, kind="stable").index
        rows = rows.loc[order]
        return list(zip(rows["study"], rows["arm"], strict=True))

    @cached_property
    def format(self) -> Formatter:
        """Return the format of scores: one decimal of a percent, two if intervals are narrow."""
        rows = self.contrasts[self.contrasts["metric"] == PRIMARY]
        return Formatter(decimals(rows))

    @cached_property
    def ambiguous(self) -> frozenset[str]:
        """Return the names that arms of several studies share."""
        counts = Counter(arm.name for _, arm in self.planned_arms[1:])
        return frozenset(name for name, count in counts.items() if count > 1)

    @cached_property
    def planned_arms(self) -> list[tuple[str, PlannedArm]]:
        """Return the baseline once, under the first study, then all other arms in their order."""
        studies = self.confirmation.studies_of("comparison")
        pairs = [(study.name, arm) for study in studies for arm in study.arms]
        return pairs[:1] + [(study, arm) for study, arm in pairs if arm.name != BASELINE]

    @cached_property
    def arms_by_runs(self) -> list[list[Key]]:
        """Return all arms but the baseline, in one list for each pair of compared runs."""
        groups: dict[Pair, list[Key]] = {}
        for study, arm in self.planned_arms[1:]:
            groups.setdefault(self.pair((study, arm.name), (study, arm.against)), []).append(
                (study, arm.name)
            )
        return list(groups.values())

    @property
    def margin_of_errors(self) -> float:
        """Return the margin as a share of the baseline's test errors; NaN if it has none."""
        error = 1 - self.baseline("test_accuracy")["mean"]
        return self.confirmation.margin / error if error > 0 else nan

    @cached_property
    def failed_checks(self) -> frozenset[str]:
        """Return the trust checks that failed."""
        return frozenset(self.trust.loc[~self.trust["passed"], "check"])

    def trials(self, study: str, arm: str) -> int:
        """Return the number of settings tried for an arm; for the baseline, in its tuning.

        Args:
            study: The name of the study.
            arm: The name of the arm.
        """
        place = (TUNING, BASELINE) if arm == BASELINE else (study, arm)
        return self._trials.get(place, 1)

    def trials_cell(self, study: str, arm: str) -> dict[str, str]:
        """Return a column with the trials of an arm if arms of its study search learning rates.

        Args:
            study: The name of the study.
            arm: The name of the arm.
        """
        shown = study in set(self.rate_ranges["study"])
        return {"trials": str(self.trials(study, arm))} if shown else {}

    def label(self, study: str, arm: str) -> str:
        """Return the name of an arm, with its study and its reference if they are not plain.

        Args:
            study: The name of the study.
            arm: The name of the arm.
        """
        return self.named(study, arm) + self.reference(study, arm)

    def named(self, study: str, arm: str) -> str:
        """Return the name of an arm, with the study if another study uses the name too.

        Args:
            study: The name of the study.
            arm: The name of the arm.
        """
        return f"{arm} of {study}" if arm in self.ambiguous else arm

    def reference(self, study: str, arm: str) -> str:
        """Return the addition to the name of an arm that is not compared with the baseline.

        Args:
            study: The name of the study.
            arm: The name of the arm.
        """
        other = self._references[study, arm]
        return "" if other == BASELINE else f" (against {other})"

    def against(self, study: str, arm: str) -> str:
        """Return the name of the arm that an arm is compared with.

        Args:
            study: The name of the study.
            arm: The name of the arm.
        """
        return self.named(study, self._references[study, arm])

    def labelled(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `frame` with the label of their arm, the shared baseline once.

        Args:
            frame: A table with the columns study and arm.
        """
        labels = {
            (study, arm.name): self.label(study, arm.name) for study, arm in self.planned_arms
        }
        arm_labels = [labels.get(key) for key in zip(frame["study"], frame["arm"], strict=True)]
        return frame.assign(label=arm_labels).dropna(subset=["label"])

    def is_its_reference(self, study: str, arm: str) -> bool:
        """Return whether an arm has the runs of the arm that it is compared with.

        Args:
            study: The name of the study.
            arm: The name of the arm.
        """
        runs, reference = self.pair((study, arm), (study, self._references[study, arm]))
        return runs == reference

    def pair(self, arm: Key, against: Key) -> Pair:
        """Return the runs of an arm and of the arm it is compared with.

        An arm without runs has its names instead, so that it equals no other.

        Args:
            arm: Study and name of the arm.
            against: Study and name of its reference.
        """
        return self._fingerprints.get(arm, arm), self._fingerprints.get(against, ())

    def outcome(self, study: str, arm: str, metric: str) -> Mapping[str, float]:
        """Return n, mean, low and high of an outcome or cost of an arm; n = 0 if it has none.

        Args:
            study: The name of the study.
            arm: The name of the arm.
            metric: A metric of the table `arms`.
        """
        empty = {"n": 0, **dict.fromkeys(BAND[1:], float("nan"))}
        return self._means.get((study, arm, metric), empty)

    def baseline(self, metric: str) -> Mapping[str, float]:
        """Return n, mean, low and high of an outcome of the baseline, which all studies share.

        Args:
            metric: A metric of the table `arms`.
        """
        return self.outcome(self.planned_arms[0][0], BASELINE, metric)

    @cached_property
    def _trials(self) -> dict[Key, int]:
        rows = rows_of(self.searches)
        return {(row["study"], row["arm"]): row["trials"] for row in rows}

    @cached_property
    def _references(self) -> dict[Key, str]:
        studies = self.confirmation.studies
        return {(study.name, arm.name): arm.against for study in studies for arm in study.arms}

    @cached_property
    def _fingerprints(self) -> dict[Key, tuple[str, ...]]:
        fingerprints: dict[Key, tuple[str, ...]] = {}
        for run in self.confirmation.runs:
            key = run.study, run.arm
            fingerprints[key] = (*fingerprints.get(key, ()), run.fingerprint)
        return fingerprints

    @cached_property
    def _means(self) -> dict[tuple[str, str, str], Mapping[str, float]]:
        rows = rows_of(self.arms)
        return {(row["study"], row["arm"], row["metric"]): row for row in rows}


NO_TABLES = (  # of `compare`
    *(
        "confirmation",
        "exploration",
        "runs",
        "tried",
        "searches",
        "test_use",
        "data",
        "starts",
        "openings",
        "alone",
        "pictures",
    ),
)
TABLES = tuple(field.name for field in fields(ReportData) if field.name not in NO_TABLES)


def of(frame: pd.DataFrame, study: str) -> pd.DataFrame:
    """Return the rows of one study.

    Args:
        frame: A table with the column study.
        study: The name of the study.
    """
    return frame[frame["study"] == study]


def decimals(contrasts: pd.DataFrame) -> int:
    """Return the decimals of percentages in a report: one, or two if intervals are narrow.

    Args:
        contrasts: Rows with `low` and `high`, as fractions.
    """
    half = ((contrasts["high"] - contrasts["low"]) / 2).median()
    return 2 if half < FINE else 1


def run_frame(plan: Plan, records: Records) -> pd.DataFrame:
    """Return one row per row of a plan, with the columns `RUN`.

    Args:
        plan: The plan of a phase.
        records: Its records, by fingerprint.
    """
    rows = []
    for run in plan.runs:
        record = records.get(run.fingerprint) or {"state": "missing"}
        state = {"state": record["state"], "reason": record.get("reason", "")}
        rows.append({"phase": plan.phase, **run.model_dump(), **state})
    return pd.DataFrame(rows, columns=list(RUN))


def searches_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the table of searches from the rows of `choice.json`; None becomes NaN.

    Args:
        rows: The rows of searches in `choice.json`.
    """
    return pd.DataFrame(rows, columns=list(SEARCHES)).astype(dict.fromkeys(GAIN, float))


def tried_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the settings tried with whole schedules, from `choice.json`; None becomes NaN.

    Args:
        rows: The rows of settings in `choice.json`.
    """
    numbers = dict.fromkeys((*VALIDATION, "change"), float)
    whole = [row for row in rows if row["budget"] == 1]
    return pd.DataFrame(whole, columns=list(TRIED)).astype(numbers)


def count_states(runs: pd.DataFrame) -> dict[str, int]:
    """Return the number of planned runs and the number in each state, each run once."""
    ends = dict(zip(runs["fingerprint"], runs["state"], strict=True))
    counts = Counter(ends.values())
    return {"planned": len(ends), **{state: counts[state] for state in STATES}}
