"""Judge results that were trained elsewhere, and write the report on them into a folder."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.comparison.judging import Judgement, judge
from pipeline.comparison.score_tables import HITS
from pipeline.comparison.score_units import Direction, Unit
from pipeline.config.validation import invalid, unknown_name
from pipeline.records.score_files import read_score_files, read_score_table
from pipeline.records.tables import write_table
from pipeline.reporting.judgement import (
    formatter_of,
    judged_rows,
    judgement_latex,
    judgement_page,
    metric_of,
    warnings,
)
from pipeline.reporting.labels import verdict_cell
from pipeline.reporting.markdown import NO_BREAK, format_p
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import new_folder, write_bytes, write_text
from pipeline.runtime.imports import without_collection
from pipeline.terminal.tables import say, show, table

REPORT = "report.md"
IMAGES = f"the columns arm, seed, {', '.join(HITS)}"
FILES = (REPORT, "contrasts.csv", "seeds.csv", "table.tex", "figures")  # what a folder holds
WRAPPED = ("arm", "verdict")  # columns of words, which may take several lines
UNKNOWN = (
    "The table does not show whether runs with the same seed were paired, whether settings were "
    "chosen by test scores, and how many trials each arm had."
)


@dataclass(frozen=True)
class Source:
    """A table of scores.

    Attributes:
        origin: The file, pattern or project that it is from.
        table: The table.
        names: The names of its columns, as `judge` takes them.
    """

    origin: str
    table: pd.DataFrame
    names: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Return the title of the report on this table."""
        words = self.origin if "*" in self.origin else Path(self.origin).stem
        return re.sub(r"[^\w.-]+", "-", words).strip("-.") or "scores"


def read_table(
    scores: Path | None, glob: str | None, wandb: str | None, names: Mapping[str, Any]
) -> Source:
    """Return the table that a user has named in one of three ways.

    Args:
        scores: A CSV file.
        glob: A pattern of CSV files, one for each run.
        wandb: A project of W&B.
        names: The columns or keys `arm`, `seed` and `score`; None for the usual ones.

    Raises:
        Refusal: None or several are given, or what is given cannot be read.
    """
    named = {"SCORES": scores, "--glob": glob, "--wandb": wandb}
    origins = [str(origin) for origin in named.values() if origin is not None]
    if len(origins) != 1:
        given = [name for name, origin in named.items() if origin is not None]
        problem = f"{', '.join(given)}: given together" if given else "no scores"
        raise Refusal(f"judge: {problem}; expected one of: {', '.join(named)}")
    if not origins[0]:
        option, expected = (
            ("--wandb", "entity/project") if glob is None else ("--glob", "a pattern")
        )
        raise Refusal(f"{option}: invalid value ''; expected {expected}")
    if scores:
        return Source(origins[0], read_score_table(scores), names)
    score = names["score"]
    if not score:
        raise Refusal("--score: missing; expected the name of the score, such as test/acc")
    keys = score, names["arm"] or "arm", names["seed"] or "seed"
    columns = {"arm": "arm", "seed": "seed", "score": score}
    if glob:
        return Source(glob, read_score_files(glob, *keys), columns)
    from pipeline.tracking.scores import read_wandb_scores  # slow: imports W&B

    return Source(origins[0], read_wandb_scores(origins[0], *keys), columns)


def number(option: str, text: str | None) -> float | None:
    """Return the number that an option is given; None if it is not given.

    Args:
        option: The name of the option, for errors.
        text: Its value on the command line; None if it is not given.

    Raises:
        Refusal: It is no number > 0.
    """
    if text is None:
        return None
    expected = "a number > 0, such as 0.01"
    try:
        value = float(text)
    except ValueError:
        raise Refusal(invalid(option, text, expected)) from None
    if not value > 0:
        raise Refusal(invalid(option, value, expected))
    return value


def unit(text: str | None) -> str | None:
    """Return the unit that `--unit` is given; None if it is not given.

    Args:
        text: The value of `--unit`; None if it is not given.

    Raises:
        Refusal: There is no such unit.
    """
    units = [each.value for each in Unit]
    if text is not None and text not in units:
        raise Refusal(unknown_name("--unit", text, units))
    return text


