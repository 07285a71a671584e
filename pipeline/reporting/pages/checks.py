"""Write the page of trust checks: what each of them measures, and when it passes."""

from collections.abc import Iterator

from pipeline.comparison.levels import LEVEL
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._page import Page

ORDER = 12
CHECKS = f"""\
A failed check changes no verdict. It limits what a verdict means. Some failed checks are also \
mentioned in the first paragraph of the report: those of search spaces ("the values tried"), of \
the budget ("still improving at the end", after the number of epochs), of other test examples \
("these test examples") and of reference classifiers. If the baseline is not shown to be above the \
majority class, the paragraph begins with this, because the network may have learned nothing.

- **Baseline tuned**: at least two of the values under `tune` of the protocol were tried. \
The best value is inside its range, or no value beyond it is allowed or has an effect.
- **Search spaces**: for every arm that searches a number, the best value is inside its range, or \
no value beyond it is allowed or has an effect.
- **Chosen settings**: the mean validation accuracy of every chosen setting, on the exploration \
seeds, is above that of its reference.
- **Budget**: over the last third of training, validation accuracy (interpolated between the \
points of the curve) rises by no more than {{margin}} on average. Some rise is normal, because \
accuracy improves when a schedule lowers the learning rate to zero.
- **Reference classifiers**: majority class, 1-nearest neighbour (Euclidean) and multinomial \
logistic regression (scikit-learn), on the splits, standardized inputs and training labels of the \
network. The baseline has a higher mean validation accuracy, and the interval of the difference, \
paired by seed, excludes 0. Large training sets are compared at the first 2 to 5 seeds only.
- **Other test examples**: the tests give the same verdict with the standard error over both seeds \
and test examples. The square of this error is the variance over seeds plus that over test \
examples, minus the variance of single predictions, which is part of both.
- **Seeds**: the smallest possible p of the exact sign-flip test, 2 / 2^n, times the number of \
contrasts is at most {LEVEL:g}.
- **Trials**: every searched arm tried as many settings as its reference (for the baseline: as its \
tuning). Settings added by widening are not counted.
- **Machine**: processor type, threads and device are the same for all confirmation runs."""


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page."""
    checks = CHECKS.format(margin=md.format_margin(data.confirmation.margin))
    yield Page("checks", "Trust checks", f"# Trust checks\n\n{checks}")
