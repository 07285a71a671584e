"""Write a card for every regularizer from its docstrings, its settings and the reports.

`python -m pipeline.terminal.cards > docs/regularizers.md`; a test compares the page with the code
and with the committed reports.
"""

import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline import regularizers
from pipeline.config.parameters import EXPERIMENTS
from pipeline.config.yaml_files import read_yaml, yaml_names
from pipeline.records.reports import Row, WrittenReport, read_report, report_names
from pipeline.regularizers._regularizer import Regularizer
from pipeline.reporting.markdown import Formatter, escape, format_table
from pipeline.terminal.settings_table import settings_table

REPORTS = Path("reports")
ENTRY = re.compile(r"^(\w+):", re.MULTILINE)  # the first line of an attribute
FORMAT = Formatter()
HEAD = """# Regularizers

This page has a card for each regularizer. `python -m pipeline.terminal.cards` generates it from the
docstrings of `pipeline/regularizers/` and from the reports. A study names a regularizer and its
settings; a list has the strengths to explore: `- {name: dropout, rate: [0.1, 0.25, 0.5]}`. [Add a
regularizer](add-a-regularizer.md) describes how to write a new one.

The table below a card, *Measured here*, has every arm of the reports in this repository that adds
this regularizer and nothing else, at the setting that was chosen on validation data. The difference
is in test accuracy against the same network without it. It holds for the network and the images of
that report, which also has the verdict.
"""
CAPTION = "Measured here, with 95 % intervals."


def cards(reports: Mapping[str, WrittenReport]) -> str:
    """Return the whole page, Markdown.

    Args:
        reports: The reports to quote, by the names of their folders in `reports/`.
    """
    kinds = regularizers.settings().items()
    return "\n".join([HEAD, *(card(name, kind, reports) for name, kind in kinds)])


def card(name: str, kind: type[Regularizer], reports: Mapping[str, WrittenReport]) -> str:
    """Return what a regularizer is, its settings, its study and what it did in the reports.

    Args:
        name: The name of the regularizer.
        kind: Its class.
        reports: The reports of protocols, by name.
    """
    about = inspect.getdoc(sys.modules[kind.__module__]) or ""
    meanings = _as_markdown(inspect.getdoc(kind) or "")
    table = settings_table(kind) or "No settings."
    parts = [f"## {name}", about, table, meanings, *_notes(name, kind), _measured(name, reports)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _as_markdown(docstring: str) -> str:
    """Return a docstring with its `Attributes:` section as a list."""
    text, _, attributes = docstring.partition("Attributes:\n")
    return text + ENTRY.sub(r"- `\1`:", textwrap.dedent(attributes))


def _notes(name: str, kind: type[Regularizer]) -> Iterator[str]:
    for other, why in kind.clashes.items():
        yield f"Not together with `{other}`: {why}."
    study = EXPERIMENTS / f"{name}.yaml"
    if study.exists():
        yield f"Its study, [{study}](../{study}): {read_yaml(study)['question']}"


def _measured(name: str, reports: Mapping[str, WrittenReport]) -> str:
    """Return a table of the arms that have only this regularizer; "" if no report has one."""
    rows = [
        _measured_cells(report, row)
        for report, written in reports.items()
        for row in written.contrasts
        if _single_arms().get((row["study"], row["arm"])) == name
    ]
    return format_table(rows, CAPTION, ("report", "setting")) if rows else ""


def _measured_cells(report: str, row: Row) -> dict[str, str]:
    interval = FORMAT.points_interval(row["low"], row["high"])
    return {
        "report": f"[{report}](../reports/{report}/report.md)",
        "setting": escape(row["strength"]),
        "seeds": f"{row['n']:g}",
        "difference (points)": f"{FORMAT.points(row['difference'])} {interval}".strip(),
    }


@functools.cache
def _single_arms() -> Mapping[tuple[str, str], str]:
    """Return the regularizer of every arm that adds one and nothing else, by study and arm."""
    by_name = {}
    for study in yaml_names(EXPERIMENTS):
        arms: Mapping[str, list[Mapping[str, Any]]] = read_yaml(EXPERIMENTS / f"{study}.yaml")[
            "arms"
        ]
        for arm, items in arms.items():
            if len(items) == 1 and "name" in items[0]:
                by_name[study, arm] = str(items[0]["name"])
    return by_name


if __name__ == "__main__":
    print(cards({name: read_report(REPORTS / name) for name in report_names(REPORTS)}), end="")
