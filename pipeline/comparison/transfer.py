"""Compare starts from pretrained weights: what is trained, from which source, with how much data.

Tables of arms, of fine-tuning against a linear probe, of the number of images at which fine-tuning
overtakes the probe, and of the change of gains from little data to more.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.interactions import ESTIMATE, estimate
from pipeline.comparison.intervals import Array, mean
from pipeline.comparison.levels import LEVEL, PRIMARY
from pipeline.comparison.matching import Arm, Outcomes, compared, pretrainings
from pipeline.comparison.significance import holm
from pipeline.comparison.verdicts import LOST_RUNS
from pipeline.comparison.weights import last_weight
from pipeline.config.plan import BASELINE, FIRST_PHASE, Plan, PlannedLooks
from pipeline.config.run import RunConfig
from pipeline.config.start import RunStart

SCRATCH, PROBE, FINE_TUNING = "scratch", "head", "all"
HEAD_THEN_ALL = "head_then_all"
OWN_WEIGHTS = "model.weights"  # in place of a pretraining: those of a file
APART = (  # what an arm may change with its start and still be a plain one
    *(("model", "weights"), ("data", "train_size"), ("data", "per_class")),
    ("data", "validation_size"),
    *(("training", "learning_rate"), ("training", "epochs"), ("training", "batch_size")),
)
RESAMPLES, SEED = 10_000, 0
COLUMNS = (
    *("study", "arm", "reference", "setting", "pretraining", "train", "k", "per_class"),
    *("train_size", "plain", "learning_rate", "n", "accuracy", "accuracy_low", "accuracy_high"),
    *("difference", "low", "high", "p_holm", "verdict", "below_margin", "withheld", "repeats"),
    *LOST_RUNS,
    *("training_ratio", "total_ratio"),
)
UNJUDGED = {  # values of the baseline
    **dict.fromkeys(("difference", "low", "high", "p_holm"), nan),
    **{"verdict": "", "below_margin": False, "withheld": False, "repeats": False},
    **dict.fromkeys(LOST_RUNS, 0),
}
BAND = {"n": 0, "mean": nan, "low": nan, "high": nan}
CROSSOVERS = (
    *("pretraining", "per_class", "smallest", "largest", "n", "size", "low", "high", "without"),
)
GAINS = (
    *("train", "pretraining", "other", "per_class", "size", "other_size", "n"),
    *("effect", "other_effect", *ESTIMATE, "p_holm"),
)
LEADS = (
    *("pretraining", "per_class", "size", "other_size", "n", "effect", "other_effect"),
    *(*ESTIMATE, "p_holm"),
)

Read = Callable[[str], RunConfig | None]
Costs = Mapping[str, float]  # fingerprint -> FLOPs of its training
Cells = dict[tuple[str, str, int], "PretrainedArm"]  # pretraining, what is trained, size


@dataclass(frozen=True)
class PretrainedArm:
    """An arm with the start of its runs.

    Attributes:
        arm: The arm, with its runs.
        pretraining: The name of the pretraining, `model.weights`, or "" for random weights.
        train: What is trained, as `start.train` has it; `scratch` for random weights.
        k: The number of layers that last_k trains, otherwise None.
        per_class: The number of training examples of each class; None if none is given.
        train_size: The number of training examples.
        learning_rate: The highest one.
        is_plain: Whether only epochs and batch size differ from the baseline besides.
    """

    arm: Arm
    pretraining: str
    train: str
    k: int | None
    per_class: int | None
    train_size: int
    learning_rate: float
    is_plain: bool

    @property
    def size(self) -> int:
        """Return the number of examples per class, or of all examples if that is not given."""
        return self.per_class or self.train_size


def starts_of(plan: Plan, read: Read) -> list[PretrainedArm]:
    """Return every arm that starts from trained weights, and the arms that these are compared with.

    The baseline, which all studies share, is there once; an arm without stored runs is not.

    Args:
        plan: The confirmation plan.
        read: A function that returns the settings of a run by its fingerprint; None if it is
            not stored.
    """
    names = pretrainings(plan)
    arms: dict[tuple[str, str], Arm] = {}
    for arm in compared(plan):
        arms.setdefault(arm.pair()[0].key, arm.pair()[0])
        arms[arm.key] = arm
    described: dict[tuple[str, str], PretrainedArm] = {}
    for key, arm in arms.items():
        config = _config(arm, read)
        first = _config(arms[key[0], BASELINE], read)
        if config and first:
            run = next(iter(arm.runs.values()))
            described[key] = _pretrained_arm(arm, config, first, names[run.fingerprint])
    shown = {key for key, one in described.items() if one.train != SCRATCH}
    shown |= {arms[key].pair()[0].key for key in shown}
    baselines = [key for key in described if key in shown and key[1] == BASELINE]
    return [described[key] for key in described if key in shown and key not in baselines[1:]]


def cells_of(starts: Sequence[PretrainedArm]) -> Cells:
    """Return the first plain arm of each combination of pretraining, trained part and size.

    Args:
        starts: Arms, as `starts_of` returns them. Arms that train other parts are left out.
    """
    cells: Cells = {}
    for one in starts:
        if one.is_plain and one.train in (SCRATCH, PROBE, FINE_TUNING):
            cells.setdefault((one.pretraining, one.train, one.size), one)
    return cells


def transfer(
    plan: Plan,
    starts: Sequence[PretrainedArm],
    contrasts: pd.DataFrame,
    means: pd.DataFrame,
    outcomes: Outcomes,
    costs: Costs,
) -> pd.DataFrame:
    """Return one row for every arm of `starts_of`.

    `pretraining`, `train`, `k`, `per_class`, `train_size`, `learning_rate` and `plain` are as in
    `PretrainedArm`. `accuracy` is the mean test accuracy over the `n` done runs, with its interval.
    Difference to `reference`, interval and verdict are those of `contrasts`, and so is whether the
    row `repeats` an earlier one. `training_ratio` is the training cost as a multiple of that of the
    reference, both phases of head_then_all together; `total_ratio` also counts all pretrainings of
    either, as if each were trained for that run alone.

    Args:
        plan: The confirmation plan.
        starts: What `starts_of` returns.
        contrasts: The table of that name.
        means: The table `arms`.
        outcomes: States, machines and scores of the runs.
        costs: The cost of training of every run that is done, those of `plan.starts` too.

    Returns:
        A table with `COLUMNS`; undefined numbers are NaN.
    """
    primary = contrasts[contrasts["metric"] == PRIMARY].set_index(["study", "arm"])
    scored = means[means["metric"] == PRIMARY].set_index(["study", "arm"])
    chains = _Chains(plan, costs)
    rows: list[dict[str, Any]] = []
    for one in starts:
        key = one.arm.key
        band = scored.loc[key] if key in scored.index else BAND
        judged = primary.loc[key] if key in primary.index else UNJUDGED
        run = next(iter(one.arm.runs.values()))
        ratios = chains.ratios(one.arm, outcomes)
        rows.append(
            {
                "study": key[0],
                "arm": key[1],
                "reference": one.arm.pair()[0].described.name,
                "setting": run.setting,
                "pretraining": one.pretraining,
                "train": one.train,
                "k": one.k,
                "per_class": one.per_class,
                "train_size": one.train_size,
                "plain": one.is_plain,
                "learning_rate": one.learning_rate,
                "n": int(band["n"]),
                "accuracy": band["mean"],
                "accuracy_low": band["low"],
                "accuracy_high": band["high"],
                **{name: judged[name] for name in UNJUDGED},
                "training_ratio": ratios[0],
                "total_ratio": ratios[1],
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def crossovers(cells: Cells, outcomes: Outcomes) -> pd.DataFrame:
    """Return a row for each pretraining: the size above which fine-tuning beats the probe.

    A pretraining with both at two sizes or more has a row. A seed counts where all of these runs
    are done on equal machines. `size` is that of `crossing` for the mean differences over the `n`
    seeds, -inf where fine-tuning is ahead at all sizes tried and inf where it is not ahead at the
    largest. `low` and `high` bound a 95 % interval: percentiles over 10,000 resamples of the
    seeds, of which `without` is the share that has no crossing within the sizes, from `smallest` to
    `largest`. As for any percentile bootstrap of few seeds, it covers less: measured with normal
    differences 88 % at 8 seeds and 93 % at 24.

    Args:
        cells: What `cells_of` returns.
        outcomes: States, machines and scores of the runs.

    Returns:
        A table with `CROSSOVERS`.

    Raises:
        Refusal: A run that is done has no score.
    """
    rows: list[dict[str, Any]] = []
    for source, sizes in _sizes(cells).items():
        if len(sizes) < 2:
            continue
        pairs = [(cells[source, mode, size]) for size in sizes for mode in (FINE_TUNING, PROBE)]
        scores = _scores([one.arm for one in pairs], outcomes)
        differences = scores[::2] - scores[1::2]
        size, low, high, without = crossover(differences, sizes)
        rows.append(
            {
                "pretraining": source,
                "per_class": pairs[0].per_class is not None,
                "smallest": sizes[0],
                "largest": sizes[-1],
                "n": differences.shape[1],
                **{"size": size, "low": low, "high": high, "without": without},
            }
        )
    return pd.DataFrame(rows, columns=list(CROSSOVERS))


def crossover(differences: Array, sizes: Sequence[int]) -> tuple[float, float, float, float]:
    """Return the crossing of mean differences with its 95 % bootstrap interval.

    Bootstrap: Efron, Bootstrap Methods, Annals of Statistics 7, 1979.

    Args:
        differences: Fine-tuning minus probe (sizes, seeds).
        sizes: The sizes, ascending.

    Returns:
        The size, both bounds, and the share of resamples without a crossing; NaN for fewer than
        two seeds.
    """
    count = differences.shape[1]
    if count < 2:
        return nan, nan, nan, nan
    draws = np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count))
    drawn = np.sort(crossing(differences[:, draws].mean(axis=2), sizes))
    low, high = np.quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], method="inverted_cdf")
    size = crossing(differences.mean(axis=1, keepdims=True), sizes)[0]
    return float(size), float(low), float(high), float(np.isinf(drawn).mean())


def crossing(differences: Array, sizes: Sequence[int]) -> Array:
    """Return the size above which a difference is positive, interpolated in log(size).

    Args:
        differences: (sizes, draws).
        sizes: The sizes, ascending.

    Returns:
        (draws,): -inf if all differences are positive, inf if the last one is not.
    """
    log_sizes = np.log(np.asarray(sizes, dtype=float))
    last = len(log_sizes) - 1
    draws = np.arange(differences.shape[1])

    # the number of the largest size without a positive difference, by draw; -1 if there is none
    is_negative = differences <= 0
    last_negative = np.where(is_negative.any(axis=0), last - is_negative[::-1].argmax(axis=0), -1)
    has_crossing = (last_negative >= 0) & (last_negative < last)

    # a straight line in log(size) from that size to the next larger one
    left = np.clip(last_negative, 0, last - 1)
    before, after = differences[left, draws], differences[left + 1, draws]
    share = np.divide(-before, after - before, out=np.zeros_like(before), where=has_crossing)
    interpolated = np.exp(log_sizes[left] + share * (log_sizes[left + 1] - log_sizes[left]))

    outside = np.where(last_negative < 0, -inf, inf)
    result: Array = np.where(has_crossing, interpolated, outside)
    return result


def leads(cells: Cells, outcomes: Outcomes, looks: PlannedLooks | None) -> pd.DataFrame:
    """Return the lead of fine-tuning over the probe at every size, and its change with the size.

    A row for every pretraining and size that has both: `difference` is fine-tuning minus probe,
    paired by seed, over the `n` seeds with both runs; `effect` and `other_effect` are the mean
    accuracies of the two, and `other_size` is NaN. Then a row for every pretraining with both at
    two sizes or more: `effect` is the mean difference at `size`, the largest, `other_effect` is the
    mean difference at `other_size`, the smallest, and `difference` is effect minus other_effect,
    over the seeds with all four runs. Where several pretrainings have two sizes or more in common,
    the largest and the smallest are of these, so that rows compare equal sizes. Statistics are from
    `interactions.estimate`. `p_holm` corrects p over all rows.

    Args:
        cells: What `cells_of` returns.
        outcomes: States, machines and scores of the runs.
        looks: The looks of the plan: the last one that the arms of a row have had corrects it.

    Returns:
        A table with `LEADS`.

    Raises:
        Refusal: A run that is done has no score.
    """
    sizes = _sizes(cells)
    rows = [
        _lead(cells, source, size, outcomes, looks)
        for source, tried in sizes.items()
        for size in tried
    ]
    for source, (smallest, largest) in _ends(sizes).items():
        last = [cells[source, mode, largest] for mode in (FINE_TUNING, PROBE)]
        first = [cells[source, mode, smallest] for mode in (FINE_TUNING, PROBE)]
        rows.append(_difference("", last, first, outcomes, looks))
    table = pd.DataFrame(rows, columns=list(LEADS[:-1]))
    p_values = table["p"].to_numpy(float)
    return table.assign(p_holm=holm(p_values) if len(table) else p_values)


def _lead(
    cells: Cells, source: str, size: int, outcomes: Outcomes, looks: PlannedLooks | None
) -> dict[str, Any]:
    """Return a row of `leads`: fine-tuning against the probe at one size."""
    pair = [cells[source, mode, size] for mode in (FINE_TUNING, PROBE)]
    arms = [one.arm for one in pair]
    fine_tuning, probe = _scores(arms, outcomes)
    return {
        "pretraining": source,
        "per_class": pair[0].per_class is not None,
        "size": size,
        "other_size": nan,
        "n": len(probe),
        "effect": mean(fine_tuning),
        "other_effect": mean(probe),
        **estimate(fine_tuning - probe, last_weight(arms, looks)),
    }


def _ends(sizes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, int]]:
    """Return the smallest and the largest size to compare, of pretrainings with two or more.

    They are of the sizes that all of these have, if there are two such sizes.
    """
    several = {source: tried for source, tried in sizes.items() if len(tried) > 1}
    shared = set.intersection(*map(set, several.values())) if several else set()
    return {
        source: (min(shared), max(shared)) if len(shared) > 1 else (tried[0], tried[-1])
        for source, tried in several.items()
    }


def gains(cells: Cells, outcomes: Outcomes, looks: PlannedLooks | None) -> pd.DataFrame:
    """Return the gain over scratch at the smallest size minus the gain at the largest.

    A row for every pretraining and for probe and fine-tuning: `effect` is the mean gain at `size`,
    `other_effect` the mean gain at `other_size`, over the seeds with all four runs. Then a row for
    every two pretrainings: `effect` is the lead of the first over the `other` at `size`.
    `difference` is effect minus other_effect, with the statistics of `interactions.estimate`.
    `p_holm` corrects p over all rows.

    Args:
        cells: What `cells_of` returns.
        outcomes: States, machines and scores of the runs.
        looks: The looks of the plan: the last one that the arms of a row have had corrects it.

    Returns:
        A table with `GAINS`.

    Raises:
        Refusal: A run that is done has no score.
    """
    rows = [*_gains(cells, outcomes, looks), *_leads(cells, outcomes, looks)]
    table = pd.DataFrame(rows, columns=list(GAINS[:-1]))
    p_values = table["p"].to_numpy(float)
    return table.assign(p_holm=holm(p_values) if len(table) else p_values)


def _gains(
    cells: Cells, outcomes: Outcomes, looks: PlannedLooks | None
) -> Iterator[dict[str, Any]]:
    scratch = {size for _, train, size in cells if train == SCRATCH}
    for source, mode in _tried(cells):
        sizes = [size for size in _at(cells, source, mode) if size in scratch]
        if len(sizes) > 1:
            first = [cells[source, mode, sizes[0]], cells["", SCRATCH, sizes[0]]]
            last = [cells[source, mode, sizes[-1]], cells["", SCRATCH, sizes[-1]]]
            yield _difference("", first, last, outcomes, looks)


def _leads(
    cells: Cells, outcomes: Outcomes, looks: PlannedLooks | None
) -> Iterator[dict[str, Any]]:
    for (source, mode), (other, same) in itertools.combinations(_tried(cells), 2):
        sizes = [size for size in _at(cells, source, mode) if size in _at(cells, other, mode)]
        if mode == same and len(sizes) > 1:
            first = [cells[source, mode, sizes[0]], cells[other, mode, sizes[0]]]
            last = [cells[source, mode, sizes[-1]], cells[other, mode, sizes[-1]]]
            yield _difference(other, first, last, outcomes, looks)


def _difference(
    other: str,
    first: Sequence[PretrainedArm],
    last: Sequence[PretrainedArm],
    outcomes: Outcomes,
    looks: PlannedLooks | None,
) -> dict[str, Any]:
    """Return a row of `gains`: the lead of the first of two arms over the second, at two sizes."""
    arms = [one.arm for one in (*first, *last)]
    scores = _scores(arms, outcomes)
    at_first, at_last = scores[0] - scores[1], scores[2] - scores[3]
    return {
        "train": first[0].train,
        "pretraining": first[0].pretraining,
        "other": other,
        "per_class": first[0].per_class is not None,
        "size": first[0].size,
        "other_size": last[0].size,
        "n": len(at_first),
        "effect": mean(at_first),
        "other_effect": mean(at_last),
        **estimate(at_first - at_last, last_weight(arms, looks)),
    }


def _tried(cells: Cells) -> list[tuple[str, str]]:
    """Return every pretraining with its trained part, in the order of the plan."""
    return list(dict.fromkeys((source, mode) for source, mode, _ in cells if mode != SCRATCH))


def _at(cells: Cells, source: str, mode: str) -> list[int]:
    return sorted(size for one, train, size in cells if (one, train) == (source, mode))


def _sizes(cells: Cells) -> dict[str, list[int]]:
    """Return the sizes at which a pretraining has both the probe and fine-tuning."""
    return {
        source: [size for size in _at(cells, source, FINE_TUNING) if (source, PROBE, size) in cells]
        for source, mode in _tried(cells)
        if mode == FINE_TUNING
    }


def _scores(arms: Sequence[Arm], outcomes: Outcomes) -> Array:
    sides, _ = outcomes.sides(arms)
    return outcomes.values(sides, arms, PRIMARY)


class _Chains:
    """What a run costs with the runs that it starts from."""

    def __init__(self, plan: Plan, costs: Costs) -> None:
        self.starts = {start.fingerprint: start for start in plan.starts}
        self.parents = {run.fingerprint: run.start for run in plan.runs}
        self.costs = costs

    def ratios(self, arm: Arm, outcomes: Outcomes) -> tuple[float, float]:
        """Return the cost of training against the reference, without and with pretraining."""
        reference, _ = arm.pair()
        sides, _ = outcomes.sides((arm, reference))
        pairs = [(self._cost(run), self._cost(other)) for run, other in sides]
        alone = np.array([run[0] / other[0] for run, other in pairs])
        whole = np.array([run[1] / other[1] for run, other in pairs])
        return mean(alone), mean(whole)

    def _cost(self, run: str) -> tuple[float, float]:
        """Return the cost of a run, with its first phase if it has one, and that with pretrainings.

        A run's own cost includes its first phase.
        """
        alone = whole = self.costs.get(run, nan)
        parent = self.parents[run]
        while parent:
            start = self.starts[parent]
            if start.name != FIRST_PHASE:
                whole += self.costs.get(parent, nan)
            parent = start.start
        return alone, whole


def _config(arm: Arm, read: Read) -> RunConfig | None:
    """Return the settings of the first stored run of an arm."""
    configs = (read(run.fingerprint) for run in arm.runs.values())
    return next((config for config in configs if config), None)


def _pretrained_arm(arm: Arm, config: RunConfig, baseline: RunConfig, source: str) -> PretrainedArm:
    start = RunStart(**config.start)
    source = source or (OWN_WEIGHTS if config.model.get("weights") else "")
    train = HEAD_THEN_ALL if start.head == "kept" else start.train
    usual = RunStart(train=start.train, k=start.k, head=start.head)
    return PretrainedArm(
        arm=arm,
        pretraining=source,
        train=train if source else SCRATCH,
        k=start.k,
        per_class=config.data.get("per_class"),
        train_size=config.data["train_size"],
        learning_rate=config.training["learning_rate"],
        is_plain=start == usual and _others(config) == _others(baseline),
    )


def _others(config: RunConfig) -> dict[str, Any]:
    """Return the settings of a run without its start, its size and its seed."""
    values = config.model_dump(mode="json", exclude={"start", "streams"})
    for section, key in APART:
        values[section].pop(key, None)
    return values
