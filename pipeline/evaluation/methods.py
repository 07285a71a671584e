"""Every way to predict with the models of one group, side by side: one model, its averages over members, ensembles.

Separate from `ensembles.py`, which averages whatever it is given: here is what is given, what it is compared with and
what it costs. A group shares its split, so its models can be averaged on the same examples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

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

SINGLE = "one model"
INDEPENDENT = "independent"
GEOMETRIC = "independent, geometric mean"
AVERAGED = {
    "noise": "noise passes",
    "moments": "moments",
    "draws": "augmented views",
    "crops": "crops",
}  # of one network
ROUNDS, START = 20, 5  # of greedy selection: additions, and best single models to start from
HALVES = slice(0, None, 2), slice(1, None, 2)  # of validation: one selects, the other does not
CURVES = {"accuracy": accuracy, "nll": nll}

Logits = NDArray[np.floating]  # (members, N, classes)
Tensors = Mapping[str, Logits]  # "<split>/<kind>"
Labelled = tuple[Labels, Labels]  # of validation and of test


@dataclass(frozen=True)
class Model:
    """One trained model of a group: its run, its predictions, and the digest of the examples they were made on."""

    run: str
    tensors: Tensors
    examples: str

    def logits(self, kind: str = "deterministic") -> tuple[Logits, Logits]:
        """Its members of a kind on validation and test."""
        return self.tensors[f"validation/{kind}"], self.tensors[f"test/{kind}"]


@dataclass(frozen=True)
class Group:
    """The models of one group: one for each compared arm, and those of the study of ensembles, the baseline's several."""

    compared: Mapping[str, Model]
    baseline: Sequence[Model]
    others: Mapping[str, Model]


@dataclass(frozen=True)
class Method:
    """Members to average, of `model`, from the trainings `runs`; its gain is over the method `against`.

    `average` is how: the mean of probabilities unless declared otherwise.
    """

    name: str
    model: str
    against: str
    runs: tuple[str, ...]
    validation: Logits
    test: Logits
    average: Callable[[Logits], Array] = arithmetic_mean


def methods(group: Group) -> Iterator[Method]:
    """Every method of a group but the greedy one; first one model alone."""
    first = group.baseline[0]
    yield _method(SINGLE, "baseline", [first])
    independent = _method(INDEPENDENT, "baseline", group.baseline)
    yield independent
    yield replace(independent, name=GEOMETRIC, average=geometric_mean)
    if "test/crops" in first.tensors:
        yield _method(AVERAGED["crops"], "baseline", [first], "crops")
    for arm, model in group.others.items():
        if "test/snapshots" in model.tensors:
            last = _method(f"last of {arm}", "baseline", [model])
            yield from (
                last,
                replace(_method(arm, "baseline", [model], "snapshots"), against=last.name),
            )
        else:
            yield _method(arm, arm, [model])
        if "test/raw" in model.tensors:
            yield _method(f"{arm}, raw", arm, [model], "raw")
    for arm, model in group.compared.items():
        kinds = [kind for kind in AVERAGED if f"test/{kind}" in model.tensors and kind != "crops"]
        alone = _method(f"{SINGLE} of {arm}", arm, [model])
        yield from [alone] if kinds else []
        yield from (
            replace(_method(f"{AVERAGED[kind]} of {arm}", arm, [model], kind), against=alone.name)
            for kind in kinds
        )
    yield _method("all arms", "every arm", list(group.compared.values()))


def selected(group: Group, labels: Labels) -> tuple[Method, dict[str, float]]:
    """Greedy selection among all models of the group by NLL on every other validation example (labels of validation).

    With it the gain over the plain mean of all models, in nats, on the half that selected and on the half that did not.
    All models have to be trained for it.
    """
    library = {
        **group.compared,
        **{f"baseline {number}": model for number, model in enumerate(group.baseline) if number},
    }
    validation, test = (
        concatenated(
            [model.logits()[split] for model in library.values()],
            [model.examples for model in library.values()],
        )
        for split in (0, 1)
    )
    singles = softmax(validation)
    selecting, held_out = (singles[:, half] for half in HALVES)
    counts = greedy(selecting, labels[HALVES[0]], ROUNDS, START)
    gains = {
        f"nll_gain_{name}": nll(half.mean(axis=0), labels[part])
        - nll(weighted(half, counts), labels[part])
        for name, half, part in zip(
            ("selecting", "held_out"), (selecting, held_out), HALVES, strict=True
        )
    }
    picked = np.repeat(np.arange(len(counts)), counts)
    runs = tuple(model.run for model in library.values())
    return Method("greedy", "every arm", SINGLE, runs, validation[picked], test[picked]), gains


def scored(method: Method, labels: Labelled) -> dict[str, float]:
    """Every metric of a method on the test, before and after temperature scaling on validation; its members' diversity."""
    probabilities = method.average(method.test)
    temperature = fitted_temperature(method.average(method.validation), labels[0])
    mended = tempered(probabilities, temperature)
    return {
        **{name: metric(probabilities, labels[1]) for name, metric in METRICS.items()},
        "nll_scaled": nll(mended, labels[1]),
        "calibration_error_scaled": calibration_error(mended, labels[1]),
        "temperature": temperature,
        "disagreement": disagreement(
            np.unique(method.test, axis=0)
        ),  # a model picked twice is one member
        "forward_passes": float(len(np.unique(method.test, axis=0))),
        "trainings": float(len(method.runs)),
    }


def sizes(method: Method, labels: Labels) -> Iterator[tuple[int, str, float]]:
    """(members, metric, value) of averages of 1 to all members: over all subsets where independent, else the last."""
    curve = size_curve if method.name == INDEPENDENT else last_curve
    for metric, score in CURVES.items():
        yield from (
            (size, metric, float(value))
            for size, value in enumerate(curve(method.test, labels, score), start=1)
        )


def passes(logits: Logits, labels: Labels) -> Iterator[tuple[int, str, float]]:
    """(passes, metric, value) of the averages of the first 1 to T noise passes (T, N, classes)."""
    counts = np.arange(1, len(logits) + 1)[:, None, None]
    means = softmax(logits).cumsum(axis=0) / counts
    for metric, score in CURVES.items():
        yield from (
            (number, metric, score(mean, labels)) for number, mean in enumerate(means, start=1)
        )


def _method(name: str, model: str, models: Sequence[Model], kind: str = "deterministic") -> Method:
    """Members of a kind of several models as one method, compared with one model alone."""
    digests = [one.examples for one in models]
    validation, test = (
        concatenated([one.logits(kind)[split] for one in models], digests) for split in (0, 1)
    )
    return Method(name, model, SINGLE, tuple(one.run for one in models), validation, test)
