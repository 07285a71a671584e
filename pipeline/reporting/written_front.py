"""Find what a written front page says that is not in the tables committed with it.

The texts are made again from these tables by the functions that write the page, so every number and
verdict of its answer and of its table of arms is compared, without the artifacts of the report.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy  # imports its parts on first use

from pipeline.comparison.collapses import mcnemar_p, often, rate_columns
from pipeline.comparison.intervals import Array
from pipeline.comparison.levels import COSTS, PRIMARY
from pipeline.comparison.looks import look_equivalence, look_statistics, mean_over_seeds
from pipeline.comparison.significance import holm
from pipeline.comparison.verdicts import LOST_RUNS, Losses, Verdict, conclude, judged_with_losses
from pipeline.comparison.weights import of_last_look
from pipeline.config.plan import BASELINE, PlannedLooks
from pipeline.records.reports import WrittenReport
from pipeline.records.tables import read_table
from pipeline.reporting import markdown as md
from pipeline.reporting.collapse_sentences import collapse_sentences
from pipeline.reporting.evidence import decimals
from pipeline.reporting.front_cells import ARM, contrast_cells, seeds_words
from pipeline.reporting.verdict_sentences import (
    AMONG_BEST,
    NO_HELP,
    detectable_note,
    verdict_sentences,
)

CLASSIFIERS = r"(?:, | and )?(?:majority class|1-nearest neighbour|logistic regression)"
EPOCHS = re.compile(r"(\d+) epochs?\b")
CONDITIONS = (
    r"(?:,| and) \d+ epochs?(?: \(too few for \d+ arms?\))?"
    r"(?:(?:,| and) (?:these test examples|an untuned baseline))*, (?:among the values tried, )?"
)
BASELINE_WORDS = (
    r" The baseline reaches (?P<accuracy>[\d.]+) % test accuracy"
    r"(?: \(the mean of all its runs, also of those that collapsed\))? with a gap of "
    r"(?P<gap>-?[\d.]+) points between train and validation accuracy"
    rf"(?:, and is not shown to be above (?:{CLASSIFIERS})+ in validation accuracy)?\. "
)
PLOTTED = (*("n", "difference", "low", "high", "verdict", "below_margin", "withheld"), *LOST_RUNS)
FUTILE = "futile"
STUDY, SEEDS = "study", "seeds"
ROUNDED = 0.0051  # percent: metrics.json has two decimals
PRECISION = 1e-7  # of a fraction: tables have ten digits
NEAR = 1e-4  # of a p-value, which is less exact than what it is computed from
KEYS = ("study", "arm")
REFERENCE = "reference_"  # how columns of the scores of references begin


def front_differences(
    front: str, contrasts: Path, written: WrittenReport, epochs: int | None
) -> Iterator[tuple[str, str]]:
    """Yield the file and the words for everything that the tables of a report contradict.

    Args:
        front: The text of the front page.
        contrasts: The file of the table `contrasts` of the report.
        written: Its other tables and numbers.
        epochs: Those of its plan, None where it is not known.
    """
    tables = WrittenTables(read_table(contrasts), written)
    yield from (("contrasts.csv", words) for words in tables.contradictions())
    header, rows = arm_table(front)
    yield from (("report.md", words) for words in tables.table_differences(header, rows))
    answer = next((line for line in front.splitlines()[1:] if line), "")
    yield from (("report.md", words) for words in tables.answer_differences(answer, header, rows))
    shown = EPOCHS.search(answer)
    if shown and epochs is not None and int(shown[1]) != epochs:
        yield "report.md", f"the answer has {shown[0]}, the ledger {epochs}"


def arm_table(front: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of the table of arms, empty where there is none."""
    header: list[str] = []
    rows: list[dict[str, str]] = []
    for line in front.splitlines():
        cells = [cell.strip(" ") for cell in line.strip().strip("|").split(" | ")]
        if not header and line.startswith(f"| {ARM} |"):
            header = cells
        elif header and not line.startswith("|"):
            break
        elif header and not line.startswith("| ---"):
            rows.append(dict(zip(header, cells, strict=False)))
    return header, rows


