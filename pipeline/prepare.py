"""Stage 1: the dataset as arrays, split for good into a development pool and a closed test set."""

import sys
from pathlib import Path

from pipeline import data
from pipeline.config.protocols import read_protocol
from pipeline.data.prepared import write_prepared
from pipeline.data.splits import hold_out
from pipeline.execution.stage import stage


def main(protocol: str) -> None:
    """Writes artifacts/<protocol>/data."""
    settings = read_protocol(protocol, data.names()).data
    arrays = data.read(settings.dataset)
    development, test = hold_out(arrays.labels, settings.test_fraction)
    folder = Path("artifacts") / protocol / "data"
    summary = write_prepared(folder, settings.dataset, arrays.take(development), arrays.take(test))
    print(f"{settings.dataset}: {summary['development']} images to develop on, {summary['test']} kept for the test")


if __name__ == "__main__":
    sys.exit(stage(main))
