"""`plan`: how many runs there would be, and which of a run's time the minutes are."""

from pipeline.planning.studies import read_experiment
from pipeline.terminal.plans import show_plan


def test_the_minutes_are_those_of_training_alone(project, capsys):
    show_plan(read_experiment("tiny"))
    *_, line = capsys.readouterr().out.splitlines()
    assert line.startswith(
        "at most 46 runs, each counted once: 10 on 2 exploration seeds, 36 on 3 fresh ones; "
    )
    assert line.endswith(" minutes of training alone, with 2 workers")
