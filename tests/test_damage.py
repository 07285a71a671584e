"""Corrupted files, each kind on its own: trained or made again, or refused in one line."""

import itertools
import json
import random
import shutil

import pytest
from stages import run_stages
from tiny import RUN, tables, trained

from pipeline import choose, compare, confirm, evaluate, predict, report, track, train
from pipeline.config.plan import read_plan
from pipeline.records import runs as records
from pipeline.records.figures import DRAWN
from pipeline.records.store import Store
from pipeline.runtime.errors import Refusal

FLIPS = 100
RUNS = f".runs/{'[0-9a-f]' * 20}"


@pytest.fixture
def corrupted(finished, tmp_path, monkeypatch):
    """Return a copy of the finished project, the current folder, to damage."""
    folder = tmp_path / "corrupted"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GAPWISE_STORE", str(folder / ".runs"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    return folder


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def flip_middle(path):
    flip(path, path.stat().st_size * 4)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "truncated": truncate,
    "flipped": flip_middle,
    "empty": lambda path: path.write_bytes(b""),
}


def meaning(path):
    """Return the meaning of a file: its bytes, or the values of a record, since 1e-05 is 1E-05."""
    return json.loads(path.read_bytes()) if path.name == "record.json" else path.read_bytes()


def unseen(store, name, draw):
    """Return the flips of one bit that change the meaning of a run and leave it finished."""
    flips = []
    files = sorted(path for path in store.folder(name).iterdir() if path.name != "timing.json")
    anywhere = [
        (path, draw.randrange(8 * path.stat().st_size)) for path in draw.choices(files, k=FLIPS)
    ]
    record = store.folder(name) / "record.json"
    in_record = [
        (record, 8 * byte + draw.randrange(8)) for byte in range(0, record.stat().st_size, 3)
    ]
    for path, bit in (*anywhere, *in_record):
        good, written = path.read_bytes(), meaning(path)
        flip(path, bit)
        if store.finished(name) and meaning(path) != written:
            flips.append((path.name, bit))
        path.write_bytes(good)
    return flips


def kept_run(folder):
    """Return the name of a run that has stored snapshots."""
    return next(path.parent.name for path in sorted(folder.glob(".runs/*/snapshots_2.safetensors")))


def test_no_flipped_bit_of_a_run_goes_unseen(corrupted):
    name = kept_run(corrupted)
    assert unseen(Store(corrupted / ".runs"), name, random.Random(1)) == []


def test_without_its_own_checksum_a_record_could_lie(corrupted, monkeypatch):
    """The fault that the test above is to find."""
    monkeypatch.setattr(
        records,
        "is_sealed",
        lambda record: isinstance(record, dict) and {"state", "files"} <= set(record),
    )
    name, store = kept_run(corrupted), Store(corrupted / ".runs")
    assert {path for path, _ in unseen(store, name, random.Random(1))} == {"record.json"}


def test_damaged_runs_are_trained_again_to_the_same_bits_and_no_others(finished, corrupted):
    """Every kind of file, each in a run of its own; the three damages take turns."""
    kinds = sorted({path.name for path in corrupted.glob(f"{RUNS}/*.*")} - {"timing.json"})
    assert {
        "record.json",
        "run.json",
        "history.jsonl",
        "weights.safetensors",
        "validation.safetensors",
        "raw_1.safetensors",
        "snapshots_1.safetensors",
        "snapshots_2.safetensors",
    } <= set(kinds)
    # the kinds that fewest runs have choose first
    kinds.sort(key=lambda kind: len(list(corrupted.glob(f".runs/*/{kind}"))))
    hit = {}
    for kind, damage in zip(kinds, itertools.cycle(DAMAGES.values()), strict=False):
        path = next(
            path
            for path in sorted(corrupted.glob(f".runs/*/{kind}"))
            if path.parent.name not in hit
        )
        damage(path)
        hit[path.parent.name] = path
    before = trained(corrupted)
    run_stages(train, confirm)
    assert {name for name, when in trained(corrupted).items() if before[name] != when} == set(hit)
    for path in hit.values():
        assert path.read_bytes() == (finished / path.relative_to(corrupted)).read_bytes()


