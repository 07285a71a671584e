"""Propose the values of a protocol from a description of the data, a speed and some minutes.

Nothing is read or trained here: the same inputs give the same protocol, with a reason for each
value.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pipeline.data.inspection.inspection import Inspection
from pipeline.runtime.errors import Refusal

NETWORKS = ("cnn", "mlp", "resnet")
Speeds = Callable[["Network"], "Speed"]

# Splits
SHARES = ((300, 0.3), (math.inf, 0.2))  # examples below which a share is held out for the test
ENOUGH_TEST = 10_000  # examples that resolve a standard error of a third of a point at 10 % error
# Training
WIDTHS = ((1000, 64), (10_000, 128), (math.inf, 256))  # examples below, width of a perceptron
BATCHES = ((100, 10), (500, 20), (2000, 32), (10_000, 64), (math.inf, 128))
UPDATES_PER_ROOT = 25  # wanted, times the square root of the number of training examples
FEW_UPDATES = 200  # fewest that are wanted
EPOCHS = (2, 100)  # fewest and most
MOST_SURPLUS = 2  # times the wanted updates, where the minutes allow
POINTS = (10, 5, 3)  # points of the learning curve
SCORING_SHARE = 0.2  # share of a run that scoring may take
RANGE_FACTOR = 4  # the search space of the learning rate: from 1/4 to 4 times the value
RANGE_POINTS = 5
RATES = {"mlp": 0.03, "imported": 0.001}  # learning rates; 0.05 for networks with batch norm
OTHER_RATE = 0.05
# Differences that matter
ERROR_PARTS = 10  # parts of the expected error
MARGINS = (0.002, 0.02)
MOST_MARGIN = 0.05
STEPS = (1, 2, 5)  # digits of a margin
EASY_ERROR = 0.005  # error of a simple classifier
# Minutes
STAGE_SECONDS = 40.0  # seconds besides training: starts of stages, tables, figures
AFTER_SECONDS = 0.13  # seconds of a run, after its training: reading, predicting, mirroring
ARM_COST = 1.3  # mean cost of training, in that of the baseline; augmentation is the slowest
EQUIPPING_SECONDS = 0.2  # seconds to equip a network, check it and count its operations
WIDENING_FACTOR = 1.5  # factor on runs of exploration: benchmarks/measure_proposal.py
PASSES = 8  # mean forward passes of a confirmation run over validation and test images
FEWEST_EXAMPLES = (1000, 100)  # training examples: usually, and where the minutes are few


@dataclass(frozen=True)
class ProtocolOptions:
    """The values that a user has chosen; None for one to propose.

    Attributes:
        minutes: The minutes from the command to the report.
        network: The name of a network of Gapwise.
        imported: A network of the user's own, as module:Class.
        arguments: What its class is given.
        train_size: The number of training examples.
        test_fraction: The share of the examples that is held out for the test, in (0, 1).
        batch_size: The number of examples of an update.
        epochs: The number of epochs of a run.
        learning_rate: The middle of the range that is searched.
        exploration: The number of exploration seeds.
        confirmation: The number of confirmation seeds.
        margin: The largest difference in accuracy (fraction) that counts as equivalent.
        studies: Names of studies, in order.
    """

    minutes: float = 30.0
    network: str | None = None
    imported: str | None = None
    arguments: Mapping[str, Any] | None = None
    train_size: int | None = None
    test_fraction: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    exploration: int | None = None
    confirmation: int | None = None
    margin: float | None = None
    studies: tuple[str, ...] | None = None

    def document(self) -> dict[str, Any]:
        """Return the chosen values in the form of a protocol file."""
        sections = {
            "data": ("train_size", "test_fraction"),
            "training": ("batch_size", "epochs", "learning_rate"),
            "seeds": ("exploration", "confirmation"),
        }
        values: dict[str, Any] = {}
        for section, keys in sections.items():
            options = {key: _as_typed(getattr(self, key)) for key in keys}
            values[section] = {key: value for key, value in options.items() if value is not None}
        return values if self.margin is None else values | {"margin": _as_typed(self.margin)}


def _as_typed(value: float | None) -> float | None:
    """Return the value of an option, an integer if it is whole: 2 instead of 2.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class Network:
    """A network that may be proposed, with the size of images and batches that it is timed with.

    Attributes:
        model: The settings, as in the protocol.
        size: Pixels to which the source resizes images; None if it does not.
        batch_size: Examples of an update.
    """

    model: Mapping[str, Any]
    size: int | None
    batch_size: int


