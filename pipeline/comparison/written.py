"""Recompute the contrasts of a written report from the scores of its seeds; find differences.

A report has the table `contrasts`, the scores of every seed and its margin and looks. They suffice
for all tests of a verdict, so that an edit of one of them contradicts the others.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy  # imports its parts on first use

from pipeline.comparison.collapses import loss_direction, mcnemar_p, rate_columns
from pipeline.comparison.intervals import Array
from pipeline.comparison.levels import COSTS, PRIMARY
from pipeline.comparison.significance import holm
from pipeline.comparison.verdicts import LOST_RUNS, Losses, conclude, judged_with_losses
from pipeline.comparison.weights import (
    look_equivalence,
    look_statistics,
    mean_over_seeds,
    p_at_last_look,
)
from pipeline.config.plan import BASELINE, PlannedLooks
from pipeline.records.reports import WrittenReport
from pipeline.records.tables import read_table

PLOTTED = (*("n", "difference", "low", "high", "verdict", "below_margin", "withheld"), *LOST_RUNS)
PRECISION = 1e-7  # tolerance of a fraction: tables have ten digits
NEAR = 1e-4  # tolerance of a p-value, which is less exact than its inputs
KEYS = ("study", "arm")
REFERENCE = "reference_"  # how columns of the scores of references begin

Row = Mapping[str, Any]


class WrittenContrasts:
    """The contrasts of a written report, as its front page has them.

    Attributes:
        distinct: The contrasts that carry a verdict and repeat no other, with `label`, best first.
        is_ambiguous: Whether studies share names of arms.
        margin: The margin of equivalence.
    """

    def __init__(self, contrasts: pd.DataFrame, written: WrittenReport) -> None:
        """Label the contrasts as the front page does.

        Args:
            contrasts: The table `contrasts` of the report.
            written: Its other tables and numbers.
        """
        self.contrasts = contrasts
        self.written = written
        self.margin = float(written.facts["margin"])
        looks = written.facts.get("looks")
        named = {name: tuple(values) for name, values in (looks or {}).items()}
        self.looks = PlannedLooks(**named) if looks else None
        self.references = {(row["study"], row["arm"]): row["reference"] for row in written.seeds}
        primary = contrasts[contrasts["metric"] == PRIMARY]
        self.planned = {
            (row["study"], row["arm"]): int(row["planned"]) for row in primary.to_dict("records")
        }
        self.primary = primary
        keys = list(zip(primary["study"], primary["arm"], strict=True))
        counts = Counter(arm for _, arm in keys)
        self.is_ambiguous = max(counts.values(), default=0) > 1
        labels = [
            (f"{arm} of {study}" if counts[arm] > 1 else arm) + self.against_words((study, arm))
            for study, arm in keys
        ]
        distinct = primary.assign(label=labels)
        distinct = distinct[~distinct["repeats"].astype(bool)]
        self.distinct = distinct.sort_values(
            "difference", ascending=False, kind="stable", na_position="last"
        ).reset_index(drop=True)

    def against_words(self, key: tuple[str, str]) -> str:
        """Return the words that name the reference of an arm; "" for the baseline.

        Args:
            key: The names of the study and of the arm.
        """
        reference = self.references.get(key, BASELINE)
        return "" if reference == BASELINE else f" (against {reference})"

    def contradictions(self) -> Iterator[str]:
        """Yield each contradiction to the scores of the seeds or to the p-values."""
        scores = pd.DataFrame(list(self.written.seeds))
        groups = dict(iter(scores.groupby(["study", "arm"], sort=False))) if len(scores) else {}
        for row in self.contrasts.to_dict("records"):
            runs = groups.get((row["study"], row["arm"]))
            if runs is not None and row["metric"] in runs:
                yield from self._of_seeds(row, runs)
        is_complete = groups.keys() >= {*zip(*(self.distinct[name] for name in KEYS), strict=True)}
        if is_complete and self.contrast_count() == len(self.distinct):
            yield from self._of_families(groups)
        for row in self.distinct.to_dict("records"):
            if {*_counts(row)} - {self.contrast_count()}:
                yield f"{row['label']}: low_all, high_all: not for all contrasts at once"
            yield from self._of_verdict(row)
            yield from self._of_plots(row)

    def _of_seeds(self, row: Row, runs: pd.DataFrame) -> Iterator[str]:
        """Yield the numbers of a contrast that do not follow from the scores of its seeds."""
        metric, name = row["metric"], f"{row['arm']}: {row['metric']}"
        at_looks, weights = self._pairs(runs, metric)
        values = at_looks[-1]
        lost = int((runs["diverged"] | runs["collapsed"]).sum())
        if (len(values), lost) != (row["n"], row["lost"]):
            yield (
                f"{name}: n {row['n']} and {row['lost']} lost, but {len(values)} and {lost} by "
                "seeds.csv"
            )
            return
        if not len(values):
            return
        reference, mean = values.mean(axis=0)
        looks = [mean_over_seeds(np.diff(some)[:, 0]) for some in at_looks]
        expected = look_statistics(looks, weights)
        if metric == PRIMARY:
            expected |= look_equivalence(looks, weights, self.margin)
            expected.pop("p_equivalence")  # p of the table is corrected over arms
        expected |= {"baseline_mean": reference, "arm_mean": mean, "difference": mean - reference}
        for column, value in expected.items():
            if not np.isclose(value, row[column], rtol=NEAR, atol=PRECISION, equal_nan=True):
                yield f"{name}: {column}: {row[column]:.6g}, but {value:.6g} by seeds.csv"

    def _pairs(self, runs: pd.DataFrame, metric: str) -> tuple[list[Array], Sequence[float]]:
        """Return the scores (n, 2) of reference and arm at every look, and their weights."""
        columns = [f"{REFERENCE}{metric}", metric]
        counts, weights = self._looks_had(len(runs))
        at_looks = []
        for count in counts:
            paired = runs[:count].loc[runs["paired"][:count].astype(bool), columns]
            values = paired.to_numpy(float)
            at_looks.append(values[np.isfinite(values).all(axis=1)])
        return at_looks, weights

    def _of_families(self, groups: Mapping[Any, pd.DataFrame]) -> Iterator[str]:
        """Yield the p-values that are not corrected over all contrasts of the report."""
        rows, computed = self.distinct.to_dict("records"), []
        for row in rows:
            at_looks, weights = self._pairs(groups[row["study"], row["arm"]], PRIMARY)
            looks = [mean_over_seeds(np.diff(some)[:, 0]) for some in at_looks]
            within = look_equivalence(looks, weights, self.margin)["p_equivalence"]
            computed.append((look_statistics(looks, weights)["p"], within))
        names = "p_holm", "p_equivalence"
        for name, p_values in zip(names, np.array(computed).reshape(-1, 2).T, strict=True):
            for row, p in zip(rows, holm(p_values), strict=True):
                if not np.isclose(p, row[name], rtol=NEAR, atol=PRECISION, equal_nan=True):
                    yield f"{row['label']}: {name}: {row[name]:.6g}, but {p:.6g} by seeds.csv"

    def _of_verdict(self, row: Row) -> Iterator[str]:
        losses = Losses(*(int(row[name]) for name in LOST_RUNS))
        concluded = conclude(row["difference"], row["p_holm"], row["p_equivalence"])
        judged = judged_with_losses(concluded, losses)
        implied = str(judged.verdict), judged.below_margin, judged.withheld
        if implied != (row["verdict"], bool(row["below_margin"]), bool(row["withheld"])):
            verdict = judged.verdict
            yield f"{row['label']}: {row['verdict']}, but {verdict} by its p-values and lost runs"

    def _of_plots(self, row: Row) -> Iterator[str]:
        names = {
            row["label"],
            row["arm"],
            row["arm"] + self.against_words((row["study"], row["arm"])),
        }
        plotted = [
            other
            for other in self.written.contrasts
            if other["study"] == row["study"] and other["arm"] in names
        ]
        if len(plotted) != 1:
            yield f"{row['label']}: not one row of plots/contrasts.csv"
            return
        for name in PLOTTED:
            if not _same(row[name], plotted[0].get(name)):
                yield f"{row['label']}: {name}: {row[name]}, not that of plots/contrasts.csv"

    def grouped(self) -> list[Row]:
        """Return the contrasts in the order of the front page's table."""
        rows = self.distinct.to_dict("records")
        against = [self.references.get((row["study"], row["arm"]), BASELINE) for row in rows]
        order = list(dict.fromkeys([BASELINE, *against]))
        places = sorted(range(len(rows)), key=lambda place: order.index(against[place]))
        return [rows[place] for place in places]

    def gap_and_costs(self, row: Row) -> tuple[Row | None, list[float]]:
        """Return the contrast of the gap of an arm, and its costs.

        Args:
            row: A row of `distinct`.

        Returns:
            The contrast, None if it is unknown; and the costs of training and of one test example,
            as multiples of the reference's, NaN if unknown.
        """
        of_arm = self.contrasts[self.contrasts["study"] == row["study"]]
        of_arm = of_arm[of_arm["arm"] == row["arm"]].set_index("metric")
        gap = of_arm.loc["gap"].to_dict() if "gap" in of_arm.index else None
        return gap, [of_arm["arm_mean"].get(name, nan) for name in COSTS]

    def seed_counts(self) -> list[int]:
        """Return the number of pairs of every contrast."""
        counts: list[int] = self.distinct["n"].astype(int).tolist()
        return counts

    def rates(self) -> pd.DataFrame:
        """Return the rates of lost runs of every arm, as in a report, with `label`."""
        rows = self.distinct.to_dict("records")
        weights = np.array([self._weight((row["study"], row["arm"])) for row in rows])
        p_values = np.array([_lost_p(row) for row in rows])
        adjusted = holm(p_at_last_look(p_values, weights))
        of_arms = {
            (row["study"], row["arm"]): _rate(row["label"], row, "", weight, p)
            for row, weight, p in zip(rows, weights, adjusted, strict=True)
        }
        primary = self.contrasts[self.contrasts["metric"] == PRIMARY]
        planned = list(zip(primary["study"], primary["arm"], strict=True))
        rates = [of_arms[key] for key in planned if key in of_arms]
        keys = [key for key in of_arms if self.references.get(key, BASELINE) == BASELINE]
        if keys:
            most = max(keys, key=lambda key: self.planned[key])
            row = next(row for row in rows if (row["study"], row["arm"]) == most)
            rates.insert(0, _rate(BASELINE, row, REFERENCE, self._weight(most), nan))
        return pd.DataFrame(rates)

    def _weight(self, key: tuple[str, str]) -> float:
        """Return the weight of the last look of an arm."""
        return self._looks_had(self.planned[key])[1][-1]

    def _looks_had(self, planned: int) -> tuple[Sequence[int], Sequence[float]]:
        """Return the seeds and the weights of the looks for which an arm has runs."""
        if self.looks is None:
            return (planned,), (1.0,)
        had = max(sum(count <= planned for count in self.looks.seeds), 1)
        return self.looks.seeds[:had], self.looks.weights[:had]

    def contrast_count(self) -> int:
        """Return the number of contrasts that the simultaneous intervals were computed for."""
        counts = (count for row in self.distinct.to_dict("records") for count in _counts(row))
        return next(counts, len(self.distinct))


