"""Find the next declared look of inconclusive arms, and print what it takes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.comparison.levels import PRIMARY
from pipeline.comparison.looks import decide
from pipeline.comparison.verdicts import Verdict
from pipeline.config.plan import Plan, PlannedLooks, read_plan
from pipeline.config.validation import unknown_name
from pipeline.data.prepared import read_summary
from pipeline.evaluation.validation import validation_scores
from pipeline.execution.forecast import seconds_per_run
from pipeline.planning.looks import confirm
from pipeline.planning.studies import read_experiment
from pipeline.records.rows import read_rows
from pipeline.records.store import open_store
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import read_sealed
from pipeline.terminal.plan import minutes_of
from pipeline.terminal.tables import say

ARTIFACTS = Path("artifacts")
Key = tuple[str, str]  # study, arm
NO_LOOKS = (
    "declares no looks; expected looks such as {looks: [6, 12, 24]} before the runs: "
    "seeds that are added because a result is inconclusive cannot be corrected for"
)
LAST = "expected a declared one: looks that are added afterwards cannot be corrected for"


def next_looks(protocol: str, names: Sequence[str]) -> dict[Key, int]:
    """Return the seeds of the next declared look of inconclusive arms.

    Args:
        protocol: The protocol, whose report is finished.
        names: Arms; without any, all that are inconclusive and have a look left.

    Raises:
        Refusal: The report is not finished, no looks are declared, or an arm that is named does not
            exist, is decided, or has had the last look.
    """
    folder = ARTIFACTS / protocol
    plan = read_plan(folder / "confirmation")
    rows = [
        row
        for row in read_rows(folder / "contrasts.csv")
        if row["metric"] == PRIMARY and row["planned"] and not row["repeats"]
    ]
    if plan.looks is None:
        raise Refusal(f"resolve: {protocol}: seeds.confirmation {NO_LOOKS}")
    return further_looks(plan.looks, rows, names, protocol)


def further_looks(
    looks: PlannedLooks, rows: Iterable[Mapping[str, Any]], names: Sequence[str], protocol: str
) -> dict[Key, int]:
    """Return the seeds of the next look of arms, as `next_looks`.

    Args:
        looks: The looks of the finished confirmation.
        rows: The contrasts of test accuracy: study, arm, verdict.
        names: As for `next_looks`.
        protocol: What errors call the protocol.

    Raises:
        Refusal: As for `next_looks`.
    """
    verdicts = {(row["study"], row["arm"]): row["verdict"] for row in rows}
    had = {(stop.study, stop.arm): stop.look for stop in looks.stops}
    if not verdicts.keys() <= had.keys():
        cure = f"run: gapwise run --protocol {protocol}"
        raise Refusal(f"resolve: {protocol}: arms wait for a look; {cure}")
    arms = {arm for _, arm in verdicts}
    errors = [unknown_name("resolve: arm", name, arms) for name in names if name not in arms]
    further = {}
    for key, verdict in verdicts.items():
        named = key[1] in names
        if names and not named:
            continue
        if verdict != Verdict.INCONCLUSIVE:
            if named:
                errors.append(
                    f"resolve: {key[1]}: the verdict is {verdict}; expected an inconclusive arm"
                )
        elif had[key] < len(looks.seeds):
            further[key] = looks.seeds[had[key]]
        elif named:
            seeds = looks.seeds[-1]
            errors.append(f"resolve: {key[1]}: has had the last look, of {seeds} seeds; {LAST}")
    if errors:
        raise Refusal(*dict.fromkeys(errors))
    if not further:
        raise Refusal(f"resolve: {protocol}: no inconclusive arm has a look left; {LAST}")
    return further


def show_looks(protocol: str, looks: Mapping[Key, int]) -> None:
    """Print the next look of each arm, with the runs and minutes that it takes.

    Args:
        protocol: The name of the protocol.
        looks: The number of seeds of the next look, by study and arm.

    Raises:
        Refusal: The settings are invalid.
    """
    plan = planned(protocol, looks)
    store = open_store()
    missing = {name for name in plan.trained() if not store.finished(name)}
    for (_, arm), seeds in looks.items():
        say(f"{protocol}: {arm}: on to the look at {seeds} seeds")
    seconds = seconds_per_run(read_experiment(protocol))
    minutes, workers = minutes_of([plan], missing, seconds)
    say(
        f"{len(missing)} runs to train, those of references included: "
        f"about {minutes:.1f} minutes of training alone, with {workers} workers"
    )


def planned(protocol: str, looks: Mapping[Key, int]) -> Plan:
    """Return the confirmation plan with further looks.

    Args:
        protocol: The protocol, whose settings are chosen.
        looks: The seeds of the looks that are asked for beyond those of `params.yaml`.
    """
    folder = ARTIFACTS / protocol
    chosen = read_sealed(folder / "choice.json")
    experiment = read_experiment(protocol, tuned=chosen["tuned"])
    declared = experiment.protocol.seeds.looks.looks
    requested_looks = {key: declared.index(seeds) + 1 for key, seeds in looks.items()}
    experiment = replace(
        experiment, requested_looks={**experiment.requested_looks, **requested_looks}
    )
    data = read_summary(folder / "data")
    pool_digests = data.get("pretraining", {})
    scores = validation_scores(open_store(), read_plan(folder / "confirmation"))
    return confirm(experiment, data["digest"], chosen["choice"], scores, decide, pool_digests)[0]
