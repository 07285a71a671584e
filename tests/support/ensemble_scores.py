"""Scores of ways to predict with groups of models, as the table `ensembles` has them."""

import pandas as pd

SHIFTS = (-0.01, 0.0, 0.01)  # of the groups, in the baseline and in all that is compared with it
JITTER = (0.001, -0.001, 0.0)  # of the groups, in a difference


def ensemble_scores(
    *rows: tuple[str, str, str, float, float, float, float], groups: int = 3
) -> pd.DataFrame:
    """Return the table `ensembles` from (method, model, against, accuracy, nll, cost, passes)."""
    made = []
    for name, model, against, accuracy, nll, cost, passes in rows:
        for group in range(groups):
            jitter = JITTER[group] * (name != against) * (1 + (against != "one model"))
            values = {
                "accuracy": accuracy + SHIFTS[group] + jitter,
                "nll": nll + SHIFTS[group] + jitter,
            }
            values |= dict.fromkeys(
                ("brier", "calibration_error", "calibration_error_scaled", "disagreement"), 0.1
            )
            values |= {"training_flops": cost, "forward_passes": passes, "trainings": 1.0}
            values["test_flops"] = passes
            made += [
                ("s", group, name, model, against, metric, value)
                for metric, value in values.items()
            ]
    return pd.DataFrame(
        made, columns=["study", "group", "method", "model", "against", "metric", "value"]
    )


ONE = ("one model", "baseline", "one model", 0.8, 0.5, 10.0, 1.0)
FOUR = ("independent", "baseline", "one model", 0.85, 0.4, 40.0, 4.0)
NOISE = ("noise of a", "a", "one model of a", 0.9, 0.6, 10.0, 20.0)
ALONE = ("one model of a", "a", "one model", 0.85, 0.5, 10.0, 1.0)
ALL = ("greedy", "every arm", "one model", 0.79, 0.3, 90.0, 5.0)
BINS = pd.DataFrame(
    columns=["study", "group", "method", "low", "high", "count", "confidence", "accuracy"]
)
