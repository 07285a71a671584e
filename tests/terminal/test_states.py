"""`status`: every planned run is counted once in each of its studies, with the reasons of those that went wrong."""

import pytest

from pipeline import prepare, regularizers, train
from pipeline.execution.stage import Incomplete
from pipeline.planning.studies import read_experiment
from pipeline.records.store import open_store
from pipeline.terminal.states import show_states


def said(capsys):
    show_states(read_experiment("tiny"), open_store())
    return capsys.readouterr().out


def rows(text):
    """(phase, study) -> the numbers of its row, where there are any."""
    found = {}
    for line in text.splitlines():
        phase, study, *numbers = [*line.split(), "", ""]
        if phase in ("explore", "confirm") and numbers[0].isdigit():
            found[phase, study] = [int(number) for number in numbers if number]
    return found


def test_before_anything_is_prepared_it_says_what_comes_first(project, capsys):
    text = said(capsys)
    assert "exploration: planned once data are prepared" in text
    assert rows(text) == {}


def test_missing_done_and_failed_runs_are_counted_with_reasons(project, capsys, monkeypatch):
    prepare.main("tiny")
    capsys.readouterr()
    assert rows(said(capsys)) == {("explore", "dropout"): [6, 6], ("explore", "others"): [6, 6]}
    kind = regularizers.settings()["augmentation"]
    with monkeypatch.context() as patch, pytest.raises(Incomplete):
        patch.setattr(kind, "modify_batch", lambda self, inputs, targets: (inputs, targets))
        train.main("tiny")
    capsys.readouterr()
    text = said(capsys)
    assert rows(text) == {("explore", "dropout"): [6, 6], ("explore", "others"): [6, 2, 4]}
    assert "exploration: failed: shift shift=0.5 seed 0 and " in text
    assert "NoEffect: augmentation: none of 60 images was changed" in text
    train.main("tiny")
    capsys.readouterr()
    assert "failed: " not in said(capsys)
