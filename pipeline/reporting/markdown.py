"""Format numbers, lists and tables as Markdown text, the same way on every page."""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipeline.comparison.levels import LEVEL
from pipeline.reporting.units import METRICS, PRIMARY_METRIC, Metric

CONFIDENCE = f"{100 * (1 - LEVEL):g} %"
INTERVAL = f"{CONFIDENCE} interval"
VOID = "–"
NO_BREAK = "\u00a0"  # a space at which a line does not break
NEVER = "never"  # of a time to target that is infinite
FEW = 3  # names that a sentence lists; more are counted
PREFIXES = ("", " k", " M", " G", " T", " P", " E")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Formatter:
    """Formats the scores of one report, all with the same number of decimals.

    Fractions are shown in percent or points. A value that rounds to zero has no sign, and NaN is a
    dash; an interval without bounds is an empty text.
    """

    decimals: int = 1

    def percent(self, value: float) -> str:
        """Return a fraction in percent: 0.9124 is 91.2."""
        return format_number(100 * value, self.decimals)

    def points(self, value: float) -> str:
        """Return a difference of fractions in signed percentage points: 0.0125 is +1.2."""
        return format_signed(100 * value, self.decimals)

    def percent_interval(self, low: float, high: float) -> str:
        """Return an interval of fractions in percent: [90.4, 91.9]."""
        return format_interval(low, high, self.percent)

    def points_interval(self, low: float, high: float) -> str:
        """Return an interval of fractions in points: [+0.4, +1.9]."""
        return format_interval(low, high, self.points)

    def percent_band(self, band: Row) -> str:
        """Return `mean` in percent with the interval from `low` to `high` if there is one."""
        interval = self.percent_interval(band["low"], band["high"])
        return f"{self.percent(band['mean'])} {interval}".strip()

    def detectable(self, row: Row, metric: Metric = PRIMARY_METRIC, unit: str = "") -> str:
        """Return `detectable` with its range: 1.5 (1.2 to 2.1), or 1.5 points (1.2 to 2.1).

        Of fractions beyond 100 points there is none.
        """
        if metric.fraction and row["detectable"] > 1:
            return "none possible"
        ends = [self.score(metric, row[f"detectable_{end}"]) for end in ("low", "high")]
        middle = f"{self.score(metric, row['detectable'])} {unit}".strip()
        return middle if math.isnan(row["detectable"]) else f"{middle} ({' to '.join(ends)})"

    def score(self, metric: str | Metric, value: float) -> str:
        """Return a score in percent or, if it is not a fraction, as a number."""
        described = _described(metric)
        if described.fraction:
            return self.percent(value)
        return format_number(value, described.decimals)

    def difference(self, metric: str | Metric, value: float) -> str:
        """Return a difference of scores, in points or as a number."""
        described = _described(metric)
        if described.fraction:
            return self.points(value)
        return format_signed(value, described.decimals)

    def sign(self, metric: str, value: float) -> int:
        """Return the sign of a difference as it is shown; 0 if it rounds to zero or is NaN."""
        described = METRICS[metric]
        decimals = self.decimals if described.fraction else described.decimals
        shown = round(described.scale * value, decimals)
        return (shown > 0) - (shown < 0)

    def bounds(self, metric: str | Metric, low: float, high: float) -> str:
        """Return the interval of a difference of scores, in points or as numbers."""
        return format_interval(low, high, partial(self.difference, metric))

    def change(self, row: Row, metric: str | Metric = "accuracy", unit: str | None = None) -> str:
        """Return `difference` with its unit and its interval: +1.3 points [+0.4, +2.2]."""
        name = _described(metric).difference_unit if unit is None else unit
        shown = f"{self.difference(metric, row['difference'])} {name}".strip()
        return f"{shown} {self.bounds(metric, row['low'], row['high'])}".strip()

    def joint_change(self, row: Row, metric: str | Metric = "accuracy") -> str:
        """Return `difference` with its unit and the interval that holds for all arms at once."""
        return self.change({**row, "low": row["low_all"], "high": row["high_all"]}, metric)


def _described(metric: str | Metric) -> Metric:
    """Return a metric by its name; a Metric is returned unchanged."""
    return METRICS[metric] if isinstance(metric, str) else metric


def format_table(rows: Sequence[Mapping[str, str]], caption: str, words: Collection[str]) -> str:
    """Return a table of texts with its caption.

    Args:
        rows: The cells by column. All rows have the keys of the first.
        caption: What stands below the table.
        words: The columns aligned to the left. All others are numbers, aligned to the right.
    """
    columns = list(rows[0])
    rule = ["---" if column in words else "---:" for column in columns]
    cells = [[row[column] for column in columns] for row in rows]
    lines = [f"| {' | '.join(line)} |" for line in (columns, rule, *cells)]
    return "\n".join([*lines, "", f"*{caption}*"])


