"""Print a mistake on the command line as one line, as all other errors are."""

import re
import sys
from collections.abc import Sequence
from typing import Any, final

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from pipeline.config.validation import suggestion, unknown_name
from pipeline.execution.stage import BAD_INPUT

KINDS = {"int_parsing": "an integer", "float_parsing": "a number"}  # errors of pydantic
BOUND = {"greater_than_equal": ("ge", ">=")}
PROTOCOL = "--protocol"
FIXED = {"prog_name": "gapwise", "standalone_mode": False}  # arguments of typer's `main`


@final
class OneLineGroup(TyperGroup):
    """The group of all commands: each error is one line; without arguments, it prints the help."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **options: Any) -> None:
        """Run the command that the arguments name, and exit.

        Args:
            args: The arguments; None for those of the process.
            options: Other arguments of `TyperGroup.main`; `prog_name` and `standalone_mode` are
                replaced.
        """
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(words or ["--help"], **{**options, **FIXED})
        except typer.TyperException as error:
            print(f"error: {usage_line(error, self, words)}", file=sys.stderr)
            sys.exit(BAD_INPUT)
        sys.exit(code)


def usage_line(error: typer.TyperException, group: TyperGroup, words: Sequence[str]) -> str:
    """Return what is wrong on the command line, with what is expected or the closest name.

    Args:
        error: What typer raised.
        group: The group of all commands.
        words: The command line.
    """
    message = error.format_message()
    if unknown := re.match("No such command '(.*?)'", message):
        return unknown_name("command", unknown[1], group.commands)
    name = words[0] if words[0] in group.commands else "gapwise"
    options = _options(group.commands.get(name, group))
    see = f"see: {'gapwise' if name == 'gapwise' else f'gapwise {name}'} --help"
    details = vars(error)
    if option := details.get("option_name"):
        if option in options:
            return f"{name}: {option}: no value; {see}"
        return f"{name}: unknown option {option}{suggestion(option, options) or f'; {see}'}"
    if parameter := details.get("param"):
        return f"{name}: {_parameter_problem(error, parameter)}; {see}"
    if extra := re.match(r"Got unexpected extra argument\S* \((.*)\)", message):
        hint = f"expected {PROTOCOL} to name a protocol; " if PROTOCOL in options else ""
        return f"{name}: unexpected argument {extra[1]}; {hint}{see}"
    return f"{name}: {message}"


def _parameter_problem(error: typer.TyperException, parameter: Any) -> str:
    """Return what is wrong with the value of an option or an argument."""
    shown = parameter.opts[0] if parameter.param_type_name == "option" else parameter.name.upper()
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        missing = type(error).__name__ == "MissingParameter"
        return f"{shown}: missing" if missing else f"{shown}: {error.message}"
    first = cause.errors()[0]
    expected = KINDS.get(first["type"], first["msg"])
    if first["type"] in BOUND:
        key, sign = BOUND[first["type"]]
        expected = f"a number {sign} {first['ctx'][key]}"
    return f"{shown}: invalid value {first['input']}; expected {expected}"


def _options(command: Any) -> list[str]:
    """Return the options of a command."""
    return [name for one in command.params for name in one.opts if name.startswith("--")]
