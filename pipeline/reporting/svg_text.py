"""Shorten matplotlib's SVG to about half of its bytes, with the same picture.

Text stays text, which can be searched and edited. Where DejaVu Sans is not installed, a font of
similar widths is shown.
"""

import re
from collections.abc import Collection, Iterable, Sequence

FONT = "font-family: 'DejaVu Sans'; "  # as matplotlib writes it into the style of each text
SIMILAR_FONTS = "text{font-family:'DejaVu Sans',Verdana,sans-serif}"  # of about the same widths
DOCUMENT_TYPE = re.compile(r"<!DOCTYPE[^>]*>")  # that no viewer needs
DIGITS = 1  # of a coordinate behind the point, in points of 1/72 inch
COORDINATES = re.compile(r' (?:d|x|y)="[^"]*"|(?:translate|rotate)\([^)]*\)')
LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}")
PATH = re.compile(r' d="([MLCQz\d.\s-]*)"')  # of the commands that matplotlib writes
COMMAND = re.compile(r"([MLCQz])([^MLCQz]*)")  # of a path, with its numbers
CLOSE = "z"
CLASS = re.compile(r"\.(s\d+){([^}]*)}")
CLASS_NAME = re.compile(r' class="(s\d+)"')
OPACITY = re.compile(r"(?<!-)opacity")  # of a whole group, where marks over each other differ
MARKS = re.compile(r'<g clip-path="[^"]*">((?:<use [^>]*/>)+)</g>')
GROUP_TAG = re.compile(r"(<g\b[^>]*>|</g>)")
PLAIN_GROUP = "<g>"
EMPTY = "/>"  # the end of a tag without contents
NOT_TURNED = re.compile(r' transform="rotate\(-?0 [^)]*\)"')
STYLE = re.compile(r'style="([^"]*)"')
IDENTIFIER = re.compile(r' id="([^"]*)"')
BETWEEN_TAGS = re.compile(r">\s+<")


def shortened(drawn: str) -> str:
    """Return an SVG as matplotlib writes it with fewer bytes.

    Coordinates are rounded, points of a path are relative to the point before, each distinct style
    is a class, the font is named once, identifiers are short or left out where nothing refers to
    them, marks of one look have their class once, and groups without attributes and white space
    between tags are left out.
    """
    text = DOCUMENT_TYPE.sub("", drawn).replace(FONT, "")
    text = COORDINATES.sub(lambda match: LONG_NUMBER.sub(_rounded, match.group()), text)
    text = NOT_TURNED.sub("", text)
    text = PATH.sub(lambda match: f' d="{_relative_path(match[1])}"', text)
    text = _with_classes(_with_short_names(text))
    text = BETWEEN_TAGS.sub("><", _without_plain_groups(text))
    opaque = {name for name, style in CLASS.findall(text) if not OPACITY.search(style)}
    return MARKS.sub(lambda match: _with_shared_class(match, opaque), text)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number.group()):.{DIGITS}f}".rstrip("0").rstrip(".")


def _relative_path(path: str) -> str:
    """Return a path with each point relative to the one before, where this is shorter.

    Numbers are whole multiples of the last digit, so that differences are exact.
    """
    parts: list[str] = []
    start = last = (0, 0)  # of the part of the path, and of the command before
    before = ""
    for command, written in COMMAND.findall(path):
        numbers = [round(float(number) * 10**DIGITS) for number in written.split()]
        name, shown = command, numbers
        if command == CLOSE:
            last = start
        elif command == "M":
            start = last = (numbers[-2], numbers[-1])
        else:
            name, shown = _relative(command, numbers, last)
            last = (numbers[-2], numbers[-1])
        text = _joined(shown)
        if name == before and name != "M":  # a command is repeated by its numbers alone
            parts.append(text if text.startswith("-") else f" {text}")
        else:
            parts.append(f"{name}{text}")
        before = name
    return "".join(parts)


def _relative(command: str, numbers: Sequence[int], last: tuple[int, int]) -> tuple[str, list[int]]:
    """Return a command with numbers relative to the last point; h or v for a level or upright line.

    Args:
        command: L, C or Q.
        numbers: The coordinates of its points, x and y in turn.
        last: The point at which the command begins.
    """
    relative = [number - last[place % 2] for place, number in enumerate(numbers)]
    if command == "L" and relative[1] == 0:
        return "h", relative[:1]
    if command == "L" and relative[0] == 0:
        return "v", relative[1:]
    return command.lower(), relative


def _joined(numbers: Iterable[int]) -> str:
    """Return numbers in multiples of the last digit as text; a minus sign separates too."""
    text = " ".join(_short(number) for number in numbers)
    return text.replace(" -", "-")


def _short(number: int) -> str:
    """Return a number, given in multiples of the last digit, without a leading zero."""
    text = f"{number / 10**DIGITS:.{DIGITS}f}".rstrip("0").rstrip(".")
    return re.sub(r"^(-?)0\.", r"\1.", text)


def _without_plain_groups(text: str) -> str:
    """Return the SVG without the tags of plain groups, and without empty ones."""
    kept: list[str] = []
    is_plain: list[bool] = []  # of the groups that are open
    for part in GROUP_TAG.split(text):
        if not GROUP_TAG.fullmatch(part):
            kept.append(part)
        elif part == "</g>":
            if not is_plain.pop():
                kept.append(part)
        elif not part.endswith(EMPTY):
            is_plain.append(part == PLAIN_GROUP)
            if part != PLAIN_GROUP:
                kept.append(part)
    return "".join(kept)


def _with_short_names(text: str) -> str:
    """Return the SVG with identifiers of a letter and a number, only where they are referred to."""
    used = set(re.findall(r"#([\w.-]+)", text))
    short: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        if match[1] not in used:
            return ""
        return f' id="{short.setdefault(match[1], f"i{len(short)}")}"'

    text = IDENTIFIER.sub(renamed, text)
    return re.sub(r'(href="|url\()#([\w.-]+)', lambda match: f"{match[1]}#{short[match[2]]}", text)


def _with_classes(text: str) -> str:
    """Return the SVG with one class for each distinct style, defined before they are used."""
    names: dict[str, str] = {}

    def named(match: re.Match[str]) -> str:
        return f'class="{names.setdefault(match[1], f"s{len(names)}")}"'

    text = STYLE.sub(named, text)
    classes = "".join(f".{name}{{{_without_spaces(style)}}}" for style, name in names.items())
    return text.replace("</style>", f"{SIMILAR_FONTS}{classes}</style>", 1)


def _with_shared_class(marks: re.Match[str], shareable: Collection[str]) -> str:
    """Return a group of marks with their class at the group, if all have the same one.

    Args:
        marks: The group, and its content.
        shareable: The classes that mean the same for a group and for each mark in it.
    """
    inside = marks[1]
    uses = inside.split("/>")[:-1]
    names = {name for use in uses for name in CLASS_NAME.findall(use) or [""]}
    if len(uses) == 1 or len(names) > 1 or not names <= set(shareable):
        return marks[0]
    opening = marks[0].partition(">")[0]
    return f'{opening} class="{names.pop()}">{CLASS_NAME.sub("", inside)}</g>'


def _without_spaces(style: str) -> str:
    """Return a style without the spaces after its separators."""
    return style.replace(": ", ":").replace("; ", ";")