def without_void(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the rows of a table without its empty columns."""
    void = {name for name in rows[0] if all(row[name] in (VOID, "") for row in rows)}
    return [_without(row, void) for row in rows]


def _without(row: Mapping[str, str], columns: Collection[str]) -> dict[str, str]:
    """Return a row without some of its columns."""
    return {name: cell for name, cell in row.items() if name not in columns}


def without_constant(
    rows: Sequence[Mapping[str, str]], names: Collection[str]
) -> tuple[list[dict[str, str]], str]:
    """Return rows without the named columns that are constant, and a sentence on these.

    The sentence gives these values for the caption: In all rows: n = 12, rule = deterministic.
    """
    constant: dict[str, str] = {}
    for name in names:
        values = {row[name] for row in rows} if name in rows[0] else set()
        if len(rows) > 1 and len(values) == 1:
            constant[name] = values.pop()
    listed = ", ".join(f"{name} = {value}" for name, value in constant.items())
    sentence = f"In all rows: {listed}." if constant else ""
    return [_without(row, constant) for row in rows], sentence


def format_bullets(lines: Sequence[str]) -> str:
    """Return lines as a list."""
    return "\n".join(f"- {line}" for line in lines)


def section(title: str, text: str, level: int = 2) -> str:
    """Return a text under a heading; empty if the text is."""
    return f"{'#' * level} {title}\n\n{text}" if text else ""


def folded(title: str, text: str) -> str:
    """Return a text that is hidden until its title is clicked; empty if the text is.

    GitHub and the HTML page fold it. The empty lines make Markdown of the text inside.
    """
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>" if text else ""


def join_parts(*parts: str) -> str:
    """Return the parts that are not empty as paragraphs."""
    return "\n\n".join(part for part in parts if part)


def unbroken(text: str) -> str:
    """Return a text with spaces at which a line does not break."""
    return text.replace(" ", NO_BREAK)


def escape(value: str) -> str:
    """Return free text as one line without cells, tags or emphasis of Markdown."""
    return re.sub(r"([|*`\[\]\\])", r"\\\1", " ".join(value.split())).replace("<", "&lt;")


def format_margin(value: float, metric: Metric = PRIMARY_METRIC) -> str:
    """Return a margin with its unit, as short as it is exact: 1 point, 0.5 points."""
    shown = f"{metric.scale * value:g}"
    unit = metric.difference_unit
    return f"{shown} {unit.removesuffix('s') if shown == '1' else unit}".strip()


def format_number(value: float, digits: int) -> str:
    """Return a number with fixed decimals; what rounds to zero is 0, never -0."""
    if math.isnan(value):
        return VOID
    return f"{value:z.{digits}f}"


def format_signed(value: float, digits: int) -> str:
    """Return a number with its sign; what rounds to zero has none."""
    if math.isnan(value):
        return VOID
    return f"{value:+.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def format_interval(low: float, high: float, spell: Callable[[float], str]) -> str:
    """Return two bounds, as `spell` makes them, in brackets; an empty text if one is unknown."""
    return "" if math.isnan(low) or math.isnan(high) else f"[{spell(low)}, {spell(high)}]"


def format_p(value: float) -> str:
    """Return a p-value with three decimals, more if these would read 0.050, and never 0.000.

    A line does not break inside it.
    """
    if math.isnan(value):
        return VOID
    if value < 0.001:
        return unbroken("< 0.001")
    shown = f"{value:.3f}"
    return f"{value:.4f}" if shown == "0.050" else shown


def format_seeds_needed(row: Row, noun: str = "") -> str:
    """Return `seeds_needed` with its range: 22 (14 to 41), with a noun 22 seeds (14 to 41).

    A dash where it is NaN.
    """
    if math.isnan(row["seeds_needed"]):
        return VOID
    middle, low, high = (_seeds(row[f"seeds_needed{end}"]) for end in ("", "_low", "_high"))
    counted = f"{middle} {noun}".strip()
    return f"{counted} ({low} to {high})" if low != high else counted


def _seeds(needed: float) -> str:
    return "> 10,000" if math.isinf(needed) else f"{needed:,.0f}"


def format_count(number: int, noun: str, ending: str = "s") -> str:
    """Return a number of things: 1 run, 2 runs."""
    return f"{number} {noun}" + ending * (number != 1)


def format_list(names: Sequence[str]) -> str:
    """Return names as prose: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def format_few(names: Sequence[str]) -> str:
    """Return the first names as prose and how many more there are: a, b, c and 4 more.

    A single name more is given too, since "1 more" would be no shorter.
    """
    named = first_few(names)
    more = [f"{len(names) - len(named)} more"] if len(named) < len(names) else []
    return format_list([*named, *more])


def first_few(names: Sequence[str]) -> Sequence[str]:
    """Return the names that `format_few` gives."""
    return names if len(names) <= FEW + 1 else names[:FEW]


def format_operations(value: float) -> str:
    """Return a number of operations with a prefix and three digits: 1.23 G."""
    if math.isnan(value) or value < 0:
        return VOID
    exponent = int(f"{value:.2e}".partition("e")[2])
    step = min(max(exponent // 3, 0), len(PREFIXES) - 1)
    digits = 0 if step == 0 else max(2 - (exponent - 3 * step), 0)
    return f"{value / 1000**step:.{digits}f}{PREFIXES[step]}"


SMALL_RATIO = 0.1  # of costs, as that of a probe on stored features: one digit


def format_ratio(value: float) -> str:
    """Return a cost as a multiple of the baseline's."""
    if math.isnan(value):
        return VOID
    return f"{value:.1g}" if 0 < value < SMALL_RATIO else f"{value:.2f}"


def format_measure(value: float) -> str:
    """Return a number of unknown size with four digits."""
    if math.isnan(value):
        return VOID
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
