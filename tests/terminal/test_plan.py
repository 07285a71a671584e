"""`plan`: how many runs there would be, and how many are to train."""

import re

from pipeline import choose, confirm, prepare, train
from pipeline.planning.studies import read_experiment
from pipeline.terminal.plan import show_plan


def shown(capsys):
    show_plan(read_experiment("tiny"))
    return capsys.readouterr().out.splitlines()[-2:]


def baseline(capsys):
    """Return the numbers of the first baseline: explored, confirmed, to train."""
    show_plan(read_experiment("tiny"))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    return next(row[1:] for row in rows if row[:1] == ["baseline"])


def test_the_minutes_are_those_of_training_alone(project, capsys):
    planned, missing = shown(capsys)
    assert re.findall(r"\d+", planned) == ["46", "10", "2", "36", "3"]
    assert missing.startswith("46 runs to train: about ")
    assert missing.endswith(" minutes of training alone, with 2 workers")


def test_what_is_trained_is_not_to_train(project, capsys):
    for verb in (prepare, train):
        verb.main("tiny")
    capsys.readouterr()
    assert shown(capsys)[1].startswith("36 runs to train: ")
    assert baseline(capsys) == ["2", "3", "3"]
    choose.main("tiny")
    confirm.main("tiny")
    capsys.readouterr()
    assert shown(capsys)[1].startswith("0 runs to train: about 0.0 minutes")
    assert baseline(capsys) == ["2", "3", "0"]
