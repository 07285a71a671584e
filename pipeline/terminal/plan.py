"""Print the output of `gapwise plan`: the runs, seeds and minutes of a protocol."""

import functools
import importlib.metadata
from collections.abc import Collection, Iterator, Sequence, Set
from pathlib import Path

from rich.table import Table

from pipeline.config.labels import format_setting, format_value
from pipeline.config.left_out import left_out_notes
from pipeline.config.parameters import read_parameters
from pipeline.config.plan import NOTHING, PROTOCOL, Added, Dimension, Plan, PlannedRun, Setting
from pipeline.data.prepared import read_summary
from pipeline.execution.order import images
from pipeline.execution.plans import current_plans, reads_other_files
from pipeline.execution.processes import cores
from pipeline.records.store import Store, open_store
from pipeline.runtime.errors import Refusal
from pipeline.terminal.tables import LONGEST, breakable, say, show, table

ARTIFACTS = Path("artifacts")


def finished_plans(protocol: str) -> Sequence[Plan]:
    """Return the stored plans of a protocol if new ones would be equal and all runs are finished.

    They are read without torch. The result is empty if an input, the data or the version of a
    library has changed, and if the network of the protocol or of an arm is the user's own or
    pretrained.

    Args:
        protocol: The name of the protocol.
    """
    store = open_store()
    plans = current_plans(store, protocol)
    try:
        digest = read_summary(ARTIFACTS / protocol / "data")["digest"]
    except Refusal:
        return []
    same_data = all(plan.data_digest == digest for plan in plans)
    names = {name for plan in plans for name in plan.trained()}
    no_more = not any(plan.waits for plan in plans)
    is_finished = same_data and no_more and all(_is_up_to_date(store, name) for name in names)
    return plans if is_finished else []


def _is_up_to_date(store: Store, fingerprint: str) -> bool:
    """Return whether a run is finished, and has the libraries that are installed now."""
    identity = store.identity(fingerprint)
    if not identity or not store.finished(fingerprint) or reads_other_files(identity["model"]):
        return False
    return all(_version(library) == version for library, version in identity["versions"].items())


@functools.cache
def _version(library: str) -> str:
    """Return the installed version of a library without a suffix such as +cpu, "" for none."""
    try:
        return importlib.metadata.version(library).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


def show_plan(
    plans: Sequence[Plan], most_added: Added = NOTHING, seconds_per_run: float = 0
) -> None:
    """Print the runs of every arm, how many are still to train, and about how long that takes.

    Args:
        plans: Those of exploration and confirmation.
        most_added: What further rounds of exploration may add.
        seconds_per_run: The time to expect for a run of the protocol; those of arms with other
            epochs or training sizes take longer or shorter.
    """
    store = open_store()
    missing = {name for plan in plans for name in plan.trained() if not store.finished(name)}
    minutes, workers = minutes_of(plans, missing, seconds_per_run)
    show(_runs_of_arms(plans, missing))
    print(_counts(plans))
    if starts := [start for plan in plans for start in plan.starts]:
        names = ", ".join(dict.fromkeys(start.name for start in starts))
        print(f"{len(starts)} runs that others start from: {names}")
    for line in _further_runs(most_added, seconds_per_run / workers / 60):
        print(line)
    print(
        f"{len(missing)} runs to train: "
        f"about {minutes:.1f} minutes of training alone, with {workers} workers"
    )
    for note in left_out_notes(*plans):
        say(f"note: {note}")


def _runs_of_arms(plans: Sequence[Plan], missing: Set[str]) -> Table:
    """Return a table with the settings and the number of runs of every arm.

    Args:
        plans: Those of exploration and confirmation.
        missing: The fingerprints of the runs that are still to train.
    """
    title = f"{plans[-1].protocol}: runs planned"
    rows = table("study, arm", "settings", "explore", "confirm", "to train", title=title)
    rows.columns[1].min_width = LONGEST
    for study, arms in _arms(plans).items():
        rows.add_row(study)
        for arm in arms:
            runs = [_fingerprints(plan, study, arm) for plan in plans]
            missing_runs = missing & set().union(*runs)
            counts = [*map(len, runs), len(missing_runs)]
            settings = breakable("\n".join(_settings(plans, study, arm)))
            rows.add_row(f"  {arm}", settings, *map(str, counts))
    return rows


