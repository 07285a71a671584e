"""Stage 1: the dataset as arrays, split for good into a development pool and a closed test set."""

import sys
from pathlib import Path

from pipeline import data
from pipeline.config.protocols import read_protocol
from pipeline.data.examination import notes
from pipeline.data.prepared import write_prepared
from pipeline.data.splits import divided
from pipeline.execution.stage import stage


def main(protocol: str) -> None:
    """Writes artifacts/<protocol>/data."""
    settings = read_protocol(protocol, data.settings())
    dataset, source = settings.data.dataset, settings.source
    development, test = divided(data.read(dataset, source), settings.data.test_fraction)
    folder = Path("artifacts") / protocol / "data"
    summary = write_prepared(folder, dataset, development, test, data.describe(dataset, source).flips_keep_labels)
    print(f"{dataset}: {summary['development']} images to develop on, {summary['test']} kept for the test")
    for note in notes(development, test):
        print(f"note: {note}")


if __name__ == "__main__":
    sys.exit(stage(main))
