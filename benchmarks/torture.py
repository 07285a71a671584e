"""Interrupts `python -m pipeline run` by signals at random moments and checks the recovery.

The test suite holds a few of these cases. SIGINT, SIGTERM and SIGKILL go to DVC, the stage, a
worker or the whole group, on a protocol of seconds. Then no process may survive, the next run must
end with the tables of an uninterrupted one, and nothing finished may be trained again. Writes
benchmarks/results/torture.json. A failure is one line with its number:
python benchmarks/torture.py --only NUMBER repeats it.
"""

import argparse
import concurrent.futures
import itertools
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from marked import Run, marked, of_kind  # noqa: E402
from tiny import clean_environment, tables, trained, write_checkout, write_clone  # noqa: E402

from pipeline.config.yaml_files import read_yaml  # noqa: E402
from pipeline.runtime.errors import Refusal  # noqa: E402

SEED = 20
MOMENTS = 100
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
TARGETS = ("dvc", "stage", "worker", "group")
KINDS = tuple(itertools.product(SIGNALS, TARGETS))
TOO_LATE, EARLIER = "after the end", 0.7
STEP = 0.1  # seconds between looks at an uninterrupted run
RESULT = Path(__file__).parent / "results" / "torture.json"


@dataclass
class Outcome:
    """One iteration: the signal, its target and moment, and the result."""

    number: int
    signal: str
    target: str
    second: float
    stage: str = ""  # interrupted; "between" where none was running
    code: int | None = None
    survivors: int = 0
    traceback: bool = False
    damaged_lock: bool = False
    again: int | None = None  # exit code of the next run
    retrained: int = 0
    differing: list[str] = field(default_factory=list)

    def failure(self) -> str:
        """Return what went wrong, or nothing."""
        wrong = {
            "does not end": self.code is None,
            f"{self.survivors} processes survive": self.survivors,
            "a traceback": self.traceback,
            f"the next run ends with {self.again}": self.again,
            f"{self.retrained} runs trained again": self.retrained,
            f"other content: {', '.join(self.differing[:3])}": self.differing,
        }
        return "; ".join(what for what, is_so in wrong.items() if is_so)


@dataclass(frozen=True)
class Field:
    """A checkout to clone, and the tables and process times of its uninterrupted run."""

    checkout: Path
    expected: Mapping[str, bytes]
    moments: Mapping[str, Sequence[float]]

    def moment(self, target: str, number: int) -> float:
        """Return the seconds from the start, uniform over the time of such a process."""
        drawn = random.Random(f"{SEED}-{number}")  # noqa: S311
        return (
            self.moments[target][int(drawn.random() * len(self.moments[target]))]
            + drawn.random() * STEP
        )


def prepared(place: Path) -> Field:
    """Write a checkout and run it without interruption."""
    write_checkout(place / "checkout", wandb="offline")
    folder = write_clone(place / "checkout", place / "uninterrupted")
    moments: dict[str, list[float]] = {target: [] for target in TARGETS}
    began = time.monotonic()
    run = Run(folder, clean_environment(place / "site"))
    while run.process.poll() is None:
        processes, second = marked(run.mark), time.monotonic() - began
        for target in TARGETS:
            if target == "group" or of_kind(target, processes):
                moments[target].append(second)
        time.sleep(STEP)
    code, output = run.end()
    if code or run.clear():
        sys.exit(f"the uninterrupted run failed:\n{output}")
    return Field(place / "checkout", tables(folder), moments)


