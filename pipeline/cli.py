"""Define the command line: plan, run, show progress, and verify."""

import functools
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.config.parameters import PROTOCOLS, read_parameters, read_valid_parameters
from pipeline.config.validation import Refusals, invalid, options_of, unknown_name
from pipeline.config.yaml_files import yaml_names
from pipeline.execution.stage import report_errors
from pipeline.runtime.errors import Refusal
from pipeline.runtime.imports import without_collection
from pipeline.terminal.usage import OneLineGroup

if TYPE_CHECKING:
    from pipeline.planning.studies import Experiment

EXAMPLES = """Find out which regularizers close the train/validation gap, and at what cost.

\b
gapwise new PATH --minutes 30     write a protocol for your images, arrays or table
gapwise plan                      show what would be trained, and for how long
gapwise run                       run every stage that is not up to date
gapwise run dropout mixup         run these studies only, into a separate report
gapwise resolve                   train the next look of inconclusive arms
gapwise claims                    show which claims of lectures and papers hold
gapwise restore                   restore the results of the last commit
gapwise status                    show the number of runs by study and state
gapwise verify                    recompute reports from stored predictions
gapwise export --html             write a report as one HTML file
gapwise diff HEAD~1 HEAD          show what changed between two reports
gapwise judge scores.csv          compare results of any other program
gapwise track --dry-run           show what would be sent to Weights & Biases
gapwise doctor                    check the installation
gapwise doctor --model            show where regularizers can act in the networks
gapwise doctor --gradients        compare gradients with finite differences
"""
REPORTS = Path("reports")
application = typer.Typer(
    add_completion=False,
    cls=OneLineGroup,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=EXAMPLES,
)
Protocols = Annotated[
    list[str] | None,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="Name of a protocol. Can be repeated. Default: the protocols of params.yaml.",
    ),
]
OneProtocol = Annotated[
    list[str] | None, typer.Option("--protocol", metavar="NAME", help="Name of a protocol.")
]


def show_version(is_requested: bool) -> None:
    """Print the version and exit, if that is requested."""
    if is_requested:
        print(f"gapwise {version('gapwise')}")
        raise typer.Exit


@application.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Define what the command line takes before a command."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make a function a command that turns errors of the user into lines and an exit code."""

    @functools.wraps(function)
    def guarded(*arguments: Any, **options: Any) -> None:
        def work() -> None:
            with options_of(function.__name__):
                function(*arguments, **options)

        sys.exit(report_errors(work))

    application.command()(guarded)
    return guarded


