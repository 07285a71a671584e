"""Draw the figures of a report, one file each: `figures(data)` yields their names and figures.

Drawing functions take a data frame and draw into a given `ax`.
"""

from types import FunctionType

from matplotlib.figure import Figure

from pipeline.reporting.evidence import ReportData
from pipeline.reporting.modules import load_modules, public_names


def all_figures(data: ReportData) -> dict[str, Figure]:
    """Return every figure by its file name, as the modules of this folder give them."""
    figures: dict[str, Figure] = {}
    for module in load_modules(__name__, public_names(__path__), {"figures": FunctionType}):
        figures |= {f"{name}.png": figure for name, figure in module.figures(data)}
    return figures
