"""Find values of a written front page that are not in the tables committed with it.

The texts are made again from these tables by the functions that write the page, so every number and
verdict of its answer and of its table of arms is compared, without the artifacts of the report.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline.comparison.verdicts import Verdict
from pipeline.comparison.written import WrittenContrasts
from pipeline.reporting import markdown as md
from pipeline.reporting.collapse_sentences import collapse_sentences
from pipeline.reporting.evidence import decimals
from pipeline.reporting.front_cells import ARM, DIFFERENCE, contrast_cells, seeds_words
from pipeline.reporting.verdict_sentences import (
    AMONG_BEST,
    BEYOND,
    IF_OTHER_EXAMPLES,
    NO_HELP,
    NOT_ABOVE_MAJORITY,
    UNTUNED,
    joint_intervals,
    limits_sentence,
    verdict_sentences,
    withheld_labels,
)

CLASSIFIERS = r"(?:, | and )?(?:1-nearest neighbour|logistic regression)"
EPOCHS = re.compile(r"(\d+) epochs?\b")
LIMIT = rf"(?:\d+ verdicts? changes? {IF_OTHER_EXAMPLES}|{UNTUNED}|{BEYOND})"
LIMITS = rf"; \d+ epochs?(?: \(\d+ arms? still improving at the end\))?(?:; {LIMIT})*\.\n- "
BASELINE_WORDS = (
    r"\n- The baseline reaches (?P<accuracy>[\d.]+) % test accuracy"
    r"(?: \(the mean of all its runs, also of those that collapsed\))? with a gap of "
    r"(?P<gap>-?[\d.]+) points between train and validation accuracy\."
    rf"(?: Its validation accuracy is not shown to be above that of (?:{CLASSIFIERS})+\.)?\n- "
)
FUTILE = "futile"
LOOKS = "LOOKS"  # a place for what a page says of looks
STUDY, SEEDS = "study", "seeds"
ROUNDED = 0.0051  # percent: metrics.json of older reports has two decimals


def front_differences(front: str, contrasts: WrittenContrasts, epochs: int | None) -> Iterator[str]:
    """Yield the differences of the answer and of the table of arms from the contrasts.

    Args:
        front: The text of the front page.
        contrasts: The contrasts of the report.
        epochs: The epochs of its plan; None if it is not known.
    """
    texts = WrittenFront(contrasts)
    header, rows = arm_table(front)
    yield from texts.table_differences(header, rows)
    answer = front.split("\n\n")[1] if "\n\n" in front else ""
    yield from texts.answer_differences(answer, header, rows)
    shown = EPOCHS.search(answer)
    if shown and epochs is not None and int(shown[1]) != epochs:
        yield f"the answer has {shown[0]}, the ledger {epochs}"


def arm_table(front: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and the rows of the table of arms; empty if there is none."""
    header: list[str] = []
    rows: list[dict[str, str]] = []
    for line in front.splitlines():
        cells = [cell.strip(" ") for cell in line.strip().strip("|").split(" | ")]
        if not header and line.startswith(f"| {ARM} |") and DIFFERENCE in cells:
            header = cells
        elif header and not line.startswith("|"):
            break
        elif header and not line.startswith("| ---"):
            rows.append(dict(zip(header, cells, strict=False)))
    return header, rows