@command
def new(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Folder with one subfolder of images per class, or a .npz, .npy, .csv or "
            ".parquet file.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the protocol and its report. Default: the name of PATH."
        ),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(
            metavar="NUMBER", help="Total time of `gapwise run`, including the report, in minutes."
        ),
    ] = 30.0,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODULE:CLASS", help="Class of your own network, a torch module."),
    ] = None,
    arguments: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help="Keyword arguments of the class of --model, such as '{\"channels\": 3}'.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            metavar="cnn|mlp|resnet",
            help="Type of the network: convolutional, multilayer perceptron or residual. "
            "Default: depends on the data.",
        ),
    ] = None,
    studies: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name of a study in experiments/. Can be repeated. Default: the usual studies "
            "that apply to the data.",
        ),
    ] = None,
    train_size: Annotated[
        int | None, typer.Option(metavar="N", help="Number of training examples per run.")
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", help="Fraction of the examples for testing, in (0, 1)."),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", help="Number of examples per update.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Number of epochs per run.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(metavar="NUMBER", help="Center of the range of learning rates to search."),
    ] = None,
    exploration: Annotated[
        int | None, typer.Option(metavar="N", help="Number of seeds on which settings are chosen.")
    ] = None,
    confirmation: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of new seeds on which arms are compared."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Largest difference in accuracy that counts as equivalent, such as 0.01 for "
            "one point.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Side of the resized images of a folder, in pixels."),
    ] = None,
    color: Annotated[
        str | None,
        typer.Option(
            metavar="rgb|grayscale",
            help="Channels of the images of a folder. Default: as in the files.",
        ),
    ] = None,
    white: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER", help="Pixel level that is scaled to 1, such as 4095 for 12 bits."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labels for an .npy file of images. Default: labels.npy in the same folder.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            metavar="NHW|NHWC|NCHW",
            help="Axes of an array of images. Default: detected from the shape.",
        ),
    ] = None,
    unreadable: Annotated[
        str | None,
        typer.Option(
            metavar="refuse|skip",
            help="What to do with images that cannot be read: stop with an error, or leave "
            "them out.",
        ),
    ] = None,
    flips: Annotated[
        bool,
        typer.Option("--flips", help="Mirror images keep their label; adds the study of flips."),
    ] = False,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of a table with the classes.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column with the split of each row: train, validation or test."
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of groups, such as patients. Rows of one group stay in one split.",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Column to leave out. Can be repeated."),
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Column whose numbers are categories, such as zip codes. Can be repeated.",
        ),
    ] = None,
    separator: Annotated[
        str | None,
        typer.Option(
            metavar="CHAR",
            help="Separator between the columns of a table. Default: detected from the first line.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing protocol with this name.")
    ] = False,
) -> None:
    """Write a protocol for your data, with a reason for each value.

    Values without an option are chosen from the data and from the measured speed.
    """
    from pipeline.data.inspection import require_path
    from pipeline.data.inspection.inspection import DataOptions
    from pipeline.planning.proposal import ProtocolOptions
    from pipeline.runtime.project import enter_project

    data = path.expanduser().absolute()
    of_labels = str(labels.expanduser().absolute()) if labels else None
    enter_project()
    with without_collection():
        from pipeline.terminal.new import name_of_new, require_valid, show_new

    read_parameters()  # an error outside a project, before anything is timed
    refusals = Refusals()
    values = None
    with refusals.collect():
        require_path(data)
    with refusals.collect():
        values = _json("--arguments", arguments)
    data_options = DataOptions(
        labels=of_labels,
        size=size,
        color=color,
        white=white,
        layout=layout,
        unreadable=unreadable,
        flips_keep_labels=flips,
        label=label,
        split=split,
        group=group,
        ignore=tuple(ignore or ()),
        categories=tuple(category or ()),
        separator=separator,
    )
    options = ProtocolOptions(
        minutes=minutes,
        network=network,
        imported=model,
        arguments=values,
        train_size=train_size,
        test_fraction=test_fraction,
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=learning_rate,
        exploration=exploration,
        confirmation=confirmation,
        margin=margin,
        studies=tuple(studies) if studies else None,
    )
    with refusals.collect():
        name = name_of_new(data, name, force)
    with refusals.collect():
        require_valid(data_options, options)
    refusals.require_none()
    show_new(data, name, data_options, options)


@command
def plan(protocols: Protocols = None) -> None:
    """Print the runs, seeds and estimated minutes of each protocol."""
    from pipeline.terminal.plan import finished_plans, show_plan

    names = _existing(protocols)
    finished = [plans for plans in map(finished_plans, names) if plans]
    if len(finished) == len(names):
        for plans in finished:
            show_plan(plans)
        return
    with without_collection():  # slow: imports torch
        from pipeline.comparison.looks import decide
        from pipeline.evaluation.validation import validation_scores
        from pipeline.execution.forecast import forecast, seconds_per_run
        from pipeline.planning.effects import network_notes, weights_note
        from pipeline.planning.restricted import left_out_by_all, restriction_note
        from pipeline.planning.unreached import unreached_notes
        from pipeline.terminal.look_runs import show_look_runs
        from pipeline.terminal.tables import say

    for experiment in _experiments(names):
        name, seconds = experiment.protocol.name, seconds_per_run(experiment)
        expected = forecast(name, validation_scores, decide)
        show_plan((expected.exploration, expected.confirmation), expected.most_added, seconds)
        show_look_runs(expected, seconds)
        settings = experiment.protocol.network_settings()
        left_out = left_out_by_all(experiment.protocol, read_parameters())
        notes = (
            weights_note(settings),
            *network_notes(settings),
            *unreached_notes(experiment),
            restriction_note(name, left_out),
        )
        for note in filter(None, notes):
            say(f"note: {note}")


