"""Write the page of one study of ensembles: ways to predict with the models of a group."""

from collections.abc import Iterator, Sequence
from math import isnan

from pipeline.comparison.calibration import FEWEST
from pipeline.comparison.equal_cost import SINGLE
from pipeline.config.plan import BASELINE, PlannedStudy
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import METHODS, ReportData, of
from pipeline.reporting.pages import _ensemble_gains as gains
from pipeline.reporting.pages._gains import SCALED, Gain
from pipeline.reporting.pages._page import MEAN_INTERVAL, Page, changes, runs_section, study_page

ORDER = 70
NO_VERDICTS = (
    '"One model" is the first baseline model of a group. Runs that collapsed count. This page has '
    "no verdicts. Intervals are not corrected: without any true effect, about 1 in "
    "20 of them excludes 0."
)
COST = (
    "Costs: FLOPs to train all models, and to predict one test example, divided by those of one "
    "baseline model; noise passes with the same output are counted once here (with few random "
    "blocks, there are only a few different ones), but not on the page of cost"
)
KINDS = {  # how the names of methods begin: what they average
    "one model": "the first baseline model of a group, or the run of the arm that is named, "
    "without averaging",
    "independent": "the mean over the baseline models of a group",
    "all arms": "the mean over one model of every arm, with the baseline",
    "greedy": "the mean over models chosen by greedy selection, see above",
    "last of": "the last snapshot or checkpoint of a run alone",
    "crops": "the mean over crops of an image, enlarged to its size",
    "augmented views": "the mean over augmented copies of an image",
    "noise passes": "the mean over forward passes with the noise of training",
    "moments": "one pass with the mean and variance of the noise",
}
SCORES = ("accuracy", "nll", "brier")  # equal in all groups: the same predictions
SCALED_WORDS = (
    "Scaled: after temperature scaling, fitted on validation examples. NLL after scaling can be "
    "compared between methods (Ashukha et al., ICLR 2020)"
)
SIZES = (
    "Test accuracy and negative log-likelihood against the number averaged, a row of panels for "
    "each method, with bands"
)
GROWING = (
    f"Lines: mean over groups. Band: {MEAN_INTERVAL}. n and rule: as in the first table. "
    "Independent models: mean over all subsets of that size. Other methods: the last snapshots or "
    "checkpoints of a run. Dashed line: one model, the first baseline model of every group."
)
DIAGRAM = (
    "Reliability diagrams: accuracy against confidence, a panel for each method, with the diagonal "
    "of perfect calibration and bars for the share of test examples by confidence"
)
POOLED = (
    "Groups are pooled; n: as in the first table. Rule: the arithmetic mean of probabilities. "
    f"Vertical line: exact binomial {md.INTERVAL}. Groups predict the same examples, so the "
    "interval is computed with the number of examples of one group, not of all groups. Bins with "
    f"fewer than {FEWEST} examples are left out."
)


def pages(data: ReportData) -> Iterator[Page]:
    """Yield a page for every study of ensembles."""
    for study in data.confirmation.studies_of("ensemble"):
        body = md.join_parts(
            f"# Study: {study.name}",
            f"{md.escape(study.question)} {changes(study)} {_groups(study)} {NO_VERDICTS}",
            *_results(data, study),
            runs_section(of(data.runs, study.name)),
        )
        yield study_page(study.name, body)


def equal_cost_table(methods: Sequence[Gain], groups: int, formatter: md.Formatter) -> str:
    """Return a row per method: its accuracy, and its gain over its reference.

    Methods with the best accuracy for their cost come first, by cost; the other methods by
    accuracy.

    Args:
        methods: In the order of the table `equal_cost`.
        groups: How many groups were planned.
        formatter: The format of scores.
    """
    changed = [method for method in methods if not _is_unchanged(method)]
    best = [method for method in gains.efficient(methods, formatter) if method in changed]
    others = [method for method in changed if method not in best]
    others.sort(key=lambda method: -method.rows["accuracy"]["mean"])
    shown = [*best, *others]
    rows = [_cells(method, formatter, is_efficient=method in best) for method in shown]
    cells, same = md.without_constant(rows, ("n",))
    caption = (
        f"{same} Bold: efficient methods, ordered by cost; the others are ordered by accuracy. n: "
        f"groups over which means are taken ({groups} were planned). Rule: the arithmetic mean of "
        "the probabilities of the averaged models or passes, or the geometric mean where named, on "
        f"the test examples. {COST}. Difference: in points of accuracy. Interval: {md.CONFIDENCE} "
        "Student-t interval of the mean difference, paired over groups, not corrected. A method is "
        "left out if its predictions equal those of the method that it is compared with. One model "
        "of an arm is in the table if a method averages its passes or views."
    )
    table = md.format_table(cells, caption.strip(), words=("method", "compared with"))
    return md.join_parts(table, md.folded("What the methods average", _kinds(shown)))


