"""Define the command line: plan, run, show progress, and verify."""

import functools
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.config.parameters import PROTOCOLS, read_parameters
from pipeline.config.validation import invalid, options_of, unknown_name
from pipeline.config.yaml_files import yaml_names
from pipeline.execution.stage import report_errors
from pipeline.runtime.errors import Refusal
from pipeline.runtime.imports import without_collection
from pipeline.terminal.usage import OneLineGroup

if TYPE_CHECKING:
    from pipeline.planning.studies import Experiment

EXAMPLES = """Which regularizers close the train/validation gap, by how much, and at what cost.

\b
gapwise new PATH --minutes 30     a protocol for your own images, arrays or table
gapwise plan                      what would be trained, and for how long
gapwise run                       every stage that is not up to date, then the headline
gapwise run dropout mixup         these studies alone; reports/<protocol>+dropout+mixup
gapwise resolve                   the next declared look of arms that are inconclusive
gapwise claims                    which claims of lectures and papers hold here
gapwise restore                   results of the last commit; code and settings stay
gapwise status                    runs by study and state, with reasons
gapwise verify                    recompute reports from stored predictions
gapwise export --html             the report as one file, reports/<protocol>.html
gapwise diff HEAD~1 HEAD          what changed between two reports, for a pull request
gapwise judge scores.csv          verdicts on results of any other program
gapwise track --dry-run           what would be sent to Weights & Biases
gapwise doctor --model            where in the networks regularizers may act
gapwise doctor --gradients        compare every gradient with differences of the loss
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
        help="A protocol; give it again for more. Default: those of params.yaml.",
    ),
]
OneProtocol = Annotated[str | None, typer.Option("--protocol", metavar="NAME", help="A protocol.")]


def show_version(is_requested: bool) -> None:
    """Print the version and exit, if that is requested."""
    if is_requested:
        print(f"gapwise {version('gapwise')}")
        raise typer.Exit


@application.callback()
def options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
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
        typer.Argument(help="A folder with one for each class, an .npz, .npy, .csv or .parquet."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Of the protocol and its report. Default: that of PATH.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="From `gapwise run` to the report.")] = 30.0,
    model: Annotated[str | None, typer.Option(help="Your own network: module:Class.")] = None,
    arguments: Annotated[
        str | None, typer.Option(help="What its class is given, as JSON: '{\"channels\": 3}'.")
    ] = None,
    network: Annotated[str | None, typer.Option(help="cnn, resnet or mlp.")] = None,
    studies: Annotated[
        list[str] | None, typer.Option(help="A study of experiments/; give it again for more.")
    ] = None,
    train_size: Annotated[int | None, typer.Option(help="Training examples of a run.")] = None,
    test_fraction: Annotated[float | None, typer.Option(help="Share that is held out.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Examples of an update.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Of a run.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The middle of the range that is searched.")
    ] = None,
    exploration: Annotated[int | None, typer.Option(help="Seeds to choose settings on.")] = None,
    confirmation: Annotated[int | None, typer.Option(help="Fresh seeds.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="The largest difference that does not matter: 0.01.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a side, to resize to.")] = None,
    color: Annotated[str | None, typer.Option(help="rgb or grayscale.")] = None,
    white: Annotated[float | None, typer.Option(help="The level that becomes 1.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Those of an .npy file. Default: labels.npy beside it.")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="NHW, NHWC or NCHW.")] = None,
    unreadable: Annotated[
        str | None, typer.Option(help="What files do that cannot be read: refuse or skip.")
    ] = None,
    flips: Annotated[
        bool, typer.Option("--flips", help="Mirror images keep their label; study them too.")
    ] = False,
    label: Annotated[str | None, typer.Option(help="The column of the classes of a table.")] = None,
    split: Annotated[
        str | None, typer.Option(help="A column that says train, validation or test.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="A column whose rows of one value stay in one split.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="A column to leave out; give it again for more.")
    ] = None,
    category: Annotated[
        list[str] | None, typer.Option(help="A column of numbers that stand for categories.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Between the values of a row. Default: by the first line.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the protocol.")] = False,
) -> None:
    """Look at your data and write a protocol for them, with a reason for each value."""
    from pipeline.data.inspection.inspection import DataOptions
    from pipeline.planning.proposal import ProtocolOptions
    from pipeline.runtime.project import enter_project

    data = path.expanduser().absolute()
    of_labels = str(labels.expanduser().absolute()) if labels else None
    enter_project()
    with without_collection():
        from pipeline.terminal.new import show_new

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
        arguments=_json("--arguments", arguments),
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
    show_new(data, name, data_options, options, force)


@command
def plan(protocols: Protocols = None) -> None:
    """Print the runs, seeds and estimated minutes of every protocol."""
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
        list[str] | None, typer.Argument(help="Run these alone, as an experiment of DVC.")
    ] = None,
    protocols: Protocols = None,
    keep_going: Annotated[
        bool, typer.Option(help="Write the report without the runs that failed.")
    ] = False,
) -> None:
    """Reproduce every stage with DVC, then print headlines and the time of each stage."""
    from pipeline.execution.chosen_protocols import restore_parameters
    from pipeline.execution.plans import current_plans
    from pipeline.records.store import open_store

    restore_parameters()
    names = _existing(protocols)
    if not all(current_plans(open_store(), name) for name in names):
        _experiments(names)  # errors of all protocols, before anything is trained
    if studies:
        _run_alone(names, studies, keep_going)
        return
    _reproduce(names, keep_going)


@command
def resolve(
    arms: Annotated[
        list[str] | None, typer.Argument(help="Default: all that are inconclusive.")
    ] = None,
    protocol: OneProtocol = None,
) -> None:
    """Give inconclusive arms of a finished report the seeds of their next declared look.

    Without --protocol, of the first protocol of params.yaml.
    """
    from pipeline.execution.asked_looks import ask_for_looks
    from pipeline.execution.chosen_protocols import restore_parameters
    from pipeline.terminal.resolve import next_looks, show_looks  # slow: imports torch

    restore_parameters()
    name, *_ = _existing([protocol] if protocol else None)
    looks = next_looks(name, arms or [])
    show_looks(name, looks)
    ask_for_looks({name: looks})
    _reproduce([name], False)


@command
def claims(
    protocol: OneProtocol = None,
    train: Annotated[
        bool, typer.Option("--run", help="Run these studies, after their runs are printed.")
    ] = False,
) -> None:
    """Print what lectures and papers say, and how it came out in all reports.

    With --protocol: the claims of its report, and the studies that it needs for further ones.
    """
    with without_collection():  # slow: imports torch
        from pipeline.terminal.claims import LABEL, show_claims, show_claims_of

    if protocol is None:
        if train:
            raise Refusal("--run: no protocol; expected --protocol NAME")
        show_claims()
        return
    name, *_ = _existing([protocol])
    studies = show_claims_of(name)
    if train and studies:
        _run_alone([name], studies, keep_going=False, label=LABEL)


@command
def restore() -> None:
    """Return reports, dvc.lock and artifacts to the last commit; leave code and settings alone."""
    from pipeline.execution.experiments import restore_results

    print("\n".join(restore_results()))


@command
def status(protocols: Protocols = None) -> None:
    """Print how many runs of every study are done, failed, diverged or missing, and why."""
    from pipeline.terminal.status import show_status

    for name in _existing(protocols):
        show_status(name)


@command
def report(protocols: Protocols = None) -> None:
    """Write the reports again from the tables, and print their headlines."""
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
        bool, typer.Option("--history", help="Look in git for lines that the ledger has lost.")
    ] = False,
    retrain: Annotated[
        int, typer.Option(help="The number of random runs to train and predict again.", min=0)
    ] = 0,
    seed: Annotated[
        int | None,
        typer.Option(help="The seed of the choice of these runs. Default: random.", min=0),
    ] = None,
) -> None:
    """Plan reports again from their settings, recompute them from predictions and compare bytes."""
    from pipeline.execution.verification import Options
    from pipeline.execution.verification import verify as verify_reports

    names = _existing(protocols) if protocols else ()
    verify_reports(names, Options(history, retrain, seed))


@command
def diff(
    before: Annotated[str, typer.Argument(help="A folder, a name in reports/, or a commit.")],
    after: Annotated[str, typer.Argument(help="The same.")],
    protocols: Protocols = None,
) -> None:
    """Print what differs between two reports, as Markdown for a pull request.

    Of two commits, the reports of each protocol are compared.
    """
    from pipeline.terminal.diff import show_diff

    show_diff(before, after, protocols, read_parameters().protocols)


@command
def export(
    reports: Annotated[
        list[str] | None,
        typer.Argument(help="Names in reports/. Default: the protocols of params.yaml."),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="One HTML file, which opens without a network.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option(help="Of one report. Default: reports/<protocol>.html.")
    ] = None,
) -> None:
    """Write reports as single files."""
    from pipeline.terminal.export import export_html

    names = _protocol_names(reports)
    if not html:
        raise Refusal("--html: missing; expected this format")
    if to and len(names) > 1:
        raise Refusal(f"--to: {len(names)} reports in one file; expected one report")
    for name in names:
        export_html(name, to)


@command
def judge(
    scores: Annotated[
        Path | None, typer.Argument(help="A CSV file: a row per arm and seed, or a column per arm.")
    ] = None,
    glob: Annotated[
        str | None, typer.Option(help="CSV files instead, one per run: 'logs/**/metrics.csv'.")
    ] = None,
    wandb: Annotated[
        str | None, typer.Option(help="The runs of a project of W&B instead: entity/project.")
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Column or key of the arm. Default: arm.")] = None,
    seed: Annotated[str | None, typer.Option(help="That of the seed. Default: seed.")] = None,
    score: Annotated[
        str | None, typer.Option(help="Column of the score. Default: score, or test_accuracy.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="A CSV file with the columns arm, seed, image, correct: other images."),
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="The arm that others are compared with. Default: baseline.")
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER",
            help="The largest difference that does not matter. Default: one point.",
        ),
    ] = None,
    lower: Annotated[bool, typer.Option("--lower", help="Lower scores are better.")] = False,
    higher: Annotated[bool, typer.Option("--higher", help="Higher scores are better.")] = False,
    unit: Annotated[
        str | None, typer.Option(help="fraction (0.93), percent (93.0) or number.")
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="There is a column per arm.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Judge without runs that have no score.")
    ] = False,
    to: Annotated[
        Path | None, typer.Option(help="The folder to write. Default: <name>-judged, here.")
    ] = None,
) -> None:
    """Judge results that were trained anywhere: paired, corrected, with margin and power."""
    with without_collection():
        from pipeline.terminal import judge as judgement

    names = {"arm": arm, "seed": seed, "score": score}
    options = {
        "against": against,
        "margin": judgement.number("--margin", margin),
        "direction": judgement.direction(lower, higher),
        "unit": judgement.unit(unit),
        "wide": wide,
        "keep_going": keep_going,
    }
    table = judgement.read_table(scores, glob, wandb, names)
    judgement.show_judgement(table, options, to, images)


@command
def track(
    protocols: Protocols = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")
    ] = False,
) -> None:
    """Mirror to Weights & Biases what it does not have yet."""
    from pipeline import track as verb

    for name in _existing(protocols):
        (verb.dry_run if dry_run else verb.main)(name)


@command
def doctor(
    protocols: Protocols = None,
    model: Annotated[
        bool, typer.Option("--model", help="Show where in the networks regularizers may act.")
    ] = False,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Compare gradients with differences of the loss.")
    ] = False,
) -> None:
    """Check Python, torch, threads, git, DVC, W&B and the disk: one line each, with the remedy."""
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
    """Return these names, by default those of params.yaml."""
    return names or read_parameters().protocols


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
