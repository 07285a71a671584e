"""Check that the data suffice for the splits of a protocol and of the arms of its studies."""

from pathlib import Path

from pipeline.config.parameters import EXPERIMENTS
from pipeline.config.run import Data
from pipeline.config.validation import errors_in
from pipeline.data import sources
from pipeline.data.arrays import Arrays
from pipeline.data.checks import require_examples, require_sizes
from pipeline.data.description import prepared_with
from pipeline.data.prepared import read_development_labels
from pipeline.data.splits import development_and_test
from pipeline.planning.parts import part_of_protocol, split_settings
from pipeline.planning.protocols import Protocol, ProtocolFiles, read_protocol
from pipeline.planning.studies import Experiment
from pipeline.runtime.errors import Refusal

ARTIFACTS = Path("artifacts")


def require_protocol_sizes(protocol: Protocol) -> Arrays | None:
    """Check the sizes of a protocol before its data are prepared.

    Args:
        protocol: The protocol.

    Returns:
        The development pool without its images; None if its labels are not known without them.

    Raises:
        Refusal: The data do not suffice; the error is that of `prepare`.
    """
    _, files = read_protocol(protocol.name)
    development = _development(protocol, files)
    if development is not None:
        with errors_in(files):
            require_sizes(development, protocol.data)
    return development


def _development(protocol: Protocol, files: ProtocolFiles) -> Arrays | None:
    """Return the development pool without images, from the source or from the prepared data."""
    dataset, source, fraction = protocol.data.dataset, protocol.source, protocol.data.test_fraction
    folder = ARTIFACTS / protocol.name / "data"
    summary = prepared_with(dataset, source, folder)
    is_prepared = all(summary.get(key) == value for key, value in split_settings(protocol).items())
    try:
        splits = sources.read_labels(dataset, source)
    except Refusal:
        if not is_prepared:
            raise
        splits = None
    if splits is not None and _are_numbers(protocol):  # names are read with the images
        with errors_in(files):
            require_examples(splits)
            every = development_and_test(splits, fraction)[0]
        return part_of_protocol(protocol, every, splits.class_names, files)
    return read_development_labels(folder) if is_prepared else None


def _are_numbers(protocol: Protocol) -> bool:
    """Return whether all classes that are kept, here and in pretraining, are given by number."""
    class_lists = [
        protocol.data.classes,
        *(one["data"]["classes"] for one in protocol.pretraining.values()),
    ]
    return not any(isinstance(item, str) for classes in class_lists for item in classes or ())


def require_arm_sizes(experiment: Experiment, development: Arrays) -> None:
    """Check that the development pool suffices for the splits of every arm.

    Args:
        experiment: The protocol with its studies.
        development: All examples that are not test examples.

    Raises:
        Refusal: It does not; the error names the first arm.
    """
    places: dict[Data, str] = {}  # where a section first occurs
    for study in experiment.studies:
        for arm in study.arms:
            place = f"{EXPERIMENTS / study.name}.yaml: arms.{arm.name}"
            for trial in arm.trials:
                places.setdefault(trial.protocol.data, place)
    places.pop(experiment.protocol.data, None)
    for data, place in places.items():
        with errors_in(place):
            require_sizes(development, data)
