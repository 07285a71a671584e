"""Stage 1: prepare the dataset as arrays, split into a development pool and a closed test set."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.config.left_out import left_out_note
from pipeline.config.run import Data
from pipeline.config.validation import Inner, Source, errors_in, place_of
from pipeline.data import sources as data
from pipeline.data.arrays import Arrays
from pipeline.data.checks import (
    collect_notes,
    compare_pretraining,
    compare_splits,
    require_examples,
    require_sizes,
)
from pipeline.data.description import prepared_with
from pipeline.data.prepared import require_intact, write_prepared
from pipeline.data.splits import development_and_test
from pipeline.execution.stage import stage
from pipeline.planning.parts import (
    part_of_pretraining,
    part_of_protocol,
    split_settings,
    test_of_protocol,
)
from pipeline.planning.protocols import Protocol, ProtocolFiles, read_protocol
from pipeline.runtime.errors import Refusal


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/data."""
    settings, files = read_protocol(protocol)
    dataset, source = settings.data.dataset, settings.source
    folder = Path("artifacts") / protocol / "data"
    try:
        info = data.describe(dataset, source)
    except Refusal as refusal:
        if not _is_prepared(settings, folder):
            raise
        require_intact(folder)
        print(f"note: {'; '.join(refusal.lines)}: kept what was prepared with the same settings")
        return
    with collect_notes() as warnings, _source_in(files):
        splits = data.read(dataset, source)
    with errors_in(files):
        require_examples(splits)
        pool, test = development_and_test(splits, settings.data.test_fraction)
    development = part_of_protocol(settings, pool, splits.class_names, files)
    test = test_of_protocol(settings, test, splits.class_names, files)
    pretraining = _pretraining_pools(settings, pool, splits.class_names, files)
    with errors_in(files):
        require_sizes(development, settings.data)
    differences = [
        *compare_splits(development, test, splits.feature_names),
        *compare_pretraining(pretraining, development, test),
    ]
    write_prepared(
        folder,
        dataset,
        development,
        test,
        info.flips_keep_labels,
        notes=[*warnings, *differences],
        settings={"source": data.format_settings(source), **split_settings(settings)},
        class_names=_names(splits.class_names, settings.data.classes),
        pretraining=pretraining,
        of_dataset=info.classes,
    )
    counts = f"{len(development.labels)} development and {len(test.labels)} test {test.noun}"
    print(f"{dataset}: {counts}")
    for name, examples in pretraining.items():
        print(f"pretraining {name}: {len(examples.labels)} {examples.noun}")
    left_out = left_out_note(settings.data.train_size, settings.training.batch_size)
    for note in filter(None, [*differences, left_out]):
        print(f"note: {note}")


@contextmanager
def _source_in(place: Source) -> Iterator[None]:
    """Begin the lines on `source.path` with its file; all others begin with a file of the data."""
    key = "source.path"
    try:
        yield
    except Refusal as refusal:
        lines = [
            line.replace(key, place_of(place, key), 1) if line.startswith(f"{key}: ") else line
            for line in refusal.lines
        ]
        raise Refusal(*lines) from None


def _is_prepared(settings: Protocol, folder: Path) -> bool:
    """Return whether a folder has the data of a protocol, prepared with the same settings."""
    summary = prepared_with(settings.data.dataset, settings.source, folder)
    if not summary:
        return False
    return all(summary.get(key) == value for key, value in split_settings(settings).items())


def _names(names: Sequence[str], classes: Sequence[int | str] | None) -> Sequence[str]:
    """Return the names of the classes that are kept."""
    if classes is None or not names:
        return names if classes is None else [str(item) for item in classes]
    return [names[item] if isinstance(item, int) else item for item in classes]


def _pretraining_pools(
    protocol: Protocol, every: Arrays, names: Sequence[str], files: ProtocolFiles
) -> dict[str, Arrays]:
    """Return the examples of each pretraining, of the dataset of the protocol or of another."""
    pools = {}
    for name, pretraining in protocol.pretraining.items():
        settings, source = Data(**pretraining["data"]), pretraining["source"]
        examples, classes = every, names
        if (settings.dataset, source) != (protocol.data.dataset, protocol.source):
            with _source_in(Inner(files, f"pretraining.{name}")):
                splits = data.read(settings.dataset, source)
            examples, _ = development_and_test(splits, settings.test_fraction)
            classes = splits.class_names
        pools[name] = part_of_pretraining(protocol, name, examples, classes, files)
        with errors_in(Inner(files, f"pretraining.{name}")):
            require_sizes(pools[name], settings)
    return pools


if __name__ == "__main__":
    sys.exit(stage(main))
