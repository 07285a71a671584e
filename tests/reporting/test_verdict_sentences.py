"""Sentences on verdicts: which arms are named."""

import re

import pytest
from report_data import report_data

from pipeline.reporting.verdict_sentences import NAMED, verdict_sentences


def data_of(arms):
    """Return report data of one study with these arms: their differences and verdicts."""
    return report_data({"one": dict.fromkeys(arms, "deterministic")}, arms)


def named_arms(sentence):
    return re.findall(r"\*\*(\w+)\*\*", sentence)


@pytest.mark.parametrize(("verdict", "sign"), [("helps", 1), ("hurts", -1)])
def test_of_many_arms_the_one_farthest_from_its_reference_is_named(verdict, sign):
    arms = {f"arm_{points}": (sign * points / 100, verdict) for points in range(1, NAMED + 2)}
    data = data_of(arms)
    (sentence,) = verdict_sentences(data.distinct, 0.01, data.format)
    assert named_arms(sentence) == [f"arm_{NAMED + 1}"]


def test_two_strengths_of_one_regularizer_are_named_with_them():
    data = data_of({"weak": (0.01, "helps"), "strong": (0.02, "helps"), "decay": (0.03, "helps")})
    settings = {"weak": {"dropout": {"rate": 0.1}}, "strong": {"dropout": {"rate": 0.5}}}
    rows = data.distinct.assign(setting=[settings.get(arm, {}) for arm in data.distinct["arm"]])
    (sentence,) = verdict_sentences(rows, 0.01, data.format)
    named = dict(re.findall(r"\*\*(\w+)\*\* \((rate=[\d.]+)?", sentence))
    assert named == {"weak": "rate=0.1", "strong": "rate=0.5", "decay": ""}
