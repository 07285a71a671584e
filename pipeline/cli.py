"""The command line over the stages: what would run, running it, where it stands, and whether it can be trusted.

Separate from the stages, which DVC calls one by one.
"""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipeline.config.parameters import read_parameters
from pipeline.config.plan import last_plan
from pipeline.execution.dvc_lock import keep_dvc_lock, mend_dvc_lock
from pipeline.execution.stage import Incomplete, guarded
from pipeline.planning.protocols import document_of
from pipeline.planning.resolution import resolved
from pipeline.planning.studies import Experiment, read_experiment
from pipeline.records.store import open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.locks import held
from pipeline.runtime.signals import end_with_parent, held_back
from pipeline.terminal.headline import show_headline
from pipeline.terminal.plans import show_plan
from pipeline.terminal.states import show_states

EXAMPLES = """Which regularizers close the train/validation gap, by how much, and at what cost.

\b
gapwise plan                      what would be trained, and for how long
gapwise run                       every stage that is not up to date, then the headline
gapwise run dropout mixup         these studies alone, as an experiment of DVC
gapwise status                    runs by study and state, with reasons
gapwise verify digits             is the report what its predictions give?
gapwise track --dry-run           what Weights & Biases would be sent
gapwise doctor --model            where in the networks regularizers may act
"""
application = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help=EXAMPLES,
)
ARTIFACTS, REPORTS, EXPERIMENTS = Path("artifacts"), Path("reports"), Path("experiments")
PATIENCE = 10.0  # seconds that DVC may take to end after Control-C
PHASES = {"exploration": "train", "confirmation": "confirm"}
DVC = (sys.executable, "-m", "pipeline.execution.reproduction", "--wait-for-lock")
Protocols = Annotated[
    list[str] | None, typer.Argument(help="Those of params.yaml where none is named.")
]


@application.command()
def plan() -> None:
    """Print the runs, seeds and estimated minutes of every protocol in params.yaml, without training."""
    sys.exit(guarded(_plan))


@application.command()
def run(
    studies: Annotated[
        list[str] | None, typer.Argument(help="Run these alone, as an experiment of DVC.")
    ] = None,
    keep_going: Annotated[
        bool, typer.Option(help="Report with what there is when runs have failed.")
    ] = False,
) -> None:
    """Reproduce every stage with DVC, then print the headline tables and the reports' paths."""
    sys.exit(guarded(lambda: _run(studies or [], keep_going)))


@application.command()
def status() -> None:
    """Print how many runs of every study are done, failed, diverged or missing, and why."""
    sys.exit(guarded(_status))


@application.command()
def report(protocols: Protocols = None) -> None:
    """Write the reports again from the tables there are, and print their headlines."""
    sys.exit(guarded(lambda: _each(_report, protocols)))


@application.command()
def verify(protocols: Protocols = None) -> None:
    """Recompute reports from the stored predictions in a temporary folder and compare bytes."""
    from pipeline import report as verb

    sys.exit(guarded(lambda: verb.verify(protocols or [])))


@application.command()
def track(
    protocols: Protocols = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")
    ] = False,
) -> None:
    """Mirror to Weights & Biases what it does not have yet."""
    from pipeline import track as verb

    sys.exit(
        guarded(lambda: verb.foretell(protocols or []) if dry_run else _each(verb.main, protocols))
    )


@application.command()
def doctor(
    model: Annotated[
        bool, typer.Option("--model", help="Show where in the networks regularizers may act.")
    ] = False,
) -> None:
    """Look at Python, torch, threads, git, DVC, W&B and the disk: one line each, with the mend."""
    sys.exit(guarded(_networks if model else _examine))


def _experiments() -> list[Experiment]:
    """Every protocol to reproduce, checked; all errors at once."""
    found: list[Experiment] = []
    errors: list[str] = []
    for name in read_parameters().protocols:
        try:
            found.append(read_experiment(name))
        except Refusal as refusal:
            errors += refusal.lines
    if errors:
        raise Refusal(*dict.fromkeys(errors))
    return found