def first(corrupted, pattern):
    return sorted(corrupted.glob(f"artifacts/tiny/{pattern}"))[0]


INPUTS = [  # file, the stage that reads it, what the error says
    ("data/development_images.npy", predict, "run: gapwise run --protocol tiny"),
    ("data/development_labels.npy", predict, "run: gapwise run --protocol tiny"),
    ("data/test_images.npy", predict, "run: gapwise run --protocol tiny"),
    ("data/test_labels.npy", evaluate, "run: gapwise run --protocol tiny"),
    ("data/data.json", train, "data.json: missing or corrupted"),
    ("exploration/plan.json", choose, "plan.json: missing or corrupted"),
    ("choice.json", confirm, "choice.json: missing or corrupted"),
    ("confirmation/plan.json", compare, "plan.json: missing or corrupted"),
    ("test_use.json", report, "test_use.json: missing or corrupted"),
    ("predictions/*.safetensors", evaluate, "missing or corrupted"),
    ("predictions/predictions.json", evaluate, "predictions.json"),
    (
        "confirmation/*/record.json",
        evaluate,
        "record.json: corrupted; remove artifacts/tiny/confirmation and run: "
        "gapwise run --protocol tiny",
    ),
    ("confirmation/*/record.json", compare, "record.json: corrupted"),
    ("confirmation/*/record.json", report, "record.json: corrupted"),
    ("confirmation/*/record.json", track, "record.json: corrupted"),
    ("confirmation/COMPARED/history.jsonl", compare, "history.jsonl: missing or corrupted"),
    ("confirmation/*/weights.safetensors", predict, "a file is missing or corrupted"),
    ("confirmation/*/raw_1.safetensors", predict, "a file is missing or corrupted"),
    ("confirmation/*/snapshots_2.safetensors", predict, "a file is missing or corrupted"),
]


@pytest.mark.parametrize(
    ("damage", "pattern", "stage", "words"),
    [(damage, *given) for given, damage in zip(INPUTS, itertools.cycle(DAMAGES), strict=False)],
)
def test_a_stage_refuses_damaged_input_in_a_line(corrupted, damage, pattern, stage, words):
    """As when a stage is run by hand; under `make run` DVC makes the file again."""
    # compare reads the curves of the studies that compare arms, and of no others
    compared = read_plan(corrupted / "artifacts/tiny/confirmation").runs_of("comparison")[0]
    DAMAGES[damage](first(corrupted, pattern.replace("COMPARED", compared.fingerprint)))
    with pytest.raises(Refusal) as refused:
        stage.main("tiny")
    assert words in str(refused.value)


def test_damaged_timing_is_as_good_as_none(corrupted, finished):
    for damage, path in zip(
        DAMAGES.values(), sorted(corrupted.glob(".runs/*/timing.json")), strict=False
    ):
        damage(path)
    sorted(corrupted.glob(".runs/*/timing.json"))[3].write_text("[]")
    before = trained(corrupted)
    run_stages(train, confirm, report, track)
    assert trained(corrupted) == before
    assert tables(corrupted) == tables(finished)


def test_whatever_is_damaged_between_the_stages_is_made_again(copied, command, checkout):
    """Every kind of file in `artifacts/` at once: the next run mends them and trains nothing.

    But for the note on figures, since drawing takes long (`tests/records/test_figures.py` has it).
    """
    kinds = {
        path.name if len(path.stem) != 20 else path.suffix: path
        for path in (copied / "artifacts").rglob("*.*")
        if path.name != DRAWN
    }
    for number, path in enumerate(path for path in kinds.values() if path.is_file()):
        list(DAMAGES.values())[number % 3](path)
    before = trained(copied)
    again = command(*RUN, at=copied)
    assert again.returncode == 0, again.stdout + again.stderr
    assert trained(copied) == before
    assert tables(copied) == tables(checkout)
    assert read_plan(copied / "artifacts" / "tiny" / "confirmation") == read_plan(
        checkout / "artifacts" / "tiny" / "confirmation"
    )