@dataclass(frozen=True)
class Speed:
    """Seconds that parts of a run take, with all workers busy.

    Attributes:
        start: Seconds of every run, however short it is.
        update: Seconds of one update.
        score: Seconds of the forward pass of one example.
    """

    start: float
    update: float
    score: float


@dataclass(frozen=True)
class StudyRuns:
    """How many runs a study has, apart from the baseline's.

    Attributes:
        explored: Settings that are candidate on every exploration seed.
        confirmed: The most settings that are trained on every confirmation seed.
        arms: Arms that are compared.
        other: Runs whose number does not depend on seeds, such as runs of ensembles.
    """

    explored: int
    confirmed: int
    arms: int
    other: int = 0


@dataclass(frozen=True)
class ProposedValue:
    """One value of a protocol.

    Attributes:
        key: Its dotted key.
        value: The value.
        reason: Why it was chosen; "" for none.
    """

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Proposal:
    """A protocol with reasons.

    Attributes:
        values: Its values, in the order of the file.
        training_minutes: Of all runs together, with these workers.
        minutes: From the command to the report.
        updates: Those of a run.
        warnings: What limits the results, a line each.
    """

    values: tuple[ProposedValue, ...]
    training_minutes: float
    minutes: float
    updates: int
    warnings: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the values in the form of a protocol file, with sections as mappings."""
        values: dict[str, Any] = {}
        for proposed in self.values:
            section, _, key = proposed.key.partition(".")
            if key:
                values.setdefault(section, {})[key] = proposed.value
            else:
                values[section] = proposed.value
        return values


@dataclass(frozen=True)
class Splits:
    """How many examples each split has.

    Attributes:
        train: The most that there are for training.
        validation: Those held out for the choice of settings.
        test: Those held out for results.
        test_fraction: The share that is held out for the test; None if the data have a test set.
    """

    train: int
    validation: int
    test: int
    test_fraction: float | None


@dataclass(frozen=True)
class Level:
    """How thorough a report is.

    Attributes:
        studies: The number of studies.
        exploration: The number of exploration seeds.
        confirmation: The number of confirmation seeds.
    """

    studies: int
    exploration: int
    confirmation: int


@dataclass(frozen=True)
class _Candidate:
    """A combination of values, and the seconds that it takes."""

    network: Network
    level: Level
    studies: tuple[str, ...]
    train: int
    validation: int | None
    epochs: int
    points: int
    run_seconds: float
    runs: int
    training_seconds: float
    seconds: float

    @property
    def updates(self) -> int:
        return self.epochs * (self.train // self.network.batch_size)


FULL_LEVELS = (Level(5, 3, 16), Level(4, 2, 12), Level(3, 2, 12), Level(3, 2, 8), Level(2, 2, 8))
LEAN_LEVELS = (Level(2, 2, 6), Level(1, 2, 6), Level(1, 1, 6))
# Share of the wanted updates, levels, index of the fewest examples
ATTEMPTS = (
    (0.7, FULL_LEVELS, 0),
    (0.5, FULL_LEVELS, 0),
    (0.5, FULL_LEVELS, 1),
    (0.5, LEAN_LEVELS, 1),
    (0.25, LEAN_LEVELS, 1),
)


def splits_of(inspection: Inspection, options: ProtocolOptions) -> Splits:
    """Return the sizes of the splits: of few examples a fifth each for validation and test.

    Above `ENOUGH_TEST` test examples the variance over seeds dominates, so a larger test set gains
    little: of a million examples one percent is held out.

    Args:
        inspection: The data.
        options: What the user has chosen.

    Raises:
        Refusal: There are too few examples for these splits.
    """
    total, classes = inspection.examples, len(inspection.counts)
    share = next(share for below, share in SHARES if total < below)
    part = max(classes, round(min(share * total, ENOUGH_TEST)))
    fraction = None
    test = inspection.test
    if not test:
        fraction = options.test_fraction or float(f"{part / total:.3g}")
        test = total - round(total * (1 - fraction))
    remaining = total - (0 if inspection.test else test)
    validation = inspection.validation or part
    # whole groups are drawn, so that a split may exceed its share by nearly one
    train = remaining - (0 if inspection.validation else validation + inspection.largest_group)
    if train < max(2, classes):
        raise Refusal(
            f"{total} {inspection.noun} in {classes} classes: too few for training, validation and "
            f"test; expected >= {3 * max(2, classes)}"
        )
    return Splits(train, validation, test, fraction)


def networks(
    inspection: Inspection, splits: Splits, options: ProtocolOptions
) -> tuple[Network, ...]:
    """Return the networks that fit the data, the best first and the cheapest last.

    Args:
        inspection: The data.
        splits: Their splits.
        options: What the user has chosen.
    """
    train = options.train_size or splits.train
    batch = _batch_size(train, options)
    sizes: tuple[int | None, ...] = inspection.sizes or (None,)
    settings = _models(inspection, train, options)
    first, *smaller = sizes
    of_first = [Network(model, first, batch) for model in settings]
    return (*of_first, *(Network(settings[-1], size, batch) for size in smaller))


def _batch_size(train: int, options: ProtocolOptions) -> int:
    batch = options.batch_size or next(size for below, size in BATCHES if train < below)
    return min(batch, max(2, train))


def _models(inspection: Inspection, train: int, options: ProtocolOptions) -> list[dict[str, Any]]:
    if options.imported:
        arguments = {"arguments": dict(options.arguments)} if options.arguments else {}
        return [{"import": options.imported, **arguments}]
    side = min(inspection.shape[1:])
    stages = max(1, min(3, int(math.log2(max(side, 2))) - 1))
    plain = {"name": "cnn", "hidden": 64}
    residual = {"name": "resnet", "blocks": 1, "hidden": 64}
    if options.network == "mlp" or (options.network is None and not inspection.is_image):
        width = next(width for below, width in WIDTHS if train < below)
        return [{"name": "mlp", "hidden": [width, width]}, {"name": "mlp", "hidden": [32]}]
    wide, narrow = [16, 32, 64][:stages], [8, 16, 32][:stages]
    plain_stages = max(1, min(2, stages))
    large = {**plain, "widths": [16, 32][:plain_stages]}
    small = {**plain, "widths": [8, 16][:plain_stages]}
    if options.network == "cnn" or (options.network is None and train <= 500):
        return [large, small]
    ladder = [{**residual, "widths": wide}, {**residual, "widths": narrow}]
    ladder = ladder if train > 5000 else ladder[1:]
    return ladder if options.network == "resnet" else [*ladder, small]


def expected_margin(error: float, test: int) -> float:
    """Return the margin of equivalence: a tenth of the expected error.

    It is at least one test image, unless that is too coarse for a margin.

    Args:
        error: The error (fraction) of a simple classifier.
        test: The number of test examples.
    """
    low, high = MARGINS
    of_error = _nice(min(max(error / ERROR_PARTS, low), high))
    return min(MOST_MARGIN, max(of_error, _nice(1 / test, up=True)))


def _nice(value: float, up: bool = False) -> float:
    """Return the nearest 1, 2 or 5 times a power of ten, or the next above."""
    power = math.floor(math.log10(value))
    steps = [
        Fraction(step) * Fraction(10) ** place
        for place in (power - 1, power, power + 1)
        for step in STEPS
    ]
    if up:
        return float(next(step for step in steps if step >= Fraction(value) * Fraction(999, 1000)))
    return float(min(steps, key=lambda step: abs(math.log(step) - math.log(value))))


def propose(
    inspection: Inspection,
    options: ProtocolOptions,
    speeds: Speeds,
    studies: Mapping[str, StudyRuns],
    workers: int,
    error: float,
    required: Callable[[int], int],
) -> Proposal:
    """Return the protocol for these data and minutes.

    Where the minutes are few, first the studies and seeds are fewer, then the training examples,
    then the network is smaller, then runs are shorter.

    Args:
        inspection: The data.
        options: What the user has chosen.
        speeds: Returns the speed of a network; called only for those that are considered.
        studies: The runs of the studies that apply, the most useful first.
        workers: Runs at a time.
        error: The error (fraction) of a simple classifier on these data.
        required: Returns the fewest confirmation seeds with which as many arms can be told apart.

    Raises:
        Refusal: The minutes are too few; the error names the fewest that suffice.
    """
    splits = splits_of(inspection, options)
    search = _Search(inspection, options, speeds, studies, workers, required, splits)
    candidate = search.best()
    margin = options.margin or expected_margin(error, splits.test)
    inputs = _Inputs(inspection, options, splits, margin, error, workers)
    return Proposal(
        values=tuple(_values(inputs, candidate)),
        training_minutes=candidate.training_seconds / 60,
        minutes=candidate.seconds / 60,
        updates=candidate.updates,
        warnings=tuple(_warnings(inputs, candidate)),
    )


@dataclass(frozen=True)
class _Inputs:
    """The inputs for the values of a protocol, besides the candidate that was found."""

    inspection: Inspection
    options: ProtocolOptions
    splits: Splits
    margin: float
    error: float
    workers: int


@dataclass(frozen=True)
class _Search:
    """Search the values that the minutes allow."""

    inspection: Inspection
    options: ProtocolOptions
    speeds: Speeds
    studies: Mapping[str, StudyRuns]
    workers: int
    required: Callable[[int], int]
    splits: Splits

    def best(self) -> _Candidate:
        """Return the first combination, in the order of preference, that the minutes allow.

        Raises:
            Refusal: They allow none.
        """
        considered = networks(self.inspection, self.splits, self.options)
        for share, levels, thrift in ATTEMPTS:
            for network, train in self._with_sizes(considered, FEWEST_EXAMPLES[thrift]):
                for level in levels:
                    candidate = self._within(network, train, level, share)
                    if candidate:
                        return candidate
        fewest = self._fewest_minutes(considered)
        raise Refusal(
            f"--minutes {self.options.minutes:g}: too few for these data; expected >= {fewest:g}"
        )

    def _fewest_minutes(self, considered: Sequence[Network]) -> float:
        share, levels, thrift = ATTEMPTS[-1]
        seconds = [
            self._candidate(
                network, train, level, self._fewest_epochs(network, train, share)
            ).seconds
            for network, train in self._with_sizes(considered, FEWEST_EXAMPLES[thrift])
            for level in levels
        ]
        return math.ceil(2 * min(seconds) / 60 + 0.01) / 2

    def _with_sizes(
        self, considered: Sequence[Network], fewest: int
    ) -> Iterator[tuple[Network, int]]:
        """Yield every network with every number of training examples, and a batch size by it."""
        for network, train in itertools.product(considered, self._train_sizes(fewest)):
            yield dataclasses.replace(network, batch_size=_batch_size(train, self.options)), train

    def _train_sizes(self, fewest: int) -> list[int]:
        """Return numbers of training examples, multiples of the batch size, the most first."""
        if self.options.train_size:
            return [self.options.train_size]
        classes, size, sizes = len(self.inspection.counts), self.splits.train, []
        batch = _batch_size(size, self.options)
        while size == self.splits.train or size >= max(fewest, 10 * classes, 2 * batch):
            whole = size - size % batch
            sizes.append(whole if whole >= classes else size)
            size //= 2
            batch = _batch_size(size, self.options)
        return sizes

    def _usual_epochs(self, network: Network, train: int) -> int:
        per_epoch = train // network.batch_size
        epochs = math.ceil(max(FEW_UPDATES, UPDATES_PER_ROOT * math.sqrt(train)) / per_epoch)
        return min(max(epochs, EPOCHS[0]), EPOCHS[1])

    def _fewest_epochs(self, network: Network, train: int, share: float) -> int:
        if self.options.epochs:
            return self.options.epochs
        return max(EPOCHS[0], math.ceil(share * self._usual_epochs(network, train)))

    def _within(
        self, network: Network, train: int, level: Level, share: float
    ) -> _Candidate | None:
        """Return the combination with the most epochs in the minutes; None if these are too few."""
        fewest = self._fewest_epochs(network, train, share)
        limit = 60 * self.options.minutes
        candidate = self._candidate(network, train, level, fewest)
        if candidate.seconds > limit:
            return None
        if self.options.epochs:
            return candidate
        one_more = self._candidate(network, train, level, fewest + 1).seconds - candidate.seconds
        most = MOST_SURPLUS * self._usual_epochs(network, train)
        affordable = fewest + int((limit - candidate.seconds) / max(one_more, 1e-9))
        epochs = min(affordable, max(fewest, min(most, EPOCHS[1])))
        longest = self._candidate(network, train, level, epochs)
        while longest.seconds > limit:  # a longer run may have more points on its curve
            epochs -= 1
            longest = self._candidate(network, train, level, epochs)
        return longest

    def _candidate(self, network: Network, train: int, level: Level, epochs: int) -> _Candidate:
        """Return a combination with the seconds that it takes."""
        names = self.options.studies or tuple(self.studies)[: level.studies]
        runs = self._run_counts(names, level)
        validation = self._validation(train)
        held_out = validation or self.splits.train + self.splits.validation - train
        speed = self.speeds(network)

        update_seconds = epochs * (train // network.batch_size) * speed.update
        points = _curve_points(train + held_out, speed.score, SCORING_SHARE * update_seconds)
        scored_examples = min(points, epochs) * (train + held_out) + held_out
        score_seconds = scored_examples * speed.score
        start_seconds = speed.start + EQUIPPING_SECONDS
        run_seconds = start_seconds + ARM_COST * update_seconds + score_seconds

        predicted_examples = train + PASSES * (held_out + self.splits.test)
        prediction_seconds = runs.fresh * predicted_examples * speed.score
        all_runs = WIDENING_FACTOR * runs.explored + runs.fresh
        at_once = min(self.workers, runs.total)
        busy_seconds = (all_runs * run_seconds + prediction_seconds) / at_once
        return _Candidate(
            network=network,
            level=Level(len(names), runs.exploration_seeds, runs.confirmation_seeds),
            studies=tuple(names),
            train=train,
            validation=validation,
            epochs=epochs,
            points=points,
            run_seconds=run_seconds,
            runs=runs.total,
            training_seconds=runs.total * run_seconds / at_once,
            seconds=STAGE_SECONDS + AFTER_SECONDS * runs.total + busy_seconds,
        )

    def _run_counts(self, names: Sequence[str], level: Level) -> "_RunCounts":
        """Return the seeds and runs of these studies and of the baseline, which is tuned."""
        studies = [self.studies[name] for name in names]
        arms = sum(study.arms for study in studies) + 1  # and the values before tuning
        exploration = self.options.exploration or level.exploration
        confirmation = self.options.confirmation or max(level.confirmation, self.required(arms))
        explored = RANGE_POINTS + sum(study.explored for study in studies)
        confirmed = 2 + sum(study.confirmed for study in studies)
        other = sum(study.other for study in studies)
        return _RunCounts(
            exploration_seeds=exploration,
            confirmation_seeds=confirmation,
            explored=exploration * explored,
            fresh=confirmation * confirmed + other,
        )

    def _validation(self, train: int) -> int | None:
        """Return the number of validation examples; None for all that are not used for training."""
        if self.inspection.validation:
            return None
        remaining = self.splits.train + self.splits.validation - train
        count = min(self.splits.validation, max(FEWEST_EXAMPLES[0], train))
        return None if remaining <= 1.5 * count else count


@dataclass(frozen=True)
class _RunCounts:
    """How many seeds and runs a report has.

    Attributes:
        exploration_seeds: Those on which settings are chosen.
        confirmation_seeds: Those from which results come.
        explored: Runs on the seeds of exploration.
        fresh: Runs that are evaluated on the test set.
    """

    exploration_seeds: int
    confirmation_seeds: int
    explored: int
    fresh: int

    @property
    def total(self) -> int:
        return self.explored + self.fresh


def _curve_points(examples: int, score_seconds: float, limit: float) -> int:
    """Return the most points of a learning curve whose scoring takes less than `limit` seconds.

    Args:
        examples: Those that each point scores.
        score_seconds: The seconds of one example.
        limit: The seconds of a run that scoring may take; the fewest points may take more.
    """
    fitting = [count for count in POINTS if count * examples * score_seconds < limit]
    return max(fitting, default=POINTS[-1])


def _values(inputs: _Inputs, candidate: _Candidate) -> list[ProposedValue]:
    inspection, options = inputs.inspection, inputs.options
    return [
        *_source_values(inspection, candidate),
        *_data_values(inspection, options, inputs.splits, candidate),
        *_model_values(inspection, options, candidate),
        *_training_values(options, candidate),
        *_report_values(inputs, candidate),
    ]


def _source_values(inspection: Inspection, candidate: _Candidate) -> list[ProposedValue]:
    rows = [
        ProposedValue(f"source.{key}", value, inspection.reasons.get(key, ""))
        for key, value in inspection.source.items()
    ]
    if candidate.network.size is None:
        return rows
    why = inspection.reasons.get("size", "")
    if candidate.network.size != inspection.sizes[0]:
        why = f"{inspection.sizes[0]} pixels take too long for the minutes"
    return [*rows, ProposedValue("source.size", candidate.network.size, why)]


def _data_values(
    inspection: Inspection, options: ProtocolOptions, splits: Splits, candidate: _Candidate
) -> list[ProposedValue]:
    rows = [ProposedValue("data.dataset", inspection.dataset, "")]
    if splits.test_fraction is not None:
        reason = (
            "as asked for"
            if options.test_fraction
            else f"{splits.test:,} of {inspection.examples:,} {inspection.noun}, the same at every "
            f"seed; one of them is {100 / splits.test:.2g} points of accuracy"
        )
        rows.append(ProposedValue("data.test_fraction", splits.test_fraction, reason))
    rows.append(
        ProposedValue("data.train_size", candidate.train, _train_reason(options, splits, candidate))
    )
    if candidate.validation is not None:
        reason = "enough to choose settings by; more would cost time"
        rows.append(ProposedValue("data.validation_size", candidate.validation, reason))
    return rows


def _train_reason(options: ProtocolOptions, splits: Splits, candidate: _Candidate) -> str:
    batch = candidate.network.batch_size
    if options.train_size:
        return "as asked for"
    if candidate.train < splits.train - batch:
        return (
            f"of {splits.train:,} that are left: all would take too long for the minutes; another "
            "part of them at every seed"
        )
    if candidate.train % batch == 0:
        return f"the examples outside validation and test, in whole batches of {batch}"
    return "the examples outside validation and test"


def _model_values(
    inspection: Inspection, options: ProtocolOptions, candidate: _Candidate
) -> list[ProposedValue]:
    channels, *sides = inspection.shape
    if candidate.network.size is not None:
        sides = [candidate.network.size] * 2
    shape = "x".join(map(str, (channels, *sides)))
    size = shape if inspection.is_image else f"{channels} features"
    reason = (
        "as asked for"
        if options.imported or options.network
        else f"for {candidate.train:,} examples of {size}"
    )
    keys = candidate.network.model.items()
    return [
        ProposedValue(f"model.{key}", value, reason if number == 0 else "")
        for number, (key, value) in enumerate(keys)
    ]


def _training_values(options: ProtocolOptions, candidate: _Candidate) -> list[ProposedValue]:
    rate = _learning_rate(options, candidate)
    rows = [ProposedValue("training.learning_rate", rate, "the middle of the range below")]
    if options.imported:
        reason = "trains most networks at this learning rate"
        rows.append(ProposedValue("training.optimizer", {"name": "adam"}, reason))
    updates = candidate.train // candidate.network.batch_size
    epochs = (
        "as asked for"
        if options.epochs
        else f"{candidate.updates:,} updates of a run, {updates:,} an epoch: as many as the "
        f"minutes allow, at most {MOST_SURPLUS * UPDATES_PER_ROOT} times the square root of the "
        "training examples"
    )
    rows += [
        ProposedValue("training.epochs", candidate.epochs, epochs),
        ProposedValue(
            "training.batch_size", candidate.network.batch_size, "by the number of examples"
        ),
    ]
    if candidate.points != POINTS[0]:
        rows.append(
            ProposedValue("training.curve_points", candidate.points, "scoring more takes too long")
        )
    return rows


def _learning_rate(options: ProtocolOptions, candidate: _Candidate) -> float:
    """Return the learning rate in the middle of the range that is searched."""
    name = str(candidate.network.model.get("name", "imported"))
    return options.learning_rate or RATES.get(name, OTHER_RATE)


def _report_values(inputs: _Inputs, candidate: _Candidate) -> list[ProposedValue]:
    rate, error, test = _learning_rate(inputs.options, candidate), inputs.error, inputs.splits.test
    low, high = (float(f"{value:.4g}") for value in (rate / RANGE_FACTOR, rate * RANGE_FACTOR))
    space = {"log": [low, high], "points": RANGE_POINTS}
    tuned = "the baseline is tuned first; the range is widened where its end is best"
    noise = math.sqrt(max(error, 1 / test) / test)
    reason = (
        "as asked for"
        if inputs.options.margin
        else f"a simple classifier has {100 * error:.2g} % error: a tenth of it, but at least "
        f"{MARGINS[0]:g} and at most {MARGINS[1]:g}; or one of {test:,} test "
        f"{inputs.inspection.noun} if that is more, at most {MOST_MARGIN:g}. Two networks that "
        f"disagree on {100 * error:.2g} % differ by {100 * noise:.2g} points by chance (one "
        "standard error)"
    )
    seeds = f"fresh seeds, from which all results come: {candidate.runs:,} runs in all"
    return [
        ProposedValue("tune.training.learning_rate", space, tuned),
        ProposedValue(
            "seeds.exploration", candidate.level.exploration, "on which settings are chosen"
        ),
        ProposedValue("seeds.confirmation", candidate.level.confirmation, seeds),
        ProposedValue("margin", inputs.margin, reason),
        ProposedValue("studies", list(candidate.studies), _studies_reason(inputs.inspection)),
        ProposedValue(
            "seconds_per_run",
            float(f"{candidate.run_seconds:.3g}"),
            f"measured here, with {inputs.workers} runs at a time",
        ),
    ]


def _studies_reason(inspection: Inspection) -> str:
    if not inspection.is_image:
        return "what applies to rows of a table"
    if inspection.flips_keep_labels:
        return "what applies to images whose mirror images keep their label"
    return "what applies to images; flips too if mirror images keep their label: --flips"


def _warnings(inputs: _Inputs, candidate: _Candidate) -> list[str]:
    lines, test = list(inputs.inspection.warnings), inputs.splits.test
    if inputs.error < EASY_ERROR:
        lines.append(
            f"a simple classifier has {100 * inputs.error:.2g} % error: there is hardly a gap to "
            "close; fewer training examples (--train-size) leave one"
        )
    if candidate.updates < FEW_UPDATES:
        lines.append(
            f"{candidate.updates} updates of a run are few: networks may not be trained to the "
            f"end; expected --minutes {2 * inputs.options.minutes:g}, "
            f"or --epochs {2 * candidate.epochs}"
        )
    if inputs.margin < 1 / test:
        lines.append(
            f"the margin of {100 * inputs.margin:.2g} points is below one of {test} test "
            f"{inputs.inspection.noun} ({100 / test:.2g} points): no arm can be equivalent"
        )
    return lines