def _counts(plans: Sequence[Plan]) -> str:
    """Return the number of runs and of seeds of both phases in a line."""
    explored, confirmed = plans
    exploration_runs, confirmation_runs = (len(plan.fingerprints()) for plan in plans)
    exploration_seeds = len(explored.first_seeds())
    fresh_seeds = len({run.seed for run in confirmed.runs})
    exploration_noun = "exploration seed" if exploration_seeds == 1 else "exploration seeds"
    confirmation_noun = "confirmation seed" if fresh_seeds == 1 else "confirmation seeds"
    limit = "so far" if confirmed.looks else "at most"  # a further look may follow
    return (
        f"{limit} {exploration_runs + confirmation_runs} runs (a run that several arms share "
        f"counts once): {exploration_runs} on {exploration_seeds} {exploration_noun}, "
        f"{confirmation_runs} on {fresh_seeds} {confirmation_noun}"
    )


def _further_runs(most_added: Added, minutes_per_run: float) -> Iterator[str]:
    """Yield a line for each kind of runs that further rounds of exploration may add."""
    if most_added.widening:
        yield (
            "search spaces whose best value is at an end are widened, and values near the new end "
            f"get more seeds: at most {most_added.widening} more runs, "
            f"about {most_added.widening * minutes_per_run:.1f} minutes"
        )
    if most_added.searching:
        yield (
            f"later rounds of searches depend on scores: at most {most_added.searching} more runs, "
            f"about {most_added.trainings * minutes_per_run:.1f} minutes"
        )


def minutes_of(
    plans: Sequence[Plan], missing: Collection[str], seconds_per_run: float
) -> tuple[float, int]:
    """Return the minutes that runs take, and the number of workers at the same time.

    Args:
        plans: The plans that have them.
        missing: Their fingerprints.
        seconds_per_run: As for `show_plan`.
    """
    workers = read_parameters().execution.workers or cores()
    share = {run.fingerprint: images_share(plan, run) for plan in plans for run in plan.runs}
    for plan in plans:
        share |= {start.fingerprint: start.images / images(plan.settings) for start in plan.starts}
    return sum(share[name] for name in missing) * seconds_per_run / workers / 60, workers


def images_share(plan: Plan, run: PlannedRun) -> float:
    """Return the number of images of a run, as a multiple of a run of the protocol.

    Args:
        plan: The plan with the settings of the protocol.
        run: A row of the plan.
    """
    changed = run.setting.get(PROTOCOL, {})
    sections = {name: dict(plan.settings[name]) for name in ("data", "training")}
    for section, values in sections.items():
        values |= {key: changed.get(f"{section}.{key}", value) for key, value in values.items()}
    return run.budget * images(sections) / images(plan.settings)


def _arms(plans: Sequence[Plan]) -> dict[str, list[str]]:
    """Return the arms of every study of both phases, in the order of the plans."""
    arms: dict[str, list[str]] = {}
    for plan in plans:
        for study, arm in plan.arms():
            names = arms.setdefault(study, [])
            names += [arm.name] if arm.name not in names else []
    return arms


def _fingerprints(plan: Plan, study: str, arm: str) -> list[str]:
    return [run.fingerprint for run in plan.runs if (run.study, run.arm) == (study, arm)]


def _settings(plans: Sequence[Plan], study: str, arm: str) -> list[str]:
    """Return the settings that an arm tries, or the ranges of its random design."""
    explored, confirmed = plans
    return (
        _covered(confirmed, study, arm)
        or _labels(explored, study, arm)
        or _labels(confirmed, study, arm)
    )


def _covered(plan: Plan, study: str, arm: str) -> list[str]:
    """Return the searched values of an arm; empty for an arm without a random design."""
    arms = {(study_name, planned.name): planned for study_name, planned in plan.arms()}
    planned = arms.get((study, arm))
    if planned is None or planned.design is None:
        return []
    settings = [run.setting for run in plan.runs if (run.study, run.arm) == (study, arm)]
    ranges = [_range(dimension, settings) for dimension in planned.space]
    return [f"{planned.design} design over:", *ranges]


def _range(dimension: Dimension, settings: Sequence[Setting]) -> str:
    """Return the range of a value, as in `rate: 0.1 to 0.7`, or all that are tried of a list."""
    if dimension.scale is not None:
        return f"{dimension.key}: {dimension.low:g} to {dimension.high:g} ({dimension.scale})"
    values = dict.fromkeys(
        format_value(setting[dimension.part][dimension.key]) for setting in settings
    )
    by_length = sorted(values, key=lambda value: (len(value), value))  # 8 before 16
    return f"{dimension.key}: {', '.join(by_length)}"


def _labels(plan: Plan, study: str, arm: str) -> list[str]:
    """Return each setting of an arm once."""
    runs = (run for run in plan.runs if (run.study, run.arm) == (study, arm))
    return list(dict.fromkeys(format_setting(run.setting) for run in runs))
