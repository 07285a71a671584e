"""Write the diagnosis of a protocol: bias or variance, and which arms address it."""

from pipeline.comparison.levels import LEVEL
from pipeline.comparison.verdicts import Verdict
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.markdown import format_bullets, format_count, format_list, join_parts

ADVICE = {
    "variance": "The gap is larger than the avoidable bias: the problem is **variance**, the "
    "network overfits. Regularizers and more data are the usual remedies{result}.",
    "bias": "The avoidable bias is larger than the gap: the problem is **bias**, the network does "
    "not fit its training examples. Try a larger network or longer training first; add a "
    "regularizer only if the network then overfits.",
    "both": "Neither is clearly larger: the problem is **both** bias and variance. A larger "
    "network or longer training reduces bias; regularizers reduce variance but may increase bias.",
    "neither": "Both are within the margin: little is left for a regularizer to improve.",
}


def baseline_problem(data: ReportData) -> str:
    """Return the problem of the baseline, as in `ADVICE`; empty if none of its runs is done."""
    problems = data.diagnosis.loc[data.diagnosis["problem"] != "", "problem"]
    return "" if problems.empty else str(problems.iloc[0])


def diagnosis_section(data: ReportData) -> str:
    """Return the baseline's errors, the problem, and which arms address it."""
    rows = data.diagnosis[data.diagnosis["problem"] != ""].set_index("measure")
    if rows.empty:
        return "No baseline run is done, so there is nothing to diagnose."
    problem = baseline_problem(data)
    error, gap = (rows.loc[name].to_dict() for name in ("training_error", "gap"))
    percent, best = data.format.percent, data.confirmation.optimal_error
    start = (
        f"The baseline has a training error of {data.format.percent_band(error)} %. The best "
        f"possible error is assumed to be {percent(best)} % (`optimal_error`), so the avoidable "
        "bias (training error minus best possible error) is "
        f"{percent(rows.loc['avoidable_bias', 'mean'])} points. "
        "The gap (validation error minus training error) is "
        f"{data.format.percent_band(gap)} points. {ADVICE[problem].format(result=_result(data))}"
    )
    lines = [_closing(data)]
    if problem in ("bias", "both"):
        lines.append(_fitting(data))
    return join_parts(start, format_bullets([line for line in lines if line]))


def _result(data: ReportData) -> str:
    """Return the number of arms of the report that were shown to help."""
    number = len(data.distinct[data.distinct["verdict"] == Verdict.HELPS])
    arms = format_count(len(data.distinct), "arm")
    if not number:
        return f", but none of the {arms} tried here is shown to raise test accuracy"
    return f". Of {arms}, {number} {'helps' if number == 1 else 'help'}"


def _closing(data: ReportData) -> str:
    """Return the arms that are shown to have a smaller gap, and not to help; "" without any."""
    helps = data.primary["verdict"] == Verdict.HELPS
    helping = set(data.primary.loc[helps, "label"])
    gaps = data.contrasts[(data.contrasts["metric"] == "gap") & ~data.contrasts["repeats"]]
    gaps = gaps[gaps["p_holm"].lt(LEVEL) & gaps["difference"].lt(0)]
    higher = data.primary["withheld"].astype(bool) & data.primary["difference"].gt(0)
    withheld = set(data.primary.loc[higher & data.primary["p_holm"].lt(LEVEL), "label"])
    names = []
    for row in rows_of(gaps.sort_values("difference", kind="stable")):
        label = data.label(row["study"], row["arm"])
        if label not in helping:
            reason = "; inconclusive because of lost runs" if label in withheld else ""
            names.append(f"**{label}** ({data.format.joint_change(row)}{reason})")
    if not names:
        return ""
    return (
        'Gap shown to be smaller, but not "helps" (change of gap; interval for all arms at once): '
        f"{format_list(names)}."
    )


def _fitting(data: ReportData) -> str:
    """Return the arms that fit the training examples better than the baseline, paired by seed."""
    rows = data.diagnosis[data.diagnosis["measure"] == "train_accuracy"]
    arms = format_count(len(rows), "arm")
    rows = rows[rows["p_holm"].lt(LEVEL) & rows["mean"].gt(0)]
    rows = rows.sort_values("mean", ascending=False, kind="stable")
    if rows.empty:
        return "No arm of this report is shown to fit the training examples better."
    names = [
        f"**{data.label(row['study'], row['arm'])}** "
        f"({data.format.points(row['mean'])} points of train accuracy "
        f"{data.format.points_interval(row['low'], row['high'])})"
        for row in rows_of(rows)
    ]
    return (
        "Arms shown to have less training error than the baseline (Holm's correction over "
        f"{arms}{_looks(data)}; intervals not corrected): "
        f"{format_list(names)}."
    )


def _looks(data: ReportData) -> str:
    return ", each corrected for its looks" if data.confirmation.looks else ""
