"""`params.yaml` names other protocols while DVC runs, and is as it was afterwards."""

import pytest

from pipeline.config.parameters import read_parameters
from pipeline.execution.chosen_protocols import SNAPSHOT, named_in_parameters, restore_parameters
from pipeline.runtime.errors import Refusal
from pipeline.runtime.locks import exclusive_lock

WRITTEN = b"protocols:\r\n  - tiny   # mine\r\nmargin: 1e-2   # ours\r\nexecution: {workers: 2}"


@pytest.fixture
def parameters(project):
    path = project / "params.yaml"
    path.write_bytes(WRITTEN)
    (project / ".dvc" / "tmp" / "gapwise").mkdir(parents=True)
    return path


def test_the_list_alone_is_another_while_the_context_lasts(parameters):
    before = read_parameters()
    with pytest.raises(KeyboardInterrupt), named_in_parameters(["other"]):
        during = read_parameters()
        raise KeyboardInterrupt
    assert during.protocols == ("other",)
    assert during.model_copy(update={"protocols": before.protocols}) == before
    assert parameters.read_bytes() == WRITTEN
    assert not SNAPSHOT.exists()


def test_the_same_protocols_change_nothing(parameters):
    with named_in_parameters(["tiny"]):
        assert parameters.read_bytes() == WRITTEN
        assert not SNAPSHOT.exists()


@pytest.fixture
def killed(parameters):
    """Return the file as a run leaves it that was killed."""
    context = named_in_parameters(["other"])
    context.__enter__()
    yield parameters
    context.gen.close()


def test_a_killed_run_is_undone_by_the_next(killed):
    assert read_parameters().protocols == ("other",)
    restore_parameters()
    assert killed.read_bytes() == WRITTEN
    restore_parameters()
    assert killed.read_bytes() == WRITTEN


def test_what_was_edited_since_stays(killed):
    killed.write_bytes(b"protocols: [mine]\n")
    restore_parameters()
    assert killed.read_bytes() == b"protocols: [mine]\n"
    assert not SNAPSHOT.exists()


def test_a_run_in_progress_keeps_its_list(killed):
    with exclusive_lock(), pytest.raises(Refusal, match="another run is in progress"):
        restore_parameters()
    assert read_parameters().protocols == ("other",)


def test_a_damaged_copy_is_dropped(killed):
    SNAPSHOT.write_text("{")
    restore_parameters()
    assert not SNAPSHOT.exists()
    assert read_parameters().protocols == ("other",)