def iteration(number: int, field: Field, moment: float | None = None) -> Outcome:
    """Run one iteration in a new clone; repeat it earlier where the run had already ended."""
    sent, target = KINDS[number % len(KINDS)]
    moment = field.moment(target, number) if moment is None else moment
    outcome = Outcome(number, sent.name, target, round(moment, 2))
    with tempfile.TemporaryDirectory(
        prefix="gapwise-torture-", ignore_cleanup_errors=True
    ) as place:
        folder = write_clone(field.checkout, Path(place) / "clone")
        environment = clean_environment(Path(place) / "site")
        run = Run(folder, environment)
        outcome.stage = interrupted(run, sent, target, moment)
        outcome.code, output = run.end()
        outcome.survivors = run.clear()
        if outcome.stage == TOO_LATE and not outcome.code:
            return iteration(number, field, EARLIER * moment)
        outcome.damaged_lock = is_damaged(folder / "dvc.lock")
        before = trained(folder)
        outcome.again, more = Run(folder, environment).end()
        after = trained(folder)
        outcome.retrained = sum(after.get(name) != when for name, when in before.items())
        outcome.differing = differing(tables(folder), field.expected) + ["dvc.lock"] * is_damaged(
            folder / "dvc.lock"
        )
        outcome.traceback = "Traceback" in output + more
        if outcome.failure():
            print(f"{output}\n--- the next run ---\n{more}", file=sys.stderr, flush=True)
    return outcome


def interrupted(run: Run, sent: signal.Signals, target: str, moment: float) -> str:
    """Send the signal at a moment, or once there is such a process; return the stage."""
    time.sleep(moment)
    while run.process.poll() is None:
        met: str | None = run.send(sent, target)
        if met is not None:
            return met
        time.sleep(0.02)
    return TOO_LATE


def differing(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> list[str]:
    """Return the files that differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def is_damaged(lock: Path) -> bool:
    """Return whether `dvc.lock` exists and does not parse."""
    try:
        return lock.exists() and not isinstance(read_yaml(lock)["stages"], dict)
    except (Refusal, KeyError):
        return True


def summary(outcomes: Iterable[Outcome], seconds: float) -> dict[str, object]:
    """Return the totals of all iterations."""
    outcomes = list(outcomes)
    return {
        "iterations": len(outcomes),
        "failures": sum(bool(outcome.failure()) for outcome in outcomes),
        "survivors": sum(outcome.survivors for outcome in outcomes),
        "runs_trained_again": sum(outcome.retrained for outcome in outcomes),
        "differing_tables": sum(len(outcome.differing) for outcome in outcomes),
        "tracebacks": sum(outcome.traceback for outcome in outcomes),
        "damaged_locks_mended": sum(outcome.damaged_lock for outcome in outcomes),
        "kinds": dict(
            sorted(Counter(f"{outcome.signal} to {outcome.target}" for outcome in outcomes).items())
        ),
        "stages_met": dict(sorted(Counter(outcome.stage for outcome in outcomes).items())),
        "exit_codes": {
            str(code): count
            for code, count in Counter(outcome.code for outcome in outcomes).most_common()
        },
        "random_seed": SEED,
        "seconds": round(seconds),
        "failed": [asdict(outcome) for outcome in outcomes if outcome.failure()],
    }


def main() -> None:
    """Run all iterations and write the result, or only one; exit with 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=MOMENTS)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    began, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory(
        prefix="gapwise-torture-", ignore_cleanup_errors=True
    ) as place:
        field = prepared(Path(place))
        numbers = range(given.moments) if given.only is None else [given.only]
        pool = concurrent.futures.ThreadPoolExecutor(given.at_once)
        for ended in concurrent.futures.as_completed(
            [pool.submit(iteration, number, field) for number in numbers]
        ):
            outcome = ended.result()
            number = outcome.number
            outcomes.append(outcome)
            sent = f"{outcome.signal} to {outcome.target} at {outcome.second} s, {outcome.stage}"
            print(f"{number}: {sent}: {outcome.failure() or 'passed'}", flush=True)
            if given.only is None:
                RESULT.write_text(
                    json.dumps(summary(outcomes, time.monotonic() - began), indent=1) + "\n"
                )
    sys.exit(any(outcome.failure() for outcome in outcomes))


if __name__ == "__main__":
    main()