@command
def run(
    studies: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STUDIES",
            help="Run only these studies, into a separate report. Default: all studies.",
        ),
    ] = None,
    protocols: Protocols = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Write the report even if runs have failed.")
    ] = False,
) -> None:
    """Run every stage that is not up to date, then print the verdicts.

    DVC runs the stages. The time of each stage is printed at the end.
    """
    from pipeline.execution.chosen_protocols import restore_parameters
    from pipeline.execution.plans import current_plans
    from pipeline.records.store import open_store

    restore_parameters()
    names: Sequence[str] = ()
    refusals = Refusals()
    with refusals.collect():
        names = _existing(protocols)
    if studies:
        from pipeline.execution.experiments import require_studies

        with refusals.collect():
            require_studies(studies)
    refusals.require_none()
    if not all(current_plans(open_store(), name) for name in names):
        _experiments(names)  # errors of all protocols, before anything is trained
    if studies:
        _run_alone(names, studies, keep_going)
        return
    _reproduce(names, keep_going)


@command
def resolve(
    arms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARMS", help="Names of the arms to resolve. Default: all inconclusive arms."
        ),
    ] = None,
    protocol: OneProtocol = None,
) -> None:
    """Train the next declared look of inconclusive arms.

    A look adds confirmation seeds to an arm of a finished report. Without --protocol, the first
    protocol of params.yaml is used.
    """
    from pipeline.execution.asked_looks import ask_for_looks
    from pipeline.execution.chosen_protocols import restore_parameters
    from pipeline.terminal.resolve import next_looks, show_looks  # slow: imports torch

    restore_parameters()
    name = _one(protocol) or _existing(None)[0]
    looks = next_looks(name, arms or [])
    show_looks(name, looks)
    ask_for_looks({name: looks})
    _reproduce([name], False)


@command
def claims(
    protocol: OneProtocol = None,
    train: Annotated[
        bool, typer.Option("--run", help="Run the studies that further claims need.")
    ] = False,
) -> None:
    """Print claims of lectures and papers, and their outcomes.

    Without --protocol, it shows the outcomes in all reports. With --protocol, it shows the claims
    of its report, and the studies and runs that further claims need.
    """
    with without_collection():  # slow: imports torch
        from pipeline.terminal.claims import LABEL, show_claims, show_claims_of

    name = _one(protocol)
    if name is None:
        if train:
            raise Refusal("--run: no protocol; expected --protocol NAME")
        show_claims()
        return
    studies = show_claims_of(name)
    if train and studies:
        _run_alone([name], studies, keep_going=False, label=LABEL)


@command
def restore() -> None:
    """Restore reports, dvc.lock and artifacts from the last commit.

    Code and settings are not changed.
    """
    from pipeline.execution.experiments import restore_results

    print("\n".join(restore_results()))


@command
def status(protocols: Protocols = None) -> None:
    """Print the number of runs of each study by state.

    A run is done, failed, diverged or missing. The reasons of failed runs are printed too.
    """
    from pipeline.terminal.status import show_status

    for name in _existing(protocols):
        show_status(name)


@command
def report(protocols: Protocols = None) -> None:
    """Write the reports again from their tables, without training."""
    with without_collection():
        from pipeline import report as verb
        from pipeline.terminal.headline import show_headline

    for name in _existing(protocols):
        verb.main(name)
        show_headline(name)


@command
def verify(
    protocols: Protocols = None,
    history: Annotated[
        bool,
        typer.Option(
            "--history",
            help="Search git for entries removed from the ledgers of test-set evaluations.",
        ),
    ] = False,
    retrain: Annotated[
        int,
        typer.Option(
            metavar="N", help="Number of randomly chosen runs to train and predict again.", min=0
        ),
    ] = 0,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Seed of the random choice for --retrain. Default: random.", min=0
        ),
    ] = None,
) -> None:
    """Recompute reports from predictions and compare them byte by byte.

    Each report is also planned again from its settings files. Without --protocol, the protocols of
    params.yaml are verified, and the headlines of all other reports.
    """
    from pipeline.execution.verification import Options
    from pipeline.execution.verification import verify as verify_reports

    names = _existing(protocols) if protocols else ()
    verify_reports(names, Options(history, retrain, seed))


@command
def diff(
    before: Annotated[
        str,
        typer.Argument(
            metavar="BEFORE",
            help="The earlier report: a folder, the name of a folder in reports/, or a commit.",
        ),
    ],
    after: Annotated[
        str, typer.Argument(metavar="AFTER", help="The later report, in one of the same forms.")
    ],
    protocols: Protocols = None,
) -> None:
    """Print what changed between two reports, as Markdown.

    For two commits, the reports of each protocol are compared. The output fits the description of
    a pull request.
    """
    from pipeline.terminal.diff import show_diff

    show_diff(before, after, protocols, read_parameters().protocols)