def _plan() -> None:
    for experiment in _experiments():
        show_plan(experiment)


def _status() -> None:
    for experiment in _experiments():
        show_states(experiment, open_store())


def _run(studies: Sequence[str], keep_going: bool) -> None:
    names = [experiment.protocol.name for experiment in _experiments()]
    _require_known(studies)
    with held():
        mended = mend_dvc_lock()
        if mended:
            print(mended)
        phases = [ARTIFACTS / name / phase for name in names for phase in PHASES]
        open_store().restore(phases)
        words = ("exp", "run", "-S", f"studies=[{','.join(studies)}]") if studies else ("repro",)
        _retry_failed(names, keep_going)
        _reproduce(words, keep_going)
        if not keep_going and _retry_failed(
            names, keep_going
        ):  # from DVC's cache, after a killed retry
            _reproduce(words, keep_going)
        keep_dvc_lock()
    for name in names:
        _keep_timing(name)
        show_headline(name)


def _require_known(studies: Sequence[str]) -> None:
    """Raises Refusal for a study that does not exist, before DVC writes it into `params.yaml`."""
    known = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
    unknown = [study for study in studies if study not in known]
    if unknown:
        raise Refusal(f"run: {unknown[0]!r} does not exist; allowed are: {', '.join(known)}")


def _retry_failed(names: list[str], keep_going: bool) -> bool:
    """Sends back to work the phases that were assembled with failed runs, which DVC takes for done; tells if any was.

    Raises Incomplete where they fail again.
    """
    store, found = open_store(), False
    for name, (phase, verb) in itertools.product(names, PHASES.items()):
        last = last_plan(ARTIFACTS / name / phase)
        if last and any(store.state(run) in ("failed", "missing") for run in last.fingerprints()):
            found = True
            _reproduce(("repro", "--single-item", "--force", f"{verb}@{name}"), keep_going)
    return found


def _reproduce(words: Sequence[str], keep_going: bool) -> None:
    """Lets DVC do it. Raises Incomplete where a stage fails, KeyboardInterrupt once DVC has ended after one."""
    environment = os.environ | ({"GAPWISE_KEEP_GOING": "1"} if keep_going else {})
    with held_back(signal.SIGINT):  # until DVC can answer
        process = subprocess.Popen([*DVC, *words], env=environment, preexec_fn=end_with_parent)
    try:
        process.wait()
    except KeyboardInterrupt:
        _end(process)
        print("interrupted; what is finished is kept: run again to go on")
        raise
    if process.returncode:
        raise Incomplete(
            "the run stopped before its report; what it finished is kept: mend what is named above and run again"
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Waits for DVC, which Control-C has reached too, to put its files in order; ends it where nothing but this was told."""
    while process.poll() is None:
        try:
            process.wait(PATIENCE)
        except KeyboardInterrupt:
            continue
        except subprocess.TimeoutExpired:
            process.terminate()


def _keep_timing(protocol: str) -> None:
    """Writes the timing where DVC found the report as it was, and so had no reason to run its stage."""
    if not (REPORTS / protocol / "timing.md").exists():
        from pipeline import report as verb  # figures are slow to import, and seldom needed here

        verb.write_timing(protocol)


def _each(work: Callable[[str], None], protocols: Sequence[str] | None) -> None:
    for name in protocols or read_parameters().protocols:
        work(name)


def _report(name: str) -> None:
    from pipeline import report as verb

    verb.main(name)
    show_headline(name)


def _networks() -> None:
    from pipeline.terminal.sites import show_sites

    parameters = read_parameters()
    for name in parameters.protocols:
        document, source = document_of(name, parameters, Path())
        show_sites(resolved(document, source))


def _examine() -> None:
    from pipeline.terminal.health import findings

    troubles = 0
    for finding in findings():
        print(finding.line())
        troubles += bool(finding.mend)
    if troubles:
        raise Incomplete(f"{troubles} to mend")
