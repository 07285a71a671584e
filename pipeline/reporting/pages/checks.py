"""Write the page of trust checks: what each of them measures, and when it passes."""

from collections.abc import Iterator

from pipeline.comparison.levels import LEVEL
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._page import Page

ORDER = 12
CHECKS = f"""\
A failed check changes no verdict. It limits what a verdict means.

- **Baseline tuned**: at least two of the values under `tune` of the protocol were tried. The \
best value is not at an end of its range, unless the values beyond this end are invalid or would \
change nothing.
- **Search spaces**: the chosen value of every number that an arm searches is not at an end of \
its range, with the same exceptions.
- **Chosen settings**: the mean validation accuracy of every chosen setting, on the exploration \
seeds, is above that of its reference.
- **Longer training**: made if an arm has at least twice the epochs of its reference and no \
other change, as in the study `longer_training`. The mean validation accuracy of this arm is at \
most {{margin}} above that of the reference. For the reference, this check replaces the next one.
- **Budget**: over the last third of training, the mean validation accuracy (interpolated between \
the points of the curve) rises by at most {{margin}}. Some rise is normal, because accuracy \
improves when a schedule lowers the learning rate to zero. Therefore, if the reference of an arm \
passed the check of longer training, only what the arm rises more than its reference counts.
- **Reference classifiers**: the baseline has a higher mean validation accuracy than each of \
three classifiers, and the interval of the difference, paired by seed, excludes 0. The \
classifiers are the majority class, 1-nearest neighbour (Euclidean distance) and multinomial \
logistic regression (scikit-learn). They use the splits, standardized inputs and training labels \
of the network; with large training sets, only the first 2 to 5 seeds are used.
- **Other test examples**: the verdict stays the same if the standard error includes the choice \
of test examples as well as the seeds. The squared standard error of a difference is the sum of \
two parts: its variance over seeds with the same test examples, and its variance over test \
examples with the same seeds. Both parts contain the variance of single predictions, which is \
subtracted once.
- **Seeds**: there are enough seeds for the exact sign-flip test, which confirms the t test \
without assuming a normal distribution. With n seeds its smallest possible p is 2 / 2^n. This p, \
multiplied by the number of contrasts, is at most {LEVEL:g}.
- **Trials**: every arm with a search tried at least as many settings as its reference, or its \
whole search space if that is smaller. For the baseline, the settings of its tuning count. \
Settings that extended a range are not counted.
- **Machine**: processor type, threads and device are the same for all confirmation runs.

On the front page, the line "Limits" names failed checks of longer training, of the budget, of \
search spaces and of other test examples. The line on the baseline names failed checks of \
reference classifiers. If the baseline is not shown to be above the majority class, the report \
begins with this warning, because the network may have learned nothing."""


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    checks = CHECKS.format(margin=md.format_margin(data.confirmation.margin))
    yield Page("checks", "Trust checks", f"# Trust checks\n\n{checks}")