@command
def export(
    reports: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REPORTS",
            help="Names of folders in reports/. Default: the protocols of params.yaml.",
        ),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Write one HTML file, which can be read offline.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write, if only one report is exported. Default: reports/<protocol>.html.",
        ),
    ] = None,
) -> None:
    """Write each report as one file."""
    from pipeline.terminal.export import export_html, require_reports

    names = _protocol_names(reports)
    if not html:
        raise Refusal("--html: missing; expected this format")
    if to and len(names) > 1:
        raise Refusal(f"--to: {len(names)} reports in one file; expected one report")
    require_reports(names)
    for name in names:
        export_html(name, to)


@command
def judge(
    scores: Annotated[
        Path | None,
        typer.Argument(
            metavar="SCORES",
            help="CSV file of scores, with a row per arm and seed, or with a column per arm.",
        ),
    ] = None,
    glob: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Pattern of CSV files with one run each, such as 'logs/**/metrics.csv'; "
            "replaces SCORES.",
        ),
    ] = None,
    wandb: Annotated[
        str | None,
        typer.Option(
            metavar="ENTITY/PROJECT",
            help="Project of Weights & Biases whose runs are read; replaces SCORES.",
        ),
    ] = None,
    arm: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column or key of the arm. Default: arm.")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column or key of the seed. Default: seed.")
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Column or key of the score. Default: score or test_accuracy."
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file with the columns arm, seed, image and correct, for intervals that "
            "include the choice of the test examples.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="ARM", help="Reference arm of all comparisons. Default: baseline."),
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="Largest difference that counts as equivalent, in units of the scores. "
            "Default: 0.01 for fractions, 1 for percent.",
        ),
    ] = None,
    lower: Annotated[bool, typer.Option("--lower", help="Lower scores are better.")] = False,
    higher: Annotated[bool, typer.Option("--higher", help="Higher scores are better.")] = False,
    unit: Annotated[
        str | None,
        typer.Option(
            metavar="fraction|percent|number",
            help="Unit of the scores: 0.93, 93.0, or any other number. Default: fraction for "
            "scores from 0 to 1 of which higher ones are better, otherwise number.",
        ),
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="SCORES has a column per arm. Default: detected.")
    ] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Leave out runs without a score.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder to write. Default: <name>-judged in the current folder."
        ),
    ] = None,
) -> None:
    """Compare arms in scores of any other program, and write a report.

    Differences to a reference are paired by seed, with intervals. P-values are corrected for the
    number of arms. The input is SCORES, --glob or --wandb.
    """
    with without_collection():
        from pipeline.terminal import judge as judgement

    names = {"arm": arm, "seed": seed, "score": score}
    options: dict[str, Any] = {"against": against, "wide": wide, "keep_going": keep_going}
    refusals = Refusals()
    with refusals.collect():
        options["margin"] = judgement.number("--margin", margin)
    with refusals.collect():
        options["direction"] = judgement.direction(lower, higher)
    with refusals.collect():
        options["unit"] = judgement.unit(unit)
    refusals.require_none()
    table = judgement.read_table(scores, glob, wandb, names)
    judgement.show_judgement(table, options, to, images)


@command
def track(
    protocols: Protocols = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent, without sending it.")
    ] = False,
) -> None:
    """Send missing runs and reports to Weights & Biases."""
    from pipeline import track as verb

    for name in _existing(protocols):
        (verb.dry_run if dry_run else verb.main)(name)


@command
def doctor(
    protocols: Protocols = None,
    model: Annotated[
        bool,
        typer.Option(
            "--model", help="Show where regularizers can act in the networks of the protocols."
        ),
    ] = False,
    gradients: Annotated[
        bool,
        typer.Option("--gradients", help="Compare gradients with finite differences of the loss."),
    ] = False,
) -> None:
    """Check the installation, with a remedy for each problem.

    The checks are of Python, torch, threads, git, DVC, Weights & Biases and the disk. With --model
    or --gradients, the networks of the protocols are checked instead.
    """
    if not (model or gradients):
        from pipeline.terminal.doctor import show_doctor

        show_doctor()
    if model:
        from pipeline.terminal.sites import show_sites

        for name in _existing(protocols):
            show_sites(name)
    if gradients:
        from pipeline.terminal.gradients import show_gradients

        for name in _existing(protocols):
            show_gradients(name)


