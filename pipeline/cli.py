"""The command line over the stages: what would run, and running it.

Separate from the stages, which DVC calls one by one.
"""

import itertools
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from pipeline.comparison.matching import PRIMARY
from pipeline.config.errors import Refusal
from pipeline.config.plan import Plan, confirmation, exploration, read_plan
from pipeline.config.protocols import document_of, read_parameters
from pipeline.config.schema import Parameters
from pipeline.config.studies import BASELINE, Experiment, read_experiment
from pipeline.execution.catalogue import catalogue
from pipeline.execution.processes import cores
from pipeline.execution.stage import Incomplete, end_with_parent, guarded
from pipeline.records.lock import held, keep_dvc_lock, mend_dvc_lock
from pipeline.records.store import open_store
from pipeline.records.tables import read_table
from pipeline.reporting.tables import INTERVAL, percent, points, points_interval

application = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
ARTIFACTS, REPORTS = Path("artifacts"), Path("reports")
TIGHT: dict[str, Any] = {"box": SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}  # a headline fits 80 columns
PATIENCE = 10.0  # seconds that DVC may take to end after Control-C
PARTS = re.compile(r", (?![^(]*\))")  # between the parts of a strength's label
PHASES = {"exploration": "train", "confirmation": "confirm"}
REPRODUCE = (sys.executable, "-m", "pipeline.execution.reproduction", "--wait-for-lock", "repro")


@application.callback()
def gapwise() -> None:
    """Which regularizers close the train/validation gap, by how much, and at what cost."""


@application.command()
def plan() -> None:
    """Print the runs, seeds and estimated minutes of every protocol in params.yaml, without training."""
    sys.exit(guarded(_show_plans))


@application.command()
def run(keep_going: Annotated[bool, typer.Option(help="Report with what there is when runs have failed.")] = False) -> None:
    """Reproduce every stage with DVC, then print the headline tables and the reports' paths."""
    sys.exit(guarded(lambda: _run(keep_going)))


def _show_plans() -> None:
    for experiment in _experiments():
        _show_plan(experiment)


def _experiments() -> list[Experiment]:
    """Every protocol to reproduce, checked; all errors at once."""
    found: list[Experiment] = []
    errors: list[str] = []
    for name in read_parameters().protocols:
        try:
            found.append(read_experiment(name, catalogue()))
        except Refusal as refusal:
            errors += refusal.lines
    if errors:
        raise Refusal(*dict.fromkeys(errors))
    return found


def _run(keep_going: bool) -> None:
    names = [experiment.protocol.name for experiment in _experiments()]
    with held():
        mended = mend_dvc_lock()
        if mended:
            print(mended)
        phases = [ARTIFACTS / name / phase for name in names for phase in ("exploration", "confirmation")]
        open_store().restore(phases)
        _retry_failed(names)
        _reproduce(keep_going)
        keep_dvc_lock()
    for name in names:
        _keep_timing(name)
        _show_report(name)


def _retry_failed(names: list[str]) -> None:
    """Sends back to work the phases that were assembled with failed runs, which DVC takes for done."""
    store = open_store()
    for name, (phase, verb) in itertools.product(names, PHASES.items()):
        last = _last_plan(ARTIFACTS / name / phase)
        if last and any(store.state(run) == "failed" for run in last.fingerprints()):
            subprocess.run([*REPRODUCE, "--single-item", "--force", f"{verb}@{name}"], check=False)


def _last_plan(folder: Path) -> Plan | None:
    """The plan in a phase's folder; None where there is none that can be read, and DVC makes another."""
    try:
        return read_plan(folder)
    except Refusal:
        return None


def _reproduce(keep_going: bool) -> None:
    environment = os.environ | ({"GAPWISE_KEEP_GOING": "1"} if keep_going else {})
    process = subprocess.Popen(REPRODUCE, env=environment, preexec_fn=end_with_parent)
    try:
        process.wait()
    except KeyboardInterrupt:
        _end(process)
        print("interrupted; what is finished is kept: run again to go on")
        raise
    if process.returncode:
        raise Incomplete("the run stopped before its report; what it finished is kept: mend what is named above and run again")


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
        from pipeline import report  # figures are slow to import, and seldom needed here

        report.write_timing(protocol)


def _show_report(protocol: str) -> None:
    contrasts = read_table(ARTIFACTS / protocol / "contrasts.csv")
    primary = contrasts[contrasts["metric"] == PRIMARY].sort_values("difference", ascending=False, kind="stable")
    table = Table("arm", "strength", "accuracy", "difference", "verdict", title=f"{protocol}: test accuracy", **TIGHT)
    for column in table.columns:
        column.no_wrap, column.overflow = column.header != "strength", "fold"
    table.add_row(BASELINE, "", f"{percent(primary['baseline_mean'].iloc[0])} %", "", "")
    for row in primary.to_dict("records"):
        difference = f"{points(row['difference'])} {points_interval(row['low'], row['high'])}"
        table.add_row(
            row["arm"],
            PARTS.sub("\n", row["strength"]),
            f"{percent(row['arm_mean'])} %",
            difference,
            row["verdict"],
        )
    Console().print(table)
    print(f"Differences in points, with their {INTERVAL}. Verdicts are corrected for the number of arms, intervals are not.")
    print(f"The whole report: {REPORTS / protocol / 'report.md'}")


def _show_plan(experiment: Experiment) -> None:
    protocol = experiment.protocol
    first = {study.name: {arm.name: arm.strengths[0].label for arm in study.arms} for study in experiment.studies}
    plans = exploration(experiment, "")[0], confirmation(experiment, "", first)[0]
    table = Table("study", "arm", "strengths", "explore", "confirm", title=f"{protocol.name}: runs planned", **TIGHT)
    for column in table.columns:
        column.overflow = "fold"
    for study in experiment.all():
        for arm in study.arms:
            counts = [str(_count(each, study.name, arm.name)) for each in plans]
            labels = "\n".join(strength.label for strength in arm.strengths)
            table.add_row(study.name, arm.name, labels, *counts)
    Console().print(table)
    runs = [len(each.fingerprints()) for each in plans]
    workers = read_parameters().execution.workers or cores()
    minutes = sum(runs) * _seconds(experiment) / workers / 60
    seeds = protocol.seeds
    print(
        f"at most {sum(runs)} runs, each counted once: {runs[0]} on {seeds.exploration} exploration seeds, {runs[1]} on "
        f"{seeds.confirmation} fresh ones; about {minutes:.1f} minutes with {workers} workers"
    )


def _count(plan: Plan, study: str, arm: str) -> int:
    return sum(run.study == study and run.arm == arm for run in plan.every())


def _seconds(experiment: Experiment) -> float:
    """Seconds a run: the median of those timed here, else what the protocol expects, by how many images a run looks at."""
    protocol, store = experiment.protocol, open_store()
    last = _last_plan(ARTIFACTS / protocol.name / "confirmation")
    timed = [seconds for name in last.fingerprints() if (seconds := store.timing(name).get("seconds"))] if last else []
    if last and timed:
        return float(statistics.median(timed)) * _images(protocol.settings()) / _images(last.settings)
    document, _ = document_of(protocol.name, Parameters(protocols=(protocol.name,)), Path())
    return protocol.seconds_per_run * _images(protocol.settings()) / _images(document)


def _images(settings: Mapping[str, Any]) -> int:
    """How many training images one run looks at, an image in every epoch anew."""
    return int(settings["data"]["train_size"]) * int(settings["training"]["epochs"])
