"""Stage 8: writes the report of a protocol: Markdown, figures, metrics and plots, and apart from them the wall clock.

A stage of its own because it only shows: it trains nothing, scores nothing and tests nothing. With --verify it writes
nothing, but recomputes what is there from the predictions and compares bytes.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.config.parameters import read_parameters
from pipeline.config.plan import Plan, read_plan
from pipeline.data.prepared import read_summary
from pipeline.execution.stage import Incomplete, guarded, stage
from pipeline.execution.verification import differences
from pipeline.records.store import open_store, read_history, read_record
from pipeline.records.tables import read_table, write_table
from pipeline.reporting.frames import (
    Evidence,
    Records,
    audit_frame,
    curve_frame,
    draw_frame,
    member_frame,
    outcome_frame,
    pass_frame,
    rule_frame,
    run_frame,
    tried_frame,
)
from pipeline.reporting.gallery import drawn
from pipeline.reporting.pages import pages
from pipeline.reporting.style import png
from pipeline.reporting.summary import metrics, plots, timing_frame, timing_page
from pipeline.reporting.tables import counted
from pipeline.runtime.files import new_folder, read_sealed, to_json, write_text

PARAGRAPH = "\n\n"
PHASES = ("exploration", "confirmation")
TABLES = (
    "scores",
    "contrasts",
    "interactions",
    "variance",
    "published",
    "passes",
    "ensembles",
    "sizes",
    "reliability",
)


def main(protocol: str) -> None:
    """Reads `artifacts/<protocol>/` and writes `reports/<protocol>/` and the timing."""
    artifacts, target = Path("artifacts", protocol), Path("reports", protocol)
    evidence = read_evidence(artifacts)
    with new_folder(target) as staging:
        _write(staging, evidence)
    write_timing(protocol, evidence)
    write_text(target.parent / "README.md", index(target.parent))
    print(f"report: {target / 'report.md'}")


def write_timing(protocol: str, evidence: Evidence | None = None) -> None:
    """Writes the wall clock of a protocol's confirmation runs, as far as it is known on this machine."""
    artifacts, store = Path("artifacts", protocol), open_store()
    evidence = evidence or read_evidence(artifacts)
    known = {
        name: store.timing(name).get("seconds") for name in evidence.confirmation.fingerprints()
    }
    timing = timing_frame(
        evidence, {name: seconds for name, seconds in known.items() if seconds is not None}
    )
    write_text(
        artifacts / "timing.csv",
        timing.to_csv(index=False, float_format="%.4g", lineterminator="\n"),
    )
    write_text(Path("reports", protocol, "timing.md"), timing_page(evidence, timing))


def verify(protocols: Sequence[str]) -> None:
    """Recomputes the reports of these protocols, or of all in `params.yaml`. Raises Incomplete where one is another."""
    found = []
    for protocol in protocols or read_parameters().protocols:
        lines = differences(protocol)
        found += lines
        print(
            f"{protocol}: {counted(len(lines), 'difference')}" if lines else f"{protocol}: verified"
        )
    if found:
        raise Incomplete("\n".join(found))


def index(reports: Path) -> str:
    """The page that lists every report under a folder with its headline."""
    texts = {
        path.parent.name: path.read_text(encoding="utf-8")
        for path in sorted(reports.glob("*/report.md"))
    }
    lines = [
        f"- [{name}]({name}/report.md): {text.split(PARAGRAPH)[1]}" for name, text in texts.items()
    ]
    return f"# Reports\n\n{PARAGRAPH.join(lines)}\n"


def read_evidence(artifacts: Path) -> Evidence:
    """Everything a report needs from a protocol's artifacts. Raises Refusal where a stage has not run."""
    exploration, confirmation = (read_plan(artifacts / phase) for phase in PHASES)
    records = _records(artifacts / "exploration", exploration) | _records(
        artifacts / "confirmation", confirmation
    )
    confirmed = run_frame(confirmation, records)
    histories = {
        name: read_history(artifacts / "confirmation" / name)
        for name in confirmation.fingerprints()
    }
    tables = {name: read_table(artifacts / f"{name}.csv") for name in TABLES}
    scores = tables["scores"]
    return Evidence(
        exploration=exploration,
        confirmation=confirmation,
        runs=pd.concat([run_frame(exploration, records), confirmed], ignore_index=True),
        members=member_frame(confirmation, records),
        draws=draw_frame(confirmation, records),
        tried=tried_frame(read_sealed(artifacts / "choice.json")["tried"]),
        contrasts=tables["contrasts"],
        interactions=tables["interactions"],
        variance=tables["variance"],
        published=tables["published"],
        outcomes=outcome_frame(confirmation, scores),
        curves=curve_frame(confirmed, histories),
        audit=audit_frame(confirmed, records),
        rules=rule_frame(confirmation, scores),
        passes=pass_frame(confirmation, tables["passes"], scores),
        ensembles=tables["ensembles"],
        sizes=tables["sizes"],
        reliability=tables["reliability"],
        test_use=read_sealed(artifacts / "test_use.json"),
        data=read_summary(artifacts / "data"),
    )


def _write(folder: Path, evidence: Evidence) -> None:
    (folder / "figures").mkdir()
    (folder / "plots").mkdir()
    (folder / "pages").mkdir()
    for name, text in pages(evidence).items():
        write_text(folder / name, text)
    write_text(folder / "metrics.json", to_json(metrics(evidence)))
    for name, frame in plots(evidence).items():
        write_table(folder / "plots" / name, frame)
    for name, figure in drawn(evidence).items():
        (folder / "figures" / name).write_bytes(png(figure))


def _records(folder: Path, plan: Plan) -> Records:
    return {name: read_record(folder / name) for name in plan.fingerprints()}


if __name__ == "__main__":
    sys.exit(guarded(lambda: verify(sys.argv[2:])) if "--verify" in sys.argv[1:2] else stage(main))
