"""The figures of a report, one file each: `figures(data)` yields their names and figures.

Drawing functions take a data frame and draw into a given `ax`.
"""

import importlib
import pkgutil

from matplotlib.figure import Figure

from pipeline.reporting.evidence import ReportData


def all_figures(data: ReportData) -> dict[str, Figure]:
    """Return every figure by its file name, as the modules of this folder give them."""
    found: dict[str, Figure] = {}
    for module in sorted(
        module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")
    ):
        figures = importlib.import_module(f"{__name__}.{module}").figures
        found |= {f"{name}.png": figure for name, figure in figures(data)}
    return found
