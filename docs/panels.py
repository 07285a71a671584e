"""Draw the panels of docs/wandb.md from mirrored runs: what its groupings and filters give.

`python docs/panels.py PROTOCOL` reads the offline runs of the last report from `wandb/` with W&B's
own command, and writes docs/panels.png.
"""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from pipeline.reporting.style import colors, png, style

ROOT = Path(__file__).resolve().parent.parent
ARMS = ("baseline", "dropout", "stochastic_depth", "weight_decay")
ACCURACY, VALIDATION = "final/test_accuracy", "validation/accuracy"


def inspect_run(name: str, *options: str) -> str:
    """Return what W&B reads of the newest offline run of that id."""
    folder = max((ROOT / "wandb").glob(f"offline-run-*-{name}"))
    command = ["wandb", "leet", "inspect", "--json", *options, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def read_runs(protocol: str) -> pd.DataFrame:
    """Return a row for every run: its id, config and summary."""
    tracked = json.loads((ROOT / "artifacts" / protocol / "tracked.json").read_text())
    runs = [json.loads(inspect_run(name, "--summary")) for name in tracked["ids"]]
    return pd.DataFrame([{"id": run["run_id"], **run["config"], **run["summary"]} for run in runs])


def read_curves(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the points of all histories, with the arm of their run."""
    rows = []
    for run in runs.itertuples():
        records = map(json.loads, inspect_run(run.id).splitlines())
        points = [record["history"]["item"] for record in records if record["type"] == "history"]
        rows += [{"arm": run.arm, **point} for point in points]
    return pd.DataFrame(rows)


def draw_panels(runs: pd.DataFrame) -> bytes:
    """Return the four panels as PNG."""
    confirmed = runs[runs["phase"].eq("confirmation") & runs["arm"].isin(ARMS)]
    confirmed = confirmed[confirmed["study"] != "ensembles"]
    confirmed = confirmed.sort_values("arm", key=lambda arms: arms.map(ARMS.index))
    explored = runs[(runs["phase"] == "exploration") & (runs["arm"] == "dropout")]
    by_arm = {"hue": "arm", "palette": colors(ARMS)}
    rate = {"x": "dropout.rate", "y": VALIDATION, "color": by_arm["palette"]["dropout"]}
    with style():
        figure, axes = plt.subplots(2, 2, figsize=(12, 8), layout="constrained")
        dots, strength, scatter, lines = axes.flat
        look = {"errorbar": "se", "linestyle": "none"}
        sns.pointplot(confirmed, x=ACCURACY, y="arm", ax=dots, **look, **by_arm)
        dots.set(title="confirmation, grouped by arm", ylabel="")
        sns.scatterplot(explored, s=70, ax=strength, **rate)
        strength.set(title="exploration, arm = dropout", xlabel="config.dropout.rate")
        sns.scatterplot(confirmed, x="final/gap", y=ACCURACY, s=50, ax=scatter, **by_arm)
        scatter.set(title="confirmation, color by arm")
        curves = read_curves(confirmed[confirmed["arm"].isin(ARMS[:3])])
        sns.lineplot(curves, x="epoch", y=VALIDATION, errorbar="se", ax=lines, **by_arm)
        lines.set(title="confirmation, grouped by arm")
        sns.move_legend(scatter, "lower left", title=None)
        sns.move_legend(lines, "lower right", title=None)
        return png(figure)


if __name__ == "__main__":
    (ROOT / "docs" / "panels.png").write_bytes(draw_panels(read_runs(sys.argv[1])))
