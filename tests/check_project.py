"""Train two steps of every setting of the protocols in `params.yaml`, on their data.

`make check` runs this file. The suite does not: it is independent of what a user adds or changes.
"""

import functools
from pathlib import Path

import pytest
from short import train_two_steps

from pipeline.config.parameters import read_parameters
from pipeline.data import sources
from pipeline.data.splits import development_and_test
from pipeline.planning.studies import read_experiment

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = {name: read_experiment(name, ROOT) for name in read_parameters(ROOT).protocols}


@functools.cache
def pool(protocol):
    """Return the development pool of a protocol."""
    settings = EXPERIMENTS[protocol].protocol
    splits = sources.read(settings.data.dataset, settings.source)
    return development_and_test(splits, settings.data.test_fraction)[0]


def trials():
    """Return (protocol, trial) of every setting of every arm."""
    return [
        pytest.param(protocol, trial, id=f"{protocol}-{study.name}-{arm.name}-{number}")
        for protocol, experiment in EXPERIMENTS.items()
        for study in experiment.studies
        for arm in study.arms
        for number, trial in enumerate(arm.trials)
    ]


@pytest.mark.parametrize(("protocol", "trial"), trials())
def test_a_setting_trains_two_steps(protocol, trial):
    trained = train_two_steps(trial, pool(protocol))
    assert not trained.diverged
    assert set(trained.audit) == {item.name for item in trial.regularizers}