def written_contrasts(path: Path, written: WrittenReport) -> WrittenContrasts:
    """Return the contrasts of a report.

    Args:
        path: The file of its table `contrasts`.
        written: Its other tables and numbers.

    Raises:
        Refusal: The table is missing.
    """
    return WrittenContrasts(read_table(path), written)


def _counts(row: Row) -> Iterator[int]:
    """Yield the number of contrasts that a simultaneous interval was computed for, once per end.

    This is the level of the single interval divided by the level of the simultaneous one. A check
    of written reports compares it with the number of contrasts.
    """
    error, freedom = row["seed_error"], row["n"] - 1
    if error > 0 and not isnan(row["low_all"]):
        for side in ("low", "high"):
            ends = [abs(row[name] - row["difference"]) / error for name in (side, f"{side}_all")]
            single, joint = (scipy.special.stdtr(freedom, -end) for end in ends)
            yield round(float(single / joint)) if joint > 0 else 0


def _lost_p(row: Row) -> float:
    """Return p of equal rates of lost runs; NaN if no seed has both runs."""
    if not row["both_ended"]:
        return nan
    return mcnemar_p(int(row["lost_alone"]), int(row["reference_lost_alone"]))


def _rate(label: str, row: Row, side: str, weight: float, p_holm: float) -> dict[str, Any]:
    """Return the rate of lost runs of an arm, as `collapse_sentences` takes it."""
    rate = rate_columns(int(row[f"{side}lost"]), 0, int(row[f"{side}ended"]), weight)
    shown = loss_direction(int(row["lost_alone"]), int(row["reference_lost_alone"]), p_holm)
    return {"label": label, **rate, "p_holm": p_holm, "often": shown}


def _same(one: Any, other: Any) -> bool:
    """Return whether two cells are equal; NaN equals NaN."""
    if isinstance(one, str) or isinstance(other, str) or other is None:
        return bool(one == other)
    return bool(one == other) or (isnan(one) and isnan(other))
