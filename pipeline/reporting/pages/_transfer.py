"""Find the arms of a report that start from trained weights, and name their trained parts."""

import pandas as pd

from pipeline.comparison.transfer import FINE_TUNING, PROBE, SCRATCH
from pipeline.config.plan import BASELINE
from pipeline.records.tables import rows_of
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.markdown import Row

FEWEST = 2  # sizes that make a line
FIGURE = "transfer_sizes"
WORDS = (
    "Test accuracy of training from scratch, probe and fine-tuning against the number of training "
    "images, by pretraining, with bands"
)
MODES = {SCRATCH: "scratch", PROBE: "probe", FINE_TUNING: "fine-tuning"}
SERIES = ("pretraining", "train")


def has_starts(data: ReportData) -> bool:
    """Return whether an arm starts from trained weights."""
    return len(data.transfer) > 0


def transfer_link(data: ReportData, study: str) -> str:
    """Return a link to the comparison of the starts of a study; empty if it has none."""
    rows = of(data.transfer, study)
    return " [Transfer](transfer.md) compares the starts." if len(started(rows)) else ""


def started(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the table `transfer` whose runs start from trained weights."""
    return rows[rows["train"] != SCRATCH]


def size_of(row: Row) -> int:
    """Return the number of training examples per class, or of all if that is not given."""
    return int(row["train_size"] if pd.isna(row["per_class"]) else row["per_class"])


def size_name(data: ReportData) -> str:
    """Return the unit of sizes: images per class, or training examples."""
    has_per_class = data.transfer["per_class"].notna()
    return "images per class" if has_per_class.all() and not data.is_table else "training examples"


def series(data: ReportData) -> dict[tuple[str, str], list[Row]]:
    """Return the plain arms of scratch, probe and fine-tuning at several sizes, in their order.

    Returns:
        Pretraining and what is trained -> the rows of the table `transfer`, one for each size,
        ascending.
    """
    lines: dict[tuple[str, str], dict[int, Row]] = {}
    for row in rows_of(data.transfer):
        if row["plain"] and row["n"] and row["train"] in MODES:
            key = row["pretraining"], row["train"]
            lines.setdefault(key, {}).setdefault(size_of(row), row)
    return {
        key: [rows[size] for size in sorted(rows)]
        for key, rows in lines.items()
        if len(rows) >= FEWEST
    }


def size_figure(data: ReportData, root: str) -> str:
    """Return the figure over sizes; empty for a single size.

    Args:
        data: The report.
        root: The path to the folder of the report, or empty.
    """
    return f"![{WORDS}]({root}figures/{FIGURE}.png)" if series(data) else ""


def is_against_scratch(data: ReportData, row: Row) -> bool:
    """Return whether the reference of an arm is trained from random weights."""
    trained = {(one["study"], one["arm"]): one["train"] for one in rows_of(data.transfer)}
    if row["reference"] == BASELINE:
        return SCRATCH in {train for (_, arm), train in trained.items() if arm == BASELINE}
    return trained.get((row["study"], row["reference"])) == SCRATCH
