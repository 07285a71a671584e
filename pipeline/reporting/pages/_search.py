"""Name what studies of searches show: hyperparameters, figures and methods."""

import itertools
from collections.abc import Mapping

import pandas as pd

from pipeline.config.plan import PROTOCOL, PlannedStudy
from pipeline.reporting.evidence import ReportData, of
from pipeline.reporting.labels import axis_name

METHODS: Mapping[str, str] = {
    "random": "random",
    "grid": "grid",
    "sobol": "Sobol",
    "coarse_to_fine": "coarse to fine",
    "halving": "halving",
    "tpe": "TPE",
}
CURVES, IMPORTANCE, BUDGET = "search_curves", "search_importance", "search_budget"
RESPONSES, SURFACE = "search_responses", "search_surface"


def search_studies(data: ReportData) -> list[PlannedStudy]:
    """Return the studies of searches with results."""
    studies = data.confirmation.studies_of("search")
    return [study for study in studies if len(of(data.search_methods, study.name))]


def words(study: PlannedStudy) -> dict[str, str]:
    """Return the hyperparameters of a study in words, by the names that tables have."""
    dimensions = [dimension for arm in study.arms for dimension in arm.space]
    return {
        item.key if item.part == PROTOCOL else f"{item.part}.{item.key}": axis_name(item)
        for item in dimensions
    }


def arms_of(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each arm, in their order."""
    return {str(arm): part for arm, part in rows.groupby("arm", sort=False)}


def leaders(rows: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Return the leading arm by number of trials, in order; "" if there is none.

    Args:
        rows: Those of two arms in the table `tuning_budget`.
    """
    spans = []
    pairs = zip(rows["leader"], rows["trials"], strict=True)
    for leader, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
        trials = [int(number) for _, number in group]
        spans.append((leader, trials[0], trials[-1]))
    return spans
