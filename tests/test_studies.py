"""Every study and protocol that the project ships plans, and trains two steps."""

from pathlib import Path

import pytest

from pipeline.config.streams import Streams
from pipeline.data import sources as data
from pipeline.data.splits import hold_out
from pipeline.planning.phases import _config
from pipeline.planning.protocols import EXPERIMENTS, PROTOCOLS
from pipeline.planning.studies import read_experiment
from pipeline.runtime.errors import Refusal
from pipeline.training.trainer import train

ROOT = Path(__file__).resolve().parent.parent
STUDIES = sorted(path.stem for path in (ROOT / EXPERIMENTS).glob("*.yaml"))
DIGITS = {"validation_size": None}  # too few for what other protocols validate on
MADE_FOR = {
    "data_size": "digits",
    "dropout_and_data_size": "mnist_mlp",
}  # studies of one protocol alone
SHIPPED = sorted(path.stem for path in (ROOT / PROTOCOLS).glob("*.yaml"))


@pytest.fixture
def shipped(tmp_path):
    """Read a shipped protocol with some studies, as params.yaml would ask for them."""
    (tmp_path / "experiments").symlink_to(ROOT / EXPERIMENTS)

    def read(protocol, studies):
        (tmp_path / "params.yaml").write_text(f"protocols: [{protocol}]\nstudies: {studies}\n")
        return read_experiment(protocol, tmp_path)

    return read


@pytest.mark.parametrize("protocol", SHIPPED)
def test_every_protocol_plans_its_own_studies(shipped, protocol):
    assert shipped(protocol, "null").studies


# a network without residual branches, or batch norm and convolutions, cannot be asked everything
@pytest.mark.parametrize(
    "protocol", [name for name in SHIPPED if name not in ("fashion_mnist", "mnist_mlp")]
)
def test_every_study_plans_under_every_protocol_it_is_made_for(shipped, protocol):
    experiment = shipped(protocol, "all")
    assert sorted(study.name for study in experiment.studies) == [
        name for name in STUDIES if MADE_FOR.get(name, protocol) == protocol
    ]
    for study in experiment.studies:
        assert study.question.endswith("?")
        assert study.arms[0].name == "baseline"


@pytest.mark.parametrize("study", STUDIES)
def test_every_setting_trains_two_steps(shipped, study):
    experiment = shipped(
        MADE_FOR.get(study, "digits"), f"[dropout, {study}]" if study != "dropout" else "[dropout]"
    )
    arrays = data.read("digits", {}).pool
    pool = arrays.take(hold_out(arrays.labels, 0.4)[0])
    for arm in next(one for one in experiment.studies if one.name == study).arms:
        for trial in arm.trials:
            config = _config(trial, Streams.of(0))
            size = config.training["batch_size"]
            short = config.training | {"epochs": 1, "curve_points": 1}
            config = config.model_copy(
                update={"training": short, "data": config.data | DIGITS | {"train_size": 2 * size}}
            )
            trained = train(config, pool)
            assert trained.cost["updates"] == 2
            assert not trained.diverged
            assert set(trained.audit) == {item["name"] for item in config.regularizers}


def test_a_study_of_one_protocol_is_refused_under_others(shipped):
    with pytest.raises(
        Refusal,
        match=r"dropout_and_data_size.yaml: protocols: invalid value \[\"mnist_mlp\"\]; "
        "expected a list with digits",
    ):
        shipped("digits", "[dropout_and_data_size]")


def test_every_regularizer_has_its_study_and_its_test():
    from pipeline import regularizers

    for name in regularizers.names():
        assert (ROOT / "tests" / "regularizers" / f"test_{name}.py").exists()
        assert name in STUDIES