def _reproduce(names: Sequence[str], keep_going: bool) -> None:
    """Bring protocols up to date, then print headlines and the time of each stage."""
    from pipeline.execution.dvc import reproduce
    from pipeline.execution.plans import keep_current_plans
    from pipeline.records.store import open_store
    from pipeline.terminal.headline import show_headline
    from pipeline.terminal.stages import show_stages

    seconds = reproduce(names, keep_going)
    for name in names:
        keep_current_plans(open_store(), name)
        if not (REPORTS / name / "timing.md").exists():  # DVC found the committed report unchanged
            from pipeline.report import write_timing  # slow to import, and seldom needed

            write_timing(name)
        show_headline(name)
    show_stages(seconds)


def _run_alone(
    names: Sequence[str], studies: Sequence[str], keep_going: bool, label: str = ""
) -> None:
    """Run some studies of protocols alone, and print the summary of each report.

    `label` is what the report is called after its protocol, in place of its studies.
    """
    from pipeline.execution.experiments import run_studies
    from pipeline.terminal.headline import show_summary
    from pipeline.terminal.stages import show_stages

    seconds, reports = run_studies(names, studies, keep_going, label)
    for path, text in reports.items():
        show_summary(path, text)
    show_stages(seconds)
    from pipeline.report import write_index  # slow to import

    write_index(REPORTS, redraw=False)  # which lists the reports of studies alone


def _json(option: str, text: str | None) -> dict[str, Any] | None:
    """Return the mapping that an option has as JSON.

    Raises:
        Refusal: It is another thing.
    """
    if text is None:
        return None
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise Refusal(invalid(option, text, 'a mapping as JSON, such as {"channels": 3}'))
    return values


def _experiments(names: Sequence[str]) -> "list[Experiment]":
    """Return the protocols with these names, with their studies.

    Raises:
        Refusal: A protocol is invalid; the error has the lines of all of them.
    """
    from pipeline.planning.studies import read_experiment

    experiments: list[Experiment] = []
    errors: list[str] = []
    for name in names:
        try:
            experiments.append(read_experiment(name))
            _require_sizes(experiments[-1])
        except Refusal as refusal:
            errors += refusal.lines
    if errors:
        raise Refusal(*dict.fromkeys(errors))
    return experiments


def _require_sizes(experiment: "Experiment") -> None:
    """Check that the data suffice for all splits, as far as labels are known before `prepare`.

    Raises:
        Refusal: They do not.
    """
    from pipeline.planning.sizes import require_arm_sizes, require_protocol_sizes

    development = require_protocol_sizes(experiment.protocol)
    if development is not None:
        require_arm_sizes(experiment, development)


def _protocol_names(names: Sequence[str] | None) -> Sequence[str]:
    """Return these names, by default those of params.yaml.

    Raises:
        Refusal: The file is invalid; the error also has the mistakes of its protocols.
    """
    if names:
        return names
    try:
        return read_parameters().protocols
    except Refusal:
        valid = read_valid_parameters()
        if valid is not None:
            _experiments(valid.protocols)  # which raises, too
        raise


def _one(protocols: Sequence[str] | None) -> str | None:
    """Return the protocol of a command that takes only one; None if none is named.

    Raises:
        Refusal: Several are named, or the named one does not exist.
    """
    names = list(dict.fromkeys(protocols or ()))
    if len(names) > 1:
        raise Refusal(f"--protocol: {', '.join(names)}; expected one protocol")
    return _existing(names)[0] if names else None


def _existing(protocols: Sequence[str] | None) -> Sequence[str]:
    """Return the named protocols, by default those of params.yaml.

    Raises:
        Refusal: One of the named ones does not exist.
    """
    existing = yaml_names(PROTOCOLS)
    unknown = [name for name in protocols or () if name not in existing]
    if unknown:
        raise Refusal(*(unknown_name("--protocol", name, existing) for name in unknown))
    return _protocol_names(protocols)
