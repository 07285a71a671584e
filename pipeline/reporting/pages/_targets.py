"""Write the time to target of a study: updates until an arm is as good as the baseline's end."""

import math

from pipeline.config.plan import BASELINE, PlannedStudy
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of

NEVER = "not reached"


def target_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the table and the figure; empty where no run has a curve."""
    rows = of(data.targets, study.name).to_dict("records")
    if not rows:
        return ""
    target = data.format.percent(rows[0]["target"])
    cells = [
        {
            "arm": row["arm"],
            **data.trials_cell(study.name, row["arm"]),
            "n": f"{row['n']:.0f}",
            "reached": f"{row['reached']:.0f}",
            "updates": _number(row["updates"]),
            "95 % interval": _interval(row["updates_low"], row["updates_high"]),
            "operations": _number(row["flops"]),
            "interval": _interval(row["flops_low"], row["flops_high"]),
            "sooner (%)": md.format_number(100 * row["sooner"], 0),
            "p": md.format_p(row["p"]),
            "p (Holm)": md.format_p(row["p_holm"]),
        }
        for row in rows
    ]
    caption = (
        f"n: done confirmation runs; reached: those that reach the target, {target} % validation "
        "accuracy, the median of the baseline's final ones. Rule: deterministic. Updates "
        "and operations (FLOPs) until then: medians over runs. Interval: exact, of order "
        "statistics. A run that never reaches it counts as infinitely late. Sooner: share of pairs "
        "of runs, of arm and reference, in which the arm is there first; ties count half. p: "
        "two-sided rank test of the operations against the reference; p (Holm): corrected "
        f"over {_family(data)}, apart from the verdicts."
    )
    image = (
        f"![Time to target in {study.name}: the share of runs of each arm that have reached the "
        f"target, against updates](../figures/targets_{study.name}.png)"
    )
    return md.join_parts(md.format_table(cells, caption, words=("arm",)), image)


def _family(data: ReportData) -> str:
    """Return how many rank tests the correction is over."""
    return md.format_count(len(data.targets[data.targets["arm"] != BASELINE]), "such test")


def _number(value: float) -> str:
    return NEVER if math.isinf(value) else md.format_operations(value)


def _interval(low: float, high: float) -> str:
    """Return both ends; nothing where there are too few runs for an interval."""
    return md.VOID if math.isnan(low) else f"[{_number(low)}, {_number(high)}]"
