"""Define the metrics of a report: their names, and the units of their scores and differences."""

from dataclasses import dataclass, replace

from pipeline.comparison.levels import PRIMARY, SCORES


@dataclass(frozen=True)
class Metric:
    """One metric in words.

    Attributes:
        title: Its name.
        unit: The unit of a score, "" for none.
        difference_unit: The unit of a difference of scores, "" for none.
        fraction: Whether scores are fractions, which are shown times 100.
        decimals: The decimals of scores that are not fractions.
        lower_is_better: Whether an arm helps by a lower score.
    """

    title: str
    unit: str = ""
    difference_unit: str = ""
    fraction: bool = False
    decimals: int = 3
    lower_is_better: bool = False

    @property
    def scale(self) -> float:
        """Return the factor by which a score is multiplied when it is shown."""
        return 100.0 if self.fraction else 1.0

    @property
    def label(self) -> str:
        """Return the title with the unit of a score."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def difference_label(self) -> str:
        """Return the title with the unit of a difference."""
        return f"{self.title} ({self.difference_unit})" if self.difference_unit else self.title


OF_PREDICTIONS = {
    "accuracy": Metric("accuracy", "%", "points", fraction=True),
    "nll": Metric("NLL", "nats", "nats"),
    "brier": Metric("Brier score"),
    "calibration_error": Metric("calibration error", "%", "points", fraction=True),
}
METRICS = {
    **OF_PREDICTIONS,
    "nll_scaled": replace(OF_PREDICTIONS["nll"], title="scaled NLL"),
    "calibration_error_scaled": replace(
        OF_PREDICTIONS["calibration_error"], title="scaled calibration error"
    ),
    **{
        name: replace(OF_PREDICTIONS[metric], title=f"{split} {OF_PREDICTIONS[metric].title}")
        for name, (split, metric) in SCORES.items()
    },
    "gap": Metric("gap", "points", "points", fraction=True),
    "gap_noise": Metric("noise part of the gap", "points", "points", fraction=True),
    "gap_augmentation": Metric("augmentation part of the gap", "points", "points", fraction=True),
    "training_cost": Metric("training cost", "x baseline"),
    "test_cost": Metric("test cost", "x baseline"),
}
PRIMARY_METRIC = METRICS[PRIMARY]
