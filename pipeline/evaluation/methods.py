"""Predict with the models of one group in every way: one model, averages over members, ensembles.

The models of a group share a split, so that they can be averaged on the same examples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.config.claims import INDEPENDENT, SINGLE
from pipeline.config.labels import VIEWS
from pipeline.evaluation.averaging import arithmetic_mean, geometric_mean, softmax
from pipeline.evaluation.calibration import fitted_temperature, tempered
from pipeline.evaluation.ensembles import (
    concatenated,
    disagreement,
    greedy,
    last_curve,
    size_curve,
    weighted,
)
from pipeline.evaluation.metrics import METRICS, Array, Labels, accuracy, calibration_error, nll
from pipeline.records.predictions import Logits, Predictions, View

GEOMETRIC = "independent, geometric mean"
ALL_ARMS, GREEDY = "all arms", "greedy"
EVERY_ARM = "every arm"  # the model of a method that draws on the networks of all arms
ROUNDS, START = 20, 5  # of greedy selection: additions, and best single models to start with
HALVES = slice(0, None, 2), slice(1, None, 2)  # of validation: selecting, held out
CURVES = {"accuracy": accuracy, "nll": nll}

Labelled = tuple[Labels, Labels]  # of validation and of test


@dataclass(frozen=True)
class Model:
    """One trained model of a group.

    Attributes:
        run: The fingerprint of its run.
        predictions: Its logits.
    """

    run: str
    predictions: Predictions

    @property
    def examples(self) -> str:
        """Return the digest of the validation images, which all models of a group share."""
        return self.predictions.examples

    @property
    def kinds(self) -> list[str]:
        """Return the kinds of members that have logits on the test set."""
        return self.predictions.kinds("test")

    def logits(self, kind: str = "deterministic") -> tuple[Logits, Logits]:
        """Return the logits of a kind on validation and on test, each (members, examples, classes).

        Args:
            kind: The kind of members, as in `View`: deterministic, noise, draws, crops, snapshots
                or raw.

        Raises:
            KeyError: The predictions have no members of this kind.
        """
        logits = self.predictions.logits
        return logits[View("validation", kind)], logits[View("test", kind)]


@dataclass(frozen=True)
class Group:
    """The models of one group.

    Attributes:
        compared: One model for each compared arm.
        baseline: The models of the baseline in the study of ensembles.
        others: One model for each other arm of the study of ensembles.
    """

    compared: Mapping[str, Model]
    baseline: Sequence[Model]
    others: Mapping[str, Model]


@dataclass(frozen=True)
class Method:
    """Members to average.

    Attributes:
        name: The name of the method.
        model: The arm whose networks it averages, or `EVERY_ARM`.
        against: The method over which its gain is measured.
        runs: The runs whose training it takes.
        members: The run of every member.
        validation: The logits (members, examples, classes) on the validation set.
        test: The logits (members, examples, classes) on the test set.
        average: The function from such logits to probabilities (examples, classes).
    """

    name: str
    model: str
    against: str
    runs: tuple[str, ...]
    members: tuple[str, ...]
    validation: Logits
    test: Logits
    average: Callable[[Logits], Array] = arithmetic_mean


def ensemble_methods(group: Group) -> Iterator[Method]:
    """Yield every method of a group except greedy selection, a single model first.

    Args:
        group: The models of the group.
    """
    first = group.baseline[0]
    yield _method(SINGLE, "baseline", [first])
    independent = _method(INDEPENDENT, "baseline", group.baseline)
    yield independent
    yield replace(independent, name=GEOMETRIC, average=geometric_mean)
    if "crops" in first.kinds:
        yield _method(VIEWS["crops"], "baseline", [first], "crops")
    for arm, model in group.others.items():
        if "snapshots" in model.kinds:
            last = _method(f"last of {arm}", "baseline", [model])
            yield from (
                last,
                replace(_method(arm, "baseline", [model], "snapshots"), against=last.name),
            )
        else:
            yield _method(arm, arm, [model])
        if "raw" in model.kinds:
            yield _method(f"{arm}, raw", arm, [model], "raw")
    for arm, model in group.compared.items():
        kinds = [kind for kind in VIEWS if kind in model.kinds and kind != "crops"]
        alone = _method(f"{SINGLE} of {arm}", arm, [model])
        yield from [alone] if kinds else []
        yield from (
            replace(_method(f"{VIEWS[kind]} of {arm}", arm, [model], kind), against=alone.name)
            for kind in kinds
        )
    yield _method(ALL_ARMS, EVERY_ARM, list(group.compared.values()))


def greedy_selection(group: Group, labels: Labels) -> tuple[Method, dict[str, float]]:
    """Return the greedy selection among all models of the group, and its gains in nats.

    It minimizes the NLL of every other validation example. Gains are over the mean of all models,
    on the selecting half and on the other.

    Caruana, Niculescu-Mizil, Crew and Ksikes, ICML 2004; see `ensembles.greedy`.

    Args:
        group: The models of the group.
        labels: The labels (examples,) of validation.

    Returns:
        The method; and `nll_gain_selecting` and `nll_gain_held_out` (nats).
    """
    library = [*group.compared.values(), *group.baseline[1:]]
    every = _method(GREEDY, EVERY_ARM, library)
    singles = softmax(every.validation)
    counts = greedy(singles[:, HALVES[0]], labels[HALVES[0]], ROUNDS, START)
    gains = {}
    for name, half in zip(("selecting", "held_out"), HALVES, strict=True):
        mean, chosen = singles[:, half].mean(axis=0), weighted(singles[:, half], counts)
        gains[f"nll_gain_{name}"] = nll(mean, labels[half]) - nll(chosen, labels[half])
    picked = np.repeat(np.arange(len(counts)), counts)
    chosen_members = replace(
        every,
        members=tuple(every.members[number] for number in picked),
        validation=every.validation[picked],
        test=every.test[picked],
    )
    return chosen_members, gains


def method_scores(
    method: Method, labels: Labelled, forward_flops: Mapping[str, float]
) -> dict[str, float]:
    """Return every metric of a method on test, also after temperature scaling, and its costs.

    Args:
        method: The members to average.
        labels: The labels of validation, for the temperature, and of test.
        forward_flops: The operations of one forward pass of one example, by run.

    Returns:
        The metrics of `METRICS` by name; `nll_scaled` (nats) and `calibration_error_scaled` (0 to
        1) after temperature scaling; `temperature`; `disagreement`, 0 to 1, NaN for one member;
        `forward_passes`; `test_flops`, the floating-point operations for one example; and
        `trainings`, the number of runs.
    """
    probabilities = method.average(method.test)
    temperature = fitted_temperature(method.average(method.validation), labels[0])
    scaled = tempered(probabilities, temperature)
    # a model picked twice is one member
    distinct, places = np.unique(method.test, axis=0, return_index=True)
    return {
        **{name: metric(probabilities, labels[1]) for name, metric in METRICS.items()},
        "nll_scaled": nll(scaled, labels[1]),
        "calibration_error_scaled": calibration_error(scaled, labels[1]),
        "temperature": temperature,
        "disagreement": disagreement(distinct),
        "forward_passes": float(len(distinct)),
        "test_flops": sum(forward_flops[method.members[place]] for place in places),
        "trainings": float(len(method.runs)),
    }


def scores_by_size(method: Method, labels: Labels) -> Iterator[tuple[int, str, float]]:
    """Yield (members, metric, value) by number of members: accuracy (fraction) and nll (nats).

    For independent members, the value is the mean over all subsets of each size. For snapshots,
    the last members are averaged.

    Args:
        method: The members, of which those on test are used.
        labels: The labels (examples,) of test.
    """
    curve = size_curve if method.name == INDEPENDENT else last_curve
    for metric, score in CURVES.items():
        for size, value in enumerate(curve(method.test, labels, score), start=1):
            yield size, metric, float(value)


def scores_by_passes(logits: Logits, labels: Labels) -> Iterator[tuple[int, str, float]]:
    """Yield (passes, metric, value) of averages of the first 1, 2, ... passes.

    Metrics are accuracy (fraction) and nll (nats).

    Args:
        logits: (passes, examples, classes).
        labels: (examples,).
    """
    counts = np.arange(1, len(logits) + 1)[:, None, None]
    means = softmax(logits).cumsum(axis=0) / counts
    for metric, score in CURVES.items():
        for number, mean in enumerate(means, start=1):
            yield number, metric, score(mean, labels)


def _method(name: str, model: str, models: Sequence[Model], kind: str = "deterministic") -> Method:
    """Return the members of a kind of several models as a method, compared with a single model."""
    digests = [each.examples for each in models]
    members = [each.logits(kind) for each in models]
    validation = concatenated([on_validation for on_validation, _ in members], digests)
    test = concatenated([on_test for _, on_test in members], digests)
    runs = [each.run for each in models]
    owners = [run for run, (_, on_test) in zip(runs, members, strict=True) for _ in on_test]
    return Method(name, model, SINGLE, tuple(runs), tuple(owners), validation, test)
