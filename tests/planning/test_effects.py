"""Strengths that come to the same network are refused when a study is read."""

import pytest

from pipeline.config.test_rules import DETERMINISTIC, NOISE
from pipeline.planning.studies import read_experiment
from pipeline.runtime.errors import Refusal

STUDY = "question: Does it?\narms:\n  pooling:\n    - {{name: fractional_max_pooling, {}}}\n"


def read(project, settings):
    (project / "experiments" / "pooling.yaml").write_text(STUDY.format(settings))
    (project / "params.yaml").write_text("protocols: [tiny]\nstudies: [pooling]\n")
    return read_experiment("tiny").studies[0].arms[1]


def test_ratios_of_equal_sizes(project):
    with pytest.raises(Refusal) as caught:
        read(project, "ratio: [1.3, 1.41, 1.5]")
    assert caught.value.lines == (
        "experiments/pooling.yaml: arms.pooling (ratio=1.5): "
        "the same network as arms.pooling (ratio=1.41); expected each once",
    )
    assert read(project, "ratio: [1.3, 1.5]").rule == NOISE


def test_sizes_without_randomness(project):
    with pytest.raises(
        Refusal, match=r"arms.pooling \(ratio=1.9\): .* 8 -> 4 pixels .*; expected 5 to 6 pixels"
    ):
        read(project, "ratio: [1.3, 1.9]")
    with pytest.raises(Refusal, match="expected 1, one for each max-pooling layer"):
        read(project, "output_sizes: [[5, 3]]")
    assert len(read(project, "output_sizes: [[5], [6]]").trials) == 2


def test_one_test_rule_in_an_arm(project):
    with pytest.raises(
        Refusal,
        match="arms.pooling: settings with the test rules deterministic and noise_12; expected one",
    ):
        read(project, "regions: [random, fixed]")
    assert read(project, "regions: fixed").rule == DETERMINISTIC


def test_what_a_source_says_of_its_images_is_so(pool):
    from pipeline.data import sources as data

    kind = data.describe("digits", {})
    assert (kind.shape, kind.classes) == (pool.shape, pool.classes)
