"""Draws the panels of docs/wandb.md from mirrored runs, so that the page shows what its groupings and filters give.

`python docs/panels.py PROTOCOL` reads with W&B's own command the offline runs in `wandb/` that the last report stands on, and
writes docs/panels.png.
"""

import json
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from pipeline.reporting.style import colours, png, style

ROOT = Path(__file__).resolve().parent.parent
ARMS = (
    "baseline",
    "dropout",
    "dropconnect",
    "stochastic_depth",
    "shift_and_rotation",
    "no_batch_norm",
)


def inspected(name: str, *options: str) -> str:
    """What W&B reads of the newest offline run of that id."""
    folder = max((ROOT / "wandb").glob(f"offline-run-*-{name}"))
    command = ["wandb", "leet", "inspect", "--json", *options, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def runs(protocol: str) -> pd.DataFrame:
    """A row for every run: its config, its summary, its id."""
    told = json.loads((ROOT / "artifacts" / protocol / "tracked.json").read_text())["ids"]
    seen = [json.loads(inspected(name, "--summary")) for name in told]
    return pd.DataFrame([{"id": run["run_id"], **run["config"], **run["summary"]} for run in seen])


def curves(table: pd.DataFrame) -> pd.DataFrame:
    """The points of all histories, with the arm of their run."""
    rows = []
    for run in table.itertuples():
        records = map(json.loads, inspected(run.id).splitlines())
        rows += [
            {"arm": run.arm, **record["history"]["item"]}
            for record in records
            if record["type"] == "history"
        ]
    return pd.DataFrame(rows)


def drawn(table: pd.DataFrame) -> bytes:
    """The four panels."""
    confirmed = table[
        (table["phase"] == "confirmation")
        & table["arm"].isin(ARMS)
        & (table["study"] != "ensembles")
    ]
    confirmed = confirmed.sort_values("arm", key=lambda arms: arms.map(ARMS.index))
    explored = table[(table["phase"] == "exploration") & (table["arm"] == "dropout")]
    shades = colours(ARMS)
    with style():
        figure, ((bars, strength), (scatter, lines)) = plt.subplots(
            2, 2, figsize=(12, 8), layout="constrained"
        )
        sns.barplot(
            confirmed,
            x="final/test_accuracy",
            y="arm",
            hue="arm",
            palette=shades,
            errorbar="se",
            ax=bars,
        )
        bars.set(
            title="confirmation, grouped by arm",
            xlim=(0.7, 1.0),
            xticks=(0.7, 0.8, 0.9, 1.0),
            ylabel="",
        )
        sns.scatterplot(
            explored,
            x="dropout.rate",
            y="validation/accuracy",
            color=shades["dropout"],
            s=70,
            ax=strength,
        )
        strength.set(title="exploration, arm = dropout", xlabel="config.dropout.rate")
        sns.scatterplot(
            confirmed,
            x="final/gap",
            y="final/test_accuracy",
            hue="arm",
            palette=shades,
            s=50,
            ax=scatter,
        )
        scatter.set(title="confirmation, colour by arm")
        points = curves(confirmed[confirmed["arm"].isin(ARMS[:3])])
        sns.lineplot(
            points,
            x="epoch",
            y="validation/accuracy",
            hue="arm",
            palette=shades,
            errorbar="se",
            ax=lines,
        )
        lines.set(title="confirmation, grouped by arm")
        for axes in (scatter, lines):
            sns.move_legend(axes, "lower left" if axes is scatter else "lower right", title=None)
        return png(figure)


if __name__ == "__main__":
    (ROOT / "docs" / "panels.png").write_bytes(drawn(runs(sys.argv[1])))
