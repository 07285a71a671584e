"""Stage 1: prepare the dataset as arrays, split into a development pool and a closed test set."""

import sys
from pathlib import Path

from pipeline.config.left_out import left_out_note
from pipeline.config.validation import errors_in
from pipeline.data import sources as data
from pipeline.data.checks import collect_notes, compare_splits, require_examples, require_sizes
from pipeline.data.description import prepared_with
from pipeline.data.prepared import require_intact, write_prepared
from pipeline.data.splits import development_and_test
from pipeline.execution.stage import stage
from pipeline.planning.protocols import read_protocol
from pipeline.runtime.errors import Refusal


def main(protocol: str) -> None:
    """Write artifacts/<protocol>/data."""
    settings, files = read_protocol(protocol)
    dataset, source = settings.data.dataset, settings.source
    folder = Path("artifacts") / protocol / "data"
    try:
        info = data.describe(dataset, source)
    except Refusal as refusal:
        summary = prepared_with(dataset, source, folder)
        if not summary or summary.get("test_fraction") != settings.data.test_fraction:
            raise
        require_intact(folder)
        print(f"note: {'; '.join(refusal.lines)}: kept what was prepared with the same settings")
        return
    with collect_notes() as warnings:
        splits = data.read(dataset, source)
    with errors_in(files):
        require_examples(splits)
        development, test = development_and_test(splits, settings.data.test_fraction)
        require_sizes(development, settings.data)
    differences = compare_splits(development, test, splits.feature_names)
    notes = [*warnings, *differences]
    given = {"source": data.format_settings(source), "test_fraction": settings.data.test_fraction}
    keep_labels, names = info.flips_keep_labels, splits.class_names
    write_prepared(folder, dataset, development, test, keep_labels, notes, given, names)
    counts = f"{len(development.labels)} development and {len(test.labels)} test {test.noun}"
    print(f"{dataset}: {counts}")
    left_out = left_out_note(settings.data.train_size, settings.training.batch_size)
    for note in filter(None, [*differences, left_out]):
        print(f"note: {note}")


if __name__ == "__main__":
    sys.exit(stage(main))
