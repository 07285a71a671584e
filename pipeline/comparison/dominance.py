"""Find the Pareto-efficient rows of a table of accuracies and costs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def efficient(table: pd.DataFrame, costs: Sequence[str]) -> list[bool]:
    """Return whether each row is Pareto-efficient in accuracy and costs.

    A row is efficient if no other row is at least as accurate at no higher cost, and better in one
    of them.

    Args:
        table: Rows with a column `accuracy` (higher is better) and a column for each cost (lower
            is better; rounded to two decimals).
        costs: Names of the columns of costs.

    Returns:
        One value per row, in their order.
    """
    columns = table[list(costs)].to_numpy(float).round(2)
    losses = np.column_stack([columns, -table["accuracy"].to_numpy(float)])
    return [
        not any(((other <= row).all() and (other < row).any()) for other in losses)
        for row in losses
    ]
