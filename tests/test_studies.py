"""Every study and protocol that the project ships plans, and trains two steps."""

from pathlib import Path

import pytest
from shipped import SHIPPED
from short import train_two_steps

from pipeline import regularizers
from pipeline.config.parameters import EXPERIMENTS, PROTOCOLS
from pipeline.config.registered_claims import read_claims
from pipeline.planning.studies import read_experiment
from pipeline.runtime.errors import Refusal

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ROOT / "tests/support/copied/protocols/digits.yaml"  # a user may edit the protocol
OTHERS = (
    *("activation", "batch_norm", "batch_size", "combinations", "data_size"),
    *("dropout_and_data_size", "ensembles", "flip", "flip_and_shift", "initialization"),
    *("input_normalization", "lbfgs", "learning_rate_and_batch_norm", "momentum", "optimizers"),
    *("pooling_regions", "schedules", "variance", "transfer_modes", "transfer_size"),
    *("transfer_similarity", "pretraining_regularizer", "training_length", "label_noise"),
    *("input_dropout", "batch_norm_and_batch_size", "width", "depth"),
    *("search_methods", "importance", "longer_training"),
)
STUDIES = sorted({*regularizers.names(), *OTHERS})  # each regularizer has its study
MADE_FOR = {  # studies of one protocol alone
    "data_size": "digits",
    "dropout_and_data_size": "mnist_mlp",
    "lbfgs": "digits",
    "training_length": "digits",
    "label_noise": "digits",
    "batch_norm_and_batch_size": "digits",
    "width": "digits",
    "depth": "breast_cancer",
    "transfer_modes": "transfer_digits",
    "transfer_size": "transfer_digits",
    "transfer_similarity": "transfer_fashion",
    "pretraining_regularizer": "transfer_fashion",
    "search_methods": "search_digits",
    "importance": "search_digits",
}


@pytest.fixture
def shipped(tmp_path):
    """Read a shipped protocol with some studies, as params.yaml would ask for them."""
    (tmp_path / PROTOCOLS).mkdir(parents=True)
    files = [*(EXPERIMENTS / name for name in STUDIES), *(PROTOCOLS / name for name in SHIPPED)]
    for file in files:
        is_digits = file == PROTOCOLS / "digits"
        source = DIGITS if is_digits else ROOT / f"{file}.yaml"
        (tmp_path / f"{file}.yaml").symlink_to(source)

    def read(protocol, studies):
        (tmp_path / "params.yaml").write_text(f"protocols: [{protocol}]\nstudies: {studies}\n")
        return read_experiment(protocol, tmp_path)

    return read


@pytest.mark.parametrize("protocol", SHIPPED)
def test_every_protocol_plans_its_own_studies(shipped, protocol):
    assert shipped(protocol, "null").studies


# a network without residual branches, or batch norm and convolutions, cannot be asked everything;
# under digits every study is planned below
@pytest.mark.parametrize(
    "protocol",
    [
        "cifar10",
        pytest.param("cifar10_gpu", marks=pytest.mark.torture),
        pytest.param("fashion_mnist_resnet", marks=pytest.mark.torture),
        pytest.param("mnist_5k", marks=pytest.mark.torture),
    ],
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
def test_the_last_setting_of_every_space_trains_two_steps(shipped, study, pool):
    experiment = shipped(
        MADE_FOR.get(study, "digits"), f"[dropout, {study}]" if study != "dropout" else "[dropout]"
    )
    for arm in next(one for one in experiment.studies if one.name == study).arms:
        trial = arm.trials[-1]  # the strongest, or the one furthest from the default
        trained = train_two_steps(trial, pool)
        assert trained.cost["updates"] == 2
        assert not trained.diverged
        assert set(trained.audit) == {item.name for item in trial.regularizers}


def test_a_study_of_one_protocol_raises_in_others(shipped):
    with pytest.raises(
        Refusal,
        match=r"dropout_and_data_size.yaml: protocols: invalid value \[\"mnist_mlp\"\]; "
        "expected a list with digits",
    ):
        shipped("digits", "[dropout_and_data_size]")


@pytest.mark.parametrize("name", regularizers.names())
def test_every_regularizer_has_its_study_and_its_test(name):
    assert (ROOT / "tests" / "regularizers" / f"test_{name}.py").exists()
    assert (ROOT / EXPERIMENTS / f"{name}.yaml").exists()


def test_the_registry_has_the_claims_of_both_lectures(shipped, tmp_path):
    registered = [claim for claims in read_claims(tmp_path).values() for claim in claims]
    assert len(registered) >= 50
    for speaker in ("lecture_a", "lecture_b", "both", "paper"):
        assert sum(claim.by == speaker for claim in registered) >= 10
    by_id = {claim.id: claim for claim in registered}
    opposed = [claim for claim in registered if claim.alternative]
    assert all(by_id[claim.alternative].alternative == claim.id for claim in opposed)
    assert all(by_id[claim.alternative].by != claim.by for claim in opposed)
