"""Tables on disk, such as `scores.csv` and `contrasts.csv`: the same bytes for the same numbers.

Separate so that every stage reads words as words: a fingerprint such as 12345e67 is not a number.
"""

from pathlib import Path

import pandas as pd

from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_text

WORDS = (
    "fingerprint",
    "rule",
    "split",
    "metric",
    "study",
    "arm",
    "factor",
    "strength",
    "verdict",
    "method",
    "model",
    "against",
    "first",
    "second",
    "measure",
    "sign",
    "source",
    "setting",
    "outcome",
)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes CSV with ten significant digits; an undefined number is an empty cell."""
    write_text(path, table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def read_table(path: Path) -> pd.DataFrame:
    """The table in `path`; an empty cell is NaN in a column of numbers and "" in one of words."""
    if not path.is_file():
        raise Refusal(f"{path}: missing; needed are the stages before this one: make run")
    table = pd.read_csv(
        path, dtype=dict.fromkeys(WORDS, str), na_values=[""], keep_default_na=False
    )
    words = [name for name in WORDS if name in table]
    table[words] = table[words].fillna("")
    return table
