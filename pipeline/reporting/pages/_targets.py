"""Write the time to target of a study: updates until an arm is as good as the baseline's end."""

import math

from pipeline.config.plan import BASELINE, PlannedStudy
from pipeline.records.tables import rows_of
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.pages._looks import weight_note
from pipeline.reporting.pages._pretrainings import FROM_PAGE, cost_note


def target_section(data: ReportData, study: PlannedStudy) -> str:
    """Return the table and the figure; empty if no run has a curve."""
    rows = rows_of(of(data.targets, study.name))
    if not rows:
        return ""
    target = data.format.percent(rows[0]["target"])
    cells = [
        {
            "arm": row["arm"],
            **data.trials_cell(study.name, row["arm"]),
            "n": f"{row['n']:.0f}",
            "reached": f"{row['reached']:.0f}",
            f"updates [{md.INTERVAL}]": md.unbroken(
                f"{_number(row['updates'])} "
                f"{_interval(row['updates_low'], row['updates_high'])}".strip()
            ),
            "operations": _number(row["flops"]),
            "pairs ahead (%)": md.format_number(100 * row["sooner"], 0),
            "p (Holm)": md.format_p(row["p_holm"]),
        }
        for row in rows
    ]
    shown, same = md.without_constant(cells, ("n",))
    caption = (
        f"{same} Target: {target} % validation accuracy, the median of the baseline at the end of "
        "training. n: runs that are completed or diverged; a diverged run never reaches the "
        "target. Reached: runs that reach the target. Updates, operations (FLOPs): how many a run "
        "takes to reach the target (median over runs; interpolated between the "
        f"{md.format_count(_points(data, study), 'point')} of a curve). {md.NEVER}: not reached in "
        "training. Rule: deterministic. Interval: exact interval of the median, from order "
        "statistics. Pairs ahead: every run of the arm is paired with every run of its reference. "
        "The number is the share of pairs in which the run of the arm reaches the target after "
        "fewer operations; ties count half, so 50 means no difference. p (Holm): two-sided rank "
        f"test of the operations, corrected over {_family(data)}, separate from the verdicts."
        f"{weight_note(data, 'the arm', '; intervals of medians are not corrected')}"
        f"{cost_note(data, FROM_PAGE)}"
    )
    image = (
        f"![Time to target in {study.name}: the share of runs of each arm that have reached the "
        f"target, against updates](../figures/targets_{study.name}.png)"
    )
    return md.join_parts(md.format_table(shown, caption.strip(), words=("arm",)), image)


def _family(data: ReportData) -> str:
    """Return the number of rank tests in the correction."""
    return md.format_count(len(data.targets[data.targets["arm"] != BASELINE]), "such test")


def _points(data: ReportData, study: PlannedStudy) -> int:
    """Return the numbers of updates at which the curves of the baseline were scored."""
    rows = of(data.curves, study.name)
    is_one = (rows["arm"] == BASELINE) & (rows["split"] == "validation")
    return len(set(rows.loc[is_one, "updates"]))


def _number(value: float) -> str:
    return md.NEVER if math.isinf(value) else md.format_operations(value)


def _interval(low: float, high: float) -> str:
    """Return both ends of an interval; empty if there are too few runs."""
    return md.format_interval(low, high, _number)
