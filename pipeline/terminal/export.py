"""Write a report as one file to send or to archive."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.parameters import PROTOCOLS
from pipeline.config.validation import unknown_name
from pipeline.config.yaml_files import yaml_names
from pipeline.records.reports import report_files
from pipeline.reporting.web_page import web_page
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_bytes
from pipeline.terminal.tables import say

REPORTS = Path("reports")


def require_reports(reports: Sequence[str]) -> None:
    """Check that there is a report or a protocol of every name.

    Args:
        reports: Names that a user has given.

    Raises:
        Refusal: There is none; the error has a line for each name.
    """
    existing = {path.parent.name for path in REPORTS.glob("*/report.md")}
    existing |= {*yaml_names(PROTOCOLS)}
    lines = []
    for name in reports:
        if name not in existing:
            is_file = name.endswith((".html", ".htm"))
            hint = f"; the file to write: --to {name}" if is_file else ""
            lines.append(unknown_name("export: REPORTS", name, existing) + hint)
    if lines:
        raise Refusal(*lines)


def export_html(name: str, target: Path | None = None) -> None:
    """Write `reports/<name>.html`, or the file `target`.

    Args:
        name: The name of the report, a folder in `reports/`.
        target: The file to write; None for the default.

    Raises:
        Refusal: The report is not made yet, or the folder of the target does not exist.
    """
    pages, figures = report_files(REPORTS / name)
    file = target or REPORTS / f"{name}.html"
    content = web_page(pages, figures).encode()
    try:
        write_bytes(file, content)
    except OSError as error:
        raise Refusal(f"export: {file}: {error.strerror}; expected a file in a folder") from None
    say(f"export: {file} ({len(content) / 1e6:.1f} MB)")
