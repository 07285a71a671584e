"""How arms fare as the training set grows: one line for each regularizer over the sizes that a study tries.

Separate from the other sections because a point here is an arm, and a line several of them that differ by their size alone.
"""

import pandas as pd

from pipeline.config.plan import BASELINE, PLUS, PlannedArm, PlannedStudy
from pipeline.reporting.frames import Evidence, banded
from pipeline.reporting.overview import CONTRAST_INTERVAL, MEAN_INTERVAL

FEWEST = 3  # sizes that make a curve
PICTURE = (
    "Test accuracy of each regularizer and of the baseline against the number of training images, and beneath it the "
    "difference to the baseline of the same size, with intervals"
)
GROWN = ("data.train_size", "training.epochs")  # what goes with the size alone
COLUMNS = ("series", "size", "mean", "low", "high")


def growth_section(evidence: Evidence, study: PlannedStudy) -> str:
    """The figure of a study that tries several sizes of the training set, and its caption; empty for any other."""
    if not is_grown(study):
        return ""
    caption = (
        "n: as under Confirmed. Rule: the test rule of each arm. Above: mean over seeds; band: "
        f"{MEAN_INTERVAL}. Beneath: difference; bar: {CONTRAST_INTERVAL}. The axis of sizes is logarithmic."
    )
    return f"## As the training set grows\n\n![{PICTURE}](../figures/growth_{study.name}.png)\n\n*{caption}*"


def is_grown(study: PlannedStudy) -> bool:
    """Whether the arms of a study have enough different sizes of the training set for a curve."""
    return len({arm.train_size for arm in study.arms} - {None}) >= FEWEST


def growth_frames(evidence: Evidence, study: PlannedStudy) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test accuracies and differences (fractions) by series and size: columns `COLUMNS`, the baseline's series first.

    A series is what its arms change besides size and epochs; those that change nothing else are the baseline's. Differences
    are those to an arm of the same size.
    """
    named = {arm.name: (_series(arm), arm.train_size) for arm in study.arms}
    own = evidence.outcomes[evidence.outcomes["study"] == study.name]
    own = own.assign(
        **{
            name: [named[arm][place] for arm in own["arm"]]
            for place, name in enumerate(("series", "size"))
        }
    )
    scores = banded(own, ["series", "size"], "test_accuracy")
    rows = evidence.primary()
    alike = [
        arm.name
        for arm in study.arms
        if named[arm.name][0] != BASELINE and named[arm.against][1] == arm.train_size
    ]
    rows = rows[(rows["study"] == study.name) & rows["arm"].isin(alike)]
    told = [
        [*named[row["arm"]], row["difference"], row["low"], row["high"]]
        for row in rows.to_dict("records")
    ]
    differences = pd.DataFrame(told, columns=list(COLUMNS))
    return _ordered(scores), _ordered(differences)


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """By series, the baseline's first, and by size."""
    keys = frame.assign(other=frame["series"] != BASELINE).sort_values(["other", "series", "size"])
    return keys[list(COLUMNS)].reset_index(drop=True)


def _series(arm: PlannedArm) -> str:
    parts = [
        part
        for part in arm.factor.partition(", against ")[0].split(PLUS)
        if part.partition("=")[0] not in GROWN
    ]
    return PLUS.join(part for part in parts if part not in ("nothing", "less")) or BASELINE
