"""Stage 1: the dataset as arrays, split for good into a development pool and a closed test set."""

import sys
from pathlib import Path

from pipeline.data import sources as data
from pipeline.data.checks import notes, require_examples, require_sizes
from pipeline.data.prepared import write_prepared
from pipeline.data.remarks import heard
from pipeline.data.splits import divided
from pipeline.execution.stage import stage
from pipeline.planning.protocols import read_protocol


def main(protocol: str) -> None:
    """Writes artifacts/<protocol>/data."""
    settings = read_protocol(protocol)
    dataset, source = settings.data.dataset, settings.source
    kind = data.describe(dataset, source)
    with heard() as said:
        parts = data.read(dataset, source)
    require_examples(parts)
    development, test = divided(parts, settings.data.test_fraction)
    require_sizes(development, settings.data)
    noted = notes(development, test)
    folder = Path("artifacts") / protocol / "data"
    summary = write_prepared(
        folder, dataset, development, test, kind.flips_keep_labels, [*said, *noted]
    )
    print(
        f"{dataset}: {summary['development']} images to develop on, {summary['test']} kept for the test"
    )
    for note in noted:
        print(f"note: {note}")


if __name__ == "__main__":
    sys.exit(stage(main))