class WrittenTables:
    """The contrasts of a written report as its front page has them."""

    def __init__(self, contrasts: pd.DataFrame, written: WrittenReport) -> None:
        """Label the contrasts as the front page does."""
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
        self.format = md.Formatter(decimals(primary))
        keys = list(zip(primary["study"], primary["arm"], strict=True))
        counts = Counter(arm for _, arm in keys)
        self.is_ambiguous = max(counts.values(), default=0) > 1
        labels = [
            (f"{arm} of {study}" if counts[arm] > 1 else arm) + self._against((study, arm))
            for study, arm in keys
        ]
        distinct = primary.assign(label=labels)
        distinct = distinct[~distinct["repeats"].astype(bool)]
        self.distinct = distinct.sort_values(
            "difference", ascending=False, kind="stable", na_position="last"
        ).reset_index(drop=True)

    def _against(self, key: tuple[str, str]) -> str:
        reference = self.references.get(key, BASELINE)
        return "" if reference == BASELINE else f" (against {reference})"

    def contradictions(self) -> Iterator[str]:
        """Yield what contradicts the scores of every seed, or the verdict that p-values give."""
        scores = pd.DataFrame(list(self.written.seeds))
        groups = dict(iter(scores.groupby(["study", "arm"], sort=False))) if len(scores) else {}
        for row in self.contrasts.to_dict("records"):
            runs = groups.get((row["study"], row["arm"]))
            if runs is not None and row["metric"] in runs:
                yield from self._of_seeds(row, runs)
        known = groups.keys() >= {*zip(*(self.distinct[name] for name in KEYS), strict=True)}
        if known and self._contrast_count() == len(self.distinct):
            yield from self._of_families(groups)
        for row in self.distinct.to_dict("records"):
            if {*_counts(row)} - {self._contrast_count()}:
                yield f"{row['label']}: low_all, high_all: not for all contrasts at once"
            yield from self._of_verdict(row)
            yield from self._of_plots(row)

    def _of_seeds(self, row: md.Row, runs: pd.DataFrame) -> Iterator[str]:
        """Yield the numbers of a contrast that are not those of the scores of its seeds."""
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
        found = look_statistics(looks, weights)
        if metric == PRIMARY:
            found |= look_equivalence(looks, weights, self.margin)
            found.pop("p_equivalence")  # that of the table is corrected over arms
        found |= {"baseline_mean": reference, "arm_mean": mean, "difference": mean - reference}
        for column, value in found.items():
            if not np.isclose(value, row[column], rtol=NEAR, atol=PRECISION, equal_nan=True):
                yield f"{name}: {column}: {row[column]:.6g}, but {value:.6g} by seeds.csv"

    def _pairs(self, runs: pd.DataFrame, metric: str) -> tuple[list[Array], Sequence[float]]:
        """Return the scores (n, 2) of reference and arm at every look, and their weights."""
        columns = [f"{REFERENCE}{metric}", metric]
        counts, weights = self._looks_had(len(runs))
        found = []
        for count in counts:
            paired = runs[:count].loc[runs["paired"][:count].astype(bool), columns]
            values = paired.to_numpy(float)
            found.append(values[np.isfinite(values).all(axis=1)])
        return found, weights

    def _of_families(self, groups: Mapping[Any, pd.DataFrame]) -> Iterator[str]:
        """Yield the p-values that are not corrected over all contrasts of the report."""
        rows, found = self.distinct.to_dict("records"), []
        for row in rows:
            at_looks, weights = self._pairs(groups[row["study"], row["arm"]], PRIMARY)
            looks = [mean_over_seeds(np.diff(some)[:, 0]) for some in at_looks]
            within = look_equivalence(looks, weights, self.margin)["p_equivalence"]
            found.append((look_statistics(looks, weights)["p"], within))
        names = "p_holm", "p_equivalence"
        for name, p_values in zip(names, np.array(found).reshape(-1, 2).T, strict=True):
            for row, p in zip(rows, holm(p_values), strict=True):
                if not np.isclose(p, row[name], rtol=NEAR, atol=PRECISION, equal_nan=True):
                    yield f"{row['label']}: {name}: {row[name]:.6g}, but {p:.6g} by seeds.csv"

    def _of_verdict(self, row: md.Row) -> Iterator[str]:
        losses = Losses(*(int(row[name]) for name in LOST_RUNS))
        concluded = conclude(row["difference"], row["p_holm"], row["p_equivalence"])
        judged = judged_with_losses(concluded, losses)
        found = str(judged.verdict), judged.below_margin, judged.withheld
        if found != (row["verdict"], bool(row["below_margin"]), bool(row["withheld"])):
            yield f"{row['label']}: {row['verdict']}, but {found[0]} by its p-values and lost runs"

    def _of_plots(self, row: md.Row) -> Iterator[str]:
        names = {row["label"], row["arm"], row["arm"] + self._against((row["study"], row["arm"]))}
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

    def table_differences(
        self, header: Sequence[str], rows: Sequence[Mapping[str, str]]
    ) -> Iterator[str]:
        """Yield the cells of the table of arms that are not those of the contrasts."""
        expected = [self._cells(row) for row in self._grouped()]
        if expected and not {*expected[0]} <= {*header}:
            yield "the table of arms has not the columns of a report"
            return
        shown = {(row.get(STUDY, ""), row[ARM]) for row in rows}
        wanted = {(row.get(STUDY, ""), row[ARM]) for row in expected}
        if shown != wanted or len(rows) != len(expected):
            other = sorted(name for _, name in shown ^ wanted)
            yield f"the table has not the arms of contrasts.csv: {', '.join(other) or 'repeated'}"
            return
        for found, cells in zip(rows, expected, strict=True):
            for name, cell in cells.items():
                if found.get(name) != cell:
                    was = found.get(name, "").replace("\u00a0", " ")
                    now = cell.replace("\u00a0", " ")
                    yield f"the table has {was}, not {now} ({name}, {cells[ARM]})"
        for found, row in zip(rows, self._grouped(), strict=True):
            if SEEDS in found and found[SEEDS].partition(":")[0] != str(row["n"]):
                yield f"the table has {found[SEEDS]}, not {row['n']} (seeds, {row['label']})"

    def answer_differences(
        self, answer: str, header: Sequence[str], rows: Sequence[Mapping[str, str]]
    ) -> Iterator[str]:
        """Yield what the first sentences have besides what the contrasts say, or lack."""
        has_looks = SEEDS in header
        futile = sum(row.get(SEEDS, "").endswith(FUTILE) for row in rows) if has_looks else None
        counts = self.distinct["n"].astype(int).tolist()
        if not counts:
            return
        start = re.escape(f"With {seeds_words(min(counts), max(counts), futile)}")
        findings = [*self._findings(), *self._collapses()]
        contrasts = md.format_count(self._contrast_count(), "contrast")
        looks = r"(?:, corrected for \d+ looks?, at [\d, and]+ seeds)?" if has_looks else ""
        note = re.escape(
            f"(Points of test accuracy, {md.INTERVAL}s that hold for all {contrasts} at once"
        )
        note += rf"{looks}\.{re.escape(detectable_note(self.distinct))}\)"
        whole = re.compile(f"{start}{CONDITIONS}{' '.join(findings)}{BASELINE_WORDS}{note}")
        found = whole.fullmatch(answer)
        if not found:
            parts = [start, *findings, note]
            missing = next((part for part in parts if not re.search(part, answer)), "")
            shown = re.sub(r"\\(.)", r"\1", missing.partition("(?")[0])
            yield f"the answer lacks: {shown}" if shown else "the answer has other words"
            return
        for name in ("accuracy", "gap"):
            known = self.written.metrics["baseline"][name]
            half = 0.51 * 10.0**-self.format.decimals
            if known is not None and abs(float(found[name]) - known) > half + ROUNDED:
                yield f"the answer has {name} {found[name]} of the baseline, metrics.json {known}"

    def _findings(self) -> Iterator[str]:
        """Yield a pattern for every sentence about arms."""
        if not (self.distinct["verdict"] == Verdict.HELPS).any():
            yield re.escape(NO_HELP)
        helping = self.distinct.loc[self.distinct["verdict"] == Verdict.HELPS, "label"]
        name = rf"(?:\*\*(?:{'|'.join(map(re.escape, helping))})\*\*)"
        best = rf"(?:{re.escape(AMONG_BEST)}{name}(?:, {name})*(?: and (?:{name}|\d+ more))?)?"
        for sentence in verdict_sentences(self.distinct, self.margin, self.format):
            yield re.escape(sentence.removesuffix(".")) + (best if len(helping) else "") + r"\."

    def _collapses(self) -> Iterator[str]:
        """Yield a pattern for the sentence about lost runs, if it is there."""
        rows = self.distinct.to_dict("records")
        weights = np.array([self._weight((row["study"], row["arm"])) for row in rows])
        p_values = np.array([_lost_p(row) for row in rows])
        adjusted = holm(of_last_look(p_values, weights))
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
        for sentence in collapse_sentences(pd.DataFrame(rates)) if rates else ():
            yield re.escape(sentence)

    def _weight(self, key: tuple[str, str]) -> float:
        """Return the weight of the last look of an arm."""
        return self._looks_had(self.planned[key])[1][-1]

    def _looks_had(self, planned: int) -> tuple[Sequence[int], Sequence[float]]:
        """Return the seeds and the weights of the looks for which an arm has runs."""
        if self.looks is None:
            return (planned,), (1.0,)
        had = max(sum(count <= planned for count in self.looks.seeds), 1)
        return self.looks.seeds[:had], self.looks.weights[:had]

    def _grouped(self) -> list[md.Row]:
        """Return the contrasts in the order of the front page's table."""
        rows = self.distinct.to_dict("records")
        against = [self.references.get((row["study"], row["arm"]), BASELINE) for row in rows]
        order = list(dict.fromkeys([BASELINE, *against]))
        places = sorted(range(len(rows)), key=lambda place: order.index(against[place]))
        return [rows[place] for place in places]

    def _cells(self, row: md.Row) -> dict[str, str]:
        key = row["study"], row["arm"]
        of_arm = self.contrasts[(self.contrasts["study"] == key[0])]
        of_arm = of_arm[of_arm["arm"] == key[1]].set_index("metric")
        gap = of_arm.loc["gap"].to_dict() if "gap" in of_arm.index else None
        costs = [of_arm["arm_mean"].get(name, nan) for name in COSTS]
        study = {STUDY: row["study"]} if self.is_ambiguous else {}
        return study | contrast_cells(row, gap, costs, self.format, self._against(key))

    def _contrast_count(self) -> int:
        """Return the number of contrasts that the intervals of the answer hold for at once."""
        counts = (count for row in self.distinct.to_dict("records") for count in _counts(row))
        return next(counts, len(self.distinct))


