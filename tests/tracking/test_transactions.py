"""Whether the end of an offline run is in its file, for files of W&B itself and cut ones."""

from contextlib import closing
from pathlib import Path

import pytest
from offline import folder_of, wait_for_wandb
from waiting import wait_until

from pipeline.tracking import mirror as module
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.payloads import Payload
from pipeline.tracking.transactions import BLOCK, is_complete

CONFIG = {f"value_{number}": "x" * 1000 for number in range(100)}  # one record in four blocks
PAYLOAD = Payload(
    id="one",
    group="dropout",
    job_type="exploration",
    name="one",
    notes="",
    tags=(),
    config=CONFIG,
    summary={"state": "done"},
    history=({"epoch": 1, "gap": 0.1},),
)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    wait_for_wandb(monkeypatch)
    with closing(Mirror("offline", "gapwise", None, str(tmp_path))) as mirror:
        yield mirror


def file_of(folder: Path) -> Path:
    (file,) = folder_of(folder, "one").glob("*.wandb")
    return file


def settled(file: Path) -> None:
    """Wait until W&B has written a file."""
    wait_until(lambda: is_complete(file.read_bytes()))


def test_a_file_is_complete_with_its_last_byte_only(tmp_path, mirror):
    assert mirror.send(PAYLOAD)
    content = file_of(tmp_path).read_bytes()
    assert len(content) > 3 * BLOCK
    assert is_complete(content)
    near = [*range(40), *range(BLOCK - 20, BLOCK + 20), *range(len(content) - 40, len(content))]
    assert [length for length in near if is_complete(content[:length])] == []
    for place in (8, BLOCK - 9, BLOCK + 9, len(content) - 1):
        corrupted = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        assert not is_complete(corrupted), place
    with_a_hole = content[:BLOCK] + bytes(BLOCK) + content[2 * BLOCK :]
    assert not is_complete(with_a_hole)


def test_the_end_of_a_file_is_waited_for(tmp_path, mirror, monkeypatch):
    """W&B writes it a few milliseconds after a run, and later on a machine with other work."""
    looks = iter([False, False, True])
    monkeypatch.setattr(module, "is_complete", lambda content: next(looks))
    assert mirror.send(PAYLOAD)
    assert next(looks, None) is None


@pytest.mark.parametrize("lost", [1, 12, 40])
def test_a_run_whose_file_breaks_off_does_not_count_as_sent(lost, tmp_path, mirror, monkeypatch):
    """W&B itself raises nothing, and its log may be complete."""
    import wandb

    finish = wandb.Run.finish

    def finish_on_a_full_disk(run, exit_code):
        finish(run, exit_code)
        file = Path(run.settings.sync_file)
        settled(file)
        file.write_bytes(file.read_bytes()[:-lost])

    monkeypatch.setattr("wandb.Run.finish", finish_on_a_full_disk)
    monkeypatch.setattr(module, "WRITE_SECONDS", 0.05)
    assert not mirror.send(PAYLOAD)
    assert mirror.trouble == "OSError: run-one.wandb breaks off, as on a full disk"
