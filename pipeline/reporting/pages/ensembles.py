"""Write the page of one study of ensembles: ways to predict with the models of a group."""

from collections.abc import Iterator, Sequence

from pipeline.comparison.calibration import FEWEST
from pipeline.comparison.equal_cost import SINGLE
from pipeline.config.plan import BASELINE, PlannedStudy
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import METHODS, ReportData, of
from pipeline.reporting.pages import _ensemble_gains as gains
from pipeline.reporting.pages._gains import SCALED, Gain
from pipeline.reporting.pages._page import MEAN_INTERVAL, Page, changes, runs_section, study_page

ORDER = 70
SHARED = "The first baseline model of a group is the confirmation run of its seed."
NO_VERDICTS = (
    "This page has no verdicts. Intervals are not corrected: without any true effect, about 1 in "
    "20 excludes 0."
)
COST = (
    "Training: FLOPs of all models trained for a row, as a multiple of one baseline training; "
    "passes: forward passes per test image; passes with equal output count once. Calibration "
    "error: over bins of equal mass. Scaled: after temperature scaling fitted on validation, which "
    "makes NLL comparable (Ashukha et al., ICLR 2020). Disagreement: test images on which the top "
    "classes of two members differ"
)
SIZES = (
    "Test accuracy and negative log-likelihood against the number averaged, a row of panels for "
    "each method, with bands"
)
GROWING = (
    f"Lines: mean over groups. Band: {MEAN_INTERVAL}. n: as in the table. Rule: the arithmetic "
    "mean of the probabilities of that number of members. Independent models: mean over all "
    "subsets of that size; other methods: the last members. Every panel has its own scale. Dashed "
    "line: the first baseline model of every group, the same in all panels."
)
DIAGRAM = (
    "Reliability diagram: accuracy against confidence for a few methods, over the diagonal of "
    "perfect calibration, and below it the number of test images by confidence"
)
POOLED = (
    "n: as in the table; all groups pooled, so every test image counts once per group. Rule: the "
    f"arithmetic mean of probabilities. No interval; above, bins of fewer than {FEWEST} images are "
    "left out."
)


def pages(data: ReportData) -> Iterator[Page]:
    """Yield a page for every study of ensembles."""
    for study in data.confirmation.studies_of("ensemble"):
        body = md.join_parts(
            f"# Study: {study.name}",
            f"{md.escape(study.question)} {changes(study)} {_groups(study)} {NO_VERDICTS}",
            *_results(data, study),
            runs_section(of(data.runs, study.name), SHARED, f"Runs of {study.name}"),
        )
        yield study_page(study.name, study.question, body)


def equal_cost_table(methods: Sequence[Gain], groups: int, formatter: md.Formatter) -> str:
    """Return a row per method: cost, scores, and its gain over the method it is compared with."""
    caption = (
        f"n: groups, of {groups} planned; means over them. Rule: the arithmetic mean of the "
        "probabilities of a row's members, or the geometric mean where named, on the test "
        f"images. {COST}. Differences: from the method that a row is compared with, points of "
        "accuracy and nats: a gain is above 0 in accuracy and below 0 in NLL. "
        f"Interval: {md.CONFIDENCE} Student-t interval of the mean difference, paired over the "
        "groups that have both, not corrected."
    )
    cells = [_cells(method, formatter) for method in methods]
    return md.format_table(cells, caption, words=("method", "compared with"))


def _results(data: ReportData, study: PlannedStudy) -> list[str]:
    """Return the sentences, the table and the figures; one line if no group is complete."""
    table = of(data.equal_cost, study.name)
    if table.empty:
        return ["**No group has all its baseline models done; nothing was averaged.**"]
    methods, sizes = gains.methods_of(table, data.format), of(data.member_gains, study.name)
    bins = of(data.calibration, study.name)
    shown = [name for name in dict.fromkeys(bins["method"]) if name in METHODS]
    sentences = [
        gains.averaging_gains(methods),
        gains.scaled_gains(methods),
        gains.cheapest_gains(methods),
        gains.size_gains(sizes, data.format),
        gains.overconfidence(methods, shown, data.format),
        gains.optimism(methods),
    ]
    size_image = f"![{SIZES}](../figures/ensemble_sizes_{study.name}.png)\n\n*{GROWING}*"
    return [
        md.format_bullets([sentence for sentence in sentences if sentence]),
        equal_cost_table(methods, len(study.groups), data.format),
        size_image if len(sizes) else "",
        f"![{DIAGRAM}](../figures/reliability_{study.name}.png)\n\n*{POOLED}*",
    ]


def _groups(study: PlannedStudy) -> str:
    """Return how groups are made, from the plan."""
    others = [arm.name for arm in study.arms if arm.name != BASELINE]
    once = f" Trained once per group: {md.format_list(others)}." if others else ""
    return (
        f"Groups planned: {len(study.groups)}. The models of a group share their training split; "
        f"its {md.format_count(study.size, 'baseline model')} differ in initial weights, batch "
        f"order and noise.{once} A group without one of its baseline models is left out."
    )


def _cells(method: Gain, formatter: md.Formatter) -> dict[str, str]:
    titles = {
        "accuracy": "accuracy (%)",
        "nll": "NLL (nats)",
        SCALED: "NLL scaled (nats)",
        "brier": "Brier",
        "calibration_error": "calibration error (%)",
        "calibration_error_scaled": "calibration error scaled (%)",
    }
    differences = {
        "accuracy": "difference (points)",
        "nll": "difference (nats)",
        SCALED: "difference scaled (nats)",
    }
    about = method.rows["accuracy"]
    single = about["role"] == SINGLE
    return {
        "method": method.name,
        "models trained": gains.mean_number(method.value("trainings")),
        "training (x baseline)": md.format_ratio(method.value("training_cost")),
        "passes": gains.mean_number(method.value("forward_passes")),
        **{title: formatter.score(name, method.value(name)) for name, title in titles.items()},
        "disagreement (%)": formatter.percent(method.value("disagreement")),
        "compared with": md.VOID if single else about["against"],
        **{
            title: md.VOID if single else method.change(name, unit="")
            for name, title in differences.items()
        },
        "n": str(about["n"]),
    }
