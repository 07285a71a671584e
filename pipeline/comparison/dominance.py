"""Find the choices that no other one is as accurate as at no higher cost."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def efficient(table: pd.DataFrame, costs: Sequence[str]) -> list[bool]:
    """Return for every row whether no other row dominates it in accuracy and these costs.

    Args:
        table: A column accuracy, and one for each cost.
        costs: The names of the costs.
    """
    columns = table[list(costs)].to_numpy(float).round(2)
    losses = np.column_stack([columns, -table["accuracy"].to_numpy(float)])
    return [
        not any(((other <= row).all() and (other < row).any()) for other in losses)
        for row in losses
    ]
