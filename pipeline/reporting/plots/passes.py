"""Draw test scores against the number of noise passes averaged, for every arm with noise."""

from collections.abc import Iterator

from matplotlib.figure import Figure

from pipeline.config.test_rules import NOISE
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.plots._scores import score_curves
from pipeline.reporting.style import arm_colors


def figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every study with an arm that has noise."""
    palette = arm_colors(data)
    for study in data.confirmation.studies_of("comparison"):
        rows = of(data.pass_gains, study.name)
        if rows.empty:
            continue
        labels = {arm.name: data.named(study.name, arm.name) for arm in study.arms}
        frame = rows.assign(label=rows["arm"].map(labels), number=rows["passes"])
        color = {label: palette[arm] for arm, label in labels.items()}
        declared = {labels[arm.name] for arm in study.arms if arm.rule == NOISE}
        starred = declared & set(frame["label"])
        words = ("noise passes averaged", "deterministic")
        yield f"passes_{study.name}", score_curves(frame, color, *words, starred)