def direction(lower: bool, higher: bool) -> Direction | None:
    """Return which scores are better; None if neither option is given.

    Args:
        lower: Whether `--lower` is given.
        higher: Whether `--higher` is given.

    Raises:
        Refusal: Both are.
    """
    if lower and higher:
        raise Refusal("--lower and --higher: both given; expected one of them")
    if lower:
        return Direction.LOWER
    return Direction.HIGHER if higher else None


def show_judgement(
    source: Source, options: Mapping[str, Any], to: Path | None = None, images: Path | None = None
) -> None:
    """Judge a table, write the report and print the verdicts.

    Args:
        source: The table.
        options: The other arguments of `judge`.
        to: The folder of the report; `<title>-judged` where it is None.
        images: A CSV file that says which test examples every run has right.

    Raises:
        Refusal: The table or the folder is not what is expected.
    """
    folder = to or Path(f"{source.title}-judged")
    require_folder(folder)
    hits = {}
    if images is not None:
        hits = {"images": read_score_table(images, IMAGES), "images_source": str(images)}
    judged = judge(source.table, **source.names, **options, **hits, source=source.origin)
    write_judgement(judged, source.title, folder)
    _show(judged, source.title)
    say(UNKNOWN)
    say(f"Full report: {folder / REPORT}")


def require_folder(folder: Path) -> None:
    """Check that a folder is new or holds an earlier report, which may be replaced.

    Args:
        folder: The folder of the report, which may not exist.

    Raises:
        Refusal: It holds something else.
    """
    expected = "expected a new folder, or one that judge has written"
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise Refusal(f"--to {folder}: not a folder; {expected}")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    strangers = [name for name in names if name not in FILES]
    if strangers:
        raise Refusal(f"--to {folder}: holds {strangers[0]}; {expected}")


def write_judgement(judged: Judgement, name: str, folder: Path) -> None:
    """Write the report, its tables and its figure.

    Args:
        judged: The verdicts.
        name: What the report calls the results.
        folder: The folder, which is replaced.

    Raises:
        Refusal: The folder cannot be written.
    """
    with without_collection():
        from pipeline.reporting.judgement_figure import judgement_forest  # slow: matplotlib
        from pipeline.reporting.style import png, svg

    figure = judgement_forest(judged)
    try:
        with new_folder(folder) as staging:
            (staging / "figures").mkdir()
            write_text(staging / REPORT, judgement_page(judged, name))
            write_text(staging / "table.tex", judgement_latex(judged, name))
            write_table(staging / "contrasts.csv", judged.table)
            write_table(staging / "seeds.csv", judged.seeds)
            write_bytes(staging / "figures" / "forest.png", png(figure))
            write_bytes(staging / "figures" / "forest.svg", svg(figure))
    except OSError as error:
        reason = f"cannot be written ({error.strerror})"
        raise Refusal(f"--to {folder}: {reason}; expected a folder that can be made") from None


def _show(judged: Judgement, name: str) -> None:
    metric, formatter = metric_of(judged), formatter_of(judged)
    rows = table("arm", "mean", "difference", "verdict", "p", title=f"{name}: {metric.label}")
    for column in rows.columns:
        column.no_wrap = column.header not in WRAPPED
    for row in judged_rows(judged).to_dict("records"):
        rows.add_row(
            row["arm"],
            formatter.score(metric, row["arm_mean"]),
            formatter.change(row, metric, unit=""),
            verdict_cell(row),
            format_p(row["p_holm"]).replace(NO_BREAK, " "),
        )
    show(rows)
    for warning in warnings(judged, judged_rows(judged)):
        say(f"Warning: {_plain(warning)}")


def _plain(markdown: str) -> str:
    """Return a line of Markdown without its emphasis and escapes."""
    return html.unescape(re.sub(r"\\(.)", r"\1", markdown.replace("**", "")))
