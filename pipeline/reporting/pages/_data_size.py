"""Write the section of a study that tries several training-set sizes."""

from pipeline.config.plan import PlannedStudy
from pipeline.reporting.pages._page import CONTRAST_INTERVAL, MEAN_INTERVAL

FEWEST = 3  # sizes that make a curve
FIGURE = (
    "Test accuracy of each regularizer and of the baseline against the number of training "
    "examples, and below it the difference to the baseline of the same size, with intervals"
)


def data_size_section(study: PlannedStudy) -> str:
    """Return the figure with its caption; empty for a study without enough sizes."""
    if not has_sizes(study):
        return ""
    caption = (
        "n: as under Confirmation. Rule: the test rule of each arm. Above: mean over seeds; band: "
        f"{MEAN_INTERVAL}. Below: difference; bar: {CONTRAST_INTERVAL}. The axis of sizes is "
        "logarithmic."
    )
    return f"## Size of the training set\n\n{data_size_figure(study, '../')}\n\n*{caption}*"


def data_size_figure(study: PlannedStudy, root: str) -> str:
    """Return the figure of a study; `root` is the path to the folder of the report, or empty."""
    return f"![{FIGURE}]({root}figures/growth_{study.name}.png)"


def has_sizes(study: PlannedStudy) -> bool:
    """Return whether the arms of a study have enough training-set sizes for a curve.

    Arms that start from trained weights have one on the page of transfer.
    """
    if any(key.startswith("start.") for arm in study.arms for key in arm.factor.protocol):
        return False
    return len({arm.train_size for arm in study.arms} - {None}) >= FEWEST
