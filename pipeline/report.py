"""Stage 8: write the report of a protocol: Markdown, figures, metrics and plots.

It trains, scores and tests nothing.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from pipeline.comparison.timing import timing
from pipeline.config.plan import Plan, read_plan
from pipeline.data.prepared import read_summary
from pipeline.execution.stage import stage
from pipeline.records.figures import current_figures, note_figures
from pipeline.records.runs import read_record
from pipeline.records.store import open_store
from pipeline.records.tables import read_table, write_table
from pipeline.reporting.dvc import metrics, plots
from pipeline.reporting.evidence import (
    TABLES,
    Records,
    ReportData,
    run_frame,
    searches_frame,
    tried_frame,
)
from pipeline.reporting.index import Summary, index_page
from pipeline.reporting.pages import all_pages
from pipeline.reporting.timing import timing_page
from pipeline.runtime.files import new_folder, read_sealed, to_json, write_text
from pipeline.runtime.imports import without_collection


def main(protocol: str) -> None:
    """Read `artifacts/<protocol>/` and write `reports/<protocol>/` and the timing."""
    artifacts, target = Path("artifacts", protocol), Path("reports", protocol)
    data = read_report_data(artifacts)
    figures = current_figures(artifacts, target / "figures") or _draw(artifacts, data)
    with new_folder(target) as staging:
        _write(staging, data, figures)
    write_timing(protocol, data)
    write_text(target.parent / "README.md", index_page(read_summaries(target.parent)))
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


def read_summaries(reports: Path) -> dict[str, Summary]:
    """Return what the index shows of every report of a protocol under a folder, by protocol.

    A folder named protocol+study has the report of a run of some studies alone.
    """
    summaries = {}
    for path in sorted(reports.glob("*/metrics.json")):
        if "+" in path.parent.name:
            continue
        written = json.loads(path.read_text(encoding="utf-8"))
        contrasts = read_table(path.parent / "plots" / "contrasts.csv")
        summaries[path.parent.name] = Summary(written, contrasts)
    return summaries


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
        **tables,
    )


def _draw(artifacts: Path, data: ReportData) -> dict[str, bytes]:
    with without_collection():
        from pipeline.reporting.plots import all_figures  # slow: imports matplotlib
        from pipeline.reporting.style import png

    figures = {name: png(figure) for name, figure in all_figures(data).items()}
    note_figures(artifacts, figures)
    return figures


def _write(folder: Path, data: ReportData, figures: Mapping[str, bytes]) -> None:
    for name in ("figures", "plots", "pages"):
        (folder / name).mkdir()
    for name, text in all_pages(data).items():
        write_text(folder / name, text)
    write_text(folder / "metrics.json", to_json(metrics(data)))
    for name, frame in plots(data).items():
        write_table(folder / "plots" / name, frame)
    for name, content in figures.items():
        (folder / "figures" / name).write_bytes(content)


def _records(artifacts: Path, plan: Plan) -> Records:
    return {name: read_record(artifacts / plan.phase / name) for name in plan.fingerprints()}


if __name__ == "__main__":
    sys.exit(stage(main))
