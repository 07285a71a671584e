"""Check the protocols in `params.yaml` on their data: their sizes, and two steps of every setting.

`make check` runs this file. The suite does not: it is independent of what a user adds or changes.
"""

import functools
from pathlib import Path

import pytest
from short import train_two_steps

from pipeline.config.parameters import read_parameters
from pipeline.config.validation import errors_in
from pipeline.data import sources
from pipeline.data.checks import require_sizes
from pipeline.data.splits import development_and_test
from pipeline.planning.parts import part_of_protocol
from pipeline.planning.protocols import read_protocol
from pipeline.planning.sizes import require_arm_sizes
from pipeline.planning.studies import read_experiment

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = {name: read_experiment(name, ROOT) for name in read_parameters(ROOT).protocols}


@functools.cache
def splits(protocol):
    """Return the data of a protocol."""
    settings = EXPERIMENTS[protocol].protocol
    return sources.read(settings.data.dataset, settings.source)


def pool(protocol):
    """Return the development pool of the dataset of a protocol."""
    fraction = EXPERIMENTS[protocol].protocol.data.test_fraction
    return development_and_test(splits(protocol), fraction)[0]


def trials():
    """Return (protocol, trial) of every setting of every arm."""
    return [
        pytest.param(protocol, trial, id=f"{protocol}-{study.name}-{arm.name}-{number}")
        for protocol, experiment in EXPERIMENTS.items()
        for study in experiment.studies
        for arm in study.arms
        for number, trial in enumerate(arm.trials)
    ]


@pytest.mark.parametrize("protocol", EXPERIMENTS)
def test_the_data_suffice_for_all_splits(protocol):
    experiment = EXPERIMENTS[protocol]
    settings, (_, files) = experiment.protocol, read_protocol(protocol, ROOT)
    names = splits(protocol).class_names
    development = part_of_protocol(settings, pool(protocol), names, files)
    with errors_in(files):
        require_sizes(development, settings.data)
    require_arm_sizes(experiment, development)


@pytest.mark.parametrize(("protocol", "trial"), trials())
def test_a_setting_trains_two_steps(protocol, trial):
    trained = train_two_steps(trial, pool(protocol))
    assert not trained.diverged
    assert set(trained.audit) == {item.name for item in trial.regularizers}
