"""Write benchmarks/README.md, a table of the main results in benchmarks/results.

`make bench` calls it after the measurements.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent
HEAD = """# Benchmarks

Each `measure_*.py` writes one file of `results/`. `python benchmarks/summary.py` makes this page
from them. Ratios were taken within one run on two cores; seconds depend on the machine.

| what | result | target |
| --- | ---: | ---: |
"""


class Row(NamedTuple):
    """A line of the table; keys are separated by spaces.

    Attributes:
        what: What was measured.
        file: Name of the result file.
        form: Format of result and target.
        result: Keys of the result.
        target: Keys of the target, "" if there is none.
    """

    what: str
    file: str
    form: str
    result: str
    target: str = ""


ROWS = (
    Row(
        "a run over a bare PyTorch loop that scores as often, digits",
        "run",
        "{:.2f} times",
        "digits median_ratio",
        "digits bar",
    ),
    Row("the same at 28x28 pixels", "run", "{:.2f} times", "28x28 median_ratio", "28x28 bar"),
    Row(
        "a step of the slowest optimizer over torch's own in a bare loop",
        "optimizers",
        "{:.2f} times",
        "highest_median_ratio",
        "bar",
    ),
    Row(
        "share of the default grid's time that both cores spend on bare training",
        "grid",
        "{:.0%}",
        "once_workers_stand median",
        "once_workers_stand bar",
    ),
    Row(
        "the same, with the start of the stages",
        "grid",
        "{:.0%}",
        "with_their_start median",
        "with_their_start bar",
    ),
    Row(
        "the same runs with one process for each, over the engine",
        "alternatives",
        "{:.1f} times",
        "factor_process_for_each_run median",
    ),
    Row(
        "the same runs with one DVC stage for each, over the engine",
        "alternatives",
        "{:.1f} times",
        "factor_dvc_stage_for_each_run median",
    ),
    Row(
        "300 trivial runs",
        "orchestration",
        "{:.1f} s",
        "trivial_runs_300 median_seconds",
        "trivial_runs_300 bar",
    ),
    Row(
        "planning 10,000 runs",
        "orchestration",
        "{:.1f} s",
        "planning_10000_runs median_seconds",
        "planning_10000_runs bar",
    ),
    Row(
        "comparing and reporting 10,100 runs",
        "scale",
        "{:.0f} s",
        "sizes -1 seconds",
        "bars seconds",
    ),
    Row(
        "growth of a worker's memory over 500 runs",
        "memory",
        "{:.0f} MB",
        "growth",
        "bar_megabytes",
    ),
    Row(
        "most memory that a command needs with a million color images of 32x32",
        "large",
        "{:,.0f} MB",
        "at_most",
        "bar_megabytes",
    ),
    Row(
        "a run with 10 points of its learning curve over one scored at its end alone, digits",
        "curves",
        "{:.2f} times",
        "ratio_of_protocol",
    ),
    Row(
        "a linear probe that passes batches through its trunk, over one on stored features",
        "features",
        "{:.1f} times",
        "median_ratio",
        "bar",
    ),
    Row(
        "image files decoded per second",
        "images",
        "{:.0f}",
        "files images_per_second",
        "bars images_per_second",
    ),
    Row(
        "time of a report for data that no protocol names, over the forecast of `new`",
        "proposal",
        "{:.2f} times",
        "mean_ratio",
    ),
    Row(
        "exploration runs of these reports, over those before widening",
        "proposal",
        "{:.2f} times",
        "mean_widening",
        "allowed_widening",
    ),
    Row(
        "points of validation accuracy that the baseline of `digits` gains from 60 to 120 epochs",
        "budgets",
        "{:+.2f}",
        "epochs digits 120 gain",
    ),
    Row("the same for `mnist_5k`, 12 to 24", "budgets", "{:+.2f}", "epochs mnist_5k 24 gain"),
    Row(
        "the same for `fashion_mnist`, 6 to 12",
        "budgets",
        "{:+.2f}",
        "epochs fashion_mnist 12 gain",
    ),
    Row(
        "the same for `fashion_mnist_resnet`, 6 to 12",
        "budgets",
        "{:+.2f}",
        "epochs fashion_mnist_resnet 12 gain",
    ),
    Row("the same for `cifar10`, 15 to 30", "budgets", "{:+.2f}", "epochs cifar10 30 gain"),
    Row(
        "accuracy lost by the choice among 5 settings with 2 seeds, in points, simulated",
        "choice",
        "{:.2f}",
        "points_5_seeds_2 mean_of_all curve",
    ),
    Row("the same with 1 seed", "choice", "{:.2f}", "points_5_seeds_1 mean_of_all curve"),
    Row(
        "the same by the highest mean of 2 seeds",
        "choice",
        "{:.2f}",
        "points_5_seeds_2 mean_of_all mean",
    ),
    Row(
        "the same by a parabola of 2 seeds",
        "choice",
        "{:.2f}",
        "points_5_seeds_2 mean_of_all parabola",
    ),
    Row(
        "optima beyond a range of 5 settings that widening alone finds to one step, simulated",
        "choice",
        "{:.0%}",
        "widening repeats_0 found_beyond",
    ),
    Row(
        "the same with 3 further seeds of the last settings, as the pipeline has",
        "choice",
        "{:.0%}",
        "widening repeats_3 found_beyond",
    ),
    Row("runs of such a search", "choice", "{:.1f}", "widening repeats_0 runs_beyond"),
    Row("the same with these seeds", "choice", "{:.1f}", "widening repeats_3 runs_beyond"),
    Row(
        "reports with a false verdict by looks at 6, 12 and 24 seeds, simulated",
        "looks",
        "{:.1%}",
        "held family_wise",
        "bar",
    ),
    Row("the same by looks at test scores without a correction", "looks", "{:.1%}", "held peeking"),
    Row("intervals that cover after looks", "looks", "{:.1%}", "held coverage"),
    Row(
        "effects of one standard deviation that looks find",
        "looks",
        "{:.0%}",
        "effects 1.0 power_looks",
    ),
    Row("the same by 12 seeds", "looks", "{:.0%}", "effects 1.0 power_fixed"),
    Row(
        "bands of who leads after n trials that hold for all n, simulated",
        "searches",
        "{:.0%}",
        "budget covered",
    ),
    Row("equal arms of which one leads somewhere", "searches", "{:.1%}", "budget false_leader"),
    Row(
        "intervals of importance that cover, of what matters",
        "searches",
        "{:.0%}",
        "importance twice halves matters",
    ),
    Row(
        "intervals of halving against random search that cover",
        "searches",
        "{:.0%}",
        "methods halving covered",
    ),
    Row(
        "simulated reports of 13 equal arms at 12 seeds with a false verdict",
        "verdicts",
        "{:.1%}",
        "null seeds_12 verdict",
        "bars wrong",
    ),
    Row(
        "the same without the correction", "verdicts", "{:.1%}", "null seeds_12 verdict_uncorrected"
    ),
    Row(
        "the same where 5 % of the runs of arms collapse",
        "verdicts",
        "{:.1%}",
        "collapses arms_by_20 verdict",
        "bars wrong",
    ),
    Row(
        "the same where 5 % of the runs of the baseline collapse",
        "verdicts",
        "{:.1%}",
        "collapses baseline_by_20 verdict",
        "bars wrong",
    ),
    Row(
        "clean reports in which a run counts as collapsed",
        "verdicts",
        "{:.1%}",
        "null seeds_12 clean_report_flagged",
        "bars flagged",
    ),
    Row(
        "reports that name an arm without effect for a smaller gap",
        "verdicts",
        "{:.1%}",
        "null seeds_12 smaller_gap",
        "bars wrong",
    ),
    Row(
        "reports that call an arm at the margin equivalent, all 13 at the margin",
        "verdicts",
        "{:.1%}",
        "at_the_margin equivalent",
        "bars wrong",
    ),
    Row(
        "intervals of the best of 13 equal arms that cover its effect",
        "verdicts",
        "{:.1%}",
        "null seeds_12 named_arm_covered",
        "bars covered",
    ),
    Row(
        "intervals over seeds and test images that cover the effect on other images",
        "verdicts",
        "{:.1%}",
        "images by_image_0.6 crossed",
        "bars covered",
    ),
    Row("failures when a small run is killed at random moments", "torture", "{}", "failures"),
    Row("kills in that test", "torture", "{}", "iterations"),
)


def main() -> None:
    """Write the page."""
    lines = map(_line, ROWS)
    (FOLDER / "README.md").write_text(HEAD + "".join(lines), encoding="utf-8")


def _line(row: Row) -> str:
    file = FOLDER / "results" / f"{row.file}.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    result = row.form.format(_value(content, row.result))
    target = row.form.format(_value(content, row.target)) if row.target else ""
    return f"| {row.what} ([{row.file}](results/{row.file}.json)) | {result} | {target} |\n"


def _value(content: Any, keys: str) -> Any:
    for key in keys.split():
        content = content[int(key) if isinstance(content, list) else key]
    return content


if __name__ == "__main__":
    main()