class WrittenFront:
    """The texts of a front page that its contrasts give."""

    def __init__(self, contrasts: WrittenContrasts) -> None:
        """Format scores as the page does.

        Args:
            contrasts: The contrasts of the report.
        """
        self.contrasts = contrasts
        self.distinct = contrasts.distinct
        self.format = md.Formatter(decimals(contrasts.primary))

    def table_differences(
        self, header: Sequence[str], rows: Sequence[Mapping[str, str]]
    ) -> Iterator[str]:
        """Yield the cells of the table of arms that differ from the contrasts."""
        expected = [self._cells(row) for row in self.contrasts.grouped()]
        if expected and not {*expected[0]} <= {*header}:
            yield "the table of arms has not the columns of a report"
            return
        shown = {(row.get(STUDY, ""), row[ARM]) for row in rows}
        wanted = {(row.get(STUDY, ""), row[ARM]) for row in expected}
        if shown != wanted or len(rows) != len(expected):
            other = sorted(name for _, name in shown ^ wanted)
            yield f"the table has not the arms of contrasts.csv: {', '.join(other) or 'repeated'}"
            return
        for written, cells in zip(rows, expected, strict=True):
            for name, cell in cells.items():
                if written.get(name) != cell:
                    was = written.get(name, "").replace(md.NO_BREAK, " ")
                    now = cell.replace(md.NO_BREAK, " ")
                    yield f"the table has {was}, not {now} ({name}, {cells[ARM]})"
        for written, row in zip(rows, self.contrasts.grouped(), strict=True):
            if SEEDS in written and written[SEEDS].partition(":")[0] != str(row["n"]):
                yield f"the table has {written[SEEDS]}, not {row['n']} (seeds, {row['label']})"

    def answer_differences(
        self, answer: str, header: Sequence[str], rows: Sequence[Mapping[str, str]]
    ) -> Iterator[str]:
        """Yield the differences of the first sentences from the contrasts."""
        has_looks = SEEDS in header
        futile = (
            len([row for row in rows if row.get(SEEDS, "").endswith(FUTILE)]) if has_looks else None
        )
        counts = self.contrasts.seed_counts()
        if not counts:
            return
        seeds = limits_sentence(seeds_words(min(counts), max(counts), futile), ())
        limits = re.escape(seeds.removesuffix("."))
        findings = [*self._findings(), *self._collapses()]
        looks = r"(?:, corrected for \d+ looks?, at [\d, and]+ seeds)?" if has_looks else ""
        count = self.contrasts.contrast_count()
        note = re.escape(joint_intervals(count, self.distinct, LOOKS)).replace(LOOKS, looks)
        warning = f"(?:{re.escape(NOT_ABOVE_MAJORITY)} )?"
        whole = re.compile(f"{warning}{' '.join(findings)}{BASELINE_WORDS}{limits}{LIMITS}{note}")
        match = whole.fullmatch(answer)
        if not match:
            parts = [*findings, limits, note]
            missing = next((part for part in parts if not re.search(part, answer)), "")
            shown = re.sub(r"\\(.)", r"\1", missing.partition("(?")[0])
            yield f"the answer lacks: {shown}" if shown else "the answer has other words"
            return
        for name in ("accuracy", "gap"):
            baseline = self.contrasts.written.metrics["baseline"][name]
            half = 0.51 * 10.0**-self.format.decimals
            if baseline is not None and abs(float(match[name]) - baseline) > half + ROUNDED:
                differs = f"{name} {match[name]} of the baseline, metrics.json {baseline}"
                yield f"the answer has {differs}"

    def _findings(self) -> Iterator[str]:
        """Yield a pattern for every sentence about arms."""
        if not (self.distinct["verdict"] == Verdict.HELPS).any():
            yield re.escape(NO_HELP)
        helping = self.distinct.loc[self.distinct["verdict"] == Verdict.HELPS, "label"]
        name = rf"(?:\*\*(?:{'|'.join(map(re.escape, helping))})\*\*)"
        best = rf"(?:{re.escape(AMONG_BEST)}{name}(?:, {name})*(?: and (?:{name}|\d+ more))?)?"
        for sentence in verdict_sentences(self.distinct, self.contrasts.margin, self.format):
            yield re.escape(sentence.removesuffix(".")) + (best if len(helping) else "") + r"\."

    def _collapses(self) -> Iterator[str]:
        """Yield a pattern for the sentence about lost runs, if it is there."""
        rates = self.contrasts.rates()
        named = withheld_labels(self.distinct)
        for sentence in collapse_sentences(rates, named) if len(rates) else ():
            yield re.escape(sentence)

    def _cells(self, row: md.Row) -> dict[str, str]:
        gap, costs = self.contrasts.gap_and_costs(row)
        against = self.contrasts.against_words((row["study"], row["arm"]))
        study = {STUDY: row["study"]} if self.contrasts.is_ambiguous else {}
        return study | contrast_cells(row, gap, costs, self.format, against)
