"""Stage 8: write the report of a protocol: Markdown, figures, tables to take away, metrics, plots.

It trains, scores and tests nothing.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.comparison.timing import timing
from pipeline.config.plan import Plan, read_plan
from pipeline.config.registered_claims import read_claims
from pipeline.config.run import RunConfig
from pipeline.data.prepared import read_summary, read_test_images
from pipeline.execution.stage import ALONE, stage
from pipeline.records.figures import current_figures, note_figures
from pipeline.records.ledger import LEDGER, read_ledger
from pipeline.records.reports import CLAIMS, WrittenReport, partial_names, read_report, report_names
from pipeline.records.runs import read_record
from pipeline.records.store import open_store
from pipeline.records.stored_settings import read_settings
from pipeline.records.tables import read_table, write_table
from pipeline.reporting.claims_index import CLAIMS_PAGE, claims_page
from pipeline.reporting.dvc import metrics, plots, protocol_facts
from pipeline.reporting.evidence import (
    TABLES,
    Records,
    ReportData,
    run_frame,
    searches_frame,
    tried_frame,
)
from pipeline.reporting.index import EFFECTS, common_arms, index_page
from pipeline.reporting.latex import latex_table
from pipeline.reporting.pages import all_pages
from pipeline.reporting.search_files import search_files
from pipeline.reporting.timing import timing_page
from pipeline.runtime.files import new_folder, read_sealed, to_json, write_bytes, write_text
from pipeline.runtime.imports import without_collection


def main(protocol: str) -> None:
    """Read `artifacts/<protocol>/` and write `reports/<protocol>/` and the timing."""
    artifacts, target = Path("artifacts", protocol), Path("reports", protocol)
    openings = read_ledger(target / LEDGER)
    data = replace(
        read_report_data(artifacts), openings=openings, alone=bool(os.environ.get(ALONE))
    )
    ledger = (target / LEDGER).read_bytes() if openings else b""
    figures = current_figures(artifacts, target / "figures")
    with new_folder(target) as staging:
        _write(staging, data, figures or _draw(artifacts, data))
        if ledger:  # which is not this stage's, and only grows
            write_bytes(staging / LEDGER, ledger)
    write_timing(protocol, data)
    write_index(target.parent, redraw=not figures)
    print(f"report: {target / 'report.md'}")


def write_timing(protocol: str, data: ReportData | None = None) -> None:
    """Write the wall clock of the confirmation runs, as far as it is known on this machine."""
    artifacts, store = Path("artifacts", protocol), open_store()
    data = data or read_report_data(artifacts)
    plan = data.confirmation
    seconds = {name: store.timing(name).get("seconds") for name in plan.fingerprints()}
    measured = {name: value for name, value in seconds.items() if value is not None}
    table = timing(plan, measured)
    write_table(artifacts / "timing.csv", table)
    write_text(Path("reports", protocol, "timing.md"), timing_page(data, table))


def write_index(reports: Path, redraw: bool) -> None:
    """Write the pages over all reports; their figure if there is none or it is to be redrawn."""
    summaries = read_summaries(reports)
    partial = {name: read_report(reports / name) for name in partial_names(reports)}
    registered = read_claims(reports.parent)
    write_text(reports / "README.md", index_page(summaries, partial, registered))
    write_text(reports / CLAIMS_PAGE, claims_page(summaries, partial, registered))
    figure = reports / f"{EFFECTS}.png"
    if not common_arms(summaries):
        figure.unlink(missing_ok=True)
    elif redraw or not figure.exists():
        write_bytes(figure, _draw_index(summaries))


def read_summaries(reports: Path) -> dict[str, WrittenReport]:
    """Return what the index shows of every report of a protocol under a folder, by protocol."""
    return {name: read_report(reports / name) for name in report_names(reports)}


def read_report_data(artifacts: Path) -> ReportData:
    """Return what a report needs of a protocol's artifacts.

    Raises:
        Refusal: A stage is missing.
    """
    plans = [read_plan(artifacts / phase) for phase in ("exploration", "confirmation")]
    runs = [run_frame(plan, _records(artifacts, plan)) for plan in plans]
    chosen = read_sealed(artifacts / "choice.json")
    tables = {name: read_table(artifacts / f"{name}.csv") for name in TABLES}
    return ReportData(
        confirmation=plans[-1],
        exploration=plans[0],
        runs=pd.concat(runs, ignore_index=True),
        tried=tried_frame(chosen["tried"]),
        searches=searches_frame(chosen["searches"]),
        test_use=read_sealed(artifacts / "test_use.json"),
        data=read_summary(artifacts / "data"),
        starts=_settings_of_starts(artifacts / "confirmation", plans[-1]),
        **tables,
    )


def _draw(artifacts: Path, data: ReportData) -> dict[str, bytes]:
    with without_collection():
        from pipeline.reporting.plots import all_figures  # slow: imports matplotlib
        from pipeline.reporting.style import png, svg

    data = replace(data, pictures=_pictures(artifacts / "data", data))
    figures: dict[str, bytes] = {}
    for name, figure in all_figures(data).items():
        figures[name] = png(figure)
        figures[Path(name).with_suffix(".svg").name] = svg(figure)
    note_figures(artifacts, figures)
    return figures


def _pictures(folder: Path, data: ReportData) -> dict[int, Any]:
    """Return the test images of the arms with a verdict, as the table `flips` names them.

    Rows of a table have none.
    """
    if data.is_table:
        return {}
    shown = [
        key in data.decided for key in zip(data.flips["study"], data.flips["arm"], strict=True)
    ]
    numbers = sorted(set(data.flips.loc[shown, "image"]))
    images = read_test_images(folder) if numbers else None
    return {} if images is None else {int(number): images[number] for number in numbers}


def _draw_index(summaries: Mapping[str, WrittenReport]) -> bytes:
    with without_collection():
        from pipeline.reporting.index_figure import effects  # slow: imports matplotlib
        from pipeline.reporting.style import png

    return png(effects(summaries))


def _write(folder: Path, data: ReportData, figures: Mapping[str, bytes]) -> None:
    for name in ("figures", "plots", "pages"):
        (folder / name).mkdir()
    for name, text in all_pages(data).items():
        write_text(folder / name, text)
    write_text(folder / "metrics.json", to_json(metrics(data)))
    write_text(folder / "protocol.json", to_json(protocol_facts(data)))
    write_text(folder / "table.tex", latex_table(data))
    write_table(folder / "seeds.csv", data.seeds)
    write_table(folder / "contrasts.csv", data.contrasts)
    write_table(folder / CLAIMS, data.claims)
    for name, frame in search_files(data).items():
        write_table(folder / "pages" / name, frame)
    for name, frame in plots(data).items():
        write_table(folder / "plots" / name, frame)
    for name, content in figures.items():
        (folder / "figures" / name).write_bytes(content)


def _settings_of_starts(folder: Path, plan: Plan) -> dict[str, RunConfig]:
    """Return the settings of the runs that others start from, as far as these are stored."""
    settings = {
        start.fingerprint: read_settings(folder / start.fingerprint) for start in plan.starts
    }
    return {name: config for name, config in settings.items() if config}


def _records(artifacts: Path, plan: Plan) -> Records:
    return {name: read_record(artifacts / plan.phase / name) for name in plan.fingerprints()}


if __name__ == "__main__":
    sys.exit(stage(main))
