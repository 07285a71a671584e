"""Stage 1: prepare the dataset as arrays, split into a development pool and a closed test set."""

import sys
from pathlib import Path

from pipeline.config.left_out import left_out_note
from pipeline.config.validation import errors_in
from pipeline.data import sources as data
from pipeline.data.checks import collect_notes, compare_splits, require_examples, require_sizes
from pipeline.data.prepared import write_prepared
from pipeline.data.splits import development_and_test
from pipeline.execution.stage import stage
from pipeline.planning.protocols import read_protocol


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/data."""
    settings, files = read_protocol(protocol)
    dataset, source = settings.data.dataset, settings.source
    info = data.describe(dataset, source)
    with collect_notes() as warnings:
        splits = data.read(dataset, source)
    with errors_in(files):
        require_examples(splits)
        development, test = development_and_test(splits, settings.data.test_fraction)
        require_sizes(development, settings.data)
    differences = compare_splits(development, test)
    folder = Path("artifacts") / protocol / "data"
    notes = [*warnings, *differences]
    write_prepared(folder, dataset, development, test, info.flips_keep_labels, notes)
    print(f"{dataset}: {len(development.labels)} development and {len(test.labels)} test images")
    left_out = left_out_note(settings.data.train_size, settings.training.batch_size)
    for note in filter(None, [*differences, left_out]):
        print(f"note: {note}")


if __name__ == "__main__":
    sys.exit(stage(main))