def _counts(row: md.Row) -> Iterator[int]:
    """Yield for how many contrasts at once each end of the wide interval of an arm holds.

    It is the level of the single interval over that of the wider one.
    """
    error, freedom = row["seed_error"], row["n"] - 1
    if error > 0 and not isnan(row["low_all"]):
        for side in ("low", "high"):
            ends = [abs(row[name] - row["difference"]) / error for name in (side, f"{side}_all")]
            single, joint = (scipy.special.stdtr(freedom, -end) for end in ends)
            yield round(float(single / joint)) if joint > 0 else 0


def _lost_p(row: md.Row) -> float:
    """Return p of equal rates of lost runs, NaN where no seed has both runs."""
    if not row["both_ended"]:
        return nan
    return mcnemar_p(int(row["lost_alone"]), int(row["reference_lost_alone"]))


def _rate(label: str, row: md.Row, side: str, weight: float, p_holm: float) -> dict[str, Any]:
    """Return how often the runs of an arm were lost, as `collapse_sentences` takes it."""
    rate = rate_columns(int(row[f"{side}lost"]), 0, int(row[f"{side}ended"]), weight)
    shown = often(int(row["lost_alone"]), int(row["reference_lost_alone"]), p_holm)
    return {"label": label, **rate, "p_holm": p_holm, "often": shown}


def _same(one: Any, other: Any) -> bool:
    """Return whether two cells have one value; an undefined number is like any other."""
    if isinstance(one, str) or isinstance(other, str) or other is None:
        return bool(one == other)
    return bool(one == other) or (isnan(one) and isnan(other))
