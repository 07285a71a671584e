"""Read the settings of a stored run."""

from pathlib import Path

from pipeline.config.run import RunConfig, read_config
from pipeline.records.runs import read_file

SETTINGS = "run.json"


def read_settings(folder: Path) -> RunConfig | None:
    """Return the settings of the run in `folder`; None if it is not stored.

    Args:
        folder: The folder of the run.

    Raises:
        Refusal: They are corrupted.
    """
    return read_config(folder / SETTINGS) if read_file(folder, SETTINGS) else None
