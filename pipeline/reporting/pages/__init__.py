"""Write the pages of a report, one file each: `pages(data)` yields those that have content.

The front page is `front`; the other pages follow in the order of their `ORDER`.
"""

from types import FunctionType

from pipeline.reporting.evidence import ReportData
from pipeline.reporting.modules import load_modules, public_names
from pipeline.reporting.pages._page import Page
from pipeline.reporting.pages.front import front_page

BACK = "[← the report](../report.md)"
REQUIRED = {"ORDER": int, "pages": FunctionType}


def all_pages(data: ReportData) -> dict[str, str]:
    """Return Markdown by file name, relative to the folder of the report; the front page first."""
    pages = behind_pages(data)
    behind = {f"pages/{page.name}.md": f"{BACK}\n\n{page.body}\n" for page in pages}
    return {"report.md": front_page(data, pages), **behind}


def behind_pages(data: ReportData) -> list[Page]:
    """Return every page except for the front page, from the modules of this folder."""
    names = [name for name in public_names(__path__) if name != "front"]
    modules = load_modules(__name__, names, REQUIRED)
    ordered = sorted(modules, key=lambda module: module.ORDER)
    return [page for module in ordered for page in module.pages(data)]
