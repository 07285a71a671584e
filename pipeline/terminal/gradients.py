"""Print the output of `gapwise doctor --gradients`: gradients against differences of the loss."""

import itertools
import json
import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from pipeline.config.labels import format_setting
from pipeline.config.plan import BASELINE
from pipeline.config.streams import Streams
from pipeline.data.arrays import DatasetInfo
from pipeline.data.description import describe
from pipeline.execution.stage import ARTIFACTS, Incomplete
from pipeline.models._sites import plain
from pipeline.planning.arms import Trial
from pipeline.planning.starts import run_config
from pipeline.planning.studies import Experiment, read_experiment
from pipeline.prediction.network import assemble
from pipeline.runtime.errors import Refusal
from pipeline.terminal.tables import breakable, say, show, table
from pipeline.training.gradients import Compared, NotReproducible, check_gradients, descend, loss_of

EXAMPLES = 10
UPDATES = 20
RATE = 0.01
LIMITS = ((1e-7, "good"), (1e-5, "fair"), (1e-3, "look"))  # of the relative error
WRONG = "wrong"
EXPLANATION = (
    f"Relative distance between the gradient and the two-sided difference of the loss, in float64, "
    f"on {EXAMPLES} random images with fixed noise, at the initial weights and after {UPDATES} "
    "updates. Good: at most 1e-7; fair: 1e-5; look: up to 1e-3; wrong: above. Kinks, too small: "
    "not compared."
)


def show_gradients(name: str) -> None:
    """Print a row for every parameter of the baseline, and one for every arm of another network.

    Args:
        name: The name of the protocol.

    Raises:
        Incomplete: A gradient is wrong.
        Refusal: The protocol is invalid, or a network cannot run in float64.
    """
    experiment = read_experiment(name)
    protocol = experiment.protocol
    kind = describe(
        protocol.data.dataset, protocol.source, ARTIFACTS / name / "data", protocol.data.classes
    )
    (_, baseline), *arms = _networks(experiment)
    start, later = _moments(baseline, kind, BASELINE)
    layers = table("parameter", "at start", "later", "verdict", title=f"{name}: {BASELINE}")
    for first, second in zip(start, later, strict=True):
        cells = plain(first.name), _error(first), _error(second), _verdict([first, second])
        layers.add_row(*cells)
    show(layers)
    rows = table("arm", "setting", "worst at", "error", "verdict", title=f"{name}: arms")
    verdicts = [_verdict([*start, *later])]
    for label, trial in arms:
        compared = [*itertools.chain(*_moments(trial, kind, label))]
        worst = max(compared, key=lambda one: -1 if math.isnan(one.error) else one.error)
        verdicts.append(_verdict(compared))
        setting = breakable(format_setting(trial.setting))
        rows.add_row(label, setting, plain(worst.name), _error(worst), verdicts[-1])
    if arms:
        show(rows)
    say(EXPLANATION)
    if wrong := verdicts.count(WRONG):
        raise Incomplete(f"{name}: {wrong} of {len(verdicts)} networks have a wrong gradient")


def _networks(experiment: Experiment) -> list[tuple[str, Trial]]:
    """Return the first setting of every arm, the baseline first; of equal networks the first."""
    arms = [(study.name, arm) for study in experiment.studies for arm in study.arms]
    trials: dict[str, tuple[str, Trial]] = {}
    for study, arm in arms:
        trial = arm.trials[0]
        acting = [[item.name, item.model_dump(mode="json")] for item in trial.regularizers]
        label = arm.name if arm.name == study else f"{arm.name} of {study}"
        trials.setdefault(json.dumps([trial.protocol.model, acting]), (label, trial))
    return list(trials.values())


def _moments(trial: Trial, kind: DatasetInfo, label: str) -> list[list[Compared]]:
    """Return the comparisons of a setting at its initial weights and after some updates.

    Raises:
        Refusal: The network cannot run in float64, or its loss is not reproducible.
    """
    config = run_config(trial, Streams.of(0))
    network = assemble(
        config, trial.regularizers, kind.shape, kind.classes, pretrained=True
    ).double()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(EXAMPLES, *kind.shape, generator=generator, dtype=torch.double)
    labels = torch.randint(kind.classes, (EXAMPLES,), generator=generator)
    targets = functional.one_hot(labels, kind.classes).double()
    network.fit(images)
    try:
        loss = loss_of(network, trial.regularizers, images, targets)
        start = check_gradients(network, loss)
        descend(network, loss, UPDATES, RATE)
        return [start, check_gradients(network, loss)]
    except NotReproducible as error:
        raise Refusal(
            f"{label}: two passes with the same draws have the losses {error}; expected one, "
            "from torch's, numpy's or Python's global generator alone"
        ) from None
    except RuntimeError as error:  # of torch, where code of the user makes float32 values
        reason = " ".join(str(error).split())
        raise Refusal(f"{label}: the network does not run in float64: {reason}") from None


def _error(compared: Compared) -> str:
    if math.isnan(compared.error):
        return "too small" if compared.compared else f"{compared.kinks} kinks"
    return f"{compared.error:.0e}" if compared.error else "0"


def _verdict(compared: Sequence[Compared]) -> str:
    """Return the verdict on the largest error; `unknown` if no parameter could be compared."""
    errors = [one.error for one in compared if not math.isnan(one.error)]
    if not errors:
        return "unknown"
    return next((word for limit, word in LIMITS if max(errors) <= limit), WRONG)
