"""Every figure of a report by its file name.

Separate from `figures.py`, which draws whatever frame it is given: here is which frame each picture shows.
"""

import pandas as pd
from matplotlib.figure import Figure

from pipeline.config.plan import PlannedStudy
from pipeline.config.studies import BASELINE
from pipeline.reporting.figures import curves, forest, scatter, strengths
from pipeline.reporting.frames import Evidence
from pipeline.reporting.style import colours
from pipeline.reporting.tables import decimals


def drawn(evidence: Evidence) -> dict[str, Figure]:
    """File name to figure; an arm has the same colour in all of them."""
    palette = colours(arm.name for _, arm in evidence.arms())
    primary = evidence.primary()
    labels = [_titled(evidence.label(row.study, row.arm), row.strength) for row in primary.itertuples()]
    shown = {
        "forest.png": forest(primary, labels, evidence.confirmation.margin, palette, decimals(primary)),
        "gap.png": scatter(_labelled(evidence), palette),
    }
    for study in evidence.confirmation.studies:
        frame = evidence.curves[evidence.curves["study"] == study.name]
        shown[f"curves_{study.name}.png"] = curves(frame, _titles(evidence, study), palette)
        tried = evidence.tried[evidence.tried["study"] == study.name]
        if len(tried):
            shown[f"strengths_{study.name}.png"] = strengths(tried, palette)
    return shown


def _labelled(evidence: Evidence) -> pd.DataFrame:
    arms = [(study, arm.name) for study, arm in evidence.arms()]
    return pd.concat(evidence.confirmed(study, arm).assign(label=evidence.label(study, arm)) for study, arm in arms)


def _titles(evidence: Evidence, study: PlannedStudy) -> dict[str, str]:
    primary = evidence.primary()
    rows = primary[primary["study"] == study.name].set_index("arm")["strength"]
    return {arm.name: _titled(arm.name, rows.get(arm.name, "")) for arm in study.arms if arm.name != BASELINE}


def _titled(name: str, strength: str) -> str:
    return f"{name} ({strength})" if strength else name
