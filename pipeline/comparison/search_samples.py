"""Find the values of claims about searches: methods, scales and important hyperparameters."""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import pandas as pd
import scipy  # imports its parts on first use

from pipeline.comparison.intervals import Array
from pipeline.comparison.levels import LEVEL
from pipeline.comparison.samples import NO_PAIR, Estimate, Sample, key_of
from pipeline.comparison.search_methods import BASIS, HALVES, STORED
from pipeline.config.claims import Claim, Contrast


def sample_of_method(
    claim: Claim, contrast: Contrast, study: str, search_methods: pd.DataFrame
) -> Sample:
    """Return the sample of a method of search against random search at the same cost.

    A claim about a grid or an adaptive method is not tested by a replay on stored points. The
    replay evaluates other settings than the method proposes, since few points are near them.

    Args:
        claim: The claim.
        contrast: Its contrast, with a `search`.
        study: The study of the claim.
        search_methods: The table of that name.
    """
    of_study = search_methods["study"] == study
    rows = search_methods[of_study & (search_methods["arm"] == contrast.arm)]
    methods = rows[rows["method"] == contrast.search].to_dict("records")
    key = key_of(claim, (study, contrast.arm, contrast.search))
    if not methods:
        return Sample(key=key, reason=f"the report has no search by {contrast.search}")
    if contrast.search and STORED in BASIS[contrast.search]:
        return Sample(key=key, reason=f"{contrast.search} is replayed on {STORED}")
    row = methods[0]
    if np.isnan(row["difference"]):
        return Sample(key=key, reason="too many searches find nothing")
    return _of_scores(claim, key, row["random_test"], row["test"], row)


def sample_of_scale(
    claim: Claim, contrast: Contrast, study: str, search_scales: pd.DataFrame
) -> Sample:
    """Return the sample of random search on another scale against the logarithmic one.

    Args:
        claim: The claim.
        contrast: Its contrast, with a `scale`.
        study: The study of the claim.
        search_scales: The table of that name.
    """
    row = _row_of(search_scales, study, contrast)
    key = key_of(claim, (study, contrast.arm, contrast.scale))
    if row is None or np.isnan(row["difference"]):
        return Sample(key=key, reason="the report has no logarithmic scale of a learning rate")
    return _of_scores(claim, key, row["log_test"], row["uniform_test"], row)


def sample_of_importance(
    claim: Claim, contrast: Contrast, study: str, search_importance: pd.DataFrame
) -> Sample:
    """Return the sample of the lead in importance of a hyperparameter over its rival.

    Args:
        claim: The claim.
        contrast: Its contrast, with a `hyperparameter`.
        study: The study of the claim.
        search_importance: The table of that name.
    """
    row = _row_of(search_importance, study, contrast)
    key = key_of(claim, (study, contrast.arm, contrast.hyperparameter))
    absent = _absent(claim, contrast)
    if row is None:
        return Sample(key=key, reason=absent)
    importance, lead = row["importance"], row["lead"]
    bounds = {"low": row["lead_low"], "high": row["lead_high"]}
    return _of_halves(key, np.array([importance - lead]), np.array([importance]), bounds, absent)


def sample_of_shift(
    claim: Claim, contrast: Contrast, study: str, search_shifts: pd.DataFrame
) -> Sample:
    """Return the sample of the logarithm of the best learning rate by another hyperparameter.

    Args:
        claim: The claim.
        contrast: Its contrast, with a `hyperparameter`.
        study: The study of the claim.
        search_shifts: The table of that name.
    """
    row = _row_of(search_shifts, study, contrast)
    key = key_of(claim, (study, contrast.arm, contrast.hyperparameter))
    absent = _absent(claim, contrast)
    if row is None:
        return Sample(key=key, reason=absent)
    if row["scale"] not in ("log", "log_integers"):
        return Sample(key=key, reason=f"{row['moved']} has no logarithmic scale")
    bounds = {name: log(row[name]) for name in ("low", "high")}
    before, after = (np.log([float(row[name])]) for name in ("below", "above"))
    return _of_halves(key, before, after, bounds, absent)


def _absent(claim: Claim, contrast: Contrast) -> str:
    return f"the report has no {claim.measure} of {contrast.hyperparameter}"


def _row_of(table: pd.DataFrame, study: str, contrast: Contrast) -> Mapping[str, Any] | None:
    """Return the row of an arm and a hyperparameter; None if there is none."""
    rows = table[(table["study"] == study) & (table["arm"] == contrast.arm)]
    if contrast.hyperparameter:
        rows = rows[rows["hyperparameter"] == contrast.hyperparameter]
    return next(iter(rows.to_dict("records")), None)


def _of_scores(
    claim: Claim, key: Any, before: float, after: float, bounds: Mapping[str, Any]
) -> Sample:
    """Return the sample of the test scores of two searches, with given bounds."""
    sides = np.array([[before], [after]])
    if claim.measure == "error":
        sides = 1 - sides
    return _of_halves(key, sides[0], sides[1], bounds, NO_PAIR)


def _of_halves(
    key: Any, before: Array, after: Array, bounds: Mapping[str, Any], absent: str
) -> Sample:
    """Return a sample of one value, with the error of an interval over halves of a design."""
    differences = after - before
    half = (bounds["high"] - bounds["low"]) / 2
    error = half / -float(scipy.special.stdtrit(HALVES - 1, LEVEL / 2))
    given = Estimate(float(differences[0]), error, HALVES)
    reason = "" if np.isfinite(differences).all() else absent
    return Sample(differences, before, after, key, given=given, reason=reason)
