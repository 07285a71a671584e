"""Write the page of costs in training and at test, counted in operations."""

from collections.abc import Iterator

from pipeline.config.plan import BASELINE
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._page import Page

ORDER = 30


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    body = md.join_parts("# Cost", cost_table(data), budgets(data))
    yield Page("cost", "What training and testing cost, counted", body)


def cost_table(data: ReportData, study: str | None = None) -> str:
    """Return the cost of every arm in training and at test, or of one study alone."""
    baseline = data.baseline("training_flops")["mean"]
    rows = []
    for owner, arm in data.planned_arms:
        if study not in (None, owner) and arm.name != BASELINE:
            continue
        training = data.outcome(owner, arm.name, "training_flops")
        updates, forward = (
            data.outcome(owner, arm.name, cost)["mean"] for cost in ("updates", "forward_flops")
        )
        passes = arm.rule.members
        rows.append(
            {
                "arm": data.label(owner, arm.name),
                "training FLOPs": md.format_operations(training["mean"]),
                "training, of the baseline's": md.format_ratio(training["mean"] / baseline),
                "updates": md.format_operations(updates),
                "forward passes at test": str(passes),
                "FLOPs per test image": md.format_operations(passes * forward),
                "n": str(training["n"]),
            }
        )
    caption = (
        "Counted, not timed (your own runs write timing.md). n: done confirmation runs, of which "
        "this is the mean; no interval. Rule: the forward passes are those of each arm's test rule."
    )
    return md.format_table(rows, caption, words=("arm",))


def budgets(data: ReportData) -> str:
    """Return a line for every arm that took another number of updates than the baseline."""
    usual = data.baseline("updates")["mean"]
    lines = []
    for study, arm in data.planned_arms:
        updates = data.outcome(study, arm.name, "updates")["mean"]
        if updates < usual or updates > usual:
            lines.append(
                f"**{data.label(study, arm.name)}** took {md.format_operations(updates)} updates "
                f"on average, {md.format_ratio(updates / usual)} of the baseline's "
                f"{md.format_operations(usual)}."
            )
    if not lines:
        return "Every arm took as many updates as the baseline."
    words = (
        "Budgets differ, and so does how far the schedule of the learning rate had come: both are "
        "part of the effect."
    )
    return f"{words}\n\n{md.format_bullets(lines)}"