def calibration_table(methods: Sequence[Gain], formatter: md.Formatter) -> str:
    """Return a row per method: its scores of probabilities."""
    titles = {
        "nll": "NLL (nats)",
        SCALED: "NLL, scaled (nats)",
        "brier": "Brier",
        "calibration_error": "calibration error (%)",
        "calibration_error_scaled": "calibration error, scaled (%)",
        "disagreement": "disagreement (%)",
    }
    cells = []
    for method in methods:
        scores = {name: method.value(name) for name in titles}
        disagreement = formatter.percent(scores.pop("disagreement"))
        shown = {titles[name]: formatter.score(name, value) for name, value in scores.items()}
        cells.append({"method": method.name, **shown, titles["disagreement"]: disagreement})
    caption = (
        "Means over groups; n and rule: as in the first table. Intervals are not shown. "
        f"Calibration error: the mean of |confidence - accuracy| over bins with equal numbers of "
        f"examples. {SCALED_WORDS}. "
        "Disagreement: share of the test examples for which the predicted classes of two members "
        "differ, the mean over pairs of members."
    )
    return md.format_table(cells, caption, words=("method",))


def _results(data: ReportData, study: PlannedStudy) -> list[str]:
    """Return the sentences, the table and the figures; one line if no group is complete."""
    table = of(data.equal_cost, study.name)
    if table.empty:
        return ["**No group has all its baseline models done, so nothing was averaged.**"]
    methods, sizes = gains.methods_of(table, data.format), of(data.member_gains, study.name)
    bins = of(data.calibration, study.name)
    shown = [name for name in dict.fromkeys(bins["method"]) if name in METHODS]
    probable = [method for method in methods if method.name in shown]
    sentences = [
        gains.efficient_methods(methods, data.format),
        gains.scaled_gains(methods),
        gains.size_gains(sizes, data.format),
        gains.overconfidence(methods, shown, data.format),
        gains.optimism(methods),
    ]
    by_cost = equal_cost_table(methods, len(study.groups), data.format)
    size_image = f"![{SIZES}](../figures/ensemble_sizes_{study.name}.png)\n\n*{GROWING}*"
    return [
        md.format_bullets([sentence for sentence in sentences if sentence]),
        f"## Accuracy and cost of the methods\n\n{by_cost}",
        "## Number of members" if len(sizes) else "",
        size_image if len(sizes) else "",
        f"## Calibration\n\n{calibration_table(probable, data.format)}",
        f"![{DIAGRAM}](../figures/reliability_{study.name}.png)\n\n*{POOLED}*",
    ]


def _groups(study: PlannedStudy) -> str:
    """Return how groups are made, from the plan."""
    others = [arm.name for arm in study.arms if arm.name != BASELINE]
    once = f" Each group also has one run of {md.format_list(others)}." if others else ""
    return (
        f"The study has {md.format_count(len(study.groups), 'group')}. A group has one training "
        f"split and, on it, {md.format_count(study.size, 'baseline model')} that differ in initial "
        f"weights and batch order.{once}"
    )


def _is_unchanged(method: Gain) -> bool:
    """Return whether a method has a reference from which no group differs."""
    about = method.rows["accuracy"]
    unchanged = [
        rows["difference"] == 0 and isnan(rows["difference_low"])
        for name, rows in method.rows.items()
        if name in SCORES
    ]
    return about["role"] != SINGLE and all(unchanged)


def _kinds(methods: Sequence[Gain]) -> str:
    """Return the averaged networks of the methods in a table whose names do not give them."""
    notes = [
        f"**{kind}**: {words}."
        for kind, words in KINDS.items()
        if any(method.name.startswith(kind) for method in methods)
    ]
    return md.format_bullets(notes)


def _cells(method: Gain, formatter: md.Formatter, is_efficient: bool) -> dict[str, str]:
    about = method.rows["accuracy"]
    single = about["role"] == SINGLE
    return {
        "method": f"**{method.name}**" if is_efficient else method.name,
        "training cost": md.format_ratio(method.value("training_cost")),
        "test cost": md.format_ratio(method.value("test_cost")),
        "accuracy (%)": formatter.score("accuracy", method.value("accuracy")),
        "difference (points)": md.VOID
        if single
        else md.unbroken(method.change("accuracy", unit="")),
        "compared with": md.VOID if single else about["against"],
        "n": str(about["n"]),
    }
