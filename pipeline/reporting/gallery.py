"""Every figure of a report by its file name.

Separate from `figures.py`, which draws whatever frame it is given: here is which frame each picture shows.
"""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from pipeline.config.plan import BASELINE, PlannedEnsemble, PlannedStudy
from pipeline.config.test_rules import NOISE
from pipeline.reporting.diagrams import deviations, growth_curves, reliability_diagram, score_curves
from pipeline.reporting.figures import curves, forest, scatter, strengths
from pipeline.reporting.frames import Evidence, banded
from pipeline.reporting.growth import growth_frames, is_grown
from pipeline.reporting.methods import TOLD, method_rows, of, pooled, size_frame
from pipeline.reporting.style import DARK, colours
from pipeline.reporting.tables import decimals

MOST = 40  # intervals in one forest plot


def drawn(evidence: Evidence) -> dict[str, Figure]:
    """File name to figure; an arm has the same colour in all of them."""
    palette = colours(arm.name for _, arm in evidence.arms())
    primary = plotted(evidence.primary())
    labels = [
        _titled(evidence.label(row.study, row.arm), row.strength) for row in primary.itertuples()
    ]
    shown = {
        "forest.png": forest(
            primary, labels, evidence.confirmation.margin, palette, decimals(primary)
        ),
        "gap.png": scatter(_labelled(evidence), palette),
    }
    for study in evidence.confirmation.studies:
        frame = evidence.curves[evidence.curves["study"] == study.name]
        shown[f"curves_{study.name}.png"] = curves(frame, _titles(evidence, study), palette)
        if is_grown(study):
            shown[f"growth_{study.name}.png"] = growth_curves(*growth_frames(evidence, study))
        tried = evidence.tried[evidence.tried["study"] == study.name]
        if len(tried):
            shown[f"strengths_{study.name}.png"] = strengths(tried, palette)
        passes = evidence.passes[evidence.passes["study"] == study.name]
        if len(passes):
            shown[f"passes_{study.name}.png"] = _passes(evidence, passes, palette)
    for ensemble in evidence.confirmation.ensembles:
        shown |= _averaged(evidence, ensemble)
    for variance in evidence.confirmation.variances:
        own = evidence.variance[evidence.variance["study"] == variance.name]
        if len(own):
            shown[f"variance_{variance.name}.png"] = deviations(own, palette)
    return shown


def plotted(primary: pd.DataFrame) -> pd.DataFrame:
    """The contrasts of the forest plot: all, or of very many those of the largest differences, in their order."""
    if len(primary) <= MOST:
        return primary
    return primary.loc[primary["difference"].abs().nlargest(MOST).index.sort_values()]


def _passes(evidence: Evidence, passes: pd.DataFrame, palette: Mapping[str, str]) -> Figure:
    names = {(study, arm.name): evidence.named(study, arm.name) for study, arm in evidence.arms()}
    keys = zip(passes["study"], passes["arm"], strict=True)
    frame = passes.assign(label=[names[key] for key in keys]).rename(columns={"passes": "number"})
    colour = {name: palette[arm] for (_, arm), name in names.items()}
    declared = {
        names[study, arm.name] for study, arm in evidence.arms() if arm.rule == NOISE
    } & set(frame["label"])
    means = banded(frame, ["label", "number", "metric"], "value")
    return score_curves(means, colour, "noise passes averaged", "deterministic", declared)


def _averaged(evidence: Evidence, ensemble: PlannedEnsemble) -> dict[str, Figure]:
    """The figures of one study of ensembles; none where no group is complete."""
    scored, sizes, bins = (
        of(ensemble, frame) for frame in (evidence.ensembles, evidence.sizes, evidence.reliability)
    )
    if scored.empty:
        return {}
    single = next(row for row in method_rows(scored) if row.single)
    palette = colours([*TOLD[1:], *sizes["method"]]) | {single.name: DARK}
    shown = {f"reliability_{ensemble.name}.png": reliability_diagram(pooled(bins), palette)}
    if len(sizes):
        means = size_frame(sizes, single.means)
        shown[f"ensemble_sizes_{ensemble.name}.png"] = score_curves(
            means, palette, "members averaged", single.name
        )
    return shown


def _labelled(evidence: Evidence) -> pd.DataFrame:
    arms = [(study, arm.name) for study, arm in evidence.arms()]
    return pd.concat(
        evidence.confirmed(study, arm).assign(label=evidence.label(study, arm))
        for study, arm in arms
    )


def _titles(evidence: Evidence, study: PlannedStudy) -> dict[str, str]:
    primary = evidence.primary()
    rows = primary[primary["study"] == study.name].set_index("arm")["strength"]
    return {
        arm.name: _titled(arm.name, rows.get(arm.name, ""))
        for arm in study.arms
        if arm.name != BASELINE
    }


def _titled(name: str, strength: str) -> str:
    return f"{name} ({strength})" if strength else name
