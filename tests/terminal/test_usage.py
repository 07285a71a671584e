"""The help of every command says what each option is, and lists the values of choices."""

from typing import get_args

import pytest
from typer.main import get_command

from pipeline import cli
from pipeline.comparison.score_units import Unit
from pipeline.data.sources import array_files, image_folder
from pipeline.planning.proposal import NETWORKS

COMMANDS = get_command(cli.application).commands
SHORT_HELP = 65  # characters of a first line that `gapwise --help` prints whole
PARAMETERS = [
    (name, parameter.name) for name, command in COMMANDS.items() for parameter in command.params
]


def printed(capsys, *words):
    """Return what the command line prints, with single spaces."""
    with pytest.raises(SystemExit, match="^0$"):
        cli.application(list(words))
    return " ".join(capsys.readouterr().out.split())


def parameter(command, name):
    return next(one for one in COMMANDS[command].params if one.name == name)


@pytest.mark.parametrize(("command", "name"), PARAMETERS)
def test_an_option_is_described_by_a_phrase(command, name):
    """It begins with a capital letter, has at least three words, and ends with a full stop."""
    text = parameter(command, name).help
    assert text[0].isupper()
    assert len(text.split()) >= 3
    assert text.endswith(".")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_described_by_a_line_that_the_list_of_commands_prints_whole(command, capsys):
    (first, *_) = COMMANDS[command].help.splitlines()
    assert len(first) <= SHORT_HELP
    assert f"{command} {first}" in printed(capsys, "--help")


@pytest.mark.parametrize(
    ("command", "name", "values"),
    [
        ("new", "network", NETWORKS),
        ("new", "color", get_args(image_folder.Source.model_fields["color"].annotation)),
        ("new", "unreadable", get_args(image_folder.Source.model_fields["unreadable"].annotation)),
        (
            "new",
            "layout",
            get_args(get_args(array_files.Source.model_fields["layout"].annotation)[0]),
        ),
        ("judge", "unit", [unit.value for unit in Unit]),
    ],
)
def test_the_help_lists_the_values_of_a_choice(command, name, values):
    assert len(values) >= 2
    assert parameter(command, name).metavar == "|".join(values)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_usage_line_has_the_name_of_the_script(command, capsys):
    assert printed(capsys, command, "--help").startswith(f"Usage: gapwise {command} ")
