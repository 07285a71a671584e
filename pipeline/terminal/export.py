"""Write a report as one file to send or to archive."""

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


def export_html(name: str, target: Path | None = None) -> None:
    """Write `reports/<name>.html`, or the file `target`.

    Args:
        name: The name of the report, a folder in `reports/`.
        target: The file to write; None for the default.

    Raises:
        Refusal: There is no report of that name and no protocol, the report of a protocol is not
            made yet, or the folder of the target does not exist.
    """
    names = {path.parent.name for path in REPORTS.glob("*/report.md")}
    names |= {*yaml_names(PROTOCOLS)}
    if name not in names:
        hint = f"; the file to write: --to {name}" if name.endswith((".html", ".htm")) else ""
        raise Refusal(unknown_name("export", name, names) + hint)
    pages, figures = report_files(REPORTS / name)
    file = target or REPORTS / f"{name}.html"
    content = web_page(pages, figures).encode()
    try:
        write_bytes(file, content)
    except OSError as error:
        raise Refusal(f"export: {file}: {error.strerror}; expected a file in a folder") from None
    say(f"export: {file} ({len(content) / 1e6:.1f} MB)")
